# SPDX-License-Identifier: Apache-2.0
"""Health checks: the one thread that makes them all, and how other threads add, change and remove what it probes.
The same thread ejects members and brings them back (outlier.pxd).

Life: probes_init, probes_start, probes_stop, probes_free, each by one thread.  Targets may be added, changed, removed and
read at any time between init and free, by any thread: orders lie in a mailbox until the thread's next turn, or until
it starts.  Stopped, targets keep their state; a new start goes on with them.
"""
from libc.errno cimport EALREADY
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from fastlb.core.atomics cimport counter_bump, counter_get, flag_get, flag_set
from fastlb.core.health cimport health_reset, health_t
from fastlb.core.loop cimport LOOP_EVENTS, loop_add, loop_close, loop_open, loop_tell_time
from fastlb.core.model cimport address_t
from fastlb.core.outlier cimport (
    outliers_dispose, outliers_init, outliers_read_mail, outliers_start, outliers_stop, outliers_turn, outliers_wait_ms,
)
from fastlb.core.probe_check cimport probe_abandon, probe_arm, probe_event, probe_first, probe_icmp_event, probe_timer
from fastlb.core.probe_icmp cimport icmp_close
from fastlb.core.probe_target cimport (
    PROBE_DRAIN, PROBE_IDLE, PROBE_MAIL_ADD, PROBE_MAIL_REMOVE, PROBE_MAIL_UPDATE, probe_address_same, probe_config_drop,
    probe_config_hold, probe_config_same_check, probe_config_t, probe_report_f, probe_target_t, probes_t,
)
from fastlb.core.sys.epoll cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, EPOLLIN, close, epoll_event, epoll_wait, errno, eventfd, read, write,
)
from fastlb.core.sys.pthread cimport (
    SIG_SETMASK, pthread_create, pthread_join, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock,
    pthread_mutex_unlock, pthread_self, pthread_setname_np, pthread_sigmask, sigfillset, sigset_t,
)
from fastlb.core.timers cimport timer_disarm, timers_init, timers_turn, timers_wait_ms

cdef extern from "<sys/resource.h>" nogil:
    ctypedef unsigned long rlim_t
    cdef struct rlimit:
        rlim_t rlim_cur
        rlim_t rlim_max
    int RLIMIT_NOFILE
    int getrlimit(int resource, rlimit *limit) noexcept


cdef enum:
    PROBES_BEHIND = 64           # full batches of events before deadlines are looked at all the same


cdef inline void probe_free(probes_t *p, probe_target_t *t) noexcept nogil:
    """By the probe thread, or while there is none."""
    probe_abandon(p, t)
    timer_disarm(&p.loop.timers, &t.timer)
    if t.link != NULL:
        t.link[0] = t.next
        if t.next != NULL:
            t.next.link = t.link
        counter_bump(&p.count, -1)
    probe_config_drop(t.config)
    probe_config_drop(t.new_config)
    free(t)


cdef inline void probe_change(probes_t *p, probe_target_t *t, probe_config_t *config, const address_t *address) noexcept nogil:
    """Take over a new configuration. What would answer another question than the new one is abandoned, without a result."""
    cdef probe_config_t *old = t.config
    cdef bint same = probe_config_same_check(config, old) and probe_address_same(address, &t.address)
    cdef uint64_t now_ns = p.loop.now_ns
    cdef int64_t next_ns = <int64_t>t.next_ns + <int64_t>config.delay_ns - <int64_t>old.delay_ns
    t.config = config
    t.address = address[0]
    if not same or (t.state in (PROBE_IDLE, PROBE_DRAIN) and next_ns <= <int64_t>now_ns):
        probe_abandon(p, t)
        probe_first(p, t, now_ns)
    elif counter_get(&t.at_ns) == 0 and t.state == PROBE_IDLE:
        t.next_ns = min(t.next_ns, now_ns + config.delay_ns)
        probe_arm(p, t, t.next_ns)
    else:
        t.next_ns = <uint64_t>next_ns
        if t.state == PROBE_IDLE:
            probe_arm(p, t, t.next_ns)
    probe_config_drop(old)


cdef inline void probes_read_mail(probes_t *p) noexcept nogil:
    """By the probe thread, or while there is none."""
    cdef probe_target_t *t
    cdef probe_config_t *config
    cdef address_t address
    cdef uint8_t mail
    while 1:
        pthread_mutex_lock(&p.mutex)
        t = p.inbox
        if t == NULL:
            pthread_mutex_unlock(&p.mutex)
            return
        p.inbox = t.mail_next
        if p.inbox == NULL:
            p.inbox_end = &p.inbox
        mail = t.mail
        t.mail = 0
        t.mail_next = NULL
        config = t.new_config
        address = t.new_address if t.new_address.length else t.address
        t.new_address.length = 0
        t.new_config = NULL
        pthread_mutex_unlock(&p.mutex)
        if mail & PROBE_MAIL_REMOVE:
            probe_config_drop(config)
            probe_free(p, t)
            continue
        if mail & PROBE_MAIL_ADD:
            t.next = p.targets
            t.link = &p.targets
            if t.next != NULL:
                t.next.link = &t.next
            p.targets = t
            counter_bump(&p.count, 1)
            probe_first(p, t, p.loop.now_ns)
        if config != NULL:
            probe_change(p, t, config, &address)


cdef inline void probes_post(probes_t *p, probe_target_t *t, uint8_t mail) noexcept nogil:
    """Under p.mutex."""
    cdef uint64_t one = 1
    if t.mail == 0:
        t.mail_next = NULL
        p.inbox_end[0] = t
        if p.inbox_end == &p.inbox and p.running:
            write(p.wake_fd, &one, sizeof(one))
        p.inbox_end = &t.mail_next
    t.mail |= mail


cdef inline probe_target_t *probe_add(
    probes_t *p, const address_t *address, probe_config_t *config, const health_t *health, probe_report_f report, void *owner
) noexcept nogil:
    """Probe this address; NULL without memory. `health` NULL: up and unproven; else the state to go on from. Any thread."""
    cdef probe_target_t *t = <probe_target_t *>calloc(1, sizeof(probe_target_t))
    if t == NULL:
        return NULL
    t.fd = -1
    t.address = address[0]
    t.config = config
    probe_config_hold(config)
    t.report = report
    t.owner = owner
    if health != NULL:
        t.health = health[0]
    else:
        health_reset(&t.health)
    flag_set(&t.up, t.health.up)
    pthread_mutex_lock(&p.mutex)
    probes_post(p, t, PROBE_MAIL_ADD)
    pthread_mutex_unlock(&p.mutex)
    return t


cdef inline void probe_update(
    probes_t *p, probe_target_t *t, const address_t *address, probe_config_t *config
) noexcept nogil:
    """A new configuration, and a new address unless NULL; up or down stays, and so do the counts. Any thread.

    If only times or rise and fall change, a check under way goes on.
    """
    cdef probe_config_t *unread
    probe_config_hold(config)
    pthread_mutex_lock(&p.mutex)
    unread = t.new_config
    if address != NULL:
        t.new_address = address[0]
    t.new_config = config
    probes_post(p, t, PROBE_MAIL_UPDATE)
    pthread_mutex_unlock(&p.mutex)
    probe_config_drop(unread)


cdef inline void probe_remove(probes_t *p, probe_target_t *t) noexcept nogil:
    """Give the target up: no report is made for it from now on. Any thread, but not out of a report.

    The thread frees it in its next turn, probes_free if there is none; the caller must not touch it again.
    """
    pthread_mutex_lock(&p.report_mutex)
    t.removed = 1
    pthread_mutex_unlock(&p.report_mutex)
    pthread_mutex_lock(&p.mutex)
    probes_post(p, t, PROBE_MAIL_REMOVE)
    pthread_mutex_unlock(&p.mutex)


cdef inline void *probes_run(void *argument) noexcept nogil:
    """The thread."""
    cdef probes_t *p = <probes_t *>argument
    cdef probe_target_t *t
    cdef epoll_event *event
    cdef uint64_t woken
    cdef uint32_t behind = 0
    cdef int wait_ms = 0
    cdef bint mailed = 0
    cdef int n, i
    pthread_setname_np(pthread_self(), b"fastlb-probe")
    loop_tell_time(&p.loop)
    t = p.targets
    while t != NULL:             # of an earlier start
        probe_first(p, t, p.loop.now_ns)
        t = t.next
    probes_read_mail(p)
    while not flag_get(&p.stopping):
        n = epoll_wait(p.loop.epoll_fd, p.loop.events, LOOP_EVENTS, wait_ms)
        loop_tell_time(&p.loop)
        for i in range(n):
            event = &p.loop.events[i]
            if event.data.ptr == <void *>&p.wake_fd:
                read(p.wake_fd, &woken, sizeof(woken))
                mailed = 1
            elif event.data.ptr == <void *>&p.icmp[0]:
                probe_icmp_event(p, &p.icmp[0])
            elif event.data.ptr == <void *>&p.icmp[1]:
                probe_icmp_event(p, &p.icmp[1])
            else:
                probe_event(p, <probe_target_t *>event.data.ptr, event.events)
        if mailed:               # behind the events: a target is freed here, and one of them might be its
            mailed = 0
            probes_read_mail(p)
            outliers_read_mail(&p.outliers, p.loop.now_ns)
        # Answers before deadlines: if this thread was kept from running, what has come meanwhile is not late.
        if n == LOOP_EVENTS and behind < PROBES_BEHIND:
            behind += 1
            wait_ms = 0
            continue
        behind = 0
        timers_turn(&p.loop.timers, p.loop.now_ms, probe_timer, p)
        outliers_turn(&p.outliers, p.loop.now_ns)
        wait_ms = outliers_wait_ms(&p.outliers, p.loop.now_ns, timers_wait_ms(&p.loop.timers, p.loop.now_ms))
    return NULL


cdef inline void probes_close(probes_t *p) noexcept nogil:
    """Every descriptor; while there is no thread."""
    cdef probe_target_t *t = p.targets
    while t != NULL:
        probe_abandon(p, t)
        timer_disarm(&p.loop.timers, &t.timer)
        t = t.next
    outliers_stop(&p.outliers)
    icmp_close(&p.icmp[0])
    icmp_close(&p.icmp[1])
    free(p.sequences)
    p.sequences = NULL
    if p.wake_fd >= 0:
        close(p.wake_fd)
        p.wake_fd = -1
    loop_close(&p.loop)


cdef inline void probes_init(probes_t *p, uint64_t seed) noexcept nogil:
    """Of memory in any state. `seed` spreads the starts of checks and marks the PINGs: let it be unpredictable."""
    memset(p, 0, sizeof(probes_t))
    p.loop.epoll_fd = -1
    p.wake_fd = -1
    p.icmp[0].fd = -1
    p.icmp[1].fd = -1
    p.random.state = seed
    p.inbox_end = &p.inbox
    timers_init(&p.loop.timers, 0)
    pthread_mutex_init(&p.mutex, NULL)
    pthread_mutex_init(&p.report_mutex, NULL)
    outliers_init(&p.outliers)


cdef inline uint32_t probes_open_limit() noexcept nogil:
    """A quarter of the descriptors that this process may have: the rest is for traffic."""
    cdef rlimit limit
    if getrlimit(RLIMIT_NOFILE, &limit) < 0:
        return 256
    return <uint32_t>min(max(limit.rlim_cur // 4, <rlim_t>16), <rlim_t>1000000)


cdef inline int probes_start(probes_t *p, uint32_t open_limit) noexcept nogil:
    """Start the thread; 0 or -errno, and then nothing is left open. `open_limit`: sockets of checks at once; 0: by itself."""
    cdef sigset_t every
    cdef sigset_t before
    cdef int error
    if p.running:
        return -EALREADY
    p.open_limit = open_limit if open_limit else probes_open_limit()
    p.short_until_ns = 0
    p.soon_ns = 0
    flag_set(&p.stopping, 0)
    error = loop_open(&p.loop)
    if error < 0:
        return error
    p.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if p.wake_fd < 0:
        error = -errno
    else:
        error = loop_add(&p.loop, p.wake_fd, EPOLLIN, &p.wake_fd)
    if error == 0:
        pthread_mutex_lock(&p.mutex)
        p.running = 1
        pthread_mutex_unlock(&p.mutex)
        outliers_start(&p.outliers, p.wake_fd)
        # Signals are for the program's own threads: Python's handlers must not run here, nor calls here be interrupted.
        sigfillset(&every)
        pthread_sigmask(SIG_SETMASK, &every, &before)
        error = -pthread_create(&p.thread, NULL, probes_run, p)
        pthread_sigmask(SIG_SETMASK, &before, NULL)
    if error < 0:
        pthread_mutex_lock(&p.mutex)
        p.running = 0
        pthread_mutex_unlock(&p.mutex)
        probes_close(p)
    return error


cdef inline void probes_stop(probes_t *p) noexcept nogil:
    """End and join the thread, close every descriptor; targets stay and keep their state. May be called twice."""
    cdef uint64_t one = 1
    if not p.running:
        return
    flag_set(&p.stopping, 1)
    write(p.wake_fd, &one, sizeof(one))
    pthread_join(p.thread, NULL)
    pthread_mutex_lock(&p.mutex)
    p.running = 0
    pthread_mutex_unlock(&p.mutex)
    probes_close(p)


cdef inline void probes_free(probes_t *p) noexcept nogil:
    """Stop, and free all targets that were not removed: nobody may touch them, nor p, from here on."""
    probes_stop(p)
    probes_read_mail(p)
    while p.targets != NULL:
        probe_free(p, p.targets)
    outliers_dispose(&p.outliers)
    pthread_mutex_destroy(&p.mutex)
    pthread_mutex_destroy(&p.report_mutex)
