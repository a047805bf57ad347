# SPDX-License-Identifier: Apache-2.0
"""Who had which member: nobody is forgotten early, the oldest go first, memory is bounded, threads meet in peace."""

import random
import subprocess
import sys
import threading
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="session")
def sticky(native):
    return native("sticky")


def test_what_was_put_is_found_and_nothing_else(sticky):
    table = sticky.Table()
    assert table.get(b"a") == 0
    assert table.put(b"a", 7)
    assert table.put(b"ab", 8)
    assert (table.get(b"a"), table.get(b"ab"), table.get(b"abc"), table.get(b"A")) == (7, 8, 0, 0)


def test_putting_again_replaces(sticky):
    table = sticky.Table()
    for member in (7, 8, 9):
        assert table.put(b"client", member)
    assert table.get(b"client") == 9
    assert table.figures()["entries"] == 1


def test_keys_are_cut_to_64_bytes(sticky):
    table = sticky.Table()
    table.put(b"k" * 64 + b"tail", 7)
    assert table.get(b"k" * 64) == table.get(b"k" * 64 + b"other") == 7
    assert table.get(b"k" * 63) == 0


def test_an_empty_key_is_nobody(sticky):
    table = sticky.Table()
    assert not table.put(b"", 7)
    assert table.get(b"") == 0
    assert table.figures()["entries"] == 0


def test_keys_may_hold_any_bytes(sticky):
    table = sticky.Table()
    keys = [bytes(n) for n in range(1, 65)] + [b"\0\xff" * n for n in range(1, 33)]
    for member, key in enumerate(keys, 1):
        table.put(key, member)
    assert [table.get(key) for key in keys] == list(range(1, len(keys) + 1))


def test_no_table_remembers_nobody(sticky):
    assert sticky.without_a_table() == (0, False, {"entries": 0, "bytes": 0, "evicted": 0, "limit": 0})


@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_clients_stay(sticky, seed):
    table = sticky.Table(seed=seed)
    assert table.put_numbers(0, 10_000) == 10_000
    assert table.count_numbers(0, 10_000) == (10_000, 10_000)
    assert table.figures()["evicted"] == 0
    table.check()


def test_nobody_is_given_up_before_the_table_is_full(sticky):
    table = sticky.Table()
    table.put_numbers(0, sticky.LIMIT)
    assert table.count_numbers(0, sticky.LIMIT) == (sticky.LIMIT, sticky.LIMIT)
    assert table.figures()["evicted"] == 0
    counts = table.check()
    assert len(counts) == sticky.SHARDS
    assert max(counts) < 1.1 * min(counts)


def test_a_full_table_stays_as_large_as_it_is(sticky):
    table = sticky.Table()
    table.put_numbers(0, sticky.LIMIT)
    full = table.figures()
    table.put_numbers(sticky.LIMIT, 3 * sticky.LIMIT)
    after = table.figures()
    assert after["entries"] == sticky.LIMIT
    assert after["evicted"] == 3 * sticky.LIMIT
    assert after["bytes"] == full["bytes"] <= 8_100_000
    table.check()


def test_a_full_table_keeps_those_who_come_back(sticky):
    """Ten thousand of them, among three times as many strangers as the table holds."""
    table = sticky.Table()
    table.put_numbers(0, 10_000)
    for stranger in range(10_000, 200_000, 20_000):
        table.put_numbers(stranger, 20_000)
        assert table.count_numbers(0, 10_000) == (10_000, 10_000)


def test_the_one_used_last_longest_ago_goes_first(sticky):
    table = sticky.Table(limit=3)
    for name in b"abc":
        table.put(bytes([name]), name)
    table.get(b"a")
    table.put(b"b", 1)
    table.put(b"d", 4)  # c has been longest away
    assert [table.get(key) for key in (b"a", b"b", b"c", b"d")] == [ord("a"), 1, 0, 4]
    table.put(b"e", 5)
    assert table.get(b"a") == 0
    assert table.figures()["evicted"] == 2


@pytest.mark.parametrize("limit", [1, 2, 64, 65, 1023])
def test_any_small_limit_is_kept_exactly(sticky, limit):
    table = sticky.Table(limit=limit)
    table.put_numbers(0, 3000)
    assert table.figures()["entries"] == limit
    assert table.count_numbers(3000 - limit, limit) == (limit, limit)
    assert table.count_numbers(0, 3000 - limit) == (0, 0)
    assert len(table.check()) == 1


@pytest.mark.parametrize("limit", [1024, 1025, 5000, 65_535])
def test_any_large_limit_is_kept_exactly(sticky, limit):
    table = sticky.Table(limit=limit)
    table.put_numbers(0, 3 * limit)
    assert table.figures()["entries"] == limit
    assert table.count_numbers(0, 3 * limit) == (limit, limit)
    table.check()


def test_a_limit_is_at_most_65536_and_at_least_1(sticky):
    assert sticky.Table(limit=0).figures()["limit"] == 1
    assert sticky.Table(limit=1_000_000).figures()["limit"] == sticky.LIMIT == 65_536


def test_memory_follows_the_entries(sticky):
    table = sticky.Table()
    empty = table.figures()["bytes"]
    assert empty < 20_000
    for total in (1, 100, 1000, 10_000, 65_536):
        table.put_numbers(0, total)
        blocks = (table.figures()["bytes"] - empty) // sticky.BLOCK_BYTES
        assert blocks * sticky.ENTRIES_A_BLOCK >= total
        # Each of the sixteen shards has one block that is not full, and shards are not quite alike.
        assert blocks <= total / sticky.ENTRIES_A_BLOCK + sticky.SHARDS


def test_a_cleared_table_is_empty_and_its_memory_given_back(sticky):
    table = sticky.Table()
    empty = table.figures()
    table.put_numbers(0, 70_000)
    table.clear()
    assert table.count_numbers(0, 70_000) == (0, 0)
    assert table.figures() == {**empty, "evicted": 70_000 - sticky.LIMIT}
    table.put_numbers(0, 1000)
    assert table.count_numbers(0, 1000) == (1000, 1000)
    table.check()


def test_without_memory_nobody_new_is_remembered_and_nothing_is_lost(sticky):
    table = sticky.Table(limit=1000)
    assert not table.put_without_memory(b"first", 1)
    assert table.figures()["entries"] == 0
    table.put_numbers(0, sticky.ENTRIES_A_BLOCK)
    before = table.figures()
    assert not table.put_without_memory(b"one more", 1)
    assert table.figures() == before
    assert table.put(b"one more", 1)
    assert table.count_numbers(0, sticky.ENTRIES_A_BLOCK) == (sticky.ENTRIES_A_BLOCK,) * 2
    table.check()


@pytest.mark.parametrize(("key", "member"), [(b"client", 7), (b"another", 7)])
def test_two_threads_may_want_the_same_memory_at_once(sticky, key, member):
    """Nothing is locked while memory is asked for, so another thread may bring it first, or the very same client."""
    table = sticky.Table(limit=1000)
    assert table.put_while_another_does(key, member) == (True, True)
    assert table.get(key) == member
    assert table.get(b"client") == (member if key == b"client" else 8)
    table.check()
    table.put_numbers(0, 2 * sticky.ENTRIES_A_BLOCK)
    assert table.figures()["entries"] == 2 * sticky.ENTRIES_A_BLOCK + len({key, b"client"})
    table.check()


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 12),
    seed=st.integers(0, 2**64 - 1),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["get", "put", "put", "clear"]), st.integers(0, 15), st.integers(1, 2**64 - 1)
        ),
        max_size=120,
    ),
)
def test_it_is_an_ordered_dict_of_bounded_size(sticky, limit, seed, steps):
    table = sticky.Table(limit=limit, seed=seed)
    oracle: OrderedDict[bytes, int] = OrderedDict()
    for what, client, member in steps:
        key = b"client-%d" % client * (client + 1)
        if what == "clear":
            if client == 0:
                table.clear()
                oracle.clear()
            continue
        if what == "put":
            table.put(key, member)
            oracle[key[:64]] = member
            oracle.move_to_end(key[:64])
            if len(oracle) > limit:
                oracle.popitem(last=False)
        elif key[:64] in oracle:
            oracle.move_to_end(key[:64])
        assert (table.get(key) if what == "get" else member) == oracle.get(key[:64], 0)
    table.check()
    assert table.figures()["entries"] == len(oracle)
    assert {key: table.get(key) for key in oracle} == oracle


def test_the_hash_is_siphash_1_3(sticky):
    """CPython hashes bytes with it, and under PYTHONHASHSEED=0 with a key of zeros."""
    if sys.hash_info.algorithm != "siphash13":
        pytest.skip("this Python hashes bytes in another way")
    texts = [bytes(range(n)) for n in range(1, 65)]
    code = f"print(*[hash(text) for text in {texts!r}])"
    said = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True
    ).stdout
    theirs = [int(value) % 2**64 for value in said.split()]
    assert [sticky.keyed(text, 0, 0) for text in texts] == theirs


def test_both_halves_of_the_key_and_the_length_matter_to_the_hash(sticky):
    seen = {sticky.keyed(bytes(n), a, b) for n in range(20) for a in (0, 1) for b in (0, 1)}
    assert len(seen) == 80


def test_threads_find_what_they_put_while_others_put(sticky):
    """Four threads, each with clients of its own, all with some that they share; nobody needs to be given up."""
    table = sticky.Table()
    assert hammered(table, own=6000, rounds=3) == 0
    for thread in range(4):
        first = 1000 + thread * 6000
        assert table.count_numbers(first, 6000) == (6000, 6000)
    assert table.figures()["evicted"] == 0
    table.check()


@pytest.mark.parametrize("limit", [100, 2000])
def test_threads_keep_the_limit_of_a_full_table_together(sticky, limit):
    table = sticky.Table(limit=limit)
    assert hammered(table, own=5000, rounds=2) == 0
    assert table.figures()["entries"] == limit
    table.check()


def test_threads_may_go_on_while_the_table_is_cleared(sticky):
    table = sticky.Table()
    threads = [
        threading.Thread(target=table.hammer, args=(1000 + n * 4000, 4000, 1000, 3, n)) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        table.clear()
        table.figures()
    for thread in threads:
        thread.join()
    table.check()
    table.clear()
    assert table.figures()["entries"] == 0
    assert table.figures()["bytes"] == sticky.Table().figures()["bytes"]


def hammered(table, own, rounds):
    """Wrong answers that four threads got."""
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    wrong = []

    def work(number):
        wrong.append(table.hammer(1000 + number * own, own, 1000, rounds, seed + number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 4
    return sum(wrong)
