# SPDX-License-Identifier: Apache-2.0
"""What is probed and how, the results, and the state of the thread that does it: probe_config_t, probe_target_t, probes_t."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy
from fastlb.core.atomics cimport counter_add_sync, counter_get, counter_set, counter_t, flag_get, flag_t
from fastlb.core.health cimport health_t
from fastlb.core.loop cimport loop_t
from fastlb.core.model cimport address_t
from fastlb.core.outlier cimport outliers_t
from fastlb.core.probe_http cimport probe_codes_t
from fastlb.core.probe_icmp cimport icmp_socket_t
from fastlb.core.random cimport random_t
from fastlb.core.sys.pthread cimport pthread_mutex_t, pthread_t
from fastlb.core.timers cimport timer_t

cdef enum probe_kind_t:
    PROBE_TCP = 0
    PROBE_HTTP = 1
    PROBE_PING = 2

cdef enum probe_code_t:          # what became of a check
    PROBE_NONE = 0               # there was none yet
    PROBE_PASSED = 1
    PROBE_CONNECT_FAILED = 2     # with the errno; PING: the request could not be sent
    PROBE_CONNECT_TIMEOUT = 3
    PROBE_NO_ANSWER = 4          # nothing, or no whole status line, within the timeout
    PROBE_CLOSED = 5             # the member closed before its status line was whole
    PROBE_IO_FAILED = 6          # with the errno, after the connection stood
    PROBE_MALFORMED = 7          # not an HTTP/1 status line
    PROBE_WRONG_STATUS = 8       # with the status, which is not an expected one

cdef enum probe_state_t:
    PROBE_IDLE = 0
    PROBE_CONNECT = 1
    PROBE_SEND = 2
    PROBE_STATUS = 3
    PROBE_ECHO = 4
    PROBE_DRAIN = 5

cdef enum probe_mail_t:          # bits
    PROBE_MAIL_ADD = 1
    PROBE_MAIL_UPDATE = 2
    PROBE_MAIL_REMOVE = 4

cdef enum:
    PROBE_DELAY_MIN_NS = 10000000               # a check every 10 ms at most
    PROBE_DELAY_ZERO_NS = 100000000             # Octavia allows a delay of 0: ten checks a second
    PROBE_SOON_NS = 50000000                    # a new target's first check, if few come at once
    PROBE_SOON_EACH_NS = 10000000               # few: 64 at once, then one each 10 ms
    PROBE_SOON_BURST = 64
    PROBE_SHORT_NS = 100000000                  # pause after the system had no descriptor, memory or port for us
    PROBE_HELD_MS = 20                          # and when `open_limit` holds a check back
    PROBE_DRAIN_NS = 250000000                  # for the rest of an answer
    PROBE_DRAIN_BYTES = 65536
    PROBE_SCRATCH = 16384
    PROBE_SEQUENCES = 65536                     # PINGs under way at once

cdef enum:                                      # beyond the range of a C int
    PROBE_TIME_MAX_MS = 2000000000              # 23 days: no sum of times overflows

cdef struct probe_config_t:      # shared by the targets of one monitor; immutable; counted: each target holds one
    counter_t refs
    uint64_t delay_ns            # between starts of checks
    uint64_t timeout_ns          # for the answer
    uint64_t connect_timeout_ns  # for the connection, never more than the delay
    uint32_t rise
    uint32_t fall
    probe_kind_t kind
    uint32_t request_length
    probe_codes_t codes
    uint8_t request[0]

cdef struct probe_result_t:
    probe_code_t code
    int error                    # errno, or 0
    uint32_t status              # HTTP, or 0
    bint first                   # of this target
    bint changed                 # the member goes up or down with it
    uint64_t duration_ns
    uint64_t at_ns               # monotonic

# On the probe thread, for the first result and for each that changes the state; must not call probe_*, nor wait for
# anything that a caller of probe_remove may hold.
ctypedef void (*probe_report_f)(void *owner, bint up, const probe_result_t *result) noexcept nogil

cdef struct probe_target_t:
    timer_t timer                # first, so that one pointer serves
    # The probe thread's own.
    probe_target_t *next         # in probes.targets
    probe_target_t **link
    probe_config_t *config       # counted
    address_t address
    health_t health
    probe_report_f report
    void *owner
    uint64_t next_ns             # when the next check starts; while one is under way, the one behind it
    uint64_t began_ns            # of the check under way
    uint64_t token               # of the PING under way
    uint32_t drained
    uint32_t sent                # bytes of the request
    int fd                       # -1: none
    uint16_t sequence            # of the PING under way
    uint8_t state                # probe_state_t
    uint8_t line_length
    uint8_t line[16]             # the answer's first bytes
    # Under probes.mutex.
    probe_target_t *mail_next
    probe_config_t *new_config   # counted
    address_t new_address
    uint8_t mail                 # 0: not in the mailbox
    # Under probes.report_mutex.
    uint8_t removed
    # Written by the probe thread, read by any.
    flag_t up
    counter_t last               # code, status and errno in one word
    counter_t duration_ns        # of the last check
    counter_t passed
    counter_t failed
    counter_t at_ns              # of the last result
    counter_t changed_ns         # of the last change of `up`; 0: it never changed

cdef struct probe_view_t:        # a target as another thread sees it
    bint up
    probe_code_t code
    int error
    uint32_t status
    uint64_t duration_ns
    uint64_t passed
    uint64_t failed
    uint64_t at_ns
    uint64_t changed_ns

cdef struct probes_t:            # the thread and what it owns
    loop_t loop
    pthread_t thread
    random_t random
    probe_target_t *targets
    uint32_t open_limit          # sockets of checks at once, so that traffic keeps its descriptors
    uint32_t open
    uint64_t short_until_ns      # no check starts before
    uint64_t soon_ns             # see probe_first
    icmp_socket_t icmp[2]        # IPv4, IPv6
    probe_target_t **sequences   # who waits for which reply; made with the first PING
    uint16_t sequence
    flag_t stopping
    # Shared.
    pthread_mutex_t mutex        # guards the mailbox and `running`
    probe_target_t *inbox
    probe_target_t **inbox_end
    bint running
    int wake_fd
    outliers_t outliers           # members that this thread ejects and brings back
    pthread_mutex_t report_mutex  # held while a report is made: nobody is removed meanwhile
    counter_t count              # targets that the thread knows
    counter_t started            # checks
    counter_t shortages          # checks put off because the system had no descriptor, memory or port
    counter_t held_back          # checks put off by open_limit
    uint8_t scratch[16384]


cdef inline uint64_t probe_time(uint64_t time_ns, uint64_t least_ns) noexcept nogil:
    return min(max(time_ns, least_ns), <uint64_t>PROBE_TIME_MAX_MS * 1000000)


cdef inline probe_config_t *probe_config_new(
    probe_kind_t kind, uint64_t delay_ns, uint64_t timeout_ns, uint64_t connect_timeout_ns, uint32_t rise, uint32_t fall,
    const uint8_t *request, uint32_t request_length, const probe_codes_t *codes
) noexcept nogil:
    """A configuration that the caller holds; NULL without memory. Request and codes are copied, and only used by HTTP.

    As HAProxy does it: no timeout (0) means as long as the delay; no connect timeout, Octavia's default of 5 s.
    A delay of 0 is ten checks a second.
    """
    cdef probe_config_t *c = <probe_config_t *>calloc(1, sizeof(probe_config_t) + request_length)
    if c == NULL:
        return NULL
    counter_set(&c.refs, 1)
    c.kind = kind
    c.delay_ns = probe_time(delay_ns if delay_ns else <uint64_t>PROBE_DELAY_ZERO_NS, PROBE_DELAY_MIN_NS)
    c.timeout_ns = probe_time(timeout_ns if timeout_ns else c.delay_ns, 1000000)
    c.connect_timeout_ns = min(connect_timeout_ns if connect_timeout_ns else <uint64_t>5000000000, c.delay_ns)
    c.rise = max(rise, 1)
    c.fall = max(fall, 1)
    c.request_length = request_length
    if request_length:
        memcpy(c.request, request, request_length)
    if codes != NULL:
        c.codes = codes[0]
    return c


cdef inline void probe_config_hold(probe_config_t *c) noexcept nogil:
    counter_add_sync(&c.refs, 1)


cdef inline void probe_config_drop(probe_config_t *c) noexcept nogil:
    """Any thread."""
    if c != NULL and counter_add_sync(&c.refs, -1) == 0:
        free(c)


cdef inline bint probe_config_same_check(const probe_config_t *a, const probe_config_t *b) noexcept nogil:
    """Do they ask the same of a member? Times and counts aside."""
    return (
        a.kind == b.kind and a.request_length == b.request_length
        and memcmp(a.request, b.request, a.request_length) == 0
        and memcmp(&a.codes, &b.codes, sizeof(a.codes)) == 0
    )


cdef inline bint probe_address_same(const address_t *a, const address_t *b) noexcept nogil:
    return a.length == b.length and memcmp(&a.ip, &b.ip, a.length) == 0


cdef inline void probe_read(const probe_target_t *t, probe_view_t *view) noexcept nogil:
    """Any thread that keeps the target from being removed. Each figure is whole; together they may be of two checks."""
    cdef int64_t last = counter_get(&t.last)
    view.up = flag_get(&t.up)
    view.code = <probe_code_t>(last & 0xFF)
    view.status = (last >> 8) & 0xFFFF
    view.error = <int>(last >> 32)
    view.duration_ns = counter_get(&t.duration_ns)
    view.passed = counter_get(&t.passed)
    view.failed = counter_get(&t.failed)
    view.at_ns = counter_get(&t.at_ns)
    view.changed_ns = counter_get(&t.changed_ns)
