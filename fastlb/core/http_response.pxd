# SPDX-License-Identifier: Apache-2.0
"""A response: read from the member, given to the client.

Its head is parsed where it was read and written anew; its body is de-framed in place and framed again for the client that
asked: as it came where that is possible, in chunks where its length is not known, to the end of the connection for
HTTP/1.0.  A large body of known length is spliced.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset
from fastlb.core.atomics cimport counter_bump, flag_get, pointer_get
from fastlb.core.buffer cimport BUFFER_LARGE, BUFFER_SMALL
from fastlb.core.bytes cimport span_t
from fastlb.core.conn cimport (
    EAGAIN, conn_data, conn_flush, conn_held, conn_read, conn_send, conn_use, conn_watch,
)
from fastlb.core.context cimport (
    SCRATCH_BYTES, context_t, listener_shard, member_shard, session_t, upstream_t,
)
from fastlb.core.directory cimport uuid_write
from fastlb.core.http1 cimport (
    HTTP1_CHUNKED, HTTP1_HEAD_BYTES, HTTP1_LENGTH, HTTP1_NO_BODY, HTTP1_UNTIL_CLOSE, http1_head_t,
    http1_limits_default, http1_limits_t, http1_parse_response, http1_span, http1_worth_parsing,
)
from fastlb.core.http1_body cimport (
    HTTP1_BODY_DONE, http1_body_feed, http1_body_init_head, http1_body_opaque, http1_body_skip,
)
from fastlb.core.http1_write cimport (
    HTTP1_CONN_DEFAULT, HTTP1_CONN_UPGRADE, HTTP1_EXTRA_ADD, http1_connection, http1_put, http1_write_response,
)
from fastlb.core.http_cookie cimport response_cacheable, set_cookie_drop, set_cookie_find
from fastlb.core.http_request cimport chunk_pieces, pieces_join
from fastlb.core.model cimport (
    PERSISTENCE_APP_COOKIE, PERSISTENCE_HTTP_COOKIE, listener_shard_t, member_shard_t, member_t, pool_conf_t,
)
from fastlb.core.outlier cimport OUTLIER_5XX, OUTLIER_ANSWERED, OUTLIER_CONNECTED, outlier_result
from fastlb.core.relay cimport (
    RELAY_AGAIN, RELAY_SOURCE_FAILED, RELAY_TARGET_FAILED, RELAY_TO_CLIENT, RELAY_WAIT, relay_splice,
)
from fastlb.core.retry cimport retry_wanted
from fastlb.core.roster cimport pool_conf
from fastlb.core.sticky cimport sticky_put, sticky_t
from fastlb.core.sys.socket cimport iovec
from fastlb.core.upstream_idle cimport idle_was_told

cdef enum:
    RESPONSE_INTERIM = 16        # 1xx heads before the real one
    RESPONSE_TURNS = 16          # reads for one event before others have their turn
    RESPONSE_SPLICE_BYTES = 262144

cdef enum response_verdict_t:
    RESPONSE_GO_ON = 0           # between the parts of this file
    RESPONSE_DONE = 1            # all of it left or is queued
    RESPONSE_AGAIN = 2
    RESPONSE_TUNNEL = 3          # 101: bytes both ways from here on
    RESPONSE_WAIT = 4            # an event will come
    RESPONSE_RETRY = 5           # another member is to be asked; the head is parsed, and nothing of it was used
    RESPONSE_BROKEN = -1         # no usable head; nothing went to the client
    RESPONSE_CUT = -2            # it broke off in the middle
    RESPONSE_CLIENT_GONE = -3


cdef inline bint same_token(const uint8_t *a, uint32_t a_length, const uint8_t *b, uint32_t b_length) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t x, y
    if a_length != b_length:
        return 0
    for i in range(a_length):
        x = a[i]
        y = b[i]
        if x >= c'A' and x <= c'Z':
            x |= 0x20
        if y >= c'A' and y <= c'Z':
            y |= 0x20
        if x != y:
            return 0
    return 1


cdef inline bint response_upgrade_offered(const session_t *s, const span_t *chosen) noexcept nogil:
    """Did the client offer what the member switches to (RFC 9110 section 7.8)?"""
    cdef const uint8_t *offer
    cdef uint32_t i = 0
    cdef uint32_t start, end
    if not s.upgrade or s.held == 0 or chosen.length == 0:
        return 0
    offer = conn_data(&s.client) + s.upgrade_offset
    while i < s.upgrade_length:
        start = i
        while i < s.upgrade_length and offer[i] != c',':
            i += 1
        end = i
        i += 1
        while start < end and (offer[start] == c' ' or offer[start] == c'\t'):
            start += 1
        while end > start and (offer[end - 1] == c' ' or offer[end - 1] == c'\t'):
            end -= 1
        if same_token(offer + start, end - start, chosen.data, chosen.length):
            return 1
    return 0


cdef inline uint32_t response_stick(context_t *c, session_t *s) noexcept nogil:
    """What the answer says of where its client belongs: learn it, or tell the client. How many context.extras that takes.

    A cookie of ours is set unless the request named this very member; the member itself cannot set one of that name.
    """
    cdef http1_head_t *head = &c.response
    cdef member_t *member = s.up.member
    cdef const pool_conf_t *conf = pool_conf(member.pool)
    cdef uint8_t *text = c.extra_text
    cdef sticky_t *sticky
    cdef span_t value
    cdef uint32_t at
    if conf.persistence < PERSISTENCE_HTTP_COOKIE:
        return 0
    if conf.persistence == PERSISTENCE_APP_COOKIE:
        sticky = <sticky_t *>pointer_get(&member.pool.sticky)
        if sticky != NULL and set_cookie_find(head, conf.cookie_name, conf.cookie_length, &value):
            sticky_put(sticky, value.data, value.length, member.key)
        return 0
    set_cookie_drop(head, conf.cookie_name, conf.cookie_length)
    if s.stick_key == member.key:
        return 0
    at = http1_put(text, 0, conf.cookie_name, conf.cookie_length)
    text[at] = c'='
    at += 1
    at += uuid_write(member, text + at)
    at = http1_put(text, at, b"; path=/", 8)
    c.extras[0].name = http1_span(<const uint8_t *><const char *>b"Set-Cookie", 10)
    c.extras[0].value = http1_span(text, at)
    c.extras[0].mode = HTTP1_EXTRA_ADD
    if not response_cacheable(head):
        return 1
    c.extras[1].name = http1_span(<const uint8_t *><const char *>b"Cache-Control", 13)
    c.extras[1].value = http1_span(<const uint8_t *><const char *>b"private", 7)
    c.extras[1].mode = HTTP1_EXTRA_ADD
    return 2


cdef inline bint response_leaves_clean(const session_t *s, const http1_head_t *head) noexcept nogil:
    """May the connection serve others behind this response? A member that was offered another protocol, or answered instead of
    asking for the body that was expected from it, may not have read what we sent as we meant it."""
    return (
        head.keep_alive and head.framing != HTTP1_UNTIL_CLOSE and not s.up.doubtful and not s.upgrade
        and (s.interim or not s.expects_continue))


cdef inline void response_fault(upstream_t *up) noexcept nogil:
    """The exchange counts against the member, once."""
    if not up.faulted:
        up.faulted = 1
        outlier_result(up.member.pool, up.member, OUTLIER_5XX)


cdef inline void response_credit(const upstream_t *up) noexcept nogil:
    """A whole answer: for the member, unless its status is against it. Only now: one that breaks off is a failed one."""
    if not up.faulted:
        outlier_result(up.member.pool, up.member, OUTLIER_ANSWERED)


cdef inline void response_judge(const context_t *c, upstream_t *up) noexcept nogil:
    """Of a whole head: does its status speak against the member? At least it took the connection."""
    cdef uint32_t status = c.response.status
    if status >= 500 and status < 600:
        response_fault(up)
    else:
        outlier_result(up.member.pool, up.member, OUTLIER_CONNECTED)


cdef inline int response_head(context_t *c, session_t *s, uint32_t length) noexcept nogil:
    """Give the head parsed in context.response to the client, with what is here of the body."""
    cdef http1_head_t *head = &c.response
    cdef upstream_t *up = s.up
    cdef listener_shard_t *mine = listener_shard(c, s.listener)
    cdef member_shard_t *theirs = member_shard(c, up.member)
    cdef iovec pieces[6]
    cdef uint8_t chunk[20]
    cdef span_t trailers
    cdef uint32_t rest, consumed, produced, count, total, i, family, extra_count
    cdef uint8_t framing_out, connection
    cdef int verdict
    if head.status < 200:
        extra_count = 0
        if head.status == 101:
            if not s.request_sent or not response_upgrade_offered(s, &head.upgrade_protocol):
                return RESPONSE_BROKEN
            framing_out = HTTP1_NO_BODY
            connection = HTTP1_CONN_UPGRADE
            extra_count = response_stick(c, s)
        else:
            s.interim += 1
            if s.interim > RESPONSE_INTERIM:
                return RESPONSE_BROKEN
            if not head.keep_alive:
                up.doubtful = 1                                      # it has a length: who knows what else will come
            framing_out = HTTP1_NO_BODY
            connection = HTTP1_CONN_DEFAULT
        if head.status == 101 or s.client_minor:
            pieces[0].iov_base = c.scratch
            pieces[0].iov_len = http1_write_response(
                head, c.scratch, SCRATCH_BYTES, framing_out, connection, c.extras, extra_count)
            counter_bump(&mine.bytes_out, <int64_t>pieces[0].iov_len)
            if conn_send(&c.loop, &s.client, pieces, 1, <uint32_t>pieces[0].iov_len) < 0:
                return RESPONSE_CLIENT_GONE
        conn_use(&c.loop, &up.conn, length)
        if head.status == 101:
            conn_use(&c.loop, &s.client, s.held)
            s.held = 0
            s.response_started = 1
            return RESPONSE_TUNNEL
        return RESPONSE_GO_ON

    http1_body_init_head(&s.response_body, head)
    up.response_ns = c.loop.now_ns - up.since_ns
    framing_out = head.framing
    if head.framing == HTTP1_CHUNKED or head.framing == HTTP1_UNTIL_CLOSE:
        framing_out = HTTP1_CHUNKED if s.client_minor else HTTP1_UNTIL_CLOSE
    s.chunked_out = framing_out == HTTP1_CHUNKED
    # A request that is still coming, or an exchange in a draining listener, is the connection's last.
    if (framing_out == HTTP1_UNTIL_CLOSE or not s.request_sent or c.draining or flag_get(&s.listener.closing)
            or s.client.eof):
        s.keep_alive = 0
    connection = http1_connection(not s.keep_alive, s.client_minor)
    s.member_keep = response_leaves_clean(s, head)
    if head.keep_alive_s:
        idle_was_told(up.member, head.keep_alive_s, c.loop.now_ms)

    rest = conn_held(&up.conn) - length
    consumed = 0
    produced = 0
    trailers.length = 0
    verdict = 0
    if rest or head.framing == HTTP1_NO_BODY or (head.framing == HTTP1_LENGTH and head.body_bytes == 0):
        verdict = http1_body_feed(
            &s.response_body, conn_data(&up.conn) + length, rest, &consumed, &produced, &trailers)
        if verdict < 0:
            return RESPONSE_BROKEN
    count = 1
    pieces[0].iov_base = c.scratch
    extra_count = response_stick(c, s)
    pieces[0].iov_len = http1_write_response(
        head, c.scratch, SCRATCH_BYTES, framing_out, connection, c.extras, extra_count)
    if s.chunked_out:
        count += chunk_pieces(
            &pieces[1], chunk, conn_data(&up.conn) + length, produced, verdict == HTTP1_BODY_DONE, &trailers)
    elif produced:
        pieces[1].iov_base = conn_data(&up.conn) + length
        pieces[1].iov_len = produced
        count = 2
    total = 0
    for i in range(count):
        total += <uint32_t>pieces[i].iov_len
    count = pieces_join(pieces, count, total)
    family = head.status // 100
    if family < 1 or family > 5:
        family = 6
    counter_bump(&mine.responses[family - 1], 1)
    counter_bump(&theirs.responses[family - 1], 1)
    counter_bump(&theirs.response_ns, <int64_t>up.response_ns)
    counter_bump(&mine.bytes_out, total)
    counter_bump(&theirs.bytes_out, length + consumed)
    s.response_started = 1
    s.client_active_ms = c.loop.now_ms
    if s.held:
        conn_use(&c.loop, &s.client, s.held)
        s.held = 0
    i = conn_send(&c.loop, &s.client, pieces, count, total) < 0
    conn_use(&c.loop, &up.conn, length + consumed)
    if i:
        return RESPONSE_CLIENT_GONE
    if verdict == HTTP1_BODY_DONE:
        s.response_done = 1
    return RESPONSE_GO_ON


cdef inline bint response_drain(context_t *c, session_t *s) noexcept nogil:
    """Drop the answer whose head is parsed in context.response, at the start of the input. 1: it is all here, and the connection
    may serve another exchange."""
    cdef http1_head_t *head = &c.response
    cdef upstream_t *up = s.up
    cdef member_shard_t *theirs = member_shard(c, up.member)
    cdef span_t trailers
    cdef uint32_t consumed = 0
    cdef uint32_t produced = 0
    cdef int verdict
    up.response_ns = c.loop.now_ns - up.since_ns
    counter_bump(&theirs.responses[4], 1)
    counter_bump(&theirs.response_ns, <int64_t>up.response_ns)
    counter_bump(&theirs.bytes_out, conn_held(&up.conn))
    http1_body_init_head(&s.response_body, head)
    verdict = http1_body_feed(
        &s.response_body, conn_data(&up.conn) + head.length, conn_held(&up.conn) - head.length, &consumed, &produced,
        &trailers)
    conn_use(&c.loop, &up.conn, head.length + consumed)
    return verdict == HTTP1_BODY_DONE and response_leaves_clean(s, head)


cdef inline int response_piece(context_t *c, session_t *s, uint32_t held) noexcept nogil:
    """Send on what came of the body."""
    cdef upstream_t *up = s.up
    cdef iovec pieces[5]
    cdef uint8_t chunk[20]
    cdef span_t trailers
    cdef uint32_t consumed, produced, count, total, i
    cdef int verdict
    verdict = http1_body_feed(&s.response_body, conn_data(&up.conn), held, &consumed, &produced, &trailers)
    if verdict < 0:
        return RESPONSE_CUT
    count = 0
    if s.chunked_out:
        count = chunk_pieces(pieces, chunk, conn_data(&up.conn), produced, verdict == HTTP1_BODY_DONE, &trailers)
    elif produced:
        pieces[0].iov_base = conn_data(&up.conn)
        pieces[0].iov_len = produced
        count = 1
    total = 0
    for i in range(count):
        total += <uint32_t>pieces[i].iov_len
    counter_bump(&listener_shard(c, s.listener).bytes_out, total)
    counter_bump(&member_shard(c, up.member).bytes_out, consumed)
    if verdict == HTTP1_BODY_DONE:
        s.response_done = 1
    s.client_active_ms = c.loop.now_ms                               # its time runs from what it is given
    if count and conn_send(&c.loop, &s.client, pieces, count, total) < 0:
        return RESPONSE_CLIENT_GONE
    conn_use(&c.loop, &up.conn, consumed)
    if consumed == 0 and not s.response_done and up.conn.eof:
        return RESPONSE_CUT
    return RESPONSE_GO_ON


cdef inline int response_splice(context_t *c, session_t *s) noexcept nogil:
    """Move a large body of known length without seeing it. RESPONSE_GO_ON: by copying."""
    cdef upstream_t *up = s.up
    cdef uint64_t left = http1_body_opaque(&s.response_body)
    cdef uint64_t moved = 0
    cdef int verdict
    if s.pipes[RELAY_TO_CLIENT] != NULL:
        left -= s.pipes[RELAY_TO_CLIENT].held                        # taken from the member already
    verdict = relay_splice(c, s, RELAY_TO_CLIENT, &up.conn, &s.client, left, &moved)
    counter_bump(&listener_shard(c, s.listener).bytes_out, <int64_t>moved)
    counter_bump(&member_shard(c, up.member).bytes_out, <int64_t>moved)
    if moved:
        s.client_active_ms = c.loop.now_ms
        s.member_active_ms = c.loop.now_ms
        if http1_body_skip(&s.response_body, moved) == HTTP1_BODY_DONE:
            s.response_done = 1
    if verdict == 1:
        return RESPONSE_GO_ON
    if verdict == RELAY_WAIT:
        return RESPONSE_WAIT if not s.response_done else RESPONSE_GO_ON
    if verdict == RELAY_AGAIN:
        return RESPONSE_AGAIN
    if verdict == RELAY_TARGET_FAILED:
        return RESPONSE_CLIENT_GONE
    return RESPONSE_CUT


cdef inline int response_step(context_t *c, session_t *s) noexcept nogil:
    """Do what can be done now: a response_verdict_t."""
    cdef upstream_t *up = s.up
    cdef http1_limits_t limits
    cdef uint32_t held, turns
    cdef int64_t n
    cdef int verdict
    turns = 0
    while True:
        if s.response_done:
            return RESPONSE_DONE
        if s.client.out_first != NULL:
            verdict = conn_flush(&c.loop, &s.client)
            if verdict < 0:
                return RESPONSE_CLIENT_GONE
            if verdict == 0:
                return RESPONSE_WAIT                                 # the member is not read meanwhile
        held = conn_held(&up.conn)
        if not s.response_started:
            if held and http1_worth_parsing(&s.scan, conn_data(&up.conn), held, HTTP1_HEAD_BYTES):
                up.answered = 1
                http1_limits_default(&limits)
                verdict = http1_parse_response(&c.response, conn_data(&up.conn), held, &limits, s.method)
                if verdict < 0:
                    return RESPONSE_BROKEN
                if verdict > 0:
                    memset(&s.scan, 0, sizeof(s.scan))
                    response_judge(c, up)
                    if c.response.status >= 502 and retry_wanted(c, s, c.response.status):
                        return RESPONSE_RETRY
                    verdict = response_head(c, s, <uint32_t>verdict)
                    if verdict != RESPONSE_GO_ON:
                        return verdict
                    continue
            if up.conn.eof:
                return RESPONSE_BROKEN
        elif held:
            verdict = response_piece(c, s, held)
            if verdict != RESPONSE_GO_ON:
                return verdict
            if s.response_done or conn_held(&up.conn) == 0:
                continue
        elif s.response_body.framing == HTTP1_LENGTH and (
                s.pipes[RELAY_TO_CLIENT] != NULL or http1_body_opaque(&s.response_body) >= RESPONSE_SPLICE_BYTES):
            verdict = response_splice(c, s)
            if verdict != RESPONSE_GO_ON:
                return verdict
            if s.response_done:
                continue
        if up.conn.eof:
            if s.response_body.framing != HTTP1_UNTIL_CLOSE or up.conn.failed:
                return RESPONSE_CUT
            return response_end(c, s)
        if not up.conn.readable:
            return RESPONSE_WAIT if conn_watch(&c.loop, &up.conn) else RESPONSE_CUT
        if turns >= RESPONSE_TURNS:
            return RESPONSE_AGAIN
        turns += 1
        n = conn_read(&c.loop, &up.conn, BUFFER_LARGE if s.response_started else BUFFER_SMALL)
        if n > 0:
            up.answered = 1
            s.member_active_ms = c.loop.now_ms


cdef inline int response_end(context_t *c, session_t *s) noexcept nogil:
    """The member closed, and that is the end of a body without a length."""
    cdef iovec piece
    s.response_done = 1
    if s.chunked_out:
        piece.iov_base = <void *><const char *>b"0\r\n\r\n"
        piece.iov_len = 5
        counter_bump(&listener_shard(c, s.listener).bytes_out, 5)
        if conn_send(&c.loop, &s.client, &piece, 1, 5) < 0:
            return RESPONSE_CLIENT_GONE
    return RESPONSE_DONE
