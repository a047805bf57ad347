# SPDX-License-Identifier: Apache-2.0
"""connection_limit: one client too many is not refused; it waits in the kernel's queue until another leaves."""

import pytest

from fastlb.testing import echo, eventually, request


def test_a_client_above_the_limit_waits_and_is_served_when_one_leaves(balance, member):
    one = member()
    balancer = balance(one, listener={"connection_limit": 2})
    first, second = balancer.client.connect(), balancer.client.connect()
    with second:
        with first:
            assert first.request("/1").status == 200
            assert second.request("/2").status == 200
            third = balancer.client.connect().send(request("/3"))
            assert not third.pending(0.2)
            assert one.targets == ["/1", "/2"]
            assert second.request("/4").status == 200
        assert third.read_response().status == 200
    third.close()
    assert one.targets == ["/1", "/2", "/4", "/3"]


@pytest.mark.parametrize("limit", [1, 3, 5])
def test_the_limit_is_one_for_all_workers(balance, member, limit):
    balancer = balance(member(echo), protocol="TCP", listener={"connection_limit": limit})
    waiting = [balancer.client.connect().send(b"x") for _ in range(limit + 6)]
    served: list = []

    def let_in():
        came = [conn for conn in waiting if conn.pending()]
        served.extend(came)
        waiting[:] = [conn for conn in waiting if conn not in came]
        return len(served) >= limit or not waiting

    while waiting:
        eventually(let_in, what="as many clients as may be served")
        assert not any(conn.pending(0.01) for conn in waiting)
        assert len(served) == limit
        assert balancer.listener.stats.active_connections == limit
        served.pop().close()
    eventually(let_in)
    for conn in served:
        conn.expect(b"x").close()


def test_a_raised_limit_lets_the_waiting_in(balance, member):
    balancer = balance(member(), listener={"connection_limit": 1})
    with balancer.client.connect() as first:
        assert first.request().status == 200
        with balancer.client.connect() as second:
            second.send(request())
            assert not second.pending(0.1)
            balancer.listener.connection_limit = 2
            assert second.read_response().status == 200


def test_a_lowered_limit_cuts_nobody(balance, member):
    balancer = balance(member())
    with balancer.client.connect() as first, balancer.client.connect() as second:
        assert first.request().status == 200
        assert second.request().status == 200
        balancer.listener.connection_limit = 1
        assert first.request().status == 200
        assert second.request().status == 200


def test_a_full_listener_is_degraded_and_recovers(balance, member):
    balancer = balance(member(), listener={"connection_limit": 1})
    assert balancer.listener.operating_status == "ONLINE"
    with balancer.client.connect() as conn:
        assert conn.request().status == 200
        balancer.listener.wait_for(operating_status="DEGRADED", timeout=5)
        assert balancer.lb.operating_status == "DEGRADED"
    balancer.listener.wait_for(operating_status="ONLINE", timeout=5)
    assert balancer.lb.operating_status == "ONLINE"


@pytest.mark.parametrize("limit", [-1, 0])
def test_no_limit_is_a_large_one(balance, member, limit):
    balancer = balance(member(), listener={"connection_limit": limit})
    conns = [balancer.client.connect() for _ in range(100)]
    for conn in conns:
        assert conn.request().status == 200
    for conn in conns:
        conn.close()
