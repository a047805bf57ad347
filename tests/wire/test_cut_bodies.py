# SPDX-License-Identifier: Apache-2.0
"""A body that was cut never looks complete, and takes the other side's connection with it."""

import pytest

from fastlb.testing import MemberConn, MessageCut, chunked, http, in_turn, raw, request, response

CUT = {
    "length": response(b"half", length=8),
    "chunked between chunks": response(pieces=[b"half"])[: -len(b"0\r\n\r\n")],
    "chunked in a chunk": response(pieces=[b"half"]).replace(b"4\r\n", b"8\r\n")[: -len(b"\r\n0\r\n\r\n")],
    "chunked in a size": response(pieces=[b"half"])[: -len(b"0\r\n\r\n")] + b"1",
    "chunked before the last line": response(pieces=[b"half"])[:-2],
}


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("name", CUT)
def test_a_cut_answer_is_seen_to_be_cut(balance, member, name, then):
    one = member(raw(CUT[name], then=then))
    with balance(one).client.connect() as conn:
        conn.send(request())
        with pytest.raises((MessageCut, ConnectionResetError)) as cut:
            conn.read_response()
        if cut.type is MessageCut:
            assert cut.value.body in (b"half", b"")
    assert len(one.heads) == 1


@pytest.mark.parametrize("name", ["chunked between chunks", "chunked in a chunk", "until close, reset"])
def test_an_old_client_sees_a_cut_body_without_length_as_a_reset(balance, member, name):
    # Only the end of the connection ends such a body: an orderly close would make it look complete.
    if name == "until close, reset":
        one = member(raw(response(None) + b"half", then="reset"))
    else:
        one = member(raw(CUT[name]))
    with balance(one).client.connect() as conn:
        conn.send(request(version="1.0"))
        with pytest.raises(ConnectionResetError):
            conn.read_response()


def test_a_body_until_close_that_ends_in_a_reset_is_seen_to_be_cut(balance, member):
    one = member(raw(response(None) + b"half", then="reset"))
    with balance(one).client.connect() as conn:
        conn.send(request())
        with pytest.raises((MessageCut, ConnectionResetError)):
            conn.read_response()


@pytest.mark.workers(1)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_in_mid_answer_takes_the_members_connection_along(balance, member, how):
    def endless(conn: MemberConn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            conn.send(chunked(b"x" * 10_000, last=False))

    one = member(in_turn(endless, http()))
    client = balance(one).client
    conn = client.connect().send(request())
    conn.read_response_head()
    getattr(conn, how)()
    assert one.connections[0].over.wait(5)
    assert client.get().body == b"ok"


@pytest.mark.workers(1)
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_leaves_in_mid_upload_takes_the_members_connection_along(balance, member, how, framing):
    one = member()
    client = balance(one).client
    head = b"POST / HTTP/1.1\r\nHost: a\r\n"
    if framing == "length":
        conn = client.raw(head + b"Content-Length: 100\r\n\r\nhalf")
    else:
        conn = client.raw(head + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    one.wait_connections(1)
    getattr(conn, how)()
    assert one.connections[0].over.wait(5)
    assert one.requests == []
    assert client.get().body == b"ok"
    assert one.requests[0].connection == 1


def test_a_client_that_leaves_while_the_member_thinks_takes_the_connection_along(balance, member):
    one = member(in_turn(lambda conn: conn.read_request() and conn.read_to_end(), http()))
    client = balance(one).client
    conn = client.connect().send(request())
    one.wait_requests(1)
    conn.reset()
    assert one.connections[0].over.wait(5)
    assert client.get().status == 200
