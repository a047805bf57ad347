# SPDX-License-Identifier: Apache-2.0
"""An answer that breaks the rules becomes a 502; its connection is closed and the client's goes on."""

import contextlib
import threading

import pytest

from fastlb.testing import MemberConn, MessageCut, http, in_turn, raw, request, response

BROKEN = {
    "not HTTP": b"hello\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "other protocol": b"ICY 200 OK\r\n\r\n",
    "other major version": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "lower-case version": b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
    "status with letters": b"HTTP/1.1 2xx OK\r\nContent-Length: 2\r\n\r\nok",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
    "control byte in the reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok",
    "lone CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "no colon": b"HTTP/1.1 200 OK\r\nwords\r\nContent-Length: 2\r\n\r\nok",
    "empty name": b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 2\r\n\r\nok",
    "space in a name": b"HTTP/1.1 200 OK\r\nX Y: x\r\nContent-Length: 2\r\n\r\nok",
    "white space before the colon": b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok",
    "lone LF after the status line": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok",
    "lone LF after a field": b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok",
    "lone LF as the empty line": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
    "control byte in a value": b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 2\r\n\r\nok",
    "no space behind the status": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    "equal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "white space before the first field": b"HTTP/1.1 200 OK\r\n X: x\r\nContent-Length: 2\r\n\r\nok",
    "unequal lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "unequal lengths in a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!",
    "length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "length with letters": b"HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok",
    "empty length": b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok",
    "overflowing length": b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "nothing and a close": b"",
    "half a status line": b"HTTP/1.1 2",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "only a 100": b"HTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.workers(1)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_a_502(balance, member, name):
    one = member(in_turn(raw(BROKEN[name]), http()))
    with balance(one).client.connect() as conn:
        answer = conn.request(method="POST", body=b"x")
        assert answer.status == 502
        assert answer.framing == "length"
        if not answer.closes:
            assert conn.request().status == 200
        else:
            assert conn.ended() == "closed"
    assert one.connections[0].over.wait(5)
    assert [message.method for message in one.heads].count("POST") == 1


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX: y\r\n"])
def test_a_member_that_goes_away_before_the_end_of_its_head_is_a_502(balance, member, sent, then):
    one = member(raw(sent, then=then))
    assert balance(one).client.request(method="POST", body=b"x").status == 502
    assert len(one.heads) == 1


CHUNKS = {
    "a sign": b"+4\r\nbody\r\n0\r\n\r\n",
    "0x": b"0x4\r\nbody\r\n0\r\n\r\n",
    "a space in front": b" 4\r\nbody\r\n0\r\n\r\n",
    "a space behind": b"4 \r\nbody\r\n0\r\n\r\n",
    "no size": b"\r\nbody\r\n0\r\n\r\n",
    "LF behind the size": b"4\nbody\r\n0\r\n\r\n",
    "CR behind the size": b"4\rbody\r\n0\r\n\r\n",
    "LF in an extension": b"4;a\nb\r\nbody\r\n0\r\n\r\n",
    "NUL in an extension": b"4;a\0b\r\nbody\r\n0\r\n\r\n",
    "LF behind the data": b"4\r\nbody\n0\r\n\r\n",
    "longer data": b"4\r\nbodyX\r\n0\r\n\r\n",
    "overflow": b"10000000000000004\r\nbody\r\n0\r\n\r\n",
    "LF at the last chunk": b"4\r\nbody\r\n0\n\r\n",
    "something behind the last chunk": b"4\r\nbody\r\n0\r\nX\r\n\r\n",
    "LF as the last line": b"4\r\nbody\r\n0\r\n\n",
    "a folded trailer": b"4\r\nbody\r\n0\r\nX: y\r\n z\r\n\r\n",
    "extensions without end": b"4;" + b"x" * 2000 + b"\r\nbody\r\n0\r\n\r\n",
}


@pytest.mark.workers(1)
@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("later", [False, True], ids=["with the head", "behind the head"])
def test_bad_chunks_of_an_answer_are_a_502_or_a_cut_answer(balance, member, name, later):
    gate = threading.Event()

    def script(conn: MemberConn):
        conn.read_request()
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        if later:
            conn.send(head)
            conn.wait(gate)
            conn.send(CHUNKS[name])
        else:
            conn.send(head + CHUNKS[name])
        conn.read_to_end()

    one = member(in_turn(script, http(response(b"second"))))
    client = balance(one).client
    with client.connect() as conn:
        conn.send(request())
        head = conn.read_response_head()
        gate.set()
        if later:
            assert head.status == 200
            with pytest.raises((MessageCut, ConnectionResetError)):
                conn.read_response_body(head)
        else:
            assert conn.read_response_body(head).status == 502
    assert one.connections[0].over.wait(5)
    assert client.get().body == b"second"


def test_length_and_chunked_together_are_a_502(balance, member):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    one = member(in_turn(raw(head + b"2\r\nok\r\n0\r\n\r\n", then="stay"), http(response(b"second"))))
    with balance(one).client.connect() as conn:
        assert conn.request().status == 502
        assert one.connections[0].over.wait(5)
        assert conn.request().body == b"second"


def test_a_reason_may_be_empty_or_strange(balance, member):
    one = member(
        in_turn(
            http(b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok"),
            http(b"HTTP/1.1 799 Caf\xe9 closed\r\nContent-Length: 2\r\n\r\nok"),
        )
    )
    client = balance(one).client
    assert client.get().status == 200
    one.drop_connections()
    assert client.get().status == 799


@pytest.mark.parametrize("piece", [1, 3])
def test_an_answer_byte_by_byte_is_whole(balance, member, piece):
    data = response(pieces=[b"ab", b"c" * 20], trailers=[("X-End", "1")], fields=[("X-A", "b")])
    one = member(raw(data, then="repeat", piece=piece))
    with balance(one).client.connect() as conn:
        for _ in range(2):
            answer = conn.request()
            assert answer.body == b"ab" + b"c" * 20
            assert answer.get("X-A") == "b"
            assert answer.trailers == [("X-End", "1")]


def test_our_own_answer_never_stands_inside_the_members(balance, member):
    gate = threading.Event()

    def script(conn: MemberConn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n")
        conn.wait(gate)
        conn.send(b"nonsense\r\n")
        conn.read_to_end()

    with balance(member(script)).client.connect() as conn:
        conn.send(request())
        assert conn.read_response_head().status == 200
        assert conn.read_chunk() == b"body"
        gate.set()
        with contextlib.suppress(ConnectionResetError):
            assert conn.read_to_end() == b""
