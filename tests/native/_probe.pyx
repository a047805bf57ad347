# SPDX-License-Identifier: Apache-2.0
"""The probe thread driven from Python: reports are noted in an array, and can be held up by a gate."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from fastlb.core.atomics cimport (
    counter_add, counter_add_seq, counter_get, counter_get_seq, counter_set, counter_t, flag_get, flag_set, flag_t,
)
from fastlb.core.clock cimport clock_now_ns
from fastlb.core.health cimport health_reset, health_t
from fastlb.core.loop cimport loop_open
from fastlb.core.model cimport address_t
from fastlb.core.probe cimport (
    probe_add, probe_remove, probe_update, probes_close, probes_free, probes_init, probes_open_limit, probes_start, probes_stop,
)
from fastlb.core.probe_check cimport probe_abandon, probe_begin, probe_first
from fastlb.core.probe_http cimport probe_codes_add, probe_codes_t
from fastlb.core.probe_target cimport (
    PROBE_ECHO, probe_config_drop, probe_config_new, probe_config_t, probe_kind_t, probe_read, probe_result_t, probe_target_t,
    probe_view_t, probes_t,
)
from fastlb.core.sys.pthread cimport pthread_create, pthread_join, pthread_t
from fastlb.core.sys.socket cimport AF_INET, AF_INET6, htons, inet_pton, sockaddr_in, sockaddr_in6
from fastlb.core.timers cimport timer_disarm

TCP, HTTP, PING = range(3)
NONE, PASSED, CONNECT_FAILED, CONNECT_TIMEOUT, NO_ANSWER, CLOSED, IO_FAILED, MALFORMED, WRONG_STATUS = range(9)
TARGET_BYTES = sizeof(probe_target_t)
THREAD_BYTES = sizeof(probes_t)

cdef enum:
    NOTES = 65536

cdef struct note_t:
    int64_t owner
    bint up
    probe_result_t result

cdef struct notes_t:             # the owner of every target
    counter_t count
    flag_t entered               # a report is under way
    flag_t gate                  # while 1, reports do not return
    note_t notes[65536]

cdef struct owner_t:
    notes_t *notes
    int64_t number
    counter_t gone               # probe_remove has returned
    counter_t late               # reports after that


cdef struct worker_t:            # a thread without the GIL: targets come and go, or one goes
    pthread_t thread
    probes_t *p
    address_t address
    probe_config_t *config
    probe_config_t *other
    notes_t *notes
    owner_t *owners
    probe_target_t *target       # to be removed
    owner_t *owner               # its
    int rounds
    flag_t stop
    flag_t over


cdef extern from "<sched.h>" nogil:
    int sched_yield() noexcept


cdef void note(void *context, bint up, const probe_result_t *result) noexcept nogil:
    cdef owner_t *owner = <owner_t *>context
    cdef int64_t i = counter_get(&owner.notes.count)
    if counter_get(&owner.gone):
        counter_add(&owner.late, 1)
    if i < NOTES:
        owner.notes.notes[i].owner = owner.number
        owner.notes.notes[i].up = up
        owner.notes.notes[i].result = result[0]
    counter_add_seq(&owner.notes.count, 1)
    flag_set(&owner.notes.entered, 1)
    while flag_get(&owner.notes.gate):
        sched_yield()


cdef void *come_and_go(void *argument) noexcept nogil:
    cdef worker_t *w = <worker_t *>argument
    cdef probe_target_t *targets[3]
    cdef owner_t *owners
    cdef probe_view_t view
    cdef int round, i
    for round in range(w.rounds):
        owners = w.owners + 3 * round
        for i in range(3):
            owners[i].notes = w.notes
            targets[i] = probe_add(w.p, &w.address, w.config, NULL, note, owners + i)
        probe_update(w.p, targets[0], NULL, w.other)
        probe_update(w.p, targets[1], &w.address, w.other)
        probe_read(targets[2], &view)
        while round % 10 == 0 and view.failed + view.passed == 0 and not flag_get(&w.stop):
            sched_yield()
            probe_read(targets[2], &view)
        for i in range(3):
            probe_remove(w.p, targets[i])
            counter_set(&owners[i].gone, 1)
        if flag_get(&w.stop):
            break
    flag_set(&w.over, 1)
    return NULL


cdef void *go(void *argument) noexcept nogil:
    cdef worker_t *w = <worker_t *>argument
    probe_remove(w.p, w.target)
    counter_set(&w.owner.gone, 1)
    flag_set(&w.over, 1)
    return NULL


cdef address_t parse_address(str text, int port):
    cdef address_t a
    memset(&a, 0, sizeof(a))
    a.ip.sin6_family = AF_INET6 if ":" in text else AF_INET
    a.ip.sin6_port = htons(port)
    if a.ip.sin6_family == AF_INET:
        a.length = sizeof(sockaddr_in)
        inet_pton(AF_INET, text.encode(), &(<sockaddr_in *>&a.ip).sin_addr)
    else:
        a.length = sizeof(sockaddr_in6)
        inet_pton(AF_INET6, text.encode(), &a.ip.sin6_addr)
    return a


cdef class Config:
    """Times in milliseconds."""
    cdef probe_config_t *c

    def __cinit__(
        self, probe_kind_t kind=TCP, double delay=20, double timeout=1000, double connect=1000, int rise=1, int fall=1,
        bytes request=b"GET / HTTP/1.0\r\n\r\n", codes=((200, 200),),
    ):
        cdef probe_codes_t bits
        memset(&bits, 0, sizeof(bits))
        for first, last in codes:
            probe_codes_add(&bits, first, last)
        self.c = probe_config_new(
            kind, <uint64_t>(delay * 1e6), <uint64_t>(timeout * 1e6), <uint64_t>(connect * 1e6), rise, fall,
            <const uint8_t *>request, len(request), &bits,
        )
        if self.c == NULL:
            raise MemoryError

    def __dealloc__(self):
        probe_config_drop(self.c)

    @property
    def refs(self):
        return counter_get(&self.c.refs)

    @property
    def times(self):
        return self.c.delay_ns / 1e6, self.c.timeout_ns / 1e6, self.c.connect_timeout_ns / 1e6

    @property
    def counts(self):
        return self.c.rise, self.c.fall


@cython.no_gc                    # a collection in a member's thread would look into what the test's thread changes
cdef class Target:
    cdef probe_target_t *t
    cdef owner_t *owner
    cdef Probes probes

    def __dealloc__(self):
        free(self.owner)

    cdef probe_view_t view(self):
        cdef probe_view_t view
        if self.t == NULL:
            raise ValueError("removed")
        probe_read(self.t, &view)
        return view

    @property
    def up(self):
        return bool(self.view().up)

    @property
    def result(self):
        """(code, errno, status) of the last check."""
        cdef probe_view_t view = self.view()
        return view.code, view.error, view.status

    @property
    def passed(self):
        return self.view().passed

    @property
    def failed(self):
        return self.view().failed

    @property
    def checks(self):
        cdef probe_view_t view = self.view()
        return view.passed + view.failed

    @property
    def duration_ms(self):
        return self.view().duration_ns / 1e6

    @property
    def at_ns(self):
        return self.view().at_ns

    @property
    def changed_ns(self):
        return self.view().changed_ns

    @property
    def reports(self):
        """(up, first, changed, code, errno, status) of each report of this target."""
        return [seen[1:7] for seen in self.probes.reports if seen[0] == self.owner.number]

    @property
    def late_reports(self):
        return counter_get(&self.owner.late)

    def update(self, Config config, address=None, int port=0):
        cdef address_t a
        if address is not None:
            a = parse_address(address, port)
        probe_update(&self.probes.p[0], self.t, &a if address is not None else NULL, config.c)

    def remove(self):
        cdef probe_target_t *t = self.t
        cdef probes_t *p = self.probes.p
        self.t = NULL
        with nogil:
            probe_remove(p, t)
        counter_set(&self.owner.gone, 1)


cdef class Probes:
    cdef probes_t *p
    cdef notes_t *notes
    cdef int64_t owners
    cdef list kept
    cdef bint freed

    def __cinit__(self, uint64_t seed=1):
        self.p = <probes_t *>calloc(1, sizeof(probes_t))
        self.notes = <notes_t *>calloc(1, sizeof(notes_t))
        if self.p == NULL or self.notes == NULL:
            raise MemoryError
        self.kept = []
        probes_init(self.p, seed)

    def __dealloc__(self):
        free(self.p)
        free(self.notes)

    def start(self, uint32_t open_limit=0):
        return probes_start(self.p, open_limit)

    def stop(self):
        with nogil:
            probes_stop(self.p)

    def free(self):
        """Every target's last use."""
        if not self.freed:
            self.freed = True
            flag_set(&self.notes.gate, 0)
            with nogil:
                probes_free(self.p)
            for target in self.kept:
                (<Target>target).t = NULL
            self.kept.clear()

    def add(self, str address, int port, Config config, *, up=None):
        """`up`: the state to go on from."""
        cdef Target target = Target.__new__(Target)
        cdef address_t a = parse_address(address, port)
        cdef health_t health
        health_reset(&health)
        if up is not None:
            health.up = up
            health.proven = 1
        target.probes = self
        target.owner = <owner_t *>calloc(1, sizeof(owner_t))
        target.owner.notes = self.notes
        target.owner.number = self.owners
        self.owners += 1
        target.t = probe_add(self.p, &a, config.c, &health if up is not None else NULL, note, target.owner)
        if target.t == NULL:
            raise MemoryError
        self.kept.append(target)
        return target

    def remove_aside(self, Target target):
        """A thread that removes it."""
        cdef Worker worker = Worker.__new__(Worker)
        worker.w.p = self.p
        worker.w.target, target.t = target.t, NULL
        worker.w.owner = target.owner
        worker.begin(self, go)
        return worker

    def come_and_go(self, str address, int port, Config config, Config other, int rounds):
        """A thread that adds three targets, changes two of them, and removes them, that often."""
        cdef Worker worker = Worker.__new__(Worker)
        worker.w.p = self.p
        worker.w.address = parse_address(address, port)
        worker.w.config = config.c
        worker.w.other = other.c
        worker.w.notes = self.notes
        worker.w.rounds = rounds
        worker.w.owners = <owner_t *>calloc(3 * rounds, sizeof(owner_t))
        worker.kept = (config, other)
        worker.begin(self, come_and_go)
        return worker

    @property
    def reports(self):
        """(owner, up, first, changed, code, errno, status, at_ns, duration_ms), in order."""
        cdef int64_t i
        cdef note_t *n
        found = []
        for i in range(min(counter_get_seq(&self.notes.count), NOTES)):
            n = &self.notes.notes[i]
            found.append((
                n.owner, bool(n.up), bool(n.result.first), bool(n.result.changed), <int>n.result.code, n.result.error,
                n.result.status, n.result.at_ns, n.result.duration_ns / 1e6,
            ))
        return found

    def hold_reports(self, bint held):
        flag_set(&self.notes.gate, held)

    @property
    def in_report(self):
        return bool(flag_get(&self.notes.entered))

    @property
    def count(self):
        return counter_get(&self.p.count)

    @property
    def started(self):
        return counter_get(&self.p.started)

    @property
    def shortages(self):
        return counter_get(&self.p.shortages)

    @property
    def held_back(self):
        return counter_get(&self.p.held_back)


cdef class Worker:
    """Keeps its probes, and must be joined."""
    cdef worker_t w
    cdef Probes probes
    cdef object kept

    def __dealloc__(self):
        free(self.w.owners)

    cdef begin(self, Probes probes, void *(*run)(void *) noexcept nogil):
        self.probes = probes
        if pthread_create(&self.w.thread, NULL, run, &self.w):
            raise OSError("pthread_create")

    @property
    def over(self):
        return bool(flag_get(&self.w.over))

    def stop(self):
        flag_set(&self.w.stop, 1)

    def join(self):
        """How many reports came for targets that were removed."""
        cdef int64_t late = 0
        with nogil:
            pthread_join(self.w.thread, NULL)
        if self.w.owners != NULL:
            for i in range(3 * self.w.rounds):
                late += counter_get(&self.w.owners[i].late)
        return late


def abandoned_ping(str address):
    """Whether a reply would find its target while the check is under way, and after it was abandoned."""
    cdef Probes probes = Probes()
    cdef probes_t *p = probes.p
    cdef probe_target_t *t = <probe_target_t *>calloc(1, sizeof(probe_target_t))
    cdef Config config = Config(PING)
    t.fd = -1
    t.config = config.c
    t.address = parse_address(address, 0)
    if loop_open(&p.loop) < 0:
        raise OSError("loop_open")
    probe_begin(p, t)
    before = t.state == PROBE_ECHO and p.sequences[t.sequence] == t
    probe_abandon(p, t)
    after = p.sequences[t.sequence] == t
    timer_disarm(&p.loop.timers, &t.timer)
    probes_close(p)
    free(t)
    probes.free()
    return before, after


def open_limit():
    return probes_open_limit()


def now_ns():
    return clock_now_ns()


def first_starts(int count, double delay_ms, uint64_t now_ns, double apart_ms=0):
    """When the first checks of targets start that come `apart_ms` from each other, in ms behind each one's coming."""
    cdef Probes probes = Probes()
    cdef Config config = Config(delay=delay_ms)
    cdef probe_target_t *t = <probe_target_t *>calloc(1, sizeof(probe_target_t))
    found = []
    t.config = config.c
    for _i in range(count):
        probe_first(probes.p, t, now_ns)
        found.append((t.next_ns - now_ns) / 1e6)
        timer_disarm(&probes.p.loop.timers, &t.timer)
        now_ns += <uint64_t>(apart_ms * 1e6)
    free(t)
    probes.free()
    return found
