# SPDX-License-Identifier: Apache-2.0
"""A pool's fields and its session persistence; fields of ours are last."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

import msgspec
from msgspec.structs import replace

from fastlb.errors import ConfigError, MissingField
from fastlb.schema import kinds, resilience, tls
from fastlb.schema.field import Null, Rule, Spec
from fastlb.schema.resilience import OutlierDetection, RetryPolicy
from fastlb.types import Algorithm, AlpnProtocol, PersistenceType, Protocol

TIMEOUT_QUEUE_MS = 5_000
HTTP_COOKIE_NAME = "SRV"
"""The cookie of HTTP_COOKIE, as Octavia names it."""
DATAGRAM = (Protocol.UDP, Protocol.SCTP)

_protocol = kinds.choice(
    Protocol,
    Protocol.TCP,
    Protocol.HTTP,
    Protocol.HTTPS,
    Protocol.PROXY,
    Protocol.PROXYV2,
    Protocol.UDP,
    Protocol.SCTP,
)


class SessionPersistence(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a client come back to the member it had.

    type: SOURCE_IP, HTTP_COOKIE (a cookie of ours) or APP_COOKIE (one of the members', named by cookie_name).
    persistence_timeout (seconds), persistence_granularity (a netmask): UDP and SCTP pools only.
    """

    type: PersistenceType
    cookie_name: str | None = None
    persistence_timeout: int | None = None
    persistence_granularity: str | None = None


# RFC 6265: a token. Control characters, space and separators would end or split the header it is written into.
_COOKIE_NAME = re.compile(r'[^\x00-\x20"(),/:;<=>?@\[\\\]{}\x7f-\U0010ffff]+')
_cookie_text = kinds.text(255, 1)


def _cookie_name(field: str, value: Any, coerce: bool) -> str:
    name: str = _cookie_text(field, value, coerce)
    if not _COOKIE_NAME.fullmatch(name):
        raise ConfigError(
            field,
            value,
            "must be a cookie name: no control characters, spaces or separators",
            fault='Validation failure: Supplied "cookie_name" is invalid.',
        )
    return name


def _granularity(field: str, value: Any, coerce: bool) -> str:
    mask = kinds.ip_address(field, value, coerce)
    if ":" not in mask:
        bits = int(ipaddress.IPv4Address(mask)) ^ 0xFFFFFFFF
        if bits & (bits + 1):
            raise ConfigError(field, value, "must be a netmask such as 255.255.255.0")
    return mask


_persistence = kinds.record(
    SessionPersistence,
    {
        "type": kinds.choice(PersistenceType),
        "cookie_name": _cookie_name,
        "persistence_timeout": kinds.integer(0, 2_147_483_647),
        "persistence_granularity": _granularity,
    },
    "must be a mapping with type and what goes with it",
)


def _merge_persistence(before: SessionPersistence | None, given: dict[str, Any]) -> SessionPersistence:
    """A given type starts anew; without one, what is given changes what was there."""
    field = "session_persistence"
    if "type" in given or before is None:
        if given.get("type") is None:
            raise MissingField(f"{field}.type")
        merged = SessionPersistence(**given)
    else:
        merged = replace(before, **given)
    if merged.type is PersistenceType.APP_COOKIE:
        if merged.cookie_name is None:
            raise ConfigError(
                f"{field}.cookie_name",
                None,
                "must be given for APP_COOKIE",
                fault='Validation failure: Field "cookie_name" must be specified when using the "APP_COOKIE" '
                "session persistence type.",
            )
    elif merged.cookie_name is not None:
        raise ConfigError(
            f"{field}.cookie_name",
            merged.cookie_name,
            "must be left out unless type is APP_COOKIE",
            fault='Validation failure: Field "cookie_name" can only be specified with session persistence of type '
            '"APP_COOKIE".',
        )
    return merged


class PoolSpec(Spec, frozen=True, kw_only=True):
    BESIDE = ("members", "healthmonitor")
    protocol: Annotated[Protocol, Rule(_protocol, live=False)]
    lb_algorithm: Annotated[Algorithm, Rule(kinds.choice(Algorithm))]
    description: Annotated[str, Rule(kinds.text(255), null="")] = ""
    session_persistence: Annotated[
        SessionPersistence | None, Rule(_persistence, null=None, merge=_merge_persistence)
    ] = None
    tls_enabled: Annotated[bool, Rule(kinds.boolean, null=False, reset=Null.REFUSED)] = False
    tls_container_ref: Annotated[str | None, Rule(tls.reference, null=None)] = None
    ca_tls_container_ref: Annotated[str | None, Rule(tls.reference, null=None)] = None
    crl_container_ref: Annotated[str | None, Rule(tls.reference, null=None)] = None
    tls_ciphers: Annotated[str | None, Rule(tls.ciphers, null=None, reset=tls.CIPHERS)] = None
    tls_versions: Annotated[tuple[str, ...] | None, Rule(tls.versions, null=None, reset=tls.VERSIONS)] = None
    alpn_protocols: Annotated[tuple[AlpnProtocol, ...] | None, Rule(tls.alpn, null=None)] = None
    retry: Annotated[
        RetryPolicy, Rule(resilience.retry, null=RetryPolicy(), merge=resilience.merge_retry, ours=True)
    ] = RetryPolicy()
    outlier_detection: Annotated[
        OutlierDetection | None,
        Rule(resilience.outlier_detection, null=None, merge=resilience.merge_outlier_detection, ours=True),
    ] = None
    slow_start: Annotated[float, Rule(kinds.duration(resilience.LONGEST_S), null=0.0, ours=True)] = 0.0
    panic_threshold: Annotated[int, Rule(kinds.integer(0, 100), null=0, ours=True)] = 0
    timeout_queue: Annotated[int, Rule(kinds.integer(0, 2_073_600_000), null=TIMEOUT_QUEUE_MS, ours=True)] = (
        TIMEOUT_QUEUE_MS
    )

    @property
    def datagram(self) -> bool:
        return self.protocol in DATAGRAM

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        tls.check_authorities(
            "crl_container_ref",
            self.crl_container_ref,
            "ca_tls_container_ref",
            self.ca_tls_container_ref,
            fault="Validation failure: A CA certificate reference is required to specify a revocation list.",
        )
        self._check_persistence()
        if not self.tls_enabled:
            return self
        filled = self
        if before is None or not before.tls_enabled:
            null = {name for name, value in changes.items() if value is None}
            filled = replace(
                self,
                tls_ciphers=tls.CIPHERS if self.tls_ciphers is None else self.tls_ciphers,
                tls_versions=tls.VERSIONS if self.tls_versions is None else self.tls_versions,
                alpn_protocols=tls.ALPN
                if self.alpn_protocols is None and (before is None or "alpn_protocols" not in null)
                else self.alpn_protocols,
            )
        tls.check_versions(filled.tls_versions)
        tls.check_alpn(filled.alpn_protocols)
        return filled

    def _check_persistence(self) -> None:
        persistence, field = self.session_persistence, "session_persistence"
        if persistence is None:
            return
        if self.datagram:
            if persistence.type is not PersistenceType.SOURCE_IP:
                raise ConfigError(
                    f"{field}.type",
                    persistence.type,
                    f"must be SOURCE_IP on a {self.protocol} pool",
                    fault="Validation failure: Cookie names are not supported for UDP/SCTP pools."
                    if persistence.cookie_name is not None
                    else f"Validation failure: Session persistence of type {persistence.type} is not supported for "
                    "UDP/SCTP protocol pools.",
                )
            return
        for name in ("persistence_timeout", "persistence_granularity"):
            if getattr(persistence, name) is not None:
                raise ConfigError(
                    f"{field}.{name}",
                    getattr(persistence, name),
                    "needs a UDP or SCTP pool",
                    fault="Validation failure: persistence_timeout and persistence_granularity is only for UDP and "
                    "SCTP protocol pools.",
                )
