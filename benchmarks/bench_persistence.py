# SPDX-License-Identifier: Apache-2.0
"""Session persistence: nanoseconds to find the member that a client had, and to read and take out its cookie.

    make bench B=persistence

A round is 10,000 look-ups, or heads, in one native call: divide by that. Clients come in an order that no cache
foresees. A cookie's head is parsed once; taking it out includes finding it, and copying the fields' marks back.
"""

import importlib.util
import pathlib

import pytest

ROUNDS = 10_000
COOKIES = [
    b"_ga=GA1.2.1234567890.1700000000",
    b"_gid=GA1.2.987654321.1700000000",
    b"theme=dark",
    b"consent=%7B%22necessary%22%3Atrue%2C%22statistics%22%3Afalse%7D",
    b"session=0123456789abcdef0123456789abcdef0123456789abcdef",
    b"csrftoken=abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWX",
    b"lang=de",
    b"seen=1.2.3.4.5.6.7.8",
]
SRV = b"SRV=01234567-89ab-cdef-0123-456789abcdef"
BROWSER = b"\r\n".join(
    [
        b"GET /shop/items?id=17&q=red%20shoes HTTP/1.1",
        b"Host: www.example.org",
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        b"Accept-Encoding: gzip, deflate, br",
        b"Accept-Language: de,en-US;q=0.7,en;q=0.3",
        b"Referer: https://www.example.org/shop/",
        b"Cookie: JAR",
        b"Sec-Fetch-Dest: document",
        b"Sec-Fetch-Mode: navigate",
        b"Sec-Fetch-Site: same-origin",
        b"",
        b"",
    ]
)
JARS = {
    "alone": [SRV],
    "amid eight": [*COOKIES[:6], SRV, *COOKIES[6:]],
    "none": COOKIES,
}
JARS["amid forty"] = [*COOKIES * 3, SRV, *COOKIES * 2]


@pytest.fixture(scope="session")
def native():
    path = pathlib.Path(__file__).resolve().parents[1] / "tests" / "native" / "conftest.py"
    spec = importlib.util.spec_from_file_location("native_conftest", path)
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    if said := conftest.build("sticky", "http_cookie"):
        pytest.fail(said, pytrace=False)
    return conftest.load


@pytest.mark.parametrize("clients", [1000, 65_536])
def test_sticky_get(benchmark, native, clients):
    table = native("sticky").Table()
    table.put_numbers(0, clients)
    benchmark.group = "sticky_get"
    assert benchmark(table.time_get, clients, ROUNDS) == ROUNDS


@pytest.mark.parametrize("remove", [False, True], ids=["cookie_find", "cookie_find and cookie_remove"])
@pytest.mark.parametrize("jar", JARS)
def test_cookie(benchmark, native, jar, remove):
    head = BROWSER.replace(b"JAR", b"; ".join(JARS[jar]))
    benchmark.group = f"{jar}: a Cookie field of {len(b'; '.join(JARS[jar]))} bytes"
    found = benchmark(native("http_cookie").time_cookies, head, b"SRV", ROUNDS, remove)
    assert found == (ROUNDS if SRV in JARS[jar] else 0)
