# SPDX-License-Identifier: Apache-2.0
"""All members of a pool by their key, those without a share of new clients too: where persistence finds them again.

Immutable, behind pool.directory; roster.pxd makes a new one when members come or go, and none for a pool without
persistence.  Whoever looks something up is inside pool.snapshots.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcmp
from fastlb.core.atomics cimport flag_get, pointer_get
from fastlb.core.hash cimport hash_bytes
from fastlb.core.model cimport member_t, pool_conf_t, pool_t

cdef enum:
    UUID_TEXT = 36               # characters

cdef struct directory_entry_t:
    uint64_t key                 # 0: free
    member_t *member

cdef struct directory_t:         # open addressing, at most half full; one piece of memory
    uint32_t count
    uint32_t shift               # of a spread key, to a slot
    directory_entry_t entries[0]


cdef inline uint64_t member_key(const uint8_t *uuid) noexcept nogil:
    """What member_t.key is, of the 16 bytes of its uuid; never 0."""
    return hash_bytes(uuid, 16, 0) | 1


cdef inline uint32_t directory_slot(const directory_t *d, uint64_t key) noexcept nogil:
    return <uint32_t>((key * 0x9E3779B97F4A7C15u) >> d.shift)


cdef inline directory_t *directory_new(member_t **members, uint32_t count) noexcept nogil:
    """Of those that are not marked as removed; NULL: no memory. For free(). Under pool.mutex."""
    cdef directory_t *d
    cdef uint32_t i, slot, mask
    cdef uint32_t bits = 3
    while (<uint64_t>1 << bits) < 2 * <uint64_t>count:
        bits += 1
    d = <directory_t *>calloc(1, sizeof(directory_t) + (sizeof(directory_entry_t) << bits))
    if d == NULL:
        return NULL
    d.shift = 64 - bits
    mask = (<uint32_t>1 << bits) - 1
    for i in range(count):
        if members[i].removed:
            continue
        slot = directory_slot(d, members[i].key)
        while d.entries[slot].member != NULL:
            slot = (slot + 1) & mask
        d.entries[slot].key = members[i].key
        d.entries[slot].member = members[i]
        d.count += 1
    return d


cdef inline member_t *directory_search(const pool_t *pool, uint64_t key, const uint8_t *uuid) noexcept nogil:
    """`uuid`: NULL, or what the member's must be."""
    cdef const directory_t *d = <const directory_t *>pointer_get(&pool.directory)
    cdef uint32_t slot, mask
    cdef member_t *member
    if d == NULL:
        return NULL
    mask = (<uint32_t>1 << (64 - d.shift)) - 1
    slot = directory_slot(d, key)
    while True:
        member = d.entries[slot].member
        if member == NULL:
            return NULL
        if d.entries[slot].key == key and (uuid == NULL or memcmp(member.uuid, uuid, 16) == 0):
            return member
        slot = (slot + 1) & mask


cdef inline member_t *directory_find(const pool_t *pool, uint64_t key) noexcept nogil:
    """NULL: no such member, or the pool has no persistence."""
    return directory_search(pool, key, NULL)


cdef inline bint uuid_read(const uint8_t *text, uint32_t length, uint8_t *uuid) noexcept nogil:
    """The 36 characters of a UUID, its letters small, into 16 bytes; 0: it is none."""
    cdef uint32_t i, digit
    cdef uint32_t n = 0
    if length != UUID_TEXT:
        return 0
    for i in range(UUID_TEXT):
        if i == 8 or i == 13 or i == 18 or i == 23:
            if text[i] != c'-':
                return 0
            continue
        digit = <uint32_t>text[i] - c'0'
        if digit > 9:
            digit = <uint32_t>text[i] - c'a' + 10
            if digit < 10 or digit > 15:
                return 0
        if n & 1:
            uuid[n >> 1] |= <uint8_t>digit
        else:
            uuid[n >> 1] = <uint8_t>(digit << 4)
        n += 1
    return 1


cdef inline member_t *directory_find_uuid(const pool_t *pool, const uint8_t *text, uint32_t length) noexcept nogil:
    """The member that a cookie's value names; NULL: none."""
    cdef uint8_t uuid[16]
    if not uuid_read(text, length, uuid):
        return NULL
    return directory_search(pool, member_key(uuid), uuid)


cdef inline uint32_t uuid_write(const member_t *member, uint8_t *out) noexcept nogil:
    """UUID_TEXT characters; how many."""
    cdef const char *digits = b"0123456789abcdef"
    cdef uint32_t i
    cdef uint32_t at = 0
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            out[at] = c'-'
            at += 1
        out[at] = <uint8_t>digits[member.uuid[i] >> 4]
        out[at + 1] = <uint8_t>digits[member.uuid[i] & 15]
        at += 2
    return at


cdef inline bint member_reachable(const pool_t *pool, const member_t *member) noexcept nogil:
    """May a client that had this member before have it again? A weight of 0 and being a backup do not matter; nor, in a panic,
    do probes and ejections."""
    cdef const pool_conf_t *conf = <const pool_conf_t *>pointer_get(&pool.conf)
    if not conf.admin_up or flag_get(&member.leaving):
        return 0
    return (flag_get(&member.up) != 0 and flag_get(&member.ejected) == 0) or flag_get(&pool.panic) != 0
