# SPDX-License-Identifier: Apache-2.0
"""Descriptors run out: what is there goes on, nothing spins, and it recovers by itself."""

import subprocess
import sys
import textwrap
import time

import pytest

from fastlb.testing import Client, eventually

PROGRAM = textwrap.dedent(
    """
    import resource, sys, time
    import fastlb
    from fastlb.testing import open_descriptors
    engine = fastlb.Engine(workers=2)
    lb = fastlb.LoadBalancer(name="poor", vip_address="127.0.0.1", engine=engine, drain_timeout=0)
    listener = lb.create_listener(protocol=sys.argv[2], protocol_port=0)
    pool = listener.create_pool(protocol=sys.argv[2], lb_algorithm="ROUND_ROBIN")
    pool.create_member("127.0.0.1", int(sys.argv[1]))
    lb.start()
    limit = len(open_descriptors()) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print(listener.protocol_port, flush=True)
    for line in sys.stdin:
        missing = sum(engine.counters()[name] for name in ("accept_emfile", "connect_emfile"))
        print(listener.stats.active_connections, missing, time.process_time(), flush=True)
    lb.close()
    engine.stop(0)
    """
)


class Poor:
    """A balancer in a process that may open twenty descriptors more."""

    def __init__(self, member, environment, protocol="HTTP"):
        command = [sys.executable, "-c", PROGRAM, str(member.port), protocol]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.client = Client("127.0.0.1", int(self.process.stdout.readline()))

    def ask(self):
        """Open client connections, descriptors that could not be had, CPU seconds."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        active, emfile, cpu = self.process.stdout.readline().split()
        return int(active), int(emfile), float(cpu)

    def close(self):
        self.process.stdin.close()
        status = self.process.wait(20)
        self.process.stdout.close()
        return status


@pytest.fixture
def poor(child_environment):
    made = []

    def make(member, protocol="HTTP"):
        made.append(Poor(member, child_environment, protocol))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            assert one.close() == 0


def test_kept_clients_are_served_while_new_ones_wait_and_all_recovers(poor, member):
    balancer = poor(member())
    first = balancer.client.connect()
    assert first.request().status == 200
    crowd = [balancer.client.connect() for _ in range(40)]
    eventually(lambda: balancer.ask()[1] > 0, what="a counted EMFILE")
    for _ in range(5):
        assert first.request().status == 200
    for conn in crowd:
        conn.close()
    late = [balancer.client.connect() for _ in range(5)]
    for conn in late:
        assert conn.request().status == 200
        conn.close()
    assert first.request().status == 200
    first.close()
    eventually(lambda: balancer.ask()[0] == 0)


def test_every_client_of_a_crowd_is_served_in_the_end(poor, member):
    balancer = poor(member())
    crowd = [
        balancer.client.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        for _ in range(60)
    ]
    statuses = []
    for conn in crowd:
        statuses.append(conn.read_response().status)
        conn.close()
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > 50


def test_waiting_for_descriptors_costs_no_cpu(poor, member):
    balancer = poor(member())
    crowd = [balancer.client.connect() for _ in range(40)]
    eventually(lambda: balancer.ask()[1] > 0)
    (_, _, before), start = balancer.ask(), time.monotonic()
    assert not crowd[-1].pending(0.5)
    (_, _, after), spent = balancer.ask(), time.monotonic() - start
    assert after - before < 0.3 * spent
    for conn in crowd:
        conn.close()


def test_tcp_sessions_go_on_too(poor, member):
    from fastlb.testing import echo

    balancer = poor(member(echo), "TCP")
    first = balancer.client.connect().send(b"x").expect(b"x")
    crowd = [balancer.client.connect() for _ in range(40)]
    eventually(lambda: balancer.ask()[1] > 0)
    first.send(b"still").expect(b"still").close()
    for conn in crowd:
        conn.close()
    eventually(lambda: balancer.ask()[0] == 0)
    with balancer.client.connect() as conn:
        conn.send(b"x").expect(b"x")
