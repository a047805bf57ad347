# SPDX-License-Identifier: Apache-2.0
"""Outlier detection: members are judged by real traffic, and those that fail too often in a row are ejected for a time.

As Envoy does it: `outlier_5xx` answers 5xx in a row (broken answers and none in time count as such), or `outlier_connect`
connections in a row that were not made, and the member gets no new sessions for ejection_ns, the next time for twice as
long and so on, up to ejection_max_ns; each ejection_ns that it then stays in takes one off.  At most ejection_percent of a
pool's members are ejected at once, but one may be.  Sessions under way and idle connections stay.

Workers count faults, in one word a member, and write nothing while all is well.  At the limit a worker accuses the member: puts it
into a mailbox of the probe thread, which alone ejects members and brings them back.  Accused again are members whose ejection
is to be looked at, because they were removed or the detection was turned off.

    in --(faults reach the limit)--> ejected --(its time is over, detection off, engine stops)--> in
                                        +--(removed)--> forgotten
"""
from libc.errno cimport EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from fastlb.core.atomics cimport counter_get, counter_set, counter_swap_if, flag_get, flag_set, flag_swap
from fastlb.core.lifetime cimport member_hold, member_release
from fastlb.core.model cimport EJECTED_5XX, EJECTED_CONNECT, EJECTED_NOT, ejected_t, ejection_t, member_t, pool_conf_t, pool_t
from fastlb.core.roster cimport ejection_stands, pool_conf, pool_holds, pool_note_serving, pool_publish
from fastlb.core.sys.epoll cimport write
from fastlb.core.sys.pthread cimport (
    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock,
)
from fastlb.core.timers cimport timer_arm, timer_disarm, timer_t, timers_init, timers_t, timers_turn, timers_wait_ms

cdef enum:
    OUTLIER_AGAIN_NS = 1000000000    # until a return is tried again that there was no memory for
    OUTLIER_LEAST_NS = 1000000       # an ejection's base time at least
    OUTLIER_CONNECT_SHIFT = 32       # of member_t.faults

cdef enum outlier_kind_t:            # what a worker saw of a member
    OUTLIER_CONNECTED = 0            # it took a connection
    OUTLIER_ANSWERED = 1             # with another status than 5xx
    OUTLIER_5XX = 2                  # with 5xx, with what is no answer, or not in time
    OUTLIER_UNCONNECTED = 3          # it did not take a connection

# On the probe thread; `value`: ejected_t, or how long it was to be ejected.
ctypedef void (*outlier_report_f)(void *owner, const member_t *member, bint ejected, int64_t value, uint64_t now_ns) noexcept nogil

cdef struct outliers_t:              # one an engine
    # The probe thread's own.
    timers_t timers
    uint64_t now_ns                  # of its turn
    ejection_t *ejected              # all of them
    outlier_report_f report          # NULL: nobody listens
    void *owner
    # Shared.
    pthread_mutex_t mutex            # guards what follows
    member_t *accused                # counted
    int wake_fd                      # the probe thread's; -1: there is none, and nobody is accused


cdef inline void outliers_init(outliers_t *o) noexcept nogil:
    """Of zeros."""
    o.wake_fd = -1
    timers_init(&o.timers, 0)
    pthread_mutex_init(&o.mutex, NULL)


cdef inline void outliers_dispose(outliers_t *o) noexcept nogil:
    """Stopped."""
    pthread_mutex_destroy(&o.mutex)


cdef inline void outlier_accuse(outliers_t *o, member_t *member) noexcept nogil:
    """Have the probe thread look at the member. Any thread that holds it; twice is once."""
    cdef uint64_t one = 1
    if flag_swap(&member.accused, 1):
        return
    pthread_mutex_lock(&o.mutex)
    if o.wake_fd < 0:
        flag_set(&member.accused, 0)
    else:
        member_hold(member)
        member.accused_next = o.accused
        if o.accused == NULL:
            write(o.wake_fd, &one, sizeof(one))
        o.accused = member
    pthread_mutex_unlock(&o.mutex)


cdef inline void outlier_fault(pool_t *pool, member_t *member, bint connect) noexcept nogil:
    """Count one, and accuse the member if it is one too many. Inside pool.snapshots."""
    cdef const pool_conf_t *conf = pool_conf(pool)
    cdef uint64_t limit = conf.outlier_connect if connect else conf.outlier_5xx
    cdef uint64_t before, count
    cdef int64_t after
    if limit == 0 or flag_get(&member.ejected) != EJECTED_NOT:
        return
    while True:
        before = <uint64_t>counter_get(&member.faults)
        if connect:
            count = (before >> OUTLIER_CONNECT_SHIFT) + 1
            after = <int64_t>(<uint32_t>before | count << OUTLIER_CONNECT_SHIFT)
        else:
            count = <uint64_t><uint32_t>before + 1
            after = <int64_t>count                       # and it took the connection
        if count > limit or counter_swap_if(&member.faults, <int64_t>before, after):
            break
    if count >= limit and pool.outliers != NULL:
        outlier_accuse(<outliers_t *>pool.outliers, member)


cdef inline bint outlier_excused(int error) noexcept nogil:
    """Is it this host that lacked something for the connection? A negative errno."""
    return error in (-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, -EAGAIN, -EADDRNOTAVAIL)


cdef inline void outlier_result(pool_t *pool, member_t *member, outlier_kind_t kind) noexcept nogil:
    """What became of a connection or an exchange. A worker, inside pool.snapshots; while all is well, one load."""
    cdef int64_t faults
    if kind == OUTLIER_5XX and pool_conf(pool).outlier_5xx == 0:
        kind = OUTLIER_CONNECTED                         # it was that, too
    if kind >= OUTLIER_5XX:
        outlier_fault(pool, member, kind == OUTLIER_UNCONNECTED)
        return
    faults = counter_get(&member.faults)
    if faults == 0:
        return
    if kind == OUTLIER_ANSWERED:
        counter_set(&member.faults, 0)
    elif faults >> OUTLIER_CONNECT_SHIFT:
        counter_swap_if(&member.faults, faults, <uint32_t>faults)


cdef inline void outlier_review(pool_t *pool) noexcept nogil:
    """After pool_configure: whose ejection does not matter any more is in again. Any thread."""
    cdef member_t *member
    cdef uint32_t i
    pthread_mutex_lock(&pool.mutex)
    for i in range(pool.count):
        member = pool.members[i]
        if flag_get(&member.ejected) and not ejection_stands(pool_conf(pool), flag_get(&member.ejected)):
            flag_set(&member.ejected, EJECTED_NOT)       # the roster has it already
            counter_set(&member.faults, 0)
            if pool.outliers != NULL:
                outlier_accuse(<outliers_t *>pool.outliers, member)
    pool_note_serving(pool, pool_conf(pool))
    pthread_mutex_unlock(&pool.mutex)


cdef inline void outlier_forget(member_t *member) noexcept nogil:
    """After pool_remove: its ejection, if there is one, must not keep it. Any thread that holds it."""
    if member.pool.outliers != NULL and flag_get(&member.ejected):
        outlier_accuse(<outliers_t *>member.pool.outliers, member)


# All below on the probe thread, or while there is none.

cdef inline void outlier_drop(outliers_t *o, member_t *member) noexcept nogil:
    """Its ejection is over: forget the timer. The member may be gone after that."""
    cdef ejection_t *e = &member.ejection
    if e.link == NULL:
        return
    timer_disarm(&o.timers, &e.timer)
    e.link[0] = e.next
    if e.next != NULL:
        e.next.link = e.link
    e.link = NULL
    member_release(member)


cdef inline void outlier_keep(outliers_t *o, member_t *member) noexcept nogil:
    cdef ejection_t *e = &member.ejection
    if e.link != NULL:
        return
    member_hold(member)
    e.member = member
    e.next = o.ejected
    e.link = &o.ejected
    if e.next != NULL:
        e.next.link = &e.next
    o.ejected = e


cdef inline bint outlier_room(const pool_t *pool, uint32_t percent) noexcept nogil:
    """May one more of the pool be ejected? Of those that are to serve. Under pool.mutex."""
    return pool.ejected == 0 or (pool.ejected + 1) * <uint64_t>100 <= percent * <uint64_t>pool.wanted


cdef inline uint64_t outlier_term(ejection_t *e, const pool_conf_t *conf, uint64_t now_ns) noexcept nogil:
    """For how long it is ejected this time."""
    cdef uint64_t base_ns = max(conf.ejection_ns, <uint64_t>OUTLIER_LEAST_NS)
    cdef uint64_t max_ns = max(conf.ejection_max_ns, base_ns)
    cdef uint64_t calm
    if e.times:
        calm = (now_ns - e.returned_ns) // base_ns if now_ns > e.returned_ns else 0
        e.times -= <uint32_t>min(calm, <uint64_t>e.times)
    if e.times < max_ns // base_ns + 1:
        e.times += 1
    return min(e.times * base_ns, max_ns)


cdef inline ejected_t outlier_verdict(const pool_conf_t *conf, uint64_t faults) noexcept nogil:
    if conf.outlier_5xx and <uint32_t>faults >= conf.outlier_5xx:
        return EJECTED_5XX
    if conf.outlier_connect and faults >> OUTLIER_CONNECT_SHIFT >= conf.outlier_connect:
        return EJECTED_CONNECT
    return EJECTED_NOT


cdef inline void outlier_look(outliers_t *o, member_t *member, uint64_t now_ns) noexcept nogil:
    """At one that is accused: eject it, or find that it is in again or gone. The caller holds it."""
    cdef pool_t *pool = member.pool
    cdef const pool_conf_t *conf
    cdef ejected_t verdict
    cdef uint64_t term_ns = 0
    cdef bint held
    cdef bint back = 0
    pthread_mutex_lock(&pool.mutex)
    conf = pool_conf(pool)
    held = pool_holds(pool, member) and not member.removed
    verdict = outlier_verdict(conf, <uint64_t>counter_get(&member.faults))
    if not held:
        flag_set(&member.ejected, EJECTED_NOT)
    elif flag_get(&member.ejected) == EJECTED_NOT:
        back = member.ejection.link != NULL              # outlier_review has let it in
        if back:
            member.ejection.returned_ns = now_ns
        if verdict != EJECTED_NOT:
            # Counted anew from here on, whether or not there is room for another one.
            counter_set(&member.faults, 0)
            if outlier_room(pool, conf.ejection_percent):
                flag_set(&member.ejected, verdict)
                if pool_publish(pool, conf):
                    flag_set(&member.ejected, EJECTED_NOT)
                else:
                    term_ns = outlier_term(&member.ejection, conf, now_ns)
                    counter_set(&member.ejections, counter_get(&member.ejections) + 1)
    pthread_mutex_unlock(&pool.mutex)
    if back and o.report != NULL:
        o.report(o.owner, member, 0, 0, now_ns)
    if term_ns:
        outlier_keep(o, member)
        timer_arm(&o.timers, &member.ejection.timer, (now_ns + term_ns) // 1000000)
        if o.report != NULL:
            o.report(o.owner, member, 1, <int64_t>term_ns, now_ns)
    elif flag_get(&member.ejected) == EJECTED_NOT:
        outlier_drop(o, member)


cdef inline void outlier_return(outliers_t *o, member_t *member, uint64_t now_ns) noexcept nogil:
    """Its time is over. It may be gone after that."""
    cdef pool_t *pool = member.pool
    cdef uint32_t ejected
    cdef int failed
    pthread_mutex_lock(&pool.mutex)
    ejected = flag_get(&member.ejected)
    flag_set(&member.ejected, EJECTED_NOT)
    failed = pool_publish(pool, pool_conf(pool))
    if failed:
        flag_set(&member.ejected, ejected)
    else:
        counter_set(&member.faults, 0)
        member.ejection.returned_ns = now_ns
    pthread_mutex_unlock(&pool.mutex)
    if failed:
        timer_arm(&o.timers, &member.ejection.timer, (now_ns + OUTLIER_AGAIN_NS) // 1000000)
        return
    if o.report != NULL:
        o.report(o.owner, member, 0, 0, now_ns)
    outlier_drop(o, member)


cdef inline member_t *outliers_take_mail(outliers_t *o) noexcept nogil:
    """All who are accused."""
    cdef member_t *first
    pthread_mutex_lock(&o.mutex)
    first = o.accused
    o.accused = NULL
    pthread_mutex_unlock(&o.mutex)
    return first


cdef inline void outliers_read_mail(outliers_t *o, uint64_t now_ns) noexcept nogil:
    cdef member_t *member = outliers_take_mail(o)
    cdef member_t *next_
    while member != NULL:
        next_ = member.accused_next
        flag_set(&member.accused, 0)                     # before the look: what comes after it is mail again
        outlier_look(o, member, now_ns)
        member_release(member)
        member = next_


cdef inline void outlier_timer(void *context, timer_t *timer) noexcept nogil:
    """timer_fire_f."""
    cdef outliers_t *o = <outliers_t *>context
    outlier_return(o, (<ejection_t *>timer).member, o.now_ns)


cdef inline void outliers_turn(outliers_t *o, uint64_t now_ns) noexcept nogil:
    o.now_ns = now_ns
    timers_turn(&o.timers, now_ns // 1000000, outlier_timer, o)


cdef inline int32_t outliers_wait_ms(outliers_t *o, uint64_t now_ns, int32_t wait_ms) noexcept nogil:
    """wait_ms (-1: for ever), or less if somebody returns before."""
    cdef int32_t until_ms = timers_wait_ms(&o.timers, now_ns // 1000000)
    return until_ms if until_ms >= 0 and (wait_ms < 0 or until_ms < wait_ms) else wait_ms


cdef inline void outliers_start(outliers_t *o, int wake_fd) noexcept nogil:
    """Before the probe thread begins."""
    pthread_mutex_lock(&o.mutex)
    o.wake_fd = wake_fd
    pthread_mutex_unlock(&o.mutex)


cdef inline void outliers_stop(outliers_t *o) noexcept nogil:
    """After the probe thread has ended: nobody is accused from here on, and those that were ejected are in again. May be called
    twice."""
    cdef member_t *member
    cdef member_t *next_
    pthread_mutex_lock(&o.mutex)
    o.wake_fd = -1
    pthread_mutex_unlock(&o.mutex)
    member = outliers_take_mail(o)
    while member != NULL:
        next_ = member.accused_next
        flag_set(&member.accused, 0)
        member_release(member)
        member = next_
    while o.ejected != NULL:
        member = o.ejected.member
        pthread_mutex_lock(&member.pool.mutex)
        flag_set(&member.ejected, EJECTED_NOT)
        counter_set(&member.faults, 0)
        member.ejection.times = 0
        pool_publish(member.pool, pool_conf(member.pool))
        pthread_mutex_unlock(&member.pool.mutex)
        outlier_drop(o, member)
