# SPDX-License-Identifier: Apache-2.0
"""allowed_cidrs: who is not on the list gets no answer, and the member never hears of it."""

import contextlib

import pytest

from fastlb.testing import echo, eventually, request


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_only_the_listed_networks_are_served(balance, member, protocol):
    one = member(echo if protocol == "TCP" else None)
    balancer = balance(one, protocol=protocol, listener={"allowed_cidrs": ["127.0.0.2/32", "127.1.0.0/16"]})
    for source in ("127.0.0.1", "127.0.0.3", "127.2.0.1"):
        with balancer.client.connect(source=source) as conn:
            assert conn.ended() in ("closed", "reset")
    assert one.connections == []
    for source in ("127.0.0.2", "127.1.0.1", "127.1.255.254"):
        with balancer.client.connect(source=source) as conn:
            conn.send(request())
            assert conn.recv().startswith(b"GET / " if protocol == "TCP" else b"HTTP/1.1 200 ")
    stats = balancer.listener.stats
    assert stats.denied == 3


def test_a_denied_client_gets_no_answer_to_its_request(balance, member):
    one = member()
    balancer = balance(one, listener={"allowed_cidrs": ["127.0.0.2/32"]})
    with balancer.client.connect() as conn, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        assert conn.send(request()).read_to_end() == b""
    assert one.received == b""


def test_the_list_changes_live(balance, member):
    balancer = balance(member())
    assert balancer.client.get().status == 200
    with balancer.client.connect() as inside:
        assert inside.request().status == 200
        balancer.listener.allowed_cidrs = ["127.0.0.2/32"]
        with balancer.client.connect() as conn:
            assert conn.ended() in ("closed", "reset")
        # Connections under way keep what they started with.
        assert inside.request().status == 200
    balancer.listener.allowed_cidrs = None
    assert balancer.client.get().status == 200


def test_ipv6_networks_are_compared_bit_by_bit(balance, member):
    balancer = balance(member(), address="::1", listener={"allowed_cidrs": ["::/127"]})
    assert balancer.client.get().status == 200
    balancer.listener.allowed_cidrs = ["::2/127"]
    with balancer.client.connect() as conn:
        assert conn.ended() in ("closed", "reset")


def test_denied_clients_leave_nothing_behind(balance, member):
    balancer = balance(member(), listener={"allowed_cidrs": ["127.0.0.2/32"]})
    for _ in range(50):
        with balancer.client.connect() as conn:
            assert conn.ended() in ("closed", "reset")
    eventually(lambda: balancer.listener.stats.active_connections == 0)
