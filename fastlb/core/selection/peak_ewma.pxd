# SPDX-License-Identifier: Apache-2.0
"""PEAK_EWMA: two members are drawn by weight, and the one with the lower latency × (load + 1) is it.

Load is the member's sessions by its weight's ratio to the mean weight: with equal weights, its sessions.  (Divided by the weight
as a whole, two idle members alike in latency would be one pick for the heavier, which is drawn more often already.)

The latency is a peak-sensitive moving average: it jumps up to a slower answer at once, and comes down to faster ones with time, half the
way in 2**32 ns (4.3 s; tau = 6.2 s).  Without answers it fades to nothing at the same rate, so that a member that was slow is tried
again.  A member without a figure is tried at once, but counts as the slowest there is while that first session is open.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from fastlb.core.atomics cimport counter_get, counter_set, spinlock_give, spinlock_take
from fastlb.core.model cimport member_t, pool_t
from fastlb.core.selection.alias cimport alias_build, alias_draw_two, alias_free
from fastlb.core.selection.ops cimport pick_t, roster_t, selector_ops_t

cdef enum:
    EWMA_HALF_LIFE_BITS = 32
    EWMA_FIGURE_BITS = 38          # latencies count up to 2**38 ns, 4.6 minutes


cdef inline uint64_t ewma_faded(uint64_t figure, uint64_t age_ns) noexcept nogil:
    """Half of it per half-life, on straight lines between: at most 6 % above the exponential, and the same everywhere."""
    cdef uint64_t halves = age_ns >> EWMA_HALF_LIFE_BITS
    cdef uint64_t rest = (age_ns >> (EWMA_HALF_LIFE_BITS - 16)) & 0xFFFF
    if halves > EWMA_FIGURE_BITS:
        return 0
    figure >>= halves
    return figure - ((figure * rest) >> 17)


cdef inline uint64_t ewma_age(const member_t *member, uint64_t now_ns) noexcept nogil:
    """Another worker's clock may be read a little later than ours."""
    cdef uint64_t at_ns = <uint64_t>counter_get(&member.ewma_at_ns)
    return now_ns - at_ns if now_ns > at_ns else 0


cdef inline uint64_t ewma_cost(const roster_t *roster, uint32_t index, uint64_t now_ns) noexcept nogil:
    """Times the member's weight. Below 2**56.

    Age and figure are read apart: a pick between the two writes of an answer may judge by the older age once.
    """
    cdef const member_t *member = roster.members[index]
    cdef uint64_t figure = ewma_faded(<uint64_t>counter_get(&member.ewma_ns), ewma_age(member, now_ns))
    cdef int64_t active = counter_get(&member.active)
    cdef uint64_t load = 0
    if active > 0:
        load = <uint64_t>(active if active < 0xFFFF else 0xFFFF) * roster.weight_mean
    if figure == 0:
        if load == 0:
            return 0
        figure = <uint64_t>1 << EWMA_FIGURE_BITS
    # In units of 256 ns, to leave room for load and both weights.
    return ((figure >> 8) + 1) * (load + roster.weights[index])


cdef inline int ewma_build(pool_t *pool, roster_t *roster, const roster_t *previous) noexcept nogil:
    return alias_build(roster)


cdef inline member_t *ewma_pick(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil:
    cdef uint32_t one, two
    cdef uint64_t cost_one, cost_two
    if not alias_draw_two(roster, ask, &one, &two):
        return NULL
    cost_one = ewma_cost(roster, one, ask.now_ns) * roster.weights[two]
    cost_two = ewma_cost(roster, two, ask.now_ns) * roster.weights[one]
    return roster.members[two] if cost_two < cost_one else roster.members[one]


cdef inline void ewma_closed(pool_t *pool, member_t *member, uint64_t now_ns, uint64_t response_ns) noexcept nogil:
    cdef uint64_t figure
    if response_ns == 0:
        return
    if response_ns >> EWMA_FIGURE_BITS:
        response_ns = (<uint64_t>1 << EWMA_FIGURE_BITS) - 1
    spinlock_take(&pool.pick_lock)
    figure = <uint64_t>counter_get(&member.ewma_ns)
    if figure > response_ns:
        response_ns += ewma_faded(figure - response_ns, ewma_age(member, now_ns))
    counter_set(&member.ewma_ns, <int64_t>response_ns)
    counter_set(&member.ewma_at_ns, <int64_t>now_ns)
    spinlock_give(&pool.pick_lock)


cdef inline selector_ops_t peak_ewma_ops() noexcept nogil:
    cdef selector_ops_t ops
    ops.build = ewma_build
    ops.activate = NULL
    ops.deactivate = NULL
    ops.pick = ewma_pick
    ops.opened = NULL
    ops.closed = ewma_closed
    ops.free = alias_free
    return ops
