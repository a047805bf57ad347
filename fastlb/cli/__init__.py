# SPDX-License-Identifier: Apache-2.0
"""The command line: one module a command. `fastlb demo` needs nothing beyond what `pip install .` brings."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from fastlb.errors import FastLBError

# Each command's module is imported when the command is used: here stands the first line of its docstring.
COMMANDS = {
    "demo": "Play the whole story: two web servers, a failure, live changes; exit status 0 if every step held.",
    "check": "Read configuration files and say what is in them, or what is wrong; exit status 1 if any is wrong.",
    "explain": "Say what would become of a request, and why: policies, pool, members, what a member would be sent.",
    "run": "Serve what a configuration file describes, in the foreground, until SIGTERM; SIGHUP reads it again.",
    "serve": "Serve Octavia's API: the load balancers that clients make there are kept, and forward, until SIGTERM.",
    "token": "Give out tokens for the API of `fastlb serve`, list them, revoke them.",
}


class Version(argparse.Action):
    """Looked up when asked for: the metadata of the installed package is slow to import."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        try:
            version = metadata.version("fastlb")
        except metadata.PackageNotFoundError:
            version = "(a source tree, not installed)"
        print(f"fastlb {version}")
        parser.exit()


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """With the arguments of the chosen command, and the names of the others."""
    top = argparse.ArgumentParser(
        prog="fastlb", description="A load balancer in one process, with Octavia's objects."
    )
    top.add_argument("--version", action=Version, nargs=0, help="say which version this is, and end")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        if name == chosen:
            module = importlib.import_module(f"fastlb.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return top


def terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM unwinds like Ctrl-C does, so that children and sockets are closed."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    if arguments is None:
        arguments = sys.argv[1:]
    options = parser(arguments[0] if arguments else None).parse_args(arguments)
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
