# SPDX-License-Identifier: Apache-2.0
"""fastlb against its peers: the same members, the same load, in turn, in one run.

    python -m benchmarks.compare
    python -m benchmarks.compare --workload http --workload tcp --rounds 9 --peers haproxy,fastlb

Each round starts every peer once (A B C, then B C A, …), alone on one CPU with one worker, while the load and
the members share another. See README.md for how to read what it prints.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import peers, report
from benchmarks.conditions import conditions
from benchmarks.placement import cpus, in_session_of_its_own
from benchmarks.traffic import Traffic
from benchmarks.workloads import BALANCERS, WORKLOADS, Bench, Workload

DISTURBED = 0.10
"""A round in which the balancer's CPU ran other processes for more than this share of the time is repeated,"""
DISTURBED_TRIES = 3
"""so often in all; what the last try shows is taken, and the report says so."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="CPU per request, rate, latency and memory of fastlb and its peers, against HAProxy's.",
        epilog="workloads: " + "; ".join(f"{workload.key}: {workload.title}" for workload in WORKLOADS),
    )
    keys = [workload.key for workload in WORKLOADS]
    parser.add_argument("--workload", action="append", choices=keys, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer is started (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured per peer and round (default 2)")
    parser.add_argument("--peers", default=",".join(BALANCERS), help=f"some of {', '.join(peers.NAMES)}")
    parser.add_argument("--cpus", metavar="A,B", help="the balancer's CPU, the load's (default: first, last)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure of every round")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see that it works")
    found = parser.parse_args()
    unknown = set(found.peers.split(",")) - set(peers.NAMES)
    if unknown:
        parser.error(f"--peers: {', '.join(sorted(unknown))}: not one of {', '.join(peers.NAMES)}")
    return found


def compare(workload: Workload, bench: Bench, names: list[str], rounds: int) -> report.Result:
    """All rounds of one workload. A peer that can't take part is left out, with the reason."""
    result = report.Result(workload, {name: [] for name in names})
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if name in result.missing:
                continue
            try:
                for _ in range(1 if bench.smoke else DISTURBED_TRIES):
                    sample = workload.measure(workload, bench, name)
                    if sample.get("others", 0.0) < DISTURBED:
                        break
                result.rounds[name].append(sample)
            except peers.Unavailable as why:
                result.missing[name] = str(why)
                result.rounds.pop(name)
    return result


def main() -> int:
    options = arguments()
    if (status := in_session_of_its_own()) is not None:
        return status
    chosen = options.peers.split(",")
    workloads = [w for w in WORKLOADS if not options.workload or w.key in options.workload]
    balancer_cpu, load_cpu = cpus(options.cpus)
    os.sched_setaffinity(0, {load_cpu})
    os.environ["FASTLB_BENCH_CONTROL_CPU"] = str(load_cpu)
    rounds, seconds, warmup = (1, 0.2, 0.05) if options.smoke else (options.rounds, options.seconds, 0.5)

    about = conditions() | {
        "balancer": f"one worker, alone on CPU {balancer_cpu}; load and members on CPU {load_cpu}",
        "rounds": f"{rounds} of {seconds:g} s after {warmup:g} s of warm-up, each peer started anew, in turn",
        **{name: peers.version(name) or "not installed" for name in chosen if "-" not in name},
    }
    if balancer_cpu == load_cpu:
        about["warning"] = "one CPU for everything: the figures show that it works, and nothing else"
    print("\n".join(f"- {key}: {value}" for key, value in about.items()), end="\n\n", flush=True)

    results = []
    with Traffic(load_cpu) as traffic:
        bench = Bench(traffic, balancer_cpu, load_cpu, seconds, warmup, options.smoke)
        for workload in workloads:
            names = [name for name in workload.peers if name in chosen or name.partition("-")[0] in chosen]
            if not names:
                continue
            results.append(compare(workload, bench, names, rounds))
            print(report.section(results[-1]), flush=True)
    print("### Goals\n\n" + report.summary(results))

    if options.json:
        figures = {r.workload.key: {"rounds": r.rounds, "missing": r.missing} for r in results}
        options.json.write_text(json.dumps({"conditions": about, "workloads": figures}, indent=1) + "\n")
    wrong = [result for result in results if any(result.total(name, "failed") for name in result.rounds)]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
