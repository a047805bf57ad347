# SPDX-License-Identifier: Apache-2.0
"""The corpus of the HTTP/1.1 fuzz target, and some mutations of it, the same in each run."""

import importlib.util
import pathlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

spec = importlib.util.spec_from_file_location("fuzz_http1", pathlib.Path(__file__).with_name("http1.py"))
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)
CORPUS = fuzz.corpus()


@pytest.fixture(scope="session")
def target():
    return fuzz.Target(fuzz.load_native())


@pytest.mark.parametrize("name", CORPUS)
def test_corpus_holds_no_finding(target, name):
    for seed in range(10):
        target.run(random.Random(seed), name, CORPUS[name])


@given(st.sampled_from(sorted(CORPUS)), st.integers(0, (1 << 32) - 1))
@settings(max_examples=2000, deadline=None, derandomize=True)
def test_mutations_of_the_corpus_hold_no_finding(target, name, seed):
    rng = random.Random(seed)
    target.run(rng, name, fuzz.mutated(rng, CORPUS[name], list(CORPUS.values())))


@pytest.mark.parametrize("name", [name for name in CORPUS if name.startswith("good-")])
def test_good_messages_of_the_corpus_are_taken(target, name):
    """Else the mutations would start from what is refused anyhow."""
    parse = target.http1.parse_request if name.endswith(".request") else target.http1.parse_response
    assert parse(CORPUS[name])[0] > 0


def test_two_readers_that_differ_would_be_found(target):
    """The oracle itself: a body that ends elsewhere, a head that a lax reader takes for a framed one."""
    assert fuzz.chunks_by_the_book(b"3\r\nabc\r\n0\r\n\r\nGET") == (b"abc", 13)
    assert fuzz.chunks_by_the_book(b"3 \r\nabc\r\n0\r\n\r\n") is None
    assert fuzz.framing_fields(b"GET / HTTP/1.1\r\nContent_length : 3\nHOST:a\r\n\r\n") == {
        b"content-length": 1,
        b"host": 1,
    }
