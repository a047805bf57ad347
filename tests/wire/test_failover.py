# SPDX-License-Identifier: Apache-2.0
"""`_failover`: new listening sockets, new member connections, and nobody notices."""

import contextlib
import os
import resource
import socket
import threading
import time

import pytest

from fastlb import retirement
from fastlb.errors import BindError
from fastlb.testing import Client, eventually, open_descriptors, request

SYN_AGAIN_S = 0.9
"""A connect that took so long had its SYN dropped: the kernel sends another after a second."""


class Hammer:
    """Clients that connect, ask once and close, as fast as they can, and ones that keep their connection."""

    def __init__(self, client, *, new=3, kept=2):
        self.client = client
        self.failures: list[str] = []
        self.served = 0
        self._stop = threading.Event()
        work = [self._connect_and_ask] * new + [self._keep_asking] * kept
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in work]

    def _run(self, work):
        try:
            while not self._stop.is_set():
                work()
        except Exception as error:
            self.failures.append(repr(error))

    def _connect_and_ask(self):
        began = time.monotonic()
        with self.client.connect() as conn:
            assert conn.request(fields=[("Connection", "close")]).status == 200
        took = time.monotonic() - began
        assert took < SYN_AGAIN_S, f"took {took:.2f} s"
        self.served += 1

    def _keep_asking(self):
        with self.client.connect() as conn:
            while not self._stop.is_set():
                assert conn.request().status == 200
                self.served += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.served or self.failures)
        return self

    def __exit__(self, *exc):
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def held_up(monkeypatch):
    """Failovers wait between their steps. The answer is two events: one does wait; they may go on."""
    settle = retirement.Retirement.settle
    waiting, gate = threading.Event(), threading.Event()

    def hold(self):
        waiting.set()
        assert gate.wait(10)
        settle(self)

    with monkeypatch.context() as patch:
        patch.setattr(retirement.Retirement, "settle", hold)
        try:
            yield waiting, gate
        finally:
            gate.set()


@contextlib.contextmanager
def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


@pytest.mark.parametrize("workers", [pytest.param(n, marks=pytest.mark.workers(n)) for n in (1, 3)])
def test_not_one_request_fails_during_fifty_failovers(balance, member, workers, listening):
    balancer = balance(member(), member())
    with Hammer(balancer.client) as hammer:
        for _ in range(50):
            served = hammer.served
            balancer.lb._failover()
            eventually(lambda: hammer.served > served or hammer.failures)  # noqa: B023
    assert hammer.failures == []
    assert listening(balancer.client.port) == workers


def test_a_client_in_the_queue_is_served_from_there(balance, member, listening):
    balancer = balance(member(), listener={"connection_limit": 1})
    with balancer.client.connect() as first:
        assert first.request().status == 200
        with balancer.client.connect() as second:
            second.send(request())
            assert not second.pending(0.05)
            with in_a_thread(balancer.lb._failover) as failover:
                eventually(lambda: listening(balancer.client.port) == 4)
                first.close()
                assert second.read_response().status == 200
                failover.join()
            assert second.request().status == 200


def test_a_queue_behind_the_limit_is_let_in_at_last(balance, member, monkeypatch):
    monkeypatch.setattr(retirement, "PATIENCE_S", 0.1)
    balancer = balance(member(), listener={"connection_limit": 1})
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(balancer.client.connect())
        assert first.request().status == 200
        others = [stack.enter_context(balancer.client.connect()).send(request()) for _ in range(5)]
        balancer.lb._failover()
        assert [other.read_response().status for other in others] == [200] * 5
        last = stack.enter_context(balancer.client.connect()).send(request())
        assert not last.pending(0.05)


HANDSHAKES = """
import threading, tun
import fastlb
from fastlb import retirement
from fastlb.testing import Client, Member, eventually

REQUEST = b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n"
device = tun.Tun()
ip("address", "add", "10.9.0.1/24", "dev", "tun0")
ip("link", "set", "tun0", "up")
member = Member()
lb = fastlb.LoadBalancer(vip_address="127.0.0.1", drain_timeout=0, engine=fastlb.Engine(workers=3))
listener = lb.create_listener(protocol="HTTP", protocol_port=80)
pool = listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
pool.create_member(member.address, member.port)
lb.start()
lb._set_extra_addresses(["10.9.0.1"])
clients = [tun.Client(device, port, ("10.9.0.1", 80)) for port in range(2000, 2020)]
assert all(client.knock() for client in clients)
"""
HANDSHAKES_END = """
lb.close()
member.close()
print("done")
"""
MOVES = {"failover": "lb._failover()", "the address goes": "lb._set_extra_addresses([])"}


@pytest.mark.parametrize("move", MOVES)
def test_a_handshake_that_has_begun_is_finished_and_served(namespace, move):
    source = f"""
moving = threading.Thread(target=lambda: {MOVES[move]})
moving.start()
eventually(lambda: lb._ports._retirements and lb._ports._retirements[0]._unfinished)
late = tun.Client(device, 3000, ("10.9.0.1", 80))
late.send(tun.SYN)
assert late.hear(tun.SYN, 0.1) == {move == "failover"}
assert moving.is_alive()
for client in clients:
    assert client.ask(REQUEST).startswith(b"HTTP/1.1 200 OK"), (client.port, client.flags, client.data)
moving.join()
if late.flags:
    assert late.ask(REQUEST).startswith(b"HTTP/1.1 200 OK")
assert Client("127.0.0.1", 80).get().status == 200
"""
    assert namespace(HANDSHAKES + source + HANDSHAKES_END) == "done\n"


def test_a_handshake_that_never_ends_is_not_waited_for_without_end(namespace):
    source = """
retirement.PATIENCE_S = 0.3
lb._failover()
assert not clients[0].ask(REQUEST)
assert clients[0].flags & tun.RST
assert Client("127.0.0.1", 80).get().status == 200
"""
    assert namespace(HANDSHAKES + source + HANDSHAKES_END) == "done\n"


def test_where_the_kernel_migrates_handshakes_those_are_served_too(namespace):
    source = """
try:
    with open("/proc/sys/net/ipv4/tcp_migrate_req", "w") as setting:
        setting.write("1")
except FileNotFoundError:
    sys.exit(77)
retirement.PATIENCE_S = 0.1
for _ in range(3):
    lb._failover()
for client in clients:
    assert client.ask(REQUEST).startswith(b"HTTP/1.1 200 OK"), (client.port, client.flags, client.data)
"""
    assert namespace(HANDSHAKES + source + HANDSHAKES_END) == "done\n"


def test_who_may_not_ask_the_kernel_waits_as_long_as_it_can_take(balance, member, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError

    monkeypatch.setattr(retirement.handshakes.netlink, "ask", refuse)
    monkeypatch.setattr(retirement, "PATIENCE_S", 0.1)
    balancer = balance(member())
    began = time.monotonic()
    balancer.lb._failover()
    assert time.monotonic() - began >= 0.1
    assert balancer.client.get().status == 200


def test_member_connections_are_new_afterwards(balance, member):
    one, other = member(), member()
    balancer = balance(one)
    beside = balancer.lb.create_listener(protocol="HTTP", protocol_port=0)
    beside.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN").create_member(other.address, other.port)
    with balancer.client.connect() as conn:
        assert [conn.request().status for _ in range(3)] == [200] * 3
        assert len(one.connections) == 1
        balancer.lb._failover()
        eventually(lambda: not one.open_connections)
        assert conn.request().status == 200
    assert len(one.connections) == 2
    assert Client("127.0.0.1", beside.protocol_port).get().status == 200


def test_what_is_known_of_members_stays(balance, member):
    one, two = member(), member()
    monitor = {"type": "TCP", "delay": 0.05, "timeout": 1, "max_retries": 1, "max_retries_down": 1}
    balancer = balance(one, two, monitor=monitor)
    one.refuse()
    eventually(lambda: balancer.members[0].operating_status == "ERROR")
    seen = []
    balancer.lb.on_status(lambda event: seen.append((event.object, str(event.new))))
    for _ in range(3):
        balancer.lb._failover()
        assert [str(one.operating_status) for one in balancer.members] == ["ERROR", "ONLINE"]
    assert seen == []


def test_a_listener_that_could_not_be_bound_is_tried_again(balance, member):
    balancer = balance(member(), start=False)
    balancer.lb._tolerant = True
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        failed = balancer.lb.create_listener(protocol="HTTP", protocol_port=port, default_pool=balancer.pool)
        balancer.lb.start()
        balancer.lb._failover()
        assert failed.provisioning_status == "ERROR"
    balancer.lb._failover()
    assert (failed.provisioning_status, failed.operating_status) == ("ACTIVE", "ONLINE")
    assert Client("127.0.0.1", port).get().status == 200


@contextlib.contextmanager
def one_descriptor_left():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()) + 3, before[1]))
    copies = []
    try:
        with contextlib.suppress(OSError):
            while True:
                copies.append(os.dup(0))
        os.close(copies.pop())
        yield
    finally:
        for copy in copies:
            os.close(copy)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_descriptors_the_old_sockets_go_on(balance, member, listening):
    balancer = balance(member())
    with one_descriptor_left(), pytest.raises(BindError, match="Too many open files"):
        balancer.lb._failover()
    assert listening(balancer.client.port) == 2
    with Hammer(balancer.client) as hammer:
        balancer.lb._failover()
    assert hammer.failures == []


def test_readers_and_changes_go_on_meanwhile(balance, member, monkeypatch, listening):
    balancer = balance(member())
    with held_up(monkeypatch) as (waiting, gate), in_a_thread(balancer.lb._failover):
        assert waiting.wait(5)
        assert balancer.lb.stats.active_connections == 0
        assert balancer.lb.operating_status == "ONLINE"
        balancer.listener.update(name="changed", connection_limit=5)
        balancer.add(member())
        assert balancer.client.get().status == 200
        gate.set()
    assert listening(balancer.client.port) == 2


@pytest.mark.parametrize("what", ["delete", "off and on", "stop"])
def test_a_listener_that_is_closed_meanwhile_ends_it(balance, member, monkeypatch, what, listening):
    balancer = balance(member())
    with held_up(monkeypatch) as (waiting, gate), in_a_thread(balancer.lb._failover):
        assert waiting.wait(5)
        if what == "delete":
            balancer.listener.delete()
        elif what == "stop":
            balancer.lb.stop(0)
        else:
            balancer.listener.admin_state_up = False
            balancer.listener.admin_state_up = True
            assert balancer.client.get().status == 200
        gate.set()
    if what == "off and on":
        assert listening(balancer.client.port) == 2
        assert balancer.client.get().status == 200
    else:
        assert listening(balancer.client.port) == 0


def test_several_failovers_at_once_are_one_after_the_other(balance, member, listening):
    balancer = balance(member())
    with Hammer(balancer.client) as hammer, contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(in_a_thread(balancer.lb._failover))
    assert hammer.failures == []
    assert listening(balancer.client.port) == 2


def test_one_who_holds_the_lock_does_what_is_left_of_another(balance, member, monkeypatch, listening):
    balancer = balance(member())
    with held_up(monkeypatch) as (waiting, gate), in_a_thread(balancer.lb._failover):
        assert waiting.wait(5)
        with balancer.lb._lock:
            gate.set()
            balancer.lb._failover()
            assert listening(balancer.client.port) == 2
    assert balancer.client.get().status == 200


def test_what_is_not_started_or_off_has_nothing_to_do(balance, member, listening):
    balancer = balance(member(), start=False)
    balancer.lb._failover()
    balancer.lb.start()
    balancer.lb.admin_state_up = False
    balancer.lb._failover()
    assert listening(balancer.client.port) == 0


def test_tcp_sessions_go_on(balance, member):
    from fastlb.testing import echo

    balancer = balance(member(echo), protocol="TCP")
    with balancer.client.connect() as conn:
        conn.send(b"before").expect(b"before")
        for _ in range(3):
            balancer.lb._failover()
        conn.send(b"after").expect(b"after")
