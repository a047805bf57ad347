# SPDX-License-Identifier: Apache-2.0
"""Silence has an end, and each kind of silence its own answer. All timeouts in milliseconds."""

import contextlib
import time

import pytest

from fastlb.testing import (
    FullMember,
    MemberConn,
    MessageCut,
    echo,
    named,
    request,
    response,
    say_nothing,
    upgrade,
)

TIMEOUT = 200


@contextlib.contextmanager
def takes(at_least=0.75 * TIMEOUT / 1000, at_most=5.0):
    """The block lasts as long as a timeout that really ran."""
    start = time.monotonic()
    yield
    assert at_least <= time.monotonic() - start <= at_most


CLIENT = {"timeout_client_data": TIMEOUT}
MEMBER = {"timeout_member_data": TIMEOUT}


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_end_is_a_408(balance, member, sent):
    one = member()
    with balance(one, listener=CLIENT).client.connect() as conn, takes():
        answer = conn.send(sent).read_response()
        assert answer.status == 408
        assert answer.closes
        assert conn.ended() == "closed"
    assert one.received == b""


def test_a_client_that_never_says_a_word_is_let_go(balance, member):
    with balance(member(), listener=CLIENT).client.connect() as conn, takes():
        rest = conn.read_to_end()
        assert not rest or rest.startswith(b"HTTP/1.1 408 ")


def test_an_idle_kept_connection_closes_silently(balance, member):
    with balance(member(), listener=CLIENT).client.connect() as conn:
        assert conn.request().status == 200
        with takes():
            assert conn.ended() == "closed"


def test_traffic_keeps_a_connection_alive(balance, member):
    with balance(member(), listener={"timeout_client_data": 400}).client.connect() as conn:
        end = time.monotonic() + 0.9
        while time.monotonic() < end:
            assert conn.request().status == 200
            assert not conn.pending(0.02)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_that_stalls_ends_and_takes_the_members_connection_along(balance, member, framing):
    one = member()
    with balance(one, listener=CLIENT).client.connect() as conn, takes():
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\n")
        if framing == "length":
            conn.send(b"Content-Length: 10\r\n\r\nhalf")
        else:
            conn.send(b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        rest = conn.read_to_end()
        assert not rest or rest.startswith(b"HTTP/1.1 408 ")
    one.wait_idle()
    assert one.requests == []


def test_a_member_that_does_not_answer_is_a_504_and_not_asked_twice(balance, member):
    one, two = member(say_nothing), member(say_nothing)
    with balance(one, two, listener=MEMBER).client.connect() as conn, takes():
        assert conn.request().status == 504
    one.wait_idle()
    two.wait_idle()
    assert (one.received + two.received).count(b"GET / ") == 1


def test_a_member_that_stalls_in_its_head_is_a_504(balance, member):
    def script(conn: MemberConn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nX")
        say_nothing(conn)

    with balance(member(script), listener=MEMBER).client.connect() as conn, takes():
        assert conn.request().status == 504


def test_a_member_that_stalls_in_its_body_is_seen_to_be_cut(balance, member):
    def script(conn: MemberConn):
        conn.read_request()
        conn.send(response(b"half", length=8))
        say_nothing(conn)

    one = member(script)
    with balance(one, listener=MEMBER).client.connect() as conn, takes():
        conn.send(request())
        with pytest.raises((MessageCut, ConnectionResetError)):
            conn.read_response()
    one.wait_idle()


def test_a_member_that_cannot_be_connected_to_is_passed_over(balance, member):
    with FullMember() as full:
        client = balance(full, member(named("alive")), listener={"timeout_member_connect": TIMEOUT}).client
        for _ in range(2):
            assert client.get().body == b"alive"


def test_a_single_member_that_cannot_be_connected_to_is_a_503(balance):
    with FullMember() as full:
        client = balance(full, listener={"timeout_member_connect": TIMEOUT}).client
        with takes():
            assert client.get().status == 503


def test_a_silent_tcp_session_ends_on_both_sides(balance, member):
    one = member(echo)
    with balance(one, protocol="TCP", listener=CLIENT | MEMBER).client.connect() as conn:
        conn.send(b"x").expect(b"x")
        with takes():
            assert conn.ended() in ("closed", "reset")
    one.wait_idle()


def test_traffic_keeps_a_tcp_session_alive(balance, member):
    both = {"timeout_client_data": 400, "timeout_member_data": 400}
    with balance(member(echo), protocol="TCP", listener=both).client.connect() as conn:
        end = time.monotonic() + 0.9
        while time.monotonic() < end:
            conn.send(b"x").expect(b"x")
            assert not conn.pending(0.02)


def test_a_tcp_member_that_cannot_be_connected_to_is_passed_over(balance, member):
    options = {"timeout_member_connect": TIMEOUT}
    with FullMember() as full:
        client = balance(full, member(echo), protocol="TCP", listener=options).client
        for _ in range(2):
            with client.connect() as conn:
                conn.send(b"x").expect(b"x")


def test_a_silent_websocket_ends(balance, member):
    one = member(upgrade("chat"))
    with balance(one, listener=CLIENT | MEMBER).client.connect() as conn:
        assert conn.request(fields=[("Connection", "upgrade"), ("Upgrade", "chat")]).status == 101
        conn.send(b"x").expect(b"x")
        with takes():
            assert conn.ended() in ("closed", "reset")
    one.wait_idle()


def test_a_changed_timeout_holds_from_now_on(balance, member):
    balancer = balance(member())
    balancer.listener.timeout_client_data = TIMEOUT
    with balancer.client.connect() as conn, takes():
        assert conn.send(b"G").read_response().status == 408
