# SPDX-License-Identifier: Apache-2.0
"""What a handler gets (`Call`: who asks for what) and gives (`Answer`)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fastlb.controller import DEFAULT_PROJECT_ID
from fastlb.errors import FastLBError

if TYPE_CHECKING:
    from fastlb.controller import Controller


NOT_JSON = "Request is not in valid JSON format"


class BadRequest(FastLBError):
    """What the caller sent cannot be understood; the message is Octavia's."""

    status = 400


class UnknownMedia(FastLBError):
    """A body in another form than JSON."""

    status = 415

    def __init__(self, media: str) -> None:
        super().__init__(f"Unknown mimetype: {media}")


class Forbidden(FastLBError):
    """The caller may not do this."""

    status = 403

    def __init__(self) -> None:
        super().__init__("Policy does not allow this request to be performed.")


class Unauthorized(FastLBError):
    """Nobody knows who the caller is. uri: where it could authenticate."""

    status = 401

    def __init__(self, uri: str) -> None:
        super().__init__("The request you have made requires authentication.")
        self.uri = uri


class RouteError(FastLBError):
    """An answer of the routing layer, which has a form of its own: code, title, description."""

    def __init__(
        self,
        status: int,
        title: str,
        description: str | None = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description or title)
        self.status = status
        self.title = title
        self.description = description
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Caller:
    """Who asks: a project, and what its token may do there."""

    project_id: str = DEFAULT_PROJECT_ID
    admin: bool = False
    """May act on every project's objects, and on what belongs to none."""
    writes: bool = True
    """May change things; an observer may not."""
    enforced: bool = True
    """Are quotas and rights looked at? Octavia does not without authentication."""

    def may_read(self, project_id: str) -> bool:
        return self.admin or project_id == self.project_id

    def may_write(self, project_id: str) -> bool:
        return self.writes and self.may_read(project_id)


NOBODY = Caller(project_id="", writes=False)
"""Who asks where nobody has to say who it is."""


@dataclass
class Call:
    """One request, understood as far as HTTP goes."""

    controller: "Controller"
    caller: Caller
    method: str
    path: str
    """As it was asked for, with its prefix; links repeat it."""
    arguments: Mapping[str, str]
    """What stands in the path's braces."""
    query: tuple[tuple[str, str], ...] = ()
    raw: bytes = b""
    base_url: str = ""
    """`http://host:port`, as the caller addressed us."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the application was made with: the configuration of providers, the neighbours."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The header fields, names in lower case, as `access.Identify` takes them."""
    identify: Callable[[Mapping[str, str]], Caller] | None = None
    """Who comes with such header fields? Raises Unauthorized."""
    place: str = ""
    """How Octavia's messages name the object that the body is about; known when the body has been read."""

    def one(self, name: str) -> str | None:
        """The last value of a query argument."""
        found = None
        for key, value in self.query:
            if key == name:
                found = value
        return found

    def document(self, root: str, argument: str = "") -> dict[str, Any]:
        """The object under the root key of the body. Raises BadRequest in Octavia's words.

        argument: what Octavia calls the whole body in its messages; else the root with an underscore.
        """
        inner = self.content(root, argument)
        if not isinstance(inner, dict):
            raise BadRequest(
                f"Invalid input for field/attribute {root}. Value: '{inner}'. Value must be an object"
            )
        return inner

    def content(self, root: str, argument: str = "") -> Any:
        """What is under the root key of the body, whatever it is."""
        argument = argument or f"{root}_"
        self.place = f"{argument}.{root}"
        body = parse_json(self.raw)
        if body is None or body == {}:
            raise BadRequest(f'Missing argument: "{argument}"')
        if not isinstance(body, dict):
            raise BadRequest("Request must be a JSON dict")
        for key in body:
            if key != root:
                raise BadRequest(f"Unknown attribute for argument {argument}: {key}")
        return body[root]

    def check_read(self, project_id: str) -> None:
        if not self.caller.may_read(project_id):
            raise Forbidden()

    def check_write(self, project_id: str) -> None:
        if not self.caller.may_write(project_id):
            raise Forbidden()

    def check_quota(self, kind: str, project_id: str, count: int = 1) -> None:
        """May the project have so many more objects of that kind? Raises QuotaMet, 403; without authentication nobody
        asks, as in Octavia."""
        if self.caller.enforced:
            self.controller.quotas.ask(kind, project_id, count)

    def check_admin(self) -> None:
        if not (self.caller.admin and self.caller.writes):
            raise Forbidden()


class Answer(NamedTuple):
    """What is sent back; a body of None is no body."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


Handler = Callable[[Call], Answer]


class Route(NamedTuple):
    """One path of a resource and its methods. The path is relative to the API's prefix: `/pools/{pool_id}`."""

    path: str
    methods: Mapping[str, Handler]
    public: bool = False
    """Does everybody get an answer, without saying who it is? (Discovery, and where tokens are given out.)"""
    fault: Callable[[Exception, str], Answer] | None = None
    """Errors in the form of another service; None: in Octavia's (`faults.of`)."""


DEPTH = 100
"""Objects and lists within one another; Octavia's documents have nine."""


def parse_json(raw: bytes) -> Any:
    """The body as JSON has it. Raises BadRequest for what is not JSON, for what is too deep to be looked at, and for
    numbers that JSON cannot give back."""
    if not raw.strip():
        return None
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadRequest(NOT_JSON) from None
    _check_values(body)
    return body


def _check_values(body: Any) -> None:
    level, depth = [body], 0
    while level:
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
            elif isinstance(one, float) and not math.isfinite(one):
                raise BadRequest(NOT_JSON)
        level, depth = below, depth + 1
        if depth > DEPTH:
            raise BadRequest(NOT_JSON)
