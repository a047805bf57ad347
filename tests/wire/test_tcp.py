# SPDX-License-Identifier: Apache-2.0
"""A TCP listener carries bytes, ends and resets both ways, and looks at none of them."""

import contextlib
import random
import threading

import pytest

from fastlb.testing import (
    MemberConn,
    MessageCut,
    echo,
    eventually,
    greet,
    in_turn,
    reset_at_once,
    say_nothing,
)


@pytest.fixture(params=["TCP", "HTTPS"])
def relay(request, balance):
    return lambda *peers, **options: balance(*peers, protocol=request.param, **options)


def test_bytes_go_both_ways_untouched(relay, member):
    with relay(member(echo)).client.connect() as conn:
        for data in (b"x", b"\x16\x03\x01\r\n\r\n", bytes(range(256)) * 16, b"GET / HTTP/9.9\n\n"):
            conn.send(data).expect(data)


def test_a_member_may_speak_first(relay, member):
    with relay(member(greet(b"220 ready\r\n"))).client.connect() as conn:
        conn.expect(b"220 ready\r\n")


def test_large_data_goes_both_ways_at_once(relay, member):
    data = random.Random(1).randbytes(5_000_003)
    with relay(member(echo)).client.connect() as conn:
        sender = threading.Thread(target=lambda: conn.send(data).finish())
        sender.start()
        assert conn.read_to_end() == data
        sender.join()


def test_a_clients_half_close_arrives_and_the_answer_comes_back(relay, member):
    def script(conn: MemberConn):
        asked = conn.read_to_end()
        conn.send(b"got " + asked)

    with relay(member(script)).client.connect() as conn:
        conn.send(b"question").finish()
        assert conn.read_to_end() == b"got question"


def test_a_members_half_close_arrives_and_the_client_goes_on(relay, member):
    later: list[bytes] = []

    def script(conn: MemberConn):
        conn.send(b"hello").finish()
        later.append(conn.read_to_end())

    one = member(script)
    with relay(one).client.connect() as conn:
        assert conn.read_to_end() == b"hello"
        conn.send(b"still").send(b" here")
        one.wait_received(10)
        conn.finish()
        one.wait_idle()
    assert later == [b"still here"]


def test_a_half_close_before_any_byte_arrives(relay, member):
    one = member(echo)
    with relay(one).client.connect() as conn:
        conn.finish()
        assert conn.ended() == "closed"
    one.wait_idle()


def test_a_clients_reset_arrives_as_a_reset(relay, member):
    ends: list[str] = []

    def script(conn: MemberConn):
        conn.read_exactly(1)
        ends.append(conn.ended())

    one = member(script)
    conn = relay(one).client.connect().send(b"x")
    one.wait_received(1)
    conn.reset()
    one.wait_idle()
    assert ends == ["reset"]


def test_a_members_reset_arrives_as_a_reset(relay, member):
    def script(conn: MemberConn):
        conn.read_exactly(1)
        conn.reset()

    with relay(member(script)).client.connect() as conn:
        conn.send(b"x")
        assert conn.ended() == "reset"


def test_data_before_an_end_is_not_lost(relay, member):
    data = random.Random(2).randbytes(300_000)

    def script(conn: MemberConn):
        conn.read_exactly(1)
        conn.send(data)

    with relay(member(script)).client.connect(receive_buffer=4096) as conn:
        assert conn.send(b"x").read_to_end() == data


def test_each_connection_has_its_own_member_connection(relay, member):
    one = member(echo)
    client = relay(one).client
    conns = [client.connect() for _ in range(20)]
    for number, conn in enumerate(conns):
        conn.send(b"%02d" % number)
    for number, conn in enumerate(conns):
        conn.expect(b"%02d" % number)
        conn.close()
    one.wait_idle()
    assert sorted(bytes(conn.received) for conn in one.connections) == [b"%02d" % n for n in range(20)]


def test_connections_alternate_between_members(relay, member):
    one, two = member(greet(b"1")), member(greet(b"2"))
    client = relay(one, two).client
    seen = []
    for _ in range(20):
        with client.connect() as conn:
            seen.append(conn.read_exactly(1))
    assert seen in ([b"1", b"2"] * 10, [b"2", b"1"] * 10)


def test_a_member_that_refuses_is_passed_over(relay, member):
    one, two = member(echo).refuse(), member(echo)
    client = relay(one, two).client
    for _ in range(10):
        with client.connect() as conn:
            conn.send(b"hello").expect(b"hello")
    assert len(two.connections) == 10


def test_a_connection_without_any_member_is_accepted_and_closed(relay):
    with relay().client.connect() as conn:
        assert conn.ended() in ("closed", "reset")


def test_a_connection_without_any_pool_is_accepted_and_closed(relay):
    with relay(with_pool=False).client.connect() as conn:
        assert conn.ended() in ("closed", "reset")


def test_a_member_that_resets_what_it_accepts_costs_no_more_than_its_share(relay, member):
    # A reset that comes before a byte was sent sends the client to the other member; a later one is the client's to
    # know.
    one, two = member(reset_at_once), member(echo)
    client = relay(one, two).client
    served = 0
    for _ in range(8):
        with contextlib.suppress(OSError, MessageCut), client.connect() as conn:
            conn.send(b"x").expect(b"x")
            served += 1
    assert served >= 4
    assert len(one.connections) >= 4


def test_counters_agree_with_what_went_through(relay, member):
    balancer = relay(member(in_turn(echo, say_nothing)))
    with balancer.client.connect() as conn:
        conn.send(b"12345").expect(b"12345")
    eventually(lambda: balancer.listener.stats.active_connections == 0)
    with balancer.client.connect() as conn:
        conn.send(b"123")
        eventually(lambda: balancer.listener.stats.bytes_in == 8)
        stats = balancer.listener.stats
        assert stats.active_connections == 1
    eventually(lambda: balancer.listener.stats.active_connections == 0)
    stats = balancer.listener.stats
    assert stats.total_connections == 2
    assert stats.bytes_in == 8
    assert stats.bytes_out == 5
