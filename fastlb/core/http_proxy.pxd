# SPDX-License-Identifier: Apache-2.0
"""What an HTTP listener does with its connections.

    IDLE --(a byte)--> HEAD --(a head)--> EXCHANGE --(response done)--> IDLE, or CLOSING
                        |                  |    ^
                        |       (connect)  v    | (sent)
                        |              CONNECT -+--(refused)--> another member, or PAUSE for a second, or 503
                        |                  |    ^
                        |   (members full) v    | (a place is free)
                        |              QUEUE ---+--(none in time)--> 503
                        |                  EXCHANGE --(101)--> RELAY
                        +--(refused)--> CLOSING --> LINGER --> closed

A member's connection that dies before the first byte of its answer: the request goes to another member (on a fresh connection
if the dead one was a kept one), if the whole of it is still here and its method is idempotent (RFC 9112 section 9.3.1, RFC 9110
section 9.2.2), for as long as there are tries; else 502.  So does nginx; HAProxy asks for `retry-on conn-failure empty-response`.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastlb.core.atomics cimport counter_bump, flag_get
from fastlb.core.conn cimport CONN_SERVED, CONN_TIMEOUT, conn_again, conn_flush, conn_note, conn_t, conn_use, conn_watch
from fastlb.core.context cimport (
    PHASE_CLOSING, PHASE_CONNECT, PHASE_EXCHANGE, PHASE_HEAD, PHASE_IDLE, PHASE_LINGER, PHASE_PAUSE, PHASE_QUEUE, PHASE_RELAY,
    context_t,
    listener_shard, member_shard, session_conf, session_t, upstream_t,
)
from fastlb.core.http1 cimport HTTP1_LENGTH
from fastlb.core.http_answer cimport http_answer, http_closing, http_refuse
from fastlb.core.http_request cimport (
    REQUEST_AGAIN, REQUEST_ENDED, REQUEST_READY, REQUEST_REFUSED, REQUEST_WAIT, request_begin, request_body,
    request_deadline_ms, request_resume, request_take,
)
from fastlb.core.http_response cimport (
    RESPONSE_AGAIN, RESPONSE_BROKEN, RESPONSE_CLIENT_GONE, RESPONSE_DONE, RESPONSE_RETRY, RESPONSE_TUNNEL, RESPONSE_WAIT,
    response_credit, response_drain, response_fault, response_step,
)
from fastlb.core.model cimport RETRY_CONNECT, listener_conf_t
from fastlb.core.queue cimport queue_expire, queue_leave
from fastlb.core.refusal cimport REFUSAL_BODY_RATE, REFUSAL_HEAD_TIMEOUT, REFUSAL_QUEUE_TIMEOUT
from fastlb.core.relay cimport RELAY_TO_CLIENT, relay_release_pipes
from fastlb.core.retry cimport retry_reset
from fastlb.core.session cimport session_close
from fastlb.core.sys.epoll cimport EPOLLERR, EPOLLHUP, EPOLLOUT
from fastlb.core.tcp_relay cimport tcp_connected, tcp_drive, tcp_on_client, tcp_on_member, tcp_on_timeout
from fastlb.core.timers cimport timer_arm
from fastlb.core.upstream cimport upstream_abort, upstream_detach, upstream_fail, upstream_turn_away
from fastlb.core.upstream_idle cimport idle_died

cdef inline void http_finish(context_t *c, session_t *s) noexcept nogil:
    """The response left or is queued: the exchange is over."""
    relay_release_pipes(c, s)
    response_credit(s.up)
    upstream_detach(c, s, s.member_keep and s.request_sent and not s.request_failed)
    s.exchanges += 1
    if s.keep_alive and s.request_sent:
        s.phase = PHASE_IDLE
    else:
        s.phase = PHASE_CLOSING


cdef inline void http_broken(context_t *c, session_t *s) noexcept nogil:
    """No usable response: send the request again where that is allowed, else 502."""
    cdef upstream_t *up = s.up
    cdef uint32_t reason = 0
    if not up.answered:
        idle_died(c, up)
    if up.answered or not up.reused:                                 # else it may only have grown old
        response_fault(up)
    if not up.answered and up.conn.eof and retry_reset(c, s, &reason):
        s.replayed = 1                                               # from here on, fresh connections only
        upstream_fail(c, s, reason)
        if request_resume(c, s, http_on_member):
            return
    else:
        counter_bump(&member_shard(c, up.member).response_errors, 1)
        upstream_abort(c, s)
    http_answer(c, s, 502, 0)


cdef inline bint http_exchange(context_t *c, session_t *s) noexcept nogil:
    """Go on with the exchange; 1: its phase changed, 0: an event will come."""
    cdef bint again = 0
    cdef int verdict
    if not s.request_sent or s.up.conn.out_first != NULL:
        verdict = request_body(c, s)
        if verdict == REQUEST_ENDED:
            counter_bump(&member_shard(c, s.up.member).client_aborts, 1)
            counter_bump(&listener_shard(c, s.listener).request_errors, 1)
            upstream_abort(c, s)
            session_close(c, s, 1)
            return 0
        if verdict == REQUEST_REFUSED:
            upstream_abort(c, s)
            if s.response_started:
                session_close(c, s, 1)
                return 0
            http_refuse(c, s, 400, s.request_body.error, 1)
            return 1
        again = verdict == REQUEST_AGAIN
    verdict = response_step(c, s)
    if verdict == RESPONSE_WAIT:
        if again:
            conn_again(&c.loop, &s.client)
        return 0
    if verdict == RESPONSE_AGAIN:
        conn_again(&c.loop, &s.client)
        return 0
    if verdict == RESPONSE_DONE:
        http_finish(c, s)
        return 1
    if verdict == RESPONSE_BROKEN:
        http_broken(c, s)
        return 1
    if verdict == RESPONSE_RETRY:
        # The answer is at the start of the member's input, its head parsed; the request is still here.
        upstream_turn_away(c, s, response_drain(c, s))
        if not request_resume(c, s, http_on_member):
            http_answer(c, s, 502, 0)
        return 1
    if verdict == RESPONSE_TUNNEL:
        response_credit(s.up)
        s.client.on_event = tcp_on_client
        s.up.conn.on_event = tcp_on_member
        tcp_connected(c, s)
        return 1
    if verdict == RESPONSE_CLIENT_GONE:
        counter_bump(&member_shard(c, s.up.member).client_aborts, 1)
        upstream_abort(c, s)
        session_close(c, s, 1)
        return 0
    # The member broke off in the middle of the body: short of its length or without a last chunk the client sees that;
    # where only the close ends it, a reset tells.
    counter_bump(&member_shard(c, s.up.member).member_aborts, 1)
    response_fault(s.up)
    upstream_abort(c, s)
    session_close(c, s, not s.chunked_out and s.response_body.framing != HTTP1_LENGTH)
    return 0


cdef inline void http_drive(context_t *c, session_t *s) noexcept nogil:
    """Do what can be done now."""
    cdef uint32_t turns = 0
    cdef int verdict
    while s.client.fd >= 0:
        if s.client.failed and s.phase != PHASE_EXCHANGE:
            session_close(c, s, 1)
            return
        if s.phase == PHASE_EXCHANGE:
            if not http_exchange(c, s):
                return
        elif s.phase <= PHASE_HEAD:
            turns += 1
            if turns > session_conf(s).pipeline_max:
                conn_again(&c.loop, &s.client)
                return
            verdict = request_take(c, s)
            if verdict == REQUEST_READY:
                request_begin(c, s, http_on_member)
            elif verdict == REQUEST_WAIT:
                return
            elif verdict == REQUEST_ENDED:
                session_close(c, s, 0)
                return
        elif s.phase == PHASE_RELAY:
            tcp_drive(c, s)
            return
        elif s.phase >= PHASE_CLOSING:
            http_closing(c, s)
            return
        elif s.phase == PHASE_QUEUE and s.client.hup:
            # Nothing of its request went to a member yet: it must not hold up those who still want an answer. One that
            # only said that it has no more to ask still hears of it.
            queue_leave(c, s)
            http_refuse(c, s, 503, REFUSAL_QUEUE_TIMEOUT, 1)
        else:
            return                                                   # CONNECT, PAUSE, QUEUE


cdef inline uint64_t http_deadline_ms(
    session_t *s, const listener_conf_t *conf, bint *on_client, bint *slow
) noexcept nogil:
    """When the exchange has waited too long, and for whom it waits; `slow`: for a body that comes too slowly."""
    on_client[0] = 1
    slow[0] = 0
    if s.client.out_first != NULL or (s.pipes[RELAY_TO_CLIENT] != NULL and s.pipes[RELAY_TO_CLIENT].held):
        return s.client_active_ms + conf.timeout_client_data_ms      # it does not read
    if not s.request_sent and not s.request_failed and s.up.conn.out_first == NULL:
        return request_deadline_ms(s, conf, slow)                    # it does not send
    on_client[0] = 0
    return s.member_active_ms + conf.timeout_member_data_ms


cdef inline void http_give_up_waiting(context_t *c, session_t *s) noexcept nogil:
    queue_expire(c, s)
    http_refuse(c, s, 503, REFUSAL_QUEUE_TIMEOUT, 0)


cdef inline void http_on_timeout(context_t *c, session_t *s) noexcept nogil:
    cdef listener_conf_t *conf = session_conf(s)
    cdef uint64_t deadline
    cdef bint on_client, slow
    if s.phase == PHASE_EXCHANGE:
        # A client that epoll does not know yet (see request_forward) may have gone meanwhile.
        if not conn_watch(&c.loop, &s.client):
            upstream_abort(c, s)
            session_close(c, s, 1)
            return
        deadline = http_deadline_ms(s, conf, &on_client, &slow)
        if deadline > c.loop.now_ms:
            timer_arm(&c.loop.timers, &s.client.timer, deadline)
            return
        if on_client:
            counter_bump(&member_shard(c, s.up.member).client_aborts, 1)
        else:
            counter_bump(&member_shard(c, s.up.member).response_errors, 1)
            response_fault(s.up)
        upstream_abort(c, s)
        if s.response_started:
            session_close(c, s, 1)
            return
        if slow:
            http_refuse(c, s, 408, REFUSAL_BODY_RATE, 1)
        else:
            http_answer(c, s, 408 if on_client else 504, on_client)
    elif s.phase == PHASE_CONNECT:
        upstream_fail(c, s, RETRY_CONNECT)
        if not request_resume(c, s, http_on_member):
            session_close(c, s, 1)
            return
    elif s.phase == PHASE_PAUSE:
        if not request_resume(c, s, http_on_member):
            session_close(c, s, 1)
            return
    elif s.phase == PHASE_QUEUE:
        http_give_up_waiting(c, s)
    elif s.phase == PHASE_IDLE and s.client.out_first != NULL:
        # Still sending the last answer.
        deadline = s.client_active_ms + conf.timeout_client_data_ms
        if deadline > c.loop.now_ms:
            timer_arm(&c.loop.timers, &s.client.timer, deadline)
        else:
            session_close(c, s, 1)
        return
    elif s.phase == PHASE_IDLE and (s.exchanges or flag_get(&s.listener.closing)):
        session_close(c, s, 0)                                       # an idle connection ends without a word
        return
    elif s.phase <= PHASE_HEAD:
        counter_bump(&listener_shard(c, s.listener).request_errors, 1)
        s.request_sent = 0
        s.method = 0
        http_refuse(c, s, 408, REFUSAL_HEAD_TIMEOUT, 1)
    elif s.phase >= PHASE_CLOSING:
        session_close(c, s, 1 if s.phase == PHASE_CLOSING else 0)
        return
    http_drive(c, s)


cdef inline void http_on_client(void *context, conn_t *conn, uint32_t events) noexcept nogil:
    cdef context_t *c = <context_t *>context
    cdef session_t *s = <session_t *>conn
    if events & CONN_TIMEOUT:
        http_on_timeout(c, s)
        return
    if events & CONN_SERVED:
        if not request_resume(c, s, http_on_member):
            session_close(c, s, 1)
            return
        http_drive(c, s)
        return
    conn_note(conn, events)
    if events:
        s.client_active_ms = c.loop.now_ms
    if events & (EPOLLERR | EPOLLHUP) and s.phase >= PHASE_CONNECT and s.phase <= PHASE_EXCHANGE:
        # Gone in both directions: nobody waits for the answer, and the member need not finish it.
        if s.up != NULL:
            counter_bump(&member_shard(c, s.up.member).client_aborts, 1)
            upstream_abort(c, s)
        session_close(c, s, 1)
        return
    http_drive(c, s)


cdef inline void http_on_member(void *context, conn_t *conn, uint32_t events) noexcept nogil:
    cdef context_t *c = <context_t *>context
    cdef upstream_t *up = <upstream_t *>conn
    cdef session_t *s = up.session
    if s == NULL:
        return
    conn_note(conn, events)
    if s.phase == PHASE_CONNECT:
        if events & (EPOLLERR | EPOLLHUP):
            upstream_fail(c, s, RETRY_CONNECT)
        elif events & EPOLLOUT:
            up.connecting = 0
        else:
            return
        if not request_resume(c, s, http_on_member):
            session_close(c, s, 1)
            return
    http_drive(c, s)
