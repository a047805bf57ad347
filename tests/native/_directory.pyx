# SPDX-License-Identifier: Apache-2.0
"""directory.pxd, and what roster.pxd builds for persistence, driven from Python; memory may be made to run out."""
cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from fastlb.core.atomics cimport counter_add_sync, counter_set, flag_get, flag_set, flag_t, pointer_get
from fastlb.core.directory cimport *
from fastlb.core.model cimport EJECTED_5XX, EJECTED_NOT, algorithm_t, member_t, persistence_t, pool_conf_t, pool_t
from fastlb.core.roster cimport *
from fastlb.core.snapshot cimport (
    snapshot_enter, snapshot_leave, snapshot_reclaim, snapshot_retire, snapshot_retired_t, snapshots_init,
    snapshots_pending, snapshots_t,
)
from fastlb.core.sticky cimport sticky_figures, sticky_get, sticky_put, sticky_t

import os

# In this extension alone, what the parts ask malloc for is counted, and refused from some point on.
cdef extern from *:
    """
    #include <stdlib.h>
    static __thread long memory_left = -1;       /* requests until there is none any more; -1: for ever */
    static size_t memory_exempt;                 /* zeroed objects of this size are always to be had */
    static int memory_gone(void) { return memory_left >= 0 && (memory_left == 0 || memory_left-- == 0); }
    static void *memory_malloc(size_t size) { return memory_gone() ? NULL : malloc(size); }
    static void *memory_realloc(void *p, size_t size) { return memory_gone() ? NULL : realloc(p, size); }
    static void *memory_calloc(size_t n, size_t size)
    {
        return n * size != memory_exempt && memory_gone() ? NULL : calloc(n, size);
    }
    #define malloc(size) memory_malloc(size)
    #define realloc(p, size) memory_realloc(p, size)
    #define calloc(n, size) memory_calloc(n, size)
    """
    long memory_left
    size_t memory_exempt

# Without this note of it, snapshot_retire leaks the old object, as it says.
memory_exempt = sizeof(snapshot_retired_t)


cdef void release(void *object) noexcept nogil:
    cdef member_t *member = <member_t *>object
    if counter_add_sync(&member.refs, -1) == 0:
        free(member)


@cython.no_gc_clear         # __dealloc__ goes through `members`
cdef class Pool:
    """Members go by their uuid, 16 bytes."""
    cdef snapshots_t snapshots
    cdef pool_t pool
    cdef dict members           # uuid: address
    cdef flag_t stopped

    def __cinit__(self, uint64_t seed=1):
        snapshots_init(&self.snapshots)
        self.members = {}
        assert pool_init(&self.pool, &self.snapshots, 1, <algorithm_t>0, 1, seed)

    def __dealloc__(self):
        pool_dispose(&self.pool)
        for address in self.members.values():
            release(<member_t *><size_t>address)
        snapshot_reclaim(&self.snapshots)

    cdef member_t *at(self, uuid) except NULL:
        return <member_t *><size_t>self.members[uuid]

    cdef int check(self, int failed) except -1:
        if failed:
            raise OSError(-failed, os.strerror(-failed))
        return 0

    def add(self, *uuids, weight=1, bint backup=False, bint up=True, long memory=-1):
        """In one publication. `memory`: so many requests are granted, then none."""
        global memory_left
        cdef member_t **batch = <member_t **>calloc(len(uuids) + 1, sizeof(member_t *))
        cdef uint32_t n = 0
        cdef bytes uuid
        cdef int failed
        for uuid in uuids:
            batch[n] = <member_t *>calloc(1, sizeof(member_t))
            memcpy(batch[n].uuid, <const char *>uuid, 16)
            batch[n].key = member_key(batch[n].uuid)
            batch[n].id = n
            batch[n].hash_key = batch[n].key
            batch[n].weight = weight
            batch[n].backup = backup
            batch[n].admin_up = 1
            flag_set(&batch[n].up, up)
            counter_set(&batch[n].refs, 1)
            n += 1
        memory_left = memory
        with nogil:
            failed = pool_add(&self.pool, batch, n)
        memory_left = -1
        for i in range(n):
            if failed:
                free(batch[i])
            else:
                self.members[uuids[i]] = <size_t>batch[i]
        free(batch)
        self.check(failed)

    def remove(self, *uuids, long memory=-1):
        global memory_left
        cdef member_t **batch = <member_t **>calloc(len(uuids) + 1, sizeof(member_t *))
        cdef uint32_t n = len(uuids)
        cdef int failed
        for i, uuid in enumerate(uuids):
            batch[i] = self.at(uuid)
        memory_left = memory
        with nogil:
            failed = pool_remove(&self.pool, batch, n)
        memory_left = -1
        free(batch)
        self.check(failed)
        for uuid in uuids:
            snapshot_retire(&self.snapshots, self.at(uuid), release)
            del self.members[uuid]

    def configure(self, int persistence, bytes cookie=b"", int algorithm=0, bint admin_up=True, long memory=-1):
        global memory_left
        cdef pool_conf_t *conf = <pool_conf_t *>calloc(1, sizeof(pool_conf_t))
        cdef int failed
        pool_conf_default(conf)
        conf.admin_up = admin_up
        conf.persistence = <persistence_t>persistence
        conf.cookie_length = <uint32_t>len(cookie)
        memcpy(conf.cookie_name, <const char *>cookie, len(cookie))
        memory_left = memory
        with nogil:
            failed = pool_configure(&self.pool, <algorithm_t>algorithm, conf)
        memory_left = -1
        if failed:
            free(conf)
        self.check(failed)

    def set_flags(self, uuid, bint up=True, bint leaving=False, bint ejected=False, bint panic=False):
        flag_set(&self.at(uuid).up, up)
        flag_set(&self.at(uuid).leaving, leaving)
        flag_set(&self.at(uuid).ejected, EJECTED_5XX if ejected else EJECTED_NOT)
        flag_set(&self.pool.panic, panic)

    def set_key(self, uuid, uint64_t key):
        """Before it is added again."""
        self.at(uuid).key = key

    def key(self, uuid):
        return self.at(uuid).key

    def reachable(self, uuid):
        return bool(member_reachable(&self.pool, self.at(uuid)))

    def text(self, uuid):
        cdef uint8_t out[36]
        assert uuid_write(self.at(uuid), out) == 36
        return out[:36]

    def find(self, uint64_t key):
        cdef member_t *member = directory_find(&self.pool, key)
        return member.uuid[:16] if member != NULL else None

    def find_text(self, bytes text):
        cdef member_t *member = directory_find_uuid(&self.pool, <const uint8_t *><const char *>text, <uint32_t>len(text))
        return member.uuid[:16] if member != NULL else None

    @property
    def state(self):
        """Everything that a change which fails must leave as it was."""
        cdef pool_conf_t *conf = pool_conf(&self.pool)
        return (
            <size_t>pointer_get(&self.pool.directory), <size_t>pointer_get(&self.pool.sticky), <size_t>conf,
            <size_t>pointer_get(&self.pool.roster), self.pool.count, self.pool.algorithm, self.pool.admin_up,
            [self.pool.members[i].uuid[:16] for i in range(self.pool.count)],
            [self.pool.members[i].removed for i in range(self.pool.count)],
        )

    @property
    def directory(self):
        """(members, slots), or None if there is no directory."""
        cdef directory_t *d = <directory_t *>pointer_get(&self.pool.directory)
        return None if d == NULL else (d.count, 1 << (64 - d.shift))

    @property
    def pending(self):
        snapshot_reclaim(&self.snapshots)
        return snapshots_pending(&self.snapshots)

    def put(self, bytes client, uint64_t key):
        return bool(sticky_put(<sticky_t *>pointer_get(&self.pool.sticky), <const char *>client, <uint32_t>len(client), key))

    def get(self, bytes client):
        return sticky_get(<sticky_t *>pointer_get(&self.pool.sticky), <const char *>client, <uint32_t>len(client))

    def figures(self):
        return dict(sticky_figures(<sticky_t *>pointer_get(&self.pool.sticky)))

    def look_up(self, keys, int reader):
        """A worker's life until stop(): find these keys again and again. (look-ups, hits, members that were others)"""
        cdef uint64_t wanted[64]
        cdef uint64_t i = 0
        cdef uint64_t hits = 0
        cdef uint64_t wrong = 0
        cdef uint32_t n = len(keys)
        cdef member_t *member
        for k in range(n):
            wanted[k] = keys[k]
        with nogil:
            while flag_get(&self.stopped) == 0:
                if i % 16 == 0:
                    snapshot_enter(&self.snapshots, reader)
                member = directory_find(&self.pool, wanted[i % n])
                if member != NULL:
                    hits += 1
                    wrong += member.key != wanted[i % n] or not member_reachable(&self.pool, member)
                    sticky_put(<sticky_t *>pointer_get(&self.pool.sticky), &i, 8, member.key)
                i += 1
            snapshot_leave(&self.snapshots, reader)
        return i, hits, wrong

    def stop(self):
        flag_set(&self.stopped, 1)


def key_of(bytes uuid):
    return member_key(<const uint8_t *><const char *>uuid)
