# SPDX-License-Identifier: Apache-2.0
"""Listening sockets that are given up without losing a connection, and how long that takes.

A closed listening socket resets whoever waits in its queue and whoever is in the middle of the handshake. So the core
first retires it: new connections go elsewhere (or nowhere), and those that have begun are finished and accepted. It may
be closed when no handshake is left that began before. Each ends when the client's ACK comes:

- within a round trip, which is a few milliseconds, and some hundreds on bad days;
- when the SYN-ACK or the ACK is lost: after the kernel has sent the SYN-ACK again, one second later (RFC 6298);
- never, when the client is gone, or was never there (a port scan, a SYN flood).

So the kernel is asked which handshakes there are, and those of the first look are waited for, until PATIENCE_S is over:
that is a lost packet and a round trip of a second. Where net.ipv4.tcp_migrate_req is on, the kernel hands those that
are still left to the new sockets.
"""

import time
from collections.abc import Iterable

from fastlb import _core, handshakes

SETTLE_S = 0.02
"""Before the first look. A SYN that had found its socket when that was retired is a handshake by then: the kernel does
this in one go, in microseconds, which only a virtual machine's pause can make milliseconds."""
PATIENCE_S = 2.0
LOOK_S = 0.005
LOOK_AT_MOST_S = 0.05


class Retirement:
    """The retired sockets of some listeners. `settle`, without a lock; then `release`."""

    __slots__ = ("_began", "_cores", "_ports", "_unfinished")

    def __init__(self, cores: Iterable[_core.CoreListener]) -> None:
        self._cores = list(cores)
        self._ports = {core.port for core in self._cores}
        self._began = time.monotonic()
        # The handshakes of the first look that were there at all later ones too; None: nobody has looked.
        self._unfinished: frozenset[bytes] | None = None

    def __bool__(self) -> bool:
        return bool(self._cores)

    def settle(self) -> None:
        """Wait until nobody would be lost."""
        pause = SETTLE_S
        while not self._ripe():
            time.sleep(pause)
            pause = LOOK_S if self._unfinished is None else min(pause * 2, LOOK_AT_MOST_S)

    def release(self) -> None:
        """Close the sockets. Twice is fine."""
        for core in self._cores:
            core.release()
        self._cores = []

    def _ripe(self) -> bool:
        age = time.monotonic() - self._began
        if age < SETTLE_S:
            return False
        # Whoever closes a listener altogether ends this, too.
        if age > PATIENCE_S or not any(core.retiring for core in self._cores):
            return True
        try:
            now = handshakes.under_way(self._ports)
        except OSError:
            # Who may not look waits for as long as it can take.
            return False
        self._unfinished = now if self._unfinished is None else self._unfinished & now
        # At connection_limit the queue waits, as it would have; after PATIENCE_S all of it is let in.
        return not self._unfinished and not any(core.queued() for core in self._cores)
