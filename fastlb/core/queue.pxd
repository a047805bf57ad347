# SPDX-License-Identifier: Apache-2.0
"""Sessions that wait for a place at a member, because each one has its max_connections.

Whoever comes draws a ticket of the pool and waits in a list of its worker.  A place that gets free belongs to the oldest
ticket: its worker is told, by a note to itself or through its eventfd.  Whoever comes while others wait, waits behind them.

No place is missed: who waits is counted in pool.waiting before it looks for a free place once more, at the end of the turn; who
leaves a member gives its place back before it looks at pool.waiting.  What else makes room (a larger max_connections, a member
that is new or back, a pool without members) is found within QUEUE_TICK_MS.  All functions: the worker, inside the snapshots.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from fastlb.core.atomics cimport (
    counter_add_seq, counter_bump, counter_get, counter_get_seq, counter_set, flag_get, flag_swap, pointer_get,
)
from fastlb.core.conn cimport CONN_SERVED, conn_watch
from fastlb.core.context cimport PHASE_QUEUE, context_t, session_t
from fastlb.core.lifetime cimport pool_hold, pool_release
from fastlb.core.model cimport member_t, pool_conf_t, pool_shard_t, pool_t
from fastlb.core.selection.ops cimport roster_t
from fastlb.core.sys.epoll cimport write
from fastlb.core.timers cimport timer_arm

cdef enum:
    QUEUE_TICK_MS = 100
    QUEUE_TICK_LOOKS = 16        # at a tick, past sessions that nobody is free for: each may have tried other members


cdef inline void queue_tell_oldest(pool_shard_t *shard) noexcept nogil:
    counter_set(&shard.oldest, (<session_t *>shard.first).ticket if shard.first != NULL else 0)


cdef inline void queue_link(context_t *c, session_t *s, pool_shard_t *shard) noexcept nogil:
    if shard.first == NULL:
        pool_hold(shard.pool)
        shard.first = s
        shard.next = c.queues
        shard.link = &c.queues
        if shard.next != NULL:
            shard.next.link = &shard.next
        c.queues = shard
    else:
        (<session_t *>shard.last).queue_next = s
        s.queue_previous = <session_t *>shard.last
    shard.last = s
    s.queue = shard
    queue_tell_oldest(shard)
    counter_add_seq(&shard.pool.waiting, 1)


cdef inline void queue_leave(context_t *c, session_t *s) noexcept nogil:
    """It waits no longer, whyever."""
    cdef pool_shard_t *shard = s.queue
    if s.queue_previous != NULL:
        s.queue_previous.queue_next = s.queue_next
    else:
        shard.first = s.queue_next
    if s.queue_next != NULL:
        s.queue_next.queue_previous = s.queue_previous
    else:
        shard.last = s.queue_previous
    s.queue = NULL
    s.queue_next = NULL
    s.queue_previous = NULL
    queue_tell_oldest(shard)
    counter_add_seq(&shard.pool.waiting, -1)
    if shard.first == NULL:
        shard.link[0] = shard.next
        if shard.next != NULL:
            shard.next.link = shard.link
        pool_release(shard.pool)


cdef inline bint queue_wait(context_t *c, session_t *s, pool_t *pool, const pool_conf_t *conf) noexcept nogil:
    """Have the session wait, or wait on where it is: its phase is QUEUE, and its client's CONN_SERVED or the timer at
    queue_until_ms will come. 0: in this pool nobody waits."""
    if conf.timeout_queue_ms == 0 or pool.shards == NULL:
        return 0
    if s.queue == &pool.shards[c.index]:
        return 1
    if s.queue != NULL:
        queue_leave(c, s)        # it goes to another pool now
    s.ticket = counter_add_seq(&pool.tickets, 1) + 1
    s.queue_until_ms = c.loop.now_ms + conf.timeout_queue_ms
    s.phase = PHASE_QUEUE
    queue_link(c, s, &pool.shards[c.index])
    counter_bump(&pool.shards[c.index].queued, 1)
    c.queue_due = 1
    timer_arm(&c.loop.timers, &s.client.timer, s.queue_until_ms)
    if c.queue_tick.deadline_ms == 0:
        timer_arm(&c.loop.timers, c.queue_tick, c.loop.now_ms + QUEUE_TICK_MS)
    if not conn_watch(&c.loop, &s.client):
        s.client.failed = 1
    return 1


cdef inline void queue_expire(context_t *c, session_t *s) noexcept nogil:
    """No place came in time."""
    counter_bump(&s.queue.queue_timeouts, 1)
    queue_leave(c, s)


cdef inline uint32_t queue_first_worker(const pool_t *pool) noexcept nogil:
    """Who has the session that has waited longest; pool.workers: nobody."""
    cdef uint32_t first = pool.workers
    cdef int64_t oldest = 0
    cdef int64_t ticket
    cdef uint32_t i
    for i in range(pool.workers):
        ticket = counter_get(&pool.shards[i].oldest)
        if ticket and (oldest == 0 or ticket < oldest):
            oldest = ticket
            first = i
    return first


cdef inline void queue_tell(context_t *c, pool_t *pool) noexcept nogil:
    """A place may be free: the worker of the session whose turn it is shall look."""
    cdef uint32_t worker = queue_first_worker(pool)
    cdef uint64_t one = 1
    if worker == c.index:
        c.queue_due = 1
    elif worker < pool.workers and flag_swap(&pool.shards[worker].woken, 1) == 0:
        write(c.wake_fds[worker], &one, sizeof(one))


cdef inline void queue_place_freed(context_t *c, member_t *member) noexcept nogil:
    """After pool_closed."""
    if flag_get(&member.max_connections) and counter_get_seq(&member.pool.waiting):
        queue_tell(c, member.pool)


cdef inline bint queue_is_for(context_t *c, session_t *s, const pool_t *pool) noexcept nogil:
    """Must the session wait behind others, though a place is free? Not if it is its turn, for the request that waited; one
    that the client sent behind that is the last again."""
    cdef bint its_turn = c.serving == s and s.queue != NULL and s.queue.pool == pool
    return not its_turn and counter_get(&pool.waiting) > 0


cdef inline bint queue_worth_a_try(const pool_t *pool) noexcept nogil:
    """Is a place free, or none to be waited for?"""
    cdef const roster_t *roster = <const roster_t *>pointer_get(&pool.roster)
    cdef uint32_t i, limit
    if roster == NULL or roster.count == 0:
        return 1
    for i in range(roster.count):
        limit = flag_get(&roster.members[i].max_connections)
        if limit == 0 or counter_get_seq(&roster.members[i].active) < <int64_t>limit:
            return 1
    return 0


cdef inline void queue_serve(context_t *c, pool_shard_t *shard, bint tick) noexcept nogil:
    """Let those try whose turn it is; at a tick, also those whose turn it is not. The pool is held."""
    cdef pool_t *pool = shard.pool
    cdef session_t *s = <session_t *>shard.first
    cdef session_t *following
    cdef uint32_t looks = QUEUE_TICK_LOOKS if tick else 1
    while s != NULL and queue_worth_a_try(pool):
        if not tick and queue_first_worker(pool) != c.index:
            queue_tell(c, pool)
            return
        following = s.queue_next
        c.serving = s
        s.client.on_event(c, &s.client, CONN_SERVED)
        c.serving = NULL
        if s.queue == shard:
            if s.phase != PHASE_QUEUE:
                queue_leave(c, s)            # it was answered without a member
            else:
                looks -= 1
                if looks == 0:
                    return
        s = following


cdef inline void queue_serve_all(context_t *c, bint tick) noexcept nogil:
    cdef pool_shard_t *shard = c.queues
    cdef pool_shard_t *following
    cdef pool_t *pool
    c.queue_due = 0
    while shard != NULL:
        pool = shard.pool
        pool_hold(pool)
        flag_swap(&shard.woken, 0)           # not only set: it must be seen before the look for a free place
        queue_serve(c, shard, tick)
        following = shard.next
        pool_release(pool)
        shard = following
    if tick and c.queues != NULL:
        timer_arm(&c.loop.timers, c.queue_tick, c.loop.now_ms + QUEUE_TICK_MS)
