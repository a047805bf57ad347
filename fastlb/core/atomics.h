/* SPDX-License-Identifier: Apache-2.0 */
/* Shared words as opaque types: Cython would compile `x += 1` to a load and a store; on these it is a type error. */
#ifndef FASTLB_ATOMICS_H
#define FASTLB_ATOMICS_H

#include <stdint.h>
#include <sched.h>

typedef struct { int64_t value; } counter_t;
typedef struct { uint32_t value; } flag_t;
typedef struct { void *value; } pointer_t;
typedef struct { uint32_t value; } spinlock_t;

/* counter_t: relaxed, for figures and cursors that order nothing else. */
static inline int64_t counter_get(const counter_t *c) { return __atomic_load_n(&c->value, __ATOMIC_RELAXED); }
static inline void counter_set(counter_t *c, int64_t v) { __atomic_store_n(&c->value, v, __ATOMIC_RELAXED); }
/* Any thread may add; returns the value before. */
static inline int64_t counter_add(counter_t *c, int64_t v) { return __atomic_fetch_add(&c->value, v, __ATOMIC_RELAXED); }
/* One thread writes, others read: a plain add, without the bus lock. */
static inline void counter_bump(counter_t *c, int64_t v)
{
    __atomic_store_n(&c->value, __atomic_load_n(&c->value, __ATOMIC_RELAXED) + v, __ATOMIC_RELAXED);
}
/* Release-acquire, for reference counts: returns the value after. */
static inline int64_t counter_add_sync(counter_t *c, int64_t v) { return __atomic_add_fetch(&c->value, v, __ATOMIC_ACQ_REL); }
/* Sequentially consistent, for the epochs of snapshot.pxd. */
static inline int64_t counter_get_seq(const counter_t *c) { return __atomic_load_n(&c->value, __ATOMIC_SEQ_CST); }
static inline void counter_set_seq(counter_t *c, int64_t v) { __atomic_store_n(&c->value, v, __ATOMIC_SEQ_CST); }
static inline int64_t counter_add_seq(counter_t *c, int64_t v) { return __atomic_fetch_add(&c->value, v, __ATOMIC_SEQ_CST); }
static inline int counter_swap_if(counter_t *c, int64_t expected, int64_t v)
{
    return __atomic_compare_exchange_n(&c->value, &expected, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* flag_t: release on set, acquire on get. */
static inline uint32_t flag_get(const flag_t *f) { return __atomic_load_n(&f->value, __ATOMIC_ACQUIRE); }
static inline void flag_set(flag_t *f, uint32_t v) { __atomic_store_n(&f->value, v, __ATOMIC_RELEASE); }
/* Sets v, returns what was there. */
static inline uint32_t flag_swap(flag_t *f, uint32_t v) { return __atomic_exchange_n(&f->value, v, __ATOMIC_ACQ_REL); }

/* pointer_t: publish an object that is complete. Sequentially consistent, because snapshot.pxd orders it against the
   epochs; on x86 and AArch64 the load costs no more than an acquire. */
static inline void *pointer_get(const pointer_t *p) { return __atomic_load_n(&p->value, __ATOMIC_SEQ_CST); }
static inline void pointer_set(pointer_t *p, void *v) { __atomic_store_n(&p->value, v, __ATOMIC_SEQ_CST); }

/* spinlock_t: for sections of some tens of instructions. */
static inline void spinlock_take(spinlock_t *l)
{
    unsigned tries = 0;
    while (__atomic_exchange_n(&l->value, 1, __ATOMIC_ACQUIRE)) {
        while (__atomic_load_n(&l->value, __ATOMIC_RELAXED)) {
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#endif
            /* The holder may have been preempted, on a machine with as many workers as CPUs. */
            if (++tries > 200) { sched_yield(); tries = 0; }
        }
    }
}
static inline void spinlock_give(spinlock_t *l) { __atomic_store_n(&l->value, 0, __ATOMIC_RELEASE); }

#endif
