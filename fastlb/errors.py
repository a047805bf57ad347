# SPDX-License-Identifier: Apache-2.0
"""What fastlb raises. `FastLBError` is the root; each message says which field, which value, what is allowed."""

import errno
from typing import Any


def shown(value: Any) -> str:
    """A value as it stands in a message: one line, cut when long."""
    text = repr(str(value)) if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


class FastLBError(Exception):
    """Root of everything fastlb raises on its own account."""

    status = 500
    """The HTTP status with which Octavia's API answers such a case."""

    def __init__(self, *args: object, fault: str | None = None) -> None:
        super().__init__(*args)
        self._fault = fault

    @property
    def fault(self) -> str:
        """The message in the words of Octavia's API (`faultstring`)."""
        return self._fault if self._fault is not None else str(self)


class ConfigError(FastLBError, ValueError):
    """A field, a value or a combination that is not allowed.

    field: the field's name, with its place in a document (`members[2].weight`).
    value: what was given.
    allowed: what is allowed, as the end of a sentence: "must be 0..256".
    fault: the same in Octavia's words, where its API has words of its own.
    """

    status = 400

    def __init__(self, field: str, value: Any, allowed: str, *, fault: str | None = None) -> None:
        super().__init__(field, value, allowed, fault=fault)
        self.field = field
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.field}={shown(self.value)}: {self.allowed}"

    @property
    def fault(self) -> str:
        return self._fault if self._fault is not None else f"Validation failure: {self}"

    def within(self, path: str) -> "ConfigError":
        """The same error, with the field's place in the document put before its name."""
        self.field = f"{path}{self.field}"
        return self


class MissingField(ConfigError):
    """A mandatory field was not given."""

    def __init__(self, field: str, *, fault: str | None = None) -> None:
        name = field.rpartition(".")[2]
        missing = f"Invalid input for field/attribute {name}. Value: 'None'. Mandatory field missing."
        super().__init__(field, None, "must be given", fault=fault or missing)
        # Pickle and copy rebuild an exception from its args.
        self.args = (field,)

    def __str__(self) -> str:
        return f"{self.field}: must be given"


class UnknownField(ConfigError):
    """A field that the object does not have, or one that the library fills in itself."""

    def __init__(self, field: str, allowed: str = "no such field") -> None:
        name = field.rpartition(".")[2]
        super().__init__(field, None, allowed, fault=f"Unknown attribute for argument <root>: {name}")
        self.args = (field, allowed)

    def __str__(self) -> str:
        return f"{self.field}: {self.allowed}"


class ConfigFileError(FastLBError, ValueError):
    """A configuration file that cannot be read, or something in it that is not allowed.

    path: the file, as it was given, with line and column where the format tells them. problem: the place in the
    document, the value, and what is allowed.
    """

    status = 400

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class NotFound(FastLBError, LookupError):
    """A name or an id that nothing has."""

    status = 404


class Conflict(FastLBError):
    """Something else already holds that place: a port, an address, the one health monitor."""

    status = 409


class NotSupported(FastLBError, NotImplementedError):
    """Octavia has it and this version of fastlb does not forward it yet, or its data plane does not have it either."""

    status = 501


class StateError(FastLBError, RuntimeError):
    """Not in this state: started twice, used after delete, used in a forked child."""

    status = 409


class WaitTimeout(FastLBError, TimeoutError):
    """`wait_for` did not see the wanted status in time."""


class StoreError(FastLBError):
    """The store cannot be opened, read or written. What a failing commit wanted is not there, also not in part.

    path: the file or directory. problem: what is wrong with it. remedy: what to do.
    """

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        super().__init__(path, problem, remedy)
        self.path = path
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.remedy}"

    @property
    def fault(self) -> str:
        # Where things are on this machine is no business of its clients.
        return "What was asked for could not be stored, and nothing was changed."


class CoreError(FastLBError):
    """The data plane could not do what was asked."""


HINTS = {
    errno.EACCES: "ports below 1024 need root, the capability CAP_NET_BIND_SERVICE (in a systemd unit: "
    "AmbientCapabilities=CAP_NET_BIND_SERVICE), or `sysctl net.ipv4.ip_unprivileged_port_start={port}`",
    errno.EADDRINUSE: "something else listens there; `ss -ltnp 'sport = :{port}'` shows what",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EAFNOSUPPORT: "this machine does not speak that address family",
    errno.EMFILE: "the process may open no more descriptors; raise `ulimit -n`",
}


class BindError(CoreError, OSError):
    """A listener's address cannot be bound; nothing of the load balancer is left open.

    address, port: where. errno, strerror: why.
    """

    status = 409

    def __init__(self, number: int, reason: str, address: str, port: int) -> None:
        super().__init__(number, reason)
        self.address = address
        self.port = port
        self.args = (number, reason, address, port)

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        hint = HINTS.get(self.errno or 0, "").format(port=self.port)
        text = f"cannot listen on {host}:{self.port}: {self.strerror}"
        return f"{text} ({hint})" if hint else text
