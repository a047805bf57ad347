# SPDX-License-Identifier: Apache-2.0
"""roster.pxd and every algorithm below it, driven from Python; loops over picks and threads run without the GIL."""
cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from fastlb.core.atomics cimport (
    counter_add_sync, counter_get, counter_set, flag_get, flag_set, flag_t, pointer_get,
)
from fastlb.core.clock cimport clock_now_ns
from fastlb.core.hash cimport hash_mix
from fastlb.core.model cimport algorithm_t, member_t, pool_conf_t, pool_t
from fastlb.core.random cimport random_below, random_next, random_t
from fastlb.core.roster cimport *
from fastlb.core.selection.least_conn cimport least_bucket_t, least_conn_t
from fastlb.core.selection.ops cimport pick_t, roster_t
from fastlb.core.snapshot cimport (
    snapshot_enter, snapshot_leave, snapshot_reclaim, snapshot_retire, snapshots_init, snapshots_pending, snapshots_t,
)

import os

import numpy

NOBODY = 0xFFFFFFFF

cdef enum:
    HELD = 64                   # sessions that one thread of Pool.work keeps open
    BATCH = 10000


cdef void release(void *object) noexcept nogil:
    """As owners and connections give up a member: the last one frees it."""
    cdef member_t *member = <member_t *>object
    if counter_add_sync(&member.refs, -1) == 0:
        free(member)


cdef uint64_t injected_ns = 0


cdef uint64_t injected_clock() noexcept nogil:
    return injected_ns


def tell_time(uint64_t now_ns):
    """What rosters take for the time when they are published."""
    global injected_ns
    injected_ns = now_ns


@cython.no_gc_clear         # __dealloc__ goes through `members`
cdef class Pool:
    """Members go by the number they were added under; those taken out are freed as an engine would free them."""
    cdef snapshots_t snapshots
    cdef pool_t pool
    cdef dict members           # number: address
    cdef int numbers
    cdef random_t rng
    cdef flag_t stopped

    def __cinit__(self, int algorithm, uint64_t seed=1):
        snapshots_init(&self.snapshots)
        self.members = {}
        self.rng.state = seed
        assert pool_init(&self.pool, &self.snapshots, 1, <algorithm_t>algorithm, 1, seed)
        self.pool.clock = injected_clock

    def __dealloc__(self):
        pool_dispose(&self.pool)
        for address in self.members.values():
            release(<member_t *><size_t>address)
        snapshot_reclaim(&self.snapshots)

    cdef member_t *at(self, number) except NULL:
        return <member_t *><size_t>self.members[number]

    cdef int check(self, int failed) except -1:
        if failed:
            raise OSError(-failed, os.strerror(-failed))
        return 0

    def add(self, *weights, bint backup=False, bint up=True, keys=None, hashes=None, uint32_t max_connections=0):
        """Members of these weights, in one publication; their numbers."""
        cdef member_t *batch[BATCH]
        cdef uint32_t n = 0
        cdef int failed
        numbers = []
        for weight in weights:
            batch[n] = <member_t *>calloc(1, sizeof(member_t))
            batch[n].id = self.numbers
            batch[n].hash_key = hash_mix(1 + (keys[n] if keys else self.numbers))
            if hashes:
                batch[n].hash_key = hashes[n]
            batch[n].weight = weight
            batch[n].backup = backup
            batch[n].admin_up = 1
            flag_set(&batch[n].up, up)
            flag_set(&batch[n].max_connections, max_connections)
            counter_set(&batch[n].refs, 1)
            numbers.append(self.numbers)
            self.members[self.numbers] = <size_t>batch[n]
            self.numbers += 1
            n += 1
        with nogil:
            failed = pool_add(&self.pool, batch, n)
        self.check(failed)
        return numbers

    def add_again(self, *numbers):
        cdef member_t *batch[16]
        for i, number in enumerate(numbers):
            batch[i] = self.at(number)
        self.check(pool_add(&self.pool, batch, len(numbers)))

    def remove(self, *numbers, bint keep=False):
        cdef member_t *batch[BATCH]
        cdef uint32_t n = len(numbers)
        cdef int failed
        for i, number in enumerate(numbers):
            batch[i] = self.at(number)
        with nogil:
            failed = pool_remove(&self.pool, batch, n)
        self.check(failed)
        if not keep:
            for number in numbers:
                snapshot_retire(&self.snapshots, self.at(number), release)
                del self.members[number]

    def change(self, int algorithm, bint admin_up=True):
        cdef int failed
        with nogil:
            failed = pool_change(&self.pool, <algorithm_t>algorithm, admin_up)
        self.check(failed)

    def configure(
        self, int algorithm=-1, uint64_t slow_start_ns=0, uint32_t panic_percent=0, uint32_t outlier_5xx=1,
        uint32_t outlier_connect=1, bint admin_up=True,
    ):
        cdef pool_conf_t *conf = <pool_conf_t *>calloc(1, sizeof(pool_conf_t))
        pool_conf_default(conf)
        conf.admin_up = admin_up
        conf.slow_start_ns = slow_start_ns
        conf.panic_percent = panic_percent
        conf.outlier_5xx = outlier_5xx
        conf.outlier_connect = outlier_connect
        self.check(pool_configure(&self.pool, <algorithm_t>algorithm if algorithm >= 0 else self.pool.algorithm, conf))

    def change_member(self, number, uint16_t weight=1, bint backup=False, bint admin_up=True, uint32_t max_connections=0):
        self.change_members([(number, weight, backup, admin_up, max_connections)])

    def change_members(self, list changes):
        """(number, weight, backup, admin_up, max_connections) each. Answers what they had before."""
        cdef uint32_t n = <uint32_t>len(changes)
        cdef member_t **members = <member_t **>calloc(n, sizeof(member_t *))
        cdef member_conf_t *confs = <member_conf_t *>calloc(n, sizeof(member_conf_t))
        cdef uint32_t i
        cdef int failed
        try:
            for i in range(n):
                number, weight, backup, admin_up, max_connections = changes[i]
                members[i] = self.at(number)
                confs[i].weight = weight
                confs[i].backup = backup
                confs[i].admin_up = admin_up
                confs[i].max_connections = max_connections
            with nogil:
                failed = pool_change_members(&self.pool, members, confs, n)
            self.check(failed)
            return [
                (confs[i].weight, bool(confs[i].backup), bool(confs[i].admin_up), confs[i].max_connections)
                for i in range(n)
            ]
        finally:
            free(members)
            free(confs)

    def set_up(self, number, bint up):
        flag_set(&self.at(number).up, up)
        self.check(pool_refresh(&self.pool))

    def set_ejected(self, number, uint32_t ejected):
        flag_set(&self.at(number).ejected, ejected)
        self.check(pool_refresh(&self.pool))

    @property
    def panic(self):
        """(is it in panic, how often was it)"""
        return bool(flag_get(&self.pool.panic)), counter_get(&self.pool.panics)

    @property
    def warming_until_ns(self):
        return (<roster_t *>pointer_get(&self.pool.roster)).warming_until_ns

    def pick(self, uint64_t key=0, tried=(), uint64_t port_key=0, uint64_t now_ns=0):
        """The number of one pick; None, or "full" if somebody who was not tried only is full."""
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
        if member == NULL:
            return "full" if ask.full else None
        return member.id

    def opened(self, number, uint64_t now_ns=0):
        pool_opened(&self.pool, self.at(number), now_ns)

    def opened_within(self, number, uint64_t now_ns=0):
        return pool_opened_within(&self.pool, self.at(number), now_ns)

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
        uint64_t gap_ns=0, const uint64_t[::1] response_ns=None, uint64_t begin_ns=0
    ):
        """NumPy array of the numbers picked, as long as no member was taken out."""
        cdef simulation_t plan
        cdef uint32_t[::1] out
        cdef int failed
        memset(&plan, 0, sizeof(plan))
        numbers = numpy.empty(picks, numpy.uint32)
        out = numbers
        plan.picks = picks
        plan.hold = hold
        plan.gap_ns = gap_ns
        plan.begin_ns = begin_ns
        if keys is not None:
            assert <uint64_t>keys.shape[0] >= picks
            plan.client_hashes = &keys[0]
        if port_keys is not None:
            assert <uint64_t>port_keys.shape[0] >= picks
            plan.client_port_hashes = &port_keys[0]
        if response_ns is not None:
            plan.response_ns = &response_ns[0]
        if picks:
            with nogil:
                failed = roster_simulate(&self.pool, &plan, &self.rng, &out[0])
            self.check(failed)
        order = numpy.array([self.pool.members[i].id for i in range(self.pool.count)] + [NOBODY], numpy.uint32)
        return order[numpy.minimum(numbers, self.pool.count)]

    def picks(self, uint64_t n, int reader, uint64_t seed=1):
        """Numbers picked by one worker thread; a turn of its loop is 16 picks."""
        cdef uint32_t[::1] out
        cdef pick_t ask
        cdef random_t rng
        cdef member_t *member
        cdef uint64_t i
        numbers = numpy.empty(n, numpy.uint32)
        out = numbers
        memset(&ask, 0, sizeof(ask))
        rng.state = seed
        ask.rng = &rng
        with nogil:
            for i in range(n):
                if i % 16 == 0:
                    snapshot_enter(&self.snapshots, reader)
                ask.client_hash = random_next(&rng)
                ask.client_port_hash = ask.client_hash
                member = pool_pick(&self.pool, &ask)
                out[i] = <uint32_t>member.id if member != NULL else <uint32_t>-1
            snapshot_leave(&self.snapshots, reader)
        return numbers

    def work(self, int reader, uint64_t seed):
        """A worker's life until stop(): pick, now and then beside a tried one, open, hold, close. (picks, none, repeated)"""
        cdef member_t *held[HELD]
        cdef member_t *before[1]
        cdef pick_t ask
        cdef random_t rng
        cdef member_t *member
        cdef uint64_t i = 0
        cdef uint64_t none = 0
        cdef uint64_t repeated = 0
        cdef uint32_t at
        memset(held, 0, sizeof(held))
        memset(&ask, 0, sizeof(ask))
        rng.state = seed
        ask.rng = &rng
        ask.tried = before
        before[0] = NULL
        with nogil:
            while flag_get(&self.stopped) == 0:
                if i % 16 == 0:
                    snapshot_enter(&self.snapshots, reader)
                    before[0] = NULL
                i += 1
                ask.client_hash = random_next(&rng)
                ask.client_port_hash = ask.client_hash
                ask.now_ns = i * 1000
                ask.tried_count = before[0] != NULL and i % 4 == 0
                member = pool_pick(&self.pool, &ask)
                if member == NULL:
                    none += 1
                    continue
                repeated += ask.tried_count != 0 and member == before[0]
                before[0] = member
                counter_add_sync(&member.refs, 1)
                pool_opened(&self.pool, member, ask.now_ns)
                at = random_below(&rng, HELD)
                if held[at] != NULL:
                    pool_closed(&self.pool, held[at], ask.now_ns, 1 + random_below(&rng, 1000000))
                    release(held[at])
                held[at] = member
            snapshot_enter(&self.snapshots, reader)
            for at in range(HELD):
                if held[at] != NULL:
                    pool_closed(&self.pool, held[at], i * 1000, 1)
                    release(held[at])
            snapshot_leave(&self.snapshots, reader)
        return i, none, repeated

    def flap(self, numbers):
        """The probe thread's life until stop(): these members go down and up; how often."""
        cdef member_t *batch[BATCH]
        cdef uint32_t n = len(numbers)
        cdef uint64_t changes = 0
        cdef int failed = 0
        for i, number in enumerate(numbers):
            batch[i] = self.at(number)
        with nogil:
            while flag_get(&self.stopped) == 0 and not failed:
                flag_set(&batch[changes % n].up, flag_get(&batch[changes % n].up) ^ 1)
                failed = pool_refresh(&self.pool)
                changes += 1
            for at in range(n):
                flag_set(&batch[at].up, 1)
            failed |= pool_refresh(&self.pool)
        self.check(failed)
        return changes

    def stop(self):
        flag_set(&self.stopped, 1)

    def listed(self):
        """LEAST_CONNECTIONS: {number: (weight, sessions)}, after the lists have been found sound."""
        cdef least_conn_t *l = <least_conn_t *>self.pool.selector
        cdef least_bucket_t *bucket
        cdef member_t *member
        cdef uint32_t i
        found = {}
        for i in range(l.group_count):
            bucket = l.groups[i].lowest
            assert bucket == NULL or bucket.below == NULL
            while bucket != NULL:
                assert bucket.first != NULL
                assert bucket.first.selector_previous == NULL
                assert bucket.last.selector_next == NULL
                assert bucket.above == NULL or (bucket.above.active > bucket.active and bucket.above.below == bucket)
                member = bucket.first
                while member != NULL:
                    assert member.selector_node == bucket
                    assert member.listed_weight == l.groups[i].weight
                    assert member.selector_next == NULL or (
                        member.selector_next.selector_previous == member
                        and member.selector_next.selector_stamp > member.selector_stamp
                    )
                    found[member.id] = (member.listed_weight, bucket.active)
                    member = member.selector_next
                bucket = bucket.above
        return found

    def time_picks(self, uint64_t n, bint sessions=False, uint32_t clients=0, uint64_t seed=1):
        """Nanoseconds a pick, in a loop of n without Python; with sessions: opened and closed too, 16 at once.

        The client is one of so many; 0: each time another, so that a table of hashes is looked up all over.
        """
        cdef member_t *held[16]
        cdef pick_t ask
        cdef random_t rng
        cdef member_t *member
        cdef uint64_t i, began
        memset(held, 0, sizeof(held))
        memset(&ask, 0, sizeof(ask))
        rng.state = seed
        ask.rng = &rng
        with nogil:
            began = clock_now_ns()
            for i in range(n):
                ask.client_hash = hash_mix(random_below(&rng, clients)) if clients else random_next(&rng)
                ask.client_port_hash = ask.client_hash
                ask.now_ns = i
                member = pool_pick(&self.pool, &ask)
                if sessions:
                    pool_opened(&self.pool, member, i)
                    if held[i & 15] != NULL:
                        pool_closed(&self.pool, held[i & 15], i, 1000)
                    held[i & 15] = member
            began = clock_now_ns() - began
            for i in range(16):
                if held[i] != NULL:
                    pool_closed(&self.pool, held[i], n, 0)
        return <double>began / n

    def time_add(self, uint32_t n):
        """Nanoseconds until a member that joins is on the roster: the median of n that join and leave again."""
        cdef member_t *member = <member_t *>calloc(1, sizeof(member_t))
        cdef uint64_t began
        times = []
        member.weight = 1
        member.admin_up = 1
        flag_set(&member.up, 1)
        for i in range(n):
            member.hash_key = hash_mix(1000000 + i)
            began = clock_now_ns()
            self.check(pool_add(&self.pool, &member, 1))
            times.append(clock_now_ns() - began)
            self.check(pool_remove(&self.pool, &member, 1))
        free(member)
        return sorted(times)[n // 2]

    def ewma(self, number):
        return counter_get(&self.at(number).ewma_ns)
