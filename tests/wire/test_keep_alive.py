# SPDX-License-Identifier: Apache-2.0
"""Connections are kept on both sides, and a member's serves one client after the other."""

import pytest

from fastlb.testing import http, in_turn, request, response


def test_one_client_connection_serves_many_requests(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        for number in range(20):
            answer = conn.request(f"/{number}")
            assert answer.body == b"ok"
            assert not answer.closes
        assert conn.still_open()
    assert one.targets == [f"/{number}" for number in range(20)]
    assert len(one.connections) == 1


@pytest.mark.workers(1)
def test_a_member_connection_is_reused_across_clients(balance, member):
    one = member()
    client = balance(one).client
    assert list(client.bodies(20)) == [b"ok"] * 20
    assert len(one.connections) == 1


def test_each_worker_needs_at_most_one_member_connection_for_clients_in_turn(balance, member):
    one = member()
    client = balance(one).client
    assert list(client.bodies(50)) == [b"ok"] * 50
    assert len(one.connections) <= 2


@pytest.mark.workers(1)
@pytest.mark.parametrize("options", ["close", "Close", "keep-alive, CLOSE", "x ,\tclose"])
def test_close_ends_the_clients_connection_and_not_the_members(balance, member, options):
    one = member()
    client = balance(one).client
    with client.connect() as conn:
        assert conn.request(fields=[("Connection", options)]).closes
        assert conn.ended() == "closed"
    assert client.get().status == 200
    assert len(one.connections) == 1
    assert "Connection" not in one.requests[0]


def test_nothing_behind_a_request_that_says_close_is_a_request(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(request("/last", fields=[("Connection", "close")]) + request("/never"))
        assert conn.read_response().closes
        conn.read_to_end()
    assert one.targets == ["/last"]


@pytest.mark.parametrize(
    "first",
    [
        response(fields=[("Connection", "close")]),
        response(version="1.0"),
        response(version="1.0", fields=[("Connection", "close")]),
        response(None, fields=[("Connection", "close")]) + b"ok",
    ],
    ids=["close", "1.0", "1.0 close", "until close"],
)
def test_a_member_that_closes_does_not_close_its_client(balance, member, first):
    one = member(in_turn(http(first), http(response(b"second"))))
    with balance(one).client.connect() as conn:
        answer = conn.request()
        assert answer.version == "1.1"
        assert answer.body in (b"ok", b"")
        assert not answer.closes
        assert conn.request().body == b"second"
    assert [one.connection for one in one.requests] == [0, 1]


def test_clients_at_the_same_time_get_their_own_answers(balance, member):
    one = member(http(lambda request: response(request.target.encode())))
    client = balance(one).client
    conns = [client.connect() for _ in range(30)]
    for turn in range(3):
        for number, conn in enumerate(conns):
            conn.send(request(f"/{turn}/{number}"))
        for number, conn in reversed(list(enumerate(conns))):
            assert conn.read_response().body == f"/{turn}/{number}".encode()
    for conn in conns:
        conn.close()
