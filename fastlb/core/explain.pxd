# SPDX-License-Identifier: Apache-2.0
"""Why a member may be chosen or not, and which one will be: the same tables that picks read, looked at by somebody who asks.

Each function wants its caller inside pool.snapshots.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memset
from fastlb.core.atomics cimport counter_get, flag_get, pointer_get
from fastlb.core.context cimport session_t
from fastlb.core.directory cimport directory_find
from fastlb.core.model cimport (
    ALGORITHM_MAGLEV, ALGORITHM_SOURCE_IP, ALGORITHM_SOURCE_IP_PORT, PERSISTENCE_SOURCE_IP, algorithm_t, member_t, pool_t,
)
from fastlb.core.random cimport random_t
from fastlb.core.roster cimport pool_conf, pool_pick
from fastlb.core.selection.ops cimport pick_t, roster_t
from fastlb.core.sticky cimport sticky_get, sticky_t
from fastlb.core.sys.pthread cimport pthread_mutex_lock, pthread_mutex_unlock

cdef enum standing_t:
    STANDING_USABLE = 0          # may be picked
    STANDING_FULL = 1            # has its max_connections
    STANDING_POOL_DOWN = 2
    STANDING_ADMIN_DOWN = 3
    STANDING_DOWN = 4            # does not pass its probes
    STANDING_EJECTED = 5         # rests, for failing real requests
    STANDING_DRAINED = 6         # weight 0: only who is bound to it
    STANDING_RESERVE = 7         # a backup, while others are usable


cdef struct explained_t:
    uint64_t id                  # of a member
    standing_t standing


cdef inline bint roster_holds(const roster_t *roster, const member_t *member) noexcept nogil:
    """The published roster, under pool.mutex: then each of its members knows its place there."""
    return roster != NULL and member.slot < roster.count and roster.members[member.slot] == member


cdef inline standing_t explain_standing(const pool_t *pool, const member_t *member) noexcept nogil:
    """The published roster decides; the rest is why. Under pool.mutex."""
    cdef uint32_t limit = flag_get(&member.max_connections)
    if roster_holds(<const roster_t *>pointer_get(&pool.roster), member):
        return STANDING_FULL if limit and counter_get(&member.active) >= limit else STANDING_USABLE
    if not pool_conf(pool).admin_up:
        return STANDING_POOL_DOWN
    if not member.admin_up:
        return STANDING_ADMIN_DOWN
    if not flag_get(&member.up):
        return STANDING_DOWN
    if flag_get(&member.ejected):
        return STANDING_EJECTED
    if member.weight == 0:
        return STANDING_DRAINED
    return STANDING_RESERVE


cdef inline explained_t *explain_members(pool_t *pool, uint32_t *count) noexcept nogil:
    """All members in the pool's order, for free(); NULL: no memory. Takes pool.mutex, so do not hold the GIL: whoever has the
    mutex may be building a roster of thousands."""
    cdef explained_t *found
    cdef uint32_t i
    pthread_mutex_lock(&pool.mutex)
    count[0] = pool.count
    found = <explained_t *>malloc((<size_t>pool.count + 1) * sizeof(explained_t))
    if found != NULL:
        for i in range(pool.count):
            found[i].id = pool.members[i].id
            found[i].standing = explain_standing(pool, pool.members[i])
    pthread_mutex_unlock(&pool.mutex)
    return found


cdef inline member_t *explain_bound(pool_t *pool, const session_t *s) noexcept nogil:
    """The member that the client is bound to; NULL: none. A cookie's was read when the extras were made."""
    cdef uint64_t key = s.stick_key
    cdef sticky_t *sticky = <sticky_t *>pointer_get(&pool.sticky)
    if pool_conf(pool).persistence == PERSISTENCE_SOURCE_IP and sticky != NULL:
        key = sticky_get(sticky, s.client_address, 16)
    return directory_find(pool, key) if key else NULL


cdef inline member_t *explain_choice(pool_t *pool, const session_t *s, random_t *rng) noexcept nogil:
    """The pick of an algorithm that depends on the client alone; NULL: another algorithm, or nobody."""
    cdef roster_t *roster = <roster_t *>pointer_get(&pool.roster)
    cdef algorithm_t algorithm
    cdef pick_t ask
    if roster == NULL:
        return NULL
    algorithm = roster.algorithm
    if algorithm != ALGORITHM_SOURCE_IP and algorithm != ALGORITHM_SOURCE_IP_PORT and algorithm != ALGORITHM_MAGLEV:
        return NULL
    memset(&ask, 0, sizeof(ask))
    ask.client_hash = s.address_hash
    ask.client_port_hash = s.address_port_hash
    ask.rng = rng
    ask.now_ns = pool.clock()        # who is in its slow start has few of its clients
    return pool_pick(pool, &ask)
