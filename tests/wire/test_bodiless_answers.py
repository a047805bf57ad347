# SPDX-License-Identifier: Apache-2.0
"""HEAD, 1xx, 204 and 304 have no body, whatever their fields say, and what follows is the next answer."""

import pytest

from fastlb.testing import MemberConn, http, in_turn, request, response

INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"


@pytest.mark.parametrize("length", [0, 5, 10**12])
def test_head_keeps_the_length_and_has_no_body(balance, member, length):
    one = member(http(response(b"", length=length)))
    with balance(one).client.connect() as conn:
        for _ in range(2):
            answer = conn.request(method="HEAD")
            assert answer.get("Content-Length") == str(length)
            assert answer.body == b""
        assert not conn.pending()
    assert [message.method for message in one.requests] == ["HEAD", "HEAD"]
    assert len(one.connections) == 1


def test_head_of_a_chunked_resource_has_no_body(balance, member):
    one = member(http(response(pieces=[b"body"])))
    with balance(one).client.connect() as conn:
        assert conn.request(method="HEAD").status == 200
        assert conn.request().body == b"body"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("fields", [[], [("Content-Length", "5")], [("ETag", '"x"')]])
def test_an_answer_without_body_is_followed_by_the_next(balance, member, status, fields):
    if status == 204 and fields and fields[0][0] == "Content-Length":
        fields = [("Content-Length", "0")]
    empty = response(None, status=status, reason="Empty", fields=fields)

    def script(conn: MemberConn):
        while (message := conn.read_request()) is not None:
            conn.send(empty if message.target == "/empty" else response())

    one = member(script)
    with balance(one).client.connect() as conn:
        conn.send(request("/empty") + request("/next"))
        answer = conn.read_response()
        assert answer.status == status
        assert conn.read_response().body == b"ok"
    assert len(one.connections) == 1


@pytest.mark.workers(1)
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_body_where_none_may_be_is_dropped_with_its_connection(balance, member, method, status):
    def wrong(conn: MemberConn):
        conn.read_request()
        conn.send(response(response(b"stolen"), status=status))
        conn.read_to_end()

    one = member(in_turn(wrong, http(response(b"second"))))
    with balance(one).client.connect() as conn:
        answer = conn.request(method=method)
        assert answer.status == status
        assert conn.request().body == b"second"
        assert one.connections[0].over.wait(5)


@pytest.mark.parametrize("count", [1, 5])
def test_interim_answers_reach_a_new_client_before_the_final_one(balance, member, count):
    one = member(http(INTERIM * count + response()))
    with balance(one).client.connect() as conn:
        for _ in range(2):
            answer = conn.request()
            assert answer.body == b"ok"
            assert all(interim.status == 103 for interim in answer.interim)


def test_interim_answers_never_reach_an_old_client(balance, member):
    one = member(http(INTERIM + response()))
    answer = balance(one).client.request(version="1.0")
    assert answer.status == 200
    assert answer.interim == []


def test_interim_answers_without_end_are_a_broken_answer(balance, member):
    def script(conn: MemberConn):
        conn.read_request()
        for _ in range(100_000):
            conn.send(INTERIM)

    with balance(member(script)).client.connect() as conn:
        answer = conn.request()
        assert answer.status == 502
        assert len(answer.interim) <= 16


@pytest.mark.workers(1)
@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_an_interim_answer_with_a_length_ends_the_trust_in_its_connection(balance, member, framing):
    def script(conn: MemberConn):
        conn.read_request()
        conn.send(f"HTTP/1.1 100 Continue\r\n{framing}\r\n\r\n".encode() + response(b"first"))
        conn.read_to_end()

    one = member(in_turn(script, http(response(b"second"))))
    with balance(one).client.connect() as conn:
        answer = conn.request()
        assert answer.body == b"first"
        assert all(interim.framing == "none" for interim in answer.interim)
        assert conn.request().body == b"second"
    assert len(one.heads) == 2
