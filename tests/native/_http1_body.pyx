# SPDX-License-Identifier: Apache-2.0
"""http1_body.pxd driven from Python, each feed from a buffer that ends at an unreadable page."""
from libc.stdint cimport uint64_t
from fastlb.core.bytes cimport span_t
from fastlb.core.http1 cimport *
from fastlb.core.http1_body cimport *

include "guarded.pxi"

NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE = HTTP1_NO_BODY, HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_UNTIL_CLOSE
BODY_STRUCT_BYTES = sizeof(http1_body_t)


cdef class Body:
    cdef http1_body_t body

    def __init__(self, uint8_t framing, uint64_t body_bytes=0, bint drop_trailers=False):
        http1_body_init(&self.body, framing, body_bytes)
        self.body.drop_trailers = drop_trailers

    def feed(self, bytes data, bint at_end=True):
        """(verdict, consumed, payload, trailer lines)"""
        cdef uint32_t consumed = 0
        cdef uint32_t produced = 0
        cdef span_t trailers
        cdef uint8_t *place = guarded(data, at_end)
        verdict = http1_body_feed(&self.body, place, <uint32_t>len(data), &consumed, &produced, &trailers)
        if trailers.length and trailers.data != place + produced:
            raise AssertionError("trailers are not right behind the payload")
        if produced + trailers.length > consumed:
            raise AssertionError("what is left unused was overwritten")
        if place[consumed:len(data)] != data[consumed:]:
            raise AssertionError("what is left unused was changed")
        return verdict, consumed, place[:produced], trailers.data[:trailers.length]

    def closed(self):
        return bool(http1_body_closed(&self.body))

    def skip(self, uint64_t count):
        return http1_body_skip(&self.body, count)

    @property
    def opaque(self):
        return http1_body_opaque(&self.body)

    @property
    def done(self):
        return bool(http1_body_done(&self.body))

    @property
    def payload_bytes(self):
        return self.body.payload_bytes

    @property
    def error(self):
        return http1_error_text(self.body.error).decode()


def body_of(bytes head_bytes):
    """The framing, the length and whether trailers are dropped, for the body behind this request head."""
    cdef http1_head_t head
    cdef http1_body_t body
    if http1_parse_request(&head, guarded(head_bytes, True), <uint32_t>len(head_bytes), NULL) <= 0:
        raise ValueError("no request head")
    http1_body_init_head(&body, &head)
    return body.framing, body.remaining, bool(body.drop_trailers)


def chunk_head(uint64_t size):
    cdef uint8_t *place = guarded(bytes(18), True)
    return place[:http1_chunk_head(place, size)]


def time_feed(bytes data, uint32_t rounds, uint8_t framing, uint64_t body_bytes):
    """For benchmarks: decode a whole body again and again, with the copy that it needs each time."""
    cdef http1_body_t body
    cdef uint32_t consumed = 0
    cdef uint32_t produced = 0
    cdef span_t trailers
    cdef uint32_t _i
    cdef int verdict = 0
    cdef uint32_t length = <uint32_t>len(data)
    cdef uint8_t *place = guarded(data, True)
    cdef const uint8_t *source = <const uint8_t *><const char *>data
    with nogil:
        for _i in range(rounds):
            memcpy(place, source, length)
            http1_body_init(&body, framing, body_bytes)
            verdict = http1_body_feed(&body, place, length, &consumed, &produced, &trailers)
    return verdict
