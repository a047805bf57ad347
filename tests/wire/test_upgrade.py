# SPDX-License-Identifier: Apache-2.0
"""Upgrade: a tunnel opens only when the client asked for that protocol and the member agreed."""

import pytest

from fastlb.testing import MemberConn, http, in_turn, request, response, upgrade

ASK = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


def test_a_websocket_becomes_a_tunnel_for_any_bytes(balance, member):
    one = member(upgrade())
    with balance(one).client.connect() as conn:
        answer = conn.request(fields=ASK)
        assert answer.status == 101
        assert answer.get("Upgrade") == "websocket"
        assert answer.tokens("Connection") == ["upgrade"]
        for data in (b"\x81\x05hello", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 500):
            conn.send(data).expect(data)
        conn.finish()
        assert conn.ended() == "closed"
    asked = one.heads[0]
    assert asked.get("Upgrade") == "websocket"
    assert asked.tokens("Connection") == ["upgrade"]
    assert asked.get("Sec-WebSocket-Key") == ASK[2][1]


def test_bytes_right_behind_the_101_are_the_tunnels_first(balance, member):
    one = member(upgrade(greeting=b"welcome"))
    with balance(one).client.connect() as conn:
        assert conn.request(fields=ASK).status == 101
        conn.expect(b"welcome").send(b"x").expect(b"x")


def test_a_refused_upgrade_stays_http(balance, member):
    one = member(http(response(b"plain")))
    with balance(one).client.connect() as conn:
        conn.send(request("/1", fields=ASK) + request("/2"))
        assert conn.read_response().body == b"plain"
        assert conn.read_response().body == b"plain"
    assert one.targets == ["/1", "/2"]
    assert "Upgrade" not in one.requests[1]


def test_a_request_behind_an_upgrade_waits_for_the_members_decision(balance, member):
    one = member(upgrade())
    with balance(one).client.connect() as conn:
        conn.send(request("/1", fields=ASK) + b"early bytes")
        assert conn.read_response().status == 101
        conn.expect(b"early bytes")
    assert one.targets == ["/1"]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("Upgrade", "websocket")],
        [("Connection", "Upgrade")],
        [("Connection", "Upgrade"), ("Upgrade", "other")],
    ],
    ids=["not asked", "not in Connection", "no Upgrade", "another protocol"],
)
def test_a_101_that_was_not_asked_for_is_a_broken_answer(balance, member, fields):
    one = member(upgrade())
    with balance(one).client.connect() as conn:
        answer = conn.request(fields=fields)
        assert answer.status == 502
        one.wait_idle()
        assert one.targets == ["/"]


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ("1.0", ASK),
        ("1.1", [("Upgrade", "websocket")]),
        ("1.1", [("Connection", "Upgrade"), ("Upgrade", "h2c")]),
    ],
    ids=["HTTP/1.0", "not in Connection", "h2c"],
)
def test_an_upgrade_that_does_not_count_never_reaches_the_member(balance, member, version, fields):
    one = member()
    assert balance(one).client.request(fields=fields, version=version).status == 200
    assert "Upgrade" not in one.requests[0]
    assert "upgrade" not in one.requests[0].tokens("Connection")


def test_an_end_of_the_tunnel_is_carried_from_member_to_client(balance, member):
    def script(conn: MemberConn):
        conn.read_request()
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat/2\r\n\r\nbye")

    with balance(member(script)).client.connect() as conn:
        assert conn.request(fields=[("Connection", "upgrade"), ("Upgrade", "chat/1, chat/2")]).status == 101
        assert conn.read_to_end() == b"bye"


def test_a_tunnels_member_connection_is_never_reused(balance, member):
    one = member(in_turn(upgrade(), http()))
    client = balance(one).client
    with client.connect() as conn:
        assert conn.request(fields=ASK).status == 101
        conn.send(b"x").expect(b"x")
    one.wait_idle()
    assert client.get().status == 200
    assert bytes(one.connections[0].received).endswith(b"\r\n\r\nx")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upgrade_with_a_body_is_not_offered(balance, member, framing):
    # llhttp reads no body behind an upgrade's head: what is a body here would be a request there.
    hidden = request("/hidden")
    one = member(http(response(b"plain")))
    with balance(one).client.connect() as conn:
        if framing == "length":
            conn.send(request("/1", fields=ASK, body=hidden) + request("/2"))
        else:
            conn.send(request("/1", fields=ASK, pieces=[hidden]) + request("/2"))
        assert conn.read_response().body == b"plain"
        assert conn.read_response().body == b"plain"
    assert one.targets == ["/1", "/2"]
    assert one.requests[0].body == hidden
    assert "Upgrade" not in one.requests[0]
    assert "upgrade" not in one.requests[0].tokens("Connection")


@pytest.mark.workers(1)
def test_a_member_that_refused_an_upgrade_is_asked_on_a_fresh_connection(balance, member):
    one = member(http(response(b"plain")))
    client = balance(one).client
    with client.connect() as conn:
        assert conn.request(fields=ASK).body == b"plain"
        assert conn.request().body == b"plain"
        assert conn.request().body == b"plain"
    assert [message.connection for message in one.requests] == [0, 1, 1]
