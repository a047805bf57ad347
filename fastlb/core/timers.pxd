# SPDX-License-Identifier: Apache-2.0
"""Deadlines in a wheel. A timer that is put off is not moved: it is looked at when its slot comes, and linked anew then.

512 slots of 8 ms: a deadline beyond the wheel's 4 s waits in its last slot and is linked again.  Exact to one slot, late only.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef enum:
    TIMERS_SLOTS = 512
    TIMERS_TICK_MS = 8

cdef struct timer_t:
    timer_t *next
    timer_t **link               # what points here; NULL: not linked
    uint64_t deadline_ms         # 0: off
    uint64_t slot_tick           # where it is linked

cdef struct timers_t:
    timer_t *slots[512]
    uint64_t occupied[8]         # a bit a slot
    uint64_t tick                # the next tick to look at

ctypedef void (*timer_fire_f)(void *context, timer_t *timer) noexcept nogil

cdef extern from *:
    """
    #define fastlb_lowest_bit(x) __builtin_ctzll(x)
    """
    int fastlb_lowest_bit(uint64_t x) noexcept nogil


cdef inline void timers_init(timers_t *wheel, uint64_t now_ms) noexcept nogil:
    cdef uint32_t i
    for i in range(TIMERS_SLOTS):
        wheel.slots[i] = NULL
    for i in range(TIMERS_SLOTS // 64):
        wheel.occupied[i] = 0
    wheel.tick = now_ms // TIMERS_TICK_MS


cdef inline void timer_unlink(timers_t *wheel, timer_t *timer) noexcept nogil:
    cdef uint32_t slot
    if timer.link == NULL:
        return
    timer.link[0] = timer.next
    if timer.next != NULL:
        timer.next.link = timer.link
    timer.link = NULL
    slot = timer.slot_tick % TIMERS_SLOTS
    if wheel.slots[slot] == NULL:
        wheel.occupied[slot // 64] &= ~(<uint64_t>1 << (slot % 64))


cdef inline void timer_link(timers_t *wheel, timer_t *timer) noexcept nogil:
    cdef uint64_t tick = timer.deadline_ms // TIMERS_TICK_MS + 1      # the slot whose whole span lies behind the deadline
    cdef uint32_t slot
    if tick < wheel.tick:
        tick = wheel.tick
    elif tick >= wheel.tick + TIMERS_SLOTS:
        tick = wheel.tick + TIMERS_SLOTS - 1
    slot = tick % TIMERS_SLOTS
    timer.slot_tick = tick
    timer.next = wheel.slots[slot]
    if timer.next != NULL:
        timer.next.link = &timer.next
    timer.link = &wheel.slots[slot]
    wheel.slots[slot] = timer
    wheel.occupied[slot // 64] |= <uint64_t>1 << (slot % 64)


cdef inline void timer_arm(timers_t *wheel, timer_t *timer, uint64_t deadline_ms) noexcept nogil:
    timer.deadline_ms = deadline_ms
    if timer.link != NULL:
        if timer.slot_tick <= deadline_ms // TIMERS_TICK_MS + 1:
            return                                                    # it will be looked at in time
        timer_unlink(wheel, timer)
    timer_link(wheel, timer)


cdef inline void timer_disarm(timers_t *wheel, timer_t *timer) noexcept nogil:
    timer.deadline_ms = 0
    timer_unlink(wheel, timer)


cdef inline int32_t timers_wait_ms(timers_t *wheel, uint64_t now_ms) noexcept nogil:
    """Milliseconds until the next slot that holds a timer; -1: none does."""
    cdef uint64_t base = wheel.tick
    cdef uint32_t slot, offset
    cdef uint64_t word, due
    offset = 0
    while offset < TIMERS_SLOTS:
        slot = (base + offset) % TIMERS_SLOTS
        word = wheel.occupied[slot // 64] >> (slot % 64)
        if word:
            due = (base + offset + fastlb_lowest_bit(word)) * TIMERS_TICK_MS
            return <int32_t>(due - now_ms) if due > now_ms else 0
        offset += 64 - slot % 64
    return -1


cdef inline void timers_turn(timers_t *wheel, uint64_t now_ms, timer_fire_f fire, void *context) noexcept nogil:
    """Fire what is due. `fire` may arm, disarm and free any timer."""
    cdef uint64_t until = now_ms // TIMERS_TICK_MS
    cdef uint32_t slot
    cdef timer_t *timer
    cdef timer_t *waiting
    if until > wheel.tick + TIMERS_SLOTS:
        wheel.tick = until - TIMERS_SLOTS                             # asleep for a whole turn: every slot once is enough
    while wheel.tick <= until:
        slot = wheel.tick % TIMERS_SLOTS
        wheel.tick += 1                                               # what is armed meanwhile goes to later slots
        # Taken off one by one from the slot itself, so that `fire` may unlink any other.
        waiting = wheel.slots[slot]
        wheel.slots[slot] = NULL
        wheel.occupied[slot // 64] &= ~(<uint64_t>1 << (slot % 64))
        if waiting != NULL:
            waiting.link = &waiting
        while waiting != NULL:
            timer = waiting
            waiting = timer.next
            if waiting != NULL:
                waiting.link = &waiting
            timer.link = NULL
            if timer.deadline_ms == 0:
                continue
            if timer.deadline_ms > now_ms:
                timer_link(wheel, timer)
                continue
            timer.deadline_ms = 0
            fire(context, timer)
