# SPDX-License-Identifier: Apache-2.0
"""Heads have a size: what every client may send passes, what nobody sends is refused by name."""

import contextlib

import pytest

from fastlb.testing import http, request, response, wait_until_taken


def refused(balancer, message):
    """The answer to a message that is never read to its end."""
    with balancer.client.connect() as conn:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            conn.send(message)
        answer = conn.read_response()
        assert answer.closes
        assert answer.framing == "length"
        assert conn.ended() in ("closed", "reset")
    return answer.status


def test_a_target_of_8000_octets_passes(balance, member):
    one = member()
    target = "/" + "a" * 7999
    assert balance(one).client.get(target).status == 200
    assert one.targets == [target]


def test_a_target_beyond_all_reason_is_414(balance, member):
    one = member()
    assert refused(balance(one), request("/" + "a" * 200_000)) == 414
    assert one.received == b""


def test_a_field_line_of_8_kib_passes(balance, member):
    one = member()
    assert balance(one).client.request(fields=[("Cookie", "c" * 8100)]).status == 200
    assert one.requests[0].get("Cookie") == "c" * 8100


def test_ninety_fields_pass(balance, member):
    one = member()
    fields = [(f"X-{number}", str(number)) for number in range(90)]
    assert balance(one).client.request(fields=fields).status == 200
    assert [field for field in one.requests[0].fields if field[0].startswith("X-")] == fields


def test_too_many_fields_are_431(balance, member):
    one = member()
    fields = [(f"X-{number}", "v") for number in range(1000)]
    assert refused(balance(one), request(fields=fields)) == 431
    assert one.received == b""


def test_too_large_a_head_is_431(balance, member):
    one = member()
    assert refused(balance(one), request(fields=[(f"X-{n}", "v" * 7000) for n in range(20)])) == 431
    assert one.received == b""


def test_one_field_without_end_is_431(balance, member):
    one = member()
    message = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"v" * 300_000
    assert refused(balance(one), message) == 431
    assert one.received == b""


@pytest.mark.parametrize("limit", [1024, 33_000, 65_535])
@pytest.mark.parametrize("share", [0.3, 0.52, 0.98])
def test_too_large_a_head_is_431_whatever_the_limit_and_the_pieces(balance, member, limit, share):
    message = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"v" * 100_000
    with balance(member(), listener={"request_head_limit": limit}).client.connect() as conn:
        conn.send(message[: int(limit * share)])
        wait_until_taken(conn)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            conn.send(message[int(limit * share) :])
        assert conn.read_response().status == 431


def test_a_head_that_arrives_behind_other_bytes_has_the_same_limit(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        large = request("/large", fields=[(f"X-{n}", "v" * 3000) for n in range(8)])
        conn.send(request("/1", method="POST", body=b"b" * 9000) + large + request("/2"))
        assert [conn.read_response().status for _ in range(3)] == [200] * 3
    assert one.targets == ["/1", "/large", "/2"]


def test_a_large_but_legal_answer_head_passes(balance, member):
    fields = [(f"X-{n}", "v" * 1500) for n in range(8)]
    one = member(http(response(fields=fields)))
    answer = balance(one).client.get()
    assert answer.status == 200
    assert [field for field in answer.fields if field[0].startswith("X-")] == fields


def test_an_answer_head_beyond_all_reason_is_502(balance, member):
    one = member(http(response(fields=[(f"X-{n}", "v" * 7000) for n in range(40)])))
    assert balance(one).client.get().status == 502


def test_an_answer_with_too_many_fields_is_502(balance, member):
    one = member(http(response(fields=[(f"X-{n}", "v") for n in range(1000)])))
    assert balance(one).client.get().status == 502
