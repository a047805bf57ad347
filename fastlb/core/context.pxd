# SPDX-License-Identifier: Apache-2.0
"""What one worker owns, and the session: a client's connection, its member's connection, and where their talk stands."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastlb.core.atomics cimport counter_t, pointer_get
from fastlb.core.conn cimport conn_t
from fastlb.core.http1 cimport http1_head_t, http1_scan_t
from fastlb.core.http1_body cimport http1_body_t
from fastlb.core.http1_write cimport http1_extra_t
from fastlb.core.l7_match cimport l7_scratch_t
from fastlb.core.loop cimport loop_t
from fastlb.core.model cimport listener_conf_t, listener_shard_t, listener_t, member_shard_t, member_t, pool_shard_t
from fastlb.core.random cimport random_t
from fastlb.core.slab cimport slab_t
from fastlb.core.snapshot cimport snapshots_t
from fastlb.core.timers cimport timer_t

cdef enum:
    SESSION_TRIES = 4            # the first try and Octavia's three retries
    SCRATCH_BYTES = 163840       # a head written anew: 64 KiB at the most, and what we add; a redirect to all of it
    EXTRA_BYTES = 70656          # values of fields that we add: what is left of a Cookie field, addresses
    EXTRAS = 112                 # fields that we add: each Cookie field anew, and a few

cdef enum phase_t:
    PHASE_IDLE = 0               # HTTP: between requests, nothing of the next one is here
    PHASE_HEAD = 1               # HTTP: part of a head is here
    PHASE_CONNECT = 2            # a member's connection is being made; nothing was sent
    PHASE_PAUSE = 3              # every member was tried; a second's rest before the next round
    PHASE_QUEUE = 4              # every member has its max_connections: a place is waited for
    PHASE_EXCHANGE = 5           # HTTP: request going out or response coming in
    PHASE_RELAY = 6              # bytes both ways: a TCP session, a tunnel
    PHASE_CLOSING = 7            # the last bytes go to the client, then the end
    PHASE_LINGER = 8             # our FIN is sent; what the client still sends is read and dropped

cdef struct upstream_t:          # a connection to a member
    conn_t conn                  # first, so that one pointer serves
    member_t *member             # counted
    session_t *session           # NULL while idle
    upstream_t *next             # in context.upstreams
    upstream_t **link
    upstream_t *idle_next        # in member_shard_t.idle
    upstream_t *idle_previous
    uint64_t since_ns            # when it was given to its session
    uint64_t idle_since_ms
    uint64_t response_ns         # from then to the response's head; 0: not yet
    uint8_t connecting
    uint8_t reused               # carried an exchange before this one
    uint8_t answered             # a byte of the response came
    uint8_t faulted              # this exchange has counted against the member (outlier.pxd)
    uint8_t doubtful             # serves no other exchange

cdef struct pipe_t:              # for splice (relay.pxd)
    pipe_t *next
    int read_fd
    int write_fd
    uint32_t held                # bytes in it

cdef struct session_t:
    conn_t client                # first, so that one pointer serves
    listener_t *listener         # counted
    upstream_t *up               # NULL: none
    session_t *next              # in context.sessions
    session_t **link
    member_t *tried[4]           # compared, never followed
    pool_shard_t *queue          # where it waits; NULL: it does not
    session_t *queue_next
    session_t *queue_previous
    int64_t ticket               # its place among all that wait for the pool
    uint64_t queue_until_ms
    uint64_t stick_key           # member_t.key of the member that the client had before; 0: none is known
    uint32_t stick_moves         # sticky_moves when it was looked up in a table
    uint64_t address_hash
    uint64_t address_port_hash
    uint64_t client_active_ms    # the last byte from or to the client
    uint64_t member_active_ms
    uint64_t head_deadline_ms
    uint64_t body_since_ms       # when the request's body began to be waited for, moved on by what the member held it up
    uint64_t body_held_ms        # since when the member takes nothing of it; 0: it does
    pipe_t *pipes[2]             # to the member, to the client
    uint32_t bulk[2]             # full reads in a row
    # HTTP only.
    http1_body_t request_body
    http1_body_t response_body
    http1_scan_t scan
    uint32_t held                # bytes of the request kept at the start of client.input, to be sent again if need be
    uint32_t upgrade_offset      # the offered protocols, in the held head
    uint32_t upgrade_length
    uint32_t exchanges           # on this client connection
    uint8_t phase
    uint8_t http
    uint8_t tries
    uint8_t round                # of tries over all members
    uint8_t method
    uint8_t client_minor
    uint8_t keep_alive           # the client may ask again on this connection
    uint8_t request_sent         # all of it left for the member
    uint8_t request_failed       # the member takes no more of it
    uint8_t response_started     # its head went to the client
    uint8_t response_done
    uint8_t replayed
    uint8_t expects_continue
    uint8_t upgrade
    uint8_t chunked_out          # the response goes to the client in chunks
    uint8_t interim              # 1xx heads so far
    uint8_t counted              # pool_opened was told
    uint8_t weighed              # and pool.in_flight
    uint8_t retrying             # and pool.retrying
    uint8_t again                # a member may have had it before, or could not be connected to
    uint8_t spent                # it may not be sent again
    uint8_t member_keep
    uint8_t address_family
    uint16_t client_port
    uint8_t client_address[16]

cdef struct context_t:
    loop_t loop                  # first
    uint32_t index               # of the worker, and of its shards
    snapshots_t *snapshots
    random_t random
    slab_t sessions_slab
    slab_t upstreams_slab
    session_t *sessions          # all of this worker
    upstream_t *upstreams        # likewise
    void *listenings             # its listening sockets (accept.pxd)
    uint32_t session_count
    uint32_t idle_count          # member connections without a session
    bint draining                # the engine stops: no idle connection is kept
    pool_shard_t *queues         # in which sessions of this worker wait
    session_t *serving           # whose turn it is, while it tries
    timer_t *queue_tick          # of the worker
    const int *wake_fds          # of all workers
    bint queue_due               # somebody who waits may have a place now
    bint slot_freed              # a session ended in this turn: a listener that waits may accept again
    uint8_t *scratch             # SCRATCH_BYTES
    uint8_t *extra_text          # EXTRA_BYTES behind them
    http1_extra_t extras[112]
    l7_scratch_t l7
    http1_head_t request
    http1_head_t response
    # Read by other threads.
    counter_t turns
    counter_t accept_emfile
    counter_t connect_emfile
    counter_t live_sessions
    counter_t live_upstreams
    counter_t spliced_bytes


cdef inline listener_conf_t *session_conf(const session_t *s) noexcept nogil:
    """Valid until the end of the turn."""
    return <listener_conf_t *>pointer_get(&s.listener.conf)


cdef inline listener_shard_t *listener_shard(const context_t *c, const listener_t *listener) noexcept nogil:
    return &listener.shards[c.index]


cdef inline member_shard_t *member_shard(const context_t *c, const member_t *member) noexcept nogil:
    return &member.shards[c.index]
