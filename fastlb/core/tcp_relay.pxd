# SPDX-License-Identifier: Apache-2.0
"""What a TCP listener (and HTTPS passthrough) does with its connections.

    CONNECT --(member accepts)--> RELAY --(both sides ended, or one failed, or idle too long)--> closed
      |  ^                          (tunnels of HTTP upgrades enter here)
      v  | 1 s
    PAUSE        every member refused; when the pool's retries are used up the client is closed
    QUEUE        every member is full; if there is no place in time the client is closed
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from fastlb.core.atomics cimport counter_bump
from fastlb.core.buffer cimport BUFFER_SMALL
from fastlb.core.conn cimport (
    CONN_SERVED, CONN_TIMEOUT, EAGAIN, conn_again, conn_at_end, conn_data, conn_held, conn_note, conn_read, conn_send_now, conn_t, conn_use, conn_watch,
)
from fastlb.core.context cimport (
    PHASE_CONNECT, PHASE_PAUSE, PHASE_QUEUE, PHASE_RELAY, context_t, listener_shard, member_shard, session_conf, session_t, upstream_t,
)
from fastlb.core.model cimport RETRY_CONNECT, listener_conf_t, listener_shard_t, member_shard_t
from fastlb.core.outlier cimport OUTLIER_CONNECTED, outlier_result
from fastlb.core.queue cimport queue_expire
from fastlb.core.relay cimport (
    RELAY_AGAIN, RELAY_ENDED, RELAY_SOURCE_FAILED, RELAY_TARGET_FAILED, RELAY_TO_CLIENT, RELAY_TO_MEMBER, relay_step,
)
from fastlb.core.retry cimport retry_settled
from fastlb.core.session cimport session_close
from fastlb.core.sys.epoll cimport EPOLLERR, EPOLLHUP, EPOLLOUT
from fastlb.core.sys.socket cimport iovec
from fastlb.core.timers cimport timer_arm
from fastlb.core.upstream cimport (
    UPSTREAM_NONE, UPSTREAM_QUEUE, UPSTREAM_REST, UPSTREAM_REST_MS, upstream_abort, upstream_attach, upstream_fail,
)


cdef inline uint64_t relay_idle_limit_ms(const listener_conf_t *conf) noexcept nogil:
    """Inactivity of both sides; traffic in either direction keeps both alive."""
    if conf.timeout_client_data_ms < conf.timeout_member_data_ms:
        return conf.timeout_client_data_ms
    return conf.timeout_member_data_ms


cdef inline void tcp_connect(context_t *c, session_t *s) noexcept nogil:
    """Ask for a member's connection; on return the session is in CONNECT, in PAUSE, in QUEUE or closed."""
    cdef listener_conf_t *conf = session_conf(s)
    cdef int verdict = upstream_attach(c, s, session_conf(s).default_pool, tcp_on_member, 1)
    if verdict == UPSTREAM_QUEUE:
        if s.client.failed:
            session_close(c, s, 0)
        return
    if verdict == UPSTREAM_NONE:
        session_close(c, s, 0)
        return
    if verdict == UPSTREAM_REST:
        s.phase = PHASE_PAUSE
        timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + UPSTREAM_REST_MS)
        if not conn_watch(&c.loop, &s.client):
            session_close(c, s, 0)
        return
    s.phase = PHASE_CONNECT
    timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + conf.timeout_member_connect_ms)


cdef inline void tcp_connected(context_t *c, session_t *s) noexcept nogil:
    s.up.connecting = 0
    outlier_result(s.up.member.pool, s.up.member, OUTLIER_CONNECTED)
    retry_settled(s, s.up.member.pool)
    s.phase = PHASE_RELAY
    timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + relay_idle_limit_ms(session_conf(s)))


cdef inline void tcp_try_first(context_t *c, session_t *s) noexcept nogil:
    """The connect is under way: on a short path it is through already, and what the client said can go at once.

    Nothing is taken from the client's input before the kernel took it, so another member can still have all of it.
    """
    cdef member_shard_t *theirs = member_shard(c, s.up.member)
    cdef listener_shard_t *mine = listener_shard(c, s.listener)
    cdef iovec piece
    cdef int64_t n
    if conn_held(&s.client) == 0 and s.client.readable:
        n = conn_read(&c.loop, &s.client, BUFFER_SMALL)
        if n < 0 and n != -EAGAIN:
            counter_bump(&theirs.client_aborts, 1)
            session_close(c, s, 1)
            return
    if conn_held(&s.client):
        piece.iov_base = conn_data(&s.client)
        piece.iov_len = conn_held(&s.client)
        n = conn_send_now(&s.up.conn, &piece, 1, <uint32_t>piece.iov_len)
        if n >= 0:
            counter_bump(&mine.bytes_in, n)
            counter_bump(&theirs.bytes_in, n)
            conn_use(&c.loop, &s.client, <uint32_t>n)
            tcp_connected(c, s)
            return
        if n != -EAGAIN:
            upstream_fail(c, s, RETRY_CONNECT)
            tcp_connect(c, s)
            if s.phase == PHASE_CONNECT and s.client.fd >= 0:
                conn_again(&c.loop, &s.client)
            return
    if not conn_watch(&c.loop, &s.up.conn) or not conn_watch(&c.loop, &s.client):
        session_close(c, s, 1)


cdef inline void tcp_drive(context_t *c, session_t *s) noexcept nogil:
    """Do what can be done now."""
    cdef listener_shard_t *mine = listener_shard(c, s.listener)
    cdef member_shard_t *theirs
    cdef int there, back
    if s.client.fd >= 0 and s.phase == PHASE_CONNECT:
        tcp_try_first(c, s)
    if s.client.fd < 0 or s.phase != PHASE_RELAY:
        return
    theirs = member_shard(c, s.up.member)
    there = relay_step(c, s, RELAY_TO_MEMBER, &s.client, &s.up.conn, &mine.bytes_in, &theirs.bytes_in)
    back = relay_step(c, s, RELAY_TO_CLIENT, &s.up.conn, &s.client, &mine.bytes_out, &theirs.bytes_out)
    if there < 0 or back < 0:
        # A side broke: the other one must not take what it has got for the whole.
        if there == RELAY_SOURCE_FAILED or back == RELAY_TARGET_FAILED:
            counter_bump(&theirs.client_aborts, 1)
        else:
            counter_bump(&theirs.member_aborts, 1)
        upstream_abort(c, s)
        session_close(c, s, 1)
    elif there == RELAY_ENDED and back == RELAY_ENDED:
        session_close(c, s, 0)
    elif there == RELAY_AGAIN or back == RELAY_AGAIN:
        conn_again(&c.loop, &s.client)


cdef inline void tcp_on_timeout(context_t *c, session_t *s) noexcept nogil:
    cdef uint64_t last, limit
    if s.phase == PHASE_PAUSE:
        tcp_connect(c, s)
        if s.client.fd >= 0 and s.phase == PHASE_CONNECT:
            tcp_drive(c, s)
        return
    if s.phase == PHASE_QUEUE:
        queue_expire(c, s)
        session_close(c, s, 0)
        return
    if s.phase == PHASE_CONNECT:
        upstream_fail(c, s, RETRY_CONNECT)
        tcp_connect(c, s)
        if s.client.fd >= 0 and s.phase == PHASE_CONNECT:
            tcp_drive(c, s)
        return
    limit = relay_idle_limit_ms(session_conf(s))
    last = s.client_active_ms if s.client_active_ms > s.member_active_ms else s.member_active_ms
    if last + limit <= c.loop.now_ms:
        session_close(c, s, 0)
    else:
        timer_arm(&c.loop.timers, &s.client.timer, last + limit)


cdef inline void tcp_on_client(void *context, conn_t *conn, uint32_t events) noexcept nogil:
    cdef context_t *c = <context_t *>context
    cdef session_t *s = <session_t *>conn
    if events & CONN_TIMEOUT:
        tcp_on_timeout(c, s)
        return
    if events & CONN_SERVED:
        tcp_connect(c, s)
        tcp_drive(c, s)
        return
    s.client_active_ms = c.loop.now_ms
    conn_note(conn, events)
    if s.phase == PHASE_QUEUE and conn.hup and (events & (EPOLLERR | EPOLLHUP) or conn_at_end(conn)):
        session_close(c, s, 0)                                       # it left, and nothing that it said is lost
        return
    tcp_drive(c, s)


cdef inline void tcp_on_member(void *context, conn_t *conn, uint32_t events) noexcept nogil:
    cdef context_t *c = <context_t *>context
    cdef upstream_t *up = <upstream_t *>conn
    cdef session_t *s = up.session
    if s == NULL:
        return
    s.member_active_ms = c.loop.now_ms
    conn_note(conn, events)
    if s.phase == PHASE_CONNECT:
        if events & (EPOLLERR | EPOLLHUP):
            upstream_fail(c, s, RETRY_CONNECT)
            tcp_connect(c, s)
        elif events & EPOLLOUT:
            tcp_connected(c, s)
    tcp_drive(c, s)


cdef inline void tcp_start(context_t *c, session_t *s) noexcept nogil:
    """A client was accepted."""
    tcp_connect(c, s)
    tcp_drive(c, s)
