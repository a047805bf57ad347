# SPDX-License-Identifier: Apache-2.0
"""What algorithms are made of: the tournament, weighted turns, the weighted draw, the phase of a new roster."""

import random
from collections import Counter
from fractions import Fraction

import pytest


@pytest.fixture(scope="module")
def parts(native):
    return native("selection")


def webster(weights, n):
    """The oracle: whoever's k-th turn is due first, at (k + 1/2) / quota; equal weights share a group in rotation."""
    groups = sorted(
        {w: [i for i, other in enumerate(weights) if other == w] for w in weights}.items(), reverse=True
    )
    due = sorted(
        (Fraction(2 * k + 1, 2 * w * len(members)), rank, k)
        for rank, (w, members) in enumerate(groups)
        for k in range(w * len(members))
    )
    cycle = [groups[rank][1][k % len(groups[rank][1])] for _, rank, k in due]
    return [cycle[i % len(cycle)] for i in range(n)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 256])
def test_tournament_finds_the_least_whatever_changes(parts, count):
    rng = random.Random(count)
    tournament = parts.Tournament(256)
    tournament.clear(count)
    keys = {}
    for _ in range(2000):
        leaf, key, stamp = rng.randrange(count), rng.choice([0, 1, 2, 2**63, 2**64 - 2]), rng.randrange(4)
        keys[leaf] = (key, stamp, leaf)
        tournament.set(leaf, key, stamp)
        assert tournament.best == min(keys.values())[2]


def test_one_to_one_to_two_interleaves(parts):
    assert parts.Turns(2, 1, 1).take(8) == [0, 1, 0, 2, 0, 1, 0, 2]


def test_five_to_one_to_one_does_not_bunch(parts):
    turns = parts.Turns(5, 1, 1).take(7)
    assert Counter(turns) == {0: 5, 1: 1, 2: 1}
    apart = [i for i, member in enumerate(turns) if member]
    assert apart[1] - apart[0] >= 3


@pytest.mark.parametrize("seed", range(20))
def test_turns_follow_the_oracle_over_cycles(parts, seed):
    rng = random.Random(seed)
    top = rng.choice([2, 5, 30, 256])
    weights = sorted((rng.randint(1, top) for _ in range(rng.randint(1, 30))), reverse=True)
    n = 2 * sum(weights) + 3
    assert parts.Turns(*weights).take(n) == webster(weights, n)


def test_shares_are_exact_over_a_cycle_of_every_weight_there_is(parts):
    weights = sorted((1 + i % 256 for i in range(1024)), reverse=True)
    turns = parts.Turns(*weights)
    counts = Counter(turns.take(turns.cycle))
    assert [counts[i] for i in range(1024)] == weights


@pytest.mark.parametrize("weights", [(2, 1, 1), (5, 1, 1), (3, 3, 2), (256, 1), (7,), (9, 8, 7, 7, 3, 1)])
def test_seek_goes_to_any_position_of_the_cycle(parts, weights):
    cycle = webster(weights, 2 * sum(weights))
    turns = parts.Turns(*weights)
    for position in range(sum(weights)):
        turns.seek(position)
        rest = turns.take(sum(weights) - position)
        assert Counter(rest + cycle[:position]) == Counter(cycle[: sum(weights)]), position
        assert turns.take(len(cycle)) == cycle, position


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3, 4), (256, 1, 1, 128), (1,) * 100 + (50,)])
def test_draw_is_by_weight(parts, weights):
    n = 200_000
    counts = parts.draws(weights, n, 7)
    for weight, count in zip(weights, counts, strict=True):
        expected = n * weight / sum(weights)
        assert abs(count - expected) < 5 * expected**0.5


def test_phases_of_any_regular_subset_of_generations_spread_evenly(parts):
    for step in (1, 2, 3, 10):
        for bound in (2, 3, 7):
            counts = Counter(parts.phase(step * g, bound) for g in range(7000))
            assert all(abs(counts[i] - 7000 / bound) < 70 for i in range(bound)), (step, bound)
