# SPDX-License-Identifier: Apache-2.0
"""Weighted turns, evenly interleaved: whose turn it is does not depend on how many take part.

Members of one weight form a group and take the group's turns in rotation, so there are at most 256 groups.  In a cycle of
`sum(weight)` turns, group g has `quota` = weight × members of them; its k-th is due at (k + ½) / quota of the cycle, and
turns are taken in the order in which they are due (Webster's divisor order; earliest deadline first).  Shares are exact over a
cycle, and any two groups interleave as evenly as their ratio allows: 1:1:2 gives C A C B.

Due times are compared as doubles, exactly: the quotient of an odd number below 2**26 and an even one is rounded
correctly, so equal fractions are equal doubles, and two different ones differ by more than a rounding.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from fastlb.core.selection.tournament cimport (
    tournament_best, tournament_never, tournament_new, tournament_replay, tournament_set, tournament_t,
)

cdef struct turn_group_t:
    uint32_t first                 # index of its first member; the others follow
    uint32_t size
    uint32_t at                    # whose turn of them is next
    uint64_t served                # turns taken in this cycle
    uint64_t quota

cdef struct turns_t:
    uint64_t cycle
    uint64_t taken                 # turns of this cycle
    uint32_t count
    tournament_t *order
    turn_group_t *groups           # in one block with turns_t


cdef inline double turn_due(const turn_group_t *g) noexcept nogil:
    return <double>(2 * g.served + 1) / <double>(2 * g.quota)


cdef inline void turns_free(turns_t *t) noexcept nogil:
    if t != NULL:
        free(t.order)
        free(t)


cdef inline turns_t *turns_new(const uint16_t *weights, uint32_t count) noexcept nogil:
    """For members whose weights (1..256) are given in descending order; NULL: no memory."""
    cdef turns_t *t
    cdef turn_group_t *g
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
    t.taken = 0
    for i in range(count):
        if i == 0 or weights[i] != weights[i - 1]:
            g = &t.groups[t.count]
            g.first = i
            g.size = 0
            g.at = 0
            g.served = 0
            g.quota = 0
            t.count += 1
        g = &t.groups[t.count - 1]
        g.size += 1
        g.quota += weights[i]
        t.cycle += weights[i]
    for i in range(t.count):
        t.order.rivals[i].key = turn_due(&t.groups[i])
    tournament_replay(t.order)
    return t


cdef inline uint32_t turns_next(turns_t *t) noexcept nogil:
    """The index of the member whose turn it is. Its cost grows with the logarithm of the number of weights."""
    cdef uint32_t best = tournament_best(t.order)
    cdef uint32_t i, index
    cdef turn_group_t *g = &t.groups[best]
    index = g.first + g.at
    g.at = g.at + 1 if g.at + 1 < g.size else 0
    g.served += 1
    t.taken += 1
    if t.taken < t.cycle:
        # A group that is done is due after the cycle's end, so behind all others.
        tournament_set(t.order, best, turn_due(g), best)
        return index
    t.taken = 0
    for i in range(t.count):
        t.groups[i].served = 0
        t.order.rivals[i].key = turn_due(&t.groups[i])
    tournament_replay(t.order)
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
        g.served = (due + t.cycle - 1) // (2 * t.cycle) if due > t.cycle else 0
        g.at = g.served % g.size
        t.taken += g.served
        t.order.rivals[i].key = turn_due(g)
    tournament_replay(t.order)
    while t.taken < position:
        turns_next(t)
