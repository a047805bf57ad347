# SPDX-License-Identifier: Apache-2.0
"""A session's connection to a member: choosing the member, taking an idle connection or making one, giving it back.

A try that fails before a byte was taken goes to another member at once.  When all were tried there is one second's
rest and another round, up to Octavia's three retries; the protocol decides what a session without a member is told.
"""
from fastlb.core.atomics cimport counter_bump
from fastlb.core.conn cimport CONN_MEMBER, EINPROGRESS, EMFILE, ENFILE, ENOMEM, conn_event_f
from fastlb.core.context cimport SESSION_TRIES, context_t, member_shard, session_t, upstream_t
from fastlb.core.lifetime cimport member_hold
from fastlb.core.model cimport member_shard_t, member_t, pool_t
from fastlb.core.outlier cimport OUTLIER_UNCONNECTED, outlier_excused, outlier_result
from fastlb.core.retry cimport retry_repeatable
from fastlb.core.roster cimport pool_closed, pool_opened, pool_pick
from fastlb.core.selection.ops cimport pick_t
from fastlb.core.slab cimport slab_take
from fastlb.core.sys.epoll cimport close, errno
from fastlb.core.sys.socket cimport (
    IPPROTO_TCP, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, TCP_NODELAY, connect, setsockopt, sockaddr, socket,
)
from fastlb.core.upstream_idle cimport idle_keep, idle_sacrifice, idle_take, upstream_drop

cdef enum:
    UPSTREAM_REST_MS = 1000      # before the members are tried once more

cdef enum upstream_verdict_t:
    UPSTREAM_READY = 1           # session.up is a kept connection
    UPSTREAM_CONNECTING = 2      # session.up is on its way; sending may be tried at once
    UPSTREAM_REST = 3            # all tried: come again after UPSTREAM_REST_MS
    UPSTREAM_NONE = 4            # there is nobody to send to


cdef inline upstream_t *upstream_connect(context_t *c, member_t *member, int *error) noexcept nogil:
    """Begin a connection; NULL and -errno if it cannot even begin."""
    cdef member_shard_t *shard = member_shard(c, member)
    cdef upstream_t *up
    cdef int fd, one
    fd = socket(member.address.ip.sin6_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        error[0] = -errno
        return NULL
    one = 1
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    counter_bump(&shard.connects, 1)
    if connect(fd, <const sockaddr *>&member.address.ip, member.address.length) < 0 and errno != EINPROGRESS:
        error[0] = -errno
        close(fd)
        return NULL
    up = <upstream_t *>slab_take(&c.upstreams_slab)
    if up == NULL:
        error[0] = -ENOMEM
        close(fd)
        return NULL
    up.conn.fd = fd
    up.conn.kind = CONN_MEMBER
    up.conn.writable = 1
    up.connecting = 1
    up.member = member
    member_hold(member)
    up.next = c.upstreams
    up.link = &c.upstreams
    if up.next != NULL:
        up.next.link = &up.next
    c.upstreams = up
    counter_bump(&shard.connections, 1)
    counter_bump(&c.live_upstreams, 1)
    return up


cdef inline void upstream_count_closed(context_t *c, session_t *s) noexcept nogil:
    """The session's part on its member is over: tell the algorithm and the counters, once."""
    cdef upstream_t *up = s.up
    if s.counted:
        s.counted = 0
        counter_bump(&member_shard(c, up.member).active, -1)
        pool_closed(up.member.pool, up.member, c.loop.now_ns, up.response_ns)


cdef inline void upstream_abort(context_t *c, session_t *s) noexcept nogil:
    """Break the connection off with RST: the member must not take what it has got for the whole."""
    cdef upstream_t *up = s.up
    if up == NULL:
        return
    upstream_count_closed(c, s)
    up.session = NULL
    s.up = NULL
    upstream_drop(c, up, 1)


cdef inline void upstream_fail(context_t *c, session_t *s, bint connect_failed) noexcept nogil:
    """The try is lost: close the connection. A member that fails on a fresh one is not tried again in this round; a kept one
    may only have grown old."""
    cdef upstream_t *up = s.up
    cdef member_shard_t *shard = member_shard(c, up.member)
    if connect_failed:
        counter_bump(&shard.connect_errors, 1)
        outlier_result(up.member.pool, up.member, OUTLIER_UNCONNECTED)
    counter_bump(&shard.retries, 1)
    upstream_count_closed(c, s)
    if not up.reused and s.tries < SESSION_TRIES:
        s.tried[s.tries] = up.member
        s.tries += 1
    up.session = NULL
    s.up = NULL
    upstream_drop(c, up, 0)


cdef inline int upstream_attach(
    context_t *c, session_t *s, pool_t *pool, conn_event_f on_event, bint fresh
) noexcept nogil:
    """Give the session a connection to a member of the pool: an upstream_verdict_t. `fresh`: not a kept one."""
    cdef member_shard_t *shard
    cdef member_t *member
    cdef upstream_t *up
    cdef pick_t ask
    cdef int error
    if pool == NULL:
        return UPSTREAM_NONE
    while True:
        if s.round + s.tries >= SESSION_TRIES:
            return UPSTREAM_NONE
        ask.client_hash = s.address_hash
        ask.client_port_hash = s.address_port_hash
        ask.rng = &c.random
        ask.now_ns = c.loop.now_ns
        ask.tried = s.tried
        ask.tried_count = s.tries
        member = pool_pick(pool, &ask)
        if member == NULL:
            if s.tries == 0:
                return UPSTREAM_NONE                                 # nobody is usable at all
            s.round += s.tries
            s.tries = 0
            if s.round >= SESSION_TRIES:
                return UPSTREAM_NONE
            return UPSTREAM_REST
        shard = member_shard(c, member)
        up = NULL
        if s.http and not fresh:
            up = idle_take(c, member, not retry_repeatable(s))
        if up == NULL:
            error = 0
            up = upstream_connect(c, member, &error)
            if up == NULL and (error == -EMFILE or error == -ENFILE):
                counter_bump(&c.connect_emfile, 1)
                if idle_sacrifice(c, member):
                    up = upstream_connect(c, member, &error)
            if up == NULL:
                counter_bump(&shard.connect_errors, 1)
                if not outlier_excused(error):
                    outlier_result(pool, member, OUTLIER_UNCONNECTED)
                s.tried[s.tries] = member
                s.tries += 1
                continue
        up.session = s
        up.since_ns = c.loop.now_ns
        up.conn.on_event = on_event
        s.up = up
        s.counted = 1
        s.member_active_ms = c.loop.now_ms
        counter_bump(&shard.active, 1)
        counter_bump(&shard.sessions, 1)
        pool_opened(pool, member, c.loop.now_ns)
        return UPSTREAM_CONNECTING if up.connecting else UPSTREAM_READY


cdef inline void upstream_detach(context_t *c, session_t *s, bint keep) noexcept nogil:
    """The session is done with its member's connection: keep it for another one, or close it."""
    cdef upstream_t *up = s.up
    if up == NULL:
        return
    upstream_count_closed(c, s)
    s.up = NULL
    up.session = NULL
    if not keep or not idle_keep(c, up):
        upstream_drop(c, up, 0)
