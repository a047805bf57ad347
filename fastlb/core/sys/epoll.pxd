# SPDX-License-Identifier: Apache-2.0
"""epoll, eventfd, descriptors and pipes, as the C library declares them. No logic."""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void *ptr
        int fd
        uint32_t u32
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    uint32_t EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT
    int epoll_create1(int flags) noexcept
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event) noexcept
    int epoll_wait(int epfd, epoll_event *events, int maximum, int timeout_ms) noexcept

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int initial, int flags) noexcept

cdef extern from "<unistd.h>" nogil:
    int close(int fd) noexcept
    ssize_t read(int fd, void *data, size_t size) noexcept
    ssize_t write(int fd, const void *data, size_t size) noexcept
    int pipe2(int *fds, int flags) noexcept

cdef extern from "<fcntl.h>" nogil:
    int O_NONBLOCK, O_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ
    int SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE
    ssize_t splice(int fd_in, long long *off_in, int fd_out, long long *off_out, size_t length, unsigned int flags) noexcept
    int fcntl(int fd, int command, ...) noexcept

cdef extern from "<errno.h>" nogil:
    int errno
