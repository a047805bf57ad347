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
        come again with the next change. Only the making and the deletion of a load balancer have not happened then.
        """

    def observe(self, members: Iterable["Member"]) -> None:
        """The health of these members has changed. Called by the engine's supervisor, without locks."""


class Change:
    """`with balancer._change():` holds its lock, and tells the journal at the end."""

    __slots__ = ("_balancer", "_open")

    def __init__(self, balancer: "LoadBalancer") -> None:
        self._balancer = balancer
        self._open = False

    def __enter__(self) -> None:
        self._balancer._lock.acquire()
        self._open = True
        self._balancer._changes_open += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._end(error)

    def __del__(self) -> None:
        # A Ctrl-C at the door of `__exit__`: the lock must not stay with a change that is over.
        if self._open:
            self._end(KeyboardInterrupt())

    def _end(self, error: BaseException | None) -> None:
        balancer = self._balancer
        try:
            self._open = False
            balancer._changes_open -= 1
            if error is not None and not isinstance(error, Exception):
                # A Ctrl-C, perhaps between a change and the note of it.
                for one in balancer._everything():
                    one._unsaved()
            if not balancer._changes_open and balancer._unsaved_ones:
                save(balancer, error)
        finally:
            balancer._lock.release()


def save(balancer: "LoadBalancer", error: BaseException | None) -> None:
    """Tell the journal, at the end of a change or of what an error has left of it. Under the lock."""
    if balancer._journal is not None:
        try:
            balancer._journal.record(balancer, list(balancer._unsaved_ones))
        except Exception as unsaved:
            if error is None:
                raise
            error.add_note(f"and the journal of {balancer._who()} could not be written: {unsaved}")
            return
    balancer._unsaved_ones.clear()


def save_deletion(balancer: "LoadBalancer") -> None:
    """A load balancer is gone with everything on it, if the journal takes it; else it is as before. Under the lock.

    Only a Ctrl-C leaves it deleted without a word to the journal, which hears of it with the next change.
    """
    before, everything = dict(balancer._unsaved_ones), balancer._everything()
    for one in everything:
        one._deleted = True
        one._unsaved()
    try:
        save(balancer, None)
    except Exception:
        for one in everything:
            one._deleted = False
        balancer._unsaved_ones = before
        raise
