# SPDX-License-Identifier: Apache-2.0
"""The API on a port or a Unix socket: uvicorn over `app`, in a thread of its own."""

import contextlib
import os
import socket
import stat
import threading
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from fastlb.api.app import create_app
from fastlb.api.certificate import Certificate
from fastlb.api.connection import Connection
from fastlb.errors import BindError, CoreError

if TYPE_CHECKING:
    from fastlb.controller import Controller

START_S = 10.0
STOP_S = 10
KEEP_ALIVE_S = 75
"""How long a connection may wait for its next request: longer than clients that poll pause in between."""
BACKLOG = 1024


class Server:
    """`with Server(controller) as server: server.url`.

    host, port: where it listens, 0 for any free port. path: a Unix socket instead, which gets `socket_mode`.
    certificate: speak TLS. options: those of `app.create_app`.
    """

    def __init__(
        self,
        controller: "Controller",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "",
        socket_mode: int = 0o600,
        certificate: Certificate | None = None,
        **options: Any,
    ) -> None:
        self._host = host
        self._port = port
        self._path = path
        self._socket_mode = socket_mode
        self._certificate = certificate
        self._app = create_app(controller, **options)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """The un-versioned address that clients are given; of a Unix socket, `unix:` and its path."""
        if self._path:
            return f"unix:{self._path}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http{'s' if self._certificate else ''}://{host}:{self._port}"

    def listen(self) -> Self:
        """Take connections, whose requests are answered from `start()` on. Raises BindError, CoreError."""
        if self._socket is None:
            self._socket = self._listen_path() if self._path else self._listen_port()
        return self

    def start(self) -> Self:
        """Listen, unless it does so already, and answer from now on. Raises BindError, CoreError."""
        self.listen()
        config = uvicorn.Config(
            self._app,
            http=Connection,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
        )
        config.load()
        config.ssl = None if self._certificate is None else self._certificate.context
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="fastlb-api", daemon=True
        )
        self._thread.start()
        began = threading.Event()
        for _ in range(int(START_S * 200)):
            if self._server.started or not self._thread.is_alive():
                break
            began.wait(0.005)
        if not self._server.started:
            self.stop()
            raise CoreError("the API server did not start; the log says why")
        return self

    def stop(self) -> None:
        """Take no new connections, answer what is under way (for STOP_S seconds at the most), and end."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            try:
                self._thread.join()
            except KeyboardInterrupt:
                self._server.force_exit = True
                raise
            finally:
                self._server = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            if self._path:
                with contextlib.suppress(OSError):
                    os.unlink(self._path)

    def _listen_port(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # With the protocol named: only then asyncio sets TCP_NODELAY, without which an answer's body waits 40 ms for
        # the caller's delayed ACK.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._host, self._port))
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            raise BindError(error.errno or 0, error.strerror or str(error), self._host, self._port) from None
        self._port = listening.getsockname()[1]
        return listening

    def _listen_path(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if _left_behind(self._path):
                os.unlink(self._path)
            # Nobody shall get in between bind and chmod.
            before = os.umask(0o777 & ~self._socket_mode)
            try:
                listening.bind(self._path)
            finally:
                os.umask(before)
            os.chmod(self._path, self._socket_mode)
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            raise CoreError(f"cannot listen on unix:{self._path}: {error.strerror or error}") from None
        return listening

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _left_behind(path: str) -> bool:
    """Is there a socket on which nobody listens any more?"""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False  # connecting to a file is refused too
    except OSError:
        return False
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    finally:
        probe.close()
    return False
