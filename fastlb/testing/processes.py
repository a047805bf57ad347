# SPDX-License-Identifier: Apache-2.0
"""Members in processes of their own: fast enough for load, and killable without a goodbye."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from types import TracebackType
from typing import Self

_ORIGIN = pathlib.Path(__file__).with_name("origin.py")


class MemberProcess:
    """An HTTP server (or source of one long body) in a child process.

    `name` is the body of each answer. With `stream` bytes it answers every request with a body of that
    length instead, block after block of the same pseudo-random `origin.block()`, straight from the kernel's
    page cache.
    """

    def __init__(
        self, name: str = "ok", *, address: str = "127.0.0.1", port: int = 0, stream: int = 0
    ) -> None:
        self.name = name
        self.address = address
        self.port = port
        self._stream = stream
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AssertionError("not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> Self:
        """Start, on the port it had before; returns when it listens."""
        if self._process is None:
            command = [
                sys.executable,
                "-I",
                "-S",
                str(_ORIGIN),
                self.address,
                str(self.port),
                self.name,
                str(self._stream),
            ]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                process.wait()
                self._release(process)
                raise OSError(f"member process did not start on {self.address}:{self.port}")
            self._process = process
            self.port = int(line)
        return self

    @staticmethod
    def _release(process: subprocess.Popen[str]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def kill(self) -> Self:
        """SIGKILL; returns when it is gone. The kernel closes its sockets."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._release(self._process)
            self._process = None
        return self

    close = kill

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
