# SPDX-License-Identifier: Apache-2.0
"""How long the REST API takes: from a create to the first answer that is forwarded, and with many load balancers.

    python -m benchmarks.serve [--load-balancers 1000] [--smoke]

A real `fastlb serve`, its store in a temporary folder of the disk that --folder names, and requests over loopback.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.conditions import conditions

SUBNET = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
PORT = 8080


class Origin(BaseHTTPRequestHandler):
    """The member: answers everything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *words: Any) -> None: ...


class Server:
    """`fastlb serve` over a state folder."""

    def __init__(self, state: str) -> None:
        began = time.monotonic()
        command = [sys.executable, "-m", "fastlb", "serve", "--bind", "127.0.0.1:0", "--state", state]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        word, _, url = self._process.stdout.readline().strip().partition(" ")
        if word != "ready":
            raise SystemExit("fastlb serve did not start; run it by hand to see why")
        self.seconds = time.monotonic() - began
        self._client = http.client.HTTPConnection(url.removeprefix("http://"))

    def ask(self, method: str, path: str, **document: Any) -> Any:
        body = json.dumps(document) if document else None
        self._client.request(method, f"/v2/lbaas{path}", body, {"Content-Type": "application/json"})
        response = self._client.getresponse()
        raw = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {raw.decode()}")
        return next(iter(json.loads(raw).values())) if raw else None

    def resident_megabytes(self) -> float:
        with open(f"/proc/{self._process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self) -> float:
        began = time.monotonic()
        self._client.close()
        self._process.terminate()
        self._process.wait(120)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return time.monotonic() - began


def whole(port: int) -> dict[str, Any]:
    """A load balancer with a listener, a pool and two members as one document."""
    members = [
        {"address": "127.0.0.1", "protocol_port": port},
        {"address": "127.0.0.2", "protocol_port": port, "backup": True},
    ]
    pool = {"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": members}
    listener = {"name": "http", "protocol": "HTTP", "protocol_port": PORT, "default_pool": pool}
    return {"vip_subnet_id": SUBNET, "listeners": [listener]}


def first_answer(vip: str) -> None:
    client = http.client.HTTPConnection(vip, PORT, timeout=10)
    client.request("GET", "/")
    if client.getresponse().read() != b"ok":
        raise SystemExit(f"the load balancer at {vip} does not forward")
    client.close()


def by_one_call(server: Server, port: int) -> str:
    made = server.ask("POST", "/loadbalancers", loadbalancer=whole(port))
    return finish(server, made["id"])


def by_four_calls(server: Server, port: int) -> str:
    balancer = server.ask("POST", "/loadbalancers", loadbalancer={"vip_subnet_id": SUBNET})["id"]
    listener = {"protocol": "HTTP", "protocol_port": PORT, "loadbalancer_id": balancer}
    listener_id = server.ask("POST", "/listeners", listener=listener)["id"]
    pool = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "listener_id": listener_id}
    pool_id = server.ask("POST", "/pools", pool=pool)["id"]
    member = {"address": "127.0.0.1", "protocol_port": port}
    server.ask("POST", f"/pools/{pool_id}/members", member=member)
    return finish(server, balancer)


def finish(server: Server, balancer: str) -> str:
    shown = server.ask("GET", f"/loadbalancers/{balancer}")
    if shown["provisioning_status"] != "ACTIVE":
        raise SystemExit(f"the load balancer is {shown['provisioning_status']}")
    first_answer(shown["vip_address"])
    return balancer


def to_first_answer(server: Server, port: int, way: Callable[[Server, int], str], rounds: int) -> list[float]:
    """Milliseconds of each round."""
    took = []
    for _ in range(rounds):
        began = time.monotonic()
        balancer = way(server, port)
        took.append((time.monotonic() - began) * 1e3)
        server.ask("DELETE", f"/loadbalancers/{balancer}?cascade=true")
    return took


def seconds(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def many(state: str, port: int, count: int) -> dict[str, float]:
    server = Server(state)
    found = {"load balancers": float(count)}
    created = seconds(
        lambda: [server.ask("POST", "/loadbalancers", loadbalancer=whole(port)) for _ in range(count)]
    )
    found["create, ms each"] = created / count * 1e3
    rows = server.ask("GET", "/loadbalancers")
    found["list all, ms"] = seconds(lambda: server.ask("GET", "/loadbalancers")) * 1e3
    last = rows[-1]
    found["find by id filter, ms"] = (
        seconds(lambda: server.ask("GET", f"/loadbalancers?id={last['id']}")) * 1e3
    )
    found["a change, ms"] = (
        seconds(lambda: server.ask("PUT", f"/loadbalancers/{last['id']}", loadbalancer={"name": "other"}))
        * 1e3
    )
    found["resident, MB"] = server.resident_megabytes()
    found["stop, s"] = server.stop()
    server = Server(state)
    found["restart until it serves, s"] = server.seconds
    first_answer(last["vip_address"])
    found["resident after the restart, MB"] = server.resident_megabytes()
    ids = [row["id"] for row in rows]
    deleted = seconds(lambda: [server.ask("DELETE", f"/loadbalancers/{one}?cascade=true") for one in ids])
    found["delete, ms each"] = deleted / count * 1e3
    server.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--load-balancers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50, help="of a create and its first answer")
    parser.add_argument("--folder", help="where the state folders are made (default: the temporary one)")
    parser.add_argument("--smoke", action="store_true", help="a short run, to see that it works")
    given = parser.parse_args()
    rounds, most = (3, 20) if given.smoke else (given.rounds, given.load_balancers)
    for name, value in conditions().items():
        print(f"{name}: {value}")
    origin = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    origin.daemon_threads = True
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    port = origin.server_address[1]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        server = Server(f"{folder}/first")
        print("\nfrom POST to the first forwarded answer, ms (median, worst)")
        for way in (by_one_call, by_four_calls):
            took = to_first_answer(server, port, way, rounds)
            print(f"  {way.__name__.replace('_', ' '):16} {statistics.median(took):6.1f} {max(took):6.1f}")
        server.stop()
        columns = [many(f"{folder}/{count}", port, count) for count in (most // 10, most)]
        print("\nload balancers with a listener, a pool and two members each")
        for name in columns[0]:
            print(f"  {name:32}" + "".join(f"{column[name]:10.2f}" for column in columns))
    origin.shutdown()


if __name__ == "__main__":
    main()
