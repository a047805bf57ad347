# SPDX-License-Identifier: Apache-2.0
"""An address that cannot be bound: a clear error, the status ERROR, and nothing half open."""

import socket

import pytest

import fastlb
from fastlb.errors import BindError
from fastlb.testing import Client, Member, open_descriptors


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refused(port):
    with pytest.raises(ConnectionRefusedError):
        Client("127.0.0.1", port).connect()
    return True


def test_a_taken_port_is_an_error_that_names_it_and_leaves_nothing_open(engine, taken):
    lb = fastlb.LoadBalancer(name="wire", vip_address="127.0.0.1", engine=engine)
    with Member() as reserve:
        reserve.refuse()
        free = lb.create_listener(protocol="HTTP", protocol_port=0)
        listener = lb.create_listener(protocol="HTTP", protocol_port=taken)
        before = open_descriptors()
        with pytest.raises(BindError) as error:
            lb.start()
        assert f"127.0.0.1:{taken}" in str(error.value)
        assert isinstance(error.value, OSError)
        assert lb.provisioning_status == "ERROR"
        assert lb.operating_status == "ERROR"
        assert listener.operating_status == "ERROR"
        assert free.protocol_port == 0
        assert open_descriptors() == before
    lb.close()


def test_it_starts_once_the_port_is_free(engine):
    lb = fastlb.LoadBalancer(name="wire", vip_address="127.0.0.1", engine=engine, drain_timeout=0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        lb.create_listener(protocol="HTTP", protocol_port=port)
        with pytest.raises(BindError):
            lb.start()
    lb.start()
    assert lb.provisioning_status == "ACTIVE"
    assert lb.operating_status == "ONLINE"
    assert Client("127.0.0.1", port).get().status == 503
    lb.close()


def test_a_listener_added_on_a_taken_port_leaves_the_others_serving(balance, member, taken):
    balancer = balance(member())
    with pytest.raises(BindError):
        balancer.lb.create_listener(protocol="HTTP", protocol_port=taken)
    assert len(balancer.lb.listeners) == 1
    assert balancer.client.get().status == 200
    assert balancer.lb.operating_status == "ONLINE"


def test_two_load_balancers_do_not_share_a_port(balance, member, engine):
    balancer = balance(member())
    other = fastlb.LoadBalancer(name="other", vip_address="127.0.0.1", engine=engine)
    other.create_listener(protocol="HTTP", protocol_port=balancer.listener.protocol_port)
    with pytest.raises(BindError):
        other.start()
    assert balancer.client.get().status == 200
    other.close()


def test_an_address_that_is_not_ours_is_an_error(engine):
    lb = fastlb.LoadBalancer(name="wire", vip_address="192.0.2.1", engine=engine)
    lb.create_listener(protocol="HTTP", protocol_port=0)
    with pytest.raises(BindError, match=r"192\.0\.2\.1"):
        lb.start()
    lb.close()


def test_the_port_is_free_when_stop_returns(balance, member):
    balancer = balance(member())
    port = balancer.listener.protocol_port
    with balancer.client.connect() as conn:
        assert conn.request().status == 200
        balancer.lb.stop(0)
        assert refused(port)
        with socket.create_server(("127.0.0.1", port)):
            pass
