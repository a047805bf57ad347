# SPDX-License-Identifier: Apache-2.0
"""Sockets, as the C library declares them. No logic."""
from libc.stdint cimport uint16_t, uint32_t, uint8_t

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t
    cdef struct sockaddr:
        sa_family_t sa_family
    cdef struct sockaddr_storage:
        sa_family_t ss_family
    cdef struct iovec:
        void *iov_base
        size_t iov_len
    cdef struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    int AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC
    int SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_NONBLOCK, SOCK_CLOEXEC
    int SOL_SOCKET, SO_REUSEADDR, SO_REUSEPORT, SO_ERROR, SO_LINGER, SO_RCVBUF, SO_SNDBUF, SO_KEEPALIVE
    int SO_INCOMING_CPU, SO_ZEROCOPY, SO_RCVLOWAT
    int SOMAXCONN, SHUT_RD, SHUT_WR, SHUT_RDWR
    int MSG_NOSIGNAL, MSG_DONTWAIT, MSG_MORE, MSG_PEEK, MSG_TRUNC
    cdef struct linger:
        int l_onoff
        int l_linger
    int socket(int domain, int kind, int protocol) noexcept
    int bind(int fd, const sockaddr *address, socklen_t length) noexcept
    int listen(int fd, int backlog) noexcept
    int connect(int fd, const sockaddr *address, socklen_t length) noexcept
    int accept4(int fd, sockaddr *address, socklen_t *length, int flags) noexcept
    ssize_t recv(int fd, void *data, size_t size, int flags) noexcept
    ssize_t send(int fd, const void *data, size_t size, int flags) noexcept
    ssize_t sendmsg(int fd, const msghdr *message, int flags) noexcept
    ssize_t recvmsg(int fd, msghdr *message, int flags) noexcept
    ssize_t sendto(int fd, const void *data, size_t size, int flags, const sockaddr *to, socklen_t length) noexcept
    ssize_t recvfrom(int fd, void *data, size_t size, int flags, sockaddr *who, socklen_t *length) noexcept
    int setsockopt(int fd, int level, int name, const void *value, socklen_t length) noexcept
    int getsockopt(int fd, int level, int name, void *value, socklen_t *length) noexcept
    int getsockname(int fd, sockaddr *address, socklen_t *length) noexcept
    int getpeername(int fd, sockaddr *address, socklen_t *length) noexcept
    int shutdown(int fd, int how) noexcept

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in:
        sa_family_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        sa_family_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    int IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6, IPPROTO_ICMP, IPPROTO_ICMPV6, IPV6_V6ONLY, IP_FREEBIND, IPV6_FREEBIND
    uint16_t htons(uint16_t port) noexcept
    uint16_t ntohs(uint16_t port) noexcept
    uint32_t htonl(uint32_t value) noexcept
    uint32_t ntohl(uint32_t value) noexcept

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY, TCP_DEFER_ACCEPT, TCP_QUICKACK, TCP_USER_TIMEOUT, TCP_FASTOPEN, TCP_NOTSENT_LOWAT

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *out) noexcept
    const char *inet_ntop(int family, const void *address, char *text, socklen_t size) noexcept
