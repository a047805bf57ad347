# SPDX-License-Identifier: Apache-2.0
"""Some sessions of the REST API's fuzz target, the same in each run; and that it would find something."""

import importlib.util
import pathlib

import pytest

from fastlb.api import views
from fastlb.errors import Conflict

spec = importlib.util.spec_from_file_location("fuzz_api", pathlib.Path(__file__).with_name("api.py"))
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


@pytest.fixture(scope="module")
def served():
    with fuzz.Served() as served:
        yield served


def sessions(served, callers=1):
    """How often there was which status."""
    answers = {}
    for seed in range(10):
        print(f"seed {seed}, callers {callers}")
        session = fuzz.Session(served, seed, alone=callers == 1)
        session.run(callers=callers)
        for status, count in session.answers.items():
            answers[status] = answers.get(status, 0) + count
    return answers


@pytest.mark.parametrize("callers", [1, 4])
def test_no_request_breaks_the_server_or_the_store(served, callers):
    answers = sessions(served, callers)
    assert all(answers[status] > 5 for status in (200, 201, 202, 204, 400, 404, 405)), answers


def test_an_answer_of_500_would_be_found(served, monkeypatch, caplog):
    monkeypatch.setattr(views, "body", lambda *args: 1 / 0)
    with pytest.raises(fuzz.Finding, match="status 500"):
        sessions(served)


def test_a_refused_change_that_is_stored_would_be_found(served, monkeypatch):
    def too_late(*args):
        raise Conflict("no")

    monkeypatch.setattr(views, "created", too_late)
    with pytest.raises(fuzz.Finding, match="the store has changed"):
        sessions(served)
