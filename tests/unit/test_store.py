# SPDX-License-Identifier: Apache-2.0
"""What every store does: rows, revisions, commits of all or nothing, watches; over each kind of store."""

import itertools
import threading
import types

import pytest

from fastlb import StoreError
from fastlb.store import Commit, Row, open_store
from fastlb.store.memory import MemoryStore
from fastlb.testing import eventually


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    # What only a power cut can show is not shown here: no waiting for the disk.
    with MemoryStore() if request.param == "memory" else open_store(tmp_path, synchronous="OFF") as store:
        yield store


class Heard(list):
    """A watcher that keeps the commits it is told of."""

    def __call__(self, commit):
        self.append(commit)

    @property
    def revisions(self):
        return [commit.revision for commit in self]


def put(id_, type_="pool", **document):
    return (type_, id_, document)


def ids(store, type_="pool"):
    return [row.id for row in store.list(type_)]


def test_a_new_store_is_empty_and_at_revision_0(store):
    assert store.revision == 0
    assert store.get("pool", "a") is None
    assert store.list("pool") == []


def test_a_row_comes_back_with_the_revision_of_its_last_commit(store):
    assert store.commit([put("a", name="one"), put("b", name="two")]) == 1
    assert store.commit([put("a", name="three")]) == store.revision == 2
    assert store.get("pool", "a") == Row("pool", "a", {"name": "three"}, 2)
    assert store.get("pool", "b") == Row("pool", "b", {"name": "two"}, 1)


def test_the_same_id_under_another_type_is_another_row(store):
    store.commit([put("a", "pool", n=1), put("a", "listener", n=2)])
    store.commit([], [("pool", "a")])
    assert store.get("pool", "a") is None
    assert store.get("listener", "a").document == {"n": 2}
    assert (ids(store, "pool"), ids(store, "listener")) == ([], ["a"])


def test_rows_are_listed_in_the_order_of_creation(store):
    store.commit([put("c"), put("a")])
    store.commit([put("b"), put("x", "member")])
    assert ids(store) == ["c", "a", "b"]
    assert ids(store, "member") == ["x"]
    assert ids(store, "nothing") == []


def test_a_later_put_keeps_its_place_and_a_put_after_a_drop_comes_last(store):
    store.commit([put("a"), put("b"), put("c")])
    store.commit([put("a", name="changed")])
    assert ids(store) == ["a", "b", "c"]
    store.commit([], [("pool", "b")])
    assert ids(store) == ["a", "c"]
    store.commit([put("b")])
    assert ids(store) == ["a", "c", "b"]
    store.commit([], [("pool", "b")])
    store.commit([put("d"), put("b")])
    assert ids(store) == ["a", "c", "d", "b"]


@pytest.mark.parametrize(("puts", "drops"), [([], []), ([], [("pool", "nowhere")]), (iter(()), iter(()))])
def test_a_commit_of_nothing_does_nothing(store, puts, drops):
    store.commit([put("a")])
    heard = Heard()
    store.watch(heard)
    assert store.commit(puts, drops) == store.revision == 1
    store.commit([put("b")])
    eventually(lambda: heard)
    assert heard.revisions == [2]


def test_of_two_puts_the_later_counts_and_a_drop_beats_a_put(store):
    heard = Heard()
    store.watch(heard)
    store.commit([put("old")])
    store.commit(
        [put("a", n=1), put("b"), put("a", n=2), put("old", n=3), put("c")], [("pool", "old"), ("pool", "c")]
    )
    assert store.list("pool") == [Row("pool", "a", {"n": 2}, 2), Row("pool", "b", {}, 2)]
    eventually(lambda: len(heard) == 2)
    assert heard[1] == Commit(2, (Row("pool", "a", {"n": 2}, 2), Row("pool", "b", {}, 2)), (("pool", "old"),))


def test_generators_and_any_mapping_are_taken(store):
    document = types.MappingProxyType({"name": "web"})
    store.commit(("pool", str(number), document) for number in range(3))
    assert ids(store) == ["0", "1", "2"]
    store.commit((), (("pool", str(number)) for number in range(2)))
    assert store.list("pool") == [Row("pool", "2", {"name": "web"}, 1)]


DOCUMENT = {
    "name": "Zürich \N{SNOWMAN} \0 \" ' \\ \U0001f600",
    "weights": [1, -(2**63), 2**64 - 1, 1.5],
    "none": None,
    "true": True,
    "nested": {"": [{}, []]},
}


def test_documents_come_back_as_json_holds_them(store):
    store.commit([put("a", **DOCUMENT), put("b", pair=(1, 2))])
    assert store.get("pool", "a").document == DOCUMENT
    assert store.get("pool", "b").document == {"pair": [1, 2]}
    names = ["", "a'b\"c", "\0", "Ü", "%", "_"]
    store.commit([(name, name, {}) for name in names])
    for name in names:
        assert store.list(name) == [Row(name, name, {}, 2)]


def test_documents_are_copies_on_the_way_in_and_out(store):
    document = {"tags": ["a"]}
    heard = Heard()
    store.watch(heard)
    store.commit([("pool", "a", document)])
    document["tags"].append("b")
    store.get("pool", "a").document["tags"].append("c")
    store.list("pool")[0].document["tags"].append("d")
    assert store.get("pool", "a").document == {"tags": ["a"]}
    eventually(lambda: heard)
    assert heard[0].puts[0].document == {"tags": ["a"]}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (("pool", "b", {"value": object()}), TypeError),
        (("pool", "b", ["no", "mapping"]), TypeError),
        (("pool", "b", None), TypeError),
        (("pool", 7, {}), TypeError),
        ((None, "b", {}), TypeError),
        (("pool", "b"), ValueError),
        (("pool", "half of a pair: \ud83d", {}), ValueError),
        (("pool", "b", {"name": "half of a pair: \ud83d"}), ValueError),
    ],
)
def test_what_is_no_row_is_refused_and_nothing_of_its_commit_is_written(store, wrong, error):
    with pytest.raises(error):
        store.commit([put("a"), wrong])
    assert (store.revision, store.list("pool")) == (0, [])
    with pytest.raises(TypeError):
        store.commit([put("a")], [("pool", 7)])
    assert (store.revision, store.list("pool")) == (0, [])
    assert store.commit([put("a")]) == 1


def test_watchers_hear_commits_in_order_whoever_makes_them(store):
    heard, late = Heard(), Heard()
    store.watch(heard)

    def write(thread):
        for number in range(50):
            store.commit([put(f"{thread}-{number}")])

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.watch(late)
    assert store.commit([put("last")]) == 201
    eventually(lambda: len(heard) == 201 and late)
    assert heard.revisions == list(range(1, 202))
    assert [commit.puts[0].id for commit in heard] == ids(store)
    assert late.revisions == [201]


def test_a_stopped_watcher_hears_no_more(store):
    first, second = Heard(), Heard()
    stop = store.watch(first)
    store.watch(second)
    store.commit([put("a")])
    eventually(lambda: first)
    stop()
    stop()
    store.commit([put("b")])
    eventually(lambda: second.revisions == [1, 2])
    assert first.revisions == [1]


def test_a_watcher_that_another_one_stops_is_not_called_for_the_same_commit(store):
    heard = Heard()
    stops = []
    store.watch(lambda commit: stops[0]())
    stops.append(store.watch(heard))
    store.commit([put("a")])
    store.close()
    assert heard == []


def test_a_callback_watched_twice_is_called_twice_and_stopped_one_by_one(store):
    heard = Heard()
    stop, _ = store.watch(heard), store.watch(heard)
    store.commit([put("a")])
    eventually(lambda: heard.revisions == [1, 1])
    stop()
    store.commit([put("b")])
    store.close()
    assert heard.revisions == [1, 1, 2]


def test_a_callback_may_read_and_commit_and_stop_itself(store):
    heard = Heard()

    def callback(commit):
        heard(commit)
        assert store.revision >= commit.revision
        assert store.get("pool", commit.puts[0].id)
        if commit.revision < 3:
            store.commit([put(f"after-{commit.revision}")])
        else:
            stop()

    stop = store.watch(callback)
    store.commit([put("a")])
    eventually(lambda: len(heard) == 3)
    store.commit([put("b")])
    store.close()
    assert heard.revisions == [1, 2, 3]


def test_a_commit_waits_for_no_watcher_even_one_that_wants_a_lock_of_the_committer(store):
    lock = threading.Lock()
    heard = Heard()

    def callback(commit):
        with lock:
            heard(commit)

    store.watch(callback)
    with lock:
        store.commit([put("a")])
        assert store.commit([put("b")]) == 2
        assert not heard
    eventually(lambda: heard.revisions == [1, 2])


def test_a_watcher_that_raises_is_logged_and_hurts_nobody(store, caplog):
    heard = Heard()

    def broken(commit):
        raise RuntimeError("this watcher is broken")

    store.watch(broken)
    store.watch(heard)
    store.commit([put("a")])
    assert store.commit([put("b")], [("pool", "a")]) == 2
    store.close()
    assert heard.revisions == [1, 2]
    assert [record.name for record in caplog.records] == ["fastlb", "fastlb"]
    assert "a watcher of the store failed on revision 2 (1 written, 1 dropped)" in caplog.text
    assert "this watcher is broken" in caplog.text


def test_closing_tells_what_is_due_and_a_watcher_may_still_read(store):
    seen = []
    go = threading.Event()

    def callback(commit):
        go.wait(10)
        seen.append(ids(store))

    store.watch(callback)
    store.commit([put("a")])
    store.commit([put("b")])
    threading.Timer(0.05, go.set).start()
    store.close()
    assert seen == [["a", "b"], ["a", "b"]]


def test_a_watcher_may_close_the_store(store):
    store.watch(lambda commit: store.close())
    store.commit([put("a")])
    eventually(lambda: "closed" in repr(store))


def test_no_thread_is_left_by_watchers_that_are_gone(store):
    def watching():
        return [thread for thread in threading.enumerate() if thread.name == "fastlb-store-watch"]

    stop = store.watch(Heard())
    assert len(watching()) == 1
    stop()
    eventually(lambda: not watching())
    heard = Heard()
    store.watch(heard)
    store.commit([put("a")])
    store.close()
    assert heard.revisions == [1]
    assert not watching()


def test_a_closed_store_refuses_and_may_be_closed_again(store):
    store.commit([put("a")])
    store.close()
    store.close()
    for call in (
        lambda: store.get("pool", "a"),
        lambda: store.list("pool"),
        lambda: store.commit([put("b")]),
        lambda: store.watch(Heard()),
    ):
        with pytest.raises(StoreError, match="closed") as caught:
            call()
        assert caught.value.status == 500


def test_a_list_is_of_one_commit_while_others_write(store):
    """Each commit writes the same number into ten rows: a list that shows two numbers is torn."""
    store.commit([put(str(row), n=0) for row in range(10)])
    enough = threading.Event()

    def write():
        for number in itertools.count(1):
            store.commit([put(str(row), n=number) for row in range(10)])
            if enough.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()

    def read():
        rows = store.list("pool")
        assert len({row.document["n"] for row in rows}) == 1
        assert len({row.revision for row in rows}) == 1
        seen.add(rows[0].revision)
        return len(seen) > 20

    try:
        eventually(read)
    finally:
        enough.set()
        writer.join()
