# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 messages, read strictly: the referee of the wire tests.

Deliberately small, deliberately independent of the core's parser and stricter than any real peer (RFC 9112
read to the letter): what a balancer writes has to pass it, in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Fields = list[tuple[str, str]]
FieldsLike = Iterable[tuple[str, str]]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/(1\.[01])")
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t \x21-\x7e\x80-\xff]*)?")


class MessageError(AssertionError):
    """The peer sent what no strict reader accepts. Holds the offending bytes in its text."""


class MessageCut(MessageError):
    """The peer closed in the middle of a message. `body` is what had arrived of the body."""

    def __init__(self, text: str, body: bytes = b"") -> None:
        super().__init__(text)
        self.body = body


@dataclass(kw_only=True)
class Message:
    """What requests and responses share. Field names keep the case they came in; look them up in any case."""

    version: str = "1.1"
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    raw_head: bytes = b""
    """The head byte for byte, with its empty line."""
    chunks: list[bytes] = field(default_factory=list)
    """The pieces of a chunked body as they were framed; empty for other framings."""

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order of arrival."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of a field that comes at most once; None if it is absent."""
        values = self.all(name)
        if len(values) > 1:
            raise MessageError(f"{name}: {len(values)} times: {values}")
        return values[0] if values else None

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    def tokens(self, name: str) -> list[str]:
        """The elements of a list field over all its lines, lower case."""
        parts = (part.strip().lower() for value in self.all(name) for part in value.split(","))
        return [part for part in parts if part]

    @property
    def framing(self) -> str:
        """`chunked`, `length` or `none` as the head says."""
        if "Transfer-Encoding" in self:
            return "chunked"
        return "length" if "Content-Length" in self else "none"


@dataclass(kw_only=True)
class Request(Message):
    """A request as a member received it."""

    method: str = "GET"
    target: str = "/"
    connection: int = -1
    """Which of the member's connections it came on, counted from 0."""


@dataclass(kw_only=True)
class Response(Message):
    """A response as a client received it."""

    status: int = 200
    reason: str = ""
    interim: list[Response] = field(default_factory=list)
    """The 1xx answers that came before it."""

    @property
    def closes(self) -> bool:
        """Whether the answer says that the connection ends with it."""
        if self.version == "1.0":
            return "keep-alive" not in self.tokens("Connection")
        return "close" in self.tokens("Connection")


def parse_fields(lines: Iterable[bytes]) -> Fields:
    """Field lines without their CRLF. Raises MessageError for anything RFC 9112 section 5 does not allow."""
    return list(_fields(lines))


def _fields(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise MessageError(f"not a field line: {line!r}")
        value = value.strip(b" \t")
        if not _VALUE.fullmatch(value):
            raise MessageError(f"not a field value: {line!r}")
        yield name.decode("latin-1"), value.decode("latin-1")


def _lines(head: bytes) -> list[bytes]:
    if not head.endswith(b"\r\n\r\n"):
        raise MessageError(f"head without an end: {head!r}")
    lines = head[:-4].split(b"\r\n")
    for line in lines:
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise MessageError(f"lone CR, lone LF or NUL in a head: {line!r}")
    return lines


def parse_request_head(head: bytes) -> Request:
    """A request head with its empty line. Exactly one Host, at most one framing field."""
    first, *rest = _lines(head)
    match = _REQUEST_LINE.fullmatch(first)
    if not match:
        raise MessageError(f"not a request line: {first!r}")
    request = Request(
        method=match[1].decode(),
        target=match[2].decode("latin-1"),
        version=match[3].decode(),
        fields=parse_fields(rest),
        raw_head=head,
    )
    if request.version == "1.1" and len(request.all("Host")) != 1:
        raise MessageError(f"{len(request.all('Host'))} Host fields: {head!r}")
    _check_framing(request)
    return request


def parse_response_head(head: bytes) -> Response:
    """A response head with its empty line."""
    first, *rest = _lines(head)
    match = _STATUS_LINE.fullmatch(first)
    if not match:
        raise MessageError(f"not a status line: {first!r}")
    response = Response(
        version=match[1].decode(),
        status=int(match[2]),
        reason=match[3].decode("latin-1"),
        fields=parse_fields(rest),
        raw_head=head,
    )
    _check_framing(response)
    return response


def _check_framing(message: Message) -> None:
    length, coding = message.get("Content-Length"), message.get("Transfer-Encoding")
    if length is not None and coding is not None:
        raise MessageError(f"Content-Length and Transfer-Encoding: {message.raw_head!r}")
    if length is not None and not re.fullmatch("[0-9]{1,19}", length):
        raise MessageError(f"Content-Length: {length!r}")
    if coding is not None and (coding.lower() != "chunked" or message.version == "1.0"):
        raise MessageError(f"Transfer-Encoding {coding!r} in HTTP/{message.version}")


def parse_chunk_line(line: bytes) -> int:
    """The size in a chunk line without its CRLF."""
    match = _CHUNK_LINE.fullmatch(line)
    if not match:
        raise MessageError(f"not a chunk line: {line!r}")
    return int(match[1], 16)


def _head(first: str, fields: FieldsLike) -> bytes:
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")


def chunked(*pieces: bytes, trailers: FieldsLike = (), last: bool = True) -> bytes:
    """The pieces framed as chunks; with `last` the end of the body and its trailers."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return data + _head("0", trailers) if last else data


def request(
    target: str = "/",
    *,
    method: str = "GET",
    fields: FieldsLike = (),
    body: bytes | None = None,
    host: str = "fastlb.test",
    version: str = "1.1",
    pieces: Iterable[bytes] | None = None,
    trailers: FieldsLike = (),
) -> bytes:
    """A request as bytes: `body` goes with its length, `pieces` go chunked."""
    head = [("Host", host)] if host else []
    head += fields
    if pieces is not None:
        head.append(("Transfer-Encoding", "chunked"))
        payload = chunked(*pieces, trailers=trailers)
    else:
        if body is not None:
            head.append(("Content-Length", str(len(body))))
        payload = body or b""
    return _head(f"{method} {target} HTTP/{version}", head) + payload


def response(
    body: bytes | None = b"ok",
    *,
    status: int = 200,
    reason: str = "OK",
    fields: FieldsLike = (),
    version: str = "1.1",
    pieces: Iterable[bytes] | None = None,
    trailers: FieldsLike = (),
    length: int | None = None,
) -> bytes:
    """A response as bytes: `body` goes with its length (or with `length`, to lie), `pieces` go chunked, None
    ends by close."""
    head = list(fields)
    payload = body or b""
    if pieces is not None:
        head.append(("Transfer-Encoding", "chunked"))
        payload = chunked(*pieces, trailers=trailers)
    elif length is not None or body is not None:
        head.append(("Content-Length", str(len(payload) if length is None else length)))
    return _head(f"HTTP/{version} {status} {reason}", head) + payload
