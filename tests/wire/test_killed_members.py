# SPDX-License-Identifier: Apache-2.0
"""Members die without a goodbye under load: requests that may be repeated do not fail."""

import pytest

from fastlb.testing import LoadProcess, MemberProcess, eventually

MONITOR = {"type": "TCP", "delay": 0.05, "timeout": 1, "max_retries": 1, "max_retries_down": 1}


@pytest.fixture
def origins(nothing_stays_behind):
    members = [MemberProcess(str(number)) for number in range(3)]
    yield members
    for one in members:
        one.close()


@pytest.mark.parametrize("monitored", [False, True], ids=["unmonitored", "monitored"])
def test_killed_members_fail_no_get(balance, origins, monitored):
    balancer = balance(*origins, monitor=MONITOR if monitored else None)
    with (
        LoadProcess(balancer.client, clients=2) as kept,
        LoadProcess(balancer.client, keep_alive=False) as fresh,
    ):
        for turn in range(12):
            kept.wait_requests(100)
            fresh.wait_requests(20)
            victim = origins[turn % 3]
            victim.kill()
            kept.wait_requests(100)
            victim.start()
    assert kept.failures == []
    assert fresh.failures == []


def test_the_monitor_takes_the_dead_out_and_back(balance, origins):
    balancer = balance(*origins, monitor=MONITOR)
    with LoadProcess(balancer.client) as load:
        load.wait_requests(50)
        origins[1].kill()
        balancer.members[1].wait_for(operating_status="ERROR", timeout=5)
        assert balancer.pool.operating_status == "DEGRADED"
        assert balancer.lb.operating_status == "DEGRADED"
        origins[1].start()
        balancer.members[1].wait_for(operating_status="ONLINE", timeout=5)
        assert balancer.lb.operating_status == "ONLINE"
        served = balancer.members[1].stats.sessions
        eventually(lambda: balancer.members[1].stats.sessions > served)
    assert load.failures == []


def test_all_members_dead_is_a_503_at_once_and_over_when_one_is_back(balance, origins):
    balancer = balance(*origins[:2], monitor=MONITOR)
    for one in origins[:2]:
        one.kill()
    balancer.lb.wait_for(operating_status="ERROR", timeout=5)
    assert balancer.client.get(timeout=0.9).status == 503
    origins[0].start()
    balancer.members[0].wait_for(operating_status="ONLINE", timeout=5)
    assert balancer.client.get().body == b"0"
