# SPDX-License-Identifier: Apache-2.0
"""A request: read from the client, given to a member.

The head is parsed in the client's input and written anew for the member.  The bytes of a request that lies whole in the input
stay there (`held`) until its response begins: the request can be sent to another member, or once more on a fresh
connection.  Nothing is taken from the input while a connect is under way.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from fastlb.core.atomics cimport counter_bump, flag_get
from fastlb.core.buffer cimport BUFFER_LARGE, BUFFER_SMALL
from fastlb.core.bytes cimport span_t
from fastlb.core.conn cimport (
    EAGAIN, conn_data, conn_event_f, conn_flush, conn_held, conn_queue_rest, conn_read, conn_send, conn_send_now, conn_use,
    conn_watch,
)
from fastlb.core.context cimport (
    PHASE_CONNECT, PHASE_EXCHANGE, PHASE_HEAD, PHASE_IDLE, PHASE_PAUSE, SCRATCH_BYTES, context_t, listener_shard,
    member_shard, session_conf, session_t, upstream_t,
)
from fastlb.core.http1 cimport (
    HTTP1_CHUNKED, HTTP1_FIELDS, HTTP1_HEAD_BYTES_MAX, HTTP1_LENGTH, HTTP1_NO_BODY, http1_head_t, http1_limits_t,
    http1_parse_request, http1_worth_parsing,
)
from fastlb.core.http1_body cimport HTTP1_BODY_DONE, http1_body_feed, http1_body_init_head, http1_chunk_head
from fastlb.core.http1_write cimport http1_write_request
from fastlb.core.http_answer cimport http_answer, http_refuse
from fastlb.core.http_route cimport route_extras, route_pool
from fastlb.core.model cimport RETRY_CONNECT, listener_conf_t, listener_shard_t, pool_t
from fastlb.core.queue cimport queue_leave
from fastlb.core.sys.socket cimport iovec
from fastlb.core.timers cimport timer_arm
from fastlb.core.upstream cimport (
    UPSTREAM_NONE, UPSTREAM_QUEUE, UPSTREAM_REST, UPSTREAM_REST_MS, upstream_attach, upstream_detach, upstream_fail,
)

cdef enum:
    REQUEST_UNWATCHED_MS = 100   # how long a client's first request may be out before epoll watches the client
    REQUEST_JOINED_BYTES = 2048  # of a body that is sent together with its head
    REQUEST_CLOSING_IDLE_MS = 100  # how long an idle client of a closed listener may still ask
    REQUEST_BODY_TURNS = 16      # pieces for one event before others have their turn
    REQUEST_RATE_GRACE_MS = 5000  # before the rate of a body is looked at

cdef enum request_verdict_t:
    REQUEST_WAIT = 0
    REQUEST_READY = 1            # parsed in context.request
    REQUEST_AGAIN = 2
    REQUEST_ENDED = -1           # the client went away
    REQUEST_REFUSED = -2         # answered, the connection ends


cdef inline void request_limits(http1_limits_t *limits, const listener_conf_t *conf) noexcept nogil:
    limits.head_bytes = conf.head_bytes
    limits.target_bytes = conf.target_bytes
    limits.fields = conf.head_fields


cdef inline int request_take(context_t *c, session_t *s) noexcept nogil:
    """Read until a head is complete: REQUEST_READY, _WAIT, _ENDED or _REFUSED."""
    cdef listener_conf_t *conf = session_conf(s)
    cdef http1_limits_t limits
    cdef uint32_t held, patience
    cdef int64_t n
    cdef int verdict
    if s.client.out_first != NULL:
        # The answer before has not left yet; a client that does not read it gets no further one.
        verdict = conn_flush(&c.loop, &s.client)
        if verdict < 0:
            return REQUEST_ENDED
        if verdict == 0:
            timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + session_conf(s).timeout_client_data_ms)
            return REQUEST_WAIT
    while True:
        held = conn_held(&s.client)
        if held:
            if s.phase == PHASE_IDLE:
                s.phase = PHASE_HEAD
                s.head_deadline_ms = c.loop.now_ms + min(conf.timeout_head_ms, conf.timeout_client_data_ms)
                memset(&s.scan, 0, sizeof(s.scan))
            if http1_worth_parsing(&s.scan, conn_data(&s.client), held, conf.head_bytes):
                request_limits(&limits, conf)
                verdict = http1_parse_request(&c.request, conn_data(&s.client), held, &limits)
                if verdict > 0:
                    return REQUEST_READY
                if verdict < 0:
                    counter_bump(&listener_shard(c, s.listener).request_errors, 1)
                    s.request_sent = 0
                    s.method = 0
                    http_refuse(c, s, <uint32_t>-verdict, c.request.error, 1)
                    return REQUEST_REFUSED
        if not s.client.readable:
            break
        n = conn_read(&c.loop, &s.client, BUFFER_SMALL)
        if n > 0:
            counter_bump(&listener_shard(c, s.listener).bytes_in, n)
        elif n != -EAGAIN:
            if conn_held(&s.client):
                counter_bump(&listener_shard(c, s.listener).request_errors, 1)
            return REQUEST_ENDED
    if not conn_watch(&c.loop, &s.client):
        return REQUEST_ENDED
    if s.phase == PHASE_HEAD:
        timer_arm(&c.loop.timers, &s.client.timer, s.head_deadline_ms)
    else:
        # Who connects has something to ask: its first head may take its time, and no longer.
        patience = conf.timeout_idle_ms if s.exchanges else min(conf.timeout_head_ms, conf.timeout_client_data_ms)
        if (c.draining or flag_get(&s.listener.closing)) and patience > REQUEST_CLOSING_IDLE_MS:
            patience = REQUEST_CLOSING_IDLE_MS
        timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + patience)
    return REQUEST_WAIT


cdef inline void request_forward(context_t *c, session_t *s, conn_event_f on_member) noexcept nogil:
    """Give the request parsed in context.request to a member.

    Leaves the phase EXCHANGE; CONNECT, PAUSE or QUEUE (parse again and call again); or what http_answer leaves.
    """
    cdef http1_head_t *head = &c.request
    cdef listener_conf_t *conf = session_conf(s)
    cdef pool_t *pool = route_pool(c, s, conf)
    cdef upstream_t *up
    cdef iovec pieces[2]
    cdef span_t trailers
    cdef uint32_t count, total, body, consumed, produced
    cdef int64_t sent
    cdef int verdict
    cdef bint fresh = s.replayed
    cdef uint64_t shorter
    # The policies may have changed while the request waited: a connection to another pool's member is not for it, nor for the
    # client's next one.
    if s.up != NULL and (pool == NULL or s.up.member.pool != pool):
        upstream_detach(c, s, 0)
    if pool == NULL:
        if s.queue != NULL:
            queue_leave(c, s)
        return
    if not s.upgrade:
        head.upgrade = 0
    count = route_extras(c, s, conf, pool)
    pieces[0].iov_base = c.scratch
    pieces[0].iov_len = http1_write_request(head, c.scratch, SCRATCH_BYTES, c.extras, count)
    count = 1
    body = 0
    if head.framing == HTTP1_LENGTH:
        body = conn_held(&s.client) - head.length
        if body > head.body_bytes:
            body = <uint32_t>head.body_bytes
        if body:
            pieces[1].iov_base = conn_data(&s.client) + head.length
            pieces[1].iov_len = body
            count = 2
    total = <uint32_t>pieces[0].iov_len + body
    count = pieces_join(pieces, count, total)
    while True:
        if s.up == NULL:
            verdict = upstream_attach(c, s, pool, on_member, fresh)
            if verdict == UPSTREAM_QUEUE:
                return
            if verdict == UPSTREAM_NONE:
                http_answer(c, s, 503, 0)
                return
            if verdict == UPSTREAM_REST:
                s.phase = PHASE_PAUSE
                timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + UPSTREAM_REST_MS)
                if not conn_watch(&c.loop, &s.client):
                    s.client.failed = 1
                return
        up = s.up
        sent = conn_send_now(&up.conn, pieces, count, total)
        if sent >= 0:
            break
        if sent == -EAGAIN:
            if not up.connecting:
                sent = 0
                break
            s.phase = PHASE_CONNECT
            timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + conf.timeout_member_connect_ms)
            if not conn_watch(&c.loop, &up.conn) or not conn_watch(&c.loop, &s.client):
                s.client.failed = 1
            return
        # Not a byte was taken, so nothing of the request can have reached the member: any method may go elsewhere.
        fresh = fresh or not up.connecting
        upstream_fail(c, s, 0 if up.reused else RETRY_CONNECT)
    up.connecting = 0
    if <uint64_t>sent < total:
        conn_queue_rest(&c.loop, &up.conn, pieces, count, <uint64_t>sent)
    if not conn_watch(&c.loop, &up.conn):
        up.conn.failed = 1
    counter_bump(&member_shard(c, up.member).bytes_in, total)
    s.phase = PHASE_EXCHANGE
    s.member_active_ms = c.loop.now_ms
    shorter = conf.timeout_member_data_ms
    if conf.timeout_client_data_ms < shorter:
        shorter = conf.timeout_client_data_ms
    if not s.client.registered and shorter > REQUEST_UNWATCHED_MS:
        shorter = REQUEST_UNWATCHED_MS
    if conf.body_rate_min and not s.request_sent and shorter > REQUEST_RATE_GRACE_MS:
        shorter = REQUEST_RATE_GRACE_MS
    timer_arm(&c.loop.timers, &s.client.timer, c.loop.now_ms + shorter)
    if s.held == 0:
        # It is not here as a whole: what was sent is gone.
        conn_use(&c.loop, &s.client, head.length)
        if body:
            http1_body_feed(&s.request_body, conn_data(&s.client), body, &consumed, &produced, &trailers)
            conn_use(&c.loop, &s.client, body)


cdef inline void request_begin(context_t *c, session_t *s, conn_event_f on_member) noexcept nogil:
    """A new exchange, its head parsed in context.request."""
    cdef http1_head_t *head = &c.request
    cdef uint32_t held = conn_held(&s.client)
    s.method = head.method
    s.client_minor = head.minor
    s.keep_alive = (
        head.keep_alive and not c.draining and not flag_get(&s.listener.closing)
        and (session_conf(s).requests_max == 0 or s.exchanges + 1 < session_conf(s).requests_max))
    s.expects_continue = head.expect_continue
    s.tries = 0
    s.round = 0
    s.replayed = 0
    s.again = 0
    s.spent = 0
    s.request_failed = 0
    s.response_started = 0
    s.response_done = 0
    s.chunked_out = 0
    s.interim = 0
    s.member_keep = 0
    s.client_active_ms = c.loop.now_ms
    s.body_since_ms = c.loop.now_ms
    s.body_held_ms = 0
    memset(&s.scan, 0, sizeof(s.scan))
    http1_body_init_head(&s.request_body, head)
    s.held = 0
    s.request_sent = 0
    if head.framing == HTTP1_NO_BODY:
        s.held = head.length
        s.request_sent = 1
    elif head.framing == HTTP1_LENGTH and held - head.length >= head.body_bytes:
        s.held = head.length + <uint32_t>head.body_bytes
        s.request_sent = 1
    # An upgrade is offered only while the offer is still here to compare the answer with; and without a body, since some
    # servers (llhttp, and what builds on it) take what follows an upgrade's head for the other protocol's, or the next request.
    s.upgrade = head.upgrade and s.held == head.length
    if s.upgrade:
        s.upgrade_offset = <uint32_t>(head.upgrade_protocol.data - conn_data(&s.client))
        s.upgrade_length = head.upgrade_protocol.length
    counter_bump(&listener_shard(c, s.listener).requests, 1)
    request_forward(c, s, on_member)


cdef inline bint request_resume(context_t *c, session_t *s, conn_event_f on_member) noexcept nogil:
    """Parse the request once more, it lies at the start of the input, and give it to a member."""
    cdef http1_limits_t limits
    # It was within the limits when it came; they may have changed.
    limits.head_bytes = HTTP1_HEAD_BYTES_MAX
    limits.target_bytes = HTTP1_HEAD_BYTES_MAX
    limits.fields = HTTP1_FIELDS
    if http1_parse_request(&c.request, conn_data(&s.client), conn_held(&s.client), &limits) <= 0:
        return 0                                                     # cannot be: it was parsed before
    request_forward(c, s, on_member)
    return 1


cdef inline uint64_t request_deadline_ms(const session_t *s, const listener_conf_t *conf, bint *slow) noexcept nogil:
    """Until when more of the body must come; `slow`: it is its rate that sets the limit, not a pause."""
    cdef uint64_t deadline = s.client_active_ms + conf.timeout_client_data_ms
    cdef uint64_t paced
    slow[0] = 0
    if conf.body_rate_min:
        paced = s.body_since_ms + REQUEST_RATE_GRACE_MS + s.request_body.payload_bytes // conf.body_rate_min * 1000
        if paced < deadline:
            slow[0] = 1
            return paced
    return deadline


cdef inline int request_body(context_t *c, session_t *s) noexcept nogil:
    """Send on what has come of the body: REQUEST_READY (all sent, or no more is wanted), _WAIT, _AGAIN, _ENDED, _REFUSED."""
    cdef listener_shard_t *mine = listener_shard(c, s.listener)
    cdef upstream_t *up = s.up
    cdef iovec pieces[5]
    cdef uint8_t chunk[20]
    cdef span_t trailers
    cdef uint32_t held, consumed, produced, count, total, i, turns
    cdef int64_t n
    cdef int verdict
    turns = 0
    while True:
        if s.request_sent or s.request_failed:
            if up.conn.out_first != NULL and not s.request_failed and conn_flush(&c.loop, &up.conn) < 0:
                s.request_failed = 1
            return REQUEST_READY
        if up.conn.out_first != NULL:
            verdict = conn_flush(&c.loop, &up.conn)
            if verdict < 0:
                s.request_failed = 1                                 # it may have answered before it closed
                continue
            if verdict == 0:
                if s.body_held_ms == 0:
                    s.body_held_ms = c.loop.now_ms
                return REQUEST_WAIT
        if s.body_held_ms:
            s.body_since_ms += c.loop.now_ms - s.body_held_ms        # it was the member that took nothing
            s.body_held_ms = 0
        held = conn_held(&s.client)
        if held:
            verdict = http1_body_feed(&s.request_body, conn_data(&s.client), held, &consumed, &produced, &trailers)
            if verdict < 0:
                counter_bump(&mine.request_errors, 1)
                return REQUEST_REFUSED
            count = 0
            if s.request_body.framing == HTTP1_CHUNKED:
                count = chunk_pieces(pieces, chunk, conn_data(&s.client), produced, verdict == HTTP1_BODY_DONE, &trailers)
            elif produced:
                pieces[0].iov_base = conn_data(&s.client)
                pieces[0].iov_len = produced
                count = 1
            if count:
                total = 0
                for i in range(count):
                    total += <uint32_t>pieces[i].iov_len
                s.member_active_ms = c.loop.now_ms
                counter_bump(&member_shard(c, up.member).bytes_in, total)
                if conn_send(&c.loop, &up.conn, pieces, count, total) < 0:
                    s.request_failed = 1
            conn_use(&c.loop, &s.client, consumed)
            if verdict == HTTP1_BODY_DONE:
                s.request_sent = 1
                continue
            if consumed:
                continue
        if not s.client.readable:
            return REQUEST_WAIT if conn_watch(&c.loop, &s.client) else REQUEST_ENDED
        if turns >= REQUEST_BODY_TURNS:
            return REQUEST_AGAIN
        turns += 1
        n = conn_read(&c.loop, &s.client, BUFFER_LARGE)
        if n > 0:
            s.client_active_ms = c.loop.now_ms                       # it may have waited for the member until now
            counter_bump(&mine.bytes_in, n)
        elif n != -EAGAIN:
            return REQUEST_ENDED


cdef inline uint32_t pieces_join(iovec *pieces, uint32_t count, uint32_t total) noexcept nogil:
    """Copy small pieces behind the first, which lies in context.scratch: one buffer costs the kernel less than a vector."""
    cdef uint8_t *end
    cdef uint32_t i
    if count == 1 or total - pieces[0].iov_len > REQUEST_JOINED_BYTES:
        return count
    end = <uint8_t *>pieces[0].iov_base + pieces[0].iov_len
    for i in range(1, count):
        memcpy(end, pieces[i].iov_base, pieces[i].iov_len)
        end += pieces[i].iov_len
    pieces[0].iov_len = total
    return 1


cdef inline uint32_t chunk_pieces(
    iovec *pieces, uint8_t *chunk, uint8_t *data, uint32_t length, bint last, const span_t *trailers
) noexcept nogil:
    """One chunk of our own framing, and the end of the body if it is the last: up to 5 pieces."""
    cdef uint32_t count = 0
    if length:
        pieces[count].iov_base = chunk
        pieces[count].iov_len = http1_chunk_head(chunk, length)
        count += 1
        pieces[count].iov_base = data
        pieces[count].iov_len = length
        count += 1
    if last:
        pieces[count].iov_base = <void *><const char *>(b"\r\n0\r\n" if length else b"0\r\n")
        pieces[count].iov_len = 5 if length else 3
        count += 1
        if trailers.length:
            pieces[count].iov_base = <void *>trailers.data
            pieces[count].iov_len = trailers.length
            count += 1
        pieces[count].iov_base = <void *><const char *>b"\r\n"
        pieces[count].iov_len = 2
        count += 1
    elif length:
        pieces[count].iov_base = <void *><const char *>b"\r\n"
        pieces[count].iov_len = 2
        count += 1
    return count
