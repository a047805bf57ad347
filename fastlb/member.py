# SPDX-License-Identifier: Apache-2.0
"""Member: one of the servers of a pool."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from fastlb import _core, schema
from fastlb.resource import Field, Fixed, Identity, NamedResource
from fastlb.schema import MemberSpec, arguments
from fastlb.stats import MEMBER_GAUGES, MemberStats, lasting
from fastlb.status import member_status
from fastlb.types import OperatingStatus

if TYPE_CHECKING:
    from fastlb.pool import Pool


class Member(NamedResource[MemberSpec]):
    """A server that a pool sends clients to. Made by `pool.create_member`."""

    __slots__ = ("_core", "_known_down", "_past", "_pool", "_was_unmonitored")

    LABEL = "Member"
    KIND = "member"

    address = Fixed[str]("A literal IPv4 or IPv6 address, in its shortest form.")
    protocol_port = Fixed[int]("1..65535.")
    subnet_id = Fixed[str | None]("A UUID; kept, and without effect outside OpenStack.")
    weight = Field[int | None, int](
        "Its share, 0..256. 0 drains: no new sessions, those under way finish. None resets it to 1."
    )
    backup = Field[bool, bool]("Used only while no other member can be. None resets it to False.")
    monitor_address = Field[str | None, str]("Where it is probed instead of `address`; None: there.")
    monitor_port = Field[int | None, int](
        "Where it is probed instead of `protocol_port`, 1..65535; None: there."
    )
    max_connections = Field[int, int](
        "Ours: sessions with it at once (HTTP: requests), 1..1,000,000; more wait for the pool's timeout_queue. 0 (the "
        "default) and None: no limit. HAProxy: `maxconn` of a server."
    )

    def __init__(self, spec: MemberSpec, pool: "Pool", identity: Identity | None = None) -> None:
        super().__init__(spec, pool._balancer, identity)
        self._pool = pool
        self._core: _core.CoreMember | None = None
        self._past: Counter[str] = Counter()
        self._was_unmonitored = pool.health_monitor is None
        # Its probes failed in the process before this one.
        self._known_down = False

    @property
    def pool(self) -> "Pool":
        """The pool it belongs to."""
        return self._pool

    @property
    def stats(self) -> MemberStats:
        """Its counters now; they go on over `stop()` and `start()`."""
        with self._balancer._lock:
            return MemberStats.of(self._figures())

    @property
    def checked(self) -> bool:
        """True once the health monitor has a result; before it, a member counts as up."""
        core = self._core
        return core is not None and self._pool._monitored() and core.checked

    @property
    def ejected(self) -> bool:
        """Does it get no new sessions for a while, since it failed clients (the pool's outlier_detection)? Its
        `operating_status` is ERROR then, with a health monitor or without one."""
        core = self._core
        return core is not None and core.ejected

    def update(
        self,
        *,
        name: str | None | UnsetType = UNSET,
        admin_state_up: bool | None | UnsetType = UNSET,
        weight: int | None | UnsetType = UNSET,
        backup: bool | None | UnsetType = UNSET,
        monitor_address: str | None | UnsetType = UNSET,
        monitor_port: int | None | UnsetType = UNSET,
        max_connections: int | None | UnsetType = UNSET,
        tags: Iterable[str] | None | UnsetType = UNSET,
    ) -> None:
        """Change some fields at once; what is left out stays, None resets to the default.

        Raises ConfigError, and then nothing has changed.
        """
        self._update(arguments(locals()))

    def delete(self) -> None:
        """Take it out of its pool: no new sessions, those under way finish. Raises StateError if it is deleted
        already."""
        with self._balancer._change():
            self._check_usable()
            self._pool._drop_members([self])

    def _update(self, changes: dict[str, Any], *, coerce: bool = False) -> None:
        with self._balancer._change():
            self._check_usable()
            self._pool._change_members([(self, schema.update(self._spec, changes, coerce=coerce))])

    def _become(self, spec: MemberSpec) -> None:
        """Have this spec, of which the pool has told the core all but where it is probed."""
        before, core = self._spec, self._core
        if core is not None and (before.monitor_address, before.monitor_port) != (
            spec.monitor_address,
            spec.monitor_port,
        ):
            core.set_monitor_address(spec.monitor_address, spec.monitor_port)
        self._spec = spec
        self._touch()
        self._balancer._note(self)

    def _row(self) -> tuple[str, int, int, bool, bool, str | None, int | None, bytes, int]:
        spec = self._spec
        return (
            spec.address,
            spec.protocol_port,
            spec.share,
            spec.backup,
            spec.admin_state_up,
            spec.monitor_address,
            spec.monitor_port,
            bytes.fromhex(self._id.replace("-", "")),
            spec.max_connections,
        )

    def _set_unmonitored(self, unmonitored: bool) -> None:
        if self._was_unmonitored != unmonitored:
            self._was_unmonitored = unmonitored
            self._unsaved()

    def _belongs_to(self) -> "Pool":
        return self._pool

    def _figures(self) -> Counter[str]:
        core = self._core
        return self._past if core is None else self._past + Counter(core.stats())

    def _detach(self) -> None:
        """The core lets it go: keep its counters."""
        core, self._core = self._core, None
        if core is not None:
            self._past.update(lasting(core.stats(), MEMBER_GAUGES))

    def _up(self) -> bool:
        core = self._core
        return core is None or core.up

    def _operating_status(self) -> OperatingStatus:
        pool = self._pool
        configured = pool._configured()
        return member_status(
            admin_up=self._spec.admin_state_up,
            weight=self._spec.share,
            configured=configured,
            monitored=configured and pool._monitor_enabled(),
            up=self._up(),
            was_unmonitored=self._was_unmonitored,
            ejected=self.ejected,
            datagram=pool._spec.datagram,
        )

    def _initial_status(self) -> OperatingStatus:
        return OperatingStatus.NO_MONITOR if self._was_unmonitored else OperatingStatus.OFFLINE

    def _relations(self) -> dict[str, Any]:
        return {"vnic_type": "normal"}

    def _endpoint(self) -> str:
        spec = self._spec
        host = f"[{spec.address}]" if ":" in spec.address else spec.address
        return f"{host}:{spec.protocol_port}"

    def _who(self) -> str:
        return f"member {self._endpoint()}"

    def __repr__(self) -> str:
        name = f"{self._spec.name} " if self._spec.name else ""
        parts = [f"<Member {name}{self._endpoint()} weight={self._spec.share} {self._state_words()}"]
        if self._spec.backup:
            parts.append("backup")
        if self.ejected:
            parts.append("ejected")
        if self._core is not None:
            parts.append(f"active={self._figures()['active']}")
        return " ".join(parts) + ">"


def native_part(spec: MemberSpec) -> tuple[int, bool, bool, int]:
    """What the core is told when a member changes, apart from where it is probed."""
    return spec.share, spec.backup, spec.admin_state_up, spec.max_connections
