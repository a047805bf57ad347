# SPDX-License-Identifier: Apache-2.0
"""http1_write.pxd driven from Python: a head is parsed, then written into a buffer that ends at an unreadable page."""
from libc.stdint cimport uint16_t
from libc.stdlib cimport calloc, free
from fastlb.core.http1 cimport *
from fastlb.core.http1_write cimport *

include "guarded.pxi"

NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE = HTTP1_NO_BODY, HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_UNTIL_CLOSE
DEFAULT, KEEP_ALIVE, CLOSE, UPGRADE = HTTP1_CONN_DEFAULT, HTTP1_CONN_KEEP_ALIVE, HTTP1_CONN_CLOSE, HTTP1_CONN_UPGRADE
ADD, SET, REMOVE = HTTP1_EXTRA_ADD, HTTP1_EXTRA_SET, HTTP1_EXTRA_REMOVE
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "OTHER")


cdef class Extras:
    cdef http1_extra_t *items
    cdef uint32_t count
    cdef object kept

    def __cinit__(self, extras):
        self.kept = list(extras)
        self.count = <uint32_t>len(self.kept)
        self.items = <http1_extra_t *>calloc(self.count + 1, sizeof(http1_extra_t))
        for i, (name, value, mode) in enumerate(self.kept):
            self.items[i].name = http1_span(<const uint8_t *><const char *>name, <uint32_t>len(name))
            self.items[i].value = http1_span(<const uint8_t *><const char *>value, <uint32_t>len(value))
            self.items[i].mode = mode

    def __dealloc__(self):
        free(self.items)


cdef write(bytes data, bint response, str method, int framing_out, uint8_t connection, extras, capacity):
    cdef http1_head_t head
    cdef Extras more = Extras(extras)
    cdef const uint8_t *source = <const uint8_t *><const char *>data
    cdef uint32_t length, room
    cdef uint8_t *out
    if response:
        verdict = http1_parse_response(&head, source, <uint32_t>len(data), NULL, METHODS.index(method))
    else:
        verdict = http1_parse_request(&head, source, <uint32_t>len(data), NULL)
    if verdict <= 0:
        raise ValueError(f"{verdict}: {http1_error_text(head.error).decode()}")
    room = http1_write_room(&head, more.items, more.count) if capacity is None else capacity
    out = guarded(bytes(room), True)
    if response:
        length = http1_write_response(
            &head, out, room, head.framing if framing_out < 0 else framing_out, connection, more.items, more.count)
    else:
        length = http1_write_request(&head, out, room, more.items, more.count)
    return out[:length]


def write_request(bytes data, extras=(), capacity=None):
    """Parse this head and write it for a member; b"" if it does not fit. `capacity`: http1_write_room by default."""
    return write(data, False, "GET", -1, 0, extras, capacity)


def write_response(bytes data, method="GET", framing_out=-1, connection=HTTP1_CONN_DEFAULT, extras=(), capacity=None):
    return write(data, True, method, framing_out, connection, extras, capacity)


def room(bytes data):
    cdef http1_head_t head
    if http1_parse_request(&head, <const uint8_t *><const char *>data, <uint32_t>len(data), NULL) <= 0:
        raise ValueError("no request head")
    return http1_write_room(&head, NULL, 0)


def write_answer(uint16_t status, uint8_t connection=HTTP1_CONN_DEFAULT, bint head_only=False, uint32_t capacity=512):
    cdef uint8_t *out = guarded(bytes(capacity), True)
    return out[:http1_write_answer(out, capacity, status, connection, head_only)]


def time_request(bytes data, uint32_t rounds):
    """For benchmarks: parse and write it again and again; the bytes written last."""
    cdef http1_head_t head
    cdef uint8_t out[65536]
    cdef const uint8_t *source = <const uint8_t *><const char *>data
    cdef uint32_t length = <uint32_t>len(data)
    cdef uint32_t _i
    cdef uint32_t written = 0
    with nogil:
        for _i in range(rounds):
            if http1_parse_request(&head, source, length, NULL) > 0:
                written = http1_write_request(&head, out, sizeof(out), NULL, 0)
    return written


def time_response(bytes data, uint32_t rounds):
    cdef http1_head_t head
    cdef uint8_t out[65536]
    cdef const uint8_t *source = <const uint8_t *><const char *>data
    cdef uint32_t length = <uint32_t>len(data)
    cdef uint32_t _i
    cdef uint32_t written = 0
    with nogil:
        for _i in range(rounds):
            if http1_parse_response(&head, source, length, NULL, HTTP1_GET) > 0:
                written = http1_write_response(&head, out, sizeof(out), head.framing, HTTP1_CONN_DEFAULT, NULL, 0)
    return written
