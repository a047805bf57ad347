# SPDX-License-Identifier: Apache-2.0
"""A store that fails, and a Ctrl-C beside it: what the model, the data plane and the store have then."""

import socket
import threading

import pytest

import fastlb
from fastlb import backlog, journal, records
from fastlb.controller import Controller
from fastlb.network import Change
from fastlb.store.memory import MemoryStore
from fastlb.testing import Client, Member, eventually, named


class Failing(MemoryStore):
    """A store that fails as often as it is told, before a commit or just after it."""

    before = after = None

    def commit(self, puts, drops=()):
        puts, drops = list(puts), list(drops)
        if self.before is not None:
            raise self.before
        revision = super().commit(puts, drops)
        if self.after is not None:
            raise self.after
        return revision


FULL = fastlb.StoreError("the store", "no space left", "make room")


@pytest.fixture
def store():
    return Failing()


@pytest.fixture
def controller(store, monkeypatch):
    monkeypatch.setattr(backlog, "RETRY_S", 0.01)
    engine = fastlb.Engine(workers=1)
    controller = Controller(store, engine=engine).open()
    yield controller
    store.before = store.after = None
    controller.close(0)
    assert not engine.running


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def document(port, members=(), vip_address=None):
    return {
        "name": "shop",
        **({"vip_address": vip_address} if vip_address else {"vip_network_id": None}),
        "listeners": [
            {
                "name": "http",
                "protocol": "HTTP",
                "protocol_port": port,
                "default_pool": {
                    "name": "web",
                    "protocol": "HTTP",
                    "lb_algorithm": "ROUND_ROBIN",
                    "members": [{"address": one.address, "protocol_port": one.port} for one in members],
                    "healthmonitor": {
                        "type": "TCP",
                        "delay": 3600,
                        "timeout": 3600,
                        "max_retries": 1,
                    },
                },
                "l7policies": [
                    {
                        "action": "REJECT",
                        "rules": [{"type": "PATH", "compare_type": "STARTS_WITH", "value": "/no"}],
                    }
                ],
            }
        ],
    }


def create(controller, port, members=(), vip_address="127.0.0.1"):
    return controller.create_load_balancer(document(port, members, vip_address), project_id="p")


def stored(store):
    return {(row.type, row.id): row.document for kind in records.KINDS for row in store.list(kind)}


def modelled(controller):
    """The rows of what the load balancers have; and that this is what the controller says there is."""
    there = [one for balancer in controller.load_balancers for one in balancer._everything()]
    known = {(kind, one.id) for kind in records.KINDS for one in controller.all(kind)}
    assert known == {(one.KIND, one.id) for one in there}
    assert sum(controller.quotas._used.values()) == len(there)
    return {(kind, one_id): document for kind, one_id, document in map(records.record, there)}


def is_stored(controller, store):
    return modelled(controller) == stored(store)


def test_a_load_balancer_that_cannot_be_stored_leaves_nothing_behind(controller, store):
    port = free_port()
    for vip_address in ("127.0.0.1", "127.0.17.17"):
        store.before = FULL
        with pytest.raises(fastlb.StoreError):
            create(controller, port, vip_address=vip_address)
        assert modelled(controller) == stored(store) == {}
        assert not controller.networking._state.ports
        with socket.create_server((vip_address, port)):
            pass
        store.before = None
        balancer = create(controller, port, vip_address=vip_address)
        assert Client(vip_address, port).get().status == 503
        controller.delete_load_balancer(balancer, cascade=True)


def test_a_delete_that_cannot_be_stored_has_not_happened(controller, store):
    port = free_port()
    with Member(named("a")) as member:
        balancer = create(controller, port, [member])
        before = stored(store)
        store.before = FULL
        with pytest.raises(fastlb.StoreError):
            controller.delete_load_balancer(balancer, cascade=True)
        with pytest.raises(fastlb.StoreError):
            balancer.delete(cascade=True)
        assert controller.get("loadbalancer", balancer.id) is balancer
        assert balancer.provisioning_status == "ACTIVE"
        assert Client("127.0.0.1", port).get().body == b"a"
        assert modelled(controller) == stored(store) == before
        store.before = None
        balancer.pools[0].name = "other"
        assert is_stored(controller, store)
        controller.delete_load_balancer(balancer, cascade=True)
        assert modelled(controller) == stored(store) == {}
        eventually(lambda: not balancer.started)


CHANGES = {
    "a member": lambda balancer: balancer.pools[0].create_member("192.0.2.1", 80),
    "no members": lambda balancer: [one.delete() for one in balancer.pools[0].members],
    "a policy": lambda balancer: balancer.listeners[0].create_l7policy(action="REJECT", position=1),
    "no policy": lambda balancer: balancer.listeners[0].l7policies[0].delete(),
    "no rule": lambda balancer: balancer.listeners[0].l7policies[0].rules[0].delete(),
    "a listener": lambda balancer: balancer.create_listener(protocol="TCP", protocol_port=free_port()),
    "no listener": lambda balancer: balancer.listeners[0].delete(),
    "a pool": lambda balancer: balancer.create_pool(protocol="TCP", lb_algorithm="SOURCE_IP"),
    "no pool": lambda balancer: balancer.pools[0].delete(),
    "no monitor": lambda balancer: balancer.pools[0].health_monitor.delete(),
    "off": lambda balancer: balancer.update(admin_state_up=False),
}


@pytest.mark.parametrize("interrupt", [FULL, KeyboardInterrupt()], ids=["failure", "interrupt"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_that_cannot_be_stored_is_stored_as_soon_as_the_store_works(
    controller, store, change, interrupt
):
    with Member() as member:
        balancer = create(controller, free_port(), [member])
        store.before = interrupt
        with pytest.raises(type(interrupt)):
            change(balancer)
        assert not is_stored(controller, store)
        store.before = None
        eventually(lambda: is_stored(controller, store))


def test_a_change_that_could_not_be_stored_is_stored_at_the_end(store):
    engine = fastlb.Engine(workers=1)
    with Controller(store, engine=engine) as controller:
        balancer = create(controller, free_port())
        store.before = FULL
        with pytest.raises(fastlb.StoreError):
            balancer.name = "b"
        store.before = None
    with Controller(store, engine=engine) as controller:
        assert controller.get("loadbalancer", balancer.id).name == "b"


def test_an_interrupt_after_the_commit_of_a_new_load_balancer_leaves_one_that_serves(controller, store):
    port = free_port()
    store.after = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        create(controller, port)
    store.after = None
    assert is_stored(controller, store)
    assert len(controller.load_balancers) == len(controller.networking._state.ports) == 1
    assert Client("127.0.0.1", port).get().status == 503


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_beside_the_commit_of_a_delete_leaves_nothing(controller, store, when):
    port = free_port()
    balancer = create(controller, port)
    setattr(store, when, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        controller.delete_load_balancer(balancer, cascade=True)
    store.before = store.after = None
    assert not controller.load_balancers
    eventually(lambda: stored(store) == {} and not controller.networking._state.ports)
    eventually(lambda: not balancer.started)


def test_an_interrupt_before_the_commit_of_a_new_load_balancer_leaves_nothing(controller, store):
    store.before = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        create(controller, free_port(), vip_address="127.0.17.17")
    store.before = None
    assert modelled(controller) == stored(store) == {}
    assert not controller.networking._state.ports
    create(controller, free_port(), vip_address="127.0.17.17")


def interrupt_once(patch, where, name):
    """Have a Ctrl-C come just before the next call of a method."""
    method = getattr(where, name)

    def interrupted(*arguments, **named):
        setattr(where, name, method)
        raise KeyboardInterrupt

    patch.setattr(where, name, interrupted)


def test_an_interrupt_between_a_change_and_the_note_of_it_loses_nothing(controller, store, monkeypatch):
    balancer = create(controller, free_port())
    interrupt_once(monkeypatch, fastlb.Member, "_unsaved")
    with pytest.raises(KeyboardInterrupt):
        balancer.pools[0].create_member("192.0.2.1", 80)
    assert len(balancer.pools[0].members) == 1
    eventually(lambda: is_stored(controller, store))


def test_an_interrupt_while_addresses_are_given_back_keeps_none(controller, store, monkeypatch):
    state = controller.networking._state
    balancer = create(controller, free_port(), vip_address="127.0.17.17")
    interrupt_once(monkeypatch, state, "give_back")
    with pytest.raises(KeyboardInterrupt):
        controller.delete_load_balancer(balancer, cascade=True)
    assert not state.ports
    assert not state.busy
    eventually(lambda: modelled(controller) == stored(store) == {})
    create(controller, free_port(), vip_address="127.0.17.17")


def test_an_interrupt_before_a_new_load_balancer_starts_leaves_one_that_serves(controller, monkeypatch):
    port = free_port()
    interrupt_once(monkeypatch, controller.networking, "attach")
    with pytest.raises(KeyboardInterrupt):
        create(controller, port)
    assert Client("127.0.0.1", port).get().status == 503


def test_a_change_of_the_network_that_an_interrupt_has_lost_keeps_nothing(controller):
    state = controller.networking._state
    spec = fastlb.LoadBalancer(vip_address="127.0.17.17")._spec
    controller.networking.plan(spec, project_id="p", balancer_id="0" * 36)
    assert not state.busy
    create(controller, free_port(), vip_address="127.0.17.17")


def test_an_interrupt_between_the_commit_and_what_the_network_makes_of_it(controller, store, monkeypatch):
    port = free_port()
    interrupt_once(monkeypatch, Change, "__exit__")
    with pytest.raises(KeyboardInterrupt):
        create(controller, port, vip_address="127.0.17.17")
    assert is_stored(controller, store)
    assert len(controller.networking._state.ports) == len(store.list("port")) == 1
    assert Client("127.0.17.17", port).get().status == 503


def test_an_interrupt_at_the_end_of_a_change_does_not_keep_its_lock(controller, store, monkeypatch):
    balancer = create(controller, free_port())
    interrupt_once(monkeypatch, journal.Change, "__exit__")
    with pytest.raises(KeyboardInterrupt):
        balancer.name = "b"
    thread = threading.Thread(target=balancer.update, kwargs={"description": "c"}, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert is_stored(controller, store)
