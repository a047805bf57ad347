# SPDX-License-Identifier: Apache-2.0
"""LEAST_CONNECTIONS: fewest open sessions per unit of weight, ties in round robin.

As HAProxy counts: a member without sessions comes first whatever its weight, then the least (active + 1) / weight.  Among
equals the one goes first that was picked, opened or closed longest ago.

Members of one weight form a group; in it they stand in buckets by number of sessions, and a session that opens or closes moves its
member to a neighbouring bucket.  The best of the groups comes from a tournament, so no step grows with the number of members.
These lists belong to the pool, not to a roster: a new roster only adds and strikes what it changes.  All under pool.pick_lock.

member.active is the truth: whoever changed it takes the lock after that and moves the member to where it belongs by then, so the last
one leaves it exact, however many counted at once and whatever the algorithm was when a session opened.
"""
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from fastlb.core.atomics cimport counter_get_seq, spinlock_give, spinlock_take
from fastlb.core.model cimport member_t, pool_t
from fastlb.core.selection.ops cimport pick_defers, pick_refuses, pick_t, pick_takes_any, roster_t, selector_ops_t
from fastlb.core.selection.tournament cimport (
    tournament_best, tournament_clear, tournament_new, tournament_set, tournament_t,
)

cdef enum:
    LEAST_TURNS = 32                    # passed over in one pick, of members that are warming

cdef struct least_bucket_t:             # members of one group with the same number of sessions; never empty
    uint64_t active
    least_bucket_t *below               # fewer sessions; of a free bucket: the next free one
    least_bucket_t *above
    member_t *first                     # the longest here
    member_t *last

cdef struct least_chunk_t:              # buckets follow it
    least_chunk_t *next
    uint32_t count

cdef struct least_group_t:
    least_bucket_t *lowest              # NULL: nobody has this weight now
    uint32_t weight

cdef struct least_conn_t:               # pool.selector; freed with the pool
    tournament_t *order                 # of the groups
    uint32_t group_count
    uint16_t group_of[257]              # of each weight, plus 1; 0: none yet
    least_group_t groups[256]
    least_bucket_t *spare
    uint64_t stamp                      # the last one given out
    # Under pool.mutex.
    uint32_t room                       # buckets there are; one more than members at least
    least_chunk_t *chunks

cdef struct least_plan_t:               # roster.state: how the lists become the roster's; member pointers follow
    least_chunk_t *chunk                # new buckets, or NULL
    uint32_t strike_count
    uint32_t list_count
    member_t **strike
    member_t **list_


cdef inline uint64_t least_key(uint64_t active, uint32_t weight) noexcept nogil:
    """(active + 1) / weight in steps so fine that only equal fractions are equal numbers."""
    return ((active + 1) << 24) // weight if active > 0 else 0


cdef inline void least_regroup(least_conn_t *l, uint32_t index) noexcept nogil:
    """After the first member of a group's lowest bucket changed."""
    cdef least_group_t *g = &l.groups[index]
    if g.lowest != NULL:
        tournament_set(l.order, index, least_key(g.lowest.active, g.weight), g.lowest.first.selector_stamp)
    else:
        tournament_set(l.order, index, ~<uint64_t>0, 0)


cdef inline void least_append(least_conn_t *l, least_bucket_t *bucket, member_t *member) noexcept nogil:
    l.stamp += 1
    member.selector_stamp = l.stamp
    member.selector_node = bucket
    member.selector_next = NULL
    member.selector_previous = bucket.last
    if bucket.last != NULL:
        bucket.last.selector_next = member
    else:
        bucket.first = member
    bucket.last = member


cdef inline void least_unlink(least_bucket_t *bucket, member_t *member) noexcept nogil:
    if member.selector_previous != NULL:
        member.selector_previous.selector_next = member.selector_next
    else:
        bucket.first = member.selector_next
    if member.selector_next != NULL:
        member.selector_next.selector_previous = member.selector_previous
    else:
        bucket.last = member.selector_previous


cdef inline least_bucket_t *least_bucket(
    least_conn_t *l, least_group_t *g, least_bucket_t *below, uint64_t active
) noexcept nogil:
    """The bucket for `active`, next above `below` (NULL: the lowest), taken into use if there is none."""
    cdef least_bucket_t *above = below.above if below != NULL else g.lowest
    cdef least_bucket_t *bucket
    if above != NULL and above.active == active:
        return above
    bucket = l.spare
    l.spare = bucket.below
    bucket.active = active
    bucket.first = NULL
    bucket.last = NULL
    bucket.below = below
    bucket.above = above
    if above != NULL:
        above.below = bucket
    if below != NULL:
        below.above = bucket
    else:
        g.lowest = bucket
    return bucket


cdef inline void least_drop(least_conn_t *l, least_group_t *g, least_bucket_t *bucket) noexcept nogil:
    """Give an empty bucket back."""
    if bucket.above != NULL:
        bucket.above.below = bucket.below
    if bucket.below != NULL:
        bucket.below.above = bucket.above
    else:
        g.lowest = bucket.above
    bucket.below = l.spare
    l.spare = bucket


cdef inline uint64_t least_active(const member_t *member) noexcept nogil:
    cdef int64_t active = counter_get_seq(&member.active)
    return <uint64_t>active if active > 0 else 0


cdef inline uint32_t least_group(least_conn_t *l, uint32_t weight) noexcept nogil:
    """The group of a weight, made if there is none yet; groups stay, at most 256 of them."""
    cdef uint32_t i
    if l.group_of[weight] == 0:
        l.groups[l.group_count].weight = weight
        l.groups[l.group_count].lowest = NULL
        l.group_count += 1
        l.group_of[weight] = <uint16_t>l.group_count
        tournament_clear(l.order, l.group_count)
        for i in range(l.group_count):
            least_regroup(l, i)
    return l.group_of[weight] - 1


cdef inline void least_list(least_conn_t *l, member_t *member, uint32_t weight) noexcept nogil:
    cdef uint32_t index = least_group(l, weight)
    cdef least_group_t *g = &l.groups[index]
    cdef uint64_t active = least_active(member)
    cdef least_bucket_t *below = NULL
    cdef least_bucket_t *above = g.lowest
    while above != NULL and above.active < active:
        below = above
        above = above.above
    least_append(l, least_bucket(l, g, below, active), member)
    member.listed_weight = weight
    least_regroup(l, index)


cdef inline void least_strike(least_conn_t *l, member_t *member) noexcept nogil:
    cdef least_bucket_t *bucket = <least_bucket_t *>member.selector_node
    cdef uint32_t index = least_group(l, member.listed_weight)
    least_unlink(bucket, member)
    member.selector_node = NULL
    member.listed_weight = 0
    if bucket.first == NULL:
        least_drop(l, &l.groups[index], bucket)
    least_regroup(l, index)


cdef inline void least_move(least_conn_t *l, member_t *member) noexcept nogil:
    """To the bucket of its sessions: nearly always the next one up or down."""
    cdef least_bucket_t *bucket = <least_bucket_t *>member.selector_node
    cdef uint64_t active = least_active(member)
    cdef uint32_t index = l.group_of[member.listed_weight] - 1
    cdef least_group_t *g = &l.groups[index]
    cdef least_bucket_t *below = bucket
    if active == bucket.active:
        return
    if active > bucket.active:
        while below.above != NULL and below.above.active < active:
            below = below.above
    else:
        while below != NULL and below.active >= active:
            below = below.below
    least_unlink(bucket, member)
    if bucket.first == NULL and (below == bucket or below == bucket.below) and (
        bucket.above == NULL or bucket.above.active > active
    ):
        bucket.active = active          # it was alone here and stays between its neighbours
        least_append(l, bucket, member)
    else:
        least_append(l, least_bucket(l, g, below, active), member)
        if bucket.first == NULL:
            least_drop(l, g, bucket)
    least_regroup(l, index)


cdef inline least_conn_t *least_new() noexcept nogil:
    cdef least_conn_t *l = <least_conn_t *>calloc(1, sizeof(least_conn_t))
    if l == NULL:
        return NULL
    l.order = tournament_new(256)
    if l.order == NULL:
        free(l)
        return NULL
    tournament_clear(l.order, 1)
    return l


cdef inline int least_conn_build(pool_t *pool, roster_t *roster, const roster_t *previous) noexcept nogil:
    cdef least_conn_t *l = <least_conn_t *>pool.selector
    cdef least_plan_t *plan
    cdef member_t *member
    cdef uint32_t i, more
    cdef uint32_t strikes = 0
    cdef uint32_t lists = 0
    if l == NULL:
        l = least_new()
        if l == NULL:
            return -ENOMEM
        pool.selector = l
    for i in range(pool.count):
        pool.members[i].wanted_weight = 0
    for i in range(roster.count):
        member = roster.members[i]
        member.wanted_weight = roster.weights[i]
        lists += member.listed_weight != member.wanted_weight
    for i in range(pool.count):
        member = pool.members[i]
        strikes += member.listed_weight != 0 and member.listed_weight != member.wanted_weight
    plan = <least_plan_t *>malloc(sizeof(least_plan_t) + (<size_t>strikes + lists) * sizeof(member_t *))
    if plan == NULL:
        return -ENOMEM
    plan.chunk = NULL
    plan.strike_count = 0
    plan.list_count = 0
    plan.strike = <member_t **>(plan + 1)
    plan.list_ = plan.strike + strikes
    if l.room < roster.count + 1:
        more = roster.count + 1 - l.room
        if more < l.room:
            more = l.room               # twice as many as before, so that one by one costs no more than all at once
        plan.chunk = <least_chunk_t *>malloc(sizeof(least_chunk_t) + more * sizeof(least_bucket_t))
        if plan.chunk == NULL:
            free(plan)
            return -ENOMEM
        plan.chunk.count = more
        plan.chunk.next = l.chunks
        l.chunks = plan.chunk
        l.room += more
    for i in range(pool.count):
        member = pool.members[i]
        if member.listed_weight != 0 and member.listed_weight != member.wanted_weight:
            plan.strike[plan.strike_count] = member
            plan.strike_count += 1
    for i in range(roster.count):
        member = roster.members[i]
        if member.listed_weight != member.wanted_weight:
            plan.list_[plan.list_count] = member
            plan.list_count += 1
    roster.state = plan
    return 0


cdef inline void least_conn_activate(pool_t *pool, roster_t *roster) noexcept nogil:
    cdef least_conn_t *l = <least_conn_t *>pool.selector
    cdef least_plan_t *plan = <least_plan_t *>roster.state
    cdef least_bucket_t *buckets
    cdef uint32_t i
    if plan.chunk != NULL:
        buckets = <least_bucket_t *>(plan.chunk + 1)
        for i in range(plan.chunk.count):
            buckets[i].below = l.spare
            l.spare = &buckets[i]
    for i in range(plan.strike_count):
        least_strike(l, plan.strike[i])
    for i in range(plan.list_count):
        least_list(l, plan.list_[i], plan.list_[i].wanted_weight)


cdef inline void least_conn_deactivate(pool_t *pool) noexcept nogil:
    cdef least_conn_t *l = <least_conn_t *>pool.selector
    cdef uint32_t i
    for i in range(pool.count):
        if pool.members[i].listed_weight != 0:
            least_strike(l, pool.members[i])


cdef inline member_t *least_other(const least_conn_t *l, const pick_t *ask) noexcept nogil:
    """The best that is not refused, by looking into each group."""
    cdef const least_bucket_t *bucket
    cdef member_t *member
    cdef member_t *best = NULL
    cdef uint64_t best_key = 0
    cdef uint64_t key
    cdef uint32_t i
    for i in range(l.group_count):
        bucket = l.groups[i].lowest
        member = NULL
        while bucket != NULL and member == NULL:
            member = bucket.first
            while member != NULL and pick_refuses(ask, member):
                member = member.selector_next
            if member == NULL:
                bucket = bucket.above
        if member == NULL:
            continue
        key = least_key(bucket.active, l.groups[i].weight)
        if best == NULL or key < best_key or (key == best_key and member.selector_stamp < best.selector_stamp):
            best = member
            best_key = key
    return best


cdef inline void least_turn(least_conn_t *l, member_t *member) noexcept nogil:
    """It had its turn: to the end of its bucket."""
    cdef least_bucket_t *bucket = <least_bucket_t *>member.selector_node
    least_unlink(bucket, member)
    least_append(l, bucket, member)
    least_regroup(l, l.group_of[member.listed_weight] - 1)


cdef inline member_t *least_first(const least_conn_t *l) noexcept nogil:
    """The best of all; NULL: nobody is listed."""
    cdef const least_bucket_t *bucket
    if l.group_count == 0:
        return NULL
    bucket = l.groups[tournament_best(l.order)].lowest
    return bucket.first if bucket != NULL else NULL


cdef inline member_t *least_conn_pick(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil:
    """From the lists as they are now: they may be ahead of the roster. NULL also if another algorithm has taken over."""
    cdef least_conn_t *l = <least_conn_t *>pool.selector
    cdef member_t *member
    cdef uint64_t stamp
    cdef uint32_t _
    spinlock_take(&pool.pick_lock)
    member = least_first(l)
    if member != NULL and not pick_takes_any(ask):
        stamp = l.stamp
        # A turn that a warming member does not take is over all the same, else it would be asked at each pick.
        for _ in range(LEAST_TURNS):
            if member.selector_stamp > stamp or not pick_defers(ask, member):
                break
            least_turn(l, member)
            member = least_first(l)
        if pick_refuses(ask, member):
            member = least_other(l, ask)
    if member != NULL:
        least_turn(l, member)           # now: another worker may pick before this one has opened the session
    spinlock_give(&pool.pick_lock)
    return member


cdef inline void least_conn_count(pool_t *pool, member_t *member) noexcept nogil:
    spinlock_take(&pool.pick_lock)
    if member.selector_node != NULL:
        least_move(<least_conn_t *>pool.selector, member)
    spinlock_give(&pool.pick_lock)


cdef inline void least_conn_opened(pool_t *pool, member_t *member, uint64_t now_ns) noexcept nogil:
    least_conn_count(pool, member)


cdef inline void least_conn_closed(
    pool_t *pool, member_t *member, uint64_t now_ns, uint64_t response_ns
) noexcept nogil:
    least_conn_count(pool, member)


cdef inline void least_conn_free(roster_t *roster) noexcept nogil:
    free(roster.state)                  # its chunk belongs to the pool


cdef inline void least_conn_dispose(pool_t *pool) noexcept nogil:
    """With the pool: its members are listed no more, and are not looked at."""
    cdef least_conn_t *l = <least_conn_t *>pool.selector
    cdef least_chunk_t *chunk
    if l == NULL:
        return
    while l.chunks != NULL:
        chunk = l.chunks
        l.chunks = chunk.next
        free(chunk)
    free(l.order)
    free(l)
    pool.selector = NULL


cdef inline selector_ops_t least_conn_ops() noexcept nogil:
    cdef selector_ops_t ops
    ops.build = least_conn_build
    ops.activate = least_conn_activate
    ops.deactivate = least_conn_deactivate
    ops.pick = least_conn_pick
    ops.opened = least_conn_opened
    ops.closed = least_conn_closed
    ops.free = least_conn_free
    return ops
