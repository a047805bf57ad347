# SPDX-License-Identifier: Apache-2.0
"""Quotas: how many objects of a kind a project has, and how many it may have.

What is counted is told as it is stored, so a look costs the same whatever there is. Room that a request asks for is
kept for it until it is done: two requests at once cannot both have the last place, and neither is refused for what
the other only asked for and then has made.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastlb.errors import FastLBError, NotFound

if TYPE_CHECKING:
    from fastlb.store import Store

ROW = "quota"
"""The type of the rows with projects' own limits, by project."""

LABELS = {
    "loadbalancer": "Load Balancer",
    "listener": "Listener",
    "pool": "Pool",
    "member": "Member",
    "healthmonitor": "Health Monitor",
    "l7policy": "L7 Policy",
    "l7rule": "L7 Rule",
}
"""What is counted, and what Octavia calls it in its message."""

UNLIMITED = -1


class QuotaMet(FastLBError):
    """A project may have no more objects of a kind."""

    status = 403

    def __init__(self, kind: str) -> None:
        super().__init__(f"Quota has been met for resources: {LABELS[kind]}")
        self.kind = kind


class Quotas:
    """The quotas of a node. Calls may come from any thread.

    defaults: what a project may have of a kind that its own quota does not name; without an entry, any number.
    """

    def __init__(self, store: "Store", defaults: Mapping[str, int] | None = None) -> None:
        self._store = store
        self.defaults: dict[str, int] = dict.fromkeys(LABELS, UNLIMITED) | dict(defaults or {})
        self._changing = threading.Lock()
        self._lock = threading.Lock()
        # Both by (kind, project): what is there, and what was asked for and is not there yet.
        self._used: Counter[tuple[str, str]] = Counter()
        self._asked: Counter[tuple[str, str]] = Counter()
        # What the room of this thread still has of that.
        self._room = threading.local()

    # What is there.

    def count(self, kind: str, project_id: str) -> int:
        """How many objects of a kind a project has."""
        return self._used[kind, project_id]

    def made(self, kind: str, project_id: str) -> None:
        """There is one more."""
        key = kind, project_id
        room: Counter[tuple[str, str]] | None = getattr(self._room, "asked", None)
        with self._lock:
            self._used[key] += 1
            if room is not None and room[key] > 0:
                room[key] -= 1
                self._asked[key] -= 1

    def gone(self, kind: str, project_id: str) -> None:
        """There is one less."""
        with self._lock:
            self._used[kind, project_id] -= 1

    def forget(self) -> None:
        """Nothing is there any more."""
        with self._lock:
            self._used.clear()

    # What may be.

    def own(self, project_id: str) -> dict[str, int] | None:
        """The limits that a project has of its own; None if it never had any."""
        row = self._store.get(ROW, project_id)
        return None if row is None else row.document

    def limits(self, project_id: str) -> dict[str, int]:
        """The limits in force, of every kind."""
        return self.defaults | (self.own(project_id) or {})

    def projects(self) -> dict[str, dict[str, int]]:
        """The limits in force of the projects that have some of their own."""
        return {row.id: self.defaults | row.document for row in self._store.list(ROW) if row.document}

    def change(self, project_id: str, changes: Mapping[str, int | None]) -> None:
        """Give a project limits of its own; None: the default again. Raises StoreError."""
        with self._changing:
            own: dict[str, int | None] = {**(self.own(project_id) or {}), **changes}
            kept = {kind: limit for kind, limit in own.items() if limit is not None}
            self._store.commit([(ROW, project_id, kept)])

    def reset(self, project_id: str) -> None:
        """Give a project the defaults again. Raises NotFound if it never had a quota of its own; StoreError."""
        with self._changing:
            if self.own(project_id) is None:
                raise NotFound(f"Quotas {project_id} not found.")
            self._store.commit([(ROW, project_id, {})])

    @contextmanager
    def room(self) -> Iterator[None]:
        """What this thread asks for within is kept for it: until it is made, at most until the end."""
        self._room.asked = asked = Counter[tuple[str, str]]()
        try:
            yield
        finally:
            self._room.asked = None
            with self._lock:
                self._asked -= asked

    def ask(self, kind: str, project_id: str, more: int = 1) -> None:
        """May the project have so many more? Raises QuotaMet. Outside of `room()` nothing is kept."""
        if more <= 0:
            return
        limit = self.limits(project_id)[kind]
        if limit == UNLIMITED:
            return
        key = kind, project_id
        room: Counter[tuple[str, str]] | None = getattr(self._room, "asked", None)
        with self._lock:
            if self._used[key] + self._asked[key] + more > limit:
                raise QuotaMet(kind)
            if room is not None:
                room[key] += more
                self._asked[key] += more
