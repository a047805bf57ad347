# SPDX-License-Identifier: Apache-2.0
# Listeners: ports, and what is done with their connections. A piece of _core.pyx, which includes it.

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


cdef int _read_numbers(listener_conf_t *conf, dict numbers) except -1:
    """What is not named keeps its default."""
    listener_conf_default(conf)
    for name, value in numbers.items():
        if name == "timeout_client_data_ms":
            conf.timeout_client_data_ms = value
        elif name == "timeout_member_connect_ms":
            conf.timeout_member_connect_ms = value
        elif name == "timeout_member_data_ms":
            conf.timeout_member_data_ms = value
        elif name == "timeout_head_ms":
            conf.timeout_head_ms = value
        elif name == "timeout_idle_ms":
            conf.timeout_idle_ms = value
        elif name == "head_bytes":
            conf.head_bytes = value
        elif name == "head_fields":
            conf.head_fields = value
        elif name == "target_bytes":
            conf.target_bytes = value
        elif name == "body_rate_min":
            conf.body_rate_min = value
        elif name == "requests_max":
            conf.requests_max = value
        elif name == "pipeline_max":
            conf.pipeline_max = value
        elif name == "connection_limit":
            conf.connection_limit = value
        else:
            raise ValueError(f"{name}: no such number")
    return 0


cdef void listener_conf_default(listener_conf_t *conf) noexcept:
    conf.timeout_client_data_ms = 50000
    conf.timeout_member_connect_ms = 5000
    conf.timeout_member_data_ms = 50000
    conf.timeout_head_ms = 10000
    conf.timeout_idle_ms = 50000
    conf.head_bytes = 32768
    conf.head_fields = 100
    conf.target_bytes = 8000
    conf.pipeline_max = 16
    conf.connection_limit = 50000


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
        listener_conf_default(conf)
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
        self, CorePool default_pool, CorePolicies policies, dict numbers, list allowed_cidrs, list insert_headers
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
            _read_numbers(conf, numbers)
            for header in insert_headers:
                conf.insert |= <uint32_t><int>_INSERT[header]
        except BaseException:
            listener_conf_free(conf)
            raise
        if policies is not None:
            conf.policies = policies.program
            conf.policies_release = l7_program_let_go
            l7_program_hold(policies.program)
        if default_pool is not None:
            conf.default_pool = default_pool.pool
            pool_hold(conf.default_pool)
        pointer_set(&self.listener.conf, conf)
        snapshot_retire(&self.core.engine.snapshots, before, listener_conf_free)

    def open(self, bint freebind=False):
        """Bind and listen on every address. freebind: on those too that this machine does not have (yet). OSError with the address as its filename, and then nothing is left open."""
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
                    error = engine_bind(&address, e.count, freebind, fds + bound * e.count, &port)
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

    def refusals(self):
        """Errors that were answered, by reason; reasons without any are left out."""
        cdef dict found = {}
        cdef int64_t total
        cdef uint32_t reason, shard
        for reason in range(REFUSAL_END):
            if refusal_name(reason) == NULL:
                continue
            total = 0
            for shard in range(self.listener.workers):
                total += counter_get(&self.listener.shards[shard].refused[reason])
            if total:
                found[refusal_name(reason).decode().lower()] = total
        return found
