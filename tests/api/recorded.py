# SPDX-License-Identifier: Apache-2.0
"""Recorded answers of Octavia (tests/data/octavia_api) against those of fastlb: asking the same, comparing."""

import asyncio
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

RECORDINGS = pathlib.Path(__file__).parents[1] / "data" / "octavia_api" / "recordings"
BASE_URL = "http://fastlb.test"
PROJECT = "9a000000-0000-4000-8000-000000000001"
USUAL_HEADERS = {"Content-Type": "application/json", "X-Project-Id": PROJECT}
SYMBOL = re.compile(r"\{([a-z][\w.]*)\}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")
ADDRESS = re.compile(r"[0-9.]+|[0-9a-f:.]*:[0-9a-f:.]*")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


# Ports are really bound here: addresses of our own, so that two runs at once do not meet. (No listener is on IPv6.)
_PID = os.getpid()
OUR_RANGES = {
    "192.0.2.": f"127.{100 + _PID // 80 % 150}.{_PID % 80 * 3}.",
    "198.51.100.": f"127.{100 + _PID // 80 % 150}.{_PID % 80 * 3 + 1}.",
    "203.0.113.": f"127.{100 + _PID // 80 % 150}.{_PID % 80 * 3 + 2}.",
}


def recorded(name: str) -> dict[str, Any]:
    """A recording, its addresses moved to where this run has them."""
    text = (RECORDINGS / f"{name}.json").read_text()
    for theirs, ours in OUR_RANGES.items():
        text = text.replace(theirs, ours)
    return json.loads(text)


SCENARIOS = sorted(path.stem for path in RECORDINGS.glob("*.json") if path.stem != "neighbours")
NEIGHBOURS = recorded("neighbours")


class Answered(NamedTuple):
    """What came back; body: parsed JSON, None for nothing."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def fault(self) -> str | None:
        return self.body.get("faultstring") if isinstance(self.body, dict) else None


class Asker:
    """An ASGI application, asked without a socket in between: a path reaches it as it was recorded."""

    def __init__(self, app: Any, runner: asyncio.Runner) -> None:
        self._app = app
        self._runner = runner

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answered:
        return self._runner.run(self._ask(method, target, headers, body))

    async def _ask(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answered:
        url = urlsplit("http:" + BASE_URL.removeprefix("http:") + target)
        fields = {"host": urlsplit(BASE_URL).netloc, "content-length": str(len(body))} | {
            name.lower(): value for name, value in headers.items()
        }
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(url.path),
            "raw_path": url.path.encode(),
            "query_string": url.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        events = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            return events.pop(0) if events else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        raw = b"".join(message.get("body", b"") for message in sent[1:])
        got = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Answered(sent[0]["status"], json.loads(raw) if raw else None, got)


def shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Unknown(Exception):
    """A symbol that stands for nothing, since what it names was not made."""


class Meaning:
    """What the symbols of a recording stand for here."""

    def __init__(self) -> None:
        rows = [row for kind in NEIGHBOURS.values() if isinstance(kind, list) for row in kind]
        self.values: dict[str, str] = {row["symbol"]: row["id"] for row in rows}
        self.values |= NEIGHBOURS["constants"] | {"project": PROJECT, "base": BASE_URL}

    def of(self, text: str) -> str:
        """The text, with values for symbols. Raises Unknown."""

        def value(hit: re.Match[str]) -> str:
            if hit[1] not in self.values:
                raise Unknown(hit[1])
            return self.values[hit[1]]

        return SYMBOL.sub(value, text)

    def bind(self, name: str, value: Any) -> bool:
        """Take it as what the symbol stands for, if it can be."""
        shape = ADDRESS if name.endswith(("_address", "_ip")) else UUID
        if not isinstance(value, str) or not shape.fullmatch(value) or value in self.values.values():
            return False
        self.values[name] = value
        return True

    def forget(self, name: str) -> None:
        """It is made anew: the symbol, and those of what came with it, stand for something else from here on."""
        for symbol in [one for one in self.values if one == name or one.startswith(f"{name}.")]:
            del self.values[symbol]

    def differences(self, theirs: Any, ours: Any, place: str = "") -> Iterator[str]:
        """Where ours is not what theirs says, one a line: `listener.name: a, here b`."""
        if isinstance(theirs, dict) and isinstance(ours, dict):
            yield from self._of_objects(theirs, ours, place)
        elif isinstance(theirs, list) and isinstance(ours, list):
            yield from self._of_lists(theirs, ours, place)
        elif isinstance(theirs, str) and SYMBOL.search(theirs):
            if not self._agrees(theirs, ours, place):
                yield f"{place}: {theirs}, here {shown(ours)}"
        elif theirs != ours or isinstance(theirs, bool) is not isinstance(ours, bool):
            yield f"{place}: {shown(theirs)}, here {shown(ours)}"

    def _of_objects(self, theirs: dict[str, Any], ours: dict[str, Any], place: str) -> Iterator[str]:
        for key in theirs.keys() - ours.keys():
            yield f"{place}.{key}: missing".lstrip(".")
        for key in ours.keys() - theirs.keys():
            yield f"{place}.{key}: not in Octavia's answer".lstrip(".")
        # Its own id first: what refers to it comes later.
        for key in sorted(theirs.keys() & ours.keys(), key=lambda key: key != "id"):
            yield from self.differences(theirs[key], ours[key], f"{place}.{key}".lstrip("."))

    def _of_lists(self, theirs: list[Any], ours: list[Any], place: str) -> Iterator[str]:
        if len(theirs) != len(ours):
            yield f"{place}: {len(theirs)} in the list, here {len(ours)}"
            return
        if "." in place and all(isinstance(row, dict) and "id" in row for row in theirs + ours):
            # What an object has below it comes as Octavia's database likes.
            ours = self._in_order_of(theirs, ours)
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from self.differences(one, other, f"{place}[{number}]")

    def _in_order_of(self, theirs: list[Any], ours: list[Any]) -> list[Any]:
        """Ours that are known, where theirs have them; the others, in their order, where theirs are not known yet."""
        wanted = [self.values.get(row["id"].strip("{}")) for row in theirs]
        by_id = {row["id"]: row for row in ours}
        others = iter([row for row in ours if row["id"] not in wanted])
        return [by_id[one] if one in by_id else next(others, {}) for one in wanted]

    def _agrees(self, theirs: str, ours: Any, place: str) -> bool:
        name = hit[1] if (hit := SYMBOL.fullmatch(theirs)) else None
        if name == "time":
            # Octavia counts the change of a status as an update.
            unset = ours is None and place.endswith("updated_at")
            return unset or bool(isinstance(ours, str) and TIME.fullmatch(ours))
        if name and name not in self.values:
            return self.bind(name, ours)
        try:
            return self.of(theirs) == ours
        except Unknown:
            return False


class Step(NamedTuple):
    """One request of a recording and what Octavia answered."""

    scenario: str
    step: dict[str, Any]

    @property
    def name(self) -> str:
        return self.step["name"]

    @property
    def method(self) -> str:
        return self.step["request"][0]

    @property
    def path(self) -> str:
        return self.step["request"][1]

    @property
    def body(self) -> Any:
        return self.step["request"][2] if len(self.step["request"]) > 2 else None

    @property
    def status(self) -> int:
        return self.step["status"]

    @property
    def fault(self) -> str | None:
        return self.step.get("fault")

    @property
    def symbols(self) -> list[str]:
        """Those in what Octavia answered."""
        return SYMBOL.findall(json.dumps(self.step.get("answer")))

    def ask(self, asker: Asker, meaning: Meaning) -> Answered:
        """Raises Unknown when it is about something that is not there."""
        headers = USUAL_HEADERS | {
            name: value and meaning.of(value) for name, value in self.step.get("headers", {}).items()
        }
        content = self.step.get("raw", json.dumps(self.body) if self.body is not None else "")
        return asker.ask(
            self.method,
            meaning.of(self.path),
            {name: value for name, value in headers.items() if value is not None},
            meaning.of(content).encode(),
        )

    @property
    def makes(self) -> str | None:
        """The symbol of the object that it creates."""
        if self.method != "POST" or self.status != 201:
            return None
        # An availability zone has none: its name is its key.
        return next(iter(self.step["answer"].values())).get("id", "").strip("{}") or None

    def differences(self, answered: Answered, meaning: Meaning) -> list[str]:
        """Where fastlb did not answer what Octavia did, one a line; empty: it did."""
        if self.makes:
            meaning.forget(self.makes)
        if answered.status != self.status:
            said = answered.fault if answered.fault is not None else shown(answered.body)
            return [f"status: {self.status} {self.fault or ''}, here {answered.status} {said}"]
        theirs = self.step.get("answer")
        if self.fault is not None:
            code = "Server" if self.status >= 500 else "Client"
            theirs = {"faultcode": code, "faultstring": self.fault, "debuginfo": None}
        # To HEAD, an HTTP server sends no body whatever the application says.
        found = [] if self.method == "HEAD" else [*meaning.differences(theirs, answered.body)]
        if not found and isinstance(theirs, dict) and theirs and self.method != "HEAD":
            # The first key is what clients take.
            first, ours = next(iter(theirs)), next(iter(answered.body))
            found += [f"first key: {first}, here {ours}"] if first != ours else []
        return found + self._in_headers(answered)

    def _in_headers(self, answered: Answered) -> list[str]:
        usual: dict[str, Any] = {"x-openstack-request-id": True}
        if "answer" in self.step or "fault" in self.step:
            usual["content-type"] = "application/json"
        found = []
        for name, value in (usual | self.step.get("answer_headers", {})).items():
            ours: Any = answered.headers.get(name)
            ours = bool(ours) if name == "x-openstack-request-id" else ours
            if ours != value:
                found.append(f"header {name}: {shown(value)}, here {shown(ours)}")
        return found
