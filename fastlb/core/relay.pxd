# SPDX-License-Identifier: Apache-2.0
"""Bytes from one socket to the other: plain copies while the talk is small, splice through a pipe once it comes in bulk.

    copying --(full reads in a row)--> splicing --(a small piece)--> copying

A side is not read while the other one has bytes that it does not take.  The end of one side is carried to the other when
all that came before it has left: half-close stays half-close.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from fastlb.core.atomics cimport counter_bump, counter_t
from fastlb.core.buffer cimport BUFFER_LARGE, BUFFER_SMALL, buffer_t
from fastlb.core.conn cimport (
    EAGAIN, EINTR, conn_data, conn_flush, conn_held, conn_queue_buffer, conn_read, conn_send_fin, conn_send_now, conn_t,
    conn_use, conn_watch,
)
from fastlb.core.context cimport context_t, pipe_t, session_t
from fastlb.core.sys.epoll cimport (
    F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK, SPLICE_F_MOVE, SPLICE_F_NONBLOCK, close, errno, fcntl, pipe2, splice,
)
from fastlb.core.sys.socket cimport iovec

cdef enum:
    RELAY_TO_MEMBER = 0          # indexes of session.pipes and session.bulk
    RELAY_TO_CLIENT = 1
    RELAY_BULK_READS = 2         # full reads in a row before splice is worth its pipe
    RELAY_CHATTY_BYTES = 8192    # a splice that moves less goes back to copying
    RELAY_PIPE_BYTES = 1048576   # /proc/sys/fs/pipe-max-size, and what 16 MiB bodies measured best with
    RELAY_PIPES_KEPT = 16
    RELAY_TURNS = 16             # moves for one event before others have theirs

cdef enum relay_verdict_t:
    RELAY_WAIT = 0               # an event will come
    RELAY_ENDED = 1              # the source ended and all of it left
    RELAY_AGAIN = 2              # there is more, but it is others' turn
    RELAY_SOURCE_FAILED = -1
    RELAY_TARGET_FAILED = -2


cdef inline pipe_t *pipe_take(context_t *c) noexcept nogil:
    cdef pipe_t *pipe = <pipe_t *>c.loop.pipes
    cdef int fds[2]
    if pipe != NULL:
        c.loop.pipes = pipe.next
        c.loop.pipe_count -= 1
        return pipe
    if pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0:
        return NULL
    fcntl(fds[1], F_SETPIPE_SZ, <int>RELAY_PIPE_BYTES)              # smaller is slower, not wrong
    pipe = <pipe_t *>calloc(1, sizeof(pipe_t))
    if pipe == NULL:
        close(fds[0])
        close(fds[1])
        return NULL
    pipe.read_fd = fds[0]
    pipe.write_fd = fds[1]
    return pipe


cdef inline void pipe_close(pipe_t *pipe) noexcept nogil:
    close(pipe.read_fd)
    close(pipe.write_fd)
    free(pipe)


cdef inline void pipe_give(context_t *c, pipe_t *pipe) noexcept nogil:
    """Only an empty pipe may serve somebody else."""
    if pipe.held or c.loop.pipe_count >= RELAY_PIPES_KEPT:
        pipe_close(pipe)
        return
    pipe.next = <pipe_t *>c.loop.pipes
    c.loop.pipes = pipe
    c.loop.pipe_count += 1


cdef inline void pipes_dispose(context_t *c) noexcept nogil:
    cdef pipe_t *pipe
    while c.loop.pipes != NULL:
        pipe = <pipe_t *>c.loop.pipes
        c.loop.pipes = pipe.next
        pipe_close(pipe)
    c.loop.pipe_count = 0


cdef inline void relay_release_pipes(context_t *c, session_t *s) noexcept nogil:
    cdef uint32_t i
    for i in range(2):
        if s.pipes[i] != NULL:
            pipe_give(c, s.pipes[i])
            s.pipes[i] = NULL


cdef inline int relay_send_held(context_t *c, conn_t *source, conn_t *target, uint32_t count) noexcept nogil:
    """Send the first bytes of source's input. 1: gone; 0: queued on target, wait; RELAY_TARGET_FAILED."""
    cdef iovec piece
    cdef buffer_t *b
    cdef int64_t n
    piece.iov_base = conn_data(source)
    piece.iov_len = count
    n = conn_send_now(target, &piece, 1, count)
    if n == count:
        conn_use(&c.loop, source, count)
        return 1
    if n < 0:
        if n != -EAGAIN:
            return RELAY_TARGET_FAILED
        n = 0
    conn_use(&c.loop, source, <uint32_t>n)
    count -= <uint32_t>n
    b = source.input
    if b.end - b.start == count:
        # The whole buffer changes hands: no copy.
        source.input = NULL
        conn_queue_buffer(target, b)
        conn_watch(&c.loop, target)
        return 0
    return 0                                                         # stays in the input; the source is not read meanwhile


cdef inline int relay_splice(
    context_t *c, session_t *s, uint32_t direction, conn_t *source, conn_t *target, uint64_t limit, uint64_t *moved,
) noexcept nogil:
    """Move up to `limit` bytes without seeing them; adds what left for the target to `moved`.

    1: go on copying (the talk is small again, or the limit is reached); else a relay_verdict_t.
    """
    cdef pipe_t *pipe = s.pipes[direction]
    cdef ssize_t n
    cdef uint64_t wanted
    cdef uint32_t turns = 0
    if pipe == NULL:
        pipe = pipe_take(c)
        if pipe == NULL:
            s.bulk[direction] = 0
            return 1
        s.pipes[direction] = pipe
    while True:
        if pipe.held == 0:
            if limit == 0:
                pipe_give(c, pipe)
                s.pipes[direction] = NULL
                return 1
            if not source.readable:
                pipe_give(c, pipe)
                s.pipes[direction] = NULL
                return RELAY_WAIT if conn_watch(&c.loop, source) else RELAY_SOURCE_FAILED
            if turns >= RELAY_TURNS:
                return RELAY_AGAIN
            turns += 1
            wanted = limit if limit < RELAY_PIPE_BYTES else RELAY_PIPE_BYTES
            n = splice(source.fd, NULL, pipe.write_fd, NULL, wanted, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
            if n < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    source.readable = 0
                    source.hup = 0
                    continue
                source.failed = 1
                source.eof = 1
                source.readable = 0
                return RELAY_SOURCE_FAILED
            if n == 0:
                source.eof = 1
                source.readable = 0
                pipe_give(c, pipe)
                s.pipes[direction] = NULL
                return 1
            pipe.held = <uint32_t>n
            limit -= <uint64_t>n
        if not target.writable:
            return RELAY_WAIT if conn_watch(&c.loop, target) else RELAY_TARGET_FAILED
        n = splice(pipe.read_fd, NULL, target.fd, NULL, pipe.held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
        if n < 0:
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                target.writable = 0
                continue
            target.failed = 1
            return RELAY_TARGET_FAILED
        pipe.held -= <uint32_t>n
        moved[0] += <uint64_t>n
        counter_bump(&c.spliced_bytes, n)
        if pipe.held == 0 and n < RELAY_CHATTY_BYTES:
            s.bulk[direction] = 0
            pipe_give(c, pipe)
            s.pipes[direction] = NULL
            return 1


cdef inline int relay_step(
    context_t *c, session_t *s, uint32_t direction, conn_t *source, conn_t *target, counter_t *bytes, counter_t *also,
) noexcept nogil:
    """Move what can be moved from source to target: a relay_verdict_t. `bytes`, `also`: counters of what left."""
    cdef uint32_t turns = 0
    cdef uint32_t held
    cdef uint64_t moved
    cdef int64_t n
    cdef int verdict
    while True:
        if target.out_first != NULL:
            verdict = conn_flush(&c.loop, target)
            if verdict < 0:
                return RELAY_TARGET_FAILED
            if verdict == 0:
                return RELAY_WAIT
        held = conn_held(source)
        if held:
            counter_bump(bytes, held)
            counter_bump(also, held)
            verdict = relay_send_held(c, source, target, held)
            if verdict < 0:
                return RELAY_TARGET_FAILED
            continue
        if s.pipes[direction] != NULL or (s.bulk[direction] >= RELAY_BULK_READS and not source.eof):
            moved = 0
            verdict = relay_splice(c, s, direction, source, target, ~<uint64_t>0, &moved)
            counter_bump(bytes, <int64_t>moved)
            counter_bump(also, <int64_t>moved)
            if verdict != 1:
                return verdict
            continue
        if source.eof:
            conn_send_fin(target)
            return RELAY_ENDED
        if not source.readable:
            return RELAY_WAIT if conn_watch(&c.loop, source) else RELAY_SOURCE_FAILED
        if turns >= RELAY_TURNS:
            return RELAY_AGAIN
        turns += 1
        n = conn_read(&c.loop, source, BUFFER_LARGE if s.bulk[direction] else BUFFER_SMALL)
        if n > 0:
            if n >= BUFFER_SMALL:
                s.bulk[direction] += 1
            else:
                s.bulk[direction] = 0
        elif n < 0 and n != -EAGAIN:
            return RELAY_SOURCE_FAILED
