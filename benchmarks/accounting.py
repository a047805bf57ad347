# SPDX-License-Identifier: Apache-2.0
"""What the kernel says a process used: CPU time, its user and system parts, memory, and who else ran.

The total comes from the process's CPU clock, which is exact to the nanosecond. The kernel samples the split between
user and system at its tick, so the split is a share applied to that total: good to a few percent over some seconds.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

CLOCK_TICK = os.sysconf("SC_CLK_TCK")


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process so far, by the clock that clock_getcpuclockid(3) would name."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def family(pid: int) -> list[int]:
    """The process and all its descendants: nginx serves from a child of the one that was started."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _stat(pid: int) -> tuple[int, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def _idle_seconds(cpu: int) -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{cpu}":
            return (int(fields[3]) + int(fields[4])) / CLOCK_TICK
    raise SystemExit(f"no CPU {cpu} on this machine")


@dataclass(frozen=True)
class Reading:
    """One look at the clocks. Two of them make a Usage."""

    at: float
    cpu_ns: int
    user_ticks: int
    system_ticks: int
    cpu_idle: float

    @classmethod
    def take(cls, pids: list[int], cpu: int) -> "Reading":
        ticks = [_stat(pid) for pid in pids]
        return cls(
            at=time.monotonic(),
            cpu_ns=sum(cpu_ns(pid) for pid in pids),
            user_ticks=sum(user for user, _ in ticks),
            system_ticks=sum(system for _, system in ticks),
            cpu_idle=_idle_seconds(cpu),
        )


@dataclass(frozen=True)
class Usage:
    seconds: float
    cpu_ns: int
    user_share: float
    """Part of the CPU time that was spent in user space, 0..1."""
    busy: float
    """Part of the time in which the balancer's CPU was not idle, 0..1."""
    others: float
    """Part of the time in which that CPU ran something that is not the balancer, 0..1."""

    @classmethod
    def between(cls, first: Reading, last: Reading) -> "Usage":
        seconds = last.at - first.at
        user, system = last.user_ticks - first.user_ticks, last.system_ticks - first.system_ticks
        used = last.cpu_ns - first.cpu_ns
        busy = min(1.0, max(0.0, 1 - (last.cpu_idle - first.cpu_idle) / seconds))
        return cls(
            seconds=seconds,
            cpu_ns=used,
            user_share=user / (user + system) if user + system else 0.0,
            busy=busy,
            others=max(0.0, busy - used / 1e9 / seconds),
        )


def private_bytes(pids: list[int]) -> int:
    """Memory that only these processes have: what would be free if they ended."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1]) * 1024
    return total
