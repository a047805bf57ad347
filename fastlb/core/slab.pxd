# SPDX-License-Identifier: Apache-2.0
"""Fixed-size objects without malloc on the hot path. One thread owns a slab; its memory goes back with the slab.

Under AddressSanitizer every object comes from malloc, so that a use after the return is seen.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef extern from *:
    """
    #if defined(__SANITIZE_ADDRESS__)
    #define FASTLB_SLAB_PLAIN 1
    #else
    #define FASTLB_SLAB_PLAIN 0
    #endif
    """
    bint FASTLB_SLAB_PLAIN

cdef enum:
    SLAB_CHUNK_OBJECTS = 64

cdef struct slab_chunk_t:
    slab_chunk_t *next

cdef struct slab_free_t:
    slab_free_t *next

cdef struct slab_t:
    size_t size                  # of an object, rounded up to 16
    slab_free_t *free_objects    # the last returned first: it is still in the cache
    slab_chunk_t *chunks
    uint64_t used


cdef inline void slab_init(slab_t *slab, size_t size) noexcept nogil:
    slab.size = (size + 15) & ~<size_t>15
    slab.free_objects = NULL
    slab.chunks = NULL
    slab.used = 0


cdef inline bint slab_grow(slab_t *slab) noexcept nogil:
    cdef slab_chunk_t *chunk
    cdef slab_free_t *entry
    cdef char *p
    cdef uint32_t i
    chunk = <slab_chunk_t *>malloc(16 + slab.size * SLAB_CHUNK_OBJECTS)
    if chunk == NULL:
        return 0
    chunk.next = slab.chunks
    slab.chunks = chunk
    p = <char *>chunk + 16
    for i in range(SLAB_CHUNK_OBJECTS):
        entry = <slab_free_t *>(p + (SLAB_CHUNK_OBJECTS - 1 - i) * slab.size)
        entry.next = slab.free_objects
        slab.free_objects = entry
    return 1


cdef inline void *slab_take(slab_t *slab) noexcept nogil:
    """An object full of zeros, or NULL without memory."""
    cdef slab_free_t *entry
    if FASTLB_SLAB_PLAIN:
        entry = <slab_free_t *>malloc(slab.size)
        if entry == NULL:
            return NULL
    else:
        if slab.free_objects == NULL and not slab_grow(slab):
            return NULL
        entry = slab.free_objects
        slab.free_objects = entry.next
    slab.used += 1
    memset(entry, 0, slab.size)
    return entry


cdef inline void slab_give(slab_t *slab, void *object) noexcept nogil:
    cdef slab_free_t *entry = <slab_free_t *>object
    slab.used -= 1
    if FASTLB_SLAB_PLAIN:
        free(object)
    else:
        entry.next = slab.free_objects
        slab.free_objects = entry


cdef inline void slab_dispose(slab_t *slab) noexcept nogil:
    cdef slab_chunk_t *chunk = slab.chunks
    cdef slab_chunk_t *following
    while chunk != NULL:
        following = chunk.next
        free(chunk)
        chunk = following
    slab.chunks = NULL
    slab.free_objects = NULL
