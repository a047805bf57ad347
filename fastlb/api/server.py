# SPDX-License-Identifier: Apache-2.0
"""The API on a port: uvicorn over `app`, in a thread of its own."""

import socket
import threading
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from fastlb.api.app import create_app
from fastlb.errors import BindError, CoreError

if TYPE_CHECKING:
    from fastlb.controller import Controller

START_S = 10.0
STOP_S = 10


class Server:
    """`with Server(controller) as server: server.url`.

    host, port: where it listens, 0 for any free port. options: those of `app.create_app`.
    """

    def __init__(
        self, controller: "Controller", *, host: str = "127.0.0.1", port: int = 0, **options: Any
    ) -> None:
        self._host = host
        self._port = port
        self._app = create_app(controller, **options)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """The un-versioned address that clients are given."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> Self:
        """Listen, and answer from now on. Raises BindError."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # With the protocol named: only then asyncio sets TCP_NODELAY, without which an answer's body waits 40 ms for
        # the caller's delayed ACK.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((self._host, self._port))
        except OSError as error:
            self._socket.close()
            raise BindError(error.errno or 0, error.strerror or str(error), self._host, self._port) from None
        self._port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_S,
        )
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
        """Answer what is under way, and end."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
