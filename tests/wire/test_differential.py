# SPDX-License-Identifier: Apache-2.0
"""Generated requests and answers: what a member and a client read through the balancer is what other parsers read.

The stories are the same in each run; `make fuzz T=differential` makes other ones.
"""

import importlib.util
import pathlib

import pytest

PATH = pathlib.Path(__file__).resolve().parents[1] / "fuzz" / "differential.py"
spec = importlib.util.spec_from_file_location("fuzz_differential", PATH)
differential = importlib.util.module_from_spec(spec)
spec.loader.exec_module(differential)


@pytest.mark.workers(1)
@pytest.mark.parametrize("setup", ["plain", "rewriting"])
@pytest.mark.parametrize("kind", differential.KINDS)
def test_both_sides_read_the_same_or_a_refusal(engine, kind, setup):
    outcomes = differential.run(kind, engine, 300, setup=setup)
    # Else the stories would be too wild, or too tame, to show anything.
    if kind == "requests":
        assert outcomes["requests"] > 100
        assert outcomes[400] > 50
    else:
        assert outcomes[200] > 50
        assert outcomes["refused"] > 50


@pytest.mark.workers(1)
@pytest.mark.parametrize("kind", differential.KINDS)
def test_a_balancer_that_passes_bytes_unread_would_be_found(engine, kind):
    with pytest.raises((AssertionError, ExceptionGroup)):
        differential.run(kind, engine, 300, setup="unread")
