# SPDX-License-Identifier: Apache-2.0
"""SplitMix64: a small, seedable generator. One per worker, so that it needs no lock. Not for secrets."""
from libc.stdint cimport uint32_t, uint64_t

cdef struct random_t:
    uint64_t state      # any seed will do


cdef inline uint64_t random_next(random_t *r) noexcept nogil:
    cdef uint64_t z
    r.state += 0x9E3779B97F4A7C15u
    z = r.state
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu
    return z ^ (z >> 31)


cdef inline uint32_t random_below(random_t *r, uint32_t bound) noexcept nogil:
    """A number in [0, bound), by multiplication of the upper 32 bits; bound must not be 0."""
    return <uint32_t>(((random_next(r) >> 32) * <uint64_t>bound) >> 32)
