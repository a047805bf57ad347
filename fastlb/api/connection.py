# SPDX-License-Identifier: Apache-2.0
"""One connection to the API: uvicorn's, with bounds on what a caller may have it keep, and for how long.

This process forwards traffic beside it, with the same memory and the same descriptors. uvicorn itself waits for a
request as long as the caller likes, and keeps as many header fields as it sends.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTIONS = 1000
"""How many there may be; one more is closed at once."""
WAIT_S = 20.0
"""Until a connection's first request has come, and any request's head."""
BYTES_PER_S = 1024
"""Each so many bytes of a request give it another second."""
HEAD_BYTES = 64 << 10
"""Of all names and values of a request's header fields."""
FIELD_BYTES = 32
"""Added for each field: one that is nearly empty takes room too."""
BESIDE_BYTES = 512 << 10
"""What may come of a request beside its body, before it is understood: more than two reads from a socket."""
BESIDE_SHARE = 16
"""The frame of a chunk is up to so many times its content."""


class TooMuch(Exception):
    """More than is kept for a request; httptools makes a refusal of it."""


class Connection(HttpToolsProtocol):
    """Closes itself when a request takes too long to arrive, or has too much beside its body."""

    wait_s = WAIT_S

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._began = 0.0
        # Of the request that is arriving.
        self._bytes = 0
        self._body_bytes = 0
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self.logger.warning("%d connections: a new one is closed", CONNECTIONS)
            transport.abort()
            return
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._bytes += len(data)
        if self._bytes - BESIDE_SHARE * self._body_bytes > BESIDE_BYTES and self._deadline is not None:
            self.logger.warning("a request has more than %d bytes beside its body", BESIDE_BYTES)
            self.transport.abort()

    # What httptools tells.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._bytes = self._body_bytes = self._head_bytes = 0
        self._expect()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + FIELD_BYTES
        if self._head_bytes > HEAD_BYTES:
            raise TooMuch
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._arrived()
        super().on_message_complete()

    # How long it takes.

    def _expect(self) -> None:
        self._arrived()
        self._began = self.loop.time()
        self._deadline = self.loop.call_later(self.wait_s, self._late)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        left = self._began + self.wait_s + self._body_bytes / BYTES_PER_S - self.loop.time()
        if left > 0:
            self._deadline = self.loop.call_later(left, self._late)
        else:
            self._deadline = None
            self.transport.abort()
