# SPDX-License-Identifier: Apache-2.0
"""Build of the one extension, `fastlb._core`, and of the test extensions over single native parts.

Environment:

    FASTLB_BUILD       release (default) | debug | asan | tsan | gcov
    FASTLB_EXTENSIONS  core (default) | tests | all, or names: `tests.native._http1,tests.native._buffer`
    FASTLB_CYTHON_DIR  where the C files go; default build/cython-<mode>
"""

import glob
import os

from Cython.Build import cythonize
from setuptools import Extension, setup

MODE = os.environ.get("FASTLB_BUILD", "release")
WANTED = os.environ.get("FASTLB_EXTENSIONS", "core")

WARNINGS = ["-Wall", *(f"-Wno-{name}" for name in ("unused-function", "unused-variable", "sign-compare"))]
SANITIZER = ["-O1", "-g", "-fno-omit-frame-pointer"]
# No -march=native: a wheel runs on other machines than its maker. -g1 lets perf and gdb name lines.
COMPILE = {
    "release": ["-O3", "-g1", "-DNDEBUG", "-fvisibility=hidden", "-fno-semantic-interposition"],
    "debug": ["-O0", "-g3"],
    # Python's own -fwrapv would hide signed overflow from UBSan.
    "asan": [*SANITIZER, "-fno-wrapv", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
    "tsan": [*SANITIZER, "-fsanitize=thread"],
    "gcov": ["-O0", "-g", "--coverage", "-fprofile-update=atomic"],
}
LINK = {
    "release": [],
    "debug": [],
    "asan": ["-fsanitize=address,undefined"],
    "tsan": ["-fsanitize=thread"],
    "gcov": ["--coverage"],
}
if MODE not in COMPILE:
    raise SystemExit(f"FASTLB_BUILD={MODE}: must be one of {', '.join(COMPILE)}")

# Set once here: a directive comment in a .pyx does not reach the parts that it cimports.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
    "freethreading_compatible": True,
}


def extension(name: str, source: str) -> Extension:
    # cythonize() finds the .pxd and .h files that this one needs: a change in one of them rebuilds it.
    return Extension(
        name,
        [source],
        include_dirs=["."],
        define_macros=[("_GNU_SOURCE", "1"), ("CYTHON_USE_MODULE_STATE", "0")],
        extra_compile_args=["-std=gnu11", "-pthread", *WARNINGS, *COMPILE[MODE]],
        libraries=["dl"],  # a part of the C library since glibc 2.34
        extra_link_args=["-pthread", *LINK[MODE]],
    )


core = [extension("fastlb._core", "fastlb/_core.pyx")]
tests = [
    extension("tests.native." + os.path.basename(path)[:-4], path)
    for path in sorted(glob.glob("tests/native/_*.pyx"))
]
by_choice = {"core": core, "tests": tests, "all": core + tests}
if WANTED in by_choice:
    chosen = by_choice[WANTED]
else:
    names = WANTED.split(",")
    chosen = [ext for ext in core + tests if ext.name in names]
    if len(chosen) != len(names):
        raise SystemExit(f"FASTLB_EXTENSIONS={WANTED}: must be core, tests, all or names of extensions")

setup(
    ext_modules=cythonize(
        chosen,
        build_dir=os.environ.get("FASTLB_CYTHON_DIR", f"build/cython-{MODE}"),
        compiler_directives=DIRECTIVES,
        # Except in a release, gdb, sanitizers and gcov speak of lines of the .pxd, not of the C made from it.
        emit_linenums=MODE != "release",
    )
)
