# SPDX-License-Identifier: Apache-2.0
"""Pool: the servers that a listener's traffic is spread over, and how."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, Required, TypedDict

from msgspec import UNSET, UnsetType

from fastlb import _core, schema, support
from fastlb.errors import ConfigError, Conflict, NotFound, shown
from fastlb.member import Member, native_part
from fastlb.monitor import HealthMonitor, check_ping_right
from fastlb.resource import Field, Fixed, Identity, NamedResource, find
from fastlb.schema import (
    HealthMonitorSpec,
    MemberSpec,
    OutlierDetection,
    PoolSpec,
    RetryPolicy,
    SessionPersistence,
    arguments,
    kinds,
    relations,
)
from fastlb.schema.pool import HTTP_COOKIE_NAME, TIMEOUT_QUEUE_MS
from fastlb.stats import POOL_GAUGES, PersistenceStats, PoolStats, lasting, total
from fastlb.status import pool_status
from fastlb.types import (
    Algorithm,
    AlpnProtocol,
    HttpMethod,
    MonitorType,
    OperatingStatus,
    PersistenceType,
    Protocol,
)

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer
    from fastlb.l7 import L7Policy
    from fastlb.listener import Listener

__all__ = ["MemberFields", "OutlierDetection", "Pool", "RetryPolicy", "SessionPersistence"]


MEMBERS_AT_MOST = 65_535
"""Of a pool: the core counts them in 16 bits."""
_NO_OUTLIERS = OutlierDetection(consecutive_5xx=0, consecutive_connect_failures=0)


class MemberFields(TypedDict, total=False):
    """A member as a mapping, for `create_members` and documents."""

    address: Required[str]
    protocol_port: Required[int]
    name: NotRequired[str | None]
    weight: NotRequired[int | None]
    backup: NotRequired[bool]
    admin_state_up: NotRequired[bool | None]
    monitor_address: NotRequired[str | None]
    monitor_port: NotRequired[int | None]
    subnet_id: NotRequired[str | None]
    tags: NotRequired[Sequence[str]]
    request_sriov: NotRequired[bool]
    max_connections: NotRequired[int | None]


class Pool(NamedResource[PoolSpec]):
    """Members, the algorithm that chooses among them, and the monitor that tests them.

    Made by `load_balancer.create_pool`, or by `listener.create_pool` as that listener's default pool. One pool may
    serve several listeners of its load balancer.
    """

    __slots__ = (
        "_addresses",
        "_core",
        "_ghosts",
        "_listeners",
        "_members",
        "_monitor",
        "_past",
        "_past_panics",
        "_policies",
        "_probing",
    )

    LABEL = "Pool"
    KIND = "pool"

    protocol = Fixed[Protocol]("What is spoken to the members.")
    lb_algorithm = Field[Algorithm, Algorithm | str]("How the member of a new session is chosen.")
    description = Field[str, str]("Up to 255 characters.")
    session_persistence = Field[SessionPersistence | None, SessionPersistence | Mapping[str, Any]](
        "What brings a client back to its member; None: nothing. A mapping without `type` changes what is set."
    )
    tls_enabled = Field[bool, bool]("TLS to the members.")
    tls_container_ref = Field[str | None, str]("The client certificate shown to members.")
    ca_tls_container_ref = Field[str | None, str]("The authority that members' certificates must come from.")
    crl_container_ref = Field[str | None, str]("Revoked certificates; needs ca_tls_container_ref.")
    tls_ciphers = Field[str | None, str]("Cipher names joined by colons; None resets to the default list.")
    tls_versions = Field[tuple[str, ...] | None, Iterable[str]]("TLS versions; None resets to 1.2 and 1.3.")
    alpn_protocols = Field[tuple[AlpnProtocol, ...] | None, Iterable[AlpnProtocol | str]](
        "Protocols offered to members by ALPN; None: none."
    )
    # Not Octavia's: ours.
    retry = Field[RetryPolicy, RetryPolicy | Mapping[str, Any]](
        "When another member is tried: a RetryPolicy. A mapping of some of its fields changes only those; None resets "
        "all: connect failures and resets, three times, without a budget."
    )
    outlier_detection = Field[OutlierDetection | None, OutlierDetection | Mapping[str, Any]](
        "When a member that fails clients is ejected for a while: an OutlierDetection. None (the default): never. A "
        "mapping of some of its fields changes only those, and switches it on. Envoy: `outlier_detection`."
    )
    slow_start = Field[float, float](
        "Seconds, up to 2,073,600, in which the share of a member that comes back rises from a tenth to all of it; 0 "
        "(the default): at once. HAProxy: `slowstart`; Envoy: `slow_start_window`."
    )
    panic_threshold = Field[int, int](
        "Percent, 0..100: with fewer members up than this all are used, whatever their probes say; 0 (the default): "
        "never. Envoy: `healthy_panic_threshold`, which is 50 there."
    )
    timeout_queue = Field[int, int](
        "Milliseconds, up to 2,073,600,000, that a session waits while every member has its max_connections; 0 stands "
        "for 5,000, the default. Then it is refused, HTTP with 503. HAProxy: `timeout queue`."
    )

    def __init__(self, spec: PoolSpec, balancer: "LoadBalancer", identity: Identity | None = None) -> None:
        super().__init__(spec, balancer, identity)
        self._members: dict[str, Member] = {}
        self._addresses: dict[tuple[str, int], Member] = {}
        self._monitor: HealthMonitor | None = None
        self._listeners: dict[str, Listener] = {}  # whose default pool it is
        self._policies: dict[str, L7Policy] = {}
        self._core: _core.CorePool | None = None
        # Figures of deleted members, and those of them that still have sessions.
        self._past: Counter[str] = Counter()
        self._ghosts: list[Member] = []
        self._past_panics = 0
        # What the core was last told to probe.
        self._probing: dict[str, Any] | None = None

    @property
    def listeners(self) -> tuple["Listener", ...]:
        """The listeners whose default pool it is, and those that have an enabled L7 policy with a rule to it."""
        policies = [one.listener for one in self.l7policies if one._used_pool_id()]
        return tuple(dict.fromkeys((*self._listeners.values(), *policies)))

    @property
    def l7policies(self) -> tuple["L7Policy", ...]:
        """The L7 policies that redirect to it, in force or not."""
        return tuple(self._policies.values())

    @property
    def members(self) -> tuple[Member, ...]:
        """Its members, in the order of creation."""
        return tuple(self._members.values())

    @property
    def health_monitor(self) -> HealthMonitor | None:
        """The monitor that tests its members, if there is one."""
        return self._monitor

    @property
    def stats(self) -> PoolStats:
        """Its counters now, and the sums of its members'; deleted members stay counted."""
        with self._balancer._lock:
            return PoolStats.of(self._figures())

    @property
    def persistence_stats(self) -> PersistenceStats:
        """What session persistence remembers now. It forgets with `stop()`; cookies of ours name the member
        themselves, and nothing is remembered for them."""
        core = self._core
        return PersistenceStats.of(Counter() if core is None else Counter(core.persistence()))

    @property
    def panic(self) -> bool:
        """Are all members used now, since fewer than panic_threshold are up?"""
        core = self._core
        return core is not None and core.panic

    @property
    def panics(self) -> int:
        """How often that began."""
        with self._balancer._lock:
            return self._past_panics + (0 if self._core is None else self._core.panics)

    def find_member(self, key: str) -> Member:
        """The member with this id, name, or `address:port`. Raises NotFound."""
        for member in self.members:
            if member._endpoint() == key:
                return member
        return find("member", self._who(), self.members, key)

    def create_member(
        self,
        address: str,
        protocol_port: int,
        *,
        name: str | None = "",
        weight: int | None = 1,
        backup: bool = False,
        admin_state_up: bool | None = True,
        monitor_address: str | None = None,
        monitor_port: int | None = None,
        subnet_id: str | None = None,
        tags: Iterable[str] | None = (),
        request_sriov: bool = False,
        max_connections: int | None = 0,
    ) -> Member:
        """Add a server; on a started load balancer it may be chosen when this returns.

        address: a literal IPv4 or IPv6 address. protocol_port: 1..65535. weight: its share, 0..256; 0 gets no new
        sessions. backup: used only while no other member can be. monitor_address, monitor_port: where to probe it
        instead. max_connections (ours): sessions at once, HTTP requests, 1..1,000,000; 0 and None: no limit.

        Raises ConfigError, or Conflict when the pool has that address and port already.
        """
        return self._add_members([("", arguments(locals()))])[0]

    def create_members(self, members: Iterable[MemberFields | tuple[str, int]]) -> list[Member]:
        """Add many servers as one change: each an (address, port) pair or a mapping of `create_member`'s arguments.

        All of them or, when one is refused, none; the message says which (`members[2].weight=300: must be 0..256`).
        """
        rows: list[tuple[str, Mapping[str, Any]]] = []
        for at, member in enumerate(kinds.items("members", members, "pairs or mappings, one a member")):
            path = f"members[{at}]"
            if isinstance(member, Mapping):
                rows.append((f"{path}.", member))
            elif isinstance(member, (tuple, list)) and len(member) == 2:
                rows.append((f"{path}.", {"address": member[0], "protocol_port": member[1]}))
            else:
                raise ConfigError(
                    path, member, "must be an (address, port) pair or a mapping of a member's fields"
                )
        return self._add_members(rows)

    def create_health_monitor(
        self,
        *,
        type: MonitorType | str,  # noqa: A002 - Octavia's name
        delay: float,
        timeout: float,
        max_retries: int,
        max_retries_down: int = 3,
        http_method: HttpMethod | str | None = None,
        url_path: str | None = None,
        expected_codes: str | None = None,
        http_version: float | None = None,
        domain_name: str | None = None,
        name: str | None = "",
        admin_state_up: bool | None = True,
        tags: Iterable[str] | None = (),
    ) -> HealthMonitor:
        """Probe the members from now on.

        delay: seconds between the starts of two probes of a member; 0 stands for a tenth. timeout: seconds a member
        has to answer; 0 stands for the delay. Both may have fractions, which Octavia's own have not.
        max_retries, max_retries_down: successes and failures in a row that bring a member back and take it out,
        1..10. http_method (GET), url_path ("/"), expected_codes ("200", or "200,202", or "200-204"), http_version,
        domain_name: what an HTTP probe asks and wants.

        Raises ConfigError, Conflict when the pool has a monitor already, and NotSupported for PING without the
        right to open an ICMP socket.
        """
        return self._add_monitor(arguments(locals()))

    def update(
        self,
        *,
        name: str | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        admin_state_up: bool | None | UnsetType = UNSET,
        lb_algorithm: Algorithm | str | UnsetType = UNSET,
        session_persistence: SessionPersistence | Mapping[str, Any] | None | UnsetType = UNSET,
        tls_enabled: bool | UnsetType = UNSET,
        tls_container_ref: str | None | UnsetType = UNSET,
        ca_tls_container_ref: str | None | UnsetType = UNSET,
        crl_container_ref: str | None | UnsetType = UNSET,
        tls_ciphers: str | None | UnsetType = UNSET,
        tls_versions: Iterable[str] | None | UnsetType = UNSET,
        alpn_protocols: Iterable[AlpnProtocol | str] | None | UnsetType = UNSET,
        retry: RetryPolicy | Mapping[str, Any] | None | UnsetType = UNSET,
        outlier_detection: OutlierDetection | Mapping[str, Any] | None | UnsetType = UNSET,
        slow_start: float | None | UnsetType = UNSET,
        panic_threshold: int | None | UnsetType = UNSET,
        timeout_queue: int | None | UnsetType = UNSET,
        tags: Iterable[str] | None | UnsetType = UNSET,
    ) -> None:
        """Change some fields at once; what is left out stays, None resets to the default.

        Raises ConfigError, and then nothing has changed.
        """
        self._update(arguments(locals()))

    def delete(self) -> None:
        """Remove it with its members and its monitor; listeners that use it have no default pool from then on.

        Raises Conflict while an L7 policy redirects to it.
        """
        with self._balancer._change():
            self._check_usable()
            for policy in self.l7policies:
                raise Conflict(
                    f"{self._who()}: is in use by {policy._who()} of {policy.listener._who()}",
                    fault=f"Pool {self._id} is in use by L7 policy {policy.id}",
                )
            for listener in self.listeners:
                listener._update({"default_pool_id": None})
            self._close()
            for one in (self, *self.members, self._monitor):
                if one is not None:
                    one._deleted = True
                    one._unsaved()
            del self._balancer._pools[self._id]
            self._balancer._note(None)

    def to_dict(self) -> dict[str, Any]:
        """The pool with its members and monitor, as Octavia's fully-populated create has it."""
        body = super().to_dict() | {"members": [member.to_dict() for member in self.members]}
        return body | ({"healthmonitor": self._monitor.to_dict()} if self._monitor is not None else {})

    # Children.

    def _add_members(
        self, rows: Sequence[tuple[str, Mapping[str, Any]]], *, coerce: bool = False
    ) -> list[Member]:
        specs = [schema.create(MemberSpec, values, coerce=coerce, path=path) for path, values in rows]
        with self._balancer._change():
            self._check_usable()
            vips = self._balancer.vips
            new: set[tuple[str, int]] = set()
            for (path, _), spec in zip(rows, specs, strict=True):
                try:
                    relations.check_member_on_vips(self._spec, spec, vips)
                except ConfigError as error:
                    raise error.within(path) from None
                key = (spec.address, spec.protocol_port)
                if key in self._addresses or key in new:
                    raise self._taken(spec, path)
                new.add(key)
            return self._make_members(specs)

    @staticmethod
    def _taken(spec: MemberSpec, path: str) -> Conflict:
        fault = f"Another member on this pool is already using ip {spec.address} on protocol_port {spec.protocol_port}"
        return Conflict(f"{path}address: {fault[0].lower()}{fault[1:]}", fault=fault)

    def _make_members(self, specs: Iterable[MemberSpec]) -> list[Member]:
        """Members of what has been checked. Under the lock."""
        specs = list(specs)
        count = len(self._members) + len(specs)
        if count > MEMBERS_AT_MOST:
            # Also when others would go afterwards: for a moment all of them are there.
            raise ConfigError(
                "members",
                count,
                f"must be at most {MEMBERS_AT_MOST} at once, those that are replaced among them",
            )
        members = [Member(spec, self) for spec in specs]
        if self._core is not None:
            self._attach_members(members)
        for member in members:
            self._members[member.id] = member
            self._addresses[member.address, member.protocol_port] = member
            member._unsaved()
        self._balancer._note(None)
        return members

    def _attach_members(self, members: list[Member]) -> None:
        assert self._core is not None
        engine = self._balancer._engine_in_use()
        for member, core in zip(members, self._core.add_members([m._row() for m in members]), strict=True):
            member._core = core
            if member._known_down:
                member._known_down = False
                core.expect_down()
            engine._know(core.id, member)

    def _change_members(self, changes: Sequence[tuple[Member, MemberSpec]]) -> None:
        """Give members these specs, as one change of the data plane. Under the lock."""
        if self._core is not None:
            self._core.change_members(
                [
                    (member._core, *native_part(spec))
                    for member, spec in changes
                    if member._core is not None and native_part(member._spec) != native_part(spec)
                ]
            )
        for member, spec in changes:
            member._become(spec)

    def _drop_members(self, members: list[Member]) -> None:
        if self._core is not None:
            gone = [member._core for member in members if member._core is not None]
            self._core.remove_members(gone)
            self._balancer._engine_in_use()._forget(core.id for core in gone)
        for member in members:
            member._deleted = True
            member._unsaved()
            del self._members[member.id]
            del self._addresses[member.address, member.protocol_port]
        self._ghosts += members
        self._bury(only_ended=True)
        self._balancer._note(None)

    def _bury(self, *, only_ended: bool) -> None:
        """Take over the figures of deleted members, all or those whose sessions have ended; the core forgets them."""
        stay = []
        for member in self._ghosts:
            if only_ended and member._figures()["active"]:
                stay.append(member)
            else:
                member._detach()
                self._past.update(member._past)
        self._ghosts = stay

    def _add_monitor(
        self, values: Mapping[str, Any], *, coerce: bool = False, path: str = ""
    ) -> HealthMonitor:
        spec = schema.create(HealthMonitorSpec, values, coerce=coerce, path=path)
        try:
            relations.check_monitor_on_pool(self._spec.protocol, spec.type)
        except ConfigError as error:
            raise error.within(path) from None
        if spec.type is MonitorType.PING:
            check_ping_right()
        with self._balancer._change():
            self._check_usable()
            if self._monitor is not None:
                raise Conflict(
                    f"{self._who()}: this pool already has a health monitor",
                    fault="This pool already has a health monitor",
                )
            monitor = HealthMonitor(spec, self)
            monitor._check_support(spec)
            self._remember()
            self._monitor = monitor
            try:
                self._sync_monitor()
            except BaseException:
                self._monitor = None
                raise
            monitor._unsaved()
            self._balancer._note(None)
            return monitor

    def _drop_monitor(self) -> None:
        monitor, self._monitor = self._monitor, None
        self._sync_monitor()
        if monitor is not None:
            monitor._deleted = True
            monitor._unsaved()
        for member in self.members:
            member._set_unmonitored(True)
        self._balancer._note(None)

    # Changes.

    def _update(self, changes: dict[str, Any], *, coerce: bool = False) -> None:
        with self._balancer._change():
            self._check_usable()
            before = self._spec
            spec = schema.update(before, changes, coerce=coerce)
            if self._balancer._running():
                support.check_pool(spec, self._who())
            self._remember()
            self._tell(spec)
            self._spec = spec
            try:
                self._sync_monitor()
            except BaseException:
                self._spec = before
                self._tell(before)
                raise
            self._touch()
            self._balancer._note(None)

    def _tell(self, spec: PoolSpec) -> None:
        if self._core is not None:
            self._core.configure(_native_conf(spec))

    # The data plane.

    def _attach(self) -> None:
        """Make the core's pool, with all members; what probes it comes with the listeners."""
        spec = self._spec
        self._core = _core.CorePool(
            self._balancer._core_in_use(), _core.ALGORITHMS[spec.lb_algorithm], spec.admin_state_up
        )
        self._core.configure(_native_conf(spec))
        self._probing = None
        self._attach_members(list(self._members.values()))

    def _close(self) -> None:
        """Take it out of the core; sessions under way finish. The counters stay."""
        core, self._core = self._core, None
        if core is None:
            return
        self._probing = None
        self._balancer._engine_in_use()._forget(m._core.id for m in self.members if m._core is not None)
        for member in self.members:
            member._detach()
        self._bury(only_ended=False)
        self._past_panics += core.panics
        self._past.update(lasting(core.waits(), POOL_GAUGES))
        core.close()

    def _renew(self) -> None:
        """Let go of idle connections to the members."""
        if self._core is not None:
            self._core.renew()

    def _sync_monitor(self) -> None:
        """Have the core probe what is to be probed now: nothing, while the pool is not in use or its monitor is
        off."""
        if self._core is None:
            return
        wanted = None
        if self._monitor is not None and self._monitored():
            # Of several listeners the most patient: a member must not be down for one and up for the other.
            connect_ms = max(listener._timeout_member_connect_ms() for listener in self.listeners)
            wanted = self._monitor._parameters(connect_ms / 1000)
        if wanted != self._probing:
            self._core.set_monitor(wanted)
            self._probing = wanted

    def _figures(self) -> Counter[str]:
        parts: list[dict[str, int]] = [self._past, *(ghost._figures() for ghost in self._ghosts)]
        parts += [member._past for member in self._members.values() if member._past]
        if self._core is not None:
            parts += [self._core.stats(), self._core.waits()]
        return total(parts)

    # Statuses.

    def _configured(self) -> bool:
        """Does the data plane carry it?"""
        balancer = self._balancer
        return (
            self._spec.admin_state_up
            and balancer._running()
            and balancer._spec.admin_state_up
            and self._in_use()
        )

    def _in_use(self) -> bool:
        """Does an enabled listener send clients here?"""
        # A copy: they may come and go meanwhile, and reading takes no lock.
        return any(listener._spec.admin_state_up for listener in tuple(self._listeners.values())) or any(
            policy.listener._spec.admin_state_up for policy in self.l7policies if policy._used_pool_id()
        )

    def _monitor_enabled(self) -> bool:
        monitor = self._monitor
        return monitor is not None and monitor._spec.admin_state_up

    def _monitored(self) -> bool:
        return self._monitor_enabled() and self._configured()

    def _remember(self) -> None:
        """Called before the pool may leave the data plane: members that were NO_MONITOR there stay so."""
        if self._configured():
            unmonitored = not self._monitor_enabled()
            for member in self.members:
                member._set_unmonitored(unmonitored)

    def _operating_status(self) -> OperatingStatus:
        if not self._configured():
            return OperatingStatus.OFFLINE
        monitored = self._monitor_enabled()
        members = self.members
        usable, down = self._count(members, monitored)
        return pool_status(
            configured=True,
            members=len(members),
            usable=usable,
            down=down,
            monitored=monitored,
            datagram=self._spec.datagram,
        )

    @staticmethod
    def _count(members: Iterable[Member], monitored: bool) -> tuple[int, int]:
        """How many members may be used, and how many are known to be down."""
        usable = down = 0
        for member in members:
            spec = member._spec
            if not spec.admin_state_up:
                continue
            if (monitored and not member._up()) or member.ejected:
                down += 1
            elif spec.share > 0:
                usable += 1
        return usable, down

    def _relations(self) -> dict[str, Any]:
        relations: dict[str, Any] = {
            "loadbalancers": [{"id": self._balancer.id}],
            "listeners": [{"id": listener.id} for listener in self.listeners],
            "members": [{"id": member.id} for member in self.members],
        }
        # Octavia leaves the key out when there is no monitor.
        return relations | ({"healthmonitor_id": self._monitor.id} if self._monitor is not None else {})

    def _who(self) -> str:
        return self._named("pool")

    def __repr__(self) -> str:
        members = self.members
        usable, _ = self._count(members, self._monitored())
        name = f"{self._spec.name or self._id} "
        return (
            f"<Pool {name}{self._spec.protocol} {self._spec.lb_algorithm} {self._state_words()} "
            f"members={usable}/{len(members)}>"
        )


def _native_conf(spec: PoolSpec) -> dict[str, Any]:
    """What the core knows of the pool beside its members."""
    persistence, cookie = "", ""
    if spec.session_persistence is not None:
        kind = spec.session_persistence.type
        # Cookies have no effect on byte streams, here as in Octavia.
        if kind is PersistenceType.SOURCE_IP or spec.protocol is Protocol.HTTP:
            persistence = str(kind)
        if persistence and kind is not PersistenceType.SOURCE_IP:
            cookie = spec.session_persistence.cookie_name or HTTP_COOKIE_NAME
    outliers = spec.outlier_detection or _NO_OUTLIERS
    return {
        "algorithm": _core.ALGORITHMS[spec.lb_algorithm],
        "admin_up": spec.admin_state_up,
        "http": spec.protocol is Protocol.HTTP,
        "persistence": persistence,
        "cookie_name": cookie,
        "timeout_queue_ms": spec.timeout_queue or TIMEOUT_QUEUE_MS,
        "retry_on": [str(word) for word in spec.retry.retry_on],
        "retries": spec.retry.num_retries,
        "retry_budget_percent": spec.retry.budget_percent,
        "retry_min": spec.retry.min_retry_concurrency,
        "outlier_5xx": outliers.consecutive_5xx,
        "outlier_connect": outliers.consecutive_connect_failures,
        "ejection_percent": outliers.max_ejection_percent,
        "ejection_s": outliers.base_ejection_time,
        "ejection_max_s": outliers.max_ejection_time,
        "slow_start_s": spec.slow_start,
        "panic_percent": spec.panic_threshold,
    }


def pool_id_of(
    balancer: "LoadBalancer", pool: "Pool | None", pool_id: str | None, *, field: str = "default_pool"
) -> str | None:
    """The id behind the arguments default_pool and default_pool_id, checked to be of this load balancer."""
    if pool is not None:
        if not isinstance(pool, Pool):
            raise ConfigError(field, pool, "must be a Pool of this load balancer")
        if pool_id is not None and pool_id != pool.id:
            raise ConfigError(f"{field}_id", pool_id, f"must be the id of {field} when both are given")
        if pool._balancer is not balancer or pool._deleted:
            raise NotFound(f"{field}={shown(pool.name or pool.id)}: must be a pool of {balancer._who()}")
        return pool.id
    return pool_id
