# SPDX-License-Identifier: Apache-2.0
"""What happens to a kept member connection between two requests never becomes anybody's answer."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from fastlb.testing import Client, MemberConn, http, in_turn, request, response, wait_until_taken


@pytest.mark.workers(1)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_the_member_closed_is_not_used_again(balance, member, method):
    one = member()
    with balance(one).client.connect() as conn:
        assert conn.request().status == 200
        one.drop_connections()
        assert conn.request(method=method, body=b"x").status == 200
    assert [request.connection for request in one.requests] == [0, 1]
    assert len(one.heads) == 2


@pytest.mark.workers(1)
def test_bytes_behind_an_answer_are_never_delivered(balance, member):
    first = response(b"first") + response(b"stolen")
    one = member(in_turn(http(first), http(response(b"second"))))
    client = balance(one).client
    with client.connect() as conn:
        assert conn.request().body == b"first"
        assert conn.request().body == b"second"
    assert client.get().body == b"second"


@pytest.mark.workers(1)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unasked_answer_on_an_idle_connection_is_never_delivered(balance, member, method):
    gate, sent = threading.Event(), threading.Event()

    def goodbye(conn: MemberConn):
        conn.read_request()
        conn.send(response(b"first"))
        conn.wait(gate)
        conn.send(response(b"too late", status=408, reason="Request Timeout"))
        wait_until_taken(conn)
        sent.set()
        conn.read_to_end()

    one = member(in_turn(goodbye, http(response(b"second"))))
    with balance(one).client.connect() as conn:
        assert conn.request().body == b"first"
        gate.set()
        assert sent.wait(5)
        assert conn.request(method=method, body=b"x").body == b"second"
    assert len(one.heads) == 2


@pytest.mark.workers(1)
def test_a_connection_with_bytes_behind_an_answer_is_closed(balance, member):
    one = member(in_turn(http(response(b"first") + b"x"), http()))
    client = balance(one).client
    assert client.get().body == b"first"
    assert one.connections[0].over.wait(5)
    assert client.get().status == 200


BALANCER = """
import sys
import fastlb

with fastlb.Engine(workers=1) as engine, fastlb.LoadBalancer(name="x", vip_address="127.0.0.1", engine=engine) as lb:
    front = lb.create_listener(protocol="HTTP", protocol_port=0)
    pool = front.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    pool.create_member("127.0.0.1", int(sys.argv[1]))
    print(front.protocol_port, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def stoppable(child_environment):
    """`stoppable(member)`: (Client, process) of a balancer to be stopped for a while, so that things happen at once."""
    processes = []

    def start(member):
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", BALANCER, str(member.port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=child_environment,
            )
        )
        return Client("127.0.0.1", int(processes[-1].stdout.readline())), processes[-1]

    yield start
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


@pytest.mark.parametrize("first", ["client", "member"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("what", ["answer", "end", "answer and end"])
def test_what_a_member_said_before_it_was_asked_is_no_answer(stoppable, member, first, method, what):
    gate, sent = threading.Event(), threading.Event()

    def goodbye(conn: MemberConn):
        conn.read_request()
        conn.send(response(b"first"))
        conn.wait(gate)
        if "answer" in what:
            conn.send(response(b"unasked", status=408, reason="Request Timeout"))
        if "end" in what:
            conn.finish()
        wait_until_taken(conn)
        sent.set()
        conn.read_to_end()

    one = member(in_turn(goodbye, http(response(b"second"))))
    client, process = stoppable(one)
    with client.connect() as conn:
        assert conn.request().body == b"first"
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        if first == "client":
            conn.send(request(method=method, body=b"x"))
        gate.set()
        assert sent.wait(5)
        if first == "member":
            conn.send(request(method=method, body=b"x"))
        process.send_signal(signal.SIGCONT)
        answer = conn.read_response()
        if method == "POST" and answer.status == 502:
            # It went out on the connection that was used up already, and must not go out twice.
            assert first == "client"
            assert [message.method for message in one.heads] == ["GET"]
        else:
            assert answer.body == b"second"
