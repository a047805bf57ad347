# SPDX-License-Identifier: Apache-2.0
"""A load from a process of its own, so that it does not share the interpreter with what it tests.

    python -I -S load_process.py ADDRESS PORT CLIENTS KEEP_ALIVE METHOD

The program prints `requests <count>` a few times a second, ends when its standard input does, and prints what failed as
its last line. It reads length-delimited answers only, which is what `MemberProcess` gives.
"""

from __future__ import annotations

import collections
import json
import pathlib
import select
import socket
import subprocess
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from fastlb.testing.conn import Client


class LoadProcess:
    """GETs in a loop from a child process while the `with` block runs.

    `keep_alive` clients hold their connection until an answer says close; the others connect anew for each request. A
    request fails if it does not get a complete 200: `failures` says which, in words; `bodies` counts answers by body.
    """

    def __init__(
        self, client: Client, *, clients: int = 1, keep_alive: bool = True, method: str = "GET"
    ) -> None:
        self._arguments = [client.address, str(client.port), str(clients), str(int(keep_alive)), method]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        self._over = False
        self.requests = 0
        self.failures: list[str] = []
        self.bodies: dict[str, int] = {}

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._news:
                if line.startswith("requests "):
                    self.requests = int(line.split()[1])
                else:
                    result = json.loads(line)
                    self.requests = result["requests"]
                    self.failures = result["failures"]
                    self.bodies = result["bodies"]
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def wait_requests(self, more: int, timeout: float = 20.0) -> None:
        """Wait until that many more requests have been answered or have failed."""
        with self._news:
            goal = self.requests + more
            if not self._news.wait_for(lambda: self._over or self.requests >= goal, timeout) or self._over:
                raise AssertionError(f"{self.requests} requests, not {goal}, within {timeout} s")

    def wait_running(self) -> None:
        """Wait until the first requests have been answered."""
        self.wait_requests(1)

    def __enter__(self) -> Self:
        command = [sys.executable, "-I", "-S", str(pathlib.Path(__file__)), *self._arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="load-process")
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._reader is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._reader.join(30)
        if self._reader.is_alive():
            self._process.kill()
            self._reader.join()
        status = self._process.wait()
        self._process.stdout.close()
        if status and error is None:
            raise AssertionError(f"the load ended with status {status}")


class _Loop:
    """One client of the program."""

    def __init__(self, address: str, port: int, keep_alive: bool, method: str) -> None:
        self.address, self.port, self.keep_alive = address, port, keep_alive
        self.message = f"{method} / HTTP/1.1\r\nHost: load\r\n\r\n".encode()
        self.sock: socket.socket | None = None
        self.used = 0

    def ask(self) -> bytes:
        """One request; the body of its 200. OSError or ValueError with what went wrong."""
        if self.sock is None:
            family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_STREAM)
            self.sock.settimeout(10)
            self.sock.connect((self.address, self.port))
            self.used = 0
        try:
            self.sock.sendall(self.message)
            data = b""
            while b"\r\n\r\n" not in data:
                piece = self.sock.recv(65536)
                if not piece:
                    raise ValueError(
                        f"closed before an answer, request {self.used} of its connection: {data!r}"
                    )
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            first, *fields = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in fields if line.startswith(b"content-length:")), -1)
            if length < 0:
                raise ValueError(f"no length: {head!r}")
            while len(body) < length:
                piece = self.sock.recv(65536)
                if not piece:
                    raise ValueError(f"body cut: {data!r}")
                body += piece
            if not first.startswith(b"http/1.1 200 ") or len(body) != length:
                raise ValueError(f"{first.decode('latin-1')}, request {self.used} of its connection")
        except BaseException:
            self.close()
            raise
        self.used += 1
        if not self.keep_alive or b"connection: close" in fields:
            self.close()
        return body

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def main(address: str, port: int, clients: int, keep_alive: bool, method: str) -> None:
    """Ask in turn with all clients until standard input ends."""
    loops = [_Loop(address, port, keep_alive, method) for _ in range(clients)]
    bodies: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    requests, told = 0, time.monotonic()
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    while not (requests % 16 == 0 and poll.poll(0)):
        try:
            bodies[loops[requests % clients].ask().decode("latin-1")] += 1
        except (OSError, ValueError) as error:
            failures.append(f"{type(error).__name__}: {error}")
        requests += 1
        if time.monotonic() - told > 0.05:
            told = time.monotonic()
            print("requests", requests, flush=True)
    for loop in loops:
        loop.close()
    print(json.dumps({"requests": requests, "failures": failures[:100], "bodies": bodies}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1", sys.argv[5])
