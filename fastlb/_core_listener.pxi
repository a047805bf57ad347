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
    cdef list addresses                  # to open on
    cdef int wanted_port
    cdef dict bindings                   # of the addresses that it listens on now
    cdef list retirements                # bindings that were retired, each with its successor, or 0
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
        self.bindings = {}
        self.retirements = []
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

    cdef _address_fails(self, int error, str text, uint16_t port):
        _fail(error, f"[{text}]:{port}" if ":" in text else f"{text}:{port}")

    cdef _bind(self, list addresses, uint32_t how, int *fds):
        """Sockets for all addresses, one a worker each. OSError, and then none is open."""
        cdef engine_t *e = self.core.engine
        cdef address_t address
        cdef uint16_t port = self.listener.port
        cdef uint32_t bound = 0
        cdef int error
        for text in addresses:
            _read_address(&address, text, port)
            with nogil:
                error = bind_address(&address, e.count, how, fds + bound * e.count, &port)
            if error:
                bind_close(bound * e.count, fds)
                self._address_fails(error, text, port)
            bound += 1
        if not self.opened:
            self.listener.port = port        # workers read it as soon as they know the listener

    cdef _listen(self, list addresses, bint replace, const int *fds):
        """Put what `_bind` has made to work, for each address. OSError: from the first that fails on they are as before."""
        cdef engine_t *e = self.core.engine
        cdef uint64_t binding, replaced
        cdef uint32_t done = 0
        cdef int error
        for text in addresses:
            binding = engine_new_id(e)
            replaced = self.bindings[text] if replace else 0
            with nogil:
                error = engine_listen(e, self.listener, binding, replaced, fds + done * e.count)
            done += 1
            if error:
                bind_close((<uint32_t>len(addresses) - done) * e.count, fds + done * e.count)
                self._address_fails(error, text, self.listener.port)
            self.bindings[text] = binding
            if replace:
                self.retirements.append((replaced, binding))

    cdef _bind_and_listen(self, list addresses, bint freebind, bint replace):
        cdef uint32_t how = BIND_FREE if freebind else 0
        cdef int *fds
        if not self.core.engine.running:
            raise RuntimeError("the core does not run")
        if replace:
            how |= BIND_BESIDE
        fds = <int *>PyMem_Malloc(len(addresses) * self.core.engine.count * sizeof(int))
        if fds == NULL:
            raise MemoryError()
        try:
            self._bind(addresses, how, fds)
            self._listen(addresses, replace, fds)
        finally:
            PyMem_Free(fds)

    def open(self, bint freebind=False):
        """Bind and listen on every address. freebind: on those too that this machine does not have (yet). OSError with the
        address as its filename, and then nothing is left open."""
        if self.opened:
            raise RuntimeError("the listener is open already")
        self.listener.port = <uint16_t>self.wanted_port
        flag_set(&self.listener.closing, 0)
        try:
            self._bind_and_listen(self.addresses, freebind, False)
        except BaseException:
            if self.bindings:
                self.opened = True
                self.close()
            raise
        self.opened = True
        return self.listener.port

    def add_address(self, str address, bint freebind=False):
        if not self.opened:
            raise RuntimeError("the listener is not open")
        if address in self.bindings:
            raise ValueError(f"{address!r}: is there already")
        if len(self.bindings) == ENGINE_ADDRESSES:
            raise ValueError(f"{address!r}: there are {ENGINE_ADDRESSES} already")
        self._bind_and_listen([address], freebind, False)

    def retire_address(self, str address):
        cdef uint64_t binding
        if not self.opened:
            raise RuntimeError("the listener is not open")
        binding = self.bindings.pop(address)
        self.retirements.append((binding, 0))
        with nogil:
            engine_retire(self.core.engine, self.listener, binding)

    def renew(self, bint freebind=False):
        if not self.opened:
            raise RuntimeError("the listener is not open")
        if self.retirements:
            raise RuntimeError("retired sockets are not released yet")
        self._bind_and_listen(list(self.bindings), freebind, True)

    @property
    def bound(self):
        return list(self.bindings)

    @property
    def retiring(self):
        return bool(self.retirements)

    def queued(self):
        cdef uint64_t binding
        cdef int queued = 0
        for binding, _ in list(self.retirements):
            with nogil:
                queued += engine_queued(self.core.engine, self.listener, binding)
        return queued

    def release(self):
        cdef uint64_t binding, successor
        while self.retirements:
            binding, successor = self.retirements.pop()
            with nogil:
                engine_release(self.core.engine, self.listener, binding, successor)

    def close(self):
        if self.opened:
            self.opened = False
            self.bindings.clear()
            self.retirements.clear()
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
