// SPDX-License-Identifier: Apache-2.0
// PCRE2's 8-bit library, found when it is first needed: what we use of its binary interface, which is stable within the
// soname libpcre2-8.so.0. Building needs no header of it, and a program that has no regular expression no library.
#ifndef FASTLB_PCRE2_H
#define FASTLB_PCRE2_H

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define PCRE2_SONAME "libpcre2-8.so.0"

enum {
    PCRE2_OPTION_AUTO_CALLOUT = 0x00000004,
    PCRE2_OPTION_CASELESS = 0x00000008,
    PCRE2_OPTION_NEVER_UCP = 0x00000800,
    PCRE2_OPTION_NEVER_UTF = 0x00001000,
    PCRE2_OPTION_NEVER_BACKSLASH_C = 0x00100000,
    PCRE2_JIT_WHOLE = 0x00000001,
    PCRE2_SAYS_NO_MATCH = -1,
    PCRE2_INFO_LARGEST_BACKREF = 2,
    PCRE2_INFO_JIT_BYTES = 10,
};

typedef struct pcre2_code pcre2_code_t;
typedef struct pcre2_match_data pcre2_match_data_t;
typedef struct pcre2_match_context pcre2_match_context_t;
typedef struct pcre2_general_context pcre2_general_context_t;
typedef struct pcre2_jit_stack pcre2_jit_stack_t;

typedef struct {            // pcre2_callout_block, as far as it has been since version 0
    uint32_t version;
    uint32_t callout_number;
    uint32_t capture_top;
    uint32_t capture_last;
    size_t *offset_vector;
    const uint8_t *mark;
    const uint8_t *subject;
    size_t subject_length;
    size_t start_match;
    size_t current_position;
    size_t pattern_position;
    size_t next_item_length;
} pcre2_callout_t;

typedef int (*pcre2_callout_f)(pcre2_callout_t *block, void *data);
typedef void *(*pcre2_malloc_f)(size_t bytes, void *data);
typedef void (*pcre2_free_f)(void *block, void *data);

// X(result, name without its suffix _8, arguments)
#define PCRE2_FUNCTIONS(X)                                                                                              \
    X(pcre2_code_t *, compile, (const uint8_t *, size_t, uint32_t, int *, size_t *, void *))                            \
    X(void, code_free, (pcre2_code_t *))                                                                                \
    X(int, jit_compile, (pcre2_code_t *, uint32_t))                                                                     \
    X(int, pattern_info, (const pcre2_code_t *, uint32_t, void *))                                                      \
    X(int, get_error_message, (int, uint8_t *, size_t))                                                                 \
    X(int, match, (const pcre2_code_t *, const uint8_t *, size_t, size_t, uint32_t, pcre2_match_data_t *,               \
                   pcre2_match_context_t *))                                                                            \
    X(pcre2_general_context_t *, general_context_create, (pcre2_malloc_f, pcre2_free_f, void *))                        \
    X(void, general_context_free, (pcre2_general_context_t *))                                                          \
    X(pcre2_match_data_t *, match_data_create, (uint32_t, pcre2_general_context_t *))                                   \
    X(void, match_data_free, (pcre2_match_data_t *))                                                                    \
    X(pcre2_match_context_t *, match_context_create, (pcre2_general_context_t *))                                       \
    X(void, match_context_free, (pcre2_match_context_t *))                                                              \
    X(int, set_callout, (pcre2_match_context_t *, pcre2_callout_f, void *))                                             \
    X(int, set_match_limit, (pcre2_match_context_t *, uint32_t))                                                        \
    X(int, set_depth_limit, (pcre2_match_context_t *, uint32_t))                                                        \
    X(int, set_heap_limit, (pcre2_match_context_t *, uint32_t))                                                         \
    X(pcre2_jit_stack_t *, jit_stack_create, (size_t, size_t, pcre2_general_context_t *))                               \
    X(void, jit_stack_assign, (pcre2_match_context_t *, void *, void *))                                                \
    X(void, jit_stack_free, (pcre2_jit_stack_t *))

typedef struct {
#define X(RESULT, NAME, ARGUMENTS) RESULT(*NAME) ARGUMENTS;
    PCRE2_FUNCTIONS(X)
#undef X
} pcre2_t;

static pcre2_t pcre2_found;
static int pcre2_complete;
static pthread_once_t pcre2_once = PTHREAD_ONCE_INIT;

static void pcre2_find(void) {
    void *library = dlopen(PCRE2_SONAME, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return;
#define X(RESULT, NAME, ARGUMENTS)                                                                                      \
    pcre2_found.NAME = (RESULT(*) ARGUMENTS)dlsym(library, "pcre2_" #NAME "_8");                                        \
    if (pcre2_found.NAME == NULL)                                                                                       \
        return;
    PCRE2_FUNCTIONS(X)
#undef X
    pcre2_complete = 1;
}

// The library, or NULL: it is not there, or lacks a function (set_heap_limit is the last that came, with 10.30). Once
// found it stays for as long as the process. Any thread.
static inline const pcre2_t *pcre2_library(void) {
    pthread_once(&pcre2_once, pcre2_find);
    return pcre2_complete ? &pcre2_found : NULL;
}

#endif
