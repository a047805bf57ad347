# SPDX-License-Identifier: Apache-2.0
"""Clients as people have them: curl, wrk, ab, requests, aiohttp."""

import asyncio
import hashlib
import re
import subprocess

import pytest

from fastlb.testing import MemberProcess, http, http_echo, named, response


@pytest.fixture
def run(program, plain_environment):
    def go(name, *arguments, timeout=60):
        result = subprocess.run(
            [program(name), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=plain_environment,
        )
        assert result.returncode == 0, f"{name}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    return go


@pytest.fixture
def url(balance):
    def make(*peers, **options):
        client = balance(*peers, **options).client
        return f"http://{client.address}:{client.port}"

    return make


def test_curl_gets_and_alternates(run, url, member):
    base = url(member(named("1")), member(named("2")))
    out = run("curl", "-sS", *[f"{base}/{number}" for number in range(6)])
    assert out in ("121212", "212121")


@pytest.mark.parametrize("framing", [[], ["-H", "Transfer-Encoding: chunked"]], ids=["length", "chunked"])
def test_curl_uploads(run, url, member, tmp_path, framing):
    one = member(http(http_echo))
    data = tmp_path / "data"
    data.write_bytes(bytes(range(256)) * 8000)
    # A body of this size makes curl ask with Expect: 100-continue first.
    out = run(
        "curl",
        "-sS",
        "-o",
        tmp_path / "back",
        "-w",
        "%{http_code}",
        "--data-binary",
        f"@{data}",
        *framing,
        url(one),
    )
    assert out == "200"
    assert (tmp_path / "back").read_bytes() == data.read_bytes()


def test_curl_speaks_http_1_0_and_head(run, url, member):
    base = url(member(http(response(pieces=[b"a", b"b"]))))
    assert run("curl", "-sS", "--http1.0", base) == "ab"
    assert run("curl", "-sS", "-I", base).startswith("HTTP/1.1 200 ")


def test_curl_asks_for_h2c_and_is_served_by_http_1_1(run, url, member):
    assert run("curl", "-sS", "--http2", url(member(named("plain")))) == "plain"


def test_wrk_finds_no_error(run, url):
    with MemberProcess("1") as one, MemberProcess("2") as two:
        out = run("wrk", "-t1", "-c32", "-d1s", url(one, two))
    assert "Socket errors" not in out
    assert "Non-2xx" not in out
    assert float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]) > 100


@pytest.mark.parametrize("options", [[], ["-k"]], ids=["anew", "kept"])
def test_ab_finds_no_error(run, url, options):
    with MemberProcess("1") as one:
        out = run("ab", "-q", "-n", 2000, "-c", 16, *options, url(one) + "/")
    assert re.search(r"Complete requests:\s+2000\b", out)
    assert re.search(r"Failed requests:\s+0\b", out)
    assert "Non-2xx" not in out


def test_requests_keeps_its_session(url, member):
    import requests

    one = member(http(http_echo))
    base = url(one)
    with requests.Session() as session:
        for number in range(10):
            answer = session.post(f"{base}/{number}", data=b"x" * 10_000 * number, timeout=10)
            assert answer.status_code == 200
            assert answer.content == b"x" * 10_000 * number
        answer = session.post(base, data=iter([b"one", b"two"]), timeout=10)
        assert answer.content == b"onetwo"
        assert session.get(base, timeout=10, stream=True).raw.read() == b""
    assert len(one.connections) <= 2


def test_aiohttp_in_parallel(url):
    import aiohttp

    async def story(base):
        async with aiohttp.ClientSession() as session:

            async def ask(number):
                async with session.get(f"{base}/{number}") as answer:
                    assert answer.status == 200
                    return await answer.read()

            return await asyncio.gather(*(ask(number) for number in range(200)))

    with MemberProcess("1") as one, MemberProcess("2") as two:
        bodies = asyncio.run(story(url(one, two)))
    assert sorted(set(bodies)) == [b"1", b"2"]
    assert bodies.count(b"1") == 100


def test_an_aiohttp_websocket_talks_through(url):
    import aiohttp
    from aiohttp import web

    async def hello(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    async def story():
        app = web.Application()
        app.router.add_get("/ws", hello)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        peer = type("Peer", (), {"address": "127.0.0.1", "port": site._server.sockets[0].getsockname()[1]})
        try:
            base = url(peer)
            async with aiohttp.ClientSession() as session, session.ws_connect(f"{base}/ws") as socket:
                for word in ("hello", "x" * 100_000):
                    await socket.send_str(word)
                    assert (await socket.receive_str(timeout=10)) == word.upper()
        finally:
            await runner.cleanup()

    asyncio.run(story())


def test_curl_downloads_a_large_file(run, url, tmp_path):
    from fastlb.testing.origin import BLOCK, block

    with MemberProcess(stream=20 * BLOCK) as origin:
        run("curl", "-sS", "-o", tmp_path / "file", url(origin))
    assert hashlib.sha256((tmp_path / "file").read_bytes()).digest() == hashlib.sha256(block() * 20).digest()
