# SPDX-License-Identifier: Apache-2.0
"""One thread: its loop, and what other threads ask of it.

A turn: wait for events (outside the snapshots), look at the clock, enter the snapshots, serve events (of idle member connections
first), leftover work, deadlines, orders and queues, free what was closed.  Orders come through a mailbox; all but a purge are
waited for, so that whoever gave one knows that it is done.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from fastlb.core.atomics cimport counter_bump, counter_get, flag_get, flag_set, flag_t
from fastlb.core.accept cimport (
    accept_close, accept_free, accept_open, accept_queued, accept_resume_all, accept_retire, accept_steer, listening_t,
)
from fastlb.core.conn cimport (
    CONN_CLIENT, CONN_LISTENER, CONN_MEMBER, CONN_TIMEOUT, CONN_WAKE, ENOMEM, conn_close, conn_held, conn_of_timer, conn_t,
)
from fastlb.core.context cimport EXTRA_BYTES, PHASE_IDLE, SCRATCH_BYTES, context_t, session_t, upstream_t
from fastlb.core.http_request cimport REQUEST_CLOSING_IDLE_MS
from fastlb.core.l7_match cimport l7_scratch_free, l7_scratch_init
from fastlb.core.lifetime cimport member_release
from fastlb.core.loop cimport LOOP_EVENTS, loop_close, loop_find, loop_open, loop_register, loop_tell_time
from fastlb.core.model cimport listener_t, member_t, pool_t
from fastlb.core.queue cimport queue_serve_all
from fastlb.core.relay cimport pipes_dispose
from fastlb.core.session cimport session_close, session_free
from fastlb.core.slab cimport slab_dispose, slab_init
from fastlb.core.snapshot cimport snapshot_enter, snapshot_leave, snapshot_reclaim, snapshots_t
from fastlb.core.sys.epoll cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, EPOLLIN, close, epoll_wait, errno, eventfd, read, write,
)
from fastlb.core.sys.pthread cimport (
    CPU_SET, CPU_ZERO, SIG_SETMASK, cpu_set_t, pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init,
    pthread_cond_t, pthread_cond_wait, pthread_create, pthread_join, pthread_mutex_destroy, pthread_mutex_init,
    pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock, pthread_self, pthread_setaffinity_np,
    pthread_setname_np, pthread_sigmask, pthread_t, sigfillset, sigset_t,
)
from fastlb.core.timers cimport timer_arm, timer_t, timers_turn, timers_wait_ms
from fastlb.core.upstream cimport upstream_abort
from fastlb.core.upstream_idle cimport idle_drop, idle_on_event, idle_purge, upstream_drop, upstream_free

cdef enum order_kind_t:
    ORDER_LISTEN = 1             # object: listening_t, for this worker
    ORDER_UNLISTEN = 2           # object: listener, binding: one of its, 0: all
    ORDER_PURGE = 3              # object: member (counted by the order); nobody waits for it
    ORDER_DRAIN = 4              # no new connection; idle ones end
    ORDER_STOP = 5
    ORDER_CUT = 6                # object: listener; its sessions end, result: how many
    ORDER_RETIRE = 7             # object: listener, binding
    ORDER_QUEUED = 8             # likewise; result: how many connections wait to be accepted
    ORDER_STEER = 9              # likewise, first, count: see accept_steer
    ORDER_RENEW = 10             # object: pool; idle connections to its members are closed

cdef struct order_t:             # lives on the stack of who gave it, until it is done; ORDER_PURGE: on the heap, nobody waits
    order_t *next
    order_kind_t kind
    void *object
    uint64_t binding
    uint32_t first
    uint32_t count
    int result
    bint done

cdef struct worker_t:
    context_t c                  # first
    conn_t wake
    pthread_t thread
    bint running
    int cpu                      # -1: any
    pthread_mutex_t mutex        # guards `orders` and each order's `done`
    pthread_cond_t done
    order_t *orders
    bint stop


cdef inline void worker_on_wake(void *context, conn_t *conn, uint32_t events) noexcept nogil:
    cdef uint64_t count
    if events & CONN_TIMEOUT:
        queue_serve_all(<context_t *>context, 1)
        return
    read(conn.fd, &count, sizeof(count))


cdef inline int worker_open(worker_t *w, uint32_t index, snapshots_t *snapshots, uint64_t seed, int cpu) noexcept nogil:
    """Descriptors and memory, before the thread; 0 or -errno with nothing left over. The struct is zeros before."""
    cdef int error
    w.c.index = index
    w.c.snapshots = snapshots
    w.c.random.state = seed
    w.cpu = cpu
    w.c.loop.epoll_fd = -1
    error = loop_open(&w.c.loop)
    if error:
        return error
    w.c.scratch = <unsigned char *>malloc(SCRATCH_BYTES + EXTRA_BYTES)
    w.c.extra_text = w.c.scratch + SCRATCH_BYTES
    w.wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if w.wake.fd < 0 or w.c.scratch == NULL:
        error = -errno if w.wake.fd < 0 else -ENOMEM
        if w.wake.fd >= 0:
            close(w.wake.fd)
        free(w.c.scratch)
        loop_close(&w.c.loop)
        return error
    w.c.queue_tick = &w.wake.timer
    w.wake.kind = CONN_WAKE
    w.wake.on_event = worker_on_wake
    error = l7_scratch_init(&w.c.l7)
    if not error:
        error = loop_register(&w.c.loop, w.wake.fd, EPOLLIN, &w.wake, &w.wake.tag)
        if error:
            l7_scratch_free(&w.c.l7)
    if error:
        close(w.wake.fd)
        free(w.c.scratch)
        loop_close(&w.c.loop)
        return error
    slab_init(&w.c.sessions_slab, sizeof(session_t))
    slab_init(&w.c.upstreams_slab, sizeof(upstream_t))
    pthread_mutex_init(&w.mutex, NULL)
    pthread_cond_init(&w.done, NULL)
    return 0


cdef inline void worker_close(worker_t *w) noexcept nogil:
    """After the thread has ended (or never began)."""
    close(w.wake.fd)
    pipes_dispose(&w.c)
    l7_scratch_free(&w.c.l7)
    slab_dispose(&w.c.sessions_slab)
    slab_dispose(&w.c.upstreams_slab)
    free(w.c.scratch)
    loop_close(&w.c.loop)
    pthread_mutex_destroy(&w.mutex)
    pthread_cond_destroy(&w.done)


cdef inline void worker_sweep(context_t *c) noexcept nogil:
    """Free what was closed in this turn."""
    cdef conn_t *conn
    while c.loop.dead != NULL:
        conn = <conn_t *>c.loop.dead
        c.loop.dead = conn.next
        if conn.kind == CONN_CLIENT:
            session_free(c, <session_t *>conn)
        elif conn.kind == CONN_MEMBER:
            upstream_free(c, <upstream_t *>conn)
        elif conn.kind == CONN_LISTENER:
            accept_free(<listening_t *>conn)


cdef inline void worker_leftovers(context_t *c) noexcept nogil:
    """Connections whose turn ended before their work; what they put off now is for the next turn."""
    cdef conn_t *conn = <conn_t *>c.loop.ready
    cdef conn_t *following
    c.loop.ready = NULL
    while conn != NULL:
        following = conn.next
        conn.in_ready = 0
        if conn.fd < 0:
            conn.next = <conn_t *>c.loop.dead
            c.loop.dead = conn
        else:
            conn.on_event(c, conn, 0)
        conn = following


cdef inline void worker_look_at_idle(context_t *c, int n) noexcept nogil:
    """Before a client of this turn can be given an idle connection, those that ended are closed."""
    cdef conn_t *conn
    cdef uint16_t tag
    cdef int i
    for i in range(n):
        conn = <conn_t *>loop_find(&c.loop, &c.loop.events[i], &tag)
        if conn != NULL and conn.kind == CONN_MEMBER and conn.tag == tag and conn.on_event == idle_on_event:
            idle_on_event(c, conn, c.loop.events[i].events)


cdef inline void worker_on_deadline(void *context, timer_t *timer) noexcept nogil:
    cdef conn_t *conn = conn_of_timer(timer)
    if conn.fd >= 0:
        conn.on_event(context, conn, CONN_TIMEOUT)


cdef inline void worker_close_idle(context_t *c, listener_t *listener, bint at_once) noexcept nogil:
    """Idle clients of a listener (NULL: of all) go: at once, or after a moment in which a request under way still counts."""
    cdef session_t *s = c.sessions
    cdef session_t *following
    while s != NULL:
        following = s.next
        if (listener == NULL or s.listener == listener) and s.http and s.phase == PHASE_IDLE and s.client.out_first == NULL:
            if at_once and not s.client.readable:
                session_close(c, s, 0)
            else:
                timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + REQUEST_CLOSING_IDLE_MS)
        s = following


cdef inline void worker_close_upstreams(context_t *c, bint all_of_them) noexcept nogil:
    cdef upstream_t *up = c.upstreams
    cdef upstream_t *following
    while up != NULL:
        following = up.next
        if up.session == NULL:
            idle_on_event(c, &up.conn, EPOLLIN)
        elif all_of_them:
            upstream_drop(c, up, 1)
        up = following


cdef inline void worker_renew(context_t *c, const pool_t *pool) noexcept nogil:
    """Close the idle connections to a pool's members."""
    cdef upstream_t *up = c.upstreams
    cdef upstream_t *following
    while up != NULL:
        following = up.next
        if up.session == NULL and up.member.pool == pool:
            idle_drop(c, up)
        up = following


cdef inline int worker_cut(context_t *c, listener_t *listener) noexcept nogil:
    """End every session of a listener now; how many there were."""
    cdef session_t *s = c.sessions
    cdef session_t *following
    cdef int cut = 0
    while s != NULL:
        following = s.next
        if s.listener == listener:
            upstream_abort(c, s)
            session_close(c, s, 1)
            cut += 1
        s = following
    return cut


cdef inline void worker_obey(worker_t *w, order_t *order) noexcept nogil:
    cdef context_t *c = &w.c
    if order.kind == ORDER_LISTEN:
        accept_open(c, <listening_t *>order.object)
    elif order.kind == ORDER_UNLISTEN:
        accept_close(c, <listener_t *>order.object, order.binding)
        if order.binding == 0:
            worker_close_idle(c, <listener_t *>order.object, 0)
    elif order.kind == ORDER_RETIRE:
        accept_retire(c, <listener_t *>order.object, order.binding)
    elif order.kind == ORDER_QUEUED:
        order.result = accept_queued(c, <listener_t *>order.object, order.binding)
    elif order.kind == ORDER_STEER:
        accept_steer(c, <listener_t *>order.object, order.binding, order.first, order.count)
    elif order.kind == ORDER_RENEW:
        worker_renew(c, <pool_t *>order.object)
    elif order.kind == ORDER_PURGE:
        idle_purge(c, <member_t *>order.object)
    elif order.kind == ORDER_DRAIN:
        c.draining = 1
        accept_close(c, NULL, 0)
        worker_close_idle(c, NULL, 1)
        worker_close_upstreams(c, 0)
    elif order.kind == ORDER_CUT:
        order.result = worker_cut(c, <listener_t *>order.object)
    elif order.kind == ORDER_STOP:
        w.stop = 1


cdef inline void worker_read_orders(worker_t *w) noexcept nogil:
    cdef order_t *order
    cdef order_t *following
    cdef order_t *in_order
    pthread_mutex_lock(&w.mutex)
    order = w.orders
    w.orders = NULL
    pthread_mutex_unlock(&w.mutex)
    if order == NULL:
        return
    in_order = NULL
    while order != NULL:                                             # the mailbox holds the last one first
        following = order.next
        order.next = in_order
        in_order = order
        order = following
    while in_order != NULL:
        following = in_order.next
        worker_obey(w, in_order)
        if in_order.kind == ORDER_PURGE:
            member_release(<member_t *>in_order.object)
            free(in_order)
            in_order = following
            continue
        pthread_mutex_lock(&w.mutex)
        in_order.done = 1                                            # its giver may be gone from here on
        pthread_cond_broadcast(&w.done)
        pthread_mutex_unlock(&w.mutex)
        in_order = following


cdef inline void *worker_run(void *argument) noexcept nogil:
    cdef worker_t *w = <worker_t *>argument
    cdef context_t *c = &w.c
    cdef conn_t *conn
    cdef int i, n, wait_ms
    cdef bint woken
    cdef uint16_t tag
    cdef cpu_set_t cpus
    pthread_setname_np(pthread_self(), b"fastlb-worker")
    if w.cpu >= 0:
        CPU_ZERO(&cpus)
        CPU_SET(w.cpu, &cpus)
        pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus)
    while not w.stop:
        wait_ms = 0
        if c.loop.ready == NULL and not c.queue_due:
            loop_tell_time(&c.loop)
            wait_ms = timers_wait_ms(&c.loop.timers, c.loop.now_ms)
            snapshot_leave(c.snapshots, c.index)
        n = epoll_wait(c.loop.epoll_fd, c.loop.events, LOOP_EVENTS, wait_ms)
        loop_tell_time(&c.loop)
        snapshot_enter(c.snapshots, c.index)
        counter_bump(&c.turns, 1)
        woken = 0
        if n > 1:
            worker_look_at_idle(c, n)
        for i in range(n):
            conn = <conn_t *>loop_find(&c.loop, &c.loop.events[i], &tag)
            if conn == NULL or conn.tag != tag:
                continue                                             # of a connection that is closed
            if conn.kind == CONN_WAKE:
                woken = 1
            conn.on_event(c, conn, c.loop.events[i].events)
        if c.loop.ready != NULL:
            worker_leftovers(c)
        if c.loop.now_ms // 8 >= c.loop.timers.tick:
            timers_turn(&c.loop.timers, c.loop.now_ms, worker_on_deadline, c)
        if woken:
            worker_read_orders(w)
        if woken or c.queue_due:
            queue_serve_all(c, 0)
        if c.slot_freed:
            c.slot_freed = 0
            accept_resume_all(c)
        if c.loop.dead != NULL:
            worker_sweep(c)
    accept_close(c, NULL, 0)
    while c.sessions != NULL:
        upstream_abort(c, c.sessions)
        session_close(c, c.sessions, 1)
    worker_close_upstreams(c, 1)
    worker_leftovers(c)
    worker_sweep(c)
    snapshot_leave(c.snapshots, c.index)
    return NULL


cdef inline int worker_start(worker_t *w) noexcept nogil:
    """0 or -errno. Signals stay with Python's threads."""
    cdef sigset_t every
    cdef sigset_t before
    cdef int error
    sigfillset(&every)
    pthread_sigmask(SIG_SETMASK, &every, &before)
    error = pthread_create(&w.thread, NULL, worker_run, w)
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    w.running = error == 0
    return -error


cdef inline void worker_order(worker_t *w, order_t *order) noexcept nogil:
    """Give an order without waiting for it; any thread, with the GIL released."""
    cdef uint64_t one = 1
    order.done = 0
    order.result = 0
    pthread_mutex_lock(&w.mutex)
    order.next = w.orders
    w.orders = order
    pthread_mutex_unlock(&w.mutex)
    write(w.wake.fd, &one, sizeof(one))


cdef inline int worker_await(worker_t *w, order_t *order) noexcept nogil:
    """Wait until an order is done; its result."""
    pthread_mutex_lock(&w.mutex)
    while not order.done:
        pthread_cond_wait(&w.done, &w.mutex)
    pthread_mutex_unlock(&w.mutex)
    return order.result


cdef inline void worker_join(worker_t *w) noexcept nogil:
    if w.running:
        pthread_join(w.thread, NULL)
        w.running = 0
