# SPDX-License-Identifier: Apache-2.0
"""The schema of the SQLite file, as the steps that lead to it.

Step n brings a file from version n to n + 1, so a new file takes them all and an old one those that it lacks; both end
with the same schema. A step is never changed once it was released: another one is added. The version stands in the
file's `PRAGMA user_version`.
"""

import sqlite3
from collections.abc import Callable, Sequence

APPLICATION_ID = 0x666C6264
"""What `PRAGMA application_id` of our files says ("flbd"); `file` and we tell them from other SQLite files by it."""

Migration = Callable[[sqlite3.Connection], None]
"""Called within the transaction, which it leaves open."""


def _objects_and_revision(connection: sqlite3.Connection) -> None:
    # seq is the rowid: it rises with each new row and stays with an update.
    connection.execute(
        """CREATE TABLE objects (
            type TEXT NOT NULL,
            id TEXT NOT NULL,
            seq INTEGER PRIMARY KEY,
            revision INTEGER NOT NULL,
            document TEXT NOT NULL,
            UNIQUE (type, id)
        )"""
    )
    connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
    connection.execute("INSERT INTO meta VALUES ('revision', 0)")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


MIGRATIONS: tuple[Migration, ...] = (_objects_and_revision,)


def migrate(connection: sqlite3.Connection, version: int, migrations: Sequence[Migration]) -> None:
    """From `version` (0: an empty file) to the newest, in one transaction. What a step raises comes out, and the file
    is as it was."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in migrations[version:]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
