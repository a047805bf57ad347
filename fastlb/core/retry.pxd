# SPDX-License-Identifier: Apache-2.0
"""Which requests may be sent again, and how many at once.

A pool's retry budget is Envoy's: tries after the first may be `retry_budget_percent` of all sessions under way in the pool, and
`retry_min` in any case, so that a pool whose members fail is not given several times the load that it fails under.  Only with a
budget are sessions counted for the pool as a whole; what a session was counted for it remembers, as the budget may come or go
meanwhile.
"""
from libc.stdint cimport int64_t, uint32_t
from fastlb.core.atomics cimport counter_add, counter_bump, counter_get, pointer_get
from fastlb.core.context cimport SESSION_TRIES, context_t, session_t
from fastlb.core.http1 cimport HTTP1_DELETE, HTTP1_GET, HTTP1_HEAD, HTTP1_OPTIONS, HTTP1_PUT, HTTP1_TRACE
from fastlb.core.model cimport RETRY_502, RETRY_503, RETRY_504, RETRY_RESET, member_t, pool_conf_t, pool_t
from fastlb.core.roster cimport pool_conf
from fastlb.core.selection.ops cimport member_full, roster_t


cdef inline bint retry_repeatable(const session_t *s) noexcept nogil:
    """May a member get the request though another one may have seen it? If twice is as good as once (RFC 9110 section
    9.2.2) and the whole of it is still here."""
    if s.held == 0:
        return 0
    return (
        s.method == HTTP1_GET or s.method == HTTP1_HEAD or s.method == HTTP1_OPTIONS or s.method == HTTP1_PUT
        or s.method == HTTP1_DELETE or s.method == HTTP1_TRACE)


cdef inline uint32_t retry_tries(const pool_conf_t *conf) noexcept nogil:
    """The first one included."""
    return conf.retries + 1 if conf.retries < SESSION_TRIES else SESSION_TRIES


cdef inline int64_t retry_budget(const pool_t *pool, const pool_conf_t *conf) noexcept nogil:
    """How many tries after the first may be under way at once. There is a budget."""
    cdef int64_t share = counter_get(&pool.in_flight) * conf.retry_budget_percent // 100
    return share if share > conf.retry_min else conf.retry_min


cdef inline bint retry_begin(context_t *c, session_t *s, pool_t *pool, const pool_conf_t *conf) noexcept nogil:
    """Before a session is given to a member: count it where there is a budget. 0: it is one try too many."""
    if conf.retry_budget_percent == 0:
        return 1
    counter_add(&pool.in_flight, 1)
    s.weighed = 1
    if s.again:
        s.retrying = 1
        if counter_add(&pool.retrying, 1) >= retry_budget(pool, conf):
            retry_end(s, pool)
            counter_bump(&pool.shards[c.index].retries_refused, 1)
            return 0
    return 1


cdef inline void retry_settled(session_t *s, pool_t *pool) noexcept nogil:
    """The try has succeeded as far as that matters: the session goes on, but not as a retry."""
    if s.retrying:
        s.retrying = 0
        counter_add(&pool.retrying, -1)


cdef inline void retry_end(session_t *s, pool_t *pool) noexcept nogil:
    """The session is not with a member any more."""
    retry_settled(s, pool)
    if s.weighed:
        s.weighed = 0
        counter_add(&pool.in_flight, -1)


cdef inline bint retry_was_tried(const session_t *s, const member_t *member) noexcept nogil:
    cdef uint32_t i
    for i in range(s.tries):
        if s.tried[i] == member:
            return 1
    return 0


cdef inline bint retry_has_other(const pool_t *pool, const session_t *s, const member_t *but) noexcept nogil:
    """Is there a member with a free place that was not tried?"""
    cdef const roster_t *roster = <const roster_t *>pointer_get(&pool.roster)
    cdef uint32_t i
    if roster != NULL:
        for i in range(roster.count):
            if roster.members[i] != but and not member_full(roster.members[i]) and not retry_was_tried(s, roster.members[i]):
                return 1
    return 0


cdef inline uint32_t retry_reason(uint32_t status) noexcept nogil:
    if status == 502:
        return RETRY_502
    if status == 503:
        return RETRY_503
    if status == 504:
        return RETRY_504
    return 0


cdef inline bint retry_allowed(context_t *c, session_t *s, const pool_t *pool, const pool_conf_t *conf) noexcept nogil:
    """May there be one more try after the one that goes on? Neither their number nor the budget says no."""
    if s.round + s.tries + 1 >= <int>retry_tries(conf):
        return 0
    if conf.retry_budget_percent and not s.retrying and counter_get(&pool.retrying) >= retry_budget(pool, conf):
        counter_bump(&pool.shards[c.index].retries_refused, 1)
        return 0
    return 1


cdef inline bint retry_reset(context_t *c, session_t *s, uint32_t *reason) noexcept nogil:
    """The connection broke before a byte of the answer: is the request to be sent again? `reason`: RETRY_RESET, or 0: the
    connection had been kept, and may only have grown old; that is made good once, whatever the pool's retries."""
    cdef const pool_conf_t *conf = pool_conf(s.up.member.pool)
    reason[0] = 0
    if s.interim or not retry_repeatable(s):
        return 0
    if s.up.reused and not s.replayed:
        return 1
    reason[0] = RETRY_RESET
    return conf.retry_on & RETRY_RESET and retry_allowed(c, s, s.up.member.pool, conf)


cdef inline bint retry_wanted(context_t *c, session_t *s, uint32_t status) noexcept nogil:
    """The member answered with this status, 502 or above, and nothing of it went to the client: shall another one be asked?
    Then there is one, and as far as can be known it may be asked."""
    cdef member_t *member = s.up.member
    cdef pool_t *pool = member.pool
    cdef const pool_conf_t *conf = pool_conf(pool)
    if not conf.retry_on & retry_reason(status) or s.interim or not retry_repeatable(s):
        return 0
    return retry_has_other(pool, s, member) and retry_allowed(c, s, pool, conf)
