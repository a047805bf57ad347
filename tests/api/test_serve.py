# SPDX-License-Identifier: Apache-2.0
"""`fastlb serve` as a process: says when it serves, ends gracefully, finds again what it had, names what is wrong."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading

import pytest
import yaml

from fastlb.testing import (
    Client,
    Member,
    eventually,
    held,
    named,
    request,
    response,
    say_nothing,
    unused_port,
)

SUBNET = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
PROJECT = "5a0b0000000000000000000000000001"


class Connection(http.client.HTTPConnection):
    """To a port or a Unix socket, with TLS or without."""

    def __init__(self, url, context=None):
        scheme, _, rest = url.partition(":")
        self.path = rest if scheme == "unix" else ""
        host, _, port = rest.removeprefix("//").rpartition(":")
        super().__init__("localhost" if self.path else host, None if self.path else int(port), timeout=10)
        self.context = context

    def connect(self):
        if self.path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(10)
            self.sock.connect(self.path)
            return
        super().connect()
        if self.context is not None:
            self.sock = self.context.wrap_socket(self.sock, server_hostname="localhost")


class Serve:
    """A `fastlb serve` whose stderr is kept as it comes."""

    def __init__(self, arguments, environment):
        self.context = None
        self.headers = {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastlb", "serve", "--workers", "1", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.lines = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def ready(self):
        line = self.process.stdout.readline()
        assert re.fullmatch(r"ready \S+\n", line), (line, self.lines)
        self.url = line.split()[1]
        return self

    def call(self, method, path, document=None, *, expect=None):
        """The JSON of the answer; path: below /v2/lbaas."""
        body = None if document is None else json.dumps(document)
        with contextlib.closing(Connection(self.url, self.context)) as connection:
            headers = {"Content-Type": "application/json", **self.headers}
            connection.request(method, "/v2/lbaas" + path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            assert expect is None or answer.status == expect, (answer.status, text)
            return json.loads(text) if text else None

    def create(self, **fields):
        document = {"loadbalancer": {"vip_subnet_id": SUBNET, "vip_address": "127.0.0.1", **fields}}
        return self.call("POST", "/loadbalancers", document, expect=201)["loadbalancer"]

    def names(self):
        return [one["name"] for one in self.call("GET", "/loadbalancers", expect=200)["loadbalancers"]]

    def wait(self):
        """The exit status and what stood on stdout behind the line that says ready."""
        status = self.process.wait(timeout=20)
        self.reader.join(5)
        return status, self.process.stdout.read()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    def said(self, text):
        return eventually(
            lambda: [line for line in self.lines if text in line], what=f"{text!r} in {self.lines}"
        )

    def close(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def environment(tmp_path):
    """Of a child: with a home of its own, and no service manager."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "STATE_DIRECTORY")
    }
    return {**kept, "XDG_STATE_HOME": str(tmp_path / "xdg")}


@pytest.fixture
def serve(tmp_path, environment):
    """`serve(…)`: a child on a free port over this test's state, killed behind it."""
    running = []

    def start(*arguments, bind="127.0.0.1:0", state=tmp_path / "state", **variables):
        words = [*([] if bind is None else ["--bind", bind]), *([] if state is None else ["--state", state])]
        running.append(Serve([*words, *arguments], {**environment, **variables}))
        return running[-1]

    yield start
    for one in running:
        one.close()


def listening(member, port):
    """The listeners and pools of a load balancer with one member."""
    pool = {
        "name": "app",
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": [{"address": member.address, "protocol_port": member.port}],
    }
    listener = {"protocol": "HTTP", "protocol_port": port, "default_pool": {"name": "app"}}
    return {"listeners": [listener], "pools": [pool]}


def test_it_says_ready_with_its_address_and_nothing_else(serve):
    running = serve().ready()
    assert running.names() == []
    running.create(name="web")
    assert running.names() == ["web"]
    assert running.end() == (0, "")
    assert any("POST /v2/lbaas/loadbalancers req-" in line and " 201 " in line for line in running.lines)
    assert not any("Traceback" in line for line in running.lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_end_it_and_its_listeners(serve, number):
    port = unused_port()
    with Member(named("a")) as member:
        running = serve().ready()
        running.create(**listening(member, port))
        client = Client("127.0.0.1", port)
        assert client.get().body == b"a"
        assert running.end(number) == (0, "")
        with pytest.raises(ConnectionRefusedError):
            client.connect()


def test_a_request_under_way_is_answered_before_it_ends(serve):
    running = serve().ready()
    body = json.dumps({"loadbalancer": {"name": "late", "vip_subnet_id": SUBNET, "vip_address": "127.0.0.1"}})
    with contextlib.closing(Connection(running.url)) as connection:
        connection.putrequest("POST", "/v2/lbaas/loadbalancers")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        # Told to go on, we know that the server has the request's head.
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 100")
        running.process.send_signal(signal.SIGTERM)
        running.said("SIGTERM")
        connection.send(body.encode())
        assert connection.getresponse().status == 201
    assert running.wait() == (0, "")
    assert serve().ready().names() == ["late"]


def test_sessions_under_way_may_finish(serve):
    port = unused_port()
    gate = threading.Event()
    with Member(held(gate, lambda asked: response(b"ok"))) as member:
        running = serve().ready()
        running.create(**listening(member, port))
        with Client("127.0.0.1", port).connect() as conn:
            conn.send(request())
            member.wait_requests(1)
            running.process.send_signal(signal.SIGTERM)
            running.said("SIGTERM")
            gate.set()
            assert conn.read_response().body == b"ok"
        assert running.wait() == (0, "")


def test_a_second_signal_cuts_what_is_under_way(serve):
    port = unused_port()
    with Member(say_nothing) as member:
        running = serve().ready()
        running.create(**listening(member, port), drain_timeout=600)
        with Client("127.0.0.1", port).connect() as conn:
            conn.send(request())
            member.wait_received(1)
            running.process.send_signal(signal.SIGTERM)
            running.said("SIGTERM")
            running.process.send_signal(signal.SIGTERM)
            assert running.wait() == (130, "")


def test_the_log_says_which_member_is_down_and_up_again(serve):
    with Member(named("a")) as member:
        running = serve().ready()
        whole = listening(member, unused_port())
        monitor = {"type": "TCP", "delay": 0, "timeout": 1, "max_retries": 1, "max_retries_down": 1}
        whole["pools"][0]["healthmonitor"] = monitor
        running.create(**whole)
        name = f"member {member.address}:{member.port} of pool 'app'"
        member.refuse()
        running.said(f"WARNING fastlb: {name} is down")
        member.resume()
        running.said(f"INFO fastlb: {name} is up again")
        assert running.end() == (0, "")


# What is kept.


def test_a_restart_serves_the_same_objects(serve):
    port = unused_port()
    with Member(named("a")) as member:
        running = serve().ready()
        made = running.create(name="web", project_id=PROJECT, **listening(member, port))
        before = running.call("GET", f"/loadbalancers/{made['id']}")
        assert running.end() == (0, "")
        again = serve().ready()
        assert again.call("GET", f"/loadbalancers/{made['id']}") == before
        assert Client("127.0.0.1", port).get().body == b"a"


def test_after_kill_9_everything_acknowledged_is_there_and_forwards(serve):
    port = unused_port()
    with Member(named("a")) as member:
        running = serve().ready()
        made = running.create(name="web", **listening(member, port))
        running.create(name="second")
        running.process.kill()
        running.wait()
        again = serve().ready()
        assert again.names() == ["web", "second"]
        kept = again.call("GET", f"/loadbalancers/{made['id']}", expect=200)["loadbalancer"]
        assert [one["id"] for one in kept["pools"]] == [one["id"] for one in made["pools"]]
        assert Client("127.0.0.1", port).get().body == b"a"


def test_a_second_server_on_the_same_state_is_refused(serve):
    running = serve().ready()
    second = serve()
    status, output = second.wait()
    assert (status, output) == (1, "")
    assert f"process {running.process.pid} has it open" in second.lines[-1]
    assert running.names() == []


def test_a_port_that_is_taken_is_named_and_nothing_forwards(serve, tmp_path):
    port = unused_port()
    with Member(named("a")) as member:
        running = serve().ready()
        running.create(**listening(member, port))
        running.end()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            second = serve(bind=address)
            assert second.wait() == (1, "")
            assert f"cannot listen on {address}" in second.lines[-1]
            assert not member.received


# Where it listens.


def test_a_unix_socket_is_its_owners_alone_and_goes_with_the_server(serve, tmp_path):
    path = tmp_path / "api.sock"
    running = serve(bind=f"unix:{path}").ready()
    assert running.url == f"unix:{path}"
    assert os.stat(path).st_mode & 0o777 == 0o600
    running.create(name="web")
    assert running.names() == ["web"]
    assert running.end() == (0, "")
    assert not path.exists()


def test_a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not(serve, tmp_path):
    path = tmp_path / "api.sock"
    running = serve(bind=f"unix:{path}").ready()
    second = serve(bind=f"unix:{path}", state=tmp_path / "other")
    assert second.wait() == (1, "")
    assert f"cannot listen on unix:{path}" in second.lines[-1]
    running.process.kill()
    running.wait()
    assert path.exists()
    assert serve(bind=f"unix:{path}").ready().names() == []


def test_what_is_no_socket_is_not_removed(serve, tmp_path):
    path = tmp_path / "precious"
    path.write_text("text")
    refused = serve(bind=f"unix:{path}")
    assert refused.wait() == (1, "")
    assert path.read_text() == "text"


def certificate(folder, name="cert"):
    """A self-signed one for localhost: (certificate, key)."""
    pair = folder / f"{name}.pem", folder / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-out", str(pair[0]), "-keyout", str(pair[1])]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return pair


def token(environment, *arguments):
    """The output of `fastlb token …`."""
    done = subprocess.run(
        [sys.executable, "-m", "fastlb", "token", *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_others_are_served_with_tls_and_tokens(serve, tmp_path, environment):
    pem, key = certificate(tmp_path)
    state = tmp_path / "state"
    running = serve("--tls-certificate", pem, "--tls-key", key, bind="0.0.0.0:0").ready()
    assert running.url.startswith("https://0.0.0.0:")
    running.context = ssl.create_default_context(cafile=pem)
    running.call("GET", "/loadbalancers", expect=401)
    create = ("create", "--state", state, "--project", PROJECT)
    secret = token(environment, *create, "--role", "member", "--name", "ci").strip()
    running.headers = {"X-Auth-Token": secret}
    assert running.create(name="web", vip_address=None)["project_id"] == PROJECT
    # Who has a token has no right to this machine's other addresses.
    elsewhere = {"loadbalancer": {"vip_subnet_id": SUBNET, "vip_address": "127.0.0.1"}}
    running.call("POST", "/loadbalancers", elsewhere, expect=400)
    running.headers = {"X-Auth-Token": token(environment, *create, "--role", "observer").strip()}
    assert running.names() == ["web"]
    running.call("DELETE", "/loadbalancers/x", expect=404)
    listed = token(environment, "list", "--state", state)
    assert "ci" in listed
    assert secret not in listed
    running.headers = {"X-Auth-Token": secret}
    assert "revoked" in token(environment, "revoke", "ci", "--state", state)
    running.call("GET", "/loadbalancers", expect=401)


def test_a_hangup_reads_the_certificate_again(serve, tmp_path):
    pem, key = certificate(tmp_path)
    running = serve("--tls-certificate", pem, "--tls-key", key).ready()
    running.context = ssl.create_default_context(cafile=pem)
    assert running.names() == []
    for old, new in zip((pem, key), certificate(tmp_path, "new"), strict=True):
        shutil.copy(new, old)
    running.process.send_signal(signal.SIGHUP)
    running.said("SIGHUP: the TLS certificate was read again")
    running.context = ssl.create_default_context(cafile=tmp_path / "new.pem")
    assert running.names() == []
    pem.write_text("no certificate")
    running.process.send_signal(signal.SIGHUP)
    running.said("nothing was changed")
    assert running.names() == []
    assert running.end() == (0, "")


# The service manager.


def test_the_service_manager_is_told_when_it_serves_and_when_it_stops(serve, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(20)
        running = serve(NOTIFY_SOCKET=str(path)).ready()
        assert manager.recv(1000).decode().split("\n") == ["READY=1", f"STATUS=Serving {running.url}"]
        running.process.send_signal(signal.SIGTERM)
        assert manager.recv(1000) == b"STOPPING=1"
        assert running.wait() == (0, "")


def test_an_abstract_socket_of_the_service_manager_does_too(serve, tmp_path):
    name = f"fastlb-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(20)
        serve(NOTIFY_SOCKET="@" + name).ready()
        assert manager.recv(1000).startswith(b"READY=1")


def test_a_service_manager_that_is_gone_does_not_hinder(serve, tmp_path):
    assert serve(NOTIFY_SOCKET=str(tmp_path / "nobody")).ready().end() == (0, "")


# Settings.


def test_check_says_whether_the_settings_are_right(serve, tmp_path):
    file = tmp_path / "fastlb.toml"
    file.write_text('bind = "127.0.0.1:1"\nstate = "kept"\n')
    right = serve("--check", "--config", file, bind=None, state=None)
    assert right.wait() == (0, f"ok: 127.0.0.1:1, authentication none, state in {tmp_path / 'kept'}\n")
    file.write_text("wrokers = 2\n")
    wrong = serve("--check", "--config", file, bind=None, state=None)
    assert wrong.wait() == (2, "")
    assert wrong.lines == [f"fastlb: {file}: wrokers: no such field; did you mean workers?"]
    assert not (tmp_path / "kept").exists()


def test_wrong_settings_end_it_with_status_2(serve, tmp_path):
    for arguments, problem in (
        (["--bind", "0.0.0.0:0"], "needs TLS"),
        (["--auth", "none", "--bind", "0.0.0.0:0", "--insecure-bind"], "must be tokens or keystone"),
        (["--tls-certificate", tmp_path / "no.pem", "--tls-key", tmp_path / "no.key"], "No such file"),
        (["--tls-key", tmp_path / "no.key"], "tls.certificate: must be given"),
    ):
        refused = serve(*arguments)
        assert refused.wait() == (2, "")
        assert problem in refused.lines[-1]


def test_it_prints_a_clouds_yaml_for_clients(serve):
    printed = serve("--clouds-yaml", bind="127.0.0.1:9999")
    status, output = printed.wait()
    assert status == 0
    assert yaml.safe_load(output) == {
        "clouds": {"fastlb": {"auth_type": "none", "auth": {"endpoint": "http://127.0.0.1:9999"}}}
    }


def test_without_the_extra_it_says_what_to_install(environment):
    source = (
        "import sys; sys.modules['starlette'] = None; from fastlb.cli import main; sys.exit(main(['serve']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, env=environment, timeout=30
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fastlb: serve needs starlette: pip install 'fastlb[server]'\n"
