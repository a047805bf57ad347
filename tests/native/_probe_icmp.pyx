# SPDX-License-Identifier: Apache-2.0
"""probe_icmp.pxd driven from Python."""
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memset
from fastlb.core.model cimport address_t
from fastlb.core.probe_icmp cimport (
    icmp_checksum, icmp_close, icmp_open, icmp_parse, icmp_receive, icmp_reply_t, icmp_send, icmp_socket_t,
    icmp_source_is, probe_ping_available,
)
from fastlb.core.sys.socket cimport AF_INET, AF_INET6, inet_pton, sockaddr_in, sockaddr_in6


cdef address_t parse_address(str text):
    cdef address_t a
    memset(&a, 0, sizeof(a))
    a.ip.sin6_family = AF_INET6 if ":" in text else AF_INET
    if a.ip.sin6_family == AF_INET:
        a.length = sizeof(sockaddr_in)
        inet_pton(AF_INET, text.encode(), &(<sockaddr_in *>&a.ip).sin_addr)
    else:
        a.length = sizeof(sockaddr_in6)
        inet_pton(AF_INET6, text.encode(), &a.ip.sin6_addr)
    return a


def available(int family):
    return probe_ping_available(family)


def checksum(bytes data):
    cdef uint16_t value = icmp_checksum(<const uint8_t *>data, len(data))
    return (<char *>&value)[:2]


def parse(bytes data, int family, bint raw, int ident):
    """(sequence, token) or None."""
    cdef icmp_socket_t s
    cdef icmp_reply_t reply
    s.fd = -1
    s.raw = raw
    s.family = family
    s.id = ident
    if not icmp_parse(&s, <const uint8_t *>data, len(data), &reply):
        return None
    return reply.sequence, reply.token


def source_is(str source, str probed):
    cdef address_t a = parse_address(source)
    cdef address_t b = parse_address(probed)
    return bool(icmp_source_is(&a, &b))


cdef class Socket:
    cdef icmp_socket_t s

    def __cinit__(self, int family, int ident):
        error = icmp_open(&self.s, family, ident)
        if error < 0:
            raise OSError(-error, "icmp_open")

    def fileno(self):
        return self.s.fd

    @property
    def raw(self):
        return bool(self.s.raw)

    def send(self, str to, int sequence, uint64_t token):
        cdef address_t a = parse_address(to)
        return icmp_send(&self.s, &a, sequence, token)

    def receive(self):
        """(sequence, token), 0 for something else, or a negative errno."""
        cdef icmp_reply_t reply
        cdef int found = icmp_receive(&self.s, &reply)
        if found == 1:
            return reply.sequence, reply.token
        return found

    def close(self):
        icmp_close(&self.s)
