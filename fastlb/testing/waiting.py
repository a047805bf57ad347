# SPDX-License-Identifier: Apache-2.0
"""Waiting for conditions instead of sleeping, and what a process holds: descriptors, threads, memory."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], timeout: float = 5.0, *, what: str = "") -> T:
    """Call `condition` until it answers something true, and return that.

    An AssertionError it raises counts as "not yet"; the last one is what the test fails with after `timeout`
    seconds.
    """
    deadline = time.monotonic() + timeout
    pause = 0.0005
    while True:
        failure: AssertionError | None = None
        value: T | None = None
        try:
            value = condition()
        except AssertionError as error:
            failure = error
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}: {value!r}") from failure
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def unused_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on now. Another process may take it: prefer port 0, or
    `Member(...).refuse()`."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.bind((address, 0))
        port: int = sock.getsockname()[1]
        return port


def open_descriptors(pid: int | None = None) -> dict[int, str]:
    """Open descriptors of a process (this one by default) and what each is, as the kernel names it."""
    folder = f"/proc/{pid or 'self'}/fd"
    found: dict[int, str] = {}
    for name in os.listdir(folder):
        try:
            found[int(name)] = os.readlink(f"{folder}/{name}")
        except OSError:  # the descriptor of the listing itself
            continue
    return found


def threads(pid: int | None = None) -> dict[int, str]:
    """Kernel threads of a process by id with their names: also those that Python did not start."""
    folder = f"/proc/{pid or 'self'}/task"
    found: dict[int, str] = {}
    for name in os.listdir(folder):
        try:
            with open(f"{folder}/{name}/comm", encoding="utf-8", errors="replace") as file:
                found[int(name)] = file.read().strip()
        except OSError:  # ended in between
            continue
    return found


def resident_bytes(pid: int | None = None) -> int:
    """Memory of a process that is in RAM now."""
    with open(f"/proc/{pid or 'self'}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
