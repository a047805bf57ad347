# SPDX-License-Identifier: Apache-2.0
"""allowed_cidrs: who is not on the list hears nothing, and the member never hears of it.

A connection is dropped without a packet where the system lets us, else with a reset; never with an orderly close.
"""

import contextlib

import pytest

from fastlb.testing import echo, eventually, request


def denied(balancer, **options):
    """Connect, and see that the connection was dropped: counted, and not closed in order."""
    before = balancer.listener.stats.denied
    with balancer.client.connect(**options) as conn:
        eventually(lambda: balancer.listener.stats.denied == before + 1, what="a denied connection")
        return not conn.pending() or conn.ended() == "reset"


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_only_the_listed_networks_are_served(balance, member, protocol):
    one = member(echo if protocol == "TCP" else None)
    balancer = balance(one, protocol=protocol, listener={"allowed_cidrs": ["127.0.0.2/32", "127.1.0.0/16"]})
    for source in ("127.0.0.1", "127.0.0.3", "127.2.0.1"):
        assert denied(balancer, source=source)
    assert one.connections == []
    for source in ("127.0.0.2", "127.1.0.1", "127.1.255.254"):
        with balancer.client.connect(source=source) as conn:
            conn.send(request())
            assert conn.recv().startswith(b"GET / " if protocol == "TCP" else b"HTTP/1.1 200 ")
    assert balancer.listener.stats.denied == 3


def test_a_denied_client_gets_no_answer_to_its_request(balance, member):
    one = member()
    balancer = balance(one, listener={"allowed_cidrs": ["127.0.0.2/32"]})
    conn = balancer.client.connect(timeout=0.3)
    with conn, contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
        conn.send(request()).recv()
    assert bytes(conn.received) == b""
    assert one.connections == []


def test_the_list_changes_live(balance, member):
    balancer = balance(member())
    assert balancer.client.get().status == 200
    with balancer.client.connect() as inside:
        assert inside.request().status == 200
        balancer.listener.allowed_cidrs = ["127.0.0.2/32"]
        assert denied(balancer)
        # Connections under way keep what they started with.
        assert inside.request().status == 200
    balancer.listener.allowed_cidrs = None
    assert balancer.client.get().status == 200


def test_ipv6_networks_are_compared_bit_by_bit(balance, member):
    balancer = balance(member(), address="::1", listener={"allowed_cidrs": ["::/127"]})
    assert balancer.client.get().status == 200
    balancer.listener.allowed_cidrs = ["::2/127"]
    assert denied(balancer)


def test_denied_clients_leave_nothing_behind(balance, member):
    balancer = balance(member(), listener={"allowed_cidrs": ["127.0.0.2/32"]})
    assert all(denied(balancer) for _ in range(50))
    assert balancer.listener.stats.active_connections == 0
