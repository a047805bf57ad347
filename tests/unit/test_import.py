# SPDX-License-Identifier: Apache-2.0
"""`import fastlb` is light, and says what to do when the core is not built."""

import os
import pathlib
import shutil
import subprocess
import sys

import fastlb

PACKAGE = pathlib.Path(fastlb.__file__).parent


def run(source, path):
    return subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=60,
        # A source tree's first import compiles it, which is not what is measured.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"},
    )


LIGHT = """
import os, sys, threading, time
before = set(os.listdir("/proc/self/fd"))
start = time.process_time()
import fastlb
took = time.process_time() - start
assert set(os.listdir("/proc/self/fd")) == before, "a descriptor was opened"
assert os.listdir("/proc/self/task") == [str(os.getpid())], "a thread was started"
heavy = {"numpy", "logging", "asyncio", "prometheus_client", "ssl", "http", "sqlite3"} & set(sys.modules)
assert not heavy, heavy
lb = fastlb.LoadBalancer()
lb.create_listener(protocol="HTTP", protocol_port=80)
assert set(os.listdir("/proc/self/fd")) == before, "describing opened a descriptor"
assert "numpy" not in sys.modules
print(took)
"""


def test_files_are_read_without_another_import(tmp_path):
    (tmp_path / "web.json").write_text('{"loadbalancer": {"name": "web"}}')
    source = f"import fastlb; print(fastlb.config.load({str(tmp_path / 'web.json')!r})[0].name)"
    result = run(source, PACKAGE.parent)
    assert (result.stdout, result.stderr) == ("web\n", "")


YARDSTICK = """
import time
start = time.process_time()
import asyncio
print(time.process_time() - start)
"""


def test_importing_opens_nothing_starts_nothing_and_is_quick():
    results = [run(LIGHT, PACKAGE.parent) for _ in range(5)]
    assert [result.stderr for result in results] == [""] * 5
    # CPU time, and the best of five. A machine on which asyncio takes longer than it should is a busy one.
    took = min(float(result.stdout) for result in results)
    yardstick = min(float(run(YARDSTICK, PACKAGE.parent).stdout) for _ in range(5))
    if os.environ.get("FASTLB_BUILD", "release") == "release":  # the other builds are slow on purpose
        assert took < max(0.1, 2.0 * yardstick)


def test_without_the_core_the_import_names_the_command_that_builds_it(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "fastlb", ignore=shutil.ignore_patterns("_core.*", "__pycache__"))
    result = run("import fastlb", tmp_path)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: fastlb's native core is not built")
    assert "pip install ." in last
    # After that install, the source tree still hides what it installed: say which folder, and how out of it.
    assert str(tmp_path / "fastlb") in last
    assert "run from another folder" in last
    assert "python setup.py build_ext --inplace" in last


def test_every_public_name_is_there_and_explained():
    assert fastlb.__all__ == sorted(fastlb.__all__)
    for name in fastlb.__all__:
        assert (getattr(fastlb, name).__doc__ or "").strip(), f"{name} has no docstring"
