# SPDX-License-Identifier: Apache-2.0
"""health.pxd driven from Python."""
from fastlb.core.health cimport health_observe, health_reset, health_t


cdef class Health:
    cdef health_t h
    cdef int rise
    cdef int fall

    def __cinit__(self, int rise, int fall):
        self.rise = rise
        self.fall = fall
        health_reset(&self.h)

    def observe(self, results):
        """For "+-": a letter a result, upper case where the member changed state: U or D, else u or d."""
        said = ""
        for result in results:
            changed = health_observe(&self.h, result == "+", self.rise, self.fall)
            letter = "u" if self.h.up else "d"
            said += letter.upper() if changed else letter
        return said

    def reset(self):
        health_reset(&self.h)

    @property
    def up(self):
        return bool(self.h.up)
