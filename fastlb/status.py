# SPDX-License-Identifier: Apache-2.0
"""How operating statuses follow from facts, from member to load balancer. Pure functions: no objects, no core.

Configured: the data plane carries the pool, because it is enabled and an enabled listener of an enabled load balancer
uses it. Monitored: it is configured and has an enabled health monitor. Usable: enabled, weight above 0, not known
to be down nor ejected; backups count.
"""

from collections.abc import Iterable

from fastlb.types import OperatingStatus

_S = OperatingStatus


def member_status(
    *,
    admin_up: bool,
    weight: int,
    configured: bool,
    monitored: bool,
    up: bool,
    was_unmonitored: bool,
    ejected: bool = False,
    datagram: bool = False,
) -> OperatingStatus:
    """A member's status.

    up: what the probes say; True before the first. was_unmonitored: its last status in the data plane was NO_MONITOR.
    ejected: by outlier detection, which makes it ERROR with a health monitor or without one: what it did to clients
    is as good as a failed probe.
    """
    if not admin_up:
        return _S.OFFLINE
    if not configured:
        return _S.NO_MONITOR if was_unmonitored else _S.OFFLINE
    if ejected:
        return _S.ERROR
    if not monitored:
        # LVS knows a weight of 0 as draining even without a check.
        return _S.DRAINING if datagram and weight == 0 else _S.NO_MONITOR
    if not up:
        return _S.ERROR
    return _S.DRAINING if weight == 0 else _S.ONLINE


def pool_status(
    *, configured: bool, members: int, usable: int, down: int, monitored: bool, datagram: bool = False
) -> OperatingStatus:
    """A pool's status from how many members it has, may use, and knows to be down (backups too) by its probes or by
    what they did to clients. A panic does not matter: it changes who is used, not how they are."""
    if not configured:
        return _S.OFFLINE
    if members == 0:
        return _S.ONLINE
    if usable == 0:
        return _S.ONLINE if datagram and not monitored else _S.ERROR
    return _S.DEGRADED if down else _S.ONLINE


def listener_status(
    *, admin_up: bool, running: bool, bound: bool, active: int, limit: int, datagram: bool = False
) -> OperatingStatus:
    """A listener's status. admin_up: of it and of its load balancer. Pools and members do not count."""
    if not admin_up or not running:
        return _S.OFFLINE
    if not bound:
        return _S.ERROR
    return _S.DEGRADED if active >= limit and not datagram else _S.ONLINE


def load_balancer_status(
    *,
    admin_up: bool,
    running: bool,
    listeners: Iterable[OperatingStatus] = (),
    pools: Iterable[OperatingStatus] = (),
) -> OperatingStatus:
    """A load balancer's status from those of its listeners and pools; without any listener it is ONLINE."""
    if not admin_up or not running:
        return _S.OFFLINE
    status = _S.ONLINE
    for pool in pools:
        if pool is _S.ERROR:
            return _S.ERROR
        if pool is _S.DEGRADED:
            status = _S.DEGRADED
    # A listener in ERROR does not count; a full one does.
    if any(listener is _S.DEGRADED for listener in listeners):
        status = _S.DEGRADED
    return status


def simple_status(*, admin_up: bool, running: bool) -> OperatingStatus:
    """What health monitors and L7 objects show: ONLINE when in force."""
    return _S.ONLINE if admin_up and running else _S.OFFLINE
