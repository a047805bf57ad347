# SPDX-License-Identifier: Apache-2.0
"""Which of the sockets that listen on one port get the new connections, by classic BPF, which needs no privilege.

The kernel keeps the sockets of a SO_REUSEPORT group in an array: one that begins to listen is put at its end, and where one
stops, the last one is moved to its place.  A SYN is given to one of them by a hash, or by the index that a program answers;
an index that is none falls back to the hash.  All later packets of that handshake find the same socket without this choice.
"""
from libc.stdint cimport uint16_t, uint32_t
from fastlb.core.sys.epoll cimport errno
from fastlb.core.sys.filter cimport (
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_MOD, BPF_RET, BPF_W, SKF_AD_OFF,
    SKF_AD_RANDOM, SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF, SO_DETACH_FILTER, SO_DETACH_REUSEPORT_BPF, sock_filter,
    sock_fprog,
)
from fastlb.core.sys.socket cimport SOL_SOCKET, setsockopt

cdef enum:
    TCP_FLAGS_AT = 13            # in the header
    TCP_SYN_OR_ACK = 0x12
    TCP_SYN = 0x02


cdef inline void steer_step(sock_filter *step, int code, uint32_t k) noexcept nogil:
    step.code = <uint16_t>code
    step.jt = 0
    step.jf = 0
    step.k = k


cdef inline int steer_among(int fd, uint32_t first, uint32_t count) noexcept nogil:
    """Have the sockets first..first+count-1 of the group of `fd` take all new connections, evenly. 0 or -errno."""
    cdef sock_filter steps[4]
    cdef sock_fprog program
    steer_step(&steps[0], BPF_LD | BPF_W | BPF_ABS, <uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM))
    steer_step(&steps[1], BPF_ALU | BPF_MOD | BPF_K, count)
    steer_step(&steps[2], BPF_ALU | BPF_ADD | BPF_K, first)
    steer_step(&steps[3], BPF_RET | BPF_A, 0)
    program.len = 4
    program.filter = &steps[0]
    return -errno if setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0 else 0


cdef inline void steer_evenly(int fd) noexcept nogil:
    """By the hash again. Where the kernel cannot (before 5.3) the last program stays until the next."""
    cdef int unused = 0
    setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof(unused))


cdef inline int steer_none(int fd) noexcept nogil:
    """Have a listening socket take no new handshake; those that have begun go on. 0 or -errno.

    A SYN that comes to it is dropped without a word, as if it had been lost: the client sends another after a second.
    """
    cdef sock_filter steps[5]
    cdef sock_fprog program
    steer_step(&steps[0], BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT)
    steer_step(&steps[1], BPF_ALU | BPF_AND | BPF_K, TCP_SYN_OR_ACK)
    steer_step(&steps[2], BPF_JMP | BPF_JEQ | BPF_K, TCP_SYN)
    steps[2].jf = 1
    steer_step(&steps[3], BPF_RET | BPF_K, 0)
    steer_step(&steps[4], BPF_RET | BPF_K, 0xFFFFFFFF)
    program.len = 5
    program.filter = &steps[0]
    return -errno if setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 else 0


cdef inline void steer_lift(int fd) noexcept nogil:
    """A connection that was accepted from such a socket has inherited its filter: it needs none."""
    cdef int unused = 0
    setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused))
