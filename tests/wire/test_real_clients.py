# SPDX-License-Identifier: Apache-2.0
"""Clients as people have them: curl, wrk, ab, requests, aiohttp."""

import asyncio
import hashlib
import re
import subprocess

import pytest

from fastlb.testing import MemberProcess, continue_100, http, http_echo, named, response


@pytest.fixture
def run(program, plain_environment):
    def go(name, *arguments, timeout=60, code=0, **more):
        result = subprocess.run(
            [program(name), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=plain_environment,
            **more,
        )
        assert result.returncode == code, f"{name}: {result.returncode}\n{result.stdout}\n{result.stderr}"
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


ODD = {
    # arguments, what of the request the member sees
    "a path as it is": (["--path-as-is", "{url}/a/../b/./%2e%2e//c"], {"target": "/a/../b/./%2e%2e//c"}),
    "an absolute target": (
        ["-x", "{url}", "http://other.test:81/a?b"],
        {"target": "/a?b", "Host": "other.test:81"},
    ),
    "a target of its own": (
        ["-X", "OPTIONS", "--request-target", "*", "{url}"],
        {"target": "*", "method": "OPTIONS"},
    ),
    "a query with odd bytes": (["-g", "{url}/?a[]={b}&c=%zz&d=%00"], {"target": "/?a[]={b}&c=%zz&d=%00"}),
    "a field without a value": (["-H", "X-Empty;", "{url}/"], {"X-Empty": ""}),
    "a field of obs-text": (["-H", "X-Latin: caf\u00e9", "{url}/"], {"X-Latin": "caf\u00c3\u00a9"}),
    "another Host": (["-H", "Host: [::1]:8080", "{url}/"], {"Host": "[::1]:8080"}),
    "ninety fields": ([*(x for n in range(90) for x in ("-H", f"X-{n}: {n}")), "{url}/"], {"X-89": "89"}),
    "a field of 8 KiB": (["-H", "X-Long: " + "v" * 8000, "{url}/"], {"X-Long": "v" * 8000}),
    "an unknown method": (["-X", "PURGE", "{url}/a"], {"method": "PURGE"}),
    "a method in small letters": (["-X", "get", "{url}/a"], {"method": "get"}),
    "a GET with a body": (["-X", "GET", "-d", "the body", "{url}/"], {"method": "GET", "body": b"the body"}),
    "a DELETE with a body": (
        ["-X", "DELETE", "-d", "the body", "{url}/"],
        {"method": "DELETE", "body": b"the body"},
    ),
    "an empty body": (["-d", "", "{url}/"], {"Content-Length": "0", "body": b""}),
    "a body from standard input": (
        ["-T", "-", "{url}/up"],
        {"method": "PUT", "body": b"from stdin", "framing": "chunked"},
    ),
    "the same by HTTP/1.0": (["-0", "-d", "the body", "{url}/"], {"version": "1.1", "body": b"the body"}),
    "an expectation": (["-H", "Expect: 100-continue", "-d", "x" * 5000, "{url}/"], {"body": b"x" * 5000}),
    "a range": (["-r", "1-3", "{url}/"], {"Range": "bytes=1-3"}),
    "a name and a password": (["-u", "name:word", "{url}/"], {"Authorization": "Basic bmFtZTp3b3Jk"}),
    "trailers wanted": (["--tr-encoding", "{url}/"], {"TE": None}),
    "cookies": (["-b", "a=1; b=2", "{url}/"], {"Cookie": "a=1; b=2"}),
}


@pytest.mark.parametrize("name", ODD)
def test_curls_odd_requests_arrive_as_they_were_meant(run, url, member, name):
    arguments, seen = ODD[name]
    one = member(continue_100(response(b"fine")))
    base = url(one)
    out = run("curl", "-sS", *[word.replace("{url}", base) for word in arguments], input="from stdin")
    assert out == "fine"
    got = one.requests[0]
    for what, value in seen.items():
        assert (getattr(got, what) if what.islower() else got.get(what)) == value


REFUSED = {
    "two framings": (["-d", "x", "-H", "Transfer-Encoding: chunked", "-H", "Content-Length: 1"], "400"),
    "two lengths": (["-d", "x", "-H", "Content-Length: 1", "-H", "Content-Length: 1"], "400"),
    "no Host": (["-H", "Host:"], "400"),
    "a Host with a path": (["-H", "Host: a/b"], "400"),
    "a method with a space": (["-X", "G ET"], "400"),
    "another coding": (["-d", "x", "-H", "Transfer-Encoding: gzip, chunked"], "501"),
    "a hundred and fifty fields": ([x for n in range(150) for x in ("-H", f"X-{n}: {n}")], "431"),
    "a head of 100 KiB": ([x for n in range(13) for x in ("-H", f"X-{n}: {'v' * 8000}")], "431"),
    "a target of 10,000 bytes": (["-G", "-d", "q=" + "v" * 10_000], "414"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_curls_bad_requests_are_refused(run, url, member, name):
    arguments, status = REFUSED[name]
    one = member()
    base = url(one)
    assert run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *arguments, base) == status
    assert one.received == b""


def test_curl_is_offered_no_tunnel(run, url, member):
    one = member()
    out = run("curl", "-sS", "-p", "-x", url(one), "-w", "%{http_connect}", "http://other.test/", code=56)
    assert out == "501"
    assert one.received == b""


def test_curl_asks_many_times_in_many_ways_on_one_connection(run, url, member):
    one = member(continue_100(lambda message: response(message.method.encode() + b" ")))
    base = url(one)
    out = run(
        "curl",
        *["-sS", base, "--next", "-sS", "-I", "-o", "/dev/null", base, "--next", "-sS", "-T", "-", base],
        *["--next", "-sS", "-X", "PURGE", "-w", "%{num_connects}", base],
        input="from stdin",
    )
    assert out == "GET PUT PURGE 0"
    assert [message.method for message in one.requests] == ["GET", "HEAD", "PUT", "PURGE"]


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
