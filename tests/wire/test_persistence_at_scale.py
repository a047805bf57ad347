# SPDX-License-Identifier: Apache-2.0
"""Ten thousand clients stay where they were while members come and go, on two workers, in bounded memory."""

import collections
import concurrent.futures

import pytest

from fastlb.testing import MemberProcess

CLIENTS = 10_000
ROUND = 2_500
NAMES = ("one", "two", "three")


@pytest.fixture
def origins(nothing_stays_behind):
    members = [MemberProcess(name) for name in (*NAMES, "four")]
    yield members
    for one in members:
        one.close()


def shared(ask, clients):
    """`ask(share)` for all clients, in four threads: who answered each."""
    clients = list(clients)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        parts = pool.map(ask, [clients[n::4] for n in range(4)])
    return {client: got for part in parts for client, got in part.items()}


def from_addresses(balancer, clients):
    """Each client comes from an address of its own."""

    def ask(share):
        found = {}
        for client in share:
            source = f"127.{1 + client // 62500}.{client // 250 % 250}.{1 + client % 250}"
            with balancer.client.connect(source=source, record=False) as conn:
                found[client] = conn.request().body
        return found

    return shared(ask, clients)


def with_cookies(balancer, cookie_of, clients):
    """Each client is a cookie: the body, and the cookie that is set."""

    def ask(share):
        found = {}
        with balancer.client.connect(record=False) as conn:
            for client in share:
                answer = conn.request(fields=[("Cookie", f"a={client}; SRV={cookie_of(client)}")])
                found[client] = (answer.body, answer.get("Set-Cookie"))
        return found

    return shared(ask, clients)


def test_ten_thousand_addresses_stay_with_their_members(balance, origins):
    one, two, three, extra = origins
    balancer = balance(one, two, three, pool={"session_persistence": {"type": "SOURCE_IP"}})
    had = from_addresses(balancer, range(CLIENTS))
    assert min(collections.Counter(had.values()).values()) > CLIENTS // 4
    shown = balancer.pool.persistence_stats
    assert (shown.entries, shown.evicted) == (CLIENTS, 0)
    assert shown.bytes < 200 * shown.limit

    added = balancer.pool.create_member(extra.address, extra.port)
    balancer.members[1].weight = 0
    now = from_addresses(balancer, range(ROUND))
    assert now == {client: had[client] for client in now}, "a new member and a drained one move nobody"

    balancer.members[1].delete()
    added.weight = 5
    now = from_addresses(balancer, range(ROUND, 2 * ROUND))
    moved = {client for client, body in now.items() if body != had[client]}
    assert moved == {client for client in now if had[client] == two.name.encode()}
    assert balancer.pool.persistence_stats.entries == CLIENTS


def test_ten_thousand_cookies_cost_no_memory_and_stay(balance, origins):
    balancer = balance(*origins[:3], pool={"session_persistence": {"type": "HTTP_COOKIE"}})
    ids = [one.id for one in balancer.members]

    extra = balancer.pool.create_member(origins[3].address, origins[3].port)
    found = with_cookies(balancer, lambda client: ids[client % 3], range(CLIENTS))
    assert found == {client: (NAMES[client % 3].encode(), None) for client in range(CLIENTS)}
    extra.delete()
    assert balancer.pool.persistence_stats.bytes == 0
