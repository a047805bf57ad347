# SPDX-License-Identifier: Apache-2.0
"""One check of one target, from its start to its result. All of it runs on the probe thread.

    IDLE      the timer stands at the next start                    → CONNECT, ECHO
    CONNECT   writable: TCP passes; HTTP goes on                    → IDLE, SEND
    SEND      the request is written                                → STATUS
    STATUS    the status line is whole: passes or not               → DRAIN
    DRAIN     the result is known; the rest of the answer is read
              and dropped: a server that still writes is not reset  → IDLE
    ECHO      the reply came: passes                                → IDLE

An error or the timer in CONNECT, SEND, STATUS and ECHO is a failure, and leads to IDLE.  A step that comes between two of
these (TLS behind CONNECT) is one more state with its events.  There is one timer a target, so never two checks at once.
"""
from libc.errno cimport (
    EADDRNOTAVAIL, EAGAIN, ECONNABORTED, EINPROGRESS, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC,
)
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy
from fastlb.core.atomics cimport counter_bump, counter_get, counter_set, flag_set
from fastlb.core.clock cimport clock_now_ns
from fastlb.core.health cimport health_observe
from fastlb.core.loop cimport loop_add, loop_remove
from fastlb.core.probe_http cimport (
    PROBE_STATUS_BYTES, PROBE_STATUS_MALFORMED, PROBE_STATUS_MORE, probe_codes_have, probe_http_status,
)
from fastlb.core.probe_icmp cimport (
    icmp_close, icmp_open, icmp_receive, icmp_reply_t, icmp_send, icmp_socket_t, icmp_source_is,
)
from fastlb.core.probe_target cimport (
    PROBE_CLOSED, PROBE_CONNECT, PROBE_CONNECT_FAILED, PROBE_CONNECT_TIMEOUT, PROBE_DRAIN, PROBE_DRAIN_BYTES, PROBE_DRAIN_NS,
    PROBE_ECHO, PROBE_HELD_MS, PROBE_IDLE, PROBE_IO_FAILED, PROBE_MALFORMED, PROBE_NO_ANSWER, PROBE_PASSED,
    PROBE_PING, PROBE_SCRATCH, PROBE_SEND, PROBE_SEQUENCES, PROBE_SHORT_NS, PROBE_SOON_BURST, PROBE_SOON_EACH_NS,
    PROBE_SOON_NS, PROBE_STATUS, PROBE_TCP, PROBE_WRONG_STATUS, probe_code_t, probe_result_t, probe_target_t, probes_t,
)
from fastlb.core.random cimport random_below, random_next
from fastlb.core.sys.epoll cimport EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, close, errno
from fastlb.core.sys.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from fastlb.core.sys.socket cimport (
    AF_INET, IPPROTO_TCP, MSG_NOSIGNAL, SO_ERROR, SO_LINGER, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET,
    TCP_QUICKACK, connect, getsockopt, linger, recv, send, setsockopt, sockaddr, socket, socklen_t,
)
from fastlb.core.timers cimport timer_arm, timer_t


cdef inline void probe_arm(probes_t *p, probe_target_t *t, uint64_t at_ns) noexcept nogil:
    timer_arm(&p.loop.timers, &t.timer, at_ns // 1000000)


cdef inline void probe_first(probes_t *p, probe_target_t *t, uint64_t now_ns) noexcept nogil:
    """Set the first check: soon, if few targets come at once; of many, at any time within the delay, which spreads them."""
    cdef uint64_t window_ns = t.config.delay_ns
    if p.soon_ns < now_ns:
        p.soon_ns = now_ns
    if p.soon_ns - now_ns < <uint64_t>PROBE_SOON_BURST * PROBE_SOON_EACH_NS:
        p.soon_ns += PROBE_SOON_EACH_NS
        window_ns = min(window_ns, <uint64_t>PROBE_SOON_NS)
    t.next_ns = now_ns + random_below(&p.random, <uint32_t>(window_ns // 1000000)) * <uint64_t>1000000
    probe_arm(p, t, t.next_ns)


cdef inline void probe_close(probes_t *p, probe_target_t *t) noexcept nogil:
    if t.fd < 0:
        return
    loop_remove(&p.loop, t.fd)   # a child between fork and exec may hold the socket a moment longer (loop.pxd)
    close(t.fd)
    t.fd = -1
    p.open -= 1


cdef inline void probe_rest(probes_t *p, probe_target_t *t, uint64_t now_ns) noexcept nogil:
    """Wait for the next start. When a check outlasts the delay, it comes at once, or is left out if it is long past."""
    t.state = PROBE_IDLE
    if t.next_ns + t.config.delay_ns // 2 < now_ns:
        t.next_ns += ((now_ns - t.next_ns) // t.config.delay_ns + 1) * t.config.delay_ns
    probe_arm(p, t, t.next_ns)


cdef inline void probe_abandon(probes_t *p, probe_target_t *t) noexcept nogil:
    """End what is under way, without a result."""
    probe_close(p, t)
    if t.state == PROBE_ECHO:
        p.sequences[t.sequence] = NULL
    t.state = PROBE_IDLE


cdef inline void probe_put_off(probes_t *p, probe_target_t *t, uint64_t now_ns, uint32_t wait_ms) noexcept nogil:
    """Start it later, at some time between one and two such waits."""
    t.state = PROBE_IDLE
    t.next_ns = now_ns + (wait_ms + random_below(&p.random, wait_ms)) * <uint64_t>1000000
    probe_arm(p, t, t.next_ns)


cdef inline bint probe_is_shortage(int error) noexcept nogil:
    """Is it this host that lacks something? A member must not go down for that. EAGAIN, EADDRNOTAVAIL: no port is free;
    ENOSPC: too many descriptors are watched."""
    return error in (EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN, EADDRNOTAVAIL, ENOSPC)


cdef inline void probe_short(probes_t *p, probe_target_t *t, uint64_t now_ns) noexcept nogil:
    counter_bump(&p.shortages, 1)
    p.short_until_ns = now_ns + PROBE_SHORT_NS
    probe_close(p, t)
    probe_put_off(p, t, now_ns, PROBE_SHORT_NS // 1000000)


cdef inline void probe_note(
    probes_t *p, probe_target_t *t, uint64_t now_ns, probe_code_t code, int error, uint32_t status
) noexcept nogil:
    """Count a result, tell the owner if it is news."""
    cdef probe_result_t result
    cdef bint passed = code == PROBE_PASSED
    result.code = code
    result.error = error
    result.status = status
    result.at_ns = now_ns
    result.duration_ns = now_ns - t.began_ns if now_ns > t.began_ns else 0
    result.first = counter_get(&t.at_ns) == 0
    result.changed = health_observe(&t.health, passed, t.config.rise, t.config.fall)
    counter_set(&t.last, <int64_t>code | (<int64_t>status << 8) | (<int64_t>error << 32))
    counter_set(&t.duration_ns, <int64_t>result.duration_ns)
    counter_set(&t.at_ns, <int64_t>now_ns)
    counter_bump(&t.passed if passed else &t.failed, 1)
    if result.changed:
        counter_set(&t.changed_ns, <int64_t>now_ns)
        flag_set(&t.up, passed)
    if not (result.first or result.changed):
        return
    pthread_mutex_lock(&p.report_mutex)
    if not t.removed and t.report != NULL:
        t.report(t.owner, t.health.up, &result)
    pthread_mutex_unlock(&p.report_mutex)


cdef inline void probe_end(
    probes_t *p, probe_target_t *t, uint64_t now_ns, probe_code_t code, int error
) noexcept nogil:
    """The check is over and nothing of it is left to do."""
    probe_abandon(p, t)
    probe_note(p, t, now_ns, code, error, 0)
    probe_rest(p, t, now_ns)


cdef inline void probe_drain(probes_t *p, probe_target_t *t, bint closing) noexcept nogil:
    """Read on until the member closes. `closing`: it has, so a short read is the last one."""
    cdef ssize_t n
    while 1:
        n = recv(t.fd, p.scratch, PROBE_SCRATCH, 0)
        if n < 0 and errno == EINTR:
            continue
        if n < 0 and errno == EAGAIN:
            return
        if n > 0:
            t.drained += <uint32_t>n
            if t.drained < PROBE_DRAIN_BYTES:
                if n == PROBE_SCRATCH:
                    continue
                if not closing:
                    return       # edge-triggered: what comes later is another event
        probe_close(p, t)
        probe_rest(p, t, p.loop.now_ns)
        return


cdef inline void probe_read_status(probes_t *p, probe_target_t *t, bint closing) noexcept nogil:
    cdef uint64_t now_ns = p.loop.now_ns
    cdef uint32_t wanted
    cdef ssize_t n
    cdef int status
    while 1:
        n = recv(t.fd, p.scratch, PROBE_SCRATCH, 0)
        if n > 0:
            wanted = min(<uint32_t>n, <uint32_t>PROBE_STATUS_BYTES - t.line_length)
            memcpy(t.line + t.line_length, p.scratch, wanted)
            t.line_length += wanted
            status = probe_http_status(t.line, t.line_length)
            if status == PROBE_STATUS_MORE:
                continue
            if status == PROBE_STATUS_MALFORMED:
                probe_end(p, t, now_ns, PROBE_MALFORMED, 0)
                return
            probe_note(
                p, t, now_ns, PROBE_PASSED if probe_codes_have(&t.config.codes, status) else PROBE_WRONG_STATUS, 0, status
            )
            if closing and n < PROBE_SCRATCH:
                probe_close(p, t)
                probe_rest(p, t, now_ns)
                return
            t.state = PROBE_DRAIN
            t.drained = <uint32_t>n
            probe_arm(p, t, min(now_ns + PROBE_DRAIN_NS, t.next_ns))
            if n == PROBE_SCRATCH:
                probe_drain(p, t, closing)
            return
        if n == 0:
            probe_end(p, t, now_ns, PROBE_CLOSED, 0)
        elif errno == EINTR:
            continue
        elif errno != EAGAIN:
            probe_end(p, t, now_ns, PROBE_IO_FAILED, errno)
        return


cdef inline void probe_write(probes_t *p, probe_target_t *t) noexcept nogil:
    cdef ssize_t n
    while t.sent < t.config.request_length:
        n = send(t.fd, t.config.request + t.sent, t.config.request_length - t.sent, MSG_NOSIGNAL)
        if n >= 0:
            t.sent += <uint32_t>n
        elif errno == EAGAIN:
            return
        elif errno != EINTR:
            probe_end(p, t, p.loop.now_ns, PROBE_IO_FAILED, errno)
            return
    t.state = PROBE_STATUS


cdef inline void probe_event(probes_t *p, probe_target_t *t, uint32_t events) noexcept nogil:
    cdef int error = 0
    cdef socklen_t size = sizeof(error)
    if t.state == PROBE_CONNECT:
        if events & (EPOLLERR | EPOLLHUP):
            getsockopt(t.fd, SOL_SOCKET, SO_ERROR, &error, &size)
            probe_end(p, t, p.loop.now_ns, PROBE_CONNECT_FAILED, error if error else ECONNABORTED)
            return
        if not events & EPOLLOUT:
            return
        if t.config.kind == PROBE_TCP:
            probe_end(p, t, p.loop.now_ns, PROBE_PASSED, 0)
            return
        t.state = PROBE_SEND
        probe_arm(p, t, p.loop.now_ns + t.config.timeout_ns)
    if t.state == PROBE_SEND:
        probe_write(p, t)
    if not events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP):
        return
    if t.state == PROBE_STATUS:
        probe_read_status(p, t, events & EPOLLRDHUP != 0)
    elif t.state == PROBE_DRAIN:
        probe_drain(p, t, events & EPOLLRDHUP != 0)


cdef inline int probe_open(probes_t *p, probe_target_t *t) noexcept nogil:
    """Begin to connect; 0 or -errno."""
    cdef int off = 0
    cdef linger none
    t.fd = socket(t.address.ip.sin6_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if t.fd < 0:
        t.fd = -1
        return -errno
    p.open += 1
    # Every check ends with a reset: no socket stays in TIME_WAIT, here or at the member (which has sent its FIN by then,
    # or does not deserve better). Of an HTTP check it saves a quarter: 46 -> 36 us on loopback, the member's kernel included.
    none.l_onoff = 1
    none.l_linger = 0
    setsockopt(t.fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none))
    # The handshake's last packet waits for our first: the request carries it, or the reset, and then the member's
    # process does not even hear of a TCP check.
    setsockopt(t.fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off))
    if connect(t.fd, <const sockaddr *>&t.address.ip, t.address.length) < 0 and errno != EINPROGRESS:
        return -errno
    return loop_add(&p.loop, t.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, t)


cdef inline int probe_ping(probes_t *p, probe_target_t *t) noexcept nogil:
    """Send an echo request; 0 or -errno."""
    cdef int family = t.address.ip.sin6_family
    cdef icmp_socket_t *s = &p.icmp[0 if family == AF_INET else 1]
    cdef uint32_t tries = 0
    cdef int error
    if p.sequences == NULL:
        p.sequences = <probe_target_t **>calloc(PROBE_SEQUENCES, sizeof(probe_target_t *))
        if p.sequences == NULL:
            return -ENOMEM
    if s.fd < 0:
        error = icmp_open(s, family, <uint16_t>random_next(&p.random))
        if error == 0:
            error = loop_add(&p.loop, s.fd, EPOLLIN, s)
        if error < 0:
            icmp_close(s)
            return error
    while p.sequences[p.sequence] != NULL:
        p.sequence += 1
        tries += 1
        if tries == PROBE_SEQUENCES:
            return -ENOBUFS
    t.sequence = p.sequence
    t.token = random_next(&p.random)
    error = icmp_send(s, &t.address, t.sequence, t.token)
    if error < 0:
        return error
    p.sequences[t.sequence] = t
    p.sequence += 1
    return 0


cdef inline void probe_icmp_event(probes_t *p, icmp_socket_t *s) noexcept nogil:
    cdef icmp_reply_t reply
    cdef probe_target_t *t
    cdef uint32_t budget = 4096  # level-triggered: the rest comes in the next turn
    cdef int found
    while budget:
        budget -= 1
        found = icmp_receive(s, &reply)
        if found < 0 and found != -EINTR:
            return
        if found != 1:
            continue
        t = p.sequences[reply.sequence]
        if t != NULL and t.token == reply.token and icmp_source_is(&reply.source, &t.address):
            probe_end(p, t, p.loop.now_ns, PROBE_PASSED, 0)


cdef inline void probe_begin(probes_t *p, probe_target_t *t) noexcept nogil:
    cdef uint64_t now_ns = clock_now_ns()      # not the turn's: in a turn with many starts, the first must not look slow
    cdef int error
    if now_ns < p.short_until_ns:
        counter_bump(&p.shortages, 1)
        probe_put_off(p, t, now_ns, PROBE_SHORT_NS // 1000000)
        return
    if t.config.kind != PROBE_PING and p.open >= p.open_limit:
        counter_bump(&p.held_back, 1)
        probe_put_off(p, t, now_ns, PROBE_HELD_MS)
        return
    t.began_ns = now_ns
    t.sent = 0
    t.line_length = 0
    error = probe_ping(p, t) if t.config.kind == PROBE_PING else probe_open(p, t)
    if probe_is_shortage(-error):
        probe_short(p, t, now_ns)
        return
    counter_bump(&p.started, 1)
    t.next_ns += t.config.delay_ns
    if error < 0:
        probe_end(p, t, now_ns, PROBE_CONNECT_FAILED, -error)
    elif t.config.kind == PROBE_PING:
        t.state = PROBE_ECHO
        probe_arm(p, t, now_ns + t.config.timeout_ns)
    else:
        t.state = PROBE_CONNECT
        probe_arm(p, t, now_ns + t.config.connect_timeout_ns)


cdef inline void probe_timer(void *context, timer_t *timer) noexcept nogil:
    """timer_fire_f: what the target waited for did not come, or its next check is due."""
    cdef probes_t *p = <probes_t *>context
    cdef probe_target_t *t = <probe_target_t *>timer
    if t.state == PROBE_IDLE:
        probe_begin(p, t)
    elif t.state == PROBE_DRAIN:
        probe_close(p, t)
        probe_rest(p, t, p.loop.now_ns)
    else:
        probe_end(
            p, t, p.loop.now_ns, PROBE_CONNECT_TIMEOUT if t.state == PROBE_CONNECT else PROBE_NO_ANSWER, 0
        )
