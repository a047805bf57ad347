# SPDX-License-Identifier: Apache-2.0
"""Stopping: with time for what is under way, or at once; and then nothing is left (the fixture looks)."""

import threading
import time

import pytest

import fastlb
from fastlb.errors import StateError
from fastlb.testing import (
    Client,
    MessageCut,
    echo,
    eventually,
    held,
    open_descriptors,
    request,
    say_nothing,
    threads,
)


@pytest.mark.parametrize("what", ["lb", "engine"])
def test_a_request_under_way_ends_in_peace_within_the_grace(balance, member, engine, what):
    gate = threading.Event()
    one = member(held(gate))
    balancer = balance(one)
    with balancer.client.connect() as conn:
        conn.send(request())
        one.wait_requests(1)
        stopper = threading.Thread(target=(engine if what == "engine" else balancer.lb).stop, args=(10,))
        stopper.start()
        eventually(lambda: refuses(balancer.client))
        assert stopper.is_alive()
        gate.set()
        answer = conn.read_response()
        assert answer.status == 200
        assert conn.ended() == "closed"
        stopper.join(5)
        assert not stopper.is_alive()


def refuses(client):
    try:
        client.connect().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it met the port in the moment of its closing
        return False
    return False


def test_idle_clients_do_not_hold_up_a_stop(balance, member):
    balancer = balance(member())
    conns = [balancer.client.connect() for _ in range(20)]
    for conn in conns[:10]:
        assert conn.request().status == 200
    start = time.monotonic()
    balancer.lb.stop(10)
    assert time.monotonic() - start < 2
    for conn in conns:
        assert conn.ended() in ("closed", "reset")
        conn.close()


def test_a_stop_at_once_cuts_what_is_under_way(balance, member):
    one = member(say_nothing)
    balancer = balance(one)
    with balancer.client.connect() as conn:
        conn.send(request())
        one.wait_received(len(request()))
        start = time.monotonic()
        balancer.lb.stop(0)
        assert time.monotonic() - start < 1
        with pytest.raises((MessageCut, ConnectionResetError)):
            conn.read_response()
    assert one.connections[0].over.wait(5)


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_a_stop_at_once_cuts_also_while_the_engine_serves_others(balance, member, protocol):
    balance(member())
    one = member(say_nothing)
    balancer = balance(one, protocol=protocol)
    with balancer.client.connect() as conn:
        conn.send(request())
        one.wait_received(len(request()))
        balancer.lb.stop(0)
        assert conn.wait_closed(2)
    assert one.connections[0].over.wait(5)


def test_the_grace_ends(balance, member):
    one = member(echo)
    balancer = balance(one, protocol="TCP")
    with balancer.client.connect() as conn:
        conn.send(b"x").expect(b"x")
        start = time.monotonic()
        balancer.lb.stop(0.3)
        assert 0.25 < time.monotonic() - start < 2
        assert conn.ended() in ("closed", "reset")


def test_a_tcp_session_ends_in_peace_within_the_grace(balance, member):
    balancer = balance(member(echo), protocol="TCP")
    with balancer.client.connect() as conn:
        conn.send(b"x").expect(b"x")
        stopper = threading.Thread(target=balancer.lb.stop, args=(10,))
        stopper.start()
        eventually(lambda: refuses(balancer.client))
        conn.send(b"still").expect(b"still").close()
        stopper.join(5)
        assert not stopper.is_alive()


def test_engines_come_and_go_without_a_trace(member):
    one = member()
    files, tasks = open_descriptors(), threads()
    for _ in range(20):
        with fastlb.Engine(workers=3) as engine:
            lb = fastlb.LoadBalancer(name="wire", vip_address="127.0.0.1", engine=engine, drain_timeout=0)
            listener = lb.create_listener(protocol="HTTP", protocol_port=0)
            pool = listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
            pool.create_member(one.address, one.port)
            pool.create_health_monitor(type="HTTP", delay=1, timeout=1, max_retries=1)
            with lb:
                assert Client("127.0.0.1", listener.protocol_port).get().status == 200
        one.wait_idle()
        # The member's own threads end a moment after their connections.
        eventually(lambda: threads().keys() == tasks.keys())
        assert open_descriptors() == files


def test_start_and_stop_twice(engine, balance, member):
    balancer = balance(member())
    with pytest.raises(StateError):
        balancer.lb.start()
    balancer.lb.stop(0)
    balancer.lb.stop(0)
    balancer.lb.start()
    assert Client("127.0.0.1", balancer.listener.protocol_port).get().status == 200
    balancer.lb.close()
    balancer.lb.close()
    with pytest.raises(StateError):
        balancer.lb.start()


def test_a_forgotten_engine_does_not_keep_a_process_alive(child):
    out = child(
        """
        import fastlb
        from fastlb.testing import Client, Member
        member = Member()
        lb = fastlb.LoadBalancer(name="forgotten", vip_address="127.0.0.1")
        listener = lb.create_listener(protocol="HTTP", protocol_port=0)
        pool = listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
        pool.create_member(member.address, member.port)
        lb.start()
        conn = Client("127.0.0.1", listener.protocol_port).connect()
        print(conn.request().status)
        member.close()
        """,
        timeout=20,
    )
    assert out == "200\n"


def test_an_engine_that_is_started_while_its_last_load_balancer_stops_it_runs(engine, member):
    balancer = fastlb.LoadBalancer(engine=engine)
    callback_began, callback_may_end = threading.Event(), threading.Event()

    def callback(event):
        callback_began.set()
        callback_may_end.wait(10)

    balancer.start()
    balancer.on_status(callback)
    balancer.create_listener(protocol="TCP", protocol_port=0)
    assert callback_began.wait(10)
    # The supervisor is in the callback, and the engine cannot end before it.
    stopping = threading.Thread(target=balancer.stop, args=(0,))
    stopping.start()
    eventually(lambda: engine._stopping)
    starting = threading.Thread(target=engine.start)
    starting.start()
    callback_may_end.set()
    starting.join()
    stopping.join()
    assert engine.running
    balancer.close()
    assert engine.running
    engine.stop(0)
    assert not engine.running
