# SPDX-License-Identifier: Apache-2.0
"""A span: bytes that somebody else owns."""
from libc.stdint cimport uint8_t, uint32_t

cdef struct span_t:
    const uint8_t *data
    uint32_t length
