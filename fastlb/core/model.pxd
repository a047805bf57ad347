# SPDX-License-Identifier: Apache-2.0
"""What the data plane knows of Octavia's objects: member_t, pool_t, listener_t.

Objects are long-lived and counted (`refs`): Python's owner holds one reference and gives it up through
`snapshot_retire`, so that a worker that has just read a pointer can still use it in this turn of its loop; a connection
holds one for as long as it lives.  What changes as a whole is an immutable object behind a `pointer_t`: a pool's roster, a
listener's configuration.  A *shard* is the part of an object that one worker owns: its counters, its idle connections.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from posix.types cimport pid_t
from fastlb.core.atomics cimport counter_t, flag_t, pointer_t, spinlock_t
from fastlb.core.snapshot cimport snapshots_t
from fastlb.core.sys.pthread cimport pthread_mutex_t
from fastlb.core.sys.socket cimport sockaddr_in6, socklen_t
from fastlb.core.timers cimport timer_t

cdef enum algorithm_t:
    ALGORITHM_ROUND_ROBIN = 0
    ALGORITHM_LEAST_CONNECTIONS = 1
    ALGORITHM_SOURCE_IP = 2
    ALGORITHM_SOURCE_IP_PORT = 3
    ALGORITHM_RANDOM_TWO_CHOICES = 4     # ours, from here on
    ALGORITHM_PEAK_EWMA = 5
    ALGORITHM_MAGLEV = 6

cdef enum persistence_t:                 # what brings a client back to its member
    PERSISTENCE_NONE = 0
    PERSISTENCE_SOURCE_IP = 1
    PERSISTENCE_HTTP_COOKIE = 2          # a cookie of ours, which names the member
    PERSISTENCE_APP_COOKIE = 3           # a cookie of the members', learnt from their answers

cdef enum:                               # pool_conf_t.retry_on, bits
    RETRY_CONNECT = 1                    # connect failures
    RETRY_RESET = 2                      # the connection broke before a byte of the answer
    RETRY_502 = 4
    RETRY_503 = 8
    RETRY_504 = 16

cdef enum:
    LISTENER_REFUSALS = 64               # reasons (refusal.pxd), with room

cdef enum:                               # listener_conf_t.insert, bits
    INSERT_FORWARDED_FOR = 1
    INSERT_FORWARDED_PORT = 2
    INSERT_FORWARDED_PROTO = 4

cdef struct address_t:                   # an IPv4 or IPv6 address and port; sockaddr_in, or a member's sockaddr_un, lies in the same bytes
    sockaddr_in6 ip
    socklen_t length

cdef struct member_shard_t:              # one worker's view of one member; 3 cache lines, written by that worker only
    void *idle                           # its idle connections, the last used first (conn_t)
    uint32_t idle_count
    uint32_t padding
    counter_t active                     # sessions (HTTP: exchanges) now
    counter_t sessions                   # ever
    counter_t bytes_in                   # from clients, to the member
    counter_t bytes_out                  # from the member, to clients
    counter_t connects                   # attempts
    counter_t connect_errors
    counter_t reuses                     # exchanges on a kept connection
    counter_t retries                    # sent to another member after this one
    counter_t response_errors
    counter_t client_aborts
    counter_t member_aborts
    counter_t responses[6]               # 1xx … 5xx, other
    counter_t connections                # open now, idle ones too
    counter_t response_ns                # sum over `responses`, time to the head
    char spare[8]

cdef enum ejected_t:                     # member_t.ejected: for what (outlier.pxd)
    EJECTED_NOT = 0
    EJECTED_5XX = 1
    EJECTED_CONNECT = 2

cdef struct ejection_t:                  # a member's ejections; the probe thread's
    timer_t timer                        # first: until its return
    member_t *member                     # counted while it is linked
    ejection_t *next
    ejection_t **link                    # NULL: it is not ejected
    uint32_t times                       # how many base times the last one took
    uint64_t returned_ns

cdef struct member_t:
    # Fixed at creation.
    uint64_t id
    uint64_t hash_key                    # of the text "address:port": the same on every node
    uint8_t uuid[16]                     # the object's id, which a persistence cookie names
    uint64_t key                         # its hash, which persistence tables hold; never 0
    address_t address
    pool_t *pool                         # counted
    member_shard_t *shards               # one a worker, aligned to cache lines
    uint32_t workers
    # The operator's wish; written under pool.mutex.
    uint16_t weight                      # 0..256
    bint backup
    bint admin_up
    bint removed                         # left the pool: finish what is under way
    # Observed.
    flag_t up                            # 1: passes its probes, or is not probed
    flag_t leaving                       # 1: gets no new work for good or for long: keep no idle connection to it
    flag_t max_connections               # sessions at once, over all workers; 0: no limit
    flag_t keepalive_ms                  # how long it lets a connection idle, as far as is known (upstream_idle.pxd)
    counter_t keepalive_until_ms         # until when that is believed
    flag_t ejected                       # ejected_t: left out for what traffic showed; written under pool.mutex
    counter_t faults                     # in a row: 5xx answers, in the upper half failed connects; written when there are
    counter_t warming_since_ns           # slow start; 0: it has its whole share
    flag_t weight_served                 # `weight` in the roster published last, for workers
    # Written by every worker, so on lines apart from what each pick and connect reads.
    char apart[64]
    counter_t refs
    # The selector's own; see selection/.
    counter_t active                     # sessions now, over all workers, whatever the algorithm
    counter_t ewma_ns                    # PEAK_EWMA: latency as of ewma_at_ns; 0: no figure yet
    counter_t ewma_at_ns
    counter_t ejections                  # ever
    ejection_t ejection
    flag_t accused                       # 1: in the mailbox of outlier.pxd
    member_t *accused_next               # there
    bint serving                         # usable when the roster was published last; under pool.mutex
    uint32_t index                       # in pool.members; under pool.mutex
    uint32_t slot                        # in the roster published last; under pool.mutex
    uint32_t listed_weight               # LEAST_CONNECTIONS: as it is listed, 0: not listed; under pool.mutex
    uint32_t wanted_weight               # and as it should be
    void *selector_node                  # and its bucket, and its neighbours there; under pool.pick_lock
    member_t *selector_next
    member_t *selector_previous
    uint64_t selector_stamp              # when it came to the end of its bucket
    char apart_too[64]

cdef struct pool_conf_t:                 # immutable once published
    bint http                            # its members speak HTTP to us: not after a PROXY header
    bint admin_up
    persistence_t persistence
    uint32_t cookie_length
    uint8_t cookie_name[256]
    uint32_t timeout_queue_ms            # how long a session waits while every member has its max_connections
    uint32_t retry_on                    # RETRY_*
    uint32_t retries                     # after the first try, 0..3
    uint32_t retry_budget_percent        # retries at once, of the sessions at once; 0: no budget
    uint32_t retry_min                   # so many are always allowed
    uint32_t outlier_5xx                 # in a row; 0: not looked at
    uint32_t outlier_connect             # connect failures in a row; 0: not looked at
    uint32_t ejection_percent            # of the members at once, at the most
    uint64_t ejection_ns                 # the first time; longer for one that was ejected before
    uint64_t ejection_max_ns
    uint64_t slow_start_ns               # until a member that comes back has its whole share; 0: at once
    uint32_t panic_percent               # fewer members than this are up: all are used; 0: never

cdef struct pool_shard_t:                # one worker's part of a pool; 2 cache lines, written by that worker but for `woken`
    pool_t *pool
    void *first                          # sessions that wait for a place at a member, in the order of their tickets (queue.pxd)
    void *last
    pool_shard_t *next                   # in context.queues, while somebody waits
    pool_shard_t **link
    counter_t oldest                     # the ticket of the first; 0: nobody waits
    flag_t woken                         # the worker was told to look
    uint32_t padding
    counter_t queued                     # sessions that ever had to wait
    counter_t queue_timeouts             # of these, those for whom no place came in time
    counter_t retries_refused            # by the retry budget
    char spare[48]

cdef struct pool_t:
    uint64_t id
    snapshots_t *snapshots               # borrowed from the engine, which outlives its pools
    pthread_mutex_t mutex                # guards what builds a roster: members, algorithm, admin_up
    member_t **members                   # all that belong to it
    uint32_t count
    uint32_t capacity
    uint32_t wanted                      # of them: admin up, with a weight
    uint32_t ejected                     # of these
    algorithm_t algorithm
    bint admin_up
    uint64_t seed
    pool_shard_t *shards                 # one a worker, aligned to cache lines; NULL in a pool that no worker serves
    uint32_t workers
    uint64_t (*clock)() noexcept nogil   # clock_now_ns, unless a test has its own
    void *outliers                       # outliers_t (outlier.pxd), the engine's; NULL: nobody is ejected
    counter_t refs
    counter_t generation                 # of the published roster
    flag_t panic                         # 1: too few are up, so all are used
    counter_t panics                     # how often that began
    # Read at each pick, on lines of their own.
    char apart[64]
    pointer_t roster                     # roster_t (selection/ops.pxd)
    pointer_t conf                       # pool_conf_t
    pointer_t directory                  # members by key, those without a share too (directory.pxd); NULL: no persistence
    pointer_t sticky                     # which client has which member (sticky.pxd); NULL: none is remembered
    flag_t served                        # 1: there has been a session
    char apart_too[64]
    # Written at each pick.
    spinlock_t pick_lock                 # for algorithms whose state is shared
    counter_t cursor                     # of round robin; goes on when the roster changes
    void *selector                       # of an algorithm whose state outlives a roster (LEAST_CONNECTIONS)
    char apart_three[64]
    # Written while sessions wait, and with a retry budget.
    counter_t waiting                    # sessions of all workers
    counter_t tickets                    # drawn so far
    counter_t in_flight                  # sessions of all workers that were counted (session_t.weighed)
    counter_t retrying                   # of these, tries after the first
    char apart_four[64]

cdef struct cidr_t:                      # IPv4 as ::ffff:a.b.c.d
    uint8_t prefix[16]
    uint32_t bits                        # 0..128

cdef struct listener_conf_t:             # immutable once published
    pool_t *default_pool                 # counted; NULL: none
    uint32_t timeout_client_data_ms
    uint32_t timeout_member_connect_ms
    uint32_t timeout_member_data_ms
    uint32_t timeout_head_ms             # from a head's first byte to its last
    uint32_t timeout_idle_ms             # between two requests of a client
    uint32_t head_bytes                  # of a request
    uint32_t head_fields
    uint32_t target_bytes
    uint32_t body_rate_min               # bytes a second that a request's body must come with; 0: any
    uint32_t requests_max                # on one client connection; 0: any number
    uint32_t pipeline_max                # requests of one client served before others have their turn
    uint32_t insert                      # INSERT_*
    void *policies                       # l7_program_t, counted (l7_match.pxd); NULL: none
    void (*policies_release)(void *program) noexcept nogil
    int64_t connection_limit             # of all workers together; never -1 here
    cidr_t *cidrs                        # NULL: everyone
    uint32_t cidr_count

cdef struct listener_shard_t:            # one worker's part; written by that worker only
    counter_t active                     # client connections now
    counter_t connections                # ever
    counter_t requests                   # HTTP requests ever
    counter_t bytes_in
    counter_t bytes_out
    counter_t request_errors
    counter_t denied                     # by allowed_cidrs
    counter_t responses[6]               # 1xx … 5xx, other
    counter_t own_answers                # made by us
    counter_t redirects                  # of these, by L7 policies
    counter_t spare
    counter_t refused[64]                # of these, errors by reason (refusal.pxd)

cdef struct listener_t:
    uint64_t id
    bint http                            # parsed as HTTP/1.1; else a byte stream
    uint16_t port                        # as bound
    pointer_t conf                       # listener_conf_t
    listener_shard_t *shards
    uint32_t workers
    counter_t refs
    flag_t closing                       # 1: its port is given up; connections get no further request
    char apart[64]
    counter_t active                     # client connections of all workers, for connection_limit
    char apart_too[56]
