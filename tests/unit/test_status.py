# SPDX-License-Identifier: Apache-2.0
"""How operating statuses roll up: Octavia's tables, line by line, on the pure functions."""

import itertools

import pytest

from fastlb.status import (
    listener_status,
    load_balancer_status,
    member_status,
    pool_status,
    simple_status,
)
from fastlb.types import OperatingStatus


def member(**facts):
    known = dict(admin_up=True, weight=1, configured=True, monitored=True, up=True, was_unmonitored=False)
    return member_status(**known | facts)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, "ONLINE"),
        ({"up": False}, "ERROR"),
        ({"weight": 0}, "DRAINING"),
        ({"weight": 0, "up": False}, "ERROR"),
        ({"ejected": True}, "ERROR"),
        ({"ejected": True, "monitored": False}, "ERROR"),
        ({"ejected": True, "configured": False}, "OFFLINE"),
        ({"monitored": False}, "NO_MONITOR"),
        ({"monitored": False, "weight": 0}, "NO_MONITOR"),
        ({"monitored": False, "weight": 0, "datagram": True}, "DRAINING"),
        ({"monitored": False, "datagram": True}, "NO_MONITOR"),
        ({"configured": False, "monitored": False}, "OFFLINE"),
        ({"configured": False, "monitored": False, "was_unmonitored": True}, "NO_MONITOR"),
        ({"configured": False, "was_unmonitored": True, "up": False}, "NO_MONITOR"),
    ],
)
def test_member(facts, status):
    assert member(**facts) == status


@pytest.mark.parametrize(
    "facts",
    [{}, {"up": False}, {"weight": 0}, {"monitored": False}, {"configured": False}, {"ejected": True}],
)
def test_a_member_that_is_switched_off_is_offline_whatever_else(facts):
    assert member(admin_up=False, was_unmonitored=True, **facts) == "OFFLINE"


@pytest.mark.parametrize(
    ("members", "usable", "down", "status"),
    [
        (0, 0, 0, "ONLINE"),
        (2, 2, 0, "ONLINE"),
        (2, 1, 0, "ONLINE"),  # the other one drains, or is switched off
        (2, 1, 1, "DEGRADED"),
        (2, 0, 2, "ERROR"),
        (2, 0, 1, "ERROR"),  # one down, one drained or switched off
        (2, 0, 0, "ERROR"),  # all drained or switched off
        (1000, 1, 999, "DEGRADED"),
    ],
)
@pytest.mark.parametrize("monitored", [True, False])
def test_pool(members, usable, down, status, monitored):
    facts = dict(members=members, usable=usable, down=down, monitored=monitored)
    assert pool_status(configured=True, **facts) == status
    assert pool_status(configured=False, **facts) == "OFFLINE"


def test_a_datagram_pool_needs_a_monitor_to_be_in_error():
    facts = dict(configured=True, members=2, usable=0, down=0, datagram=True)
    assert pool_status(monitored=True, **facts) == "ERROR"
    assert pool_status(monitored=False, **facts) == "ONLINE"


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, "ONLINE"),
        ({"active": 9}, "ONLINE"),
        ({"active": 10}, "DEGRADED"),
        ({"active": 11}, "DEGRADED"),
        ({"active": 10, "datagram": True}, "ONLINE"),
        ({"bound": False}, "ERROR"),
        ({"bound": False, "admin_up": False}, "OFFLINE"),
        ({"admin_up": False}, "OFFLINE"),
        ({"running": False}, "OFFLINE"),
    ],
)
def test_listener(facts, status):
    known = dict(admin_up=True, running=True, bound=True, active=0, limit=10)
    assert listener_status(**known | facts) == status


@pytest.mark.parametrize(
    ("listeners", "pools", "status"),
    [
        ("", "", "ONLINE"),
        ("ONLINE", "", "ONLINE"),
        ("ONLINE", "ONLINE", "ONLINE"),
        ("DEGRADED", "ONLINE", "DEGRADED"),
        ("ONLINE", "DEGRADED", "DEGRADED"),
        ("ONLINE", "ERROR", "ERROR"),
        ("DEGRADED", "ERROR", "ERROR"),
        ("ERROR", "ONLINE", "ONLINE"),
        ("ERROR OFFLINE", "OFFLINE", "ONLINE"),
        ("ONLINE", "OFFLINE", "ONLINE"),
        ("DEGRADED ERROR", "DEGRADED", "DEGRADED"),
    ],
)
def test_load_balancer(listeners, pools, status):
    of = lambda words: [OperatingStatus(word) for word in words.split()]  # noqa: E731
    for some in itertools.permutations(of(listeners)):
        facts = dict(listeners=some, pools=of(pools))
        assert load_balancer_status(admin_up=True, running=True, **facts) == status
        assert load_balancer_status(admin_up=False, running=True, **facts) == "OFFLINE"
        assert load_balancer_status(admin_up=True, running=False, **facts) == "OFFLINE"


def test_error_wins_in_whatever_order_pools_are_met():
    pools = [OperatingStatus(word) for word in ("ERROR", "DEGRADED", "ONLINE", "OFFLINE")]
    for some in itertools.permutations(pools):
        assert load_balancer_status(admin_up=True, running=True, pools=some) == "ERROR"


@pytest.mark.parametrize(
    ("admin_up", "running", "status"),
    [(True, True, "ONLINE"), (False, True, "OFFLINE"), (True, False, "OFFLINE"), (False, False, "OFFLINE")],
)
def test_monitors_know_two_statuses(admin_up, running, status):
    assert simple_status(admin_up=admin_up, running=running) == status
