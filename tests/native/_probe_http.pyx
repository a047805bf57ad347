# SPDX-License-Identifier: Apache-2.0
"""probe_http.pxd driven from Python."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from fastlb.core.bytes cimport span_t
from fastlb.core.probe_http cimport (
    probe_codes_add, probe_codes_have, probe_codes_t, probe_http_request, probe_http_status,
)


def request(bytes method, bytes path, int version=0, bytes domain=b"", uint32_t capacity=4096):
    """The request's bytes, or the negative errno. `capacity` bytes are all that there is."""
    cdef uint8_t *out = <uint8_t *>malloc(max(capacity, 1))
    cdef span_t m, p, d
    cdef int n
    m.data, m.length = <const uint8_t *>method, len(method)
    p.data, p.length = <const uint8_t *>path, len(path)
    d.data, d.length = <const uint8_t *>domain, len(domain)
    n = probe_http_request(out, capacity, m, p, version, d)
    found = n if n < 0 else out[:n]
    free(out)
    return found


def status(bytes data):
    return probe_http_status(<const uint8_t *>data, len(data))


def codes(*ranges):
    """All codes of 0..1100 that pass."""
    cdef probe_codes_t c
    memset(&c, 0, sizeof(c))
    for first, last in ranges:
        probe_codes_add(&c, first, last)
    return [code for code in range(1101) if probe_codes_have(&c, code)]
