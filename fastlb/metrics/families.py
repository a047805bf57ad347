# SPDX-License-Identifier: Apache-2.0
"""The metrics: each family's name, what it says, and how it follows from the facts that reading.py collects.

Names, types and labels are those of Octavia's PROMETHEUS listeners. A name that ends in `_total` is a counter, every
other a gauge.
"""

import math
import os
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from fastlb import support
from fastlb.stats import Stats
from fastlb.types import Protocol

CODES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
UP_DOWN = ("DOWN", "UP")
MEMBER_STATES = ("DOWN", "UP", "MAINT", "DRAIN", "NOLB")


class LoadBalancerFacts(NamedTuple):
    stats: Stats
    limit: int
    """Client connections that its enabled listeners may have."""
    listeners: int
    """Listening sockets: open listeners, times addresses."""


class ListenerFacts(NamedTuple):
    http: bool
    state: str
    limit: int
    stats: Stats
    intercepted: int


class PoolFacts(NamedTuple):
    http: bool
    state: str
    active: int
    backup: int
    figures: Mapping[str, int]


class MemberFacts(NamedTuple):
    http: bool
    state: str
    weight: int
    limit: float
    throttle: float | None
    figures: Mapping[str, int]


Number = int | float
Value = Number | dict[str, Number] | None
Row = tuple[str, str, Callable[[Any], Value]]


class Family(NamedTuple):
    """value: of the facts; a dict has a value for each value of `label`; None: nothing is said. http: only of what
    is read as HTTP."""

    name: str
    about: str
    value: Callable[[Any], Value]
    label: str = ""
    http: bool = False

    @property
    def counter(self) -> bool:
        return self.name.endswith("_total")


def zero(facts: object) -> Value:
    """There is no such limit, or no such thing is done; Octavia's haproxy says the same."""
    return 0


def no_limit(facts: object) -> Value:
    return math.nan


def without_tls(facts: object) -> Value:
    """True as long as no TLS is ended here; afterwards it has to be counted."""
    return 0 if Protocol.TERMINATED_HTTPS not in support.LISTENERS else None


def cpu(facts: object) -> Value:
    return round(os.getloadavg()[0] / (os.cpu_count() or 1) * 100, 1)


def memory(facts: object) -> Value:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return round((1 - found["MemAvailable"] / found["MemTotal"]) * 100, 1)
    except (OSError, KeyError):
        return None


def state(*states: str) -> Callable[[Any], Value]:
    rows: dict[str, dict[str, Number]] = {one: {each: int(one == each) for each in states} for one in states}
    return lambda facts: rows[facts.state]


def figure(name: str) -> Callable[[Any], Value]:
    return lambda facts: facts.figures[name]


def stat(name: str) -> Callable[[Any], Value]:
    return attrgetter(f"stats.{name}")


def denied(facts: ListenerFacts) -> Value:
    return facts.stats.refusals.get("policy", 0)


def codes_of_stats(facts: ListenerFacts) -> Value:
    return {code: getattr(facts.stats, f"responses_{code}") for code in CODES}


def codes_of_figures(facts: PoolFacts | MemberFacts) -> Value:
    return {code: facts.figures[f"responses_{code}"] for code in CODES}


def idle(facts: MemberFacts) -> Value:
    return max(0, facts.figures["connections"] - facts.figures["active"])


def _of(what: str, *rows: Row, label: str = "", http: bool = False) -> tuple[Family, ...]:
    return tuple(Family(f"octavia_{what}_{name}", about, value, label, http) for name, about, value in rows)


LOAD_BALANCER = _of(
    "loadbalancer",
    ("cpu", "Load average of the last minute, in percent of the CPUs.", cpu),
    ("memory", "Memory of the machine that is in use, in percent.", memory),
    ("max_connections", "Client connections that all listeners may have at once.", attrgetter("limit")),
    ("current_connections", "Client connections now.", stat("active_connections")),
    ("connections_total", "Client connections.", stat("total_connections")),
    ("requests_total", "HTTP requests.", stat("requests")),
    ("max_ssl_connections", "Limit of TLS connections; 0: none.", zero),
    ("current_ssl_connections", "TLS connections now.", without_tls),
    ("ssl_connections_total", "TLS connections of clients and to members.", without_tls),
    ("limit_connection_rate", "Limit of connections a second; 0: none.", zero),
    ("limit_session_rate", "Limit of sessions a second; 0: none.", zero),
    ("current_ssl_rate", "TLS sessions in the last second.", without_tls),
    ("limit_ssl_rate", "Limit of TLS sessions a second; 0: none.", zero),
    ("max_ssl_rate", "Most TLS sessions in one second.", without_tls),
    ("current_frontend_ssl_key_rate", "Full handshakes with clients in the last second.", without_tls),
    ("max_frontend_ssl_key_rate", "Most full handshakes with clients in one second.", without_tls),
    ("frontend_ssl_reuse", "TLS sessions of clients that were resumed, in percent.", without_tls),
    ("current_backend_ssl_key_rate", "Full handshakes with members in the last second.", without_tls),
    ("max_backend_ssl_key_rate", "Most full handshakes with members in one second.", without_tls),
    ("ssl_cache_lookups_total", "Look-ups in the cache of TLS sessions.", without_tls),
    ("ssl_cache_misses_total", "Look-ups in the cache of TLS sessions that found none.", without_tls),
    ("http_comp_bytes_in_total", "Bytes into the compressor.", zero),
    ("http_comp_bytes_out_total", "Bytes out of the compressor.", zero),
    ("limit_http_comp", "Limit of bytes a second into the compressor; 0: none.", zero),
    ("listeners", "Listening sockets: one for each listener and address.", attrgetter("listeners")),
)

# What HAProxy can do and Octavia does not use.
_CACHE_AND_COMPRESSION: tuple[Row, ...] = (
    ("http_cache_lookups_total", "Look-ups in the cache.", zero),
    ("http_cache_hits_total", "Look-ups in the cache that found an answer.", zero),
    ("http_comp_bytes_in_total", "Bytes into the compressor.", zero),
    ("http_comp_bytes_out_total", "Bytes out of the compressor.", zero),
    ("http_comp_bytes_bypassed_total", "Bytes past the compressor.", zero),
    ("http_comp_responses_total", "Compressed responses.", zero),
)
_RESPONSES_DENIED: Row = ("responses_denied_total", "Responses refused.", zero)
# There is room for every field that the listener adds.
_REWRITING_FAILED: Row = ("failed_header_rewriting_total", "Header fields that found no room.", zero)

LISTENER = (
    *_of("listener", ("status", "1 for the present state.", state(*UP_DOWN)), label="state"),
    *_of(
        "listener",
        ("current_sessions", "Client connections now.", stat("active_connections")),
        ("limit_sessions", "Client connections that it may have at once.", attrgetter("limit")),
        ("sessions_total", "Client connections.", stat("total_connections")),
        ("limit_session_rate", "Limit of sessions a second; 0: none.", zero),
        ("connections_total", "Client connections.", stat("total_connections")),
        ("bytes_in_total", "Bytes from clients.", stat("bytes_in")),
        ("bytes_out_total", "Bytes to clients.", stat("bytes_out")),
        ("requests_denied_total", "Requests that an L7 policy refused.", denied),
        _RESPONSES_DENIED,
        ("request_errors_total", "Requests that a client made wrong or broke off.", stat("request_errors")),
        ("denied_connections_total", "Connections refused by allowed_cidrs.", stat("denied")),
        ("denied_sessions_total", "Sessions refused.", zero),
        _REWRITING_FAILED,
    ),
    *_of(
        "listener",
        ("http_responses_total", "HTTP responses by class of status.", codes_of_stats),
        label="code",
        http=True,
    ),
    *_of(
        "listener",
        ("http_requests_total", "HTTP requests.", stat("requests")),
        (
            "intercepted_requests_total",
            "Requests that the load balancer answered itself: redirects, metrics.",
            attrgetter("intercepted"),
        ),
        *_CACHE_AND_COMPRESSION,
        http=True,
    ),
)

# Those that a pool and its members share.
_SESSIONS: tuple[Row, ...] = (
    ("current_sessions", "Sessions now; HTTP: requests under way.", figure("active")),
    ("sessions_total", "Sessions; HTTP: requests.", figure("sessions")),
    ("bytes_in_total", "Bytes from clients.", figure("bytes_in")),
    ("bytes_out_total", "Bytes to clients.", figure("bytes_out")),
    _RESPONSES_DENIED,
    _REWRITING_FAILED,
    ("connection_attempts_total", "Connections tried to members.", figure("connects")),
    ("connection_reuses_total", "Requests on a connection that was kept.", figure("reuses")),
    ("connection_errors_total", "Connections to members that failed.", figure("connect_errors")),
    ("response_errors_total", "Responses broken, or not in time.", figure("response_errors")),
    ("retry_warnings_total", "Sessions that went on to another member.", figure("retries")),
    ("client_aborts_total", "Transfers that the client broke off.", figure("client_aborts")),
)
_RESPONSES: Row = (
    "http_responses_total",
    "HTTP responses of members by class of status.",
    codes_of_figures,
)

POOL = (
    *_of("pool", ("status", "1 for the present state.", state(*UP_DOWN)), label="state"),
    *_of(
        "pool",
        *_SESSIONS,
        ("requests_denied_total", "Requests refused.", zero),
        ("current_queue", "Sessions that wait for a place at a member.", figure("waiting")),
        ("member_aborts_total", "Transfers that a member broke off.", figure("member_aborts")),
        ("active_members", "Members that may be used, without the backups.", attrgetter("active")),
        ("backup_members", "Backups that may be used.", attrgetter("backup")),
    ),
    *_of("pool", _RESPONSES, label="code", http=True),
    *_of(
        "pool",
        ("http_requests_total", "HTTP requests given to members.", figure("sessions")),
        *_CACHE_AND_COMPRESSION,
        http=True,
    ),
)

MEMBER = (
    *_of("member", ("status", "1 for the present state.", state(*MEMBER_STATES)), label="state"),
    *_of(
        "member",
        *_SESSIONS,
        ("limit_sessions", "Sessions that it may have at once; NaN: any number.", attrgetter("limit")),
        # Who has to wait waits for any member of the pool.
        ("current_queue", "Sessions that wait for this member.", zero),
        ("max_queue", "Most sessions that ever waited for this member.", zero),
        ("queue_limit", "Sessions that may wait for this member; NaN: any number.", no_limit),
        ("server_aborts_total", "Transfers that the member broke off.", figure("member_aborts")),
        ("weight", "Its share among the members.", attrgetter("weight")),
        ("current_throttle", "Slow start, in percent; NaN: none.", attrgetter("throttle")),
        ("idle_connections_current", "Connections to it that are kept for reuse.", idle),
    ),
    *_of("member", _RESPONSES, label="code", http=True),
)

_PAIR = ("pool", "member")
MISSING = frozenset(
    (
        "octavia_memory_pool_failures_total",
        "octavia_memory_pool_allocated_bytes",
        "octavia_memory_pool_used_bytes",
        "octavia_loadbalancer_dropped_logs_total",
        *(
            f"octavia_loadbalancer_{which}_{what}_rate"
            for which in ("current", "max")
            for what in ("connection", "session")
        ),
        *(
            f"octavia_listener_{name}"
            for name in (
                "max_sessions",
                "max_session_rate",
                "connections_rate_max",
                "http_requests_rate_max",
            )
        ),
        "octavia_pool_limit_sessions",
        "octavia_pool_max_queue",
        "octavia_member_check_failures_total",
        "octavia_member_idle_connections_limit",
        *(
            f"octavia_{of}_{name}"
            for of in _PAIR
            for name in (
                "max_sessions",
                "max_session_rate",
                "last_session_seconds",
                "redispatch_warnings_total",
                "check_up_down_total",
                "check_last_change_seconds",
                "downtime_seconds_total",
                "loadbalanced_total",
                *(
                    name
                    for what in ("queue", "connect", "response", "total")
                    for name in (f"{what}_time_average_seconds", f"max_{what}_time_seconds")
                ),
            )
        ),
    )
)
"""Octavia's metrics that nothing is counted for here yet: left out, so that nobody takes a 0 for a measurement."""
