# SPDX-License-Identifier: Apache-2.0
"""Who is told when a status changes.

Statuses are level-triggered: what is delivered is the difference between what was last told and what is now, so a
core that dropped an event, or a status that changed and changed back meanwhile, leaves nobody with a wrong
picture. Callbacks run one at a time, in order, outside every lock; normally on the engine's supervisor thread.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastlb.resource import Resource
from fastlb.types import OperatingStatus

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer
    from fastlb.member import Member


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """An object's operating status changed."""

    object: Resource[Any]
    old: OperatingStatus
    new: OperatingStatus
    time: datetime
    """When, UTC."""


Callback = Callable[[StatusEvent], object]


class StatusWatch:
    """The callbacks of one load balancer and what they were last told. Every method but `deliver` is called under the
    load balancer's lock."""

    __slots__ = ("_all", "_balancer", "_callbacks", "_delivering", "_known", "_members", "_queue")

    def __init__(self, balancer: "LoadBalancer") -> None:
        self._balancer = balancer
        self._callbacks: list[Callback] = []
        self._known: dict[Resource[Any], OperatingStatus] = {}
        self._members: dict[Member, int] = {}
        self._all = False
        self._queue: deque[StatusEvent] = deque()
        self._delivering = False

    @property
    def active(self) -> bool:
        return bool(self._callbacks)

    def add(self, callback: Callback) -> Callable[[], None]:
        if not self._callbacks:
            self._known = {one: one.operating_status for one in self._balancer._everything()}
        self._callbacks.append(callback)

        def remove() -> None:
            with self._balancer._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return remove

    def mark(self, member: "Member | None", at_ns: int = 0) -> None:
        """Something changed: only this member (and what rolls up from it), or anything at all."""
        if member is None:
            self._all = True
        else:
            self._members[member] = at_ns

    def _collect(self) -> None:
        now = datetime.now(UTC)
        offset = time.time_ns() - time.monotonic_ns()
        times: dict[Resource[Any], datetime] = {
            member: datetime.fromtimestamp((at_ns + offset) / 1e9, UTC)
            for member, at_ns in self._members.items()
            if at_ns
        }
        objects: list[Resource[Any]]
        # From the bottom up, so that a cause is told before its effect.
        if self._all:
            objects = list(self._balancer._everything())
            gone = self._known.keys() - set(objects)
            for one in gone:
                del self._known[one]
        else:
            members = [member for member in self._members if not member._deleted]
            objects = [*members, *{member.pool: None for member in members}]
            objects += [*self._balancer.listeners, self._balancer]
        self._members.clear()
        self._all = False
        for one in objects:
            new = one.operating_status
            old = self._known.get(one) or one._initial_status()
            self._known[one] = new
            if new is not old:
                self._queue.append(StatusEvent(one, old, new, times.get(one, now)))

    def deliver(self) -> None:
        """Tell the callbacks what has changed since they were last told."""
        with self._balancer._lock:
            if not self._callbacks:
                return
            self._collect()
            if self._delivering:
                # Another thread is at it, or a callback of ours caused this: that loop will come to the new events.
                return
            self._delivering = True
        try:
            while True:
                with self._balancer._lock:
                    if not self._queue:
                        # Under the lock: whoever queues after this sees that nobody delivers.
                        self._delivering = False
                        return
                    event = self._queue.popleft()
                    callbacks = tuple(self._callbacks)
                for callback in callbacks:
                    self._call(callback, event)
        except BaseException:
            # A Ctrl-C in the middle: the rest is delivered with the next change.
            self._delivering = False
            raise

    @staticmethod
    def _call(callback: Callback, event: StatusEvent) -> None:
        try:
            callback(event)
        except Exception:
            import logging

            logging.getLogger("fastlb").exception(
                "a status callback failed on %s -> %s of %r", event.old, event.new, event.object
            )
