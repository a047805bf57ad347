# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 heads written anew from what was parsed, and our own short answers.

What goes out is the serialisation of the parsed head: first line with our version (9110 2.5), each field that is not
dropped as `Name: value` CRLF in the order it came, our own framing and Connection fields, the caller's fields. Lines that
already read so are copied in runs: that is the same bytes. Nothing is written unless all of it is sure to fit: a head
takes at most `http1_write_room` bytes.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen
from fastlb.core.bytes cimport span_t
from fastlb.core.http1_head cimport (
    HTTP1_CHUNKED, HTTP1_LENGTH, http1_field_t, http1_head_t,
)
from fastlb.core.http1_tables cimport (
    HTTP1_FIELD_CONTENT_LENGTH, HTTP1_FIELD_OTHER, http1_lookup, http1_same,
)

cdef extern from "fastlb/core/http1_tables.h" nogil:
    ctypedef struct http1_answer_t:
        uint16_t status
        const char *reason
        const char *text

    const http1_answer_t *http1_answer_of(uint32_t status) noexcept

cdef enum http1_connection_t:        # what our Connection field says to a client
    HTTP1_CONN_DEFAULT = 0           # nothing: HTTP/1.1 stays open
    HTTP1_CONN_KEEP_ALIVE = 1        # to a client of HTTP/1.0 that asked for it
    HTTP1_CONN_CLOSE = 2
    HTTP1_CONN_UPGRADE = 3           # a 101, with the Upgrade field of the member

cdef enum http1_extra_mode_t:
    HTTP1_EXTRA_ADD = 0              # one more field
    HTTP1_EXTRA_SET = 1              # instead of all fields of that name
    HTTP1_EXTRA_REMOVE = 2           # no field of that name; `value` is not looked at

cdef enum:
    HTTP1_WRITE_ROOM = 192           # framing, Connection, TE, an empty Host, the first line's growth

cdef struct http1_extra_t:           # name and value are the caller's, and right: nothing is checked here
    span_t name
    span_t value
    uint8_t mode                     # http1_extra_mode_t


cdef inline uint32_t http1_write_room(const http1_head_t *head, const http1_extra_t *extras, uint32_t count) noexcept nogil:
    """Bytes that a head surely fits in. Each field may gain the SP behind its colon; the rest is ours."""
    cdef uint32_t room = head.length + head.count + HTTP1_WRITE_ROOM
    cdef uint32_t i
    for i in range(count):
        room += extras[i].name.length + extras[i].value.length + 4
    return room


cdef inline uint32_t http1_put(uint8_t *out, uint32_t at, const void *data, uint32_t length) noexcept nogil:
    memcpy(out + at, data, length)
    return at + length


cdef inline uint32_t http1_put_number(uint8_t *out, uint32_t at, uint64_t value) noexcept nogil:
    cdef uint8_t digits[20]
    cdef uint32_t n = 0
    while True:
        digits[19 - n] = <uint8_t>(c'0' + value % 10)
        n += 1
        value = value // 10
        if value == 0:
            break
    return http1_put(out, at, &digits[20 - n], n)


cdef inline uint32_t http1_put_line(
    uint8_t *out, uint32_t at, const uint8_t *name, uint32_t name_length, const uint8_t *value, uint32_t value_length
) noexcept nogil:
    at = http1_put(out, at, name, name_length)
    out[at] = c':'
    at += 1
    if value_length != 0:
        out[at] = c' '
        at = http1_put(out, at + 1, value, value_length)
    out[at] = c'\r'
    out[at + 1] = c'\n'
    return at + 2


cdef inline uint32_t http1_put_field(uint8_t *out, uint32_t at, const http1_head_t *head, const http1_field_t *f) noexcept nogil:
    cdef const uint8_t *value = head.base + f.value_offset
    cdef uint32_t length = f.value_length
    if f.id == HTTP1_FIELD_CONTENT_LENGTH:
        while length > 1 and value[0] == c'0':
            value += 1
            length -= 1
    return http1_put_line(out, at, head.base + f.name_offset, f.name_length, value, length)


cdef inline void http1_mark_replaced(
    const http1_head_t *head, const http1_extra_t *extra, uint64_t *skip
) noexcept nogil:
    """Note the fields that this extra stands for, a bit each."""
    cdef uint32_t id = http1_lookup(extra.name.data, 0, extra.name.length, extra.name.length)
    cdef uint32_t i
    cdef const http1_field_t *f
    for i in range(head.count):
        f = &head.fields[i]
        if f.id == id and f.name_length == extra.name.length:
            if id != HTTP1_FIELD_OTHER or http1_same(head.base + f.name_offset, extra.name.data, f.name_length):
                skip[i >> 6] |= <uint64_t>1 << (i & 63)


cdef inline uint32_t http1_put_fields(
    const http1_head_t *head, uint8_t *out, uint32_t at, uint32_t start, const uint64_t *skip, bint ended
) noexcept nogil:
    """The bytes from `start` (the first line's or the first field's offset) on, less what is dropped or marked in `skip`;
    the empty line too if `ended`."""
    cdef uint32_t run = start        # what is not yet copied starts here
    cdef uint32_t i, end
    cdef const http1_field_t *f
    cdef bint marked
    for i in range(head.count):
        f = &head.fields[i]
        marked = (skip[i >> 6] >> (i & 63)) & 1
        if f.verbatim and not marked:
            continue
        if f.name_offset > run:
            at = http1_put(out, at, head.base + run, f.name_offset - run)
        if not f.drop and not marked:
            at = http1_put_field(out, at, head, f)
        run = head.fields[i + 1].name_offset
    end = head.length if ended else head.length - 2
    if end > run:
        at = http1_put(out, at, head.base + run, end - run)
    return at


cdef inline uint32_t http1_put_extras(
    uint8_t *out, uint32_t at, const http1_extra_t *extras, uint32_t count
) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        if extras[i].mode != HTTP1_EXTRA_REMOVE:
            at = http1_put_line(
                out, at, extras[i].name.data, extras[i].name.length, extras[i].value.data, extras[i].value.length)
    return at


cdef inline uint32_t http1_write_request(
    const http1_head_t *head, uint8_t *out, uint32_t capacity, const http1_extra_t *extras, uint32_t extra_count
) noexcept nogil:
    """The request head for a member, with the framing of `head`; how many bytes, 0 if `capacity` is below http1_write_room.

    Host is the authority of an absolute target, else the client's, else empty (HTTP/1.0 without one; 3.2), unless an extra
    sets it. `Upgrade` goes on only if `head.upgrade`, `TE` only as `trailers`, each with its Connection option.
    """
    cdef uint64_t skip[2]
    cdef uint32_t at = 0
    cdef uint32_t start = head.line_offset
    cdef uint32_t i
    cdef bint ours = head.framing == HTTP1_CHUNKED or head.upgrade or head.te_trailers or extra_count != 0
    cdef bint host = head.hosts != 0 and not head.host_replaced
    if capacity < http1_write_room(head, extras, extra_count):
        return 0
    skip[0] = 0
    skip[1] = 0
    for i in range(extra_count):
        if extras[i].mode != HTTP1_EXTRA_ADD:
            http1_mark_replaced(head, &extras[i], skip)
            if extras[i].name.length == 4 and http1_same(extras[i].name.data, <const uint8_t *><const char *>b"host", 4):
                host = 1
    if not head.line_verbatim:
        at = http1_put(out, at, head.method_text.data, head.method_text.length)
        out[at] = c' '
        at = http1_put(out, at + 1, head.target.data, head.target.length)
        at = http1_put(out, at, b" HTTP/1.1\r\n", 11)
        start = head.fields[0].name_offset
    if not host:
        # Without a Host of its own the first line is not verbatim either: it is 1.0, or its target absolute.
        at = http1_put_line(
            out, at, <const uint8_t *><const char *>b"Host", 4, head.authority.data, head.authority.length)
    at = http1_put_fields(head, out, at, start, skip, not ours)
    if not ours:
        return at
    if head.framing == HTTP1_CHUNKED:
        at = http1_put(out, at, b"Transfer-Encoding: chunked\r\n", 28)
    if head.upgrade:
        at = http1_put_line(
            out, at, <const uint8_t *><const char *>b"Upgrade", 7, head.upgrade_protocol.data, head.upgrade_protocol.length)
    if head.te_trailers:
        at = http1_put(out, at, b"TE: trailers\r\n", 14)
    if head.upgrade and head.te_trailers:
        at = http1_put(out, at, b"Connection: Upgrade, TE\r\n", 25)
    elif head.upgrade:
        at = http1_put(out, at, b"Connection: Upgrade\r\n", 21)
    elif head.te_trailers:
        at = http1_put(out, at, b"Connection: TE\r\n", 16)
    at = http1_put_extras(out, at, extras, extra_count)
    return http1_put(out, at, b"\r\n", 2)


cdef inline uint8_t http1_connection(bint close, uint8_t client_minor) noexcept nogil:
    """What a response says to a client of HTTP/1.`client_minor`. One of HTTP/1.0 takes the connection to end unless it is
    told that it stays, and waits for that end."""
    if close:
        return HTTP1_CONN_CLOSE
    return HTTP1_CONN_DEFAULT if client_minor else HTTP1_CONN_KEEP_ALIVE


cdef inline uint32_t http1_put_connection(uint8_t *out, uint32_t at, uint8_t connection) noexcept nogil:
    if connection == HTTP1_CONN_CLOSE:
        return http1_put(out, at, b"Connection: close\r\n", 19)
    if connection == HTTP1_CONN_KEEP_ALIVE:
        return http1_put(out, at, b"Connection: keep-alive\r\n", 24)
    return at


cdef inline uint32_t http1_write_response(
    const http1_head_t *head, uint8_t *out, uint32_t capacity, uint8_t framing_out, uint8_t connection,
    const http1_extra_t *extras, uint32_t extra_count
) noexcept nogil:
    """The response head for a client; how many bytes, 0 if `capacity` is below http1_write_room.

    `framing_out` says how the body will be sent: with a length (the member's, or `head.body_bytes`), chunked, or neither.
    The answer to a HEAD and a 304 keep the member's Content-Length, which speaks of a body that is not there (9110 8.6).
    A 426 keeps its Upgrade field (9110 15.5.22).
    """
    cdef uint64_t skip[2]
    cdef uint32_t at = 0
    cdef uint32_t start = 0
    cdef uint32_t i
    cdef bint upgrade = head.upgrade and (connection == HTTP1_CONN_UPGRADE or head.status == 426)
    cdef bint keep_length = head.lengths != 0 and framing_out == head.framing
    cdef bint write_length = framing_out == HTTP1_LENGTH and not keep_length
    cdef bint ours = (upgrade or write_length or framing_out == HTTP1_CHUNKED or connection != HTTP1_CONN_DEFAULT
                      or extra_count != 0)
    if capacity < http1_write_room(head, extras, extra_count):
        return 0
    skip[0] = 0
    skip[1] = 0
    if head.lengths != 0 and not keep_length:
        skip[head.length_field >> 6] |= <uint64_t>1 << (head.length_field & 63)
    for i in range(extra_count):
        if extras[i].mode != HTTP1_EXTRA_ADD:
            http1_mark_replaced(head, &extras[i], skip)
    if not head.line_verbatim:
        at = http1_put(out, at, b"HTTP/1.1 ", 9)
        start = 9
    at = http1_put_fields(head, out, at, start, skip, not ours)
    if not ours:
        return at
    if framing_out == HTTP1_CHUNKED:
        at = http1_put(out, at, b"Transfer-Encoding: chunked\r\n", 28)
    elif write_length:
        at = http1_put(out, at, b"Content-Length: ", 16)
        at = http1_put_number(out, at, head.body_bytes)
        at = http1_put(out, at, b"\r\n", 2)
    if upgrade:
        at = http1_put_line(
            out, at, <const uint8_t *><const char *>b"Upgrade", 7, head.upgrade_protocol.data, head.upgrade_protocol.length)
        if connection == HTTP1_CONN_CLOSE:
            at = http1_put(out, at, b"Connection: Upgrade, close\r\n", 28)
        else:
            at = http1_put(out, at, b"Connection: Upgrade\r\n", 21)
    else:
        at = http1_put_connection(out, at, connection)
    at = http1_put_extras(out, at, extras, extra_count)
    return http1_put(out, at, b"\r\n", 2)


# ---- our own answers

cdef inline uint32_t http1_put_text(uint8_t *out, uint32_t at, const char *text) noexcept nogil:
    return http1_put(out, at, text, <uint32_t>strlen(text))


cdef inline uint32_t http1_write_answer(
    uint8_t *out, uint32_t capacity, uint16_t status, uint8_t connection, bint head_only
) noexcept nogil:
    """A whole answer of our own, with its length; how many bytes, 0 if it does not fit. A status that has no text gets the
    500's. `head_only`: to a HEAD, the same head without the body. 512 bytes are enough for any."""
    cdef const http1_answer_t *answer = http1_answer_of(status)
    cdef uint32_t titled = <uint32_t>strlen(answer.reason) + 4
    cdef uint32_t body = titled + <uint32_t>strlen(answer.text) + 38
    cdef uint32_t at = 0
    if capacity < body + titled + 160:
        return 0
    at = http1_put(out, at, b"HTTP/1.1 ", 9)
    at = http1_put_number(out, at, answer.status)
    out[at] = c' '
    at = http1_put_text(out, at + 1, answer.reason)
    at = http1_put(out, at, b"\r\nContent-Length: ", 18)
    at = http1_put_number(out, at, body)
    at = http1_put(out, at, b"\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n", 52)
    at = http1_put_connection(out, at, connection)
    at = http1_put(out, at, b"\r\n", 2)
    if head_only:
        return at
    at = http1_put(out, at, b"<html><body><h1>", 16)
    at = http1_put_number(out, at, answer.status)
    out[at] = c' '
    at = http1_put_text(out, at + 1, answer.reason)
    at = http1_put(out, at, b"</h1>\n", 6)
    at = http1_put_text(out, at, answer.text)
    return http1_put(out, at, b"\n</body></html>\n", 16)


cdef inline const char *http1_redirect_reason(uint16_t status) noexcept nogil:
    if status == 301:
        return b"Moved Permanently"
    if status == 303:
        return b"See Other"
    if status == 307:
        return b"Temporary Redirect"
    if status == 308:
        return b"Permanent Redirect"
    return b"Found"


cdef inline uint32_t http1_write_redirect(
    uint8_t *out, uint32_t capacity, uint16_t status, const span_t *location, const span_t *rest, uint8_t connection
) noexcept nogil:
    """An empty answer that names another place, `location` followed by `rest`; how many bytes, 0 if it does not fit.
    As HAProxy has it, a permanent redirect may be cached."""
    cdef uint32_t at = 0
    if capacity < location.length + rest.length + 192:
        return 0
    at = http1_put(out, at, b"HTTP/1.1 ", 9)
    at = http1_put_number(out, at, status)
    out[at] = c' '
    at = http1_put_text(out, at + 1, http1_redirect_reason(status))
    at = http1_put(out, at, b"\r\nContent-Length: 0\r\nLocation: ", 31)
    at = http1_put(out, at, location.data, location.length)
    at = http1_put(out, at, rest.data, rest.length)
    at = http1_put(out, at, b"\r\n", 2)
    if status != 301 and status != 308:
        at = http1_put(out, at, b"Cache-Control: no-cache\r\n", 25)
    at = http1_put_connection(out, at, connection)
    return http1_put(out, at, b"\r\n", 2)
