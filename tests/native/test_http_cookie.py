# SPDX-License-Identifier: Apache-2.0
"""Cookies are read as HAProxy 2.6 reads them (each row of the tables was measured), and taken out alone."""

import importlib.util
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FUZZ = pathlib.Path(__file__).resolve().parents[1] / "fuzz" / "cookies.py"
spec = importlib.util.spec_from_file_location("fuzz_cookies", FUZZ)
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)


@pytest.fixture(scope="session")
def cookies(native):
    return native("http_cookie")


def request(*values: bytes, name: bytes = b"Cookie") -> bytes:
    lines = b"".join(name + b": " + value + b"\r\n" for value in values)
    return b"GET /x HTTP/1.1\r\nHost: a\r\n" + lines + b"Accept: */*\r\n\r\n"


def response(*fields: bytes, status: int = 200) -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 %d X\r\n" % status + lines + b"Content-Length: 0\r\n\r\n"


def field_values(head: bytes, name: bytes) -> list[bytes]:
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip(b" \t") for found, _, value in lines if found.lower() == name.lower()]


# A Cookie field, what SRV is in it, and what is left without it.
REQUESTS = [
    (b"SRV=id1", [b"id1"], None),
    (b"a=1; SRV=id1; b=2", [b"id1"], b"a=1; b=2"),
    (b"SRV=id1; b=2", [b"id1"], b"b=2"),
    (b"a=1; SRV=id1", [b"id1"], b"a=1"),
    (b"a=1;SRV=id1;b=2", [b"id1"], b"a=1;b=2"),
    (b"a=1 ; SRV = id1 ; b=2", [b"id1"], b"a=1 ; b=2"),
    (b"a=1;\tSRV=id1;\tb=2", [b"id1"], b"a=1;\tb=2"),
    (b"SRV=id1  ;", [b"id1"], None),
    (b"a=1;  SRV=id1;", [b"id1"], b"a=1;"),
    (b'SRV="id1"; b=2', [b'"id1"'], b"b=2"),
    (b'a="; SRV=id1; "; b=1', [], None),
    (b'a=\\"; SRV=id1; b="', [], None),
    (b'a="\\"; SRV=id1"; SRV=id2', [b"id2"], b'a="\\"; SRV=id1"'),
    (b'a="\\\\"; SRV=id1', [b"id1"], b'a="\\\\"'),
    (b'SRV="; SRV=id1', [b'"; SRV=id1'], None),
    (b"SRV=; a=1", [b""], b"a=1"),
    (b"a=1; SRV=", [b""], b"a=1"),
    (b"SRV=", [b""], None),
    (b"a=1, SRV=id1, b=2", [b"id1"], b"a=1, b=2"),
    (b"SRV=id1, b=2", [b"id1"], b"b=2"),
    (b"SRV=id2; SRV=id1", [b"id2", b"id1"], None),
    (b"a=1; SRV=id2; c=3; SRV=id1; d=4", [b"id2", b"id1"], b"a=1; c=3; d=4"),
    (b"$Version=1; SRV=id1; $Path=/; $Port; a=1; $Path=/x", [b"id1"], b"$Version=1; a=1; $Path=/x"),
    (b"SRV", [], None),
    (b"SRV; a=1", [], None),
    (b"srv=id1", [], None),
    (b"SRV2=id1; xSRV=1; S RV=2", [], None),
    (b"a b SRV=id1; c=d", [], None),
    (b"a=b=c; SRV=id1=x", [b"id1=x"], b"a=b=c"),
    (b"SRV=id1 x; a=1", [b"id1 x"], b"a=1"),
    (b"=x; SRV=id1", [b"id1"], b"=x"),
    (b"a;SRV=id1;b", [b"id1"], b"a;b"),
    (b"a=1;; SRV=id1;; b=1", [b"id1"], b"a=1;;; b=1"),
    (b"$SRV=id1", [], None),
    (b";", [], None),
    (b"", [], None),
    (b"=", [], None),
]


@pytest.mark.parametrize(("value", "found", "left"), REQUESTS)
def test_a_request_cookie_is_read_as_haproxy_reads_it(cookies, value, found, left):
    head = request(value)
    assert cookies.find_all(head, b"SRV") == found
    assert cookies.find(head, b"SRV") == (found[0] if found else None)
    filled = [one for one in found if one]
    assert cookies.find_last(head, b"SRV") == (filled[-1] if filled else None)


@pytest.mark.parametrize(("value", "found", "left"), REQUESTS)
def test_a_cookie_is_taken_out_and_the_others_stay_byte_for_byte(cookies, value, found, left):
    written, extras, _ = cookies.remove(request(value), b"SRV")
    if not found:
        assert field_values(written, b"cookie") == [value]
    else:
        assert field_values(written, b"cookie") == ([] if left is None else [left])
    assert extras == (left is not None)
    assert field_values(written, b"accept") == [b"*/*"]


def test_a_name_that_begins_with_a_dollar_is_nobodys(cookies):
    assert cookies.find(request(b"$SRV=id1"), b"$SRV") is None


def test_cookies_of_several_fields_keep_their_order(cookies):
    head = request(b"a=1", b"SRV=id1; b=2", b"c=3", b"SRV=id2", b"d=4; SRV=id3")
    assert cookies.find_all(head, b"SRV") == [b"id1", b"id2", b"id3"]
    written, extras, used = cookies.remove(head, b"SRV")
    assert field_values(written, b"cookie") == [b"a=1", b"b=2", b"c=3", b"d=4"]
    assert extras == 3
    assert used == len(b"b=2") + len(b"d=4")


def test_a_field_that_held_nothing_else_moves_no_other(cookies):
    head = request(b"a=1", b"SRV=id1", b"b=2")
    written, extras, used = cookies.remove(head, b"SRV")
    assert written == request(b"a=1", b"b=2")
    assert (extras, used) == (0, 0)


def test_a_request_without_the_cookie_is_written_as_it_came(cookies):
    head = request(b"a=1; b=2", b'x="SRV=1"')
    assert cookies.remove(head, b"SRV") == (head, 0, 0)


def test_a_fields_name_is_written_as_the_client_wrote_it(cookies):
    written, _, _ = cookies.remove(request(b"SRV=id1; b=2", name=b"cOOKIE"), b"SRV")
    assert b"\r\ncOOKIE: b=2\r\n" in written


def test_a_cookie_field_that_is_not_sent_on_is_not_read(cookies):
    head = request(b"SRV=id1").replace(b"Accept: */*", b"Connection: cookie")
    assert cookies.find(head, b"SRV") is None
    written, extras, _ = cookies.remove(head, b"SRV")
    assert (field_values(written, b"cookie"), extras) == ([], 0)


@pytest.mark.parametrize("room", [{"capacity": 7}, {"capacity": 0}, {"extra_capacity": 0}])
def test_without_room_for_the_rest_a_field_stays_as_it_is(cookies, room):
    head = request(b"a=1; SRV=id1")
    assert cookies.remove(head, b"SRV", **room) == (head, 0, 0)


def test_fields_behind_the_last_that_there_is_room_for_stay(cookies):
    head = request(b"SRV=id1; a=1", b"SRV=id2; b=2", b"SRV=id3; c=3")
    written, extras, _ = cookies.remove(head, b"SRV", extra_capacity=2)
    assert sorted(field_values(written, b"cookie")) == [b"SRV=id3; c=3", b"a=1", b"b=2"]
    assert extras == 2


def test_as_many_bytes_as_the_head_has_are_room_enough(cookies):
    head = request(*[b"a=%d; SRV=id; b=2" % n for n in range(90)])
    written, extras, used = cookies.remove(head, b"SRV", capacity=len(head))
    assert field_values(written, b"cookie") == [b"a=%d; b=2" % n for n in range(90)]
    assert extras == 90
    assert used < len(head)


# What a response's Set-Cookie fields hold, what APP_COOKIE learns of it, and which of the fields set the cookie.
RESPONSES = [
    ([b"SRV=abc; Path=/"], b"abc", [0]),
    ([b"SRV=abc"], b"abc", [0]),
    ([b" SRV = sp ; x"], b"sp", [0]),
    ([b"SRV=; Path=/"], None, [0]),
    ([b"SRV="], None, [0]),
    ([b"SRV"], None, []),
    ([b"srv=1"], None, []),
    ([b"a=1", b"SRV=two"], b"two", [1]),
    ([b"SRV=one", b"SRV=two"], b"two", [0, 1]),
    ([b"SRV=one", b"SRV="], b"one", [0, 1]),
    ([b'SRV="q;q"; Path=/'], b'"q;q"', [0]),
    ([b"SRV=a,b; x"], b"a", [0]),
    ([b"SRV=a b c; x"], b"a b c", [0]),
    ([b'SRV="abc"'], b'"abc"', [0]),
    ([b"a=1; SRV=x"], None, []),
    ([b"; SRV=x"], None, []),
    ([b"$SRV=1"], None, []),
    ([b""], None, []),
]


@pytest.mark.parametrize(("values", "learnt", "setting"), RESPONSES)
def test_a_response_cookie_is_read_as_haproxy_reads_it(cookies, values, learnt, setting):
    head = response(*[b"Set-Cookie: " + value for value in values])
    assert cookies.set_cookie(head, b"SRV") == learnt
    kept = [value.strip(b" ") for n, value in enumerate(values) if n not in setting]
    assert field_values(cookies.drop_set_cookie(head, b"SRV"), b"set-cookie") == kept


def test_a_response_field_holds_one_cookie_whatever_its_commas(cookies):
    """HAProxy's res.cook splits at them, which RFC 6265 section 3 forbids; its cookie insertion does not either."""
    head = response(b"Set-Cookie: a=1, SRV=x")
    assert cookies.set_cookie(head, b"SRV") is None
    assert cookies.drop_set_cookie(head, b"SRV") == head


def test_dropping_a_cookie_leaves_everything_else_as_it_was(cookies):
    head = response(b"Server: x", b"Set-Cookie: a=1", b"Set-Cookie: SRV=1; path=/", b"X:y")
    left = response(b"Server: x", b"Set-Cookie: a=1", b"X: y")
    assert cookies.drop_set_cookie(head, b"SRV") == left
    assert cookies.drop_set_cookie(left, b"SRV") == left


CACHEABLE = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501]


@pytest.mark.parametrize("field", [b"Cache-Control: max-age=9", b'ETag: "a"'])
def test_the_statuses_of_cacheable_responses(cookies, field):
    assert [code for code in range(200, 600) if cookies.cacheable(response(field, status=code))] == CACHEABLE


@pytest.mark.parametrize(
    ("method", "cacheable"),
    [("GET", True), ("HEAD", True), ("OPTIONS", True), ("TRACE", True)]
    + [(method, False) for method in ("POST", "PUT", "DELETE", "PATCH", "OTHER")],
)
def test_the_methods_whose_responses_are_cacheable(cookies, method, cacheable):
    assert cookies.cacheable(response(b"ETag: x"), method) == cacheable


# As measured at HAProxy 2.6, but for those with "public" alone, to which it adds nothing.
DIRECTIVES = [
    ([], False),
    ([b"Expires: 0"], True),
    ([b"EXPIRES: Thu, 01 Jan 1970 00:00:00 GMT"], True),
    ([b"Expires:"], True),
    ([b'ETag: W/"x"'], True),
    ([b"Last-Modified: x"], True),
    ([b"Content-Location: x"], False),
    ([b"Cache-Control: public"], True),
    ([b"Cache-Control: PUBLIC"], True),
    ([b"Cache-Control: publicx"], False),
    ([b"Cache-Control: private"], False),
    ([b"Cache-Control: no-cache"], False),
    ([b"Cache-Control: no-store"], False),
    ([b"Cache-Control: max-age=0"], False),
    ([b"Cache-Control: s-maxage=0"], False),
    ([b"Cache-Control: Max-Age=1"], True),
    ([b"Cache-Control: max-age=05"], True),
    ([b"Cache-Control: max-age"], True),
    ([b"Cache-Control: s-maxage=1"], True),
    ([b'Cache-Control: no-cache="set-cookie"'], False),
    ([b'Cache-Control: no-cache="Set-Cookie", max-age=3'], True),
    ([b'Cache-Control: private="x", max-age=3'], True),
    ([b"Cache-Control: no-store=x, max-age=1"], True),
    ([b"Cache-Control: no-cachex, max-age=1"], True),
    ([b"Cache-Control: max-age=3, private"], False),
    ([b"Cache-Control: max-age=3 , NO-STORE ,x"], False),
    ([b"Cache-Control: public, no-store"], False),
    ([b"Cache-Control: no-store,public"], False),
    ([b"Cache-Control: private", b"Cache-Control: public"], False),
    ([b"Cache-Control: private", b"ETag: x"], False),
    ([b"Cache-Control: must-revalidate"], False),
    ([b"Cache-Control: no-transform", b"ETag: x"], True),
    ([b"Cache-Control: max-age=0", b"ETag: x"], False),
    ([b"Cache-Control: max-age=0, s-maxage=5"], False),
    ([b"Cache-Control: max-age=5, s-maxage=0"], False),
    ([b'Cache-Control: x="a, private", max-age=2'], True),
    ([b'Cache-Control: x="a\\", private", max-age=2'], True),
    ([b"Pragma: no-cache", b"ETag: x"], False),
    ([b"Cache-Control: max-age=3", b"Pragma: No-Cache"], False),
    ([b"Pragma: x", b"ETag: x"], True),
    ([b"Vary: *", b"ETag: x"], True),
    ([b"Set-Cookie: a=1", b"ETag: x"], True),
]


@pytest.mark.parametrize(("fields", "cacheable"), DIRECTIVES)
def test_what_makes_a_response_cacheable(cookies, fields, cacheable):
    assert cookies.cacheable(response(*fields)) == cacheable


# ---- against the oracle of the fuzz target

piece = st.sampled_from(
    [b"SRV", b"a", b"$x", b"=", b";", b",", b" ", b"\t", b'"', b"\\", b"v1", b"SRV=id", b"; "]
)
soup = st.lists(piece, max_size=24).map(lambda pieces: b"".join(pieces).strip(b" \t"))


@settings(max_examples=400, deadline=None)
@given(st.lists(soup, min_size=1, max_size=4))
def test_any_cookie_fields_are_read_as_the_oracle_reads_them(cookies, values):
    assert cookies.find_all(request(*values), b"SRV") == oracle.found_in(values)


@settings(max_examples=400, deadline=None)
@given(st.lists(soup, min_size=1, max_size=4))
def test_what_is_taken_out_of_any_cookie_fields_is_the_cookie_alone(cookies, values):
    written, _, _ = cookies.remove(request(*values), b"SRV")
    assert [field for field in field_values(written, b"cookie") if field] == oracle.left_of(values)
    assert field_values(written, b"host") == [b"a"]
    assert field_values(written, b"accept") == [b"*/*"]


@settings(max_examples=200, deadline=None)
@given(st.lists(soup, min_size=1, max_size=3))
def test_any_response_cookies_are_read_as_the_oracle_reads_them(cookies, values):
    head = response(*[b"Set-Cookie: " + value for value in values])
    sets = [oracle.set_by(value) for value in values]
    filled = [one for one in sets if one]
    assert cookies.set_cookie(head, b"SRV") == (filled[-1] if filled else None)
    kept = [value for value, one in zip(values, sets, strict=True) if one is None]
    assert field_values(cookies.drop_set_cookie(head, b"SRV"), b"set-cookie") == kept
