# SPDX-License-Identifier: Apache-2.0
"""Serve what a configuration file describes, in the foreground, until SIGTERM or Ctrl-C."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator

from fastlb import Engine, LoadBalancer, config

ENDS = (signal.SIGINT, signal.SIGTERM)


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
    balancers = config.load(options.file, engine=engine)
    config.check_startable(options.file, balancers)
    with contextlib.ExitStack() as stack:
        stack.callback(engine.stop, 0)
        with held_back(*ENDS):
            engine.start()
            for balancer in balancers:
                balancer.start()
            for line in listening(balancers):
                say(line)
            print("ready", flush=True)
            number = signal.sigwait(ENDS)
        # From here on the next signal ends the waiting: it raises KeyboardInterrupt.
        say(f"{signal.Signals(number).name}: no new clients; sessions under way may finish (again: cut them)")
        engine.stop(max(balancer.drain_timeout for balancer in balancers))
    return 0


@contextlib.contextmanager
def held_back(*signals: signal.Signals) -> Iterator[None]:
    """Threads that start in here never get these signals, and no Python code is interrupted by them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def listening(balancers: list[LoadBalancer]) -> Iterator[str]:
    for balancer in balancers:
        for listener in balancer.listeners:
            if balancer.admin_state_up and listener.admin_state_up:
                for vip in balancer.vips:
                    host = f"[{vip}]" if ":" in vip else vip
                    name = f" {listener.name}" if listener.name else ""
                    yield f"listening on {host}:{listener.protocol_port} {listener.protocol}{name}"


def say(text: str) -> None:
    print(f"fastlb: {text}", file=sys.stderr, flush=True)
