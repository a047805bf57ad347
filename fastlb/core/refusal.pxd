# SPDX-License-Identifier: Apache-2.0
"""Why a request is refused: each answer of ours that is an error counts under one reason, per listener and worker."""
from libc.stdint cimport uint32_t
from fastlb.core.atomics cimport counter_bump
from fastlb.core.http1_tables cimport http1_error_name
from fastlb.core.model cimport LISTENER_REFUSALS, listener_shard_t

cdef extern from * nogil:
    """
    #include "fastlb/core/http1_tables.h"
    /* What the parser refuses has the parser's own numbers, below 40. */
    enum {
        REFUSAL_HEAD_TIMEOUT = 40,
        REFUSAL_BODY_TIMEOUT,
        REFUSAL_BODY_RATE,
        REFUSAL_POLICY,
        REFUSAL_NO_POOL,
        REFUSAL_NO_MEMBER,
        REFUSAL_QUEUE_TIMEOUT,
        REFUSAL_MEMBER_BROKEN,
        REFUSAL_MEMBER_TIMEOUT,
        REFUSAL_END
    };
    static const char *const refusal_names[] = {
        "head_timeout", "body_timeout", "body_rate", "policy", "no_pool", "no_member", "queue_timeout", "member_broken",
        "member_timeout",
    };
    _Static_assert((int)HTTP1_ERROR_COUNT <= (int)REFUSAL_HEAD_TIMEOUT, "the parser's numbers have grown into ours");
    """
    enum:
        REFUSAL_HEAD_TIMEOUT     # 408: no whole head in time
        REFUSAL_BODY_TIMEOUT     # 408: the body stopped coming
        REFUSAL_BODY_RATE        # 408: it came too slowly
        REFUSAL_POLICY           # 403: an L7 policy says REJECT
        REFUSAL_NO_POOL          # 503: no policy fits and there is no default pool
        REFUSAL_NO_MEMBER        # 503: nobody is usable, or nobody could be connected to
        REFUSAL_QUEUE_TIMEOUT    # 503: each member has its max_connections
        REFUSAL_MEMBER_BROKEN    # 502: no answer, or none that could be passed on
        REFUSAL_MEMBER_TIMEOUT   # 504
        REFUSAL_END
    const char **refusal_names


cdef inline void refusal_count(listener_shard_t *shard, uint32_t reason) noexcept nogil:
    if reason < LISTENER_REFUSALS:
        counter_bump(&shard.refused[reason], 1)


cdef inline const char *refusal_name(uint32_t reason) noexcept nogil:
    """NULL: there is no such reason. The parser's are in capitals."""
    if reason >= REFUSAL_HEAD_TIMEOUT:
        return refusal_names[reason - REFUSAL_HEAD_TIMEOUT] if reason < REFUSAL_END else NULL
    return http1_error_name(reason)
