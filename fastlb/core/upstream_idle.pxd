# SPDX-License-Identifier: Apache-2.0
"""Connections to members that no session has at the moment: kept, taken again, given up in time.

A member closes an idle connection when its own keep-alive time is over, and a request that is sent in that moment is lost.  So
a connection is given up before: the members' times are learnt, each from what it says (`Keep-Alive: timeout=N`) and from what it
does.  `member.keepalive_ms` is how long it lets a connection idle, as far as is known:

    0          nothing is known yet
    T          an idle connection was closed after T, or the member said so
    >= T_keep  one was idle for as long as we keep them, and was still open

What it did is believed for a minute as far as keeping goes, so that a member that was changed is learnt anew; for requests that
cannot be sent again it is believed until a connection is seen to live longer.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastlb.core.atomics cimport counter_bump, counter_get, counter_set, flag_get, flag_set
from fastlb.core.conn cimport (
    CONN_TIMEOUT, EAGAIN, conn_close, conn_held, conn_quiet, conn_reset, conn_t, conn_watch,
)
from fastlb.core.context cimport context_t, member_shard, upstream_t
from fastlb.core.lifetime cimport member_release
from fastlb.core.model cimport member_shard_t, member_t
from fastlb.core.slab cimport slab_give
from fastlb.core.sys.epoll cimport EPOLLERR, EPOLLHUP, EPOLLOUT, EPOLLRDHUP, errno
from fastlb.core.sys.socket cimport MSG_PEEK, recv
from fastlb.core.timers cimport timer_arm

cdef enum:
    IDLE_KEEP_MS = 4000          # at the most: below the usual keep-alive of members (uvicorn, Apache: 5 s)
    IDLE_CAREFUL_MS = 100        # for what cannot be sent again, while nothing is known of the member
    IDLE_LEARN_MS = 100          # who closes sooner restarts, or counts requests
    IDLE_DYING_MS = 100          # a connection that dies so soon under a request was being closed when it was taken
    IDLE_BELIEVE_MS = 60000
    IDLE_LIMIT = 1024            # kept for one member by one worker
    IDLE_TOTAL = 4096            # and for all of them


cdef inline uint64_t idle_keep_ms(const member_t *member, uint64_t now_ms) noexcept nogil:
    """How long a connection may idle before it is given up: a quarter before the member would."""
    cdef uint64_t known = flag_get(&member.keepalive_ms)
    if known == 0 or known * 3 // 4 >= IDLE_KEEP_MS or counter_get(&member.keepalive_until_ms) <= <int64_t>now_ms:
        return IDLE_KEEP_MS
    return known * 3 // 4


cdef inline uint64_t idle_careful_ms(const member_t *member) noexcept nogil:
    """How long it may have idled to carry a request that cannot be sent again: half of what the member is known to wait."""
    cdef uint64_t known = flag_get(&member.keepalive_ms)
    if known == 0:
        return IDLE_CAREFUL_MS
    return known // 2 if known < IDLE_KEEP_MS else IDLE_KEEP_MS // 2


cdef inline void idle_learn(member_t *member, uint64_t idle_ms, uint64_t now_ms) noexcept nogil:
    """The member closes what has been idle for so long, or says so. The shortest time counts, until it is too old to be
    believed. Written only when there is news: every request reads it."""
    cdef uint64_t known = flag_get(&member.keepalive_ms)
    cdef int64_t left = counter_get(&member.keepalive_until_ms) - <int64_t>now_ms
    if idle_ms == known:
        if left > IDLE_BELIEVE_MS // 2:
            return
    elif known != 0 and idle_ms > known and left > 0:
        return
    flag_set(&member.keepalive_ms, <uint32_t>idle_ms)
    counter_set(&member.keepalive_until_ms, <int64_t>(now_ms + IDLE_BELIEVE_MS))


cdef inline void idle_survived(member_t *member, uint64_t idle_ms) noexcept nogil:
    """Open still after this time, when we gave it up."""
    if idle_ms > flag_get(&member.keepalive_ms):
        flag_set(&member.keepalive_ms, <uint32_t>idle_ms)


cdef inline void idle_was_told(member_t *member, uint32_t timeout_s, uint64_t now_ms) noexcept nogil:
    """`Keep-Alive: timeout=N`, in an answer."""
    idle_learn(member, <uint64_t>timeout_s * 1000, now_ms)


cdef inline void upstream_drop(context_t *c, upstream_t *up, bint reset) noexcept nogil:
    """Close a connection that no session and no idle list holds any more. Its memory goes at the end of the turn."""
    if up.conn.fd < 0:
        return
    counter_bump(&member_shard(c, up.member).connections, -1)
    counter_bump(&c.live_upstreams, -1)
    up.link[0] = up.next
    if up.next != NULL:
        up.next.link = up.link
    if reset:
        conn_reset(&c.loop, &up.conn)
    else:
        conn_close(&c.loop, &up.conn)


cdef inline void upstream_free(context_t *c, upstream_t *up) noexcept nogil:
    """End of the turn: nobody can name it now."""
    member_release(up.member)
    slab_give(&c.upstreams_slab, up)


cdef inline void idle_unlink(context_t *c, upstream_t *up) noexcept nogil:
    cdef member_shard_t *shard = member_shard(c, up.member)
    if up.idle_previous != NULL:
        up.idle_previous.idle_next = up.idle_next
    else:
        shard.idle = up.idle_next
    if up.idle_next != NULL:
        up.idle_next.idle_previous = up.idle_previous
    up.idle_next = NULL
    up.idle_previous = NULL
    shard.idle_count -= 1
    c.idle_count -= 1


cdef inline void idle_drop(context_t *c, upstream_t *up) noexcept nogil:
    idle_unlink(c, up)
    upstream_drop(c, up, 0)


cdef inline void idle_on_event(void *context, conn_t *conn, uint32_t events) noexcept nogil:
    """An idle connection that speaks, ends or grows old is of no more use (RFC 9112 section 9.2, 9.5)."""
    cdef context_t *c = <context_t *>context
    cdef upstream_t *up = <upstream_t *>conn
    if events == EPOLLOUT:       # room to write is no news
        return
    if events & CONN_TIMEOUT:
        idle_survived(up.member, c.loop.now_ms - up.idle_since_ms)
    elif events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) and c.loop.now_ms - up.idle_since_ms >= IDLE_LEARN_MS:
        idle_learn(up.member, c.loop.now_ms - up.idle_since_ms, c.loop.now_ms)
    idle_drop(c, up)


cdef inline void idle_died(context_t *c, upstream_t *up) noexcept nogil:
    """A kept connection broke before a byte of an answer: learn from it if it was given up by the member at that moment."""
    cdef uint64_t taken_ms = up.since_ns // 1000000
    if up.reused and c.loop.now_ms - taken_ms < IDLE_DYING_MS and taken_ms - up.idle_since_ms >= IDLE_LEARN_MS:
        idle_learn(up.member, taken_ms - up.idle_since_ms, c.loop.now_ms)


cdef inline void idle_purge(context_t *c, member_t *member) noexcept nogil:
    """Close the idle connections to a member that gets no more work."""
    cdef member_shard_t *shard = member_shard(c, member)
    while shard.idle != NULL:
        idle_drop(c, <upstream_t *>shard.idle)


cdef inline bint idle_sacrifice(context_t *c, member_t *member) noexcept nogil:
    """Descriptors ran out: give up an idle connection of this member, if there is one."""
    cdef upstream_t *up = <upstream_t *>member_shard(c, member).idle
    if up == NULL:
        return 0
    idle_drop(c, up)
    return 1


cdef inline bint idle_silent(upstream_t *up) noexcept nogil:
    """Ask the kernel whether nothing has come, not even the end."""
    cdef uint8_t byte
    return recv(up.conn.fd, &byte, 1, MSG_PEEK) < 0 and errno == EAGAIN


cdef inline upstream_t *idle_take(context_t *c, member_t *member, bint careful) noexcept nogil:
    """The connection used last: the warmest, and the one least likely to be closed by the member. NULL: none is fresh enough.
    `careful`: for a request that cannot be sent again."""
    cdef member_shard_t *shard = member_shard(c, member)
    cdef upstream_t *up
    cdef uint64_t limit
    if shard.idle == NULL:
        return NULL
    limit = idle_keep_ms(member, c.loop.now_ms)
    if careful and limit > idle_careful_ms(member):
        limit = idle_careful_ms(member)
    while True:
        up = <upstream_t *>shard.idle
        if up == NULL or c.loop.now_ms - up.idle_since_ms >= limit:
            return NULL          # those behind it are older; their timers will find them
        if not careful or idle_silent(up):
            break
        idle_drop(c, up)
    idle_unlink(c, up)
    up.reused = 1
    up.answered = 0
    up.faulted = 0
    up.doubtful = 0
    up.response_ns = 0
    counter_bump(&shard.reuses, 1)
    return up


cdef inline bint idle_keep(context_t *c, upstream_t *up) noexcept nogil:
    """Keep a connection that its session is done with; 0: it cannot be kept, and is still the caller's."""
    cdef member_t *member = up.member
    cdef member_shard_t *shard = member_shard(c, member)
    cdef uint32_t room = flag_get(&member.max_connections)
    if room == 0 or room > IDLE_LIMIT:
        room = IDLE_LIMIT
    if (c.draining or up.conn.failed or up.conn.eof or up.conn.hup or up.conn.shut or up.conn.out_first != NULL
            or conn_held(&up.conn) or flag_get(&member.leaving) or shard.idle_count >= room
            or c.idle_count >= IDLE_TOTAL or not conn_quiet(&up.conn) or not conn_watch(&c.loop, &up.conn)):
        return 0
    up.conn.on_event = idle_on_event
    up.idle_since_ms = c.loop.now_ms
    up.idle_previous = NULL
    up.idle_next = <upstream_t *>shard.idle
    if up.idle_next != NULL:
        up.idle_next.idle_previous = up
    shard.idle = up
    shard.idle_count += 1
    c.idle_count += 1
    timer_arm(&c.loop.timers, &up.conn.timer, c.loop.now_ms + idle_keep_ms(member, c.loop.now_ms))
    return 1
