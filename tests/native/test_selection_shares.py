# SPDX-License-Identifier: Apache-2.0
"""Round robin, least connections and the random ones: sequences beside an oracle, and shares."""

import random
from collections import Counter

import numpy
import pytest

ROUND_ROBIN, LEAST_CONNECTIONS, RANDOM_TWO_CHOICES, PEAK_EWMA = 0, 1, 4, 5
MASK = 2**64 - 1


@pytest.fixture(scope="module")
def new_pool(native):
    return native("roster").Pool


def shares(numbers):
    counts = Counter(numbers.tolist())
    return {member: count / len(numbers) for member, count in sorted(counts.items())}


class Random:
    """SplitMix64, as random.pxd has it."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        return z ^ (z >> 31)

    def below(self, bound):
        return (self.next() >> 32) * bound >> 32


# Round robin


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
def test_equal_members_take_turns_from_the_first(new_pool, n):
    pool = new_pool(ROUND_ROBIN)
    pool.add(*[5] * n)
    assert pool.simulate(3 * n).tolist() == list(range(n)) * 3


def test_weights_1_1_2_interleave(new_pool):
    pool = new_pool(ROUND_ROBIN)
    pool.add(1, 1, 2)
    assert pool.simulate(8).tolist() == [2, 0, 2, 1, 2, 0, 2, 1]


@pytest.mark.parametrize("weights", [(1, 1, 2), (5, 1, 1), (256, 1), (7, 11, 13, 100), tuple(range(1, 101))])
def test_round_robin_shares_are_exact_over_cycles(new_pool, weights):
    pool = new_pool(ROUND_ROBIN)
    pool.add(*weights)
    cycles = max(1, 100_000 // sum(weights))
    counts = Counter(pool.simulate(cycles * sum(weights)).tolist())
    assert [counts[i] for i in range(len(weights))] == [weight * cycles for weight in weights]


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 4)])
@pytest.mark.parametrize("between", [1, 2, 3, 7])
def test_shares_stay_fair_through_ten_thousand_changes(new_pool, weights, between):
    """A third member flaps in step with the picks: whoever begins a roster must not be the same all the time."""
    pool = new_pool(ROUND_ROBIN)
    pool.add(*weights)
    counts = Counter()
    for change in range(10_000):
        pool.set_up(2, change % 2 == 0)
        counts.update(pool.picks(between, 0).tolist())
    n = counts.total()
    a, b, c = weights
    for member, weight in ((0, a), (1, b), (2, c)):
        expected = weight / (a + b + c) / 2 + (weight / (a + b) / 2 if member < 2 else 0)
        assert counts[member] / n == pytest.approx(expected, abs=0.01)


def test_unrelated_changes_do_not_disturb_the_alternation(new_pool):
    pool = new_pool(ROUND_ROBIN)
    pool.add(1, 1)
    pool.add(1, backup=True)
    found = []
    for i in range(100):
        pool.set_up(2, i % 2 == 0)
        found += pool.simulate(3).tolist()
    assert found == [0, 1] * 150


# Least connections


class LeastOracle:
    """HAProxy's rule: idle members first, then (active + 1) / weight; who was touched longest ago wins a tie."""

    def __init__(self, weights):
        self.weights = dict(enumerate(weights))
        self.active = dict.fromkeys(self.weights, 0)
        self.clock = 0
        self.touched = {}
        for member in sorted(self.weights, key=lambda m: -weights[m]):
            self.touch(member)

    def touch(self, member):
        self.clock += 1
        self.touched[member] = self.clock

    def pick(self, tried=()):
        def rank(m):
            return ((self.active[m] + 1) / self.weights[m] if self.active[m] else 0, self.touched[m])

        member = min((m for m in self.weights if m not in tried), key=rank)
        self.touch(member)
        return member

    def count(self, member, by):
        self.active[member] += by
        self.touch(member)


@pytest.mark.parametrize("seed", range(12))
def test_least_connections_follows_the_oracle(new_pool, seed):
    rng = random.Random(seed)
    top = rng.choice([1, 3, 256])
    weights = [rng.randint(1, top) for _ in range(rng.choice([1, 2, 5, 40]))]
    pool, oracle = new_pool(LEAST_CONNECTIONS), LeastOracle(weights)
    pool.add(*weights)
    sessions = []
    for _ in range(3000):
        if rng.random() < 0.55 or not sessions:
            tried = rng.sample(range(len(weights)), min(rng.choice([0, 0, 1, 3]), len(weights) - 1))
            member = pool.pick(tried=tried)
            assert member == oracle.pick(tried)
            if rng.random() < 0.9:  # else the connect failed
                pool.opened(member)
                oracle.count(member, 1)
                sessions.append(member)
        else:
            member = sessions.pop(rng.randrange(len(sessions)))
            pool.closed(member)
            oracle.count(member, -1)
    assert pool.listed() == {m: (weights[m], oracle.active[m]) for m in oracle.weights}


def test_idle_members_take_turns_whatever_their_weight(new_pool):
    pool = new_pool(LEAST_CONNECTIONS)
    pool.add(1, 3, 1)
    assert pool.simulate(6).tolist() == [1, 0, 2, 1, 0, 2]


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3, 4), (10, 1)])
def test_held_sessions_are_shared_by_weight(new_pool, weights):
    pool = new_pool(LEAST_CONNECTIONS)
    pool.add(*weights)
    found = shares(pool.simulate(100_000, hold=100 * sum(weights)))
    for member, weight in enumerate(weights):
        assert found[member] == pytest.approx(weight / sum(weights), rel=0.01)


def test_sessions_are_counted_right_through_changes_of_algorithm_and_roster(new_pool):
    rng = random.Random(3)
    pool = new_pool(ROUND_ROBIN)
    members = pool.add(1, 1, 2, 5)
    active = dict.fromkeys(members, 0)
    sessions = []
    for step in range(3000):
        if step % 50 == 0:
            pool.change(rng.choice([ROUND_ROBIN, LEAST_CONNECTIONS, LEAST_CONNECTIONS, PEAK_EWMA]))
            pool.set_up(rng.choice(members), rng.random() < 0.6)
            pool.change_member(rng.choice(members), rng.choice([0, 1, 2, 5]))
        if rng.random() < 0.5 and (member := pool.pick()) is not None:
            pool.opened(member)
            sessions.append(member)
            active[member] += 1
        elif sessions:
            member = sessions.pop(rng.randrange(len(sessions)))
            pool.closed(member)
            active[member] -= 1
        assert {m: pool.active(m) for m in members} == active
        if step % 50 == 49:
            pool.change(LEAST_CONNECTIONS)
            assert pool.listed() == {m: (weight, active[m]) for m, weight in pool.roster}


def test_member_that_joins_a_busy_pool_fills_up_first(new_pool):
    pool = new_pool(LEAST_CONNECTIONS)
    pool.add(1, 1)
    for _ in range(20):
        pool.opened(pool.pick())
    pool.add(1)
    found = []
    for _ in range(10):
        found.append(pool.pick())
        pool.opened(found[-1])
    assert found == [2] * 10


# Two choices, peak EWMA


def test_two_choices_follow_the_oracle(new_pool):
    n, hold, seed = 10, 25, 77
    pool, rng, active, held = new_pool(RANDOM_TWO_CHOICES, seed), Random(seed), [0] * n, []
    pool.add(*[4] * n)
    found = pool.simulate(3000, numpy.zeros(3000, numpy.uint64), hold=hold).tolist()
    for i, member in enumerate(found):
        one = rng.below(n)
        two = (one + 1 + rng.below(n - 1)) % n
        assert member == (two if active[two] < active[one] else one), i
        active[member] += 1
        held.append(member)
        if len(held) > hold:
            active[held.pop(0)] -= 1


@pytest.mark.parametrize("algorithm", [RANDOM_TWO_CHOICES, PEAK_EWMA])
@pytest.mark.parametrize("hold", [0, 200])
@pytest.mark.parametrize("unit", [1, 25])
def test_random_picks_are_by_weight(new_pool, algorithm, hold, unit):
    weights = (1, 2, 3, 4)
    pool = new_pool(algorithm)
    pool.add(*[unit * weight for weight in weights])
    response_ns = numpy.full(4, 10**6, numpy.uint64)
    found = shares(pool.simulate(100_000, hold=hold, gap_ns=10**4, response_ns=response_ns))
    for member, weight in enumerate(weights):
        assert found[member] == pytest.approx(weight / 10, abs=0.01)


def test_two_choices_keep_far_nearer_to_even_than_one(new_pool):
    pool = new_pool(RANDOM_TWO_CHOICES)
    members = pool.add(*[1] * 100)
    for _ in range(10_000):
        pool.opened(pool.pick())
    assert max(pool.active(m) for m in members) <= 104  # drawn blindly, about 125


def test_latency_jumps_up_at_once_and_comes_down_with_time(new_pool):
    second = 10**9
    pool = new_pool(PEAK_EWMA)
    (member,) = pool.add(1)

    def answer(now_ns, response_ns):
        pool.opened(member, now_ns)
        pool.closed(member, now_ns, response_ns)
        return pool.ewma(member)

    assert answer(second, 1000) == 1000
    assert answer(second, 90_000) == 90_000
    assert answer(second, 10_000) == 90_000  # no time has passed
    assert answer(second + 2**32, 10_000) == 50_000
    assert answer(second + 2**32 + 2**31, 10_000) == 40_000
    assert answer(second + 2**32, 10_000) == 40_000  # a worker whose clock was read before
    assert answer(second + 2**42, 0) == 40_000  # unknown
    assert answer(second + 2**42, 10_000) == 10_000
    assert answer(second + 2**42, MASK >> 1) == 2**38 - 1


def test_slow_member_is_left_alone_then_tried_again(new_pool):
    pool = new_pool(PEAK_EWMA)
    fast, slow = pool.add(1, 1)
    for member, response_ns in ((fast, 10**6), (slow, 50 * 10**6)):
        pool.opened(member, 1)
        pool.closed(member, 1, response_ns)
    assert {pool.pick(now_ns=2) for _ in range(100)} == {fast}
    # The other one goes on answering, so only the slow one's figure fades.
    later = 40 * 2**32
    pool.opened(fast, later)
    pool.closed(fast, later, 10**6)
    assert {pool.pick(now_ns=later) for _ in range(100)} == {slow}


def test_member_without_a_figure_is_tried_with_one_session_first(new_pool):
    pool = new_pool(PEAK_EWMA)
    (old,) = pool.add(1)
    pool.opened(old, 1)
    pool.closed(old, 1, 10**6)
    (new,) = pool.add(1)
    assert pool.pick(now_ns=2) == new
    pool.opened(new, 2)
    assert {pool.pick(now_ns=3) for _ in range(100)} == {old}
    pool.closed(new, 4, 10**5)
    assert {pool.pick(now_ns=5) for _ in range(100)} == {new}


def test_shares_follow_speed(new_pool):
    pool = new_pool(PEAK_EWMA)
    pool.add(1, 1, 1, 1)
    response_ns = numpy.array([1, 1, 1, 10], numpy.uint64) * 10**6
    found = shares(pool.simulate(100_000, hold=20, gap_ns=10**5, response_ns=response_ns))
    assert found[3] < 0.5 * min(found[0], found[1], found[2])
