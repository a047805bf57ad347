# SPDX-License-Identifier: Apache-2.0
"""Drives native/traffic.c: members, and clients that measure. Also wrk, as a second opinion on HTTP."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.placement import own
from benchmarks.toolchain import build

BODY_BYTES = {"/": 21, "/f": 21, "/k": 64 << 10, "/m": 16 << 20}
"""What the members answer, by path."""

BROWSER_FIELDS = """\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: en-GB,en;q=0.7,de;q=0.3
Accept-Encoding: gzip, deflate, br, zstd
Referer: http://bench.example/products/list?page=2
Cookie: session=7d0b3f4e5a6c4f0f9f1e2d3c4b5a6978; theme=dark; consent=1
DNT: 1
Upgrade-Insecure-Requests: 1
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: same-origin
"""
"""What a browser says with every request."""

ANY_MEMBER = tuple(range(10))


def head(path: str, host: str = "bench", fields: str = "") -> bytes:
    """A GET request; `fields` are whole lines."""
    return f"GET {path} HTTP/1.1\nHost: {host}\n{fields}\n".replace("\n", "\r\n").encode()


@dataclass(frozen=True)
class Request:
    """What a client asks, and what it must be answered: this status, and if that is 200, by one of these members."""

    text: bytes
    status: int = 200
    digits: tuple[int, ...] = ANY_MEMBER

    def line(self) -> bytes:
        return b"%d %d %d\n" % (self.status, sum(1 << digit for digit in self.digits), len(self.text))


@dataclass(frozen=True)
class Load:
    """What the clients do. `rate` is in requests a second; 0 asks again as soon as it is answered."""

    path: str = "/"
    connections: int = 64
    one_shot: bool = False
    rate: float = 0.0
    seconds: float = 2.0
    warmup: float = 0.5
    fields: bool = False
    """Send the eleven fields of a browser; the path "/f" is answered with those of a web application."""
    requests: tuple[Request, ...] = ()
    """Asked in turn, instead of the one that path and fields make. All that a member answers has the body of `path`."""
    spin: bool = False
    """Poll instead of sleeping: no wake-up of the load is in the latency, and its CPU is always full."""

    def asked(self) -> tuple[Request, ...]:
        fields = (BROWSER_FIELDS if self.fields else "") + ("Connection: close\n" if self.one_shot else "")
        return self.requests or (Request(head(self.path, fields=fields)),)

    def command(self, port: int, pids: list[int], **more: int | Path) -> str:
        words = {
            "port": port,
            "body": BODY_BYTES[self.path],
            "connections": self.connections,
            "one_shot": int(self.one_shot),
            "rate": self.rate,
            "seconds": self.seconds,
            "warmup": self.warmup,
            "spin": int(self.spin),
            **more,
        }
        pairs = [f"{key}={value}" for key, value in words.items()] + [f"watch={pid}" for pid in pids]
        return " ".join(["run", *pairs])


class Traffic:
    """The one process on the other side of the balancer."""

    def __init__(self, cpu: int, members: int = 8) -> None:
        self._process = subprocess.Popen(
            [build("traffic")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            preexec_fn=lambda: own(cpu),
        )
        self.pid = self._process.pid
        self._folder = tempfile.TemporaryDirectory(prefix="fastlb-bench-")
        self.members = self.listen(members)

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def listen(self, count: int) -> list[int]:
        """Opens more members; their ports."""
        self._say(f"members {count}")
        ports: list[int] = self._until("members")["ports"]
        return ports

    def run(
        self, load: Load, port: int, pids: list[int], mark: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """One run to its end. `mark` is called with "begin" and "end" at the edges of the measured window."""
        self._run(load, port, pids)
        return self._until("done", mark)

    def check(self, load: Load, port: int, requests: int) -> dict[str, Any]:
        """A few requests whose every body byte is compared."""
        self._run(load, port, [], verify=1, limit=requests)
        return self._until("done")

    def hold(self, connections: int, port: int) -> None:
        """Opens connections, one request on each, and leaves them idle until `release`."""
        self._run(Load(connections=connections), port, [], hold=1)
        self._until("held")

    def release(self) -> dict[str, Any]:
        self._say("stop")
        return self._until("done")

    def _run(self, load: Load, port: int, pids: list[int], **more: int) -> None:
        requests = Path(self._folder.name, "requests")  # read before the run begins
        requests.write_bytes(b"".join(one.line() + one.text for one in load.asked()))
        self._say(load.command(port, pids, requests=requests, **more))

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def _until(self, event: str, mark: Callable[[str], None] | None = None) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if answer["event"] == event:
                return answer
            if mark is not None:
                mark(answer["event"])
        raise SystemExit(f"the load generator ended with status {self._process.wait()}")


_WRK_UNIT_NS = {"us": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9}


def wrk(load: Load, port: int, cpu: int) -> dict[str, Any]:
    """One run of wrk with one thread, in the shape of `Traffic.run`. Its shortest run is a second."""
    program = shutil.which("wrk")
    if program is None:
        raise FileNotFoundError("wrk")
    command = [program, "-t1", f"-c{load.connections}", f"-d{max(1, round(load.seconds))}s", "--latency"]
    if load.one_shot:
        command += ["-H", "Connection: close"]
    command.append(f"http://127.0.0.1:{port}{load.path}")
    before = os.times()
    done = subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=lambda: own(cpu))
    after = os.times()
    text = done.stdout
    requests, seconds, unit = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", text).groups()  # type: ignore[union-attr]
    latency = {}
    for percent, key in (("50", "p50"), ("90", "p90"), ("99", "p99")):
        value, of = re.search(rf"\b{percent}%\s+([\d.]+)(us|ms|s|m)\b", text).groups()  # type: ignore[union-attr]
        latency[key] = float(value) * _WRK_UNIT_NS[of]
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "seconds": float(seconds) * _WRK_UNIT_NS[unit] / 1e9,
        "answered": int(requests),
        "bytes": int(requests) * BODY_BYTES[load.path],
        "failed": {
            "socket": sum(map(int, errors.groups())) if errors else 0,
            "wrong": int(wrong.group(1)) if wrong else 0,
        },
        "own_cpu_ns": used * 1e9,
        "latency_ns": latency,
    }
