# SPDX-License-Identifier: Apache-2.0
"""Which policies may apply at all, found by what the request has: a tree of all the values that policies wait for.

The tree is a radix tree over bytes.  A key is what to look at (l7_source_t), for fields and cookies the name, then the value, from
its end where endings are compared.  It holds what is configured and nothing that a client sends, and a walk takes a step
a byte until no value goes on that way: no request finds a bad case, as it might of a hash.

Whom a walk finds is marked in a set of bits by rank, that is by place in the order of evaluation, so that they are then
tried in this order, each once.
"""
from libc.errno cimport ENOMEM
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

cdef extern from "<stdlib.h>" nogil:
    void qsort(
        void *items, size_t count, size_t size, int (*compare)(const void *a, const void *b) noexcept nogil) noexcept

cdef extern from *:
    int __builtin_ctzll(unsigned long long x) noexcept nogil

cdef enum:
    L7_RANKS = 65536             # policies at the most
    L7_MARK_WORDS = 1024
    L7_MARK_SUMMARIES = 16
    L7_NOWHERE = 0xFFFFFFFF

cdef enum l7_source_t:
    L7_SOURCE_HOST = 0
    L7_SOURCE_HOST_END = 1
    L7_SOURCE_PATH = 2
    L7_SOURCE_PATH_END = 3
    L7_SOURCE_HEADER = 4         # name in small letters, ":", value
    L7_SOURCE_COOKIE = 5         # name, "=", value
    L7_SOURCE_NOTHING = 6        # no request has it
    L7_SOURCES = 7

cdef struct l7_key_t:            # one policy waits for one value
    const uint8_t *data          # a source's number, then the value
    uint32_t length
    uint32_t rank
    uint32_t share               # a guess of how many requests have it, in relation to others
    bint more                    # bytes may follow; else it must be all of the value

cdef struct l7_node_t:
    uint64_t next[4]             # a bit for each byte that goes on from here
    const uint8_t *label         # the bytes that lead here from the node above
    uint32_t label_length
    uint32_t children            # where the nodes below begin, in the order of their bytes
    uint32_t ranks               # where in `ranks` are those that wait for what ends here
    uint32_t exact_count         # first come those for which nothing may follow
    uint32_t more_count          # then those for which something may

cdef struct l7_index_t:          # immutable
    l7_node_t *nodes
    uint32_t node_count
    uint32_t *ranks
    uint32_t *always             # ranks of those that wait for no value
    uint32_t always_count

cdef struct l7_place_t:          # in the tree, on the way to a node
    uint32_t node                # L7_NOWHERE: there is no such value
    uint32_t passed              # bytes of its label

cdef struct l7_marks_t:          # empty between two requests
    uint64_t words[1024]
    uint64_t summary[16]         # a bit for each word that is not 0


cdef inline void l7_mark(l7_marks_t *marks, uint32_t rank) noexcept nogil:
    marks.words[rank >> 6] |= <uint64_t>1 << (rank & 63)
    marks.summary[rank >> 12] |= <uint64_t>1 << ((rank >> 6) & 63)


cdef inline void l7_marks_clear(l7_marks_t *marks, uint32_t count) noexcept nogil:
    """`count`: above the highest rank that may be marked."""
    cdef uint32_t i
    cdef uint64_t left
    for i in range((count + 4095) >> 12):
        left = marks.summary[i]
        while left != 0:
            marks.words[(i << 6) + __builtin_ctzll(left)] = 0
            left &= left - 1
        marks.summary[i] = 0


cdef inline uint32_t l7_marks_next(const l7_marks_t *marks, uint32_t since, uint32_t count) noexcept nogil:
    """The lowest marked rank from `since` on; `count` if there is none below it."""
    cdef uint32_t word = since >> 6
    cdef uint32_t i = since >> 12
    cdef uint64_t left
    if since >= count:
        return count
    left = marks.words[word] >> (since & 63)
    if left != 0:
        return since + __builtin_ctzll(left)
    left = marks.summary[i] & ~(((<uint64_t>2 << (word & 63)) - 1))
    while left == 0:
        i += 1
        if i >= (count + 4095) >> 12:
            return count
        left = marks.summary[i]
    word = (i << 6) + __builtin_ctzll(left)
    return (word << 6) + __builtin_ctzll(marks.words[word])


# ---- walking

cdef inline uint32_t l7_ones(uint64_t x) noexcept nogil:
    """How many bits are set; the instruction for it is not on every x86-64."""
    x -= (x >> 1) & 0x5555555555555555u
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu
    return <uint32_t>((x * 0x0101010101010101u) >> 56)


cdef inline uint32_t l7_child(const l7_node_t *node, uint32_t byte) noexcept nogil:
    """The number of the node that begins with this byte, or L7_NOWHERE."""
    cdef uint64_t word = node.next[byte >> 6]
    cdef uint64_t bit = <uint64_t>1 << (byte & 63)
    cdef uint32_t child = node.children
    cdef uint32_t i
    if not word & bit:
        return L7_NOWHERE
    for i in range(byte >> 6):
        if node.next[i] != 0:
            child += l7_ones(node.next[i])
    return child + l7_ones(word & (bit - 1))


cdef inline void l7_mark_from(
    const l7_index_t *index, uint32_t first, uint32_t count, l7_marks_t *marks
) noexcept nogil:
    """A policy has one key: if the first of those that share one is marked, the walk came by before, and all are."""
    cdef uint32_t rank = index.ranks[first]
    cdef uint32_t i
    if (marks.words[rank >> 6] >> (rank & 63)) & 1:
        return
    for i in range(first, first + count):
        l7_mark(marks, index.ranks[i])


cdef inline bint l7_walk(
    const l7_index_t *index, l7_place_t *place, const uint8_t *data, uint32_t length, bint back, bint fold,
    l7_marks_t *marks
) noexcept nogil:
    """Go on along these bytes, from their end if `back`, capital letters as small ones if `fold`; mark who waits for what
    was passed. 0: no value goes on so."""
    cdef const l7_node_t *node
    cdef uint32_t passed = place.passed
    cdef uint32_t i, child, byte
    if place.node == L7_NOWHERE:
        return 0
    node = &index.nodes[place.node]
    for i in range(length):
        byte = data[length - 1 - i] if back else data[i]
        if fold and c'A' <= byte <= c'Z':
            byte |= 0x20
        if passed < node.label_length:
            if node.label[passed] != byte:
                place.node = L7_NOWHERE
                return 0
            passed += 1
        else:
            child = l7_child(node, byte)
            if child == L7_NOWHERE:
                place.node = L7_NOWHERE
                return 0
            node = &index.nodes[child]
            passed = 1
        if passed == node.label_length and node.more_count > 0:
            l7_mark_from(index, node.ranks + node.exact_count, node.more_count, marks)
    place.node = <uint32_t>(node - index.nodes)
    place.passed = passed
    return 1


cdef inline void l7_walk_end(const l7_index_t *index, const l7_place_t *place, l7_marks_t *marks) noexcept nogil:
    """All bytes were walked: mark who waits for exactly these."""
    cdef const l7_node_t *node = &index.nodes[place.node]
    if place.passed == node.label_length and node.exact_count > 0:
        l7_mark_from(index, node.ranks, node.exact_count, marks)


cdef inline void l7_walk_start(const l7_index_t *index, l7_source_t source, l7_place_t *place) noexcept nogil:
    """Where this source's values begin; nowhere if there are none. No value is only a source, so there is none to mark."""
    cdef uint8_t byte = <uint8_t>source
    place.node = 0
    place.passed = 0
    l7_walk(index, place, &byte, 1, 0, 0, NULL)


# ---- building

cdef inline int l7_key_compare(const void *a, const void *b) noexcept nogil:
    """By bytes, what may be longer behind what may not, then by rank."""
    cdef const l7_key_t *x = <const l7_key_t *>a
    cdef const l7_key_t *y = <const l7_key_t *>b
    cdef int by_bytes = memcmp(x.data, y.data, min(x.length, y.length))
    if by_bytes != 0:
        return by_bytes
    if x.length != y.length:
        return -1 if x.length < y.length else 1
    if x.more != y.more:
        return -1 if y.more else 1
    return -1 if x.rank < y.rank else x.rank > y.rank


cdef inline bint l7_key_alike(const l7_key_t *a, const l7_key_t *b) noexcept nogil:
    return a.length == b.length and a.more == b.more and memcmp(a.data, b.data, a.length) == 0


cdef inline uint32_t l7_keys_choose(l7_key_t *keys, uint32_t count, l7_key_t *chosen, uint32_t ranks) noexcept nogil:
    """Of each policy's keys that which the fewest requests and policies have, to the front; how many these are. `chosen` has
    room for one a rank, all zero."""
    cdef uint32_t i = 0
    cdef uint32_t kept = 0
    cdef uint32_t end, rank
    cdef uint64_t share
    qsort(keys, count, sizeof(l7_key_t), l7_key_compare)
    while i < count:
        end = i + 1
        while end < count and l7_key_alike(&keys[i], &keys[end]):
            end += 1
        share = min(<uint64_t>keys[i].share * (end - i), <uint64_t>0xFFFFFFFF)
        while i < end:
            rank = keys[i].rank
            keys[i].share = <uint32_t>share
            if chosen[rank].data == NULL or keys[i].share < chosen[rank].share:
                chosen[rank] = keys[i]
            i += 1
    for rank in range(ranks):
        if chosen[rank].data != NULL:
            keys[kept] = chosen[rank]
            kept += 1
    qsort(keys, kept, sizeof(l7_key_t), l7_key_compare)
    return kept


cdef inline void l7_index_free(l7_index_t *index) noexcept nogil:
    free(index.nodes)
    free(index.ranks)
    free(index.always)
    memset(index, 0, sizeof(l7_index_t))


cdef struct l7_range_t:          # the keys below a node, while the tree is built
    uint32_t first
    uint32_t end
    uint32_t depth               # bytes that they share


cdef inline void l7_node_fill(
    l7_index_t *index, l7_node_t *node, const l7_key_t *keys, l7_range_t *ranges, uint32_t *ranks
) noexcept nogil:
    """Take the keys that end here out of the node's range, and append a node for each byte that goes on."""
    cdef l7_range_t *range_ = &ranges[node - index.nodes]
    cdef l7_range_t *below
    cdef uint32_t depth = range_.depth
    cdef uint32_t i = range_.first
    cdef uint32_t end, same
    cdef uint8_t byte
    node.ranks = ranks[0]
    while i < range_.end and keys[i].length == depth:
        index.ranks[ranks[0]] = keys[i].rank
        ranks[0] += 1
        if keys[i].more:
            node.more_count += 1
        else:
            node.exact_count += 1
        i += 1
    node.children = index.node_count
    while i < range_.end:
        byte = keys[i].data[depth]
        end = i + 1
        while end < range_.end and keys[end].data[depth] == byte:
            end += 1
        # They are sorted: what the first and the last have in common, all have.
        same = depth + 1
        while same < keys[i].length and same < keys[end - 1].length and keys[i].data[same] == keys[end - 1].data[same]:
            same += 1
        node.next[byte >> 6] |= <uint64_t>1 << (byte & 63)
        index.nodes[index.node_count].label = keys[i].data + depth
        index.nodes[index.node_count].label_length = same - depth
        below = &ranges[index.node_count]
        below.first = i
        below.end = end
        below.depth = same
        index.node_count += 1
        i = end


cdef inline int l7_index_build(l7_index_t *index, l7_key_t *keys, uint32_t count, uint32_t ranks) noexcept nogil:
    """Of the keys of all policies, any number each; those that have none are `always`. The keys' bytes must stay. 0 or
    -ENOMEM, and then it is empty. `keys` is left in disorder."""
    cdef l7_key_t *chosen = <l7_key_t *>calloc(<size_t>ranks + 1, sizeof(l7_key_t))
    cdef l7_range_t *ranges = NULL
    cdef uint32_t i
    cdef uint32_t placed = 0
    memset(index, 0, sizeof(l7_index_t))
    index.always = <uint32_t *>calloc(<size_t>ranks + 1, sizeof(uint32_t))
    if chosen != NULL and index.always != NULL:
        count = l7_keys_choose(keys, count, chosen, ranks)
        for i in range(ranks):
            if chosen[i].data == NULL:
                index.always[index.always_count] = i
                index.always_count += 1
        # Each key ends at a node, and each other node parts at least two keys.
        ranges = <l7_range_t *>calloc(2 * <size_t>count + 1, sizeof(l7_range_t))
        index.nodes = <l7_node_t *>calloc(2 * <size_t>count + 1, sizeof(l7_node_t))
        index.ranks = <uint32_t *>calloc(<size_t>count + 1, sizeof(uint32_t))
    free(chosen)
    if ranges == NULL or index.nodes == NULL or index.ranks == NULL:
        free(ranges)
        l7_index_free(index)
        return -ENOMEM
    ranges[0].end = count
    index.node_count = 1
    i = 0
    while i < index.node_count:
        l7_node_fill(index, &index.nodes[i], keys, ranges, &placed)
        i += 1
    free(ranges)
    return 0
