# SPDX-License-Identifier: Apache-2.0
"""Requests sent without waiting are answered in their order."""

import threading

import pytest

from fastlb.testing import held, http, named, request, response


def echo_target(message):
    return response(message.target.encode() + b" " + message.body)


STORY = (
    request("/1")
    + request("/2", method="POST", body=b"length")
    + request("/3", method="POST", pieces=[b"chu", b"nks"])
    + request("/4", method="PUT", body=b"")
    + request("/5", method="DELETE")
)
ANSWERS = [b"/1 ", b"/2 length", b"/3 chunks", b"/4 ", b"/5 "]


@pytest.mark.parametrize("piece", [len(STORY), 1, 7, 61])
def test_pipelined_requests_keep_their_order_however_they_arrive(balance, member, piece):
    one = member(http(echo_target))
    with balance(one).client.connect() as conn:
        conn.send_slowly(STORY, piece)
        assert [conn.read_response().body for _ in ANSWERS] == ANSWERS
        assert conn.still_open()


def test_many_requests_in_one_segment_are_all_answered(balance, member):
    one = member(http(echo_target))
    with balance(one).client.connect() as conn:
        conn.send(b"".join(request(f"/{number}") for number in range(200)))
        assert [conn.read_response().body for _ in range(200)] == [
            f"/{number} ".encode() for number in range(200)
        ]


def test_a_slow_first_answer_holds_back_the_second(balance, member):
    gate = threading.Event()
    slow, fast = member(held(gate, response(b"slow"))), member(named("fast"))
    with balance(slow, fast).client.connect() as conn:
        conn.send(request("/1") + request("/2"))
        slow.wait_requests(1)
        assert not conn.pending(0.05)
        gate.set()
        assert [conn.read_response().body for _ in range(2)] == [b"slow", b"fast"]


def test_requests_before_the_clients_half_close_are_all_answered(balance, member):
    one = member(http(echo_target))
    with balance(one).client.connect() as conn:
        conn.send(STORY).finish()
        assert [conn.read_response().body for _ in ANSWERS] == ANSWERS
        assert conn.ended() == "closed"


def test_a_bad_request_behind_good_ones_is_refused_behind_their_answers(balance, member):
    one = member(http(echo_target))
    with balance(one).client.connect() as conn:
        conn.send(request("/1") + request("/2") + b"GET /3 HTTP/1.1\r\nbad line\r\n\r\n" + request("/4"))
        assert [conn.read_response().body for _ in range(2)] == [b"/1 ", b"/2 "]
        assert conn.read_response().status == 400
        conn.read_to_end()
    assert one.targets == ["/1", "/2"]
