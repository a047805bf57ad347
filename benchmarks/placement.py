# SPDX-License-Identifier: Apache-2.0
"""Which process runs where, and before whom."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

PRIORITY = -20
"""Of every balancer and of the load alike, where we have the right to: more than others on the machine have."""

_AUTOGROUP = Path("/proc/self/autogroup")


def in_session_of_its_own() -> int | None:
    """Runs this very command again as the leader of a new session; its exit status. None: this is the new one.

    Linux shares CPU time between sessions first (autogroups), so a priority only counts within one.
    """
    if os.getsid(0) == os.getpid() or not _AUTOGROUP.exists():
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(PRIORITY))
        return None
    child = subprocess.Popen([sys.executable, *sys.orig_argv[1:]], start_new_session=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # a new session hears no Ctrl-C
        signal.signal(number, lambda *_: child.send_signal(signal.SIGINT))
    return child.wait()


def cpus(wanted: str | None) -> tuple[int, int]:
    """The balancer's CPU and the load's: as given in "A,B", else the first and the last that there are."""
    allowed = sorted(os.sched_getaffinity(0))
    if wanted:
        first, _, last = wanted.partition(",")
        return int(first), int(last or first)
    return allowed[0], allowed[-1]


def own(cpu: int) -> None:
    """Makes the calling process keep to this CPU, and lets what else runs on the machine disturb it less."""
    os.sched_setaffinity(0, {cpu})
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
