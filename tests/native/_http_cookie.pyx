# SPDX-License-Identifier: Apache-2.0
"""http_cookie.pxd driven from Python: each head is parsed between unreadable pages."""
from libc.string cimport memset
from fastlb.core.http1 cimport *
from fastlb.core.http1_tables cimport HTTP1_FIELD_CACHE_CONTROL, HTTP1_FIELD_COOKIE, HTTP1_FIELD_SET_COOKIE
from fastlb.core.http1_write cimport *
from fastlb.core.http_cookie cimport *

include "guarded.pxi"

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "OTHER")


cdef const uint8_t *bytes_of(bytes text) noexcept:
    return <const uint8_t *><const char *>text


cdef int parse(http1_head_t *head, bytes data, bint response, str method="GET", bint at_end=True) except -1:
    cdef uint8_t *place = guarded(data, at_end)
    cdef int verdict
    if response:
        verdict = http1_parse_response(head, place, <uint32_t>len(data), NULL, METHODS.index(method))
    else:
        verdict = http1_parse_request(head, place, <uint32_t>len(data), NULL)
    if verdict <= 0:
        raise ValueError(f"{verdict}: {http1_error_text(head.error).decode()}")
    return 0


cdef bytes taken(const span_t *value):
    return value.data[:value.length]


def find(bytes data, bytes name):
    cdef http1_head_t head
    cdef span_t value
    parse(&head, data, False)
    return taken(&value) if cookie_find(&head, bytes_of(name), <uint32_t>len(name), &value) else None


def find_last(bytes data, bytes name):
    cdef http1_head_t head
    cdef span_t value
    parse(&head, data, False)
    return taken(&value) if cookie_find_last(&head, bytes_of(name), <uint32_t>len(name), &value) else None


def find_all(bytes data, bytes name):
    cdef http1_head_t head
    cdef span_t value
    cdef cookie_place_t place
    memset(&place, 0, sizeof(place))
    parse(&head, data, False)
    found = []
    while cookie_next(&head, &place, bytes_of(name), <uint32_t>len(name), &value):
        found.append(taken(&value))
    return found


def remove(bytes data, bytes name, uint32_t capacity=65536, uint32_t extra_capacity=100):
    """(the head as it is written for a member, extras, bytes taken of `out`)"""
    cdef http1_head_t head
    cdef http1_extra_t extras[100]
    cdef uint8_t out[65536]
    cdef uint8_t written[200000]
    cdef uint32_t used = 12345
    cdef uint32_t count, length
    parse(&head, data, False)
    count = cookie_remove(&head, bytes_of(name), <uint32_t>len(name), out, &used, capacity, extras, extra_capacity)
    assert used <= capacity and count <= extra_capacity
    length = http1_write_request(&head, written, sizeof(written), extras, count)
    assert length > 0
    return written[:length], count, used


def set_cookie(bytes data, bytes name):
    cdef http1_head_t head
    cdef span_t value
    parse(&head, data, True)
    return taken(&value) if set_cookie_find(&head, bytes_of(name), <uint32_t>len(name), &value) else None


def drop_set_cookie(bytes data, bytes name):
    """The head as it is written for a client."""
    cdef http1_head_t head
    cdef uint8_t written[200000]
    cdef uint32_t length
    parse(&head, data, True)
    set_cookie_drop(&head, bytes_of(name), <uint32_t>len(name))
    length = http1_write_response(&head, written, sizeof(written), head.framing, HTTP1_CONN_DEFAULT, NULL, 0)
    return written[:length]


cdef void fields_at(http1_head_t *head, list values, uint32_t id, bint at_end) except *:
    """A head of fields with any bytes for values, the first or the last of them against an unreadable page."""
    cdef uint32_t at = 0
    cdef uint32_t i
    memset(head, 0, sizeof(http1_head_t))
    head.base = guarded(b"".join(values), at_end)
    head.status = 200
    head.count = <uint32_t>len(values)
    for i in range(head.count):
        head.fields[i].id = <uint8_t>id
        head.fields[i].verbatim = 1
        head.fields[i].value_offset = at
        head.fields[i].value_length = <uint16_t>len(values[i])
        at += <uint32_t>len(values[i])


cdef list untouched(http1_head_t *head, list values):
    cdef uint32_t i
    assert all([bool(head.fields[i].drop) != bool(head.fields[i].verbatim) for i in range(head.count)])
    return [values[i] for i in range(head.count) if not head.fields[i].drop]


def request_fields(list values, bytes name, bint at_end):
    """(values of the cookie, Cookie fields that stay as they are when it is removed, those that come instead)"""
    cdef http1_head_t head
    cdef http1_extra_t extras[100]
    cdef uint8_t out[65536]
    cdef span_t value
    cdef cookie_place_t place
    cdef uint32_t used, count, i
    cdef uint32_t capacity = <uint32_t>sum([len(one) for one in values])
    fields_at(&head, values, HTTP1_FIELD_COOKIE, at_end)
    memset(&place, 0, sizeof(place))
    found = []
    while cookie_next(&head, &place, bytes_of(name), <uint32_t>len(name), &value):
        found.append(taken(&value))
    memset(out, 0xAA, sizeof(out))
    count = cookie_remove(&head, bytes_of(name), <uint32_t>len(name), out, &used, capacity, extras, 100)
    assert used <= capacity and out[capacity] == 0xAA
    return found, untouched(&head, values), [taken(&extras[i].value) for i in range(count)]


def response_fields(list values, bytes name, bint at_end):
    """(what APP_COOKIE learns, Set-Cookie fields that stay, whether these as Cache-Control fields make it cacheable)"""
    cdef http1_head_t head
    cdef span_t value
    cdef bint found
    fields_at(&head, values, HTTP1_FIELD_CACHE_CONTROL, at_end)
    cached = bool(response_cacheable(&head))
    fields_at(&head, values, HTTP1_FIELD_SET_COOKIE, at_end)
    found = set_cookie_find(&head, bytes_of(name), <uint32_t>len(name), &value)
    learnt = taken(&value) if found else None
    set_cookie_drop(&head, bytes_of(name), <uint32_t>len(name))
    return learnt, untouched(&head, values), cached


def cacheable(bytes data, method="GET"):
    cdef http1_head_t head
    parse(&head, data, True, method)
    return bool(response_cacheable(&head))


def time_cookies(bytes data, bytes name, uint32_t rounds, bint remove):
    """For benchmarks: find, or find and remove, again and again."""
    cdef http1_head_t head, copy
    cdef http1_extra_t extras[8]
    cdef uint8_t out[65536]
    cdef span_t value
    cdef uint32_t used = 0
    cdef uint32_t found = 0
    cdef uint32_t _i
    cdef const uint8_t *text = bytes_of(name)
    cdef uint32_t length = <uint32_t>len(name)
    parse(&head, data, False)
    copy = head
    with nogil:
        for _i in range(rounds):
            found += cookie_find(&head, text, length, &value)
            if remove:
                cookie_remove(&head, text, length, out, &used, sizeof(out), extras, 8)
                memcpy(head.fields, copy.fields, head.count * sizeof(http1_field_t))
    return found
