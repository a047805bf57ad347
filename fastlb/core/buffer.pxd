# SPDX-License-Identifier: Apache-2.0
"""Bytes in flight. A buffer belongs to one connection's input or output while data is in it, and else to its worker's pool.

Two sizes: 16 KiB, and 64 KiB for heads that outgrow that and for bodies that come in bulk.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memmove

cdef enum:
    BUFFER_SMALL = 16384
    BUFFER_LARGE = 65536
    BUFFERS_KEPT_SMALL = 1024    # what a pool keeps when everybody is idle: 16 MiB + 8 MiB a worker
    BUFFERS_KEPT_LARGE = 128

cdef struct buffer_t:
    buffer_t *next               # in a pool or in a connection's output
    uint32_t size                # of data
    uint32_t start               # the first byte not yet used
    uint32_t end                 # behind the last byte
    uint32_t padding
    uint8_t data[0]

cdef struct buffers_t:           # one a worker
    buffer_t *small
    buffer_t *large
    uint32_t kept_small
    uint32_t kept_large
    uint64_t used_bytes          # handed out


cdef inline buffer_t *buffer_take(buffers_t *pool, uint32_t size) noexcept nogil:
    """An empty buffer of BUFFER_SMALL or BUFFER_LARGE bytes; NULL without memory."""
    cdef buffer_t *b
    if size == BUFFER_SMALL:
        b = pool.small
        if b != NULL:
            pool.small = b.next
            pool.kept_small -= 1
    else:
        b = pool.large
        if b != NULL:
            pool.large = b.next
            pool.kept_large -= 1
    if b == NULL:
        b = <buffer_t *>malloc(sizeof(buffer_t) + size)
        if b == NULL:
            return NULL
        b.size = size
    b.next = NULL
    b.start = 0
    b.end = 0
    pool.used_bytes += size
    return b


cdef inline void buffer_give(buffers_t *pool, buffer_t *b) noexcept nogil:
    pool.used_bytes -= b.size
    if b.size == BUFFER_SMALL and pool.kept_small < BUFFERS_KEPT_SMALL:
        b.next = pool.small
        pool.small = b
        pool.kept_small += 1
    elif b.size == BUFFER_LARGE and pool.kept_large < BUFFERS_KEPT_LARGE:
        b.next = pool.large
        pool.large = b
        pool.kept_large += 1
    else:
        free(b)


cdef inline void buffer_compact(buffer_t *b) noexcept nogil:
    """Move what is left to the front, so that there is room behind it."""
    if b.start:
        memmove(b.data, b.data + b.start, b.end - b.start)
        b.end -= b.start
        b.start = 0


cdef inline void buffers_dispose(buffers_t *pool) noexcept nogil:
    cdef buffer_t *b
    while pool.small != NULL:
        b = pool.small
        pool.small = b.next
        free(b)
    while pool.large != NULL:
        b = pool.large
        pool.large = b.next
        free(b)
    pool.kept_small = 0
    pool.kept_large = 0
