# SPDX-License-Identifier: Apache-2.0
"""One thread's epoll, its time, its deadlines and its buffers: what a connection needs to live on that thread."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset
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
    void **found                 # by descriptor: whose its events are
    uint32_t found_size
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
    free(loop.found)
    loop.found = NULL
    loop.found_size = 0
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
# its events.  So an event names a descriptor and a tag, not an object: one of a descriptor that is closed finds nothing, and one
# whose number serves somebody else by now has another tag.

cdef inline int loop_register(loop_t *loop, int fd, uint32_t events, void *what, uint16_t *tag) noexcept nogil:
    """Have events of `fd` find `what`, with a new tag; 0 or -errno."""
    cdef epoll_event event
    cdef void **grown
    cdef uint32_t size = loop.found_size
    if <uint32_t>fd >= size:
        size = <uint32_t>fd + 1 if <uint32_t>fd >= 2 * size else 2 * size
        size = (size + 1023) & ~<uint32_t>1023
        grown = <void **>realloc(loop.found, size * sizeof(void *))
        if grown == NULL:
            return -12                                               # ENOMEM
        memset(grown + loop.found_size, 0, (size - loop.found_size) * sizeof(void *))
        loop.found = grown
        loop.found_size = size
    loop.last_tag += 1
    event.events = events
    event.data.u64 = <uint64_t><uint32_t>fd | <uint64_t>loop.last_tag << 32
    if epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0:
        return -errno
    tag[0] = loop.last_tag
    loop.found[fd] = what
    return 0


cdef inline void *loop_find(const loop_t *loop, const epoll_event *event, uint16_t *tag) noexcept nogil:
    """Whose event it is, if its tag is that of the object; NULL: nobody's."""
    cdef uint32_t fd = <uint32_t>event.data.u64
    tag[0] = <uint16_t>(event.data.u64 >> 32)
    return loop.found[fd] if fd < loop.found_size else NULL


cdef inline void loop_forget(loop_t *loop, int fd) noexcept nogil:
    """Before a registered descriptor is closed or taken out."""
    loop.found[fd] = NULL


cdef inline void loop_remove(loop_t *loop, int fd) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN
    event.data.ptr = NULL
    epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, fd, &event)
