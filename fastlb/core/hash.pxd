# SPDX-License-Identifier: Apache-2.0
"""Hashes that are the same on every node and in every run: FNV-1a over bytes, finished by a 64-bit mixer. And a keyed
one, for tables whose keys others choose."""
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy


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


cdef inline void sip_round(uint64_t *v) noexcept nogil:
    v[0] += v[1]
    v[2] += v[3]
    v[1] = (v[1] << 13 | v[1] >> 51) ^ v[0]
    v[3] = (v[3] << 16 | v[3] >> 48) ^ v[2]
    v[0] = v[0] << 32 | v[0] >> 32
    v[2] += v[1]
    v[0] += v[3]
    v[1] = (v[1] << 17 | v[1] >> 47) ^ v[2]
    v[3] = (v[3] << 21 | v[3] >> 43) ^ v[0]
    v[2] = v[2] << 32 | v[2] >> 32


cdef inline uint64_t hash_keyed(const void *data, size_t length, uint64_t key0, uint64_t key1) noexcept nogil:
    """SipHash-1-3: who does not know the key cannot find values that collide. Read as on little-endian machines."""
    cdef const uint8_t *p = <const uint8_t *>data
    cdef size_t left = length
    cdef uint64_t v[4]
    cdef uint64_t word
    v[0] = key0 ^ 0x736F6D6570736575u
    v[1] = key1 ^ 0x646F72616E646F6Du
    v[2] = key0 ^ 0x6C7967656E657261u
    v[3] = key1 ^ 0x7465646279746573u
    while left >= 8:
        memcpy(&word, p, 8)
        v[3] ^= word
        sip_round(v)
        v[0] ^= word
        p += 8
        left -= 8
    word = 0
    memcpy(&word, p, left)
    word |= <uint64_t>length << 56
    v[3] ^= word
    sip_round(v)
    v[0] ^= word
    v[2] ^= 0xFF
    sip_round(v)
    sip_round(v)
    sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
