# SPDX-License-Identifier: Apache-2.0
"""PCRE2, as far as it is used here, by pointers to its functions: it is looked for at run time (pcre2.h). No logic."""
from libc.stdint cimport uint8_t, uint32_t

cdef extern from "fastlb/core/sys/pcre2.h" nogil:
    uint32_t PCRE2_OPTION_AUTO_CALLOUT, PCRE2_OPTION_CASELESS, PCRE2_OPTION_NEVER_UCP, PCRE2_OPTION_NEVER_UTF
    uint32_t PCRE2_OPTION_NEVER_BACKSLASH_C
    uint32_t PCRE2_JIT_WHOLE, PCRE2_INFO_LARGEST_BACKREF, PCRE2_INFO_JIT_BYTES
    int PCRE2_SAYS_NO_MATCH

    ctypedef struct pcre2_code_t:
        pass
    ctypedef struct pcre2_match_data_t:
        pass
    ctypedef struct pcre2_match_context_t:
        pass
    ctypedef struct pcre2_general_context_t:
        pass
    ctypedef struct pcre2_jit_stack_t:
        pass
    ctypedef struct pcre2_callout_t:
        size_t subject_length
        size_t start_match
        size_t current_position

    ctypedef int (*pcre2_callout_f)(pcre2_callout_t *block, void *data) noexcept nogil
    ctypedef void *(*pcre2_malloc_f)(size_t bytes, void *data) noexcept nogil
    ctypedef void (*pcre2_free_f)(void *block, void *data) noexcept nogil

    ctypedef struct pcre2_t:
        pcre2_code_t *(*compile)(
            const uint8_t *pattern, size_t length, uint32_t options, int *error, size_t *offset, void *context) noexcept nogil
        void (*code_free)(pcre2_code_t *code) noexcept nogil
        int (*jit_compile)(pcre2_code_t *code, uint32_t options) noexcept nogil
        int (*pattern_info)(const pcre2_code_t *code, uint32_t what, void *into) noexcept nogil
        int (*get_error_message)(int error, uint8_t *into, size_t size) noexcept nogil
        int (*match)(
            const pcre2_code_t *code, const uint8_t *subject, size_t length, size_t start, uint32_t options,
            pcre2_match_data_t *data, pcre2_match_context_t *context) noexcept nogil
        pcre2_general_context_t *(*general_context_create)(pcre2_malloc_f, pcre2_free_f, void *data) noexcept nogil
        void (*general_context_free)(pcre2_general_context_t *context) noexcept nogil
        pcre2_match_data_t *(*match_data_create)(uint32_t pairs, pcre2_general_context_t *context) noexcept nogil
        void (*match_data_free)(pcre2_match_data_t *data) noexcept nogil
        pcre2_match_context_t *(*match_context_create)(pcre2_general_context_t *context) noexcept nogil
        void (*match_context_free)(pcre2_match_context_t *context) noexcept nogil
        int (*set_callout)(pcre2_match_context_t *context, pcre2_callout_f call, void *data) noexcept nogil
        int (*set_match_limit)(pcre2_match_context_t *context, uint32_t limit) noexcept nogil
        int (*set_depth_limit)(pcre2_match_context_t *context, uint32_t limit) noexcept nogil
        int (*set_heap_limit)(pcre2_match_context_t *context, uint32_t kibibytes) noexcept nogil
        pcre2_jit_stack_t *(*jit_stack_create)(size_t start, size_t most, pcre2_general_context_t *context) noexcept nogil
        void (*jit_stack_assign)(pcre2_match_context_t *context, void *call, void *stack) noexcept nogil
        void (*jit_stack_free)(pcre2_jit_stack_t *stack) noexcept nogil

    const pcre2_t *pcre2_library() noexcept          # NULL: not on this machine
