# SPDX-License-Identifier: Apache-2.0
"""Which fastlb is tested: the installed one, or the clone's if that was built in place (`make build`).

`python -m pytest` and each child `python -c` or `python -m` put the current folder first on the path, where a
clone that is not built would hide the installed package. So the choice is made here, once, for all children.
"""

import ctypes
import importlib.machinery
import os
import pathlib
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


def built_in_place() -> bool:
    return any((ROOT / "fastlb" / f"_core{end}").exists() for end in importlib.machinery.EXTENSION_SUFFIXES)


def is_clone(entry: str) -> bool:
    return pathlib.Path(entry or ".").resolve() == ROOT


if not built_in_place():
    sys.path[:] = [entry for entry in sys.path if not is_clone(entry)]
elif any(map(is_clone, sys.path)):
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *(entry for entry in given if not is_clone(entry))]
    )
os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where Debian keeps haproxy and nginx, and users do not look
os.environ["PYTHONSAFEPATH"] = "1"  # children: nothing but PYTHONPATH and what is installed

if "libtsan" in os.environ.get("LD_PRELOAD", ""):
    # ThreadSanitizer starts a thread of its own with the first one: now, or the first test seems to leave it behind.
    first = threading.Thread(target=int)
    first.start()
    first.join()


def pytest_report_header() -> str:
    spec = importlib.machinery.PathFinder.find_spec("fastlb")
    place = pathlib.Path(spec.origin).parent if spec and spec.origin else "not installed: pip install ."
    return f"fastlb: {place} (test extensions: {os.environ.get('FASTLB_BUILD', 'release')})"


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The clone, or the unpacked source archive."""
    return ROOT


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under LeakSanitizer: look for native memory without an owner before CPython leaves its own behind."""
    if "detect_leaks=1" in os.environ.get("ASAN_OPTIONS", ""):
        check = getattr(ctypes.CDLL(None), "__lsan_do_recoverable_leak_check", None)
        if check is not None and check():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
