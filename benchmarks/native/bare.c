/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's floor: a forwarder that does nothing but move bytes. recv, send, recv, send.
 *
 *     bare [--splice | --patch] MEMBER_PORT...        prints the port it listens on
 *
 * Each client gets a member connection of its own, members in turn; bytes go both ways unread, ends of stream too.
 * --splice moves them through a pipe without copying. --patch is the floor for HTTP with a connection per request:
 * `Connection: close` is overwritten in passing, so that the member keeps its connection, which then serves the next
 * client; one recv is taken to be one whole answer, after which the client is closed. Good for the 21-byte answer only. */
#include "net.h"
#include <fcntl.h>

enum { CHUNK = 64 << 10, PIPE_BYTES = 1 << 20, MEMBERS_MAX = 64 };

typedef struct side {
    int fd;
    int eof;        /* its peer has been told that no more comes from here */
    struct side *other;
    char *held;     /* what came from here and did not fit into the other socket; owned */
    size_t held_from, held_to;
    int pipe[2];    /* --splice: the way from here to the other side */
    size_t in_pipe;
    int is_member;
    size_t moved;   /* --patch: bytes that went on from here in this event */
    struct side *next; /* among the spares (--patch: member connections without a client), or in the graveyard */
} side_t;

static int ep, use_splice, use_patch, ports[MEMBERS_MAX], members, turn;
static side_t *spares, *graveyard;

static side_t *side_new(int fd) {
    int on = 1;
    side_t *s = calloc(1, sizeof *s);
    s->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (use_splice) {
        if (pipe2(s->pipe, O_NONBLOCK | O_CLOEXEC))
            die("pipe2");
        fcntl(s->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
    }
    return s;
}

/* Freed after the batch: an event further on in it may still point here. */
static void side_bury(side_t *s) {
    close(s->fd);
    s->fd = -1;
    if (use_splice) {
        close(s->pipe[0]);
        close(s->pipe[1]);
    }
    s->next = graveyard;
    graveyard = s;
}

static void pair_bury(side_t *s) {
    side_t *o = s->other;
    side_bury(s);
    if (o)
        side_bury(o);
}

/* Puts everything on its way out of the socket `o`; 1 when `o` is full, -1 when it is gone. */
static int flush(side_t *s, side_t *o) {
    while (s->in_pipe) {
        ssize_t n = splice(s->pipe[0], NULL, o->fd, NULL, s->in_pipe, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n <= 0)
            return n < 0 && errno == EAGAIN ? 1 : -1;
        s->in_pipe -= (size_t)n;
    }
    while (s->held_from < s->held_to) {
        ssize_t n = send(o->fd, s->held + s->held_from, s->held_to - s->held_from, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? 1 : -1;
        s->held_from += (size_t)n;
    }
    return 0;
}

/* Moves bytes from s to its other side until the kernel says wait; -1 when the pair is to be buried. */
static int pump(side_t *s, uint32_t events) {
    static char chunk[CHUNK];
    side_t *o = s->other;
    int r = flush(s, o);
    if (r)
        return r < 0 ? -1 : 0;
    while (!s->eof) {
        ssize_t n = use_splice
                        ? splice(s->fd, NULL, s->pipe[1], NULL, PIPE_BYTES, SPLICE_F_NONBLOCK | SPLICE_F_MOVE)
                        : recv(s->fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        if (n == 0) {
            s->eof = 1;
            shutdown(o->fd, SHUT_WR);
            return o->eof ? -1 : 0;
        }
        if (use_splice) {
            s->in_pipe += (size_t)n;
            if ((r = flush(s, o)))
                return r < 0 ? -1 : 0;
            continue; /* a pipe holds less than it is said to: a short splice says nothing of what is left */
        }
        s->moved += (size_t)n;
        if (use_patch && !s->is_member) {
            char *word = memmem(chunk, (size_t)n, "onnection: close", 16);
            if (word)
                memcpy(word + 11, "alive", 5);
        }
        ssize_t out = send(o->fd, chunk, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (out < 0 && errno != EAGAIN)
            return -1;
        if (out < n) {
            size_t sent = out < 0 ? 0 : (size_t)out;
            if (!s->held)
                s->held = malloc(CHUNK);
            memcpy(s->held, chunk + sent, (size_t)n - sent);
            s->held_from = 0;
            s->held_to = (size_t)n - sent;
            return 0;
        }
        if (n < CHUNK && !(events & EPOLLRDHUP)) /* drained: more would be a new edge */
            return 0;
    }
    return 0;
}

static void accept_all(int fd) {
    int client;
    while ((client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        side_t *c = side_new(client), *m = spares;
        if (m) {
            spares = m->next;
        } else {
            int up = net_connect(ports[turn++ % members]);
            if (up < 0)
                die("connect");
            m = side_new(up);
            m->is_member = 1;
            net_watch(ep, up, m);
        }
        c->other = m;
        m->other = c;
        net_watch(ep, client, c);
    }
}

static void side_event(side_t *s, uint32_t events) {
    if (s->fd < 0)
        return;
    if (!s->other) {
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            die("a spare member connection was closed");
        return;
    }
    side_t *o = s->other;
    if (events & EPOLLERR) {
        pair_bury(s);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) {
        s->moved = 0;
        if (pump(s, events) < 0) {
            pair_bury(s);
            return;
        }
        if (use_patch && s->is_member && s->moved) {
            s->other = NULL;
            s->next = spares;
            spares = s;
            side_bury(o);
            return;
        }
    }
    if ((events & EPOLLOUT) && (o->in_pipe || o->held_from < o->held_to) && pump(o, EPOLLRDHUP) < 0)
        pair_bury(s);
}

int main(int argc, char **argv) {
    enum { BATCH = 256 };
    struct epoll_event events[BATCH];
    int port = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--splice"))
            use_splice = 1;
        else if (!strcmp(argv[i], "--patch"))
            use_patch = 1;
        else if (members < MEMBERS_MAX)
            ports[members++] = atoi(argv[i]);
    }
    if (!members)
        return 2;
    net_raise_descriptor_limit();
    ep = epoll_create1(EPOLL_CLOEXEC);
    int listening = net_listen(&port);
    net_watch(ep, listening, NULL);
    printf("%d\n", port);
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(ep, events, BATCH, -1);
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr)
                side_event(events[i].data.ptr, events[i].events);
            else
                accept_all(listening);
        while (graveyard) {
            side_t *s = graveyard;
            graveyard = s->next;
            free(s->held);
            free(s);
        }
    }
}
