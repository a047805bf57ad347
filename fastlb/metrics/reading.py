# SPDX-License-Identifier: Apache-2.0
"""What a load balancer's metrics are made of, read so that nobody waits long for its lock.

Figures and what keeps them (an object's past, the core's counters) change places when a member is deleted or a load
balancer is stopped: read without the lock, a counter might be seen without its past, and Prometheus would take that for
a restart. So each object is read under the lock, and of many members some at a time.
"""

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from fastlb.metrics.families import ListenerFacts, LoadBalancerFacts, MemberFacts, PoolFacts
from fastlb.stats import Stats
from fastlb.types import Protocol

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer
    from fastlb.listener import Listener
    from fastlb.member import Member
    from fastlb.pool import Pool

MEMBERS_AT_ONCE = 200
"""They take less than a millisecond."""
PAUSE_S = 50e-6
"""A lock is not handed on: whoever waits for it has to wake up before we want it again."""

Labels = dict[str, str]


class Reading(NamedTuple):
    load_balancer: LoadBalancerFacts
    listeners: list[tuple[Labels, ListenerFacts]]
    pools: list[tuple[Labels, PoolFacts]]
    members: list[tuple[Labels, MemberFacts]]


def read(balancer: "LoadBalancer") -> Reading | None:
    """Its facts now; None: it was deleted. Objects that are switched off, or that no listener uses, are left out."""
    with balancer._lock:
        if balancer._deleted:
            return None
        enabled = [one for one in balancer.listeners if one._spec.admin_state_up and balancer._serving()]
        opened = sum(listener._core is not None for listener in enabled)
        reading = Reading(
            LoadBalancerFacts(
                balancer.stats, sum(one._spec.limit for one in enabled), opened * len(balancer.vips)
            ),
            [({"listener": one.id}, _listener(one)) for one in enabled],
            [],
            [],
        )
        users: dict[Pool, list[tuple[str, bool]]] = {}
        for listener in enabled:
            for pool in listener._pools_in_use():
                if pool._spec.admin_state_up:
                    users.setdefault(pool, []).append((listener.id, listener._spec.http))
    for pool, listeners in users.items():
        members = list(_members(pool))
        facts = _pool(pool, members)
        # The pool's own, whichever listener the client came by: it counts them all together.
        for listener_id, http in listeners:
            name = f"{pool.id}:{listener_id}"
            reading.pools.append(({"pool": name}, facts._replace(http=http)))
            reading.members.extend(
                ({"pool": name, "member": member.id}, one if one.http == http else one._replace(http=http))
                for member, one in members
            )
    return reading


def _listener(listener: "Listener") -> ListenerFacts:
    spec, stats = listener._spec, Stats.of(listener._figures())
    intercepted = stats.redirects
    if spec.protocol is Protocol.PROMETHEUS:
        # All answers are ours; those that count as such are errors.
        intercepted = (
            sum(stats.to_dict()[f"responses_{family}xx"] for family in range(1, 6)) - stats.own_answers
        )
    return ListenerFacts(
        http=spec.http,
        state="DOWN" if listener._core is None else "UP",
        limit=spec.limit,
        stats=stats,
        intercepted=intercepted,
    )


def _members(pool: "Pool") -> Iterator[tuple["Member", MemberFacts]]:
    lock = pool._balancer._lock
    members = pool.members
    for start in range(0, len(members), MEMBERS_AT_ONCE):
        if start:
            time.sleep(PAUSE_S)
        with lock:
            monitored = pool._monitored()
            throttle = None if pool._spec.slow_start else math.nan
            rows = [
                (member, _member(member, monitored, throttle))
                for member in members[start : start + MEMBERS_AT_ONCE]
                if not member._deleted
            ]
        yield from rows


def _member(member: "Member", monitored: bool, throttle: float | None) -> MemberFacts:
    spec, core = member._spec, member._core
    if not spec.admin_state_up:
        state = "MAINT"
    elif (monitored and not member._up()) or member.ejected:
        state = "DOWN"
    else:
        state = "UP"
    return MemberFacts(
        http=True,
        state=state,
        weight=spec.share,
        limit=spec.max_connections or math.nan,
        throttle=throttle,
        figures=member._figures() if core is None or member._past else core.stats(),
    )


def _pool(pool: "Pool", members: list[tuple["Member", Any]]) -> PoolFacts:
    usable = [member._spec.backup for member, one in members if one.state == "UP" and one.weight]
    with pool._balancer._lock:
        figures = pool._figures()
    return PoolFacts(
        http=True,
        # HAProxy's: a pool without members is not down.
        state="UP" if usable or not members else "DOWN",
        active=usable.count(False),
        backup=usable.count(True),
        figures=figures,
    )
