# SPDX-License-Identifier: Apache-2.0
"""outlier.pxd driven from Python, without the probe thread: `turn` is one of its turns, at a time that the test gives."""
cimport cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memset
from fastlb.core.atomics cimport counter_get, counter_set, flag_get, flag_set, flag_t, pointer_get
from fastlb.core.lifetime cimport member_let_go, pool_hold, pool_let_go
from fastlb.core.model cimport ALGORITHM_ROUND_ROBIN, member_t, pool_conf_t, pool_t
from fastlb.core.outlier cimport *
from fastlb.core.roster cimport (
    member_conf_t, pool_add, pool_change_members, pool_conf_default, pool_configure, pool_init, pool_pick, pool_remove,
)
from fastlb.core.random cimport random_t
from fastlb.core.selection.ops cimport pick_t, roster_t
from fastlb.core.snapshot cimport (
    snapshot_enter, snapshot_leave, snapshot_reclaim, snapshot_retire, snapshots_init, snapshots_t,
)
from fastlb.core.sys.epoll cimport EFD_CLOEXEC, EFD_NONBLOCK, close, eventfd, read

CONNECTED = <int>OUTLIER_CONNECTED
ANSWERED = <int>OUTLIER_ANSWERED
FIVE_HUNDRED = <int>OUTLIER_5XX
UNCONNECTED = <int>OUTLIER_UNCONNECTED


cdef void hear(void *owner, const member_t *member, bint ejected, int64_t value, uint64_t now_ns) noexcept with gil:
    (<Outliers>owner).heard.append((member.id, bool(ejected), value))


@cython.no_gc_clear         # __dealloc__ goes through `members`
cdef class Outliers:
    """One pool of members, by number, and what judges them."""
    cdef snapshots_t snapshots
    cdef outliers_t outliers
    cdef pool_t *pool
    cdef dict members           # number: address; those that were removed too, until `let_go`
    cdef public list heard      # (number, ejected, for how many ns)
    cdef int wake_fd
    cdef flag_t stopped

    def __cinit__(self, int members):
        cdef member_t *m
        snapshots_init(&self.snapshots)
        self.heard = []
        self.members = {}
        self.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        outliers_init(&self.outliers)
        self.outliers.report = <outlier_report_f>hear
        self.outliers.owner = <void *>self
        outliers_start(&self.outliers, self.wake_fd)
        self.pool = <pool_t *>calloc(1, sizeof(pool_t))
        assert pool_init(self.pool, &self.snapshots, 1, ALGORITHM_ROUND_ROBIN, 1, 1)
        self.pool.outliers = &self.outliers
        for number in range(members):
            m = <member_t *>calloc(1, sizeof(member_t))
            m.id = number
            m.weight = 1
            m.admin_up = 1
            m.pool = self.pool
            pool_hold(self.pool)
            flag_set(&m.up, 1)
            counter_set(&m.refs, 1)
            self.members[number] = <size_t>m
            assert pool_add(self.pool, &m, 1) == 0

    def __dealloc__(self):
        self.outliers.report = NULL
        outliers_stop(&self.outliers)
        outliers_dispose(&self.outliers)
        for number in list(self.members):
            self.let_go(number)
        snapshot_retire(&self.snapshots, self.pool, pool_let_go)
        snapshot_reclaim(&self.snapshots)
        close(self.wake_fd)

    cdef member_t *at(self, number) except NULL:
        return <member_t *><size_t>self.members[number]

    def configure(
        self, uint32_t outlier_5xx=0, uint32_t outlier_connect=0, uint32_t ejection_percent=100, uint64_t ejection_ns=1000,
        uint64_t ejection_max_ns=10000, uint32_t panic_percent=0
    ):
        cdef pool_conf_t *conf = <pool_conf_t *>calloc(1, sizeof(pool_conf_t))
        pool_conf_default(conf)
        conf.outlier_5xx = outlier_5xx
        conf.outlier_connect = outlier_connect
        conf.ejection_percent = ejection_percent
        conf.ejection_ns = ejection_ns
        conf.ejection_max_ns = ejection_max_ns
        conf.panic_percent = panic_percent
        with nogil:
            assert pool_configure(self.pool, ALGORITHM_ROUND_ROBIN, conf) == 0
            outlier_review(self.pool)

    def result(self, number, int kind, uint32_t times=1):
        cdef member_t *m = self.at(number)
        cdef uint32_t _
        for _ in range(times):
            outlier_result(self.pool, m, <outlier_kind_t>kind)

    def change_member(self, number, uint16_t weight=1, bint admin_up=True):
        cdef member_t *member = self.at(number)
        cdef member_conf_t conf
        memset(&conf, 0, sizeof(conf))
        conf.weight = weight
        conf.admin_up = admin_up
        assert pool_change_members(self.pool, &member, &conf, 1) == 0

    def remove(self, number):
        cdef member_t *m = self.at(number)
        assert pool_remove(self.pool, &m, 1) == 0
        outlier_forget(m)

    def let_go(self, number):
        """The owner gives it up; True if that was the last reference."""
        cdef member_t *m = self.at(number)
        del self.members[number]
        last = counter_get(&m.refs) == 1
        snapshot_retire(&self.snapshots, m, member_let_go)
        return last

    def woken(self):
        cdef uint64_t n
        return read(self.wake_fd, &n, sizeof(n)) == sizeof(n)

    def turn(self, uint64_t now_ns):
        with nogil:
            outliers_read_mail(&self.outliers, now_ns)
            outliers_turn(&self.outliers, now_ns)

    def wait_ms(self, uint64_t now_ns, int wait_ms=-1):
        return outliers_wait_ms(&self.outliers, now_ns, wait_ms)

    def stop(self):
        outliers_stop(&self.outliers)

    def start(self):
        outliers_start(&self.outliers, self.wake_fd)

    @property
    def ejected(self):
        return [number for number in self.members if flag_get(&self.at(number).ejected)]

    @property
    def serving(self):
        cdef roster_t *roster = <roster_t *>pointer_get(&self.pool.roster)
        return sorted(roster.members[i].id for i in range(roster.count))

    def faults(self, number):
        """(5xx, connects)"""
        cdef uint64_t faults = <uint64_t>counter_get(&self.at(number).faults)
        return faults & 0xFFFFFFFF, faults >> 32

    def ejections(self, number):
        return counter_get(&self.at(number).ejections)

    # Threads, without the GIL.

    def work(self, int reader, uint32_t seed):
        """A worker until finish(): good and bad results for whom it picks; how many."""
        cdef random_t rng
        cdef pick_t ask
        cdef member_t *m
        cdef uint64_t n = 0
        memset(&ask, 0, sizeof(ask))
        rng.state = seed
        ask.rng = &rng
        with nogil:
            while flag_get(&self.stopped) == 0:
                snapshot_enter(&self.snapshots, reader)
                m = pool_pick(self.pool, &ask)
                if m != NULL:
                    n += 1
                    outlier_result(self.pool, m, OUTLIER_UNCONNECTED if n % 5 == 0 else OUTLIER_5XX)
                    if n % 7 == 0:
                        outlier_result(self.pool, m, OUTLIER_ANSWERED if n % 2 else OUTLIER_CONNECTED)
            snapshot_leave(&self.snapshots, reader)
        return n

    def probe_thread(self, uint64_t step_ns):
        """Turns until finish(), each so much later; how many."""
        cdef uint64_t n = 0
        with nogil:
            while flag_get(&self.stopped) == 0:
                n += 1
                outliers_read_mail(&self.outliers, n * step_ns)
                outliers_turn(&self.outliers, n * step_ns)
        return n

    def finish(self):
        flag_set(&self.stopped, 1)
