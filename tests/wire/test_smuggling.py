# SPDX-License-Identifier: Apache-2.0
"""What research on request smuggling tries: each trick is refused, or means to the member what it means to us.

The names are those of the literature: CL.TE is a request that the one in front frames by Content-Length and the one
behind by Transfer-Encoding, 0 stands for no body, TERM and EXT for the ends of a chunk line and of its extension. A
victim asks behind each trick, over the same member connections.
"""

import contextlib

import pytest

from fastlb.testing import MemberConn, eventually, http, in_turn, request, response

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: evil\r\nX-Rest: "
REFUSED = (400, 501, 505)


def post(*lines, body=b"", first=b"POST /attack HTTP/1.1"):
    return b"\r\n".join([first, b"Host: a", *lines, b"", b""]) + body


def by_length(*lines, body=b"0\r\n\r\n" + HIDDEN):
    """Framed by a length, hiding a request from whoever reads chunks."""
    return post(b"Content-Length: %d" % len(body), *lines, body=body)


# ---- two framings

TWO_FRAMINGS = {
    "CL.TE": by_length(b"Transfer-Encoding: chunked"),
    "TE.CL": post(
        b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"2e\r\n" + HIDDEN + b"\r\n\r\n0\r\n\r\n"
    ),
    "CL.TE in HTTP/1.0": by_length(b"Transfer-Encoding: chunked").replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "CL.CL": post(b"Content-Length: 0", b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
    "CL.CL in a list": post(b"Content-Length: 0, %d" % len(HIDDEN), body=HIDDEN),
    "CL.TE with a first line for fools": by_length(
        b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"
    ),
}

# Each is to be Transfer-Encoding: chunked for one of two parties. All of them come with a length as well.
OBFUSCATIONS = [
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding:chunked",
    b"Transfer-Encoding:  chunked",
    b"Transfer-Encoding: chunked ",
    b"Transfer-Encoding: chunked\t",
    b" Transfer-Encoding: chunked",
    b"\tTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding:\r\n\tchunked",
    b"Transfer-Encoding:\n chunked",
    b"Transfer-Encoding\r\n: chunked",
    b"Transfer-Encoding\n: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\r\rTransfer-Encoding: chunked",
    b"X: y\n\rTransfer-Encoding: chunked",
    b"X:\r\nTransfer-Encoding: chunked",
    b"\rTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\rX: y",
    b"Transfer-Encoding: chunked\nX: y",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: \x0cchunked",
    b"Transfer-Encoding: \x00chunked",
    b"Transfer-Encoding:\xa0chunked",
    b"Transfer-Encoding:\xffchunked",
    b"Transfer-Encoding: chunked\x0b",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding: chunked\xa0",
    b"Transfer-Encoding\x00: chunked",
    b"Transfer-Encoding\x0b: chunked",
    b"Transfer-Encoding\xa0: chunked",
    b"Transfer-Encoding;: chunked",
    b"Transfer-Encoding, X: chunked",
    b"\x00Transfer-Encoding: chunked",
    b"Transfer-Encoding: 'chunked'",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding: ;chunked",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked chunked",
    b"Transfer-Encoding: chunk",
    b"Transfer-Encoding: CHUNKED",
    b"Transfer-Encoding: chun\xe2\x84\xaaed",
    b"Transfer-Encoding: cow",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    b"transfer-encoding: chunked\r\nTRANSFER-ENCODING: chunked",
    b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
]

# These are no Transfer-Encoding for anybody who reads by the book: the length holds.
LOOKALIKES = [
    b"Transfer_Encoding: chunked",
    b"transfer_encoding: chunked",
    b"TransferEncoding: chunked",
    b"Transfer.Encoding: chunked",
    b"X-Transfer-Encoding: chunked",
    b"Transfer-Encoding-: chunked",
    b"Content-Encoding: chunked",
    b"TE: chunked",
    b"Trailer: Transfer-Encoding",
    b"Connection: chunked",
    b"Connection: Content-Length",
    b"Connection: Host, Content-Length, Transfer-Encoding",
]

# Each is to be a Content-Length for one of two parties, and nothing for the other one (0.CL and CL.0).
LENGTHS = [
    b" Content-Length: %d",
    b"Content-Length : %d",
    b"Content-Length\t: %d",
    b"Content-Length:\r\n %d",
    b"X: y\r\n Content-Length: %d",
    b"X: y\rContent-Length: %d",
    b"X: y\nContent-Length: %d",
    b"Content-Length\r: %d",
    b"Content-Length\x00: %d",
    b"Content-Length\xa0: %d",
    b"\x00Content-Length: %d",
    b"\xffContent-Length: %d",
    b"Content-Length: +%d",
    b"Content-Length: -%d",
    b"Content-Length: %d\x00",
    b"Content-Length: \x0b%d",
    b"Content-Length: %d.0",
    b"Content-Length: %d abc",
    b"Content-Length: %d;x",
    b"Content-Length: '%d'",
    b"Content-Length: 0%dx",
    b"Content-Length: 0x%x",
    b"Content-Length: %d\r\nContent-Length:",
    b"Content-Length: \xd9\xa3",
]

HEADS = {
    "a request for a version": b"GET /hidden HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9 behind a request": request("/attack") + b"GET /hidden\r\n",
    "LF for a line end": b"GET /attack HTTP/1.1\r\nHost: a\n\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "LF CR for a line end": b"GET /attack HTTP/1.1\r\nHost: a\n\r\n\rGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR alone for the head's end": b"GET /attack HTTP/1.1\r\nHost: a\r\rGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "vertical tab for a space": b"GET\x0b/hidden\x0bHTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /attack /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR in the target": b"GET /attack\r/hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment": b"GET /hidden#/attack HTTP/1.1\r\nHost: a\r\n\r\n",
    "two Hosts": b"GET /attack HTTP/1.1\r\nHost: a\r\nHost: evil\r\n\r\n",
    "a Host that is folded away": b"GET /attack HTTP/1.1\r\nX: y\r\n Host: evil\r\nHost: a\r\n\r\n",
    "a Host before a blank colon": b"GET /attack HTTP/1.1\r\nHost : evil\r\nHost: a\r\n\r\n",
    "a Host with obs-text": b"GET /attack HTTP/1.1\r\nHost: a\xff\r\n\r\n",
    "a Host with a comment": b"GET /attack HTTP/1.1\r\nHost: a#evil\r\n\r\n",
    "a Host with an at sign": b"GET /attack HTTP/1.1\r\nHost: a@evil\r\n\r\n",
    "a Host with a path": b"GET /attack HTTP/1.1\r\nHost: a/../hidden\r\n\r\n",
    "an authority with an at sign": b"GET http://a@evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "an authority with a backslash": b"GET http://a\\@evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute target without slash": b"GET http://a?/hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT evil:80 HTTP/1.1\r\nHost: evil:80\r\n\r\n" + request("/hidden"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + request("/hidden"),
    "a TLS hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(32) + request("/hidden"),
    "a PROXY header": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + request("/hidden"),
}

CHUNKS = {
    "TERM.EXT": b"2;\nxx\r\n1f\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "EXT.TERM": b"2;\nxx\r\n0\r\n\r\n" + HIDDEN,
    "TERM.EXT with CR": b"2;\rxx\r\n0\r\n\r\n" + HIDDEN,
    "a last chunk that ends in LF": b"0;\n\r\n" + HIDDEN,
    "TERM.SPILL": b"5\r\nhelloX0\r\n\r\n" + HIDDEN,
    "SPILL.TERM": b"5\r\nhelloXX\r\n0\r\n\r\n" + HIDDEN,
    "SPILL with LF": b"5\r\nhello\n0\r\n\r\n" + HIDDEN,
    "a size with a space": b"0 \r\n\r\n" + HIDDEN,
    "a size in front of a space": b" 0\r\n\r\n" + HIDDEN,
    "a size with 0x": b"0x0\r\n\r\n" + HIDDEN,
    "a size that wraps at 128 bits": b"100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n" + HIDDEN,
    "a size that wraps at 64 bits": b"10000000000000000\r\n\r\n" + HIDDEN,
    "a negative size": b"-1\r\n" + HIDDEN,
    "a size behind NUL": b"\x000\r\n\r\n" + HIDDEN,
    "an empty size": b"\r\n\r\n" + HIDDEN,
    "a trailer section that ends in LF": b"0\r\n\n" + HIDDEN,
    "a trailer section that ends in CR": b"0\r\n\r" + HIDDEN,
    "a request for a trailer": b"0\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
    "a folded trailer": b"0\r\nX: y\r\n Content-Length: 5\r\n\r\n",
    "a trailer with LF": b"0\r\nX: y\nContent-Length: 5\r\n\r\n",
}

REFUSALS = (
    [(f"{name}", data) for name, data in TWO_FRAMINGS.items()]
    + [(f"TE.TE {line!r}", by_length(line)) for line in OBFUSCATIONS]
    + [
        (f"0.CL {line!r}", post(line.replace(b"%d", b"3").replace(b"%x", b"3"), body=HIDDEN))
        for line in LENGTHS
    ]
    + list(HEADS.items())
    + [
        (f"{name} in a chunk", post(b"Transfer-Encoding: chunked", body=data))
        for name, data in CHUNKS.items()
    ]
)


def victim_is_safe(balancer, one):
    """Somebody else's request arrives as it was sent, and gets its answer."""
    answer = balancer.client.request("/victim", method="PUT", fields=[("X-Who", "victim")], body=b"its body")
    assert answer.body == b"/victim"

    def arrived():  # the member may have answered before it has read the body
        return [message for message in one.requests if message.target == "/victim"]

    (mine,) = eventually(arrived)
    assert (mine.body, mine.get("X-Who")) == (b"its body", "victim")
    assert all(message.target != "/hidden" for message in one.heads)
    return True


def echoing_target(message):
    return response(message.target.encode())


@pytest.mark.workers(1)
@pytest.mark.parametrize("data", [data for _, data in REFUSALS], ids=[name for name, _ in REFUSALS])
def test_a_trick_is_refused_and_the_connection_ends(balance, member, data):
    one = member(http(echoing_target))
    balancer = balance(one)
    balancer.client.get("/before")
    with balancer.client.connect() as conn:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            conn.send(data)
            conn.finish()
        answers = []
        with contextlib.suppress(AssertionError, ConnectionResetError):
            while True:
                answers.append(conn.read_response())
    assert answers[-1].status in REFUSED
    assert answers[-1].closes
    assert [answer.status for answer in answers[:-1]] == [200] * (len(answers) - 1)
    assert set(one.targets) <= {"/before", "/attack"}
    assert one.targets.count("/attack") == len(answers) - 1
    assert victim_is_safe(balancer, one)


@pytest.mark.workers(1)
@pytest.mark.parametrize("line", LOOKALIKES)
@pytest.mark.parametrize("method", [b"POST", b"GET", b"DELETE", b"OPTIONS"])
def test_a_field_that_only_looks_like_framing_leaves_the_body_a_body(balance, member, line, method):
    body = b"0\r\n\r\n" + request("/hidden")
    one = member(http(echoing_target))
    balancer = balance(one)
    with balancer.client.connect() as conn:
        data = post(b"Content-Length: %d" % len(body), line, first=method + b" /attack HTTP/1.1", body=body)
        conn.send(data + request("/next"))
        assert conn.read_response().body == b"/attack"
        assert conn.read_response().body == b"/next"
    assert one.targets == ["/attack", "/next"]
    assert one.requests[0].body == body
    assert not {"transfer_encoding", "te"} & {name.lower() for name, _ in one.requests[0].fields}
    assert victim_is_safe(balancer, one)


@pytest.mark.workers(1)
@pytest.mark.parametrize("name", ["Content_Length", "Content-Length_", "X-Content-Length", "Content.Length"])
def test_a_length_that_is_none_frames_nothing_and_does_not_frame_at_the_member(balance, member, name):
    """0.CL: what follows the head is the client's next request here, and must not be a body there."""
    one = member(http(echoing_target))
    balancer = balance(one)
    with balancer.client.connect() as conn:
        conn.send(post(f"{name}: 23".encode()) + request("/second"))
        assert conn.read_response().body == b"/attack"
        assert conn.read_response().body == b"/second"
    assert "Content_Length" not in one.requests[0]
    assert victim_is_safe(balancer, one)


@pytest.mark.workers(1)
@pytest.mark.parametrize(
    "value", ["100-continue", "y 100-continue", "100-continue, y", "100-continue\t", "200-ok", ""]
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_expectation_never_makes_a_request_of_a_body(balance, member, value, framing):
    """A member that answers a head at once, and one that reads on: the body is a body in any case."""

    def answers_at_once(conn: MemberConn):
        while (message := conn.read_request_head()) is not None:
            conn.send(response(message.target.encode()))
            conn.read_request_body(message)

    body = request("/hidden")
    one = member(answers_at_once)
    balancer = balance(one)
    for waits in (True, False):
        before = len(one.heads)
        with balancer.client.connect() as conn:
            head = request("/attack", method="POST", fields=[("Expect", value)])[:-2]
            if framing == "length":
                head, rest = head + b"Content-Length: %d\r\n\r\n" % len(body), body
            else:
                head, rest = (
                    head + b"Transfer-Encoding: chunked\r\n\r\n",
                    b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
                )
            conn.send(head if waits else head + rest)
            assert conn.read_response().body == b"/attack"
            if waits:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    conn.send(rest)
        assert [message.target for message in one.heads[before:]] == ["/attack"]
    assert victim_is_safe(balancer, one)


BODILESS = {
    "HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"),
    "HEAD, chunked": ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "HEAD, until close": ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "204 with a length": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n"),
    "204, chunked": ("GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "304 with a length": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n"),
    "304, chunked": ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "no length but zero": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.workers(1)
@pytest.mark.parametrize("name", BODILESS)
def test_a_body_where_none_may_be_is_nobodys_answer(balance, member, name):
    """Response queue poisoning: an answer in a body that a reader in front does not expect."""
    method, head = BODILESS[name]
    stolen = response(b"stolen", fields=[("Set-Cookie", "session=stolen")])

    def wrong(conn: MemberConn):
        conn.read_request()
        conn.send((head % len(stolen) if b"%d" in head else head) + stolen)
        conn.read_to_end()

    one = member(in_turn(wrong, http(echoing_target)))
    balancer = balance(one)
    with balancer.client.connect() as conn:
        answer = conn.request("/attack", method=method)
        assert answer.body == b""
        assert "Set-Cookie" not in answer
        assert conn.request("/again").body == b"/again"
    assert victim_is_safe(balancer, one)


INTERIM = {
    "a flood of 103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100,
    "a flood of 100": b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    "a 101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "a 100 that never ends": b"HTTP/1.1 100 Continue\r\nX: " + b"x" * 40_000,
    "a body of a 100": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.workers(1)
@pytest.mark.parametrize("name", INTERIM)
def test_interim_answers_that_are_none_are_a_502(balance, member, name):
    def wrong(conn: MemberConn):
        conn.read_request()
        with contextlib.suppress(ConnectionError):
            conn.send(INTERIM[name] + response(b"stolen"))
            conn.read_to_end()

    one = member(in_turn(wrong, http(echoing_target)))
    balancer = balance(one)
    with balancer.client.connect() as conn:
        answer = conn.request("/attack", method="POST", body=b"x")
        assert answer.status == 502
        assert len(answer.interim) <= 16
        assert conn.request("/again").body == b"/again"
    assert victim_is_safe(balancer, one)


@pytest.mark.workers(1)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "target",
    [
        "/%0d%0aSet-Cookie:%20stolen=1",
        "/%0D%0A%0D%0Ahidden",
        "//evil.example/x",
        "/\\evil.example",
        "/caf\xe9",
    ],
)
def test_our_redirect_is_one_answer_with_one_location(balance, member, method, target):
    one = member(http(echoing_target))
    balancer = balance(one)
    policy = balancer.listener.create_l7policy(
        action="REDIRECT_PREFIX", redirect_prefix="https://safe.example"
    )
    policy.create_rule(type="PATH", compare_type="STARTS_WITH", value="/")
    with balancer.client.connect() as conn:
        for _ in range(2):
            answer = conn.request(target, method=method)
            assert answer.status == 302
            assert answer.get("Location") == "https://safe.example" + target
            assert "Set-Cookie" not in answer
            assert answer.body == b""
        assert not conn.pending()
    assert one.received == b""
