# SPDX-License-Identifier: Apache-2.0
"""The least of a set of keys while one key after the other changes: a tree that holds the winner of each pair, and of those.

A node holds its winner's key itself, not a reference to it, and the key is one number, so that a match is a comparison and two
conditional moves: a change among 256 keys takes 15 ns.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport malloc

cdef extern from *:
    ctypedef unsigned long long uint128_t "unsigned __int128"    # the C compiler knows how wide it is

cdef enum:
    TOURNAMENT_MAX = 256

cdef struct tournament_t:          # in one block; owned and guarded by the caller
    uint32_t leaves                # a power of two; those that are not set have the greatest key there is
    # The root is 1; the children of i are 2 i and 2 i + 1; leaves come last. From the top: 64 bits of key, of which the
    # least wins; then 56 bits of stamp; then 8 bits of leaf.
    uint128_t *nodes


cdef inline uint128_t rival(uint32_t leaf, uint64_t key, uint64_t stamp) noexcept nogil:
    return <uint128_t>key << 64 | (stamp << 8 | leaf)


cdef inline uint128_t rival_better(uint128_t one, uint128_t two) noexcept nogil:
    return two if two < one else one


cdef inline void tournament_place(tournament_t *t, uint32_t leaf, uint64_t key, uint64_t stamp) noexcept nogil:
    """Set a key without playing; tournament_replay follows when all are set."""
    t.nodes[t.leaves + leaf] = rival(leaf, key, stamp)


cdef inline void tournament_replay(tournament_t *t) noexcept nogil:
    cdef uint32_t node = t.leaves - 1
    while node >= 1:
        t.nodes[node] = rival_better(t.nodes[2 * node], t.nodes[2 * node + 1])
        node -= 1


cdef inline void tournament_clear(tournament_t *t, uint32_t count) noexcept nogil:
    """Hold `count` keys (1..256), no more than there is room for, and none of them set."""
    cdef uint32_t i
    t.leaves = 1
    while t.leaves < count:
        t.leaves *= 2
    for i in range(t.leaves):
        tournament_place(t, i, ~<uint64_t>0, 0)
    tournament_replay(t)


cdef inline tournament_t *tournament_new(uint32_t room) noexcept nogil:
    """Room for so many keys (1..256), none of them set; NULL: no memory. Freed with `free`."""
    cdef uint32_t leaves = 1
    cdef tournament_t *t
    while leaves < room:
        leaves *= 2
    t = <tournament_t *>malloc(sizeof(tournament_t) + 2 * leaves * sizeof(uint128_t))
    if t == NULL:
        return NULL
    t.nodes = <uint128_t *>(t + 1)
    tournament_clear(t, room)
    return t


cdef inline uint32_t tournament_best(const tournament_t *t) noexcept nogil:
    """The leaf with the least key."""
    return <uint32_t>t.nodes[1] & 0xFF


cdef inline void tournament_set(tournament_t *t, uint32_t leaf, uint64_t key, uint64_t stamp) noexcept nogil:
    cdef uint32_t node = t.leaves + leaf
    cdef uint128_t best = rival(leaf, key, stamp)
    t.nodes[node] = best
    while node > 1:
        best = rival_better(best, t.nodes[node ^ 1])
        node >>= 1
        t.nodes[node] = best
