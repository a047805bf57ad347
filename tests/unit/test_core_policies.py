# SPDX-License-Identifier: Apache-2.0
"""What the core takes for policies, and what it does on a machine without PCRE2."""

import os
import subprocess
import sys

import pytest

from fastlb import _core

WITHOUT_PCRE2 = """
from fastlb import _core
core = _core.Core(1)
core.start()
_core.CorePolicies(core, [("REJECT", 0, "", None, [("PATH", "EQUAL_TO", "", "/", False)])])
for make in (
    lambda: _core.regex_error("a"),
    lambda: _core.CorePolicies(core, [("REJECT", 0, "", None, [("PATH", "REGEX", "", "a", False)])]),
):
    try:
        make()
    except RuntimeError as error:
        print(error)
core.stop(0)
"""


@pytest.fixture
def core():
    return _core.Core(1)


def row(*rules, action="REJECT", pool=None):
    return (action, 302, "", pool, list(rules))


def test_pattern_is_judged_by_pcre2_not_by_python():
    assert _core.regex_error(r"^/a(?<b>c)\d+$") is None
    assert _core.regex_error(r"(?R)?a") is None
    assert _core.regex_error("(a") == "missing closing parenthesis at offset 2"
    assert "at offset" in _core.regex_error(r"(?P<n>a)(?P<n>b)")


def test_refused_pattern_is_named_with_pcre2_s_words(core):
    with pytest.raises(ValueError, match=r"^'\(a': missing closing parenthesis at offset 2$"):
        _core.CorePolicies(
            core, [row(("PATH", "EQUAL_TO", "", "/", False), ("PATH", "REGEX", "", "(a", False))]
        )


def test_pool_goes_with_redirects_to_a_pool_alone(core):
    rule = ("PATH", "EQUAL_TO", "", "/", False)
    pool = _core.CorePool(core, _core.ALGORITHMS["ROUND_ROBIN"], True)
    _core.CorePolicies(core, [row(rule, action="REDIRECT_TO_POOL", pool=pool)])
    for action, given in [("REDIRECT_TO_POOL", None), ("REJECT", pool), ("REDIRECT_TO_URL", pool)]:
        with pytest.raises(ValueError, match="a pool is what REDIRECT_TO_POOL has"):
            _core.CorePolicies(core, [row(rule, action=action, pool=given)])


def test_without_pcre2_all_but_regex_works_and_the_package_is_named(tmp_path):
    (tmp_path / "libpcre2-8.so.0").touch()  # found first, and no library
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_PCRE2],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()
    assert len(said) == 2
    assert all("libpcre2-8-0" in line and "not on this machine" in line for line in said)
