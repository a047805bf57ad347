# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 heads and bodies: nanoseconds for a parse, for a parse with its write, for a chunked body.

    make bench B=http1

A round is 10,000 messages in one call, so Python's own cost vanishes. For instructions a message, which no neighbour
disturbs, take the difference of two runs of `valgrind --tool=callgrind python -m benchmarks.bench_http1 wrk ROUNDS`;
besides the names below there is `answer`.
"""

import importlib.util
import pathlib
import sys

import pytest

ROUNDS = 10_000
WRK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
CURL = b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n"
BROWSER = b"\r\n".join(
    [
        b"GET /shop/items?id=17&q=red%20shoes HTTP/1.1",
        b"Host: www.example.org",
        b"Connection: keep-alive",
        b"Upgrade-Insecure-Requests: 1",
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        b"Accept-Encoding: gzip, deflate, br",
        b"Accept-Language: de,en-US;q=0.7,en;q=0.3",
        b"Referer: https://www.example.org/shop/",
        b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; seen=1,2,3,4,5",
        b"Sec-Fetch-Dest: document",
        b"Sec-Fetch-Mode: navigate",
        b"Sec-Fetch-Site: same-origin",
        b"X-Custom-Header: something",
        b"",
        b"",
    ]
)
LARGE = (
    b"GET / HTTP/1.1\r\nHost: a\r\n"
    + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 300) for i in range(50))
    + b"\r\n"
)
ANSWER = b"\r\n".join(
    [
        b"HTTP/1.1 200 OK",
        b"Server: nginx/1.22.1",
        b"Date: Sat, 01 Jan 2022 00:00:00 GMT",
        b"Content-Type: text/plain",
        b"Content-Length: 21",
        b"Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT",
        b"Connection: keep-alive",
        b'ETag: "61cf9980-15"',
        b"Accept-Ranges: bytes",
        b"",
        b"",
    ]
)
REQUESTS = {"wrk": WRK, "curl": CURL, "browser": BROWSER, "large": LARGE}
CHUNKS = {"16 KiB in one": [16384], "16 KiB in 64": [256] * 64}


def load_native():
    path = pathlib.Path(__file__).resolve().parents[1] / "tests" / "native" / "conftest.py"
    spec = importlib.util.spec_from_file_location("native_conftest", path)
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    if said := conftest.build("http1", "http1_body", "http1_write"):
        raise SystemExit(said)
    return conftest.load


@pytest.fixture(scope="session")
def native():
    return load_native()


def measured(benchmark, function, data, *arguments):
    benchmark.extra_info["bytes"] = len(data)
    benchmark.extra_info["messages a round"] = ROUNDS
    assert benchmark(function, data, ROUNDS, *arguments) > 0


@pytest.mark.parametrize("name", REQUESTS)
def test_parse_a_request(benchmark, native, name):
    measured(benchmark, native("http1").time_parse, REQUESTS[name])


@pytest.mark.parametrize("name", REQUESTS)
def test_parse_and_write_a_request(benchmark, native, name):
    measured(benchmark, native("http1_write").time_request, REQUESTS[name])


def test_parse_and_write_a_response(benchmark, native):
    measured(benchmark, native("http1_write").time_response, ANSWER)


@pytest.mark.parametrize("name", CHUNKS)
def test_take_a_body_out_of_its_chunks(benchmark, native, name):
    part = native("http1_body")
    data = b"".join(b"%x\r\n%s\r\n" % (size, bytes(size)) for size in CHUNKS[name]) + b"0\r\n\r\n"
    measured(benchmark, part.time_feed, data, part.CHUNKED, 0)


if __name__ == "__main__":
    write = load_native()("http1_write")
    name, rounds = sys.argv[1], int(sys.argv[2])
    if name == "answer":
        write.time_response(ANSWER, rounds)
    else:
        write.time_request(REQUESTS[name], rounds)
