# SPDX-License-Identifier: Apache-2.0
"""Counted references to members, pools and listeners: the last one frees.

An owner on the Python side gives its reference up through `snapshot_retire` (the `…_let_go` functions have the right type),
so that a worker that found the object in a roster may still take a reference of its own in this turn.
"""
from libc.stdlib cimport free
from fastlb.core.atomics cimport counter_add_sync, pointer_get
from fastlb.core.model cimport listener_conf_t, listener_t, member_t, pool_t
from fastlb.core.roster cimport pool_dispose


cdef inline void pool_hold(pool_t *pool) noexcept nogil:
    counter_add_sync(&pool.refs, 1)


cdef inline void pool_release(pool_t *pool) noexcept nogil:
    if counter_add_sync(&pool.refs, -1) == 0:
        pool_dispose(pool)
        free(pool)


cdef inline void member_hold(member_t *member) noexcept nogil:
    counter_add_sync(&member.refs, 1)


cdef inline void member_release(member_t *member) noexcept nogil:
    cdef pool_t *pool
    if counter_add_sync(&member.refs, -1) == 0:
        pool = member.pool
        free(member.shards)
        free(member)
        pool_release(pool)


cdef inline void listener_conf_free(void *object) noexcept nogil:
    cdef listener_conf_t *conf = <listener_conf_t *>object
    if conf.default_pool != NULL:
        pool_release(conf.default_pool)
    if conf.policies != NULL:
        conf.policies_release(conf.policies)
    free(conf.cidrs)
    free(conf)


cdef inline void listener_hold(listener_t *listener) noexcept nogil:
    counter_add_sync(&listener.refs, 1)


cdef inline void listener_release(listener_t *listener) noexcept nogil:
    cdef void *conf
    if counter_add_sync(&listener.refs, -1) == 0:
        conf = pointer_get(&listener.conf)
        if conf != NULL:
            listener_conf_free(conf)
        free(listener.shards)
        free(listener)


cdef inline void pool_let_go(void *object) noexcept nogil:
    pool_release(<pool_t *>object)


cdef inline void member_let_go(void *object) noexcept nogil:
    member_release(<member_t *>object)


cdef inline void listener_let_go(void *object) noexcept nogil:
    listener_release(<listener_t *>object)
