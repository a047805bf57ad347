# SPDX-License-Identifier: Apache-2.0
"""Who serves when few are up: the panic threshold, and members that are ejected."""

import pytest

HALF = 50
FOR_5XX, FOR_CONNECTS = 1, 2


@pytest.fixture
def pool(native):
    pool = native("roster").Pool(0)
    pool.configure(panic_percent=HALF)
    return pool


def on_roster(pool):
    return sorted(number for number, _ in pool.roster)


def take_down(pool, *numbers):
    for number in numbers:
        pool.set_up(number, False)


def test_below_the_threshold_all_serve_and_at_it_only_those_that_are_up(pool):
    pool.add(1, 1, 1, 1)
    take_down(pool, 0, 1)
    assert on_roster(pool) == [2, 3]
    assert pool.panic == (False, 0)
    take_down(pool, 2)
    assert on_roster(pool) == [0, 1, 2, 3]
    assert pool.panic == (True, 1)
    pool.set_up(0, True)
    assert on_roster(pool) == [0, 3]
    assert pool.panic == (False, 1)


def test_each_panic_is_counted_once(pool):
    pool.add(1, 1, 1, 1, 1)
    for _ in range(3):
        take_down(pool, 0, 1, 2, 3, 4)
        assert on_roster(pool) == [0, 1, 2, 3, 4]
        for number in range(5):
            pool.set_up(number, True)
    assert pool.panic == (False, 3)


def test_who_is_not_to_serve_does_not_count_and_does_not_serve(pool):
    pool.add(1, 1, 0, 0)
    pool.change_member(3, admin_up=False)
    take_down(pool, 0)
    assert on_roster(pool) == [1]
    take_down(pool, 1)
    assert on_roster(pool) == [0, 1]
    assert pool.panic == (True, 1)


def test_ejected_members_count_as_down(pool):
    pool.add(1, 1, 1)
    pool.set_ejected(0, FOR_5XX)
    assert on_roster(pool) == [1, 2]
    pool.set_ejected(1, FOR_CONNECTS)
    assert on_roster(pool) == [0, 1, 2]
    assert pool.panic == (True, 1)


def test_backups_serve_while_no_primary_is_up_whatever_the_threshold(pool):
    pool.add(1, 1, 1, 1)
    pool.add(1, 1, 1, backup=True)
    take_down(pool, 0, 1, 2)
    assert on_roster(pool) == [0, 1, 2, 3]  # one is up: a panic among the primaries
    take_down(pool, 3)
    assert on_roster(pool) == [4, 5, 6]
    assert pool.panic == (False, 1)
    take_down(pool, 4, 5)
    assert on_roster(pool) == [4, 5, 6]  # a panic among the backups
    assert pool.panic == (True, 2)
    take_down(pool, 6)
    assert on_roster(pool) == [0, 1, 2, 3]


def test_backups_alone_panic_too(pool):
    pool.add(1, 1, backup=True)
    take_down(pool, 0, 1)
    assert on_roster(pool) == [0, 1]


def test_threshold_of_a_hundred_panics_at_the_first_one_that_is_down(pool):
    pool.configure(panic_percent=100)
    pool.add(1, 1, 1)
    assert pool.panic == (False, 0)
    take_down(pool, 1)
    assert on_roster(pool) == [0, 1, 2]
    assert pool.panic == (True, 1)


def test_threshold_of_none_never_panics(pool):
    pool.configure(panic_percent=0)
    pool.add(1, 1)
    take_down(pool, 0, 1)
    assert on_roster(pool) == []
    pool.configure(panic_percent=HALF)
    assert on_roster(pool) == [0, 1]
    pool.configure(panic_percent=0)
    assert on_roster(pool) == []
    assert pool.panic == (False, 1)


def test_pool_that_is_admin_down_or_empty_is_in_no_panic(pool):
    assert on_roster(pool) == []
    pool.add(1)
    take_down(pool, 0)
    assert pool.panic == (True, 1)
    pool.configure(panic_percent=HALF, admin_up=False)
    assert on_roster(pool) == []
    assert pool.panic == (False, 1)


def test_ejection_alone_never_leaves_a_pool_with_nobody(pool):
    pool.configure(panic_percent=0)
    pool.add(1, 1)
    pool.add(1, backup=True)
    pool.set_ejected(0, FOR_5XX)
    assert on_roster(pool) == [1]
    pool.set_ejected(1, FOR_5XX)
    assert on_roster(pool) == [2]
    pool.set_ejected(2, FOR_5XX)
    assert on_roster(pool) == [0, 1]
    take_down(pool, 1)
    assert on_roster(pool) == [0]
    take_down(pool, 0)
    assert on_roster(pool) == [2]
    take_down(pool, 2)
    assert on_roster(pool) == []


def test_ejection_ends_with_the_detection_that_made_it(pool):
    pool.configure(outlier_5xx=3, outlier_connect=3)
    pool.add(1, 1, 1)
    pool.set_ejected(0, FOR_5XX)
    pool.set_ejected(1, FOR_CONNECTS)
    assert on_roster(pool) == [2]
    pool.configure(outlier_5xx=0, outlier_connect=3)
    assert on_roster(pool) == [0, 2]
    pool.configure(outlier_5xx=0, outlier_connect=0)
    assert on_roster(pool) == [0, 1, 2]
