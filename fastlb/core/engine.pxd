# SPDX-License-Identifier: Apache-2.0
"""All threads, and what is done to all of them: start, stop, listening sockets, orders to every worker."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from fastlb.core.accept cimport accept_free, accept_new, listening_t
from fastlb.core.atomics cimport counter_add, counter_get, counter_t, flag_set
from fastlb.core.bind cimport bind_close, bind_listen
from fastlb.core.context cimport session_t, upstream_t
from fastlb.core.events cimport (
    EVENT_MEMBER_EJECTED, EVENT_MEMBER_RETURNED, events_close, events_open, events_put, events_t,
)
from fastlb.core.hash cimport hash_mix
from fastlb.core.lifetime cimport member_hold
from fastlb.core.model cimport listener_t, member_t, pool_t
from fastlb.core.probe cimport probes_free, probes_init, probes_start, probes_stop
from fastlb.core.probe_target cimport probes_t
from fastlb.core.snapshot cimport snapshot_reclaim, snapshots_init, snapshots_t
from fastlb.core.steer cimport steer_among
from fastlb.core.sys.epoll cimport close
from fastlb.core.sys.pthread cimport (
    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock,
)
from fastlb.core.worker cimport (
    ORDER_CUT, ORDER_DRAIN, ORDER_LISTEN, ORDER_PURGE, ORDER_QUEUED, ORDER_RENEW, ORDER_RETIRE, ORDER_STEER, ORDER_STOP,
    ORDER_UNLISTEN, order_kind_t, order_t, worker_await, worker_close, worker_join, worker_open, worker_order, worker_start,
    worker_t,
)

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size) noexcept

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int microseconds) noexcept

cdef enum:
    ENGINE_WORKERS = 128
    ENGINE_ADDRESSES = 64        # of one listener

cdef struct engine_t:
    snapshots_t snapshots
    events_t events
    probes_t probes
    worker_t *workers            # from engine_open to engine_close: figures are read from them while a stop goes on
    uint32_t count
    int wake_fds[128]            # of the workers
    bint running
    pthread_mutex_t mutex        # one order to all at a time; start and stop
    counter_t next_id
    counter_t sessions_cut


cdef inline void *engine_memory(size_t size) noexcept nogil:
    """Zeros, aligned to cache lines; NULL without memory. `free` takes it back."""
    cdef void *memory = NULL
    if posix_memalign(&memory, 64, (size + 63) & ~<size_t>63) != 0:
        return NULL
    memset(memory, 0, size)
    return memory


cdef inline uint64_t engine_new_id(engine_t *e) noexcept nogil:
    """Without e.mutex, which a stop holds for its whole grace: callers hold the GIL."""
    return <uint64_t>counter_add(&e.next_id, 1) + 1


cdef inline void engine_close_workers(engine_t *e, uint32_t opened) noexcept nogil:
    cdef uint32_t i
    for i in range(opened):
        worker_close(&e.workers[i])


cdef inline int engine_start(engine_t *e, const int *cpus, uint64_t seed) noexcept nogil:
    """Open and start every thread; 0 or -errno with nothing left over. `cpus`: one a worker, -1: any; NULL: any."""
    cdef uint32_t i
    cdef int error
    cdef order_t order
    memset(e.workers, 0, e.count * sizeof(worker_t))
    for i in range(e.count):
        error = worker_open(&e.workers[i], i, &e.snapshots, hash_mix(seed + i), cpus[i] if cpus != NULL else -1)
        if error:
            engine_close_workers(e, i)
            return error
        e.wake_fds[i] = e.workers[i].wake.fd
        e.workers[i].c.wake_fds = e.wake_fds
    error = probes_start(&e.probes, 0)
    i = 0
    while error == 0 and i < e.count:
        error = worker_start(&e.workers[i])
        if error == 0:
            i += 1
    if error:
        while i > 0:
            i -= 1
            order.kind = ORDER_STOP
            order.object = NULL
            worker_order(&e.workers[i], &order)
            worker_await(&e.workers[i], &order)
            worker_join(&e.workers[i])
        probes_stop(&e.probes)
        engine_close_workers(e, e.count)
        return error
    e.running = 1
    return 0


cdef inline int engine_order_binding(
    engine_t *e, order_kind_t kind, void *object, uint64_t binding
) noexcept nogil:
    """Give all workers the same order and wait for all; the sum of their results. Under e.mutex."""
    cdef order_t orders[128]
    cdef uint32_t i
    cdef int result = 0
    for i in range(e.count):
        orders[i].kind = kind
        orders[i].object = object
        orders[i].binding = binding
        worker_order(&e.workers[i], &orders[i])
    for i in range(e.count):
        result += worker_await(&e.workers[i], &orders[i])
    return result


cdef inline int engine_order(engine_t *e, order_kind_t kind, void *object) noexcept nogil:
    return engine_order_binding(e, kind, object, 0)


cdef inline int64_t engine_sessions(engine_t *e) noexcept nogil:
    cdef int64_t n = 0
    cdef uint32_t i
    for i in range(e.count):
        n += counter_get(&e.workers[i].c.live_sessions)
    return n


cdef inline int64_t engine_stop(engine_t *e, uint64_t grace_ms) noexcept nogil:
    """Drain for so long, cut what is left, join all threads; how many sessions were cut. Twice is fine."""
    cdef uint64_t waited_us = 0
    cdef int64_t cut = 0
    cdef uint32_t i
    pthread_mutex_lock(&e.mutex)
    if e.running:
        engine_order(e, ORDER_DRAIN, NULL)
        while engine_sessions(e) and waited_us < grace_ms * 1000:
            usleep(2000)
            waited_us += 2000
        cut = engine_sessions(e)
        probes_stop(&e.probes)
        engine_order(e, ORDER_STOP, NULL)
        for i in range(e.count):
            worker_join(&e.workers[i])
        e.running = 0
        engine_close_workers(e, e.count)
        snapshot_reclaim(&e.snapshots)
    pthread_mutex_unlock(&e.mutex)
    return cut


cdef inline void engine_abandon(engine_t *e) noexcept nogil:
    """In a forked child: close its copies of the descriptors, so that ports and connections are the parent's alone.

    No thread of the engine is here, and one may have held a lock: nothing else may be done with it in this process.
    """
    cdef worker_t *w
    cdef listening_t *listening
    cdef session_t *s
    cdef upstream_t *up
    cdef uint32_t i
    if not e.running:
        return
    for i in range(e.count):
        w = &e.workers[i]
        listening = <listening_t *>w.c.listenings
        while listening != NULL:
            close(listening.conn.fd)
            listening = listening.next
        s = w.c.sessions
        while s != NULL:
            close(s.client.fd)
            s = s.next
        up = w.c.upstreams
        while up != NULL:
            close(up.conn.fd)
            up = up.next
        close(w.c.loop.epoll_fd)
        close(w.wake.fd)


cdef inline void engine_purge(engine_t *e, member_t *member) noexcept nogil:
    """Have the idle connections to a member closed that gets no more work. Not waited for: `leaving` keeps more from coming,
    and without memory for the order they grow old within seconds."""
    cdef order_t *order
    cdef uint32_t i
    pthread_mutex_lock(&e.mutex)
    if e.running:
        for i in range(e.count):
            order = <order_t *>calloc(1, sizeof(order_t))
            if order == NULL:
                break
            order.kind = ORDER_PURGE
            order.object = member
            member_hold(member)
            worker_order(&e.workers[i], order)
    pthread_mutex_unlock(&e.mutex)


cdef inline int engine_listen(
    engine_t *e, listener_t *listener, uint64_t binding, uint64_t replaced, const int *fds
) noexcept nogil:
    """Give each worker its socket of a binding. 0 or -errno: then every socket is closed.

    `replaced`: a binding of the same address, beside which these were bound; no connection is lost on the way from it to them.
    The new sockets begin to listen at the end of the group, each worker gets its own, new connections are steered to them, and
    the old ones are retired, in this order. `engine_release` ends it.
    """
    cdef order_t orders[128]
    cdef listening_t *listenings[128]
    cdef uint32_t i
    cdef uint32_t made = 0
    cdef int error = 0
    pthread_mutex_lock(&e.mutex)
    if not e.running:
        error = -9                                                            # EBADF: stopped meanwhile
    while error == 0 and made < e.count:
        listenings[made] = accept_new(listener, binding, fds[made])
        if listenings[made] == NULL:
            error = -12                                                       # ENOMEM
        else:
            made += 1
    if replaced and error == 0:
        error = bind_listen(e.count, fds)
    if error:
        for i in range(made):
            accept_free(listenings[i])
        bind_close(e.count, fds)
    else:
        for i in range(e.count):
            orders[i].kind = ORDER_LISTEN
            orders[i].object = listenings[i]
            worker_order(&e.workers[i], &orders[i])
        for i in range(e.count):
            worker_await(&e.workers[i], &orders[i])
        if replaced:
            steer_among(fds[0], e.count, e.count)
            engine_order_binding(e, ORDER_RETIRE, listener, replaced)
    pthread_mutex_unlock(&e.mutex)
    return error


cdef inline void engine_retire(engine_t *e, listener_t *listener, uint64_t binding) noexcept nogil:
    """No new handshake at these sockets; those that have begun are finished. `engine_release` ends it."""
    pthread_mutex_lock(&e.mutex)
    if e.running:
        engine_order_binding(e, ORDER_RETIRE, listener, binding)
    pthread_mutex_unlock(&e.mutex)


cdef inline int engine_queued(engine_t *e, listener_t *listener, uint64_t binding) noexcept nogil:
    """How many connections of a binding wait to be accepted."""
    cdef int queued = 0
    pthread_mutex_lock(&e.mutex)
    if e.running:
        queued = engine_order_binding(e, ORDER_QUEUED, listener, binding)
    pthread_mutex_unlock(&e.mutex)
    return queued


cdef inline void engine_release(engine_t *e, listener_t *listener, uint64_t binding, uint64_t successor) noexcept nogil:
    """Close the sockets of a retired binding. `successor`: the binding that replaced it; 0: none did.

    Where a socket leaves the group the last one takes its place, so the old ones go from the last to the first: then what is
    new always follows what is old, and is at last in the order of the workers again. With k old sockets left the new ones are
    k..k+n-1, and one less when the next is gone; so meanwhile new connections go to k..k+n-2, which are new before and after. A
    single worker has none to spare: there the index is none for a moment, when only new ones are left for the hash.
    """
    cdef order_t order
    cdef uint32_t left
    pthread_mutex_lock(&e.mutex)
    if e.running and successor == 0:
        engine_order_binding(e, ORDER_UNLISTEN, listener, binding)
    elif e.running:
        order.object = listener
        for left in range(e.count, 0, -1):
            order.kind = ORDER_STEER
            order.binding = successor
            order.first = left
            order.count = e.count - 1 if e.count > 1 else 1
            worker_order(&e.workers[0], &order)
            worker_await(&e.workers[0], &order)
            order.kind = ORDER_UNLISTEN
            order.binding = binding
            worker_order(&e.workers[left - 1], &order)
            worker_await(&e.workers[left - 1], &order)
        order.kind = ORDER_STEER
        order.binding = successor
        order.count = 0
        worker_order(&e.workers[0], &order)
        worker_await(&e.workers[0], &order)
    pthread_mutex_unlock(&e.mutex)


cdef inline void engine_unlisten(engine_t *e, listener_t *listener) noexcept nogil:
    """The port is free on return; connections under way finish."""
    pthread_mutex_lock(&e.mutex)
    flag_set(&listener.closing, 1)
    if e.running:
        engine_order(e, ORDER_UNLISTEN, listener)
    pthread_mutex_unlock(&e.mutex)


cdef inline void engine_renew(engine_t *e, pool_t *pool) noexcept nogil:
    """Close the idle connections to a pool's members: the next sessions make new ones."""
    pthread_mutex_lock(&e.mutex)
    if e.running:
        engine_order(e, ORDER_RENEW, pool)
    pthread_mutex_unlock(&e.mutex)


cdef inline int engine_cut(engine_t *e, listener_t *listener) noexcept nogil:
    """End the sessions of a listener; how many there were."""
    cdef int cut = 0
    pthread_mutex_lock(&e.mutex)
    if e.running:
        cut = engine_order(e, ORDER_CUT, listener)
    pthread_mutex_unlock(&e.mutex)
    return cut


cdef inline void engine_hears_of_outlier(
    void *owner, const member_t *member, bint ejected, int64_t value, uint64_t now_ns
) noexcept nogil:
    """outlier_report_f."""
    events_put(
        &(<engine_t *>owner).events, EVENT_MEMBER_EJECTED if ejected else EVENT_MEMBER_RETURNED, member.id, value, now_ns)


cdef inline int engine_open(engine_t *e, uint32_t count, uint64_t seed) noexcept nogil:
    """Of zeros. 0 or -errno."""
    cdef int error
    e.count = count
    snapshots_init(&e.snapshots)
    e.workers = <worker_t *>engine_memory(count * sizeof(worker_t))
    if e.workers == NULL:
        return -12
    error = events_open(&e.events)
    if error:
        free(e.workers)
        return error
    probes_init(&e.probes, seed)
    e.probes.outliers.report = engine_hears_of_outlier
    e.probes.outliers.owner = e
    pthread_mutex_init(&e.mutex, NULL)
    return 0


cdef inline void engine_close(engine_t *e) noexcept nogil:
    """Stopped; nobody holds an object of it any more."""
    probes_free(&e.probes)
    snapshot_reclaim(&e.snapshots)
    events_close(&e.events)
    free(e.workers)
    pthread_mutex_destroy(&e.mutex)
