# SPDX-License-Identifier: Apache-2.0
"""The store in a file on bad days: no room, a kill, a log that was torn by a power cut, a Ctrl-C."""

import contextlib
import linecache
import random
import resource
import shutil
import subprocess
import sys
import threading

import pytest

from fastlb import StoreError
from fastlb.store import open_store
from fastlb.store.sqlite import SQLiteStore
from fastlb.testing import eventually

ROWS = 10
EVERY, MANY = 5, 1500  # each fifth commit writes that many rows: more than SQLite's cache holds


def write(store):
    """A commit in which everything tells its number: ten rows each time, many at times; one is added, one dropped."""
    number = store.revision + 1
    puts = [("pool", str(row), {"n": number}) for row in range(ROWS)]
    if number % EVERY == 0:
        puts += [("member", str(row), {"n": number, "filling": "x" * 1000}) for row in range(MANY)]
    puts.append(("added", str(number), {"n": number}))
    return store.commit([*puts, ("last", str(number), {})], [("last", str(number - 1))])


def check(store):
    """The store is as some whole number of commits left it; how many."""
    number = store.revision
    assert {row.document["n"] for row in store.list("pool")} == ({number} if number else set())
    assert {row.revision for row in store.list("pool")} == ({number} if number else set())
    assert {row.document["n"] for row in store.list("member")} == ({number - number % EVERY} - {0})
    assert len(store.list("member")) == (MANY if number >= EVERY else 0)
    assert [row.document["n"] for row in store.list("added")] == list(range(1, number + 1))
    assert [row.id for row in store.list("last")] == ([str(number)] if number else [])
    return number


WRITER = f"""
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("store_crash", {__file__!r})
crash = importlib.util.module_from_spec(spec)
spec.loader.exec_module(crash)
store = crash.open_store(sys.argv[1])
"""


def python(source, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER + source, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_process_killed_at_any_moment_loses_no_commit_that_returned(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    moments = random.Random(seed)
    acknowledged = 0
    for _ in range(8):
        writer = python(
            "print('ready', flush=True)\nwhile True: print(crash.write(store), flush=True)", tmp_path
        )
        assert writer.stdout.readline() == "ready\n", writer.stderr.read()
        timer = threading.Timer(moments.uniform(0, 0.15), writer.kill)
        timer.start()
        said, errors = writer.communicate()
        timer.join()
        assert not errors
        assert writer.returncode == -9
        whole = said.rpartition("\n")[0].split()
        acknowledged = int(whole[-1]) if whole else acknowledged
        with open_store(tmp_path) as store:
            # One more may be there: durable, and killed before it could say so.
            assert acknowledged <= check(store) <= acknowledged + 1
            acknowledged = store.revision
    assert acknowledged > 20


def test_a_log_torn_at_any_place_leaves_whole_commits(tmp_path):
    """A power cut may keep any beginning of what was written since the last sync, and garbage after it."""
    source = """
for _ in range(12): crash.write(store)
os.kill(os.getpid(), 9)
"""
    writer = python(source, tmp_path / "whole")
    writer.communicate()
    assert writer.returncode == -9
    log = (tmp_path / "whole" / "fastlb.db-wal").read_bytes()
    generator = random.Random(1)
    found = set()
    # All places in the last commits are of interest, and some in the large ones before.
    places = sorted({*range(len(log) - 40_000, len(log) + 1, 1000), *generator.sample(range(len(log)), 20)})
    for place in places:
        copy = tmp_path / "torn"
        shutil.copytree(tmp_path / "whole", copy)
        (copy / "fastlb.db-shm").unlink()  # after a power cut it is not believed anyway
        (copy / "fastlb.db-wal").write_bytes(log[:place] + generator.randbytes(5000))
        with open_store(copy, synchronous="OFF") as store:
            found.add(check(store))
            write(store)
            check(store)
        shutil.rmtree(copy)
    assert found >= {11, 12}


@contextlib.contextmanager
def files_limited_to(size):
    """No file of this process grows beyond that: what a full disk is, without one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("more_bytes", [0, 100, 5000, 50_000, 500_000])
def test_a_commit_that_cannot_be_written_changes_nothing_and_may_be_tried_again(tmp_path, more_bytes):
    heard = []
    with open_store(tmp_path) as store:
        while store.revision < 2 * EVERY - 1:  # the next one is large
            write(store)
        store.watch(heard.append)
        log = (tmp_path / "fastlb.db-wal").stat().st_size
        with files_limited_to(log + more_bytes):
            for _ in range(3):
                with pytest.raises(StoreError, match=r"fastlb\.db: .*(IOERR|FULL).*room") as caught:
                    write(store)
                assert caught.value.status == 500
                assert check(store) == 2 * EVERY - 1
        assert write(store) == check(store) == 2 * EVERY
        eventually(lambda: heard)
        assert [commit.revision for commit in heard] == [2 * EVERY]
    with open_store(tmp_path) as store:
        assert check(store) == 2 * EVERY


def test_a_store_that_cannot_be_made_leaves_nothing_that_looks_like_one(tmp_path):
    with files_limited_to(3000), pytest.raises(StoreError, match="room"):
        open_store(tmp_path)
    assert not (tmp_path / "fastlb.db").exists()
    with open_store(tmp_path) as store:
        assert check(store) == 0


def test_a_migration_without_room_leaves_the_file_as_it_was(tmp_path):
    from fastlb.store.migrations import MIGRATIONS

    def larger(connection):
        connection.execute("UPDATE objects SET document = document || ?", (" " * 5000,))

    with open_store(tmp_path, synchronous="OFF") as store:
        while store.revision < EVERY:
            write(store)
    whole = (tmp_path / "fastlb.db").read_bytes()
    for room in (len(whole) // 2, len(whole) + 10_000):
        with files_limited_to(room), pytest.raises(StoreError, match=r"IOERR|FULL|disk"):
            SQLiteStore(tmp_path, migrations=(*MIGRATIONS, larger))
        assert (tmp_path / "fastlb.db").read_bytes() == whole
    with SQLiteStore(tmp_path, migrations=(*MIGRATIONS, larger)) as store:
        assert check(store) == EVERY


FULL_DISK = """
ballast = os.path.join(sys.argv[1], "ballast")
with open(ballast, "wb", buffering=0) as file:
    try:
        while True: file.write(bytes(4096))
    except OSError as error:
        assert error.errno == 28, error
for _ in range(2):
    reached = store.revision
    try:
        while True: reached = crash.write(store)
    except crash.StoreError as error:
        assert "database or disk is full (SQLITE_FULL); make room" in str(error), error
    assert crash.check(store) == reached
store.close()
store = crash.open_store(sys.argv[1])
assert crash.check(store) == reached
os.unlink(ballast)
while store.revision < reached + 3: crash.write(store)
assert crash.check(store) == reached + 3
print("whole", flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_full_file_system_loses_nothing(tmp_path):
    """A tmpfs of 16 MiB, in a mount namespace of the child's own."""
    script = 'mount -t tmpfs -o size=16m none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", tmp_path, sys.executable, WRITER + FULL_DISK]
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unshare: " in done.stderr or "mount: " in done.stderr:
        pytest.skip(f"needs a user namespace: {done.stderr}")
    assert (done.stdout, done.stderr) == ("whole\n", "")


def test_a_ctrl_c_anywhere_in_a_commit_leaves_it_done_or_undone(tmp_path):
    """Raised before each line of the store in turn, as a signal's would be."""
    lines = 0

    class Interrupt:
        def __init__(self, at):
            self.left = at

        def __call__(self, frame, event, argument):
            file = frame.f_code.co_filename
            if "/fastlb/store/" not in file:
                return None
            # A tracer gets in where CPython lets no signal in: between a lock and the block that it guards.
            line = linecache.getline(file, frame.f_lineno).lstrip()
            if event == "line" and not line.startswith(("with ", "try:")):
                self.left -= 1
                if self.left == 0:
                    raise KeyboardInterrupt
            return self

    with open_store(tmp_path, synchronous="OFF") as store:
        store.commit([("pool", str(row), {"n": 0}) for row in range(ROWS)])
        while True:
            lines += 1
            before = store.revision
            tracing = sys.gettrace()
            sys.settrace(Interrupt(lines))
            try:
                puts = [("pool", str(row), {"n": before + 1}) for row in range(ROWS)]
                store.commit(puts, [("pool", "nowhere")])
            except KeyboardInterrupt:
                pass
            else:
                break
            finally:
                sys.settrace(tracing)
            listed = {(row.document["n"], row.revision) for row in store.list("pool")}
            assert len(listed) == 1
            n, revision = listed.pop()
            assert revision == store.revision
            assert n in (before, before + 1) if revision > before else n <= before
            store.commit([("pool", str(row), {"n": store.revision + 1}) for row in range(ROWS)])
    assert lines > 20
