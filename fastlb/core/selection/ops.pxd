# SPDX-License-Identifier: Apache-2.0
"""What an algorithm is: how it turns a roster into state of its own, and how it picks from it.

A roster is the members that may take new work now, heaviest first and otherwise in the pool's order.  It is built off to the
side under `pool.mutex`, published with one pointer store and never changed after that; an algorithm whose picks write
state (a phase, a list) guards it with `pool.pick_lock`.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from fastlb.core.atomics cimport counter_get, flag_get
from fastlb.core.model cimport algorithm_t, member_t, pool_t
from fastlb.core.random cimport random_t
from fastlb.core.slow_start cimport slow_start_refuses, slow_start_t

cdef enum:
    ROSTER_MEMBERS_MAX = 65535          # an index fits 16 bits wherever a table holds many of them

cdef enum:                              # why a member may be refused that was not tried, bits
    PICK_MAXIMA = 1                     # some have a maximum of sessions
    PICK_WARMING = 2                    # some are in their slow start

cdef struct pick_t:                     # what a pick may depend on; filled by the caller, for one pick
    uint64_t client_hash                # of the client's address: SOURCE_IP, MAGLEV
    uint64_t client_port_hash           # of its address and port: SOURCE_IP_PORT
    random_t *rng                       # the worker's own; never NULL
    uint64_t now_ns
    member_t **tried                    # not these again, while another usable one is left
    uint32_t tried_count
    uint32_t limited                    # set by pool_pick: PICK_*
    const slow_start_t *warm            # with PICK_WARMING
    bint full                           # set by pool_pick when it finds nobody: some were not tried, but are full

cdef struct selector_ops_t:             # what an algorithm does not need is NULL
    # Under pool.mutex, before `next` is published; `previous` (or NULL) still is. Sets next.state. 0 or a negative errno.
    int (*build)(pool_t *pool, roster_t *next, const roster_t *previous) noexcept nogil
    # Under pool.mutex and pool.pick_lock: right after the roster is published; before one of another algorithm is.
    void (*activate)(pool_t *pool, roster_t *roster) noexcept nogil
    void (*deactivate)(pool_t *pool) noexcept nogil
    # Worker threads. The roster has a member at least; NULL: each is refused (pick_refuses), or the roster is out of date.
    member_t *(*pick)(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil
    # Worker threads, after member.active has counted.
    void (*opened)(pool_t *pool, member_t *member, uint64_t now_ns) noexcept nogil
    void (*closed)(pool_t *pool, member_t *member, uint64_t now_ns, uint64_t response_ns) noexcept nogil
    # Frees roster.state, once no reader is left. It may outlive pool and members, so it touches neither.
    void (*free)(roster_t *roster) noexcept nogil

cdef struct roster_t:
    uint64_t generation
    uint32_t count
    bint even                           # one weight for all
    uint32_t limited                    # PICK_MAXIMA, or 0
    bint panic                          # too few are up: those that are down serve too
    uint64_t warming_until_ns           # the last of them has its whole share then; 0: nobody is warming
    uint64_t slow_start_ns
    uint64_t weight_total
    uint64_t weight_mean                # rounded
    algorithm_t algorithm
    selector_ops_t ops
    # Of the algorithm; with members in their slow start, ops.pick is roster_pick_slowly, which asks this one.
    member_t *(*pick_at_once)(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil
    void *state
    uint64_t phase                      # ROUND_ROBIN of equal weights: where in the rotation it begins
    member_t **members                  # in one block with the roster itself
    uint16_t *weights


cdef inline bint pick_takes_any(const pick_t *ask) noexcept nogil:
    """Nobody is refused: no need to look."""
    return (ask.tried_count | ask.limited) == 0


cdef inline bint member_full(const member_t *member) noexcept nogil:
    """It has as many sessions as it may have at once."""
    cdef uint32_t limit = flag_get(&member.max_connections)
    return limit != 0 and counter_get(&member.active) >= <int64_t>limit


cdef inline bint pick_was_tried(const pick_t *ask, const member_t *member) noexcept nogil:
    cdef uint32_t i
    for i in range(ask.tried_count):
        if ask.tried[i] == member:
            return 1
    return 0


cdef inline bint pick_defers(const pick_t *ask, const member_t *member) noexcept nogil:
    """It is warming, and this pick is not among its share."""
    return ask.limited & PICK_WARMING and slow_start_refuses(ask.warm, member)


cdef inline bint pick_refuses(const pick_t *ask, const member_t *member) noexcept nogil:
    """It was tried, or it is full, or this pick is not among its share."""
    return pick_was_tried(ask, member) or (
        ask.limited and (member_full(member) or pick_defers(ask, member))
    )


cdef inline uint32_t roster_other_index(const roster_t *roster, const pick_t *ask, uint32_t start) noexcept nogil:
    """The next member from `start` on that is not refused; roster.count if there is none. Every algorithm's last resort."""
    cdef uint32_t at = start
    cdef uint32_t _
    for _ in range(roster.count):
        if not pick_refuses(ask, roster.members[at]):
            return at
        at = at + 1 if at + 1 < roster.count else 0
    return roster.count


cdef inline member_t *roster_other(const roster_t *roster, const pick_t *ask, uint32_t start) noexcept nogil:
    cdef uint32_t index = roster_other_index(roster, ask, start)
    return roster.members[index] if index < roster.count else NULL


cdef inline uint64_t roster_phase(uint64_t generation, uint64_t bound) noexcept nogil:
    """Where generation after generation begins in a cycle of `bound` (below 2**32): multiples of the golden ratio.

    However picks and changes may keep step, the beginnings spread evenly over the cycle; to begin at 0 each time, or to
    go on by a plain count, would favour some members while rosters come and go.
    """
    return ((generation * 0x9E3779B97F4A7C15u >> 32) * bound) >> 32
