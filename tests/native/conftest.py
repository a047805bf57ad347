# SPDX-License-Identifier: Apache-2.0
"""Builds the test extensions over single native parts, on demand.

What is built is named for the content that it was made from (the .pyx, each .pxd, .pxi and .h it reaches, setup.py,
Cython, the build mode), so a file that is there is up to date, and an edit rebuilds exactly what it concerns.
FASTLB_BUILD chooses the mode, as for the core: release, debug, asan, tsan, gcov.
"""

import contextlib
import fcntl
import hashlib
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import Cython
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "native"
MODE = os.environ.get("FASTLB_BUILD", "release")
BUILD = ROOT / "build" / f"native-{MODE}-{sys.implementation.cache_tag}"
SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]

CIMPORT = re.compile(
    r"^\s*(?:from\s+(fastlb[\w.]*)\s+cimport\s+([^#\n]*)|cimport\s+(fastlb[\w.]*))", re.MULTILINE
)
HEADER = re.compile(r"""^\s*(?:cdef extern from|#\s*include)\s+["'](fastlb/[^"']+\.h)["']""", re.MULTILINE)
INCLUDE = re.compile(r"""^\s*include\s+["']([^"']+)["']""", re.MULTILINE)


def reached(source: pathlib.Path) -> set[pathlib.Path]:
    """The source and every .pxd, .pxi and .h of ours that a build of it reads."""
    found: set[pathlib.Path] = set()
    left = [source]
    while left:
        path = left.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        text = path.read_text()
        for module, names, plain in CIMPORT.findall(text):
            base = ROOT / (module or plain).replace(".", "/")
            left.append(base.with_suffix(".pxd"))
            left += [base / f"{name}.pxd" for name in re.findall(r"\w+", names)]  # from package cimport part
        left += [ROOT / header for header in HEADER.findall(text)]
        left += [folder / name for name in INCLUDE.findall(text) for folder in (path.parent, ROOT)]
    return found


def built_path(part: str) -> pathlib.Path:
    digest = hashlib.sha256(f"{Cython.__version__} {MODE} {SUFFIX}".encode())
    for path in sorted(reached(HERE / f"_{part}.pyx") | {ROOT / "setup.py"}):
        digest.update(b"\0" + path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return BUILD / f"{part}-{digest.hexdigest()[:16]}{SUFFIX}"


@contextlib.contextmanager
def one_at_a_time():
    """Two test runs may meet in one clone; the second waits, then finds everything built."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(*parts: str) -> str:
    """Build what is missing of the named parts; "" or what the compiler said of those that do not build."""
    with one_at_a_time():
        missing = {part: path for part in parts if not (path := built_path(part)).exists()}
        if not missing:
            return ""
        out = BUILD / "out"
        environment = {
            **os.environ,
            "FASTLB_BUILD": MODE,
            "FASTLB_EXTENSIONS": ",".join(f"tests.native._{part}" for part in missing),
            "FASTLB_CYTHON_DIR": str(BUILD / "c"),
            "CYTHON_FORCE_REGEN": "1",
        }
        environment.pop("LD_PRELOAD", None)  # a sanitizer's runtime is for the tests, not for the compiler
        command = ["setup.py", "-q", "build_ext", "--force", "-j", str(os.cpu_count() or 1)]
        result = subprocess.run(
            [sys.executable, *command, "--build-lib", str(out), "--build-temp", str(BUILD / "temp")],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        said = result.stdout + result.stderr
        if result.returncode:
            return said
        if "performance hint" in said:
            return f"a native part takes the GIL where it must not:\n{said}"
        for part, path in missing.items():
            for old in BUILD.glob(f"{part}-*{SUFFIX}"):
                old.unlink()  # a process that has it mapped keeps it
            os.replace(out / "tests" / "native" / f"_{part}{SUFFIX}", path)
        return ""


def load(part: str):
    name = f"tests.native._{part}"
    spec = importlib.util.spec_from_file_location(name, built_path(part))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the collected tests need together, on all CPUs, and outside of any test's time limit."""
    files = {item.path for item in session.items if item.path.parent == HERE}
    asked = {part for path in files for part in re.findall(r"""\bnative\(["'](\w+)""", path.read_text())}
    wanted = sorted(part for part in asked if (HERE / f"_{part}.pyx").exists())
    if wanted and not session.config.option.collectonly:
        build(*wanted)  # what does not build fails the tests that ask for it, below


@pytest.fixture(scope="session")
def native():
    """`native("http1")`: the test extension over fastlb/core/http1.pxd."""
    loaded = {}

    def get(part: str):
        if part not in loaded:
            if said := build(part):
                pytest.fail(f"tests/native/_{part}.pyx does not build:\n{said[-8000:]}", pytrace=False)
            loaded[part] = load(part)
        return loaded[part]

    return get
