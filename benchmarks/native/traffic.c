/* SPDX-License-Identifier: Apache-2.0 */
/* Members and clients in one thread: everything in a comparison that is not the balancer.
 *
 * One loop serves both sides, so that CPU 1 spends its time on traffic and not on switching between a load generator
 * and a server. Commands come on stdin, one a line; every answer is one line of JSON on stdout:
 *
 *     members N                     opens N more listening ports             {"event": "members", "ports": […]}
 *     run port=P requests=FILE …    keys as in `set` below                   {"event": "begin"}, "end", "done" …
 *     stop                          ends a run that holds its connections    {"event": "done", …}
 */
#include "load.h"
#include "origin.h"
#include <fcntl.h>
#include <sys/prctl.h>

static load_t load;
static origin_t origin;

static int set(load_t *l, const char *key, const char *value) {
    if (!strcmp(key, "port")) l->port = atoi(value);
    else if (!strcmp(key, "connections")) l->connections = atoi(value);
    else if (!strcmp(key, "one_shot")) l->one_shot = atoi(value); /* a connection per request */
    else if (!strcmp(key, "verify")) l->verify = atoi(value);     /* compare every byte of every body */
    else if (!strcmp(key, "hold")) l->hold = atoi(value);
    else if (!strcmp(key, "spin")) l->spin = atoi(value);         /* poll instead of sleeping */
    else if (!strcmp(key, "rate")) l->rate = atof(value);         /* requests a second; 0: closed loop */
    else if (!strcmp(key, "seconds")) l->seconds = atof(value);
    else if (!strcmp(key, "warmup")) l->warmup = atof(value);
    else if (!strcmp(key, "limit")) l->limit = strtoull(value, NULL, 10);
    else if (!strcmp(key, "body")) l->body = strtoull(value, NULL, 10);
    else if (!strcmp(key, "watch") && l->watched < WATCH_MAX) l->watch[l->watched++] = atoi(value);
    else if (!strcmp(key, "requests")) return !requests_read(&l->requests, value);
    else return 0;
    return 1;
}

static void command(char *line) {
    char *save, *word = strtok_r(line, " \n", &save);
    if (!word)
        return;
    if (!strcmp(word, "members")) {
        word = strtok_r(NULL, " \n", &save);
        static int number;
        int n = word ? atoi(word) : 0;
        printf("{\"event\": \"members\", \"ports\": [");
        for (int i = 0; i < n; i++)
            printf("%s%d", i ? ", " : "", origin_listen(&origin, number++));
        printf("]}\n");
        fflush(stdout);
    } else if (!strcmp(word, "run") && load.phase == RUN_NONE) {
        memset(&load, 0, sizeof load);
        load.connections = 64;
        load.seconds = 1;
        load.body = BODY_SMALL;
        while ((word = strtok_r(NULL, " \n", &save))) {
            char *value = strchr(word, '=');
            if (value)
                *value++ = 0;
            if (!value || !set(&load, word, value)) {
                fprintf(stderr, "traffic: can't take: %s\n", word);
                exit(2);
            }
        }
        if (!load.requests.count) {
            fprintf(stderr, "traffic: nothing to ask\n");
            exit(2);
        }
        load_begin(&load);
    } else if (!strcmp(word, "stop")) {
        if (load.phase == RUN_NONE)
            load_say("done");
        else
            load_finish(&load);
    } else {
        fprintf(stderr, "traffic: unknown command: %s\n", word);
        exit(2);
    }
}

static void commands(void) {
    static char line[4096];
    static size_t have;
    for (;;) {
        ssize_t n = read(0, line + have, sizeof line - 1 - have);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            exit(0);
        have += (size_t)n;
        line[have] = 0;
        char *end;
        while ((end = strchr(line, '\n'))) {
            *end++ = 0;
            command(line);
            have = strlen(end);
            memmove(line, end, have + 1);
        }
    }
}

int main(void) {
    enum { BATCH = 256 };
    struct epoll_event events[BATCH];
    int in = KIND_STDIN, ep = epoll_create1(EPOLL_CLOEXEC);
    prctl(PR_SET_TIMERSLACK, 1);
    net_raise_descriptor_limit();
    origin_init(&origin, ep);
    fcntl(0, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &in};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, 0, &e))
        die("stdin");
    for (;;) {
        uint64_t wait = load_tick(&load, ep);
        struct timespec t = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
        if (load.spin)
            t = (struct timespec){0};
        int n = epoll_pwait2(ep, events, BATCH, wait == UINT64_MAX ? NULL : &t, NULL);
        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;
            switch (*(int *)what) {
            case KIND_LISTENER: origin_accept(&origin, what); break;
            case KIND_MEMBER: member_event(&origin, what, events[i].events); break;
            case KIND_CLIENT:
                /* A run that has just ended freed its clients, and closed their sockets before: none is left here,
                 * for runs end in load_tick and command, and command is handled after the clients of its batch. */
                client_event(&load, what, events[i].events);
                break;
            }
        }
        for (int i = 0; i < n; i++)
            if (*(int *)events[i].data.ptr == KIND_STDIN) {
                commands();
                break;
            }
    }
}
