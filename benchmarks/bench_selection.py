# SPDX-License-Identifier: Apache-2.0
"""Choosing a member: a pick in a pool of 10 and of 10,000, and a member that joins a pool of 1,000.

    make bench B=selection

A round is 20,000 picks in one native call: divide by that. With sessions: opened and closed as well, 16 open at once.
Within a group the number in brackets is the ratio to the smaller pool. Its goal is 1.5; what is above it is memory,
not steps: a hash spread over all clients reads a table of megabytes all over, with 1,000 clients that come again it
reads what is in the cache. Joining: until picks can see the member.
"""

import importlib.util
import pathlib

import pytest

PICKS = 20_000
ALGORITHMS = {
    "ROUND_ROBIN": 0,
    "LEAST_CONNECTIONS": 1,
    "SOURCE_IP": 2,
    "SOURCE_IP_PORT": 3,
    "RANDOM_TWO_CHOICES": 4,
    "PEAK_EWMA": 5,
    "MAGLEV": 6,
}
HASHING = ("SOURCE_IP", "SOURCE_IP_PORT", "MAGLEV")
COUNTED = ("LEAST_CONNECTIONS", "PEAK_EWMA")  # what sessions cost differs from algorithm to algorithm
WEIGHTS = {"equal": 1, "ten": 10, "all": 256}  # how many weights there are; a pool of ten has ten at most


@pytest.fixture(scope="session")
def new_pool():
    path = pathlib.Path(__file__).resolve().parents[1] / "tests" / "native" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tests.native.conftest", path)
    natives = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(natives)
    if said := natives.build("roster"):
        pytest.fail(said, pytrace=False)
    return natives.load("roster").Pool


def filled(new_pool, algorithm, members, weights):
    pool = new_pool(ALGORITHMS[algorithm])
    pool.add(*[1 + i * 37 % WEIGHTS[weights] for i in range(members)])
    return pool


def cases():
    for algorithm in ALGORITHMS:
        for weights in WEIGHTS:
            for clients in (0, 1000) if algorithm in HASHING else (0,):
                for members in (10, 10_000):
                    yield pytest.param(algorithm, weights, clients, members, id=str(members))


@pytest.mark.parametrize(("algorithm", "weights", "clients", "members"), list(cases()))
def test_pick(benchmark, new_pool, algorithm, weights, clients, members):
    sessions = algorithm in COUNTED
    benchmark.group = f"{algorithm}, {weights} weights" + (f", {clients} clients" if clients else "")
    pool = filled(new_pool, algorithm, members, weights)
    benchmark.pedantic(
        pool.time_picks, args=(PICKS, sessions, clients), rounds=30, iterations=1, warmup_rounds=5
    )


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_member_joins_a_pool_of_a_thousand(benchmark, new_pool, algorithm, weights):
    benchmark.group = f"join, {weights} weights"
    pool = filled(new_pool, algorithm, 1000, weights)
    (member,) = pool.add(1)
    benchmark.pedantic(
        pool.add_again,
        args=(member,),
        setup=lambda: pool.remove(member, keep=True),
        rounds=30,
        iterations=1,
        warmup_rounds=3,
    )
