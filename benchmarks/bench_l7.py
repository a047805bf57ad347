# SPDX-License-Identifier: Apache-2.0
"""L7 policies: nanoseconds to find the one that applies to a parsed request.

    make bench B=l7

A round is 10,000 matches in one native call, or 100 where a thousand policies are tried one by one: divide by that.
Groups compare numbers of policies of one kind; the request is for the last policy, or for none ("miss"). "others" asks
for a thousand hosts and paths in turn, so that no cache has seen the one at hand a moment ago.
"""

import importlib.util
import pathlib
import random

import pytest

ROUNDS = 10_000
COUNTS = [0, 10, 1000]
FIELDS = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding: gzip, deflate, br",
    "Accept-Language: de,en-US;q=0.7,en;q=0.3",
    "Referer: https://www.example.org/shop/",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; seen=1.2.3.4.5",
    "Sec-Fetch-Dest: document",
]
# kind: (the rules of policy number i, what a request for it has: host, path, further field)
KINDS = {
    "host": lambda i: (
        [("HOST_NAME", "EQUAL_TO", "", f"www{i}.example.org")],
        f"www{i}.example.org",
        "/",
        "",
    ),
    "path": lambda i: (
        [("PATH", "STARTS_WITH", "", f"/app{i}/")],
        "www.example.org",
        f"/app{i}/list?page=3",
        "",
    ),
    "host and path": lambda i: (
        [
            ("HOST_NAME", "EQUAL_TO", "", f"www{i // 10}.example.org"),
            ("PATH", "STARTS_WITH", "", f"/app{i % 10}/"),
        ],
        f"www{i // 10}.example.org",
        f"/app{i % 10}/list",
        "",
    ),
    "file type": lambda i: (
        [("FILE_TYPE", "EQUAL_TO", "", f".t{i}")],
        "www.example.org",
        f"/a/long/path.t{i}",
        "",
    ),
    "header": lambda i: (
        [("HEADER", "EQUAL_TO", "X-Tenant", f"t{i}")],
        "www.example.org",
        "/",
        f"X-Tenant: t{i}",
    ),
    "cookie": lambda i: (
        [("COOKIE", "EQUAL_TO", "tenant", f"t{i}")],
        "www.example.org",
        "/",
        f"Cookie: tenant=t{i}",
    ),
    "regex": lambda i: (
        [("PATH", "REGEX", "", f"^/(?:app|web){i}/[0-9]+/edit$")],
        "www.example.org",
        f"/web{i}/17/edit",
        "",
    ),
    "contains": lambda i: ([("PATH", "CONTAINS", "", f"app{i}-")], "www.example.org", f"/shop/app{i}-x", ""),
}


def request(host: str, path: str, field: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *FIELDS, *([field] if field else []), "", ""]
    return "\r\n".join(lines).encode()


@pytest.fixture(scope="session")
def l7():
    path = pathlib.Path(__file__).resolve().parents[1] / "tests" / "native" / "conftest.py"
    spec = importlib.util.spec_from_file_location("native_conftest", path)
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    if said := conftest.build("l7"):
        pytest.fail(said, pytrace=False)
    return conftest.load("l7")


def program(l7, kind: str, count: int):
    rules = [[(*rule, False) for rule in KINDS[kind](i)[0]] for i in range(count)]
    return l7.Program([("REJECT", 0, "", None, some) for some in rules])


@pytest.mark.parametrize("found", [True, False], ids=["hit", "miss"])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_match(benchmark, l7, kind, count, found):
    made = program(l7, kind, count)
    asked = request(*KINDS[kind](count - 1 if found else 12_345_678)[1:])
    assert made.match(asked) == (count - 1 if found and count else None)
    rounds = ROUNDS // 100 if kind in ("regex", "contains") and count == 1000 else ROUNDS
    benchmark.group = f"{kind}, {'hit' if found else 'miss'}"
    benchmark.extra_info["matches a round"] = rounds
    assert benchmark(l7.time_match, made, asked, rounds) > 0


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", ["host", "path", "host and path"])
def test_match_others(benchmark, l7, kind, count):
    made = program(l7, kind, count)
    numbers = list(range(1000))
    random.Random(1).shuffle(numbers)
    made.keep([request(*KINDS[kind](i)[1:]) for i in numbers])
    benchmark.group = f"{kind}, others"
    assert benchmark(l7.time_match_kept, made, ROUNDS) == ROUNDS * count // 1000
