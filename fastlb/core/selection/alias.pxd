# SPDX-License-Identifier: Apache-2.0
"""A weighted draw in constant time (Walker's alias method, built as Vose does), and a draw of two members."""
from libc.errno cimport ENOMEM
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from fastlb.core.random cimport random_below, random_next, random_t
from fastlb.core.selection.ops cimport pick_refuses, pick_t, pick_takes_any, roster_other_index, roster_t

cdef enum:
    ALIAS_REDRAWS = 8

cdef struct alias_t:               # one a member
    uint32_t own                   # of 2**32 draws that land here, so many stay; the others go to `other`
    uint32_t other


cdef inline int alias_build(roster_t *roster) noexcept nogil:
    """roster.state becomes a table of alias_t, if the weights differ. 0 or -ENOMEM."""
    cdef uint32_t n = roster.count
    cdef uint32_t small = 0        # the stack of those below the mean grows from the front, that of the others from the back
    cdef uint32_t large = n
    cdef uint32_t i, j
    cdef uint64_t *share           # weight × n, of weight_total a place
    cdef uint32_t *todo
    cdef alias_t *table
    if roster.even:
        return 0
    table = <alias_t *>malloc(n * sizeof(alias_t))
    share = <uint64_t *>malloc(n * (sizeof(uint64_t) + sizeof(uint32_t)))
    if table == NULL or share == NULL:
        free(table)
        free(share)
        return -ENOMEM
    todo = <uint32_t *>(share + n)
    for i in range(n):
        share[i] = <uint64_t>roster.weights[i] * n
        if share[i] < roster.weight_total:
            todo[small] = i
            small += 1
        else:
            large -= 1
            todo[large] = i
    while small > 0 and large < n:
        small -= 1
        i = todo[small]
        j = todo[large]
        table[i].own = <uint32_t>((share[i] << 32) // roster.weight_total)
        table[i].other = j
        share[j] -= roster.weight_total - share[i]
        if share[j] < roster.weight_total:
            large += 1
            todo[small] = j
            small += 1
    while large < n:               # exactly a whole place each
        table[todo[large]].own = 0xFFFFFFFFu
        table[todo[large]].other = todo[large]
        large += 1
    free(share)
    roster.state = table
    return 0


cdef inline void alias_free(roster_t *roster) noexcept nogil:
    free(roster.state)


cdef inline uint32_t alias_draw(const roster_t *roster, random_t *rng) noexcept nogil:
    """The index of a member, by weight. One random number: its upper half says the place, its lower half who of two."""
    cdef const alias_t *table = <const alias_t *>roster.state
    cdef uint64_t drawn = random_next(rng)
    cdef uint32_t index = <uint32_t>(((drawn >> 32) * roster.count) >> 32)
    if table == NULL or <uint32_t>drawn <= table[index].own:
        return index
    return table[index].other


cdef inline uint32_t alias_draw_another(const roster_t *roster, random_t *rng, uint32_t first) noexcept nogil:
    """Another one if a few draws find it: a very heavy member may be both."""
    cdef uint32_t index = first
    cdef uint32_t _
    if roster.even:
        index += 1 + random_below(rng, roster.count - 1)
        return index if index < roster.count else index - roster.count
    for _ in range(ALIAS_REDRAWS):
        index = alias_draw(roster, rng)
        if index != first:
            break
    return index


cdef inline bint alias_draw_two(
    const roster_t *roster, const pick_t *ask, uint32_t *one, uint32_t *two
) noexcept nogil:
    """Indexes of two members that are not refused, or twice the same; 0: there is none."""
    cdef bint one_refused, two_refused
    cdef uint32_t _
    one[0] = 0
    two[0] = 0
    if roster.count == 1:
        return not pick_refuses(ask, roster.members[0])
    for _ in range(ask.tried_count + ALIAS_REDRAWS):
        one[0] = alias_draw(roster, ask.rng)
        two[0] = alias_draw_another(roster, ask.rng, one[0])
        if pick_takes_any(ask):
            return 1
        one_refused = pick_refuses(ask, roster.members[one[0]])
        two_refused = pick_refuses(ask, roster.members[two[0]])
        if one_refused and two_refused:
            continue
        if one_refused:
            one[0] = two[0]
        elif two_refused:
            two[0] = one[0]
        return 1
    one[0] = roster_other_index(roster, ask, random_below(ask.rng, roster.count))
    two[0] = one[0]
    return one[0] < roster.count
