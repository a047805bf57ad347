# SPDX-License-Identifier: Apache-2.0
"""What is sent again and what never is: no request reaches a member twice unless that is safe."""

import pytest

from fastlb.testing import MemberConn, http, http_echo, in_turn, named, raw, reset_at_once, response


def answers_once(conn: MemberConn):
    """Answer the first request of a connection; read the second one and close without a word."""
    conn.read_request()
    conn.send(response(b"first"))
    conn.read_request_head()


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_a_refused_connect_is_tried_on_another_member_whatever_the_method(balance, member, method):
    dead, alive = member().refuse(), member(http(http_echo))
    client = balance(dead, alive).client
    for _ in range(50):
        answer = client.request(method=method, body=b"the body")
        assert answer.status == 200
        assert answer.body == b"the body"
    assert len(alive.requests) == 50


def test_a_large_upload_survives_a_refused_connect(balance, member):
    dead, alive = member().refuse(), member(http(http_echo))
    client = balance(dead, alive).client
    for _ in range(4):
        assert client.request(method="POST", body=b"b" * 300_000).body == b"b" * 300_000


def test_several_dead_members_are_passed_over(balance, member):
    dead = [member().refuse() for _ in range(3)]
    client = balance(*dead, member(named("alive"))).client
    assert set(client.bodies(20)) == {b"alive"}


def test_a_single_member_that_refuses_is_a_503(balance, member):
    with balance(member().refuse()).client.connect() as conn:
        assert conn.request(method="POST", body=b"x").status == 503


def test_a_member_that_comes_back_is_used_again(balance, member):
    one = member().refuse()
    client = balance(one).client
    assert client.get().status == 503
    one.resume()
    assert client.get().status == 200


@pytest.mark.workers(1)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE"])
def test_an_idempotent_request_on_a_dying_reused_connection_is_sent_again(balance, member, method):
    one = member(in_turn(answers_once, http(response(b"second"))))
    with balance(one).client.connect() as conn:
        assert conn.request().body == b"first"
        assert conn.request("/again", method=method).status == 200
    assert [(message.target, message.connection) for message in one.heads] == [
        ("/", 0),
        ("/again", 0),
        ("/again", 1),
    ]


@pytest.mark.workers(1)
def test_a_put_is_sent_again_only_with_its_whole_body(balance, member):
    one = member(in_turn(answers_once, http(http_echo)))
    with balance(one).client.connect() as conn:
        assert conn.request().body == b"first"
        answer = conn.request(method="PUT", body=b"the body")
        assert answer.status in (200, 502)
        if answer.status == 200:
            assert answer.body == b"the body"


@pytest.mark.workers(1)
@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
def test_another_request_on_a_dying_reused_connection_is_a_502_and_sent_once(balance, member, method):
    one = member(in_turn(answers_once, http()))
    with balance(one).client.connect() as conn:
        assert conn.request().body == b"first"
        assert conn.request("/once", method=method, body=b"x").status == 502
    assert [message.target for message in one.heads] == ["/", "/once"]


@pytest.mark.workers(1)
def test_sending_again_has_an_end(balance, member):
    def reads_and_closes(conn: MemberConn):
        conn.read_request_head()

    one = member(in_turn(answers_once, reads_and_closes))
    with balance(one).client.connect() as conn:
        assert conn.request().body == b"first"
        assert conn.request("/again").status in (502, 503)
    assert 2 <= [message.target for message in one.heads].count("/again") <= 5


@pytest.mark.workers(1)
@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"])
def test_nothing_is_sent_again_once_an_answer_has_begun(balance, member, begun):
    def script(conn: MemberConn):
        conn.read_request()
        conn.send(response(b"first"))
        conn.read_request_head()
        conn.send(begun)

    one = member(in_turn(script, http()))
    with balance(one).client.connect() as conn:
        assert conn.request().body == b"first"
        assert conn.request("/once").status == 502
    assert [message.target for message in one.heads] == ["/", "/once"]


def test_a_fresh_connection_that_dies_behind_a_post_is_a_502_and_sent_once(balance, member):
    one = member(raw(b"", then="close"))
    two = member(raw(b"", then="close"))
    assert balance(one, two).client.request("/once", method="POST", body=b"x").status == 502
    assert len(one.heads) + len(two.heads) == 1


def test_a_member_that_resets_every_connection_does_not_keep_a_client_waiting(balance, member):
    answer = balance(member(reset_at_once)).client.request(method="POST", body=b"x")
    assert answer.status in (502, 503)
