# SPDX-License-Identifier: Apache-2.0
"""A gibibyte passes through unchanged, and the memory does not notice."""

import hashlib

import pytest

from fastlb.testing import MemberConn, MemberProcess, response
from fastlb.testing.origin import BLOCK, block

GIB = 1 << 30
MIB = 1 << 20


def hash_of(length):
    data, digest = block(), hashlib.sha256()
    whole, rest = divmod(length, BLOCK)
    for _ in range(whole):
        digest.update(data)
    digest.update(data[:rest])
    return digest.hexdigest()


def read_hash(sock, length):
    """Hash `length` bytes from a socket in constant memory."""
    digest, view = hashlib.sha256(), memoryview(bytearray(MIB))
    while length:
        count = sock.recv_into(view[: min(length, MIB)])
        assert count, f"closed {length} bytes too early"
        digest.update(view[:count])
        length -= count
    return digest.hexdigest()


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_a_gibibyte_down_has_the_same_hash_and_costs_no_memory(balance, protocol, spent_memory):
    with MemberProcess(stream=GIB) as origin:
        balancer = balance(origin, protocol=protocol)
        with balancer.client.connect(record=False) as conn:
            conn.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = conn.read_response_head()
            assert head.get("Content-Length") == str(GIB)
            spent = spent_memory()
            first = conn.take_buffered()
            digest = hashlib.sha256(first)
            view, left = memoryview(bytearray(MIB)), GIB - len(first)
            peak = 0
            while left:
                count = conn.socket.recv_into(view[: min(left, MIB)])
                assert count, f"closed {left} bytes too early"
                digest.update(view[:count])
                left -= count
                if (left + count) >> 26 != left >> 26:  # every 64 MiB
                    peak = max(peak, spent())
            assert max(peak, spent()) < 16 * MIB
            assert digest.hexdigest() == hash_of(GIB)
            assert not conn.pending()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_upload_has_the_same_hash_and_costs_no_memory(balance, member, framing, spent_memory):
    size = 256 * MIB
    digests = []

    def script(conn: MemberConn):
        head = conn.read_request_head()
        conn.record = False
        if framing == "length":
            first = conn.take_buffered()
            digest, view, left = hashlib.sha256(first), memoryview(bytearray(MIB)), size - len(first)
            while left:
                count = conn.socket.recv_into(view[: min(left, MIB)])
                digest.update(view[:count])
                left -= count
        else:
            digest = hashlib.sha256()
            while chunk := conn.read_chunk():
                digest.update(chunk)
            conn.expect(b"\r\n")
        assert head.framing == framing
        digests.append(digest.hexdigest())
        conn.send(response())

    data = block()
    with balance(member(script)).client.connect() as conn:
        spent = spent_memory()
        conn.send(b"POST / HTTP/1.1\r\nHost: a\r\n")
        if framing == "length":
            conn.send(b"Content-Length: %d\r\n\r\n" % size)
        else:
            conn.send(b"Transfer-Encoding: chunked\r\n\r\n")
        left = size
        while left:
            piece = data[: min(left, BLOCK)]
            if framing == "chunked":
                conn.send(b"%x\r\n" % len(piece))
            conn.send(piece)
            if framing == "chunked":
                conn.send(b"\r\n")
            left -= len(piece)
        if framing == "chunked":
            conn.send(b"0\r\n\r\n")
        assert conn.read_response().status == 200
        assert spent() < 24 * MIB
    assert digests == [hash_of(size)]
