# SPDX-License-Identifier: Apache-2.0
"""upstream_idle.pxd: what is learnt of a member's keep-alive time. The clock is the caller's."""
from libc.stdint cimport uint32_t, uint64_t
from fastlb.core.model cimport member_t
from fastlb.core.upstream_idle cimport (
    IDLE_BELIEVE_MS, IDLE_CAREFUL_MS, IDLE_KEEP_MS, idle_careful_ms, idle_keep_ms, idle_learn, idle_survived, idle_was_told,
)

KEEP_MS = <int>IDLE_KEEP_MS
CAREFUL_MS = <int>IDLE_CAREFUL_MS
BELIEVE_MS = <int>IDLE_BELIEVE_MS


cdef class Keeper:
    """A member, and the time in ms."""
    cdef member_t member
    cdef public uint64_t now

    def __cinit__(self):
        self.now = 1_000_000

    def closed(self, uint64_t idle_ms):
        idle_learn(&self.member, idle_ms, self.now)

    def told(self, uint32_t seconds):
        idle_was_told(&self.member, seconds, self.now)

    def survived(self, uint64_t idle_ms):
        idle_survived(&self.member, idle_ms)

    @property
    def keep(self):
        return idle_keep_ms(&self.member, self.now)

    @property
    def careful(self):
        return idle_careful_ms(&self.member)
