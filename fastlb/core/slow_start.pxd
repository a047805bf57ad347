# SPDX-License-Identifier: Apache-2.0
"""Slow start: a member that comes back gets a share that grows from a tenth to all of it.

A pick that meets such a member refuses it as often as its share says, and goes on as if it had been tried before; if nobody
else is left, it is taken all the same.  One pick always says the same of one member: refusals come from a number drawn for
the pick, or from the client's hash where the algorithm goes by clients, so that each of them moves once and stays.

Algorithms that go by load would give an idle member all they have, however often it is refused: there, its load too may be
no more than its share of another one's.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from fastlb.core.atomics cimport counter_get, flag_get
from fastlb.core.hash cimport hash_mix
from fastlb.core.model cimport member_t

cdef enum:
    SLOW_START_LEAST_PERCENT = 10   # where a share begins

cdef struct slow_start_t:           # of one pick
    uint64_t now_ns
    uint64_t slow_start_ns
    uint64_t drawn                  # by the pick, or the client's hash
    # The load of another member, which is not warming; weight 0: load does not matter, or all are warming.
    int64_t load
    uint32_t weight


cdef inline uint64_t slow_start_share(uint64_t since_ns, uint64_t slow_start_ns, uint64_t now_ns) noexcept nogil:
    """Of 2**32. `since_ns` 0: it is not warming."""
    cdef uint64_t age_ns = now_ns - since_ns if now_ns > since_ns else 0
    cdef uint64_t share
    if since_ns == 0 or age_ns >= slow_start_ns:
        return <uint64_t>1 << 32
    # In units of 4 us: 52 days fit.
    share = ((age_ns >> 12) << 32) // ((slow_start_ns >> 12) + 1)
    return max(share, (<uint64_t>SLOW_START_LEAST_PERCENT << 32) // 100)


cdef inline bint slow_start_refuses(const slow_start_t *warm, const member_t *member) noexcept nogil:
    cdef uint64_t share = slow_start_share(
        <uint64_t>counter_get(&member.warming_since_ns), warm.slow_start_ns, warm.now_ns)
    cdef double weight
    cdef int64_t load
    if share >> 32:
        return 0
    if hash_mix(warm.drawn ^ member.hash_key) >> 32 >= share:
        return 1
    if warm.weight == 0:
        return 0
    load = counter_get(&member.active)
    # load / weight > share × the other's
    weight = flag_get(&member.weight_served)
    return load > 0 and load * <double>warm.weight * 4294967296.0 > share * weight * warm.load
