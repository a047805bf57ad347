# SPDX-License-Identifier: Apache-2.0
"""A session's connection to a member: choosing the member, taking an idle connection or making one, giving it back.

A try that fails before a byte was taken goes to another member at once.  When all were tried there is one second's
rest and another round, for as long as the pool's retries last; the protocol decides what a session without a member is told.
"""
from libc.stdint cimport uint32_t
from fastlb.core.atomics cimport counter_bump, flag_get, pointer_get
from fastlb.core.conn cimport CONN_MEMBER, EINPROGRESS, EMFILE, ENFILE, ENOMEM, conn_event_f
from fastlb.core.context cimport SESSION_TRIES, context_t, member_shard, session_t, upstream_t
from fastlb.core.directory cimport directory_find, member_reachable
from fastlb.core.lifetime cimport member_hold
from fastlb.core.model cimport (
    PERSISTENCE_HTTP_COOKIE, PERSISTENCE_NONE, PERSISTENCE_SOURCE_IP, RETRY_CONNECT, member_shard_t, member_t,
    pool_conf_t, pool_t,
)
from fastlb.core.outlier cimport OUTLIER_UNCONNECTED, outlier_excused, outlier_result
from fastlb.core.queue cimport queue_is_for, queue_leave, queue_place_freed, queue_wait
from fastlb.core.retry cimport retry_begin, retry_end, retry_repeatable, retry_tries
from fastlb.core.roster cimport pool_closed, pool_conf, pool_opened_within, pool_pick
from fastlb.core.selection.ops cimport member_full, pick_t, pick_was_tried
from fastlb.core.slab cimport slab_take
from fastlb.core.sticky cimport sticky_get, sticky_moves, sticky_put, sticky_t
from fastlb.core.sys.epoll cimport close, errno
from fastlb.core.sys.socket cimport (
    IPPROTO_TCP, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, TCP_NODELAY, connect, setsockopt, sockaddr, socket,
)
from fastlb.core.upstream_idle cimport idle_keep, idle_sacrifice, idle_take, upstream_drop

cdef enum:
    UPSTREAM_REST_MS = 1000      # before the members are tried once more
    UPSTREAM_LOOKS = 64          # at members whose last place another worker takes

cdef enum upstream_verdict_t:
    UPSTREAM_READY = 1           # session.up is a kept connection
    UPSTREAM_CONNECTING = 2      # session.up is on its way; sending may be tried at once
    UPSTREAM_REST = 3            # all tried: come again after UPSTREAM_REST_MS
    UPSTREAM_NONE = 4            # there is nobody to send to
    UPSTREAM_QUEUE = 5           # the session waits in PHASE_QUEUE (queue.pxd)


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
        retry_end(s, up.member.pool)
        pool_closed(up.member.pool, up.member, c.loop.now_ns, up.response_ns)
        queue_place_freed(c, up.member)


cdef inline void upstream_abort(context_t *c, session_t *s) noexcept nogil:
    """Break the connection off with RST: the member must not take what it has got for the whole."""
    cdef upstream_t *up = s.up
    if up == NULL:
        return
    upstream_count_closed(c, s)
    up.session = NULL
    s.up = NULL
    upstream_drop(c, up, 1)


cdef inline void upstream_note_tried(context_t *c, session_t *s, member_t *member) noexcept nogil:
    """It is not tried again in this round."""
    if s.tries < SESSION_TRIES:
        s.tried[s.tries] = member
        s.tries += 1


cdef inline void upstream_note_failed(context_t *c, session_t *s, member_t *member, uint32_t reason) noexcept nogil:
    """A try has failed; `reason`: RETRY_*, or 0: it was with a kept connection that may only have grown old."""
    cdef member_shard_t *shard = member_shard(c, member)
    if reason:
        s.again = 1
        if not pool_conf(member.pool).retry_on & reason:
            s.spent = 1
    if reason == RETRY_CONNECT:
        counter_bump(&shard.connect_errors, 1)
    if not s.spent:
        counter_bump(&shard.retries, 1)


cdef inline void upstream_fail(context_t *c, session_t *s, uint32_t reason) noexcept nogil:
    """The try is lost: close the connection. A member that fails on a fresh one is not tried again in this round."""
    cdef upstream_t *up = s.up
    upstream_note_failed(c, s, up.member, reason)
    if reason == RETRY_CONNECT:
        outlier_result(up.member.pool, up.member, OUTLIER_UNCONNECTED)
    upstream_count_closed(c, s)
    if not up.reused:
        upstream_note_tried(c, s, up.member)
    up.session = NULL
    s.up = NULL
    upstream_drop(c, up, 0)


cdef inline void upstream_turn_away(context_t *c, session_t *s, bint keep) noexcept nogil:
    """The member has answered, and another one is to be asked. `keep`: its connection may serve others."""
    cdef member_t *member = s.up.member
    s.again = 1
    upstream_note_tried(c, s, member)
    counter_bump(&member_shard(c, member).retries, 1)
    upstream_detach(c, s, keep)


cdef inline member_t *upstream_stuck(
    session_t *s, pool_t *pool, const pool_conf_t *conf, const pick_t *ask, bint *full
) noexcept nogil:
    """The member that persistence brings the client back to; NULL: none that can be had. `full`: not now, as it is full."""
    cdef member_t *member = NULL
    cdef sticky_t *sticky = NULL
    cdef uint32_t moves
    full[0] = 0
    if conf.persistence == PERSISTENCE_SOURCE_IP:
        # The table need not be asked for each request of a connection, but when clients have moved, this one may be among them.
        sticky = <sticky_t *>pointer_get(&pool.sticky)
        moves = sticky_moves(sticky)
        if s.stick_moves != moves:
            s.stick_moves = moves
            s.stick_key = 0
    if s.stick_key:
        member = directory_find(pool, s.stick_key)
    if member == NULL and conf.persistence == PERSISTENCE_SOURCE_IP:
        s.stick_key = sticky_get(sticky, s.client_address, sizeof(s.client_address))
        if s.stick_key:
            member = directory_find(pool, s.stick_key)
    if member == NULL or not member_reachable(pool, member) or pick_was_tried(ask, member):
        return NULL
    if member_full(member):
        full[0] = 1
        return NULL
    return member


cdef inline upstream_t *upstream_open(
    context_t *c, session_t *s, member_t *member, bint fresh, int *error
) noexcept nogil:
    """A kept connection, unless it shall be `fresh`, or one on its way; NULL and -errno: it cannot even begin."""
    cdef upstream_t *up = NULL
    if s.http and not fresh:
        up = idle_take(c, member, not retry_repeatable(s))
        if up != NULL:
            return up
    up = upstream_connect(c, member, error)
    if up == NULL and (error[0] == -EMFILE or error[0] == -ENFILE):
        counter_bump(&c.connect_emfile, 1)
        if idle_sacrifice(c, member):
            up = upstream_connect(c, member, error)
    return up


cdef inline int upstream_give(
    context_t *c, session_t *s, pool_t *pool, const pool_conf_t *conf, conn_event_f on_event, bint fresh
) noexcept nogil:
    """upstream_attach, but for the session's place in a queue."""
    cdef member_shard_t *shard
    cdef member_t *member
    cdef upstream_t *up
    cdef pick_t ask
    cdef bint away = 0                   # from the member it belongs to, for this time only
    cdef uint32_t looks = 0
    cdef int error = 0
    while True:
        if s.spent or s.round + s.tries >= <int>retry_tries(conf):
            return UPSTREAM_NONE
        ask.client_hash = s.address_hash
        ask.client_port_hash = s.address_port_hash
        ask.rng = &c.random
        ask.now_ns = c.loop.now_ns
        ask.tried = s.tried
        ask.tried_count = s.tries
        member = NULL
        if conf.persistence != PERSISTENCE_NONE:
            member = upstream_stuck(s, pool, conf, &ask, &away)
        if member == NULL:
            member = pool_pick(pool, &ask)
        if member == NULL:
            if ask.full:
                return UPSTREAM_QUEUE
            if s.tries == 0:
                return UPSTREAM_NONE                                 # nobody is usable at all
            s.round += s.tries
            s.tries = 0
            if s.round >= <int>retry_tries(conf):
                return UPSTREAM_NONE
            return UPSTREAM_REST
        if flag_get(&member.max_connections) and queue_is_for(c, s, pool):
            return UPSTREAM_QUEUE
        if not retry_begin(c, s, pool, conf):
            return UPSTREAM_NONE
        if not pool_opened_within(pool, member, c.loop.now_ns):
            retry_end(s, pool)
            looks += 1
            if looks >= UPSTREAM_LOOKS:
                return UPSTREAM_QUEUE
            continue                                                 # another worker was faster
        up = upstream_open(c, s, member, fresh, &error)
        if up == NULL:
            retry_end(s, pool)
            pool_closed(pool, member, c.loop.now_ns, 0)
            queue_place_freed(c, member)
            upstream_note_failed(c, s, member, RETRY_CONNECT)
            upstream_note_tried(c, s, member)
            if not outlier_excused(error):
                outlier_result(pool, member, OUTLIER_UNCONNECTED)
            continue
        if conf.persistence == PERSISTENCE_SOURCE_IP and member.key != s.stick_key and not away:
            s.stick_key = member.key
            sticky_put(
                <sticky_t *>pointer_get(&pool.sticky), s.client_address, sizeof(s.client_address), s.stick_key)
        if away and conf.persistence == PERSISTENCE_HTTP_COOKIE:
            s.stick_key = member.key                                 # nor does a cookie say so
        shard = member_shard(c, member)
        up.session = s
        up.since_ns = c.loop.now_ns
        up.conn.on_event = on_event
        s.up = up
        s.counted = 1
        s.member_active_ms = c.loop.now_ms
        counter_bump(&shard.active, 1)
        counter_bump(&shard.sessions, 1)
        return UPSTREAM_CONNECTING if up.connecting else UPSTREAM_READY


cdef inline int upstream_attach(
    context_t *c, session_t *s, pool_t *pool, conn_event_f on_event, bint fresh
) noexcept nogil:
    """Give the session a connection to a member of the pool: an upstream_verdict_t. `fresh`: not a kept one."""
    cdef const pool_conf_t *conf
    cdef int verdict = UPSTREAM_NONE
    if pool != NULL:
        conf = pool_conf(pool)
        verdict = upstream_give(c, s, pool, conf, on_event, fresh)
        if verdict == UPSTREAM_QUEUE:
            if queue_wait(c, s, pool, conf):
                return UPSTREAM_QUEUE
            verdict = UPSTREAM_NONE
    if s.queue != NULL:
        queue_leave(c, s)
    return verdict


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
