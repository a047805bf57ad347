# SPDX-License-Identifier: Apache-2.0
"""Serve what a configuration file describes, in the foreground, until SIGTERM; SIGHUP reads it again."""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterable, Iterator

from fastlb import ConfigFileError, Engine, FastLBError, LoadBalancer, config, reconcile
from fastlb.cli.signals import ENDS, held_back

LOOK_S = 0.1
"""How often load balancers that have left the file are looked at, whether their sessions have ended."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON, or TOML or YAML by its suffix")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="threads that forward traffic (default: one for each CPU that may be used)",
    )


def run(options: argparse.Namespace) -> int:
    """Status 0 when the sessions under way at the end have ended, or were cut after the longest drain_timeout."""
    engine = Engine(options.workers)
    service = Service(options.file, engine)
    with contextlib.ExitStack() as stack:
        stack.callback(engine.stop, 0)
        with held_back(*ENDS, signal.SIGHUP):
            service.start()
            print("ready", flush=True)
            number = service.serve()
        # From here on the next signal ends the waiting: it raises KeyboardInterrupt.
        say(f"{signal.Signals(number).name}: no new clients; sessions under way may finish (again: cut them)")
        engine.stop(service.patience())
    return 0


class Service:
    """The load balancers of a file, and those that have left it and still have sessions."""

    def __init__(self, file: str, engine: Engine) -> None:
        self.file = file
        self.engine = engine
        self.balancers = self.load()
        self.leaving: dict[LoadBalancer, float] = {}

    def load(self) -> list[LoadBalancer]:
        balancers = config.load(self.file, engine=self.engine)
        config.check_startable(self.file, balancers)
        return balancers

    def start(self) -> None:
        self.engine.start()
        for balancer in self.balancers:
            balancer.start()
        for line in listening(self.balancers):
            say(line)

    def serve(self) -> int:
        """Until a signal that ends it, which is the answer."""
        while True:
            if self.leaving:
                taken = signal.sigtimedwait((*ENDS, signal.SIGHUP), LOOK_S)
                number = taken.si_signo if taken else 0
            else:
                number = signal.sigwait((*ENDS, signal.SIGHUP))
            if number in ENDS:
                return number
            if number == signal.SIGHUP:
                self.reload()
            self.bury()

    def patience(self) -> float:
        return max((one.drain_timeout for one in (*self.balancers, *self.leaving)), default=0.0)

    def reload(self) -> None:
        """Do what the file says now, as far as that is not so already. A file that is wrong changes nothing."""
        try:
            wanted = self.load()
        except ConfigFileError as error:
            say(f"SIGHUP: {error}; nothing was changed")
            return
        before = set(listening(self.balancers))
        pairs = paired(self.balancers, wanted)
        kept = [ours for ours, _ in pairs if ours is not None]
        done = []
        for balancer in self.balancers:
            if balancer not in kept:
                self.leave(balancer)
                done.append(f"without {balancer._who()}")
        failed = attempt(pairs, done)
        # What wanted the port of a listener that went after it finds that free now.
        failed = failed and attempt(pairs, done)
        self.balancers = [ours or theirs for ours, theirs in pairs if ours is not None or theirs.started]
        for words in done:
            say(f"SIGHUP: {words}")
        for problem in failed:
            say(f"SIGHUP: could not be done: {problem}")
        for line in listening(self.balancers):
            if line not in before:
                say(line)
        changes = "1 change" if len(done) == 1 else f"{len(done)} changes"
        say(f"SIGHUP: {self.file}: {changes}" + (f", {len(failed)} failed" if failed else ""))

    def leave(self, balancer: LoadBalancer) -> None:
        """Close its ports; what is under way there may finish."""
        balancer.admin_state_up = False
        self.leaving[balancer] = time.monotonic() + balancer.drain_timeout

    def bury(self) -> None:
        for balancer, end in list(self.leaving.items()):
            if not balancer.stats.active_connections or time.monotonic() >= end:
                del self.leaving[balancer]
                balancer.stop(0)
                balancer.close()


Pair = tuple[LoadBalancer | None, LoadBalancer]


def paired(running: list[LoadBalancer], wanted: list[LoadBalancer]) -> list[Pair]:
    """Each that is wanted with the one that runs and may become it: of the same name, on the same addresses."""
    left = list(running)
    pairs: list[Pair] = []
    for theirs in wanted:
        ours = next(
            (one for one in left if one.name == theirs.name and reconcile.same_place(one, theirs)), None
        )
        if ours is not None:
            left.remove(ours)
        pairs.append((ours, theirs))
    return pairs


def attempt(pairs: list[Pair], done: list[str]) -> list[FastLBError]:
    """Change and start what is not as it should be; what could not be done. Words for the rest go to `done`."""
    failed: list[FastLBError] = []
    for ours, theirs in pairs:
        if ours is not None:
            changes, refusals = reconcile.apply(ours, theirs)
            done += changes
            failed += refusals
    for ours, theirs in pairs:
        if ours is None and not theirs.started:
            try:
                theirs.start()
            except FastLBError as error:
                failed.append(error)
            else:
                done.append(f"new {theirs._who()}")
    return failed


def listening(balancers: Iterable[LoadBalancer]) -> Iterator[str]:
    for balancer in balancers:
        for listener in balancer.listeners:
            if balancer.admin_state_up and listener.admin_state_up:
                for vip in balancer.vips:
                    host = f"[{vip}]" if ":" in vip else vip
                    name = f" {listener.name}" if listener.name else ""
                    yield f"listening on {host}:{listener.protocol_port} {listener.protocol}{name}"


def say(text: str) -> None:
    print(f"fastlb: {text}", file=sys.stderr, flush=True)
