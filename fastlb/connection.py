# SPDX-License-Identifier: Apache-2.0
"""`fastlb.connect()`: the load balancers that are kept in a state directory, as objects of this process."""

import os
import threading
import weakref
from typing import TYPE_CHECKING

from fastlb.engine import Engine

if TYPE_CHECKING:
    from pathlib import Path

    from fastlb.controller import Controller

_controllers: "weakref.WeakValueDictionary[str, Controller]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


def connect(state: "str | Path | None" = None, *, engine: Engine | None = None) -> "Controller":
    """The load balancers of a state directory: they are made again, forward, and whatever is changed is kept.

    Within one process every `connect()` to a directory answers the same controller, and so the same objects, also
    those that an API server of this process (`fastlb.api.server.Server(controller)`) creates and changes. Each takes a
    `close()`, or a `with` block; the last one stops the load balancers. Another process cannot have the directory at
    the same time: it is told which one has it, and talks to that one's API.

    state: the directory, made when it is missing; None: `$XDG_STATE_HOME/fastlb`, or `~/.local/state/fastlb`. engine:
    the threads that do the work; None: the default engine. Raises StoreError.
    """
    from fastlb.controller import Controller
    from fastlb.store import default_directory, open_store

    directory = os.path.realpath(default_directory() if state is None else state)
    with _lock:
        controller = _controllers.get(directory)
        if controller is not None and controller._join():
            return controller
        store = open_store(directory)
        try:
            controller = Controller(store, engine=engine, owns_store=True).open()
        except BaseException:
            store.close()
            raise
        _controllers[directory] = controller
        return controller


def _abandon() -> None:
    """In a forked child: the controllers are the parent's, and the lock may be held by a thread that is not here."""
    global _lock
    _lock = threading.Lock()
    _controllers.clear()


os.register_at_fork(after_in_child=_abandon)
