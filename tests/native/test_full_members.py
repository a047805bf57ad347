# SPDX-License-Identifier: Apache-2.0
"""Members with a maximum of sessions: a full one is passed over, whatever the algorithm; nobody left: full or tried."""

import random

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
KEYS = [RNG.getrandbits(64) for _ in range(300)]


@pytest.fixture
def new_pool(native):
    return native("roster").Pool


@every_algorithm
@pytest.mark.parametrize("weights", [(1, 1, 1), (200, 3, 1)])
def test_each_member_gets_its_maximum_and_no_session_more(new_pool, algorithm, weights):
    pool = new_pool(algorithm)
    pool.add(*weights, max_connections=4)
    got = []
    for key in KEYS[:12]:
        got.append(pool.pick(key, port_key=key))
        pool.opened(got[-1])
    assert sorted(got) == [0] * 4 + [1] * 4 + [2] * 4
    assert pool.pick(KEYS[12]) == "full"
    pool.closed(1)
    assert [pool.pick(key, port_key=key) for key in KEYS] == [1] * len(KEYS)


@every_algorithm
def test_member_without_a_maximum_takes_what_the_full_ones_do_not(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(256, 256, max_connections=1)
    pool.add(1)
    pool.opened(0)
    pool.opened(1)
    assert {pool.pick(key, port_key=key) for key in KEYS} == {2}


@every_algorithm
def test_full_and_tried_are_told_apart(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(1, 1, max_connections=1)
    assert pool.pick(tried=[0, 1]) is None
    pool.opened(1)
    assert pool.pick(tried=[0]) == "full"
    assert pool.pick(tried=[0, 1]) is None  # full too, but it would not be asked again anyway
    pool.change_member(0, max_connections=1, admin_up=False)
    assert pool.pick() == "full"
    pool.change_member(1, max_connections=1, admin_up=False)
    assert pool.pick() is None


@every_algorithm
def test_maximum_that_changes_counts_at_once(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(1)
    pool.opened(0)
    pool.opened(0)
    assert pool.pick() == 0
    pool.change_member(0, max_connections=2)
    assert pool.pick() == "full"
    pool.change_member(0, max_connections=3)
    assert pool.pick() == 0
    pool.change_member(0, max_connections=1)
    pool.change_member(0, max_connections=0)
    assert pool.pick() == 0


def test_only_the_first_maximum_and_the_last_are_publications(new_pool):
    pool = new_pool(0)
    pool.add(1, 1)
    generation = pool.generation
    pool.change_member(0, max_connections=2)
    assert pool.generation == generation + 1
    pool.change_member(0, max_connections=3)
    pool.change_member(1, max_connections=3)
    assert pool.generation == generation + 1
    pool.change_member(0)
    pool.change_member(1)
    assert pool.generation == generation + 2


@every_algorithm
def test_last_place_is_given_once(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(1, max_connections=2)
    assert [pool.opened_within(0) for _ in range(4)] == [True, True, False, False]
    assert pool.active(0) == 2
    pool.closed(0)
    assert pool.opened_within(0)
    pool.change_member(0)
    assert pool.opened_within(0)
    if algorithm == ALGORITHMS["LEAST_CONNECTIONS"]:
        assert pool.listed() == {0: (1, 3)}
