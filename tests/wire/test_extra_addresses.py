# SPDX-License-Identifier: Apache-2.0
"""`_set_extra_addresses`: what every listener listens on besides the VIPs comes and goes live, as floating IPs do."""

import socket
import threading

import pytest

from fastlb import retirement
from fastlb.errors import BindError, ConfigError
from fastlb.testing import Client, request

ONE, TWO, THREE = "127.0.0.11", "127.0.0.12", "127.0.0.13"


def served(listener, address):
    """Is a request at this address answered, or refused?"""
    try:
        return Client(address, listener.protocol_port).get().status == 200
    except ConnectionRefusedError:
        return False


def where(listener, *addresses):
    return [address for address in ("127.0.0.1", ONE, TWO, THREE, *addresses) if served(listener, address)]


def test_they_come_and_go_while_the_vip_serves(balance, member, listening):
    balancer = balance(member())
    assert where(balancer.listener) == ["127.0.0.1"]
    balancer.lb._set_extra_addresses([ONE, TWO])
    assert where(balancer.listener) == ["127.0.0.1", ONE, TWO]
    balancer.lb._set_extra_addresses([TWO, THREE])
    assert where(balancer.listener) == ["127.0.0.1", TWO, THREE]
    balancer.lb._set_extra_addresses([])
    assert where(balancer.listener) == ["127.0.0.1"]
    assert listening(balancer.listener.protocol_port) == 2


def test_an_ipv6_address_beside_an_ipv4_vip(balance, member):
    balancer = balance(member())
    balancer.lb._set_extra_addresses(["0:0::1"])
    assert where(balancer.listener, "::1") == ["127.0.0.1", "::1"]
    balancer.lb._set_extra_addresses(["::1"])
    assert where(balancer.listener, "::1") == ["127.0.0.1", "::1"]


def test_a_connection_at_an_address_that_goes_is_kept(balance, member):
    balancer = balance(member())
    balancer.lb._set_extra_addresses([ONE])
    with Client(ONE, balancer.listener.protocol_port).connect() as conn:
        assert conn.request().status == 200
        balancer.lb._set_extra_addresses([])
        assert not served(balancer.listener, ONE)
        for _ in range(3):
            assert conn.request().status == 200


def test_a_client_in_the_queue_of_an_address_that_goes_is_served(balance, member, monkeypatch):
    monkeypatch.setattr(retirement, "PATIENCE_S", 0.1)
    balancer = balance(member(), listener={"connection_limit": 1})
    balancer.lb._set_extra_addresses([ONE])
    with balancer.client.connect() as first:
        assert first.request().status == 200
        with Client(ONE, balancer.listener.protocol_port).connect() as second:
            second.send(request())
            assert not second.pending(0.05)
            balancer.lb._set_extra_addresses([])
            assert second.read_response().status == 200


def test_an_address_that_is_taken_changes_nothing(balance, member, listening):
    balancer = balance(member())
    other = balancer.lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=balancer.pool)
    balancer.lb._set_extra_addresses([ONE])
    refusal = f"{THREE}:{other.protocol_port}: Address already in use"
    with socket.create_server((THREE, other.protocol_port)), pytest.raises(BindError, match=refusal):
        balancer.lb._set_extra_addresses([TWO, THREE])
    assert where(balancer.listener) == where(other) == ["127.0.0.1", ONE]
    assert listening(balancer.listener.protocol_port) == listening(other.protocol_port) == 4
    balancer.lb._set_extra_addresses([TWO, THREE])
    assert where(balancer.listener) == where(other) == ["127.0.0.1", TWO, THREE]


def test_listeners_that_are_opened_later_take_them(balance, member):
    balancer = balance(member(), start=False)
    balancer.lb._set_extra_addresses([ONE])
    balancer.lb.start()
    assert where(balancer.listener) == ["127.0.0.1", ONE]
    balancer.lb._set_extra_addresses([ONE, TWO])
    later = balancer.lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=balancer.pool)
    assert where(later) == ["127.0.0.1", ONE, TWO]
    balancer.listener.admin_state_up = False
    balancer.lb._set_extra_addresses([TWO])
    balancer.listener.admin_state_up = True
    assert where(balancer.listener) == where(later) == ["127.0.0.1", TWO]
    balancer.lb.stop(0)
    balancer.lb.start()
    assert where(balancer.listener) == ["127.0.0.1", TWO]


def test_figures_and_the_limit_are_the_listeners_over_all_addresses(balance, member):
    balancer = balance(member(), listener={"connection_limit": 2})
    balancer.lb._set_extra_addresses([ONE])
    port = balancer.listener.protocol_port
    with balancer.client.connect() as first, Client(ONE, port).connect() as second:
        assert first.request().status == second.request().status == 200
        assert balancer.listener.stats.active_connections == 2
        assert balancer.listener.operating_status == "DEGRADED"
        with Client(ONE, port).connect() as third:
            third.send(request())
            assert not third.pending(0.05)
            first.close()
            assert third.read_response().status == 200
    balancer.lb._set_extra_addresses([])
    assert balancer.listener.stats.total_connections == 3
    assert balancer.listener.stats.requests == 3


def test_the_configuration_holds_at_all_addresses(balance, member):
    balancer = balance(member())
    balancer.lb._set_extra_addresses([ONE])
    balancer.listener.create_l7policy(
        action="REJECT", rules=[{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/no"}]
    )
    assert Client(ONE, balancer.listener.protocol_port).get("/no").status == 403
    balancer.listener.allowed_cidrs = ["127.0.0.99/32"]
    with pytest.raises((TimeoutError, ConnectionError)):
        Client(ONE, balancer.listener.protocol_port, timeout=0.2).get()


def test_a_vip_among_them_and_an_address_twice_are_fine(balance, member):
    balancer = balance(member())
    balancer.lb._set_extra_addresses(["127.0.0.1", ONE, ONE])
    assert where(balancer.listener) == ["127.0.0.1", ONE]
    balancer.lb._set_extra_addresses([])
    assert where(balancer.listener) == ["127.0.0.1"]


@pytest.mark.parametrize(
    "addresses",
    [["localhost"], ["127.0.0.300"], [None], [f"127.0.1.{last}" for last in range(49)]],
)
def test_what_is_refused_changes_nothing(balance, member, addresses):
    balancer = balance(member())
    balancer.lb._set_extra_addresses([ONE])
    with pytest.raises(ConfigError, match="addresses"):
        balancer.lb._set_extra_addresses(addresses)
    assert where(balancer.listener) == ["127.0.0.1", ONE]


def test_forty_eight_are_fine(balance, member):
    balancer = balance(member())
    addresses = [f"127.0.1.{last}" for last in range(48)]
    balancer.lb._set_extra_addresses(addresses)
    assert all(served(balancer.listener, address) for address in addresses)


def test_a_listener_that_failed_for_one_is_back_without_it(balance, member):
    balancer = balance(member(), start=False)
    balancer.lb._tolerant = True
    balancer.lb._set_extra_addresses([ONE])
    with socket.create_server((ONE, 0)) as server:
        port = server.getsockname()[1]
        failed = balancer.lb.create_listener(protocol="HTTP", protocol_port=port, default_pool=balancer.pool)
        balancer.lb.start()
        assert failed.provisioning_status == "ERROR"
        assert where(balancer.listener) == ["127.0.0.1", ONE]
        balancer.lb._set_extra_addresses([])
        assert failed.provisioning_status == "ACTIVE"
        assert served(failed, "127.0.0.1")


def test_a_failover_renews_them_too(balance, member):
    balancer = balance(member())
    balancer.lb._set_extra_addresses([ONE])
    port = balancer.listener.protocol_port
    with Client(ONE, port).connect() as conn:
        for _ in range(3):
            balancer.lb._failover()
            assert where(balancer.listener) == ["127.0.0.1", ONE]
            assert conn.request().status == 200
    balancer.lb._set_extra_addresses([])
    assert where(balancer.listener) == ["127.0.0.1"]


def test_the_vip_and_what_stays_feel_nothing_of_what_comes_and_goes(balance, member):
    balancer = balance(member())
    balancer.lb._set_extra_addresses([ONE])
    failures: list[str] = []
    stop = threading.Event()

    def ask(address):
        client = Client(address, balancer.listener.protocol_port)
        while not stop.is_set():
            try:
                assert client.get().status == 200
            except Exception as error:
                failures.append(repr(error))
                return

    threads = [threading.Thread(target=ask, args=(address,)) for address in ("127.0.0.1", ONE)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        balancer.lb._set_extra_addresses([ONE, TWO])
        balancer.lb._set_extra_addresses([ONE])
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
