# SPDX-License-Identifier: Apache-2.0
"""Some inputs of the L7 fuzz target, the same in each run."""

import importlib.util
import pathlib
import random

import pytest

spec = importlib.util.spec_from_file_location("fuzz_l7", pathlib.Path(__file__).with_name("l7.py"))
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


@pytest.fixture(scope="session")
def target():
    return fuzz.Target(fuzz.load_native())


def test_random_policies_and_patterns_hold_no_finding(target):
    for seed in range(1500):
        print(f"seed {seed}")
        target.run(random.Random(seed))
    assert target.matches > 500
    assert target.searches > 500
    assert 0 < target.given_up < target.searches // 2
