# SPDX-License-Identifier: Apache-2.0
"""The root of the native core: owners of its objects, for fastlb's Python side.

Here, and only here, native values meet Python objects.  Each call releases the GIL while it works, and returns once the data
plane has the change.  Failures of the core are negative errnos; they become exceptions in `_fail`.
"""
cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EINVAL, ENOMEM, ENOSYS
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastlb.core.atomics cimport counter_get, counter_set, counter_t, flag_get, flag_set, pointer_get, pointer_set
from fastlb.core.bind cimport BIND_BESIDE, BIND_FREE, bind_address, bind_close
from fastlb.core.bytes cimport span_t
from fastlb.core.directory cimport member_key
from fastlb.core.engine cimport (
    ENGINE_ADDRESSES, ENGINE_WORKERS, engine_abandon, engine_close, engine_cut, engine_listen, engine_memory, engine_new_id,
    engine_open, engine_purge, engine_queued, engine_release, engine_renew, engine_retire, engine_start, engine_stop,
    engine_t, engine_unlisten,
)
from fastlb.core.events cimport EVENT_MEMBER_DOWN as NATIVE_MEMBER_DOWN, EVENT_MEMBER_UP as NATIVE_MEMBER_UP
from fastlb.core.events cimport EVENT_MEMBER_EJECTED as NATIVE_MEMBER_EJECTED, EVENT_MEMBER_RETURNED as NATIVE_MEMBER_RETURNED
from fastlb.core.events cimport event_t, events_put, events_take, events_wake
from fastlb.core.hash cimport hash_bytes
from fastlb.core.l7_program cimport (
    L7_CONTAINS, L7_COOKIE, L7_ENDS_WITH, L7_EQUAL_TO, L7_FILE_TYPE, L7_HEADER, L7_HOST_NAME, L7_PATH,
    L7_REDIRECT_PREFIX, L7_REDIRECT_TO_POOL, L7_REDIRECT_TO_URL, L7_REGEX, L7_REJECT, L7_SSL_CONN_HAS_CERT,
    L7_SSL_DN_FIELD, L7_SSL_VERIFY_RESULT, L7_STARTS_WITH, l7_action_t, l7_compare_t, l7_policy_add, l7_program_finish,
    l7_program_hold, l7_program_let_go, l7_program_new, l7_program_release, l7_program_t, l7_rule_add, l7_type_t,
)
from fastlb.core.l7_regex cimport l7_regex_error_t, l7_regex_new, l7_regex_release, l7_regex_t
from fastlb.core.lifetime cimport listener_conf_free, listener_let_go, member_let_go, pool_hold, pool_let_go
from fastlb.core.health cimport health_reset, health_t
from fastlb.core.model cimport (
    INSERT_FORWARDED_FOR, INSERT_FORWARDED_PORT, INSERT_FORWARDED_PROTO, PERSISTENCE_APP_COOKIE, PERSISTENCE_HTTP_COOKIE,
    PERSISTENCE_NONE, PERSISTENCE_SOURCE_IP, RETRY_502, RETRY_503, RETRY_504, RETRY_CONNECT, RETRY_RESET, address_t,
    algorithm_t, cidr_t, listener_conf_t, listener_shard_t, listener_t, member_shard_t, member_t, persistence_t,
    pool_conf_t, pool_shard_t, pool_t,
)
from fastlb.core.outlier cimport outlier_forget, outlier_review
from fastlb.core.probe cimport probe_add, probe_remove, probe_update
from fastlb.core.probe_http cimport probe_codes_add, probe_codes_t, probe_http_request
from fastlb.core.probe_icmp cimport probe_ping_available
from fastlb.core.probe_target cimport (
    PROBE_HTTP, PROBE_PING, PROBE_TCP, probe_config_drop, probe_config_new, probe_config_t, probe_kind_t, probe_read,
    probe_result_t, probe_target_t, probe_view_t,
)
from fastlb.core.random cimport random_t
from fastlb.core.refusal cimport REFUSAL_END, refusal_name
from fastlb.core.roster cimport (
    member_conf_t, pool_add, pool_change_members, pool_configure, pool_dispose, pool_init, pool_refresh, pool_remove,
    roster_simulate, simulation_t,
)
from fastlb.core.snapshot cimport snapshot_retire, snapshots_init, snapshots_pending, snapshots_t
from fastlb.core.sticky cimport sticky_figures, sticky_figures_t, sticky_t
from fastlb.core.sys.socket cimport AF_INET, AF_INET6, AF_UNIX, htons, inet_pton, sockaddr_in
from fastlb.core.worker cimport worker_t
import os
from _thread import allocate_lock

cdef extern from *:
    """
    #define FASTLB_STRINGIFY_(x) #x
    #define FASTLB_STRINGIFY(x) FASTLB_STRINGIFY_(x)
    #define FASTLB_CYTHON FASTLB_STRINGIFY(CYTHON_ABI)
    """
    const char *_COMPILER_TEXT "__VERSION__"
    const char *_CYTHON_TEXT "FASTLB_CYTHON"

cdef bytes _COMPILER = _COMPILER_TEXT
cdef bytes _CYTHON_VERSION = _CYTHON_TEXT

cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents
    short POLLIN
    int poll(pollfd *fds, unsigned long count, int timeout_ms) noexcept

ALGORITHMS = {
    "ROUND_ROBIN": 0, "LEAST_CONNECTIONS": 1, "SOURCE_IP": 2, "SOURCE_IP_PORT": 3, "RANDOM_TWO_CHOICES": 4, "PEAK_EWMA": 5,
    "MAGLEV": 6,
}
PERSISTENCE = {
    "": <int>PERSISTENCE_NONE, "SOURCE_IP": <int>PERSISTENCE_SOURCE_IP, "HTTP_COOKIE": <int>PERSISTENCE_HTTP_COOKIE,
    "APP_COOKIE": <int>PERSISTENCE_APP_COOKIE,
}
_RETRY_ON = {
    "connect-failure": <int>RETRY_CONNECT, "reset": <int>RETRY_RESET, "502": <int>RETRY_502, "503": <int>RETRY_503,
    "504": <int>RETRY_504,
}
_INSERT = {
    "X-Forwarded-For": <int>INSERT_FORWARDED_FOR, "X-Forwarded-Port": <int>INSERT_FORWARDED_PORT,
    "X-Forwarded-Proto": <int>INSERT_FORWARDED_PROTO,
}
EVENT_MEMBER_UP = <int>NATIVE_MEMBER_UP
EVENT_MEMBER_DOWN = <int>NATIVE_MEMBER_DOWN
EVENT_MEMBER_EJECTED = <int>NATIVE_MEMBER_EJECTED
EVENT_MEMBER_RETURNED = <int>NATIVE_MEMBER_RETURNED
_PROBE_KINDS = {"TCP": <int>PROBE_TCP, "HTTP": <int>PROBE_HTTP, "PING": <int>PROBE_PING}

cdef struct watch_t:                     # what a probe's report needs; outlives its target
    engine_t *engine
    member_t *member
    probe_target_t *target               # NULL: not probed
    address_t address                    # where to probe


cdef _fail(int error, filename=None):
    """The exception for a negative errno."""
    if -error == ENOMEM:
        raise MemoryError("the core is out of memory")
    if filename is None:
        raise OSError(-error, os.strerror(-error))
    raise OSError(-error, os.strerror(-error), filename)


cdef int _read_address(address_t *into, str text, int port) except -1:
    """A literal address, without a zone."""
    cdef bytes raw = text.encode("ascii", "replace")
    cdef sockaddr_in *v4 = <sockaddr_in *>&into.ip
    if not 0 <= port <= 65535:
        raise ValueError(f"port={port}: must be 0..65535")
    memset(into, 0, sizeof(address_t))
    if inet_pton(AF_INET, raw, &v4.sin_addr) == 1:
        v4.sin_family = AF_INET
        v4.sin_port = htons(<uint16_t>port)
        into.length = sizeof(sockaddr_in)
        return 0
    memset(into, 0, sizeof(address_t))
    if inet_pton(AF_INET6, raw, &into.ip.sin6_addr) == 1:
        into.ip.sin6_family = AF_INET6
        into.ip.sin6_port = htons(<uint16_t>port)
        into.length = sizeof(into.ip)
        return 0
    raise ValueError(f"{text!r}: must be a literal IPv4 or IPv6 address")


cdef void _report(void *owner, bint up, const probe_result_t *result) noexcept nogil:
    """On the probe thread: the member comes or goes at once, Python hears of it when it has time."""
    cdef watch_t *watch = <watch_t *>owner
    if result.changed:
        flag_set(&watch.member.up, up)
        pool_refresh(watch.member.pool)
    if result.changed or result.first:
        events_put(
            &watch.engine.events, NATIVE_MEMBER_UP if up else NATIVE_MEMBER_DOWN, watch.member.id, result.code,
            result.at_ns)


# The counters of a shard or a worker, in the order of its struct (model.pxd, context.pxd).
_WORKER_FIGURES = (
    "loop_turns", "accept_emfile", "connect_emfile", "sessions", "member_connections", "spliced_bytes",
)
_FAMILIES = ("responses_1xx", "responses_2xx", "responses_3xx", "responses_4xx", "responses_5xx", "responses_other")
_MEMBER_FIGURES = (
    "active", "sessions", "bytes_in", "bytes_out", "connects", "connect_errors", "reuses", "retries", "response_errors",
    "client_aborts", "member_aborts", *_FAMILIES, "connections", "response_ns",
)
_POOL_FIGURES = ("queued", "queue_timeouts", "retries_refused")
_LISTENER_FIGURES = (
    "active", "connections", "requests", "bytes_in", "bytes_out", "request_errors", "denied", *_FAMILIES, "own_answers",
    "redirects",
)


cdef dict _figures(tuple names, const char *first, size_t stride, uint32_t shards):
    """Each counter summed over all shards; `first` is the first counter of the first shard."""
    cdef int64_t total
    cdef uint32_t i, shard
    cdef dict found = {}
    for i in range(<uint32_t>len(names)):
        total = 0
        for shard in range(shards):
            total += counter_get(<const counter_t *>(first + shard * stride) + i)
        found[names[i]] = total
    return found


@cython.no_gc
cdef class Core:
    """The threads of one engine: workers that forward, and one that probes."""

    cdef engine_t *engine
    cdef int *cpus
    cdef object explaining               # a lock: all who ask share the snapshots' spare reader

    def __cinit__(self, int workers, cpus=None):
        cdef int error, i
        cdef uint64_t seed
        if not 1 <= workers <= ENGINE_WORKERS:
            raise ValueError(f"workers={workers}: must be 1..{ENGINE_WORKERS}")
        if cpus is not None and len(cpus) != workers:
            raise ValueError(f"cpus={cpus!r}: must name one CPU for each of {workers} workers")
        self.explaining = allocate_lock()
        self.engine = <engine_t *>engine_memory(sizeof(engine_t))
        if self.engine == NULL:
            raise MemoryError()
        seed = int.from_bytes(os.urandom(8), "little")
        error = engine_open(self.engine, workers, seed)
        if error:
            free(self.engine)
            self.engine = NULL
            _fail(error)
        if cpus is not None:
            self.cpus = <int *>PyMem_Malloc(workers * sizeof(int))
            for i in range(workers):
                self.cpus[i] = cpus[i]

    def __dealloc__(self):
        # Everything that is owned by this core holds a reference to it, so nothing of it is left by now.
        if self.engine != NULL:
            engine_stop(self.engine, 0)
            engine_close(self.engine)
            free(self.engine)
        PyMem_Free(self.cpus)

    @property
    def workers(self):
        return self.engine.count

    @property
    def running(self):
        return bool(self.engine.running)

    def start(self):
        cdef int error
        cdef uint64_t seed = int.from_bytes(os.urandom(8), "little")
        if self.engine.running:
            raise RuntimeError("the core runs already")
        with nogil:
            error = engine_start(self.engine, self.cpus, seed)
        if error:
            _fail(error)

    def stop(self, double grace_s):
        cdef int64_t cut
        cdef uint64_t grace_ms = <uint64_t>(max(0.0, min(grace_s, 1e9)) * 1000)
        with nogil:
            cut = engine_stop(self.engine, grace_ms)
        return cut

    def abandon(self):
        """In a forked child, once: give the descriptors up. Nothing of this core may be used, or freed, after it."""
        engine_abandon(self.engine)

    def wait_events(self, double timeout_s):
        cdef event_t events[64]
        cdef pollfd ready
        cdef uint32_t n, i
        cdef int timeout_ms = <int>(max(0.0, min(timeout_s, 1e6)) * 1000)
        ready.fd = self.engine.events.fd
        ready.events = POLLIN
        ready.revents = 0
        with nogil:
            poll(&ready, 1, timeout_ms)
            n = events_take(&self.engine.events, events, 64)
        return [(events[i].kind, events[i].object_id, events[i].value, events[i].at_ns) for i in range(n)]

    def wake(self):
        events_wake(&self.engine.events)

    def counters(self):
        cdef engine_t *e = self.engine
        cdef dict found = dict.fromkeys(_WORKER_FIGURES, 0)
        if e.running:
            found = _figures(_WORKER_FIGURES, <const char *>&e.workers[0].c.turns, sizeof(worker_t), e.count)
        found["regex_given_up"] = sum(counter_get(&e.workers[i].c.l7.limits) for i in range(e.count)) if e.running else 0
        found["events_dropped"] = counter_get(&e.events.dropped)
        found["snapshots_pending"] = snapshots_pending(&e.snapshots)
        return found


include "_core_pool.pxi"
include "_core_l7.pxi"
include "_core_listener.pxi"
include "_core_explain.pxi"


def schedule(int algorithm, weights, uint64_t picks, clients, uint64_t hold, uint64_t seed):
    """What an algorithm picks: indexes into `weights`, as a NumPy array of uint32. No socket, no engine."""
    import numpy
    cdef uint32_t n = len(weights), i
    cdef snapshots_t *snapshots = <snapshots_t *>engine_memory(sizeof(snapshots_t))
    cdef pool_t *pool = <pool_t *>engine_memory(sizeof(pool_t))
    cdef member_t *members = <member_t *>engine_memory((n + 1) * sizeof(member_t))
    cdef member_t **natives = <member_t **>calloc(n + 1, sizeof(member_t *))
    cdef simulation_t plan
    cdef random_t rng
    cdef int error = 0
    cdef bint made = False
    cdef uint32_t[::1] indexes
    cdef uint64_t[::1] keys
    cdef bytes text
    found = numpy.empty(picks, dtype=numpy.uint32)
    memset(&plan, 0, sizeof(plan))
    rng.state = seed
    try:
        if not 0 <= algorithm < len(ALGORITHMS):
            raise ValueError(f"algorithm={algorithm}: must be one of {ALGORITHMS}")
        if snapshots == NULL or pool == NULL or members == NULL or natives == NULL:
            raise MemoryError()
        if clients is not None:
            clients = numpy.ascontiguousarray(clients, dtype=numpy.uint64)
            if len(clients) < picks:
                raise ValueError(f"clients: {len(clients)} of them, must be {picks}")
            keys = clients
            if picks:
                plan.client_hashes = &keys[0]
        snapshots_init(snapshots)
        made = pool_init(pool, snapshots, 1, <algorithm_t>algorithm, True, seed)
        if not made:
            raise MemoryError()
        for i in range(n):
            if not 0 <= weights[i] <= 256:
                raise ValueError(f"weights[{i}]={weights[i]}: must be 0..256")
            members[i].id = i
            text = str(i).encode()
            members[i].hash_key = hash_bytes(<const char *>text, len(text), 0)
            members[i].pool = pool
            members[i].weight = weights[i]
            members[i].admin_up = True
            flag_set(&members[i].up, 1)
            natives[i] = &members[i]
        plan.picks = picks
        plan.hold = hold
        if picks:
            indexes = found
            with nogil:
                error = pool_add(pool, natives, n)
                if error == 0:
                    error = roster_simulate(pool, &plan, &rng, &indexes[0])
            if error:
                _fail(error)
        return found
    finally:
        if made:
            pool_dispose(pool)
        free(snapshots)
        free(pool)
        free(members)
        free(natives)


def about():
    """Versions of what the core was built with."""
    import sys
    return {"cython": _CYTHON_VERSION.decode(), "python": sys.version.split()[0], "compiler": _COMPILER.decode()}
