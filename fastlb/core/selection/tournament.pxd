# SPDX-License-Identifier: Apache-2.0
"""The least of a set of keys when one key changes at a time: a tree of winners, replayed from the changed leaf up."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport malloc

cdef struct rival_t:
    double key                     # the least wins
    uint64_t stamp                 # then the least of these; then the first

cdef struct tournament_t:          # in one block; owned and guarded by the caller
    uint32_t leaves                # a power of two; those that nobody uses have an infinite key
    rival_t *rivals                # one a leaf
    uint16_t *winner               # of each inner node from 1, the root, on; a node from `leaves` on is a leaf


cdef inline double tournament_never() noexcept nogil:
    """A key above every other."""
    return 1e300


cdef inline bint rival_beats(const rival_t *a, const rival_t *b) noexcept nogil:
    return a.key < b.key or (a.key == b.key and a.stamp < b.stamp)


cdef inline void tournament_match(tournament_t *t, uint32_t node) noexcept nogil:
    cdef uint16_t left = t.winner[2 * node]
    cdef uint16_t right = t.winner[2 * node + 1]
    t.winner[node] = right if rival_beats(&t.rivals[right], &t.rivals[left]) else left


cdef inline void tournament_replay(tournament_t *t) noexcept nogil:
    """After many keys changed."""
    cdef uint32_t node = t.leaves - 1
    while node >= 1:
        tournament_match(t, node)
        node -= 1


cdef inline void tournament_resize(tournament_t *t, uint32_t before, uint32_t count) noexcept nogil:
    """Hold `count` keys, at most as many as there is room for; the first `before` keep theirs, the others are not set."""
    cdef uint32_t leaves = 1
    cdef uint32_t i
    while leaves < count:
        leaves *= 2
    t.leaves = leaves
    for i in range(leaves):
        t.winner[leaves + i] = <uint16_t>i
        if i >= before:
            t.rivals[i].key = tournament_never()
            t.rivals[i].stamp = i
    tournament_replay(t)


cdef inline tournament_t *tournament_new(uint32_t room) noexcept nogil:
    """Room for so many keys (1..65,535), none of them set; NULL: no memory. Freed with `free`."""
    cdef uint32_t leaves = 1
    cdef tournament_t *t
    while leaves < room:
        leaves *= 2
    t = <tournament_t *>malloc(sizeof(tournament_t) + leaves * (sizeof(rival_t) + 2 * sizeof(uint16_t)))
    if t == NULL:
        return NULL
    t.rivals = <rival_t *>(t + 1)
    t.winner = <uint16_t *>(t.rivals + leaves)
    t.winner[0] = 0
    tournament_resize(t, 0, room)
    return t


cdef inline uint32_t tournament_best(const tournament_t *t) noexcept nogil:
    return t.winner[1]


cdef inline void tournament_set(tournament_t *t, uint32_t leaf, double key, uint64_t stamp) noexcept nogil:
    cdef uint32_t node = (t.leaves + leaf) >> 1
    cdef uint16_t before
    t.rivals[leaf].key = key
    t.rivals[leaf].stamp = stamp
    while node >= 1:
        before = t.winner[node]
        tournament_match(t, node)
        if t.winner[node] == before and before != leaf:
            return                 # what stands above it saw the same winner, with the same key
        node >>= 1
