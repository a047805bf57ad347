# SPDX-License-Identifier: Apache-2.0
"""A controller that is opened, closed, forked and asked by several threads at once."""

import os
import socket
import threading
import time

import pytest

import fastlb
from fastlb import records
from fastlb.controller import Controller
from fastlb.store.memory import MemoryStore
from fastlb.testing import Client, Load, Member, MemberProcess, eventually, held, named, response
from fastlb.testing import request as get


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def engine():
    engine = fastlb.Engine(workers=1)
    yield engine
    assert not engine.running
    engine.stop(0)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def shop(controller, *members, **fields):
    balancer = fastlb.LoadBalancer(name="shop", vip_address="127.0.0.1", **fields)
    pool = balancer.create_pool(name="web", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    pool.create_members([(member.address, member.port) for member in members])
    balancer.create_listener(protocol="HTTP", protocol_port=free_port(), default_pool=pool)
    return controller.add(balancer)


def client_of(balancer):
    return Client("127.0.0.1", balancer.listeners[0].protocol_port)


def test_a_close_does_not_wait_for_the_sessions_of_what_was_deleted(store, engine):
    gate = threading.Event()
    with Member(held(gate, response(b"late"))) as member, Controller(store, engine=engine) as controller:
        balancer = shop(controller, member, drain_timeout=3600)
        with client_of(balancer).connect() as conn:
            conn.send(get())
            member.wait_requests(1)
            controller.delete_load_balancer(balancer, cascade=True)
            controller.close(0.01)
            assert not engine.running
        gate.set()


def test_what_a_closed_controller_had_can_be_read_and_not_changed(store, engine):
    with Controller(store, engine=engine) as before:
        balancer = shop(before)
    with Controller(store, engine=engine) as controller:
        again = controller.find_load_balancer("shop")
        again.name = "new"
        for change in (
            lambda: balancer.update(name="old"),
            lambda: balancer.pools[0].create_member("192.0.2.1", 80),
            balancer.start,
            lambda: before.failover(balancer),
        ):
            with pytest.raises(fastlb.StateError, match="is closed"):
                change()
        assert balancer.name == "shop"
    with Controller(store, engine=engine) as controller:
        assert controller.find_load_balancer("new").id == balancer.id


def test_a_load_balancer_that_is_deleted_while_it_starts_does_not_serve(store, engine, monkeypatch):
    with Controller(store, engine=engine) as controller:
        enter, deleted = engine._enter, []

        def enter_late(balancer):
            core = enter(balancer)
            if not deleted:
                deleted.append(balancer)
                controller.delete_load_balancer(balancer, cascade=True)
                eventually(lambda: not controller._ending)
            return core

        monkeypatch.setattr(engine, "_enter", enter_late)
        balancer = shop(controller)
        assert deleted == [balancer]
        assert not balancer.started
        assert not engine.load_balancers
        with pytest.raises(OSError, match="refused"):
            client_of(balancer).connect()


@pytest.mark.parametrize("what", ["new", "failover"])
def test_nothing_starts_in_a_controller_that_is_closed_meanwhile(store, engine, monkeypatch, what):
    controller = Controller(store, engine=engine).open()
    balancer = shop(controller)
    balancer.stop(0)
    enter = engine._enter

    def enter_late(balancer):
        monkeypatch.undo()
        controller.close(0)
        return enter(balancer)

    monkeypatch.setattr(engine, "_enter", enter_late)
    if what == "new":
        balancer = shop(controller)
    else:
        controller.failover(balancer)
    assert not balancer.started
    assert not engine.load_balancers
    with Controller(store, engine=engine) as controller:
        assert controller.get("loadbalancer", balancer.id).started


def test_a_failover_starts_what_is_stopped_without_its_lock(store, engine):
    with Controller(store, engine=engine) as controller:
        balancer = shop(controller)
        balancer.stop(0)
        told = []

        def callback(event):
            # Somebody else's thread needs the lock, and the callback needs that thread.
            thread = threading.Thread(target=lambda: told.append(balancer.stats), daemon=True)
            thread.start()
            thread.join(10)

        balancer.on_status(callback)
        controller.failover(balancer)
        assert balancer.started
        eventually(lambda: told)


def test_a_failover_of_what_is_deleted_meanwhile_says_that_it_is_not_there(store, engine, monkeypatch):
    with Controller(store, engine=engine) as controller:
        balancer = shop(controller)
        failover = fastlb.LoadBalancer._failover

        def late(balancer):
            controller.delete_load_balancer(balancer, cascade=True)
            failover(balancer)

        monkeypatch.setattr(fastlb.LoadBalancer, "_failover", late)
        with pytest.raises(fastlb.NotFound):
            controller.failover(balancer)


def test_an_open_that_fails_leaves_no_thread_and_may_be_tried_again(store, engine, monkeypatch):
    with Controller(store, engine=engine) as controller:
        shop(controller)
    controller = Controller(store, engine=engine)
    with monkeypatch.context() as patch:
        patch.setattr(controller.networking, "attach", lambda balancer: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            controller.open()
    assert not engine.running
    assert not controller.is_open
    with controller:
        assert controller.find_load_balancer("shop").started


def test_whoever_opens_while_another_opens_has_all_of_it(store, engine):
    with Controller(store, engine=engine) as controller:
        for _ in range(20):
            shop(controller)
    seen = []
    for _ in range(5):
        controller = Controller(store, engine=engine)

        def look(controller=controller):
            with controller.open():
                seen.append(len(controller.load_balancers))

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == [20] * 20


def test_connections_to_a_directory_come_and_go_in_many_threads(tmp_path, engine):
    failures = []

    def come_and_go():
        try:
            for _ in range(15):
                with fastlb.connect(tmp_path, engine=engine) as node:
                    node.all("loadbalancer")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_forked_child_has_nothing_of_it_and_takes_nothing_away(tmp_path, engine, monkeypatch):
    with Member(named("a")) as member, fastlb.connect(tmp_path, engine=engine) as node:
        balancer = shop(node, member)
        stopped = node.add(fastlb.LoadBalancer(vip_address="127.0.0.1"))
        stopped.stop(0)
        closed = []
        monkeypatch.setattr(node.networking, "close", lambda: closed.append(os.getpid()))
        # Threads of the parent hold every lock there is.
        with node._life, node._lock, stopped._lock:
            child = os.fork()
            if not child:
                code = 1
                try:
                    threading.Thread(target=lambda: (time.sleep(20), os._exit(3)), daemon=True).start()
                    refused = 0
                    for change in (
                        lambda: node.add(fastlb.LoadBalancer()),
                        lambda: setattr(stopped, "name", "x"),
                        lambda: setattr(balancer, "name", "x"),
                    ):
                        try:
                            change()
                        except fastlb.StateError:
                            refused += 1
                    try:
                        fastlb.connect(tmp_path)
                    except fastlb.StoreError:
                        refused += 1
                    node.close()
                    code = 0 if refused == 4 and not closed and not node.is_open else 2
                finally:
                    os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert client_of(balancer).get().body == b"a"


def test_one_load_balancer_is_added_once(store, engine):
    with Controller(store, engine=engine) as controller:
        balancer = fastlb.LoadBalancer(vip_address="127.0.0.1")
        outcomes = []

        def add():
            try:
                outcomes.append(controller.add(balancer))
            except fastlb.StateError:
                outcomes.append(None)

        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count(balancer) == 1
        assert balancer.started
        gone = fastlb.LoadBalancer(vip_address="127.0.0.1")
        gone.close()
        with pytest.raises(fastlb.StateError, match="closed"):
            controller.add(gone)
        assert controller.load_balancers == (balancer,)


def test_broken_rows_cost_only_the_load_balancer_that_they_belong_to(store, engine, caplog):
    with Controller(store, engine=engine) as controller:
        for _ in range(10):
            shop(controller).pools[0].create_members([("192.0.2.1", 80), ("192.0.2.2", 80)])
        whole, *broken = controller.load_balancers
    breaks = [
        ("loadbalancer", lambda document: document.pop("spec")),
        ("loadbalancer", lambda document: document.update(spec=[])),
        ("loadbalancer", lambda document: document.update(created_at=7)),
        ("pool", lambda document: document.pop("owner")),
        ("pool", lambda document: document.update(owner=["a"])),
        ("listener", lambda document: document["spec"].update(protocol_port="x")),
        ("member", lambda document: document["spec"].update(unheard_of=1)),
        ("member", lambda document: document.pop("unmonitored")),
        ("member", lambda document: document["spec"].update(address="192.0.2.2")),
    ]
    for balancer, (kind, spoil) in zip(broken, breaks, strict=True):
        one = next(one for one in balancer._everything() if kind == one.KIND)
        document = store.get(kind, one.id).document
        spoil(document)
        store.commit([(kind, one.id, document)])
    store.commit([("unknown", "x", {"a": 1}), ("health", "nobody", {"up": False})])
    before = {kind: store.list(kind) for kind in ("loadbalancer", "pool", "listener", "member")}
    with Controller(store, engine=engine) as controller:
        assert whole.id in {one.id for one in controller.load_balancers}
        assert controller.get("loadbalancer", whole.id).provisioning_status == "ACTIVE"
        assert not store.list("health")
        for balancer in broken:
            assert balancer.id in caplog.text or balancer.pools[0].id in caplog.text
    assert {kind: store.list(kind) for kind in before} == before


def test_many_threads_make_change_rebuild_and_delete_and_no_request_fails(tmp_path, engine):
    failures = []
    deadline = time.monotonic() + 2

    def guarded(work, *arguments):
        try:
            while time.monotonic() < deadline:
                work(*arguments)
        except Exception as error:
            failures.append(error)

    with MemberProcess() as member, fastlb.connect(tmp_path, engine=engine) as node:
        steady = [shop(node, member) for _ in range(2)]
        for balancer in steady:
            # A callback that changes things, on the engine's thread.
            balancer.on_status(lambda event: event.object.load_balancer.update(description=event.new))

        def come_and_go():
            balancer = shop(node, member)
            assert client_of(balancer).get().status == 200
            node.failover(balancer)
            node.delete_load_balancer(balancer, cascade=True)

        def change(balancer, number):
            node.failover(balancer)
            balancer.listeners[0].create_l7policy(action="REJECT").delete()
            balancer.pools[0].create_member("192.0.2.1", number, weight=0).delete()
            balancer.create_listener(protocol="HTTP", protocol_port=0).delete()
            for kind in ("loadbalancer", "listener", "pool", "member"):
                assert all(one.show() for one in node.all(kind))

        threads = [threading.Thread(target=guarded, args=(come_and_go,)) for _ in range(2)]
        threads += [
            threading.Thread(target=guarded, args=(change, steady[at % 2], at + 1)) for at in range(4)
        ]
        with (
            Load(client_of(steady[0]), clients=2, keep_alive=False) as fresh,
            Load(client_of(steady[1]), clients=2) as kept,
        ):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert failures == fresh.failures == kept.failures == []
        rows = {(row.type, row.id): row.document for kind in records.KINDS for row in node.store.list(kind)}
        there = [one for balancer in steady for one in balancer._everything()]
        assert rows == {(kind, one_id): document for kind, one_id, document in map(records.record, there)}
        assert set(rows) == {(kind, one.id) for kind in records.KINDS for one in node.all(kind)}
        node.close(0)
    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("fastlb-")])
