# SPDX-License-Identifier: Apache-2.0
"""host[:port], as Host and an absolute target have it (RFC 9110 7.2, RFC 3986 3.2.2)."""
from libc.stdint cimport uint8_t, uint32_t
from fastlb.core.http1_tables cimport (
    HTTP1_REG_NAME, http1_class, http1_hex,
)
from fastlb.core.http1_tables cimport HTTP1_REG_NAME, http1_class, http1_hex


cdef inline bint http1_ipv4_valid(const uint8_t *p, uint32_t length) noexcept nogil:
    cdef uint32_t i = 0
    cdef uint32_t dots = 0
    cdef uint32_t digits = 0
    cdef uint32_t value = 0
    for i in range(length):
        if p[i] == c'.':
            if digits == 0:
                return 0
            dots += 1
            digits = 0
            value = 0
        elif c'0' <= p[i] <= c'9':
            value = value * 10 + p[i] - c'0'
            digits += 1
            if digits > 3 or value > 255:
                return 0
        else:
            return 0
    return dots == 3 and digits != 0


cdef inline bint http1_ipv6_valid(const uint8_t *p, uint32_t length) noexcept nogil:
    """RFC 3986 3.2.2, without a zone."""
    cdef uint32_t i = 0
    cdef uint32_t groups = 0
    cdef uint32_t digits
    cdef bint gap = 0
    if length < 2:
        return 0
    if p[0] == c':' and p[1] != c':':
        return 0
    while i < length:
        if p[i] == c':':
            # A second colon in a row: the one before it was taken with its group, or starts the address.
            if gap:
                return 0
            if i == 0:
                i += 1
            gap = 1
            i += 1
            continue
        digits = 0
        while i + digits < length and digits < 4 and http1_hex[p[i + digits]]:
            digits += 1
        if i + digits < length and p[i + digits] == c'.':
            if not http1_ipv4_valid(p + i, length - i):
                return 0
            groups += 2
            break
        if digits == 0:
            return 0
        groups += 1
        i += digits
        if i < length:
            if p[i] != c':' or i + 1 == length:
                return 0
            i += 1
    return groups <= 7 if gap else groups == 8


cdef inline bint http1_authority_valid(const uint8_t *p, uint32_t length) noexcept nogil:
    """host[:port] (9110 7.2, 3986 3.2.2): a name, an IPv4 address or an IPv6 address in brackets; the port may be empty."""
    cdef uint32_t i = 0
    cdef uint32_t port = 0
    cdef uint32_t digits = 0
    if length == 0:
        return 0
    if p[0] == c'[':
        i = 1
        while i < length and p[i] != c']':
            i += 1
        if i == length or not http1_ipv6_valid(p + 1, i - 1):
            return 0
        i += 1
    else:
        while i < length:
            if http1_class[p[i]] & HTTP1_REG_NAME:
                i += 1
            elif p[i] == c'%' and length - i > 2 and http1_hex[p[i + 1]] and http1_hex[p[i + 2]]:
                i += 3
            else:
                break
        if i == 0:
            return 0
    if i == length:
        return 1
    if p[i] != c':':
        return 0
    i += 1
    while i < length:
        if p[i] < c'0' or p[i] > c'9' or digits == 5:
            return 0
        port = port * 10 + p[i] - c'0'
        digits += 1
        i += 1
    return port <= 65535
