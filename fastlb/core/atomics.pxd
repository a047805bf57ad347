# SPDX-License-Identifier: Apache-2.0
"""Words that threads share: counters, flags, pointers and a spinlock. The types are opaque on purpose (atomics.h)."""
from libc.stdint cimport int64_t, uint32_t

cdef extern from "fastlb/core/atomics.h" nogil:
    ctypedef struct counter_t:
        pass
    ctypedef struct flag_t:
        pass
    ctypedef struct pointer_t:
        pass
    ctypedef struct spinlock_t:
        pass

    int64_t counter_get(const counter_t *c) noexcept
    void counter_set(counter_t *c, int64_t value) noexcept
    int64_t counter_add(counter_t *c, int64_t value) noexcept         # any thread; the value before
    void counter_bump(counter_t *c, int64_t value) noexcept           # the one writer
    int64_t counter_add_sync(counter_t *c, int64_t value) noexcept    # reference counts; the value after
    int64_t counter_get_seq(const counter_t *c) noexcept
    void counter_set_seq(counter_t *c, int64_t value) noexcept
    int64_t counter_add_seq(counter_t *c, int64_t value) noexcept     # the value before
    bint counter_swap_if(counter_t *c, int64_t expected, int64_t value) noexcept

    uint32_t flag_get(const flag_t *f) noexcept
    void flag_set(flag_t *f, uint32_t value) noexcept
    uint32_t flag_swap(flag_t *f, uint32_t value) noexcept

    void *pointer_get(const pointer_t *p) noexcept
    void pointer_set(pointer_t *p, void *value) noexcept

    void spinlock_take(spinlock_t *lock) noexcept
    void spinlock_give(spinlock_t *lock) noexcept
