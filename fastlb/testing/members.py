# SPDX-License-Identifier: Apache-2.0
"""Scripted members: servers in threads of the test process that do exactly what a script says, and record
what reached them.

A script is a function that gets each accepted connection (`MemberConn`) in a thread of its own and may do
anything with it; the connection is closed when it returns. The functions below make the usual ones.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import itertools
import select
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fastlb.testing.conn import DEADLINE, Conn
from fastlb.testing.messages import MessageCut, Request, response
from fastlb.testing.waiting import eventually


class MemberConn(Conn):
    """A connection as its member sees it. `index` counts the member's connections from 0."""

    def __init__(self, sock: socket.socket, member: Member, index: int, peer: str) -> None:
        # A member waits without a deadline: it is the test that ends, and Member.close() with it.
        super().__init__(sock, timeout=60.0)
        self.member = member
        self.index = index
        self.peer = peer
        """The address the connection came from."""
        self.over = threading.Event()
        """Set when the script has left this connection."""

    def read_request_head(self) -> Request | None:
        request = super().read_request_head()
        if request is not None:
            request.connection = self.index
            self.member.heads.append(request)
        return request

    def read_request_body(self, message: Request) -> Request:
        super().read_request_body(message)
        self.member.requests.append(message)
        return message

    def wait(self, gate: threading.Event, timeout: float = DEADLINE) -> None:
        """Wait until the test sets `gate`; a connection error when the member is closed before, TimeoutError
        in the end."""
        for _ in range(int(timeout / 0.02)):
            if gate.wait(0.02):
                return
            if self.member.closing:
                raise ConnectionAbortedError("member closed")
        raise TimeoutError("the test never opened the gate")


Script = Callable[[MemberConn], None]
Answer = bytes | Callable[[Request], bytes]


class Member:
    """A listening socket on loopback and a script for what it accepts.

    `requests` are the complete requests in order of arrival, `heads` the heads (also of requests whose body
    never came whole), `connections` every connection ever accepted, each with the bytes it `received`.
    """

    def __init__(
        self, script: Script | None = None, *, address: str = "127.0.0.1", port: int = 0, backlog: int = 1024
    ) -> None:
        self.script = http() if script is None else script
        self.requests: list[Request] = []
        self.heads: list[Request] = []
        self.connections: list[MemberConn] = []
        self.errors: list[BaseException] = []
        self.closing = False
        self.address = address
        self._backlog = backlog
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listen(port)

    def _listen(self, port: int) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.address, port))
            listening.listen(self._backlog)
        except BaseException:
            listening.close()
            raise
        self._listening: socket.socket | None = listening
        self._reserved: socket.socket | None = None
        self.port: int = listening.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(listening,), name=f"member-{self.port}")
        self._acceptor.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, peer = listening.accept()
            except OSError as error:
                if error.errno in (errno.ECONNABORTED, errno.EINTR):
                    continue
                return  # shut down by _stop_listening
            with self._lock:
                conn = MemberConn(sock, self, len(self.connections), peer[0])
                thread = threading.Thread(
                    target=self._run, args=(conn,), name=f"member-{self.port}-{conn.index}"
                )
                self.connections.append(conn)
                self._threads.append(thread)
                thread.start()

    def _run(self, conn: MemberConn) -> None:
        try:
            self.script(conn)
        except (ConnectionError, MessageCut):
            pass  # peers go away: it is for the test to ask how
        except BaseException as error:
            if not self.closing:
                self.errors.append(error)
        finally:
            conn.close()
            conn.over.set()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._acceptor.join(DEADLINE)
            self._listening.close()
            self._listening = None

    # For the test -------------------------------------------------------------------------------------------

    @property
    def received(self) -> bytes:
        """Everything that ever reached this member, connection after connection."""
        return b"".join(bytes(conn.received) for conn in list(self.connections))

    @property
    def targets(self) -> list[str]:
        """Targets of the complete requests in order of arrival."""
        return [request.target for request in list(self.requests)]

    @property
    def open_connections(self) -> list[MemberConn]:
        """Connections whose script still runs."""
        return [conn for conn in list(self.connections) if not conn.over.is_set()]

    def wait_requests(self, count: int, timeout: float = 5.0) -> list[Request]:
        """Wait until that many complete requests have come."""
        eventually(lambda: len(self.requests) >= count, timeout, what=f"{count} requests")
        return self.requests

    def wait_connections(self, count: int, timeout: float = 5.0) -> list[MemberConn]:
        """Wait until that many connections have been accepted, ever."""
        eventually(lambda: len(self.connections) >= count, timeout, what=f"{count} connections")
        return self.connections

    def wait_received(self, count: int, timeout: float = 5.0) -> bytes:
        """Wait until that many bytes have come, over all connections."""
        eventually(lambda: len(self.received) >= count, timeout, what=f"{count} bytes")
        return self.received

    def wait_idle(self, timeout: float = 5.0) -> None:
        """Wait until no connection is open any more."""
        eventually(lambda: not self.open_connections, timeout, what="an end of all connections")

    def refuse(self) -> Self:
        """Answer connects with a RST from now on. The port stays ours; connections under way go on."""
        self._stop_listening()
        if self._reserved is None:
            # Bound but not listening: the kernel refuses, and gives the port to nobody else.
            self._reserved = socket.socket(
                socket.AF_INET6 if ":" in self.address else socket.AF_INET, socket.SOCK_STREAM
            )
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._reserved.bind((self.address, self.port))
        return self

    def resume(self) -> Self:
        """Listen again on the same port after `refuse`."""
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
            self._listen(self.port)
        return self

    def drop_connections(self) -> Self:
        """Close all open connections in order, as a server does that restarts."""
        for conn in self.open_connections:
            with contextlib.suppress(OSError):
                conn.socket.shutdown(socket.SHUT_RDWR)
        self.wait_idle()
        return self

    def close(self) -> None:
        """Stop, end every connection, join every thread. May be called twice. Raises what went wrong in a
        script."""
        self.closing = True
        self._stop_listening()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        for conn in self.open_connections:
            with contextlib.suppress(OSError):
                conn.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        self._threads.clear()
        if stuck:
            raise AssertionError(f"scripts that do not end: {stuck}")
        if self.errors:
            errors, self.errors = self.errors, []
            raise AssertionError(f"a member's script failed: {errors!r}") from errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        counts = f"requests={len(self.requests)} connections={len(self.connections)}"
        return f"<Member {self.address}:{self.port} {counts}>"


class FullMember:
    """A member whose accept queue is full: connects to it neither succeed nor fail. `drain()` lets them in
    again."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.socket(family, socket.SOCK_STREAM)
        self._listening.bind((address, 0))
        self._listening.listen(0)
        self.port: int = self._listening.getsockname()[1]
        self._fillers: list[socket.socket] = []
        poller = select.poll()
        for _ in range(64):
            filler = socket.socket(family, socket.SOCK_STREAM)
            filler.setblocking(False)
            self._fillers.append(filler)
            with contextlib.suppress(BlockingIOError):
                filler.connect((address, self.port))
            poller.register(filler, select.POLLOUT)
            # A loopback connect that the queue has room for is finished by now.
            if not poller.poll(100):
                break
            poller.unregister(filler)
        else:
            self.close()
            raise AssertionError("the accept queue never filled up")

    def drain(self) -> None:
        """Accept and close what waits in the queue; later connects succeed, unanswered, and so does one under way."""
        for filler in self._fillers:
            filler.close()  # or one that is still connecting takes the next place
        self._listening.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listening.accept()[0].close()

    def close(self) -> None:
        for sock in [*self._fillers, self._listening]:
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# Scripts ----------------------------------------------------------------------------------------------------


def _answer(answer: Answer, request: Request) -> bytes:
    return answer if isinstance(answer, bytes) else answer(request)


def http(answer: Answer | None = None) -> Script:
    """An HTTP/1.1 server with keep-alive: `answer` is the bytes of a response or makes them from the request.

    Without an answer: 200 with the body `ok`. A response to HEAD is cut behind its head; `Connection: close`
    in the request or in the answer ends the connection, as does an answer without a length.
    """
    answer = response() if answer is None else answer

    def script(conn: MemberConn) -> None:
        while (request := conn.read_request()) is not None:
            data = _answer(answer, request)
            head = data[: data.find(b"\r\n\r\n") + 4]
            conn.send(head if request.method == "HEAD" else data)
            said = head.lower()
            unframed = b"\r\ncontent-length:" not in said and b"\r\ntransfer-encoding:" not in said
            bodiless = request.method == "HEAD" or said.startswith((b"http/1.1 204", b"http/1.1 304"))
            if (
                "close" in request.tokens("Connection")
                or b"\r\nconnection: close" in said
                or (unframed and not bodiless)
            ):
                return

    return script


def named(name: str) -> Script:
    """`http` with the name as the body: shows who answered."""
    return http(response(name.encode()))


def http_echo(request: Request) -> bytes:
    """An answer for `http`: the request's body, framed as it came."""
    if request.framing == "chunked":
        return response(pieces=request.chunks, trailers=request.trailers)
    return response(request.body)


def echo(conn: MemberConn) -> None:
    """Send back what comes, until the other side has finished; then finish too."""
    while data := conn.recv():
        conn.send(data)


def say_nothing(conn: MemberConn) -> None:
    """Accept, read, and never say a word."""
    while conn.recv():
        pass


def greet(data: bytes) -> Script:
    """Send these bytes at once, close when the other side has finished."""

    def script(conn: MemberConn) -> None:
        conn.send(data)
        say_nothing(conn)

    return script


def raw(data: bytes, *, then: str = "close", piece: int = 0) -> Script:
    """Read one request, send these bytes, and then `close`, `reset`, `stay` silent, or go on with `repeat`.

    For answers that no server would give, or that end too early. `piece` sends that many bytes at a time.
    """

    def script(conn: MemberConn) -> None:
        while conn.read_request() is not None:
            if piece:
                conn.send_slowly(data, piece)
            else:
                conn.send(data)
            if then == "reset":
                # A reset overtakes bytes that the other side has not read yet: let it have them first.
                wait_until_taken(conn)
                conn.reset()
                return
            if then == "stay":
                say_nothing(conn)
                return
            if then == "close":
                return

    return script


def wait_until_taken(conn: Conn) -> None:
    """Wait until the other side's kernel has every byte that was sent."""
    eventually(lambda: _unacknowledged(conn.socket) == 0, what="acknowledged bytes")


def _unacknowledged(sock: socket.socket) -> int:
    import fcntl
    import struct
    import termios

    # SIOCOUTQ is TIOCOUTQ: bytes in the send queue that the peer's kernel has not taken.
    count: int = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    return count


def held(gate: threading.Event, answer: Answer | None = None, *, first: bytes = b"") -> Script:
    """Read a request, send `first`, wait until the test sets `gate`, then answer; keep-alive."""
    answer = response() if answer is None else answer

    def script(conn: MemberConn) -> None:
        while (request := conn.read_request()) is not None:
            if first:
                conn.send(first)
            conn.wait(gate)
            conn.send(_answer(answer, request))

    return script


def reset_at_once(conn: MemberConn) -> None:
    """Reset a connection as soon as it is accepted."""
    conn.reset()


def continue_100(answer: Answer | None = None) -> Script:
    """A server that sends `100 Continue` behind a head with `Expect: 100-continue`, and answers behind the
    body."""
    answer = response() if answer is None else answer

    def script(conn: MemberConn) -> None:
        while (request := conn.read_request_head()) is not None:
            if "100-continue" in request.tokens("Expect"):
                conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            conn.read_request_body(request)
            conn.send(_answer(answer, request))

    return script


def upgrade(protocol: str = "websocket", *, greeting: bytes = b"") -> Script:
    """Answer a request with 101 and switch to an echo. `greeting` comes in the same segment as the 101.

    A WebSocket key gets its accept value (RFC 6455), so that strict parties in between go along.
    """

    def script(conn: MemberConn) -> None:
        if (asked := conn.read_request()) is not None:
            lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {protocol}"]
            if key := asked.get("Sec-WebSocket-Key"):
                digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
                lines.append(f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}")
            conn.send("\r\n".join([*lines, "", ""]).encode() + greeting)
            echo(conn)

    return script


def in_turn(*scripts: Script) -> Script:
    """The first connection gets the first script, and so on; the last script takes all further ones."""
    count = itertools.count()

    def script(conn: MemberConn) -> None:
        scripts[min(next(count), len(scripts) - 1)](conn)

    return script
