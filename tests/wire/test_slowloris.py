# SPDX-License-Identifier: Apache-2.0
"""A hundred clients that begin and do not go on: it costs them their connections, and nobody else a request."""

import contextlib
import threading
import time

import pytest

from fastlb.testing import eventually, request

ATTACKERS = 102
TIMEOUT = 1000
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"

# What each attacker sends at first, and what it then sends byte by byte, over and over.
SILENT = {"nothing": (b"", b""), "a byte": (b"G", b""), "half a head": (HEAD, b"")}
TRICKLING = {
    "fields": (HEAD, b"X-Slow: y\r\n"),
    "a value": (HEAD + b"X: ", b"y"),
    "a target": (b"\r\n\r\nGET /", b"y"),
}
HALF = {
    "a body": (HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 500, b""),
    "a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 500, b""),
    "a trailer": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Slow: ", b""),
}
ATTACKS = {  # how, which field cuts it, under which reason it is counted
    "heads that do not go on": (SILENT, "timeout_client_head", "head_timeout"),
    "heads byte by byte": (TRICKLING, "timeout_client_head", "head_timeout"),
    "bodies that do not go on": (HALF, "timeout_client_data", "body_timeout"),
}


class Attack:
    """All attackers' connections, in one thread: each sends a byte every few milliseconds, for as long as it may."""

    def __init__(self, client, ways):
        self.ways = list(ways.values())
        self.conns = [client.connect() for _ in range(ATTACKERS)]
        self.over = threading.Event()
        for number, conn in enumerate(self.conns):
            conn.send(self.ways[number % len(self.ways)][0])
        self.thread = threading.Thread(target=self.trickle)
        self.thread.start()

    def trickle(self):
        sent = 0
        while any(more for _, more in self.ways) and not self.over.wait(0.01):
            for number, conn in enumerate(self.conns):
                more = self.ways[number % len(self.ways)][1]
                with contextlib.suppress(OSError):
                    conn.socket.send(more[sent % len(more) :][:1])
            sent += 1

    def ended(self):
        """How many were answered, or cut."""
        return sum(conn.pending() for conn in self.conns)

    def stop(self):
        self.over.set()
        self.thread.join()
        for conn in self.conns:
            conn.close()


class Neighbour:
    """A client that asks all the time, on one connection and on new ones."""

    def __init__(self, client):
        self.client = client
        self.answers = 0
        self.failures = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()

    def ask(self):
        with self.client.connect() as kept:
            while not self.over.is_set():
                for get in (lambda: kept.request("/kept"), lambda: self.client.get("/anew")):
                    try:
                        assert get().body == b"ok"
                    except (AssertionError, OSError) as error:
                        self.failures.append(error)
                        return
                    self.answers += 1

    def stop(self):
        self.over.set()
        self.thread.join()


@pytest.fixture
def until_the_end():
    with contextlib.ExitStack() as stack:
        yield lambda thing: stack.callback(thing.stop) and thing


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hundred_slow_clients_cost_nobody_else_a_request(balance, member, until_the_end, name):
    ways, field, reason = ATTACKS[name]
    balancer = balance(member(), listener={field: TIMEOUT})
    start = time.monotonic()
    neighbour = until_the_end(Neighbour(balancer.client))
    attack = until_the_end(Attack(balancer.client, ways))
    eventually(lambda: balancer.listener.stats.active_connections >= ATTACKERS)
    before = neighbour.answers
    eventually(lambda: neighbour.answers >= before + 20)
    assert attack.ended() == 0  # so nobody waited for one of them
    assert [conn.read_response().status for conn in attack.conns] == [408] * ATTACKERS
    assert time.monotonic() - start >= 0.75 * TIMEOUT / 1000
    before = neighbour.answers
    eventually(lambda: neighbour.answers >= before + 20)
    neighbour.stop()
    assert neighbour.failures == []
    stats = balancer.listener.stats
    assert stats.refusals == {reason: ATTACKERS}
    assert stats.responses_4xx == ATTACKERS
    assert stats.responses_2xx == neighbour.answers
    attack.stop()
    eventually(lambda: balancer.listener.stats.active_connections == 0)


def test_attackers_hold_their_connections_no_longer_than_their_neighbours_need_them(
    balance, member, until_the_end
):
    """As many attackers as the listener takes connections: whoever waits behind them is served once they are cut."""
    balancer = balance(
        member(), listener={"timeout_client_head": TIMEOUT // 2, "connection_limit": ATTACKERS}
    )
    attack = until_the_end(Attack(balancer.client, TRICKLING))
    assert balancer.client.get(timeout=10).status == 200
    assert attack.ended() > 0


def test_a_slow_head_has_one_deadline_however_often_a_byte_comes(balance, member):
    balancer = balance(member(), listener={"timeout_client_head": TIMEOUT // 2})
    with balancer.client.connect() as conn:
        for _ in range(2):  # also behind a request that was in time
            message = request()
            for at in range(0, len(message), 4):
                conn.send(message[at : at + 4])
            assert conn.read_response().status == 200
        start = time.monotonic()
        conn.send(HEAD)
        while not conn.pending(0.01):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                conn.send(b"X")
        assert 0.75 * TIMEOUT / 2000 <= time.monotonic() - start <= 5.0
        assert conn.read_response().status == 408
