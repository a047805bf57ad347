# SPDX-License-Identifier: Apache-2.0
"""`fastlb.schedule`: the native scheduler asked from Python. How well it spreads is tested beside its native parts."""

import numpy as np
import pytest

import fastlb
from fastlb import Algorithm, ConfigError


def test_picks_are_indexes_in_an_array():
    picks = fastlb.schedule("ROUND_ROBIN", [1, 1], 6)
    assert picks.dtype == np.uint32
    assert picks.tolist() in ([0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_algorithm_answers_and_skips_weight_0(algorithm):
    picks = fastlb.schedule(algorithm, [2, 0, 1], 1000, seed=1)
    assert set(picks.tolist()) == {0, 2}


@pytest.mark.parametrize("algorithm", ["SOURCE_IP", "SOURCE_IP_PORT", "MAGLEV"])
def test_a_client_has_its_member(algorithm):
    picks = fastlb.schedule(algorithm, [1] * 8, 300, clients=range(100))
    assert picks[:100].tolist() == picks[100:200].tolist() == picks[200:].tolist()
    assert len(set(picks.tolist())) == 8


def test_a_seed_repeats_a_run():
    runs = [fastlb.schedule("RANDOM_TWO_CHOICES", [1] * 8, 100, seed=seed).tolist() for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_sessions_that_stay_open_count():
    picks = fastlb.schedule("LEAST_CONNECTIONS", [1, 3], 4000, hold=400)
    assert np.bincount(picks)[1] / 4000 == pytest.approx(0.75, abs=0.01)


def test_no_picks_is_an_empty_array():
    assert fastlb.schedule("ROUND_ROBIN", [1], 0).tolist() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("RR", [1], 1), "^lb_algorithm='RR': must be one of ROUND_ROBIN"),
        (("ROUND_ROBIN", [], 1), r"^weights=\[\]: must not be empty"),
        (("ROUND_ROBIN", [0, 0], 1), r"^weights=\[0, 0\]: must have one above 0 at least"),
        (("ROUND_ROBIN", [1, 257], 1), r"^weights\[1\]=257: must be 0\.\.256"),
        (("ROUND_ROBIN", [1], -1), "^picks=-1: must be 0"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        fastlb.schedule(*arguments)


@pytest.mark.parametrize("clients", [[], [[1]], ["10.0.0.1"], [-4], [2**64], [None]])
def test_clients_are_a_list_of_numbers(clients):
    with pytest.raises(ConfigError, match=r"^clients=.*must be a list of numbers"):
        fastlb.schedule("SOURCE_IP", [1], 1, clients=clients)
