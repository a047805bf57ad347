# SPDX-License-Identifier: Apache-2.0
"""One TCP connection of a test, client's or member's: every wait has a deadline, every byte received is
kept."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from fastlb.testing.messages import (
    FieldsLike,
    Message,
    MessageCut,
    MessageError,
    Request,
    Response,
    parse_chunk_line,
    parse_fields,
    parse_request_head,
    parse_response_head,
    request,
)

DEADLINE = 10.0
"""Seconds that any single wait may take before the test fails. Long, as it is only ever reached by a failing
test."""


class Conn:
    """A connected socket with a read buffer.

    `timeout` is the deadline of each wait in seconds. With `record` (the default) `received` holds all bytes
    that came; turn it off for bodies that do not fit into memory.
    """

    def __init__(self, sock: socket.socket, *, timeout: float = DEADLINE, record: bool = True) -> None:
        sock.settimeout(timeout)
        # A Unix socket pair has no Nagle to switch off.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self.timeout = timeout
        self.record = record
        self.received = bytearray()
        self._buffer = bytearray()
        self._asked: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Writing ------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> Self:
        """Send all of it, as one piece if the kernel takes it."""
        self.socket.sendall(data)
        return self

    def send_slowly(self, data: bytes, piece: int = 1) -> Self:
        """Send in pieces, each its own segment, so that the other side has to put them together."""
        for start in range(0, len(data), piece):
            self.socket.sendall(data[start : start + piece])
        return self

    def send_until_blocked(self, data: bytes, limit: int = 1 << 30) -> int:
        """Send `data` over and over until the kernel has taken nothing for a quarter of a second; the bytes
        taken."""
        sent = 0
        self.socket.setblocking(False)
        try:
            while sent < limit:
                if not select.select([], [self.socket], [], 0.25)[1]:
                    break
                with contextlib.suppress(BlockingIOError):
                    sent += self.socket.send(data)
        finally:
            self.socket.settimeout(self.timeout)
        return sent

    def request(
        self,
        target: str = "/",
        *,
        method: str = "GET",
        fields: FieldsLike = (),
        body: bytes | None = None,
        host: str = "fastlb.test",
        version: str = "1.1",
    ) -> Response:
        """Send a request and read its response; the connection stays as the response leaves it."""
        self.send(request(target, method=method, fields=fields, body=body, host=host, version=version))
        return self.read_response(method)

    # Reading ------------------------------------------------------------------------------------------------

    def recv(self, limit: int = 65536) -> bytes:
        """Whatever is there, waiting for at least one byte; b"" at the end of the stream."""
        if self._buffer:
            data = bytes(self._buffer[:limit])
            del self._buffer[:limit]
            return data
        return self._recv(limit)

    def _recv(self, limit: int) -> bytes:
        try:
            data = self.socket.recv(limit)
        except TimeoutError:
            raise TimeoutError(
                f"nothing came for {self.timeout} s; so far: {bytes(self.received[-300:])!r}"
            ) from None
        if self.record:
            self.received += data
        return data

    def _fill(self, wanted: str) -> None:
        data = self._recv(262144)
        if not data:
            raise MessageCut(
                f"closed while reading {wanted}; so far: {bytes(self._buffer[-300:])!r}", bytes(self._buffer)
            )
        self._buffer += data

    def read_exactly(self, count: int) -> bytes:
        """That many bytes; MessageCut if the stream ends before."""
        while len(self._buffer) < count:
            self._fill(f"{count} bytes")
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to `mark`, with it."""
        start = 0
        while (at := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark) + 1)
            self._fill(repr(mark))
        return self.read_exactly(at + len(mark))

    def read_to_end(self) -> bytes:
        """Everything until the other side closes in order; ConnectionResetError if it does not."""
        while data := self._recv(262144):
            self._buffer += data
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def take_buffered(self) -> bytes:
        """What was read from the socket already and not handed out yet: the start of a body read past this class."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def expect(self, data: bytes) -> Self:
        """The next bytes are exactly these."""
        got = self.read_exactly(len(data))
        if got != data:
            raise MessageError(f"expected {data!r}, got {got!r}")
        return self

    def _read_line(self) -> bytes:
        line = self.read_until(b"\n")
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise MessageError(f"a line that does not end in CRLF alone: {line!r}")
        return line[:-2]

    def _read_head(self) -> bytes | None:
        while b"\r\n\r\n" not in self._buffer:
            data = self._recv(65536)
            if not data:
                if self._buffer:
                    raise MessageCut(f"closed within a head: {bytes(self._buffer)!r}")
                return None
            self._buffer += data
        return self.read_until(b"\r\n\r\n")

    def read_chunk(self) -> bytes:
        """One chunk of a chunked body; b"" for the last one, whose trailers are still to be read."""
        size = parse_chunk_line(self._read_line())
        if not size:
            return b""
        data = self.read_exactly(size)
        if (end := self.read_exactly(2)) != b"\r\n":
            raise MessageError(f"{end!r} behind a chunk")
        return data

    def _read_trailers(self) -> list[tuple[str, str]]:
        lines: list[bytes] = []
        while line := self._read_line():
            lines.append(line)
        return parse_fields(lines)

    def _read_framed_body(self, message: Message) -> None:
        if message.framing == "chunked":
            try:
                while chunk := self.read_chunk():
                    message.chunks.append(chunk)
                message.trailers = self._read_trailers()
            except MessageCut as cut:
                raise MessageCut(f"chunked body cut: {cut}", b"".join(message.chunks) + cut.body) from None
            message.body = b"".join(message.chunks)
        elif message.framing == "length":
            message.body = self.read_exactly(int(message.get("Content-Length") or "0"))

    def read_request_head(self) -> Request | None:
        """The next request without its body; None if the client closed between requests."""
        head = self._read_head()
        return None if head is None else parse_request_head(head)

    def read_request_body(self, message: Request) -> Request:
        """The body of a request whose head was read."""
        self._read_framed_body(message)
        return message

    def read_request(self) -> Request | None:
        """The next request; None if the client closed between requests."""
        message = self.read_request_head()
        return message and self.read_request_body(message)

    def read_response_head(self) -> Response:
        """The next response without its body, a 1xx included."""
        head = self._read_head()
        if head is None:
            raise MessageCut("closed instead of a response")
        return parse_response_head(head)

    def read_response_body(self, message: Response, method: str = "GET") -> Response:
        """The body of a response whose head was read; one without length ends with the connection."""
        if method == "HEAD" or message.status < 200 or message.status in (204, 304):
            return message
        if message.framing == "none":
            message.body = self.read_to_end()
        else:
            self._read_framed_body(message)
        return message

    def read_response(self, method: str = "GET") -> Response:
        """The next response, with the 1xx answers before it in `interim`. `method` decides whether a body
        follows."""
        interim: list[Response] = []
        while True:
            message = self.read_response_head()
            if message.status >= 200 or message.status == 101:
                message.interim = interim
                return self.read_response_body(message, method)
            interim.append(message)

    # State and end ------------------------------------------------------------------------------------------

    def pending(self, timeout: float = 0.0) -> bool:
        """Whether something can be read now (bytes, an end or an error), or within `timeout` seconds."""
        if self._buffer:
            return True
        poller = select.poll()
        poller.register(self.socket, select.POLLIN)
        return bool(poller.poll(timeout * 1000))

    def still_open(self) -> bool:
        """Whether the other side has neither closed nor reset, as far as the kernel knows now; unread bytes
        do not hide it."""
        poller = select.poll()
        poller.register(self.socket, select.POLLRDHUP)
        return not poller.poll(0)

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the other side has closed or reset; bytes that arrive in between stay to be read."""
        poller = select.poll()
        poller.register(self.socket, select.POLLRDHUP)
        return bool(poller.poll((self.timeout if timeout is None else timeout) * 1000))

    def ended(self) -> str:
        """Wait for the end, with nothing before it: `closed` for a FIN, `reset` for a RST."""
        try:
            rest = bytes(self._buffer) + self.socket.recv(65536)
        except ConnectionResetError:
            return "reset"
        if rest:
            raise MessageError(f"bytes instead of an end: {rest!r}")
        return "closed"

    def finish(self) -> Self:
        """Send a FIN and go on reading: half-closed."""
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """End with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """End as close() does: FIN, or RST when bytes were left unread."""
        self.socket.close()

    @property
    def local_port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port


def dial(
    address: str,
    port: int,
    *,
    timeout: float = DEADLINE,
    receive_buffer: int = 0,
    send_buffer: int = 0,
    source: str | None = None,
    record: bool = True,
) -> Conn:
    """Connect. Small buffers make a slow peer of us; `source` is the local address to come from."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if send_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        if source is not None:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return Conn(sock, timeout=timeout, record=record)


class Client:
    """Talks to one address; each `get` or `request` on a connection of its own, `connect` for everything
    else."""

    def __init__(self, address: str, port: int, *, timeout: float = DEADLINE) -> None:
        self.address = address
        self.port = port
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"<Client of {self.address}:{self.port}>"

    def connect(
        self,
        *,
        timeout: float | None = None,
        receive_buffer: int = 0,
        send_buffer: int = 0,
        source: str | None = None,
        record: bool = True,
    ) -> Conn:
        """A new connection; see `dial`."""
        return dial(
            self.address,
            self.port,
            timeout=self.timeout if timeout is None else timeout,
            receive_buffer=receive_buffer,
            send_buffer=send_buffer,
            source=source,
            record=record,
        )

    def request(
        self,
        target: str = "/",
        *,
        method: str = "GET",
        fields: FieldsLike = (),
        body: bytes | None = None,
        host: str = "fastlb.test",
        version: str = "1.1",
        timeout: float | None = None,
    ) -> Response:
        """One request on a new connection, which is closed behind the response."""
        with self.connect(timeout=timeout) as conn:
            return conn.request(target, method=method, fields=fields, body=body, host=host, version=version)

    def get(self, target: str = "/", *, timeout: float | None = None) -> Response:
        """`request` in short."""
        return self.request(target, timeout=timeout)

    def raw(self, data: bytes) -> Conn:
        """A new connection with these bytes sent."""
        return self.connect().send(data)

    def bodies(self, count: int, target: str = "/") -> Iterator[bytes]:
        """The bodies of `count` requests, each on a new connection."""
        for _ in range(count):
            yield self.get(target).body
