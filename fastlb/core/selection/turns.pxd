# SPDX-License-Identifier: Apache-2.0
"""Weighted turns, evenly interleaved: whose turn it is does not depend on how many take part.

Members of one weight form a group and take the group's turns in rotation, so there are at most 256 groups.  In a cycle of
`sum(weight)` turns, group g has `quota` = weight × members of them; its k-th is due at (k + ½) / quota of the cycle, and
turns are taken in the order in which they are due (Webster's divisor order; earliest deadline first).  Shares are exact over a
cycle, and any two groups interleave as evenly as their ratio allows: 1:1:2 gives C A C B.

A due time is kept as a whole number of 2**-55 of the cycle, rounded down, and advanced with its remainder, so it never drifts.
Equal times are equal numbers, and different ones differ: the fractions lie 2**-48 apart at least, as the cycle is at most
65,535 × 256 < 2**24 turns.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from fastlb.core.selection.tournament cimport (
    tournament_best, tournament_new, tournament_place, tournament_replay, tournament_set, tournament_t,
)

cdef enum:
    TURN_CYCLE_BITS = 55

cdef struct turn_group_t:
    uint32_t first                 # index of its first member; the others follow
    uint32_t size
    uint32_t at                    # whose turn of them is next
    uint64_t quota
    uint64_t served                # turns taken in this cycle
    # When the next one is due: (2 served + 1) / (2 quota), as a number and a remainder of 2 quota.
    uint64_t due
    uint64_t rest
    uint64_t due_step              # 1 / quota, likewise
    uint64_t rest_step

cdef struct turns_t:
    uint64_t cycle
    uint64_t taken                 # turns of this cycle
    uint32_t count
    tournament_t *order
    turn_group_t *groups           # in one block with turns_t


cdef inline void turn_serve(turn_group_t *g, uint64_t served) noexcept nogil:
    """As after so many turns (up to quota) of the cycle."""
    cdef uint64_t whole = <uint64_t>1 << TURN_CYCLE_BITS
    g.served = served
    g.at = served % g.size
    # (2 served + 1) × 2**55 / (2 quota), piece by piece: the product does not fit.
    g.due = (whole // (2 * g.quota)) * (2 * served + 1)
    g.rest = (whole % (2 * g.quota)) * (2 * served + 1)
    g.due += g.rest // (2 * g.quota)
    g.rest %= 2 * g.quota


cdef inline void turn_take(turn_group_t *g) noexcept nogil:
    """Whoever was next has had its turn."""
    g.at = g.at + 1 if g.at + 1 < g.size else 0
    g.served += 1
    g.due += g.due_step
    g.rest += g.rest_step
    if g.rest >= 2 * g.quota:
        g.rest -= 2 * g.quota
        g.due += 1


cdef inline void turns_free(turns_t *t) noexcept nogil:
    if t != NULL:
        free(t.order)
        free(t)


cdef inline void turns_begin(turns_t *t) noexcept nogil:
    """A cycle begins."""
    cdef uint32_t i
    t.taken = 0
    for i in range(t.count):
        turn_serve(&t.groups[i], 0)
        tournament_place(t.order, i, t.groups[i].due, 0)
    tournament_replay(t.order)


cdef inline turns_t *turns_new(const uint16_t *weights, uint32_t count) noexcept nogil:
    """For members whose weights (1..256) are given in descending order; NULL: no memory."""
    cdef turns_t *t
    cdef turn_group_t *g = NULL
    cdef uint32_t groups = 0
    cdef uint32_t i
    for i in range(count):
        if i == 0 or weights[i] != weights[i - 1]:
            groups += 1
    t = <turns_t *>malloc(sizeof(turns_t) + groups * sizeof(turn_group_t))
    if t == NULL:
        return NULL
    t.order = tournament_new(groups)
    if t.order == NULL:
        free(t)
        return NULL
    t.groups = <turn_group_t *>(t + 1)
    t.count = 0
    t.cycle = 0
    for i in range(count):
        if i == 0 or weights[i] != weights[i - 1]:
            g = &t.groups[t.count]
            t.count += 1
            g.first = i
            g.size = 0
            g.quota = 0
        g.size += 1
        g.quota += weights[i]
        t.cycle += weights[i]
    for i in range(t.count):
        g = &t.groups[i]
        g.due_step = (<uint64_t>1 << TURN_CYCLE_BITS) // g.quota
        g.rest_step = 2 * ((<uint64_t>1 << TURN_CYCLE_BITS) % g.quota)
    turns_begin(t)
    return t


cdef inline uint32_t turns_next(turns_t *t) noexcept nogil:
    """The index of the member whose turn it is. Its cost grows with the logarithm of the number of weights."""
    cdef uint32_t best = tournament_best(t.order)
    cdef turn_group_t *g = &t.groups[best]
    cdef uint32_t index = g.first + g.at
    t.taken += 1
    if t.taken == t.cycle:
        turns_begin(t)
        return index
    turn_take(g)                   # a group that is done is due after the cycle's end, so behind all others
    tournament_set(t.order, best, g.due, 0)
    return index


cdef inline void turns_seek(turns_t *t, uint64_t position) noexcept nogil:
    """Go to a position below `cycle`, as if so many turns had been taken."""
    cdef uint64_t near = position - t.count if position > t.count else 0
    cdef uint64_t due
    cdef uint32_t i
    cdef turn_group_t *g
    t.taken = 0
    for i in range(t.count):
        # Each takes the turns that are due before near / cycle; rounding leaves the sum short of `position` by a few.
        g = &t.groups[i]
        due = 2 * g.quota * near
        turn_serve(g, (due + t.cycle - 1) // (2 * t.cycle) if due > t.cycle else 0)
        t.taken += g.served
        tournament_place(t.order, i, g.due, 0)
    tournament_replay(t.order)
    while t.taken < position:
        turns_next(t)
