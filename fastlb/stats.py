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
    """A load balancer's or a listener's figures: Octavia's five first, then ours.

    bytes_in, bytes_out: from and to clients. active_connections, total_connections: of clients, now and ever.
    request_errors: requests that a client made wrong or broke off. requests: HTTP requests ever.
    own_answers: HTTP answers that the load balancer made itself; redirects: of these, those of L7 policies; refusals:
    of these, the errors by reason (`{"policy": 3, "no_member": 1}`; docs/limits.md lists the reasons), without those
    that did not occur. denied: connections refused by allowed_cidrs.
    responses_…: HTTP answers by status, the load balancer's own among them.
    """

    bytes_in: int
    bytes_out: int
    active_connections: int
    total_connections: int
    request_errors: int
    requests: int
    own_answers: int
    redirects: int
    denied: int
    responses_1xx: int
    responses_2xx: int
    responses_3xx: int
    responses_4xx: int
    responses_5xx: int
    responses_other: int
    refusals: dict[str, int] = field(default_factory=dict)

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
    """A member's figures.

    active: sessions now (HTTP: requests under way); sessions: ever. bytes_in, bytes_out: to and from the member.
    connections: open to it now, idle ones too; connects: tried ever; connect_errors: of these, failed.
    reuses: requests on a connection that was kept. retries: sessions that went on to another member after this one.
    response_errors: answers that were broken or did not come in time. responses_…: HTTP answers by status.
    client_aborts, member_aborts: sessions that the client, or the member, broke off.
    response_ns: nanoseconds from request to response head, summed over the responses.
    ejections: how often outlier detection took it out.
    """

    active: int
    sessions: int
    bytes_in: int
    bytes_out: int
    connects: int
    connect_errors: int
    reuses: int
    retries: int
    response_errors: int
    responses_1xx: int
    responses_2xx: int
    responses_3xx: int
    responses_4xx: int
    responses_5xx: int
    responses_other: int
    client_aborts: int
    member_aborts: int
    connections: int
    response_ns: int
    ejections: int


@dataclass(frozen=True, slots=True)
class PoolStats(MemberStats):
    """A pool's figures: the sums over its members, deleted ones too, and what is counted for the pool as a whole.

    waiting: sessions that wait now, because each member has its max_connections; queued: that ever had to;
    queue_timeouts: of these, those for whom no place came within timeout_queue.
    retries_refused: tries with another member that the retry budget did not allow.
    The others are a member's: see `MemberStats`.
    """

    waiting: int
    queued: int
    queue_timeouts: int
    retries_refused: int


@dataclass(frozen=True, slots=True)
class PersistenceStats(_Counters):
    """What a pool remembers of clients, for session persistence by SOURCE_IP and APP_COOKIE; all 0 without it.

    entries: clients now; limit: so many at the most, then a new one takes the place of one that was not seen for
    long; evicted: clients ever that were forgotten so. bytes: of memory.
    """

    entries: int
    limit: int
    bytes: int
    evicted: int


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
