# SPDX-License-Identifier: Apache-2.0
"""Expect: 100-continue: the client learns whether to send its body, and never gets stuck."""

import pytest

from fastlb.testing import MemberConn, continue_100, http, http_echo, request, response

HEAD = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"


def test_a_client_that_waits_gets_its_100_and_then_the_answer(balance, member):
    one = member(continue_100(http_echo))
    with balance(one).client.connect() as conn:
        for _ in range(2):
            conn.send(HEAD)
            assert conn.read_response_head().status == 100
            answer = conn.send(b"body").read_response()
            assert answer.status == 200
            assert answer.body == b"body"
    assert [message.body for message in one.requests] == [b"body", b"body"]


def test_a_client_that_does_not_wait_is_served_too(balance, member):
    one = member(http(http_echo))
    with balance(one).client.connect() as conn:
        answer = conn.send(HEAD + b"body" + request("/next")).read_response()
        assert answer.status == 200
        assert answer.body == b"body"
        assert len(answer.interim) <= 1
        assert conn.read_response().status == 200
    assert one.targets == ["/upload", "/next"]


def test_a_body_that_the_member_did_not_want_never_becomes_a_request(balance, member):
    hidden = request("/hidden")
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(
        hidden
    )

    def refuse(conn: MemberConn):
        while (message := conn.read_request_head()) is not None:
            if message.target == "/upload":
                conn.send(response(b"no", status=417, reason="Expectation Failed"))
                conn.read_request_body(message)
            else:
                conn.send(response())

    one = member(refuse)
    with balance(one).client.connect() as conn:
        answer = conn.send(head).read_response()
        if answer.interim:
            assert answer.interim[0].status == 100
        assert answer.status == 417
        if not answer.closes:
            conn.send(hidden + request("/next"))
            assert conn.read_response().status == 200
    assert "/hidden" not in one.targets
    assert all(message.target != "/hidden" for message in one.heads)


def test_an_old_client_gets_no_100(balance, member):
    one = member(continue_100())
    with balance(one).client.connect() as conn:
        conn.send(HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"body")
        answer = conn.read_response()
    assert answer.interim == []
    assert answer.status == 200


@pytest.mark.parametrize("value", ["100-Continue", "100-CONTINUE"])
def test_the_expectation_is_read_in_any_case(balance, member, value):
    one = member(continue_100())
    with balance(one).client.connect() as conn:
        conn.send(HEAD.replace(b"100-continue", value.encode()))
        assert conn.read_response_head().status == 100
        assert conn.send(b"body").read_response().status == 200


@pytest.mark.workers(1)
def test_a_member_that_answers_instead_of_asking_for_the_body_is_asked_no_more_on_that_connection(
    balance, member
):
    # It may take the body, which it never asked for, for its next request.
    one = member(http(http_echo))
    client = balance(one).client
    with client.connect() as conn:
        assert conn.send(HEAD + b"body").read_response().body == b"body"
        assert conn.request().status == 200
    assert [message.connection for message in one.requests] == [0, 1]
    asking = member(continue_100(http_echo))
    with balance(asking).client.connect() as conn:
        assert conn.send(HEAD + b"body").read_response().body == b"body"
        assert conn.request().status == 200
    assert [message.connection for message in asking.requests] == [0, 0]
