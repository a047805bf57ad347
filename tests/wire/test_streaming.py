# SPDX-License-Identifier: Apache-2.0
"""A piece goes on as soon as it is there: each step waits for the one before to have arrived at the other
end."""

import threading

import pytest

from fastlb.testing import MemberConn, chunked, response


@pytest.mark.parametrize("piece", [1, 1000, 40_000])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_each_piece_of_an_answer_arrives_before_the_next_is_made(balance, member, framing, piece):
    turns = [threading.Event() for _ in range(4)]
    pieces = [bytes([65 + number]) * piece for number in range(4)]

    def script(conn: MemberConn):
        conn.read_request()
        if framing == "chunked":
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        elif framing == "length":
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 * piece))
        else:
            conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for turn, data in zip(turns, pieces, strict=True):
            conn.wait(turn)
            conn.send(chunked(data, last=False) if framing == "chunked" else data)
        if framing == "chunked":
            conn.send(b"0\r\n\r\n")

    with balance(member(script)).client.connect() as conn:
        conn.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = conn.read_response_head()  # there before the first byte of the body
        assert head.framing == ("length" if framing == "length" else "chunked")
        for turn, data in zip(turns, pieces, strict=True):
            turn.set()
            if framing == "length":
                assert conn.read_exactly(piece) == data
            else:
                got = b""
                while len(got) < piece:
                    got += conn.read_chunk()
                assert got == data
        if framing != "length":
            assert conn.read_chunk() == b""
            conn.expect(b"\r\n")
        assert not conn.pending()


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_each_piece_of_a_request_arrives_before_the_next_is_sent(balance, member, framing):
    arrived: list[bytes] = []
    step = threading.Semaphore(0)

    def script(conn: MemberConn):
        head = conn.read_request_head()
        assert head.framing == framing
        step.release()
        for _ in range(4):
            arrived.append(conn.read_chunk() if framing == "chunked" else conn.read_exactly(5))
            step.release()
        if framing == "chunked":
            assert conn.read_chunk() == b""
            conn.expect(b"\r\n")
        conn.send(response())

    with balance(member(script)).client.connect() as conn:
        extra = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Content-Length: 20"
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + extra + b"\r\n\r\n")
        assert step.acquire(timeout=5), "the head waits for the body"
        for number in range(4):
            data = b"%05d" % number
            conn.send(chunked(data, last=False) if framing == "chunked" else data)
            assert step.acquire(timeout=5), f"piece {number} never arrived"
            assert arrived[-1] == data
        if framing == "chunked":
            conn.send(b"0\r\n\r\n")
        assert conn.read_response().status == 200


def test_both_directions_flow_at_once(balance, member):
    def script(conn: MemberConn):
        conn.read_request_head()
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while chunk := conn.read_chunk():
            conn.send(chunked(chunk.upper(), last=False))
        conn.expect(b"\r\n").send(b"0\r\n\r\n")

    with balance(member(script)).client.connect() as conn:
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert conn.read_response_head().status == 200
        for word in (b"one", b"two", b"three"):
            conn.send(chunked(word, last=False))
            assert conn.read_chunk() == word.upper()
        conn.send(b"0\r\n\r\n")
        assert conn.read_chunk() == b""
        conn.expect(b"\r\n")
