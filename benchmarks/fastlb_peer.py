# SPDX-License-Identifier: Apache-2.0
"""fastlb as a peer of the comparison: a process that serves, and takes commands on stdin.

    python -m benchmarks.fastlb_peer [--policies SET] [--cookie] [--forwarded] PROTOCOL LB_ALGORITHM MEMBER_PORT...

It prints the port it listens on. A command is a line of JSON, and so is its answer:

    {"do": "change", "count": 10000, "seconds": 10, "spare": [PORT…]}   live changes, evenly spaced
    {"do": "add", "count": 200}                          times adding a member until the core has picked it
    {"do": "pick", "members": 10000, "picks": 1000000}   times picks among so many members, without sockets
"""

import argparse
import json
import os
import signal
import socket
import sys
import time
from typing import Any

import fastlb
from benchmarks import policies

NS = 1e9
PICKED = (
    "ROUND_ROBIN",
    "LEAST_CONNECTIONS",
    "SOURCE_IP",
    "SOURCE_IP_PORT",
    "RANDOM_TWO_CHOICES",
    "PEAK_EWMA",
    "MAGLEV",
)


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "max": ordered[-1],
    }


def change(pool: fastlb.Pool, spare: list[int], count: int, seconds: float) -> dict[str, Any]:
    """Everything an operator does to a member, over and over: add, weigh, drain, disable, remove."""
    took = []
    started = time.monotonic()
    extra: list[fastlb.Member] = []
    steady = list(pool.members)
    for number in range(count):
        due = started + number * seconds / count
        while (early := due - time.monotonic()) > 0:
            time.sleep(early)
        before = time.perf_counter_ns()
        match number % 6:
            case 0:
                extra.append(pool.create_member("127.0.0.1", spare[number // 6 % len(spare)], weight=2))
            case 1:
                extra[-1].weight = 1 + number % 7
            case 2:
                steady[number // 6 % len(steady)].weight = 1 + number // 6 % 3
            case 3:
                extra[-1].weight = 0
            case 4:
                extra[-1].admin_state_up = number % 4 == 0
            case _:
                extra.pop().delete()
        took.append((time.perf_counter_ns() - before) / NS)
    return {"changes": count, "seconds": time.monotonic() - started, "call_seconds": percentiles(took)}


def add(pool: fastlb.Pool, port: int, count: int) -> dict[str, Any]:
    """Adds a member, connects once, and sees that the connection was given to the new one.

    The pool is LEAST_CONNECTIONS and every other member has a session, so the first connection after the core knows
    the new member must go to it; one that goes elsewhere is counted as late.
    """
    calls, picks, late = [], [], 0
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0.5)
        address = listening.getsockname()
        for _ in range(count):
            before = time.perf_counter_ns()
            member = pool.create_member(*address)
            called = time.perf_counter_ns()
            with socket.create_connection(("127.0.0.1", port)):
                try:
                    conn, _ = listening.accept()
                except TimeoutError:
                    late += 1
                else:
                    picks.append((time.perf_counter_ns() - before) / NS)
                    conn.close()
            calls.append((called - before) / NS)
            member.delete()
    figures = {"call_seconds": percentiles(calls), "picked_seconds": percentiles(picks or [0.5])}
    return {"adds": count, "late": late, **figures}


def pick(members: int, picks: int) -> dict[str, Any]:
    """Nanoseconds a pick, by algorithm. Building the scheduler is in the call, so it is timed alone and taken off."""
    found = {}
    for algorithm in PICKED:
        times = {}
        for count in (1, picks + 1):
            tries = []
            for _ in range(3):
                before = time.perf_counter_ns()
                fastlb.schedule(algorithm, [1] * members, count)
                tries.append(time.perf_counter_ns() - before)
            times[count] = min(tries)
        found[algorithm] = (times[picks + 1] - times[1]) / picks
    return {"members": members, "ns": found}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fastlb_peer")
    parser.add_argument("--policies", choices=list(policies.SETS), default="", help="a set of them")
    parser.add_argument("--cookie", action="store_true", help="session persistence by HTTP_COOKIE")
    parser.add_argument("--forwarded", action="store_true", help="insert X-Forwarded-For, -Port and -Proto")
    parser.add_argument("protocol")
    parser.add_argument("lb_algorithm")
    parser.add_argument("ports", type=int, nargs="+", metavar="MEMBER_PORT")
    return parser.parse_args()


def route(listener: fastlb.Listener, pools: list[fastlb.Pool], wanted: list[policies.Policy]) -> None:
    for one in wanted:
        if one.pool:
            policy = listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=pools[one.pool])
        else:
            policy = listener.create_l7policy(action="REJECT")
        for rule in one.rules:
            policy.create_rule(type=rule.type, compare_type=rule.compare_type, key=rule.key, value=rule.value)


FORWARDED = {"X-Forwarded-For": "true", "X-Forwarded-Port": "true", "X-Forwarded-Proto": "true"}


def main() -> None:
    options = arguments()
    engine = fastlb.Engine(workers=1)
    lb = fastlb.LoadBalancer(name="bench", vip_address="127.0.0.1", engine=engine)
    pools = []
    for ports in policies.dealt(options.ports) if options.policies else [options.ports]:
        pool = lb.create_pool(
            protocol=options.protocol,
            lb_algorithm=options.lb_algorithm,
            session_persistence={"type": "HTTP_COOKIE"} if options.cookie else None,
        )
        for port in ports:
            pool.create_member("127.0.0.1", port)
        pools.append(pool)
    pool = pools[0]
    listener = lb.create_listener(
        name="bench",
        protocol=options.protocol,
        protocol_port=0,
        default_pool=pool,
        insert_headers=FORWARDED if options.forwarded else None,
    )
    if options.policies:
        route(listener, pools, policies.SETS[options.policies]())
    with lb:
        # The worker stays as it was started. This thread is control plane from here on: it leaves the worker its
        # CPU, and goes behind the load on the other one.
        if control := os.environ.get("FASTLB_BENCH_CONTROL_CPU"):
            os.sched_setaffinity(0, {int(control)})
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        print(listener.protocol_port, flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            match command.pop("do"):
                case "change":
                    answer = change(pool, **command)
                case "add":
                    answer = add(pool, listener.protocol_port, **command)
                case "pick":
                    answer = pick(**command)
                case other:
                    answer = {"error": f"unknown command {other}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
