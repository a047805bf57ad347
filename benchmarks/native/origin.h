/* SPDX-License-Identifier: Apache-2.0 */
/* The members: an HTTP server that must never be what limits a run.
 *
 * It answers GET only. A request ends with an empty line, and nothing else of it is looked at but the first letter of
 * its path and whether it says `Connection: close`:
 *
 *     /        21 bytes, "you hit: webserver1\r\n"; the digit is the member's
 *     /f…      the same, under the fields that a web application answers with
 *     /e…      the head of the request itself, as it came
 *     /k…      64 KiB
 *     /m…      16 MiB, by sendfile
 *
 * A body's byte n has the value n * 7 % 251, so the load can tell a missing, doubled or swapped piece. */
#ifndef BENCH_ORIGIN_H
#define BENCH_ORIGIN_H

#include "net.h"
#include <stddef.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { ORIGIN_REQUEST_MAX = 4096, BODY_SMALL = 21, BODY_MEDIUM = 64 << 10, BODY_LARGE = 16 << 20 };
enum { KIND_LISTENER = 1, KIND_MEMBER, KIND_CLIENT, KIND_STDIN };

typedef struct {
    int kind; /* what an epoll event points to starts with its kind */
    int fd;
    int digit;
} listener_t;

typedef struct member_conn {
    int kind;
    int fd;
    int digit;
    int close_after;
    const char *out;  /* bytes still to send from memory; owned by origin_t */
    size_t out_left;
    off_t file_at;    /* the large body is sent from origin_t.large_fd */
    size_t file_left;
    size_t have;      /* bytes of an incomplete request head in `in` */
    struct member_conn *next_free;
    char in[ORIGIN_REQUEST_MAX];
} member_conn_t;

typedef struct {
    int ep;
    int large_fd;
    uint64_t served;
    member_conn_t *free_conns;
    char small[10][128]; /* head and body, by the member's digit */
    size_t small_len;
    char fields[10][512];
    size_t fields_len;
    char echo[ORIGIN_REQUEST_MAX + 128]; /* one at a time: it is asked by checks only */
    char *medium; /* head and body */
    size_t medium_len;
    char head_large[128];
    size_t large_head_len;
} origin_t;

static inline unsigned char body_byte(size_t n) { return (unsigned char)(n * 7 % 251); }

static inline void origin_init(origin_t *o, int ep) {
    memset(o, 0, sizeof *o);
    o->ep = ep;
    for (int d = 0; d < 10; d++) {
        o->small_len = (size_t)sprintf(o->small[d],
                                       "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nyou hit: webserver%d\r\n",
                                       BODY_SMALL, d);
        o->fields_len = (size_t)sprintf(o->fields[d],
                                        "HTTP/1.1 200 OK\r\n"
                                        "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                                        "Server: bench/1.0\r\n"
                                        "Content-Type: text/plain; charset=utf-8\r\n"
                                        "Content-Length: %d\r\n"
                                        "Cache-Control: private, max-age=0, must-revalidate\r\n"
                                        "ETag: \"5f2b-1a7c9e3d\"\r\n"
                                        "Vary: Accept-Encoding, Cookie\r\n"
                                        "X-Request-Id: 3f0e6a52-94b1-4c7d-8a57-5f5e0c6f2d11\r\n\r\n"
                                        "you hit: webserver%d\r\n",
                                        BODY_SMALL, d);
    }
    o->medium = malloc(BODY_MEDIUM + 128);
    size_t head = (size_t)sprintf(o->medium, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY_MEDIUM);
    for (size_t i = 0; i < BODY_MEDIUM; i++)
        o->medium[head + i] = (char)body_byte(i);
    o->medium_len = head + BODY_MEDIUM;
    o->large_head_len =
        (size_t)sprintf(o->head_large, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY_LARGE);
    o->large_fd = memfd_create("large", MFD_CLOEXEC);
    if (o->large_fd < 0 || ftruncate(o->large_fd, BODY_LARGE))
        die("memfd");
    unsigned char *p = mmap(NULL, BODY_LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, o->large_fd, 0);
    for (size_t i = 0; i < BODY_LARGE; i++)
        p[i] = body_byte(i);
    munmap(p, BODY_LARGE);
}

static inline int origin_listen(origin_t *o, int number) {
    listener_t *l = calloc(1, sizeof *l);
    int port = 0;
    l->kind = KIND_LISTENER;
    l->fd = net_listen(&port);
    l->digit = 1 + number % 9;
    net_watch(o->ep, l->fd, l);
    return port;
}

static inline void member_close(origin_t *o, member_conn_t *c) {
    close(c->fd);
    c->fd = -1;
    c->next_free = o->free_conns;
    o->free_conns = c;
}

/* Sends what is due; 0 when all of it is out, 1 when the socket is full, -1 when the connection is gone. */
static inline int member_flush(origin_t *o, member_conn_t *c) {
    while (c->out_left) {
        ssize_t n = send(c->fd, c->out, c->out_left, MSG_DONTWAIT | MSG_NOSIGNAL | (c->file_left ? MSG_MORE : 0));
        if (n < 0)
            return errno == EAGAIN ? 1 : -1;
        c->out += n;
        c->out_left -= (size_t)n;
    }
    while (c->file_left) {
        ssize_t n = sendfile(c->fd, o->large_fd, &c->file_at, c->file_left);
        if (n <= 0)
            return n < 0 && errno == EAGAIN ? 1 : -1;
        c->file_left -= (size_t)n;
    }
    return 0;
}

static inline void member_answer(origin_t *o, member_conn_t *c) {
    char path = c->have > 6 ? c->in[5] : ' ';
    size_t asked = c->have;
    c->close_after = memmem(c->in, c->have, "onnection: close", 16) != NULL;
    c->have = 0;
    o->served++;
    if (path == 'k') {
        c->out = o->medium;
        c->out_left = o->medium_len;
    } else if (path == 'f') {
        c->out = o->fields[c->digit];
        c->out_left = o->fields_len;
    } else if (path == 'e') {
        int head = sprintf(o->echo, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", asked);
        memcpy(o->echo + head, c->in, asked);
        c->out = o->echo;
        c->out_left = (size_t)head + asked;
    } else if (path == 'm') {
        c->out = o->head_large;
        c->out_left = o->large_head_len;
        c->file_at = 0;
        c->file_left = BODY_LARGE;
    } else {
        c->out = o->small[c->digit];
        c->out_left = o->small_len;
    }
}

static inline void member_event(origin_t *o, member_conn_t *c, uint32_t events) {
    if (c->fd < 0)
        return;
    for (;;) {
        int r = c->out_left || c->file_left ? member_flush(o, c) : 0;
        if (r < 0 || (r == 0 && c->close_after)) {
            member_close(o, c);
            return;
        }
        if (r > 0 || !(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
            return;
        ssize_t n = recv(c->fd, c->in + c->have, sizeof c->in - c->have, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            member_close(o, c);
            return;
        }
        c->have += (size_t)n;
        if (c->have >= 4 && !memcmp(c->in + c->have - 4, "\r\n\r\n", 4)) {
            member_answer(o, c);
            if (!(events & EPOLLRDHUP)) /* one request at a time: the next one is a new edge */
                events &= ~(uint32_t)EPOLLIN;
        } else if (c->have == sizeof c->in) {
            member_close(o, c);
            return;
        }
    }
}

static inline void origin_accept(origin_t *o, listener_t *l) {
    for (;;) {
        int on = 1, fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        member_conn_t *c = o->free_conns;
        if (c)
            o->free_conns = c->next_free;
        else
            c = malloc(sizeof *c);
        memset(c, 0, offsetof(member_conn_t, in));
        c->kind = KIND_MEMBER;
        c->fd = fd;
        c->digit = l->digit;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        net_watch(o->ep, fd, c);
    }
}

#endif
