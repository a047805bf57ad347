# SPDX-License-Identifier: Apache-2.0
"""Counters, as dataclasses. Each is read when asked for and summed over the workers.

Counters belong to the object and go on through every change: closing a listener and opening it again, or stopping and
starting a load balancer, does not set them back.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from fastlb import _core


@dataclass(frozen=True, slots=True)
class _Counters:
    @classmethod
    def of(cls, figures: "Counter[str]") -> Self:
        return cls(**{one.name: figures[_CORE_NAMES.get(one.name, one.name)] for one in fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True, slots=True)
class Stats(_Counters):
    """A load balancer's or a listener's figures: Octavia's five first, then ours."""

    bytes_in: int
    """From clients."""
    bytes_out: int
    """To clients."""
    active_connections: int
    """Client connections open now."""
    total_connections: int
    """Client connections ever."""
    request_errors: int
    """Requests that a client made wrong or broke off."""
    requests: int
    """HTTP requests ever."""
    own_answers: int
    """HTTP answers that the load balancer made itself."""
    redirects: int
    """Of these, redirects of L7 policies."""
    denied: int
    """Connections refused by allowed_cidrs."""
    responses_1xx: int
    responses_2xx: int
    responses_3xx: int
    responses_4xx: int
    responses_5xx: int
    responses_other: int
    refusals: dict[str, int] = field(default_factory=dict)
    """Of `own_answers`, the errors by reason (`no_member`, `head_timeout`, `policy`, …); reasons that did not occur are
    left out."""

    @classmethod
    def of(cls, figures: "Counter[str]") -> Self:
        numbers = {
            one.name: figures[_CORE_NAMES.get(one.name, one.name)]
            for one in fields(cls)
            if one.name != "refusals"
        }
        refusals = {
            name.removeprefix(_REFUSED): count for name, count in figures.items() if name.startswith(_REFUSED)
        }
        return cls(**numbers, refusals=refusals)

    def octavia(self) -> dict[str, int]:
        """The five figures of Octavia's API."""
        return {name: getattr(self, name) for name in OCTAVIA}


@dataclass(frozen=True, slots=True)
class MemberStats(_Counters):
    """A member's figures."""

    active: int
    """Sessions now (HTTP: requests under way)."""
    sessions: int
    """Sessions ever."""
    bytes_in: int
    """To the member."""
    bytes_out: int
    """From the member."""
    connects: int
    """Connections tried."""
    connect_errors: int
    reuses: int
    """Requests on a connection that was kept."""
    retries: int
    """Sessions that went on to another member after this one."""
    response_errors: int
    responses_1xx: int
    responses_2xx: int
    responses_3xx: int
    responses_4xx: int
    responses_5xx: int
    responses_other: int
    client_aborts: int
    """Sessions that the client broke off."""
    member_aborts: int
    """Sessions that the member broke off."""
    connections: int
    """Connections to it now, idle ones too."""
    response_ns: int
    """Nanoseconds from request to response head, summed over the responses."""
    ejections: int
    """How often outlier detection took it out."""


@dataclass(frozen=True, slots=True)
class PoolStats(MemberStats):
    """A pool's figures: the sums over its members, deleted ones too, and what is counted for the pool as a whole."""

    waiting: int
    """Sessions that wait now, because each member has its max_connections."""
    queued: int
    """Sessions that ever had to."""
    queue_timeouts: int
    """Of these, those for whom no place came within timeout_queue."""
    retries_refused: int
    """Tries with another member that the retry budget did not allow."""


@dataclass(frozen=True, slots=True)
class PersistenceStats(_Counters):
    """What a pool remembers of clients, for session persistence by SOURCE_IP and APP_COOKIE; all 0 without it."""

    entries: int
    """Clients now."""
    limit: int
    """So many at the most: then a new one takes the place of one that was not seen for long."""
    bytes: int
    """Of memory."""
    evicted: int
    """Clients ever that were forgotten for others."""


OCTAVIA = ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors")

_CORE_NAMES = {"active_connections": "active", "total_connections": "connections"}
_REFUSED = "refused "


def of_listener(core: "_core.CoreListener") -> dict[str, int]:
    """A listener's figures and, under names of their own, its refusals by reason."""
    return core.stats() | {_REFUSED + reason: count for reason, count in core.refusals().items()}


def total(parts: Iterable[dict[str, int]]) -> "Counter[str]":
    """The sum of the core's figures, by name."""
    figures: Counter[str] = Counter()
    for part in parts:
        figures.update(part)
    return figures


def lasting(figures: dict[str, int], gauges: frozenset[str]) -> dict[str, int]:
    """What remains of an object's figures when the core has let it go: the counters, without the gauges."""
    return {name: value for name, value in figures.items() if name not in gauges}


LISTENER_GAUGES = frozenset({"active"})
MEMBER_GAUGES = frozenset({"active", "connections"})
POOL_GAUGES = frozenset({"waiting"})
