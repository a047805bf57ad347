# SPDX-License-Identifier: Apache-2.0
"""Both ends of the demo's traffic: web servers in processes of their own, clients that count answers."""

import http.client
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from fastlb.errors import FastLBError

WEBSERVER = pathlib.Path(__file__).with_name("webserver.py")
TIMEOUT = 5.0


class WebServer:
    """A child process that answers `you hit: <name>`; it keeps its port when it is started again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        # -I: no user packages, no current folder. The pipe on its input ends it whenever this process ends.
        command = [sys.executable, "-I", str(WEBSERVER), self.name, str(self.port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise FastLBError(f"{self.name} did not start on 127.0.0.1:{self.port}")
        self.port = int(line)

    def kill(self) -> None:
        """As `kill -9` does: no farewell on any connection."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.close()
            process.wait()

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@dataclass(frozen=True, slots=True)
class Hit:
    """One request: when it began, how long it took, who answered; or why nobody did."""

    began: float
    seconds: float
    server: str
    error: str = ""


def send(connection: http.client.HTTPConnection) -> Hit:
    """One request on a connection that is opened if need be. Never repeated: a failure is a failure."""
    began = time.monotonic()
    server, error = "", ""
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        text = answer.read().decode("latin-1").strip()
        if answer.status == 200 and text.startswith("you hit: "):
            server = text.removeprefix("you hit: ")
        else:
            error = f"{answer.status} {answer.reason}"
    except (OSError, http.client.HTTPException) as problem:
        connection.close()
        error = str(problem) or type(problem).__name__
    return Hit(began, time.monotonic() - began, server, error)


def get(port: int) -> Hit:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        return send(connection)
    finally:
        connection.close()


class Clients:
    """Clients in threads, each with a connection that it keeps, that send one request after the other."""

    def __init__(self, port: int, number: int, pause: float) -> None:
        self.number = number
        self._port = port
        self._pause = pause
        self._stopping = threading.Event()
        self._grown = threading.Condition()
        self._hits: list[Hit] = []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(number)]

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            while not self._stopping.wait(self._pause):
                hit = send(connection)
                with self._grown:
                    self._hits.append(hit)
                    self._grown.notify_all()
        finally:
            connection.close()

    def next(self, number: int) -> list[Hit]:
        """The next hits of requests that begin from now on."""
        mark = time.monotonic()
        deadline = mark + 30.0
        with self._grown:
            seen, found = len(self._hits), list[Hit]()
            while len(found) < number:
                if not self._grown.wait(deadline - time.monotonic()):
                    raise FastLBError(f"the clients got {len(found)} answers in 30 s, not {number}")
                found += [hit for hit in self._hits[seen:] if hit.began >= mark]
                seen = len(self._hits)
            return found

    @property
    def hits(self) -> list[Hit]:
        with self._grown:
            return list(self._hits)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(TIMEOUT)


def shares(hits: list[Hit]) -> Counter[str]:
    """How many requests each server answered."""
    return Counter(hit.server for hit in hits if not hit.error)


def failures(hits: list[Hit]) -> list[str]:
    return [hit.error for hit in hits if hit.error]
