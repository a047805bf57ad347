# SPDX-License-Identifier: Apache-2.0
"""A change that is refused while traffic flows changes nothing."""

import socket

import pytest

from fastlb import BindError, ConfigError, Conflict, NotSupported, StateError

NOT_YET = [
    ("pool", {"tls_enabled": True}),
]


@pytest.mark.parametrize(("thing", "changes"), NOT_YET)
def test_what_does_not_forward_yet_is_refused_at_the_change(balance, member, thing, changes):
    balancer = balance(member())
    changed = getattr(balancer, thing)
    before = changed.show()
    with pytest.raises(NotSupported, match="does not forward it yet"):
        changed.update(name="new", **changes)
    assert changed.show() == before
    assert balancer.client.get().status == 200


def test_what_does_not_forward_yet_is_refused_at_the_creation(balance, member):
    balancer = balance(member())
    lb = balancer.lb
    with pytest.raises(NotSupported, match="protocol='UDP'"):
        lb.create_listener(protocol="UDP", protocol_port=0)
    with pytest.raises(NotSupported, match="protocol='PROXYV2'"):
        lb.create_pool(protocol="PROXYV2", lb_algorithm="ROUND_ROBIN")
    with pytest.raises(NotSupported, match="type='TLS-HELLO'"):
        balancer.pool.create_health_monitor(type="TLS-HELLO", delay=1, timeout=1, max_retries=1)
    assert (len(lb.listeners), len(lb.pools), balancer.pool.health_monitor) == (1, 1, None)
    assert balancer.client.get().status == 200


def test_a_port_that_is_taken_when_it_is_switched_on(balance, member):
    balancer = balance(member())
    port = balancer.listener.protocol_port
    balancer.listener.admin_state_up = False
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(
            BindError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: Address already in use"
        ):
            balancer.listener.update(admin_state_up=True, name="new")
        assert (balancer.listener.admin_state_up, balancer.listener.name) == (False, "")
        balancer.lb.admin_state_up = False
    balancer.lb.admin_state_up = True
    balancer.listener.admin_state_up = True
    assert balancer.listener.protocol_port == port
    assert balancer.client.get().status == 200


def test_of_several_ports_all_are_switched_on_or_none(balance, member):
    balancer = balance(member())
    second = balancer.lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=balancer.pool)
    balancer.lb.admin_state_up = False
    with socket.create_server(("127.0.0.1", second.protocol_port)):
        with pytest.raises(BindError):
            balancer.lb.admin_state_up = True
        assert balancer.lb.admin_state_up is False
        assert balancer.lb.operating_status == "OFFLINE"
        with pytest.raises(ConnectionRefusedError):
            balancer.client.connect()
    balancer.lb.admin_state_up = True
    assert balancer.client.get().status == 200


def test_a_refused_batch_adds_nobody(balance, member):
    one, two = member(), member()
    balancer = balance(one)
    with pytest.raises(Conflict):
        balancer.pool.create_members([(two.address, two.port), (one.address, one.port)])
    with pytest.raises(ConfigError):
        balancer.pool.create_members([(two.address, two.port), {"address": "x", "protocol_port": 1}])
    assert [balancer.client.get().status for _ in range(4)] == [200] * 4
    assert (len(one.requests), len(two.requests)) == (4, 0)


def test_a_deleted_object_changes_nothing(balance, member):
    balancer = balance(member(), member())
    gone = balancer.members[0]
    gone.delete()
    for use in (lambda: setattr(gone, "weight", 5), gone.delete, lambda: gone.update(name="x")):
        with pytest.raises(StateError, match="was deleted"):
            use()
    assert balancer.client.get().status == 200
    balancer.pool.delete()
    assert balancer.listener.default_pool is None
    assert balancer.client.get().status == 503
    balancer.listener.delete()
    with pytest.raises(ConnectionRefusedError):
        balancer.client.connect()
