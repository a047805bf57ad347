# SPDX-License-Identifier: Apache-2.0
"""The README's Python works when pasted, and does what its comments say."""

import re
import subprocess
import sys

import pytest

from fastlb import config


def blocks(root, language):
    return re.findall(rf"```{language}\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)


@pytest.fixture
def block(root):
    return blocks(root, "python")[0]


@pytest.fixture
def run(tmp_path):
    def run(source):
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", source],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result.stdout

    return run


def test_python_block_runs_as_it_is(block, run):
    lines = run(block).splitlines()
    one, two = lines[0], lines[1]
    assert one != two
    assert lines[2:4] == [one, two]
    assert lines[4].startswith(f"{one} 5 connections")
    assert lines[-2].startswith("<Member 127.0.0.1:")
    assert "weight=0" in lines[-1]


def test_python_block_is_about_thirty_lines(block):
    assert len([line for line in block.splitlines() if line.strip()]) <= 30


def test_policies_block_prints_what_stands_below_it(root, run):
    _, policies = blocks(root, "python")
    (printed,) = blocks(root, "text")
    assert run(policies) == printed
    assert len(policies.splitlines()) <= 25


def test_configuration_file_is_right_and_short(root, tmp_path):
    (found,) = blocks(root, "json")
    file = tmp_path / "web.json"
    file.write_text(found)
    balancers = config.load(file)
    config.check_startable(file, balancers)
    assert [len(pool.members) for pool in balancers[0].pools] == [2]
    assert len(found.splitlines()) <= 17
