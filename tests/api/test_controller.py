# SPDX-License-Identifier: Apache-2.0
"""Controller: load balancers that are kept, and made again from the store."""

import resource
import socket
import threading

import pytest
import requests

import fastlb
from fastlb.api.server import Server
from fastlb.controller import Controller
from fastlb.store.memory import MemoryStore
from fastlb.testing import Client, Load, Member, MemberProcess, eventually, named


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def engine():
    engine = fastlb.Engine(workers=1)
    yield engine
    engine.stop(0)


@pytest.fixture
def again(store, engine):
    """`again()`: a controller over the same store, as after a restart."""
    controllers = []

    def open_one():
        for controller in controllers:
            controller.close(0)
        controllers.append(Controller(store, engine=engine).open())
        return controllers[-1]

    yield open_one
    for controller in controllers:
        controller.close(0)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def shop(controller, *members, port=None, **listener):
    balancer = controller.add(fastlb.LoadBalancer(name="shop", vip_address="127.0.0.1"))
    pool = balancer.create_pool(name="web", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    pool.create_members([(member.address, member.port) for member in members])
    balancer.create_listener(
        name="http", protocol="HTTP", protocol_port=port or free_port(), default_pool=pool, **listener
    )
    return balancer


def client_of(balancer):
    return Client("127.0.0.1", balancer.listeners[0].protocol_port)


def shown(controller):
    kinds = ("loadbalancer", "listener", "pool", "member", "healthmonitor", "l7policy", "l7rule")
    return {kind: [one.show() for one in controller.all(kind)] for kind in kinds}


def test_what_is_kept_serves_again_after_a_restart(again):
    with Member(named("a")) as member:
        before = shop(again(), member)
        client_of(before).get()
        state = shown(again())
        balancer = again().find_load_balancer("shop")
        assert balancer is not before
        assert balancer.id == before.id
        assert client_of(balancer).get().body == b"a"
        assert shown(again()) == state


def test_deleted_objects_are_gone_after_a_restart(again):
    with Member() as member:
        balancer = shop(again(), member)
        balancer.listeners[0].delete()
        assert not again().find_load_balancer("shop").listeners
        again().find_load_balancer("shop").delete(cascade=True)
        assert not any(shown(again()).values())


def test_a_taken_port_is_an_error_of_that_load_balancer_alone(again, caplog):
    with Member(named("a")) as member:
        controller = again()
        port = free_port()
        first = shop(controller, member, port=port)
        second = shop(controller, member)
        controller.close(0)
        with socket.create_server(("127.0.0.1", port)):
            controller = again()
            first, second = (controller.get("loadbalancer", one.id) for one in (first, second))
            assert first.provisioning_status == "ERROR"
            assert first.listeners[0].provisioning_status == "ERROR"
            assert f"127.0.0.1:{port}" in caplog.text
            assert second.provisioning_status == "ACTIVE"
            assert client_of(second).get().body == b"a"
            with pytest.raises(fastlb.Conflict, match="immutable"), controller.writing(first):
                pass
        assert again().get("loadbalancer", first.id).provisioning_status == "ACTIVE"


def test_a_change_waits_for_the_one_before_it_and_not_for_ever(again):
    controller = again()
    balancer = controller.add(fastlb.LoadBalancer(vip_address="127.0.0.1"))
    held, release = threading.Event(), threading.Event()

    def slow():
        with controller.writing(balancer):
            held.set()
            release.wait(10)

    thread = threading.Thread(target=slow)
    thread.start()
    held.wait(10)
    with pytest.raises(fastlb.Conflict, match="is immutable"), controller.writing(balancer, timeout=0.01):
        pass
    release.set()
    with controller.writing(balancer):
        balancer.name = "after"
    thread.join()
    assert controller.find_load_balancer("after") is balancer


def test_several_changes_in_one_go_are_one_commit(again, store):
    controller = again()
    balancer = shop(controller)
    before = store.revision
    with controller.writing(balancer):
        balancer.pools[0].create_member("192.0.2.1", 80)
        balancer.pools[0].lb_algorithm = "SOURCE_IP"
        balancer.name = "other"
    assert store.revision == before + 1


def test_a_restart_lists_everything_in_the_order_of_creation(again):
    controller = again()
    one, two = (controller.add(fastlb.LoadBalancer(vip_address="127.0.0.1")) for _ in range(2))
    made = [
        balancer.create_pool(protocol="TCP", lb_algorithm="ROUND_ROBIN").id
        for balancer in (two, one, two, one)
    ]
    assert [pool.id for pool in again().all("pool")] == made


def test_counts_follow_what_projects_have(again):
    controller = again()
    balancer = controller.add(fastlb.LoadBalancer(vip_address="127.0.0.1", project_id="p1"))
    pool = balancer.create_pool(protocol="TCP", lb_algorithm="ROUND_ROBIN")
    pool.create_members([("192.0.2.1", port) for port in range(1, 6)])
    assert controller.count("member", "p1") == 5
    pool.members[0].delete()
    assert again().count("member", "p1") == 4
    assert controller.count("member", "p2") == 0


def test_a_deleted_load_balancer_finishes_what_is_under_way(again):
    gate = threading.Event()
    with Member(fastlb.testing.held(gate, fastlb.testing.response(b"late"))) as member:
        controller = again()
        balancer = shop(controller, member)
        with client_of(balancer).connect() as conn:
            conn.send(fastlb.testing.request())
            member.wait_requests(1)
            controller.delete_load_balancer(balancer, cascade=True)
            with pytest.raises(fastlb.NotFound):
                controller.get("loadbalancer", balancer.id)
            gate.set()
            assert conn.read_response().body == b"late"


def test_a_store_that_fails_says_so_and_the_change_is_stored_with_the_next(again, store, monkeypatch):
    controller = again()
    balancer = controller.add(fastlb.LoadBalancer(name="a", vip_address="127.0.0.1"))

    def full(*args):
        raise fastlb.StoreError("the store", "no space left", "make room")

    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", full)
        with pytest.raises(fastlb.StoreError, match="no space left"):
            balancer.name = "b"
        with pytest.raises(fastlb.StoreError):
            controller.add(fastlb.LoadBalancer(name="never", vip_address="127.0.0.1"))
    balancer.description = "after"
    again().find_load_balancer("b")
    with pytest.raises(fastlb.NotFound):
        again().find_load_balancer("never")


def test_closing_stops_all_within_one_drain_time(again):
    with MemberProcess() as member:
        controller = again()
        balancers = [shop(controller, member) for _ in range(5)]
        with Load(client_of(balancers[0]), clients=2) as load:
            load.wait_requests(10)
            controller.close(2)
            assert all(not balancer.started for balancer in balancers)
    eventually(lambda: all(not balancer.started for balancer in balancers))


def test_everybody_in_a_process_has_the_same_objects(tmp_path):
    with fastlb.connect(tmp_path) as one:
        balancer = one.add(fastlb.LoadBalancer(name="shared", vip_address="127.0.0.1"))
        with fastlb.connect(tmp_path) as other:
            assert other.find_load_balancer("shared") is balancer
        assert balancer.started
    assert not balancer.started
    with fastlb.connect(tmp_path) as later:
        assert later.find_load_balancer("shared").id == balancer.id


def test_the_library_sees_what_the_api_changes_and_the_reverse(tmp_path):
    with fastlb.connect(tmp_path) as node, Server(node) as server:
        url = f"{server.url}/v2/lbaas/loadbalancers"
        balancer = node.add(fastlb.LoadBalancer(name="a", vip_address="127.0.0.1"))
        requests.put(
            f"{url}/{balancer.id}", json={"loadbalancer": {"name": "b"}}, timeout=10
        ).raise_for_status()
        assert balancer.name == "b"
        balancer.description = "from here"
        (row,) = requests.get(url, timeout=10).json()["loadbalancers"]
        assert (row["name"], row["description"]) == ("b", "from here")


def test_members_that_were_down_get_nobody_before_their_first_probe(again, store):
    with Member(named("up")) as member, Member() as other:
        controller = again()
        down = other.port
        other.close()
        balancer = shop(controller, member, port=free_port())
        pool = balancer.pools[0]
        dead = pool.create_member("127.0.0.1", down)
        pool.create_health_monitor(type="TCP", delay=1, timeout=1, max_retries=1, max_retries_down=1)
        dead.wait_for(operating_status="ERROR", timeout=10)
        eventually(lambda: store.list("health"))
        pool.health_monitor.update(delay=3600)
        balancer = again().find_load_balancer("shop")
        assert [one.operating_status for one in balancer.pools[0].members] == ["ONLINE", "ERROR"]
        assert {client_of(balancer).get().body for _ in range(4)} == {b"up"}
        balancer.pools[0].health_monitor.delete()
        assert not store.list("health")


def test_a_failover_loses_nobody_and_brings_back_a_port_that_was_taken(again):
    controller = again()
    with Member() as member, socket.create_server(("127.0.0.1", 0)) as taken:
        balancer = shop(controller, member)
        port = taken.getsockname()[1]
        failed = balancer.create_listener(
            protocol="HTTP", protocol_port=port, default_pool=balancer.find_pool("web")
        )
        with Load(client_of(balancer), keep_alive=False) as load:
            for _ in range(5):
                controller.failover(balancer)
            assert failed.provisioning_status == balancer.provisioning_status == "ERROR"
            taken.close()
            controller.failover(balancer)
        assert load.failures == []
        assert failed.provisioning_status == balancer.provisioning_status == "ACTIVE"
        assert Client("127.0.0.1", port).get().status == 200


def test_a_failover_that_finds_no_descriptor_is_an_error_and_the_old_sockets_serve(again):
    controller = again()
    with Member() as member:
        balancer = shop(controller, member)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            controller.failover(balancer)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert balancer.provisioning_status == "ERROR"
        assert "Too many open files" in balancer._error
        assert client_of(balancer).get().status == 200
        controller.failover(balancer)
        assert balancer.provisioning_status == "ACTIVE"


def test_an_address_that_is_not_here_is_served_once_it_is_and_the_log_says_so(again, caplog):
    balancer = again().add(fastlb.LoadBalancer(name="elsewhere", vip_address="192.0.2.55"))
    balancer.create_listener(protocol="TCP", protocol_port=free_port())
    assert (balancer.provisioning_status, balancer.operating_status) == ("ACTIVE", "ONLINE")
    assert "192.0.2.55 is not an address of this machine" in caplog.text
    caplog.clear()
    again()
    assert "192.0.2.55 is not an address of this machine" in caplog.text
