# SPDX-License-Identifier: Apache-2.0
"""Play the whole story: two web servers, a failure, live changes; exit status 0 if every step held."""

import argparse
import contextlib
import itertools
import shlex
import threading
import time
from collections.abc import Callable, Iterator

import fastlb
from fastlb.cli import tables
from fastlb.cli.traffic import Clients, Hit, WebServer, failures, get, shares

ADDRESS = "127.0.0.1"
PACE = 0.1  # seconds between two requests while the watched server is down
CLIENTS = 4
SAMPLE = 400  # requests to judge shares by


class StepFailed(Exception):
    """A step did not hold; the message says what was seen."""


def expect(held: bool, seen: str) -> None:
    if not held:
        raise StepFailed(seen)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="leave it running at the end, until Ctrl-C")
    parser.add_argument(
        "--delay",
        type=int,
        default=1,
        metavar="S",
        help="seconds between two probes of a member (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="port of the load balancer (default: a free one)"
    )


def run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        story = Story(options, stack)
        held = story.play()
        print(f"\n{story.summary(held, time.monotonic() - started)}")
        if options.keep and story.port:
            print(f"\nStill running: curl {story.url}   (Ctrl-C ends it)", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    return 0 if held else 1


def say(text: str = "") -> None:
    print(text, flush=True)


class Story:
    """The steps, in order; each builds on what the one before it left."""

    def __init__(self, options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
        self.delay: int = options.delay
        self.wanted_port: int = options.port
        self.stack = stack
        self.port = 0
        self.requests = 0
        self.failed = 0
        self.held: list[str] = []
        # What takes longer than this does not come any more: a few probes, each with its timeout, and a slow machine.
        self.patience = 10.0 + 6.0 * self.delay

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.port}/"

    def play(self) -> bool:
        steps = (
            ("Two web servers", self.start_servers),
            ("Load balancer, listener, pool, two members", self.build),
            ("A health monitor", self.monitor),
            ("webserver2 is killed, and comes back", self.kill),
            ("Changes while requests run", self.change),
            ("Statistics", self.statistics),
        )
        for number, (title, step) in enumerate(steps, 1):
            say(f"\n{number}. {title}\n")
            try:
                outcome = step()
            except (StepFailed, fastlb.FastLBError, OSError) as problem:
                say(f"\n   FAILED: {problem}")
                self.held.append(f"{number}. FAILED  {title}: {problem}")
                return False
            say(f"\n   held: {outcome}")
            self.held.append(f"{number}. held  {title}: {outcome}")
        return True

    def summary(self, held: bool, seconds: float) -> str:
        verdict = "Every step held" if held else "A step FAILED"
        counted = f"{self.requests} requests, {self.failed} failed, {seconds:.1f} s"
        return "\n".join(["Summary", "", *self.held, "", f"{verdict}: {counted}."])

    # What the steps share.

    def count(self, hits: list[Hit]) -> None:
        self.requests += len(hits)
        self.failed += len(failures(hits))

    def statuses(self) -> str:
        rows = [
            (kind, thing.name, thing.provisioning_status, thing.operating_status)
            for kind, thing in (
                ("load balancer", self.lb),
                ("listener", self.listener),
                ("pool", self.pool),
                *(("member", member) for member in self.pool.members),
            )
        ]
        return tables.table(("object", "name", "provisioning_status", "operating_status"), rows)

    def expect_statuses(self, lb: str, pool: str, **members: str) -> None:
        seen = {"lb": self.lb, "pool": self.pool, **{member.name: member for member in self.pool.members}}
        for name, status in {"lb": lb, "pool": pool, **members}.items():
            deadline = time.monotonic() + self.patience
            while (now := seen[name].operating_status) != status:
                expect(
                    time.monotonic() < deadline, f"{name} is {now}, not {status}, after {self.patience:g} s"
                )
                time.sleep(0.01)

    def watch(self, done: Callable[[], bool], what: str) -> list[Hit]:
        """Requests, one every PACE seconds and a line each, until done."""
        hits: list[Hit] = []
        deadline = time.monotonic() + self.patience
        while not done():
            expect(time.monotonic() < deadline, f"after {self.patience:g} s: {what}")
            hit = get(self.port)
            hits.append(hit)
            now = time.time()
            clock = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
            answer = f"you hit: {hit.server}" if not hit.error else f"FAILED: {hit.error}"
            say(f"   {clock}  {answer:<24}{hit.seconds * 1000:6.1f} ms")
            time.sleep(max(0.0, hit.began + PACE - time.monotonic()))
        self.count(hits)
        return hits

    # The steps.

    def start_servers(self) -> str:
        self.servers = [self.stack.enter_context(WebServer(name)) for name in ("webserver1", "webserver2")]
        for server in self.servers:
            say(f"   {server.name}: process {server.pid}, http://{ADDRESS}:{server.port}/")
        return "both listen"

    def build(self) -> str:
        self.lb = fastlb.LoadBalancer(name="demo", vip_address=ADDRESS)
        self.stack.callback(self.lb.close)
        self.listener = self.lb.create_listener(name="http", protocol="HTTP", protocol_port=self.wanted_port)
        self.pool = self.listener.create_pool(name="web", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
        for server in self.servers:
            self.pool.create_member(ADDRESS, server.port, name=server.name)
        self.lb.start()
        self.port = self.listener.protocol_port
        for title, objects, columns in (
            ("load balancer", [self.lb], tables.LOAD_BALANCERS),
            ("listener", [self.listener], tables.LISTENERS),
            ("pool", [self.pool], tables.POOLS),
            ("members", self.pool.members, tables.MEMBERS),
        ):
            say(f"{title}\n{tables.listed(objects, columns)}")
        self.expect_statuses("ONLINE", "ONLINE", webserver1="NO_MONITOR", webserver2="NO_MONITOR")

        say(f"\n   ten times: {shlex.join(['curl', self.url])}\n")
        hits = [get(self.port) for _ in range(10)]
        self.count(hits)
        for hit in hits:
            say(f"   {'you hit: ' + hit.server if not hit.error else 'FAILED: ' + hit.error}")
        expect(not failures(hits), f"{len(failures(hits))} of 10 requests failed")
        alternating = all(one.server != two.server for one, two in itertools.pairwise(hits))
        expect(alternating, "the requests did not alternate")
        return "ten requests, strictly alternating"

    def monitor(self) -> str:
        began = time.monotonic()
        monitor = self.pool.create_health_monitor(
            name="alive",
            type="HTTP",
            url_path="/",
            delay=self.delay,
            timeout=self.delay,
            max_retries=2,
            max_retries_down=2,
        )
        self.expect_statuses("ONLINE", "ONLINE", webserver1="ONLINE", webserver2="ONLINE")
        seconds = time.monotonic() - began
        say(f"health monitor\n{tables.shown(monitor, tables.HEALTH_MONITOR)}")
        say(f"members\n{tables.listed(self.pool.members, tables.MEMBERS)}")
        return f"NO_MONITOR -> ONLINE after {seconds:.1f} s"

    def kill(self) -> str:
        victim, member = self.servers[1], self.pool.members[1]
        say(f"   one request every {PACE:g} s\n")
        # Long enough for both to have passed a probe: one that never did goes out at its first failure.
        hits = self.watch(passed(2.0 * self.delay), "")
        say(f"\n   kill -9 {victim.pid}   (webserver2)\n")
        victim.kill()
        began = time.monotonic()
        hits = self.watch(lambda: member.operating_status == "ERROR", "webserver2 is still in use")
        out = time.monotonic() - began
        hits += self.watch(counted(5), "")
        say(f"\n{self.statuses()}")
        self.expect_statuses("DEGRADED", "DEGRADED", webserver1="ONLINE", webserver2="ERROR")
        lost = failures(hits)
        say(f"\n   {len(hits)} requests since, {len(lost)} failed; taken out after {out:.1f} s")
        say(f"   {member.stats.retries} were first offered to webserver2, and went on to webserver1")
        expect(not lost, f"{len(lost)} requests failed: {', '.join(sorted(set(lost)))}")
        expect("webserver2" not in shares(hits), "a dead server answered")

        victim.start()
        say(f"\n   webserver2 starts again: process {victim.pid}\n")
        began = time.monotonic()
        hits = self.watch(lambda: member.operating_status == "ONLINE", "webserver2 is not back")
        back = time.monotonic() - began
        hits += self.watch(counted(6), "")
        say(f"\n{self.statuses()}")
        self.expect_statuses("ONLINE", "ONLINE", webserver1="ONLINE", webserver2="ONLINE")
        lost = failures(hits)
        expect(not lost, f"{len(lost)} requests failed: {', '.join(sorted(set(lost)))}")
        expect(shares(hits[-6:]) == {"webserver1": 3, "webserver2": 3}, "webserver2 gets no share again")
        return f"0 requests failed; out after {out:.1f} s, back after {back:.1f} s"

    def change(self) -> str:
        say(f"   {CLIENTS} clients send requests without a break\n")
        with Clients(self.port, CLIENTS, pause=0.002) as clients:
            clients.next(SAMPLE // 4)
            third = self.stack.enter_context(WebServer("webserver3"))
            say(f"   {third.name}: process {third.pid}, http://{ADDRESS}:{third.port}/\n")
            with changing("create member webserver3"):
                member = self.pool.create_member(ADDRESS, third.port, name=third.name)
            # It is checked before it reads ONLINE, and counts as up until a check says otherwise.
            self.expect_shares(clients, webserver1=1, webserver2=1, webserver3=1)
            with changing("set webserver3 --weight 2"):
                member.weight = 2
            self.expect_shares(clients, webserver1=1, webserver2=1, webserver3=2)
            with changing("set webserver1 --weight 0   (drains)"):
                self.pool.members[0].weight = 0
            self.expect_shares(clients, webserver2=1, webserver3=2)
            self.expect_statuses(
                "ONLINE", "ONLINE", webserver1="DRAINING", webserver2="ONLINE", webserver3="ONLINE"
            )
            say(f"\nmembers\n{tables.listed(self.pool.members, tables.MEMBERS)}")
        hits = clients.hits
        self.count(hits)
        lost = failures(hits)
        expect(not lost, f"{len(lost)} of {len(hits)} requests failed: {', '.join(sorted(set(lost)))}")
        return f"{len(hits)} requests through it all, 0 failed"

    def expect_shares(self, clients: Clients, **weights: int) -> None:
        """What the clients get from now on is spread as the weights say: one sequence over all of them."""
        hits = clients.next(SAMPLE)
        seen, total = shares(hits), sum(weights.values())
        say("     next " + ", ".join(f"{name}: {seen[name]}" for name in sorted(seen)) + f" of {len(hits)}")
        expect(
            not failures(hits),
            f"{len(failures(hits))} requests failed: {failures(hits)[0] if failures(hits) else ''}",
        )
        expect(set(seen) == set(weights), f"answers came from {', '.join(sorted(seen))}")
        for name, weight in weights.items():
            fair = len(hits) * weight / total
            # Requests under way at either end of the sample, and health checks, do not move a share by more.
            expect(
                abs(seen[name] - fair) <= 4 * clients.number,
                f"{name} answered {seen[name]}, fair is {fair:.0f}",
            )

    def statistics(self) -> str:
        # A client's close reaches the balancer a moment after the client has gone on.
        deadline = time.monotonic() + self.patience
        while (stats := self.lb.stats).active_connections:
            expect(time.monotonic() < deadline, f"{stats.active_connections} connections are still open")
            time.sleep(0.01)
        say(f"statistics\n{tables.shown(stats, tables.STATISTICS)}")
        expect(stats.request_errors == 0, f"{stats.request_errors} request errors")
        expect(stats.requests == self.requests, f"{stats.requests} requests counted, {self.requests} sent")
        return f"{stats.requests} requests on {stats.total_connections} connections"


def counted(number: int) -> Callable[[], bool]:
    """True from the call after the `number`th on."""
    calls = itertools.count()
    return lambda: next(calls) >= number


def passed(seconds: float) -> Callable[[], bool]:
    """True when so much time has passed since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


@contextlib.contextmanager
def changing(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    say(f"   {what:<38} done in {(time.perf_counter() - began) * 1000:.2f} ms")
