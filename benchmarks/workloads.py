# SPDX-License-Identifier: Apache-2.0
"""The workloads, one for each promise about speed: what is run, what is measured, what it should come to."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from benchmarks import features, peers, policies
from benchmarks.accounting import Reading, Usage, private_bytes
from benchmarks.traffic import BODY_BYTES, Load, Traffic, wrk

Sample = dict[str, float]
"""What one round measured of one peer, by metric; the report knows the metrics' units."""

REFERENCE = "haproxy"
BALANCERS = ("haproxy", "nginx", "fastlb", "bare")


@dataclass
class Bench:
    """One invocation of the comparison: its traffic, its CPUs, its patience."""

    traffic: Traffic
    balancer_cpu: int
    load_cpu: int
    seconds: float
    warmup: float
    smoke: bool
    saturation: float = 0.0
    """HAProxy's requests a second on the first workload; measured when a workload first needs it."""

    def timed(self, load: Load) -> Load:
        return replace(load, seconds=self.seconds, warmup=self.warmup)

    def members(self, service: peers.Service) -> list[int]:
        return self.traffic.members[: policies.MEMBERS if service.policies else 2]

    def half_saturation(self) -> float:
        if not self.saturation:
            service = peers.Service("HTTP")
            name = "haproxy" if peers.version("haproxy") else "fastlb"
            with peers.running(name, service, self.members(service), self.balancer_cpu) as peer:
                done = self.traffic.run(self.timed(Load()), peer.port, peer.pids)
            self.saturation = done["answered"] / done["seconds"]
        return self.saturation / 2


@dataclass(frozen=True)
class Workload:
    key: str
    title: str
    measure: Callable[["Workload", Bench, str], Sample]
    metric: str = "cpu_us"
    goal: float = 1.0
    relative: bool = True
    """The goal is a ratio to another's figure; else it is the figure itself."""
    against: str = REFERENCE
    """Whose."""
    prepare: features.Prepare | None = None
    """Sees that a peer does what the row is about, and says what it is asked."""
    service: peers.Service = field(default_factory=lambda: peers.Service("HTTP"))
    load: Load = field(default_factory=Load)
    peers: tuple[str, ...] = BALANCERS
    unit: Literal["request", "body", "connection"] = "request"


def _check(workload: Workload, bench: Bench, peer: peers.Running) -> Load:
    """Before anything is timed: answers are right to the last byte and come from all members. What to ask this peer."""
    load = workload.load
    if workload.prepare:
        load = workload.prepare(workload.key, peer, load)
    requests = 8 if workload.service.bulk else max(32, len(load.requests))
    few = replace(load, connections=min(8, load.connections), rate=0.0)
    done = bench.traffic.check(few, peer.port, requests)
    failed = sum(done["failed"].values())
    if failed:
        raise SystemExit(f"{workload.key}: {peer.name}: {failed} of {requests} wrong: {done['failed']}")
    if done["reopened"] and not load.one_shot:
        raise SystemExit(
            f"{workload.key}: {peer.name} closed {done['reopened']} connections that were to stay open"
        )
    members = len(bench.members(workload.service))
    if BODY_BYTES[load.path] == 21 and not all(done["hits"][1 : members + 1]):
        raise SystemExit(f"{workload.key}: {peer.name} did not use all of {members} members: {done['hits']}")
    return load


def _figures(usage: Usage, cpu_ns: float, done: dict[str, object], count: float, seconds: float) -> Sample:
    latency: dict[str, float] = done["latency_ns"]  # type: ignore[assignment]
    failed: dict[str, int] = done["failed"]  # type: ignore[assignment]
    per_unit = cpu_ns / 1e3 / count
    return {
        "cpu_us": per_unit,
        "user_us": per_unit * usage.user_share,
        "system_us": per_unit * (1 - usage.user_share),
        "per_second": count / seconds,
        "p50_us": latency["p50"] / 1e3,
        "p99_us": latency["p99"] / 1e3,
        "busy": cpu_ns / 1e9 / seconds,
        "load_busy": float(done["own_cpu_ns"]) / 1e9 / seconds,  # type: ignore[arg-type]
        "others": usage.others,
        "failed": float(sum(failed.values())),
    }


def steady(workload: Workload, bench: Bench, name: str) -> Sample:
    """A load that does not change, for a while."""
    rate = bench.half_saturation() if workload.metric == "p99_us" else 0.0
    readings: list[Reading] = []
    with peers.running(name, workload.service, bench.members(workload.service), bench.balancer_cpu) as peer:
        load = replace(bench.timed(_check(workload, bench, peer)), rate=rate)
        for longer in (1, 10):  # a smoke run may be too short for a machine that is busy with other things
            readings.clear()
            done = bench.traffic.run(
                replace(load, seconds=load.seconds * longer),
                peer.port,
                peer.pids,
                lambda _: readings.append(Reading.take(peer.pids, bench.balancer_cpu)),
            )
            count = done["bytes"] / BODY_BYTES[load.path] if workload.unit == "body" else done["answered"]
            if count:
                break
        else:
            raise SystemExit(f"{workload.key}: {name} answered nothing: {done['failed']}")
    usage = Usage.between(*readings)
    return _figures(usage, sum(done["cpu_ns"]), done, count, done["seconds"])


def by_wrk(workload: Workload, bench: Bench, name: str) -> Sample:
    """The same, asked by wrk: a second opinion, from a load generator that is not ours."""
    with peers.running(name, workload.service, bench.members(workload.service), bench.balancer_cpu) as peer:
        load = bench.timed(_check(workload, bench, peer))
        bench.traffic.run(replace(load, seconds=0.05), peer.port, [])
        first = Reading.take(peer.pids, bench.balancer_cpu)
        done = wrk(load, peer.port, bench.load_cpu)
        usage = Usage.between(first, Reading.take(peer.pids, bench.balancer_cpu))
    return _figures(usage, usage.cpu_ns, done, done["answered"], usage.seconds)


def idle_memory(workload: Workload, bench: Bench, name: str) -> Sample:
    """Private memory that a process gains by connections that were served once and then stay open."""
    count = 500 if bench.smoke else 5000
    with peers.running(name, workload.service, bench.members(workload.service), bench.balancer_cpu) as peer:
        bench.traffic.run(replace(workload.load, seconds=0.2, warmup=0.1), peer.port, peer.pids)
        before = _settled(peer.pids)
        bench.traffic.hold(count, peer.port)
        after = _settled(peer.pids)
        done = bench.traffic.release()
    lost = done["lost_idle"] + sum(done["failed"].values())
    return {"bytes": (after - before) / count, "failed": float(lost)}


def _settled(pids: list[int]) -> int:
    """Private memory once it has stopped changing: what is given back when idle has been given back."""
    last = private_bytes(pids)
    for _ in range(20):
        time.sleep(0.05)
        now = private_bytes(pids)
        if now == last:
            break
        last = now
    return last


def member_added(workload: Workload, bench: Bench, name: str) -> Sample:
    """From the call that adds a member to a pool of 1,000, all in use, until a connection has reached that member.

    `call` is the call alone: the core picks the member from its return on, at the latest. `picked` includes a
    connection that is then made through the balancer.
    """
    first = bench.members(workload.service)
    members = first + bench.traffic.listen(1000 - len(first))
    with peers.running(name, workload.service, members, bench.balancer_cpu) as peer:
        bench.traffic.hold(len(members), peer.port)  # a session for each
        done = peer.ask(do="add", count=10 if bench.smoke else 200)
        held = bench.traffic.release()
    return {
        "picked_us": done["picked_seconds"]["p50"] * 1e6,
        "picked_p99_us": done["picked_seconds"]["p99"] * 1e6,
        "call_us": done["call_seconds"]["p50"] * 1e6,
        "call_p99_us": done["call_seconds"]["p99"] * 1e6,
        "failed": float(done["late"] + held["lost_idle"] + sum(held["failed"].values())),
    }


def picks(workload: Workload, bench: Bench, name: str) -> Sample:
    """Picks among 10,000 members and among 10, without sockets."""
    count = 100_000 if bench.smoke else 4_000_000
    with peers.running(name, workload.service, bench.members(workload.service), bench.balancer_cpu) as peer:
        few = peer.ask(do="pick", members=10, picks=count)
        many = peer.ask(do="pick", members=10_000, picks=count)
    found = {f"{algorithm}": many["ns"][algorithm] / few["ns"][algorithm] for algorithm in few["ns"]}
    return {"worst_ratio": max(found.values()), **{f"ratio {a}": r for a, r in found.items()}}


def changes(workload: Workload, bench: Bench, name: str) -> Sample:
    """The same rate twice: in quiet, and while members come, go and change weight."""
    count, seconds = (200, 0.3) if bench.smoke else (10_000, max(8.0, 4 * bench.seconds))
    load = replace(bench.timed(workload.load), rate=bench.half_saturation(), seconds=seconds)
    spare = bench.traffic.listen(16)
    with peers.running(name, workload.service, bench.members(workload.service), bench.balancer_cpu) as peer:
        quiet = bench.traffic.run(load, peer.port, peer.pids)

        def begin(edge: str) -> None:
            if edge == "begin":
                peer.tell(do="change", count=count, seconds=seconds * 0.9, spare=spare)

        live = bench.traffic.run(load, peer.port, peer.pids, begin)
        done = peer.answer()
    return {
        "p99_ratio": live["latency_ns"]["p99"] / quiet["latency_ns"]["p99"],
        "p99_quiet_us": quiet["latency_ns"]["p99"] / 1e3,
        "p99_us": live["latency_ns"]["p99"] / 1e3,
        "p50_us": live["latency_ns"]["p50"] / 1e3,
        "per_second": live["answered"] / live["seconds"],
        "change_us": done["call_seconds"]["p50"] * 1e6,
        "changes": float(done["changes"]),
        "overran": float(done["seconds"] > seconds),
        "failed": float(sum(live["failed"].values()) + sum(quiet["failed"].values())),
    }


_HTTP = peers.Service("HTTP")
_TCP = peers.Service("TCP")
_OWN = ("fastlb",)

WORKLOADS = [
    Workload("http", "HTTP keep-alive, 64 connections, 21-byte answer", steady, goal=0.55),
    Workload("http-wrk", "HTTP keep-alive, 64 connections, 21-byte answer, by wrk", by_wrk, goal=0.55),
    Workload(
        "http-fields",
        "HTTP keep-alive, 64 connections, with the fields of a browser and an application",
        steady,
        goal=0.55,
        load=Load(path="/f", fields=True),
    ),
    Workload(
        "http-connect",
        "HTTP, a new client connection per request",
        steady,
        goal=0.75,
        service=replace(_HTTP, one_shot=True),
        load=Load(one_shot=True),
    ),
    Workload(
        "policies-10",
        "HTTP keep-alive, ten L7 policies",
        steady,
        goal=0.60,
        service=replace(_HTTP, policies="ten"),
        prepare=features.routed("ten"),
        peers=("haproxy", "fastlb", "fastlb-plain", "bare"),
    ),
    Workload(
        "policies-1000",
        "HTTP keep-alive, 1,000 L7 policies by host and path",
        steady,
        goal=1.2,
        against="fastlb-plain",
        service=replace(_HTTP, policies="thousand"),
        prepare=features.routed("thousand"),
        peers=("haproxy", "haproxy-map", "haproxy-plain", "fastlb", "fastlb-plain", "bare"),
    ),
    Workload(
        "cookie",
        "HTTP keep-alive, HTTP_COOKIE persistence, a browser's fields, an application's answer",
        steady,
        goal=0.60,
        service=replace(_HTTP, cookie=True),
        load=Load(path="/f"),
        prepare=features.bound_by_cookie,
        peers=("haproxy", "fastlb"),
    ),
    Workload(
        "forwarded-for",
        "HTTP keep-alive, X-Forwarded-For, -Port and -Proto inserted",
        steady,
        goal=0.60,
        service=replace(_HTTP, forwarded=True),
        prepare=features.forwarded,
        peers=("haproxy", "nginx", "fastlb"),
    ),
    Workload("http-64k", "HTTP keep-alive, 64 KiB bodies", steady, goal=0.70, load=Load(path="/k")),
    Workload("tcp", "TCP keep-alive, small messages", steady, goal=0.80, service=_TCP),
    Workload(
        "tcp-connect",
        "TCP, a connection per request",
        steady,
        goal=0.85,
        service=replace(_TCP, one_shot=True),
        load=Load(one_shot=True),
    ),
    Workload(
        "tcp-16m",
        "TCP, 16 MiB bodies",
        steady,
        goal=0.40,
        service=replace(_TCP, bulk=True),
        load=Load(path="/m", connections=8),
        peers=("haproxy", "haproxy-splice", "nginx", "fastlb", "bare"),
        unit="body",
    ),
    Workload(
        "latency",
        "HTTP latency at half of HAProxy's saturation rate",
        steady,
        metric="p99_us",
        goal=0.8,
        load=Load(spin=True),
    ),
    Workload(
        "memory",
        "memory per idle keep-alive connection",
        idle_memory,
        metric="bytes",
        goal=1024,
        relative=False,
        unit="connection",
    ),
    Workload(
        "member-added",
        "one member added to a live pool of 1,000, until the core picks it",
        member_added,
        metric="picked_us",
        goal=1000,
        relative=False,
        service=replace(_TCP, algorithm="LEAST_CONNECTIONS"),
        peers=_OWN,
    ),
    Workload(
        "picks",
        "a pick among 10,000 members against one among 10",
        picks,
        metric="worst_ratio",
        goal=1.5,
        relative=False,
        peers=_OWN,
    ),
    Workload(
        "changes",
        "10,000 member changes under load, p99 against the quiet run",
        changes,
        metric="p99_ratio",
        goal=1.2,
        relative=False,
        peers=_OWN,
    ),
]
