# SPDX-License-Identifier: Apache-2.0
"""What is meant for one connection stays there: fields named by Connection, and those that always are."""

import pytest

from fastlb.testing import http, response

HOP = [
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "gzip"),
    ("Upgrade", "foo/1"),
    ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
]


@pytest.mark.parametrize("field", HOP, ids=[name for name, _ in HOP])
def test_a_hop_by_hop_field_of_a_request_stays_here(balance, member, field):
    one = member()
    with balance(one).client.connect() as conn:
        assert conn.request(fields=[field, ("X-End-To-End", "1")]).status == 200
    assert field[0] not in one.requests[0]
    assert one.requests[0].get("X-End-To-End") == "1"


@pytest.mark.parametrize("field", HOP, ids=[name for name, _ in HOP])
def test_a_hop_by_hop_field_of_an_answer_stays_here(balance, member, field):
    one = member(http(response(fields=[field, ("X-End-To-End", "1")])))
    answer = balance(one).client.get()
    assert field[0] not in answer
    assert answer.get("X-End-To-End") == "1"


OPTIONS = [
    [("Connection", "X-One, x-TWO")],
    [("Connection", "X-One"), ("connection", "X-Two")],
    [("Connection", "keep-alive,\tX-One ,,X-Two")],
]


@pytest.mark.parametrize("options", OPTIONS)
def test_fields_named_by_a_requests_connection_are_removed(balance, member, options):
    one = member()
    fields = [("x-one", "1"), *options, ("X-Two", "2"), ("X-Three", "3")]
    assert balance(one).client.request(fields=fields).status == 200
    got = one.requests[0]
    assert "X-One" not in got
    assert "X-Two" not in got
    assert got.get("X-Three") == "3"
    assert not {"x-one", "x-two"} & set(got.tokens("Connection"))


@pytest.mark.parametrize("options", OPTIONS)
def test_fields_named_by_an_answers_connection_are_removed(balance, member, options):
    one = member(http(response(fields=[("x-one", "1"), *options, ("X-Two", "2"), ("X-Three", "3")])))
    got = balance(one).client.get()
    assert "X-One" not in got
    assert "X-Two" not in got
    assert got.get("X-Three") == "3"
    assert not {"x-one", "x-two"} & set(got.tokens("Connection"))


def test_connection_can_remove_neither_host_nor_framing(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        fields = [("Connection", "Content-Length, Host, Transfer-Encoding, close2")]
        assert conn.request("/1", method="POST", fields=fields, body=b"body").status == 200
        assert conn.request("/2").status == 200
    assert one.requests[0].body == b"body"
    assert one.requests[0].get("Host") == "fastlb.test"
    assert one.targets == ["/1", "/2"]


def test_an_answers_connection_cannot_remove_its_framing(balance, member):
    one = member(http(response(b"body", fields=[("Connection", "Content-Length")])))
    with balance(one).client.connect() as conn:
        assert conn.request().body == b"body"
        assert conn.request().body == b"body"


def test_the_wish_for_trailers_goes_on_as_our_own(balance, member):
    one = member()
    assert (
        balance(one).client.request(fields=[("TE", "trailers, gzip;q=0.5"), ("Connection", "te")]).status
        == 200
    )
    got = one.requests[0]
    assert got.get("TE") == "trailers"
    assert got.tokens("Connection") == ["te"]


def test_end_to_end_fields_arrive_in_their_order_and_spelling(balance, member):
    sent = [
        ("Accept", "*/*"),
        ("X-List", "a"),
        ("x-list", "b"),
        ("X-Empty", ""),
        ("X-Latin", "caf\xe9 \xff"),
        ("X_Under", "7"),
        ("X-Tab", "a\tb"),
        ("Cookie", "a=1; b=2"),
        ("X-Long", "v" * 7000),
    ]
    answered = [("Server", "x"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"), ("Date", "now")]
    answered += [("X-Latin", "caf\xe9 \xff"), ("X-Empty", "")]
    one = member(http(response(fields=answered)))
    answer = balance(one).client.request(fields=sent)
    got = [field for field in one.requests[0].fields if field[0] != "Host"]
    assert [(name.lower(), value) for name, value in got] == [(name.lower(), value) for name, value in sent]
    back = [field for field in answer.fields if field[0] != "Content-Length"]
    assert [(name.lower(), value) for name, value in back] == [
        (name.lower(), value) for name, value in answered
    ]


def test_white_space_around_values_is_removed(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost:\t a \r\nX:\t  v  \t\r\nContent-Length: \t4\t \r\n\r\nbody")
        assert conn.read_response().status == 200
    assert b"\r\nX: v\r\n" in one.requests[0].raw_head
    assert one.requests[0].body == b"body"


@pytest.mark.parametrize(
    "target", ["/a/../b//c/%2e%2E/%zz?q=%20&x=[1]", "/%00", "/caf%C3%A9", "/?", "//x", "/a;b=c"]
)
def test_a_target_is_not_touched(balance, member, target):
    one = member()
    assert balance(one).client.get(target).status == 200
    assert one.targets == [target]
