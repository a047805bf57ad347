# SPDX-License-Identifier: Apache-2.0
"""One thread's epoll, its time, its deadlines and its buffers: what a connection needs to live on that thread."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from fastlb.core.buffer cimport buffers_dispose, buffers_t
from fastlb.core.clock cimport clock_now_ns
from fastlb.core.sys.epoll cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, errno,
)
from fastlb.core.timers cimport timers_init, timers_t

cdef enum:
    LOOP_EVENTS = 128            # taken from the kernel in one turn

cdef struct loop_t:
    int epoll_fd
    uint64_t now_ns              # read once a turn
    uint64_t now_ms
    timers_t timers
    buffers_t buffers
    void *dead                   # connections closed in this turn: freed at its end, as their events may still lie ahead
    void *ready                  # connections with work left over that no event will announce
    void *pipes                  # idle pipes for splice (relay.pxd)
    uint32_t pipe_count
    uint16_t last_tag
    epoll_event events[128]


cdef inline void loop_tell_time(loop_t *loop) noexcept nogil:
    loop.now_ns = clock_now_ns()
    loop.now_ms = loop.now_ns // 1000000


cdef inline int loop_open(loop_t *loop) noexcept nogil:
    """0 or -errno."""
    loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    if loop.epoll_fd < 0:
        return -errno
    loop_tell_time(loop)
    timers_init(&loop.timers, loop.now_ms)
    return 0


cdef inline void loop_close(loop_t *loop) noexcept nogil:
    if loop.epoll_fd >= 0:
        close(loop.epoll_fd)
        loop.epoll_fd = -1
    buffers_dispose(&loop.buffers)


cdef inline int loop_add(loop_t *loop, int fd, uint32_t events, void *what) noexcept nogil:
    """0 or -errno."""
    cdef epoll_event event
    event.events = events
    event.data.ptr = what
    if epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0:
        return -errno
    return 0


# A descriptor that was closed here may live on in a child process between its fork and its exec, and epoll then still reports
# events under the pointer that was given for it, which may be somebody else's by now.  So the pointer carries a tag in the
# 16 bits that user-space addresses leave free, and an event whose tag is not that of the object is none of its.

cdef inline void *loop_tagged(void *what, uint16_t tag) noexcept nogil:
    return <void *>(<uint64_t>what | <uint64_t>tag << 48)


cdef inline void *loop_untagged(void *what, uint16_t *tag) noexcept nogil:
    tag[0] = <uint16_t>(<uint64_t>what >> 48)
    return <void *>(<uint64_t>what & 0xFFFFFFFFFFFFu)


cdef inline void loop_remove(loop_t *loop, int fd) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN
    event.data.ptr = NULL
    epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, fd, &event)
