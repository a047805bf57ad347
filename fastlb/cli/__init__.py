# SPDX-License-Identifier: Apache-2.0
"""The command line: one module a command. `fastlb demo` needs nothing beyond what `pip install .` brings."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from fastlb.cli import demo
from fastlb.errors import FastLBError

COMMANDS = (demo,)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="fastlb", description="A load balancer in one process, with Octavia's objects."
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        purpose = (module.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(name, help=purpose, description=purpose)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM unwinds like Ctrl-C does, so that children and sockets are closed."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, terminate)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader (`| head`) has gone. Python would complain once more when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (FastLBError, OSError) as error:
        print(f"fastlb: {error}", file=sys.stderr)
        return 1
