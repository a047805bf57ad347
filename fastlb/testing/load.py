# SPDX-License-Identifier: Apache-2.0
"""A steady load from threads, that counts what failed and says how."""

from __future__ import annotations

import collections
import random
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from fastlb.testing.conn import Client, Conn
from fastlb.testing.messages import request
from fastlb.testing.waiting import eventually


class Load:
    """GETs in a loop from `clients` threads while the `with` block runs.

    `keep_alive` clients hold their connection until an answer says close; the others connect anew for each
    request. A request fails if it does not get a complete 200. `bodies` counts the answers by body. After each answer a
    client idles for one of the `pauses`, in seconds.
    """

    def __init__(
        self,
        client: Client,
        *,
        clients: int = 4,
        keep_alive: bool = True,
        target: str = "/",
        method: str = "GET",
        pauses: Sequence[float] = (),
    ) -> None:
        self.client = client
        self.pauses = pauses
        self.keep_alive = keep_alive
        self.method = method
        self._message = request(target, method=method)
        self.requests = 0
        self.failures: list[str] = []
        self.bodies: collections.Counter[bytes] = collections.Counter()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"load-{index}") for index in range(clients)]

    def _run(self) -> None:
        conn: Conn | None = None
        used = False
        while not self._stop.is_set():
            try:
                if conn is None:
                    used = False
                    conn = self.client.connect(record=False)
                conn.send(self._message)
                answer = conn.read_response(self.method)
                closes = answer.closes or not self.keep_alive
                failure = "" if answer.status == 200 else f"status {answer.status}"
            except (OSError, AssertionError) as error:
                failure, closes = f"{type(error).__name__}: {error} (reused: {used})", True
                answer = None
            used = True
            if closes and conn is not None:
                conn.close()
                conn = None
            with self._lock:
                self.requests += 1
                if failure:
                    self.failures.append(failure)
                elif answer is not None:
                    self.bodies[answer.body] += 1
            if self.pauses:
                self._stop.wait(random.choice(self.pauses))
        if conn is not None:
            conn.close()

    def wait_requests(self, more: int, timeout: float = 20.0) -> None:
        """Wait until that many more requests have been answered or have failed."""
        goal = self.requests + more
        eventually(lambda: self.requests >= goal, timeout, what=f"{more} more requests")

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(self.client.timeout + 1)
