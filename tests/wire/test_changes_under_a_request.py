# SPDX-License-Identifier: Apache-2.0
"""Policies and pools that change while a request waits for its member: it goes where it belongs now, and what it
waited with serves nobody else."""

import threading

import pytest

from fastlb.testing import FullMember, eventually, held, http, named, response

ALL = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/"}
WAITS = b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def connecting(balance):
    """A balancer, its member that takes no connection yet, and a client whose request waits for one."""
    with FullMember() as slow:
        balancer = balance(slow)
        with balancer.client.connect() as conn:
            conn.send(WAITS)
            eventually(lambda: balancer.members[0].stats.active == 1)
            yield balancer, slow, conn


def test_a_request_that_is_rejected_while_it_connects_gives_its_member_back(connecting, member):
    balancer, slow, conn = connecting
    policy = balancer.listener.create_l7policy(action="REJECT")
    policy.create_rule(**ALL)
    slow.drain()
    assert conn.read_response().status == 403
    eventually(lambda: balancer.members[0].stats.active == 0)
    policy.delete()
    other = balancer.lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    good = member(named("good"))
    other.create_member(good.address, good.port)
    balancer.listener.default_pool = other
    assert conn.send(NEXT).read_response().body == b"good"


def test_a_request_whose_pool_changes_while_it_connects_goes_to_the_new_one(connecting, member):
    balancer, slow, conn = connecting
    other = balancer.lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    good = member(named("good"))
    other.create_member(good.address, good.port)
    balancer.listener.default_pool = other
    slow.drain()
    assert conn.read_response().body == b"good"
    eventually(lambda: balancer.members[0].stats.active == 0)


@pytest.mark.workers(1)
def test_who_is_rejected_in_the_queue_goes_to_its_end_with_the_next_request(balance, member):
    gate = threading.Event()
    one = member(held(gate))
    balancer = balance(one, options=[{"max_connections": 1}])
    client = balancer.client
    with client.connect() as first, client.connect() as second, client.connect() as third:
        first.send(NEXT)
        eventually(lambda: balancer.members[0].stats.active == 1)
        second.send(WAITS + NEXT)
        eventually(lambda: balancer.pool.stats.waiting == 1)
        third.send(b"GET /third HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: balancer.pool.stats.waiting == 2)
        policy = balancer.listener.create_l7policy(action="REJECT")
        policy.create_rule(type="PATH", compare_type="EQUAL_TO", value="/waits")
        gate.set()
        assert first.read_response().status == 200
        assert second.read_response().status == 403
        assert second.read_response().status == 200
        assert third.read_response().status == 200
    assert one.targets == ["/next", "/third", "/next"]
    stats = balancer.listener.stats
    assert (stats.requests, stats.refusals) == (4, {"policy": 1})
    assert balancer.pool.stats.waiting == 0


@pytest.mark.workers(1)
def test_an_answer_that_is_kept_back_leaves_no_connection_behind_that_was_asked_to_switch(balance, member):
    """Who was offered another protocol may have read on in it: no other request goes there."""
    bad = member(http(response(b"no", status=503, reason="No")))
    balancer = balance(bad, member(named("good")), pool={"retry": {"retry_on": ["503"]}})
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "x")]
    for _ in range(4):
        assert balancer.client.request(fields=upgrade).body == b"good"
    assert len(bad.connections) == len(bad.requests) > 1
