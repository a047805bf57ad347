# SPDX-License-Identifier: Apache-2.0
"""The store in a file: whose it is, what it refuses to open, and that a refused file is left as it was."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from random import Random

import pytest

from fastlb import ConfigError, StoreError
from fastlb.store import default_directory, open_store
from fastlb.store import sqlite as sqlite_store
from fastlb.store.migrations import MIGRATIONS
from fastlb.store.sqlite import SQLiteStore
from fastlb.testing import eventually, open_descriptors

LOCK = "fastlb.lock"


def files(directory):
    """What lies in it beside the lock, byte for byte; None for what has no bytes."""
    found = [path for path in directory.iterdir() if path.name != LOCK]
    return {path.name: path.read_bytes() if path.is_file() else None for path in found}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def rows(number, type_="pool"):
    return [(type_, f"{number}-{row}", {"name": "x" * 200, "n": row}) for row in range(number)]


@pytest.fixture
def filled(tmp_path):
    """A directory with a store of 2,000 rows: some hundred pages."""
    with open_store(tmp_path, synchronous="OFF") as store:
        store.commit(rows(2000))
    return tmp_path


class Child:
    """A process that has opened a store, and goes on with a line of Python when told so."""

    def __init__(self, directory, then=""):
        source = f"""
import os, sys
from fastlb.store import open_store
store = open_store(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
{then}
"""
        self.process = subprocess.Popen(
            [sys.executable, "-c", source, directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "open\n"

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_directory_and_files_are_for_their_owner_alone(tmp_path, umask):
    directory = tmp_path / "state" / "fastlb"
    before = os.umask(umask)
    try:
        with open_store(directory, synchronous="OFF") as store:
            store.commit(rows(1))
            store.list("pool")
            modes = {path.name: mode(path) for path in directory.iterdir()}
    finally:
        os.umask(before)
    names = ["fastlb.db", "fastlb.db-shm", "fastlb.db-wal", LOCK]
    assert modes == dict.fromkeys(names, 0o600)
    assert mode(directory) == 0o700
    assert [*files(directory)] == ["fastlb.db"]


def test_a_directory_that_is_there_keeps_its_mode_and_a_restored_file_gets_ours(filled):
    filled.chmod(0o750)
    (filled / "fastlb.db").chmod(0o644)
    with open_store(filled) as store:
        assert len(store.list("pool")) == 2000
    assert (mode(filled), mode(filled / "fastlb.db")) == (0o750, 0o600)


def test_rows_order_and_revision_survive_the_process(tmp_path):
    with Child(
        tmp_path, 'store.commit([("pool", i, {}) for i in "cab"]); store.commit([("pool", "a", {"n": 2})])'
    ) as child:
        child.go()
        assert child.process.wait(30) == 0
    with open_store(tmp_path) as store:
        assert [(row.id, row.document, row.revision) for row in store.list("pool")] == [
            ("c", {}, 1),
            ("a", {"n": 2}, 2),
            ("b", {}, 1),
        ]
        assert store.commit([("pool", "d", {})], [("pool", "c")]) == 3
    with open_store(tmp_path) as store:
        assert store.revision == 3
        assert [row.id for row in store.list("pool")] == ["a", "b", "d"]


def test_default_directory_is_the_users_state_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "fastlb"
    with open_store(synchronous="OFF") as store:
        assert store.path == tmp_path / "fastlb" / "fastlb.db"
    for ignored in ("relative/path", ""):
        monkeypatch.setenv("XDG_STATE_HOME", ignored)
        assert default_directory() == pathlib.Path("/home/ann/.local/state/fastlb")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_directory() == pathlib.Path("/home/ann/.local/state/fastlb")


def test_without_a_home_the_default_directory_says_what_to_set(monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}["no such user"])
    with pytest.raises(StoreError, match=r"XDG_STATE_HOME: is not set, and .*; set it, or name a directory"):
        default_directory()


def test_a_commit_waits_for_the_disk_unless_told_otherwise(tmp_path):
    with pytest.raises(ConfigError, match="synchronous='full': must be one of FULL, NORMAL, OFF"):
        open_store(tmp_path, synchronous="full")
    assert files(tmp_path) == {}
    for given, number in (({}, 2), ({"synchronous": "NORMAL"}, 1), ({"synchronous": "OFF"}, 0)):
        with open_store(tmp_path, **given) as store:
            assert store._writer.execute("PRAGMA synchronous").fetchone() == (number,)


def test_a_second_process_is_told_which_one_has_the_file(tmp_path):
    file = str(tmp_path / "fastlb.db")
    with Child(tmp_path) as child:
        with pytest.raises(StoreError) as caught:
            open_store(tmp_path)
        assert str(caught.value) == (
            f"{file}: process {child.process.pid} has it open; "
            f"end process {child.process.pid} first, or name another directory"
        )
        assert caught.value.status == 500
        child.kill()  # -9: death is what releases it
        with (
            open_store(tmp_path),
            pytest.raises(StoreError, match=r"this process .* has it open already; use that"),
        ):
            open_store(tmp_path)
        open_store(tmp_path).close()


def test_a_store_that_was_dropped_without_close_gives_its_lock_back(tmp_path):
    store = open_store(tmp_path)
    store.commit(rows(1))
    store._writer.close()  # CPython 3.13 warns of a connection that is left to the collector
    del store
    with open_store(tmp_path) as store:
        assert store.revision == 1


def test_a_forked_child_neither_uses_the_store_nor_holds_its_lock(tmp_path):
    then = """
heard = []
store.commit([("pool", "a", {})])
store.list("pool")
if os.fork() == 0:
    for use in (lambda: store.get("pool", "a"), lambda: store.commit([("pool", "b", {})]), lambda: store.watch(print)):
        try:
            use()
        except Exception as error:
            assert f"is open in process {os.getppid()}, and did not come along with fork" in str(error), error
        else:
            raise AssertionError("used")
    assert "by fork" in repr(store)
    store.close()
    print("child", os.getpid(), flush=True)
    sys.stdin.readline()
    os._exit(0)
sys.stdin.readline()
store.commit([("pool", "c", {})])
os._exit(0)
"""
    with Child(tmp_path, then) as child:
        child.go()
        said = child.process.stdout.readline().split()
        assert said[:1] == ["child"]
        forked = int(said[1])
        with pytest.raises(StoreError, match=f"process {child.process.pid} has it open"):
            open_store(tmp_path)  # the child's close was not the parent's
        child.process.kill()
        child.process.wait()
        os.kill(forked, 0)  # it still lives
        with open_store(tmp_path) as store:
            assert [row.id for row in store.list("pool")] == ["a"]
        os.kill(forked, 9)


def test_nothing_is_left_open_by_a_closed_store(tmp_path):
    before = open_descriptors()
    with open_store(tmp_path) as store:
        store.commit(rows(1))
        store.list("pool")
    assert open_descriptors() == before
    (tmp_path / "fastlb.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError):
        open_store(tmp_path)
    assert open_descriptors() == before


def test_closing_waits_for_who_still_reads(filled):
    store = open_store(filled)
    with store._reader() as connection:
        closing = threading.Thread(target=store.close)
        closing.start()
        eventually(lambda: store._closed)
        closing.join(0.05)
        assert closing.is_alive()
        assert connection.execute("SELECT count(*) FROM objects").fetchone() == (2000,)
    closing.join(10)
    assert not closing.is_alive()
    assert [*files(filled)] == ["fastlb.db"]


def test_the_log_of_a_large_commit_is_cut_back(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_store, "LOG_KEPT_BYTES", 1 << 20)
    log = tmp_path / "fastlb.db-wal"
    with open_store(tmp_path, synchronous="OFF") as store:
        store.commit([("pool", str(row), {"filling": "x" * 4000}) for row in range(2000)])
        assert log.stat().st_size > 4 << 20
        store.commit(rows(1))
        store.commit(rows(2))
        assert log.stat().st_size <= 1 << 20


def test_reading_goes_on_after_the_process_changed_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_store("state") as store:
        store.commit(rows(1))
        monkeypatch.chdir("/")
        assert len(store.list("pool")) == 1
        assert store.path == tmp_path / "state" / "fastlb.db"


def test_what_a_process_killed_while_making_the_file_left_is_swept_away(tmp_path):
    for name in ("fastlb.db.new", "fastlb.db.new-wal", "fastlb.db.new-journal"):
        (tmp_path / name).write_bytes(b"half")
    open_store(tmp_path).close()
    assert [*files(tmp_path)] == ["fastlb.db"]


def other_programs(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title)")


def changed(statement):
    def change(path):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(statement)

    return change


def overwritten(offset, data):
    """offset: from 0.0, the first byte, to 1.0"""

    def change(path):
        with path.open("r+b") as file:
            file.seek(int(path.stat().st_size * offset) // 4096 * 4096)
            file.write(data)

    return change


def truncated(share):
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_fifo(path):
    path.unlink()
    os.mkfifo(path)


BROKEN = {
    "text": (lambda path: path.write_text("name = web\n"), "is not a SQLite file; put a backup in its place"),
    "empty": (truncated(0), "is empty; a store's file never is"),
    "cut in half": (truncated(0.5), "is damaged: "),
    "cut within a page": (truncated(0.777), "is damaged: "),
    "cut within the header": (lambda path: os.truncate(path, 60), "is damaged: only 60 bytes are left of it"),
    "first page zeroed": (overwritten(0, b"\0" * 4096), "is not a SQLite file"),
    "header garbled": (
        lambda path: overwritten(0, path.read_bytes()[:16] + b"\xa5" * 84)(path),
        "not a database",
    ),
    "schema garbled": (
        lambda path: overwritten(0, path.read_bytes()[:100] + b"\xa5" * 3996)(path),
        "is damaged: ",
    ),
    "a page zeroed": (overwritten(0.5, b"\0" * 4096), "is damaged"),
    "a page garbled": (overwritten(0.3, b"\xa5" * 4096), "is damaged"),
    "another page garbled": (overwritten(0.9, bytes(range(256)) * 16), "is damaged"),
    "another program's": (other_programs, "is a SQLite file of another program; move it away"),
    "an older us without a version": (changed("PRAGMA user_version = 0"), "of another program"),
    "a newer version": (
        changed(f"PRAGMA user_version = {len(MIGRATIONS) + 1}"),
        "written by a newer fastlb; this one knows up to .*; use that fastlb, or put back the copy",
    ),
    "without its revision": (changed("DELETE FROM meta"), "has lost its revision"),
    "without its tables": (changed("DROP TABLE meta"), "is damaged: no such table: meta"),
    "a folder": (a_folder, "is a directory, not a store's file"),
    "a fifo": (a_fifo, "is no regular file, not a store's file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_no_store_is_refused_and_left_as_it_was(filled, case):
    change, message = BROKEN[case]
    change(filled / "fastlb.db")
    before = files(filled)
    for _ in range(2):
        with pytest.raises(StoreError, match=message) as caught:
            open_store(filled)
        assert str(caught.value).startswith(f"{filled / 'fastlb.db'}: ")
        assert files(filled) == before


def test_garbage_in_any_page_is_found_unless_nothing_is_in_that_page(tmp_path):
    with open_store(tmp_path, synchronous="OFF") as store:
        store.commit(rows(100))
        store.commit([("pool", "large", {"text": "x" * 20_000})])
        store.commit((), [("pool", f"100-{row}") for row in range(50)])
        kept = store.list("pool")
    path = tmp_path / "fastlb.db"
    whole = path.read_bytes()
    assert len(whole) > 12 * 4096
    unused = 0
    for offset in range(0, len(whole), 4096):
        broken = whole[:offset] + b"\xa5" * 4096 + whole[offset + 4096 :]
        path.write_bytes(broken)
        try:
            with open_store(tmp_path) as store:
                assert store.list("pool") == kept
                unused += 1
        except StoreError:
            pass
        assert files(tmp_path) == {"fastlb.db": broken}, f"page {offset // 4096 + 1}"
    assert unused < 5


@pytest.mark.parametrize("seed", range(100))
def test_flipped_bytes_raise_nothing_but_store_errors(tmp_path, seed):
    with open_store(tmp_path, synchronous="OFF") as store:
        store.commit(rows(30))
        store.commit((), [("pool", "30-7")])
    random = Random(seed)
    data = bytearray((tmp_path / "fastlb.db").read_bytes())
    for _ in range(random.randint(1, 8)):
        # In the first 400 bytes too: header and schema.
        data[random.choice((random.randrange(400), random.randrange(len(data))))] = random.randrange(256)
    (tmp_path / "fastlb.db").write_bytes(data)
    with contextlib.suppress(StoreError), open_store(tmp_path, synchronous="OFF") as store:
        for row in range(30):
            with contextlib.suppress(StoreError):
                store.get("pool", f"30-{row}")
        with contextlib.suppress(StoreError):
            store.list("pool")
        store.commit(rows(31), [("pool", "30-8")])


KILLED = """
store.commit([("pool", str(number), {"name": "x" * 200}) for number in range(2000)])
store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
store.commit([("pool", "last", {})])
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("index", ["index kept", "index lost"])
def test_a_broken_file_whose_process_was_killed_is_left_as_it_was_with_its_log(tmp_path, index):
    with Child(tmp_path, KILLED) as child:
        child.go()
        assert child.process.wait(30) == -9
    shutil.copytree(tmp_path, tmp_path / "whole")
    database, log, shm = (tmp_path / f"fastlb.db{end}" for end in ("", "-wal", "-shm"))
    assert log.stat().st_size > 0
    if index == "index lost":
        shm.unlink()
    overwritten(0.4, b"\xa5" * 4096)(database)
    before = files(tmp_path)
    with pytest.raises(StoreError, match="damaged"):
        open_store(tmp_path)
    after = files(tmp_path)
    assert after.keys() == before.keys()
    assert (after[database.name], after[log.name]) == (before[database.name], before[log.name])
    with open_store(tmp_path / "whole") as store:
        assert [row.id for row in store.list("pool")] == [*map(str, range(2000)), "last"]
        assert store.revision == 2


def test_a_checkpoint_that_a_kill_broke_off_is_made_good_from_the_log(tmp_path):
    with Child(tmp_path, KILLED) as child:
        child.go()
        assert child.process.wait(30) == -9
    database, log = tmp_path / "fastlb.db", (tmp_path / "fastlb.db-wal").read_bytes()
    frame = 24 + 4096
    logged = {int.from_bytes(log[at : at + 4]) for at in range(32, len(log), frame)} - {1}
    assert logged
    with database.open("r+b") as file:
        for page in logged:
            file.seek((page - 1) * 4096)
            file.write(b"half of a page".ljust(4096, b"\xa5"))
    with open_store(tmp_path) as store:
        assert [row.id for row in store.list("pool")] == [*map(str, range(2000)), "last"]


def test_a_log_without_its_file_is_not_taken_into_a_new_one(filled):
    (filled / "fastlb.db").unlink()
    (filled / "fastlb.db-wal").write_bytes(b"what was committed last")
    before = files(filled)
    with pytest.raises(
        StoreError, match=r"is gone, and its fastlb.db-wal is there; put it back, or move .* away"
    ):
        open_store(filled)
    assert files(filled) == before


def test_a_document_that_is_no_longer_json_is_reported_when_it_is_read(filled):
    changed("UPDATE objects SET document = '{\"name\": ' WHERE id = '2000-7'")(filled / "fastlb.db")
    with open_store(filled) as store:
        for read in (lambda: store.get("pool", "2000-7"), lambda: store.list("pool")):
            with pytest.raises(
                StoreError, match=r"fastlb.db: is damaged: a document is no JSON: .*; put a backup"
            ):
                read()
        assert store.get("pool", "2000-8")


def test_a_file_can_be_read_by_others_while_it_is_open_and_their_lock_is_reported(filled):
    with (
        open_store(filled) as store,
        contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other,
    ):
        store.commit([("pool", "new", {"name": "web"})])
        assert other.execute("SELECT document ->> '$.name' FROM objects WHERE id = 'new'").fetchone() == (
            "web",
        )
        other.execute("BEGIN IMMEDIATE")
        store._writer.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(
            StoreError, match=r"database is locked .*; another program has it locked; end that"
        ):
            store.commit(rows(1))
        other.execute("ROLLBACK")
        assert store.commit(rows(1)) == 3


@contextlib.contextmanager
def without_privileges():
    """As a user who is not root sees the file system: this thread alone."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.setfsgid(65534)
    libc.setfsuid(65534)
    try:
        yield
    finally:
        libc.setfsuid(0)
        libc.setfsgid(0)


@pytest.fixture
def public():
    """A directory that users other than root can reach."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path
        path.chmod(0o755)


def test_a_directory_that_cannot_be_written_is_refused(public):
    with open_store(public) as store:
        store.commit(rows(3))
    (public / LOCK).unlink()
    (public / "fastlb.db").chmod(0o444)
    public.chmod(0o555)
    before = files(public)
    with without_privileges(), pytest.raises(StoreError) as caught:
        open_store(public)
    assert str(caught.value) == (
        f"{public / LOCK}: the lock file cannot be opened: Permission denied; "
        "give the user of this process the right to write there, or name another directory"
    )
    with (
        without_privileges(),
        pytest.raises(StoreError, match="the directory cannot be made: Permission denied"),
    ):
        open_store(public / "new")
    assert files(public) == before


def test_a_file_that_cannot_be_written_is_refused(public):
    with open_store(public) as store:
        store.commit(rows(3))
    (public / LOCK).unlink()
    (public / "fastlb.db").chmod(0o444)
    before = files(public)
    public.chmod(0o777)
    with without_privileges(), pytest.raises(StoreError, match=r"readonly database|cannot be opened"):
        open_store(public)
    assert files(public) == before
    (public / "fastlb.db").chmod(0)
    (public / LOCK).unlink()
    with (
        without_privileges(),
        pytest.raises(StoreError, match="cannot be read: Permission denied; give the user"),
    ):
        open_store(public)


def test_a_path_that_is_no_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=r"cannot be made: .*; name a directory"):
            open_store(path)
    assert files(tmp_path) == {"file": b"mine"}
    (tmp_path / LOCK).mkdir()
    with pytest.raises(StoreError, match="the lock file cannot be opened: Is a directory"):
        open_store(tmp_path)


def with_display_names(connection):
    """A migration of the kind that will be needed: a new column, and a field of every document renamed."""
    connection.execute("ALTER TABLE objects ADD COLUMN project_id TEXT NOT NULL DEFAULT ''")
    for seq, document in connection.execute("SELECT seq, document FROM objects").fetchall():
        renamed = document.replace('"name":', '"display_name":')
        connection.execute("UPDATE objects SET document = ? WHERE seq = ?", (renamed, seq))


def fails(connection):
    with_display_names(connection)
    connection.execute("DROP TABLE meta")
    raise KeyError("a field that is not there")


NEWER = (*MIGRATIONS, with_display_names)
OLD = len(MIGRATIONS)


def test_an_older_file_is_migrated_and_a_copy_of_it_kept(filled):
    kept = filled / f"fastlb.db.v{OLD}"
    kept.write_bytes(b"what a killed migration left")
    with SQLiteStore(filled, migrations=NEWER) as store:
        listed = store.list("pool")
        assert (len(listed), store.revision) == (2000, 1)
        assert listed[7] == ("pool", "2000-7", {"display_name": "x" * 200, "n": 7}, 1)
        assert store.commit(rows(1)) == 2
    assert sorted(files(filled)) == ["fastlb.db", kept.name]
    assert mode(kept) == 0o600
    with pytest.raises(
        StoreError, match=f"written by a newer fastlb; this one .* put back the copy .*{kept.name}"
    ):
        open_store(filled)
    SQLiteStore(filled, migrations=NEWER).close()  # and no second time
    shutil.copy(kept, filled / "fastlb.db")
    with open_store(filled) as store:
        assert store.get("pool", "2000-7").document["name"] == "x" * 200
        assert store.revision == 1


def test_a_killed_process_loses_nothing_to_a_migration(tmp_path):
    with Child(tmp_path, KILLED) as child:
        child.go()
        child.process.wait(30)
    with SQLiteStore(tmp_path, migrations=NEWER) as store:
        assert len(store.list("pool")) == 2001
    with contextlib.closing(sqlite3.connect(tmp_path / f"fastlb.db.v{OLD}")) as copy:
        assert copy.execute("SELECT count(*) FROM objects").fetchone() == (2001,)


def test_a_migration_that_fails_changes_nothing(filled):
    before = files(filled)
    with pytest.raises(
        StoreError, match=f"from schema version {OLD} to {OLD + 1} .*a field that is not.* it is as it was"
    ):
        SQLiteStore(filled, migrations=(*MIGRATIONS, fails))
    assert {**files(filled), f"fastlb.db.v{OLD}": None} == {**before, f"fastlb.db.v{OLD}": None}
    with open_store(filled) as store:
        assert len(store.list("pool")) == 2000


def test_a_new_file_and_a_migrated_one_have_the_same_schema(tmp_path):
    open_store(tmp_path / "old").close()
    SQLiteStore(tmp_path / "old", migrations=NEWER).close()
    SQLiteStore(tmp_path / "new", migrations=NEWER).close()
    schemas = []
    for name in ("old", "new"):
        with contextlib.closing(sqlite3.connect(tmp_path / name / "fastlb.db")) as connection:
            found = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
            schemas.append((found, connection.execute("PRAGMA user_version").fetchone()))
    assert schemas[0] == schemas[1]


def test_sqlite_is_imported_when_a_file_is_opened(tmp_path):
    source = """
import sys
import fastlb, fastlb.store, fastlb.store.memory
fastlb.store.memory.MemoryStore().close()
assert "sqlite3" not in sys.modules
fastlb.store.open_store(sys.argv[1]).close()
assert "sqlite3" in sys.modules
"""
    subprocess.run([sys.executable, "-c", source, tmp_path], check=True, timeout=60)
