# SPDX-License-Identifier: Apache-2.0
"""Serve Octavia's API: the load balancers that clients make there are kept, and forward, until SIGTERM."""

import argparse
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from fastlb.api import access, clouds, settings
from fastlb.api.access import Identify
from fastlb.api.certificate import Certificate
from fastlb.api.settings import Settings
from fastlb.cli.notify import notify
from fastlb.cli.signals import ENDS, held_back
from fastlb.errors import ConfigError, ConfigFileError, FastLBError

if TYPE_CHECKING:
    from fastlb.api.server import Server

log = logging.getLogger("fastlb")

EPILOG = """\
examples:
  fastlb serve                                 everything by default: http://127.0.0.1:9876, no tokens
  fastlb serve --clouds-yaml > clouds.yaml     then: openstack --os-cloud fastlb loadbalancer list
  fastlb serve --config /etc/fastlb.toml --check
  fastlb serve --bind 0.0.0.0:9876 --tls-certificate cert.pem --tls-key key.pem
                                               others may come, with tokens of `fastlb token create`

SIGTERM and Ctrl-C end it: requests and sessions under way may finish; a second one cuts them.
SIGHUP reads the TLS certificate again. Exit status: 2 for settings that are wrong, 1 when it cannot be served.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        help="where the API listens: 127.0.0.1:9876 (the default), [::1]:9876, unix:/path; port 0: any free one. What "
        "others can reach needs TLS, and gives nothing without a token",
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        help="where load balancers are kept (default: $STATE_DIRECTORY, else fastlb in the XDG state folder)",
    )
    parser.add_argument("--config", metavar="FILE", help="settings: TOML, JSON or YAML by its suffix")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="threads that forward traffic (default: one for each CPU that may be used)",
    )
    parser.add_argument(
        "--auth",
        choices=settings.AUTH,
        help="who may use the API: everybody, who has a token, whom Keystone knows (default: none where only this "
        "machine can reach it, else tokens)",
    )
    parser.add_argument("--tls-certificate", metavar="FILE", help="speak TLS with this certificate (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", help="its key (PEM)")
    parser.add_argument(
        "--insecure-bind",
        action="store_const",
        const=True,
        help="serve others without TLS: tokens and all else can be read on the way",
    )
    parser.add_argument(
        "--log-level", choices=settings.LOG_LEVELS, help="what goes to stderr (default: info, each request)"
    )
    parser.add_argument(
        "--check", action="store_true", help="say whether the settings are right, and end: exit status 0 or 2"
    )
    parser.add_argument(
        "--clouds-yaml", action="store_true", help="print a clouds.yaml for this server's clients, and end"
    )


def run(options: argparse.Namespace) -> int:
    """Status 0 when it was ended by a signal and everything under way has finished."""
    try:
        chosen = settings.load(options.config, given(options))
        if options.clouds_yaml:
            print(clouds.yaml(chosen), end="", flush=True)
            return 0
        certificate = None if chosen.tls is None else Certificate(chosen.tls.certificate, chosen.tls.key)
        identify = identity(chosen)
    except (ConfigError, ConfigFileError) as error:
        print(f"fastlb: {error}", file=sys.stderr)
        return 2
    if options.check:
        print(f"ok: {summary(chosen)}", flush=True)
        return 0
    check_installed()
    start_logging(chosen.log_level)
    with held_back(signal.SIGHUP), contextlib.ExitStack() as stack:
        with held_back(*ENDS):
            server = start(chosen, identify, certificate, stack)
            print(f"ready {server.url}", flush=True)
            notify(f"READY=1\nSTATUS=Serving {server.url}")
            number = wait(certificate)
        # From here on the next signal ends the waiting: it raises KeyboardInterrupt.
        notify("STOPPING=1")
        log.info("%s: what is under way may finish (again: cut it)", signal.Signals(number).name)
    log.info("ended")
    return 0


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of the command line."""
    found = {
        name: getattr(options, name)
        for name in ("bind", "state", "workers", "auth", "insecure_bind", "log_level")
        if getattr(options, name) is not None
    }
    if options.tls_certificate or options.tls_key:
        pair = {"certificate": options.tls_certificate, "key": options.tls_key}
        found["tls"] = {name: file for name, file in pair.items() if file}
    return found


def summary(chosen: Settings) -> str:
    return f"{chosen.bind}, authentication {chosen.authentication}, state in {chosen.state_folder}"


def identity(chosen: Settings) -> Identify:
    """How callers are told apart."""
    if chosen.authentication == "none":
        # Whoever may write to a Unix socket is no browser, and puts into Host what it likes.
        return access.from_programs(access.anyone, hosts=None if chosen.bind.path else chosen.allowed_hosts)
    if chosen.authentication == "keystone":
        from fastlb.api.keystone_access import by_keystone

        return access.from_programs(by_keystone(chosen.keystone))
    from fastlb.api.tokens import Tokens

    tokens = Tokens(chosen.tokens_file)
    if not tokens.all():
        print(
            f"fastlb: {tokens.path}: no tokens yet; `fastlb token create --help`", file=sys.stderr, flush=True
        )
    return access.from_programs(access.by_token(tokens, scheme="https" if chosen.tls else "http"))


def check_installed() -> None:
    """Raises FastLBError when the extra is missing, with the command that installs it."""
    try:
        import fastlb.api.server  # noqa: F401 - here to see whether it can be
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "fastlb"):
            raise
        raise FastLBError(f"serve needs {missing}: pip install 'fastlb[server]'") from None


def start_logging(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Its own words on starting and stopping repeat ours; what goes wrong is worth a line.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def start(
    chosen: Settings, identify: Identify, certificate: Certificate | None, stack: contextlib.ExitStack
) -> "Server":
    """The API over its controller, engine and store. The stack ends them in turn: the API, that no more changes come;
    the load balancers, whose sessions may finish; the store."""
    from fastlb.api.server import Server
    from fastlb.controller import Controller
    from fastlb.engine import Engine
    from fastlb.network import Networking
    from fastlb.store import open_store

    store = stack.enter_context(open_store(chosen.state_folder))
    engine = Engine(chosen.workers).start()  # its threads stay, also while there is no load balancer
    stack.callback(engine.stop, 0)
    controller = Controller(
        store,
        engine=engine,
        networking=Networking(
            chosen.network, interface=chosen.interface, any_address=chosen.authentication == "none"
        ),
        quotas=msgspec.structs.asdict(chosen.quotas),
    )
    server = Server(
        controller,
        host=chosen.bind.host,
        port=chosen.bind.port,
        path=chosen.bind.path,
        socket_mode=int(chosen.socket_mode, 8),
        certificate=certificate,
        identify=identify,
        body_limit=chosen.limits.body_bytes,
    )
    stack.callback(server.stop)
    server.listen()  # before anything forwards: a port that is taken is known at once

    def close(kind: type[BaseException] | None, *_: object) -> None:
        controller.close(None if kind is None else 0)

    stack.push(close)
    controller.open()
    log.info("%d load balancers in %s", len(controller.load_balancers), chosen.state_folder)
    stack.callback(server.stop)
    return server.start()


def wait(certificate: Certificate | None) -> int:
    """Until a signal that ends it, which is the answer."""
    while True:
        number = signal.sigwait((*ENDS, signal.SIGHUP))
        if number in ENDS:
            return number
        if certificate is None:
            log.info("SIGHUP: there is nothing to read again")
            continue
        try:
            certificate.reload()
        except ConfigError as error:
            log.error("SIGHUP: %s; nothing was changed", error)
        else:
            log.info("SIGHUP: the TLS certificate was read again")
