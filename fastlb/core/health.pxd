# SPDX-License-Identifier: Apache-2.0
"""Rise and fall: when a run of probe results changes what we believe of a member.

A member starts up, without being sure: the first result decides, so one failure takes it down whatever `fall` is, and one
success gives it full credit.  From then on `rise` successes or `fall` failures in a row are needed.
"""
from libc.stdint cimport uint32_t

cdef struct health_t:        # one a probed member; owned by the thread that probes
    uint32_t streak          # results in a row that disagree with `up`
    bint up
    bint proven              # there has been a result


cdef inline void health_reset(health_t *h) noexcept nogil:
    """Up and unproven: a new member, or the monitor came or went."""
    h.streak = 0
    h.up = 1
    h.proven = 0


cdef inline bint health_observe(health_t *h, bint passed, uint32_t rise, uint32_t fall) noexcept nogil:
    """Record one result; 1 if the member changed state."""
    cdef uint32_t needed = rise if passed else fall
    if not h.proven:
        h.proven = 1
        needed = 1
    if passed == h.up:
        h.streak = 0
        return 0
    h.streak += 1
    if h.streak < needed:
        return 0
    h.up = passed
    h.streak = 0
    return 1
