# SPDX-License-Identifier: Apache-2.0
"""The store of one machine: a SQLite file (WAL) in a state directory, held by one process.

One connection writes, under a lock. Readers have connections of their own, which SQLite lets see the last commit
while the next is being written. Python gives the GIL away with every row that SQLite steps to, and gets it back
5 ms later when another thread computes; so rows are written by the hundred and read as one text.
10,000 rows listed beside a busy thread: 5 s row by row, 0.1 s so (benchmarks/bench_store.py).
"""

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar, get_args

import msgspec

from fastlb.errors import ConfigError, StoreError
from fastlb.store import Commit, Drop, Put, Row, Rows, Store, Synchronous
from fastlb.store.announcer import Announcer
from fastlb.store.documents import decode, encode_changes
from fastlb.store.migrations import MIGRATIONS, Migration
from fastlb.store.sqlite_file import (
    DAMAGED,
    DATABASE_ERRORS,
    bring_up_to_date,
    connect,
    database_error,
    look,
    make,
    read_revision,
)
from fastlb.store.state_directory import StateDirectory, system_error

ROWS_AT_ONCE = 500
"""Rows in one statement."""
READERS_KEPT = 4
"""Connections for reading that stay open when nobody reads."""
LOG_KEPT_BYTES = 16 << 20
"""To how much the write-ahead log is cut back after a commit that made it larger."""

GET = "SELECT document, revision FROM objects WHERE type = ? AND id = ?"
LIST = """SELECT group_concat('[' || seq || ',' || json_quote(id) || ',' || revision || ',' || document || ']')
    FROM objects WHERE type = ?"""
T = TypeVar("T")

_decode_list = msgspec.json.Decoder(list[tuple[int, str, int, dict[str, Any]]]).decode
_decode_drops = msgspec.json.Decoder(list[tuple[int, str, str]]).decode


@lru_cache(16)
def _put_statement(count: int) -> str:
    return f"""INSERT INTO objects (type, id, revision, document) VALUES {",".join(["(?,?,?,?)"] * count)}
        ON CONFLICT (type, id) DO UPDATE SET revision = excluded.revision, document = excluded.document"""


@lru_cache(16)
def _find_statement(count: int) -> str:
    return f"""SELECT group_concat('[' || seq || ',' || json_quote(type) || ',' || json_quote(id) || ']')
        FROM objects WHERE (type, id) IN (VALUES {",".join(["(?,?)"] * count)})"""


@lru_cache(16)
def _drop_statement(count: int) -> str:
    return f"DELETE FROM objects WHERE seq IN ({','.join('?' * count)})"


def _in_parts(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while part := list(islice(iterator, ROWS_AT_ONCE)):
        yield part


class SQLiteStore(Store):
    """`fastlb.store.Store` in the file `fastlb.db` of a directory. `fastlb.store.open_store` says more.

    migrations: the steps that make the schema; the last one's number is the version of the file.
    """

    def __init__(
        self,
        directory: "str | os.PathLike[str]",
        *,
        synchronous: Synchronous = "FULL",
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        if synchronous not in get_args(Synchronous):
            raise ConfigError(
                "synchronous", synchronous, f"must be one of {', '.join(get_args(Synchronous))}"
            )
        self._directory = StateDirectory(directory)
        self.path = self._directory.path / "fastlb.db"
        self._synchronous = synchronous
        self._writing = threading.Lock()
        self._reading = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._lent = 0
        self._closing = False
        self._closed = False
        self._forked = 0
        self._announcer = Announcer()
        try:
            if not os.path.lexists(self.path):
                make(self.path, migrations)
            version = look(self.path, len(migrations))
            if self.path.stat().st_mode & 0o077:  # a copy that somebody put back
                self.path.chmod(0o600)
            self._writer: sqlite3.Connection | None = self._open_writer()
            try:
                if version < len(migrations):
                    bring_up_to_date(self.path, self._writer, version, migrations)
                self._revision = self._read_revision(self._writer)
            except BaseException:
                self._writer.close()
                raise
        except BaseException as error:
            self._directory.release()
            if isinstance(error, DATABASE_ERRORS):
                raise database_error(self.path, error) from None
            if isinstance(error, OSError):
                raise system_error(self.path, "cannot be opened", error) from None
            raise
        _open_stores.add(self)

    def _open_writer(self) -> sqlite3.Connection:
        connection = connect(self.path, "mode=rw")
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StoreError(
                    str(self.path),
                    f"SQLite keeps a log of the kind {mode!r} here, where a store needs WAL",
                    "name a directory on a file system of this machine, with shared memory",
                )
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _read_revision(self, connection: sqlite3.Connection) -> int:
        revision = read_revision(connection)
        assert revision is not None  # look() saw it, and it is never dropped
        return revision

    @property
    def revision(self) -> int:
        return self._revision

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else reads from meanwhile."""
        with self._reading:
            if self._closed:
                self._refuse()
            self._lent += 1
            connection = self._idle.pop() if self._idle else None
        usable = False
        try:
            if connection is None:
                connection = connect(self.path, "mode=ro")
            yield connection
            usable = True
        except DATABASE_ERRORS as error:
            raise database_error(self.path, error) from None
        except msgspec.DecodeError as error:
            problem, remedy = (
                f"is damaged: a document is no JSON: {error}",
                DAMAGED.format(name=self.path.name),
            )
            raise StoreError(str(self.path), problem, remedy) from None
        finally:
            with self._reading:
                self._lent -= 1
                if connection is not None:
                    if usable and len(self._idle) < READERS_KEPT:
                        self._idle.append(connection)
                    else:
                        connection.close()
                self._reading.notify_all()

    def get(self, type: str, id: str) -> Row | None:  # noqa: A002 - the row's names
        with self._reader() as connection:
            found = connection.execute(GET, (type, id)).fetchone()
            return found and Row(type, id, decode(found[0]), found[1])

    def list(self, type: str) -> Rows:  # noqa: A002 - the row's name
        with self._reader() as connection:
            rows = _decode_list(f"[{connection.execute(LIST, (type,)).fetchone()[0] or ''}]")
        rows.sort(key=lambda row: row[0])  # here, where it costs a tenth of what it costs in SQLite
        return [Row(type, id_, document, revision) for _, id_, revision, document in rows]

    def commit(self, puts: Iterable[Put], drops: Iterable[Drop] = ()) -> int:
        written, gone = encode_changes(puts, drops)
        with self._writing:
            if self._closing:
                self._refuse()
            if not written and not gone:
                return self._revision
            try:
                if self._writer is None:
                    self._writer = self._open_writer()
                    self._revision = self._read_revision(self._writer)
                elif self._writer.in_transaction:  # a second Ctrl-C ended the undoing of an earlier one
                    self._undo()
                return self._write(self._writer, written, gone)
            except BaseException as error:
                self._undo()
                if isinstance(error, DATABASE_ERRORS):
                    raise database_error(self.path, error) from None
                raise

    def _write(
        self, connection: sqlite3.Connection, written: dict[Drop, bytes], gone: dict[Drop, None]
    ) -> int:
        connection.execute("BEGIN IMMEDIATE")
        there: set[Drop] = set()
        for keys in _in_parts(gone):
            names = [name for key in keys for name in key]
            text = connection.execute(_find_statement(len(keys)), names).fetchone()[0]
            if text:
                found = _decode_drops(f"[{text}]")
                connection.execute(_drop_statement(len(found)), [seq for seq, _, _ in found])
                there.update((type_, id_) for _, type_, id_ in found)
        dropped = tuple(drop for drop in gone if drop in there)
        if not written and not dropped:
            connection.execute("ROLLBACK")
            return self._revision
        revision = self._revision + 1
        for part in _in_parts(written.items()):
            values: list[object] = []
            for (type_, id_), text in part:
                values += (type_, id_, revision, text.decode())
            connection.execute(_put_statement(len(part)), values)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'revision'", (revision,))
        connection.execute("COMMIT")
        self._revision = revision
        self._announcer.publish(revision, written, dropped)
        return revision

    def _undo(self) -> None:
        """After a commit that failed, or that a Ctrl-C ended, perhaps just after it was durable."""
        connection = self._writer
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._revision = self._read_revision(connection)
        except DATABASE_ERRORS:
            # The next commit opens another one, and reads the revision there.
            self._writer = None
            connection.close()

    def watch(self, callback: Callable[[Commit], None]) -> Callable[[], None]:
        with self._writing:
            if self._closing:
                self._refuse()
            return self._announcer.add(callback, self._revision)

    def close(self) -> None:
        with self._writing:
            if self._closing:
                return
            self._closing = True
        self._announcer.close()  # its callbacks may still read
        with self._reading:
            self._closed = True
            self._reading.wait_for(lambda: not self._lent)
            for connection in self._idle:
                connection.close()
            self._idle.clear()
        if self._writer is not None:
            self._writer.close()  # the last one: the log is taken into the file and removed
            self._writer = None
        self._directory.release()
        _open_stores.discard(self)

    def _abandon(self, parent: int) -> None:
        """In a forked child: the lock and the file are the parent's, and nothing here touches them again."""
        self._forked = parent
        self._closing = self._closed = True
        self._writing = threading.Lock()  # a thread that is not here may hold the old ones
        self._reading = threading.Condition()
        self._directory.release()
        # Closing them would be to write: they stay open to the end of this process.
        _parents_connections.append((self._idle, self._writer))
        self._idle, self._writer = [], None

    def _refuse(self) -> NoReturn:
        if self._forked:
            problem = f"is open in process {self._forked}, and did not come along with fork"
            raise StoreError(
                str(self.path), problem, "start the child with the 'spawn' method, or use it there"
            )
        raise StoreError(str(self.path), "the store is closed", "open it again")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f" left in process {self._forked} by fork" if self._forked else " closed" * self._closing
        return f"<SQLiteStore {self.path} revision={self._revision}{state}>"


_open_stores: "weakref.WeakSet[SQLiteStore]" = weakref.WeakSet()
_parents_connections: list[object] = []


def _abandon_all() -> None:
    for store in list(_open_stores):
        store._abandon(os.getppid())
    _open_stores.clear()


os.register_at_fork(after_in_child=_abandon_all)
