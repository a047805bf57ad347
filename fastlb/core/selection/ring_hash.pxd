# SPDX-License-Identifier: Apache-2.0
"""SOURCE_IP, SOURCE_IP_PORT: a consistent hash ring, the same on every node.

Each member has RING_POINTS points on the ring, hashed from its address.  A client belongs to the member with the least
distance / weight from the client up to the member's next point: with equal weights that is ketama's rule, the next point of
all; with others, shares are as the weights, and only their ratio counts.  As the owner is a minimum over members,
one that leaves hands on its own clients and moves nobody else's, and one whose weight changes only takes or gives its own.

For the lookup, the ring is cut into arcs of one owner, sorted by where they end; an index on the hash's top bits says where to look.
A roster takes over the points of the one before it, and sorts only those of members that are new.
"""
from libc.errno cimport ENOMEM
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from fastlb.core.hash cimport hash_mix
from fastlb.core.model cimport ALGORITHM_SOURCE_IP, ALGORITHM_SOURCE_IP_PORT, member_t, pool_t
from fastlb.core.selection.ops cimport pick_refuses, pick_t, pick_takes_any, roster_other, roster_t, selector_ops_t

cdef enum:
    RING_POINTS = 128              # a member; the share of one deviates by 1 / sqrt(points), 9 %
    RING_SLOT_BITS = 16
    RING_SLOT_MASK = 0xFFFF
    RING_ARCS_AN_ENTRY = 4         # of the index
    RING_GLANCE = 8                # arcs compared at once: a cache line
    RING_LOOKS = 1024              # arcs a retry looks at
    RING_RIVALS = 256              # at most, as many as there are weights

# A point, or the end of an arc, is a word: 48 bits of position, then the index in the roster.

cdef struct ring_t:                # roster.state
    uint64_t *points               # sorted
    uint32_t point_count
    uint32_t arc_count
    uint64_t *block                # in which the arcs lie, if they are not the points
    uint64_t *arcs                 # sorted, then some that close the circle; the points themselves if the weights are equal
    uint32_t *index                # first arc that ends in or after each piece of the circle
    uint32_t shift

cdef struct ring_rival_t:          # a point that was passed, and may own what lies further on
    uint64_t at                    # distance from the start of the sweep, against the clock
    uint64_t until                 # the last place where it is nearer than the rival below it
    uint32_t weight
    uint32_t slot


cdef inline void ring_free(ring_t *ring) noexcept nogil:
    if ring != NULL:
        free(ring.points)
        free(ring.block)
        free(ring.index)
        free(ring)


cdef inline uint32_t ring_bits(uint32_t count) noexcept nogil:
    """Of a table with about `count` entries, more rather than less; at least 1."""
    cdef uint32_t bits = 1
    while (<uint64_t>1 << bits) < count:
        bits += 1
    return bits


cdef inline bint ring_sort(const uint64_t *given, uint32_t count, uint64_t *into) noexcept nogil:
    """Hashes are spread evenly: after a distribution by their top bits, an insertion sort has little left to do."""
    cdef uint32_t shift = 64 - ring_bits(count)
    cdef uint32_t i, j, bucket
    cdef uint32_t total = 0
    cdef uint64_t word
    cdef uint32_t *begins = <uint32_t *>malloc((<size_t>1 << (64 - shift)) * sizeof(uint32_t))
    if begins == NULL:
        return 0
    memset(begins, 0, (<size_t>1 << (64 - shift)) * sizeof(uint32_t))
    for i in range(count):
        begins[given[i] >> shift] += 1
    for i in range(<uint32_t>1 << (64 - shift)):
        bucket = begins[i]
        begins[i] = total
        total += bucket
    for i in range(count):
        bucket = <uint32_t>(given[i] >> shift)
        into[begins[bucket]] = given[i]
        begins[bucket] += 1
    for i in range(1, count):
        word = into[i]
        j = i
        while j > 0 and into[j - 1] > word:
            into[j] = into[j - 1]
            j -= 1
        into[j] = word
    free(begins)
    return 1


cdef inline void ring_points(const member_t *member, uint32_t slot, uint64_t *into) noexcept nogil:
    cdef uint64_t i
    for i in range(RING_POINTS):
        into[i] = (hash_mix(member.hash_key + i * 0x9E3779B97F4A7C15u) & ~<uint64_t>RING_SLOT_MASK) | slot


cdef inline bint ring_stays(const roster_t *previous, const member_t *member) noexcept nogil:
    return member.slot < previous.count and previous.members[member.slot] == member


cdef inline void ring_merge(
    const ring_t *old, const uint32_t *slots, const uint64_t *fresh, uint32_t fresh_count, uint64_t *into
) noexcept nogil:
    """`slots`: the new index of each old one, or more than a slot holds: it left."""
    cdef uint32_t i, slot
    cdef uint32_t taken = 0
    cdef uint32_t n = 0
    cdef uint64_t word
    for i in range(old.point_count):
        word = old.points[i]
        slot = slots[word & RING_SLOT_MASK]
        if slot > RING_SLOT_MASK:
            continue
        word = (word & ~<uint64_t>RING_SLOT_MASK) | slot
        while taken < fresh_count and fresh[taken] < word:
            into[n] = fresh[taken]
            n += 1
            taken += 1
        into[n] = word
        n += 1
    while taken < fresh_count:
        into[n] = fresh[taken]
        n += 1
        taken += 1


cdef inline bint ring_gather(ring_t *ring, const roster_t *roster, const roster_t *previous) noexcept nogil:
    """The sorted points of the roster; `previous`: one with a ring, or NULL. 0: no memory."""
    cdef const ring_t *old = <const ring_t *>previous.state if previous != NULL else NULL
    cdef uint32_t fresh_count = 0
    cdef uint32_t i
    cdef bint sorted_ = 0
    cdef uint64_t *given = NULL
    cdef uint64_t *fresh = NULL
    cdef uint32_t *slots = NULL
    for i in range(roster.count):
        fresh_count += old == NULL or not ring_stays(previous, roster.members[i])
    ring.point_count = roster.count * RING_POINTS
    ring.points = <uint64_t *>malloc((<size_t>ring.point_count + RING_GLANCE) * sizeof(uint64_t))
    given = <uint64_t *>malloc((<size_t>fresh_count * RING_POINTS + 1) * sizeof(uint64_t))
    fresh = <uint64_t *>malloc((<size_t>fresh_count * RING_POINTS + 1) * sizeof(uint64_t)) if old != NULL else ring.points
    slots = <uint32_t *>malloc((<size_t>previous.count if previous != NULL else 1) * sizeof(uint32_t))
    if ring.points != NULL and given != NULL and fresh != NULL and slots != NULL:
        if old != NULL:
            memset(slots, 0xFF, previous.count * sizeof(uint32_t))
        fresh_count = 0
        for i in range(roster.count):
            if old != NULL and ring_stays(previous, roster.members[i]):
                slots[roster.members[i].slot] = i
            else:
                ring_points(roster.members[i], i, given + <size_t>fresh_count * RING_POINTS)
                fresh_count += 1
        sorted_ = ring_sort(given, fresh_count * RING_POINTS, fresh)
        if sorted_ and old != NULL:
            ring_merge(old, slots, fresh, fresh_count * RING_POINTS, ring.points)
    if fresh != ring.points:
        free(fresh)
    free(given)
    free(slots)
    return sorted_


cdef inline uint64_t ring_until(uint64_t at, uint32_t weight, const ring_rival_t *far) noexcept nogil:
    """The last place where a point at `at` beats the heavier `far`; a tie is the nearer one's. In whole units, so exact."""
    return at + (at - far.at) * weight // (far.weight - weight)


cdef inline uint64_t *ring_sweep(const ring_t *ring, const uint16_t *weights, uint32_t start, uint64_t *end) noexcept nogil:
    """Cut the circle into arcs, going round against the clock from `start`, a heaviest point; written downwards from `end`.

    Rivals stand on a stack, the owner on top, each with more weight than those above it: only a heavier one can still
    take over.  They are the lower hull of the lines distance / weight, so each takes over later than the one above it.
    What was passed before a heaviest point is beaten for good, so a sweep that begins there needs no run-up.
    """
    cdef ring_rival_t stack[RING_RIVALS]
    cdef ring_rival_t *top = stack
    cdef uint32_t at = start
    cdef uint32_t weight, slot, _
    cdef uint64_t origin = ring.points[start] >> RING_SLOT_BITS
    cdef uint64_t never = <uint64_t>1 << 62
    cdef uint64_t here, until
    top.at = 0
    top.until = never                   # there is nobody heavier
    top.weight = weights[ring.points[start] & RING_SLOT_MASK]
    top.slot = ring.points[start] & RING_SLOT_MASK
    end -= 1
    end[0] = ring.points[start]
    for _ in range(ring.point_count):
        at = at - 1 if at > 0 else ring.point_count - 1
        here = (origin - (ring.points[at] >> RING_SLOT_BITS)) & ((<uint64_t>1 << 48) - 1)
        if at == start:
            here = <uint64_t>1 << 48    # all the way round
        while top.until + 1 < here:
            end -= 1
            end[0] = (origin - top.until - 1) << RING_SLOT_BITS
            top -= 1
            end[0] |= top.slot
        if at == start:
            break
        slot = ring.points[at] & RING_SLOT_MASK
        weight = weights[slot]
        while top.weight <= weight and top != stack:
            top -= 1
        until = never
        if top.weight > weight:
            until = ring_until(here, weight, top)
            while top.until <= until:   # then the one below it takes over before it does
                top -= 1
                until = ring_until(here, weight, top)
            top += 1
        top.at = here
        top.until = until
        top.weight = weight
        top.slot = slot
        end -= 1
        end[0] = ring.points[at]
    return end


cdef inline bint ring_cut(ring_t *ring, const roster_t *roster) noexcept nogil:
    """The arcs of a roster whose weights differ. 0: no memory."""
    cdef uint32_t start = ring.point_count - 1
    cdef uint64_t *end
    cdef uint64_t *first
    cdef uint64_t *low
    while roster.weights[ring.points[start] & RING_SLOT_MASK] != roster.weights[0]:
        start -= 1
    # At most two arcs a point: its own and one when it is overtaken. From the highest heaviest point the sweep goes down to
    # 0, then comes from the top to where it began; that last stretch is short, and belongs behind the others.
    ring.block = <uint64_t *>malloc(
        (2 * <size_t>ring.point_count + 2 * (ring.point_count - start) + RING_RIVALS + RING_GLANCE) * sizeof(uint64_t)
    )
    if ring.block == NULL:
        return 0
    end = ring.block + 2 * <size_t>ring.point_count
    first = ring_sweep(ring, roster.weights, start, end)
    low = first
    while low < end and (low[0] >> RING_SLOT_BITS) > (ring.points[start] >> RING_SLOT_BITS):
        low += 1
    memcpy(end, first, (low - first) * sizeof(uint64_t))
    ring.arcs = low
    ring.arc_count = <uint32_t>(end - first)
    return 1


cdef inline bint ring_index(ring_t *ring) noexcept nogil:
    cdef uint32_t bits = ring_bits(ring.arc_count // RING_ARCS_AN_ENTRY)
    cdef uint32_t next_ = ring.arc_count
    cdef uint32_t i
    ring.shift = 64 - bits
    ring.index = <uint32_t *>malloc((<size_t>1 << bits) * sizeof(uint32_t))
    if ring.index == NULL:
        return 0
    # Past the last arc the first one begins; a glance may go beyond.
    for i in range(RING_GLANCE):
        ring.arcs[ring.arc_count + i] = ~<uint64_t>RING_SLOT_MASK | (ring.arcs[0] & RING_SLOT_MASK)
    # Downwards, so that the first arc of each piece writes last; pieces in which none ends take over from the next.
    memset(ring.index, 0xFF, (<size_t>1 << bits) * sizeof(uint32_t))
    i = ring.arc_count
    while i > 0:
        i -= 1
        ring.index[ring.arcs[i] >> ring.shift] = i
    i = <uint32_t>1 << bits
    while i > 0:
        i -= 1
        if ring.index[i] == ~<uint32_t>0:
            ring.index[i] = next_
        next_ = ring.index[i]
    return 1


cdef inline int ring_hash_build(pool_t *pool, roster_t *roster, const roster_t *previous) noexcept nogil:
    cdef ring_t *ring
    cdef bint built
    if roster.count == 0:
        return 0
    if previous != NULL and (
        previous.algorithm not in (ALGORITHM_SOURCE_IP, ALGORITHM_SOURCE_IP_PORT) or previous.state == NULL
    ):
        previous = NULL
    ring = <ring_t *>malloc(sizeof(ring_t))
    if ring == NULL:
        return -ENOMEM
    memset(ring, 0, sizeof(ring_t))
    built = ring_gather(ring, roster, previous)
    if built and roster.even:
        ring.arcs = ring.points
        ring.arc_count = ring.point_count
    elif built:
        built = ring_cut(ring, roster)
    if not built or not ring_index(ring):
        ring_free(ring)
        return -ENOMEM
    roster.state = ring
    return 0


cdef inline member_t *ring_hash_pick(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil:
    cdef const ring_t *ring = <const ring_t *>roster.state
    cdef uint64_t hashed = ask.client_port_hash if roster.algorithm == ALGORITHM_SOURCE_IP_PORT else ask.client_hash
    cdef uint64_t key = hashed & ~<uint64_t>RING_SLOT_MASK
    cdef uint32_t at = ring.index[key >> ring.shift]
    cdef uint32_t passed = RING_GLANCE
    cdef uint32_t i, _
    cdef member_t *member
    while passed == RING_GLANCE:        # rarely twice, so that the branch is foreseen: 16 -> 9 ns
        passed = 0
        for i in range(RING_GLANCE):
            passed += ring.arcs[at + i] < key
        at += passed
    member = roster.members[ring.arcs[at] & RING_SLOT_MASK]
    if pick_takes_any(ask):
        return member
    for _ in range(RING_LOOKS):
        if not pick_refuses(ask, member):
            return member
        at = at + 1 if at + 1 < ring.arc_count else 0
        member = roster.members[ring.arcs[at] & RING_SLOT_MASK]
    return roster_other(roster, ask, 0)


cdef inline void ring_hash_free(roster_t *roster) noexcept nogil:
    ring_free(<ring_t *>roster.state)


cdef inline selector_ops_t ring_hash_ops() noexcept nogil:
    cdef selector_ops_t ops
    ops.build = ring_hash_build
    ops.activate = NULL
    ops.deactivate = NULL
    ops.pick = ring_hash_pick
    ops.opened = NULL
    ops.closed = NULL
    ops.free = ring_hash_free
    return ops
