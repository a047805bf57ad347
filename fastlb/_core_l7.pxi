# SPDX-License-Identifier: Apache-2.0
# L7 policies of a listener, compiled. A piece of _core.pyx, which includes it.

cdef class CorePolicies:
    """The enabled policies of a listener, compiled once; immutable."""

    cdef l7_program_t *program           # counted
    cdef list pools                      # kept alive

    def __cinit__(self, Core core, list rows):
        self.program = <l7_program_t *>calloc(1, sizeof(l7_program_t))
        if self.program == NULL:
            raise MemoryError()
        counter_set(&self.program.refs, 1)

    def __dealloc__(self):
        if self.program != NULL:
            l7_program_release(self.program)
