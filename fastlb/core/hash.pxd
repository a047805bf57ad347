# SPDX-License-Identifier: Apache-2.0
"""Hashes that are the same on every node and in every run: FNV-1a over bytes, finished by a 64-bit mixer."""
from libc.stdint cimport uint8_t, uint64_t


cdef inline uint64_t hash_mix(uint64_t x) noexcept nogil:
    """Spread every bit over all 64 (the finaliser of MurmurHash3)."""
    x ^= x >> 33
    x *= 0xFF51AFD7ED558CCDu
    x ^= x >> 33
    x *= 0xC4CEB9FE1A85EC53u
    x ^= x >> 33
    return x


cdef inline uint64_t hash_bytes(const void *data, size_t length, uint64_t seed) noexcept nogil:
    cdef const uint8_t *p = <const uint8_t *>data
    cdef uint64_t h = 0xCBF29CE484222325u ^ hash_mix(seed)
    cdef size_t i
    for i in range(length):
        h = (h ^ p[i]) * 0x100000001B3u
    return hash_mix(h)


cdef inline uint64_t hash_pair(uint64_t a, uint64_t b) noexcept nogil:
    return hash_mix(a ^ (hash_mix(b) + 0x9E3779B97F4A7C15u + (a << 6) + (a >> 2)))
