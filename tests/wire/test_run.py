# SPDX-License-Identifier: Apache-2.0
"""`fastlb run FILE`: says when it listens, drains on the first signal, cuts on the second, names what is wrong."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from fastlb.testing import (
    Client,
    Load,
    MessageCut,
    echo,
    eventually,
    held,
    named,
    request,
    say_nothing,
    unused_port,
)


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

    def __init__(self, file, command, environment):
        self.file = file
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.lines = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def ready(self, listeners=1):
        assert self.process.stdout.readline() == "ready\n", self.lines
        eventually(lambda: len(self.ports()) >= listeners)  # said before, and perhaps not read yet
        return self

    def ports(self):
        """Of its listeners, in the order of the file."""
        return [int(port) for port in re.findall(r"listening on \S+:(\d+) ", "\n".join(self.lines))]

    @property
    def client(self):
        return Client("127.0.0.1", self.ports()[0])

    def signal(self, number):
        self.process.send_signal(number)
        return self

    def said(self, text):
        eventually(lambda: any(text in line for line in self.lines), what=f"{text!r} in {self.lines}")

    def reload(self, content, *, said=" change"):
        """What it said of it, in lines."""
        before = len(self.lines)
        self.file.write_text(content if isinstance(content, str) else json.dumps(content))
        self.process.send_signal(signal.SIGHUP)
        eventually(
            lambda: any(said in line for line in self.lines[before:]), what=f"{said!r} in {self.lines}"
        )
        return [line.removeprefix("fastlb: ").removeprefix("SIGHUP: ") for line in self.lines[before:]]

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
        running.append(Run(file, command, child_environment))
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


# SIGHUP.


def test_a_changed_file_takes_effect_and_no_request_fails(run, member):
    one, two, other = member(named("one")), member(named("two")), member(named("other"))
    running = run(document(one, two)).ready()
    client = running.client
    with Load(client, clients=4) as load:
        load.wait_requests(50)
        running.reload(document(two, other))
        eventually(lambda: client.get().body in (b"two", b"other"))
        assert sorted(set(client.bodies(10))) == [b"other", b"two"]
        changed = document(two, other)
        changed["loadbalancer"]["listeners"][0]["l7policies"] = [
            {
                "action": "REJECT",
                "rules": [{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/no"}],
            }
        ]
        changed["loadbalancer"]["pools"][0]["lb_algorithm"] = "LEAST_CONNECTIONS"
        said = running.reload(changed)
        assert said[:-1] == ["pool 'app': lb_algorithm", "listener 'front': L7 policies"]
        assert client.get("/no").status == 403
        load.wait_requests(len(load.bodies) + 50)
        assert load.failures == []
    assert running.reload(changed)[-1].endswith(": 0 changes")
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


def test_listeners_come_and_go_and_what_is_under_way_ends_in_peace(run, member):
    gate = threading.Event()
    slow, quick = member(held(gate)), member(named("quick"))
    running = run(document(slow)).ready()
    old = running.client
    with old.connect() as conn:
        conn.send(request())
        slow.wait_requests(1)
        changed = document(quick)
        changed["loadbalancer"]["listeners"][0]["name"] = "new"
        running.reload(changed)
        assert refused(old)
        assert Client("127.0.0.1", running.ports()[-1]).get().body == b"quick"
        gate.set()
        assert conn.read_response().status == 200


def test_a_load_balancer_that_leaves_the_file_ends_in_peace(run, member):
    gate = threading.Event()
    slow, quick = member(held(gate)), member(named("quick"))
    bodies = [document(one, name=str(at))["loadbalancer"] for at, one in enumerate([slow, quick])]
    running = run({"loadbalancers": bodies}).ready(2)
    old, stays = (Client("127.0.0.1", port) for port in running.ports())
    with old.connect() as conn:
        conn.send(request())
        slow.wait_requests(1)
        said = running.reload({"loadbalancers": [bodies[1]]})
        assert said[0] == "without load balancer '0'"
        assert refused(old)
        assert stays.get().body == b"quick"
        gate.set()
        assert conn.read_response().status == 200
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


def test_a_port_moves_from_one_load_balancer_to_another(run, member):
    port = unused_port()
    bodies = [
        document(member(named("zero")), name="0")["loadbalancer"],
        document(member(named("one")), name="1", port=port)["loadbalancer"],
    ]
    running = run({"loadbalancers": bodies}).ready()
    assert Client("127.0.0.1", port).get().body == b"one"
    for body, its_port in zip(bodies, [port, 0], strict=True):
        body["listeners"][0]["protocol_port"] = its_port
    said = running.reload({"loadbalancers": bodies})
    assert not [line for line in said if "could not" in line]
    assert Client("127.0.0.1", port).get().body == b"zero"


def test_a_wrong_file_changes_nothing(run, member):
    running = run(document(member())).ready()
    (said,) = running.reload("{", said="nothing was changed")
    assert "must be JSON" in said
    (said,) = running.reload(document(port=-1), said="nothing was changed")
    assert "listeners[0].protocol_port=-1: must be" in said
    assert running.client.get().status == 200


def test_what_cannot_be_done_is_said_the_rest_is_done_and_it_is_tried_again(run, member):
    one, two = member(named("one")), member(named("two"))
    running = run(document(one)).ready()
    changed = document(two)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        more = {"name": "more", "protocol": "HTTP", "protocol_port": port, "default_pool": {"name": "app"}}
        changed["loadbalancer"]["listeners"].append(more)
        said = running.reload(changed, said="failed")
        assert f"could not be done: cannot listen on 127.0.0.1:{port}: Address already in use" in "\n".join(
            said
        )
        assert running.client.get().body == b"two"
    assert running.reload(changed)[0] == "create listener 'more'"
    assert Client("127.0.0.1", port).get().body == b"two"
