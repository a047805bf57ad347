# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 heads: what is taken, what is refused and with which status, however the bytes arrive."""

import ipaddress
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="session")
def http1(native):
    return native("http1")


def head(*lines, first=b"GET / HTTP/1.1", host=b"Host: a"):
    return b"\r\n".join([first, *([host] if host else []), *lines, b"", b""])


def answer(*lines, first=b"HTTP/1.1 200 OK"):
    return b"\r\n".join([first, *lines, b"", b""])


# ---- refused requests: (head, status, a word of the reason)

REFUSED = {
    # 2.2: lines and characters
    "LF after the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "LF"),
    "LF after a field": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "LF"),
    "LF as the empty line": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "LF"),
    "LF inside a name": (head(b"X\nY: b"), 400, "LF"),
    "LF before the request line": (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "LF"),
    "LF in the target": (head(first=b"GET /\n HTTP/1.1"), 400, "LF"),
    "CR in the target": (head(first=b"GET /a\rb HTTP/1.1"), 400, "target"),
    "CR in the method": (head(first=b"G\rET / HTTP/1.1"), 400, "method"),
    "CR in the version": (head(first=b"GET / HTTP/1.1\rX"), 400, "CR"),
    "CR in a value": (head(b"X: a\rb"), 400, "CR"),
    "CR in a name": (head(b"X\rY: b"), 400, "CR"),
    "CR for a hyphen of a known name": (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent\rLength: 3\r\n\r\n",
        400,
        "CR",
    ),
    "CR CR LF": (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, "CR"),
    "CR before the end": (b"GET / HTTP/1.1\r\nHost: a\r\n\rX", 400, "CR"),
    "CR before the request line": (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "CR"),
    "five empty lines first": (b"\r\n" * 5 + head(), 400, "empty"),
    "blank before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "begins"),
    "folded by SP": (head(b"X: a", b" b"), 400, "begins"),
    "folded by HTAB": (head(b"X: a", b"\tb"), 400, "begins"),
    "folded Transfer-Encoding": (head(b"Transfer-Encoding:", b" chunked"), 400, "begins"),
    "line of one SP": (head(b" "), 400, "begins"),
    # 5: names
    "SP before the colon": (head(b"X : b"), 400, "colon"),
    "HTAB before the colon": (head(b"X\t: b"), 400, "colon"),
    "SP before the colon of Content-Length": (head(b"Content-Length : 4"), 400, "colon"),
    "SP before the colon of Host": (head(host=b"Host : a"), 400, "colon"),
    "empty name": (head(b": b"), 400, "name"),
    "only a colon": (head(b":"), 400, "name"),
    "no colon": (head(b"word"), 400, "colon"),
    "no colon in the last line": (b"GET / HTTP/1.1\r\nHost: a\r\nword\r\n\r\n", 400, "colon"),
    "SP in a name": (head(b"X Y: b"), 400, "name"),
    # 3: request line
    "two SP before the target": (head(first=b"GET  / HTTP/1.1"), 400, "target"),
    "two SP before the version": (head(first=b"GET /  HTTP/1.1"), 400, "version"),
    "HTAB for SP": (head(first=b"GET\t/ HTTP/1.1"), 400, "method"),
    "HTAB before the version": (head(first=b"GET /\tHTTP/1.1"), 400, "target"),
    "SP behind the version": (head(first=b"GET / HTTP/1.1 "), 400, "version"),
    "SP first": (head(first=b" GET / HTTP/1.1"), 400, "method"),
    "method no token": (head(first=b"G(T / HTTP/1.1"), 400, "method"),
    "method with obs-text": (head(first=b"G\xc9T / HTTP/1.1"), 400, "method"),
    "no method": (head(first=b"/ HTTP/1.1"), 400, "method"),
    "no target": (head(first=b"GET HTTP/1.1"), 400, "target"),
    "no version": (b"GET /\r\n\r\n", 400, "target"),
    "no version, one SP": (b"GET / \r\n\r\n", 400, "version"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400, "method"),
    "method without end": (b"A" * 65, 501, "method"),
    # 3.2: target
    "target without a slash": (head(first=b"GET a HTTP/1.1"), 400, "form"),
    "query alone": (head(first=b"GET ?a HTTP/1.1"), 400, "form"),
    "star for GET": (head(first=b"GET * HTTP/1.1"), 400, "form"),
    "two stars": (head(first=b"OPTIONS ** HTTP/1.1"), 400, "form"),
    "authority for GET": (head(first=b"GET a:80 HTTP/1.1"), 400, "form"),
    "other scheme": (head(first=b"GET ftp://a/ HTTP/1.1"), 400, "form"),
    "scheme with one slash": (head(first=b"GET http:/a/ HTTP/1.1"), 400, "form"),
    "userinfo": (head(first=b"GET http://u:p@a/ HTTP/1.1"), 400, "user"),
    "empty authority": (head(first=b"GET http:/// HTTP/1.1"), 400, "form"),
    "scheme alone": (head(first=b"GET http:// HTTP/1.1"), 400, "form"),
    "bad authority": (head(first=b"GET http://a:b/ HTTP/1.1"), 400, "form"),
    "absolute with empty path and query": (head(first=b"GET http://a?b HTTP/1.1"), 400, "form"),
    "fragment": (head(first=b"GET /a#b HTTP/1.1"), 400, "target"),
    "absolute without Host": (head(first=b"GET http://a/ HTTP/1.1", host=None), 400, "Host"),
    "absolute with a bad Host": (head(first=b"GET http://a/ HTTP/1.1", host=b"Host: b/c"), 400, "Host"),
    "CONNECT": (head(first=b"CONNECT a:80 HTTP/1.1"), 501, "CONNECT"),
    "CONNECT without port": (head(first=b"CONNECT a HTTP/1.1"), 400, "form"),
    "CONNECT with an empty port": (head(first=b"CONNECT a: HTTP/1.1"), 400, "form"),
    "CONNECT with a path": (head(first=b"CONNECT / HTTP/1.1"), 400, "form"),
    # 2.3: version
    "small letters": (head(first=b"GET / http/1.1"), 400, "version"),
    "two digits": (head(first=b"GET / HTTP/1.10"), 400, "version"),
    "no dot": (head(first=b"GET / HTTP/11"), 400, "version"),
    "no minor": (head(first=b"GET / HTTP/1."), 400, "version"),
    "other protocol": (head(first=b"GET / ICY/1.1"), 400, "version"),
    "HTTP/2": (head(first=b"GET / HTTP/2.0"), 505, "1.x"),
    "HTTP/0.9": (head(first=b"GET / HTTP/0.9"), 505, "1.x"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "1.x"),
    # 3.2: Host
    "no Host": (head(host=None), 400, "without Host"),
    "two Hosts": (head(b"Host: b"), 400, "than one"),
    "two equal Hosts": (head(b"hOST: a"), 400, "than one"),
    "two Hosts in HTTP/1.0": (head(b"Host: a", first=b"GET / HTTP/1.0"), 400, "than one"),
    # 6.1, 6.3: framing
    "coding and length": (head(b"Content-Length: 4", b"Transfer-Encoding: chunked"), 400, "with"),
    "length behind coding": (head(b"Transfer-Encoding: chunked", b"Content-Length: 4"), 400, "with"),
    "other coding and length": (head(b"Transfer-Encoding: x", b"Content-Length: 4"), 400, "with"),
    "equal lengths": (head(b"Content-Length: 4", b"content-length: 4"), 400, "than one"),
    "unequal lengths": (head(b"Content-Length: 4", b"Content-Length: 5"), 400, "than one"),
    "coding in HTTP/1.0": (head(b"Transfer-Encoding: chunked", first=b"GET / HTTP/1.0"), 400, "1.0"),
    "chunked over two fields": (
        head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        400,
        "chunked",
    ),
    "chunked not last over two fields": (
        head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"),
        400,
        "chunked",
    ),
    "another coding over two fields": (
        head(b"Transfer-Encoding: x", b"Transfer-Encoding: chunked"),
        501,
        "coding",
    ),
    "too many options": (
        head(b"Connection: " + b",".join(b"x%d" % i for i in range(33))),
        400,
        "options",
    ),
}
for byte in [*range(9), *range(11, 13), *range(14, 32), 127]:  # 9110 5.5; CR and LF above
    REFUSED[f"byte {byte} in a value"] = (head(b"X: a" + bytes([byte]) + b"b"), 400, "control")
    REFUSED[f"byte {byte} at a value's end"] = (head(b"X: a" + bytes([byte])), 400, "control")
for byte in sorted({*range(256)} - {*b"!#$%&'*+-.^_`|~:\r\n"} - {i for i in range(128) if chr(i).isalnum()}):
    REFUSED[f"byte {byte} in a name"] = (head(b"X" + bytes([byte]) + b"Y: b"), 400, "name")
for byte in [*range(9), 11, 12, *range(14, 32), 127]:
    REFUSED[f"byte {byte} in the target"] = (
        head(first=b"GET /" + bytes([byte]) + b" HTTP/1.1"),
        400,
        "target",
    )
# ASCII digits only: no sign, blank, list, comment, other base, other digits, and nothing that does not fit.
LENGTHS = [b"", b"+4", b"-4", b"4 4", b"4,4", b"4, 5", b"4,", b",4", b"0x4", b"4a", b"4.0", b"1_0", b'"4"']
LENGTHS += [b"4;a", b"1e3", "\u0664".encode(), b"9223372036854775810", b"18446744073709551615", b"9" * 40]
for value in LENGTHS:
    REFUSED[f"Content-Length {value!r}"] = (head(b"Content-Length: " + value), 400, "number")
# 6.3, 7.1: the last coding is chunked, once, without parameters.
CODINGS = [
    b"",
    b",",
    b"chunked,",
    b",chunked",
    b"chunked, ,",
    b"identity",
    b"gzip",
    b"xchunked",
    b"chunkedx",
    b"chunke",
]
CODINGS += [
    b'"chunked"',
    b"chunked;a=b",
    b"chunked ;a",
    b"chunked, chunked",
    b"gzip, chunked, chunked",
    b"chunked, gzip",
]
CODINGS += [b"chunked\xa0", b"\xa0chunked", b"chunked foo", b"chunked;q=1, chunked", b"(chunked)"]
for value in CODINGS:
    REFUSED[f"Transfer-Encoding {value!r}"] = (head(b"Transfer-Encoding: " + value), 400, "chunked")
for value in [b"gzip, chunked", b"deflate , chunked", b"x, y, CHUNKED", b"gzip;q=1\t,\tchunked"]:
    REFUSED[f"Transfer-Encoding {value!r}"] = (head(b"Transfer-Encoding: " + value), 501, "coding")


@pytest.mark.parametrize("name", REFUSED)
def test_request_is_refused(http1, name):
    data, status, why = REFUSED[name]
    verdict, reason = http1.parse_request(data)
    assert verdict == -status
    assert why in reason


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_does_not_depend_on_how_the_bytes_arrive(http1, name):
    """Each prefix is either incomplete or refused in the same way: never taken, never another status."""
    data, status, _ = REFUSED[name]
    verdicts = [http1.parse_request(data[:n])[0] for n in range(len(data) + 1)]
    assert set(verdicts) <= {0, -status}
    assert verdicts == sorted(verdicts, reverse=True)


PROMPT = [
    "LF after a field",
    "CR in a value",
    "byte 0 in a value",
    "SP in a name",
    "HTTP/2",
    "no colon",
    "userinfo",
]
PROMPT += [
    "SP before the colon",
    "folded by SP",
    "fragment",
    "Content-Length b'+4'",
    "equal lengths",
    "small letters",
]


@pytest.mark.parametrize("name", PROMPT)
def test_fault_is_noticed_when_its_line_is_there(http1, name):
    data, status, _ = REFUSED[name]
    assert http1.parse_request(data[:-2])[0] == -status


# ---- taken requests

TAKEN = {
    "smallest": (
        head(),
        {"method": "GET", "target": b"/", "authority": b"a", "minor": 1, "framing": "NO_BODY"},
    ),
    "empty lines first": (b"\r\n" * 4 + head(), {"target": b"/"}),
    "unknown method": (head(first=b"PURGE /a HTTP/1.1"), {"method": "OTHER", "method_text": b"PURGE"}),
    "method in small letters": (head(first=b"get /a HTTP/1.1"), {"method": "OTHER", "method_text": b"get"}),
    "longest method": (head(first=b"A" * 64 + b" / HTTP/1.1"), {"method": "OTHER"}),
    "star": (head(first=b"OPTIONS * HTTP/1.1"), {"target": b"*"}),
    "absolute": (head(first=b"GET http://b:81/c?d HTTP/1.1"), {"target": b"/c?d", "authority": b"b:81"}),
    "absolute https": (head(first=b"GET HTTPS://[::1]/ HTTP/1.1"), {"target": b"/", "authority": b"[::1]"}),
    "absolute without path": (head(first=b"GET http://b HTTP/1.1"), {"target": b"/", "authority": b"b"}),
    "absolute star": (head(first=b"OPTIONS http://b:8 HTTP/1.1"), {"target": b"*", "authority": b"b:8"}),
    "absolute in a query": (head(first=b"GET http://b/?u=x@y HTTP/1.1"), {"target": b"/?u=x@y"}),
    "two slashes": (head(first=b"GET //b/c HTTP/1.1"), {"target": b"//b/c", "authority": b"a"}),
    "odd target": (
        head(first=b'GET /a|b"<>\\^`{}%zz\xc3\xa9 HTTP/1.1'),
        {"target": b'/a|b"<>\\^`{}%zz\xc3\xa9'},
    ),
    "not decoded": (head(first=b"GET /%2e/../a%00 HTTP/1.1"), {"target": b"/%2e/../a%00"}),
    "HTTP/1.0 without Host": (
        head(first=b"GET / HTTP/1.0", host=None),
        {"minor": 0, "authority": b"", "keep_alive": False},
    ),
    "HTTP/1.9": (head(first=b"GET / HTTP/1.9"), {"minor": 1, "keep_alive": True}),
    "empty Host": (head(host=b"Host:"), {"authority": b""}),
    "blanks around a value": (head(host=b"Host: \t a\t "), {"authority": b"a"}),
    "no blank": (head(host=b"Host:a"), {"authority": b"a"}),
    "obs-text": (head(b"X: caf\xe9"), {"fields": [(b"Host", b"a", 0), (b"X", b"caf\xe9", 0)]}),
    "HTAB in a value": (head(b"X: a\tb"), {"fields": [(b"Host", b"a", 0), (b"X", b"a\tb", 0)]}),
    "empty values": (head(b"X:", b"Y: ", b"Z:\t"), {"length": len(head(b"X:", b"Y: ", b"Z:\t"))}),
    "all token bytes": (
        head(b"!#$%&'*+-.^_`|~09azAZ: b"),
        {"fields": [(b"Host", b"a", 0), (b"!#$%&'*+-.^_`|~09azAZ", b"b", 0)]},
    ),
    "length": (head(b"Content-Length: 42"), {"framing": "LENGTH", "body_bytes": 42}),
    "length 0": (head(b"Content-Length: 0"), {"framing": "LENGTH", "body_bytes": 0}),
    "length in blanks": (head(b"Content-Length:\t 42 \t"), {"framing": "LENGTH", "body_bytes": 42}),
    "zeros before a length": (head(b"Content-Length: 00042"), {"framing": "LENGTH", "body_bytes": 42}),
    "greatest length": (
        head(b"Content-Length: 9223372036854775799"),
        {"framing": "LENGTH", "body_bytes": 9223372036854775799},
    ),
    "chunked": (head(b"transfer-ENCODING:\tChUnKeD "), {"framing": "CHUNKED"}),
    "body of a GET": (head(b"Content-Length: 1"), {"framing": "LENGTH", "method": "GET"}),
    "lookalikes do not frame": (
        head(
            b"Content_Length: 5", b"Transfer_Encoding: chunked", b"Content-Length2: 7", b"X-Content-Length: 1"
        ),
        {"framing": "NO_BODY"},
    ),
    "a name that extends a known one": (head(b"Hosts: b", b"Hos: c"), {"authority": b"a"}),
    "close": (head(b"Connection: ClOsE"), {"keep_alive": False}),
    "close wins": (head(b"Connection: keep-alive, close"), {"keep_alive": False}),
    "close in a second field": (
        head(b"Connection: keep-alive", b"Connection: x,close"),
        {"keep_alive": False},
    ),
    "close among empty elements": (head(b"Connection: ,, close ,"), {"keep_alive": False}),
    "closer is not close": (head(b"Connection: closer"), {"keep_alive": True, "named": 1}),
    "garbled option": (head(b'Connection: "close"'), {"keep_alive": False, "named": 0}),
    "1.0 keep-alive": (head(b"Connection: Keep-Alive", first=b"GET / HTTP/1.0"), {"keep_alive": True}),
    "1.0 keep-alive and close": (
        head(b"Connection: close, keep-alive", first=b"GET / HTTP/1.0"),
        {"keep_alive": False},
    ),
    "Proxy-Connection says nothing": (
        head(b"Proxy-Connection: keep-alive", first=b"GET / HTTP/1.0"),
        {"keep_alive": False},
    ),
    "expect": (head(b"Expect: 100-Continue"), {"expect_continue": True, "expect_other": False}),
    "expect in 1.0": (
        head(b"Expect: 100-continue", first=b"GET / HTTP/1.0"),
        {"expect_continue": False, "fields": [(b"Host", b"a", 0), (b"Expect", b"100-continue", 1)]},
    ),
    "expect something else": (head(b"Expect: tea"), {"expect_continue": False, "expect_other": True}),
    "upgrade": (head(b"Connection: upgrade", b"Upgrade: websocket"), {"upgrade": b"websocket"}),
    "upgrade, field first": (
        head(b"Upgrade: websocket, x/1", b"Connection: keep-alive, Upgrade"),
        {"upgrade": b"websocket, x/1"},
    ),
    "upgrade not named": (head(b"Upgrade: websocket"), {"upgrade": None}),
    "upgrade without field": (head(b"Connection: upgrade"), {"upgrade": None}),
    "upgrade in 1.0": (
        head(b"Connection: upgrade", b"Upgrade: websocket", first=b"GET / HTTP/1.0"),
        {"upgrade": None},
    ),
    "two Upgrade fields": (head(b"Connection: upgrade", b"Upgrade: a", b"Upgrade: b"), {"upgrade": None}),
    "empty Upgrade": (head(b"Connection: upgrade", b"Upgrade: ,"), {"upgrade": None}),
    "odd Upgrade": (head(b"Connection: upgrade", b"Upgrade: a b"), {"upgrade": None}),
    "h2c": (head(b"Connection: upgrade", b"Upgrade: h2c"), {"upgrade": None}),
    "h2c in a list": (head(b"Connection: upgrade", b"Upgrade: websocket, H2C"), {"upgrade": None}),
    "TE": (head(b"TE: gzip;q=0.5, trailers", b"Connection: te"), {"te_trailers": True}),
    "TE without trailers": (head(b"TE: gzip"), {"te_trailers": False}),
    "TE in 1.0": (head(b"TE: trailers", first=b"GET / HTTP/1.0"), {"te_trailers": False}),
}


@pytest.mark.parametrize("name", TAKEN)
def test_request_is_taken(http1, name):
    data, want = TAKEN[name]
    verdict, got = http1.parse_request(data)
    assert verdict == len(data), got
    assert {key: got[key] for key in want} == want


@pytest.mark.parametrize("name", TAKEN)
def test_every_prefix_of_a_good_head_is_incomplete(http1, name):
    data, _ = TAKEN[name]
    assert {http1.parse_request(data[:n])[0] for n in range(len(data))} == {0}


@pytest.mark.parametrize("name", TAKEN)
def test_what_follows_a_head_does_not_matter(http1, name):
    data, _ = TAKEN[name]
    plain = http1.parse_request(data)
    for rest in (b"\n", b"\r\n", b"\0" * 40, head(), b"x" * 40000):
        assert http1.parse_request(data + rest) == plain


# ---- which fields go no further


def dropped(http1, *lines, first=b"GET / HTTP/1.1"):
    verdict, got = http1.parse_request(head(*lines, first=first))
    assert verdict > 0, got
    return [name.decode() for name, _, drop in got["fields"] if drop]


def test_hop_by_hop_fields_go_no_further(http1):
    lines = [b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"Proxy-Connection: close", b"TE: trailers"]
    lines += [b"Upgrade: h2c", b"HTTP2-Settings: AAA", b"Transfer-Encoding: chunked"]
    assert dropped(http1, *lines) == [line.split(b":")[0].decode() for line in lines]


def test_fields_that_connection_names_go_no_further(http1):
    lines = [b"X-A: 1", b"Connection: x-a, X-B", b"x-b: 2", b"X-C: 3", b"Connection: x-c, nothing", b"X-D: 4"]
    assert dropped(http1, *lines) == ["X-A", "Connection", "x-b", "X-C", "Connection"]


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Content-Length",
        "Expect",
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "x-forwarded-proto",
        "X-Forwarded-Port",
        "X-Forwarded-Whatever",
    ],
)
def test_connection_cannot_name_away_what_frames_routes_or_tells_the_origin(http1, name):
    value = {"Content-Length": "3", "Expect": "100-continue"}.get(name, "v")
    lines = [] if name == "Host" else [f"{name}: {value}".encode()]
    assert dropped(http1, f"Connection: close, {name}".encode(), *lines) == ["Connection"]


def test_connection_cannot_name_away_the_framing(http1):
    _, got = http1.parse_request(head(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked"))
    assert got["framing"] == "CHUNKED"


@pytest.mark.parametrize(
    "name",
    [
        "Content_Length",
        "transfer_Encoding",
        "X_Forwarded_For",
        "X-Forwarded_Proto",
        "x_forwarded_anything",
        "Keep_Alive",
    ],
)
def test_names_that_pass_for_others_go_no_further(http1, name):
    assert dropped(http1, f"{name}: 5".encode()) == [name]


def test_other_underscores_go_on(http1):
    assert dropped(http1, b"X_Y: 1", b"User_Agent: 2", b"_" * 40 + b": 3") == []


# ---- host[:port]

HOSTS = [
    "a",
    "a:80",
    "a:",
    "a.b",
    "A-B.c_d.e",
    "127.0.0.1:8080",
    "a:65535",
    "[::1]",
    "[::1]:80",
    "[::]",
    "[1::]",
    "caf%C3%A9",
]
HOSTS += [
    "[1:2:3:4:5:6:7:8]",
    "[1:2:3:4:5:6::]",
    "[::2:3:4:5:6:7]",
    "[::ffff:1.2.3.4]",
    "[1:2:3:4:5:6:1.2.3.4]",
]
HOSTS += ["a~b!$&'()*+,;=", "1", "[::1]:", "a:00080", "[1:2:3:4:5:6:7::]"]
NO_HOSTS = [
    ":80",
    "a b",
    "a/b",
    "a?b",
    "a#b",
    "u@a",
    "a:8x",
    "a:80:80",
    "a:65536",
    "a:123456",
    "a:000080",
    "a:4294967376",
    "[::1",
    "::1",
    "[::1]x",
    "[]",
]
NO_HOSTS += [
    "[:]",
    "[:::]",
    "[1:2:3:4:5:6:7]",
    "[1:2:3:4:5:6:7:8:9]",
    "[::1::]",
    "[12345::]",
    "[g::]",
    "[1:]",
    "[:1]",
    "a]",
]
NO_HOSTS += [
    "[::1.2.3]",
    "[::1.2.3.256]",
    "[1:2:3:4:5:6:7:1.2.3.4]",
    "[::1.2.3.4:5]",
    "[fe80::1%25eth0]",
    "a%4",
    "a%zz",
    "a%",
]
NO_HOSTS += [
    "[v1.a]",
    "a\\b",
    'a"',
    "a<b>",
    "a|b",
    "a^b",
    "caf\xe9",
    "a:+80",
    "[1.2.3.4]",
    "[1:2:3:4:5:6:7:8::]",
    "[1:::2]",
]


@pytest.mark.parametrize("host", HOSTS)
def test_host_is_valid(http1, host):
    assert http1.authority_valid(host.encode())
    assert http1.parse_request(head(host=b"Host: " + host.encode()))[0] > 0


@pytest.mark.parametrize("host", NO_HOSTS)
def test_host_is_not_valid(http1, host):
    assert not http1.authority_valid(host.encode("latin-1"))
    assert http1.parse_request(head(host=b"Host: " + host.encode("latin-1")))[0] == -400


@given(st.text("0123456789abcdef:.", min_size=1, max_size=24))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_ipv6_is_what_the_standard_library_says(http1, text):
    try:
        ipaddress.IPv6Address(text)
        valid = True
    except ValueError:
        valid = False
    # What a zero-padded IPv4 tail means is disputed; the library refuses it.
    if not re.search(r"(^|[.:])0\d", text) or "." not in text:
        assert http1.authority_valid(f"[{text}]".encode()) == valid


# ---- limits


def test_head_longer_than_the_limit_is_431(http1):
    data = head(b"X: " + b"a" * 500)
    assert http1.parse_request(data, head_bytes=len(data))[0] == len(data)
    assert http1.parse_request(data, head_bytes=len(data) - 1)[0] == -431
    assert http1.parse_request(data[:-1], head_bytes=len(data) - 1)[0] == -431
    assert http1.parse_request(data[:-2], head_bytes=len(data) - 1)[0] == 0


def test_default_limits_take_a_line_of_8_kib_and_refuse_a_head_of_more_than_32(http1):
    assert http1.parse_request(head(b"X: " + b"a" * 8192))[0] > 0
    assert http1.parse_request(head(b"X: " + b"a" * 32768))[0] == -431
    assert http1.default_limits_apply(head(b"X: " + b"a" * 32768))[0] == -431
    assert http1.default_limits_apply(answer(b"X: " + b"a" * 32768))[1] == -502


def test_head_limit_is_never_above_what_offsets_can_say(http1):
    assert http1.parse_request(head(b"X: " + b"a" * 70000), head_bytes=1 << 20)[0] == -431
    verdict, got = http1.parse_request(head(b"X: " + b"a" * 65000), head_bytes=1 << 20)
    assert verdict > 65000
    assert got["fields"][1] == (b"X", b"a" * 65000, 0)


def test_target_longer_than_the_limit_is_414_at_once(http1):
    first = b"GET /" + b"a" * 7999
    assert http1.parse_request(head(first=first + b" HTTP/1.1"))[0] > 0
    assert http1.parse_request(head(first=first + b"a HTTP/1.1"))[0] == -414
    assert http1.parse_request(first)[0] == 0
    assert http1.parse_request(first + b"a")[0] == -414
    assert http1.parse_request(head(first=b"GET /aa HTTP/1.1"), target_bytes=2)[0] == -414


def test_more_fields_than_the_limit_are_431(http1):
    lines = [b"X: %d" % i for i in range(99)]
    assert http1.parse_request(head(*lines))[0] > 0
    assert http1.parse_request(head(*lines, b"Y: 1"))[0] == -431
    assert http1.parse_request(head(*lines), fields=99)[0] == -431
    assert http1.parse_request(head(*lines, b"Y: 1"), fields=1000)[0] == -431
    assert http1.parse_response(answer(*lines, b"Y: 1"))[0] > 0
    assert http1.parse_response(answer(*lines, b"Y: 1", b"Z: 2"))[0] == -502


# ---- responses

BROKEN = {
    "not HTTP": b"hello\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "other protocol": answer(first=b"ICY 200 OK"),
    "HTTP/2": answer(first=b"HTTP/2.0 200 OK"),
    "small letters": answer(first=b"http/1.1 200 OK"),
    "empty line first": b"\r\n" + answer(),
    "two digits": answer(first=b"HTTP/1.1 20 OK"),
    "four digits": answer(first=b"HTTP/1.1 2000 OK"),
    "below 100": answer(first=b"HTTP/1.1 099 OK"),
    "letters": answer(first=b"HTTP/1.1 2xx OK"),
    "two SP before the status": answer(first=b"HTTP/1.1  200 OK"),
    "HTAB before the reason": answer(first=b"HTTP/1.1 200\tOK"),
    "no SP behind the status": answer(first=b"HTTP/1.1 200"),
    "no status": answer(first=b"HTTP/1.1"),
    "control byte in the reason": answer(first=b"HTTP/1.1 200 O\x01K"),
    "LF": b"HTTP/1.1 200 OK\n\n",
    "CR in the reason": answer(first=b"HTTP/1.1 200 O\rK"),
    "NUL in a value": answer(b"X: a\0b"),
    "SP before the colon": answer(b"X : a"),
    "folded": answer(b"X: a", b" b"),
    "no colon": answer(b"word"),
    "empty name": answer(b": a"),
    "equal lengths": answer(b"Content-Length: 2", b"Content-Length: 2"),
    "length with a sign": answer(b"Content-Length: +2"),
    "overflow": answer(b"Content-Length: 18446744073709551618"),
    "length and coding": answer(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
    "other coding": answer(b"Transfer-Encoding: gzip, chunked"),
    "coding not chunked": answer(b"Transfer-Encoding: gzip"),
    "chunked twice": answer(b"Transfer-Encoding: chunked, chunked"),
    "chunked in HTTP/1.0": answer(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_response_is_refused_however_it_arrives(http1, name):
    data = BROKEN[name]
    verdicts = [http1.parse_response(data[:n])[0] for n in range(len(data) + 1)]
    assert verdicts[-1] == -502
    assert set(verdicts) <= {0, -502}
    assert verdicts == sorted(verdicts, reverse=True)


CL, TE = b"Content-Length: 5", b"Transfer-Encoding: chunked"
RESPONSES = {
    "length": (answer(CL), "GET", {"framing": "LENGTH", "body_bytes": 5, "keep_alive": True, "status": 200}),
    "chunked": (answer(TE), "GET", {"framing": "CHUNKED", "keep_alive": True}),
    "until close": (answer(), "GET", {"framing": "UNTIL_CLOSE", "keep_alive": False}),
    "HEAD with length": (answer(CL), "HEAD", {"framing": "NO_BODY", "keep_alive": True, "body_bytes": 0}),
    "HEAD with coding": (answer(TE), "HEAD", {"framing": "NO_BODY", "keep_alive": True}),
    "HEAD without": (answer(), "HEAD", {"framing": "NO_BODY", "keep_alive": True}),
    "100": (answer(first=b"HTTP/1.1 100 Continue"), "POST", {"framing": "NO_BODY", "status": 100}),
    "103 with length": (
        answer(CL, first=b"HTTP/1.1 103 Early"),
        "GET",
        {"framing": "NO_BODY", "body_bytes": 0},
    ),
    "204": (answer(first=b"HTTP/1.1 204 No"), "GET", {"framing": "NO_BODY", "keep_alive": True}),
    "204 with length 0": (
        answer(b"Content-Length: 0", first=b"HTTP/1.1 204 No"),
        "GET",
        {"framing": "NO_BODY", "keep_alive": True, "fields": [(b"Content-Length", b"0", 1)]},
    ),
    "204 that may send a body": (
        answer(CL, first=b"HTTP/1.1 204 No"),
        "GET",
        {"framing": "NO_BODY", "keep_alive": False},
    ),
    "204 that may send chunks": (
        answer(TE, first=b"HTTP/1.1 204 No"),
        "GET",
        {"framing": "NO_BODY", "keep_alive": False},
    ),
    "304 with length": (
        answer(CL, first=b"HTTP/1.1 304 Not"),
        "GET",
        {"framing": "NO_BODY", "keep_alive": True, "fields": [(b"Content-Length", b"5", 0)]},
    ),
    "no reason": (answer(CL, first=b"HTTP/1.1 200 "), "GET", {"reason": b""}),
    "odd reason": (
        answer(CL, first=b"HTTP/1.1 799 Caf\xe9\t!"),
        "GET",
        {"status": 799, "reason": b"Caf\xe9\t!"},
    ),
    "999": (answer(CL, first=b"HTTP/1.1 999 x"), "GET", {"status": 999}),
    "1.0": (answer(CL, first=b"HTTP/1.0 200 OK"), "GET", {"minor": 0, "keep_alive": False}),
    "1.0 keep-alive": (
        answer(CL, b"Connection: keep-alive", first=b"HTTP/1.0 200 OK"),
        "GET",
        {"minor": 0, "keep_alive": True},
    ),
    "1.2": (answer(CL, first=b"HTTP/1.2 200 OK"), "GET", {"minor": 1}),
    "close": (answer(CL, b"Connection: close"), "GET", {"keep_alive": False}),
    "two Hosts mean nothing": (answer(CL, b"Host: a", b"Host: b"), "GET", {"framing": "LENGTH"}),
    "named": (
        answer(CL, b"Connection: x-secret", b"X-Secret: 1"),
        "GET",
        {"fields": [(b"Content-Length", b"5", 0), (b"Connection", b"x-secret", 1), (b"X-Secret", b"1", 2)]},
    ),
    "101": (
        answer(b"Connection: upgrade", b"Upgrade: websocket", first=b"HTTP/1.1 101 Switching"),
        "GET",
        {"status": 101, "upgrade": b"websocket", "framing": "NO_BODY"},
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_response_is_taken(http1, name):
    data, method, want = RESPONSES[name]
    verdict, got = http1.parse_response(data, method)
    assert verdict == len(data), got
    assert {key: got[key] for key in want} == want
    assert {http1.parse_response(data[:n], method)[0] for n in range(len(data))} == {0}


# ---- known names


def test_every_known_name_is_found_in_any_case(http1):
    for number, name in http1.known_names().items():
        for spelling in (name, name.upper(), name.title()):
            assert http1.lookup(spelling.encode()) == number


def test_known_names_share_no_slot(http1):
    names = http1.known_names().values()
    assert len({http1.slot(name.encode()) for name in names}) == len(names)


def test_name_that_differs_in_one_byte_is_another(http1):
    for name in http1.known_names().values():
        for i in range(len(name)):
            for other in {
                0,
                13,
                32,
                45,
                64,
                91,
                95,
                96,
                123,
                255,
                ord(name[i]) ^ 0x20 if name[i] == "-" else 1,
            }:
                spelling = bytearray(name.encode())
                if spelling[i] != other:
                    spelling[i] = other
                    assert http1.lookup(bytes(spelling)) == 0, spelling


# ---- slow senders


def arrive(http1, data, sizes):
    """Feed pieces of these sizes as a connection does; the first verdict that is not 0, and after how many bytes."""
    scan = http1.Scan()
    at = 0
    while at < len(data):
        at = min(at + next(sizes), len(data))
        if scan.worth_parsing(data[:at]):
            verdict, _ = http1.parse_request(data[:at])
            if verdict:
                return verdict, at, scan
    return 0, at, scan


def repeat(size):
    while True:
        yield size


LONG = head(
    *(b"X-Field-%d: %s" % (i, b"v" * (i * 7 % 90)) for i in range(98)),
    first=b"GET /" + b"a" * 900 + b" HTTP/1.1",
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 17, 100, 1000])
@pytest.mark.parametrize("name", ["smallest", "empty lines first", "chunked", "long"])
def test_complete_head_is_never_delayed(http1, name, size):
    data = LONG if name == "long" else TAKEN[name][0]
    assert arrive(http1, data, repeat(size))[:2] == (len(data), len(data))


def test_head_split_anywhere_is_never_delayed(http1):
    data = b"\r\n" + head(b"X: y", b"Content-Length: 3")
    for first in range(1, len(data)):
        assert arrive(http1, data, iter([first, len(data)]))[0] == len(data)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=400), st.binary(max_size=40))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_head_in_random_pieces_is_never_delayed(http1, sizes, rest):
    verdict, at, _ = arrive(http1, LONG + rest, iter([*sizes, *[len(LONG) + 40] * 2]))
    whole = at >= len(LONG)
    assert verdict == len(LONG) if whole else verdict == 0
    if whole:
        ends = {sum(sizes[:i]) for i in range(len(sizes) + 1)}
        assert not any(len(LONG) <= end < at for end in ends)


@pytest.mark.parametrize("line", [b"v" * 60, b"v" * 7000, b"", b"x\r\ny: " * 30])
def test_parsing_again_costs_a_fixed_share_however_slow_the_bytes_come(http1, line):
    lines = [b"X: " + line] * min(80, 30000 // (len(line) + 5))
    data = head(*lines)[:32000]
    _, _, scan = arrive(http1, data, repeat(1))
    assert scan.parsed_bytes <= 6 * len(data) + 1024


@pytest.mark.parametrize("first", [1, 300, 5000, 9999, 10_000, 20_000])
def test_head_that_reaches_its_limit_is_parsed_at_once(http1, first):
    scan = http1.Scan()
    scan.worth_parsing(b"x" * first, 10_000)
    assert scan.worth_parsing(b"x" * max(first, 10_000), 10_000)


@pytest.mark.parametrize("name", REFUSED)
def test_slow_fault_is_noticed_by_the_end_of_its_head(http1, name):
    data, status, _ = REFUSED[name]
    assert arrive(http1, data + head(), repeat(1))[0] == -status


def test_struct_is_small(http1):
    assert http1.HEAD_STRUCT_BYTES <= 2048
