# SPDX-License-Identifier: Apache-2.0
"""Kept member connections that members close in their own time cost no client an answer."""

import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from fastlb.testing import Client, Load, MemberConn, eventually, response

PATIENCE = 0.2
RESOLVE = 0.04


class Impatient:
    """A script that closes what was idle for `patience` seconds; `ends` says whose patience ended.

    As in a busy server a moment goes by between its decision and the FIN: what comes meanwhile is lost.
    """

    def __init__(self, patience=PATIENCE, fields=()):
        self.patience = patience
        self.answer = response(b"ok", fields=fields)
        self.ends: list[str] = []

    def __call__(self, conn: MemberConn):
        while conn.pending(self.patience):
            if conn.read_request() is None:
                self.ends.append("balancer")
                return
            conn.send(self.answer)
        self.ends.append("member")
        time.sleep(RESOLVE)


def teach(balancer):
    """Have each member close one connection that is idle."""
    for _ in balancer.members:
        balancer.client.get()
    eventually(lambda: balancer.pool.stats.connections == 0)


@pytest.mark.workers(1)
def test_a_connection_is_given_up_before_the_member_would(balance, member):
    script = Impatient()
    balancer = balance(member(script))
    teach(balancer)
    for _ in range(2):
        balancer.client.get()
        eventually(lambda: balancer.pool.stats.connections == 0)
    eventually(lambda: script.ends == ["member", "balancer", "balancer"])


@pytest.mark.workers(1)
def test_a_connection_that_dies_under_a_request_teaches_too(balance, member):
    script = Impatient()
    balancer = balance(member(script))
    with balancer.client.connect() as conn:
        assert conn.request().status == 200
        assert not conn.pending(PATIENCE + RESOLVE / 4)
        assert conn.request().status == 200
    eventually(lambda: balancer.pool.stats.connections == 0)
    eventually(lambda: script.ends == ["member", "balancer"])


@pytest.mark.workers(1)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_member_that_is_about_to_close_gets_no_request(balance, member, method):
    script = Impatient()
    balancer = balance(member(script))
    teach(balancer)
    with balancer.client.connect() as conn:
        for _ in range(4):
            assert conn.request(method=method, body=b"x").status == 200
            assert not conn.pending(PATIENCE + RESOLVE / 4)
    assert "member" not in script.ends[1:]


def test_clients_that_idle_around_a_members_patience_get_every_answer(balance, member):
    balancer = balance(member(Impatient()), member(Impatient()))
    teach(balancer)
    pauses = [PATIENCE * share for share in (0.5, 0.75, 0.98, 1.0, 1.05, 1.1)]
    with (
        Load(balancer.client, clients=3, pauses=pauses) as reading,
        Load(balancer.client, clients=3, pauses=pauses, method="POST") as writing,
    ):
        writing.wait_requests(30)
    assert reading.failures == []
    assert writing.failures == []


PROGRAM = textwrap.dedent(
    """
    import sys
    import fastlb
    engine = fastlb.Engine(workers=1)
    lb = fastlb.LoadBalancer(name="halted", vip_address="127.0.0.1", engine=engine, drain_timeout=0)
    listener = lb.create_listener(protocol="HTTP", protocol_port=0)
    pool = listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    pool.create_member("127.0.0.1", int(sys.argv[1]))
    lb.start()
    print(listener.protocol_port, flush=True)
    sys.stdin.read()
    print(pool.stats.retries, pool.stats.reuses, flush=True)
    lb.close()
    engine.stop(0)
    """
)


def halted(pid):
    states = [
        path.read_text().rpartition(")")[2].split()[0]
        for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    return set(states) == {"T"}


def test_an_end_that_comes_with_a_request_is_seen_first(member, child_environment):
    one = member()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(one.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment,
    )
    try:
        with Client("127.0.0.1", int(process.stdout.readline())).connect() as conn:
            assert conn.request().status == 200
            process.send_signal(signal.SIGSTOP)
            eventually(lambda: halted(process.pid))
            conn.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")  # both wait for the balancer, this one first
            one.drop_connections()
            process.send_signal(signal.SIGCONT)
            assert conn.read_response().status == 200
        process.stdin.close()
        assert process.stdout.read().split() == ["0", "0"]
    finally:
        process.send_signal(signal.SIGCONT)
        process.stdin.close()
        assert process.wait(20) == 0
        process.stdout.close()


@pytest.mark.workers(1)
def test_what_the_member_says_of_its_patience_is_believed(balance, member):
    script = Impatient(5.0, fields=[("Keep-Alive", "timeout=1, max=100")])
    client = balance(member(script)).client
    start = time.monotonic()
    assert client.get().status == 200
    eventually(lambda: script.ends == ["balancer"])
    assert 0.5 < time.monotonic() - start < 0.98
    assert client.get().get("Keep-Alive") is None


@pytest.mark.workers(1)
@pytest.mark.parametrize(
    ("method", "connections"), [("GET", [0, 0]), ("PUT", [0, 0]), ("POST", [0, 1]), ("PATCH", [0, 1])]
)
def test_what_cannot_be_sent_again_goes_on_a_fresh_connection_after_a_while(
    balance, member, method, connections
):
    one = member()
    with balance(one).client.connect() as conn:
        assert conn.request().status == 200
        assert not conn.pending(0.15)
        assert conn.request(method=method, body=b"x").status == 200
    assert [request.connection for request in one.requests] == connections


@pytest.mark.workers(1)
def test_what_cannot_be_sent_again_still_uses_warm_connections(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        for _ in range(20):
            assert conn.request(method="POST", body=b"x").status == 200
    assert len(one.connections) < 10
