# SPDX-License-Identifier: Apache-2.0
"""Listening sockets on one address, one for each worker."""
from libc.stdint cimport uint16_t, uint32_t
from fastlb.core.model cimport address_t
from fastlb.core.sys.epoll cimport close, errno
from fastlb.core.sys.socket cimport (
    AF_INET6, IP_FREEBIND, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPV6_FREEBIND, IPV6_V6ONLY, SO_REUSEADDR, SO_REUSEPORT,
    SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY, bind, getsockname, listen, ntohs, setsockopt, sockaddr,
    socket, socklen_t,
)

cdef enum:
    BIND_BACKLOG = 65535         # the kernel takes net.core.somaxconn of it

cdef enum:                       # how, bits
    BIND_FREE = 1                # to an address that this machine does not have as well; clients come as soon as it has it
    BIND_BESIDE = 2              # beside sockets of ours that listen there, and without listening yet


cdef inline void bind_close(uint32_t count, const int *fds) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        close(fds[i])


cdef inline int bind_address(const address_t *address, uint32_t count, uint32_t how, int *fds, uint16_t *port) noexcept nogil:
    """Bind `count` sockets to one address, and listen. 0 or -errno with none left open. `port` 0 is replaced.

    The first is bound without SO_REUSEPORT, so that an address that anybody uses already is refused, this process included;
    the others join it.
    """
    cdef address_t here = address[0]
    cdef socklen_t length
    cdef uint32_t i
    cdef int one = 1
    cdef int error = 0
    cdef uint32_t made = 0
    for i in range(count):
        fds[i] = socket(here.ip.sin6_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if fds[i] < 0:
            error = -errno
            break
        made += 1
        setsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))       # accepted sockets inherit it
        if here.ip.sin6_family == AF_INET6:
            setsockopt(fds[i], IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))
        if how & BIND_FREE and here.ip.sin6_family == AF_INET6:
            setsockopt(fds[i], IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one))
        elif how & BIND_FREE:
            setsockopt(fds[i], IPPROTO_IP, IP_FREEBIND, &one, sizeof(one))
        if i or how & BIND_BESIDE:
            setsockopt(fds[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))
        if bind(fds[i], <const sockaddr *>&here.ip, here.length) < 0:
            error = -errno
            break
        if how & BIND_BESIDE:
            continue
        if i == 0:
            length = sizeof(here.ip)
            getsockname(fds[i], <sockaddr *>&here.ip, &length)
            port[0] = ntohs(here.ip.sin6_port)                                # at the same place in sockaddr_in
            setsockopt(fds[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))
        if listen(fds[i], BIND_BACKLOG) < 0:
            error = -errno
            break
    if error:
        bind_close(made, fds)
    return error


cdef inline int bind_listen(uint32_t count, const int *fds) noexcept nogil:
    """Have sockets that were bound beside others listen, in this order. 0 or -errno: the kernel has no memory."""
    cdef uint32_t i
    for i in range(count):
        if listen(fds[i], BIND_BACKLOG) < 0:
            return -errno
    return 0
