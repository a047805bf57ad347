# SPDX-License-Identifier: Apache-2.0
"""Publish, acquire and retire an immutable view of the model (quiescent-state reclamation).

A reader (a worker, the probe thread) is *inside* while it may hold a pointer that it got from a `pointer_t`, and passes
a quiet point between two turns of its loop, or goes outside while it sleeps.  A writer publishes the new object with
`pointer_set`, then hands the old one to `snapshot_retire`; it is freed once each reader has been quiet since.
"""
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free
from fastlb.core.atomics cimport (
    counter_add_seq, counter_get_seq, counter_set_seq, counter_t, spinlock_give, spinlock_t, spinlock_take,
)

cdef enum:
    SNAPSHOT_READERS = 130       # 128 workers, the probe thread, one to spare

ctypedef void (*snapshot_free_f)(void *object) noexcept nogil

cdef struct snapshot_reader_t:   # on a cache line of its own; written by its thread only
    counter_t seen               # generation at the last quiet point; 0: outside
    char pad[56]

cdef struct snapshot_retired_t:
    snapshot_retired_t *next
    int64_t generation
    void *object
    snapshot_free_f free_object

cdef struct snapshots_t:         # one an engine
    snapshot_reader_t readers[130]
    counter_t generation         # starts at 1
    spinlock_t lock              # guards `retired`
    snapshot_retired_t *retired


cdef inline void snapshots_init(snapshots_t *s) noexcept nogil:
    cdef uint32_t i
    for i in range(SNAPSHOT_READERS):
        counter_set_seq(&s.readers[i].seen, 0)
    counter_set_seq(&s.generation, 1)
    s.retired = NULL
    spinlock_give(&s.lock)


cdef inline void snapshot_enter(snapshots_t *s, uint32_t reader) noexcept nogil:
    """Also the quiet point of a reader that is inside: what it held before, it must not touch any more."""
    counter_set_seq(&s.readers[reader].seen, counter_get_seq(&s.generation))


cdef inline void snapshot_leave(snapshots_t *s, uint32_t reader) noexcept nogil:
    counter_set_seq(&s.readers[reader].seen, 0)


cdef inline void snapshot_reclaim(snapshots_t *s) noexcept nogil:
    """Free what no reader can hold any more. Any thread."""
    cdef int64_t oldest, seen
    cdef uint32_t i
    cdef snapshot_retired_t *entry
    cdef snapshot_retired_t *ripe = NULL
    cdef snapshot_retired_t **link
    spinlock_take(&s.lock)
    if s.retired != NULL:
        oldest = counter_get_seq(&s.generation)
        for i in range(SNAPSHOT_READERS):
            seen = counter_get_seq(&s.readers[i].seen)
            if seen != 0 and seen < oldest:
                oldest = seen
        link = &s.retired
        while link[0] != NULL:
            entry = link[0]
            if entry.generation <= oldest:
                link[0] = entry.next
                entry.next = ripe
                ripe = entry
            else:
                link = &entry.next
    spinlock_give(&s.lock)
    while ripe != NULL:
        entry = ripe
        ripe = entry.next
        entry.free_object(entry.object)
        free(entry)


cdef inline bint snapshot_retire(snapshots_t *s, void *object, snapshot_free_f free_object) noexcept nogil:
    """Hand over an object that is no longer published; 0 if there is no memory to remember it (it then leaks). Any thread."""
    cdef snapshot_retired_t *entry = <snapshot_retired_t *>calloc(1, sizeof(snapshot_retired_t))
    if entry == NULL:
        return 0
    entry.object = object
    entry.free_object = free_object
    # Readers that enter from now on see the new object: they carry a generation of at least this one.
    entry.generation = counter_add_seq(&s.generation, 1) + 1
    spinlock_take(&s.lock)
    entry.next = s.retired
    s.retired = entry
    spinlock_give(&s.lock)
    snapshot_reclaim(s)
    return 1


cdef inline uint32_t snapshots_pending(snapshots_t *s) noexcept nogil:
    """Objects that wait for their readers."""
    cdef uint32_t n = 0
    cdef snapshot_retired_t *entry
    spinlock_take(&s.lock)
    entry = s.retired
    while entry != NULL:
        n += 1
        entry = entry.next
    spinlock_give(&s.lock)
    return n
