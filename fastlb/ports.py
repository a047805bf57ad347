# SPDX-License-Identifier: Apache-2.0
"""A load balancer's ports: opened together or not at all, closed, drained, cut.

A closed port's connections go on. As long as they do, the core's listener is kept here or with its `Listener`: it still
counts, it is waited for by a drain, and it is what a cut ends.
"""

import time
from collections import Counter
from typing import TYPE_CHECKING

from fastlb import _core
from fastlb.errors import BindError
from fastlb.listener import Listener
from fastlb.stats import LISTENER_GAUGES, lasting, of_listener, total

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer

DRAIN_LOOK_S = 0.005


class Ports:
    """The ports of one load balancer. What changes something is called under its lock, or takes it."""

    __slots__ = ("_balancer", "_ghosts", "_past")

    def __init__(self, balancer: "LoadBalancer") -> None:
        self._balancer = balancer
        # Figures of deleted listeners, and those of them in the core that may still have connections.
        self._past: Counter[str] = Counter()
        self._ghosts: list[_core.CoreListener] = []

    def open(self, *, starting: bool = False) -> None:
        """Bind all enabled listeners, or none; a tolerant load balancer's: those whose port is free."""
        opened = []
        try:
            for listener in self._balancer.listeners:
                if listener._spec.admin_state_up and listener._core is None:
                    try:
                        listener._open(listener._spec)
                    except BindError as error:
                        listener._failure = str(error) if starting else ""
                        raise
                    opened.append(listener)
        except BaseException:
            for listener in opened:
                listener._close()
            raise

    def close(self) -> None:
        """Give all ports back; connections under way go on."""
        with self._balancer._lock:
            for listener in self._balancer.listeners:
                listener._close()
                listener._failure = ""

    def drain(self, wait_s: float) -> None:
        """Wait for the connections of closed ports, this long at the most."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and any(core.stats()["active"] for core in self._closed()):
            time.sleep(DRAIN_LOOK_S)

    def cut(self) -> None:
        """End the connections of closed ports."""
        for core in self._closed():
            core.cut()

    def detach(self) -> None:
        """Let go of everything in the core, keeping the counters."""
        for listener in self._balancer.listeners:
            listener._detach()
        for ghost in self._ghosts:
            self._past.update(lasting(of_listener(ghost), LISTENER_GAUGES))
        self._ghosts.clear()

    def inherit(self, listener: Listener) -> None:
        """A listener is deleted: its figures stay."""
        self._past.update(listener._past)
        self._ghosts += listener._retired

    def abandon(self) -> list[object]:
        """In a forked child: let go of the core's objects, which are the answer."""
        objects: list[object] = [*self._ghosts]
        self._ghosts = []
        for listener in self._balancer.listeners:
            objects += [listener._core, listener._program, listener._exposition, *listener._retired]
            listener._core = listener._program = listener._exposition = None
            listener._retired = []
        return objects

    def figures(self) -> "Counter[str]":
        """The sum over all listeners there are and were."""
        parts: list[dict[str, int]] = [listener._figures() for listener in self._balancer.listeners]
        return total([self._past, *parts, *(of_listener(ghost) for ghost in self._ghosts)])

    def _closed(self) -> list[_core.CoreListener]:
        """What has no port any more and may have client connections."""
        return [*self._ghosts, *(core for one in self._balancer.listeners for core in one._retired)]
