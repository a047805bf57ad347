# SPDX-License-Identifier: Apache-2.0
"""Heads written anew: what goes on reads exactly as it was understood, and never as anything else."""

import h11
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="session")
def write(native):
    return native("http1_write")


@pytest.fixture(scope="session")
def http1(native):
    return native("http1")


def head(*lines, first=b"GET / HTTP/1.1", host=b"Host: a"):
    return b"\r\n".join([first, *([host] if host else []), *lines, b"", b""])


def answer(*lines, first=b"HTTP/1.1 200 OK"):
    return b"\r\n".join([first, *lines, b"", b""])


# ---- requests

WRITTEN = {
    "as it came": (head(b"Accept: */*", b"X: y z"), head(b"Accept: */*", b"X: y z")),
    "names keep their case and fields their order": (
        head(b"b: 1", b"A: 2", b"b: 3"),
        head(b"b: 1", b"A: 2", b"b: 3"),
    ),
    "empty lines first": (b"\r\n\r\n" + head(), head()),
    "blanks": (
        head(b"A:1", b"B:  2", b"C: 3 ", b"D:\t4", b"E:", b"F: "),
        head(b"A: 1", b"B: 2", b"C: 3", b"D: 4", b"E:", b"F:"),
    ),
    "obs-text": (
        head(b"X: caf\xe9", first=b"GET /\xe9 HTTP/1.1"),
        head(b"X: caf\xe9", first=b"GET /\xe9 HTTP/1.1"),
    ),
    "HTTP/1.0": (head(b"A: b", first=b"GET / HTTP/1.0"), head(b"A: b")),
    "HTTP/1.0 without Host": (
        head(b"A: b", first=b"GET / HTTP/1.0", host=None),
        head(b"A: b", host=b"Host:"),
    ),
    "HTTP/1.7": (head(first=b"GET / HTTP/1.7"), head()),
    "absolute": (
        head(b"A: b", first=b"GET http://c:8/d?e HTTP/1.1"),
        head(b"A: b", first=b"GET /d?e HTTP/1.1", host=b"Host: c:8"),
    ),
    "absolute star": (
        head(first=b"OPTIONS http://c HTTP/1.1"),
        head(first=b"OPTIONS * HTTP/1.1", host=b"Host: c"),
    ),
    "unknown method": (head(first=b"PURGE /a HTTP/1.0"), head(first=b"PURGE /a HTTP/1.1")),
    "hop by hop": (
        head(
            b"A: 1",
            b"Connection: keep-alive, x",
            b"Keep-Alive: 5",
            b"X: 2",
            b"B: 3",
            b"Proxy-Connection: close",
        ),
        head(b"A: 1", b"B: 3"),
    ),
    "nothing but what is dropped": (head(b"Connection: close"), head()),
    "length": (head(b"Content-Length: 5", b"A: b"), head(b"Content-Length: 5", b"A: b")),
    "length with zeros": (head(b"Content-Length:  0050"), head(b"Content-Length: 50")),
    "length of zeros": (head(b"Content-Length: 000"), head(b"Content-Length: 0")),
    "chunked": (
        head(b"transfer-encoding: CHUNKED", b"A: b"),
        head(b"A: b", b"Transfer-Encoding: chunked"),
    ),
    "lookalikes": (head(b"Content_Length: 5", b"A: b", b"X_Forwarded_For: c"), head(b"A: b")),
    "upgrade": (
        head(b"Connection: Upgrade, x", b"Upgrade: websocket", b"X: y", b"Sec-WebSocket-Key: k"),
        head(b"Sec-WebSocket-Key: k", b"Upgrade: websocket", b"Connection: Upgrade"),
    ),
    "upgrade not named": (head(b"Upgrade: websocket"), head()),
    "h2c": (head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: A"), head()),
    "TE": (head(b"TE: gzip, trailers", b"Connection: TE"), head(b"TE: trailers", b"Connection: TE")),
    "TE and upgrade": (
        head(b"TE: trailers", b"Connection: TE, upgrade", b"Upgrade: a"),
        head(b"Upgrade: a", b"TE: trailers", b"Connection: Upgrade, TE"),
    ),
    "expect": (head(b"Expect: 100-continue"), head(b"Expect: 100-continue")),
    "expect in HTTP/1.0": (head(b"Expect: 100-continue", first=b"GET / HTTP/1.0"), head()),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_request_is_written(write, name):
    data, want = WRITTEN[name]
    assert write.write_request(data) == want
    assert write.write_request(want) == want


def test_request_with_fields_of_ours(write):
    data = head(b"X-Forwarded-For: 1.2.3.4", b"A: b", b"x-forwarded-for: 5.6.7.8", b"X-Other: 1")
    extras = [
        (b"X-Forwarded-For", b"9.9.9.9", write.ADD),
        (b"X-Forwarded-Proto", b"http", write.SET),
        (b"x-OTHER", b"2", write.SET),
        (b"A", b"", write.REMOVE),
    ]
    assert write.write_request(data, extras) == head(
        b"X-Forwarded-For: 1.2.3.4",
        b"x-forwarded-for: 5.6.7.8",
        b"X-Forwarded-For: 9.9.9.9",
        b"X-Forwarded-Proto: http",
        b"x-OTHER: 2",
    )
    assert write.write_request(data, [(b"X-Forwarded-For", b"9.9.9.9", write.SET)]) == head(
        b"A: b", b"X-Other: 1", b"X-Forwarded-For: 9.9.9.9"
    )


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1", b"GET http://c/ HTTP/1.1"])
def test_host_can_be_set(write, first):
    written = write.write_request(head(b"A: b", first=first), [(b"Host", b"new:80", write.SET)])
    assert written == head(b"A: b", b"Host: new:80", host=None)


def test_all_hundred_fields_are_written(write):
    lines = [b"X-%d: %d" % (i, i) for i in range(99)]
    odd = [line.replace(b": ", b":") if i % 3 else line for i, line in enumerate(lines)]
    assert write.write_request(head(*odd)) == head(*lines)
    extras = [(b"X-%d" % i, b"", write.REMOVE) for i in range(0, 99, 2)]
    assert write.write_request(head(*odd), extras) == head(*lines[1::2])


def test_nothing_is_written_without_room(write):
    for data in (head(), head(b"A:b", first=b"GET / HTTP/1.0", host=None)):
        room = write.room(data)
        assert write.write_request(data, capacity=room)
        assert write.write_request(data, capacity=room - 1) == b""
    assert (
        write.write_request(head(), [(b"A", b"b" * 100, write.ADD)], capacity=write.room(head()) + 104) == b""
    )
    assert write.write_response(answer(), capacity=50) == b""
    assert write.write_answer(400, capacity=200) == b""


# ---- responses

LENGTH, TE = b"Content-Length: 5", b"Transfer-Encoding: chunked"


def test_response_goes_on_as_it_came(write):
    data = answer(b"Server: x", LENGTH, b"Set-Cookie: a", b"Set-Cookie: b")
    assert write.write_response(data) == data


def test_response_is_always_http_1_1(write):
    assert write.write_response(answer(LENGTH, first=b"HTTP/1.0 404 Not Found")) == answer(
        LENGTH, first=b"HTTP/1.1 404 Not Found"
    )
    assert write.write_response(answer(LENGTH, first=b"HTTP/1.9 200 ")) == answer(
        LENGTH, first=b"HTTP/1.1 200 "
    )


def test_hop_by_hop_fields_of_a_response_go_no_further(write):
    data = answer(
        b"Connection: close, x-a",
        LENGTH,
        b"Keep-Alive: 5",
        b"X-A: 1",
        b"Upgrade: h2",
        b"B:2",
        b"Transfer_Encoding: x",
    )
    assert write.write_response(data) == answer(LENGTH, b"B: 2")


def test_framing_of_a_response_is_ours(write):
    assert write.write_response(answer(b"A: b", TE)) == answer(b"A: b", TE)
    assert write.write_response(answer(TE, b"A: b"), framing_out=write.UNTIL_CLOSE) == answer(b"A: b")
    assert write.write_response(answer(b"A: b"), framing_out=write.CHUNKED) == answer(b"A: b", TE)
    assert write.write_response(answer(LENGTH, b"A: b"), framing_out=write.CHUNKED) == answer(b"A: b", TE)
    assert write.write_response(answer(LENGTH, b"A: b"), framing_out=write.UNTIL_CLOSE) == answer(b"A: b")
    assert write.write_response(answer(b"A: b"), framing_out=write.LENGTH) == answer(
        b"A: b", b"Content-Length: 0"
    )


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints", b"204 No Content"])
def test_answer_that_cannot_have_a_body_has_no_length(write, status):
    first = b"HTTP/1.1 " + status
    assert write.write_response(answer(LENGTH, b"A: b", first=first)) == answer(b"A: b", first=first)
    assert write.write_response(answer(TE, b"A: b", first=first)) == answer(b"A: b", first=first)


def test_head_and_304_keep_the_length_of_what_is_not_sent(write):
    assert write.write_response(answer(LENGTH), "HEAD") == answer(LENGTH)
    assert write.write_response(answer(b"Content-Length:05"), "HEAD") == answer(LENGTH)
    assert write.write_response(answer(TE), "HEAD") == answer()
    first = b"HTTP/1.1 304 Not Modified"
    assert write.write_response(answer(LENGTH, b"ETag: x", first=first)) == answer(
        LENGTH, b"ETag: x", first=first
    )


def test_connection_field_of_a_response_is_ours(write):
    data = answer(b"Connection: keep-alive", LENGTH)
    assert write.write_response(data, connection=write.DEFAULT) == answer(LENGTH)
    assert write.write_response(data, connection=write.CLOSE) == answer(LENGTH, b"Connection: close")
    assert write.write_response(data, connection=write.KEEP_ALIVE) == answer(
        LENGTH, b"Connection: keep-alive"
    )


def test_switch_of_protocols_names_the_protocol(write):
    first = b"HTTP/1.1 101 Switching Protocols"
    data = answer(b"Upgrade: websocket", b"Connection: upgrade", b"Sec-WebSocket-Accept: x", first=first)
    assert write.write_response(data, connection=write.UPGRADE) == answer(
        b"Sec-WebSocket-Accept: x", b"Upgrade: websocket", b"Connection: Upgrade", first=first
    )
    assert write.write_response(data) == answer(b"Sec-WebSocket-Accept: x", first=first)


def test_upgrade_required_says_to_what(write):
    first = b"HTTP/1.1 426 Upgrade Required"
    data = answer(b"Upgrade: TLS/1.0", b"Connection: upgrade", LENGTH, first=first)
    upgrade = b"Upgrade: TLS/1.0"
    assert write.write_response(data) == answer(LENGTH, upgrade, b"Connection: Upgrade", first=first)
    assert write.write_response(data, connection=write.CLOSE) == answer(
        LENGTH, upgrade, b"Connection: Upgrade, close", first=first
    )


def test_response_with_fields_of_ours(write):
    extras = [(b"Strict-Transport-Security", b"max-age=1", write.SET), (b"Server", b"", write.REMOVE)]
    data = answer(b"Server: x", LENGTH, b"strict-transport-security: max-age=2")
    assert write.write_response(data, extras=extras) == answer(
        LENGTH, b"Strict-Transport-Security: max-age=1"
    )


# ---- our own answers

BODIES = {  # HAProxy's
    400: ("400 Bad request", "Your browser sent an invalid request."),
    403: ("403 Forbidden", "Request forbidden by administrative rules."),
    408: ("408 Request Time-out", "Your browser didn't send a complete request in time."),
    502: ("502 Bad Gateway", "The server returned an invalid or incomplete response."),
    503: ("503 Service Unavailable", "No server is available to handle this request."),
    504: ("504 Gateway Time-out", "The server didn't respond in time."),
}


@pytest.mark.parametrize("status", [400, 403, 408, 413, 414, 417, 431, 500, 501, 502, 503, 504, 505])
@pytest.mark.parametrize("said", [None, "keep-alive", "close"])
def test_own_answer_is_whole(write, http1, status, said):
    connection = {None: write.DEFAULT, "keep-alive": write.KEEP_ALIVE, "close": write.CLOSE}[said]
    data = write.write_answer(status, connection)
    verdict, got = http1.parse_response(data)
    body = data[verdict:]
    assert got["status"] == status
    assert (got["framing"], got["body_bytes"]) == ("LENGTH", len(body))
    assert got["keep_alive"] is (said != "close")
    fields = {name.decode(): value.decode() for name, value, _ in got["fields"]}
    assert fields.get("Connection") == said
    assert (fields["Content-Type"], fields["Cache-Control"]) == ("text/html", "no-cache")
    if status in BODIES:
        title, text = BODIES[status]
        assert body.decode() == f"<html><body><h1>{title}</h1>\n{text}\n</body></html>\n"
    assert body.startswith(b"<html><body><h1>%d " % status)
    assert body.endswith(b"\n</body></html>\n")
    assert write.write_answer(status, connection, head_only=True) == data[:verdict]


def test_status_without_a_text_is_a_500(write):
    assert write.write_answer(777).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


# ---- round trip

TOKEN = st.text("abcXYZ09!#$%&'*+-.^_`|~", min_size=1, max_size=12).map(str.encode)
VALUE = st.binary(max_size=30).map(lambda raw: bytes(c for c in raw if c == 9 or (c > 31 and c != 127)))
KNOWN = [
    "Accept",
    "Cookie",
    "Content-Type",
    "User-Agent",
    "X-Forwarded-For",
    "Via",
    "Keep-Alive",
    "TE",
    "Upgrade",
    "Expect",
]
NAME = st.one_of(TOKEN, st.sampled_from([name.encode() for name in KNOWN]))
OPTION = st.sampled_from([b"close", b"keep-alive", b"Upgrade", b"TE", b"cookie", b"Accept", b"x", b""])
CONNECTION = st.lists(OPTION, max_size=4).map(lambda options: b"Connection: " + b" , ".join(options))
BLANK = st.sampled_from([b"", b" ", b" ", b" ", b"  ", b"\t", b" \t "])
LINE = st.one_of(
    st.builds(lambda n, a, v, b: n + b":" + a + v + b, NAME, BLANK, VALUE, BLANK),
    CONNECTION,
    st.sampled_from(
        [b"TE: trailers", b"Upgrade: websocket", b"Expect: 100-continue", b"Connection: upgrade"]
    ),
)
FRAMING = st.sampled_from(
    [None, b"Content-Length: 0", b"content-length:  012 ", b"Transfer-Encoding: Chunked"]
)
FIRST = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b HTTP/1.1",
        b"X* //c HTTP/1.0",
        b"GET http://h:1/p HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
    ]
)


def meaning(got):
    """What must not change from hop to hop."""
    kept = [(name, value) for name, value, drop in got["fields"] if not drop]
    same = [
        "method_text",
        "target",
        "authority",
        "framing",
        "body_bytes",
        "upgrade",
        "te_trailers",
        "expect_continue",
    ]
    return kept, {key: got[key] for key in same}


@given(FIRST, st.lists(LINE, max_size=12), FRAMING)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_request_means_the_same_after_each_hop(write, http1, first, lines, framing):
    data = head(*([framing] if framing else []), *lines, first=first, host=b"hOst:h")
    verdict, got = http1.parse_request(data)
    assume(verdict > 0)
    written = write.write_request(data)
    verdict, again = http1.parse_request(written)
    assert verdict == len(written), again
    was, is_ = meaning(got), meaning(again)
    assert is_[1] == was[1]
    # The value of a length is the same, its spelling need not be; Host may have moved to the front.
    assert sorted(f for f in is_[0] if f[0].lower() not in (b"content-length", b"host")) == sorted(
        f for f in was[0] if f[0].lower() not in (b"content-length", b"host")
    )
    assert write.write_request(written) == written


@given(
    st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.0 404 ", b"HTTP/1.1 204 N", b"HTTP/1.1 304 x", b"HTTP/1.1 101 s"]
    ),
    st.lists(LINE, max_size=12),
    FRAMING,
    st.sampled_from(["GET", "HEAD"]),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_response_means_the_same_after_each_hop(write, http1, first, lines, framing, method):
    data = answer(*([framing] if framing else []), *lines, first=first)
    verdict, got = http1.parse_response(data, method)
    assume(verdict > 0)
    written = write.write_response(data, method)
    verdict, again = http1.parse_response(written, method)
    assert verdict == len(written), again
    for key in ("status", "reason", "framing", "body_bytes"):
        assert again[key] == got[key]
    plain = [
        [(n, v) for n, v, drop in head["fields"] if not drop and n.lower() != b"content-length"]
        for head in (got, again)
    ]
    assert plain[0] == plain[1]
    assert write.write_response(written, method) == written


@given(FIRST, st.lists(LINE, max_size=8), FRAMING)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_another_parser_reads_what_we_wrote_as_we_did(write, http1, first, lines, framing):
    data = head(*([framing] if framing else []), *lines, first=first, host=b"Host: h")
    verdict, got = http1.parse_request(data)
    assume(verdict > 0)
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(write.write_request(data))
    event = peer.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (got["method_text"], got["target"])
    fields = dict(event.headers)
    assert fields[b"host"] == got["authority"]
    assert (b"transfer-encoding" in fields) == (got["framing"] == "CHUNKED")
    assert int(fields.get(b"content-length", 0)) == got["body_bytes"]


PIECES = [
    b"GET ",
    b"/ ",
    b"HTTP/1.1",
    b"\r\n",
    b"\n",
    b"\r",
    b"Host: a",
    b"Content-Length: ",
    b"5",
    b"\r\n\r\n",
    b",",
]
PIECES += [
    b"Transfer-Encoding: ",
    b"chunked",
    b" ",
    b"\t",
    b":",
    b"X",
    b"\0",
    b"\xff",
    b"Connection: ",
    b"close",
    b"0",
]
HOSTILE = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)


@given(HOSTILE)
@settings(max_examples=1000, deadline=None, derandomize=True)
def test_what_we_take_another_strict_parser_takes_the_same_way(http1, tail):
    data = b"POST / HTTP/1.1\r\nHost: a\r\n" + tail + b"\r\n\r\n"
    verdict, got = http1.parse_request(data)
    if verdict <= 0:  # three of four: most of this is nonsense
        return
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(data[:verdict])
    event = peer.next_event()
    assert isinstance(event, h11.Request)
    fields = dict(event.headers)
    assert (b"transfer-encoding" in fields) == (got["framing"] == "CHUNKED")
    assert int(fields.get(b"content-length", 0)) == got["body_bytes"]
