# SPDX-License-Identifier: Apache-2.0
"""admin_state_up: switching an object off and on again, live."""

import threading

import pytest

from fastlb.testing import echo, eventually, held, named, request


def refused(client):
    try:
        client.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("which", ["lb", "listener"])
def test_what_is_switched_off_refuses_connections_and_comes_back_on_its_port(balance, member, which):
    balancer = balance(member())
    port = balancer.listener.protocol_port
    assert balancer.client.get().status == 200
    for _ in range(3):
        getattr(balancer, which).admin_state_up = False
        assert refused(balancer.client)
        assert balancer.listener.operating_status == "OFFLINE"
        getattr(balancer, which).admin_state_up = True
        assert balancer.listener.protocol_port == port
        assert balancer.client.get().status == 200
        assert balancer.listener.operating_status == "ONLINE"


def test_one_listener_off_leaves_the_others_alone(balance, member):
    balancer = balance(member())
    other = balancer.lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=balancer.pool)
    with type(balancer.client)("127.0.0.1", other.protocol_port).connect() as conn:
        assert conn.request().status == 200
        balancer.listener.admin_state_up = False
        assert refused(balancer.client)
        assert conn.request().status == 200


def test_a_request_under_way_outlives_its_listener(balance, member):
    gate = threading.Event()
    one = member(held(gate))
    balancer = balance(one)
    with balancer.client.connect() as conn:
        conn.send(request())
        one.wait_requests(1)
        balancer.listener.admin_state_up = False
        gate.set()
        assert conn.read_response().status == 200


def test_a_pool_switched_off_is_a_503(balance, member):
    balancer = balance(member())
    with balancer.client.connect() as conn:
        assert conn.request().status == 200
        balancer.pool.admin_state_up = False
        assert balancer.client.get().status == 503
        assert balancer.pool.operating_status == "OFFLINE"
        balancer.pool.admin_state_up = True
        assert balancer.client.get().status == 200


def test_a_tcp_pool_switched_off_accepts_and_closes(balance, member):
    balancer = balance(member(echo), protocol="TCP")
    balancer.pool.admin_state_up = False
    with balancer.client.connect() as conn:
        assert conn.ended() in ("closed", "reset")
    balancer.pool.admin_state_up = True
    with balancer.client.connect() as conn:
        conn.send(b"x").expect(b"x")


def test_a_member_switched_off_gets_nothing_new_and_keeps_what_it_has(balance, member):
    one, two = member(echo), member(echo)
    balancer = balance(one, two, protocol="TCP")
    first = balancer.client.connect().send(b"x").expect(b"x")
    second = balancer.client.connect().send(b"x").expect(b"x")
    balancer.members[0].admin_state_up = False
    assert balancer.members[0].operating_status == "OFFLINE"
    for _ in range(6):
        with balancer.client.connect() as conn:
            conn.send(b"x").expect(b"x")
    assert len(one.connections) == 1
    assert len(two.connections) == 7
    first.send(b"still").expect(b"still").close()
    second.close()
    balancer.members[0].admin_state_up = True
    for _ in range(2):
        with balancer.client.connect() as conn:
            conn.send(b"x").expect(b"x")
    assert len(one.connections) == 2


def test_all_members_switched_off_is_a_503(balance, member):
    balancer = balance(member(), member())
    for one in balancer.members:
        one.admin_state_up = False
    assert balancer.client.get().status == 503
    assert balancer.pool.operating_status == "ERROR"
    assert balancer.lb.operating_status == "ERROR"
    assert balancer.listener.operating_status == "ONLINE"
    balancer.members[1].admin_state_up = True
    assert balancer.client.get().status == 200
    assert balancer.lb.operating_status == "ONLINE"


def test_a_monitor_switched_off_makes_all_members_usable(balance, member):
    dead = member(named("dead")).refuse()
    balancer = balance(
        dead,
        member(named("alive")),
        monitor={"type": "TCP", "delay": 0.05, "timeout": 1, "max_retries": 1, "max_retries_down": 1},
    )
    balancer.members[0].wait_for(operating_status="ERROR", timeout=5)
    balancer.pool.health_monitor.admin_state_up = False
    eventually(lambda: balancer.members[0].operating_status == "NO_MONITOR")
    dead.resume()
    assert sorted(balancer.client.bodies(2)) == [b"alive", b"dead"]


def test_what_is_switched_off_at_the_start_stays_off(balance, member):
    balancer = balance(member(), start=False)
    balancer.listener.admin_state_up = False
    balancer.lb.start()
    assert balancer.listener.operating_status == "OFFLINE"
    balancer.listener.admin_state_up = True
    client = type(balancer.client)("127.0.0.1", balancer.listener.protocol_port)
    assert client.get().status == 200
