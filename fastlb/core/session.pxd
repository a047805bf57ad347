# SPDX-License-Identifier: Apache-2.0
"""The life of a session: from an accepted socket to its last byte, whatever its protocol does between."""
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy
from fastlb.core.atomics cimport counter_add, counter_bump
from fastlb.core.conn cimport CONN_CLIENT, conn_close, conn_event_f, conn_reset, conn_t
from fastlb.core.context cimport context_t, listener_shard, session_t
from fastlb.core.hash cimport hash_bytes, hash_pair
from fastlb.core.lifetime cimport listener_hold, listener_release
from fastlb.core.model cimport address_t, listener_t
from fastlb.core.queue cimport queue_leave
from fastlb.core.relay cimport relay_release_pipes
from fastlb.core.slab cimport slab_give, slab_take
from fastlb.core.sys.socket cimport AF_INET, sockaddr_in, ntohs
from fastlb.core.upstream cimport upstream_detach


cdef inline void session_note_address(session_t *s, const address_t *peer) noexcept nogil:
    """Keep the client's address, IPv4 as ::ffff:a.b.c.d, and its hashes for SOURCE_IP and SOURCE_IP_PORT."""
    cdef const sockaddr_in *v4
    if peer.ip.sin6_family == AF_INET:
        v4 = <const sockaddr_in *>&peer.ip
        s.address_family = 4
        s.client_address[10] = 0xFF
        s.client_address[11] = 0xFF
        memcpy(&s.client_address[12], &v4.sin_addr, 4)
        s.client_port = ntohs(v4.sin_port)
    else:
        s.address_family = 6
        memcpy(&s.client_address[0], &peer.ip.sin6_addr, 16)
        s.client_port = ntohs(peer.ip.sin6_port)
    s.address_hash = hash_bytes(&s.client_address[0], 16, 0)
    s.address_port_hash = hash_pair(s.address_hash, s.client_port)


cdef inline session_t *session_open(
    context_t *c, listener_t *listener, int fd, const address_t *peer, conn_event_f on_event
) noexcept nogil:
    """A session for an accepted socket, or NULL without memory (the socket is then the caller's to close)."""
    cdef session_t *s = <session_t *>slab_take(&c.sessions_slab)
    if s == NULL:
        return NULL
    s.client.fd = fd
    s.client.kind = CONN_CLIENT
    s.client.on_event = on_event
    s.client.readable = 1
    s.client.writable = 1
    s.listener = listener
    s.http = listener.http
    listener_hold(listener)
    session_note_address(s, peer)
    s.client_active_ms = c.loop.now_ms
    s.member_active_ms = c.loop.now_ms
    s.next = c.sessions
    s.link = &c.sessions
    if s.next != NULL:
        s.next.link = &s.next
    c.sessions = s
    c.session_count += 1
    counter_bump(&c.live_sessions, 1)
    counter_bump(&listener_shard(c, listener).active, 1)
    counter_bump(&listener_shard(c, listener).connections, 1)
    return s


cdef inline void session_close(context_t *c, session_t *s, bint reset) noexcept nogil:
    """End it, both sides. `reset`: the client must not take what it has got for the whole."""
    if s.client.fd < 0:
        return
    if s.queue != NULL:
        queue_leave(c, s)
    upstream_detach(c, s, 0)
    relay_release_pipes(c, s)
    if reset:
        conn_reset(&c.loop, &s.client)
    else:
        conn_close(&c.loop, &s.client)
    s.link[0] = s.next
    if s.next != NULL:
        s.next.link = s.link
    c.session_count -= 1
    counter_bump(&c.live_sessions, -1)
    counter_bump(&listener_shard(c, s.listener).active, -1)
    counter_add(&s.listener.active, -1)
    c.slot_freed = 1


cdef inline void session_free(context_t *c, session_t *s) noexcept nogil:
    """End of the turn: nobody can name it now."""
    listener_release(s.listener)
    slab_give(&c.sessions_slab, s)
