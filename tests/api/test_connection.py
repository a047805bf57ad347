# SPDX-License-Identifier: Apache-2.0
"""What a connection to the API may have the server keep, and for how long it may take to say what it wants."""

import contextlib
import socket

import pytest

from fastlb.api import connection
from fastlb.testing import eventually

HEAD = b"POST /v2/lbaas/pools HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def connect(api):
    """`connect(…)`: a raw connection that has sent this."""
    with contextlib.ExitStack() as stack:

        def connect(*sent):
            host, _, port = api.url.removeprefix("http://").partition(":")
            conn = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            for part in sent:
                conn.sendall(part)
            return conn

        yield connect


def answer(conn):
    """What comes until the end of the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := conn.recv(65536):
            received += part
    return received


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connection.Connection, "wait_s", 0.1)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v2",
        HEAD,
        HEAD + b"Content-Length: 9\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;",
    ],
    ids=["nothing", "a word", "half a head", "half a body", "half a chunk"],
)
def test_who_does_not_finish_a_request_is_not_waited_for(connect, impatient, sent):
    assert answer(connect(sent)) == b""


def test_a_body_that_keeps_coming_has_its_time(connect, monkeypatch):
    monkeypatch.setattr(connection.Connection, "wait_s", 0.1)
    conn = connect(HEAD + b"Content-Length: 5000\r\nConnection: close\r\n\r\n{" + b" " * 4998)
    conn.settimeout(0.3)
    with pytest.raises(TimeoutError):
        conn.recv(1)
    conn.settimeout(10)
    conn.sendall(b"}")
    assert answer(conn).startswith(b"HTTP/1.1 400 ")


def test_a_connection_waits_between_requests(connect, impatient):
    whole = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    conn = connect(whole)
    assert conn.recv(65536).startswith(b"HTTP/1.1 200 ")
    conn.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while conn.recv(65536):
            pass
    conn.settimeout(10)
    conn.sendall(whole)
    assert conn.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"".join(b"X-%d: y\r\n" % at for at in range(100)),
        HEAD + b"X: " + b"y" * 1000 + b"\r\nY: z\r\n",
    ],
    ids=["many", "long"],
)
def test_too_many_header_fields_are_refused(connect, monkeypatch, sent):
    monkeypatch.setattr(connection, "HEAD_BYTES", 1000)
    assert answer(connect(sent)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"X: ",
        b"GET /",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;",
    ],
    ids=["field", "target", "trailer", "chunk extension"],
)
def test_what_has_no_end_is_cut(connect, sent):
    conn = connect(sent)
    with pytest.raises(ConnectionError):
        conn.sendall(b"y" * 20_000_000)


def test_a_body_of_tiny_chunks_is_a_body(connect):
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"pool":{"name":"' + b"x" * 200_000 + b'"}}')
    conn = connect(HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body + b"0\r\n\r\n")
    said = answer(conn)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"faultstring" in said


def test_connections_beyond_the_bound_are_closed_and_the_others_served(api, connect, monkeypatch):
    monkeypatch.setattr(connection, "CONNECTIONS", 3)
    held = [connect(b"GET") for _ in range(3)]
    assert answer(connect(b"GET / HTTP/1.1\r\n\r\n")) == b""
    held[0].close()
    whole = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    eventually(lambda: answer(connect(whole)).startswith(b"HTTP/1.1 200 "))


def test_a_client_that_goes_away_in_its_body_is_no_error(api, connect, caplog):
    caplog.set_level("INFO", "fastlb.api.requests")
    connect(HEAD + b"Content-Length: 9\r\n\r\n{").close()
    eventually(lambda: "POST /v2/lbaas/pools" in caplog.text)
    assert "Traceback" not in caplog.text
    assert "ERROR" not in caplog.text
