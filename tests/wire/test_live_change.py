# SPDX-License-Identifier: Apache-2.0
"""Everything changes while clients work, and not one request fails."""

import itertools
import random
import time

import pytest

from fastlb.testing import Client, LoadProcess, MemberProcess

CHANGES = 10_000


@pytest.fixture
def origins(nothing_stays_behind):
    members = [MemberProcess(str(number)) for number in range(4)]
    yield members
    for one in members:
        one.close()


def test_ten_thousand_member_changes_fail_no_request(balance, origins):
    """Weights, backups, switches, members that come and go: the first member stays, so that there is always one."""
    balancer = balance(*origins)
    pool, rng = balancer.pool, random.Random(11)
    made, start = 0, time.monotonic()
    with (
        LoadProcess(balancer.client, clients=2) as kept,
        LoadProcess(balancer.client, keep_alive=False) as fresh,
    ):
        kept.wait_running()
        fresh.wait_running()
        # Ten thousand may take a fifth of a second: go on until the clients have sent enough to tell.
        while made < CHANGES or time.monotonic() - start < 2:
            index = rng.randrange(1, 4)
            one = balancer.members[index]
            what = rng.randrange(5)
            if what == 0:
                one.weight = rng.randrange(0, 257)
            elif what == 1:
                one.admin_state_up = not one.admin_state_up
            elif what == 2:
                one.backup = not one.backup
            elif what == 3:
                balancer.members[0].weight = rng.randrange(1, 257)
            else:
                one.delete()
                balancer.members[index] = pool.create_member(origins[index].address, origins[index].port)
                made += 1
            made += 1
            assert time.monotonic() - start < 40, f"only {made} changes"
    assert kept.failures == []
    assert fresh.failures == []
    assert kept.requests > 1000
    assert fresh.requests > 100
    print(f"{made} changes in {time.monotonic() - start:.1f} s, {kept.requests + fresh.requests} requests")


def test_every_other_change_fails_no_request_either(balance, origins):
    balancer = balance(*origins[:2])
    spare = balancer.lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    for origin in origins[2:]:
        spare.create_member(origin.address, origin.port)
    algorithms = itertools.cycle(
        ["LEAST_CONNECTIONS", "SOURCE_IP", "ROUND_ROBIN", "SOURCE_IP_PORT", "MAGLEV"]
    )
    persistence = [
        None,
        {"type": "HTTP_COOKIE"},
        {"type": "APP_COOKIE", "cookie_name": "a"},
        {"type": "SOURCE_IP"},
    ]
    with (
        LoadProcess(balancer.client, clients=2) as kept,
        LoadProcess(balancer.client, keep_alive=False) as fresh,
    ):
        kept.wait_running()
        fresh.wait_running()
        for turn in range(60):
            balancer.pool.lb_algorithm = next(algorithms)
            balancer.listener.default_pool = spare if turn % 2 else balancer.pool
            balancer.listener.timeout_member_data = 10_000 + turn
            balancer.listener.connection_limit = 100 + turn
            balancer.listener.allowed_cidrs = ["127.0.0.0/8"] if turn % 3 else None
            balancer.pool.update(
                retry={"num_retries": turn % 4, "budget_percent": turn % 2 * 50},
                outlier_detection={"consecutive_5xx": 1 + turn} if turn % 2 else None,
                slow_start=turn % 3,
                panic_threshold=turn,
                timeout_queue=5_000 + turn,
                session_persistence=persistence[turn % 4],
            )
            balancer.members[0].max_connections = turn % 3
            balancer.lb.update(name=f"turn {turn}", description="x")
            other = balancer.lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=spare)
            assert Client("127.0.0.1", other.protocol_port).get().status == 200
            monitor = balancer.pool.create_health_monitor(type="TCP", delay=1, timeout=1, max_retries=1)
            monitor.update(delay=2, max_retries=2)
            monitor.delete()
            other.delete()
    assert kept.failures == []
    assert fresh.failures == []
    assert kept.requests > 100


def test_a_batch_of_members_is_one_change(balance, origins):
    balancer = balance(origins[0])
    with LoadProcess(balancer.client) as load:
        load.wait_running()
        for _ in range(20):
            many = balancer.pool.create_members([(one.address, one.port) for one in origins[1:]])
            for one in many:
                one.delete()
    assert load.failures == []


def test_a_thousand_members_come_and_go(balance, origins):
    balancer = balance(origins[0])
    with LoadProcess(balancer.client) as load:
        load.wait_running()
        # Nobody listens there, so they have to stay at weight 0: their number alone must not hurt.
        many = balancer.pool.create_members(
            [
                {"address": f"127.77.{number // 250}.{number % 250 + 1}", "protocol_port": 9, "weight": 0}
                for number in range(1000)
            ]
        )
        for one in many:
            one.delete()
    assert load.failures == []
    assert len(balancer.pool.members) == 1
