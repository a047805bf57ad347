# SPDX-License-Identifier: Apache-2.0
"""What happens to a kept member connection between two requests never becomes anybody's answer."""

import threading

import pytest

from fastlb.testing import MemberConn, http, in_turn, response, wait_until_taken


@pytest.mark.workers(1)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_the_member_closed_is_not_used_again(balance, member, method):
    one = member()
    with balance(one).client.connect() as conn:
        assert conn.request().status == 200
        one.drop_connections()
        assert conn.request(method=method, body=b"x").status == 200
    assert [request.connection for request in one.requests] == [0, 1]
    assert len(one.heads) == 2


@pytest.mark.workers(1)
def test_bytes_behind_an_answer_are_never_delivered(balance, member):
    first = response(b"first") + response(b"stolen")
    one = member(in_turn(http(first), http(response(b"second"))))
    client = balance(one).client
    with client.connect() as conn:
        assert conn.request().body == b"first"
        assert conn.request().body == b"second"
    assert client.get().body == b"second"


@pytest.mark.workers(1)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unasked_answer_on_an_idle_connection_is_never_delivered(balance, member, method):
    gate, sent = threading.Event(), threading.Event()

    def goodbye(conn: MemberConn):
        conn.read_request()
        conn.send(response(b"first"))
        conn.wait(gate)
        conn.send(response(b"too late", status=408, reason="Request Timeout"))
        wait_until_taken(conn)
        sent.set()
        conn.read_to_end()

    one = member(in_turn(goodbye, http(response(b"second"))))
    with balance(one).client.connect() as conn:
        assert conn.request().body == b"first"
        gate.set()
        assert sent.wait(5)
        assert conn.request(method=method, body=b"x").body == b"second"
    assert len(one.heads) == 2


@pytest.mark.workers(1)
def test_a_connection_with_bytes_behind_an_answer_is_closed(balance, member):
    one = member(in_turn(http(response(b"first") + b"x"), http()))
    client = balance(one).client
    assert client.get().body == b"first"
    assert one.connections[0].over.wait(5)
    assert client.get().status == 200
