# SPDX-License-Identifier: Apache-2.0
"""http1.pxd driven from Python. Each parse runs twice, against an unreadable page behind and before its bytes."""
from fastlb.core.bytes cimport span_t
from fastlb.core.http1 cimport *
from fastlb.core.http1_authority cimport http1_authority_valid
from fastlb.core.http1_tables cimport http1_lookup, http1_names, http1_slot_of

include "guarded.pxi"

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "OTHER")
FRAMINGS = ("NO_BODY", "LENGTH", "CHUNKED", "UNTIL_CLOSE")
HEAD_STRUCT_BYTES = sizeof(http1_head_t)


cdef bytes text(span_t span):
    return span.data[:span.length]


cdef dict shown(const http1_head_t *head):
    return {
        "length": head.length,
        "method": METHODS[head.method],
        "method_text": text(head.method_text),
        "target": text(head.target),
        "authority": text(head.authority),
        "status": head.status,
        "reason": text(head.reason),
        "minor": head.minor,
        "framing": FRAMINGS[head.framing],
        "body_bytes": head.body_bytes,
        "keep_alive": bool(head.keep_alive),
        "expect_continue": bool(head.expect_continue),
        "expect_other": bool(head.expect_other),
        "upgrade": text(head.upgrade_protocol) if head.upgrade else None,
        "te_trailers": bool(head.te_trailers),
        "named": head.named,
        "fields": [
            (text(http1_field_name(head, i)), text(http1_field_value(head, i)), head.fields[i].drop)
            for i in range(head.count)
        ],
        "ids": [head.fields[i].id for i in range(head.count)],
    }


cdef parse(bytes data, bint response, http1_limits_t limits, uint8_t method):
    cdef http1_head_t head
    cdef const uint8_t *place
    cdef int verdict
    results = []
    for at_end in (True, False):
        place = guarded(data, at_end)
        if response:
            verdict = http1_parse_response(&head, place, <uint32_t>len(data), &limits, method)
        else:
            verdict = http1_parse_request(&head, place, <uint32_t>len(data), &limits)
        results.append((verdict, shown(&head) if verdict > 0 else http1_error_text(head.error).decode()))
    if results[0] != results[1]:
        raise AssertionError(f"the verdict depends on where the bytes lie: {results}")
    return results[0]


def parse_request(bytes data, *, head_bytes=None, target_bytes=None, fields=None):
    """(verdict, what the head holds | why not)"""
    cdef http1_limits_t limits
    http1_limits_default(&limits)
    if head_bytes is not None:
        limits.head_bytes = head_bytes
    if target_bytes is not None:
        limits.target_bytes = target_bytes
    if fields is not None:
        limits.fields = fields
    return parse(data, False, limits, HTTP1_OTHER)


def parse_response(bytes data, str method="GET", *, head_bytes=None, fields=None):
    cdef http1_limits_t limits
    http1_limits_default(&limits)
    if head_bytes is not None:
        limits.head_bytes = head_bytes
    if fields is not None:
        limits.fields = fields
    return parse(data, True, limits, METHODS.index(method))


def default_limits_apply(bytes data):
    """The verdicts for no limits at all."""
    cdef http1_head_t head
    cdef int request = http1_parse_request(&head, guarded(data, True), <uint32_t>len(data), NULL)
    return request, http1_parse_response(&head, guarded(data, True), <uint32_t>len(data), NULL, HTTP1_GET)


def authority_valid(bytes data):
    ends = http1_authority_valid(guarded(data, True), <uint32_t>len(data))
    starts = http1_authority_valid(guarded(data, False), <uint32_t>len(data))
    assert ends == starts
    return bool(ends)


def lookup(bytes name):
    """The known name's identifier, whatever follows the name."""
    n = <uint32_t>len(name)
    ends = http1_lookup(guarded(name, True), 0, n, n)
    padded = name + b":" * 64
    assert ends == http1_lookup(guarded(padded, True), 0, n, n + 64)
    return ends


def known_names():
    return {i: http1_names[i].lower.decode() for i in range(1, HTTP1_FIELD_IDS)}


def slot(bytes name):
    return http1_slot_of(<const uint8_t *><const char *>name, <uint32_t>len(name))


cdef class Scan:
    """A connection's http1_scan_t; counts what parsing when it says so would cost."""
    cdef http1_scan_t scan
    cdef readonly uint64_t parsed_bytes

    def __cinit__(self):
        http1_scan_init(&self.scan)

    def worth_parsing(self, bytes data, uint32_t head_bytes=HTTP1_HEAD_BYTES):
        worth = http1_worth_parsing(&self.scan, guarded(data, True), <uint32_t>len(data), head_bytes)
        if worth:
            self.parsed_bytes += len(data)
        return bool(worth)


def time_parse(bytes data, uint32_t rounds, bint response=False):
    """For benchmarks: parse it again and again; the last verdict."""
    cdef http1_head_t head
    cdef const uint8_t *place = <const uint8_t *><const char *>data
    cdef uint32_t length = <uint32_t>len(data)
    cdef uint32_t _i
    cdef int verdict = 0
    with nogil:
        for _i in range(rounds):
            if response:
                verdict = http1_parse_response(&head, place, length, NULL, HTTP1_GET)
            else:
                verdict = http1_parse_request(&head, place, length, NULL)
    return verdict
