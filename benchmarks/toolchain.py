# SPDX-License-Identifier: Apache-2.0
"""Builds the native helpers under benchmarks/native/ when they are first needed, into the user's cache."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

NATIVE = Path(__file__).parent / "native"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall"]


def build(program: str) -> Path:
    """The compiled program of that name. Built anew when a source, a header or the flags have changed."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the comparison compiles its load generator: install a C compiler (Debian: gcc)")
    digest = hashlib.sha256(" ".join([compiler, *FLAGS]).encode())
    for source in sorted(NATIVE.glob("*.[ch]")):
        digest.update(source.name.encode() + source.read_bytes())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastlb-benchmarks"
    target = root / f"{program}-{digest.hexdigest()[:16]}"
    if not target.exists():
        root.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}")
        command = [compiler, *FLAGS, str(NATIVE / f"{program}.c"), "-o", str(fresh), "-lm"]
        subprocess.run(command, check=True)
        fresh.rename(target)  # two runs at once: the last one wins, and both are right
    return target
