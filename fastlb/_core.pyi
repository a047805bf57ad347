# SPDX-License-Identifier: Apache-2.0
"""Contract of the native core. Every call releases the GIL while it works and returns once the data plane has the
change.

Addresses are literal IPv4 or IPv6 addresses. The core knows nothing of Octavia's documents and names: effective
values arrive (a timeout of 0 or a limit of -1 is already replaced). Failures are OSError (with errno) or
RuntimeError.
"""

from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

ALGORITHMS: dict[str, int]
PERSISTENCE: dict[str, int]
EVENT_MEMBER_UP: int
EVENT_MEMBER_DOWN: int
EVENT_MEMBER_EJECTED: int
EVENT_MEMBER_RETURNED: int

@final
class Core:
    """The threads: workers, and one that probes."""

    def __new__(cls, workers: int, cpus: list[int] | None = None) -> Self: ...
    @property
    def workers(self) -> int: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self, grace_s: float) -> int:
        """Accept no more, wait for sessions up to grace_s, cut the rest (how many is the answer), join the
        threads."""
    def wait_events(self, timeout_s: float) -> list[tuple[int, int, int, int]]:
        """(kind, object id, value, monotonic time in ns); empty on timeout or `wake`."""
    def abandon(self) -> None:
        """In a forked child, once: give the descriptors up. Nothing of this core may be used, or freed, after it."""
    def wake(self) -> None: ...
    def counters(self) -> dict[str, int]: ...

@final
class CorePool:
    def __new__(cls, core: Core, algorithm: int, admin_up: bool) -> Self: ...
    @property
    def id(self) -> int: ...
    def add_members(
        self, members: list[tuple[str, int, int, bool, bool, str | None, int | None, bytes, int]]
    ) -> list[CoreMember]:
        """(address, port, weight, backup, admin_up, monitor_address, monitor_port, uuid (16 bytes), max_connections (0:
        no limit)) each; one publication. The address may be `@name`, too: a Unix socket in the abstract namespace, of
        25 bytes at the most; the port then is ignored."""
    def remove_members(self, members: list[CoreMember]) -> None:
        """No new work for them; sessions under way finish."""
    def change_members(self, changes: list[tuple[CoreMember, int, bool, bool, int]]) -> None:
        """(member, weight, backup, admin_up, max_connections) each; one publication, or none."""
    def configure(self, conf: dict[str, Any]) -> None:
        """algorithm, admin_up, http, persistence (a key of PERSISTENCE), cookie_name, timeout_queue_ms, retry_on
        (connect-failure, reset, 502, 503, 504), retries, retry_budget_percent, retry_min, outlier_5xx,
        outlier_connect, ejection_percent, ejection_s, ejection_max_s, slow_start_s, panic_percent."""
    def renew(self) -> None:
        """Close idle connections to the members: the next requests go on fresh ones."""
    def set_monitor(self, monitor: dict[str, Any] | None) -> None:
        """type (HTTP, TCP, PING), delay_s, timeout_s, connect_timeout_s, rise, fall, method, url_path, http_version,
        domain_name, expected_codes (list of int)."""
    def stats(self) -> dict[str, int]: ...
    def waits(self) -> dict[str, int]:
        """Sessions that wait for a place at a member now (waiting), that ever had to (queued), for whom none came in
        time (queue_timeouts); tries that the retry budget did not allow (retries_refused)."""
    def persistence(self) -> dict[str, int]:
        """What is remembered of clients (SOURCE_IP, APP_COOKIE): entries now, bytes of memory, entries that were
        evicted for others since the pool was made, limit of entries; all 0 before such persistence was first on."""
    @property
    def panic(self) -> bool:
        """Fewer members than panic_percent are up, so all are used."""
    @property
    def panics(self) -> int:
        """How often that began."""
    def close(self) -> None: ...

@final
class CoreMember:
    @property
    def id(self) -> int: ...
    @property
    def up(self) -> bool: ...
    @property
    def checked(self) -> bool: ...
    @property
    def ejected(self) -> bool:
        """For what traffic showed (outlier_5xx, outlier_connect): it gets no new sessions for a time."""
    def expect_down(self) -> None:
        """Have it be down when it is probed next, until the first result. Before it is probed."""
    def update(self, weight: int, backup: bool, admin_up: bool, max_connections: int) -> None: ...
    def set_monitor_address(self, address: str | None, port: int | None) -> None: ...
    def stats(self) -> dict[str, int]: ...
    def probe(self) -> dict[str, int | bool] | None:
        """The last check: up, code, error (errno), status, duration_ns, passed, failed; None when it is not probed."""

@final
class CorePolicies:
    """The enabled policies of one listener, compiled; immutable."""

    def __new__(
        cls,
        core: Core,
        rows: list[tuple[str, int, str, CorePool | None, list[tuple[str, str, str, str, bool]]]],
        before: CorePolicies | None = None,
    ) -> Self:
        """In order of position: (action, code of a redirect, redirect_url or redirect_prefix, pool, rules) each; a
        rule is (type, compare_type, key, value, invert). before: the program that it follows, whose regular
        expressions need not be compiled again. ValueError: a regular expression that PCRE2 does not take;
        RuntimeError: there is no PCRE2, and a rule needs it."""

@final
class CoreListener:
    def __new__(cls, core: Core, http: bool, addresses: list[str], port: int) -> Self: ...
    @property
    def port(self) -> int: ...
    def configure(
        self,
        default_pool: CorePool | None,
        policies: CorePolicies | None,
        numbers: dict[str, int],
        allowed_cidrs: list[str],
        insert_headers: list[str],
    ) -> None:
        """numbers: timeout_client_data_ms, timeout_member_connect_ms, timeout_member_data_ms, timeout_head_ms,
        timeout_idle_ms, head_bytes, head_fields, target_bytes, body_rate_min, requests_max (both 0: no limit),
        pipeline_max, connection_limit; what is left out has its default."""
    def open(self, freebind: bool = False) -> int:
        """Bind and listen on all addresses, with freebind also on those that are not here; the port. OSError with the
        address's text as filename, nothing left open."""
    def add_address(self, address: str, freebind: bool = False) -> None:
        """Listen on one more address. OSError as from open; then nothing has changed."""
    def retire_address(self, address: str) -> None:
        """No new handshake at this address's sockets; those that have begun are finished and accepted, until
        `release`."""
    def renew(self, freebind: bool = False) -> None:
        """Listen on every address with new sockets, which get the new connections, and retire those there were. OSError
        as from open: an address then has its new sockets or goes on with the old ones, whichever it was at."""
    @property
    def bound(self) -> list[str]:
        """The addresses it listens on."""
    @property
    def retiring(self) -> bool:
        """Are there retired sockets?"""
    def queued(self) -> int:
        """How many connections wait to be accepted from retired sockets."""
    def release(self) -> None:
        """Close the retired sockets. Who waits there is let in, also beyond connection_limit; who is in the middle of a
        handshake is refused."""
    def close(self) -> None:
        """Accept no more (the port is free on return); sessions under way finish, idle ones close."""
    def cut(self) -> int:
        """End its sessions at once; how many there were."""
    def stats(self) -> dict[str, int]: ...
    def refusals(self) -> dict[str, int]:
        """Errors that were answered, by reason; reasons without any are left out."""

def explain(listener: CoreListener, request: bytes, client: str, port: int) -> dict[str, Any]:
    """What the listener would do with this request head: status, reason, policies, policy, pool, stick,
    stick_usable, choice, members, sent. The core need not run."""

def schedule(
    algorithm: int,
    weights: Sequence[int],
    picks: int,
    clients: NDArray[np.uint64] | None,
    hold: int,
    seed: int,
) -> NDArray[np.uint32]: ...
def regex_error(pattern: str) -> str | None:
    """Why PCRE2 does not take this regular expression: its words, and the offset in bytes. None: it does.
    RuntimeError: there is no PCRE2."""

def about() -> dict[str, str]:
    """Versions of what the core was built with."""

# What Cython leaves in a module.
__test__: dict[str, Any]

def __reduce_cython__(self: object) -> object: ...
def __setstate_cython__(self: object, __pyx_state: object) -> object: ...
