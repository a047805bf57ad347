# SPDX-License-Identifier: Apache-2.0
"""HTTP probes: the request is HAProxy's, the status line is read strictly, codes match as a whole."""

import errno

import pytest


@pytest.fixture(scope="module")
def probe_http(native):
    return native("probe_http")


def test_request_without_a_version_is_1_0_without_host(probe_http):
    assert probe_http.request(b"GET", b"/path") == b"GET /path HTTP/1.0\r\n\r\n"
    assert probe_http.request(b"GET", b"/path", 10) == b"GET /path HTTP/1.0\r\n\r\n"


def test_request_1_1_asks_for_the_close_and_has_no_host_of_its_own(probe_http):
    assert probe_http.request(b"GET", b"/", 11) == b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"


def test_domain_name_is_the_host(probe_http):
    assert (
        probe_http.request(b"HEAD", b"/a?b=1", 11, b"www.example.com")
        == b"HEAD /a?b=1 HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"TRACE", b"CONNECT"])
def test_method_that_usually_has_a_body_says_that_there_is_none(probe_http, method):
    assert probe_http.request(method, b"/") == method + b" / HTTP/1.0\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS"])
def test_other_methods_say_nothing_of_a_length(probe_http, method):
    assert probe_http.request(method, b"/") == method + b" / HTTP/1.0\r\n\r\n"


def test_fragment_is_not_sent(probe_http):
    assert probe_http.request(b"GET", b"/a?b=1#top") == b"GET /a?b=1 HTTP/1.0\r\n\r\n"


def test_request_longer_than_its_room_is_refused_at_every_length(probe_http):
    whole = probe_http.request(b"POST", b"/some/path", 11, b"example.com")
    for capacity in range(len(whole)):
        assert probe_http.request(b"POST", b"/some/path", 11, b"example.com", capacity) == -errno.ENOSPC
    assert probe_http.request(b"POST", b"/some/path", 11, b"example.com", len(whole)) == whole


@pytest.mark.parametrize(
    ("method", "path", "version", "domain"),
    [
        (b"", b"/", 11, b""),
        (b"GET", b"", 11, b""),
        (b"GET", b"path", 11, b""),
        (b"GET", b"/", 20, b""),
        (b"GET /evil", b"/", 11, b""),
        (b"GET", b"/ HTTP/1.1\r\nX: y", 11, b""),
        (b"GET", b"/\x00", 11, b""),
        (b"GET", b"/", 11, b"a\r\nX: y"),
        (b"GET", b"/", 11, b"a b"),
        (b"GET", b"/", 11, b"a\x7f"),
    ],
)
def test_what_would_make_another_request_is_refused(probe_http, method, path, version, domain):
    assert probe_http.request(method, path, version, domain) == -errno.EINVAL


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 200 OK", 200),
        (b"HTTP/1.0 404 Not Found\r\n", 404),
        (b"HTTP/1.1 503\r\n", 503),
        (b"HTTP/1.1 204\n", 204),
        (b"HTTP/1.7 100 ", 100),
        (b"HTTP/1.1 999 ", 999),
    ],
)
def test_status_line_is_read(probe_http, line, status):
    assert probe_http.status(line) == status


def test_status_line_is_waited_for_byte_by_byte(probe_http):
    line = b"HTTP/1.1 200 "
    assert [probe_http.status(line[:n]) for n in range(len(line))] == [0] * len(line)
    assert probe_http.status(line) == 200


@pytest.mark.parametrize(
    "line",
    [
        b"SSH-2.0-OpenSSH",
        b"http/1.1 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/11 200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 2x0 OK",
        b"HTTP/1.x 200 OK",
        b"\r\nHTTP/1.1 200",
        b"\x00",
        b"<html>",
    ],
)
def test_anything_else_is_malformed(probe_http, line):
    assert probe_http.status(line) == -1


def test_wrong_byte_is_told_as_soon_as_it_is_there(probe_http):
    good = b"HTTP/1.1 200 "
    for at in range(len(good)):
        assert probe_http.status(good[:at] + b"!") == -1, at


def test_codes_are_inclusive_ranges_over_100_to_999(probe_http):
    assert probe_http.codes((200, 200)) == [200]
    assert probe_http.codes((200, 204), (301, 301)) == [200, 201, 202, 203, 204, 301]
    assert probe_http.codes((0, 5000)) == list(range(100, 1000))
    assert probe_http.codes((204, 200)) == []
    assert probe_http.codes((163, 164), (999, 999)) == [163, 164, 999]
