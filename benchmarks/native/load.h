/* SPDX-License-Identifier: Apache-2.0 */
/* The clients: N connections that ask, check the answer and ask again.
 *
 * Closed loop (rate 0): each connection asks as soon as it is answered: the balancer's capacity.
 * Open loop (rate > 0): requests fall due at random times (exponential gaps, the same for every peer), whatever the
 * balancer does. Latency counts from the time a request was due, not from when it could be sent, so a stall is
 * charged to every request that it delayed: no coordinated omission.
 * Hold: each connection is answered once and then stays open, idle, for memory to be measured.
 *
 * States of a connection, and what moves it on:
 *
 *     IDLE --ask--> HEAD --empty line--> BODY --last byte--> IDLE, or EOF when a connection serves one request
 *     EOF --end of stream--> GONE --ask--> HEAD (a new connection)
 *     any --reset, early end, wrong answer--> GONE, one failed request
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "histogram.h"
#include "net.h"
#include "origin.h"
#include "requests.h"
#include <math.h>

enum { GONE, IDLE, HEAD, BODY, EOF_DUE };
enum { CLIENT_HEAD_MAX = 2048, VERIFY_CHUNK = 256 << 10, WATCH_MAX = 8, OPENING_MAX = 16 };

typedef struct {
    int kind;
    int fd;
    int state;
    int sent; /* the request is out; 0 while the connect is under way */
    uint64_t due;
    const request_t *asked;
    size_t have;
    size_t body, body_got; /* bytes of the answer's body: in all, so far */
    char in[CLIENT_HEAD_MAX];
} client_t;

typedef struct {
    /* what to do */
    int port, connections, one_shot, verify, hold, spin;
    double rate, seconds, warmup;
    uint64_t limit; /* stop after so many requests; 0: stop by time */
    size_t body; /* of every answer with status 200 */
    int watch[WATCH_MAX], watched;
    requests_t requests; /* asked in turn */
    size_t next_request;
    /* where it stands */
    enum { RUN_NONE, RUN_WARMUP, RUN_MEASURE, RUN_TAIL, RUN_DRAIN, RUN_HELD } phase;
    uint64_t phase_ends, began, ended;
    uint64_t next_due, random;
    uint64_t watch_ns[WATCH_MAX], own_ns;
    client_t *clients;
    client_t **idle; /* a ring, so that an open loop uses every connection in turn */
    int idle_head, idle_count, opened, busy;
    /* what came of it */
    uint64_t asked, answered, bytes;                              /* answered, bytes: inside the measured window */
    uint64_t failed_connect, failed_early_end, failed_wrong, failed_unanswered, reopened;
    uint64_t hits[10];
    histogram_t latency;
} load_t;

static inline uint64_t cpu_ns(int pid) {
    struct timespec t;
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    if (pid && clock_getcpuclockid(pid, &clock))
        return 0;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void load_sample(load_t *l) {
    for (int i = 0; i < l->watched; i++)
        l->watch_ns[i] = cpu_ns(l->watch[i]) - l->watch_ns[i];
    l->own_ns = cpu_ns(0) - l->own_ns;
}

static inline void load_fall_due(load_t *l) {
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    double u = ((double)(l->random >> 11) + 0.5) / 9007199254740992.0;
    l->next_due += (uint64_t)(-log(u) * 1e9 / l->rate);
}

static inline void client_rest(load_t *l, client_t *c) {
    l->idle[(l->idle_head + l->idle_count++) % l->connections] = c;
}

static inline void client_close(client_t *c) {
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = GONE;
}

/* The request under way will not be answered. */
static inline void client_fail(load_t *l, client_t *c, uint64_t *why) {
    (*why)++;
    l->busy--;
    client_close(c);
    client_rest(l, c);
}

static inline void client_send(load_t *l, client_t *c) {
    ssize_t n = send(c->fd, c->asked->data, c->asked->length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n == (ssize_t)c->asked->length)
        c->sent = 1;
    else if (n >= 0 || (errno != EAGAIN && errno != ENOTCONN && errno != EINPROGRESS))
        client_fail(l, c, &l->failed_connect);
}

/* Asks on this connection, or on a new one in its place. */
static inline void client_ask(load_t *l, client_t *c, int ep, uint64_t due) {
    l->asked++;
    l->busy++;
    c->due = due;
    c->asked = &l->requests.all[l->next_request];
    if (++l->next_request == l->requests.count)
        l->next_request = 0;
    c->have = c->body_got = 0;
    c->sent = 0;
    c->state = HEAD;
    if (c->fd < 0) {
        c->fd = net_connect(l->port);
        if (c->fd < 0) {
            client_fail(l, c, &l->failed_connect);
            return;
        }
        net_watch(ep, c->fd, c);
    }
    client_send(l, c);
}

static inline void client_answered(load_t *l, client_t *c) {
    uint64_t now = now_ns();
    l->busy--;
    if (l->phase == RUN_MEASURE) {
        l->answered++;
        histogram_add(&l->latency, now > c->due ? now - c->due : 0);
    }
    if (l->one_shot)
        client_close(c);
    else
        c->state = IDLE;
    client_rest(l, c);
}

/* 1: the head is whole and right; 0: more is needed; -1: wrong. */
static inline int client_head(load_t *l, client_t *c) {
    char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
    if (!end)
        return c->have == sizeof c->in ? -1 : 0;
    if (c->have < 12 || memcmp(c->in, "HTTP/1.1 ", 9) || memcmp(c->in + 9, c->asked->status, 3))
        return -1;
    char *length = memmem(c->in, (size_t)(end - c->in), "ength: ", 7);
    if (!length)
        return -1;
    c->body = strtoul(length + 7, NULL, 10);
    char *body = end + 4;
    c->body_got = c->have - (size_t)(body - c->in);
    if (c->body_got > c->body)
        return -1;
    if (memcmp(c->asked->status, "200", 3)) /* an answer of the balancer's own: each has its own words */
        return 1;
    if (c->body != l->body)
        return -1;
    if (l->body == BODY_SMALL) {
        if (c->body_got < BODY_SMALL) { /* wait for all of it, to check it in one piece */
            c->body_got = 0;
            return 0;
        }
        if (memcmp(body, "you hit: webserver", 18))
            return -1;
        unsigned digit = (unsigned)(body[18] - '0') % 10;
        if (!(c->asked->digits >> digit & 1))
            return -1;
        l->hits[digit]++;
    } else if (l->verify) {
        for (size_t i = 0; i < c->body_got; i++)
            if ((unsigned char)body[i] != body_byte(i))
                return -1;
    }
    return 1;
}

/* Reads body bytes: compared when verifying, else counted and dropped in the kernel without a copy. */
static inline ssize_t client_body(load_t *l, client_t *c) {
    static unsigned char chunk[VERIFY_CHUNK];
    if (!l->verify)
        return recv(c->fd, NULL, c->body - c->body_got, MSG_DONTWAIT | MSG_TRUNC);
    size_t want = c->body - c->body_got;
    ssize_t n = recv(c->fd, chunk, want < sizeof chunk ? want : sizeof chunk, MSG_DONTWAIT);
    for (ssize_t i = 0; i < n; i++)
        if (chunk[i] != body_byte(c->body_got + (size_t)i)) {
            errno = EILSEQ;
            return -1;
        }
    return n;
}

static inline void client_event(load_t *l, client_t *c, uint32_t events) {
    if (c->fd < 0)
        return;
    if (c->state == IDLE) {
        /* Between requests the balancer may close; that is no failure, but it is counted. */
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
            l->reopened++;
            close(c->fd);
            c->fd = -1; /* stays in the ring; its next request connects anew */
        }
        return;
    }
    if (!c->sent) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            client_fail(l, c, &l->failed_connect);
            return;
        }
        if (!(events & EPOLLOUT))
            return;
        client_send(l, c);
        return;
    }
    for (;;) {
        ssize_t n;
        if (c->state == HEAD) {
            n = recv(c->fd, c->in + c->have, sizeof c->in - c->have, MSG_DONTWAIT);
            if (n > 0) {
                size_t before = c->body_got;
                c->have += (size_t)n;
                int r = client_head(l, c);
                if (r < 0) {
                    client_fail(l, c, &l->failed_wrong);
                    return;
                }
                if (r > 0)
                    c->state = BODY;
                if (l->phase == RUN_MEASURE)
                    l->bytes += c->body_got - before;
            }
        } else if (c->state == BODY) {
            n = client_body(l, c);
            if (n > 0) {
                c->body_got += (size_t)n;
                if (l->phase == RUN_MEASURE)
                    l->bytes += (size_t)n;
            } else if (n < 0 && errno == EILSEQ) {
                client_fail(l, c, &l->failed_wrong);
                return;
            }
        } else { /* EOF_DUE */
            char more;
            n = recv(c->fd, &more, 1, MSG_DONTWAIT);
            if (n == 0) {
                client_answered(l, c);
                return;
            }
            if (n > 0) {
                client_fail(l, c, &l->failed_wrong);
                return;
            }
        }
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            client_fail(l, c, &l->failed_early_end);
            return;
        }
        if (c->state == BODY && c->body_got == c->body) {
            if (!l->one_shot) {
                client_answered(l, c);
                if (events & (EPOLLRDHUP | EPOLLHUP)) /* closed along with its answer: no further edge would tell */
                    client_event(l, c, events);
                return;
            }
            c->state = EOF_DUE;
            if (!(events & EPOLLRDHUP)) /* the end of the stream will be an edge of its own */
                return;
        }
    }
}

/* Starts whatever may start now. */
static inline void load_issue(load_t *l, int ep, uint64_t now) {
    if (l->phase == RUN_DRAIN)
        return;
    int rounds = l->idle_count; /* a connection that fails at once waits for the next turn of the loop */
    while (rounds-- > 0 && !(l->limit && l->asked >= l->limit)) {
        if (l->hold && (l->busy >= OPENING_MAX || l->opened >= l->connections))
            return;
        uint64_t due = now;
        if (l->rate > 0) {
            if (l->next_due > now)
                return;
            due = l->next_due;
            load_fall_due(l);
        }
        client_t *c = l->idle[l->idle_head];
        l->idle_head = (l->idle_head + 1) % l->connections;
        l->idle_count--;
        l->opened++;
        client_ask(l, c, ep, due);
    }
}

static inline void load_finish(load_t *l) {
    uint64_t lost = 0;
    for (int i = 0; i < l->connections; i++) {
        lost += l->phase == RUN_HELD && l->clients[i].fd < 0;
        client_close(&l->clients[i]);
    }
    double seconds = (double)(l->ended - l->began) / 1e9;
    printf("{\"event\": \"done\", \"seconds\": %.6f, \"asked\": %lu, \"answered\": %lu, \"bytes\": %lu, "
           "\"failed\": {\"connect\": %lu, \"early_end\": %lu, \"wrong\": %lu, \"unanswered\": %lu}, "
           "\"reopened\": %lu, \"lost_idle\": %lu, \"own_cpu_ns\": %lu, \"cpu_ns\": [",
           seconds, l->asked, l->answered, l->bytes, l->failed_connect, l->failed_early_end, l->failed_wrong,
           l->failed_unanswered, l->reopened, lost, l->own_ns);
    for (int i = 0; i < l->watched; i++)
        printf("%s%lu", i ? ", " : "", l->watch_ns[i]);
    printf("], \"hits\": [");
    for (int i = 0; i < 10; i++)
        printf("%s%lu", i ? ", " : "", l->hits[i]);
    printf("], \"latency_ns\": {\"p50\": %lu, \"p90\": %lu, \"p99\": %lu, \"p999\": %lu, \"max\": %lu}}\n",
           histogram_percentile(&l->latency, 0.50), histogram_percentile(&l->latency, 0.90),
           histogram_percentile(&l->latency, 0.99), histogram_percentile(&l->latency, 0.999), l->latency.max);
    fflush(stdout);
    requests_free(&l->requests);
    free(l->clients);
    free(l->idle);
    l->clients = NULL;
    l->idle = NULL;
    l->phase = RUN_NONE;
}

static inline void load_say(const char *event) {
    printf("{\"event\": \"%s\"}\n", event);
    fflush(stdout);
}

/* Moves the run from phase to phase. Returns the nanoseconds until it wants to be called again. */
static inline uint64_t load_tick(load_t *l, int ep) {
    if (l->phase == RUN_NONE || l->phase == RUN_HELD)
        return UINT64_MAX;
    uint64_t now = now_ns();
    if (l->phase == RUN_WARMUP && now >= l->phase_ends && !l->hold) {
        load_say("begin"); /* before the clocks: the pipe's wake-up is not the balancer's, and not in the window */
        l->phase = RUN_MEASURE;
        load_sample(l);
        l->began = now = now_ns();
        l->phase_ends = now + (uint64_t)(l->seconds * 1e9);
    } else if (l->phase == RUN_MEASURE && now >= l->phase_ends) {
        load_sample(l);
        l->ended = now;
        load_say("end");
        l->phase = RUN_TAIL; /* the load goes on while the others read their clocks */
        l->phase_ends = now + 50000000u;
    } else if (l->phase == RUN_TAIL && now >= l->phase_ends) {
        l->phase = RUN_DRAIN;
        l->phase_ends = now + 3000000000u;
    }
    load_issue(l, ep, now);
    if (l->hold && l->phase == RUN_WARMUP && l->opened == l->connections && !l->busy) {
        l->phase = RUN_HELD;
        load_say("held");
    }
    if (l->limit && l->asked >= l->limit && l->phase < RUN_DRAIN) {
        l->phase = RUN_DRAIN;
        l->phase_ends = now + 10000000000u;
    }
    if (l->phase == RUN_DRAIN && (!l->busy || now >= l->phase_ends)) {
        l->failed_unanswered = (uint64_t)l->busy;
        load_finish(l);
    }
    if (l->phase == RUN_NONE || l->phase == RUN_HELD)
        return UINT64_MAX;
    uint64_t wait = l->phase_ends > now ? l->phase_ends - now : 0;
    if (l->rate > 0 && l->idle_count && l->next_due < now + wait)
        wait = l->next_due > now ? l->next_due - now : 0;
    return l->hold ? 10000000u : wait;
}

/* Begins a run as its fields say. */
static inline void load_begin(load_t *l) {
    l->clients = calloc((size_t)l->connections, sizeof *l->clients);
    l->idle = calloc((size_t)l->connections, sizeof *l->idle);
    l->idle_head = l->idle_count = 0;
    for (int i = 0; i < l->connections; i++) {
        l->clients[i].kind = KIND_CLIENT;
        l->clients[i].fd = -1;
        client_rest(l, &l->clients[i]);
    }
    l->random = 0x9E3779B97F4A7C15u;
    l->phase = RUN_WARMUP;
    l->next_due = now_ns();
    l->phase_ends = l->next_due + (uint64_t)(l->warmup * 1e9);
}

#endif
