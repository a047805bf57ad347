# SPDX-License-Identifier: Apache-2.0
"""Outlier detection: what counts as a fault, who is ejected and for how long, and that nobody is forgotten or kept."""

import threading
import time

import pytest

MS = 10**6
SECOND = 10**9


@pytest.fixture
def natives(native):
    return native("outlier")


@pytest.fixture
def pool(natives):
    """Ten members; three 5xx or two failed connects in a row eject one for a second."""
    pool = natives.Outliers(10)
    pool.configure(outlier_5xx=3, outlier_connect=2, ejection_ns=SECOND, ejection_max_ns=5 * SECOND)
    return pool


def eject(natives, pool, number, now_ns):
    pool.result(number, natives.FIVE_HUNDRED, 3)
    pool.turn(now_ns)
    assert number in pool.ejected


def test_faults_in_a_row_eject_a_member_and_time_brings_it_back(natives, pool):
    pool.result(4, natives.FIVE_HUNDRED, 2)
    pool.turn(0)
    assert pool.ejected == []
    pool.result(4, natives.FIVE_HUNDRED)
    assert pool.ejected == []  # the worker only says so
    pool.turn(0)
    assert pool.ejected == [4]
    assert pool.serving == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert pool.heard == [(4, True, SECOND)]
    pool.turn(SECOND - MS)
    assert pool.ejected == [4]
    pool.turn(SECOND + 16 * MS)
    assert pool.ejected == []
    assert pool.serving == list(range(10))
    assert pool.heard[1:] == [(4, False, 0)]
    assert pool.ejections(4) == 1


def test_one_good_answer_begins_the_count_anew(natives, pool):
    pool.result(0, natives.FIVE_HUNDRED, 2)
    pool.result(0, natives.UNCONNECTED)
    assert pool.faults(0) == (2, 1)
    pool.result(0, natives.ANSWERED)
    assert pool.faults(0) == (0, 0)
    pool.result(0, natives.FIVE_HUNDRED, 2)
    pool.turn(0)
    assert pool.ejected == []


def test_connection_forgives_failed_connects_but_no_5xx(natives, pool):
    pool.result(0, natives.FIVE_HUNDRED)
    pool.result(0, natives.UNCONNECTED)
    pool.result(0, natives.CONNECTED)
    assert pool.faults(0) == (1, 0)
    pool.result(0, natives.UNCONNECTED)
    pool.result(0, natives.FIVE_HUNDRED)  # it was connected to then
    assert pool.faults(0) == (2, 0)


def test_failed_connects_eject_by_a_limit_of_their_own(natives, pool):
    pool.result(0, natives.UNCONNECTED, 2)
    pool.turn(0)
    assert pool.ejected == [0]


@pytest.mark.parametrize(
    ("on", "kind"), [("outlier_5xx", "UNCONNECTED"), ("outlier_connect", "FIVE_HUNDRED")]
)
def test_what_is_not_looked_at_does_not_count(natives, pool, on, kind):
    pool.configure(**{on: 1})
    pool.result(0, getattr(natives, kind), 10)
    assert pool.faults(0) == (0, 0)
    assert not pool.woken()


def test_5xx_that_do_not_count_forgive_failed_connects_all_the_same(natives, pool):
    pool.configure(outlier_connect=2)
    pool.result(0, natives.UNCONNECTED)
    pool.result(0, natives.FIVE_HUNDRED)
    assert pool.faults(0) == (0, 0)


def test_worker_wakes_the_thread_once_for_all_who_are_accused(natives, pool):
    pool.result(0, natives.FIVE_HUNDRED, 20)
    pool.result(1, natives.FIVE_HUNDRED, 20)
    assert pool.woken()
    assert not pool.woken()
    pool.turn(0)
    assert pool.ejected == [0, 1]
    pool.result(2, natives.FIVE_HUNDRED, 3)
    assert pool.woken()


def test_each_ejection_is_longer_up_to_the_longest(natives, pool):
    now = 0
    for _ in range(8):
        eject(natives, pool, 0, now)
        now += pool.heard[-1][2] + 16 * MS
        pool.turn(now)
        assert pool.ejected == []
    terms = [term // SECOND for _, ejected, term in pool.heard if ejected]
    assert terms == [1, 2, 3, 4, 5, 5, 5, 5]
    assert pool.ejections(0) == 8


def test_time_without_an_ejection_makes_the_next_one_shorter(natives, pool):
    now = 0
    for _ in range(4):
        eject(natives, pool, 0, now)
        now += pool.heard[-1][2] + 16 * MS
        pool.turn(now)
    eject(
        natives, pool, 0, now + 2 * SECOND
    )  # in for two base times: the fourth ejection was worth 4, this one 4 - 2 + 1
    assert pool.heard[-1] == (0, True, 3 * SECOND)
    pool.turn(now + 10 * SECOND)
    eject(natives, pool, 0, now + 60 * SECOND)
    assert pool.heard[-1] == (0, True, SECOND)


def test_longest_time_below_the_base_time_is_the_base_time(natives, pool):
    pool.configure(outlier_5xx=3, ejection_ns=2 * SECOND, ejection_max_ns=SECOND)
    eject(natives, pool, 0, 0)
    assert pool.heard == [(0, True, 2 * SECOND)]


@pytest.mark.parametrize(
    ("percent", "at_most"), [(0, 1), (10, 1), (19, 1), (20, 2), (55, 5), (100, 10)], ids=str
)
def test_at_most_a_share_is_ejected_but_one_may_be(natives, pool, percent, at_most):
    pool.configure(outlier_5xx=3, ejection_percent=percent, ejection_ns=SECOND)
    for number in range(10):
        pool.result(number, natives.FIVE_HUNDRED, 3)
        pool.turn(0)
    assert len(pool.ejected) == at_most


def test_who_is_not_to_serve_does_not_count_in_the_share(natives, pool):
    pool.configure(outlier_5xx=3, ejection_percent=20, ejection_ns=SECOND)
    pool.change_member(8, admin_up=False)
    pool.change_member(9, weight=0)
    for number in range(3):
        pool.result(number, natives.FIVE_HUNDRED, 3)
        pool.turn(0)
    assert pool.ejected == [0]  # two of eight would be 25 %


def test_who_found_no_room_is_counted_anew(natives, pool):
    pool.configure(outlier_5xx=3, ejection_percent=0, ejection_ns=SECOND)
    eject(natives, pool, 0, 0)
    pool.result(1, natives.FIVE_HUNDRED, 3)
    pool.turn(0)
    assert pool.faults(1) == (0, 0)
    pool.turn(2 * SECOND)
    assert pool.ejected == []
    pool.result(1, natives.FIVE_HUNDRED, 2)
    pool.turn(2 * SECOND)
    assert pool.ejected == []
    pool.result(1, natives.FIVE_HUNDRED)
    pool.turn(2 * SECOND)
    assert pool.ejected == [1]


def test_results_of_sessions_still_open_do_not_count_while_ejected(natives, pool):
    eject(natives, pool, 0, 0)
    pool.result(0, natives.FIVE_HUNDRED, 10)
    pool.turn(2 * SECOND)
    assert pool.ejected == []
    assert pool.faults(0) == (0, 0)


def test_members_return_one_by_one(natives, pool):
    for number in range(3):
        eject(natives, pool, number, number * 100 * MS)
    assert pool.wait_ms(200 * MS) in range(790, 820)
    assert pool.wait_ms(200 * MS, 5) == 5
    pool.turn(1050 * MS)
    assert pool.ejected == [1, 2]
    pool.turn(1150 * MS)
    assert pool.ejected == [2]
    pool.turn(1250 * MS)
    assert pool.ejected == []
    assert pool.wait_ms(1250 * MS) == -1


def test_detection_turned_off_returns_the_ejected_at_once(natives, pool):
    eject(natives, pool, 0, 0)
    pool.result(1, natives.UNCONNECTED, 2)
    pool.turn(0)
    pool.configure(outlier_connect=2)
    assert pool.ejected == [1]
    assert pool.serving == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    pool.configure()
    assert pool.ejected == []
    assert pool.serving == list(range(10))
    pool.turn(0)
    assert sorted(pool.heard[2:]) == [(0, False, 0), (1, False, 0)]
    assert pool.wait_ms(0) == -1


def test_ejected_again_before_the_thread_knew_that_it_was_in(natives, pool):
    eject(natives, pool, 0, 0)
    pool.configure()
    pool.configure(outlier_5xx=3, ejection_ns=SECOND, ejection_max_ns=5 * SECOND)
    pool.result(0, natives.FIVE_HUNDRED, 3)
    pool.turn(500 * MS)
    assert [ejected for _, ejected, _ in pool.heard] == [True, False, True]
    assert pool.ejected == [0]
    pool.turn(2300 * MS)
    assert pool.ejected == [0]  # the second time is twice as long
    pool.turn(2600 * MS)
    assert pool.ejected == []


def test_removed_member_is_let_go_at_once(natives, pool):
    eject(natives, pool, 0, 0)
    eject(natives, pool, 1, 0)
    pool.remove(0)
    pool.turn(0)
    assert pool.let_go(0)
    assert len(pool.heard) == 2
    pool.turn(2 * SECOND)
    assert pool.heard[2:] == [(1, False, 0)]


def test_member_removed_while_it_is_accused_is_not_ejected(natives, pool):
    pool.result(0, natives.FIVE_HUNDRED, 3)
    pool.remove(0)
    pool.turn(0)
    assert pool.ejected == []
    assert pool.heard == []
    pool.result(0, natives.FIVE_HUNDRED, 3)  # a session that was open
    pool.turn(0)
    assert pool.ejected == []
    assert pool.let_go(0)


def test_stop_returns_everybody_and_nobody_is_accused_after_it(natives, pool):
    eject(natives, pool, 0, 0)
    pool.result(1, natives.FIVE_HUNDRED, 3)
    pool.stop()
    assert pool.ejected == []
    assert pool.serving == list(range(10))
    pool.result(2, natives.FIVE_HUNDRED, 3)
    pool.turn(0)
    assert pool.ejected == []
    pool.start()
    pool.result(2, natives.FIVE_HUNDRED, 1)
    pool.turn(0)
    assert pool.ejected == [2]
    assert pool.heard[-1] == (2, True, SECOND)


def test_pool_gives_up_everything_with_members_ejected_and_accused(natives):
    pool = natives.Outliers(4)
    pool.configure(outlier_5xx=1, ejection_ns=SECOND)
    pool.result(0, natives.FIVE_HUNDRED)
    pool.turn(0)
    pool.result(1, natives.FIVE_HUNDRED)
    del pool  # the sanitizers look at what is left


def test_workers_the_thread_and_changes_do_not_get_in_each_others_way(natives):
    pool = natives.Outliers(6)
    on = {"outlier_5xx": 3, "outlier_connect": 2, "ejection_ns": MS, "ejection_max_ns": 4 * MS}
    pool.configure(**on)
    calls = [lambda: pool.work(0, 1), lambda: pool.work(1, 2), lambda: pool.probe_thread(10_000)]
    done = []
    threads = [threading.Thread(target=lambda call=call: done.append(call())) for call in calls]
    for thread in threads:
        thread.start()

    def ejections():
        return sum(pool.ejections(number) for number in range(6))

    began = time.monotonic()
    while time.monotonic() < began + 0.3 or (ejections() < 10 and time.monotonic() < began + 20):
        pool.configure()
        pool.change_member(3, admin_up=False)
        pool.configure(**on)
        pool.change_member(3)
    pool.remove(5)
    pool.finish()
    for thread in threads:
        thread.join()
    assert min(done) > 0
    assert ejections() >= 10
    assert sum(ejected for _, ejected, _ in pool.heard) == ejections()
    pool.configure()
    assert pool.serving == [0, 1, 2, 3, 4]
