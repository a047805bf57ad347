# SPDX-License-Identifier: Apache-2.0
"""One socket: what is known of its readiness, the bytes read and not yet used, the bytes to be sent, its end.

Sockets are edge-triggered and registered once, and only when there is something to wait for: a connection that is
accepted, answered and closed in one go never meets epoll.  `readable` and `writable` are what the kernel last told us; they
are cleared by a short read or a short write, and set by the next event.

Output that the kernel does not take is queued here.  Whoever queues stops reading from the other side until the queue
is empty, so a queue holds what one or two reads brought and no more.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastlb.core.buffer cimport BUFFER_LARGE, BUFFER_SMALL, buffer_compact, buffer_give, buffer_t, buffer_take
from fastlb.core.loop cimport loop_forget, loop_register, loop_t
from fastlb.core.sys.epoll cimport EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, close, errno
from fastlb.core.sys.socket cimport (
    MSG_NOSIGNAL, MSG_PEEK, SHUT_WR, SO_LINGER, SOL_SOCKET, iovec, linger, msghdr, recv, send, sendmsg, setsockopt, shutdown,
    socklen_t,
)
from fastlb.core.timers cimport timer_disarm, timer_t

cdef extern from "<errno.h>" nogil:
    int EAGAIN, EWOULDBLOCK, EINTR, EINPROGRESS, ENOMEM, EPIPE, ECONNRESET, EMFILE, ENFILE, ECONNABORTED

cdef enum conn_kind_t:
    CONN_CLIENT = 1
    CONN_MEMBER = 2
    CONN_LISTENER = 3
    CONN_WAKE = 4

cdef enum:
    CONN_QUEUE_PIECES = 8        # buffers given to the kernel in one sendmsg

# Called for each event, for leftover work (events 0), for a deadline (CONN_TIMEOUT), at the head of a queue (CONN_SERVED).
ctypedef void (*conn_event_f)(void *context, conn_t *conn, uint32_t events) noexcept nogil

cdef enum:
    CONN_TIMEOUT = 0x01000000    # no epoll event has this bit
    CONN_SERVED = 0x02000000     # nor this one: the wait in the queue may be over

cdef struct conn_t:
    conn_event_f on_event
    int fd                       # -1: closed; memory goes at the end of the turn
    uint8_t kind
    uint8_t registered           # epoll knows it
    uint8_t readable
    uint8_t writable
    uint8_t hup                  # the peer sent FIN (or worse): read on until read says so
    uint8_t eof                  # read said so
    uint8_t failed               # an error was seen; nothing more comes or goes
    uint8_t shut                 # our FIN is sent
    uint8_t in_ready
    uint16_t tag                 # of its events (loop.pxd)
    uint32_t out_bytes           # queued
    buffer_t *input              # NULL while empty
    buffer_t *out_first
    buffer_t *out_last
    timer_t timer
    conn_t *next                 # in loop.dead or loop.ready


cdef inline conn_t *conn_of_timer(timer_t *timer) noexcept nogil:
    return <conn_t *>(<char *>timer - <size_t>&(<conn_t *>NULL).timer)


cdef inline bint conn_watch(loop_t *loop, conn_t *conn) noexcept nogil:
    """Let epoll know the socket, if it does not yet; what is ready already is reported next turn. 0: no memory."""
    if conn.registered:
        return 1
    if loop_register(loop, conn.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, conn, &conn.tag) < 0:
        conn.failed = 1
        return 0
    conn.registered = 1
    return 1


cdef inline void conn_note(conn_t *conn, uint32_t events) noexcept nogil:
    """Take over what epoll reports."""
    if events & EPOLLIN:
        conn.readable = 1
    if events & EPOLLOUT:
        conn.writable = 1
    if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        conn.hup = 1
        conn.readable = 1
        conn.writable = 1        # a write finds out what is wrong


cdef inline void conn_again(loop_t *loop, conn_t *conn) noexcept nogil:
    """Have on_event called in the next turn though no event will come."""
    if conn.in_ready or conn.fd < 0:
        return
    conn.in_ready = 1
    conn.next = <conn_t *>loop.ready
    loop.ready = conn


cdef inline uint32_t conn_held(const conn_t *conn) noexcept nogil:
    """Bytes read and not yet used."""
    if conn.input == NULL:
        return 0
    return conn.input.end - conn.input.start


cdef inline uint8_t *conn_data(const conn_t *conn) noexcept nogil:
    return conn.input.data + conn.input.start


cdef inline void conn_use(loop_t *loop, conn_t *conn, uint32_t count) noexcept nogil:
    """Done with the first bytes of the input; an empty buffer goes back to the pool."""
    cdef buffer_t *b = conn.input
    if b == NULL:
        return
    b.start += count
    if b.start >= b.end:
        conn.input = NULL
        buffer_give(&loop.buffers, b)


cdef inline int64_t conn_read(loop_t *loop, conn_t *conn, uint32_t size_hint) noexcept nogil:
    """Read once. > 0: bytes added to the input; 0: the peer ended; -EAGAIN: wait; -ENOBUFS: the input is full; else -errno."""
    cdef buffer_t *b = conn.input
    cdef buffer_t *larger
    cdef ssize_t n
    cdef uint32_t room
    if b == NULL:
        b = buffer_take(&loop.buffers, BUFFER_LARGE if size_hint > BUFFER_SMALL else BUFFER_SMALL)
        if b == NULL:
            return -ENOMEM
        conn.input = b
    elif b.end == b.size:
        if b.start:
            buffer_compact(b)
        elif b.size == BUFFER_SMALL:
            larger = buffer_take(&loop.buffers, BUFFER_LARGE)
            if larger == NULL:
                return -ENOMEM
            larger.end = b.end
            memcpy(larger.data, b.data, b.end)
            buffer_give(&loop.buffers, b)
            conn.input = larger
            b = larger
        else:
            return -105                                              # ENOBUFS
    room = b.size - b.end
    while True:
        n = recv(conn.fd, b.data + b.end, room, 0)
        if n >= 0 or errno != EINTR:
            break
    if n > 0:
        b.end += <uint32_t>n
        # Less than asked for: the kernel has no more, and what comes later is a new event.  But a FIN that came
        # before would not be one.
        if <uint32_t>n < room and not conn.hup:
            conn.readable = 0
        return n
    if b.start == b.end:
        conn.input = NULL
        buffer_give(&loop.buffers, b)
    if n == 0:
        conn.eof = 1
        conn.readable = 0
        return 0
    if errno == EAGAIN:
        conn.readable = 0
        conn.hup = 0
        return -EAGAIN
    n = -errno
    conn.failed = 1
    conn.eof = 1
    conn.readable = 0
    return n


cdef inline bint conn_quiet(conn_t *conn) noexcept nogil:
    """Has the peer said nothing that was not read, not even its end? Asks the kernel only where the last read took all that it
    had room for: what came with it was told in the same event."""
    cdef uint8_t byte
    if not conn.readable:
        return 1
    if recv(conn.fd, &byte, 1, MSG_PEEK) >= 0 or errno != EAGAIN:
        return 0
    conn.readable = 0
    return 1


cdef inline bint conn_at_end(conn_t *conn) noexcept nogil:
    """Is the peer's end the next thing to be read?"""
    cdef uint8_t byte
    return conn_held(conn) == 0 and recv(conn.fd, &byte, 1, MSG_PEEK) == 0


cdef inline void conn_drop_output(loop_t *loop, conn_t *conn) noexcept nogil:
    cdef buffer_t *b
    while conn.out_first != NULL:
        b = conn.out_first
        conn.out_first = b.next
        buffer_give(&loop.buffers, b)
    conn.out_last = NULL
    conn.out_bytes = 0


cdef inline void conn_queue_buffer(conn_t *conn, buffer_t *b) noexcept nogil:
    """Append a buffer with its content; it is the connection's from now on."""
    b.next = NULL
    if conn.out_last == NULL:
        conn.out_first = b
    else:
        conn.out_last.next = b
    conn.out_last = b
    conn.out_bytes += b.end - b.start


cdef inline bint conn_queue(loop_t *loop, conn_t *conn, const void *data, uint32_t length) noexcept nogil:
    """Append a copy; 0: no memory (the connection is then failed)."""
    cdef buffer_t *b
    cdef uint32_t part
    while length:
        b = conn.out_last
        if b == NULL or b.end == b.size:
            b = buffer_take(&loop.buffers, BUFFER_LARGE if length > BUFFER_SMALL else BUFFER_SMALL)
            if b == NULL:
                conn.failed = 1
                return 0
            conn_queue_buffer(conn, b)
        part = b.size - b.end
        if part > length:
            part = length
        memcpy(b.data + b.end, data, part)
        b.end += part
        conn.out_bytes += part
        data = <const uint8_t *>data + part
        length -= part
    return 1


cdef inline int64_t conn_send_now(conn_t *conn, iovec *pieces, uint32_t count, uint32_t total) noexcept nogil:
    """Give bytes to the kernel; nothing may be queued. Bytes taken (maybe fewer), -EAGAIN or another -errno."""
    cdef msghdr message
    cdef ssize_t n
    while True:
        if count == 1:
            n = send(conn.fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
        else:
            message.msg_name = NULL
            message.msg_namelen = 0
            message.msg_iov = pieces
            message.msg_iovlen = count
            message.msg_control = NULL
            message.msg_controllen = 0
            message.msg_flags = 0
            n = sendmsg(conn.fd, &message, MSG_NOSIGNAL)
        if n >= 0:
            if <uint64_t>n < total:
                conn.writable = 0
            return n
        if errno == EINTR:
            continue
        if errno == EAGAIN:
            conn.writable = 0
            return -EAGAIN
        conn.failed = 1
        return -errno


cdef inline bint conn_queue_rest(
    loop_t *loop, conn_t *conn, const iovec *pieces, uint32_t count, uint64_t sent
) noexcept nogil:
    """Queue what a send left over; 0: no memory."""
    cdef uint32_t i
    for i in range(count):
        if sent >= pieces[i].iov_len:
            sent -= pieces[i].iov_len
            continue
        if not conn_queue(loop, conn, <const uint8_t *>pieces[i].iov_base + sent, <uint32_t>(pieces[i].iov_len - sent)):
            return 0
        sent = 0
    return 1


cdef inline int conn_send(loop_t *loop, conn_t *conn, iovec *pieces, uint32_t count, uint32_t total) noexcept nogil:
    """Send, and queue what the kernel does not take. 1: all sent; 0: some is queued; -errno."""
    cdef int64_t n
    if conn.out_first == NULL:
        n = conn_send_now(conn, pieces, count, total)
        if n == total:
            return 1
        if n == -EAGAIN:
            n = 0
        elif n < 0:
            return <int>n
    else:
        n = 0
    if not conn_queue_rest(loop, conn, pieces, count, <uint64_t>n):
        return -ENOMEM
    if not conn_watch(loop, conn):
        return -ENOMEM
    return 0


cdef inline int conn_flush(loop_t *loop, conn_t *conn) noexcept nogil:
    """Send what is queued. 1: the queue is empty; 0: wait; -errno."""
    cdef iovec pieces[8]
    cdef uint32_t count, total, length
    cdef buffer_t *b
    cdef int64_t n
    while conn.out_first != NULL:
        if not conn.writable:
            return 0 if conn_watch(loop, conn) else -ENOMEM
        count = 0
        total = 0
        b = conn.out_first
        while b != NULL and count < CONN_QUEUE_PIECES:
            pieces[count].iov_base = b.data + b.start
            pieces[count].iov_len = b.end - b.start
            total += b.end - b.start
            count += 1
            b = b.next
        n = conn_send_now(conn, pieces, count, total)
        if n == -EAGAIN:
            continue
        if n < 0:
            return <int>n
        conn.out_bytes -= <uint32_t>n
        while n > 0:
            b = conn.out_first
            length = b.end - b.start
            if <uint32_t>n < length:
                b.start += <uint32_t>n
                break
            n -= length
            conn.out_first = b.next
            buffer_give(&loop.buffers, b)
        if conn.out_first == NULL:
            conn.out_last = NULL
    return 1


cdef inline void conn_send_fin(conn_t *conn) noexcept nogil:
    if not conn.shut and conn.fd >= 0:
        conn.shut = 1
        shutdown(conn.fd, SHUT_WR)


cdef inline void conn_close(loop_t *loop, conn_t *conn) noexcept nogil:
    """Close the socket and give back its buffers; the owner frees the memory when loop.dead is swept."""
    if conn.fd < 0:
        return
    if conn.registered:
        loop_forget(loop, conn.fd)
    close(conn.fd)
    conn.fd = -1
    timer_disarm(&loop.timers, &conn.timer)
    if conn.input != NULL:
        buffer_give(&loop.buffers, conn.input)
        conn.input = NULL
    conn_drop_output(loop, conn)
    if not conn.in_ready:                                            # else the sweep of the ready list passes it on
        conn.next = <conn_t *>loop.dead
        loop.dead = conn


cdef inline void conn_reset(loop_t *loop, conn_t *conn) noexcept nogil:
    """Close with RST: the peer must not take what it has got for the whole."""
    cdef linger abort
    if conn.fd < 0:
        return
    abort.l_onoff = 1
    abort.l_linger = 0
    setsockopt(conn.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort))
    conn_close(loop, conn)
