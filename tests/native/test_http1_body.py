# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 bodies: what comes out of lengths and chunks, however they are cut, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

MORE, DONE, MALFORMED = 0, 1, -400


@pytest.fixture(scope="session")
def http1_body(native):
    return native("http1_body")


def receive(body, data, sizes=None):
    """Feed `data` in pieces as a connection's input does: what is not consumed stays in front of the next piece.

    (verdict, payload, trailer lines, what was left over)
    """
    payload, trailers, held, at = b"", b"", b"", 0
    verdict = MORE
    for size in sizes or [len(data)]:
        held += data[at : at + size]
        at += size
        verdict, consumed, more, lines = body.feed(held)
        payload += more
        trailers += lines
        held = held[consumed:]
        if verdict != MORE:
            break
    return verdict, payload, trailers, held + data[at:]


def chunked(*pieces, trailers=b"", extension=b""):
    chunks = [b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces]
    return b"".join(chunks) + b"0" + extension + b"\r\n" + trailers + b"\r\n"


def splits(length):
    """Whole, byte by byte, and in two at every offset."""
    return [[length], [1] * length, *([i, length - i] for i in range(1, length))]


# ---- bodies that pass as they are


def test_body_with_a_length_ends_after_it(http1_body):
    body = http1_body.Body(http1_body.LENGTH, 5)
    assert body.feed(b"abc") == (MORE, 3, b"abc", b"")
    assert body.feed(b"deGET /") == (DONE, 2, b"de", b"")
    assert body.done
    assert body.feed(b"GET /") == (DONE, 0, b"", b"")


@pytest.mark.parametrize("framing", ["NO_BODY", "LENGTH"])
def test_no_body_is_done_at_once(http1_body, framing):
    body = http1_body.Body(getattr(http1_body, framing), 0)
    assert body.done
    assert body.feed(b"GET /") == (DONE, 0, b"", b"")
    assert body.opaque == 0


def test_length_beyond_32_bits_is_counted(http1_body):
    body = http1_body.Body(http1_body.LENGTH, (1 << 40) + 2)
    assert body.opaque == (1 << 40) + 2
    assert body.skip(1 << 40) == MORE
    assert body.feed(b"abc") == (DONE, 2, b"ab", b"")
    assert body.payload_bytes == (1 << 40) + 2


def test_body_until_close_ends_with_the_connection_only(http1_body):
    body = http1_body.Body(http1_body.UNTIL_CLOSE)
    assert body.feed(b"abc") == (MORE, 3, b"abc", b"")
    assert body.opaque == (1 << 64) - 1
    assert body.skip(1 << 33) == MORE
    assert not body.done
    assert body.closed()
    assert body.done


@pytest.mark.parametrize(
    "sent", [b"", b"abc", b"5\r\nab", b"5\r\nabcde\r\n0\r\n", b"5\r\nabcde\r\n0\r\nX: y\r\n"]
)
def test_cut_body_is_never_complete(http1_body, sent):
    body = (
        http1_body.Body(http1_body.LENGTH, 100)
        if sent in (b"", b"abc")
        else http1_body.Body(http1_body.CHUNKED)
    )
    receive(body, sent)
    assert not body.closed()


def test_no_byte_within_a_chunk_is_touched_or_looked_at(http1_body):
    body = http1_body.Body(http1_body.CHUNKED)
    assert body.feed(b"a\r\n") == (MORE, 3, b"", b"")
    assert body.opaque == 10
    assert body.feed(b"\r\n0\r\n") == (MORE, 5, b"\r\n0\r\n", b"")
    assert body.opaque == 5
    assert body.skip(5) == MORE
    assert body.opaque == 0
    assert body.feed(b"\r\n0\r\n\r\n") == (DONE, 7, b"", b"")


# ---- chunks

GOOD = {
    "empty": (chunked(), b"", b""),
    "one": (chunked(b"hello"), b"hello", b""),
    "many": (chunked(b"a", b"bc", b"\r\n0\r\n\r\n", b"d" * 20), b"abc\r\n0\r\n\r\n" + b"d" * 20, b""),
    "capital digits": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b""),
    "zeros in front": (b"0000000000000000000000005\r\nhello\r\n000\r\n\r\n", b"hello", b""),
    "extensions": (chunked(b"ab", extension=b';a=b;c="d e";f'), b"ab", b""),
    "obs-text in an extension": (chunked(b"ab", extension=b";\xe9"), b"ab", b""),
    "trailers": (chunked(b"ab", trailers=b"X-A: 1\r\nx-b:2\r\n"), b"ab", b"X-A: 1\r\nx-b:2\r\n"),
    "trailers in blanks": (
        chunked(trailers=b"X-A: \t 1 \t\r\nX-B:\r\nX-C: \r\n"),
        b"",
        b"X-A: 1\r\nX-B:\r\nX-C:\r\n",
    ),
    "trailers that do not belong there": (
        chunked(
            b"ab",
            trailers=b"Host: b\r\nX-A: 1\r\nContent-Length: 3\r\ntransfer-encoding: chunked\r\nX-B: 2\r\n",
        ),
        b"ab",
        b"X-A: 1\r\nX-B: 2\r\n",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_chunks_however_they_are_cut(http1_body, name):
    data, payload, trailers = GOOD[name]
    for sizes in splits(len(data)):
        body = http1_body.Body(http1_body.CHUNKED)
        assert receive(body, data, sizes) == (DONE, payload, trailers, b""), sizes
        assert body.payload_bytes == len(payload)


def test_what_follows_the_body_is_left(http1_body):
    for sizes in splits(len(GOOD["trailers"][0] + b"GET /")):
        verdict, _, _, rest = receive(
            http1_body.Body(http1_body.CHUNKED), GOOD["trailers"][0] + b"GET /", sizes
        )
        assert (verdict, rest) == (DONE, b"GET /")


def test_same_from_the_start_of_a_readable_page(http1_body):
    data, payload, trailers = GOOD["trailers"]
    assert http1_body.Body(http1_body.CHUNKED).feed(data, at_end=False) == (
        DONE,
        len(data),
        payload,
        trailers,
    )


BAD = {
    "sign": (b"+4\r\nbody\r\n0\r\n\r\n", "size"),
    "minus": (b"-4\r\nbody\r\n0\r\n\r\n", "size"),
    "0x": (b"0x4\r\nbody\r\n0\r\n\r\n", "size"),
    "SP in front": (b" 4\r\nbody\r\n0\r\n\r\n", "size"),
    "SP behind": (b"4 \r\nbody\r\n0\r\n\r\n", "size"),
    "SP before an extension": (b"4 ;a\r\nbody\r\n0\r\n\r\n", "size"),
    "HTAB behind": (b"4\t\r\nbody\r\n0\r\n\r\n", "size"),
    "underscore": (b"1_0\r\nbody\r\n0\r\n\r\n", "size"),
    "no size": (b"\r\nbody\r\n0\r\n\r\n", "size"),
    "only an extension": (b";a=b\r\nbody\r\n0\r\n\r\n", "size"),
    "other letter": (b"4g\r\nbody\r\n0\r\n\r\n", "size"),
    "LF behind the size": (b"4\nbody\r\n0\r\n\r\n", "LF"),
    "CR behind the size": (b"4\rbody\r\n0\r\n\r\n", "CR"),
    "LF in an extension": (b"4;a\nb\r\nbody\r\n0\r\n\r\n", "LF"),
    "CR in an extension": (b"4;a\rb\r\nbody\r\n0\r\n\r\n", "CR"),
    "NUL in an extension": (b"4;a\0b\r\nbody\r\n0\r\n\r\n", "extensions"),
    "HTAB in an extension": (b"4;a\tb\r\nbody\r\n0\r\n\r\n", "extensions"),
    "DEL in an extension": (b"4;a\x7fb\r\nbody\r\n0\r\n\r\n", "extensions"),
    "LF behind the data": (b"4\r\nbody\n0\r\n\r\n", "CRLF"),
    "CR behind the data": (b"4\r\nbody\r0\r\n\r\n", "CRLF"),
    "nothing behind the data": (b"4\r\nbody0\r\n\r\n", "CRLF"),
    "longer data": (b"4\r\nbodyX\r\n0\r\n\r\n", "CRLF"),
    "overflow": (b"10000000000000004\r\nbody\r\n0\r\n\r\n", "fit"),
    "overflow to zero": (b"10000000000000000\r\n\r\n", "fit"),
    "all ones": (b"ffffffffffffffff\r\nbody\r\n0\r\n\r\n", "fit"),
    "LF at the last chunk": (b"4\r\nbody\r\n0\n\r\n", "LF"),
    "LF as the last line": (b"0\r\n\n", "LF"),
    "CR as the last line": (b"0\r\n\rX", "CR"),
    "trailer without colon": (b"0\r\nword\r\n\r\n", "name"),
    "request for a trailer": (b"0\r\nGET / HTTP/1.1\r\n\r\n", "name"),
    "trailer without name": (b"0\r\n: a\r\n\r\n", "name"),
    "SP before the colon of a trailer": (b"0\r\nX : a\r\n\r\n", "colon"),
    "folded trailer": (b"0\r\nX: a\r\n b: c\r\n\r\n", "name"),
    "folded at once": (b"0\r\n X: a\r\n\r\n", "name"),
    "LF in a trailer": (b"0\r\nX: a\nY: b\r\n\r\n", "LF"),
    "CR in a trailer": (b"0\r\nX: a\rY: b\r\n\r\n", "CR"),
    "NUL in a trailer": (b"0\r\nX: a\0b\r\n\r\n", "control"),
    "obs-text in a trailer's name": (b"0\r\nX\xe9: a\r\n\r\n", "name"),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_chunks_are_refused_however_they_are_cut(http1_body, name):
    data, why = BAD[name]
    for sizes in splits(len(data)):
        body = http1_body.Body(http1_body.CHUNKED)
        assert receive(body, data, sizes)[0] == MALFORMED, sizes
        assert why in body.error
        assert body.feed(b"0\r\n\r\n")[0] == MALFORMED  # and stays so
        assert not body.done
        assert not body.closed()


@pytest.mark.parametrize("name", BAD)
def test_malformed_chunks_never_yield_a_byte_too_many(http1_body, name):
    _, payload, trailers, _ = receive(http1_body.Body(http1_body.CHUNKED), BAD[name][0])
    assert payload in (b"", b"body")
    assert trailers == b""


def test_greatest_chunk_size_is_taken(http1_body):
    body = http1_body.Body(http1_body.CHUNKED)
    body.feed(b"fffffffffffffff\r\n")
    assert body.opaque == (1 << 60) - 1


def test_extension_bytes_have_a_limit_per_chunk(http1_body):
    assert (
        receive(http1_body.Body(http1_body.CHUNKED), b"1;" + b"x" * 1024 + b"\r\na\r\n0\r\n\r\n")[0] == DONE
    )
    assert receive(http1_body.Body(http1_body.CHUNKED), b"1;" + b"x" * 1025)[0] == MALFORMED
    assert receive(http1_body.Body(http1_body.CHUNKED), b"0" * 1025)[0] == MALFORMED


def test_extension_bytes_have_a_limit_per_message(http1_body):
    chunk = b"1;" + b"x" * 512 + b"\r\na\r\n"
    assert receive(http1_body.Body(http1_body.CHUNKED), chunk * 8 + b"0\r\n\r\n")[0] == DONE
    assert receive(http1_body.Body(http1_body.CHUNKED), chunk * 8 + b"0;x\r\n\r\n")[0] == MALFORMED


def test_sizes_padded_with_zeros_are_no_extension(http1_body):
    data = b"00000001\r\na\r\n" * 5000 + b"00000000\r\n\r\n"
    assert receive(http1_body.Body(http1_body.CHUNKED), data)[:2] == (DONE, b"a" * 5000)


# ---- trailers

FORBIDDEN = [
    "Transfer-Encoding",
    "Content-Length",
    "Host",
    "Trailer",
    "Connection",
    "Keep-Alive",
    "TE",
    "Upgrade",
]
FORBIDDEN += [
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Cookie",
    "Set-Cookie",
    "Expect",
    "Range",
]
FORBIDDEN += [
    "If-Match",
    "Cache-Control",
    "Max-Forwards",
    "Content-Type",
    "Content-Encoding",
    "Content-Range",
    "Date",
]
FORBIDDEN += [
    "Location",
    "Vary",
    "Age",
    "Via",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Anything",
    "X_Forwarded_For",
]
FORBIDDEN += ["Content_Length", "Proxy-Connection", "HTTP2-Settings"]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_field_that_a_trailer_must_not_be_is_left_out(http1_body, name):
    data = chunked(b"ab", trailers=f"A-A: 1\r\n{name.lower()}: x\r\nZ-Z: 2\r\n".encode())
    assert receive(http1_body.Body(http1_body.CHUNKED), data)[:3] == (DONE, b"ab", b"A-A: 1\r\nZ-Z: 2\r\n")


def test_trailers_are_dropped_where_connection_names_fields(http1_body):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: %s\r\n\r\n"
    assert http1_body.body_of(head % b"x-a") == (http1_body.CHUNKED, 0, True)
    assert http1_body.body_of(head % b"keep-alive, TE, close") == (http1_body.CHUNKED, 0, False)
    body = http1_body.Body(http1_body.CHUNKED, 0, drop_trailers=True)
    assert receive(body, chunked(b"ab", trailers=b"X-A: 1\r\n")) == (DONE, b"ab", b"", b"")


def test_trailer_section_has_limits(http1_body):
    fields = b"".join(b"X-%d: 1\r\n" % i for i in range(100))
    assert receive(http1_body.Body(http1_body.CHUNKED), chunked(trailers=fields))[2] == fields
    for trailers in (
        fields + b"Y: 1\r\n",
        b"X: " + b"a" * 8192 + b"\r\n",
        (b"X: " + b"a" * 3000 + b"\r\n") * 3,
    ):
        assert receive(http1_body.Body(http1_body.CHUNKED), chunked(trailers=trailers))[0] == MALFORMED
    assert receive(http1_body.Body(http1_body.CHUNKED), b"0\r\n" + b"a" * 8193)[0] == MALFORMED


def test_unfinished_trailers_stay_until_they_are_whole(http1_body):
    body = http1_body.Body(http1_body.CHUNKED)
    assert body.feed(b"2\r\nab\r\n0\r\nX-A: 1\r\nX-B") == (MORE, 10, b"ab", b"")
    assert body.feed(b"X-A: 1\r\nX-B: 2\r\n\r") == (MORE, 0, b"", b"")
    assert body.feed(b"X-A: 1\r\nX-B: 2\r\n\r\nGET") == (DONE, 18, b"", b"X-A: 1\r\nX-B: 2\r\n")


# ---- against an oracle


@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=8),
    st.lists(st.integers(1, 90), min_size=1, max_size=60),
    st.booleans(),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_pieces_in_any_cut_come_out_as_they_went_in(http1_body, pieces, sizes, extended):
    data = chunked(*pieces, trailers=b"X-A: 1\r\n", extension=b";a=b" if extended else b"")
    sizes = [*sizes, len(data)]
    body = http1_body.Body(http1_body.CHUNKED)
    assert receive(body, data + b"next", sizes)[:3] == (DONE, b"".join(pieces), b"X-A: 1\r\n")


@given(st.integers(0, (1 << 64) - 1))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_chunk_head_is_its_size_in_hex(http1_body, size):
    assert http1_body.chunk_head(size) == b"%x\r\n" % size


def test_struct_is_small(http1_body):
    assert http1_body.BODY_STRUCT_BYTES <= 48
