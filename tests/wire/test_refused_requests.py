# SPDX-License-Identifier: Apache-2.0
"""What is ambiguous is refused: a short answer, the end of the connection, and nothing at the member."""

import contextlib

import pytest

from fastlb.testing import request

HIDDEN = request("/hidden")


def post(*lines, body=b""):
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", *lines, b"", b""]) + body


def get(*lines, first=b"GET / HTTP/1.1", host=b"Host: a"):
    return b"\r\n".join([first, *([host] if host else []), *lines, b"", b""])


HEADS = {
    "lone LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "lone LF after a field": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "lone LF as the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "lone CR in the request line": get(first=b"GET /a\rb HTTP/1.1"),
    "lone CR in a value": get(b"X: a\rb"),
    "CR CR LF": b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    "NUL in a value": get(b"X: a\0b"),
    "control byte in a value": get(b"X: a\x01b"),
    "DEL in a value": get(b"X: a\x7fb"),
    "white space before the first field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "white space before the colon": get(b"X : b"),
    "tab before the colon": get(b"X\t: b"),
    "white space before the colon of Content-Length": post(b"Content-Length : 4", body=b"body"),
    "empty name": get(b": b"),
    "no colon": get(b"just words"),
    "space in a name": get(b"X Y: b"),
    "quote in a name": get(b'X"Y: b'),
    "slash in a name": get(b"X/Y: b"),
    "obs-text in a name": get(b"X\xe9: b"),
    "control byte in a name": get(b"X\x0b: b"),
    "folded line": get(b"X: a", b" b"),
    "folded line with a tab": get(b"X: a", b"\tb"),
    "folded Transfer-Encoding": post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"),
    "two spaces before the target": get(first=b"GET  / HTTP/1.1"),
    "two spaces before the version": get(first=b"GET /  HTTP/1.1"),
    "tab in the request line": get(first=b"GET\t/ HTTP/1.1"),
    "space behind the version": get(first=b"GET / HTTP/1.1 "),
    "space before the method": get(first=b" GET / HTTP/1.1"),
    "method that is no token": get(first=b"G(T / HTTP/1.1"),
    "empty method": get(first=b" / HTTP/1.1"),
    "no target": get(first=b"GET HTTP/1.1"),
    "control byte in the target": get(first=b"GET /\x01 HTTP/1.1"),
    "NUL in the target": get(first=b"GET /\0 HTTP/1.1"),
    "DEL in the target": get(first=b"GET /\x7f HTTP/1.1"),
    "target without a slash": get(first=b"GET a HTTP/1.1"),
    "star for GET": get(first=b"GET * HTTP/1.1"),
    "authority for GET": get(first=b"GET a:80 HTTP/1.1"),
    "userinfo in the target": get(first=b"GET http://u:p@a/ HTTP/1.1"),
    "empty authority in the target": get(first=b"GET http:/// HTTP/1.1"),
    "no version": b"GET /\r\n\r\n",
    "lower-case version": get(first=b"GET / http/1.1"),
    "version with two digits": get(first=b"GET / HTTP/1.10"),
    "version without a dot": get(first=b"GET / HTTP/11"),
    "other protocol": get(first=b"GET / ICY/1.1"),
    "no Host": get(host=None),
    "two Hosts": get(b"Host: b"),
    "two equal Hosts": get(b"Host: a"),
    "two Hosts in any case": get(b"hOST: a"),
    "list of Hosts": get(host=b"Host: a, b"),
    "Host with a path": get(host=b"Host: a/b"),
    "Host with userinfo": get(host=b"Host: u@a"),
    "Host with a space": get(host=b"Host: a b"),
    "Host with a bad port": get(host=b"Host: a:8x"),
    "Host with two ports": get(host=b"Host: a:80:80"),
    "Host with an open bracket": get(host=b"Host: [::1"),
    "Transfer-Encoding and Content-Length": post(
        b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN
    ),
    "Content-Length behind Transfer-Encoding": post(
        b"Transfer-Encoding: chunked", b"Content-Length: 40", body=b"0\r\n\r\n" + HIDDEN
    ),
    "equal lengths": post(b"Content-Length: 4", b"Content-Length: 4", body=b"body"),
    "equal lengths in a list": post(b"Content-Length: 4, 4", body=b"body"),
    "unequal lengths": post(b"Content-Length: 4", b"Content-Length: 5", body=b"body!"),
    "unequal lengths in a list": post(b"Content-Length: 4, 5", body=b"body!"),
    "length with a sign": post(b"Content-Length: +4", body=b"body"),
    "negative length": post(b"Content-Length: -4", body=b"body"),
    "length with a space": post(b"Content-Length: 4 4", body=b"body"),
    "hexadecimal length": post(b"Content-Length: 0x4", body=b"body"),
    "length with a letter": post(b"Content-Length: 4a", body=b"body"),
    "length with a fraction": post(b"Content-Length: 4.0", body=b"body"),
    "length with an underscore": post(b"Content-Length: 1_0", body=b"body"),
    "empty length": post(b"Content-Length:", body=b"body"),
    "length with an empty element": post(b"Content-Length: 4,", body=b"body"),
    "overflowing length": post(b"Content-Length: 18446744073709551620", body=b"body"),
    "length of twenty-five digits": post(b"Content-Length: 1000000000000000000000004", body=b"body"),
    "other digits": post("Content-Length: \u0664".encode(), body=b"body"),
    "empty coding": post(b"Transfer-Encoding:", body=HIDDEN),
    "identity": post(b"Transfer-Encoding: identity", body=HIDDEN),
    "unknown last coding": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked not last": post(b"Transfer-Encoding: chunked, x", body=b"0\r\n\r\n"),
    "chunked not last over two lines": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", body=b"0\r\n\r\n"
    ),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "chunked twice over two lines": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;a=b", body=b"0\r\n\r\n"),
    "quoted chunked": post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
    "chunked with a stray byte": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "chunked with obs-text": post(b"Transfer-Encoding: chunked\xa0", body=b"0\r\n\r\n"),
    "Transfer-Encoding in HTTP/1.0": get(
        b"Transfer-Encoding: chunked", b"", b"0", b"", first=b"POST / HTTP/1.0"
    ),
    "CONNECT": get(first=b"CONNECT a:80 HTTP/1.1"),
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
OTHER_STATUS = {
    "CONNECT": 501,
    "HTTP/2 preface": 505,
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("piece", [0, 1], ids=["whole", "byte by byte"])
def test_a_bad_head_is_refused_and_nothing_reaches_the_member(balance, member, name, piece):
    one = member()
    with balance(one).client.connect() as conn:
        message = HEADS[name] + HIDDEN
        # What comes behind the refusal may meet a closed connection.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            conn.send_slowly(message, piece or len(message))
        answer = conn.read_response()
        assert answer.status == OTHER_STATUS.get(name, 400)
        assert answer.closes
        assert answer.framing == "length"
        assert conn.ended() in ("closed", "reset")
    assert one.received == b""


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/3.1", 505),
    ],
)
def test_another_major_version_is_refused_as_such(balance, member, first, status):
    one = member()
    with balance(one).client.connect() as conn:
        answer = conn.send(get(first=first) + HIDDEN).read_response()
        assert answer.status == status
        assert answer.closes
        assert conn.ended() == "closed"
    assert one.received == b""


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"deflate , chunked", b"x, y, chunked"])
def test_a_coding_before_chunked_is_not_implemented(balance, member, coding):
    one = member()
    with balance(one).client.connect() as conn:
        answer = conn.send(post(b"Transfer-Encoding: " + coding, body=b"0\r\n\r\n" + HIDDEN)).read_response()
        assert answer.status == 501
        assert answer.closes
        assert conn.ended() == "closed"
    assert one.received == b""


CHUNKS = {
    "sign": b"+4\r\nbody\r\n0\r\n\r\n",
    "minus": b"-4\r\nbody\r\n0\r\n\r\n",
    "0x": b"0x4\r\nbody\r\n0\r\n\r\n",
    "space in front": b" 4\r\nbody\r\n0\r\n\r\n",
    "space behind": b"4 \r\nbody\r\n0\r\n\r\n",
    "underscore": b"1_0\r\nbody\r\n0\r\n\r\n",
    "no size": b"\r\nbody\r\n0\r\n\r\n",
    "no size but an extension": b";a=b\r\nbody\r\n0\r\n\r\n",
    "not hexadecimal": b"4g\r\nbody\r\n0\r\n\r\n",
    "lone LF behind the size": b"4\nbody\r\n0\r\n\r\n",
    "lone CR behind the size": b"4\rbody\r\n0\r\n\r\n",
    "lone LF in an extension": b"4;a\nb\r\nbody\r\n0\r\n\r\n",
    "lone CR in an extension": b"4;a\rb\r\nbody\r\n0\r\n\r\n",
    "NUL in an extension": b"4;a\0b\r\nbody\r\n0\r\n\r\n",
    "lone LF behind the data": b"4\r\nbody\n0\r\n\r\n",
    "lone CR behind the data": b"4\r\nbody\r0\r\n\r\n",
    "longer data than said": b"4\r\nbodyX\r\n0\r\n\r\n",
    "overflow": b"10000000000000004\r\nbody\r\n0\r\n\r\n",
    "overflow to zero": b"10000000000000000\r\n\r\n",
    "all ones": b"ffffffffffffffff\r\nbody\r\n0\r\n\r\n",
    "lone LF at the last chunk": b"4\r\nbody\r\n0\n\r\n",
    "something behind the last chunk": b"4\r\nbody\r\n0\r\nX",
    "hidden request behind a bad end": b"4\r\nbody\r\n0\r\n\n" + HIDDEN,
}


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("piece", [0, 1], ids=["whole", "byte by byte"])
def test_a_bad_chunk_is_refused_and_no_complete_request_reaches_the_member(balance, member, name, piece):
    one = member()
    with balance(one).client.connect() as conn:
        message = post(b"Transfer-Encoding: chunked", body=CHUNKS[name]) + HIDDEN
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            conn.send_slowly(message, piece or len(message))
        answer = conn.read_response()
        assert answer.status == 400
        assert answer.closes
        assert conn.ended() in ("closed", "reset")
    one.wait_idle()
    assert one.requests == []
    assert b"/hidden" not in one.received


def test_extensions_without_end_are_refused_and_do_not_stall(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(post(b"Transfer-Encoding: chunked") + b"4;")
        for _ in range(100):
            if conn.pending():
                break
            conn.send(b"x" * 1000)
        answer = conn.read_response()
        assert answer.status == 400
        assert answer.closes
    assert one.requests == []


def test_many_small_extensions_have_a_limit_together(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(post(b"Transfer-Encoding: chunked"))
        for _ in range(500):
            if conn.pending():
                break
            conn.send(b"1;" + b"x" * 100 + b"\r\nb\r\n")
        assert conn.read_response().status == 400
    assert one.requests == []


EARLY = {
    "length": post(b"Content-Length: 10", body=b"half"),
    "between chunks": post(b"Transfer-Encoding: chunked", body=b"4\r\nbody\r\n"),
    "in a chunk": post(b"Transfer-Encoding: chunked", body=b"8\r\nhalf"),
    "in a size": post(b"Transfer-Encoding: chunked", body=b"4\r\nbody\r\n0"),
    "before the last line": post(b"Transfer-Encoding: chunked", body=b"4\r\nbody\r\n0\r\n"),
    "in the last line": post(b"Transfer-Encoding: chunked", body=b"4\r\nbody\r\n0\r\n\r"),
    "in a trailer": post(b"Transfer-Encoding: chunked", body=b"4\r\nbody\r\n0\r\nX: y\r\n"),
}


@pytest.mark.parametrize("name", EARLY)
def test_a_body_that_ends_too_early_is_no_request(balance, member, name):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(EARLY[name]).finish()
        with contextlib.suppress(ConnectionResetError):
            rest = conn.read_to_end()
            assert not rest or rest.startswith(b"HTTP/1.1 400 ")
    one.wait_idle()
    assert one.requests == []


@pytest.mark.parametrize(
    "name", ["Content_Length", "Content-Length2", "X-Content-Length", "Transfer_Encoding"]
)
def test_fields_that_only_look_like_framing_do_not_frame(balance, member, name):
    one = member()
    with balance(one).client.connect() as conn:
        value = b"5" if "ength" in name else b"chunked"
        conn.send(post(name.encode() + b": " + value) + request("/next"))
        assert conn.read_response().status == 200
        assert conn.read_response().status == 200
    assert one.targets == ["/", "/next"]


@pytest.mark.parametrize(
    "host", [b"a", b"a:80", b"a:", b"127.0.0.1:8080", b"[::1]", b"[::1]:80", b"a-b.c_d.example", b"caf%C3%A9"]
)
def test_a_good_host_passes(balance, member, host):
    one = member()
    with balance(one).client.connect() as conn:
        assert conn.send(get(host=b"Host: " + host)).read_response().status == 200
    assert one.requests[0].get("Host") == host.decode()


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://real:81/path?q", "real:81", "/path?q"),
        (b"HTTPS://Real/", "Real", "/"),
        (b"http://real", "real", "/"),
        (b"http://a/path", "a", "/path"),
        (b"http://[::1]:80//x", "[::1]:80", "//x"),
    ],
)
def test_an_absolute_target_decides_the_host(balance, member, target, host, path):
    one = member()
    with balance(one).client.connect() as conn:
        assert conn.send(get(first=b"GET " + target + b" HTTP/1.1")).read_response().status == 200
    assert one.requests[0].get("Host") == host
    assert one.targets == [path]


def test_options_star_passes(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        assert conn.send(get(first=b"OPTIONS * HTTP/1.1")).read_response().status == 200
    assert one.requests[0].target == "*"


def test_a_few_empty_lines_before_a_request_are_skipped(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        assert conn.send(b"\r\n\r\n" + request("/1")).read_response().status == 200
        assert conn.send(b"\r\n" + request("/2")).read_response().status == 200
    assert one.targets == ["/1", "/2"]


def test_a_flood_of_empty_lines_is_refused(balance, member):
    one = member()
    with balance(one).client.connect() as conn:
        conn.send(b"\r\n" * 100 + request())
        assert conn.read_response().status == 400
    assert one.received == b""
