# SPDX-License-Identifier: Apache-2.0
"""Where objects live: JSON documents by type and id, a revision that each commit moves on, and a watch.

    from fastlb.store import open_store
    with open_store() as store:
        store.commit([("pool", "0b4c…", {"name": "web"})])
        store.get("pool", "0b4c…").document["name"]

There are two: `fastlb.store.memory.MemoryStore`, gone with its process, and the SQLite file that `open_store` opens.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from fastlb.errors import StoreError

if TYPE_CHECKING:
    from fastlb.store.sqlite import SQLiteStore

Synchronous = Literal["FULL", "NORMAL", "OFF"]


class Row(NamedTuple):
    """One object as it is stored. The document is the reader's own: changing it changes nothing in the store."""

    type: str
    id: str
    document: dict[str, Any]
    revision: int
    """Of the commit that wrote it last."""


class Commit(NamedTuple):
    """What one commit did. Watchers share it: its documents are to be read, not changed."""

    revision: int
    puts: tuple[Row, ...]
    drops: tuple[tuple[str, str], ...]
    """(type, id) of each row that was there and is gone."""


Put = tuple[str, str, Mapping[str, Any]]
"""type, id, document"""
Drop = tuple[str, str]
"""type, id"""
Rows = list[Row]  # the class below has a method called list, and means this one


class Store(Protocol):
    """What every store does. All calls are safe from any thread; failures of the store itself are `StoreError`.

    The interface is the part of etcd (API v3) that others have too, so that etcd can stand behind it: a row is the key
    `/fastlb/TYPE/ID`; `revision` is the header's revision of what this store has seen, and a row's its
    `mod_revision`; `commit` is one `Txn` (which takes no key twice, hence the rule below; the server's
    `--max-txn-ops` must allow the size); `list` is a `Range` by prefix, sorted by `create_revision` and by a
    position in the value among rows that one commit created; `watch` is a `Watch` of the prefix, from the revision
    after `revision` on, its events grouped by `mod_revision`. Two things are wider there, and callers must not rely
    on the narrow form: other processes commit too, so watchers also hear what this process did not write, and
    revisions rise from one commit to the next without being consecutive.
    """

    @property
    def revision(self) -> int:
        """Of the last commit; 0 when new. It only rises."""
        ...

    def get(self, type: str, id: str) -> Row | None:  # noqa: A002 - the row's names
        """The row, or None. Waits for no commit."""
        ...

    def list(self, type: str) -> Rows:  # noqa: A002 - the row's name
        """All rows of a type as one commit left them, in the order of creation: a later put of the same id keeps its
        place, a put after a drop comes last. Waits for no commit."""
        ...

    def commit(self, puts: Iterable[Put], drops: Iterable[Drop] = ()) -> int:
        """Write and drop rows, all or nothing; durable when it returns, with the new revision.

        Of two puts of one row the later counts; a row that is both put and dropped is dropped. Drops of rows that are
        not there are no change; a commit without a change writes nothing and answers the current revision.

        TypeError, ValueError: a type or an id is no string, a document no mapping that JSON can hold.
        StoreError: it could not be written. Then, too, nothing was, the store goes on working, and the same commit
        may be tried again.
        """
        ...

    def watch(self, callback: Callable[[Commit], None]) -> Callable[[], None]:
        """Call `callback` after each commit from now on, once it is durable, in order of revision; answers what stops
        it.

        All watchers of a store are called one after the other on a thread of the store's own: under no lock of the
        store or of whoever commits, so a callback may read, commit and stop itself. One that raises is logged to
        the logger "fastlb", and the next is called. After the stop no call begins; one may still be running.
        """
        ...

    def close(self) -> None:
        """Finish: the commit that is under way, then the calls of watchers that are due (5 seconds at most are waited
        for them). Everything but a second close is refused from then on."""
        ...


def default_directory() -> Path:
    """`$XDG_STATE_HOME/fastlb`, or `~/.local/state/fastlb` where that is not set (or not absolute, which the XDG Base
    Directory Specification has ignored)."""
    given = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "fastlb"
    try:
        home = Path.home()
    except RuntimeError:
        problem = "is not set, and the user of this process has no home directory"
        raise StoreError("XDG_STATE_HOME", problem, "set it, or name a directory") from None
    return home / ".local" / "state" / "fastlb"


def open_store(
    directory: "str | os.PathLike[str] | None" = None, *, synchronous: Synchronous = "FULL"
) -> "SQLiteStore":
    """The store in the file `fastlb.db` of a directory, for this process alone.

    directory: made (mode 0700) if it is not there; None means `default_directory()`. The files in it have mode 0600.
    synchronous: "FULL", a commit that returned survives a power cut; "NORMAL", it survives the end of the process
    but the last ones may be lost with the machine; "OFF", a power cut may also break the file.

    StoreError: another process has it, the directory cannot be written, the file is broken, belongs to something else
    or to a newer fastlb; that file is left as it was. ConfigError: synchronous is none of these.
    """
    from fastlb.store.sqlite import SQLiteStore

    return SQLiteStore(default_directory() if directory is None else directory, synchronous=synchronous)
