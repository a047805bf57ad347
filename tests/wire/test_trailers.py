# SPDX-License-Identifier: Apache-2.0
"""Trailers stay trailers: never part of the head, and never framing, routing or authentication."""

import contextlib

import pytest

from fastlb.testing import http, request, response

GOOD = [("X-Checksum", "abc"), ("Server-Timing", "a;dur=1, b;dur=2")]
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD = [
    ("Content-Length", "3"),
    ("Transfer-Encoding", "chunked"),
    ("Host", "evil"),
    ("Authorization", "Basic eDp5"),
    ("Connection", "close"),
    ("Keep-Alive", "timeout=1"),
    ("Trailer", "x"),
    ("Upgrade", "h2c"),
]


def test_trailers_of_a_request_arrive_as_trailers(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(request(method="POST", pieces=[b"body"], trailers=GOOD) + request("/next"))
        assert conn.read_response().status == 200
        assert conn.read_response().status == 200
    got = one.requests[0]
    assert got.body == b"body"
    assert got.trailers == GOOD
    assert "X-Checksum" not in got


def test_trailers_of_an_answer_arrive_as_trailers(balance, member):
    one = member(http(response(pieces=[b"body"], trailers=GOOD)))
    with balance(one).client.connect() as conn:
        for _ in range(2):
            got = conn.request(fields=[("TE", "trailers")])
            assert got.body == b"body"
            assert got.trailers == GOOD
            assert "X-Checksum" not in got


@pytest.mark.parametrize("field", BAD, ids=[name for name, _ in BAD])
def test_a_request_trailer_that_would_be_believed_never_arrives(balance, member, field):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(request(method="POST", pieces=[b"body"], trailers=[*GOOD, field]))
        answer = conn.read_response()
        assert answer.status in (200, 400)
    for got in one.requests:
        assert field[0].lower() not in [name.lower() for name, _ in got.trailers]
    if answer.status == 400:
        assert one.requests == []


@pytest.mark.parametrize("field", BAD, ids=[name for name, _ in BAD])
def test_an_answers_trailer_that_would_be_believed_never_arrives(balance, member, field):
    one = member(http(response(pieces=[b"body"], trailers=[*GOOD, field])))
    with balance(one).client.connect() as conn:
        got = conn.request()
        assert got.body == b"body"
        assert got.trailers == GOOD


def test_a_trailer_that_connection_names_is_removed(balance, member):
    one = member(http(response(pieces=[b"x"], fields=[("Connection", "X-Hop")], trailers=[("X-Hop", "1")])))
    with balance(one).client.connect() as conn:
        head = HEAD.replace(b"\r\n\r\n", b"\r\nConnection: x-hop\r\n\r\n")
        conn.send(head + b"4\r\nbody\r\n0\r\nX-Hop: 1\r\n\r\n")
        assert conn.read_response().trailers == []
    assert one.requests[0].trailers == []


@pytest.mark.parametrize(
    "trailers",
    [
        b"X : 1\r\n\r\n",
        b"X: 1\n\r\n",
        b"no colon\r\n\r\n",
        b"X: 1\r\n folded\r\n\r\n",
        b"X: a\0b\r\n\r\n",
        b"\n",
    ],
)
def test_broken_trailers_are_a_broken_request(balance, member, trailers):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(HEAD + b"4\r\nbody\r\n0\r\n" + trailers)
        answer = conn.read_response()
        assert answer.status == 400
        assert answer.closes
        conn.read_to_end()
    assert one.requests == []


def test_trailers_without_end_are_refused(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(HEAD + b"4\r\nbody\r\n0\r\n")
        conn.send(b"X-Fill: " + b"x" * 1000 + b"\r\n")
        for _ in range(200):
            if conn.pending():
                break
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                conn.send((b"X-Fill: " + b"x" * 1000 + b"\r\n") * 5)
        assert conn.read_response().status in (400, 431)
    assert one.requests == []
