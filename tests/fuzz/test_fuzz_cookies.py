# SPDX-License-Identifier: Apache-2.0
"""Some inputs of the cookie fuzz target, the same in each run, and its oracle."""

import importlib.util
import pathlib
import random

import pytest

spec = importlib.util.spec_from_file_location("fuzz_cookies", pathlib.Path(__file__).with_name("cookies.py"))
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


@pytest.fixture(scope="session")
def target():
    return fuzz.Target(fuzz.load_native())


def test_random_fields_hold_no_finding(target):
    for seed in range(4000):
        values = fuzz.soup(random.Random(seed))
        print(f"seed {seed}: {values}")
        target.run(values)
    assert target.found > 1000
    assert target.taken > 1000


def test_two_readers_that_differ_would_be_found():
    assert fuzz.found_in([b'a="; SRV=1"; SRV = 2 , SRV=']) == [b"2", b""]
    assert fuzz.rest_of(b"a=1; SRV=2; $Path=/; b=3") == b"a=1; b=3"
    assert fuzz.rest_of(b"a=1; SRV=2") == b"a=1"
    assert fuzz.rest_of(b"a=1; srv=2") is None
    assert fuzz.left_of([b"SRV=1", b"a=1"]) == [b"a=1"]
    assert [fuzz.set_by(value) for value in (b"SRV=1; a=2", b"a=1; SRV=2", b"SRV")] == [b"1", None, None]
    caching = [b"x, max-age=1"], [b'x="a, public"'], [b"public", b"max-age=0"], [b'x="\\", y, public']
    assert [fuzz.cached_by(values) for values in caching] == [True, False, False, False]
