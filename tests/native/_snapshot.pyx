# SPDX-License-Identifier: Apache-2.0
"""snapshot.pxd driven from Python: objects are integers on the heap, a free is noted in a list."""
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from fastlb.core.snapshot cimport *

cdef int64_t freed[1024]
cdef int freed_count = 0


cdef void note_free(void *object) noexcept nogil:
    global freed_count
    freed[freed_count] = (<int64_t *>object)[0]
    freed_count += 1
    free(object)


cdef class Snapshots:
    cdef snapshots_t s

    def __cinit__(self):
        global freed_count
        freed_count = 0
        snapshots_init(&self.s)

    def enter(self, int reader):
        snapshot_enter(&self.s, reader)

    def leave(self, int reader):
        snapshot_leave(&self.s, reader)

    def retire(self, int64_t value):
        cdef int64_t *object = <int64_t *>malloc(sizeof(int64_t))
        object[0] = value
        return snapshot_retire(&self.s, object, note_free)

    def reclaim(self):
        snapshot_reclaim(&self.s)

    @property
    def pending(self):
        return snapshots_pending(&self.s)

    @property
    def freed(self):
        return [freed[i] for i in range(freed_count)]
