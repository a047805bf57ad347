# SPDX-License-Identifier: Apache-2.0
"""A tolerant load balancer: a listener whose port is taken is in ERROR, and everything else serves."""

import logging
import socket

import pytest

from fastlb.errors import BindError
from fastlb.testing import Client, eventually, open_descriptors


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def tolerant(balance, member):
    """A load balancer that is described, with one listener on a free port."""
    balancer = balance(member(), start=False)
    balancer.lb._tolerant = True
    return balancer


def port_of(server):
    return server.getsockname()[1]


def statuses(one):
    return str(one.provisioning_status), str(one.operating_status)


def served(listener):
    return Client("127.0.0.1", listener.protocol_port).get().status == 200


def test_a_taken_port_does_not_keep_the_others_from_serving(tolerant, taken, caplog):
    failed = tolerant.lb.create_listener(
        protocol="HTTP", protocol_port=port_of(taken), default_pool=tolerant.pool
    )
    with caplog.at_level(logging.WARNING, "fastlb"):
        tolerant.lb.start()
    assert served(tolerant.listener)
    assert statuses(failed) == ("ERROR", "ERROR")
    assert failed._failed
    assert f"cannot listen on 127.0.0.1:{port_of(taken)}" in failed._failure
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"a failover of {tolerant.lb._who()} tries again" in caplog.text
    assert failed._failure in caplog.text
    assert failed.id in caplog.text
    assert statuses(tolerant.listener) == statuses(tolerant.lb) == ("ACTIVE", "ONLINE")


def test_a_listener_made_on_a_taken_port_is_there_and_in_error(tolerant, taken):
    tolerant.lb.start()
    before = open_descriptors()
    failed = tolerant.lb.create_listener(protocol="HTTP", protocol_port=port_of(taken))
    assert open_descriptors() == before
    assert statuses(failed) == ("ERROR", "ERROR")
    assert failed in tolerant.lb.listeners
    assert served(tolerant.listener)
    failed.delete()
    assert len(tolerant.lb.listeners) == 1


@pytest.mark.parametrize("what", ["update", "listener", "load balancer", "start"])
def test_what_opens_it_again_tries_again(tolerant, what):
    with socket.create_server(("127.0.0.1", 0)) as server:
        failed = tolerant.lb.create_listener(
            protocol="HTTP", protocol_port=port_of(server), default_pool=tolerant.pool
        )
        tolerant.lb.start()
        failed.update(name="still taken")
        assert statuses(failed) == ("ERROR", "ERROR")
    if what == "update":
        failed.update(name="free by now")
    elif what == "start":
        tolerant.lb.stop(0)
        assert statuses(failed) == ("PENDING_CREATE", "OFFLINE")
        tolerant.lb.start()
    else:
        switch = failed if what == "listener" else tolerant.lb
        switch.admin_state_up = False
        assert statuses(failed) == ("ACTIVE", "OFFLINE")
        switch.admin_state_up = True
    assert statuses(failed) == ("ACTIVE", "ONLINE")
    assert failed._failure == ""
    assert served(failed)


def test_without_tolerance_the_listener_is_not_made(tolerant, taken):
    tolerant.lb._tolerant = False
    tolerant.lb.start()
    with pytest.raises(BindError):
        tolerant.lb.create_listener(protocol="HTTP", protocol_port=port_of(taken))
    assert tolerant.lb.listeners == (tolerant.listener,)


def test_watchers_hear_of_the_error(tolerant, taken):
    tolerant.lb.start()
    events = []
    tolerant.lb.on_status(events.append)
    failed = tolerant.lb.create_listener(protocol="HTTP", protocol_port=port_of(taken))
    eventually(lambda: [event.new for event in events if event.object is failed] == ["ERROR"])
