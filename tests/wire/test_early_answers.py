# SPDX-License-Identifier: Apache-2.0
"""A member may answer before the request has ended: the answer arrives, and the rest is never taken for a request."""

import contextlib

import pytest

from fastlb.testing import MemberConn, http, in_turn, request, response

NO = response(b"too much", status=413, reason="Content Too Large", fields=[("Connection", "close")])


def answers_the_head(conn: MemberConn):
    if conn.read_request_head() is not None:
        conn.send(NO)
        conn.finish()
        with contextlib.suppress(ConnectionError):
            conn.read_to_end()


def answers_the_head_and_closes(conn: MemberConn):
    if conn.read_request_head() is not None:
        conn.send(NO)


def test_an_early_answer_arrives_while_the_client_still_sends(balance, member):
    with balance(member(answers_the_head)).client.connect() as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        answer = conn.read_response()
        assert answer.status == 413
        assert answer.body == b"too much"


@pytest.mark.parametrize("script", [answers_the_head, answers_the_head_and_closes])
def test_an_early_answer_is_not_reset_away(balance, member, script):
    with balance(member(script)).client.connect() as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            conn.send(b"x" * 200_000)
        assert conn.read_response().status == 413


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_rest_of_the_body_never_becomes_a_request(balance, member, framing):
    hidden = request("/hidden")

    def early(conn: MemberConn):
        while (message := conn.read_request_head()) is not None:
            conn.send(response(message.target.encode()))
            conn.read_request_body(message)

    one = member(early)
    with balance(one).client.connect() as conn:
        if framing == "length":
            head, body = b"Content-Length: %d" % len(hidden), hidden
        else:
            head, body = b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
        conn.send(b"POST /upload HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
        answer = conn.read_response()
        assert answer.body == b"/upload"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            conn.send(body + request("/next"))
        try:
            later = conn.read_response()
        except (AssertionError, ConnectionResetError):
            later = None
        if later is not None:
            assert later.body == b"/next"
    assert all(message.target != "/hidden" for message in one.heads)


@pytest.mark.workers(1)
def test_a_connection_with_half_a_request_on_it_serves_nobody_else(balance, member):
    one = member(in_turn(answers_the_head, http()))
    client = balance(one).client
    with client.connect() as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
        assert conn.read_response().status == 413
        assert client.get().body == b"ok"
    assert one.requests[0].connection == 1
