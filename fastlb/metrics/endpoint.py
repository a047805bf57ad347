# SPDX-License-Identifier: Apache-2.0
"""Where the core gets what PROMETHEUS listeners answer: a thread of this process that takes the core's connections.

A *site* is a Unix socket in the abstract namespace with a WSGI application behind it, one for each PROMETHEUS listener.
The kernel says which process has connected (SO_PEERCRED), and only this one is let in: no port is open, there is no
secret that could leak, and as each listener has a site of its own, none can reach another's.

The thread starts with the first site and ends with the last. A request has a thread of its own for as long as it takes;
how many there may be is for those to limit who connect.
"""

import http.server
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

PATH = "/metrics"
ANSWER_S = 60.0
"""How long an answer may take to be fetched. Whoever scrapes has given it up long before."""
LINGER_S = 1.0
"""How long the core may go on sending what it was not asked for."""
REST_S = 0.1
"""After a connection that could not be taken, for want of descriptors or memory."""


class Site:
    """An application, and the socket that it is reached by."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.bind("")  # any name that is free
            self.socket.setblocking(False)
            self.socket.listen()
            name = self.socket.getsockname()
        except BaseException:
            self.socket.close()
            raise
        self.address = "@" + name[1:].decode("ascii")
        """As the core takes a member's."""

    def close(self) -> None:
        """Take no more connections; those that there are still get their answer."""
        with _lock:
            loop, last = _loop, False
            if loop is not None and loop.sites.pop(self.socket.fileno(), None) is not None:
                last = not loop.sites
            self.socket.close()
            if loop is not None and last:
                _end(loop)
        if loop is not None and last:
            loop.thread.join()


class _Loop:
    """One life of the thread, and what it waits on.

    Sockets are used and closed under the lock: else one that is closed while it is used might be another's by then.
    """

    def __init__(self) -> None:
        self.sites: dict[int, Site] = {}
        self.ended = False
        self.poll = select.epoll()
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.thread = threading.Thread(target=self.run, name="fastlb-metrics", daemon=True)
        try:
            self.poll.register(self.wake, select.EPOLLIN)
            self.thread.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.poll.close()
        os.close(self.wake)

    def run(self) -> None:
        try:
            while not self.ended:
                for number, _ in self.poll.poll():
                    if not self.take(number):
                        time.sleep(REST_S)
        finally:
            with _lock:
                self.close()

    def take(self, number: int) -> bool:
        """Take a connection and have it answered. False: there was no descriptor, or no memory, for it."""
        with _lock:
            site = self.sites.get(number)
            if site is None:
                return True
            try:
                connection, _ = site.socket.accept()
            except (BlockingIOError, ConnectionError):
                return True
            except OSError:
                return False
            _connections.add(connection)
        if _is_ours(connection):
            try:
                threading.Thread(
                    target=_serve,
                    args=(connection, site.application),
                    name="fastlb-metrics-answer",
                    daemon=True,
                ).start()
                return True
            except RuntimeError:
                _close(connection)
                return False
        _close(connection)
        return True


_lock = threading.Lock()
_loop: _Loop | None = None
_connections: set[socket.socket] = set()


def open_site(application: Application) -> Site:
    """Have this process's core answered by the application, at `Site.address`, from now on. Raises OSError."""
    global _loop
    with _lock:
        site = Site(application)
        try:
            if _loop is None:
                _loop = _Loop()
            _loop.sites[site.socket.fileno()] = site
            _loop.poll.register(site.socket.fileno(), select.EPOLLIN)
        except BaseException:
            number = site.socket.fileno()
            site.socket.close()
            if _loop is not None:
                _loop.sites.pop(number, None)
                if not _loop.sites:
                    _end(_loop)
            raise
        return site


def _end(loop: _Loop) -> None:
    """The thread shall end; another site has another. Under the lock."""
    global _loop
    _loop = None
    loop.ended = True
    os.eventfd_write(loop.wake, 1)


def _close(connection: socket.socket) -> None:
    with _lock:
        _connections.discard(connection)
        connection.close()


def _is_ours(connection: socket.socket) -> bool:
    """Was it this process that connected?"""
    credentials = struct.Struct("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    return bool(credentials.unpack(raw)[0] == os.getpid())


def _serve(connection: socket.socket, application: Application) -> None:
    try:
        _Handler(connection, application)
        # Closed with something unread, it would be broken off before the core has all of the answer.
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(LINGER_S)
        deadline = time.monotonic() + LINGER_S
        while connection.recv(65536) and time.monotonic() < deadline:
            pass
    except OSError:
        pass  # the client has left, and the core with it; or was too slow
    except Exception:
        import logging

        # Without an answer from here the core's is 502.
        logging.getLogger("fastlb").exception("metrics could not be read")
    finally:
        _close(connection)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request, which the core has checked."""

    protocol_version = "HTTP/1.1"
    timeout = ANSWER_S

    def __init__(self, connection: socket.socket, application: Application) -> None:
        self._application = application
        super().__init__(connection, None, None)  # type: ignore[arg-type]

    def handle(self) -> None:
        self.handle_one_request()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "HTTP_ACCEPT": ",".join(self.headers.get_all("Accept", ())),
            "HTTP_ACCEPT_ENCODING": ",".join(self.headers.get_all("Accept-Encoding", ())),
        }
        said: list[Any] = []
        body = b"".join(self._application(environ, lambda *answer: said.extend(answer)))
        status, fields = said[:2]
        self._answer(int(status.split()[0]), body, fields)

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        text = f"{code} {message or HTTPStatus(code).phrase}\n"
        self._answer(code, text.encode("ascii", "replace"), [("Content-Type", "text/plain; charset=utf-8")])

    def _answer(self, code: int, body: bytes, fields: Iterable[tuple[str, str]]) -> None:
        self.send_response_only(code)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def _abandon() -> None:
    """In a forked child: the thread is not here, and the lock may be held by one that is not."""
    global _lock, _loop
    _lock = threading.Lock()
    loop, _loop = _loop, None
    for connection in _connections:
        if connection.fileno() >= 0:
            os.close(connection.detach())  # close() would wait for the files that read it
    _connections.clear()
    if loop is not None:
        for site in loop.sites.values():
            site.socket.close()
        loop.sites.clear()
        loop.close()


os.register_at_fork(after_in_child=_abandon)
