# SPDX-License-Identifier: Apache-2.0
"""A load balancer's ports: opened together or not at all, moved to other sockets and addresses, closed, drained, cut.

A closed port's connections go on. As long as they do, the core's listener is kept here or with its `Listener`: it still
counts, it is waited for by a drain, and it is what a cut ends.

What moves ports (a failover, an address that goes) has two steps under the lock, and a wait between them without it
(`Retirement`): everything else may happen meanwhile, also to the same listeners. The next move begins when the one
before has ended; whoever wants it does what is left of that one.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fastlb import _core
from fastlb.errors import BindError, ConfigError
from fastlb.listener import Listener
from fastlb.schema import kinds
from fastlb.stats import LISTENER_GAUGES, lasting, of_listener, total

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer
    from fastlb.retirement import Retirement

DRAIN_LOOK_S = 0.005
EXTRA_ADDRESSES_AT_MOST = 48


class Ports:
    """The ports of one load balancer. What changes something is called under its lock, or takes it."""

    __slots__ = ("_balancer", "_extra", "_ghosts", "_past", "_retirements")

    def __init__(self, balancer: "LoadBalancer") -> None:
        self._balancer = balancer
        # Figures of deleted listeners, and those of them in the core that may still have connections.
        self._past: Counter[str] = Counter()
        self._ghosts: list[_core.CoreListener] = []
        # What every listener listens on besides the VIPs.
        self._extra: tuple[str, ...] = ()
        self._retirements: list[Retirement] = []

    @property
    def addresses(self) -> list[str]:
        """What listeners listen on."""
        vips = self._balancer.vips
        return [*vips, *(address for address in self._extra if address not in vips)]

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

    def renew(self) -> None:
        """Give every port new sockets and every pool new member connections, and lose nobody; open what failed.

        Raises BindError for a port that could not have new sockets: it goes on with those it has, and the others have
        theirs.
        """
        balancer = self._balancer
        errors: list[BindError] = []
        with self._move():
            balancer._check_usable()
            if not balancer._serving():
                return
            for listener in balancer.listeners:
                if listener._spec.admin_state_up:
                    try:
                        listener._renew()
                    except BindError as error:
                        errors.append(error)
            for pool in balancer.pools:
                pool._renew()
            balancer._note(None)
            if errors:
                raise errors[0]

    def set_extra_addresses(self, addresses: Iterable[str]) -> None:
        """Have every listener listen on these, besides the VIPs, and on no others. Those that go are closed when nobody
        is lost by it; connections at them go on.

        Raises ConfigError, and BindError for one that is taken: then all is as before.
        """
        wanted = {kinds.ip_address("addresses", address, False): None for address in addresses}
        if len(wanted) > EXTRA_ADDRESSES_AT_MOST:
            raise ConfigError("addresses", len(wanted), f"must be {EXTRA_ADDRESSES_AT_MOST} at most")
        balancer = self._balancer
        with self._move():
            balancer._check_usable()
            listeners = balancer.listeners
            before, there = self._extra, set(self.addresses)
            self._extra = tuple(wanted)
            added = [address for address in self.addresses if address not in there]
            try:
                for listener in listeners:
                    listener._listen_on(added)
            except BaseException:
                self._extra = before
                for listener in listeners:
                    listener._leave(added)
                raise
            for listener in listeners:
                listener._leave(there.difference(self.addresses))
                # What failed may have failed for an address that is not wanted any more.
                if listener._failed and balancer._serving():
                    listener._open(listener._spec)
            balancer._note(None)

    @contextlib.contextmanager
    def _move(self) -> Iterator[None]:
        """The lock, when no other move is under way; then without it, as far as it is ours, until the sockets that were
        retired are closed."""
        # Imported here: it brings `socket`, which nothing else needs before.
        from fastlb.retirement import Retirement

        lock = self._balancer._lock
        retirement: Retirement | None = None
        try:
            with contextlib.ExitStack() as locked:
                while True:
                    with lock:
                        if not self._retirements:
                            locked.enter_context(lock)
                            break
                        earlier = self._retirements[0]
                    self._end(earlier)
                try:
                    yield
                finally:
                    cores = [one._core for one in self._balancer.listeners if one._core is not None]
                    retirement = Retirement(core for core in cores if core.retiring)
                    if retirement:
                        self._retirements.append(retirement)
        finally:
            if retirement:
                self._end(retirement)

    def _end(self, retirement: "Retirement") -> None:
        try:
            retirement.settle()
        finally:
            # Also on Ctrl-C.
            with self._balancer._lock:
                retirement.release()
                if retirement in self._retirements:
                    self._retirements.remove(retirement)

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
        objects: list[object] = [*self._ghosts, *self._retirements]
        self._ghosts, self._retirements = [], []
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
