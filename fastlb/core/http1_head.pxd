# SPDX-License-Identifier: Apache-2.0
"""A parsed HTTP/1.1 head: what http1.pxd fills in, http1_write.pxd writes and the proxy looks at."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastlb.core.bytes cimport span_t
from fastlb.core.http1_tables cimport (
    http1_is,
)
from fastlb.core.http1_tables cimport http1_is

cdef enum:
    HTTP1_FIELDS = 100
    HTTP1_HEAD_BYTES = 32768
    HTTP1_HEAD_BYTES_MAX = 65535     # offsets of a field's parts are kept in 16 bits
    HTTP1_TARGET_BYTES = 8000        # 9110 4.1
    HTTP1_METHOD_BYTES = 64
    HTTP1_EMPTY_LINES = 4
    HTTP1_OPTIONS_NAMED = 32         # names that Connection may list beside the usual ones: bounds the search for them

cdef enum http1_method_t:
    HTTP1_GET = 0
    HTTP1_HEAD = 1
    HTTP1_POST = 2
    HTTP1_PUT = 3
    HTTP1_DELETE = 4
    HTTP1_OPTIONS = 5
    HTTP1_TRACE = 6
    HTTP1_PATCH = 7
    HTTP1_CONNECT = 8
    HTTP1_OTHER = 9

cdef enum http1_framing_t:
    HTTP1_NO_BODY = 0
    HTTP1_LENGTH = 1                 # body_bytes of them, which may be 0
    HTTP1_CHUNKED = 2
    HTTP1_UNTIL_CLOSE = 3            # responses only

cdef enum http1_drop_t:              # why a field is not forwarded as it came; 0: it is
    HTTP1_DROP_HOP = 1               # hop-by-hop, or out of place
    HTTP1_DROP_NAMED = 2             # Connection names it
    HTTP1_DROP_ALIKE = 3             # its name passes for another one where "_" is read as "-"
    HTTP1_DROP_REPLACED = 4          # a Host that an absolute target overrules, a cookie that is ours

cdef enum:                           # http1_head_t.options: what the Connection fields hold
    HTTP1_OPTION_CLOSE = 1
    HTTP1_OPTION_KEEP_ALIVE = 2
    HTTP1_OPTION_UPGRADE = 4
    HTTP1_OPTION_TE = 8
    HTTP1_OPTION_NAMED = 16          # other fields
    HTTP1_OPTION_GARBLED = 32        # something that is no token: the connection is then not used again

cdef enum:                           # http1_head_t.coding: what the Transfer-Encoding fields hold
    HTTP1_CODING_SEEN = 1
    HTTP1_CODING_CHUNKED = 2         # the last one so far
    HTTP1_CODING_OTHER = 4
    HTTP1_CODING_BAD = 8

cdef struct http1_limits_t:
    uint32_t head_bytes              # at most HTTP1_HEAD_BYTES_MAX
    uint32_t target_bytes
    uint32_t fields                  # at most HTTP1_FIELDS

cdef struct http1_field_t:           # offsets are from http1_head_t.base
    uint32_t name_offset
    uint32_t value_offset            # without SP and HTAB around it
    uint16_t name_length
    uint16_t value_length
    uint8_t id                       # http1_field_id
    uint8_t drop                     # http1_drop_t
    uint8_t verbatim                 # "Name: value" CRLF as we would write it, and not dropped
    uint8_t padding

cdef struct http1_head_t:            # plain data; valid as long as the buffer behind `base` stays where it is
    const uint8_t *base
    uint32_t length                  # of the whole head, with leading empty lines and its last CRLF
    int error                        # http1_error_t, when the verdict is negative
    span_t method_text
    span_t target                    # as it is to be forwarded: origin form or "*"
    span_t authority                 # host[:port]; empty if there is none
    span_t reason                    # responses
    span_t upgrade_protocol          # the Upgrade field's value, if `upgrade`
    uint64_t body_bytes
    uint16_t status                  # responses
    uint8_t method                   # http1_method_t; in a response, that of its request
    uint8_t minor                    # 0 or 1; above 1 reads as 1 (9110 2.5)
    uint8_t framing                  # http1_framing_t of this message, all rules applied
    bint keep_alive                  # what this peer's version, Connection fields and framing say
    uint32_t keep_alive_s            # `Keep-Alive: timeout=N`: for how long; 0: not said
    bint expect_continue             # HTTP/1.1 only (9110 10.1.1)
    bint expect_other                # an expectation that we do not know
    bint upgrade                     # Connection names it and one Upgrade field is there, 1.1 only, not h2c
    bint te_trailers
    uint8_t named                    # fields that Connection names: how many, unknown ones included
    uint8_t line_verbatim            # the first line is as we would write it
    uint8_t host_replaced            # `authority` is from an absolute target
    uint8_t options                  # HTTP1_OPTION_*
    uint8_t coding                   # HTTP1_CODING_*
    uint8_t lengths                  # Content-Length fields; 2 stands for more
    uint8_t hosts                    # Host fields; 2 stands for more
    uint8_t upgrades                 # Upgrade fields; 2 stands for more
    uint32_t line_offset             # of the first line, behind empty ones
    uint32_t host_field              # the last one's index, if there is one
    uint32_t upgrade_field
    uint32_t length_field
    uint32_t count
    http1_field_t fields[101]        # one more than HTTP1_FIELDS: its name_offset is where the last line ends


cdef inline void http1_limits_default(http1_limits_t *limits) noexcept nogil:
    limits.head_bytes = HTTP1_HEAD_BYTES
    limits.target_bytes = HTTP1_TARGET_BYTES
    limits.fields = HTTP1_FIELDS


cdef inline span_t http1_span(const uint8_t *data, uint32_t length) noexcept nogil:
    cdef span_t span
    span.data = data
    span.length = length
    return span


cdef inline span_t http1_field_name(const http1_head_t *head, uint32_t i) noexcept nogil:
    return http1_span(head.base + head.fields[i].name_offset, head.fields[i].name_length)


cdef inline span_t http1_field_value(const http1_head_t *head, uint32_t i) noexcept nogil:
    return http1_span(head.base + head.fields[i].value_offset, head.fields[i].value_length)


cdef inline uint32_t http1_find(const http1_head_t *head, uint32_t id, uint32_t since) noexcept nogil:
    """Index of the first field from `since` on with this id; `head.count` if there is none."""
    while since < head.count and head.fields[since].id != id:
        since += 1
    return since


cdef inline bint http1_span_is(span_t span, const char *lower, uint32_t length) noexcept nogil:
    """In any case. `lower` of small letters, digits and "-"."""
    return span.length == length and http1_is(span.data, lower, length)


cdef inline int http1_refuse(http1_head_t *head, int error, int status) noexcept nogil:
    head.error = error
    return -status
