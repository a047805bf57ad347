# SPDX-License-Identifier: Apache-2.0
"""Say what would become of a request, and why: policies, pool, members, what a member would be sent."""

import argparse
import ipaddress

from fastlb import Conflict, Listener, NotFound, Protocol, config

CLIENT = ("192.0.2.7", 4711)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON, or TOML or YAML by its suffix")
    parser.add_argument(
        "--listener", metavar="NAME", help="its name, or its port (default: the one HTTP listener there is)"
    )
    parser.add_argument("--method", default="GET", help="default: %(default)s")
    parser.add_argument("--host", help="the Host field (default: the listener's address)")
    parser.add_argument("--path", default="/", help="with its query (default: %(default)s)")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        type=header,
        metavar="'NAME: VALUE'",
        dest="headers",
        help="as often as wanted",
    )
    parser.add_argument(
        "--client",
        default=CLIENT,
        type=client,
        metavar="ADDRESS[:PORT]",
        help="who asks (default: {}:{})".format(*CLIENT),
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(options: argparse.Namespace) -> int:
    listener = chosen(options.file, options.listener)
    explanation = listener.explain(
        method=options.method,
        host=options.host,
        path=options.path,
        headers=options.headers,
        client=options.client,
    )
    if options.json:
        import json

        print(json.dumps(explanation.to_dict(), indent=2))
    else:
        print(explanation)
    return 0


def chosen(file: str, key: str | None) -> Listener:
    """The listener that is meant: by name, else by port or by address and port; without either the one there is."""
    listeners = [listener for balancer in config.load(file) for listener in balancer.listeners]
    if key is None:
        found = [listener for listener in listeners if listener.protocol is Protocol.HTTP]
        wanted = "an HTTP listener"
    else:
        found = [listener for listener in listeners if listener.name == key]
        found = found or [one for one in listeners if key in (str(one.protocol_port), one._endpoint())]
        wanted = f"--listener {key}"
    if len(found) == 1:
        return found[0]
    there = ", ".join(listener.name or listener._endpoint() for listener in found or listeners) or "none"
    if found:
        raise Conflict(f"{file}: {wanted}: {len(found)} fit; name one by --listener: {there}")
    raise NotFound(f"{file}: {wanted}: not there; listeners: {there}")


def header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 'NAME: VALUE'")
    return name, value.strip()


def client(text: str) -> tuple[str, int]:
    """An address alone, `192.0.2.7:4711` or `[2001:db8::7]:4711`."""
    try:
        return str(ipaddress.ip_address(text)), CLIENT[1]
    except ValueError:
        address, _, port = text.rpartition(":")
    try:
        return str(ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be an address, with a port or without, such as 192.0.2.7:4711 or [2001:db8::7]:4711"
        ) from None
