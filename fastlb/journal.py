# SPDX-License-Identifier: Apache-2.0
"""Journal: who is told of every change of a load balancer, so that a store has what the data plane has.

A change is made under the load balancer's lock; changes within a change are one. When the outermost ends, the journal
is given every object that is new, changed or deleted, as it is then. So the store is never ahead of the model, and a
change that was given up half way leaves nothing behind.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from fastlb.resource import Resource

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer
    from fastlb.member import Member


class Journal(Protocol):
    """What a controller does with changes."""

    def record(self, balancer: "LoadBalancer", changed: Iterable[Resource[Any]]) -> None:
        """These are new, changed or (`_deleted`) gone. Called under the load balancer's lock.

        Raises StoreError when they cannot be stored: the change stays in force, its caller is told, and the objects
        come again with the next change.
        """

    def observe(self, members: Iterable["Member"]) -> None:
        """The health of these members has changed. Called by the engine's supervisor, without locks."""


class Change:
    """`with balancer._change():` holds its lock, and tells the journal at the end."""

    __slots__ = ("_balancer",)

    def __init__(self, balancer: "LoadBalancer") -> None:
        self._balancer = balancer

    def __enter__(self) -> None:
        self._balancer._lock.acquire()
        self._balancer._changes_open += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        balancer = self._balancer
        try:
            balancer._changes_open -= 1
            if not balancer._changes_open and balancer._unsaved_ones:
                balancer._save(error)
        finally:
            balancer._lock.release()
