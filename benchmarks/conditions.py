# SPDX-License-Identifier: Apache-2.0
"""Under what conditions a number was measured: a number without them says nothing."""

import os
import platform
import subprocess
import time
from pathlib import Path


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    here = Path(__file__).resolve().parent
    try:
        describe = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude=*"]
        found = subprocess.run(describe, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return found.stdout.strip() or "unknown"


def conditions() -> dict[str, str]:
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} CPUs",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "commit": _commit(),
        "load average at start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
