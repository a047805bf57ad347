# SPDX-License-Identifier: Apache-2.0
"""`fastlb run FILE`: says when it listens, drains on the first signal, cuts on the second, names what is wrong."""

import json
import re
import signal
import subprocess
import sys
import threading

import pytest

from fastlb.testing import Client, MessageCut, echo, eventually, held, named, request, say_nothing


def document(*members, protocol="HTTP", port=0, **fields):
    return {
        "loadbalancer": {
            "vip_address": "127.0.0.1",
            "listeners": [
                {
                    "name": "front",
                    "protocol": protocol,
                    "protocol_port": port,
                    "default_pool": {"name": "app"},
                }
            ],
            "pools": [
                {
                    "name": "app",
                    "protocol": protocol,
                    "lb_algorithm": "ROUND_ROBIN",
                    "members": [{"address": one.address, "protocol_port": one.port} for one in members],
                }
            ],
        }
        | fields
    }


class Run:
    """A `fastlb run` whose stderr is kept as it comes."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.lines = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def ready(self):
        assert self.process.stdout.readline() == "ready\n", self.lines
        return self

    def ports(self):
        """Of its listeners, in the order of the file."""
        return [int(port) for port in re.findall(r"listening on \S+:(\d+) ", "\n".join(self.lines))]

    @property
    def client(self):
        eventually(self.ports)
        return Client("127.0.0.1", self.ports()[0])

    def signal(self, number):
        self.process.send_signal(number)
        return self

    def said(self, text):
        eventually(lambda: any(text in line for line in self.lines), what=f"{text!r} in {self.lines}")

    def wait(self):
        status = self.process.wait(timeout=20)
        self.reader.join(5)
        return status

    def close(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def run(tmp_path, child_environment, nothing_stays_behind):
    """`run(document)`: a child that runs this file, killed behind the test."""
    running = []

    def start(content, *arguments):
        file = tmp_path / f"{len(running)}.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        command = [sys.executable, "-m", "fastlb", "run", str(file), "--workers", "2", *arguments]
        running.append(Run(command, child_environment))
        return running[-1]

    yield start
    for one in running:
        one.close()


def refused(client):
    """Does nothing listen there any more?"""
    try:
        client.connect().close()
    except (ConnectionRefusedError, ConnectionResetError) as error:
        return isinstance(error, ConnectionRefusedError)
    return False


def test_it_listens_when_it_is_ready(run, member):
    running = run(document(member(named("one")), member(named("two")))).ready()
    assert sorted(running.client.bodies(2)) == [b"one", b"two"]
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert refused(running.client)
    assert running.lines[0].startswith(f"fastlb: listening on 127.0.0.1:{running.ports()[0]} HTTP front")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_under_way_ends_in_peace(run, member, number):
    gate = threading.Event()
    one = member(held(gate))
    running = run(document(one)).ready()
    with running.client.connect() as conn:
        conn.send(request())
        one.wait_requests(1)
        running.signal(number)
        eventually(lambda: refused(running.client))
        gate.set()
        assert conn.read_response().status == 200
    assert running.wait() == 0
    running.said(f"{number.name}: no new clients")


def test_the_second_signal_cuts(run, member):
    one = member(say_nothing)
    running = run(document(one, drain_timeout=60)).ready()
    with running.client.connect() as conn:
        conn.send(request())
        one.wait_received(len(request()))
        running.signal(signal.SIGTERM).said("no new clients")
        running.signal(signal.SIGINT)
        assert running.wait() == 130
        with pytest.raises((MessageCut, ConnectionResetError)):
            conn.read_response()
    assert running.lines[-1] == "interrupted"


def test_what_does_not_end_within_the_drain_timeout_is_cut(run, member):
    running = run(document(member(echo), protocol="TCP", drain_timeout=0.1)).ready()
    with running.client.connect() as conn:
        conn.send(b"x").expect(b"x")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert conn.ended() in ("closed", "reset")


def test_several_load_balancers_run_together(run, member):
    bodies = [
        document(member(named(name)), name=name)["loadbalancer"] | {"vip_address": f"127.0.0.{at}"}
        for at, name in enumerate(["one", "two"], 1)
    ]
    running = run({"loadbalancers": bodies}).ready()
    eventually(lambda: len(running.ports()) == 2)
    for at, (name, port) in enumerate(zip([b"one", b"two"], running.ports(), strict=True), 1):
        assert Client(f"127.0.0.{at}", port).get().body == name
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


def test_a_port_that_is_taken_ends_it_with_one(run, member):
    first = run(document(member())).ready()
    port = first.client.port
    second = run({"loadbalancers": [document()["loadbalancer"], document(port=port)["loadbalancer"]]})
    assert second.wait() == 1
    assert second.process.stdout.read() == ""
    assert len(second.lines) == 1
    assert second.lines[0].startswith(f"fastlb: cannot listen on 127.0.0.1:{port}: Address already in use")
    assert first.client.get().status == 200


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("{", (), r"fastlb: .*0\.json:1:2: must be JSON"),
        (document(protocol="UDP"), (), r"fastlb: .*0\.json: load balancer .*protocol='UDP'"),
        (document(port=-1), (), r"fastlb: .*0\.json: listeners\[0\]\.protocol_port=-1: must be"),
        (document(), ("--workers", "0"), r"fastlb: workers=0: must be 1\.\.128"),
    ],
    ids=["syntax", "protocol", "value", "workers"],
)
def test_what_is_wrong_is_said_in_one_line(run, content, arguments, message):
    running = run(content, *arguments)
    assert running.wait() == 1
    assert len(running.lines) == 1
    assert re.match(message, running.lines[0])


def test_a_listener_that_is_switched_off_has_no_port(run, member):
    content = document(member())
    content["loadbalancer"]["listeners"].append(
        {"protocol": "HTTP", "protocol_port": 1, "admin_state_up": False}
    )
    running = run(content).ready()
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert len(running.ports()) == 1
