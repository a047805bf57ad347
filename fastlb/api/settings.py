# SPDX-License-Identifier: Apache-2.0
"""What `fastlb serve` runs with: the settings of its configuration file and of its command line, checked.

The file is TOML, JSON or YAML by its suffix, and each key is a field of `Settings`; a relative path in it counts from
the folder of the file.
"""

import ipaddress
import os
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, Self, cast

import msgspec

from fastlb import schema
from fastlb.config import read
from fastlb.errors import ConfigError, ConfigFileError
from fastlb.network.config import FloatingNetworkConfig, NetworkConfig, SubnetConfig, tables
from fastlb.schema import kinds
from fastlb.schema.field import Record, Rule, rules, unknown
from fastlb.schema.kinds import Check
from fastlb.store import default_directory

DEFAULT_PORT = 9876
"""Octavia's."""
AUTH = ("none", "tokens", "keystone")
LOG_LEVELS = ("debug", "info", "warning", "error")


class Bind(NamedTuple):
    """Where the API listens: an address with a port, or a Unix socket."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    path: str = ""

    @property
    def local(self) -> bool:
        """Can only this machine reach it?"""
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


BIND_FORMS = "must be ADDRESS:PORT such as 127.0.0.1:9876 or [::1]:9876, or unix:/path"
SOCKET_PATH_BYTES = 107
"""What the kernel has room for in a Unix socket's address."""


def address(field: str, value: Any, coerce: bool) -> Bind:
    """`127.0.0.1:9876`, `[::1]:9876`, `localhost:9876` or `unix:/path`."""
    if isinstance(value, Bind):
        return value
    if not isinstance(value, str):
        raise ConfigError(field, value, BIND_FORMS)
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise ConfigError(
                field, value, f"must be unix: and an absolute path of at most {SOCKET_PATH_BYTES} bytes"
            )
        return Bind(path=path)
    host, colon, port = value.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(field, value, BIND_FORMS)
    # The length first: int() refuses thousands of digits in its own way.
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ConfigError(field, value, BIND_FORMS)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(field, value, BIND_FORMS + "; names are not resolved") from None
    return Bind(host=str(address), port=int(port))


def one_of(*words: str) -> Check:
    def check(field: str, value: Any, coerce: bool) -> str:
        if value not in words:
            raise ConfigError(field, value, f"must be one of {', '.join(words)}")
        return str(value)

    return check


def path(field: str, value: Any, coerce: bool) -> pathlib.Path:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value) or "\0" in str(value):
        raise ConfigError(field, value, "must be a path")
    return pathlib.Path(value).expanduser()


def names(field: str, value: Any, coerce: bool) -> tuple[str, ...]:
    return tuple(word.lower() for word in kinds.each(kinds.text(255, 1), "names")(field, value, coerce))


def options(field: str, value: Any, coerce: bool) -> Mapping[str, Any]:
    """A table whose keys are somebody else's: names to plain values."""
    if not isinstance(value, Mapping) or any(isinstance(one, (Mapping, list)) for one in value.values()):
        raise ConfigError(field, "…", "must be a table of names and plain values")
    return MappingProxyType(dict(value))


def table(kind: type[Record]) -> Check:
    """A table of the file whose keys are the fields of `kind`."""

    def check(field: str, value: Any, coerce: bool) -> Any:
        if isinstance(value, kind):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(field, value, f"must be a table with {', '.join(rules(kind))}")
        return schema.create(kind, value, coerce=coerce, path=f"{field}.")

    return check


class Tls(Record, frozen=True, kw_only=True):
    """The API's certificate."""

    certificate: Annotated[pathlib.Path, Rule(path)]
    """PEM; the certificates between it and the root may follow it in the file."""
    key: Annotated[pathlib.Path, Rule(path)]
    """PEM, without a passphrase."""


class Limits(Record, frozen=True, kw_only=True):
    body_bytes: Annotated[int, Rule(kinds.integer(1024, 1 << 30))] = 16 << 20
    """Bytes of a request's body; more is answered with 413."""


def _quota() -> Any:
    return Rule(kinds.integer(-1, 2_000_000_000))


class QuotaDefaults(Record, frozen=True, kw_only=True):
    """How many objects a project may have unless its own quota says otherwise; -1: any number."""

    loadbalancer: Annotated[int, _quota()] = -1
    listener: Annotated[int, _quota()] = -1
    pool: Annotated[int, _quota()] = -1
    member: Annotated[int, _quota()] = -1
    healthmonitor: Annotated[int, _quota()] = -1
    l7policy: Annotated[int, _quota()] = -1
    l7rule: Annotated[int, _quota()] = -1


class Settings(Record, frozen=True, kw_only=True):
    bind: Annotated[Bind, Rule(address)] = Bind()
    """Where the API listens."""
    state: Annotated[pathlib.Path | None, Rule(path, null=None)] = None
    """The folder of the store and of the tokens; None: `default_state()`."""
    workers: Annotated[int | None, Rule(kinds.integer(1, 128), null=None)] = None
    """Threads that forward traffic; None: one for each CPU that may be used."""
    log_level: Annotated[str, Rule(one_of(*LOG_LEVELS))] = "info"
    auth: Annotated[str | None, Rule(one_of(*AUTH), null=None)] = None
    """Who may ask: everybody, who has a token, or whom Keystone knows. None: everybody where only this machine can
    reach the API, and else who has a token."""
    tokens: Annotated[pathlib.Path | None, Rule(path, null=None)] = None
    """The file of the tokens; None: `tokens.json` in `state`."""
    insecure_bind: Annotated[bool, Rule(kinds.boolean)] = False
    """May an address that others can reach be served without TLS?"""
    socket_mode: Annotated[str, Rule(kinds.pattern(4, "must be octal, such as 0660", "0?[0-7]{3}"))] = "0600"
    """Of a Unix socket: who may write to it may use the API."""
    allowed_hosts: Annotated[tuple[str, ...], Rule(names)] = ()
    """Names by which clients reach an API without authentication, beside localhost and addresses."""
    keystone: Annotated[Mapping[str, Any], Rule(options)] = MappingProxyType({})
    """How Keystone is asked: keystonemiddleware's options, of which auth_url, username, password, project_name,
    user_domain_name and project_domain_name are the usual ones."""
    tls: Annotated[Tls | None, Rule(table(Tls), null=None)] = None
    quotas: Annotated[QuotaDefaults, Rule(table(QuotaDefaults))] = QuotaDefaults()
    limits: Annotated[Limits, Rule(table(Limits))] = Limits()
    subnets: Annotated[tuple[SubnetConfig, ...], Rule(tables(SubnetConfig))] = ()
    """Where VIPs come from; none: a subnet in 127.0.0.0/8, which stands in for all that clients name."""
    floating_networks: Annotated[tuple[FloatingNetworkConfig, ...], Rule(tables(FloatingNetworkConfig))] = ()
    """Where floating IPs come from; none, nor subnets: one in 127.0.0.0/8 by the name of provider."""
    interface: Annotated[str | None, Rule(kinds.text(15, 1), null=None)] = None
    """The network interface that addresses are put on, and taken from; None: they are somebody else's business."""

    @property
    def state_folder(self) -> pathlib.Path:
        return default_state() if self.state is None else self.state

    @property
    def tokens_file(self) -> pathlib.Path:
        return self.state_folder / "tokens.json" if self.tokens is None else self.tokens

    @property
    def authentication(self) -> str:
        """`auth`, or what stands for it when it is not given."""
        return self.auth or ("none" if self.bind.local else "tokens")

    @property
    def network(self) -> NetworkConfig:
        """The subnets and floating networks, or the default ones."""
        return NetworkConfig.of(self.subnets, self.floating_networks)

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        if not self.bind.local:
            if self.authentication == "none":
                raise ConfigError(
                    "auth", "none", f"must be tokens or keystone where others can reach {self.bind}"
                )
            if self.tls is None and not self.insecure_bind:
                raise ConfigError(
                    "bind",
                    str(self.bind),
                    "can be reached by others and needs TLS: give tls.certificate and tls.key, or insecure_bind "
                    "where something else keeps tokens from being read on the way",
                )
        if (self.authentication == "keystone") != bool(self.keystone):
            raise ConfigError(
                "keystone",
                "…",
                "must be given, with auth_url and credentials, where auth is keystone, and only there",
            )
        if self.bind.path and self.tls is not None:
            raise ConfigError("tls", "…", "must be left out where bind is a Unix socket")
        _ = self.network  # which looks at subnets and floating networks together
        return self


def default_state() -> pathlib.Path:
    """systemd's `StateDirectory=`, else the store's own default."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return pathlib.Path(given) if given else default_directory()


def load(file: str | os.PathLike[str] | None, given: Mapping[str, Any]) -> Settings:
    """The settings of a file (None: no file), with those of `given` in their place.

    Raises ConfigFileError, which names the file, and ConfigError for what `given` holds.
    """
    written: dict[str, Any] = {}
    if file is not None:
        name = os.fspath(file)
        content = read(name)
        if not isinstance(content, dict):
            raise ConfigFileError(name, f"must be a table with any of {', '.join(rules(Settings))}")
        try:
            # First by itself, so that the message can name the file; what depends on other fields is looked at below.
            written = checked(content)
        except ConfigError as error:
            raise ConfigFileError(name, str(error)) from error
        written = cast(dict[str, Any], anchored(written, pathlib.Path(name).absolute().parent))
    try:
        return schema.create(Settings, {**written, **given})
    except ConfigError as error:
        if file is not None and error.field.partition(".")[0] not in given:
            raise ConfigFileError(os.fspath(file), str(error)) from error
        raise


def checked(content: Mapping[str, Any]) -> dict[str, Any]:
    """Each field by itself."""
    fields = rules(Settings)
    found: dict[str, Any] = {}
    for name, value in content.items():
        if name not in fields:
            raise unknown(Settings, name)
        if value is not None:
            found[name] = fields[name].check(name, value, False)
    return found


def anchored(value: Any, folder: pathlib.Path) -> Any:
    """The same with relative paths counted from `folder`."""
    if isinstance(value, pathlib.Path):
        return folder / value
    if isinstance(value, dict):
        return {name: anchored(one, folder) for name, one in value.items()}
    if isinstance(value, Record):
        return msgspec.structs.replace(
            value, **{name: anchored(getattr(value, name), folder) for name in value.__struct_fields__}
        )
    return value
