# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 messages for tests/fuzz/differential.py: right as often as not, else wrong where two readers may differ.

A table has a line for each choice, with Python's escapes; the right ones stand above the rule. `%d` and `%x` are the
length of what follows.
"""

import dataclasses

from hypothesis import strategies as st


@dataclasses.dataclass
class Choice:
    """What may stand at one place of a message: right, and at fault."""

    good: list
    odd: list


def table(text):
    good, odd = [
        [
            line.encode("latin-1").decode("unicode_escape").encode("latin-1")
            for line in map(str.strip, part.split("\n"))
            if line
        ]
        for part in text.split("----")
    ]
    return Choice(
        [line.replace(b"<nothing>", b"") for line in good], [line.replace(b"<nothing>", b"") for line in odd]
    )


TABLES = {
    "method": table(r"""
        GET
        POST
        POST
        HEAD
        PUT
        DELETE
        OPTIONS
        PATCH
        ----
        TRACE
        PURGE
        M-SEARCH
        get
        PRI
        CONNECT
        !#$
        G(T
        <nothing>
    """),
    "target": table(r"""
        /
        /a?b=c
        /..;/%2e%00
        //x
        http://c.d:81/e?f
        HTTP://c
        https://[::1]:8/x
        ----
        *
        <nothing>
        a
        /a b
        /a#b
        /caf\xe9
        /\x01
        /\x7f
        http://u@c/
        http:///
        http://c?x
        ftp://c/
        c:80
        ?x
    """),
    "version": table(r"""
        \x20HTTP/1.1
        \x20HTTP/1.1
        \x20HTTP/1.1
        \x20HTTP/1.1
        \x20HTTP/1.0
        ----
        \x20HTTP/1.2
        \x20HTTP/2.0
        \x20HTTP/0.9
        \x20HTTP/1.10
        \x20http/1.1
        \x20\x20HTTP/1.1
        \tHTTP/1.1
        <nothing>
        \x20HTTP/1.1\x20
    """),
    "line end": table(r"""
        \r\n
        ----
        \n
        \r
        \r\r\n
        \n\r\n
        \x20\r\n
        \0\r\n
        <nothing>
    """),
    "host": table(r"""
        Host: a
        ----
        <nothing>
        Host: a\r\nHost: a
        Host: a, b
        host:\ta:80\x20
        Host:
        Host: a/b
        Host : a
        Host: a\r\n b
        Host: a\xe9
        Host: u@a
    """),
    "field": table(r"""
        X-A: b
        X-Empty:
        Cookie: a=1
        Cookie: a=1; SRV=x; b
        Cookie: SRV=x
        Cookie: SRV="x; SRV=y";; a
        X-Latin: caf\xe9
        X-Tab:\ta\tb\t
        X_Under: 1
        TE: trailers
        Keep-Alive: timeout=1
        X-Forwarded-For: 1
        X-Answer: chunked
        X-Answer: close
        X-Answer: bye
        Trailer: x-trailer
        ----
        Connection: close
        Connection: keep-alive
        Connection: x-a, Content-Length, Transfer-Encoding, Host
        Connection: \xff
        Connection: TE, close
        Proxy-Connection: close
        Expect: 100-continue
        Expect: x
        Expect: x 100-continue
        Upgrade: x
        Connection: upgrade\r\nUpgrade: x
        Connection: upgrade\r\nUpgrade: h2c
        \x20folded
        \tfolded
        X-A : b
        X A: b
        : b
        word
        X\x0bA: b
        X-A: b\0c
        X-A: b\rc
        X-A: b\nc
        X-A: b\x0bc
        GET /hidden HTTP/1.1
    """),
    "length": table(r"""
        Content-Length: %d
        Content-Length: %d
        content-length:%d
        Content-Length: \t%d \t
        Content-Length: 000%d
        ----
        Content-Length: +%d
        Content-Length: -%d
        Content-Length: %d, %d
        Content-Length: %d\r\nContent-Length: %d
        Content-Length: %d\r\nContent-Length: 0
        Content-Length: 0\r\nContent-Length: %d
        Content-Length : %d
        Content_Length: %d
        Content-Length: 0x%x
        Content-Length: %d\x0b
        Content-Length: %d;
        Content-Length:\r\n %d
        Content-Length: %d.0
        Content-Length: 1%d
        Content-Length: 18446744073709551616
        Content-Length: 99999999999999999999
        Content-Length:
        X-Length: %d
        X: y\nContent-Length: %d
        Content-Length: %d\nX: y
        Content-Length: %d\r\nTransfer-Encoding: identity
        Content-Length: %d\r\nTransfer-Encoding: chunked
        Transfer-Encoding: chunked\r\nContent-Length: %d
        Content-Length: %d\r\nTransfer-Encoding:\x0bchunked
        Content-Length: %d\r\nTransfer_Encoding: chunked
        Content-Length: %d\r\nTransfer-Encoding : chunked
        Content-Length: %d\r\nX: y\r\nConnection: content-length
    """),
    "coding": table(r"""
        Transfer-Encoding: chunked
        Transfer-Encoding: chunked
        transfer-encoding:CHUNKED
        Transfer-Encoding: \tchunked\t\x20
        ----
        Transfer-Encoding: gzip, chunked
        Transfer-Encoding: chunked, gzip
        Transfer-Encoding: chunked, chunked
        Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked
        Transfer-Encoding: chunked\r\nTransfer-Encoding: x
        Transfer-Encoding: x\r\nTransfer-Encoding: chunked
        Transfer-Encoding: ,chunked
        Transfer-Encoding: chunked,
        Transfer-Encoding: xchunked
        Transfer-Encoding: chunk
        Transfer-Encoding: "chunked"
        Transfer-Encoding: chunked;a=b
        Transfer-Encoding: chunked\0
        Transfer-Encoding: \x0bchunked
        Transfer-Encoding: chunked\xa0
        Transfer-Encoding : chunked
        Transfer-Encoding\x0b: chunked
        Transfer-Encoding:\r\n chunked
        Transfer-Encoding:\n chunked
        \x20Transfer-Encoding: chunked
        Transfer_Encoding: chunked
        X: y\rTransfer-Encoding: chunked
        X: y\nTransfer-Encoding: chunked
        Transfer-Encoding: chunked\nX: y
        Transfer-Encoding: chunked\r\nContent-Length: 4
        Transfer-Encoding: chunked\r\nConnection: transfer-encoding
        <nothing>
    """),
    "chunk size": table(r"""
        %x
        %x
        %X
        000%x
        ----
        0x%x
        +%x
        -%x
        \x20%x
        %x\x20
        %x\t
        1%x
        %xg
        %x_
        _%x
        10000000000000000%x
        \r\n%x
        %d
        <nothing>
    """),
    "extension": table(r"""
        <nothing>
        <nothing>
        <nothing>
        ;a=b
        ;a="b;c"
        ;
        ;\xff
        ----
        \x20;a
        ;a\rb
        ;a\nb
        ;\0
        ;a\r
        \n
        ;a\n0\r\n\r\n
        ;a\n4
        a
    """),
    "chunk end": table(r"""
        \r\n
        ----
        \n
        \r
        <nothing>
        \r\r\n
        \n\r
        xx
        x\r\n
        \r\nx
    """),
    "last chunk": table(r"""
        0
        0
        000
        0;a
        ----
        0\x20
        <nothing>
        -0
        00x
        0\n
        \0
    """),
    "trailer": table(r"""
        <nothing>
        <nothing>
        X-Trailer: 1\r\n
        X-Trailer:1\r\nX-Trailer: 2 \r\n
        ----
        Content-Length: 5\r\n
        Transfer-Encoding: chunked\r\n
        Host: b\r\n
        \x20folded\r\n
        X : y\r\n
        word\r\n
        X-Tag: stolen\r\n
        X: y\n
        X-Y: a\0\r\n
        GET /hidden HTTP/1.1\r\n
        Connection: close\r\n
    """),
    "status line": table(r"""
        HTTP/1.1 200 OK
        HTTP/1.1 200 OK
        HTTP/1.1 200 OK
        HTTP/1.1 200 OK
        HTTP/1.1 404\x20
        HTTP/1.0 200 OK
        HTTP/1.1 204 No
        HTTP/1.1 304 Not
        HTTP/1.1 599 \xe9
        ----
        HTTP/1.1 200
        HTTP/1.1  200 OK
        HTTP/1.1 20 OK
        HTTP/1.1 099 OK
        HTTP/1.1 2000 OK
        HTTP/2.0 200 OK
        HTTP/1.2 200 OK
        http/1.1 200 OK
        ICY 200 OK
        HTTP/1.1 200 O\rK
        HTTP/1.1 200 O\nK
        HTTP/1.1 200 O\0K
        HTTP/1.1 101 Switch
        HTTP/1.1 100 Go on
        HTTP/1.1\t200 OK
        HTTP/1.1 +20 OK
        \x20HTTP/1.1 200 OK
        <nothing>
    """),
    "answer field": table(r"""
        X-A: b
        X-Empty:
        Server: x
        Set-Cookie: a=1
        Set-Cookie: SRV=x; path=/
        Cache-Control: public, max-age=5
        X-Latin: caf\xe9
        Connection: close
        Connection: keep-alive
        Connection: x-a, Content-Length, transfer-encoding
        Upgrade: x
        Keep-Alive: timeout=1
        Trailer: x-trailer
        ----
        Connection: upgrade
        \x20folded
        X-A : b
        X A: b
        : b
        word
        X\x0b: b
        X-A: b\0
        X-A: b\rc
        X-A: b\nc
        Content_Length: 3
        HTTP/1.1 200 OK
    """),
    "interim": table(r"""
        <nothing>
        <nothing>
        <nothing>
        HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n
        HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n
        ----
        HTTP/1.1 100 X\r\nContent-Length: 5\r\n\r\nhello
        HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n
        HTTP/1.1 100 X\n\n
        HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n
        \r\n
        x
    """),
}
TABLES["target"].odd += [b"/" + b"a" * 7999, b"/" + b"a" * 8000]
TABLES["method"].odd += [b"A" * 64, b"A" * 65]
TABLES["extension"].odd += [b";" + b"x" * 2000]
TABLES["interim"].odd += [b"HTTP/1.1 102 X\r\n\r\n" * 16, b"HTTP/1.1 102 X\r\n\r\n" * 17]
FRAMING = ["length", "coding", "chunk size", "extension", "chunk end", "last chunk", "trailer", "line end"]
REQUEST = ["method", "target", "version", "host", "field", "field", *FRAMING]
ANSWER = ["status line", "answer field", "interim", *FRAMING]
WORDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b"\xff",
    b":",
    b",",
    b";",
    b"_",
    b"-",
]
WORDS += [
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"Connection: close\r\n",
]
WORDS += [
    b"chunked",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.0",
    b"0",
    b"1",
    b"f",
    b"+",
    b"0x",
]
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\nX-Tag: hidden\r\n\r\n"
STOLEN = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
BODIES = [b"", b"hello", b"0\r\n\r\n", b"0\r\n\r\n" + HIDDEN, HIDDEN, b"\r\n" + HIDDEN, STOLEN, b"b" * 20_000]


class Teller:
    """Makes the choices of one message, wrong ones at few places: of ten faults only the first would be seen."""

    def __init__(self, draw, places):
        self.draw = draw
        self.faults = [
            draw(st.sampled_from(places)) for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2])))
        ]

    def __call__(self, place):
        if place in self.faults:
            if self.draw(st.booleans()):
                self.faults.remove(place)
            return self.draw(st.sampled_from(TABLES[place].odd))
        return self.draw(st.sampled_from(TABLES[place].good))

    def lines(self, *lines):
        """The head's lines, some of them `<nothing>`, and its end."""
        return b"".join(line + self("line end") for line in lines if line) + self("line end")

    def fields(self, place):
        return [self(place) for _ in range(self.draw(st.integers(0, 2)) + self.faults.count(place))]

    def framed(self):
        """(lines, body)"""
        framing = self.draw(st.sampled_from(["none", "length", "length", "chunked", "chunked"]))
        if framing == "none":
            return [], b""
        body = self.draw(st.sampled_from(BODIES))
        if framing == "chunked":
            return [self("coding")], self.chunked(body)
        return [counted(self("length"), len(body))], body

    def chunked(self, body):
        cuts = sorted(self.draw(st.lists(st.integers(0, len(body)), max_size=3)))
        out = []
        for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True):
            if start != stop:
                out += [counted(self("chunk size"), stop - start), self("extension"), self("chunk end")]
                out += [body[start:stop], self("chunk end")]
        return b"".join([*out, self("last chunk"), self("chunk end"), self("trailer"), self("chunk end")])


def counted(form, length):
    return form.replace(b"%d", b"%d" % length).replace(b"%x", b"%x" % length).replace(b"%X", b"%X" % length)


@st.composite
def requests(draw, tag):
    tell = Teller(draw, REQUEST)
    first = tell("method") + b" " + tell("target") + tell("version")
    lines, body = tell.framed()
    lines = [tell("host"), b"X-Tag: " + tag, *tell.fields("field"), *lines]
    if draw(st.integers(0, 3)) == 0:
        lines.reverse()
    return tell.lines(first, *lines) + body


@st.composite
def edited(draw, data):
    """The same with a byte or a word more, less or other, in one time of six."""
    if draw(st.integers(0, 5)) or not data:
        return data
    at = draw(st.integers(0, min(len(data), draw(st.sampled_from([60, 300, len(data)])))))
    span = draw(st.sampled_from([0, 0, 1, 2, 4]))
    return data[:at] + draw(st.sampled_from([b"", *WORDS])) + data[at + span :]


class Pieces(list):
    """Bytes in pieces, shown so that one can read them."""

    def __repr__(self):
        return f"<{b''.join(self)!r} in pieces of {[len(piece) for piece in self]}>"


@st.composite
def pieces_of(draw, data):
    """The same in pieces, as TCP may deliver it."""
    if len(data) < 300 and draw(st.integers(0, 9)) == 0:
        return Pieces(data[i : i + 1] for i in range(len(data)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    parts = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return Pieces(part for part in parts if part)


@st.composite
def conversations(draw):
    """What one client sends on one connection, in pieces: up to five requests, pipelined."""
    data = b""
    for number in range(draw(st.sampled_from([1, 1, 2, 3, 5]))):
        data += draw(st.sampled_from([b""] * 20 + [b"\r\n", b"\r\n" * 4, b"\r\n" * 5, b"\n"]))
        data += draw(requests(b"mine-%d" % number))
    return draw(pieces_of(draw(edited(data))))


@st.composite
def answers(draw):
    """The bytes that a member answers with, more often than not the whole of one answer and no more."""
    tell = Teller(draw, ANSWER)
    interim, first = tell("interim"), tell("status line")
    lines, body = tell.framed()
    behind = draw(st.sampled_from([b""] * 5 + [STOLEN, b"x", b"\r\n"]))
    return draw(edited(interim + tell.lines(first, *tell.fields("answer field"), *lines) + body + behind))
