# SPDX-License-Identifier: Apache-2.0
"""Members that come back get their share little by little; when too few are up, all are used."""

import collections

import pytest

from fastlb.testing import Load, MemberConn, eventually, http, named, response

PROBES = {
    "type": "HTTP",
    "url_path": "/health",
    "delay": 0.05,
    "timeout": 1,
    "max_retries": 1,
    "max_retries_down": 1,
}


class Checked:
    """A member whose probes the test lets pass or fail; requests of clients it always answers."""

    def __init__(self, name, healthy=True):
        self.name, self.healthy = name.encode(), healthy

    def __call__(self, conn: MemberConn):
        def answer(message):
            return response(self.name, status=200 if self.healthy or message.target != "/health" else 503)

        http(answer)(conn)


def counted(balancer, requests):
    with balancer.client.connect() as conn:
        return collections.Counter(conn.request().body for _ in range(requests))


def test_member_that_is_switched_on_again_starts_with_a_tenth(balance, member):
    balancer = balance(member(named("old")), member(named("new")), pool={"slow_start": 3600})
    assert counted(balancer, 100) == {b"old": 50, b"new": 50}
    balancer.members[1].update(admin_state_up=False)
    balancer.members[1].update(admin_state_up=True)
    # A tenth of the other's: 45 of 500; less than 15 or more than 90 come about once in a million runs.
    assert 15 < counted(balancer, 500)[b"new"] < 90
    balancer.pool.update(slow_start=0)
    assert counted(balancer, 100) == {b"old": 50, b"new": 50}


def test_share_grows_until_it_is_whole(balance, member):
    balancer = balance(member(named("old")), member(named("new")), pool={"slow_start": 2})
    counted(balancer, 10)
    balancer.members[1].update(admin_state_up=False)
    balancer.members[1].update(admin_state_up=True)
    seen = []

    def whole():
        seen.append(counted(balancer, 100)[b"new"])
        return len(seen) >= 3 and seen[-3:] == [50, 50, 50]

    eventually(whole, 10)
    assert seen[0] < 35
    thirds = [sum(seen[at::1][: len(seen) // 3]) for at in (0, len(seen) // 3, 2 * (len(seen) // 3))]
    assert thirds[0] < thirds[1] < thirds[2]


@pytest.mark.parametrize("way", ["added", "probed", "ejected"])
def test_other_ways_to_come_back_start_slowly_too(balance, member, way):
    late = Checked("new")
    detection = {"consecutive_5xx": 1, "base_ejection_time": 600, "max_ejection_time": 600}
    balancer = balance(
        member(named("old")),
        *([] if way == "added" else [member(late)]),
        pool={"slow_start": 3600, "outlier_detection": detection},
        monitor=PROBES if way == "probed" else None,
    )
    counted(balancer, 10)
    if way == "added":
        balancer.add(member(late))
    elif way == "probed":
        one = balancer.members[1]
        late.healthy = False
        eventually(lambda: one.operating_status == "ERROR")
        late.healthy = True
        eventually(lambda: one.operating_status == "ONLINE")
    else:
        late.healthy = False
        eventually(lambda: balancer.client.get("/health") and balancer.members[1].ejected)
        late.healthy = True
        balancer.pool.update(outlier_detection=None)
    assert 2 < counted(balancer, 300)[b"new"] < 75


def test_in_a_panic_all_members_are_used(balance, member):
    scripts = [Checked(str(number)) for number in range(4)]
    balancer = balance(*[member(script) for script in scripts], pool={"panic_threshold": 50}, monitor=PROBES)
    pool = balancer.pool
    assert not pool.panic
    for script in scripts[:2]:
        script.healthy = False
    eventually(
        lambda: [str(one.operating_status) for one in balancer.members] == ["ERROR"] * 2 + ["ONLINE"] * 2
    )
    assert counted(balancer, 20) == {b"2": 10, b"3": 10}
    scripts[2].healthy = False
    eventually(lambda: pool.panic)
    assert counted(balancer, 20) == {b"0": 5, b"1": 5, b"2": 5, b"3": 5}
    assert pool.panics == 1
    scripts[0].healthy = True
    eventually(lambda: not pool.panic)
    assert counted(balancer, 20) == {b"0": 10, b"3": 10}
    assert pool.panics == 1


def test_panic_threshold_changes_live(balance, member):
    scripts = [Checked("0", healthy=False), Checked("1", healthy=False)]
    balancer = balance(*[member(script) for script in scripts], monitor=PROBES)
    eventually(lambda: balancer.client.get().status == 503)
    balancer.pool.update(panic_threshold=1)
    assert balancer.pool.panic
    assert counted(balancer, 10) == {b"0": 5, b"1": 5}
    balancer.pool.update(panic_threshold=0)
    assert not balancer.pool.panic
    assert balancer.client.get().status == 503


def test_weights_change_under_load_while_a_member_is_warming(balance, member):
    """For ThreadSanitizer, too: whoever compares loads does not read a weight that is being written."""
    balancer = balance(
        *(member() for _ in range(3)), algorithm="LEAST_CONNECTIONS", pool={"slow_start": 3600}
    )
    assert balancer.client.get().status == 200
    balancer.members[2].update(admin_state_up=False)
    balancer.members[2].update(admin_state_up=True)
    with Load(balancer.client, clients=6) as load:
        for round_ in range(150):
            balancer.members[round_ % 3].weight = 1 + round_ % 7
        load.wait_requests(100)
    assert load.failures == []
