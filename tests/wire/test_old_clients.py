# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.0 clients get what HTTP/1.0 knows: no chunks, and an end that is the end of the connection."""

import pytest

from fastlb.testing import http, request, response

ANSWERS = {
    "length": response(b"the body"),
    "chunked": response(pieces=[b"the", b" bo", b"dy"], trailers=[("X-End", "1")]),
    "close": response(None, fields=[("Connection", "close")]) + b"the body",
}


@pytest.mark.parametrize("framing", ANSWERS)
def test_an_old_client_gets_the_body_without_chunks_and_then_the_end(balance, member, framing):
    one = member(http(ANSWERS[framing]))
    with balance(one).client.connect() as conn:
        answer = conn.request(version="1.0")
        assert answer.body == b"the body"
        assert "Transfer-Encoding" not in answer
        assert "X-End" not in answer
        assert answer.trailers == []
        assert conn.ended() == "closed"
    assert one.requests[0].version == "1.1"


def test_an_old_client_without_host_is_served(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(b"GET /old HTTP/1.0\r\n\r\n")
        assert conn.read_response().status == 200
    # HTTP/1.1 goes to the member, and that needs a Host: the reader refuses a request without.
    assert one.targets == ["/old"]


def test_an_old_clients_body_arrives(balance, member):
    one = member()
    assert balance(one).client.request(method="POST", body=b"x" * 70_000, version="1.0").status == 200
    assert one.requests[0].body == b"x" * 70_000


def test_nothing_behind_an_old_request_is_a_request_unless_it_asked_to_stay(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(request("/1", version="1.0") + request("/2", version="1.0"))
        assert conn.read_response().status == 200
        conn.read_to_end()
    assert one.targets == ["/1"]


def test_an_answers_own_version_is_ours(balance, member):
    one = member(http(response(version="1.0", fields=[("Content-Type", "text/plain")])))
    client = balance(one).client
    assert client.get().version == "1.1"
    assert client.request(version="1.0").version == "1.1"


def test_a_later_minor_version_is_read_as_1_1(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(b"GET / HTTP/1.9\r\nHost: a\r\n\r\n" + request())
        assert conn.read_response().version == "1.1"
        assert conn.read_response().status == 200
    assert one.requests[0].version == "1.1"


@pytest.mark.parametrize("kind", ["a member's", "redirect", "reject", "no member"])
def test_an_old_client_that_asked_to_stay_is_told_that_it_may(balance, member, kind):
    # It would else wait for the end of a connection that does not end.
    statuses = {"a member's": 200, "redirect": 302, "reject": 403, "no member": 503}
    one = member()
    balancer = balance(one)
    if kind in ("redirect", "reject"):
        terms = {"redirect_url": "http://u.example/"} if kind == "redirect" else {}
        policy = balancer.listener.create_l7policy(action="REDIRECT_TO_URL" if terms else "REJECT", **terms)
        policy.create_rule(type="PATH", compare_type="STARTS_WITH", value="/")
    elif kind == "no member":
        balancer.pool.members[0].delete()
    with balancer.client.connect() as conn:
        for stays in (True, True, False):
            answer = conn.request(version="1.0", fields=[("Connection", "keep-alive")] if stays else [])
            assert answer.status == statuses[kind]
            assert answer.get("Connection") == ("keep-alive" if stays else "close")
        assert conn.ended() == "closed"
