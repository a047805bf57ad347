# SPDX-License-Identifier: Apache-2.0
"""session_persistence SOURCE_IP: a client's address has its member, whatever else the pool's algorithm would choose."""

import threading

import pytest

from fastlb.testing import MemberConn, greet, named, response

STICKY = {"session_persistence": {"type": "SOURCE_IP"}}
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 14)]


def ask(balancer, address):
    """The name of the member that a client from this address has now."""
    with balancer.client.connect(source=address) as conn:
        answer = conn.request()
        assert answer.status == 200
        return answer.body


def homes(balancer):
    return {address: ask(balancer, address) for address in ADDRESSES}


@pytest.fixture
def three(member):
    return [member(named(name)) for name in ("one", "two", "three")]


def test_a_client_stays_with_its_member_and_clients_spread(balance, three):
    balancer = balance(*three, pool=STICKY)
    before = homes(balancer)
    assert sorted(before.values()) == sorted([b"one", b"two", b"three"] * 4)
    for _ in range(4):
        assert homes(balancer) == before


def test_a_client_keeps_its_member_on_one_connection(balance, three):
    balancer = balance(*three, pool=STICKY)
    with balancer.client.connect() as conn:
        assert len({conn.request().body for _ in range(10)}) == 1


def test_tcp_clients_stay_too(balance, member):
    members = [member(greet(name)) for name in (b"one", b"two")]
    balancer = balance(*members, protocol="TCP", pool=STICKY)

    def greeted(address):
        with balancer.client.connect(source=address) as conn:
            return conn.read_exactly(3)

    before = {address: greeted(address) for address in ADDRESSES}
    assert set(before.values()) == {b"one", b"two"}
    for _ in range(4):
        assert {address: greeted(address) for address in ADDRESSES} == before


def test_only_the_clients_of_a_member_that_is_gone_move(balance, three):
    balancer = balance(*three, pool=STICKY)
    before = homes(balancer)
    balancer.members[0].delete()
    after = homes(balancer)
    assert {address for address in ADDRESSES if after[address] != before[address]} == {
        address for address in ADDRESSES if before[address] == b"one"
    }
    balancer.add(three[0])
    assert homes(balancer) == after


def test_a_member_without_a_share_keeps_its_clients_and_gets_no_new_ones(balance, three):
    balancer = balance(*three, pool=STICKY)
    before = homes(balancer)
    balancer.members[0].weight = 0
    assert homes(balancer) == before
    assert ask(balancer, "127.0.1.1") != b"one"


def test_a_client_whose_member_refuses_gets_another_and_stays_there(balance, three):
    balancer = balance(*three, pool=STICKY)
    before = homes(balancer)
    three[0].refuse()
    three[0].drop_connections()
    after = homes(balancer)
    assert b"one" not in after.values()
    assert all(after[address] == before[address] for address in ADDRESSES if before[address] != b"one")
    three[0].resume()
    assert homes(balancer) == after


def test_a_client_whose_member_is_full_comes_back_to_it(balance, member):
    taken, gate = threading.Event(), threading.Event()

    def slow(conn: MemberConn):
        while (request := conn.read_request()) is not None:
            if request.target == "/slow":
                taken.set()
                conn.wait(gate)
            conn.send(response(b"one"))

    balancer = balance(member(slow), member(named("two")), pool=STICKY, options=[{"max_connections": 1}, {}])
    address = next(address for address in ADDRESSES if ask(balancer, address) == b"one")
    with balancer.client.connect(source=address) as conn:
        conn.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert taken.wait(5)
        assert ask(balancer, address) == b"two"
        gate.set()
        assert conn.read_response().body == b"one"
        # The client has the answer a moment before the place is free.
        eventually(lambda: balancer.members[0].stats.active == 0)
    assert ask(balancer, address) == b"one"


def test_persistence_that_is_switched_off_lets_clients_go(balance, three):
    balancer = balance(*three, pool=STICKY)
    assert ask(balancer, ADDRESSES[0]) == ask(balancer, ADDRESSES[0])
    balancer.pool.session_persistence = None
    assert {ask(balancer, ADDRESSES[0]) for _ in range(3)} == {b"one", b"two", b"three"}
