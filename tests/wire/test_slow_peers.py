# SPDX-License-Identifier: Apache-2.0
"""Who reads or writes slowly slows down nobody else, and costs no memory."""

import random
import threading

import pytest

from fastlb.testing import MemberConn, chunked, http_echo, named, request, response

MIB = 1 << 20


class Flood:
    """A member script that answers with `size` bytes as fast as they are taken, and knows how many were."""

    def __init__(self, size, framing="length"):
        self.size, self.framing, self.sent = size, framing, 0
        self.piece = random.Random(3).randbytes(64 * 1024)

    def __call__(self, conn: MemberConn):
        if conn.read_request() is None:
            return
        conn.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            if self.framing == "chunked"
            else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.size
        )
        while self.sent < self.size:
            conn.send(chunked(self.piece, last=False) if self.framing == "chunked" else self.piece)
            self.sent += len(self.piece)
        if self.framing == "chunked":
            conn.send(b"0\r\n\r\n")


def settled(value, quiet=0.3):
    """Wait until a count has stopped to grow; it."""
    import time

    last, since = value(), time.monotonic()
    while time.monotonic() - since < quiet:
        if (now := value()) != last:
            last, since = now, time.monotonic()
        threading.Event().wait(0.01)
    return last


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_does_not_read_stops_its_member_and_nobody_else(balance, member, framing, spent_memory):
    flood = Flood(128 * MIB, framing)
    slow_origin = member(flood)
    balancer = balance(slow_origin)
    other = balance(member(named("quick")))
    with balancer.client.connect(receive_buffer=65536, record=False) as slow:
        spent = spent_memory()
        slow.send(request())
        stopped_at = settled(lambda: flood.sent)
        assert stopped_at < 48 * MIB
        assert spent() < 16 * MIB
        for _ in range(20):
            assert other.client.get(timeout=2).body == b"quick"
        head = slow.read_response_head()
        assert head.status == 200
        received = 0
        if framing == "chunked":
            while chunk := slow.read_chunk():
                received += len(chunk)
        else:
            received = len(slow.take_buffered())
            while received < flood.size:
                received += len(slow.socket.recv(MIB))
        assert received == flood.size


@pytest.mark.workers(1)
def test_many_clients_that_do_not_read_cost_little_memory(balance, member, spent_memory):
    flood = member(Flood(64 * MIB))
    balancer = balance(flood, member(named("quick")), options=[{"weight": 1}, {"weight": 0}])
    spent = spent_memory()
    conns = [balancer.client.connect(receive_buffer=8192, record=False).send(request()) for _ in range(20)]
    flood.wait_requests(20)
    settled(lambda: len(flood.connections) + flood.script.sent)
    assert spent() < 32 * MIB
    balancer.members[0].weight, balancer.members[1].weight = 0, 1
    assert balancer.client.get(timeout=2).body == b"quick"
    for conn in conns:
        conn.reset()
    flood.wait_idle()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_member_that_does_not_read_stops_the_client(balance, member, framing, spent_memory):
    gate = threading.Event()

    def script(conn: MemberConn):
        head = conn.read_request_head()
        conn.record = False
        conn.wait(gate, 20)
        conn.read_request_body(head)
        conn.send(response())

    one = member(script)
    with balance(one).client.connect() as conn:
        spent = spent_memory()
        if framing == "length":
            conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
            piece = b"x" * 65536
        else:
            conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            piece = chunked(b"x" * 65536, last=False)
        sent = conn.send_until_blocked(piece, limit=256 * MIB)
        assert sent < 64 * MIB
        assert spent() < 16 * MIB
        conn.reset()
    gate.set()
    one.wait_idle()


@pytest.mark.parametrize("side", ["client", "member"])
def test_a_tcp_side_that_does_not_read_stops_the_other(balance, member, side, spent_memory):
    gate, sent = threading.Event(), []

    def script(conn: MemberConn):
        conn.read_exactly(1)
        conn.record = False
        if side == "client":
            sent.append(conn.send_until_blocked(b"x" * 65536, limit=256 * MIB))
        conn.wait(gate, 20)
        conn.read_to_end()

    one = member(script)
    with balance(one, protocol="TCP").client.connect(receive_buffer=65536) as conn:
        spent = spent_memory()
        conn.send(b"x")
        one.wait_received(1)
        if side == "member":
            sent.append(conn.send_until_blocked(b"x" * 65536, limit=256 * MIB))
        else:
            from fastlb.testing import eventually

            eventually(lambda: sent, timeout=20)
        assert 0 < sent[0] < 64 * MIB
        assert spent() < 16 * MIB
        gate.set()
        conn.reset()


def test_pipelined_requests_are_not_read_ahead_without_bound(balance, member, spent_memory):
    gate = threading.Event()

    def script(conn: MemberConn):
        conn.read_request()
        conn.wait(gate, 20)

    one = member(script)
    with balance(one).client.connect() as conn:
        spent = spent_memory()
        taken = conn.send_until_blocked(request() * 1000, limit=256 * MIB)
        assert taken < 32 * MIB
        assert spent() < 8 * MIB
        assert len(one.connections) == 1
        conn.reset()
    gate.set()


def test_a_slow_writer_is_served_beside_quick_ones(balance, member):
    from fastlb.testing import http

    one = member(http(http_echo))
    client = balance(one).client
    message = request(method="POST", body=b"slowly" * 20)
    with client.connect() as slow:
        for start in range(0, len(message), 7):
            slow.send(message[start : start + 7])
            assert client.get(timeout=2).status == 200
        assert slow.read_response().body == b"slowly" * 20


def test_hundreds_of_half_sent_heads_disturb_nobody(balance, member):
    client = balance(member()).client
    halves = [client.connect().send(b"GET / HTTP/1.1\r\nX: ") for _ in range(300)]
    assert [client.get(timeout=2).status for _ in range(20)] == [200] * 20
    for conn in halves:
        assert conn.send(b"y\r\nHost: a\r\n\r\n").read_response().status == 200
        conn.close()
