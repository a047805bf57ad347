# SPDX-License-Identifier: Apache-2.0
"""The answers we make ourselves: Octavia's words, a length, and a connection in a defined state."""

import contextlib
import threading
import time

import pytest

from fastlb.testing import raw, request, say_nothing

SECOND_LINE = {
    400: "Your browser sent an invalid request.",
    408: "Your browser didn't send a complete request in time.",
    502: "The server returned an invalid or incomplete response.",
    503: "No server is available to handle this request.",
    504: "The server didn't respond in time.",
}


def looks_like_octavias(answer):
    assert answer.version == "1.1"
    assert answer.get("Content-Type") == "text/html"
    assert answer.get("Cache-Control") == "no-cache"
    assert answer.get("Content-Length") == str(len(answer.body))
    lines = answer.body.decode().split("\n")
    assert lines[0].startswith(f"<html><body><h1>{answer.status} ")
    assert lines[1] == SECOND_LINE[answer.status]
    assert lines[2:] == ["</body></html>", ""]
    return True


def test_400_says_so_and_closes(balance, member):
    with balance(member()).client.connect() as conn:
        answer = conn.send(b"nonsense\r\n\r\n").read_response()
        assert answer.status == 400
        assert looks_like_octavias(answer)
        assert answer.closes
        assert conn.ended() == "closed"


def test_408_says_so_and_closes(balance, member):
    with balance(member(), listener={"timeout_client_data": 150}).client.connect() as conn:
        answer = conn.send(b"GET / HTTP/1.1\r\n").read_response()
        assert answer.status == 408
        assert looks_like_octavias(answer)
        assert answer.closes
        assert conn.ended() == "closed"


def test_502_says_so(balance, member):
    with balance(member(raw(b"nonsense\r\n\r\n"))).client.connect() as conn:
        answer = conn.request()
        assert answer.status == 502
        assert looks_like_octavias(answer)


@pytest.mark.parametrize("with_pool", [True, False])
def test_503_says_so_and_the_connection_goes_on(balance, with_pool):
    with balance(with_pool=with_pool).client.connect() as conn:
        for _ in range(3):
            answer = conn.request()
            assert answer.status == 503
            assert looks_like_octavias(answer)
            if answer.closes:
                assert conn.ended() == "closed"
                break


def test_504_says_so(balance, member):
    with balance(member(say_nothing), listener={"timeout_member_data": 150}).client.connect() as conn:
        answer = conn.request()
        assert answer.status == 504
        assert looks_like_octavias(answer)


def test_head_gets_our_answers_without_a_body(balance):
    with balance().client.connect() as conn:
        conn.send(request(method="HEAD") + request())
        answer = conn.read_response("HEAD")
        assert answer.status == 503
        if not answer.closes:
            assert conn.read_response().status == 503


def test_an_old_client_gets_our_answers_and_the_end(balance):
    with balance().client.connect() as conn:
        answer = conn.request(version="1.0")
        assert answer.status == 503
        assert looks_like_octavias(answer)
        assert conn.ended() == "closed"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_503_leaves_no_byte_of_the_body_to_be_a_request(balance, member, framing):
    hidden = request("/hidden")
    message = (
        request(method="POST", body=hidden)
        if framing == "length"
        else request(method="POST", pieces=[hidden])
    )
    balancer = balance()
    one = member()
    with balancer.client.connect() as conn:
        conn.send(message)
        answer = conn.read_response()
        assert answer.status == 503
        balancer.add(one)
        if not answer.closes:
            conn.send(request("/next"))
            assert conn.read_response().status == 200
    assert "/hidden" not in one.targets


def test_our_answer_is_not_reset_away_by_what_the_client_still_sends(balance):
    with balance().client.connect() as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 150000\r\n\r\n" + b"x" * 150_000)
        assert conn.read_response().status == 503


def test_a_refusal_is_not_reset_away_either(balance, member):
    with balance(member()).client.connect() as conn:
        conn.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n" + b"x" * 100_000)
        answer = conn.read_response()
        assert answer.status == 400
        assert answer.closes


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["a flood", "a trickle"])
def test_what_a_refused_client_still_sends_is_read_for_a_while_only(balance, member, pause):
    balancer = balance(member())
    with balancer.client.connect() as conn:
        conn.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        assert conn.read_response().status == 400
        start, sent = time.monotonic(), 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - start < 10:
                sent += conn.socket.send(b"x" if pause else b"x" * 65536)
                threading.Event().wait(pause)
        assert time.monotonic() - start < 5
        assert sent < 64 << 20
    assert balancer.listener.stats.active_connections == 0
