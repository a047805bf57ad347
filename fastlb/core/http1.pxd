# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 heads: bytes in, spans and a verdict out; no sockets, no memory of its own.

Strict where two readers could differ (RFC 9112 11.2): what is doubtful is refused, never repaired. A head is read from
one contiguous buffer, nothing of it is copied, and every span points into that buffer. Sections are of RFC 9112 unless
9110 or 3986 stands before them. A request's refusal is answered with the status given here and closes its connection;
any refusal of a response is a 502 and closes the member's connection.

    400   a line end other than CRLF (2.2: a lone LF may be taken, but need not be); a lone CR (2.2); a control byte in a
          value (9110 5.5; HTAB is none); a name that is no token, whitespace before its colon (5.1: must, in a request),
          whitespace at a line's start, which is either obs-fold or a trick (2.2, 5.2); more than four empty lines before
          the request line (2.2)
    400   anything but `method SP target SP HTTP/1.x` (3); a target of a form that its method does not have (3.2); another
          scheme than http and https; a fragment (3986 3.5: never sent); user information (9110 4.2.4);
          `http://host?query`, since its path is empty and no slice of the buffer could be forwarded
    400   HTTP/1.1 without Host, more than one Host, one that is not empty and not host[:port] (3.2)
    400   Content-Length that is not only digits, overflows or is there twice, equal or not (6.3); with Transfer-Encoding
          (6.1); a coding list that does not end in `chunked` or names it twice or with a parameter (6.3, 7.1); any coding
          in HTTP/1.0 (6.1)
    501   a coding before chunked (6.1); CONNECT (9110 9.3.6); a method longer than any (3)
    414, 431, 505   longer than the limits say; HTTP/2 and other major versions (9110 15.6.6)

Forwarded untouched: bytes 80-FF in targets and values, unknown methods, unknown fields, unknown expectations. Not
forwarded: what is hop-by-hop (9110 7.6.1), what Connection names, names that would be read as framing, routing or
X-Forwarded-* fields by a server that takes "_" for "-".

What a caller needs of http1_head.pxd and http1_tables.pxd can be had from here as well.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp
from fastlb.core.bytes cimport span_t
from fastlb.core.http1_authority cimport http1_authority_valid
from fastlb.core.http1_fields cimport (
    http1_bad_value, http1_coding_verdict, http1_drop, http1_read_fields, http1_settle,
)
from fastlb.core.http1_head cimport *
from fastlb.core.http1_tables cimport *


# ---- the first line

cdef inline int http1_read_version(
    http1_head_t *head, uint32_t at, uint32_t end, uint8_t *minor
) noexcept nogil:
    """`HTTP/` digit `.` digit: its eight bytes, 0 for more, or a refusal."""
    cdef uint32_t i
    cdef const char *form = b"HTTP/#.#"
    for i in range(8):
        if at + i >= end:
            return 0
        if i == 5 or i == 7:
            if head.base[at + i] < c'0' or head.base[at + i] > c'9':
                return http1_refuse(head, HTTP1_ERROR_VERSION, 400)
        elif head.base[at + i] != <uint8_t>form[i]:
            return http1_refuse(head, HTTP1_ERROR_VERSION, 400)
    if head.base[at + 5] != c'1':
        return http1_refuse(head, HTTP1_ERROR_VERSION_MAJOR, 505)
    minor[0] = 0 if head.base[at + 7] == c'0' else 1
    return 8


cdef inline uint8_t http1_method_of(const uint8_t *p, uint32_t length) noexcept nogil:
    if length == 3:
        if memcmp(p, b"GET", 3) == 0:
            return HTTP1_GET
        if memcmp(p, b"PUT", 3) == 0:
            return HTTP1_PUT
    elif length == 4:
        if memcmp(p, b"POST", 4) == 0:
            return HTTP1_POST
        if memcmp(p, b"HEAD", 4) == 0:
            return HTTP1_HEAD
    elif length == 5:
        if memcmp(p, b"PATCH", 5) == 0:
            return HTTP1_PATCH
        if memcmp(p, b"TRACE", 5) == 0:
            return HTTP1_TRACE
    elif length == 6:
        if memcmp(p, b"DELETE", 6) == 0:
            return HTTP1_DELETE
    elif length == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return HTTP1_OPTIONS
        if memcmp(p, b"CONNECT", 7) == 0:
            return HTTP1_CONNECT
    return HTTP1_OTHER


cdef inline int http1_read_absolute(http1_head_t *head) noexcept nogil:
    """Absolute form (3.2.2): its authority replaces Host, the rest is the target. 0 or a refusal."""
    cdef const uint8_t *p = head.target.data
    cdef uint32_t length = head.target.length
    cdef uint32_t at = 0
    cdef uint32_t first, i
    if length > 7 and http1_is(p, b"http", 4) and memcmp(p + 4, b"://", 3) == 0:
        first = 7
    elif length > 8 and http1_is(p, b"https", 5) and memcmp(p + 5, b"://", 3) == 0:
        first = 8
    else:
        return http1_refuse(head, HTTP1_ERROR_TARGET_FORM, 400)
    at = first
    while at < length and p[at] != c'/' and p[at] != c'?':
        at += 1
    for i in range(first, at):
        if p[i] == c'@':
            return http1_refuse(head, HTTP1_ERROR_USERINFO, 400)
    if not http1_authority_valid(p + first, at - first):
        return http1_refuse(head, HTTP1_ERROR_TARGET_FORM, 400)
    if at < length and p[at] == c'?':
        return http1_refuse(head, HTTP1_ERROR_TARGET_FORM, 400)
    head.authority = http1_span(p + first, at - first)
    head.host_replaced = 1
    head.line_verbatim = 0
    if at < length:
        head.target = http1_span(p + at, length - at)
    elif head.method == HTTP1_OPTIONS:       # 3.2.4
        head.target = http1_span(<const uint8_t *><const char *>b"*", 1)
    else:
        head.target = http1_span(<const uint8_t *><const char *>b"/", 1)
    return 0


cdef inline int http1_check_target(http1_head_t *head) noexcept nogil:
    """Which of the four forms it is, and whether the method has that form. 0 or a refusal."""
    cdef const uint8_t *p = head.target.data
    cdef uint32_t length = head.target.length
    cdef uint32_t i = length
    if head.method == HTTP1_CONNECT:
        while i > 0 and c'0' <= p[i - 1] <= c'9':
            i -= 1
        if i == length or i == 0 or p[i - 1] != c':' or not http1_authority_valid(p, length):
            return http1_refuse(head, HTTP1_ERROR_TARGET_FORM, 400)
        return http1_refuse(head, HTTP1_ERROR_CONNECT, 501)
    if p[0] == c'/':
        return 0
    if length == 1 and p[0] == c'*':
        return 0 if head.method == HTTP1_OPTIONS else http1_refuse(head, HTTP1_ERROR_TARGET_FORM, 400)
    return http1_read_absolute(head)


cdef inline int http1_read_request_line(
    http1_head_t *head, uint32_t at, uint32_t end, uint32_t target_bytes
) noexcept nogil:
    """Where the field lines start, 0 for more, or a refusal."""
    cdef const uint8_t *base = head.base
    cdef uint32_t i = at
    cdef int verdict
    head.line_offset = at
    if end - at >= 4 and memcmp(base + at, b"GET ", 4) == 0:
        head.method = HTTP1_GET
        i = at + 3
    else:
        while i < end and http1_class[base[i]] & HTTP1_TOKEN:
            i += 1
        if i - at > HTTP1_METHOD_BYTES:
            return http1_refuse(head, HTTP1_ERROR_METHOD_LONG, 501)
        if i == end:
            return 0
        if base[i] != c' ' or i == at:
            if base[i] == c'\n':
                return http1_refuse(head, HTTP1_ERROR_LONE_LF, 400)
            return http1_refuse(head, HTTP1_ERROR_METHOD, 400)
        head.method = http1_method_of(base + at, i - at)
    head.method_text = http1_span(base + at, i - at)
    at = i + 1
    i = http1_skim_target(base, 0, at, end)
    if i - at > target_bytes:
        return http1_refuse(head, HTTP1_ERROR_TARGET_LONG, 414)
    if i == end:
        return 0
    if base[i] != c' ' or i == at:
        return http1_refuse(head, HTTP1_ERROR_LONE_LF if base[i] == c'\n' else HTTP1_ERROR_TARGET, 400)
    head.target = http1_span(base + at, i - at)
    at = i + 1
    if end - at >= 10 and memcmp(base + at, b"HTTP/1.1\r\n", 10) == 0:
        head.minor = 1
        head.line_verbatim = 1
    else:
        verdict = http1_read_version(head, at, end, &head.minor)
        if verdict <= 0:
            return verdict
        if at + 8 >= end:
            return 0
        if base[at + 8] != c'\r':
            return http1_refuse(head, HTTP1_ERROR_LONE_LF if base[at + 8] == c'\n' else HTTP1_ERROR_VERSION, 400)
        if at + 9 >= end:
            return 0
        if base[at + 9] != c'\n':
            return http1_refuse(head, HTTP1_ERROR_LONE_CR, 400)
    if head.method == HTTP1_CONNECT or head.target.data[0] != c'/':
        verdict = http1_check_target(head)
        if verdict < 0:
            return verdict
    return <int>(at + 10)


cdef inline int http1_read_status_line(http1_head_t *head, uint32_t end) noexcept nogil:
    """`HTTP/1.x SP 3DIGIT SP reason CRLF` (4): where the field lines start, 0 for more, or a refusal."""
    cdef const uint8_t *base = head.base
    cdef uint32_t i, stop
    cdef int verdict
    if end >= 9 and memcmp(base, b"HTTP/1.1 ", 9) == 0:
        head.minor = 1
        head.line_verbatim = 1
    else:
        verdict = http1_read_version(head, 0, end, &head.minor)
        if verdict <= 0:
            return verdict
    for i in range(8, 13):
        if i >= end:
            return 0
        if i == 8 or i == 12:
            if base[i] != c' ':
                return http1_refuse(head, HTTP1_ERROR_STATUS, 502)
        elif base[i] < (c'1' if i == 9 else c'0') or base[i] > c'9':
            return http1_refuse(head, HTTP1_ERROR_STATUS, 502)
    head.status = <uint16_t>((base[9] - c'0') * 100 + (base[10] - c'0') * 10 + (base[11] - c'0'))
    stop = http1_skim_value(base, 0, 13, end)
    if stop + 1 >= end or base[stop] != c'\r' or base[stop + 1] != c'\n':
        return 0 if stop == end else http1_bad_value(head, stop, end)
    head.reason = http1_span(base + 13, stop - 13)
    return <int>(stop + 2)


# ---- whole heads

cdef inline void http1_head_init(http1_head_t *head, const uint8_t *data) noexcept nogil:
    head.base = data
    head.length = 0
    head.error = HTTP1_ERROR_NONE
    head.method_text = http1_span(data, 0)
    head.target = http1_span(data, 0)
    head.authority = http1_span(data, 0)
    head.reason = http1_span(data, 0)
    head.upgrade_protocol = http1_span(data, 0)
    head.body_bytes = 0
    head.status = 0
    head.method = HTTP1_OTHER
    head.minor = 0
    head.framing = HTTP1_NO_BODY
    head.keep_alive = 0
    head.keep_alive_s = 0
    head.expect_continue = 0
    head.expect_other = 0
    head.upgrade = 0
    head.te_trailers = 0
    head.named = 0
    head.line_verbatim = 0
    head.host_replaced = 0
    head.options = 0
    head.coding = 0
    head.lengths = 0
    head.hosts = 0
    head.upgrades = 0
    head.line_offset = 0
    head.host_field = 0
    head.upgrade_field = 0
    head.length_field = 0
    head.count = 0


cdef inline int http1_read_host(http1_head_t *head) noexcept nogil:
    """3.2: exactly one in HTTP/1.1, at most one in 1.0. 0 or a refusal. An empty one is legal where the target has no
    authority."""
    cdef http1_field_t *f
    if head.hosts == 0:
        return http1_refuse(head, HTTP1_ERROR_HOST_MISSING, 400) if head.minor else 0
    if head.hosts != 1:
        return http1_refuse(head, HTTP1_ERROR_HOST_TWICE, 400)
    f = &head.fields[head.host_field]
    if f.value_length != 0 and not http1_authority_valid(head.base + f.value_offset, f.value_length):
        return http1_refuse(head, HTTP1_ERROR_HOST, 400)
    if head.host_replaced:
        http1_drop(head, head.host_field, HTTP1_DROP_REPLACED)
    else:
        head.authority = http1_span(head.base + f.value_offset, f.value_length)
    return 0


cdef inline int http1_read_request(
    http1_head_t *head, uint32_t end, uint32_t target_bytes, uint32_t fields
) noexcept nogil:
    cdef const uint8_t *base = head.base
    cdef uint32_t at = 0
    cdef int verdict
    while at < end and base[at] == c'\r':
        if at + 1 >= end:
            return 0
        if base[at + 1] != c'\n':
            return http1_refuse(head, HTTP1_ERROR_LONE_CR, 400)
        at += 2
        if at > 2 * HTTP1_EMPTY_LINES:
            return http1_refuse(head, HTTP1_ERROR_EMPTY_LINES, 400)
    verdict = http1_read_request_line(head, at, end, target_bytes)
    if verdict <= 0:
        return verdict
    verdict = http1_read_fields(head, <uint32_t>verdict, end, fields)
    if verdict <= 0:
        return verdict
    if http1_read_host(head) < 0:
        return -400
    if head.coding:
        if http1_coding_verdict(head) < 0:
            return -501 if head.error == HTTP1_ERROR_CODING_UNKNOWN else -400
        head.framing = HTTP1_CHUNKED
    elif head.lengths:
        head.framing = HTTP1_LENGTH
    http1_settle(head)
    return verdict


cdef inline int http1_read_response(http1_head_t *head, uint32_t end, uint32_t fields) noexcept nogil:
    cdef int verdict = http1_read_status_line(head, end)
    if verdict <= 0:
        return verdict
    verdict = http1_read_fields(head, <uint32_t>verdict, end, fields)
    if verdict <= 0:
        return verdict
    if head.coding and http1_coding_verdict(head) < 0:
        return -502
    http1_settle(head)
    if head.status < 200 or head.status == 204:
        # 6.3, 8.6 of 9110: no body, and no length either. A member that sends one may well send the body, too.
        if head.lengths:
            http1_drop(head, head.length_field, HTTP1_DROP_HOP)
        if head.coding or (head.lengths and head.body_bytes):
            head.keep_alive = 0
        head.body_bytes = 0
    elif head.method == HTTP1_HEAD or head.status == 304:
        head.body_bytes = 0
    elif head.coding:
        head.framing = HTTP1_CHUNKED
    elif head.lengths:
        head.framing = HTTP1_LENGTH
    else:
        head.framing = HTTP1_UNTIL_CLOSE
        head.keep_alive = 0
    return verdict


cdef inline int http1_parse_request(
    http1_head_t *head, const uint8_t *data, uint32_t length, const http1_limits_t *limits
) noexcept nogil:
    """> 0: the bytes of the head. 0: more are needed. < 0: minus the status to answer before closing; `head.error` says why.

    What is wrong in an incomplete head is noticed as soon as its line is there, for the most part sooner. If the buffer
    is full and the answer is 0, the head is too long for the caller: 431. `limits`: NULL for the defaults.
    """
    cdef uint32_t most = HTTP1_HEAD_BYTES
    cdef uint32_t target_bytes = HTTP1_TARGET_BYTES
    cdef uint32_t fields = HTTP1_FIELDS
    cdef int verdict
    if limits != NULL:
        most = min(limits.head_bytes, <uint32_t>HTTP1_HEAD_BYTES_MAX)
        target_bytes = limits.target_bytes
        fields = min(limits.fields, <uint32_t>HTTP1_FIELDS)
    http1_head_init(head, data)
    verdict = http1_read_request(head, min(length, most), target_bytes, fields)
    if verdict == 0 and length >= most:
        return http1_refuse(head, HTTP1_ERROR_HEAD_LONG, 431)
    return verdict


cdef inline int http1_parse_response(
    http1_head_t *head, const uint8_t *data, uint32_t length, const http1_limits_t *limits, uint8_t request_method
) noexcept nogil:
    """> 0: the bytes of the head. 0: more are needed. -502: not a response that we pass on; `head.error` says why.

    A 1xx is a head without body; what to do with it (and whether a 101 was asked for) is the caller's matter.
    """
    cdef uint32_t most = HTTP1_HEAD_BYTES
    cdef uint32_t fields = HTTP1_FIELDS
    cdef int verdict
    if limits != NULL:
        most = min(limits.head_bytes, <uint32_t>HTTP1_HEAD_BYTES_MAX)
        fields = min(limits.fields, <uint32_t>HTTP1_FIELDS)
    http1_head_init(head, data)
    head.method = request_method
    verdict = http1_read_response(head, min(length, most), fields)
    if verdict == 0 and length >= most:
        return http1_refuse(head, HTTP1_ERROR_HEAD_LONG, 502)
    return verdict if verdict >= 0 else -502


# ---- slow senders

cdef enum:
    HTTP1_SCAN_CREDIT = 1024         # bytes parsed again before any is earned: the first lines are looked at at once

cdef struct http1_scan_t:            # kept by the connection from a head's first byte to its last; starts all zero
    uint32_t scanned                 # bytes looked at; the last one may be a CR that waits for its LF
    uint32_t credit                  # bytes that may be parsed again before it would cost more than a fixed share
    uint32_t parsed                  # length at the last parse


cdef inline void http1_scan_init(http1_scan_t *scan) noexcept nogil:
    """For the next head on the connection."""
    scan.scanned = 0
    scan.credit = 0
    scan.parsed = 0


cdef inline bint http1_worth_parsing(
    http1_scan_t *scan, const uint8_t *data, uint32_t length, uint32_t head_bytes
) noexcept nogil:
    """0: this head is surely incomplete, and the parser has nothing new to complain about, so do not call it.

    `data` starts where the head starts, each time. However the bytes arrive, they are skimmed once here, and parsed at
    most about five times over: each new byte earns the right to parse four again, spent at line ends. A line that ends
    while the credit is used up is looked at with a later one, at the latest with the head's end. The first call for
    a head says 1 and looks at nothing. So does one with `head_bytes` or more, the limit that the parser was given: a buffer
    may be full then, and the parser refuses.
    """
    cdef uint32_t at = scan.scanned
    cdef uint32_t stop
    cdef bint line = 0
    cdef bint now = 0
    if scan.parsed == 0:
        # The first bytes of a head, which are all of it almost always.
        scan.parsed = length
        scan.credit = HTTP1_SCAN_CREDIT
        return length != 0
    if length >= head_bytes:
        return 1
    if length <= at:
        return 0
    scan.credit += 4 * (length - at)
    while at < length:
        stop = http1_skim_value(data, 0, at, length)
        if stop == length:
            at = length
        elif data[stop] != c'\r':
            now = 1                      # a lone LF or a control byte: refused at once
            at = length
        elif stop + 1 == length:
            at = stop                    # a CR that waits for its LF
            break
        else:
            if data[stop + 1] != c'\n' or stop == 0 or data[stop - 1] == c'\n':
                now = 1                  # a lone CR, or an empty line
            line = 1
            at = stop + 2
    scan.scanned = at
    if not now and (not line and length < 2 * scan.parsed or scan.credit < length):
        return 0
    scan.credit -= min(scan.credit, length)
    scan.parsed = length
    return 1
