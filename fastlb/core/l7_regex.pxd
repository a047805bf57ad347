# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of L7 rules: PCRE2, held to a budget.

Searching is byte-wise and unanchored, as HAProxy does it.  A search is paid for in steps of about a nanosecond, which
PCRE2 reports through callouts before each item of the pattern: it ends, undecided, once the subject's or the request's
share is used up.  Steps are counted, not timed, so the same request has the same outcome each time and everywhere; what
PCRE2 limits of its own (backtracking, stack) stands behind that.  The hostile patterns of the books end after a third of a
millisecond, the worst of 400,000 random ones after 2 ms (without JIT: 1 and 8), and a request takes four times that at
the most.  A subject above L7_REGEX_SUBJECT bytes is not looked at, since half a look would be a wrong answer.

No search takes memory from the system: what it needs lies in the worker's l7_regex_scratch_t.
"""
from libc.errno cimport EINVAL, ENOMEM, ENOSYS
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset
from fastlb.core.atomics cimport counter_add_sync, counter_bump, counter_set, counter_t
from fastlb.core.bytes cimport span_t
from fastlb.core.sys.pcre2 cimport (
    PCRE2_INFO_LARGEST_BACKREF, PCRE2_JIT_WHOLE, PCRE2_OPTION_AUTO_CALLOUT, PCRE2_OPTION_CASELESS,
    PCRE2_OPTION_NEVER_UCP, PCRE2_OPTION_NEVER_UTF, PCRE2_SAYS_NO_MATCH, pcre2_callout_t, pcre2_code_t,
    pcre2_general_context_t, pcre2_jit_stack_t, pcre2_library, pcre2_match_context_t, pcre2_match_data_t, pcre2_t,
)

cdef enum l7_verdict_t:
    L7_NO = 0
    L7_YES = 1
    L7_UNDECIDED = 2             # given up

cdef enum:
    L7_REGEX_SUBJECT = 8192      # bytes
    L7_REGEX_STEPS = 1 << 19     # a subject
    L7_REGEX_STEPS_REQUEST = 1 << 21     # a request, and L7_REGEX_STEPS_RULE more for each rule of its listener
    L7_REGEX_STEPS_RULE = 512
    L7_REGEX_SEARCH_STEPS = 64   # what a search costs beside its callouts
    L7_REGEX_CALL_STEPS = 8      # what one callout costs beside the bytes passed since the last one
    L7_REGEX_BACKTRACKS = 1 << 20
    L7_REGEX_ARENA = 1 << 20     # bytes, for what PCRE2 keeps while it searches without JIT
    L7_REGEX_STACK = 1 << 18     # bytes, for what it keeps with JIT
    L7_REGEX_GIVE_UP = -37       # what PCRE2 sets apart for callouts to end a search with

cdef struct l7_regex_t:          # immutable; shared by all workers, and by programs that follow one another
    counter_t refs
    pcre2_code_t *code
    uint32_t repeats             # the most bytes that an item passes or refuses between two callouts
    bint backrefs                # then it is as many as the subject has

cdef struct l7_regex_error_t:
    int code                     # PCRE2's
    size_t offset                # in the pattern
    uint8_t text[256]            # PCRE2's

cdef struct l7_regex_arena_t:    # a stack of blocks; its memory behind it
    uint32_t top                 # where the next block goes
    uint32_t last                # the topmost block
    uint8_t *memory

cdef struct l7_regex_block_t:    # before each block
    uint32_t before              # the block below
    uint32_t freed

cdef struct l7_regex_scratch_t:  # one a worker, used by it only
    counter_t *limits            # counts the searches that were given up
    uint64_t steps               # left to this subject
    uint64_t steps_request       # left to this request
    uint64_t call_steps          # for this subject and pattern
    size_t position              # at the last callout
    l7_regex_arena_t arena
    pcre2_general_context_t *general
    pcre2_match_context_t *context   # NULL: no PCRE2 on this machine
    pcre2_match_data_t *data
    pcre2_jit_stack_t *stack


# ---- memory for searches without JIT

cdef inline void *l7_regex_malloc(size_t bytes, void *data) noexcept nogil:
    cdef l7_regex_arena_t *arena = <l7_regex_arena_t *>data
    cdef l7_regex_block_t *block
    bytes = (bytes + 2 * sizeof(l7_regex_block_t) + 15) & ~<size_t>15
    if bytes > L7_REGEX_ARENA - arena.top:
        return NULL
    block = <l7_regex_block_t *>(arena.memory + arena.top)
    block.before = arena.last
    block.freed = 0
    arena.last = arena.top
    arena.top += <uint32_t>bytes
    return block + 2


cdef inline void l7_regex_mfree(void *memory, void *data) noexcept nogil:
    """Blocks go from the top: one below others goes with the last of these."""
    cdef l7_regex_arena_t *arena = <l7_regex_arena_t *>data
    cdef l7_regex_block_t *block
    if memory == NULL:
        return
    (<l7_regex_block_t *>memory - 2).freed = 1
    while arena.top > 0:
        block = <l7_regex_block_t *>(arena.memory + arena.last)
        if not block.freed:
            break
        arena.top = arena.last
        arena.last = block.before


# ---- the budget

cdef inline int l7_regex_pay(pcre2_callout_t *block, void *data) noexcept nogil:
    """PCRE2 calls this before each item of the pattern, at each place where it is tried."""
    cdef l7_regex_scratch_t *scratch = <l7_regex_scratch_t *>data
    cdef size_t here = block.current_position
    cdef uint64_t cost = scratch.call_steps
    cost += here - scratch.position if here > scratch.position else scratch.position - here
    scratch.position = here
    if cost > scratch.steps:
        scratch.steps = 0
        return L7_REGEX_GIVE_UP
    scratch.steps -= cost
    return 0


cdef inline void l7_regex_scratch_free(l7_regex_scratch_t *scratch) noexcept nogil:
    cdef const pcre2_t *library = pcre2_library()
    if library != NULL:
        if scratch.stack != NULL:
            library.jit_stack_free(scratch.stack)
        if scratch.data != NULL:
            library.match_data_free(scratch.data)
        if scratch.context != NULL:
            library.match_context_free(scratch.context)
        if scratch.general != NULL:
            library.general_context_free(scratch.general)
    free(scratch.arena.memory)
    memset(scratch, 0, sizeof(l7_regex_scratch_t))


cdef inline void l7_regex_begin(l7_regex_scratch_t *scratch, uint32_t rules) noexcept nogil:
    """The next request, to a listener with so many regular expressions."""
    scratch.steps_request = L7_REGEX_STEPS_REQUEST + <uint64_t>rules * L7_REGEX_STEPS_RULE


cdef inline int l7_regex_scratch_init(l7_regex_scratch_t *scratch, counter_t *limits) noexcept nogil:
    """0 or -ENOMEM. It must stay where it is until it is freed."""
    cdef const pcre2_t *library = pcre2_library()
    memset(scratch, 0, sizeof(l7_regex_scratch_t))
    scratch.limits = limits
    if library == NULL:
        return 0
    scratch.arena.memory = <uint8_t *>malloc(L7_REGEX_ARENA)
    if scratch.arena.memory != NULL:
        scratch.general = library.general_context_create(l7_regex_malloc, l7_regex_mfree, &scratch.arena)
    if scratch.general != NULL:
        scratch.context = library.match_context_create(scratch.general)
        scratch.data = library.match_data_create(1, scratch.general)
    if scratch.context == NULL or scratch.data == NULL:
        l7_regex_scratch_free(scratch)
        return -ENOMEM
    # Without JIT there is no such stack, and no need of it.
    scratch.stack = library.jit_stack_create(32768, L7_REGEX_STACK, NULL)
    if scratch.stack != NULL:
        library.jit_stack_assign(scratch.context, NULL, scratch.stack)
    library.set_callout(scratch.context, l7_regex_pay, scratch)
    library.set_match_limit(scratch.context, L7_REGEX_BACKTRACKS)
    library.set_depth_limit(scratch.context, L7_REGEX_BACKTRACKS)
    library.set_heap_limit(scratch.context, L7_REGEX_ARENA >> 10)
    return 0


# ---- patterns

cdef inline uint32_t l7_regex_repeats(span_t pattern) noexcept nogil:
    """The largest number of repetitions that are asked for: [a-z]{5000} refuses a byte only after it took 4,999. One right
    behind another, where PCRE2 takes that, multiplies it."""
    cdef uint32_t most = 1
    cdef uint64_t before = 1         # of the quantifier that ends at `end`
    cdef uint32_t end = 0
    cdef uint32_t i = 0
    cdef uint64_t number
    while i < pattern.length:
        if pattern.data[i] != c'{':
            i += 1
            continue
        if end != i:
            before = 1
        i += 1
        number = 0
        while i < pattern.length and (c'0' <= pattern.data[i] <= c'9' or pattern.data[i] == c' '):
            if pattern.data[i] != c' ':
                number = min(number * 10 + pattern.data[i] - c'0', <uint64_t>65536)
            i += 1
        before = min(before * max(number, <uint64_t>1), <uint64_t>65536)
        most = max(most, <uint32_t>before)
        while i < pattern.length and pattern.data[i] != c'}':
            i += 1
        i += 1
        end = i
    return most


cdef inline void l7_regex_hold(l7_regex_t *regex) noexcept nogil:
    counter_add_sync(&regex.refs, 1)


cdef inline void l7_regex_release(l7_regex_t *regex) noexcept nogil:
    if regex != NULL and counter_add_sync(&regex.refs, -1) == 0:
        pcre2_library().code_free(regex.code)
        free(regex)


cdef inline int l7_regex_new(
    l7_regex_t **into, span_t pattern, bint caseless, l7_regex_error_t *error
) noexcept nogil:
    """0, and it is the caller's; -EINVAL: `error` says why; -ENOSYS: there is no PCRE2; -ENOMEM."""
    cdef const pcre2_t *library = pcre2_library()
    cdef uint32_t options = PCRE2_OPTION_NEVER_UTF | PCRE2_OPTION_NEVER_UCP | PCRE2_OPTION_AUTO_CALLOUT
    cdef uint32_t backref = 0
    cdef l7_regex_t *regex
    memset(error, 0, sizeof(l7_regex_error_t))
    if library == NULL:
        return -ENOSYS
    regex = <l7_regex_t *>calloc(1, sizeof(l7_regex_t))
    if regex == NULL:
        return -ENOMEM
    if caseless:
        options |= PCRE2_OPTION_CASELESS
    regex.code = library.compile(pattern.data, pattern.length, options, &error.code, &error.offset, NULL)
    if regex.code == NULL:
        free(regex)
        library.get_error_message(error.code, error.text, sizeof(error.text))
        return -EINVAL
    library.jit_compile(regex.code, PCRE2_JIT_WHOLE)      # where it cannot be had, the same search is slower
    library.pattern_info(regex.code, PCRE2_INFO_LARGEST_BACKREF, &backref)
    regex.backrefs = backref > 0
    regex.repeats = l7_regex_repeats(pattern)
    counter_set(&regex.refs, 1)
    into[0] = regex
    return 0


# ---- searching

cdef inline int l7_regex_give_up(l7_regex_scratch_t *scratch) noexcept nogil:
    if scratch.limits != NULL:
        counter_bump(scratch.limits, 1)
    return L7_UNDECIDED


cdef inline bint l7_regex_spent(const l7_regex_scratch_t *scratch) noexcept nogil:
    """The request's share is used up: each further search is given up before it begins."""
    return scratch.steps_request < L7_REGEX_SEARCH_STEPS


cdef inline int l7_regex_search(
    const l7_regex_t *regex, span_t subject, l7_regex_scratch_t *scratch
) noexcept nogil:
    """L7_YES, L7_NO or L7_UNDECIDED, which is counted."""
    cdef uint64_t allowed
    cdef uint32_t repeats
    cdef int verdict
    # An empty span may have no address, which PCRE2 before 10.43 does not take.
    cdef const uint8_t *data = subject.data if subject.length > 0 else <const uint8_t *><const char *>b""
    if scratch.context == NULL or subject.length > L7_REGEX_SUBJECT or l7_regex_spent(scratch):
        return l7_regex_give_up(scratch)
    scratch.steps_request -= L7_REGEX_SEARCH_STEPS
    allowed = min(<uint64_t>L7_REGEX_STEPS, scratch.steps_request)
    repeats = subject.length if regex.backrefs else min(regex.repeats, subject.length)
    scratch.call_steps = L7_REGEX_CALL_STEPS + repeats
    scratch.steps = allowed
    scratch.position = 0
    verdict = pcre2_library().match(regex.code, data, subject.length, 0, 0, scratch.data, scratch.context)
    scratch.steps_request -= allowed - scratch.steps
    if verdict >= 0:
        return L7_YES
    return L7_NO if verdict == PCRE2_SAYS_NO_MATCH else l7_regex_give_up(scratch)
