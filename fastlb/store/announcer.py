# SPDX-License-Identifier: Apache-2.0
"""Who is told of commits: one thread a store, which lives while somebody watches and calls them in order.

A thread of its own, because commits are made under locks of the caller (a load balancer's), and a callback that wants
one of those must not be what the commit waits for.
"""

import threading
from collections import deque
from collections.abc import Callable

from fastlb.store import Commit, Drop, Row
from fastlb.store.documents import decode

Callback = Callable[[Commit], None]
CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for callbacks."""


class Announcer:
    """The watchers of one store and the commits that they have yet to hear of."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watchers: dict[object, tuple[Callback, int]] = {}
        self._pending: deque[tuple[int, dict[Drop, bytes], tuple[Drop, ...]]] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, callback: Callback, revision: int) -> Callable[[], None]:
        """Tell `callback` of what is committed after `revision`."""
        key = object()
        with self._changed:
            self._watchers[key] = (callback, revision)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fastlb-store-watch", daemon=True)
                self._thread.start()

        def stop() -> None:
            with self._changed:
                self._watchers.pop(key, None)
                self._changed.notify_all()

        return stop

    def publish(self, revision: int, written: dict[Drop, bytes], dropped: tuple[Drop, ...]) -> None:
        """Called under the store's lock for writers, which makes the order."""
        if not self._watchers:
            return
        with self._changed:
            self._pending.append((revision, written, dropped))
            self._changed.notify_all()

    def close(self) -> None:
        """What is pending is told, then the thread ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_TIMEOUT)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed or not self._watchers)
                if not self._watchers or not self._pending:
                    # Under the lock: whoever watches after this starts another thread.
                    self._pending.clear()
                    self._thread = None
                    return
                revision, written, dropped = self._pending.popleft()
                watchers = list(self._watchers.items())
            puts = tuple(Row(*name, decode(text), revision) for name, text in written.items())
            commit = Commit(revision, puts, dropped)
            for key, (callback, after) in watchers:
                if revision > after and key in self._watchers:
                    self._call(callback, commit)

    @staticmethod
    def _call(callback: Callback, commit: Commit) -> None:
        try:
            callback(commit)
        except Exception:
            import logging

            logging.getLogger("fastlb").exception(
                "a watcher of the store failed on revision %d (%d written, %d dropped)",
                commit.revision,
                len(commit.puts),
                len(commit.drops),
            )
