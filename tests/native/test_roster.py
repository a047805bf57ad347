# SPDX-License-Identifier: Apache-2.0
"""Who is on the roster and when it is published, whatever the algorithm; picks without traffic; threads."""

import errno
import random
import threading
import time
from collections import Counter

import numpy
import pytest

ALGORITHMS = {
    "ROUND_ROBIN": 0,
    "LEAST_CONNECTIONS": 1,
    "SOURCE_IP": 2,
    "SOURCE_IP_PORT": 3,
    "RANDOM_TWO_CHOICES": 4,
    "PEAK_EWMA": 5,
    "MAGLEV": 6,
}
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
RNG = random.Random(1)
KEYS = numpy.array([RNG.getrandbits(64) for _ in range(20_000)], numpy.uint64)


@pytest.fixture(scope="module")
def new_pool(native):
    return native("roster").Pool


@pytest.fixture
def pool(new_pool):
    return new_pool(0)


def picked(pool, n=2000):
    return set(pool.simulate(n, KEYS).tolist())


def in_threads(*calls):
    """Run them at the same time; their results, in order."""
    results = [None] * len(calls)

    def run(i):
        results[i] = calls[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@every_algorithm
def test_pool_without_members_has_no_pick(new_pool, algorithm):
    pool = new_pool(algorithm)
    assert pool.pick() is None
    pool.add(1)
    pool.remove(0)
    assert pool.pick() is None


@every_algorithm
def test_every_usable_primary_is_picked_and_nobody_else(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(1, 1, 1, 0)
    pool.add(1, backup=True)
    pool.add(1, up=False)
    assert picked(pool) == {0, 1, 2}


@every_algorithm
def test_backups_serve_only_while_no_primary_is_left(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(1, 1)
    pool.add(1, 1, 2, backup=True)
    pool.set_up(0, False)
    assert picked(pool) == {1}
    pool.change_member(1, weight=0)
    assert picked(pool) == {2, 3, 4}
    pool.set_up(3, False)
    assert picked(pool) == {2, 4}
    pool.set_up(0, True)
    assert picked(pool) == {0}


@every_algorithm
def test_admin_down_takes_out_a_member_or_the_pool(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(1, 1, 1)
    pool.change_member(1, admin_up=False)
    assert picked(pool) == {0, 2}
    pool.change(algorithm, admin_up=False)
    assert pool.pick() is None
    pool.change_member(1, admin_up=True)
    assert pool.pick() is None
    pool.change(algorithm, admin_up=True)
    assert picked(pool) == {0, 1, 2}


@every_algorithm
def test_tried_members_are_not_picked_again_until_none_is_left(new_pool, algorithm):
    pool = new_pool(algorithm)
    weights = [256, 256, 1, 3, 128]
    pool.add(*weights)
    for key in KEYS[:200].tolist():
        tried = []
        while (member := pool.pick(key, tried, key)) is not None:
            assert member not in tried
            tried.append(member)
        assert sorted(tried) == list(range(5))


@every_algorithm
def test_one_member_left_among_many_tried_is_found(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(*[256] * 50, 1)
    assert pool.pick(12345, range(50)) == 50


def test_all_that_is_added_at_once_is_one_publication(pool):
    pool.add(*[1] * 100)
    assert pool.generation == 1
    pool.remove(*range(50))
    assert pool.generation == 2
    assert pool.pending == 0


def test_many_members_change_in_one_publication(pool):
    pool.add(*[1] * 100)
    before = pool.change_members(
        [(number, 2 + number % 2, False, number % 4 < 3, 7) for number in range(100)]
    )
    assert before == [(1, False, True, 0)] * 100
    assert pool.generation == 2
    heavy = [(number, 3) for number in range(100) if number % 4 == 1]
    assert pool.roster == heavy + [(number, 2) for number in range(100) if number % 2 == 0]


def test_a_change_of_many_that_one_spoils_changes_nothing(pool):
    pool.add(1, 1, 1)
    pool.remove(2, keep=True)
    pool.add(1)
    changes = [(0, 5, True, True, 0), (0, 6, True, True, 0), (1, 7, False, True, 0)]
    for spoilt, number in (((3, 257, False, True, 0), errno.EINVAL), ((2, 1, False, True, 0), errno.ENOENT)):
        with pytest.raises(OSError, match=rf"Errno {number}\b"):
            pool.change_members([*changes, spoilt])
    assert pool.roster == [(0, 1), (1, 1), (3, 1)]
    assert pool.change_members([(0, 1, False, True, 0)]) == [(1, False, True, 0)]


def test_heaviest_come_first_and_otherwise_the_pools_order(pool):
    pool.add(1, 3, 2, 3, 1, 256, 2)
    assert pool.roster == [(5, 256), (1, 3), (3, 3), (2, 2), (6, 2), (0, 1), (4, 1)]


def test_change_that_picks_cannot_see_is_not_published(pool):
    pool.add(1, 1)
    pool.add(1, backup=True)
    generation = pool.generation
    pool.set_up(2, False)
    pool.change_member(2, weight=7, backup=True)
    pool.change_member(0, weight=1)
    pool.change(0)
    assert pool.generation == generation
    pool.change_member(0, weight=2)
    assert pool.generation == generation + 1


def test_refused_changes_leave_everything_as_it_was(pool):
    pool.add(1, 1, 1)
    pool.remove(2, keep=True)
    before = pool.generation, pool.roster
    for call, code in [
        (lambda: pool.add_again(0), errno.EEXIST),
        (lambda: pool.add_again(2, 2), errno.EEXIST),
        (lambda: pool.add_again(2, 0), errno.EEXIST),
        (lambda: pool.remove(2), errno.ENOENT),
        (lambda: pool.remove(0, 2), errno.ENOENT),
        (lambda: pool.remove(1, 1), errno.ENOENT),
        (lambda: pool.change_member(2, weight=1), errno.ENOENT),
        (lambda: pool.change_member(0, weight=257), errno.EINVAL),
    ]:
        with pytest.raises(OSError, match=rf"Errno {code}\b"):
            call()
        assert (pool.generation, pool.roster) == before
    assert picked(pool) == {0, 1}


def test_member_may_leave_and_come_back(pool):
    pool.add(1, 1, 1)
    pool.remove(1, keep=True)
    assert picked(pool) == {0, 2}
    pool.add_again(1)
    assert picked(pool) == {0, 1, 2}


def test_pool_refuses_more_members_than_an_index_can_tell_apart(pool):
    for _ in range(6):
        pool.add(*[1] * 10_000)
    pool.add(*[1] * 5535)
    with pytest.raises(OSError, match=rf"Errno {errno.E2BIG}\b"):
        pool.add(1)
    assert len(pool.roster) == 65_535


@every_algorithm
def test_pool_of_thousands_works_and_shrinks_to_one(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(*[1 + i % 7 for i in range(3000)])
    assert len(picked(pool, 20_000)) > 2000
    pool.remove(*range(2999))
    assert picked(pool) == {2999}


@every_algorithm
def test_random_changes_end_where_a_fresh_pool_begins(new_pool, algorithm):
    """The roster after any history holds the same members as one built at once, and picks among exactly these."""
    rng = random.Random(algorithm)
    pool = new_pool(algorithm)
    state = {}
    for _ in range(150):
        choice = rng.randrange(6)
        if choice == 0 or len(state) < 3:
            backup = rng.random() < 0.2
            weights = [rng.choice([0, 1, 1, 2, 9]) for _ in range(rng.randrange(1, 5))]
            for number, weight in zip(pool.add(*weights, backup=backup), weights, strict=True):
                state[number] = [weight, backup, True, True]
        else:
            number = rng.choice(list(state))
            weight, backup, admin_up, up = state[number]
            if choice == 1:
                pool.remove(number)
                del state[number]
                continue
            if choice == 2:
                up = not up
                pool.set_up(number, up)
            else:
                weight, backup, admin_up = rng.choice([0, 1, 2, 256]), rng.random() < 0.2, rng.random() < 0.9
                pool.change_member(number, weight, backup, admin_up)
            state[number] = [weight, backup, admin_up, up]
        usable = {n: s for n, s in state.items() if s[0] and s[2] and s[3]}
        primaries = {n: s[0] for n, s in usable.items() if not s[1]}
        expected = primaries or {n: s[0] for n, s in usable.items()}
        assert dict(pool.roster) == expected
        found = picked(pool, 200)
        assert found <= set(expected) if expected else found == {0xFFFFFFFF}
    assert pool.pending == 0


def test_simulation_counts_sessions_and_closes_them_all(new_pool):
    for algorithm in ALGORITHMS.values():
        pool = new_pool(algorithm)
        pool.add(1, 2, 3)
        for hold in (0, 1, 7, 1000):
            assert len(pool.simulate(500, KEYS, hold=hold)) == 500
            assert [pool.active(i) for i in range(3)] == [0, 0, 0]


def test_simulation_of_a_hash_depends_on_its_keys_alone(new_pool):
    address, address_and_port = new_pool(2), new_pool(3)
    for pool in (address, address_and_port):
        pool.add(1, 1, 1, 1)
    keys, ports = KEYS[:1000], KEYS[1000:2000]
    assert (address.simulate(1000, keys, ports) == address.simulate(1000, keys)).all()
    assert (address_and_port.simulate(1000, keys, ports) == address.simulate(1000, ports)).all()


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1), (1, 1, 2), (3, 2)])
def test_round_robin_is_one_sequence_for_all_threads(new_pool, weights):
    """After any number of picks by whoever it was, counts are those of one sequence."""
    pool, alone = new_pool(0), new_pool(0)
    pool.add(*weights)
    alone.add(*weights)
    counts, expected = Counter(), Counter()
    for turn in range(30):
        n = [1000 + turn, 997, 1500 - turn]
        for numbers in in_threads(*[lambda i=i, n=n: pool.picks(n[i], i, i) for i in range(3)]):
            counts.update(numbers.tolist())
        expected.update(alone.picks(sum(n), 0).tolist())
        assert counts == expected, f"after {sum(counts.values())} picks"


@pytest.mark.parametrize("start", ALGORITHMS.values(), ids=ALGORITHMS)
def test_every_change_while_threads_pick_open_and_close(new_pool, start):
    rng = random.Random(start)
    pool = new_pool(start)
    steady = pool.add(1, 2, 3, 1, 1)
    flapping = pool.add(*[1 + i % 3 for i in range(20)])
    pool.add(1, 1, backup=True)
    deadline = time.monotonic() + 0.25

    def change():
        others = []
        while time.monotonic() < deadline:
            choice = rng.randrange(10)
            if choice < 3:
                others += pool.add(*[rng.randrange(4) for _ in range(rng.randrange(1, 9))])
            elif choice < 6 and others:
                pool.remove(others.pop(rng.randrange(len(others))))
            elif choice < 9 and others:
                pool.change_member(rng.choice(others), rng.choice([0, 1, 2, 200]), False, rng.random() < 0.8)
            else:
                pool.change(rng.choice([start, start, rng.randrange(7)]), rng.random() < 0.9)
        pool.stop()
        return True

    *workers, flaps, changed = in_threads(
        lambda: pool.work(0, 1), lambda: pool.work(1, 2), lambda: pool.flap(flapping), change
    )
    assert changed
    assert flaps
    for picks, none, repeated in workers:
        assert picks > 0
        assert none < picks
        assert not repeated
    pool.change(ALGORITHMS["LEAST_CONNECTIONS"])
    assert pool.pending == 0
    assert {(pool.active(n), sessions) for n, (_, sessions) in pool.listed().items()} == {(0, 0)}
    assert set(steady) <= set(pool.listed())
    assert {n: weight for n, (weight, _) in pool.listed().items()} == dict(pool.roster)
