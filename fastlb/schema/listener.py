# SPDX-License-Identifier: Apache-2.0
"""A listener's fields, and what its protocol makes of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Self

from msgspec.structs import replace

from fastlb.errors import ConfigError
from fastlb.schema import kinds, tls
from fastlb.schema.field import Rule, Spec
from fastlb.types import AlpnProtocol, ClientAuthentication, Protocol

TIMEOUT_CLIENT_DATA_MS = 50_000
TIMEOUT_MEMBER_CONNECT_MS = 5_000
TIMEOUT_MEMBER_DATA_MS = 50_000
CONNECTION_LIMIT = 50_000
"""What -1, 0 and null stand for: Octavia has no unlimited listener."""
REQUEST_HEAD_BYTES = 32_768
REQUEST_FIELDS = 100
REQUEST_TARGET_BYTES = 8_000
TIMEOUT_CLIENT_HEAD_MS = 10_000
PIPELINED_REQUESTS = 16

FORWARDED_HEADERS = ("X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto")
IGNORED_HEADERS = ("X-Forwarded-IP", "X-Client-IP", "X-Real-IP")
"""Taken by the API; Octavia's data plane does nothing with them, and nor do we."""
CERTIFICATE_HEADERS = (
    "X-SSL-Client-Verify",
    "X-SSL-Client-Has-Cert",
    "X-SSL-Client-DN",
    "X-SSL-Client-CN",
    "X-SSL-Issuer",
    "X-SSL-Client-SHA1",
    "X-SSL-Client-Not-Before",
    "X-SSL-Client-Not-After",
)

_limit = kinds.integer(-1, 2_147_483_647)
_timeout = kinds.integer(0, 2_073_600_000)
_count = kinds.integer(0, 2_147_483_647)
_protocol = kinds.choice(
    Protocol,
    Protocol.TCP,
    Protocol.HTTP,
    Protocol.HTTPS,
    Protocol.TERMINATED_HTTPS,
    Protocol.UDP,
    Protocol.SCTP,
    Protocol.PROMETHEUS,
)
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ListenerSpec(Spec, frozen=True, kw_only=True):
    BESIDE = ("default_pool", "l7policies")
    protocol: Annotated[Protocol, Rule(_protocol, live=False)]
    # Port 0, "any free one", is ours and from Python only.
    protocol_port: Annotated[int, Rule(kinds.integer(1, 65535, python_low=0), live=False)]
    description: Annotated[str, Rule(kinds.text(255), null="")] = ""
    connection_limit: Annotated[int | None, Rule(_limit, null=None, reset=-1)] = -1
    default_pool_id: Annotated[str | None, Rule(kinds.uuid, null=None)] = None
    default_tls_container_ref: Annotated[str | None, Rule(tls.reference, null=None)] = None
    sni_container_refs: Annotated[tuple[str, ...], Rule(kinds.each(tls.reference, "strings"), null=())] = ()
    insert_headers: Annotated[Mapping[str, str], Rule(kinds.strings(255), null=_NO_HEADERS)] = _NO_HEADERS
    timeout_client_data: Annotated[int, Rule(_timeout, null=TIMEOUT_CLIENT_DATA_MS)] = TIMEOUT_CLIENT_DATA_MS
    timeout_member_connect: Annotated[int, Rule(_timeout, null=TIMEOUT_MEMBER_CONNECT_MS)] = (
        TIMEOUT_MEMBER_CONNECT_MS
    )
    timeout_member_data: Annotated[int, Rule(_timeout, null=TIMEOUT_MEMBER_DATA_MS)] = TIMEOUT_MEMBER_DATA_MS
    timeout_tcp_inspect: Annotated[int, Rule(_timeout, null=0)] = 0
    client_authentication: Annotated[
        ClientAuthentication, Rule(kinds.choice(ClientAuthentication), null=ClientAuthentication.NONE)
    ] = ClientAuthentication.NONE
    client_ca_tls_container_ref: Annotated[str | None, Rule(tls.reference, null=None)] = None
    client_crl_container_ref: Annotated[str | None, Rule(tls.reference, null=None)] = None
    allowed_cidrs: Annotated[tuple[str, ...] | None, Rule(kinds.cidrs, null=None)] = None
    tls_ciphers: Annotated[str | None, Rule(tls.ciphers, null=None, reset=tls.CIPHERS)] = None
    tls_versions: Annotated[tuple[str, ...] | None, Rule(tls.versions, null=None, reset=tls.VERSIONS)] = None
    alpn_protocols: Annotated[tuple[AlpnProtocol, ...] | None, Rule(tls.alpn, null=None, reset=tls.ALPN)] = (
        None
    )
    hsts_max_age: Annotated[int | None, Rule(kinds.integer(0), null=None)] = None
    hsts_include_subdomains: Annotated[bool, Rule(kinds.boolean, null=False)] = False
    hsts_preload: Annotated[bool, Rule(kinds.boolean, null=False)] = False

    # Ours.
    request_head_limit: Annotated[
        int, Rule(kinds.integer(1024, 65535), null=REQUEST_HEAD_BYTES, ours=True)
    ] = REQUEST_HEAD_BYTES
    request_field_limit: Annotated[int, Rule(kinds.integer(1, 100), null=REQUEST_FIELDS, ours=True)] = (
        REQUEST_FIELDS
    )
    request_target_limit: Annotated[
        int, Rule(kinds.integer(64, 65535), null=REQUEST_TARGET_BYTES, ours=True)
    ] = REQUEST_TARGET_BYTES
    timeout_client_head: Annotated[int, Rule(_timeout, null=TIMEOUT_CLIENT_HEAD_MS, ours=True)] = (
        TIMEOUT_CLIENT_HEAD_MS
    )
    timeout_client_idle: Annotated[int | None, Rule(_timeout, null=None, ours=True)] = None
    request_body_rate_min: Annotated[int, Rule(_count, null=0, ours=True)] = 0
    requests_per_connection: Annotated[int, Rule(_count, null=0, ours=True)] = 0
    pipeline_limit: Annotated[int, Rule(kinds.integer(1, 1024), null=PIPELINED_REQUESTS, ours=True)] = (
        PIPELINED_REQUESTS
    )

    @property
    def http(self) -> bool:
        """Is what clients send read as HTTP?"""
        return self.protocol in (Protocol.HTTP, Protocol.TERMINATED_HTTPS, Protocol.PROMETHEUS)

    @property
    def limit(self) -> int:
        """The connection limit in force."""
        limit = self.connection_limit
        return limit if limit is not None and limit > 0 else CONNECTION_LIMIT

    @property
    def inserted_headers(self) -> tuple[str, ...]:
        """The headers that are switched on and have an effect."""
        return tuple(
            header
            for header, value in self.insert_headers.items()
            if value.lower() == "true" and header not in IGNORED_HEADERS
        )

    @property
    def numbers(self) -> dict[str, int]:
        """Timeouts and limits in force, under the core's names."""
        client_ms = self.timeout_client_data or TIMEOUT_CLIENT_DATA_MS
        return {
            "timeout_client_data_ms": client_ms,
            "timeout_member_connect_ms": self.timeout_member_connect or TIMEOUT_MEMBER_CONNECT_MS,
            "timeout_member_data_ms": self.timeout_member_data or TIMEOUT_MEMBER_DATA_MS,
            "timeout_head_ms": self.timeout_client_head or TIMEOUT_CLIENT_HEAD_MS,
            "timeout_idle_ms": self.timeout_client_idle or client_ms,
            "head_bytes": self.request_head_limit,
            "head_fields": self.request_field_limit,
            "target_bytes": self.request_target_limit,
            "body_rate_min": self.request_body_rate_min,
            "requests_max": self.requests_per_connection,
            "pipeline_max": self.pipeline_limit,
            "connection_limit": self.limit,
        }

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        self._check_certificates(before)
        self._check_client_authentication(changes)
        self._check_headers()
        self._check_hsts(before)
        if self.default_pool_id is not None and self.protocol is Protocol.PROMETHEUS:
            raise ConfigError(
                "default_pool_id",
                self.default_pool_id,
                "must be null: PROMETHEUS listeners have no pool",
                fault="Protocol PROMETHEUS listeners cannot have child objects.",
            )
        if self.protocol is not Protocol.TERMINATED_HTTPS:
            return self
        filled = self
        if before is None:
            filled = replace(
                self,
                tls_ciphers=tls.CIPHERS if self.tls_ciphers is None else self.tls_ciphers,
                tls_versions=tls.VERSIONS if self.tls_versions is None else self.tls_versions,
                alpn_protocols=tls.ALPN if self.alpn_protocols is None else self.alpn_protocols,
            )
        tls.check_versions(filled.tls_versions)
        tls.check_alpn(filled.alpn_protocols)
        return filled

    def _check_certificates(self, before: Self | None) -> None:
        field, value = "default_tls_container_ref", self.default_tls_container_ref
        if not value and self.sni_container_refs:
            field, value = "sni_container_refs", self.sni_container_refs[0]
        if self.protocol is Protocol.TERMINATED_HTTPS:
            # An update may take the last certificate away, a creation needs one: as Octavia does.
            if before is None and not value:
                raise ConfigError(
                    field,
                    None,
                    "or sni_container_refs must be given for a TERMINATED_HTTPS listener",
                    fault="Validation failure: An SNI or default certificate container reference must be "
                    "provided for TERMINATED_HTTPS protocol listeners.",
                )
        elif value and self.protocol is not Protocol.PROMETHEUS:
            raise ConfigError(
                field,
                value,
                f"must not be given: a {self.protocol} listener does not end TLS",
                fault=f"Validation failure: {self.protocol} protocol listener does not support TLS."
                if self.protocol in (Protocol.UDP, Protocol.SCTP)
                else "Validation failure: Certificate container references are not allowed on "
                f"{self.protocol} protocol listeners.",
            )

    def _check_client_authentication(self, changes: Mapping[str, Any]) -> None:
        ca = self.client_ca_tls_container_ref
        tls.check_authorities(
            "client_crl_container_ref",
            self.client_crl_container_ref,
            "client_ca_tls_container_ref",
            ca,
            fault="Validation failure: A client authentication CA reference is required to specify a client "
            "authentication revocation list.",
        )
        if ca and not self.default_tls_container_ref and not self.sni_container_refs:
            raise ConfigError(
                "client_ca_tls_container_ref",
                ca,
                "needs default_tls_container_ref or sni_container_refs",
                fault="Validation failure: An SNI or default certificate container reference must be provided with a "
                "client CA container reference.",
            )
        reset = changes.get("client_authentication", "") is None
        if not ca and (reset or self.client_authentication is not ClientAuthentication.NONE):
            raise ConfigError(
                "client_authentication",
                None if reset else self.client_authentication,
                "needs client_ca_tls_container_ref",
                fault="Validation failure: Client authentication setting "
                f"{None if reset else self.client_authentication} requires a client CA container reference.",
            )

    def _check_headers(self) -> None:
        if not self.insert_headers:
            return
        protocol = self.protocol
        if protocol not in (Protocol.HTTP, Protocol.TERMINATED_HTTPS):
            raise ConfigError(
                "insert_headers",
                dict(self.insert_headers),
                f"must be empty on a {protocol} listener",
                fault=f"insert-headers is not a valid option for a {protocol} protocol listener.",
            )
        known = {*FORWARDED_HEADERS, *IGNORED_HEADERS, *CERTIFICATE_HEADERS}
        unknown = [header for header in self.insert_headers if header not in known]
        if unknown:
            raise ConfigError(
                "insert_headers",
                unknown[0],
                f"must be one of {', '.join((*FORWARDED_HEADERS, *CERTIFICATE_HEADERS))}, spelt like this",
                fault=f"{unknown!s:.1000} is not a valid option for insert_headers",
            )
        theirs = [header for header in self.insert_headers if header in CERTIFICATE_HEADERS]
        if theirs and protocol is Protocol.HTTP:
            raise ConfigError(
                "insert_headers",
                theirs[0],
                "needs a TERMINATED_HTTPS listener",
                fault=f"{theirs} is not a valid option for HTTP protocol listener.",
            )

    def _check_hsts(self, before: Self | None) -> None:
        if self.hsts_max_age is not None and self.protocol is not Protocol.TERMINATED_HTTPS:
            raise ConfigError(
                "hsts_max_age",
                self.hsts_max_age,
                "needs a TERMINATED_HTTPS listener",
                fault="Validation failure: The HSTS feature can only be used for listeners using the TERMINATED_HTTPS "
                "protocol.",
            )
        for field in ("hsts_include_subdomains", "hsts_preload"):
            if getattr(self, field) and self.hsts_max_age is None:
                raise ConfigError(
                    field,
                    True,
                    "needs hsts_max_age",
                    fault="Validation failure: HSTS configuration options hsts_include_subdomains and hsts_preload "
                    "only make sense if hsts_max_age is set as well."
                    if before is None
                    else "Validation failure: Cannot enable hsts_include_subdomains or hsts_preload if hsts_max_age "
                    "was not set as well.",
                )
