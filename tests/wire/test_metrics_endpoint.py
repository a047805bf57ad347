# SPDX-License-Identifier: Apache-2.0
"""Where the core gets metrics: a socket of this process that nobody else may use, and a thread that comes and goes."""

import logging
import socket
import subprocess
import sys
import threading

import pytest

import fastlb
from fastlb import _core
from fastlb.metrics.endpoint import open_site
from fastlb.testing import eventually, request


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello ", environ["QUERY_STRING"].encode()]


def broken(environ, start_response):
    raise LookupError("nothing to be read")


def large(environ, start_response):
    start_response("200 OK", [])
    return [b"x" * 10_000_000]


@pytest.fixture
def site():
    opened = []

    def make(application=hello):
        opened.append(open_site(application))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


ASKED = request("/metrics?a=b")


def ask(site, data=ASKED):
    """What it answers: all that comes until it closes."""
    with socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(5)
        conn.connect("\0" + site.address[1:])
        conn.sendall(data)
        pieces = []
        while piece := conn.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)


def test_this_process_is_answered(site):
    answer = ask(site())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
    assert answer.endswith(b"\r\n\r\nhello a=b")


def test_another_process_is_not_heard(site, child_environment):
    source = """
import socket, sys
conn = socket.socket(socket.AF_UNIX)
conn.connect(chr(0) + sys.argv[1])
try:
    conn.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    print(conn.recv(100))
except ConnectionError:
    print(b"")
"""
    one = site()
    command = [sys.executable, "-c", source, one.address[1:]]
    assert subprocess.run(command, capture_output=True, text=True, timeout=30).stdout == "b''\n"
    assert ask(one).endswith(b"hello a=b")


def test_an_answer_arrives_whole_though_the_request_has_a_body(site):
    data = request("/metrics", body=b"y" * 100_000)
    assert ask(site(large), data).endswith(b"x" * 10_000_000)


def test_a_failure_is_logged_and_leaves_the_answer_to_the_core(site, caplog):
    with caplog.at_level(logging.ERROR, "fastlb"):
        assert ask(site(broken)) == b""
        eventually(lambda: caplog.records)
    assert caplog.records[0].message == "metrics could not be read"
    assert "nothing to be read" in caplog.text
    assert ask(site()).endswith(b"hello a=b")


def test_the_thread_is_there_as_long_as_a_site_is(site):
    def alive():
        return [one for one in threading.enumerate() if one.name.startswith("fastlb-metrics")]

    assert not alive()
    for _ in range(3):
        one, two = site(), site()
        assert len(alive()) == 1
        one.close()
        one.close()
        assert ask(two)
        two.close()
        eventually(lambda: not alive())


def test_a_closed_site_refuses_and_the_others_go_on(site):
    one, two = site(), site(large)
    one.close()
    with pytest.raises(ConnectionRefusedError):
        ask(one)
    assert ask(two)


def test_the_core_takes_only_names_that_fit(engine):
    engine.start()
    pool = _core.CorePool(engine._core, 0, True)
    row = (0, 1, False, True, None, None, b"x" * 16, 0)
    for name in ("@", "@" + 26 * "a"):
        with pytest.raises(ValueError, match=r"the name must have 1\.\.25 bytes"):
            pool.add_members([(name, *row)])
    with pytest.raises(ValueError, match="ascii"):
        pool.add_members([("@ä", *row)])
    assert len(pool.add_members([("@" + 25 * "a", *row)])) == 1
    pool.close()
    del pool


def test_only_the_core_itself_can_be_told_such_a_name():
    lb = fastlb.LoadBalancer()
    pool = lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    with pytest.raises(fastlb.ConfigError, match="address='@abc'"):
        pool.create_member("@abc", 80)
