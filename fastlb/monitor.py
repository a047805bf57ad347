# SPDX-License-Identifier: Apache-2.0
"""HealthMonitor: the scheduled test of a pool's members."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from fastlb import schema, support
from fastlb.errors import NotSupported
from fastlb.resource import Field, Fixed, Identity, NamedResource
from fastlb.schema import HealthMonitorSpec, given
from fastlb.schema.health_monitor import expand_codes
from fastlb.status import simple_status
from fastlb.types import HttpMethod, MonitorType, OperatingStatus

if TYPE_CHECKING:
    from fastlb.pool import Pool


class HealthMonitor(NamedResource[HealthMonitorSpec]):
    """How a pool's members are probed. Made by `pool.create_health_monitor`; a pool has one at most.

    A member starts as up, and its first failed probe takes it down; later `max_retries_down` failures in a row do,
    and `max_retries` successes in a row bring it back.
    """

    __slots__ = ("_pool",)

    LABEL = "Health Monitor"
    KIND = "healthmonitor"

    type = Fixed[MonitorType]("HTTP, HTTPS, PING, TCP, TLS-HELLO, UDP-CONNECT or SCTP.")
    delay = Field[float, float](
        "Seconds between the starts of two probes of a member; fractions are ours. 0 stands for a tenth."
    )
    timeout = Field[float, float](
        "Seconds a member has to answer; fractions are ours. 0 stands for the delay."
    )
    max_retries = Field[int, int]("Successful probes in a row before a member in ERROR goes ONLINE, 1..10.")
    max_retries_down = Field[int, int](
        "Failed probes in a row before a member goes to ERROR, 1..10; one success starts the count anew. "
        "None resets it to 3."
    )
    http_method = Field[HttpMethod | None, HttpMethod | str]("HTTP types only; None resets it to GET.")
    url_path = Field[str | None, str]("HTTP types only; starts with one '/'. None resets it to '/'.")
    expected_codes = Field[str | None, str](
        "HTTP types only: '200', '200,202' or '200-204'. None resets it to '200'."
    )
    http_version = Field[float | None, float]("1.0 or 1.1; None: 1.0.")
    domain_name = Field[str | None, str](
        "What the Host header says; needs http_version 1.1. None: no Host header."
    )

    def __init__(self, spec: HealthMonitorSpec, pool: "Pool", identity: Identity | None = None) -> None:
        super().__init__(spec, pool._balancer, identity)
        self._pool = pool

    @property
    def pool(self) -> "Pool":
        """The pool it tests."""
        return self._pool

    def update(
        self,
        *,
        name: str | None | UnsetType = UNSET,
        admin_state_up: bool | None | UnsetType = UNSET,
        delay: float | UnsetType = UNSET,
        timeout: float | UnsetType = UNSET,
        max_retries: int | UnsetType = UNSET,
        max_retries_down: int | None | UnsetType = UNSET,
        http_method: HttpMethod | str | None | UnsetType = UNSET,
        url_path: str | None | UnsetType = UNSET,
        expected_codes: str | None | UnsetType = UNSET,
        http_version: float | None | UnsetType = UNSET,
        domain_name: str | None | UnsetType = UNSET,
        tags: Iterable[str] | None | UnsetType = UNSET,
    ) -> None:
        """Change some fields at once; what is left out stays, None resets to the default.

        Raises ConfigError, and then nothing has changed.
        """
        self._update(
            given(
                name=name,
                admin_state_up=admin_state_up,
                delay=delay,
                timeout=timeout,
                max_retries=max_retries,
                max_retries_down=max_retries_down,
                http_method=http_method,
                url_path=url_path,
                expected_codes=expected_codes,
                http_version=http_version,
                domain_name=domain_name,
                tags=tags,
            )
        )

    def delete(self) -> None:
        """Probe no more; every member counts as up and reads NO_MONITOR."""
        with self._balancer._change():
            self._check_usable()
            self._pool._drop_monitor()

    def _update(self, changes: dict[str, Any], *, coerce: bool = False) -> None:
        with self._balancer._change():
            self._check_usable()
            before = self._spec
            spec = schema.update(before, changes, coerce=coerce)
            self._check_support(spec)
            self._pool._remember()
            self._spec = spec
            try:
                self._pool._sync_monitor()
            except BaseException:
                self._spec = before
                raise
            self._touch()
            self._balancer._note(None)

    def _check_support(self, spec: HealthMonitorSpec) -> None:
        if self._balancer._running():
            support.check_monitor(spec, self._who())

    def _belongs_to(self) -> "Pool":
        return self._pool

    def _parameters(self, connect_timeout_s: float) -> dict[str, Any]:
        """What the core is told."""
        spec = self._spec
        return {
            "type": str(spec.type),
            "delay_s": spec.delay,
            "timeout_s": spec.timeout,
            "connect_timeout_s": connect_timeout_s,
            "rise": spec.max_retries,
            "fall": spec.max_retries_down,
            "method": str(spec.http_method or HttpMethod.GET),
            "url_path": spec.url_path or "/",
            "http_version": spec.http_version,
            "domain_name": spec.domain_name,
            "expected_codes": expand_codes(spec.expected_codes or "200"),
        }

    def _operating_status(self) -> OperatingStatus:
        return simple_status(admin_up=self._spec.admin_state_up, running=self._balancer._running())

    def _relations(self) -> dict[str, Any]:
        return {"pools": [{"id": self._pool.id}]}

    def _who(self) -> str:
        return f"health monitor of {self._pool._who()}"

    def __repr__(self) -> str:
        spec = self._spec
        what = str(spec.type)
        if spec.url_path is not None:
            what += f" {spec.http_method} {spec.url_path} expects {spec.expected_codes}"
        return f"<HealthMonitor {what} every {spec.delay}s {self._state_words()}>"


def check_ping_right() -> None:
    """Raise unless this process may open an ICMP socket."""
    import socket

    reason: OSError | None = None
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
            return
        except OSError as error:
            reason = error
    raise NotSupported(
        f"type='PING': this process may not open an ICMP socket ({reason}); widen the sysctl "
        "net.ipv4.ping_group_range to a group of yours, or give it the capability CAP_NET_RAW"
    )
