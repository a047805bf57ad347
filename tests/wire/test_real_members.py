# SPDX-License-Identifier: Apache-2.0
"""Members as people have them: nginx, Python's http.server, uvicorn."""

import hashlib
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from fastlb.testing import Load, LoadProcess, eventually, request, unused_port
from fastlb.testing.origin import block

MIB = 1 << 20


class Server:
    """A server program on a port of loopback, with a folder to serve."""

    address = "127.0.0.1"

    def __init__(self, command, port, environment):
        self.port = port
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        eventually(self.listens, 15, what=f"{command[0]} on port {port}")

    def listens(self):
        assert self.process.poll() is None, "ended at once"
        with socket.socket() as sock:
            return sock.connect_ex((self.address, self.port)) == 0

    def close(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(20)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hello.txt").write_text("hello")
    (tmp_path / "large.bin").write_bytes(block() * 8)
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


@pytest.fixture
def nginx(program, folder, plain_environment):
    path, servers = program("nginx"), []

    def start(extra=""):
        port = unused_port()
        home = folder / f"nginx-{port}"
        home.mkdir()
        (home / "conf").write_text(
            textwrap.dedent(
                f"""
                daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
                events {{ worker_connections 512; }}
                http {{
                  access_log off; client_max_body_size 100m; types {{ }} default_type text/plain;
                  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fcgi;
                  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
                  server {{
                    listen 127.0.0.1:{port}; root {folder}; {extra}
                    location = / {{ return 200 "{port}"; }}
                    location = /who {{ return 200 "{port}"; }}
                    location = /moved {{ return 301 /who; }}
                    location = /put {{ client_body_buffer_size 64k; return 204; }}
                  }}
                }}
                """
            )
        )
        servers.append(Server([path, "-p", home, "-c", home / "conf"], port, plain_environment))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def serves_files(client):
    with client.connect(record=False) as conn:
        assert conn.request("/hello.txt").body == b"hello"
        large = conn.request("/large.bin")
        assert hashlib.sha256(large.body).digest() == hashlib.sha256(block() * 8).digest()
        assert conn.request("/hello.txt", method="HEAD").get("Content-Length") == "5"
        missing = conn.request("/missing")
        assert missing.status == 404
    return True


def test_nginx_as_members(balance, nginx):
    one, two = nginx(), nginx()
    client = balance(
        one, two, monitor={"type": "HTTP", "url_path": "/who", "delay": 1, "timeout": 1, "max_retries": 1}
    ).client
    assert set(client.bodies(10, "/who")) == {str(one.port).encode(), str(two.port).encode()}
    assert serves_files(client)
    assert client.get("/moved").status == 301
    with client.connect() as conn:
        assert conn.request("/empty").body == b""
        answer = conn.request("/hello.txt", fields=[("Range", "bytes=1-3")])
        assert answer.status == 206
        assert answer.body == b"ell"
        etag = conn.request("/hello.txt").get("ETag")
        assert conn.request("/hello.txt", fields=[("If-None-Match", etag)]).status == 304
        # nginx may answer before it has read the body, and then the connection ends with the answer.
        put = conn.request("/put", method="POST", body=b"x" * MIB)
        assert put.status == 204
        assert put.closes or conn.request("/hello.txt").body == b"hello"


def test_nginx_that_closes_after_each_few_requests_fails_nobody(balance, nginx):
    client = balance(nginx("keepalive_requests 3;"), nginx("keepalive_timeout 0;")).client
    with client.connect() as conn:
        for _ in range(60):
            answer = conn.request("/who", method="POST", body=b"x")
            assert answer.status in (200, 405)
            assert not answer.closes


def test_http_server_as_a_member(balance, folder, plain_environment):
    port = unused_port()
    server = Server(
        [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "--directory", folder],
        port,
        plain_environment,
    )
    try:
        client = balance(server).client
        assert serves_files(client)
        answer = client.request("/hello.txt", method="POST", body=b"x")
        assert answer.status == 501
    finally:
        server.close()


APP = textwrap.dedent(
    """
    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]})
        for start in range(0, len(body) or 1, 1000):
            await send({"type": "http.response.body", "body": body[start:start + 1000], "more_body": True})
        await send({"type": "http.response.body", "body": b"!"})
    """
)


EVENTS = textwrap.dedent(
    """
    import asyncio

    steps = asyncio.Semaphore(0)
    left = asyncio.Event()

    async def http(scope, receive, send):
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
        if scope["path"] == "/step":
            steps.release()
        elif scope["path"] == "/left":
            await left.wait()
        if scope["path"] != "/events":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
            return

        async def gone():
            while (await receive())["type"] != "http.disconnect":
                pass
            left.set()
            steps.release()

        watch = asyncio.create_task(gone())
        await send(start)
        number = 0
        while await steps.acquire() and not left.is_set():
            body = b"data: %d\\n\\n" % number
            await send({"type": "http.response.body", "body": body, "more_body": True})
            number += 1

    async def websocket(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})

    async def app(scope, receive, send):
        await {"http": http, "websocket": websocket}[scope["type"]](scope, receive, send)
    """
)


@pytest.fixture
def uvicorn(tmp_path, plain_environment):
    servers = []

    def start(*options, app=APP):
        (tmp_path / "story.py").write_text(app)
        port = unused_port()
        command = [sys.executable, "-m", "uvicorn", "story:app", "--app-dir", tmp_path, "--port", port]
        command += ["--lifespan=off", "--log-level=critical", "--ws=websockets-sansio", *options]
        servers.append(Server(command, port, plain_environment))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def test_uvicorn_as_members(balance, uvicorn):
    client = balance(uvicorn(), uvicorn()).client
    with client.connect() as conn:
        for size in (0, 1, 999, 100_000):
            answer = conn.request(f"/{size}", method="POST", body=b"x" * size)
            assert answer.framing == "chunked"
            assert answer.body == b"x" * size + b"!"
            assert answer.get("x-path") == f"/{size}"


def test_uvicorn_that_keeps_connections_for_a_second_fails_nobody(balance, uvicorn):
    client = balance(uvicorn("--timeout-keep-alive", "1"), uvicorn("--timeout-keep-alive", "1")).client
    pauses = [0.5, 0.9, 0.98, 0.99, 1.0, 1.01, 1.02]
    with (
        Load(client, clients=20, pauses=pauses) as reading,
        Load(client, clients=20, pauses=pauses, method="POST") as writing,
    ):
        writing.wait_requests(80)
    assert reading.failures == []
    assert writing.failures == []


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_each_event_of_a_stream_arrives_before_the_next_is_made(balance, uvicorn, http):
    client = balance(uvicorn(f"--http={http}", app=EVENTS)).client
    with client.connect() as stream:
        stream.send(request("/events", fields=[("Accept", "text/event-stream")]))
        head = stream.read_response_head()
        assert head.get("Content-Type") == "text/event-stream"
        assert head.framing == "chunked"
        for number in range(5):
            assert not stream.pending()
            assert client.get("/step").status == 204
            assert stream.read_chunk() == b"data: %d\n\n" % number
    # That the client has left may show with the next event only: one that ended its side may still read.
    assert [client.get("/step").status for _ in range(2)] == [204, 204]
    assert client.get("/left").status == 204


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_a_websocket_of_uvicorn_talks_through(balance, uvicorn, http):
    from websockets.sync.client import connect

    client = balance(uvicorn(f"--http={http}", app=EVENTS)).client
    with connect(f"ws://{client.address}:{client.port}/", proxy=None) as one:
        for word in ("hello", "x" * 100_000):
            one.send(word)
            assert one.recv(timeout=10) == word.upper()


def test_a_body_behind_an_upgrade_is_no_request_for_httptools(balance, uvicorn):
    """uvicorn's default parser reads no body there: it never gets to see such an upgrade."""
    client = balance(uvicorn("--http=httptools")).client
    hidden = request("/hidden")
    with client.connect() as conn:
        for _ in range(3):
            answer = conn.request(
                "/1", method="POST", fields=[("Connection", "upgrade"), ("Upgrade", "x")], body=hidden
            )
            assert answer.get("x-path") == "/1"
            assert answer.body == hidden + b"!"
            assert conn.request("/2").get("x-path") == "/2"


def test_a_killed_nginx_fails_no_get(balance, nginx):
    one, two = nginx(), nginx()
    balancer = balance(one, two)
    with LoadProcess(balancer.client) as load:
        load.wait_requests(50)
        two.close(signal.SIGKILL)
        load.wait_requests(200)
    assert load.failures == []
    assert set(load.bodies) == {str(one.port), str(two.port)}
