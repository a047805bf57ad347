# SPDX-License-Identifier: Apache-2.0
"""The ring and Maglev's table: beside an oracle, and how many clients move when the pool changes."""

import bisect
import random
from collections import Counter

import numpy
import pytest

SOURCE_IP, SOURCE_IP_PORT, MAGLEV = 2, 3, 6
MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
RNG = random.Random(5)
KEYS = numpy.array([RNG.getrandbits(64) for _ in range(20_000)], numpy.uint64)
EVEN_KEYS = (numpy.arange(100_000, dtype=numpy.float64) * (2**64 / 100_000)).astype(numpy.uint64)


@pytest.fixture(scope="module")
def new_pool(native):
    return native("roster").Pool


def owners(pool, keys=KEYS):
    return pool.simulate(len(keys), keys)


def mix(x):
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = (x ^ (x >> 33)) * factor & MASK
    return x ^ (x >> 33)


def hashes(n, seed=9):
    rng = random.Random(seed)
    return [rng.getrandbits(64) for _ in range(n)]


def ring_oracle(hash_keys, weights, keys):
    """The least distance / weight up to a member's next point."""
    points = [sorted(mix((key + k * GOLDEN) & MASK) >> 16 for k in range(128)) for key in hash_keys]

    def owner(key):
        place = int(key) >> 16
        best = None
        for member, (mine, weight) in enumerate(zip(points, weights, strict=True)):
            at = bisect.bisect_left(mine, place)
            distance = mine[at] - place if at < len(mine) else mine[0] + 2**48 - place
            rank = (distance * 1.0 / weight, weight)
            if best is None or rank < best[0]:
                best = (rank, member)
        return best[1]

    return [owner(key) for key in keys]


@pytest.mark.parametrize("weights", [(1,), (1, 1), (7, 7, 7), (1, 2), (1, 256), (3, 1, 4, 1, 5, 9, 2, 6)])
def test_ring_follows_the_oracle(new_pool, weights):
    pool = new_pool(SOURCE_IP)
    hash_keys = hashes(len(weights))
    pool.add(*weights, hashes=hash_keys)
    edges = numpy.array([0, 1, 0xFFFF, 0x10000, MASK, MASK - 0xFFFF, 2**63], numpy.uint64)
    points = numpy.array([mix((hash_keys[-1] + k * GOLDEN) & MASK) for k in range(128)], numpy.uint64)
    place = numpy.uint64(0x10000)
    keys = numpy.concatenate([KEYS[:3000], edges, points, points + place, points - place])
    assert owners(pool, keys).tolist() == ring_oracle(hash_keys, weights, keys)


@pytest.mark.parametrize("seed", range(5))
def test_ring_of_many_weights_follows_the_oracle(new_pool, seed):
    rng = random.Random(seed)
    weights = [rng.choice([1, rng.randint(1, 256), 100]) for _ in range(60)]
    hash_keys = hashes(60, seed)
    pool = new_pool(SOURCE_IP_PORT)
    pool.add(*weights, hashes=hash_keys)
    keys = KEYS[:2000]
    assert owners(pool, keys).tolist() == ring_oracle(hash_keys, weights, keys)


@pytest.mark.parametrize("weights", [(1,) * 20, (1, 2, 3, 4) * 5, (256,) + (1,) * 19])
def test_ring_member_that_leaves_moves_exactly_its_own_clients(new_pool, weights):
    pool = new_pool(SOURCE_IP)
    pool.add(*weights)
    before = owners(pool)
    for member in range(20):
        pool.set_up(member, False)
        after = owners(pool)
        moved = before != after
        assert (moved == (before == member)).all()
        if max(weights) < 256:
            assert len(set(after[moved].tolist())) > 5, "they go to many, not to one neighbour"
        pool.set_up(member, True)
        assert (owners(pool) == before).all()


@pytest.mark.parametrize("weights", [(1,) * 20, (1, 2, 3, 4) * 5])
def test_ring_member_that_joins_takes_its_share_and_moves_nobody_else(new_pool, weights):
    pool = new_pool(SOURCE_IP)
    pool.add(*weights)
    before = owners(pool)
    (member,) = pool.add(2)
    after = owners(pool)
    assert set(after[before != after].tolist()) == {member}
    assert (before != after).mean() == pytest.approx(2 / (sum(weights) + 2), rel=0.3)


def test_ring_weight_that_changes_only_gives_or_takes(new_pool):
    pool = new_pool(SOURCE_IP)
    pool.add(*[4] * 20)
    before = owners(pool)
    pool.change_member(7, 8)
    more = owners(pool)
    assert set(more[more != before].tolist()) == {7}
    assert (more == 7).mean() == pytest.approx(8 / 84, rel=0.3)
    pool.change_member(7, 2)
    less = owners(pool)
    assert set(before[less != before].tolist()) == {7}
    assert (less == 7).mean() == pytest.approx(2 / 78, rel=0.3)


def test_ring_asks_for_ratios_of_weights_only(new_pool):
    one, hundred = new_pool(SOURCE_IP), new_pool(SOURCE_IP)
    one.add(1, 2, 1, 2)
    hundred.add(100, 200, 100, 200)
    assert (owners(one) == owners(hundred)).all()


@pytest.mark.parametrize("weights", [(1,) * 10, (1, 2, 3, 4)])
def test_ring_shares_are_about_the_weights(new_pool, weights):
    pool = new_pool(SOURCE_IP)
    pool.add(*weights)
    counts = Counter(owners(pool, EVEN_KEYS).tolist())
    for member, weight in enumerate(weights):
        assert counts[member] / len(EVEN_KEYS) == pytest.approx(weight / sum(weights), rel=0.3)


@pytest.mark.parametrize("algorithm", [SOURCE_IP, MAGLEV])
def test_every_node_chooses_alike_whatever_its_history(new_pool, algorithm):
    rng = random.Random(4)
    hash_keys = hashes(30)
    weights = [rng.choice([1, 1, 5]) for _ in range(30)]
    first, second = new_pool(algorithm, seed=1), new_pool(algorithm, seed=2)
    first.add(*weights, hashes=hash_keys)
    order = rng.sample(range(30), 30)
    for member in order:
        second.add(weights[member], hashes=[hash_keys[member]])
        if rng.random() < 0.5:
            second.set_up(rng.randrange(len(second.roster)), False)
    for number in range(30):
        second.set_up(number, True)
        second.change_member(number, 256)
        second.change_member(number, weights[order[number]])
    here = [hash_keys[member] for member in owners(first).tolist()]
    there = [hash_keys[order[member]] for member in owners(second).tolist()]
    assert here == there


@pytest.mark.parametrize("algorithm", [SOURCE_IP, MAGLEV])
def test_retry_goes_on_to_another_member_the_same_each_time(new_pool, algorithm):
    pool = new_pool(algorithm)
    pool.add(*[1] * 10)
    for key in KEYS[:200].tolist():
        first = pool.pick(key)
        second = pool.pick(key, [first])
        assert second not in (None, first)
        assert second == pool.pick(key, [first])


def maglev_oracle(hash_keys, size=65537):
    claimers = []
    for key, member in sorted((key, member) for member, key in enumerate(hash_keys)):
        hashed = mix(key)
        claimers.append([(hashed >> 32) % size, (hashed & 0xFFFFFFFF) % (size - 1) + 1, member])
    table = [None] * size
    for turn in range(size):
        claimer = claimers[turn % len(claimers)]
        while table[claimer[0]] is not None:
            claimer[0] = (claimer[0] + claimer[1]) % size
        table[claimer[0]] = claimer[2]
    return table


@pytest.mark.parametrize("n", [1, 2, 13])
def test_maglev_follows_the_oracle(new_pool, n):
    hash_keys = hashes(n)
    pool = new_pool(MAGLEV)
    pool.add(*[3] * n, hashes=hash_keys)
    table = maglev_oracle(hash_keys)
    assert owners(pool).tolist() == [table[(int(key) >> 32) * 65537 >> 32] for key in KEYS]


@pytest.mark.parametrize(
    "weights", [(1,) * 10, (1, 2, 3, 4), (256, 1, 255), (1,) * 600, tuple(range(1, 101))]
)
def test_maglev_shares_are_within_one_percent(new_pool, weights):
    pool = new_pool(MAGLEV)
    pool.add(*weights)
    keys = (numpy.arange(65537, dtype=numpy.float64) * (2**64 / 65537) + 2**47).astype(numpy.uint64)
    counts = Counter(owners(pool, keys).tolist())
    for member, weight in enumerate(weights):
        expected = 65537 * weight / sum(weights)
        assert abs(counts[member] - expected) < max(0.01 * expected, 2)


@pytest.mark.parametrize("weights", [(1,) * 20, (1, 2, 3, 4) * 5])
def test_maglev_member_that_leaves_moves_few_others(new_pool, weights):
    pool = new_pool(MAGLEV)
    pool.add(*weights)
    before = owners(pool)
    for member in (0, 7, 19):
        pool.set_up(member, False)
        after = owners(pool)
        others = before != member
        assert (after != member).all()
        assert (before != after)[others].mean() < 0.04
        pool.set_up(member, True)
    (member,) = pool.add(2)
    after = owners(pool)
    moved = (before != after).mean()
    assert 2 / (sum(weights) + 2) * 0.8 < moved < 2 / (sum(weights) + 2) + 0.04


def test_maglev_weight_that_changes_moves_few_others(new_pool):
    pool = new_pool(MAGLEV)
    pool.add(*[4] * 20)
    before = owners(pool)
    pool.change_member(7, 8)
    after = owners(pool)
    assert (before != after)[(before != 7) & (after != 7)].mean() < 0.06


def test_maglev_table_of_a_big_pool_is_fair_too(new_pool):
    pool = new_pool(MAGLEV)
    pool.add(*[1] * 2000)
    keys = (numpy.arange(262147, dtype=numpy.float64) * (2**64 / 262147) + 2**45).astype(numpy.uint64)
    counts = Counter(owners(pool, keys).tolist())
    assert len(counts) == 2000
    assert max(counts.values()) - min(counts.values()) <= 3
