# SPDX-License-Identifier: Apache-2.0
"""LoadBalancer: owns listeners and pools; starts, drains and stops."""

import enum
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from msgspec import UNSET, UnsetType

from fastlb import _core, schema, support
from fastlb.engine import Engine, default_engine
from fastlb.errors import ConfigError, Conflict, StateError
from fastlb.journal import Change, Journal, save_deletion
from fastlb.listener import Listener
from fastlb.member import Member
from fastlb.pool import Pool, pool_id_of
from fastlb.ports import Ports
from fastlb.resource import Field, Fixed, Identity, NamedResource, Resource, find
from fastlb.schema import (
    AdditionalVip,
    ListenerSpec,
    LoadBalancerSpec,
    OutlierDetection,
    PoolSpec,
    RetryPolicy,
    SessionPersistence,
    arguments,
    given,
    kinds,
    relations,
)
from fastlb.schema.load_balancer import DRAIN_TIMEOUT_S
from fastlb.stats import Stats
from fastlb.status import load_balancer_status
from fastlb.types import (
    Algorithm,
    AlpnProtocol,
    ClientAuthentication,
    OperatingStatus,
    Protocol,
    ProvisioningStatus,
)
from fastlb.watch import Callback, StatusWatch

VIP_FIELDS = ("vip_address", "vip_port_id", "vip_network_id", "vip_subnet_id")
VIPS_AT_MOST = 16


class State(enum.Enum):
    """The life of a load balancer.

    DESCRIBED --start--> STARTING --> STARTED --stop--> STOPPING --> DESCRIBED; a start that fails ends in FAILED,
    from where it may be tried again; close ends in CLOSED from everywhere. FORKED: this is a child of the process
    that has it.
    """

    DESCRIBED = "not started"
    STARTING = "being started"
    STARTED = "started"
    STOPPING = "stopping"
    FAILED = "could not be started"
    CLOSED = "closed"
    FORKED = "left in another process"


class LoadBalancer(NamedResource[LoadBalancerSpec]):
    """Listeners and pools on one or more addresses.

    Until `start()` (or `with`) it is only described; from then on each call returns when the data plane has the
    change. Leaving a `with` block drains for `drain_timeout` seconds, then stops. Calls may come from any thread.

    vip_address: the literal address to listen on; when none of the vip fields is given it is 127.0.0.1.
    additional_vips: more addresses, each a mapping with `ip_address` (and `subnet_id`, `port_id`); every listener
    binds all. engine: the threads that do the work; None: a default engine, shared, that lives while some load
    balancer is started. drain_timeout: seconds that `stop()` and `close()` wait for sessions under way.
    The other fields are Octavia's; those that name OpenStack objects are kept and have no effect here.
    """

    __slots__ = (
        "_changed",
        "_changes_open",
        "_core",
        "_engine",
        "_engine_used",
        "_error",
        "_freebind",
        "_journal",
        "_listeners",
        "_lock",
        "_owner",
        "_pools",
        "_ports",
        "_state",
        "_tolerant",
        "_unsaved_ones",
        "_watch",
    )

    LABEL = "Load Balancer"
    KIND = "loadbalancer"

    description = Field[str, str]("Up to 255 characters.")
    vip_address = Fixed[str | None]("The address that listeners bind.")
    vip_port_id = Fixed[str | None]("A UUID; kept, and without effect outside OpenStack.")
    vip_network_id = Fixed[str | None]("A UUID; kept, and without effect outside OpenStack.")
    vip_subnet_id = Fixed[str | None]("A UUID; kept, and without effect outside OpenStack.")
    vip_qos_policy_id = Field[str | None, str]("A UUID; kept, and without effect outside OpenStack.")
    vip_sg_ids = Field[tuple[str, ...], Iterable[str]]("UUIDs; kept, and without effect outside OpenStack.")
    additional_vips = Fixed[tuple[AdditionalVip, ...]]("More addresses that every listener binds.")
    provider = Fixed[str]("amphora (Octavia's default name), its alias octavia, or fastlb: the same here.")
    flavor_id = Fixed[str | None]("A UUID; kept, and without effect here.")
    availability_zone = Fixed[str | None]("A name; kept, and without effect here.")
    drain_timeout = Field[float, float](
        "Seconds that a stop waits for sessions under way. None resets it to 5."
    )

    def __init__(
        self,
        *,
        name: str | None = "",
        description: str | None = "",
        vip_address: str | None = None,
        vip_port_id: str | None = None,
        vip_network_id: str | None = None,
        vip_subnet_id: str | None = None,
        vip_qos_policy_id: str | None = None,
        vip_sg_ids: Iterable[str] | None = (),
        additional_vips: Iterable[AdditionalVip | Mapping[str, str | None]] | None = (),
        provider: str | None = "amphora",
        flavor_id: str | UnsetType = UNSET,
        availability_zone: str | UnsetType = UNSET,
        project_id: str | None = "",
        admin_state_up: bool | None = True,
        tags: Iterable[str] | None = (),
        engine: Engine | None = None,
        drain_timeout: float | None = DRAIN_TIMEOUT_S,
    ) -> None:
        values = given(
            name=name,
            description=description,
            vip_address=vip_address,
            vip_port_id=vip_port_id,
            vip_network_id=vip_network_id,
            vip_subnet_id=vip_subnet_id,
            vip_qos_policy_id=vip_qos_policy_id,
            vip_sg_ids=vip_sg_ids,
            additional_vips=additional_vips,
            provider=provider,
            flavor_id=flavor_id,
            availability_zone=availability_zone,
            project_id=project_id,
            admin_state_up=admin_state_up,
            tags=tags,
            drain_timeout=drain_timeout,
        )
        self._describe(values, engine)

    def _describe(self, values: Mapping[str, Any], engine: Engine | None, *, coerce: bool = False) -> None:
        if engine is not None and not isinstance(engine, Engine):
            raise ConfigError("engine", engine, "must be a fastlb.Engine")
        if all(values.get(field) is None for field in VIP_FIELDS):
            values = {**values, "vip_address": "127.0.0.1"}
        self._begin(schema.create(LoadBalancerSpec, values, coerce=coerce), engine)

    def _begin(self, spec: LoadBalancerSpec, engine: Engine | None, identity: Identity | None = None) -> None:
        super().__init__(spec, self, identity)
        self._lock = threading.RLock()
        self._journal: Journal | None = None
        # Why the load balancer as a whole could not be made to serve, though it is started: for its controller.
        self._error = ""
        self._changes_open = 0
        self._unsaved_ones: dict[Resource[Any], None] = {}
        self._changed = threading.Condition(self._lock)
        self._state = State.DESCRIBED
        self._owner = 0
        self._engine = engine
        self._engine_used: Engine | None = None
        self._core: _core.Core | None = None
        self._listeners: dict[str, Listener] = {}
        self._pools: dict[str, Pool] = {}
        self._ports = Ports(self)
        # Of a load balancer that a controller keeps: its listeners bind addresses that are not here (yet), and one
        # whose port is taken is in ERROR instead of stopping all others.
        self._freebind = False
        self._tolerant = False
        self._watch = StatusWatch(self)

    # What is there.

    @property
    def project_id(self) -> str:
        """The project it and everything on it belongs to."""
        return self._spec.project_id

    @property
    def vips(self) -> tuple[str, ...]:
        """All its addresses, vip_address first."""
        return self._spec.vips

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Its listeners, in the order of creation."""
        return tuple(self._listeners.values())

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Its pools, attached to a listener or not, in the order of creation."""
        return tuple(self._pools.values())

    @property
    def engine(self) -> Engine | None:
        """The engine it runs on, or was given; None while it is not started and would take the default one."""
        return self._engine_used or self._engine

    @property
    def started(self) -> bool:
        """Is it between `start()` and `stop()`?"""
        return self._state is State.STARTED

    @property
    def stats(self) -> Stats:
        """The sum of its listeners' counters now; deleted listeners stay counted."""
        with self._lock:
            return Stats.of(self._ports.figures())

    def find_listener(self, key: str) -> Listener:
        """The listener with this id or name. Raises NotFound."""
        return find("listener", self._who(), self.listeners, key)

    def find_pool(self, key: str) -> Pool:
        """The pool with this id or name. Raises NotFound."""
        return find("pool", self._who(), self.pools, key)

    def status_tree(self) -> dict[str, Any]:
        """Statuses from top to bottom, as Octavia's API answers `GET …/status`; pools that no listener uses are not
        in it."""
        from fastlb.document import status_tree

        return status_tree(self)

    def to_dict(self) -> dict[str, Any]:
        """A fully-populated Octavia document, `{"loadbalancer": {…}}`, that `from_dict` (or Octavia) makes the
        same of.

        Pools that have no name, or one that another has too, appear under their id.
        """
        from fastlb.document import dump

        return dump(self)

    @classmethod
    def from_dict(
        cls, document: Mapping[str, Any], *, engine: Engine | None = None, coerce: bool = False
    ) -> Self:
        """Describe a load balancer from a fully-populated Octavia document, wrapped in "loadbalancer" or bare.

        Nothing is started. coerce: take what Octavia's API takes for a type ("80" for 80), and refuse our
        extensions of its ranges. Raises ConfigError (and its like), which names the place:
        `listeners[0].default_pool.members[2].weight`.
        """
        from fastlb.document import load

        balancer = cls.__new__(cls)
        load(balancer, document, engine=engine, coerce=coerce)
        return balancer

    # Making and changing.

    def create_listener(
        self,
        *,
        protocol: Protocol | str,
        protocol_port: int,
        name: str | None = "",
        description: str | None = "",
        default_pool: Pool | None = None,
        default_pool_id: str | None = None,
        connection_limit: int | None = -1,
        timeout_client_data: int | None = 50_000,
        timeout_member_connect: int | None = 5_000,
        timeout_member_data: int | None = 50_000,
        timeout_tcp_inspect: int | None = 0,
        allowed_cidrs: Iterable[str] | None = None,
        insert_headers: Mapping[str, str] | None = None,
        default_tls_container_ref: str | None = None,
        sni_container_refs: Iterable[str] | None = (),
        client_authentication: ClientAuthentication | str | None = "NONE",
        client_ca_tls_container_ref: str | None = None,
        client_crl_container_ref: str | None = None,
        tls_ciphers: str | None = None,
        tls_versions: Iterable[str] | None = None,
        alpn_protocols: Iterable[AlpnProtocol | str] | None = None,
        hsts_max_age: int | None = None,
        hsts_include_subdomains: bool | None = False,
        hsts_preload: bool | None = False,
        request_head_limit: int | None = 32_768,
        request_field_limit: int | None = 100,
        request_target_limit: int | None = 8_000,
        timeout_client_head: int | None = 10_000,
        timeout_client_idle: int | None = None,
        request_body_rate_min: int | None = 0,
        requests_per_connection: int | None = 0,
        pipeline_limit: int | None = 16,
        admin_state_up: bool | None = True,
        tags: Iterable[str] | None = (),
    ) -> Listener:
        """Take clients on a port; on a started load balancer it accepts when this returns.

        protocol_port: 1..65535, or 0 for any free port, which the attribute then tells. default_pool: a pool of
        this load balancer. connection_limit: clients at once; -1, 0 and None stand for 50,000. timeout_…:
        milliseconds; 0 stands for the default. allowed_cidrs: networks that may connect; None: everyone.
        request_…, requests_per_connection, pipeline_limit, timeout_client_head, timeout_client_idle: limits of ours for
        HTTP, which `Listener` describes.

        Raises ConfigError, Conflict when a listener has that port already, NotFound for an unknown pool; on a
        started load balancer also BindError and NotSupported. Then nothing has changed.
        """
        values = arguments(locals())
        values["default_pool_id"] = pool_id_of(self, values.pop("default_pool"), default_pool_id)
        return self._add_listener(values)

    def create_pool(
        self,
        *,
        protocol: Protocol | str,
        lb_algorithm: Algorithm | str,
        name: str | None = "",
        description: str | None = "",
        session_persistence: SessionPersistence | Mapping[str, Any] | None = None,
        tls_enabled: bool = False,
        tls_container_ref: str | None = None,
        ca_tls_container_ref: str | None = None,
        crl_container_ref: str | None = None,
        tls_ciphers: str | None = None,
        tls_versions: Iterable[str] | None = None,
        alpn_protocols: Iterable[AlpnProtocol | str] | None = None,
        retry: RetryPolicy | Mapping[str, Any] | None = None,
        outlier_detection: OutlierDetection | Mapping[str, Any] | None = None,
        slow_start: float | None = 0.0,
        panic_threshold: int | None = 0,
        timeout_queue: int | None = 5_000,
        admin_state_up: bool | None = True,
        tags: Iterable[str] | None = (),
    ) -> Pool:
        """Make a pool that no listener uses yet: give it to one as `default_pool`.

        lb_algorithm: Octavia's ROUND_ROBIN, LEAST_CONNECTIONS, SOURCE_IP, SOURCE_IP_PORT; ours RANDOM_TWO_CHOICES,
        PEAK_EWMA, MAGLEV. Also ours: retry (when another member is tried), outlier_detection (None: no member is
        ejected), slow_start (seconds; 0: none), panic_threshold (percent; 0: none), timeout_queue (milliseconds); the
        attributes of these names say more.

        Raises ConfigError; on a started load balancer also NotSupported.
        """
        return self._add_pool(arguments(locals()))

    def update(
        self,
        *,
        name: str | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        admin_state_up: bool | None | UnsetType = UNSET,
        vip_qos_policy_id: str | None | UnsetType = UNSET,
        vip_sg_ids: Iterable[str] | None | UnsetType = UNSET,
        tags: Iterable[str] | None | UnsetType = UNSET,
        drain_timeout: float | None | UnsetType = UNSET,
    ) -> None:
        """Change some fields at once; what is left out stays, None resets to the default.

        Raises ConfigError, BindError when switching it on finds a port taken; and then nothing has changed.
        """
        self._update(
            given(
                name=name,
                description=description,
                admin_state_up=admin_state_up,
                vip_qos_policy_id=vip_qos_policy_id,
                vip_sg_ids=vip_sg_ids,
                tags=tags,
                drain_timeout=drain_timeout,
            )
        )

    def delete(self, *, cascade: bool = False) -> None:
        """Stop it and end its life. cascade: with its listeners and pools; without, it may have none
        (ConfigError)."""
        try:
            self._delete(cascade)
        finally:
            # Also on Ctrl-C.
            if self._deleted:
                self.close()

    def _delete(self, cascade: bool) -> None:
        """Be forgotten, then take no more clients; `close()` ends those under way. What cannot be stored has not
        happened."""
        with self._change():
            self._check_usable()
            if not cascade and (self._listeners or self._pools):
                raise ConfigError(
                    "cascade",
                    cascade,
                    f"must be True while {self._who()} has {len(self._listeners)} listeners and "
                    f"{len(self._pools)} pools",
                    fault=f"Validation failure: Cannot delete Load Balancer {self.id} - it has children",
                )
            try:
                save_deletion(self)
            finally:
                if self._deleted and self._running():
                    self._ports.close()

    # Life.

    def start(self) -> Self:
        """Bind every enabled listener and forward from now on.

        Raises NotSupported for what this version does not forward, ConfigError when an address is missing,
        StateError when it is started or closed, CoreError, and BindError when an address cannot be bound: then
        nothing is left open, `provisioning_status` is ERROR, and it may be tried again.
        """
        with self._lock:
            if self._deleted or self._state not in (State.DESCRIBED, State.FAILED):
                raise StateError(self._refusal())
            self._check_startable()
            self._state = State.STARTING
            engine = self._engine_used = self._engine or default_engine()
        try:
            # No local variable: in an exception's traceback it would keep the core, and its descriptors, alive.
            self._core = engine._enter(self)
            with self._lock:
                if self._deleted:
                    raise StateError(self._refusal())
                self._state = State.STARTED
                self._attach()
        except BaseException:
            with self._lock:
                self._detach()
                self._state = State.FAILED
            # Without the lock: the supervisor may be waiting for it, and the engine for the supervisor.
            engine._leave(self)
            raise
        self._tell_all()
        return self

    def stop(self, drain_timeout: float | None = None) -> None:
        """Close the ports, wait for sessions under way, and cut those that are left. It may be started again.

        drain_timeout: seconds; 0 waits for none; None: the attribute. Stopping what is not started does nothing.
        """
        if drain_timeout is None:
            wait_s = self._spec.drain_timeout
        else:
            wait_s = kinds.seconds("drain_timeout", drain_timeout, False)
        with self._lock:
            if self._state is not State.STARTED:
                return
            for pool in self.pools:
                pool._remember()
            self._state = State.STOPPING
        try:
            self._ports.close()
            self._ports.drain(wait_s)
        finally:
            # Also on Ctrl-C.
            with self._lock:
                self._ports.cut()
                self._detach()
                self._state = State.DESCRIBED
                engine = self._engine_used
            if engine is not None:
                engine._leave(self)
            self._tell_all()

    def close(self) -> None:
        """Stop it for good. Reading goes on working; closing twice is fine."""
        self.stop()
        with self._lock:
            if self._state in (State.DESCRIBED, State.FAILED):
                self._state = State.CLOSED

    def __enter__(self) -> Self:
        if self._state is not State.STARTED:
            self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def on_status(self, callback: Callback) -> Callable[[], None]:
        """Have `callback(event)` called when an operating status on this load balancer changes; the answer stops
        that.

        The event has `object`, `old`, `new` and `time`. Callbacks run one at a time on the engine's supervisor
        thread; what they raise is logged (logger "fastlb") and hurts nothing. Changes that follow
        each other closely may come as one.
        """
        if not callable(callback):
            raise ConfigError("callback", callback, "must be callable with one argument, the event")
        with self._lock:
            if self._state is State.FORKED:
                raise StateError(self._refusal())
            remove = self._watch.add(callback)
            # Wake the supervisor: from now on it looks for full listeners too.
            if self._engine_used is not None:
                self._engine_used._mark(self)
            return remove

    # Children.

    def _add_listener(self, values: Mapping[str, Any], *, coerce: bool = False, path: str = "") -> Listener:
        spec = schema.create(ListenerSpec, values, coerce=coerce, path=path)
        with self._change():
            self._check_usable()
            listener = Listener(spec, self)
            try:
                listener._check(spec)
            except ConfigError as error:
                raise error.within(path) from None
            if self._serving() and spec.admin_state_up:
                listener._open(spec)
            self._listeners[listener.id] = listener
            listener._link(None, spec.default_pool_id)
            if listener.default_pool is not None:
                listener.default_pool._sync_monitor()
            listener._unsaved()
            self._note(None)
            return listener

    def _add_pool(
        self,
        values: Mapping[str, Any],
        *,
        listener: Listener | None = None,
        coerce: bool = False,
        path: str = "",
    ) -> Pool:
        spec = schema.create(PoolSpec, values, coerce=coerce, path=path)
        with self._change():
            (listener or self)._check_usable()
            if listener is not None:
                relations.check_pool_on_listener(listener._spec.protocol, spec.protocol, field="protocol")
                if listener._spec.default_pool_id is not None:
                    raise Conflict(
                        f"{listener._who()}: this listener already has a default pool",
                        fault="This listener already has a default pool",
                    )
            pool = Pool(spec, self)
            if self._running():
                support.check_pool(spec, pool._who())
                pool._attach()
            self._pools[pool.id] = pool
            if listener is not None:
                try:
                    listener._update({"default_pool_id": pool.id})
                except BaseException:
                    pool._close()
                    del self._pools[pool.id]
                    raise
            pool._unsaved()
            self._note(None)
            return pool

    def _pool_names(self) -> dict[str, str]:
        """The names of pools in a document, by id: a name that is missing or not unique is replaced by the id."""
        pools = self.pools
        often = Counter(pool.name for pool in pools)
        return {
            pool.id: pool.name
            if often[pool.name] == 1 and (pool.name or not (pool._listeners or pool._policies))
            else pool.id
            for pool in pools
        }

    def _everything(self) -> dict[Resource[Any], None]:
        """All objects, what rolls up before what it rolls up to."""
        objects: dict[Resource[Any], None] = {}
        for pool in self.pools:
            objects.update(dict.fromkeys(pool.members))
            objects[pool] = None
            if pool.health_monitor is not None:
                objects[pool.health_monitor] = None
        for listener in self.listeners:
            for policy in listener.l7policies:
                objects.update(dict.fromkeys((*policy.rules, policy)))
            objects[listener] = None
        objects[self] = None
        return objects

    # Changes.

    def _change(self) -> Change:
        """A change of it or of anything on it: the lock, and the journal at the end."""
        return Change(self)

    def _update(self, changes: dict[str, Any], *, coerce: bool = False) -> None:
        with self._change():
            self._check_usable()
            before = self._spec
            spec = schema.update(before, changes, coerce=coerce)
            switched = before.admin_state_up != spec.admin_state_up and self._running()
            if switched:
                for pool in self.pools:
                    pool._remember()
                if spec.admin_state_up:
                    self._ports.open()
                else:
                    self._ports.close()
            self._spec = spec
            if switched:
                for pool in self.pools:
                    pool._sync_monitor()
            self._touch()
            self._note(None)

    def _failover(self) -> None:
        """New sockets, new member connections, and what failed is tried again. Raises BindError: see `Ports.renew`."""
        self._ports.renew()

    def _set_extra_addresses(self, addresses: Iterable[str]) -> None:
        """What all listeners listen on besides the VIPs. Raises ConfigError, BindError: then nothing has changed."""
        self._ports.set_extra_addresses(addresses)

    # The data plane.

    def _running(self) -> bool:
        return self._state is State.STARTED

    def _serving(self) -> bool:
        return self._state is State.STARTED and self._spec.admin_state_up

    def _core_in_use(self) -> _core.Core:
        assert self._core is not None
        return self._core

    def _engine_in_use(self) -> Engine:
        assert self._engine_used is not None
        return self._engine_used

    def _check_startable(self) -> None:
        if self._spec.vip_address is None:
            raise ConfigError(
                "vip_address",
                None,
                "must be given to start: there is no network service here that could choose one",
            )
        for at, vip in enumerate(self._spec.additional_vips):
            if vip.ip_address is None:
                raise ConfigError(f"additional_vips[{at}].ip_address", None, "must be given to start")
        if len(self.vips) > VIPS_AT_MOST:
            raise ConfigError(
                "additional_vips", len(self.vips) - 1, f"must be {VIPS_AT_MOST - 1} at most to start"
            )
        for listener in self.listeners:
            support.check_listener(listener._spec, listener._who())
        for pool in self.pools:
            support.check_pool(pool._spec, pool._who())
            if pool.health_monitor is not None:
                support.check_monitor(pool.health_monitor._spec, pool.health_monitor._who())

    def _attach(self) -> None:
        for listener in self.listeners:
            listener._failure = ""
        for pool in self.pools:
            pool._attach()
        if self._spec.admin_state_up:
            self._ports.open(starting=True)
        for pool in self.pools:
            pool._sync_monitor()

    def _detach(self) -> None:
        """Let go of everything in the core, keeping the counters. What was only half attached goes too."""
        self._ports.detach()
        for pool in self.pools:
            pool._close()
        self._core = None

    def _abandon(self, owner: int) -> list[object]:
        """In a forked child: let go of the core's objects, which are the answer; their threads are not here.

        Locks may be held by threads that are not here either.
        """
        self._state = State.FORKED
        self._owner = owner
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._core = None
        self._journal = None
        self._changes_open = 0
        objects = self._ports.abandon()
        for pool in self.pools:
            members = (*pool.members, *pool._ghosts)
            objects += [pool._core, *(member._core for member in members)]
            pool._core, pool._ghosts = None, []
            for member in members:
                member._core = None
        return objects

    # Telling.

    def _note(self, member: Member | None) -> None:
        """Something changed (of this member only, or anything): wake those who wait, tell those who watch."""
        self._changed.notify_all()
        if self._watch.active:
            self._watch.mark(member)
            if self._engine_used is not None:
                self._engine_used._mark(self)

    def _heard(self, members: Iterable[tuple[Member, int]]) -> None:
        """The core says that these members changed, at these times."""
        with self._lock:
            if self._watch.active:
                for member, at_ns in members:
                    self._watch.mark(member, at_ns)
            self._changed.notify_all()

    def _tell_all(self) -> None:
        with self._lock:
            self._watch.mark(None)
            self._changed.notify_all()
        self._watch.deliver()

    # Statuses.

    def _check_writable(self) -> None:
        if self._state in (State.STOPPING, State.CLOSED, State.FORKED):
            raise StateError(self._refusal())

    def _refusal(self) -> str:
        if self._deleted:
            return f"{self._who()}: was deleted and can no longer be used"
        if self._state is State.FORKED:
            return (
                f"{self._who()}: belongs to process {self._owner}; the threads that forward do not come along with "
                "fork. Describe another one here, or start the child with the 'spawn' method"
            )
        again = " already" if self._state in (State.STARTED, State.STARTING) else ""
        return f"{self._who()}: is {self._state.value}{again}"

    def _why_not_running(self) -> str:
        return self._state.value

    def _operating_status(self) -> OperatingStatus:
        if self._state is State.FAILED:
            return OperatingStatus.ERROR
        if not self._serving():
            return OperatingStatus.OFFLINE
        return load_balancer_status(
            admin_up=True,
            running=True,
            listeners=[listener.operating_status for listener in self.listeners],
            pools=[pool.operating_status for pool in self.pools],
        )

    def _provisioning_status(self) -> ProvisioningStatus:
        if self._state is State.FAILED or self._error:
            return ProvisioningStatus.ERROR
        return self._provisioning_of_children()

    def _belongs_to(self) -> None:
        return None

    def _provisioning_of_children(self) -> ProvisioningStatus:
        if self._state in (State.STARTED, State.STOPPING):
            return ProvisioningStatus.ACTIVE
        return ProvisioningStatus.PENDING_CREATE

    def _relations(self) -> dict[str, Any]:
        return {
            "listeners": [{"id": listener.id} for listener in self.listeners],
            "pools": [{"id": pool.id} for pool in self.pools],
            "vip_vnic_type": "normal",
        }

    def _who(self) -> str:
        return self._named("load balancer")

    def __repr__(self) -> str:
        name = f"{self._spec.name} " if self._spec.name else ""
        return (
            f"<LoadBalancer {name}{self._spec.vip_address or '(no address)'} {self._state_words()} "
            f"listeners={len(self._listeners)} pools={len(self._pools)}>"
        )
