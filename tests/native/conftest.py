# SPDX-License-Identifier: Apache-2.0
"""Builds the test extensions over single native parts, once a session and only when something changed."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODE = os.environ.get("FASTLB_BUILD", "release")
BUILD = ROOT / "build" / f"native-{MODE}-{sys.implementation.cache_tag}"


def build(*parts: str) -> None:
    """Build the named test extensions, or all of them, into BUILD."""
    wanted = ",".join(f"tests.native._{part}" for part in parts) or "tests"
    command = [sys.executable, "setup.py", "-q", "build_ext", "-j2", "--build-lib", BUILD, "--build-temp", BUILD / "temp"]
    result = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, "FASTLB_EXTENSIONS": wanted, "FASTLB_BUILD": MODE},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if result.returncode:
        pytest.exit(f"test extensions do not build:\n{result.stdout[-3000:]}{result.stderr[-6000:]}", returncode=1)


def load(part: str):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    path = BUILD / "tests" / "native" / f"_{part}{suffix}"
    name = f"tests.native._{part}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def native(request):
    """`native("http1")`: the test extension over fastlb/core/http1.pxd."""
    parts = sorted(
        {
            item.path.stem.removeprefix("test_")
            for item in request.session.items
            if item.path.parent == ROOT / "tests" / "native"
        }
    )
    build(*[part for part in parts if (ROOT / "tests" / "native" / f"_{part}.pyx").exists()])
    cache = {}

    def get(part: str):
        if part not in cache:
            if not (BUILD / "tests" / "native").exists() or part not in parts:
                build(part)
            cache[part] = load(part)
        return cache[part]

    return get
