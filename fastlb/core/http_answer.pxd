# SPDX-License-Identifier: Apache-2.0
"""Answers of our own, and how a client's connection ends.

    CLOSING --(all is sent)--> LINGER --(the client ends, 2 s or 256 KiB)--> closed

A socket closed with unread bytes in it sends RST, and that can destroy an answer on its way: so what the client still
sends is read and dropped for a while (RFC 9112 section 9.6).
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from fastlb.core.atomics cimport counter_bump
from fastlb.core.buffer cimport BUFFER_SMALL
from fastlb.core.conn cimport (
    EAGAIN, conn_flush, conn_held, conn_read, conn_send, conn_send_fin, conn_use, conn_watch,
)
from fastlb.core.context cimport (
    PHASE_CLOSING, PHASE_IDLE, PHASE_LINGER, SCRATCH_BYTES, context_t, listener_shard, session_conf, session_t,
)
from fastlb.core.http1 cimport HTTP1_HEAD
from fastlb.core.http1_write cimport http1_connection, http1_write_answer
from fastlb.core.model cimport listener_shard_t
from fastlb.core.refusal cimport (
    REFUSAL_BODY_TIMEOUT, REFUSAL_MEMBER_BROKEN, REFUSAL_MEMBER_TIMEOUT, REFUSAL_NO_MEMBER, refusal_count,
)
from fastlb.core.session cimport session_close
from fastlb.core.sys.socket cimport iovec
from fastlb.core.timers cimport timer_arm

cdef enum:
    LINGER_MS = 2000
    LINGER_BYTES = 262144


cdef inline void http_closing(context_t *c, session_t *s) noexcept nogil:
    """Go on with the end: PHASE_CLOSING or PHASE_LINGER. On return the session is closed, or waits."""
    cdef int64_t n
    cdef int verdict
    if s.phase == PHASE_CLOSING:
        verdict = conn_flush(&c.loop, &s.client)
        if verdict < 0:
            session_close(c, s, 1)
            return
        if verdict == 0:
            timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + session_conf(s).timeout_client_data_ms)
            return
        if s.request_sent and conn_held(&s.client) == 0 and not s.client.readable:
            session_close(c, s, 0)
            return
        s.phase = PHASE_LINGER
        s.held = 0
        conn_send_fin(&s.client)
        timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + LINGER_MS)
    while True:
        s.held += conn_held(&s.client)
        conn_use(&c.loop, &s.client, conn_held(&s.client))
        if s.held >= LINGER_BYTES:
            session_close(c, s, 0)
            return
        if not s.client.readable:
            if not conn_watch(&c.loop, &s.client):
                session_close(c, s, 0)
            return
        n = conn_read(&c.loop, &s.client, BUFFER_SMALL)
        if n == 0 or (n < 0 and n != -EAGAIN):
            session_close(c, s, 0)
            return


cdef inline bint answer_closes(const session_t *s, bint close) noexcept nogil:
    """An answer of ours ends the connection if the client wants it, or if the rest of its request is still to come."""
    return close or not s.request_sent or not s.keep_alive


cdef inline void answer_send(context_t *c, session_t *s, uint16_t status, uint32_t length, bint close) noexcept nogil:
    """Send what was written to context.scratch. Leaves the phase IDLE or CLOSING."""
    cdef listener_shard_t *mine = listener_shard(c, s.listener)
    cdef iovec piece
    if s.client.failed:
        s.phase = PHASE_CLOSING
        return
    piece.iov_base = c.scratch
    piece.iov_len = length
    counter_bump(&mine.own_answers, 1)
    counter_bump(&mine.responses[status // 100 - 1], 1)
    counter_bump(&mine.bytes_out, <int64_t>piece.iov_len)
    if conn_send(&c.loop, &s.client, &piece, 1, <uint32_t>piece.iov_len) < 0:
        s.client.failed = 1
    if close or s.client.failed:
        s.phase = PHASE_CLOSING
        return
    conn_use(&c.loop, &s.client, s.held)
    s.held = 0
    s.exchanges += 1
    s.phase = PHASE_IDLE


cdef inline void http_refuse(
    context_t *c, session_t *s, uint16_t status, uint32_t reason, bint close
) noexcept nogil:
    """Answer with an error of ours, counted under its reason. `close`: the connection ends with it."""
    cdef uint8_t connection
    refusal_count(listener_shard(c, s.listener), reason)
    close = answer_closes(s, close)
    connection = http1_connection(close, s.client_minor)
    answer_send(
        c, s, status, http1_write_answer(c.scratch, SCRATCH_BYTES, status, connection, s.method == HTTP1_HEAD), close)


cdef inline void http_answer(context_t *c, session_t *s, uint16_t status, bint close) noexcept nogil:
    """An error whose status says the reason."""
    cdef uint32_t reason = REFUSAL_NO_MEMBER
    if status == 408:
        reason = REFUSAL_BODY_TIMEOUT
    elif status == 502:
        reason = REFUSAL_MEMBER_BROKEN
    elif status == 504:
        reason = REFUSAL_MEMBER_TIMEOUT
    http_refuse(c, s, status, reason, close)
