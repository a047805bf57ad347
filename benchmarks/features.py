# SPDX-License-Identifier: Apache-2.0
"""Whether a balancer does what a row is about, asked before anything is timed; and what the row's clients then ask.

Each function takes a running peer and the row's load, and answers with the load to run against that peer. It ends the
comparison if the peer does not do what it should: nothing is measured that is not the same on all sides.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks import peers, policies
from benchmarks.traffic import BROWSER_FIELDS, Load, Request, head

Prepare = Callable[[str, peers.Running, Load], Load]
"""A row's key and a running peer, and its load: the load with what this peer is to be asked."""

SEEN = "/e"
"""The path whose answer is the request's head as the member got it."""


@dataclass(frozen=True)
class Answer:
    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name.lower()]


def _fields(lines: bytes) -> list[tuple[str, str]]:
    """Of a head without its empty line; names in lower case."""
    split = (line.partition(":") for line in lines.decode().split("\r\n")[1:])
    return [(name.lower(), value.strip()) for name, _, value in split]


def ask(port: int, request: bytes) -> Answer:
    """One request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), 5) as conn:
        conn.sendall(request)
        found = b""
        while b"\r\n\r\n" not in found and (more := conn.recv(65536)):
            found += more
        lines, _, body = found.partition(b"\r\n\r\n")
        fields = _fields(lines)
        length = int(dict(fields).get("content-length", "0"))
        while len(body) < length and (more := conn.recv(65536)):
            body += more
    return Answer(int(lines[9:12] or b"0"), fields, body)


def _seen(port: int, fields: str) -> tuple[Answer, Answer]:
    """The answer, and what the member was asked."""
    answer = ask(port, head(SEEN, fields=fields))
    asked = Answer(0, _fields(answer.body.partition(b"\r\n\r\n")[0]), b"")
    return answer, asked


def _demand(true: bool, key: str, peer: peers.Running, what: str) -> None:
    if not true:
        raise SystemExit(f"{key}: {peer.name} {what}")


def routed(of: str) -> Prepare:
    """By the policies of that set. The load generator looks at every answer: its status, and which pool's member gave
    it. A peer without policies, whose clients ask the same, may answer all of it by any member."""

    def prepare(key: str, peer: peers.Running, load: Load) -> Load:
        plain = peer.name.endswith("-plain") or peer.name == "bare"
        return replace(load, requests=policies.requests(of, policies=not plain))

    return prepare


def bound_by_cookie(key: str, peer: peers.Running, load: Load) -> Load:
    """Learns the cookie that leads to each member, and sees that it does, that the member never sees it but sees the
    other cookies, and that a client that has it is not given it again."""
    cookies: dict[int, str] = {}
    for _ in range(16):
        answer = ask(peer.port, head(load.path, fields=BROWSER_FIELDS))
        given = [value for value in answer.all("set-cookie") if value.startswith("SRV=")]
        _demand(len(given) == 1, key, peer, f"gave a new client {len(given)} cookies SRV: {answer}")
        _demand(given[0].lower().endswith("; path=/"), key, peer, f"gave {given[0]}")
        cookies[int(answer.body[18:19])] = given[0].partition(";")[0]
    _demand(len(set(cookies.values())) == len(cookies) == 2, key, peer, f"gave these: {cookies}")

    others = ["session=7d0b3f4e5a6c4f0f9f1e2d3c4b5a6978", "theme=dark", "consent=1"]
    requests = []
    for digit, cookie in sorted(cookies.items()):
        for place in range(len(others) + 1):
            line = "; ".join([*others[:place], cookie, *others[place:]])
            fields = BROWSER_FIELDS.replace("; ".join(others), line)
            answer, asked = _seen(peer.port, fields)
            _demand(not answer.all("set-cookie"), key, peer, f"gave the cookie again: {answer}")
            _demand(asked.all("cookie") == ["; ".join(others)], key, peer, f"sent on {asked.all('cookie')}")
            requests.append(Request(head(load.path, fields=fields), digits=(digit,)))
    return replace(load, requests=tuple(requests))


def forwarded(key: str, peer: peers.Running, load: Load) -> Load:
    """Sees that the fields reach the member: the client's address behind those that were there, the others replaced."""
    expected = {"x-forwarded-port": str(peer.port), "x-forwarded-proto": "http"}
    for before in ("", "192.0.2.7"):
        theirs = (
            f"X-Forwarded-For: {before}\nX-Forwarded-Port: 1\nX-Forwarded-Proto: https\n" if before else ""
        )
        _, asked = _seen(peer.port, theirs)
        found = ", ".join(asked.all("x-forwarded-for"))
        _demand(
            found == (f"{before}, " if before else "") + "127.0.0.1",
            key,
            peer,
            f"sent X-Forwarded-For: {found}",
        )
        for name, value in expected.items():
            _demand(asked.all(name) == [value], key, peer, f"sent {name}: {asked.all(name)} and not {value}")
    return load
