# SPDX-License-Identifier: Apache-2.0
# Bytes that touch an unreadable page, before them or behind them: a parser that looks one byte too far dies of it.
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)
    int mprotect(void *address, size_t length, int protection)
    int PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS

cdef enum:
    GUARDED_BYTES = 1 << 20
    GUARD_BYTES = 1 << 16

cdef uint8_t *guarded_region = NULL


cdef uint8_t *guarded(bytes data, bint at_end) except NULL:
    """A copy between two unreadable pages, against the second one or the first. Overwrites the copy before."""
    global guarded_region
    cdef uint8_t *place
    if guarded_region == NULL:
        place = <uint8_t *>mmap(
            NULL, GUARDED_BYTES + 2 * GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if place == <uint8_t *>-1:
            raise MemoryError
        mprotect(place, GUARD_BYTES, PROT_NONE)
        mprotect(place + GUARD_BYTES + GUARDED_BYTES, GUARD_BYTES, PROT_NONE)
        guarded_region = place + GUARD_BYTES
    if len(data) > GUARDED_BYTES:
        raise ValueError("too long for the guarded region")
    place = guarded_region + (GUARDED_BYTES - len(data) if at_end else 0)
    memcpy(place, <const char *>data, len(data))
    return place
