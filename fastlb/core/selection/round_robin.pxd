# SPDX-License-Identifier: Apache-2.0
"""ROUND_ROBIN: smooth weighted round robin, one sequence for all workers.

Equal weights, as nearly always: a shared count modulo the members, with no lock.  Others: weighted turns under pool.pick_lock.
A new roster begins somewhere else in its cycle each time (roster_phase), the very first one at its first member.
"""
from libc.errno cimport ENOMEM
from libc.stdint cimport uint32_t, uint64_t
from fastlb.core.atomics cimport counter_add, counter_get, spinlock_give, spinlock_take
from fastlb.core.model cimport member_t, pool_t
from fastlb.core.selection.ops cimport (
    pick_refuses, pick_t, pick_takes_any, roster_other, roster_phase, roster_t, selector_ops_t,
)
from fastlb.core.selection.turns cimport turns_free, turns_new, turns_next, turns_seek, turns_t

cdef enum:
    ROUND_ROBIN_SKIPS = 8           # turns that may go by to members that are refused, over the number of those tried


cdef inline int round_robin_build(pool_t *pool, roster_t *roster, const roster_t *previous) noexcept nogil:
    cdef turns_t *turns
    if roster.even:
        roster.phase = roster_phase(roster.generation, roster.count) if counter_get(&pool.cursor) != 0 else 0
        return 0
    turns = turns_new(roster.weights, roster.count)
    if turns == NULL:
        return -ENOMEM
    if counter_get(&pool.cursor) != 0:
        turns_seek(turns, roster_phase(roster.generation, turns.cycle))
    roster.state = turns
    return 0


cdef inline member_t *round_robin_pick_even(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil:
    cdef uint64_t turn = 0
    cdef uint32_t _
    cdef member_t *member
    for _ in range(ask.tried_count + ROUND_ROBIN_SKIPS):
        turn = <uint64_t>counter_add(&pool.cursor, 1)
        member = roster.members[(turn + roster.phase) % roster.count]
        if pick_takes_any(ask) or not pick_refuses(ask, member):
            return member
    return roster_other(roster, ask, <uint32_t>((turn + roster.phase) % roster.count))


cdef inline member_t *round_robin_pick(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil:
    cdef turns_t *turns = <turns_t *>roster.state
    cdef uint32_t _
    cdef uint32_t index = 0
    cdef member_t *member = NULL
    if roster.even:
        return round_robin_pick_even(pool, roster, ask)
    if counter_get(&pool.cursor) == 0:
        counter_add(&pool.cursor, 1)    # the sequence has begun: the next roster goes on elsewhere
    spinlock_take(&pool.pick_lock)
    for _ in range(ask.tried_count + ROUND_ROBIN_SKIPS):
        index = turns_next(turns)
        member = roster.members[index]
        if pick_takes_any(ask) or not pick_refuses(ask, member):
            break
        member = NULL
    spinlock_give(&pool.pick_lock)
    return member if member != NULL else roster_other(roster, ask, index)


cdef inline void round_robin_free(roster_t *roster) noexcept nogil:
    turns_free(<turns_t *>roster.state)


cdef inline selector_ops_t round_robin_ops() noexcept nogil:
    cdef selector_ops_t ops
    ops.build = round_robin_build
    ops.activate = NULL
    ops.deactivate = NULL
    ops.pick = round_robin_pick
    ops.opened = NULL
    ops.closed = NULL
    ops.free = round_robin_free
    return ops
