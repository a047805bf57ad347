# SPDX-License-Identifier: Apache-2.0
"""The tables in docs/ say which test shows a claim: each of these tests is there."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
BROKEN = re.compile(r"\btests/[\w/]+\.py::(?!\w+`)|(?<!`)\btests/[\w/]+\.py::")
PAGES = sorted((ROOT / "docs").glob("*.md"))


def named(page: str) -> list[tuple[str, str]]:
    return NAMED.findall(page)


def names_in(source: str) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }


def missing(page: str) -> list[str]:
    found = []
    for path, name in named(page):
        file = ROOT / path
        if not file.is_file() or name not in names_in(file.read_text("utf-8")):
            found.append(f"{path}::{name}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_each_named_test_is_there(page):
    assert missing(page.read_text("utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_each_name_is_written_so_that_it_is_looked_for(page):
    assert BROKEN.findall(page.read_text("utf-8")) == []


def test_some_pages_name_tests():
    assert sum(len(named(page.read_text("utf-8"))) for page in PAGES) > 50


def test_a_test_that_is_not_there_is_missed():
    here = "tests/unit/test_docs_name_real_tests.py"
    assert missing(f"| x | `{here}::test_each_named_test_is_there` |") == []
    assert missing(f"| x | `{here}::test_that_was_renamed`, `tests/unit/test_no_such_file.py::test_x` |") == [
        f"{here}::test_that_was_renamed",
        "tests/unit/test_no_such_file.py::test_x",
    ]
    assert BROKEN.search(f"| x | {here}::test_x |")
    assert BROKEN.search(f"| x | `{here}::test_x[a]` |")
    assert not BROKEN.search(f"| x | `{here}::test_x` |")
