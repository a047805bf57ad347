# SPDX-License-Identifier: Apache-2.0
"""The SQLite file of a store before it is used: made, looked at without a change to it, brought up to date.

A file is made under another name and renamed when it is whole, so a `fastlb.db` that is empty or has no schema is
never one that we were about to make: it lost its contents, and is refused instead of being taken for new.
"""

import os
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fastlb.errors import StoreError
from fastlb.store.migrations import APPLICATION_ID, Migration, migrate
from fastlb.store.state_directory import sync_directory, system_error

DAMAGED = "put a backup in its place, or move {name}* away to begin with an empty store"
SMALLEST = 512
"""Bytes; SQLite takes what is shorter than a page for an empty database."""
REMEDIES = {
    sqlite3.SQLITE_FULL: "make room on that file system and try again",
    sqlite3.SQLITE_IOERR: "see what the system's log says about that disk, and whether it has room; then try again",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_ERROR: DAMAGED,  # our statements are right, so the tables are not
    sqlite3.SQLITE_READONLY: "give the user of this process the right to write it, and its directory",
    sqlite3.SQLITE_BUSY: "another program has it locked; end that program and try again",
    sqlite3.SQLITE_LOCKED: "another program has it locked; end that program and try again",
    sqlite3.SQLITE_CANTOPEN: "see that the file and its directory can be read and written by the user of this process",
}


DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What a statement may raise; the second where names in a damaged file are no text, and so SQLite's message is none."""


def database_error(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> StoreError:
    """What SQLite could not do, as a store says it."""
    if isinstance(error, UnicodeDecodeError):
        return StoreError(str(path), f"is damaged: {error}", DAMAGED.format(name=path.name))
    code = getattr(error, "sqlite_errorcode", 0)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    remedy = REMEDIES.get(code & 0xFF, "see what the system's log says, and try again")
    problem = f"is damaged: {error} ({name})" if remedy is DAMAGED else f"{error} ({name})"
    return StoreError(str(path), problem, remedy.format(name=path.name))


def connect(
    path: Path, parameters: Literal["mode=rw", "mode=ro", "mode=ro&immutable=1"]
) -> sqlite3.Connection:
    """Never makes the file; statements begin no transactions of their own; for one thread at a time, whichever."""
    uri = f"{path.as_uri()}?{parameters}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _companion(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is_there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _fresh(path: Path) -> Path:
    """An empty file beside `path`, to be filled and then renamed; what a killed process left of one is removed."""
    new = _companion(path, ".new")
    for suffix in ("", "-wal", "-shm", "-journal"):
        _companion(new, suffix).unlink(missing_ok=True)
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    return new


def _put_in_place(new: Path, path: Path) -> None:
    descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.rename(path)
    sync_directory(path.parent)


def make(path: Path, migrations: Sequence[Migration]) -> None:
    """A new store's file, of the newest version."""
    for suffix in ("-wal", "-journal"):
        orphan = _companion(path, suffix)
        if _is_there(orphan):
            # SQLite would take its pages for those of the new file.
            raise StoreError(
                str(path), f"is gone, and its {orphan.name} is there", f"put it back, or move {orphan} away"
            )
    try:
        new = _fresh(path)
        connection = connect(new, "mode=rw")
        try:
            migrate(connection, 0, migrations)
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        _put_in_place(new, path)
    except OSError as error:
        raise system_error(path, "cannot be made", error) from None
    except DATABASE_ERRORS as error:
        raise database_error(path, error) from None


def look(path: Path, newest: int) -> int:
    """The schema version of a file that is whole, and one of ours. Changes nothing: neither the file nor what is beside
    it, where the last process closed it; else the log that one left is read too, and an index of it may be made.

    StoreError: it is neither, or its version lies beyond `newest`.
    """
    _look_from_outside(path)
    log, index = _companion(path, "-wal"), _companion(path, "-shm")
    logged, indexed = _is_there(log), index.exists()
    try:
        # "immutable" leaves the log unread, so it is only for a file that has none.
        connection = connect(path, "mode=ro" if logged else "mode=ro&immutable=1")
        try:
            return _look_inside(path, connection, newest)
        finally:
            connection.close()
    except DATABASE_ERRORS as error:
        raise database_error(path, error) from None
    finally:
        if logged and not indexed:
            index.unlink(missing_ok=True)


def _look_from_outside(path: Path) -> None:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
            raise StoreError(
                str(path), f"is {what}, not a store's file", "move it away, or name another directory"
            )
        # Only while no connection to it is open: closing a file ends the POSIX locks that SQLite has on it.
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise system_error(path, "cannot be read", error) from None
    if not head:
        raise StoreError(str(path), "is empty; a store's file never is", DAMAGED.format(name=path.name))
    if head != b"SQLite format 3\0":
        raise StoreError(str(path), "is not a SQLite file", DAMAGED.format(name=path.name))
    if found.st_size < SMALLEST:
        problem = f"is damaged: only {found.st_size} bytes are left of it"
        raise StoreError(str(path), problem, DAMAGED.format(name=path.name))


def _look_inside(path: Path, connection: sqlite3.Connection, newest: int) -> int:
    def number(pragma: str) -> int:
        return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    version = number("user_version")
    if number("application_id") != APPLICATION_ID or version < 1:
        raise StoreError(
            str(path), "is a SQLite file of another program", "move it away, or name another directory"
        )
    if version > newest:
        raise StoreError(
            str(path),
            f"has schema version {version}, written by a newer fastlb; this one knows up to {newest}",
            f"use that fastlb, or put back the copy that it kept ({path.name}.v{newest})",
        )
    problems = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
    if problems != ["ok"]:
        found = "; ".join(" ".join(str(problem).split()) for problem in problems)
        raise StoreError(str(path), f"is damaged: {found}", DAMAGED.format(name=path.name))
    if read_revision(connection) is None:
        raise StoreError(str(path), "is damaged: it has lost its revision", DAMAGED.format(name=path.name))
    return version


def read_revision(connection: sqlite3.Connection) -> int | None:
    """None if the file has lost it."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()
    return row[0] if row and isinstance(row[0], int) else None


def bring_up_to_date(
    path: Path, connection: sqlite3.Connection, version: int, migrations: Sequence[Migration]
) -> None:
    """Migrate an older file, after a copy of it is kept beside it as `fastlb.db.v1` (2, …)."""
    kept = _companion(path, f".v{version}")
    try:
        new = _fresh(kept)
        copy = connect(new, "mode=rw")
        try:
            connection.backup(copy)
        finally:
            copy.close()
        _put_in_place(new, kept)
    except OSError as error:
        raise system_error(kept, "the copy from before a migration cannot be made", error) from None
    except DATABASE_ERRORS as error:
        raise database_error(kept, error) from None
    try:
        migrate(connection, version, migrations)
    except Exception as error:
        raise StoreError(
            str(path),
            f"cannot be brought from schema version {version} to {len(migrations)} ({error!r})",
            "it is as it was; use the fastlb that wrote it, and report this",
        ) from error
