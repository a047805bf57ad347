# SPDX-License-Identifier: Apache-2.0
# Pools and members, and how they are probed. A piece of _core.pyx, which includes it.

cdef enum:
    ABSTRACT_NAME = 25                   # bytes of a name that an address_t has room for


cdef int _read_member_address(address_t *into, str text, int port) except -1:
    """A literal address; or `@name`, a Unix socket in the abstract namespace, as ss and /proc/net/unix write it."""
    cdef bytes raw
    if not text.startswith("@"):
        return _read_address(into, text, port)
    raw = text[1:].encode("ascii")
    if not 1 <= len(raw) <= ABSTRACT_NAME:
        raise ValueError(f"{text!r}: the name must have 1..{ABSTRACT_NAME} bytes")
    memset(into, 0, sizeof(address_t))
    into.ip.sin6_family = AF_UNIX
    # A family of two bytes, a zero, the name without an end.
    memcpy(<char *>&into.ip + 3, <const char *>raw, len(raw))
    into.length = 3 + <uint32_t>len(raw)
    return 0


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
    cdef bint known_down                 # it was, when it was last probed, before this process

    def __cinit__(
        self, CorePool pool, str address, int port, int weight, bint backup, bint admin_up, bytes uuid, uint32_t max_connections
    ):
        cdef member_t *m
        cdef bytes key
        self.pool = pool
        self.address = address
        self.port = port
        self.removed = True                                          # until it is in the pool
        if len(uuid) != 16:
            raise ValueError(f"uuid={uuid!r}: must be 16 bytes")
        m = <member_t *>calloc(1, sizeof(member_t))
        self.watch = <watch_t *>calloc(1, sizeof(watch_t))
        if m == NULL or self.watch == NULL:
            free(m)
            raise MemoryError()
        try:
            _read_member_address(&m.address, address, port)
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
        memcpy(m.uuid, <const char *>uuid, 16)
        m.key = member_key(m.uuid)
        m.pool = pool.pool
        pool_hold(m.pool)
        m.weight = <uint16_t>weight
        m.backup = backup
        m.admin_up = admin_up
        flag_set(&m.up, 1)
        flag_set(&m.leaving, not admin_up)
        flag_set(&m.max_connections, max_connections)
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
            outlier_forget(m)
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
        cdef health_t health
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
        health_reset(&health)
        health.up = not self.known_down
        self.known_down = False
        flag_set(&self.member.up, health.up)
        with nogil:
            watch.target = probe_add(&watch.engine.probes, &watch.address, config, &health, _report, watch)
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
    def ejected(self):
        return bool(flag_get(&self.member.ejected))

    @property
    def checked(self):
        cdef probe_view_t view
        if self.watch.target == NULL:
            return False
        probe_read(self.watch.target, &view)
        return view.passed + view.failed > 0

    def expect_down(self):
        """Have it be down when it is probed next, until probes say otherwise. Before it is probed."""
        self.known_down = True

    def update(self, int weight, bint backup, bint admin_up, uint32_t max_connections):
        self.pool.change_members([(self, weight, backup, admin_up, max_connections)])

    def set_monitor_address(self, str address, port):
        """None: the member's own."""
        cdef address_t where
        _read_address(&where, self.address if address is None else address, self.port if port is None else port)
        self.watch.address = where
        self.rewatch()

    def stats(self):
        cdef dict found = _figures(
            _MEMBER_FIGURES, <const char *>&self.member.shards[0].active, sizeof(member_shard_t), self.member.workers)
        found["ejections"] = counter_get(&self.member.ejections)
        return found

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
        cdef uint32_t worker
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
        pool.outliers = &core.engine.probes.outliers
        self.pool = pool
        pool.workers = core.engine.count
        pool.shards = <pool_shard_t *>engine_memory(pool.workers * sizeof(pool_shard_t))
        if pool.shards == NULL:
            raise MemoryError()
        for worker in range(pool.workers):
            pool.shards[worker].pool = pool

    def __dealloc__(self):
        if self.monitor != NULL:
            probe_config_drop(self.monitor)
        if self.pool != NULL:
            snapshot_retire(&self.core.engine.snapshots, self.pool, pool_let_go)

    @property
    def id(self):
        return self.pool.id

    @property
    def panic(self):
        return bool(flag_get(&self.pool.panic))

    @property
    def panics(self):
        return counter_get(&self.pool.panics)

    def add_members(self, list members):
        cdef list made = []
        cdef member_t **natives
        cdef CoreMember one
        cdef uint32_t i, n
        cdef int error
        for address, port, weight, backup, admin_up, monitor_address, monitor_port, uuid, max_connections in members:
            if not 0 <= weight <= 256:
                raise ValueError(f"weight={weight}: must be 0..256")
            one = CoreMember(self, address, port, weight, backup, admin_up, uuid, max_connections)
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
                    outlier_forget(natives[i])
                    engine_purge(self.core.engine, natives[i])
        PyMem_Free(natives)
        if error:
            _fail(error)
        for one in members:
            one.removed = True
            self.members.discard(one)
            one.unwatch()

    def change_members(self, list changes):
        """(member, weight, backup, admin_up, max_connections) each: all of them in one publication, or none."""
        cdef member_t **natives
        cdef member_conf_t *confs
        cdef CoreMember one
        cdef list switched = []
        cdef uint32_t i, n
        cdef int error
        n = len(changes)
        if n == 0:
            return
        for one, weight, _, _, _ in changes:
            if one.removed or one.pool is not self:
                raise RuntimeError("not a member of this pool")
            if not 0 <= weight <= 256:
                raise ValueError(f"weight={weight}: must be 0..256")
        natives = <member_t **>PyMem_Malloc(n * sizeof(member_t *))
        confs = <member_conf_t *>PyMem_Malloc(n * sizeof(member_conf_t))
        try:
            if natives == NULL or confs == NULL:
                raise MemoryError()
            for i in range(n):
                one, weight, backup, admin_up, max_connections = changes[i]
                natives[i] = one.member
                confs[i].weight = weight
                confs[i].backup = backup
                confs[i].admin_up = admin_up
                confs[i].max_connections = max_connections
            with nogil:
                error = pool_change_members(self.pool, natives, confs, n)
            if error:
                _fail(error)
            for i in range(n):
                if confs[i].admin_up != natives[i].admin_up:
                    switched.append(changes[i][0])
        finally:
            PyMem_Free(natives)
            PyMem_Free(confs)
        for one in switched:
            flag_set(&one.member.leaving, not one.member.admin_up)
            one.rewatch()
        if switched:
            with nogil:
                pool_refresh(self.pool)
        for one in switched:
            if not one.member.admin_up:
                with nogil:
                    engine_purge(self.core.engine, one.member)

    def configure(self, dict conf):
        cdef pool_conf_t *native
        cdef bytes name = conf["cookie_name"].encode("ascii")
        cdef int algorithm = conf["algorithm"]
        cdef int error
        cdef double second = 1e9
        if not 0 <= algorithm < len(ALGORITHMS):
            raise ValueError(f"algorithm={algorithm}: must be one of {ALGORITHMS}")
        if len(name) > 255:
            raise ValueError(f"cookie_name={name!r}: must have at most 255 characters")
        retry_on = 0
        for word in conf["retry_on"]:
            retry_on |= _RETRY_ON[word]
        native = <pool_conf_t *>calloc(1, sizeof(pool_conf_t))
        if native == NULL:
            raise MemoryError()
        try:
            native.http = conf["http"]
            native.admin_up = conf["admin_up"]
            native.persistence = <persistence_t><int>PERSISTENCE[conf["persistence"]]
            native.cookie_length = <uint32_t>len(name)
            memcpy(native.cookie_name, <const char *>name, len(name))
            native.timeout_queue_ms = conf["timeout_queue_ms"]
            native.retry_on = retry_on
            native.retries = conf["retries"]
            native.retry_budget_percent = conf["retry_budget_percent"]
            native.retry_min = conf["retry_min"]
            native.outlier_5xx = conf["outlier_5xx"]
            native.outlier_connect = conf["outlier_connect"]
            native.ejection_percent = conf["ejection_percent"]
            native.ejection_ns = <uint64_t>(conf["ejection_s"] * second)
            native.ejection_max_ns = <uint64_t>(conf["ejection_max_s"] * second)
            native.slow_start_ns = <uint64_t>(conf["slow_start_s"] * second)
            native.panic_percent = conf["panic_percent"]
        except BaseException:
            free(native)
            raise
        with nogil:
            error = pool_configure(self.pool, <algorithm_t>algorithm, native)
            if error == 0:
                outlier_review(self.pool)
        if error:
            free(native)
            _fail(error)

    def renew(self):
        """Close idle connections to the members: the next requests go on fresh ones."""
        with nogil:
            engine_renew(self.core.engine, self.pool)

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
        cdef CoreMember one
        cdef counter_t *figures
        cdef int64_t totals[64]
        cdef int64_t ejections = 0
        cdef uint32_t i, shard
        cdef uint32_t n = <uint32_t>len(_MEMBER_FIGURES)
        cdef dict found
        memset(totals, 0, sizeof(totals))
        for one in self.members:
            for shard in range(one.member.workers):
                figures = &one.member.shards[shard].active
                for i in range(n):
                    totals[i] += counter_get(figures + i)
            ejections += counter_get(&one.member.ejections)
        found = {_MEMBER_FIGURES[i]: totals[i] for i in range(n)}
        found["ejections"] = ejections
        return found

    def waits(self):
        cdef dict found = _figures(
            _POOL_FIGURES, <const char *>&self.pool.shards[0].queued, sizeof(pool_shard_t), self.pool.workers)
        found["waiting"] = counter_get(&self.pool.waiting)
        return found

    def persistence(self):
        cdef sticky_figures_t figures
        figures = sticky_figures(<sticky_t *>pointer_get(&self.pool.sticky))
        return {
            "entries": figures.entries, "bytes": figures.bytes, "evicted": figures.evicted, "limit": figures.limit,
        }

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
