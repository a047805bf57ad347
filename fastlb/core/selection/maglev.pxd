# SPDX-License-Identifier: Apache-2.0
"""MAGLEV: a table of prime size, by the client's address; the same on every node.

After Eisenbud et al., NSDI 2016, section 3.4: each member lists the table's places in an order of its own, (offset + i × skip) modulo the
size, and members take turns to claim their next place that is still free.  Turns go by weight (turns.pxd), so shares are exact to a
place or so; and in the order of the members' hashes, so that they do not depend on who was added first.  A member that leaves moves
its own clients and, unlike the ring, a few others; in return shares are far more even, and a lookup is one load.
"""
from libc.errno cimport ENOMEM
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort
from fastlb.core.hash cimport hash_mix
from fastlb.core.model cimport member_t, pool_t
from fastlb.core.selection.ops cimport pick_refuses, pick_t, pick_takes_any, roster_other, roster_t, selector_ops_t
from fastlb.core.selection.turns cimport turns_free, turns_new, turns_next, turns_t

cdef enum:
    MAGLEV_PLACES_A_MEMBER = 100   # at least: shares of equal members differ by 1 % at most
    MAGLEV_LOOKS = 1024            # places a retry looks at

cdef struct maglev_t:              # roster.state; the table follows it
    uint32_t size
    uint16_t *table                # index in the roster

cdef struct maglev_claimer_t:
    uint64_t hash_key
    uint32_t next                  # the place to claim next
    uint32_t skip
    uint16_t weight
    uint16_t slot


cdef inline uint32_t maglev_size(uint32_t members) noexcept nogil:
    """A prime just above a power of two, by the members the pool has, up or down: health must not change it."""
    cdef uint64_t places = <uint64_t>members * MAGLEV_PLACES_A_MEMBER
    if places <= 65537:
        return 65537
    if places <= 131101:
        return 131101
    if places <= 262147:
        return 262147
    if places <= 524309:
        return 524309
    if places <= 1048583:
        return 1048583
    if places <= 2097169:
        return 2097169
    if places <= 4194319:
        return 4194319
    return 8388617


cdef inline int maglev_order(const void *left, const void *right) noexcept nogil:
    """Heaviest first, as turns_new has them; then by hash."""
    cdef const maglev_claimer_t *a = <const maglev_claimer_t *>left
    cdef const maglev_claimer_t *b = <const maglev_claimer_t *>right
    if a.weight != b.weight:
        return -1 if a.weight > b.weight else 1
    if a.hash_key != b.hash_key:
        return -1 if a.hash_key < b.hash_key else 1
    return 0


cdef inline void maglev_fill(
    maglev_t *maglev, maglev_claimer_t *claimers, uint32_t count, turns_t *turns, uint64_t *taken
) noexcept nogil:
    """`turns`: NULL if weights are equal. `taken`: a bit a place: it stays in the first-level cache where the table does not."""
    cdef uint32_t size = maglev.size
    cdef uint32_t rank = 0
    cdef uint32_t place, _
    cdef maglev_claimer_t *claimer
    for _ in range(size):
        if turns != NULL:
            rank = turns_next(turns)
        claimer = &claimers[rank]
        rank = rank + 1 if rank + 1 < count else 0
        place = claimer.next
        while (taken[place >> 6] >> (place & 63)) & 1:
            place += claimer.skip
            if place >= size:
                place -= size
        taken[place >> 6] |= <uint64_t>1 << (place & 63)
        maglev.table[place] = claimer.slot
        place += claimer.skip
        claimer.next = place - size if place >= size else place


cdef inline int maglev_build(pool_t *pool, roster_t *roster, const roster_t *previous) noexcept nogil:
    cdef uint32_t size = maglev_size(pool.count)
    cdef uint32_t i
    cdef uint64_t hashed
    cdef turns_t *turns = NULL
    cdef maglev_t *maglev
    cdef maglev_claimer_t *claimers
    cdef uint64_t *taken
    if roster.count == 0:
        return 0
    maglev = <maglev_t *>malloc(sizeof(maglev_t) + <size_t>size * sizeof(uint16_t))
    claimers = <maglev_claimer_t *>malloc(roster.count * sizeof(maglev_claimer_t))
    taken = <uint64_t *>calloc(size // 64 + 1, sizeof(uint64_t))
    if not roster.even:
        turns = turns_new(roster.weights, roster.count)
    if maglev == NULL or claimers == NULL or taken == NULL or (turns == NULL and not roster.even):
        free(maglev)
        maglev = NULL
    else:
        maglev.size = size
        maglev.table = <uint16_t *>(maglev + 1)
        for i in range(roster.count):
            hashed = hash_mix(roster.members[i].hash_key)
            claimers[i].hash_key = roster.members[i].hash_key
            claimers[i].next = <uint32_t>((hashed >> 32) % size)
            claimers[i].skip = <uint32_t>((hashed & 0xFFFFFFFFu) % (size - 1)) + 1
            claimers[i].weight = roster.weights[i]
            claimers[i].slot = <uint16_t>i
        qsort(claimers, roster.count, sizeof(maglev_claimer_t), maglev_order)
        maglev_fill(maglev, claimers, roster.count, turns, taken)
    free(claimers)
    free(taken)
    turns_free(turns)
    roster.state = maglev
    return 0 if maglev != NULL else -ENOMEM


cdef inline member_t *maglev_pick(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil:
    cdef const maglev_t *maglev = <const maglev_t *>roster.state
    cdef uint32_t place = <uint32_t>(((ask.client_hash >> 32) * maglev.size) >> 32)
    cdef uint32_t _
    cdef member_t *member = roster.members[maglev.table[place]]
    if pick_takes_any(ask):
        return member
    for _ in range(MAGLEV_LOOKS):
        if not pick_refuses(ask, member):
            return member
        place = place + 1 if place + 1 < maglev.size else 0
        member = roster.members[maglev.table[place]]
    return roster_other(roster, ask, 0)


cdef inline void maglev_free(roster_t *roster) noexcept nogil:
    free(roster.state)


cdef inline selector_ops_t maglev_ops() noexcept nogil:
    cdef selector_ops_t ops
    ops.build = maglev_build
    ops.activate = NULL
    ops.deactivate = NULL
    ops.pick = maglev_pick
    ops.opened = NULL
    ops.closed = NULL
    ops.free = maglev_free
    return ops
