# SPDX-License-Identifier: Apache-2.0
"""The root of the native core: owners of its objects, for fastlb's Python side.

Here, and only here, native values meet Python objects.  Each call releases the GIL while it works, and returns once the data
plane has the change.  Failures of the core are negative errnos; they become exceptions in `_fail`.
"""
cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastlb.core.atomics cimport counter_get, counter_set, counter_t, flag_get, flag_set, pointer_get, pointer_set
from fastlb.core.bytes cimport span_t
from fastlb.core.engine cimport (
    ENGINE_ADDRESSES, ENGINE_WORKERS, engine_abandon, engine_bind, engine_close, engine_cut, engine_listen, engine_memory,
    engine_new_id, engine_open, engine_purge, engine_start, engine_stop, engine_t, engine_unlisten,
)
from fastlb.core.events cimport EVENT_MEMBER_DOWN as NATIVE_MEMBER_DOWN, EVENT_MEMBER_UP as NATIVE_MEMBER_UP
from fastlb.core.events cimport event_t, events_put, events_take, events_wake
from fastlb.core.hash cimport hash_bytes
from fastlb.core.lifetime cimport listener_conf_free, listener_let_go, member_let_go, pool_hold, pool_let_go
from fastlb.core.model cimport (
    address_t, algorithm_t, cidr_t, listener_conf_t, listener_shard_t, listener_t, member_shard_t, member_t, pool_t,
)
from fastlb.core.probe cimport probe_add, probe_remove, probe_update
from fastlb.core.probe_http cimport probe_codes_add, probe_codes_t, probe_http_request
from fastlb.core.probe_icmp cimport probe_ping_available
from fastlb.core.probe_target cimport (
    PROBE_HTTP, PROBE_PING, PROBE_TCP, probe_config_drop, probe_config_new, probe_config_t, probe_kind_t, probe_read,
    probe_result_t, probe_target_t, probe_view_t,
)
from fastlb.core.random cimport random_t
from fastlb.core.roster cimport (
    pool_add, pool_change, pool_change_member, pool_dispose, pool_init, pool_refresh, pool_remove, roster_simulate,
    simulation_t,
)
from fastlb.core.snapshot cimport snapshot_retire, snapshots_init, snapshots_pending, snapshots_t
from fastlb.core.sys.epoll cimport close
from fastlb.core.sys.socket cimport AF_INET, AF_INET6, htons, inet_pton, sockaddr_in
from fastlb.core.worker cimport worker_t
import os

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
EVENT_MEMBER_UP = <int>NATIVE_MEMBER_UP
EVENT_MEMBER_DOWN = <int>NATIVE_MEMBER_DOWN
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
_LISTENER_FIGURES = (
    "active", "connections", "requests", "bytes_in", "bytes_out", "request_errors", "denied", *_FAMILIES, "own_answers",
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


cdef class Core:
    """The threads of one engine: workers that forward, and one that probes."""

    cdef engine_t *engine
    cdef int *cpus

    def __cinit__(self, int workers, cpus=None):
        cdef int error, i
        cdef uint64_t seed
        if not 1 <= workers <= ENGINE_WORKERS:
            raise ValueError(f"workers={workers}: must be 1..{ENGINE_WORKERS}")
        if cpus is not None and len(cpus) != workers:
            raise ValueError(f"cpus={cpus!r}: must name one CPU for each of {workers} workers")
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
        found["events_dropped"] = counter_get(&e.events.dropped)
        found["snapshots_pending"] = snapshots_pending(&e.snapshots)
        return found


# The collector must not empty these three before they are freed: they are freed by way of their core.
@cython.no_gc_clear
cdef class CoreMember:
    """A member of one pool; made by CorePool.add_members."""

    cdef member_t *member                # counted
    cdef CorePool pool
    cdef watch_t *watch
    cdef str address
    cdef int port
    cdef bint removed

    def __cinit__(self, CorePool pool, str address, int port, int weight, bint backup, bint admin_up):
        cdef member_t *m
        cdef bytes key
        self.pool = pool
        self.address = address
        self.port = port
        self.removed = True                                          # until it is in the pool
        m = <member_t *>calloc(1, sizeof(member_t))
        self.watch = <watch_t *>calloc(1, sizeof(watch_t))
        if m == NULL or self.watch == NULL:
            free(m)
            raise MemoryError()
        try:
            _read_address(&m.address, address, port)
        except ValueError:
            free(m)
            raise
        m.workers = pool.core.engine.count
        m.shards = <member_shard_t *>engine_memory(m.workers * sizeof(member_shard_t))
        if m.shards == NULL:
            free(m)
            raise MemoryError()
        m.id = engine_new_id(pool.core.engine)
        key = f"[{address}]:{port}".encode()
        m.hash_key = hash_bytes(<const char *>key, len(key), 0)
        m.pool = pool.pool
        pool_hold(m.pool)
        m.weight = <uint16_t>weight
        m.backup = backup
        m.admin_up = admin_up
        flag_set(&m.up, 1)
        flag_set(&m.leaving, not admin_up)
        counter_set(&m.refs, 1)
        self.member = m
        self.watch.engine = pool.core.engine
        self.watch.member = m
        self.watch.address = m.address

    def __dealloc__(self):
        cdef member_t *m = self.member
        if m != NULL:
            self.unwatch()
            # A pool that was dropped, not closed, may still be picked from: what cannot be taken out of it is not freed.
            if not self.removed and pool_remove(m.pool, &m, 1):
                return
            # A worker may have found it in a roster a moment ago.
            snapshot_retire(&self.pool.core.engine.snapshots, m, member_let_go)
        free(self.watch)

    cdef void unwatch(self) noexcept:
        """Probe it no more."""
        cdef probe_target_t *target = self.watch.target
        if target != NULL:
            self.watch.target = NULL
            with nogil:
                probe_remove(&self.watch.engine.probes, target)

    cdef int rewatch(self) except -1:
        """Probe it as the pool's monitor says, or not at all; its state is kept if it was probed before."""
        cdef probe_config_t *config = self.pool.monitor
        cdef watch_t *watch = self.watch
        if config == NULL or not self.member.admin_up or self.removed:
            if watch.target == NULL:
                return 0
            self.unwatch()
            flag_set(&self.member.up, 1)
            return 0
        if watch.target != NULL:
            with nogil:
                probe_update(&watch.engine.probes, watch.target, &watch.address, config)
            return 0
        flag_set(&self.member.up, 1)
        with nogil:
            watch.target = probe_add(&watch.engine.probes, &watch.address, config, NULL, _report, watch)
        if watch.target == NULL:
            raise MemoryError()
        return 0

    @property
    def id(self):
        return self.member.id

    @property
    def up(self):
        return bool(flag_get(&self.member.up))

    @property
    def checked(self):
        cdef probe_view_t view
        if self.watch.target == NULL:
            return False
        probe_read(self.watch.target, &view)
        return view.passed + view.failed > 0

    def update(self, int weight, bint backup, bint admin_up):
        cdef member_t *m = self.member
        cdef bint admin_before = m.admin_up
        cdef int error
        if self.removed:
            raise RuntimeError("the member is removed")
        if not 0 <= weight <= 256:
            raise ValueError(f"weight={weight}: must be 0..256")
        with nogil:
            error = pool_change_member(m.pool, m, <uint16_t>weight, backup, admin_up)
        if error:
            _fail(error)
        if admin_up != admin_before:
            flag_set(&m.leaving, not admin_up)
            self.rewatch()
            with nogil:
                pool_refresh(m.pool)
                if not admin_up:
                    engine_purge(self.watch.engine, m)

    def set_monitor_address(self, str address, port):
        """None: the member's own."""
        cdef address_t where
        _read_address(&where, self.address if address is None else address, self.port if port is None else port)
        self.watch.address = where
        self.rewatch()

    def stats(self):
        return _figures(
            _MEMBER_FIGURES, <const char *>&self.member.shards[0].active, sizeof(member_shard_t), self.member.workers)

    def probe(self):
        """The last check as a dict, None if it is not probed: code, error (errno), status, duration_ns, passed, failed."""
        cdef probe_view_t view
        if self.watch.target == NULL:
            return None
        probe_read(self.watch.target, &view)
        return {
            "up": bool(view.up), "code": <int>view.code, "error": view.error, "status": view.status,
            "duration_ns": view.duration_ns, "passed": view.passed, "failed": view.failed,
        }


@cython.no_gc_clear
cdef class CorePool:
    """A pool: its members, how one is chosen, how they are probed."""

    cdef Core core
    cdef pool_t *pool                    # counted
    cdef probe_config_t *monitor         # counted; NULL: none
    cdef set members
    cdef object __weakref__

    def __cinit__(self, Core core, int algorithm, bint admin_up):
        cdef pool_t *pool
        if not 0 <= algorithm < len(ALGORITHMS):
            raise ValueError(f"algorithm={algorithm}: must be one of {ALGORITHMS}")
        self.core = core
        self.members = set()
        pool = <pool_t *>engine_memory(sizeof(pool_t))
        if pool == NULL or not pool_init(
                pool, &core.engine.snapshots, engine_new_id(core.engine), <algorithm_t>algorithm, admin_up,
                int.from_bytes(os.urandom(8), "little")):
            free(pool)
            raise MemoryError()
        self.pool = pool

    def __dealloc__(self):
        if self.monitor != NULL:
            probe_config_drop(self.monitor)
        if self.pool != NULL:
            snapshot_retire(&self.core.engine.snapshots, self.pool, pool_let_go)

    @property
    def id(self):
        return self.pool.id

    def add_members(self, list members):
        cdef list made = []
        cdef member_t **natives
        cdef CoreMember one
        cdef uint32_t i, n
        cdef int error
        for address, port, weight, backup, admin_up, monitor_address, monitor_port in members:
            if not 0 <= weight <= 256:
                raise ValueError(f"weight={weight}: must be 0..256")
            one = CoreMember(self, address, port, weight, backup, admin_up)
            if monitor_address is not None or monitor_port is not None:
                _read_address(
                    &one.watch.address, address if monitor_address is None else monitor_address,
                    port if monitor_port is None else monitor_port)
            made.append(one)
        n = len(made)
        if n == 0:
            return made
        natives = <member_t **>PyMem_Malloc(n * sizeof(member_t *))
        if natives == NULL:
            raise MemoryError()
        for i in range(n):
            natives[i] = (<CoreMember>made[i]).member
        with nogil:
            error = pool_add(self.pool, natives, n)
        PyMem_Free(natives)
        if error:
            _fail(error)
        for one in made:
            one.removed = False
            self.members.add(one)
            one.rewatch()
        return made

    def remove_members(self, list members):
        cdef member_t **natives
        cdef CoreMember one
        cdef uint32_t i, n
        cdef int error
        n = len(members)
        if n == 0:
            return
        for one in members:
            if one.removed or one.pool is not self:
                raise RuntimeError("not a member of this pool")
        natives = <member_t **>PyMem_Malloc(n * sizeof(member_t *))
        if natives == NULL:
            raise MemoryError()
        for i in range(n):
            natives[i] = (<CoreMember>members[i]).member
        with nogil:
            error = pool_remove(self.pool, natives, n)
            if error == 0:
                for i in range(n):
                    flag_set(&natives[i].leaving, 1)
                    engine_purge(self.core.engine, natives[i])
        PyMem_Free(natives)
        if error:
            _fail(error)
        for one in members:
            one.removed = True
            self.members.discard(one)
            one.unwatch()

    def update(self, int algorithm, bint admin_up):
        cdef int error
        if not 0 <= algorithm < len(ALGORITHMS):
            raise ValueError(f"algorithm={algorithm}: must be one of {ALGORITHMS}")
        with nogil:
            error = pool_change(self.pool, <algorithm_t>algorithm, admin_up)
        if error:
            _fail(error)

    def set_monitor(self, monitor):
        cdef probe_config_t *before = self.monitor
        cdef probe_config_t *config = NULL
        cdef CoreMember one
        cdef pool_t *pool = self.pool
        if monitor is not None:
            config = _probe_config(monitor, {":" in (<CoreMember>one).address for one in self.members})
        self.monitor = config
        try:
            for one in self.members:
                one.rewatch()
        finally:
            if before != NULL:
                probe_config_drop(before)
            with nogil:
                pool_refresh(pool)

    def stats(self):
        cdef dict total = dict.fromkeys(_MEMBER_FIGURES, 0)
        for one in self.members:
            for figure, value in one.stats().items():
                total[figure] += value
        return total

    def close(self):
        if self.members:
            self.remove_members(list(self.members))


cdef span_t _span(bytes text) noexcept:
    """Valid as long as the bytes object."""
    cdef span_t span
    span.data = <const uint8_t *><const char *>text
    span.length = <uint32_t>len(text)
    return span


cdef probe_config_t *_probe_config(dict monitor, set families) except NULL:
    """`families`: whether addresses to be probed are IPv6, for PING's right to send."""
    cdef probe_codes_t codes
    cdef uint8_t request[8192]
    cdef int length = 0
    cdef int error
    cdef bytes method, path, domain
    cdef probe_config_t *config
    cdef probe_kind_t kind
    cdef uint32_t version
    cdef double scale = 1e9
    kind = <probe_kind_t><int>_PROBE_KINDS[monitor["type"]]
    memset(&codes, 0, sizeof(codes))
    if kind == PROBE_HTTP:
        method = monitor["method"].encode("ascii")
        path = monitor["url_path"].encode("utf-8")
        domain = (monitor["domain_name"] or "").encode("ascii")
        version = 11 if monitor["http_version"] == 1.1 else 10 if monitor["http_version"] else 0
        length = probe_http_request(request, 8192, _span(method), _span(path), version, _span(domain))
        if length <= 0:
            raise ValueError("no request can be made of this method, url_path and domain_name: control bytes, or too long")
        for code in monitor["expected_codes"]:
            probe_codes_add(&codes, code, code)
    elif kind == PROBE_PING:
        for v6 in families or {False}:
            error = probe_ping_available(AF_INET6 if v6 else AF_INET)
            if error:
                _fail(error)
    config = probe_config_new(
        kind, <uint64_t>(monitor["delay_s"] * scale), <uint64_t>(monitor["timeout_s"] * scale),
        <uint64_t>(monitor["connect_timeout_s"] * scale), monitor["rise"], monitor["fall"], request, length, &codes)
    if config == NULL:
        raise MemoryError()
    return config


@cython.no_gc_clear
cdef class CoreListener:
    """A port on one or more addresses, and what is done with its connections."""

    cdef Core core
    cdef listener_t *listener            # counted
    cdef list addresses
    cdef int wanted_port
    cdef bint opened

    def __cinit__(self, Core core, bint http, list addresses, int port):
        cdef listener_t *l
        cdef address_t address
        cdef listener_conf_t *conf
        if not 1 <= len(addresses) <= ENGINE_ADDRESSES:
            raise ValueError(f"addresses={addresses!r}: must be 1..{ENGINE_ADDRESSES} of them")
        for text in addresses:
            _read_address(&address, text, port)
        self.core = core
        self.addresses = list(addresses)
        self.wanted_port = port
        l = <listener_t *>engine_memory(sizeof(listener_t))
        conf = <listener_conf_t *>calloc(1, sizeof(listener_conf_t))
        if l == NULL or conf == NULL:
            free(l)
            free(conf)
            raise MemoryError()
        l.workers = core.engine.count
        l.shards = <listener_shard_t *>engine_memory(l.workers * sizeof(listener_shard_t))
        if l.shards == NULL:
            free(l)
            free(conf)
            raise MemoryError()
        conf.timeout_client_data_ms = 50000
        conf.timeout_member_connect_ms = 5000
        conf.timeout_member_data_ms = 50000
        conf.connection_limit = 50000
        pointer_set(&l.conf, conf)
        l.id = engine_new_id(core.engine)
        l.http = http
        l.port = <uint16_t>port
        counter_set(&l.refs, 1)
        self.listener = l

    def __dealloc__(self):
        if self.listener != NULL:
            if self.opened:
                engine_unlisten(self.core.engine, self.listener)
            snapshot_retire(&self.core.engine.snapshots, self.listener, listener_let_go)

    @property
    def port(self):
        return self.listener.port

    def configure(
        self, CorePool default_pool, uint32_t timeout_client_data_ms, uint32_t timeout_member_connect_ms,
        uint32_t timeout_member_data_ms, int64_t connection_limit, list allowed_cidrs,
    ):
        cdef listener_conf_t *conf = <listener_conf_t *>calloc(1, sizeof(listener_conf_t))
        cdef listener_conf_t *before = <listener_conf_t *>pointer_get(&self.listener.conf)
        cdef uint32_t i
        if conf == NULL:
            raise MemoryError()
        try:
            if allowed_cidrs:
                conf.cidr_count = len(allowed_cidrs)
                conf.cidrs = <cidr_t *>calloc(conf.cidr_count, sizeof(cidr_t))
                if conf.cidrs == NULL:
                    raise MemoryError()
                for i in range(conf.cidr_count):
                    _read_cidr(&conf.cidrs[i], allowed_cidrs[i])
        except BaseException:
            listener_conf_free(conf)
            raise
        conf.timeout_client_data_ms = timeout_client_data_ms
        conf.timeout_member_connect_ms = timeout_member_connect_ms
        conf.timeout_member_data_ms = timeout_member_data_ms
        conf.connection_limit = connection_limit
        if default_pool is not None:
            conf.default_pool = default_pool.pool
            pool_hold(conf.default_pool)
        pointer_set(&self.listener.conf, conf)
        snapshot_retire(&self.core.engine.snapshots, before, listener_conf_free)

    def open(self):
        """Bind and listen on every address. OSError with the address as its filename, and then nothing is left open."""
        cdef engine_t *e = self.core.engine
        cdef int *fds
        cdef address_t address
        cdef uint16_t port = <uint16_t>self.wanted_port
        cdef uint32_t bound = 0, i, n
        cdef int error = 0
        if self.opened:
            raise RuntimeError("the listener is open already")
        if not e.running:
            raise RuntimeError("the core does not run")
        n = len(self.addresses)
        fds = <int *>PyMem_Malloc(n * e.count * sizeof(int))
        if fds == NULL:
            raise MemoryError()
        try:
            for text in self.addresses:
                _read_address(&address, text, port)
                with nogil:
                    error = engine_bind(&address, e.count, fds + bound * e.count, &port)
                if error:
                    for i in range(bound * e.count):
                        close(fds[i])
                    _fail(error, f"[{text}]:{port}" if ":" in text else f"{text}:{port}")
                bound += 1
            flag_set(&self.listener.closing, 0)
            self.listener.port = port
            for i in range(n):
                with nogil:
                    error = engine_listen(e, self.listener, fds + i * e.count)
                if error:
                    for j in range((i + 1) * e.count, n * e.count):
                        close(fds[<int>j])
                    with nogil:
                        engine_unlisten(e, self.listener)
                    _fail(error)
        finally:
            PyMem_Free(fds)
        self.opened = True
        return port

    def close(self):
        if self.opened:
            self.opened = False
            with nogil:
                engine_unlisten(self.core.engine, self.listener)

    def cut(self):
        """End the sessions that are still under way; how many there were."""
        cdef int cut
        with nogil:
            cut = engine_cut(self.core.engine, self.listener)
        return cut

    def stats(self):
        return _figures(
            _LISTENER_FIGURES, <const char *>&self.listener.shards[0].active, sizeof(listener_shard_t),
            self.listener.workers)


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


cdef int _read_cidr(cidr_t *into, str text) except -1:
    cdef address_t address
    cdef sockaddr_in *v4 = <sockaddr_in *>&address.ip
    network, _, length = text.partition("/")
    _read_address(&address, network, 0)
    memset(into, 0, sizeof(cidr_t))
    if address.ip.sin6_family == AF_INET:
        into.prefix[10] = 0xFF
        into.prefix[11] = 0xFF
        memcpy(&into.prefix[12], &v4.sin_addr, 4)
        into.bits = 96 + int(length or 32)
    else:
        memcpy(&into.prefix[0], &address.ip.sin6_addr, 16)
        into.bits = int(length or 128)
    if into.bits > 128:
        raise ValueError(f"{text!r}: the prefix is too long")
    return 0
