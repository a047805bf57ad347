# SPDX-License-Identifier: Apache-2.0
"""Where a request goes, and what is added to it on the way: L7 policies, session persistence, inserted header fields.

Octavia's order: each REJECT, then the redirects, then each policy that names a pool, then the listener's default pool
(l7_match.pxd). A request that is tried again is routed again: a change of the policies in between counts.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset
from fastlb.core.atomics cimport counter_bump, pointer_get
from fastlb.core.bytes cimport span_t
from fastlb.core.context cimport EXTRA_BYTES, EXTRAS, SCRATCH_BYTES, context_t, listener_shard, session_t
from fastlb.core.directory cimport directory_find_uuid, member_reachable
from fastlb.core.http1_write cimport (
    HTTP1_EXTRA_ADD, HTTP1_EXTRA_SET, http1_connection, http1_extra_t, http1_put_number, http1_write_redirect,
)
from fastlb.core.http_answer cimport answer_closes, answer_send, http_refuse
from fastlb.core.http_cookie cimport cookie_find_last, cookie_next, cookie_place_t, cookie_remove
from fastlb.core.l7_match cimport l7_match
from fastlb.core.l7_program cimport L7_REDIRECT_PREFIX, L7_REDIRECT_TO_POOL, L7_REJECT, l7_policy_t, l7_program_t
from fastlb.core.model cimport (
    INSERT_FORWARDED_FOR, INSERT_FORWARDED_PORT, INSERT_FORWARDED_PROTO, PERSISTENCE_APP_COOKIE, PERSISTENCE_HTTP_COOKIE,
    listener_conf_t, member_t, pool_conf_t, pool_t,
)
from fastlb.core.refusal cimport REFUSAL_NO_POOL, REFUSAL_POLICY
from fastlb.core.roster cimport pool_conf
from fastlb.core.sticky cimport sticky_get, sticky_t
from fastlb.core.sys.socket cimport AF_INET6, inet_ntop


cdef enum:
    ROUTE_INSERTED = 3           # fields that `insert` may add
    ROUTE_INSERTED_BYTES = 64    # and what their values take


cdef inline span_t route_text(const char *text, uint32_t length) noexcept nogil:
    cdef span_t span
    span.data = <const uint8_t *>text
    span.length = length
    return span


cdef inline const l7_policy_t *route_policy(context_t *c, const listener_conf_t *conf) noexcept nogil:
    """The policy that applies to the request parsed in context.request; NULL: none."""
    if conf.policies == NULL:
        return NULL
    return l7_match(<const l7_program_t *>conf.policies, &c.request, &c.l7)


cdef inline uint32_t route_redirect(context_t *c, const l7_policy_t *policy, bint close) noexcept nogil:
    """The answer of a policy that redirects, written to context.scratch: its length."""
    cdef span_t rest = route_text(b"", 0)
    if policy.action == L7_REDIRECT_PREFIX:
        rest = c.request.target
    return http1_write_redirect(
        c.scratch, SCRATCH_BYTES, policy.code, &policy.text, &rest, http1_connection(close, c.request.minor))


cdef inline pool_t *route_pool(context_t *c, session_t *s, const listener_conf_t *conf) noexcept nogil:
    """The pool for the request parsed in context.request; NULL: it was answered, and the phase is what http_answer leaves."""
    cdef const l7_policy_t *policy = route_policy(c, conf)
    cdef bint close = answer_closes(s, 0)
    if policy == NULL:
        if conf.default_pool == NULL:
            http_refuse(c, s, 503, REFUSAL_NO_POOL, 0)
        return conf.default_pool
    if policy.action == L7_REDIRECT_TO_POOL:
        return policy.pool
    if policy.action == L7_REJECT:
        http_refuse(c, s, 403, REFUSAL_POLICY, 0)
    else:
        counter_bump(&listener_shard(c, s.listener).redirects, 1)
        answer_send(c, s, policy.code, route_redirect(c, policy, close), close)
    return NULL


cdef inline uint32_t route_address(const session_t *s, uint8_t *out) noexcept nogil:
    """The client's address as text, 45 bytes at the most."""
    cdef char text[46]
    cdef uint32_t at = 0
    cdef uint32_t i
    if s.address_family == 4:
        for i in range(12, 16):
            at = http1_put_number(out, at, s.client_address[i])
            out[at] = c'.'
            at += 1
        return at - 1
    if inet_ntop(AF_INET6, s.client_address, text, sizeof(text)) == NULL:
        return 0
    while text[at] != 0:
        out[at] = <uint8_t>text[at]
        at += 1
    return at


cdef inline uint32_t route_insert(
    context_t *c, session_t *s, const listener_conf_t *conf, const pool_conf_t *pool, uint32_t count, uint32_t used
) noexcept nogil:
    """Add the fields that the listener asks for behind the `count` extras that are there; how many there are then. The first
    two go to members that speak HTTP to us only, as in Octavia: what stands before a PROXY header says as much."""
    cdef http1_extra_t *extra = &c.extras[count]
    cdef uint32_t insert = conf.insert
    if not pool.http:
        insert &= INSERT_FORWARDED_PROTO
    if insert & INSERT_FORWARDED_FOR:
        # One more line: who was named before stays named before.
        extra.name = route_text(b"X-Forwarded-For", 15)
        extra.value.data = c.extra_text + used
        extra.value.length = route_address(s, c.extra_text + used)
        extra.mode = HTTP1_EXTRA_ADD
        used += extra.value.length
        count += 1
        extra += 1
    if insert & INSERT_FORWARDED_PORT:
        extra.name = route_text(b"X-Forwarded-Port", 16)
        extra.value.data = c.extra_text + used
        extra.value.length = http1_put_number(c.extra_text + used, 0, s.listener.port)
        extra.mode = HTTP1_EXTRA_SET
        count += 1
        extra += 1
    if insert & INSERT_FORWARDED_PROTO:
        extra.name = route_text(b"X-Forwarded-Proto", 17)
        extra.value = route_text(b"http", 4)
        extra.mode = HTTP1_EXTRA_SET
        count += 1
    return count


cdef inline uint32_t route_cookie(
    context_t *c, session_t *s, pool_t *pool, const pool_conf_t *conf, uint32_t *used
) noexcept nogil:
    """Which member does the request's cookie name? One of ours does not go on to the member: extras replace the fields that
    it stood in; how many."""
    cdef const member_t *member
    cdef sticky_t *sticky
    cdef cookie_place_t place
    cdef span_t value
    cdef bint found = 0
    s.stick_key = 0
    if conf.persistence == PERSISTENCE_APP_COOKIE:
        sticky = <sticky_t *>pointer_get(&pool.sticky)
        if sticky != NULL and cookie_find_last(&c.request, conf.cookie_name, conf.cookie_length, &value):
            s.stick_key = sticky_get(sticky, value.data, value.length)
        return 0
    memset(&place, 0, sizeof(place))
    while cookie_next(&c.request, &place, conf.cookie_name, conf.cookie_length, &value):
        found = 1
        member = directory_find_uuid(pool, value.data, value.length)
        if member != NULL and member_reachable(pool, member):
            s.stick_key = member.key
            break
    if not found:
        return 0
    return cookie_remove(
        &c.request, conf.cookie_name, conf.cookie_length, c.extra_text, used, EXTRA_BYTES - ROUTE_INSERTED_BYTES,
        c.extras, EXTRAS - ROUTE_INSERTED)


cdef inline uint32_t route_extras(
    context_t *c, session_t *s, const listener_conf_t *conf, pool_t *pool
) noexcept nogil:
    """Read what binds the client to a member, and prepare context.extras: how many there are."""
    cdef const pool_conf_t *theirs = pool_conf(pool)
    cdef uint32_t count = 0
    cdef uint32_t used = 0
    if theirs.persistence >= PERSISTENCE_HTTP_COOKIE:
        count = route_cookie(c, s, pool, theirs, &used)
    if conf.insert:
        count = route_insert(c, s, conf, theirs, count, used)
    return count
