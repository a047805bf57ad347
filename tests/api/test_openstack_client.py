# SPDX-License-Identifier: Apache-2.0
"""The stock `openstack` client drives `fastlb serve`, word for word as operators type it, and the traffic follows.

The client has many dependencies and gets a virtual environment of its own. FASTLB_OPENSTACK may name one that is there
already (`…/bin/openstack`).
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastlb.testing import Client, Load, Member, eventually, named

SUBNET = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
PACKAGES = ("python-openstackclient>=7", "python-octaviaclient>=3.9")
PORT = 80 if os.geteuid() == 0 else 8080


@pytest.fixture(scope="session")
def openstack(tmp_path_factory):
    """The path of the client."""
    given = os.environ.get("FASTLB_OPENSTACK")
    if given:
        return given
    folder = tmp_path_factory.mktemp("openstack")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = subprocess.run([folder / "bin" / "pip", "install", "-q", *PACKAGES], capture_output=True, text=True)
    if pip.returncode:
        pytest.skip(f"the client cannot be installed here: {pip.stderr.strip().splitlines()[-1:]}")
    return str(folder / "bin" / "openstack")


class Shell:
    """Commands of the client, and what they print."""

    def __init__(self, openstack, folder):
        self.openstack = openstack
        self.folder = folder

    def __call__(self, line, *, fails=False):
        """Run `openstack …`; answers what stands on stdout (stderr, when it is to fail)."""
        words = shlex.split(line)
        assert words[0] == "openstack"
        result = subprocess.run(
            [self.openstack, *words[1:]],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "OS_CLOUD": "fastlb",
                "PYTHONWARNINGS": "ignore",
            },
        )
        assert bool(result.returncode) == fails, (line, result.stdout, result.stderr)
        return result.stderr if fails else result.stdout

    def show(self, line):
        """The table of one object as a dict."""
        rows = [row for row in cells(self(line)) if len(row) == 2]
        assert rows[0] == ["Field", "Value"]
        fields, last = {}, ""
        for name, value in rows[1:]:
            last = name or last  # a list takes a line for each of its elements
            fields[last] = f"{fields[last]}\n{value}" if not name else value
        return fields

    def list(self, line):
        """The table of a list as dicts."""
        rows = cells(self(line))
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def cells(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]


@pytest.fixture
def shell(openstack, tmp_path):
    """The client, told by the server's own clouds.yaml where the server is."""
    command = [sys.executable, "-m", "fastlb", "serve", "--state", str(tmp_path / "state")]
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen(
            [*command, "--bind", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        word, _, url = server.stdout.readline().strip().partition(" ")
        assert word == "ready"
        clouds = subprocess.run(
            [*command, "--bind", url.removeprefix("http://"), "--clouds-yaml"],
            capture_output=True,
            text=True,
            check=True,
        )
        (tmp_path / "clouds.yaml").write_text(clouds.stdout)
        yield Shell(openstack, tmp_path)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        server.stdout.close()


@pytest.mark.timeout(500)
def test_the_first_load_balancer_of_an_operator(shell):
    made = shell.show(f"openstack loadbalancer create --name Beispiel-LB --vip-subnet-id {SUBNET}")
    assert made["provisioning_status"] in ("ACTIVE", "PENDING_CREATE")
    (row,) = shell.list("openstack loadbalancer list")
    assert (row["id"], row["name"], row["provisioning_status"]) == (made["id"], "Beispiel-LB", "ACTIVE")
    assert (row["operating_status"], row["provider"]) == ("ONLINE", "amphora")
    vip = row["vip_address"]

    listener = shell.show(
        "openstack loadbalancer listener create --name Beispiel-listener --protocol HTTP "
        f"--protocol-port {PORT} Beispiel-LB"
    )
    assert (listener["protocol"], listener["connection_limit"]) == ("HTTP", "-1")
    assert Client(vip, PORT).get().status == 503
    shell(
        "openstack loadbalancer pool create --name Beispiel-pool --lb-algorithm ROUND_ROBIN "
        "--listener Beispiel-listener --protocol HTTP"
    )
    with (
        Member(named("webserver1"), address="127.0.0.11") as one,
        Member(named("webserver2"), address="127.0.0.12") as two,
    ):
        for member in (one, two):
            shell(
                f"openstack loadbalancer member create --subnet-id {SUBNET} --address {member.address} "
                f"--protocol-port {member.port} Beispiel-pool"
            )
        rows = shell.list("openstack loadbalancer member list Beispiel-pool")
        assert [(row["address"], row["operating_status"], row["weight"]) for row in rows] == [
            ("127.0.0.11", "NO_MONITOR", "1"),
            ("127.0.0.12", "NO_MONITOR", "1"),
        ]

        floating = shell.show("openstack floating ip create provider")["floating_ip_address"]
        port = shell("openstack loadbalancer show Beispiel-LB -f value -c vip_port_id").strip()
        assert not answers(floating)
        shell(f"openstack floating ip set --port {port} {floating}")
        bodies = [Client(floating, PORT).get().body for _ in range(10)]
        assert bodies in ([b"webserver1", b"webserver2"] * 5, [b"webserver2", b"webserver1"] * 5)

        shell(
            "openstack loadbalancer healthmonitor create --delay 5 --max-retries 2 --timeout 10 --type HTTP "
            "--name Beispielmonitor --url-path / Beispiel-pool"
        )
        monitor = shell.show("openstack loadbalancer healthmonitor show Beispielmonitor")
        assert (monitor["type"], monitor["delay"], monitor["timeout"]) == ("HTTP", "5", "10")
        assert (monitor["max_retries"], monitor["max_retries_down"], monitor["expected_codes"]) == (
            "2",
            "3",
            "200",
        )
        assert monitor["provisioning_status"] == "ACTIVE"

        shell(
            "openstack loadbalancer listener create --name stats-listener --protocol PROMETHEUS --protocol-port 8088 "
            "Beispiel-LB"
        )
        metrics = Client(vip, 8088).get("/metrics")
        assert metrics.status == 200
        samples = {
            family.name: family.samples for family in text_string_to_metric_families(metrics.body.decode())
        }
        (requests,) = [
            sample.value
            for sample in samples["octavia_listener_http_requests"]
            if sample.labels["listener"] == listener["id"]
        ]
        assert requests >= 11

        shell(
            "openstack loadbalancer listener set --timeout-client-data 14400000 --timeout-member-data 14400000 "
            "Beispiel-listener"
        )
        shown = shell.show("openstack loadbalancer listener show Beispiel-listener")
        assert (shown["timeout_client_data"], shown["timeout_member_data"]) == ("14400000", "14400000")

        tree = shell("openstack loadbalancer status show Beispiel-LB")
        assert re.search(r'"address": "127.0.0.12"', tree)
        stats = shell.show("openstack loadbalancer stats show Beispiel-LB")
        assert int(stats["total_connections"]) >= 10
        assert int(stats["bytes_out"]) > 100

        with Load(Client(vip, PORT), clients=2) as load:
            load.wait_requests(20)
            shell("openstack loadbalancer failover --wait Beispiel-LB")
            load.wait_requests(20)
        assert not load.failures

        shell(f"openstack floating ip unset --port {floating}")
        eventually(lambda: not answers(floating))
        assert "has children" in shell("openstack loadbalancer delete Beispiel-LB", fails=True)
        shell("openstack loadbalancer delete --cascade --wait Beispiel-LB")
        assert not shell.list("openstack loadbalancer list")
        eventually(lambda: not answers(vip))


def answers(address):
    try:
        Client(address, PORT, timeout=2).get()
    except OSError:
        return False
    return True


@pytest.mark.timeout(120)
def test_from_create_to_the_first_answer_over_the_api_takes_no_time_to_speak_of(shell):
    """The figure itself is in docs/serve.md; here only that it is of another order than minutes."""
    import requests
    import yaml

    url = yaml.safe_load((shell.folder / "clouds.yaml").read_text())["clouds"]["fastlb"]["auth"]["endpoint"]
    with socket.socket() as one:
        one.bind(("", 0))
        port = one.getsockname()[1]
    with Member(named("first")) as member, requests.Session() as session:
        session.get(url, timeout=10)
        began = time.monotonic()
        pool = {
            "name": "p",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "members": [{"address": member.address, "protocol_port": member.port}],
        }
        body = {
            "vip_subnet_id": SUBNET,
            "listeners": [{"protocol": "HTTP", "protocol_port": port, "default_pool": pool}],
        }
        made = session.post(f"{url}/v2/lbaas/loadbalancers", json={"loadbalancer": body}, timeout=10).json()[
            "loadbalancer"
        ]
        shown = session.get(f"{url}/v2/lbaas/loadbalancers/{made['id']}", timeout=10).json()["loadbalancer"]
        assert shown["provisioning_status"] == "ACTIVE"
        assert Client(shown["vip_address"], port).get().body == b"first"
        assert time.monotonic() - began < 2
