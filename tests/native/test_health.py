# SPDX-License-Identifier: Apache-2.0
"""When probe results take a member down, and bring it back."""

import itertools

import pytest


@pytest.fixture
def health(native):
    return native("health").Health


def oracle(results, rise, fall):
    """The rule in its own words, over the whole history each time."""
    said, up = "", True
    for n in range(1, len(results) + 1):
        run = len(list(itertools.takewhile(lambda r, now=results[n - 1]: r == now, reversed(results[:n]))))
        passed = results[n - 1] == "+"
        change = passed != up and (n == 1 or run >= (rise if passed else fall))
        up ^= change
        letter = "u" if up else "d"
        said += letter.upper() if change else letter
    return said


def test_member_is_up_before_its_first_probe(health):
    assert health(3, 3).up


def test_first_failure_takes_it_down_whatever_fall_is(health):
    assert health(3, 10).observe("-") == "D"


def test_first_success_gives_full_credit(health):
    assert health(3, 3).observe("+--+--") == "uuuuuu"


def test_it_falls_after_so_many_failures_in_a_row(health):
    assert health(1, 3).observe("+---") == "uuuD"


def test_it_rises_after_so_many_successes_in_a_row(health):
    assert health(3, 1).observe("-++-+++") == "DdddddU"


def test_after_a_reset_it_is_up_and_unproven(health):
    member = health(2, 3)
    member.observe("+--")
    member.reset()
    assert member.up
    assert member.observe("-") == "D"
    member.reset()
    assert member.up


@pytest.mark.parametrize(("rise", "fall"), [(1, 1), (2, 3), (3, 2), (4, 1)])
def test_every_history_of_nine_results_follows_the_rule(health, rise, fall):
    for history in itertools.product("+-", repeat=9):
        assert health(rise, fall).observe(history) == oracle(history, rise, fall), history
