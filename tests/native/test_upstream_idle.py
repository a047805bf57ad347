# SPDX-License-Identifier: Apache-2.0
"""How long connections may idle, as a member's own keep-alive time is learnt."""

import pytest


@pytest.fixture
def core(native):
    return native("upstream_idle")


@pytest.fixture
def keeper(core):
    return core.Keeper()


def test_nothing_is_known_at_first(core, keeper):
    assert keeper.keep == core.KEEP_MS
    assert keeper.careful == core.CAREFUL_MS


def test_connections_are_given_up_a_quarter_before_the_member_would(keeper):
    keeper.closed(1000)
    assert keeper.keep == 750
    assert keeper.careful == 500


def test_the_shortest_time_counts(keeper):
    for idle in (1000, 1016, 992, 3000):
        keeper.closed(idle)
    assert keeper.keep == 744


def test_a_member_that_was_changed_is_learnt_anew(core, keeper):
    keeper.closed(1000)
    keeper.now += core.BELIEVE_MS
    assert keeper.keep == core.KEEP_MS
    keeper.closed(2000)
    assert keeper.keep == 1500


def test_what_keeps_happening_stays_believed(core, keeper):
    for _ in range(10):
        keeper.closed(1000)
        assert keeper.keep == 750
        keeper.now += core.BELIEVE_MS - 1
        assert keeper.keep == 750


def test_what_cannot_be_sent_again_trusts_a_short_time_until_a_connection_lives_longer(core, keeper):
    keeper.closed(1000)
    keeper.now += core.BELIEVE_MS
    assert keeper.careful == 500
    keeper.survived(700)
    assert keeper.careful == 500
    keeper.survived(core.KEEP_MS)
    assert keeper.careful == core.KEEP_MS // 2
    assert keeper.keep == core.KEEP_MS


def test_what_was_survived_is_forgotten_when_one_is_closed(core, keeper):
    keeper.survived(core.KEEP_MS)
    keeper.closed(1000)
    assert keeper.keep == 750
    assert keeper.careful == 500


@pytest.mark.parametrize(("seconds", "keep"), [(1, 750), (5, 3750), (6, 4000), (75, 4000), (86400, 4000)])
def test_what_the_member_says_is_taken_for_true(keeper, seconds, keep):
    keeper.told(seconds)
    assert keeper.keep == keep


def test_what_it_does_counts_more_than_what_it_says(keeper):
    keeper.told(5)
    keeper.closed(1000)
    keeper.told(5)
    assert keeper.keep == 750
