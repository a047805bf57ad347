# SPDX-License-Identifier: Apache-2.0
"""RANDOM_TWO_CHOICES: two members are drawn by weight, and the one with fewer sessions per unit of weight is it.

Of two idle ones it is the first, so that an idle pool too is used by weight.

Nearly as even as LEAST_CONNECTIONS, without a lock; and many balancers that decide alike do not all rush to the same member.
"""
from libc.stdint cimport int64_t, uint32_t
from fastlb.core.atomics cimport counter_get
from fastlb.core.model cimport member_t, pool_t
from fastlb.core.selection.alias cimport alias_build, alias_draw_two, alias_free
from fastlb.core.selection.ops cimport pick_t, roster_t, selector_ops_t


cdef inline int p2c_build(pool_t *pool, roster_t *roster, const roster_t *previous) noexcept nogil:
    return alias_build(roster)


cdef inline member_t *p2c_pick(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil:
    cdef uint32_t one, two
    cdef int64_t load_one, load_two
    if not alias_draw_two(roster, ask, &one, &two):
        return NULL
    load_one = counter_get(&roster.members[one].active) * roster.weights[two]
    load_two = counter_get(&roster.members[two].active) * roster.weights[one]
    return roster.members[two] if load_two < load_one else roster.members[one]


cdef inline selector_ops_t p2c_ops() noexcept nogil:
    cdef selector_ops_t ops
    ops.build = p2c_build
    ops.activate = NULL
    ops.deactivate = NULL
    ops.pick = p2c_pick
    ops.opened = NULL
    ops.closed = NULL
    ops.free = alias_free
    return ops
