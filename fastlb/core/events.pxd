# SPDX-License-Identifier: Apache-2.0
"""From the core to Python: a bounded queue and one eventfd.

The core never waits for Python: what does not fit is counted and dropped.  Nothing is lost by that, since an event only
says that something is worth a look: statuses are read where they are kept.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from fastlb.core.atomics cimport counter_add, counter_t
from fastlb.core.sys.epoll cimport EFD_CLOEXEC, EFD_NONBLOCK, close, errno, eventfd, read, write
from fastlb.core.sys.pthread cimport (
    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock,
)

cdef enum:
    EVENTS_KEPT = 4096

cdef enum event_kind_t:
    EVENT_MEMBER_DOWN = 0
    EVENT_MEMBER_UP = 1
    EVENT_MEMBER_EJECTED = 2     # value: for how long, in ns
    EVENT_MEMBER_RETURNED = 3

cdef struct event_t:
    uint32_t kind
    uint64_t object_id
    int64_t value
    uint64_t at_ns

cdef struct events_t:
    int fd                       # readable while there is something to fetch, or somebody called events_wake
    pthread_mutex_t mutex
    uint32_t first
    uint32_t count
    counter_t dropped
    event_t kept[4096]


cdef inline int events_open(events_t *events) noexcept nogil:
    """0 or -errno."""
    events.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if events.fd < 0:
        return -errno
    pthread_mutex_init(&events.mutex, NULL)
    return 0


cdef inline void events_close(events_t *events) noexcept nogil:
    close(events.fd)
    pthread_mutex_destroy(&events.mutex)


cdef inline void events_wake(events_t *events) noexcept nogil:
    cdef uint64_t one = 1
    write(events.fd, &one, sizeof(one))


cdef inline void events_put(events_t *events, uint32_t kind, uint64_t object_id, int64_t value, uint64_t at_ns) noexcept nogil:
    """Any thread."""
    cdef event_t *event
    pthread_mutex_lock(&events.mutex)
    if events.count == EVENTS_KEPT:
        counter_add(&events.dropped, 1)
    else:
        event = &events.kept[(events.first + events.count) % EVENTS_KEPT]
        event.kind = kind
        event.object_id = object_id
        event.value = value
        event.at_ns = at_ns
        events.count += 1
    pthread_mutex_unlock(&events.mutex)
    events_wake(events)


cdef inline uint32_t events_take(events_t *events, event_t *into, uint32_t room) noexcept nogil:
    """How many were fetched, the oldest first."""
    cdef uint32_t n = 0
    cdef uint64_t count
    read(events.fd, &count, sizeof(count))
    pthread_mutex_lock(&events.mutex)
    while n < room and events.count:
        into[n] = events.kept[events.first]
        events.first = (events.first + 1) % EVENTS_KEPT
        events.count -= 1
        n += 1
    if events.count:
        events_wake(events)
    pthread_mutex_unlock(&events.mutex)
    return n
