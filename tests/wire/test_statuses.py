# SPDX-License-Identifier: Apache-2.0
"""Statuses from real probes: how a member's fall and return roll up to the load balancer."""

import socket

import pytest

import fastlb
from fastlb.testing import eventually

MONITOR = {"type": "TCP", "delay": 0.02, "timeout": 1, "max_retries": 1, "max_retries_down": 1}
PATIENCE_S = 10


def statuses(balancer):
    return (
        str(balancer.lb.operating_status),
        str(balancer.listener.operating_status),
        str(balancer.pool.operating_status),
        *(str(member.operating_status) for member in balancer.members),
    )


def becomes(balancer, *expected):
    eventually(lambda: statuses(balancer) == expected, PATIENCE_S, what=f"{expected}")


def test_members_without_a_monitor(balance, member):
    balancer = balance(member(), member())
    assert statuses(balancer) == ("ONLINE", "ONLINE", "ONLINE", "NO_MONITOR", "NO_MONITOR")
    balancer.members[0].weight = 0
    assert statuses(balancer) == ("ONLINE", "ONLINE", "ONLINE", "NO_MONITOR", "NO_MONITOR")
    balancer.members[1].admin_state_up = False
    assert statuses(balancer) == ("ERROR", "ONLINE", "ERROR", "NO_MONITOR", "OFFLINE")
    balancer.members[0].weight = 1
    assert statuses(balancer) == ("ONLINE", "ONLINE", "ONLINE", "NO_MONITOR", "OFFLINE")
    for one in balancer.members:
        one.delete()
    assert statuses(balancer)[:3] == ("ONLINE", "ONLINE", "ONLINE")


def test_one_member_falls_then_the_other_then_both_return(balance, member):
    one, two = member(), member()
    balancer = balance(one, two, monitor=MONITOR)
    becomes(balancer, "ONLINE", "ONLINE", "ONLINE", "ONLINE", "ONLINE")
    one.refuse()
    becomes(balancer, "DEGRADED", "ONLINE", "DEGRADED", "ERROR", "ONLINE")
    two.refuse()
    becomes(balancer, "ERROR", "ONLINE", "ERROR", "ERROR", "ERROR")
    one.resume()
    becomes(balancer, "DEGRADED", "ONLINE", "DEGRADED", "ONLINE", "ERROR")
    two.resume()
    becomes(balancer, "ONLINE", "ONLINE", "ONLINE", "ONLINE", "ONLINE")


def test_a_drained_member_reads_draining_while_up_and_error_while_down(balance, member):
    one = member()
    balancer = balance(one, member(), monitor=MONITOR)
    balancer.members[0].weight = 0
    becomes(balancer, "ONLINE", "ONLINE", "ONLINE", "DRAINING", "ONLINE")
    one.refuse()
    becomes(balancer, "DEGRADED", "ONLINE", "DEGRADED", "ERROR", "ONLINE")


def test_a_backup_carries_on_degraded(balance, member):
    one = member()
    balancer = balance(one, member(), options=[{}, {"backup": True}], monitor=MONITOR)
    one.refuse()
    becomes(balancer, "DEGRADED", "ONLINE", "DEGRADED", "ERROR", "ONLINE")
    assert balancer.client.get().status == 200


def test_a_monitor_switched_off_or_deleted_leaves_no_monitor(balance, member):
    one = member()
    balancer = balance(one, monitor=MONITOR)
    monitor = balancer.pool.health_monitor
    one.refuse()
    becomes(balancer, "ERROR", "ONLINE", "ERROR", "ERROR")
    monitor.admin_state_up = False
    assert statuses(balancer) == ("ONLINE", "ONLINE", "ONLINE", "NO_MONITOR")
    assert monitor.operating_status == "OFFLINE"
    monitor.admin_state_up = True
    becomes(balancer, "ERROR", "ONLINE", "ERROR", "ERROR")
    assert monitor.operating_status == "ONLINE"
    monitor.delete()
    assert statuses(balancer) == ("ONLINE", "ONLINE", "ONLINE", "NO_MONITOR")


def test_before_the_first_check_a_member_is_online_and_unchecked(balance):
    # A listening socket that nobody accepts from: the connect succeeds, and no HTTP answer comes.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        balancer = balance()
        balancer.pool.create_health_monitor(type="HTTP", delay=60, timeout=60, max_retries=1)
        one = balancer.pool.create_member(*silent.getsockname())
        assert one.operating_status == "ONLINE"
        assert not one.checked


@pytest.mark.parametrize("what", ["lb", "listener", "pool", "detach", "stop"])
def test_what_leaves_the_data_plane_is_offline(balance, member, what):
    one = member()
    balancer = balance(one, monitor=MONITOR)
    becomes(balancer, "ONLINE", "ONLINE", "ONLINE", "ONLINE")
    if what == "detach":
        balancer.listener.default_pool = None
        assert statuses(balancer) == ("ONLINE", "ONLINE", "OFFLINE", "OFFLINE")
        balancer.listener.default_pool = balancer.pool
    elif what == "stop":
        balancer.lb.stop(0)
        assert statuses(balancer) == ("OFFLINE", "OFFLINE", "OFFLINE", "OFFLINE")
        balancer.lb.start()
    else:
        thing = getattr(balancer, what)
        thing.admin_state_up = False
        assert (
            statuses(balancer)
            == {
                "lb": ("OFFLINE", "OFFLINE", "OFFLINE", "OFFLINE"),
                "listener": ("ONLINE", "OFFLINE", "OFFLINE", "OFFLINE"),
                "pool": ("ONLINE", "ONLINE", "OFFLINE", "OFFLINE"),
            }[what]
        )
        thing.admin_state_up = True
    becomes(balancer, "ONLINE", "ONLINE", "ONLINE", "ONLINE")


def test_a_pool_that_is_not_in_use_is_not_probed(balance, member):
    balancer = balance()
    idle = member()
    pool = balancer.lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    one = pool.create_member(idle.address, idle.port)
    pool.create_health_monitor(**MONITOR)
    balancer.add(idle)
    balancer.pool.create_health_monitor(**MONITOR)
    eventually(lambda: balancer.members[0].checked, PATIENCE_S)
    assert not one.checked
    # It does not count for the load balancer either, though all of it is switched off.
    one.admin_state_up = False
    assert (pool.operating_status, balancer.lb.operating_status) == ("OFFLINE", "ONLINE")


def test_provisioning_follows_the_data_plane(balance, member):
    balancer = balance(member(), start=False)
    everything = (balancer.lb, balancer.listener, balancer.pool, *balancer.members)
    assert {one.provisioning_status for one in everything} == {"PENDING_CREATE"}
    balancer.lb.start()
    assert {one.provisioning_status for one in everything} == {"ACTIVE"}
    balancer.members[0].weight = 3
    assert {one.provisioning_status for one in everything} == {"ACTIVE"}
    balancer.lb.stop(0)
    assert {one.provisioning_status for one in everything} == {"PENDING_CREATE"}


def test_waiting_ends_with_the_event(balance, member):
    one = member()
    balancer = balance(one, monitor=MONITOR)
    one.refuse()
    assert balancer.lb.wait_for(operating_status="ERROR", timeout=PATIENCE_S) == "ERROR"
    one.resume()
    assert balancer.members[0].wait_for(operating_status=["ONLINE"], timeout=PATIENCE_S) == "ONLINE"
    with pytest.raises(fastlb.WaitTimeout):
        balancer.lb.wait_for(operating_status="DEGRADED", timeout=0.05)


def test_the_status_tree_tells_the_same(balance, member):
    one = member()
    balancer = balance(one, member(), monitor=MONITOR)
    one.refuse()
    becomes(balancer, "DEGRADED", "ONLINE", "DEGRADED", "ERROR", "ONLINE")
    tree = balancer.lb.status_tree()["statuses"]["loadbalancer"]
    listener = tree["listeners"][0]
    pool = listener["pools"][0]
    assert (tree["operating_status"], listener["operating_status"]) == ("DEGRADED", "ONLINE")
    assert (pool["operating_status"], pool["health_monitor"]["operating_status"]) == ("DEGRADED", "ONLINE")
    assert [row["operating_status"] for row in pool["members"]] == ["ERROR", "ONLINE"]
    assert {row["provisioning_status"] for row in (tree, listener, pool, *pool["members"])} == {"ACTIVE"}
