# SPDX-License-Identifier: Apache-2.0
"""What an HTTP probe says and hears: its request, the status line of the answer, the codes that pass. No sockets."""
from libc.errno cimport EINVAL, ENOSPC
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from fastlb.core.bytes cimport span_t

cdef enum:
    PROBE_STATUS_BYTES = 13      # "HTTP/1.1 200" and the byte that ends the number: all of an answer that is looked at
    PROBE_STATUS_MALFORMED = -1
    PROBE_STATUS_MORE = 0
    PROBE_CODE_WORDS = 15

cdef struct probe_codes_t:       # a bit for each of 100..999
    uint64_t words[15]


cdef inline void probe_codes_add(probe_codes_t *codes, uint32_t first, uint32_t last) noexcept nogil:
    """The codes first..last pass; what lies outside 100..999 is left out."""
    cdef uint32_t code
    for code in range(max(first, 100), min(last, 999) + 1):
        codes.words[(code - 100) // 64] |= <uint64_t>1 << ((code - 100) % 64)


cdef inline bint probe_codes_have(const probe_codes_t *codes, uint32_t code) noexcept nogil:
    if code < 100 or code > 999:
        return 0
    return (codes.words[(code - 100) // 64] >> ((code - 100) % 64)) & 1


cdef inline bint probe_span_is(span_t span, const char *text, uint32_t length) noexcept nogil:
    return span.length == length and memcmp(span.data, text, length) == 0


cdef inline uint32_t probe_put(
    uint8_t *out, uint32_t at, uint32_t capacity, const void *data, uint32_t length
) noexcept nogil:
    """Where the next piece goes; beyond `capacity` once a piece did not fit."""
    if at > capacity or length > capacity - at:
        return capacity + 1
    memcpy(out + at, data, length)
    return at + length


cdef inline bint probe_span_visible(span_t span) noexcept nogil:
    """No byte that could end the request line or a field: the schema refuses these, and here they must not pass either."""
    cdef uint32_t i
    for i in range(span.length):
        if span.data[i] <= 0x20 or span.data[i] == 0x7F:
            return 0
    return 1


cdef inline int probe_http_request(
    uint8_t *out, uint32_t capacity, span_t method, span_t url_path, uint32_t http_version, span_t domain_name
) noexcept nogil:
    """Write the request; its length, -EINVAL or -ENOSPC. `http_version`: 0 or 10 is 1.0, 11 is 1.1; `domain_name` may be empty.

    HAProxy's rules, as Octavia configures it: no Host but from domain_name; a length of 0 with a method that usually has
    a body; the fragment stays here; only 1.1 has to ask for the close.
    """
    cdef uint32_t at = 0
    cdef uint32_t path_length = 0
    cdef uint32_t room = capacity if capacity < 0x7FFFFFFF else 0x7FFFFFFF
    if method.length == 0 or url_path.length == 0 or url_path.data[0] != c'/':
        return -EINVAL
    if not (probe_span_visible(method) and probe_span_visible(url_path) and probe_span_visible(domain_name)):
        return -EINVAL
    if http_version not in (0, 10, 11):
        return -EINVAL
    while path_length < url_path.length and url_path.data[path_length] != c'#':
        path_length += 1
    at = probe_put(out, at, room, method.data, method.length)
    at = probe_put(out, at, room, b" ", 1)
    at = probe_put(out, at, room, url_path.data, path_length)
    at = probe_put(out, at, room, b" HTTP/1.1\r\n" if http_version == 11 else b" HTTP/1.0\r\n", 11)
    if domain_name.length != 0:
        at = probe_put(out, at, room, b"Host: ", 6)
        at = probe_put(out, at, room, domain_name.data, domain_name.length)
        at = probe_put(out, at, room, b"\r\n", 2)
    if not (
        probe_span_is(method, b"GET", 3) or probe_span_is(method, b"HEAD", 4)
        or probe_span_is(method, b"DELETE", 6) or probe_span_is(method, b"OPTIONS", 7)
    ):
        at = probe_put(out, at, room, b"Content-Length: 0\r\n", 19)
    if http_version == 11:
        at = probe_put(out, at, room, b"Connection: close\r\n", 19)
    at = probe_put(out, at, room, b"\r\n", 2)
    if at > room:
        return -ENOSPC
    return <int>at


cdef inline int probe_http_status(const uint8_t *data, uint32_t length) noexcept nogil:
    """100..999, PROBE_STATUS_MORE or PROBE_STATUS_MALFORMED, from the first bytes of an answer (RFC 9112, 4).

    The reason may be missing with the space before it, as many small servers have it.  A wrong byte is told at once: one
    that greets as SSH does need not be waited for.
    """
    cdef const uint8_t *wanted = b"HTTP/1.x ddd"
    cdef uint32_t i
    for i in range(min(length, PROBE_STATUS_BYTES)):
        if i == 7 or 9 <= i <= 11:
            if data[i] < (c'1' if i == 9 else c'0') or data[i] > c'9':
                return PROBE_STATUS_MALFORMED
        elif i < 12:
            if data[i] != wanted[i]:
                return PROBE_STATUS_MALFORMED
        elif data[i] != c' ' and data[i] != c'\r' and data[i] != c'\n':
            return PROBE_STATUS_MALFORMED
    if length < PROBE_STATUS_BYTES:
        return PROBE_STATUS_MORE
    return (data[9] - c'0') * 100 + (data[10] - c'0') * 10 + (data[11] - c'0')
