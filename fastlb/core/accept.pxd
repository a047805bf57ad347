# SPDX-License-Identifier: Apache-2.0
"""A listener's sockets on one worker: accepting, refusing whom allowed_cidrs does not name, waiting when full.

Listening sockets are level-triggered, so that one accept for one connection is enough and no call is spent on hearing
that there is no more.  At connection_limit, and when descriptors run out, the socket is taken out of epoll: clients wait in the
kernel's queue.  It is looked at again when a connection of this worker ends, and every ACCEPT_PAUSE_MS.

A *binding* is the sockets of one address that were bound together, one a worker: what a listener gains and loses at a time.
To close a listening socket is to reset whoever is in its queue or in the middle of a handshake.  So a binding is retired
first: it takes no new handshake, while those that have begun are finished and accepted; then it is closed.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from fastlb.core.atomics cimport counter_add, counter_bump, pointer_get
from fastlb.core.conn cimport (
    CONN_LISTENER, CONN_TIMEOUT, EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, conn_close, conn_t,
)
from fastlb.core.context cimport PHASE_IDLE, context_t, listener_shard, session_t
from fastlb.core.http_proxy cimport http_drive, http_on_client
from fastlb.core.lifetime cimport listener_hold, listener_release
from fastlb.core.loop cimport loop_forget, loop_register, loop_remove
from fastlb.core.model cimport address_t, cidr_t, listener_conf_t, listener_t
from fastlb.core.session cimport session_note_address, session_open
from fastlb.core.steer cimport steer_among, steer_evenly, steer_lift, steer_none
from fastlb.core.sys.epoll cimport EPOLLIN, close, errno
from fastlb.core.sys.socket cimport (
    IPPROTO_TCP, SHUT_RD, SO_LINGER, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, accept4, getsockopt, linger, setsockopt, shutdown,
    sockaddr, socklen_t,
)
from fastlb.core.tcp_relay cimport tcp_on_client, tcp_start
from fastlb.core.timers cimport timer_arm, timer_disarm

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_REPAIR, TCP_INFO
    cdef struct tcp_info:
        uint32_t tcpi_unacked        # of a listening socket: how many wait in its queue

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_IP, IP_TTL, IPPROTO_IPV6, IPV6_UNICAST_HOPS

cdef enum:
    ACCEPT_PAUSE_MS = 20
    ACCEPT_BATCH = 64
    ACCEPT_CALM = 32             # wake-ups after an empty queue before more than one is tried again

cdef struct listening_t:
    conn_t conn                  # first
    listener_t *listener         # counted
    listening_t *next            # in context.listenings
    uint64_t binding
    uint32_t batch
    uint32_t calm
    bint paused
    bint retired


cdef inline bint cidr_holds(const cidr_t *cidr, const uint8_t *address) noexcept nogil:
    cdef uint32_t whole = cidr.bits // 8
    cdef uint32_t rest = cidr.bits % 8
    if memcmp(cidr.prefix, address, whole) != 0:
        return 0
    return rest == 0 or (cidr.prefix[whole] ^ address[whole]) >> (8 - rest) == 0


cdef inline bint accept_allowed(const listener_conf_t *conf, const address_t *peer) noexcept nogil:
    cdef session_t who
    cdef uint32_t i
    if conf.cidrs == NULL:
        return 1
    memset(&who, 0, sizeof(who))
    session_note_address(&who, peer)
    for i in range(conf.cidr_count):
        if cidr_holds(&conf.cidrs[i], who.client_address):
            return 1
    return 0


cdef inline void accept_deny(int fd) noexcept nogil:
    """Forget the connection without a word where the system lets us; else with a reset that dies at the next hop."""
    cdef int value = 1
    cdef linger abort
    if setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &value, sizeof(value)) < 0:
        setsockopt(fd, IPPROTO_IP, IP_TTL, &value, sizeof(value))
        setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &value, sizeof(value))
        abort.l_onoff = 1
        abort.l_linger = 0
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort))
    close(fd)


cdef inline void accept_pause(context_t *c, listening_t *listening) noexcept nogil:
    if not listening.paused:
        listening.paused = 1
        listening.conn.registered = 0
        loop_forget(&c.loop, listening.conn.fd)
        loop_remove(&c.loop, listening.conn.fd)
    timer_arm(&c.loop.timers, &listening.conn.timer, c.loop.now_ms + ACCEPT_PAUSE_MS)


cdef inline void accept_resume(context_t *c, listening_t *listening) noexcept nogil:
    if listening.paused and loop_register(
            &c.loop, listening.conn.fd, EPOLLIN, &listening.conn, &listening.conn.tag) == 0:
        listening.paused = 0
        listening.conn.registered = 1
        timer_disarm(&c.loop.timers, &listening.conn.timer)
    elif listening.paused:
        timer_arm(&c.loop.timers, &listening.conn.timer, c.loop.now_ms + ACCEPT_PAUSE_MS)


cdef inline bint accept_one(context_t *c, listening_t *listening, bint over_limit) noexcept nogil:
    """1: there may be more. over_limit: connection_limit does not hold one back."""
    cdef listener_t *listener = listening.listener
    cdef listener_conf_t *conf = <listener_conf_t *>pointer_get(&listener.conf)
    cdef session_t *s
    cdef address_t peer
    cdef int fd
    if counter_add(&listener.active, 1) >= conf.connection_limit and not over_limit:
        counter_add(&listener.active, -1)
        accept_pause(c, listening)
        return 0
    peer.length = sizeof(peer.ip)
    fd = accept4(listening.conn.fd, <sockaddr *>&peer.ip, &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0:
        counter_add(&listener.active, -1)
        if errno == EAGAIN:
            listening.batch = 1
            listening.calm = ACCEPT_CALM
            return 0
        if errno == EINTR or errno == ECONNABORTED:
            return 1
        # Out of descriptors or memory: go on with what there is; the queue waits.
        if errno == EMFILE or errno == ENFILE:
            counter_bump(&c.accept_emfile, 1)
        accept_pause(c, listening)
        return 0
    if listening.retired:
        steer_lift(fd)
    if not accept_allowed(conf, &peer):
        counter_add(&listener.active, -1)
        counter_bump(&listener_shard(c, listener).denied, 1)
        accept_deny(fd)
        return 1
    s = session_open(c, listener, fd, &peer, http_on_client if listener.http else tcp_on_client)
    if s == NULL:
        counter_add(&listener.active, -1)
        close(fd)
        return 1
    if listener.http:
        http_drive(c, s)
    else:
        tcp_start(c, s)
    return 1


cdef inline void accept_on_event(void *context, conn_t *conn, uint32_t events) noexcept nogil:
    cdef context_t *c = <context_t *>context
    cdef listening_t *listening = <listening_t *>conn
    cdef uint32_t _
    if events & CONN_TIMEOUT:
        accept_resume(c, listening)
        return
    for _ in range(listening.batch):
        if not accept_one(c, listening, 0):
            return
    if listening.calm:
        listening.calm -= 1
    elif listening.batch < ACCEPT_BATCH:
        listening.batch *= 2


cdef inline listening_t *accept_new(listener_t *listener, uint64_t binding, int fd) noexcept nogil:
    """What a worker will need for a listening socket, which is from then on this one's; NULL: no memory. Any thread."""
    cdef listening_t *listening = <listening_t *>calloc(1, sizeof(listening_t))
    if listening == NULL:
        return NULL
    listening.conn.fd = fd
    listening.conn.kind = CONN_LISTENER
    listening.conn.on_event = accept_on_event
    listening.listener = listener
    listening.binding = binding
    listening.batch = 1
    listening.paused = 1
    listener_hold(listener)
    return listening


cdef inline void accept_free(listening_t *listening) noexcept nogil:
    """Its socket is closed, or was never opened here."""
    listener_release(listening.listener)
    free(listening)


cdef inline void accept_open(context_t *c, listening_t *listening) noexcept nogil:
    listening.next = <listening_t *>c.listenings
    c.listenings = listening
    accept_resume(c, listening)


cdef inline listening_t *accept_find(context_t *c, const listener_t *listener, uint64_t binding) noexcept nogil:
    cdef listening_t *listening = <listening_t *>c.listenings
    while listening != NULL and (listening.listener != listener or listening.binding != binding):
        listening = listening.next
    return listening


cdef inline void accept_retire(context_t *c, const listener_t *listener, uint64_t binding) noexcept nogil:
    """Its socket takes no new handshake; those that have begun are finished, and accepted."""
    cdef listening_t *listening = accept_find(c, listener, binding)
    if listening != NULL:
        listening.retired = 1
        steer_none(listening.conn.fd)


cdef inline int accept_queued(context_t *c, const listener_t *listener, uint64_t binding) noexcept nogil:
    """How many connections wait in a socket's queue."""
    cdef listening_t *listening = accept_find(c, listener, binding)
    cdef tcp_info info
    cdef socklen_t length = sizeof(info)
    if listening == NULL or getsockopt(listening.conn.fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0:
        return 0
    return <int>info.tcpi_unacked


cdef inline void accept_steer(
    context_t *c, const listener_t *listener, uint64_t binding, uint32_t first, uint32_t count
) noexcept nogil:
    """Have these of all sockets of an address take the new connections; count 0: all of them, evenly."""
    cdef listening_t *listening = accept_find(c, listener, binding)
    if listening != NULL and count:
        steer_among(listening.conn.fd, first, count)
    elif listening != NULL:
        steer_evenly(listening.conn.fd)


cdef inline void accept_close(context_t *c, const listener_t *listener, uint64_t binding) noexcept nogil:
    """Give up the sockets of a binding (0: of all) of a listener (NULL: of all). Who is in the queue already is still let in: up to
    connection_limit; of a retired binding everybody, as its clients were told nothing."""
    cdef listening_t **link = <listening_t **>&c.listenings
    cdef listening_t *listening
    cdef uint32_t _
    while link[0] != NULL:
        listening = link[0]
        if (listener != NULL and listening.listener != listener) or (binding and listening.binding != binding):
            link = &listening.next
            continue
        link[0] = listening.next
        for _ in range(65536):
            if not accept_one(c, listening, listening.retired):
                break
        if not listening.paused:
            loop_remove(&c.loop, listening.conn.fd)                  # a forked child may hold the socket a moment longer,
        shutdown(listening.conn.fd, SHUT_RD)                         # and nobody shall be given to that copy
        conn_close(&c.loop, &listening.conn)


cdef inline void accept_resume_all(context_t *c) noexcept nogil:
    cdef listening_t *listening = <listening_t *>c.listenings
    while listening != NULL:
        if listening.paused:
            accept_resume(c, listening)
        listening = listening.next
