# SPDX-License-Identifier: Apache-2.0
"""The store: one row and 10,000, written and listed; alone, and beside a thread that computes.

    make bench B=store

Files are made in a temporary folder, so what FULL costs is that folder's disk. "row by row" is what the standard
library's cursor does, which gives the GIL away at each row: the reason why the store does it otherwise.
"""

import contextlib
import itertools
import sqlite3
import threading
import uuid

import msgspec
import pytest

from fastlb.store import open_store
from fastlb.store.memory import MemoryStore

COUNT = 10_000


def member(number):
    """(type, id, document) of about 400 bytes"""
    document = {
        "name": f"web-{number}",
        "address": "198.51.100.7",
        "protocol_port": 8080,
        "weight": 1,
        "pool": str(uuid.uuid4()),
        "project_id": str(uuid.uuid4()),
        "tags": ["blue", "canary"],
        "created_at": "2030-01-01T00:00:00",
        "filling": "x" * 150,
    }
    return ("member", str(uuid.uuid4()), document)


@pytest.fixture(params=["memory", "OFF", "NORMAL", "FULL"])
def store(request, tmp_path):
    kind = request.param
    with MemoryStore() if kind == "memory" else open_store(tmp_path, synchronous=kind) as store:
        yield store


@pytest.fixture
def rows():
    return [member(number) for number in range(COUNT)]


@contextlib.contextmanager
def computing(really):
    done = threading.Event()

    def compute():
        while not done.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    if really:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if really:
            thread.join()


def test_commit_one(benchmark, store, rows):
    store.commit(rows)
    turns = itertools.cycle(rows)
    benchmark.group = "commit of one row, 10,000 there"
    benchmark(lambda: store.commit([next(turns)]))


def test_get(benchmark, store, rows):
    store.commit(rows)
    turns = itertools.cycle(rows)
    benchmark.group = "get"
    benchmark(lambda: store.get("member", next(turns)[1]))


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "busy"])
@pytest.mark.parametrize("what", ["put", "drop"])
def test_commit_many(benchmark, store, rows, what, busy):
    drops = [(type_, id_) for type_, id_, _ in rows]

    def setup():
        store.commit(*(((), drops) if what == "put" else (rows,)))

    benchmark.group = f"{what} 10,000 rows in one commit" + ", beside a busy thread" * busy
    with computing(busy):
        benchmark.pedantic(
            store.commit, args=(rows,) if what == "put" else ((), drops), setup=setup, rounds=5
        )


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "busy"])
def test_list(benchmark, store, rows, busy):
    store.commit(rows)
    benchmark.group = "list 10,000 rows" + ", beside a busy thread" * busy
    with computing(busy):
        benchmark.pedantic(store.list, args=("member",), rounds=5)


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "busy"])
def test_list_row_by_row(benchmark, tmp_path, rows, busy):
    with open_store(tmp_path, synchronous="OFF") as store:
        store.commit(rows)
    query = "SELECT id, revision, document FROM objects WHERE type = 'member' ORDER BY seq"
    decode = msgspec.json.Decoder().decode
    benchmark.group = "list 10,000 rows" + ", beside a busy thread" * busy
    with contextlib.closing(sqlite3.connect(tmp_path / "fastlb.db")) as connection, computing(busy):
        benchmark.pedantic(
            lambda: [(id_, revision, decode(text)) for id_, revision, text in connection.execute(query)],
            rounds=2,
        )


def test_open(benchmark, tmp_path, rows):
    with open_store(tmp_path) as store:
        store.commit(rows)
    benchmark.group = "open and close a file of 10,000 rows"
    benchmark(lambda: open_store(tmp_path).close())
