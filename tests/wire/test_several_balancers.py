# SPDX-License-Identifier: Apache-2.0
"""Several load balancers and many listeners live in one process without knowing of each other."""

import threading

import pytest

import fastlb
from fastlb.testing import Client, echo, named


def test_one_pool_serves_two_listeners_in_one_sequence(balance, member):
    balancer = balance(member(named("1")), member(named("2")))
    other = balancer.lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=balancer.pool)
    second = Client("127.0.0.1", other.protocol_port)
    seen = [client.get().body for _ in range(4) for client in (balancer.client, second)]
    assert seen in ([b"1", b"2"] * 4, [b"2", b"1"] * 4)
    assert balancer.listener.stats.requests == 4
    assert other.stats.requests == 4


def test_tcp_and_http_side_by_side(balance, member):
    balancer = balance(member())
    tcp = balancer.lb.create_listener(protocol="TCP", protocol_port=0)
    pool = tcp.create_pool(protocol="TCP", lb_algorithm="ROUND_ROBIN")
    one = member(echo)
    pool.create_member(one.address, one.port)
    with Client("127.0.0.1", tcp.protocol_port).connect() as conn:
        conn.send(b"x").expect(b"x")
        assert balancer.client.get().status == 200


def test_load_balancers_do_not_mix(balance, member):
    balancers = [balance(member(named(str(number)))) for number in range(5)]
    for _ in range(3):
        for number, balancer in enumerate(balancers):
            assert balancer.client.get().body == str(number).encode()


def test_stopping_one_leaves_the_others_alone(balance, member):
    first, second = balance(member(named("1"))), balance(member(named("2")))
    with second.client.connect() as conn:
        assert conn.request().body == b"2"
        first.lb.stop(0)
        assert conn.request().body == b"2"
        with pytest.raises(ConnectionRefusedError):
            first.client.connect()
    assert second.client.get().body == b"2"


def test_two_engines_live_side_by_side(balance, member):
    one, two = member(named("1")), member(named("2"))
    mine = balance(one)
    with fastlb.Engine(workers=1) as engine:
        lb = fastlb.LoadBalancer(name="other", vip_address="127.0.0.1", engine=engine, drain_timeout=0)
        listener = lb.create_listener(protocol="HTTP", protocol_port=0)
        pool = listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
        pool.create_member(two.address, two.port)
        with lb:
            assert Client("127.0.0.1", listener.protocol_port).get().body == b"2"
            assert mine.client.get().body == b"1"
        assert mine.client.get().body == b"1"


def test_fifty_listeners_each_have_their_port(balance, member):
    balancer = balance(member())
    listeners = [
        balancer.lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=balancer.pool)
        for _ in range(50)
    ]
    ports = {listener.protocol_port for listener in listeners}
    assert len(ports) == 50
    for port in ports:
        assert Client("127.0.0.1", port).get().status == 200
    for listener in listeners:
        listener.delete()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            Client("127.0.0.1", port).connect()
    assert balancer.client.get().status == 200


def test_the_default_pool_changes_live(balance, member):
    balancer = balance(member(named("old")))
    new = balancer.lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    other = member(named("new"))
    new.create_member(other.address, other.port)
    with balancer.client.connect() as conn:
        assert conn.request().body == b"old"
        balancer.listener.default_pool = new
        assert conn.request().body == b"new"
        balancer.listener.default_pool = None
        assert conn.request().status == 503
        balancer.listener.default_pool = balancer.pool
        assert balancer.client.get().body == b"old"


def test_a_load_balancer_starts_again_with_its_counters(balance, member):
    balancer = balance(member())
    for turn in range(1, 4):
        client = Client("127.0.0.1", balancer.listener.protocol_port)
        assert client.get().status == 200
        balancer.lb.stop(0)
        assert balancer.listener.stats.requests == turn
        balancer.lb.start()


def test_a_load_balancer_starts_while_the_last_one_before_it_stops(nothing_stays_behind):
    engine = fastlb.Engine(workers=1)
    failures = []

    def come_and_go():
        try:
            for _ in range(40):
                with fastlb.LoadBalancer(engine=engine, drain_timeout=0):
                    pass
        except fastlb.FastLBError as error:
            failures.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not engine.running
