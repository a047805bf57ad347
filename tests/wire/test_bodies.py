# SPDX-License-Identifier: Apache-2.0
"""Bodies of every framing and size arrive as they were sent, both ways."""

import random
import threading

import pytest

from fastlb.testing import http, http_echo, request

SIZES = [0, 1, 2, 15, 16, 4095, 4096, 16_383, 16_384, 16_385, 65_536, 1_000_003]


def data_of(size):
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_length_bodies_arrive_whole_both_ways(balance, member, size):
    one = member(http(http_echo))
    body = data_of(size)
    with balance(one).client.connect() as conn:
        for _ in range(2):
            answer = conn.request(method="POST", body=body)
            assert answer.framing == "length"
            assert answer.body == body
    assert one.requests[0].get("Content-Length") == str(size)


@pytest.mark.parametrize("size", SIZES)
def test_chunked_bodies_arrive_whole_both_ways(balance, member, size):
    one = member(http(http_echo))
    body = data_of(size)
    cuts = sorted(random.Random(7).sample(range(size + 1), min(5, size)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, size], strict=True)]
    with balance(one).client.connect() as conn:
        for _ in range(2):
            sender = threading.Thread(target=conn.send, args=(request(method="POST", pieces=pieces),))
            sender.start()
            answer = conn.read_response()
            sender.join()
            assert answer.framing == "chunked"
            assert answer.body == body
    assert one.requests[0].body == body


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PURGE"])
def test_a_body_goes_on_whatever_the_method(balance, member, method):
    one = member(http(http_echo))
    with balance(one).client.connect() as conn:
        assert (
            conn.request(method=method, body=b"GET /inner HTTP/1.1\r\n\r\n").body
            == b"GET /inner HTTP/1.1\r\n\r\n"
        )
        assert conn.request("/next").status == 200
    assert one.targets == ["/", "/next"]


def test_a_post_without_any_length_has_no_body(balance, member):
    one = member(http(http_echo))
    with balance(one).client.connect() as conn:
        conn.send(b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n" + request("/b"))
        assert conn.read_response().body == b""
        assert conn.read_response().status == 200
    assert one.targets == ["/a", "/b"]


def test_unusual_chunks_are_read_and_written_plainly(balance, member):
    one = member(http(http_echo))
    with balance(one).client.connect() as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n")
        conn.send(b'0000000000000003;name=value;q="a;b"\r\nabc\r\nA\r\n0123456789\r\n00\r\n\r\n')
        assert conn.read_response().body == b"abc0123456789"
        assert conn.request("/next").status == 200
    assert b"name=value" not in one.received
