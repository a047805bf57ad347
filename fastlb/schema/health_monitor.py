# SPDX-License-Identifier: Apache-2.0
"""A health monitor's fields, and which of them belong to its type."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from msgspec.structs import replace

from fastlb.errors import ConfigError
from fastlb.schema import kinds
from fastlb.schema.field import Rule, Spec
from fastlb.types import HttpMethod, MonitorType

UDP_CONNECT_MIN_DELAY_S = 3
HTTP_TYPES = (MonitorType.HTTP, MonitorType.HTTPS)
HTTP_DEFAULTS = {"http_method": HttpMethod.GET, "url_path": "/", "expected_codes": "200"}

_whole_seconds = kinds.integer(0, 2_147_483_647)
_retries = kinds.integer(1, 10)
_path_text = kinds.text(2048)
_codes_text = kinds.text(64)
_domain_text = kinds.text(255, 1)
# A label may start with an underscore (_http._tcp.example.com) and have none elsewhere.
_LABEL = r"_?[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_CODES = re.compile(r"\d{3}(?:\s*,\s*\d{3})*|\d{3}-\d{3}", re.ASCII)


def _seconds(field: str, value: Any, coerce: bool) -> float:
    """Whole seconds; from Python also fractions, which are ours."""
    if not coerce:
        if isinstance(value, float) and 0 <= value <= 2_147_483_647:
            return value
        if isinstance(value, (bool, float)) or not hasattr(value, "__index__"):
            kinds.refuse(
                field, value, "must be a number of seconds, 0..2147483647", "Value must be an integer"
            )
    whole: int = _whole_seconds(field, value, coerce)
    return whole


def _url_path(field: str, value: Any, coerce: bool) -> str:
    path: str = _path_text(field, value, coerce)
    words = "Value must be a valid URL Path string"
    # It is written into a request line: what would end or split that line must not come through.
    if not all("!" <= character <= "~" for character in path):
        kinds.refuse(field, value, "must be printable ASCII without spaces (percent-encode the rest)", words)
    # What starts with one slash can have neither scheme nor host.
    if not path.startswith("/") or path.startswith("//"):
        kinds.refuse(field, value, "must be a path that starts with one '/', without scheme and host", words)
    return path


def _expected_codes(field: str, value: Any, coerce: bool) -> str:
    codes: str = _codes_text(field, value, coerce)
    allowed = "must be a code (200), a list (200,202) or a range (200-204)"
    if not _CODES.fullmatch(codes):
        kinds.refuse(field, value, allowed, f"Value should match the pattern {_CODES.pattern}")
    first, _, last = codes.partition("-")
    if last and int(first) > int(last):
        raise ConfigError(field, value, "must be a range whose first code is not above its last")
    return codes


def expand_codes(codes: str) -> list[int]:
    """The codes that `200`, `200,202` or `200-204` stand for."""
    first, _, last = codes.partition("-")
    if last:
        return list(range(int(first), int(last) + 1))
    return [int(code) for code in codes.split(",")]


def _http_version(field: str, value: Any, coerce: bool) -> float:
    if coerce and isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = str(value)
    if isinstance(value, bool) or value not in (1.0, 1.1):
        kinds.refuse(field, value, "must be 1.0 or 1.1", "Value should be one of: 1.0, 1.1")
    return float(value)


def _domain_name(field: str, value: Any, coerce: bool) -> str:
    name: str = _domain_text(field, value, coerce)
    if not _DOMAIN.fullmatch(name) or any(len(label) > 63 for label in name.rstrip(".").split(".")):
        # An IPv6 address cannot stand in a Host header as it is.
        kinds.refuse(
            field,
            value,
            "must be a host name or an IPv4 address, without port",
            f"Value should match the pattern {_DOMAIN.pattern}",
        )
    return name


class HealthMonitorSpec(Spec, frozen=True, kw_only=True):
    type: Annotated[MonitorType, Rule(kinds.choice(MonitorType), live=False)]
    delay: Annotated[float, Rule(_seconds)]
    timeout: Annotated[float, Rule(_seconds)]
    max_retries: Annotated[int, Rule(_retries)]
    max_retries_down: Annotated[int, Rule(_retries, reset=3)] = 3
    http_method: Annotated[HttpMethod | None, Rule(kinds.choice(HttpMethod), null=None)] = None
    url_path: Annotated[str | None, Rule(_url_path, null=None)] = None
    expected_codes: Annotated[str | None, Rule(_expected_codes, null=None)] = None
    http_version: Annotated[float | None, Rule(_http_version, null=None)] = None
    domain_name: Annotated[str | None, Rule(_domain_name, null=None)] = None

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        if self.type is MonitorType.UDP_CONNECT and self.delay < UDP_CONNECT_MIN_DELAY_S:
            raise ConfigError(
                "delay",
                self.delay,
                f"must be {UDP_CONNECT_MIN_DELAY_S} or more for UDP-CONNECT",
                fault=f"Validation failure: The request delay value {self.delay} should be larger than "
                f"{UDP_CONNECT_MIN_DELAY_S} for UDP-CONNECT health monitor type.",
            )
        if self.domain_name is not None and (self.http_version or 1.0) < 1.1:
            fault = "Validation failure: 'http_version' must be specified when 'domain_name' is provided."
            if self.http_version is not None:
                fault = (
                    f"http_version {self.http_version} is not a valid option for health monitors HTTP 1.1 domain "
                    "name health check"
                )
            raise ConfigError("domain_name", self.domain_name, "needs http_version 1.1", fault=fault)
        if self.type in HTTP_TYPES:
            missing = {name: value for name, value in HTTP_DEFAULTS.items() if getattr(self, name) is None}
            return replace(self, **missing) if missing else self
        for name in HTTP_DEFAULTS:
            value = getattr(self, name)
            if value is not None:
                raise ConfigError(
                    name,
                    value,
                    f"belongs to monitors of type HTTP and HTTPS, not {self.type}",
                    fault=f"{name} is not a valid option for health monitors of type {self.type}",
                )
        return self
