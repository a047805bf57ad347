# SPDX-License-Identifier: Apache-2.0
"""A member that comes back: its share grows from a tenth to all of it, whatever the algorithm; who comes back, and who
does not."""

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
hashing = pytest.mark.parametrize("algorithm", [2, 3, 6], ids=["SOURCE_IP", "SOURCE_IP_PORT", "MAGLEV"])
SECOND = 10**9
RAMP = 100 * SECOND
BACK = 1000 * SECOND
PICKS = 30_000
KEYS = numpy.random.default_rng(1).integers(0, 2**64, PICKS, dtype=numpy.uint64)
MILLISECOND_EACH = numpy.full(16, 10**6, numpy.uint64)


@pytest.fixture
def natives(native):
    return native("roster")


def serving(natives, algorithm, *weights, slow_start_ns=RAMP, **more):
    """A pool that has served for a while."""
    natives.tell_time(SECOND)
    pool = natives.Pool(algorithm)
    pool.configure(slow_start_ns=slow_start_ns, **more)
    pool.add(*weights)
    pool.opened(0)
    pool.closed(0)
    return pool


def come_back(natives, pool, *numbers):
    for number in numbers:
        pool.set_up(number, False)
    natives.tell_time(BACK)
    for number in numbers:
        pool.set_up(number, True)


def shares(pool, now_ns=SECOND, hold=0):
    """By number: of so many picks at this moment, each session open for `hold` picks."""
    picks = pool.simulate(PICKS, KEYS, KEYS, hold=hold, begin_ns=int(now_ns), response_ns=MILLISECOND_EACH)
    return numpy.bincount(picks, minlength=len(pool.roster)) / PICKS


@every_algorithm
@pytest.mark.parametrize("hold", [0, 200], ids=["idle", "busy"])
@pytest.mark.parametrize("weights", [(1,) * 5, (1, 1, 2, 8, 4)], ids=["equal", "weighted"])
def test_share_grows_from_a_tenth_to_all_of_it(natives, algorithm, hold, weights):
    pool = serving(natives, algorithm, *weights)
    whole = shares(pool, hold=hold)[4]
    come_back(natives, pool, 4)
    for age, share in [(0, 0.1), (0.05, 0.1), (0.3, 0.3), (0.7, 0.7), (1, 1)]:
        got = shares(pool, BACK + age * RAMP, hold)[4]
        # What it gives up goes to all others: so its part of the whole is between these two.
        least, most = share * whole, share * whole / (share * whole + 1 - whole)
        assert least * 0.9 - 0.003 <= got <= most * 1.05 + 0.003, (age, got, least, most)


@every_algorithm
@pytest.mark.parametrize("hold", [0, 200], ids=["idle", "busy"])
def test_half_a_pool_that_comes_back_gets_its_share_each(natives, algorithm, hold):
    pool = serving(natives, algorithm, *[1] * 10)
    come_back(natives, pool, 0, 1, 2, 8, 9)
    got = shares(pool, BACK + 0.2 * RAMP, hold)
    warming, others = got[[0, 1, 2, 8, 9]], got[3:8]
    # A fifth of what the others get each; a hash gives some twice as much as others.
    ratio = warming.mean() / others.mean()
    assert 0.15 < ratio < 0.25
    if algorithm < 2:
        assert warming.max() < 1.25 * warming.min()


@hashing
def test_client_moves_to_a_member_that_comes_back_once_and_stays(natives, algorithm):
    pool = serving(natives, algorithm, *[1] * 5)
    before = pool.simulate(PICKS, KEYS, KEYS, begin_ns=SECOND)
    come_back(natives, pool, 4)
    been = numpy.zeros(PICKS, bool)
    for age in (0, 0.2, 0.4, 0.6, 0.8, 1):
        now = pool.simulate(PICKS, KEYS, KEYS, begin_ns=int(BACK + age * RAMP)) == 4
        assert not (been & ~now).any()
        been = now
    assert (been == (before == 4)).all()


@every_algorithm
def test_who_is_alone_or_among_the_tried_takes_all_there_is(natives, algorithm):
    pool = serving(natives, algorithm, 1, 1)
    come_back(natives, pool, 1)
    for key in KEYS[:200].tolist():
        assert pool.pick(key, [0], key, now_ns=BACK) == 1
    pool.set_up(0, False)
    for key in KEYS[:200].tolist():
        assert pool.pick(key, port_key=key, now_ns=BACK) == 1


@every_algorithm
def test_full_members_stay_refused_beside_one_that_comes_back(natives, algorithm):
    pool = serving(natives, algorithm, 1, 1)
    pool.change_member(0, max_connections=1)
    pool.change_member(1, max_connections=1)
    come_back(natives, pool, 1)
    pool.opened(0)
    for key in KEYS[:100].tolist():
        assert pool.pick(key, port_key=key, now_ns=BACK) == 1
    pool.opened(1)
    assert pool.pick(now_ns=BACK) == "full"


def test_first_members_of_a_pool_have_their_whole_share(natives):
    natives.tell_time(BACK)
    pool = natives.Pool(0)
    pool.configure(slow_start_ns=RAMP)
    pool.add(1)
    pool.add(1)  # nobody has been served yet
    assert pool.warming_until_ns == 0


@pytest.mark.parametrize("way", ["probes", "ejection", "admin", "weight", "added"])
def test_who_begins_to_serve_beside_others_starts_slowly(natives, way):
    pool = serving(natives, 0, 1, 1)
    natives.tell_time(BACK)
    if way == "probes":
        pool.set_up(1, False)
        pool.set_up(1, True)
    elif way == "ejection":
        pool.set_ejected(1, 1)
        pool.set_ejected(1, 0)
    elif way == "admin":
        pool.change_member(1, admin_up=False)
        pool.change_member(1)
    elif way == "weight":
        pool.change_member(1, weight=0)
        pool.change_member(1)
    else:
        pool.add(1)
    assert pool.warming_until_ns == BACK + RAMP


def test_who_comes_back_to_a_pool_with_nobody_has_its_whole_share(natives):
    pool = serving(natives, 0, 1, 1)
    pool.set_up(0, False)
    pool.set_up(1, False)
    natives.tell_time(BACK)
    pool.set_up(0, True)
    assert pool.warming_until_ns == 0
    pool.set_up(1, True)
    assert pool.warming_until_ns == BACK + RAMP
    assert shares(pool, BACK)[1] < 0.12


def test_backups_that_take_over_do_not_start_slowly(natives):
    pool = serving(natives, 0, 1)
    pool.add(1, 1, backup=True)
    natives.tell_time(BACK)
    pool.set_up(0, False)
    assert [number for number, _ in pool.roster] == [1, 2]
    assert pool.pick(now_ns=BACK + RAMP) in (1, 2)
    assert shares(pool, BACK + RAMP)[1] == 0.5


def test_changed_weight_does_not_start_it_again(natives):
    pool = serving(natives, 0, 1, 1)
    come_back(natives, pool, 1)
    natives.tell_time(BACK + RAMP // 2)
    pool.change_member(1, weight=2)
    assert pool.warming_until_ns == BACK + RAMP


def test_slow_start_turned_off_gives_the_whole_share_at_once(natives):
    pool = serving(natives, 0, 1, 1)
    come_back(natives, pool, 1)
    assert shares(pool, BACK)[1] < 0.12
    pool.configure(slow_start_ns=0)
    assert shares(pool, BACK)[1] == 0.5
    pool.configure(slow_start_ns=2 * RAMP)
    assert pool.warming_until_ns == BACK + 2 * RAMP


def test_without_slow_start_nobody_warms(natives):
    pool = serving(natives, 0, 1, 1, slow_start_ns=0)
    come_back(natives, pool, 1)
    assert pool.warming_until_ns == 0
