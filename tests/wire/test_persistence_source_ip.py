# SPDX-License-Identifier: Apache-2.0
"""SOURCE_IP persistence: whoever came once comes back to the same member, whatever the algorithm would say now."""

import collections
import threading

import pytest

from fastlb.testing import Client, MemberConn, eventually, greet, named, response

STICKY = {"session_persistence": {"type": "SOURCE_IP"}}
NAMES = ("one", "two", "three")


def body(balancer, source):
    with balancer.client.connect(source=source) as client:
        return client.request().body


def sources(count):
    return [f"127.0.{n // 250 + 1}.{n % 250 + 1}" for n in range(count)]


@pytest.fixture
def three(balance, member):
    return balance(*(member(named(name)) for name in NAMES), pool=STICKY)


def test_clients_stay_where_round_robin_put_them(three):
    had = {source: body(three, source) for source in sources(30)}
    assert collections.Counter(had.values()) == {b"one": 10, b"two": 10, b"three": 10}
    for _ in range(3):
        assert {source: body(three, source) for source in had} == had


def test_only_clients_of_a_removed_member_move(three, member):
    had = {source: body(three, source) for source in sources(30)}
    three.members[1].delete()
    extra = member(named("four"))
    three.pool.create_member(extra.address, extra.port)
    now = {source: body(three, source) for source in had}
    assert {source for source in had if now[source] != had[source]} == {
        source for source, name in had.items() if name == b"two"
    }
    assert {source: body(three, source) for source in had} == now, "and those stay where they went"


def test_a_drained_member_keeps_its_clients(three):
    had = {source: body(three, source) for source in sources(9)}
    three.members[0].weight = 0
    assert {source: body(three, source) for source in had} == had
    assert {body(three, source) for source in sources(30)[9:]} == {b"two", b"three"}


def test_a_member_that_refuses_is_left_for_good(balance, member):
    one, two = member(named("one")), member(named("two"))
    balancer = balance(one, two, pool=STICKY)
    assert body(balancer, "127.0.1.1") == b"one"
    one.refuse().drop_connections()
    assert body(balancer, "127.0.1.1") == b"two"
    one.resume()
    assert [body(balancer, "127.0.1.1") for _ in range(4)] == [b"two"] * 4


def test_byte_streams_stick_too(balance, member):
    balancer = balance(*(member(greet(name.encode())) for name in NAMES), protocol="TCP", pool=STICKY)

    def greeted(source):
        with balancer.client.connect(source=source) as client:
            return client.read_exactly(3)

    had = {source: greeted(source) for source in sources(12)}
    assert len(set(had.values())) == 3
    assert {source: greeted(source) for source in had} == had


def test_ipv6_clients_stick(balance, member):
    balancer = balance(*(member(named(name)) for name in NAMES), address="::1", pool=STICKY)
    assert len({Client("::1", balancer.listener.protocol_port).get("/").body for _ in range(6)}) == 1


def test_what_is_remembered_is_shown_and_bounded(three):
    for source in sources(20):
        body(three, source)
    shown = three.pool.persistence_stats
    assert shown.entries == 20
    assert 0 < shown.bytes < 10_000_000
    assert shown.limit >= 10_240
    three.pool.session_persistence = None
    assert len({body(three, "127.0.1.1") for _ in range(3)}) == 3, "switched off, round robin decides"


def test_a_client_keeps_its_member_on_one_connection(three):
    with three.client.connect() as client:
        assert len({client.request().body for _ in range(10)}) == 1


def test_a_client_whose_member_is_full_comes_back_to_it(balance, member):
    gate = threading.Event()

    def slow(conn: MemberConn):
        while (request := conn.read_request()) is not None:
            if request.target == "/slow":
                conn.wait(gate)
            conn.send(response(b"one"))

    balancer = balance(member(slow), member(named("two")), pool=STICKY, options=[{"max_connections": 1}, {}])

    def free():
        # A client has the answer a moment before the place is free.
        return balancer.members[0].stats.active == 0

    source = next(source for source in sources(4) if body(balancer, source) == b"one")
    eventually(free)
    with balancer.client.connect(source=source) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: not free())
        assert body(balancer, source) == b"two"
        gate.set()
        assert client.read_response().body == b"one"
    eventually(free)
    assert body(balancer, source) == b"one"


@pytest.mark.workers(1)
def test_a_connection_that_was_kept_meanwhile_follows_its_client_to_the_new_member(balance, member):
    balancer = balance(member(named("one")), member(named("two")), pool=STICKY)
    with balancer.client.connect() as kept:
        before = kept.request().body
        mine = balancer.members[0 if before == b"one" else 1]
        mine.admin_state_up = False
        after = balancer.client.get().body
        assert after != before
        mine.admin_state_up = True
        assert kept.request().body == after == balancer.client.get().body
