# SPDX-License-Identifier: Apache-2.0
"""A pool with persistence finds any of its members again, and a table of clients where its type needs one."""

import errno
import random
import threading
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

NONE, SOURCE_IP, HTTP_COOKIE, APP_COOKIE = range(4)
TYPES = (SOURCE_IP, HTTP_COOKIE, APP_COOKIE)
A, B, C = (uuid.UUID(int=n << 64 | n).bytes for n in (1, 2, 3))


@pytest.fixture(scope="module")
def directory(native):
    return native("directory")


@pytest.fixture
def pool(directory):
    pool = directory.Pool()
    pool.configure(HTTP_COOKIE)
    return pool


def random_uuids(count, seed=1):
    rng = random.Random(seed)
    return [rng.randbytes(16) for _ in range(count)]


def test_a_pool_without_persistence_has_no_directory(directory):
    pool = directory.Pool()
    pool.add(A)
    assert pool.directory is None
    assert pool.find(pool.key(A)) is None
    assert pool.find_text(pool.text(A)) is None


@pytest.mark.parametrize("persistence", TYPES)
def test_persistence_finds_the_members_that_are_there_already(directory, persistence):
    pool = directory.Pool()
    pool.add(A, B)
    pool.configure(persistence)
    assert [pool.find(pool.key(one)) for one in (A, B)] == [A, B]
    assert pool.directory == (2, 8)


def test_an_empty_pool_has_nobody_to_find(pool):
    assert pool.find(1) is None
    assert pool.directory[0] == 0


def test_members_without_a_share_of_new_clients_are_found_too(pool):
    pool.add(A, weight=0)
    pool.add(B, backup=True)
    pool.add(C, up=False)
    assert [pool.find(pool.key(one)) for one in (A, B, C)] == [A, B, C]


def test_a_member_is_found_from_when_it_joins_until_it_is_removed(pool):
    pool.add(A)
    key = pool.key(A)
    pool.add(B)
    assert pool.find(key) == A
    pool.remove(A)
    assert pool.find(key) is None
    assert pool.find(pool.key(B)) == B


def test_a_pool_may_change_in_any_other_way_and_keeps_its_directory(pool):
    pool.add(A)
    before = pool.state[0]
    pool.configure(SOURCE_IP, algorithm=1)
    pool.configure(APP_COOKIE, b"sid", admin_up=False)
    assert pool.state[0] == before


def test_persistence_that_is_turned_off_takes_the_directory_along(pool):
    pool.add(A)
    pool.configure(NONE)
    assert pool.directory is None
    pool.add(B)
    pool.configure(SOURCE_IP)
    assert [pool.find(pool.key(one)) for one in (A, B)] == [A, B]


def test_nothing_is_left_of_old_directories(pool):
    for one in random_uuids(40):
        pool.add(one)
        pool.configure(NONE)
        pool.configure(APP_COOKIE)
        pool.remove(one)
    assert pool.pending == 0


def test_the_largest_pool_finds_everybody(pool):
    members = random_uuids(65_535)
    pool.add(*members)
    assert pool.directory == (65_535, 131_072)
    assert [pool.find(pool.key(one)) for one in members] == members
    assert [pool.find_text(pool.text(one)) for one in members[:1000]] == members[:1000]


def test_a_key_that_two_members_share_still_finds_the_right_uuid(directory):
    pool = directory.Pool()
    pool.add(A, B)
    pool.set_key(B, pool.key(A))
    pool.configure(HTTP_COOKIE)
    assert pool.find(pool.key(A)) == A
    assert pool.find_text(pool.text(A)) == A
    pool.remove(A)
    assert pool.find(directory.key_of(A)) == B
    assert pool.find_text(str(uuid.UUID(bytes=A)).encode()) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80))
def test_it_is_a_dict_of_the_members(directory, steps):
    pool = directory.Pool()
    pool.configure(SOURCE_IP)
    everybody = random_uuids(31)
    there = set()
    for joins, number in steps:
        one = everybody[number]
        if joins and one not in there:
            pool.add(one)
            there.add(one)
        elif not joins and one in there:
            pool.remove(one)
            there.remove(one)
        found = {one for one in everybody if pool.find(directory.key_of(one)) == one}
        assert found == there
        assert pool.directory[0] == len(there) <= pool.directory[1] // 2


# ---- UUIDs as text


@given(st.binary(min_size=16, max_size=16))
def test_a_uuid_is_written_as_python_writes_it_and_found_again(directory, one):
    pool = directory.Pool()
    pool.configure(HTTP_COOKIE)
    pool.add(one)
    assert pool.text(one) == str(uuid.UUID(bytes=one)).encode()
    assert pool.find_text(pool.text(one)) == one


D = uuid.UUID("0123abcd-4567-89ef-fedc-ba9876543210")


@pytest.mark.parametrize(
    "text",
    [
        "",
        str(D).upper(),
        str(D)[:-1],
        str(D) + "0",
        D.hex,
        D.hex + "----",
        "{" + str(D)[:-2] + "}",
        str(D).replace("-", "_"),
        str(D).replace("a", "A", 1),
        str(D).replace("a", "g", 1),
        str(D).replace("a", "`", 1),
        str(D).replace("9", "`", 1),  # a step below "a", as 9 is below 10
        str(D).replace("0", "/", 1),
        str(D).replace("9", ":", 1),
        str(D).replace("9", "\xb9", 1),
        " " + str(D)[1:],
        "0123abcd4-567-89ef-fedc-ba9876543210",
        str(D)[:-1] + "1",
        "1" + str(D)[1:],
    ],
)
def test_any_other_text_is_nobodys(pool, text):
    pool.add(D.bytes)
    assert pool.find_text(str(D).encode()) == D.bytes
    assert pool.find_text(text.encode("latin-1")) is None


@given(st.text("0123456789abcdefABCDEFg-", min_size=34, max_size=38))
def test_no_text_but_the_strict_form_is_read(directory, text):
    pool = directory.Pool()
    pool.configure(HTTP_COOKIE)
    try:
        named = uuid.UUID(text).bytes
    except ValueError:
        named = A
    pool.add(named)
    strict = str(uuid.UUID(bytes=named)) == text
    assert pool.find_text(text.encode()) == (named if strict else None)


# ---- in reach


def test_a_member_is_in_reach_while_it_and_its_pool_are_up_and_stay(pool):
    pool.add(A)
    assert pool.reachable(A)
    pool.set_flags(A, up=False)
    assert not pool.reachable(A)
    pool.set_flags(A, leaving=True)
    assert not pool.reachable(A)
    pool.set_flags(A)
    assert pool.reachable(A)
    pool.configure(HTTP_COOKIE, admin_up=False)
    assert not pool.reachable(A)


def test_an_ejected_member_is_out_of_reach(pool):
    pool.add(A)
    pool.set_flags(A, ejected=True)
    assert not pool.reachable(A)


def test_in_a_panic_only_members_that_leave_are_out_of_reach(pool):
    pool.add(A)
    pool.set_flags(A, up=False, ejected=True, panic=True)
    assert pool.reachable(A)
    pool.set_flags(A, leaving=True, panic=True)
    assert not pool.reachable(A)


def test_weight_0_and_being_a_backup_are_no_matter(pool):
    pool.add(A, weight=0)
    pool.add(B, backup=True)
    pool.add(C)
    assert [pool.reachable(one) for one in (A, B, C)] == [True] * 3


# ---- the table of clients


@pytest.mark.parametrize(
    ("persistence", "limit"), [(NONE, 0), (SOURCE_IP, 65_536), (HTTP_COOKIE, 0), (APP_COOKIE, 65_536)]
)
def test_only_types_that_remember_clients_have_a_table(directory, persistence, limit):
    pool = directory.Pool()
    pool.configure(persistence)
    assert pool.figures()["limit"] == limit
    assert pool.put(b"client", 7) == bool(limit)


def test_clients_stay_while_members_come_and_go_and_other_fields_change(pool):
    pool.configure(APP_COOKIE, b"sid")
    pool.add(A, B)
    pool.put(b"client", pool.key(B))
    pool.remove(A)
    pool.add(C)
    pool.configure(APP_COOKIE, b"sid", algorithm=1, admin_up=False)
    assert pool.find(pool.get(b"client")) == B


def test_only_clients_of_a_removed_member_have_none_any_more(pool):
    pool.configure(SOURCE_IP)
    members = random_uuids(5)
    pool.add(*members)
    for n in range(1000):
        pool.put(b"client %d" % n, pool.key(members[n % 5]))
    pool.remove(members[2])
    for n in range(1000):
        assert pool.find(pool.get(b"client %d" % n)) == (members[n % 5] if n % 5 != 2 else None)


@pytest.mark.parametrize(
    "change",
    [
        (SOURCE_IP, b""),
        (APP_COOKIE, b"other"),
        (APP_COOKIE, b"sidx"),
        (APP_COOKIE, b"siD"),
        (NONE, b""),
        (HTTP_COOKIE, b""),
    ],
)
def test_another_type_or_cookie_name_forgets_everybody(pool, change):
    pool.configure(APP_COOKIE, b"sid")
    pool.put(b"client", 7)
    pool.configure(*change)
    assert pool.get(b"client") == 0
    pool.configure(APP_COOKIE, b"sid")
    assert pool.get(b"client") == 0
    assert pool.figures()["entries"] == 0


def test_tables_of_two_pools_hash_differently(directory):
    """Or whoever learns to fill one chain of one pool's could do it everywhere: the seed is the pool's."""
    first, second = directory.Pool(seed=1), directory.Pool(seed=2)
    for pool in (first, second):
        pool.configure(SOURCE_IP)
        for n in range(100):
            pool.put(b"client %d" % n, 7)
    assert first.figures()["entries"] == second.figures()["entries"] == 100


# ---- memory runs out


def attempts(pool, change):
    """Make the change with ever more memory until it succeeds; how often it did not, and then all was as before."""
    for granted in range(100):
        before = pool.state
        failed = 0
        try:
            change(granted)
        except OSError as error:
            failed = error.errno
        if not failed:
            return granted
        assert failed == errno.ENOMEM
        assert pool.state == before
    raise AssertionError("it never succeeded")


@pytest.mark.parametrize("persistence", TYPES)
def test_without_memory_nothing_of_a_pool_changes(directory, persistence):
    pool = directory.Pool()
    pool.add(A)
    assert attempts(pool, lambda memory: pool.configure(persistence, b"sid", memory=memory)) >= 1
    assert attempts(pool, lambda memory: pool.add(B, C, memory=memory)) >= 2
    assert [pool.find(pool.key(one)) for one in (A, B, C)] == [A, B, C]
    key = pool.key(B)
    assert attempts(pool, lambda memory: pool.remove(B, memory=memory)) >= 2
    assert [pool.find(pool.key(A)), pool.find(key), pool.find(pool.key(C))] == [A, None, C]
    assert attempts(pool, lambda memory: pool.configure(NONE, algorithm=1, memory=memory)) >= 1
    assert pool.directory is None
    assert pool.pending == 0


# ---- threads


def test_workers_look_members_up_while_they_come_and_go_and_persistence_changes(directory):
    pool = directory.Pool()
    pool.configure(SOURCE_IP)
    members = random_uuids(48)
    keys = [directory.key_of(one) for one in members]
    pool.add(*members[:24])
    results = []

    def look_up(reader):
        results.append(pool.look_up(keys, reader))

    threads = [threading.Thread(target=look_up, args=(reader,)) for reader in range(3)]
    for thread in threads:
        thread.start()
    rng = random.Random(1)
    there = set(members[:24])
    for step in range(600):
        one = rng.choice(members)
        if one in there:
            pool.remove(one)
        else:
            pool.add(one)
        there ^= {one}
        if step % 20 == 0:
            pool.configure(rng.choice([NONE, SOURCE_IP, HTTP_COOKIE, APP_COOKIE]))
    pool.configure(SOURCE_IP)
    pool.stop()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for looks, hits, wrong in results:
        assert (looks > 0, wrong) == (True, 0)
        assert hits < looks
    assert {one for one in members if pool.find(directory.key_of(one))} == there
    assert pool.pending == 0
