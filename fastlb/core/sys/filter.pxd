# SPDX-License-Identifier: Apache-2.0
"""Classic BPF on sockets, as the kernel declares it. No logic."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from "<linux/filter.h>" nogil:
    cdef struct sock_filter:
        uint16_t code
        uint8_t jt
        uint8_t jf
        uint32_t k
    cdef struct sock_fprog:
        unsigned short len
        sock_filter *filter
    int BPF_LD, BPF_W, BPF_B, BPF_ABS, BPF_ALU, BPF_AND, BPF_ADD, BPF_MOD, BPF_JMP, BPF_JEQ, BPF_K, BPF_RET, BPF_A
    int SKF_AD_OFF, SKF_AD_RANDOM

cdef extern from * nogil:
    """
    #include <sys/socket.h>
    #ifndef SO_DETACH_REUSEPORT_BPF          /* headers before Linux 5.3 */
    #define SO_DETACH_REUSEPORT_BPF 68
    #endif
    """
    int SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_ATTACH_REUSEPORT_CBPF, SO_DETACH_REUSEPORT_BPF
