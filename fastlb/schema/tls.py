# SPDX-License-Identifier: Apache-2.0
"""The TLS lists that listeners and pools share: kinds, defaults and the check of versions."""

import re
from typing import Any

from fastlb.errors import ConfigError
from fastlb.schema import kinds
from fastlb.types import AlpnProtocol, TlsVersion

VERSIONS = ("TLSv1.2", "TLSv1.3")
ALPN = (AlpnProtocol.H2, AlpnProtocol.HTTP_1_1, AlpnProtocol.HTTP_1_0)
CIPHERS = ":".join(
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "DHE-RSA-AES128-GCM-SHA256",
        "DHE-RSA-AES256-GCM-SHA384",
        "DHE-RSA-CHACHA20-POLY1305",
    )
)

reference = kinds.text(255)
_cipher_text = kinds.text(2048)
_CIPHERS = re.compile(r"[A-Za-z0-9\-+!:@=_.]*")


def ciphers(field: str, value: Any, coerce: bool) -> str:
    """Cipher names joined by colons; none at all stands for the default list."""
    names: str = _cipher_text(field, value, coerce)
    if not _CIPHERS.fullmatch(names):
        raise ConfigError(
            field,
            value,
            "must be cipher names joined by colons",
            fault="Validation failure: Invalid characters in cipher string. Only alphanumeric, -, +, !, :, @, =, _, "
            "and . are allowed.",
        )
    return names


# Where TLS is not in use Octavia stores versions unread; `check_versions` follows where it is.
versions = kinds.each(kinds.text(32), "TLS versions")
alpn = kinds.each(
    kinds.choice(AlpnProtocol, tail="Value should be a valid ALPN protocol ID"), "ALPN protocols"
)


def check_versions(versions: tuple[str, ...] | None) -> None:
    """Refuse an empty list and a version that does not exist."""
    if versions is None:
        return
    if not versions:
        raise ConfigError(
            "tls_versions",
            [],
            "must not be empty",
            fault="Validation failure: Empty TLS version list. Either specify at least one TLS version or remove this "
            "parameter to use the default.",
        )
    unknown = [version for version in versions if version not in list(TlsVersion)]
    if unknown:
        raise ConfigError(
            f"tls_versions[{versions.index(unknown[0])}]",
            unknown[0],
            f"must be one of {', '.join(TlsVersion)}",
            fault=f"Validation failure: Invalid TLS versions: {', '.join(unknown)}",
        )


def check_alpn(protocols: tuple[AlpnProtocol, ...] | None) -> None:
    """Refuse an empty list."""
    if protocols is not None and not protocols:
        raise ConfigError(
            "alpn_protocols",
            [],
            "must not be empty",
            fault="Validation failure: Empty ALPN protocol list. Either specify at least one ALPN protocol or remove "
            "this parameter to use the default.",
        )


def check_authorities(crl_field: str, crl: str | None, ca_field: str, ca: str | None, *, fault: str) -> None:
    """A revocation list means nothing without the authority that signed it."""
    if crl and not ca:
        raise ConfigError(crl_field, crl, f"needs {ca_field}", fault=fault)
