# SPDX-License-Identifier: Apache-2.0
"""Where a request goes, and what is added to it on the way: L7 policies, session persistence, inserted header fields.

Octavia's order: each REJECT, then the redirects, then each policy that names a pool, then the listener's default pool
(l7_match.pxd). A request that is tried again is routed again: a change of the policies in between counts.
"""
from libc.stdint cimport uint8_t, uint32_t
from fastlb.core.bytes cimport span_t
from fastlb.core.context cimport context_t, session_t
from fastlb.core.http1 cimport http1_head_t
from fastlb.core.http1_write cimport (
    HTTP1_EXTRA_ADD, HTTP1_EXTRA_SET, http1_extra_t, http1_put_number,
)
from fastlb.core.http_answer cimport http_redirect, http_refuse
from fastlb.core.l7_match cimport (
    L7_REDIRECT_PREFIX, L7_REDIRECT_TO_POOL, L7_REJECT, l7_match, l7_policy_t, l7_program_t,
)
from fastlb.core.model cimport (
    INSERT_FORWARDED_FOR, INSERT_FORWARDED_PORT, INSERT_FORWARDED_PROTO, listener_conf_t, pool_conf_t, pool_t,
)
from fastlb.core.refusal cimport REFUSAL_NO_POOL, REFUSAL_POLICY
from fastlb.core.roster cimport pool_conf
from fastlb.core.sys.socket cimport AF_INET6, inet_ntop


cdef inline span_t route_text(const char *text, uint32_t length) noexcept nogil:
    cdef span_t span
    span.data = <const uint8_t *>text
    span.length = length
    return span


cdef inline pool_t *route_pool(context_t *c, session_t *s, const listener_conf_t *conf) noexcept nogil:
    """The pool for the request parsed in context.request; NULL: it was answered, and the phase is what http_answer leaves."""
    cdef http1_head_t *head = &c.request
    cdef const l7_policy_t *policy = NULL
    cdef span_t nothing = route_text(b"", 0)
    if conf.policies != NULL:
        policy = l7_match(<const l7_program_t *>conf.policies, head, &c.l7)
    if policy == NULL:
        if conf.default_pool == NULL:
            http_refuse(c, s, 503, REFUSAL_NO_POOL, 0)
        return conf.default_pool
    if policy.action == L7_REDIRECT_TO_POOL:
        return policy.pool
    if policy.action == L7_REJECT:
        http_refuse(c, s, 403, REFUSAL_POLICY, 0)
    else:
        http_redirect(
            c, s, policy.code, &policy.text, &head.target if policy.action == L7_REDIRECT_PREFIX else &nothing)
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


cdef inline uint32_t route_extras(
    context_t *c, session_t *s, const listener_conf_t *conf, pool_t *pool
) noexcept nogil:
    """Read what binds the client to a member, and prepare context.extras: how many there are."""
    cdef const pool_conf_t *theirs = pool_conf(pool)
    cdef uint32_t count = 0
    cdef uint32_t used = 0
    if conf.insert:
        count = route_insert(c, s, conf, theirs, count, used)
    return count
