# SPDX-License-Identifier: Apache-2.0
"""roster.pxd and every algorithm below it, driven from Python; loops over picks and threads run without the GIL."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from fastlb.core.atomics cimport counter_add_sync, counter_get, counter_set, flag_set, pointer_get
from fastlb.core.clock cimport clock_now_ns
from fastlb.core.hash cimport hash_mix
from fastlb.core.model cimport algorithm_t, member_t, pool_t
from fastlb.core.random cimport random_below, random_next, random_t
from fastlb.core.roster cimport *
from fastlb.core.selection.ops cimport pick_t, roster_t
from fastlb.core.snapshot cimport (
    snapshot_enter, snapshot_leave, snapshot_reclaim, snapshot_retire, snapshots_init, snapshots_pending, snapshots_t,
)

import os

import numpy

NOBODY = 0xFFFFFFFF

cdef enum:
    READERS = 8


cdef void release(void *object) noexcept nogil:
    """As owners and connections give up a member: the last one frees it."""
    cdef member_t *member = <member_t *>object
    if counter_add_sync(&member.refs, -1) == 0:
        free(member)


cdef class Pool:
    """Members go by the number they were added under; those taken out are freed as an engine would free them."""
    cdef snapshots_t snapshots
    cdef pool_t pool
    cdef dict members           # number: address
    cdef int numbers
    cdef random_t rng

    def __cinit__(self, int algorithm, uint64_t seed=1):
        snapshots_init(&self.snapshots)
        self.members = {}
        self.rng.state = seed
        assert pool_init(&self.pool, &self.snapshots, 1, <algorithm_t>algorithm, 1, seed)

    def __dealloc__(self):
        pool_dispose(&self.pool)
        for address in self.members.values():
            release(<member_t *><size_t>address)
        snapshot_reclaim(&self.snapshots)

    cdef member_t *at(self, number) except NULL:
        return <member_t *><size_t>self.members[number]

    cdef int call(self, int failed) except -1:
        if failed:
            raise OSError(-failed, os.strerror(-failed))
        return 0

    def add(self, *weights, bint backup=False, bint up=True, keys=None):
        """Members of these weights, in one publication; their numbers."""
        cdef member_t *batch[10000]
        cdef uint32_t n = 0
        numbers = []
        for weight in weights:
            batch[n] = <member_t *>calloc(1, sizeof(member_t))
            batch[n].id = self.numbers
            batch[n].hash_key = hash_mix(1 + (keys[n] if keys else self.numbers))
            batch[n].weight = weight
            batch[n].backup = backup
            batch[n].admin_up = 1
            flag_set(&batch[n].up, up)
            counter_set(&batch[n].refs, 1)
            numbers.append(self.numbers)
            self.members[self.numbers] = <size_t>batch[n]
            self.numbers += 1
            n += 1
        self.call(pool_add(&self.pool, batch, n))
        return numbers

    def add_again(self, *numbers):
        cdef member_t *batch[16]
        for i, number in enumerate(numbers):
            batch[i] = self.at(number)
        self.call(pool_add(&self.pool, batch, len(numbers)))

    def remove(self, *numbers, bint keep=False):
        cdef member_t *batch[10000]
        for i, number in enumerate(numbers):
            batch[i] = self.at(number)
        self.call(pool_remove(&self.pool, batch, len(numbers)))
        if not keep:
            for number in numbers:
                snapshot_retire(&self.snapshots, self.at(number), release)
                del self.members[number]

    def change(self, int algorithm, bint admin_up=True):
        self.call(pool_change(&self.pool, <algorithm_t>algorithm, admin_up))

    def change_member(self, number, uint16_t weight=1, bint backup=False, bint admin_up=True):
        self.call(pool_change_member(&self.pool, self.at(number), weight, backup, admin_up))

    def set_up(self, number, bint up):
        flag_set(&self.at(number).up, up)
        self.call(pool_refresh(&self.pool))

    def pick(self, uint64_t key=0, tried=(), uint64_t port_key=0, uint64_t now_ns=0):
        """The number of one pick, or None."""
        cdef pick_t ask
        cdef member_t *before[64]
        cdef member_t *member
        memset(&ask, 0, sizeof(ask))
        ask.client_hash = key
        ask.client_port_hash = port_key
        ask.now_ns = now_ns
        ask.rng = &self.rng
        for i, number in enumerate(tried):
            before[i] = self.at(number)
        ask.tried = before
        ask.tried_count = len(tried)
        member = pool_pick(&self.pool, &ask)
        return member.id if member != NULL else None

    def opened(self, number, uint64_t now_ns=0):
        pool_opened(&self.pool, self.at(number), now_ns)

    def closed(self, number, uint64_t now_ns=0, uint64_t response_ns=0):
        pool_closed(&self.pool, self.at(number), now_ns, response_ns)

    def active(self, number):
        return counter_get(&self.at(number).active)

    @property
    def generation(self):
        return counter_get(&self.pool.generation)

    @property
    def roster(self):
        """(number, weight) of each member that may be picked."""
        cdef roster_t *roster = <roster_t *>pointer_get(&self.pool.roster)
        if roster == NULL:
            return []
        return [(roster.members[i].id, roster.weights[i]) for i in range(roster.count)]

    @property
    def pending(self):
        snapshot_reclaim(&self.snapshots)
        return snapshots_pending(&self.snapshots)

    def simulate(
        self, uint64_t picks, const uint64_t[::1] keys=None, const uint64_t[::1] port_keys=None, uint64_t hold=0,
        uint64_t gap_ns=0, const uint64_t[::1] response_ns=None, int threads=1
    ):
        """NumPy array of the numbers picked, as long as no member was taken out."""
        cdef simulation_t plan
        cdef uint32_t[::1] out
        memset(&plan, 0, sizeof(plan))
        numbers = numpy.empty(picks, numpy.uint32)
        out = numbers
        plan.picks = picks
        plan.hold = hold
        plan.gap_ns = gap_ns
        if keys is not None:
            assert <uint64_t>keys.shape[0] >= picks
            plan.client_hashes = &keys[0]
        if port_keys is not None:
            assert <uint64_t>port_keys.shape[0] >= picks
            plan.client_port_hashes = &port_keys[0]
        if response_ns is not None:
            plan.response_ns = &response_ns[0]
        if picks:
            self.call(roster_simulate(&self.pool, &plan, &self.rng, &out[0]))
        order = numpy.array([self.pool.members[i].id for i in range(self.pool.count)] + [NOBODY], numpy.uint32)
        return order[numpy.minimum(numbers, self.pool.count)]
