# SPDX-License-Identifier: Apache-2.0
"""ICMP echo for PING probes: one socket a family, requests out, replies in. Who waits for a reply is not known here.

An unprivileged ping socket where the system allows it (net.ipv4.ping_group_range), else a raw socket, which needs
CAP_NET_RAW.  A reply is taken by its sequence number and by the 64-bit token that the request carried.
"""
from libc.errno cimport EAFNOSUPPORT
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from fastlb.core.model cimport address_t
from fastlb.core.sys.epoll cimport close, errno
from fastlb.core.sys.socket cimport (
    AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_ICMPV6, SO_RCVBUF, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_RAW,
    SOL_SOCKET, htons, in6_addr, ntohs, recvfrom, sendto, setsockopt, sockaddr, sockaddr_in, sockaddr_in6, socket, socklen_t,
)

cdef enum:
    ICMP_ECHO_BYTES = 24         # header, token, and eight bytes of nothing: some devices drop the shortest
    ICMP_ECHO_REQUEST_4 = 8
    ICMP_ECHO_REPLY_4 = 0
    ICMP_ECHO_REQUEST_6 = 128
    ICMP_ECHO_REPLY_6 = 129
    ICMP_LEVEL_RAW = 255         # SOL_RAW
    ICMP_OPTION_FILTER = 1       # ICMP_FILTER and ICMPV6_FILTER: a bit a type
    ICMP_RECEIVE_BYTES = 1048576

cdef struct icmp_socket_t:
    int fd                       # -1: not open
    bint raw
    int family
    uint16_t id                  # of a raw socket's requests; the kernel numbers a ping socket's own

cdef struct icmp_reply_t:
    address_t source
    uint64_t token
    uint16_t sequence


cdef inline int icmp_open(icmp_socket_t *s, int family, uint16_t id) noexcept nogil:
    """0 or -errno."""
    cdef int protocol = IPPROTO_ICMP if family == AF_INET else IPPROTO_ICMPV6
    cdef int size = ICMP_RECEIVE_BYTES
    cdef uint32_t pass4 = ~<uint32_t>(1 << ICMP_ECHO_REPLY_4)
    cdef uint32_t pass6[8]
    s.family = family
    s.id = id
    s.raw = 0
    s.fd = -1
    if family != AF_INET and family != AF_INET6:
        return -EAFNOSUPPORT
    s.fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol)
    if s.fd < 0:
        s.fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol)
        if s.fd < 0:
            s.fd = -1
            return -errno
        s.raw = 1
        # A raw socket hears all of the host's ICMP: let through replies only, not even our own requests on loopback.
        if family == AF_INET:
            setsockopt(s.fd, ICMP_LEVEL_RAW, ICMP_OPTION_FILTER, &pass4, sizeof(pass4))
        else:
            memset(pass6, 0xFF, sizeof(pass6))
            pass6[ICMP_ECHO_REPLY_6 // 32] &= ~(<uint32_t>1 << (ICMP_ECHO_REPLY_6 % 32))
            setsockopt(s.fd, protocol, ICMP_OPTION_FILTER, pass6, sizeof(pass6))
    setsockopt(s.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size))
    return 0


cdef inline void icmp_close(icmp_socket_t *s) noexcept nogil:
    if s.fd >= 0:
        close(s.fd)
        s.fd = -1


cdef inline int probe_ping_available(int family) noexcept nogil:
    """0 if PING probes can be made to addresses of this family, else -errno. Any thread."""
    cdef icmp_socket_t s
    cdef int error = icmp_open(&s, family, 0)
    icmp_close(&s)
    return error


cdef inline uint16_t icmp_checksum(const uint8_t *data, uint32_t length) noexcept nogil:
    """RFC 1071, of an even length; in network order, as its words are."""
    cdef uint32_t sum = 0
    cdef uint32_t i = 0
    cdef uint16_t word
    while i < length:
        memcpy(&word, data + i, 2)
        sum += word
        i += 2
    sum = (sum >> 16) + (sum & 0xFFFF)
    sum += sum >> 16
    return <uint16_t>~sum


cdef inline int icmp_send(icmp_socket_t *s, const address_t *to, uint16_t sequence, uint64_t token) noexcept nogil:
    """0 or -errno."""
    cdef uint8_t echo[24]
    cdef uint16_t word
    cdef sockaddr_in6 where
    memset(echo, 0, sizeof(echo))
    echo[0] = ICMP_ECHO_REQUEST_4 if s.family == AF_INET else ICMP_ECHO_REQUEST_6
    word = htons(s.id)
    memcpy(echo + 4, &word, 2)
    word = htons(sequence)
    memcpy(echo + 6, &word, 2)
    memcpy(echo + 8, &token, 8)
    if s.family == AF_INET:      # ICMPv6's covers the addresses: the kernel does it
        word = icmp_checksum(echo, sizeof(echo))
        memcpy(echo + 2, &word, 2)
    where = to.ip
    where.sin6_port = 0          # a raw IPv6 socket takes it for a protocol number
    if sendto(s.fd, echo, sizeof(echo), 0, <const sockaddr *>&where, to.length) < 0:
        return -errno
    return 0


cdef inline bint icmp_parse(
    const icmp_socket_t *s, const uint8_t *data, uint32_t length, icmp_reply_t *reply
) noexcept nogil:
    """1 if it is an echo reply to a request from this socket, as far as one can tell without the token."""
    cdef uint32_t skip = 0
    cdef uint16_t word
    if s.raw and s.family == AF_INET:
        if length < 20:
            return 0
        skip = (data[0] & 15) * 4
    if skip > length or length - skip < ICMP_ECHO_BYTES:
        return 0
    data += skip
    if data[0] != (ICMP_ECHO_REPLY_4 if s.family == AF_INET else ICMP_ECHO_REPLY_6) or data[1] != 0:
        return 0
    memcpy(&word, data + 4, 2)
    if s.raw and ntohs(word) != s.id:
        return 0
    memcpy(&word, data + 6, 2)
    reply.sequence = ntohs(word)
    memcpy(&reply.token, data + 8, 8)
    return 1


cdef inline int icmp_receive(icmp_socket_t *s, icmp_reply_t *reply) noexcept nogil:
    """1: a reply; 0: something else was read; -errno, -EAGAIN when there is no more."""
    cdef uint8_t data[256]
    cdef ssize_t n
    reply.source.length = sizeof(reply.source.ip)
    n = recvfrom(s.fd, data, sizeof(data), 0, <sockaddr *>&reply.source.ip, &reply.source.length)
    if n < 0:
        return -errno
    return icmp_parse(s, data, <uint32_t>n, reply)


cdef inline bint icmp_source_is(const address_t *source, const address_t *probed) noexcept nogil:
    """The answer must come from the address asked; an unspecified one (0.0.0.0, ::) is answered by another."""
    cdef const sockaddr_in *from4 = <const sockaddr_in *>&source.ip
    cdef const sockaddr_in *to4 = <const sockaddr_in *>&probed.ip
    cdef in6_addr nothing
    if from4.sin_family != to4.sin_family:
        return 0
    if to4.sin_family == AF_INET:
        return to4.sin_addr.s_addr == 0 or to4.sin_addr.s_addr == from4.sin_addr.s_addr
    memset(&nothing, 0, sizeof(nothing))
    if memcmp(&probed.ip.sin6_addr, &nothing, sizeof(nothing)) == 0:
        return 1
    return memcmp(&source.ip.sin6_addr, &probed.ip.sin6_addr, sizeof(nothing)) == 0
