# SPDX-License-Identifier: Apache-2.0
"""L7 policies of one listener, compiled: what l7_match.pxd walks.

A program holds the enabled policies in Octavia's order of evaluation: each REJECT, then each redirect to a URL or by prefix,
then each redirect to a pool, by position within each group.  It is made by one thread (l7_program_new, then
l7_policy_add and l7_rule_add in the order of position, then l7_program_finish), immutable from then on, and counted: the
listener's configuration holds it, and whoever made it.
"""
from libc.errno cimport E2BIG, EINVAL, ENOMEM
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from fastlb.core.atomics cimport counter_add_sync, counter_set, counter_t
from fastlb.core.bytes cimport span_t
from fastlb.core.http1_tables cimport http1_lookup
from fastlb.core.l7_index cimport (
    L7_RANKS, L7_SOURCES, L7_SOURCE_COOKIE, L7_SOURCE_HEADER, L7_SOURCE_HOST, L7_SOURCE_HOST_END, L7_SOURCE_NOTHING,
    L7_SOURCE_PATH, L7_SOURCE_PATH_END, l7_index_build, l7_index_free, l7_index_t, l7_key_t, l7_place_t, l7_source_t,
    l7_walk_start,
)
from fastlb.core.l7_regex cimport l7_regex_error_t, l7_regex_hold, l7_regex_new, l7_regex_release, l7_regex_t
from fastlb.core.lifetime cimport pool_hold, pool_release
from fastlb.core.model cimport pool_t

cdef enum:
    L7_TEXT_MAX = 65535          # bytes of a value, a key or a target

cdef enum l7_action_t:
    L7_REJECT = 0
    L7_REDIRECT_TO_URL = 1
    L7_REDIRECT_PREFIX = 2
    L7_REDIRECT_TO_POOL = 3

cdef enum l7_type_t:
    L7_HOST_NAME = 0
    L7_PATH = 1
    L7_FILE_TYPE = 2
    L7_HEADER = 3
    L7_COOKIE = 4
    L7_SSL_CONN_HAS_CERT = 5
    L7_SSL_VERIFY_RESULT = 6
    L7_SSL_DN_FIELD = 7

cdef enum l7_compare_t:
    L7_EQUAL_TO = 0
    L7_STARTS_WITH = 1
    L7_ENDS_WITH = 2
    L7_CONTAINS = 3
    L7_REGEX = 4

cdef struct l7_rule_t:
    uint8_t type                 # l7_type_t
    uint8_t compare              # l7_compare_t; of FILE_TYPE, EQUAL_TO is ENDS_WITH
    uint8_t invert
    uint8_t field                # HEADER: http1_field_id of `key`; 0: a name that is not known
    uint32_t row                 # which one it was of those that the policy was made of
    span_t key                   # HEADER, COOKIE: whose value
    span_t value                 # without the quotes around it; HOST_NAME: in small letters, unless it is a REGEX
    l7_regex_t *regex            # REGEX: counted

cdef struct l7_policy_t:
    uint8_t action               # l7_action_t
    uint16_t code                # of a redirect: 301, 302, 303, 307, 308
    uint32_t row                 # which one it was of those that the program was made of
    span_t text                  # REDIRECT_TO_URL: where to; REDIRECT_PREFIX: what stands before the target
    pool_t *pool                 # REDIRECT_TO_POOL: counted
    const l7_rule_t *rules       # all must match; those with a regular expression stand last
    uint32_t rule_count

cdef struct l7_program_t:
    counter_t refs
    uint32_t count
    l7_policy_t *policies        # in the order of evaluation: a policy's rank is its place here
    l7_index_t index
    l7_place_t starts[7]         # of each l7_source_t
    uint8_t *key_text            # the index's bytes
    uint32_t regex_count
    # While it is made; afterwards they say what it was made of.
    uint32_t policy_room
    uint32_t rule_count
    uint32_t rule_room
    l7_rule_t *rules
    size_t text_length
    size_t text_room
    uint8_t *text


cdef inline void l7_program_free(l7_program_t *program) noexcept nogil:
    cdef uint32_t i
    for i in range(program.rule_count):
        l7_regex_release(program.rules[i].regex)
    for i in range(program.count):
        if program.policies[i].pool != NULL:
            pool_release(program.policies[i].pool)
    l7_index_free(&program.index)
    free(program.key_text)
    free(program.policies)
    free(program.rules)
    free(program.text)
    free(program)


cdef inline void l7_program_hold(l7_program_t *program) noexcept nogil:
    counter_add_sync(&program.refs, 1)


cdef inline void l7_program_release(l7_program_t *program) noexcept nogil:
    if counter_add_sync(&program.refs, -1) == 0:
        l7_program_free(program)


cdef inline void l7_program_let_go(void *program) noexcept nogil:
    l7_program_release(<l7_program_t *>program)


cdef inline l7_program_t *l7_program_new(uint32_t policies, uint32_t rules, size_t text_bytes) noexcept nogil:
    """Room for so many; `text_bytes`: of all keys, values and targets together. NULL: no memory."""
    cdef l7_program_t *program = <l7_program_t *>calloc(1, sizeof(l7_program_t))
    if program == NULL:
        return NULL
    counter_set(&program.refs, 1)
    program.policies = <l7_policy_t *>calloc(<size_t>policies + 1, sizeof(l7_policy_t))
    program.rules = <l7_rule_t *>calloc(<size_t>rules + 1, sizeof(l7_rule_t))
    program.text = <uint8_t *>malloc(text_bytes + 1)
    program.policy_room = policies
    program.rule_room = rules
    program.text_room = text_bytes
    if program.policies == NULL or program.rules == NULL or program.text == NULL:
        l7_program_free(program)
        return NULL
    return program


cdef inline int l7_program_text(l7_program_t *program, span_t *into, span_t text) noexcept nogil:
    """Keep a copy; 0 or -E2BIG."""
    if text.length > program.text_room - program.text_length or text.length > L7_TEXT_MAX:
        return -E2BIG
    into.data = program.text + program.text_length
    into.length = text.length
    if text.length > 0:
        memcpy(program.text + program.text_length, text.data, text.length)
    program.text_length += text.length
    return 0


cdef inline int l7_policy_add(
    l7_program_t *program, l7_action_t action, uint16_t code, span_t text, pool_t *pool
) noexcept nogil:
    """The next policy by position; `pool`: NULL, or held from here on. 0; -E2BIG: no room was asked for; -EINVAL."""
    cdef l7_policy_t *policy = &program.policies[program.count]
    if program.count == program.policy_room or program.count == L7_RANKS:
        return -E2BIG
    if action > L7_REDIRECT_TO_POOL or (action == L7_REDIRECT_TO_POOL) != (pool != NULL):
        return -EINVAL
    if l7_program_text(program, &policy.text, text):
        return -E2BIG
    policy.action = <uint8_t>action
    policy.code = code
    policy.row = program.count
    policy.rules = &program.rules[program.rule_count]
    policy.pool = pool
    if pool != NULL:
        pool_hold(pool)
    program.count += 1
    return 0


cdef inline int l7_rule_add(
    l7_program_t *program, l7_type_t type, l7_compare_t compare, span_t key, span_t value, bint invert,
    l7_regex_t *known, l7_regex_error_t *error
) noexcept nogil:
    """The next rule of the policy that was added last. `known`: what another program made of this type and value, if it
    is a regular expression; NULL: it is compiled here. 0; -EINVAL: `error` says what is wrong with the regular expression;
    -ENOSYS: there is no PCRE2; -E2BIG: no room was asked for; -ENOMEM."""
    cdef l7_rule_t *rule = &program.rules[program.rule_count]
    cdef l7_policy_t *policy
    cdef uint8_t *byte
    cdef uint32_t i
    cdef int failed
    if program.rule_count == program.rule_room or program.count == 0:
        return -E2BIG
    policy = &program.policies[program.count - 1]
    if value.length >= 2 and value.data[0] == c'"' and value.data[value.length - 1] == c'"':
        value.data += 1
        value.length -= 2
    rule.regex = NULL
    if l7_program_text(program, &rule.key, key) or l7_program_text(program, &rule.value, value):
        return -E2BIG
    rule.type = <uint8_t>type
    rule.compare = <uint8_t>(L7_ENDS_WITH if type == L7_FILE_TYPE and compare == L7_EQUAL_TO else compare)
    rule.invert = invert
    rule.row = policy.rule_count
    rule.field = 0
    if type == L7_HEADER:
        rule.field = <uint8_t>http1_lookup(rule.key.data, 0, rule.key.length, rule.key.length)
    if compare == L7_REGEX and rule.value.length > 0:
        if known != NULL:
            l7_regex_hold(known)
            rule.regex = known
        else:
            failed = l7_regex_new(&rule.regex, rule.value, type == L7_HOST_NAME, error)
            if failed:
                return failed
        program.regex_count += 1
    elif type == L7_HOST_NAME:
        byte = <uint8_t *>rule.value.data
        for i in range(rule.value.length):
            if c'A' <= byte[i] <= c'Z':
                byte[i] |= 0x20
    policy.rule_count += 1
    program.rule_count += 1
    return 0


cdef inline uint32_t l7_group(const l7_policy_t *policy) noexcept nogil:
    """Which group of policies it is evaluated with."""
    if policy.action == L7_REJECT:
        return 0
    return 2 if policy.action == L7_REDIRECT_TO_POOL else 1


cdef inline void l7_rules_sort(l7_rule_t *rules, uint32_t count) noexcept nogil:
    """The costly ones last: they are not tried if another one does not match. Otherwise as they were."""
    cdef l7_rule_t rule
    cdef uint32_t i, k
    for i in range(1, count):
        rule = rules[i]
        k = i
        while k > 0 and rules[k - 1].regex != NULL and rule.regex == NULL:
            rules[k] = rules[k - 1]
            k -= 1
        rules[k] = rule


# ---- what each policy waits for

cdef inline bint l7_rule_never(const l7_rule_t *rule) noexcept nogil:
    """It matches nothing, inverted everything: there is no TLS; and an empty value, which takes quotes to write, HAProxy
    matches with nothing either."""
    return rule.type >= L7_SSL_CONN_HAS_CERT or rule.value.length == 0


cdef inline uint32_t l7_share(uint32_t length, bint more) noexcept nogil:
    """A guess: of how many requests a value begins or ends so, if one in so many is equal."""
    if not more:
        return 1
    if length < 4:
        return 4096 if length < 2 else 64
    return 2


cdef inline size_t l7_key_put(uint8_t *out, size_t at, span_t text, bint back, bint fold) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t byte
    for i in range(text.length):
        byte = text.data[text.length - 1 - i] if back else text.data[i]
        if fold and c'A' <= byte <= c'Z':
            byte |= 0x20
        out[at + i] = byte
    return at + text.length


cdef inline bint l7_rule_key(const l7_rule_t *rule, uint8_t *out, l7_key_t *key) noexcept nogil:
    """What a request must have for this rule to match, written to `out`; 0: nothing that can be looked up."""
    cdef l7_source_t source = L7_SOURCE_NOTHING
    cdef size_t at = 1
    cdef bint named = rule.type == L7_HEADER or rule.type == L7_COOKIE
    cdef bint back = rule.compare == L7_ENDS_WITH and not named
    cdef bint whole = rule.compare == L7_EQUAL_TO or rule.compare == L7_STARTS_WITH or back
    if rule.invert:
        return 0
    key.share = 0
    key.more = 0
    if not l7_rule_never(rule):
        if not whole and not named:
            return 0
        key.more = rule.compare != L7_EQUAL_TO
        key.share = l7_share(rule.value.length, key.more)
        if named:
            # The fields must be walked for it. Where only the name is looked up, most requests may have that.
            source = L7_SOURCE_HEADER if rule.type == L7_HEADER else L7_SOURCE_COOKIE
            key.share = 8 * key.share if whole else 2048
            at = l7_key_put(out, at, rule.key, 0, rule.type == L7_HEADER)
            out[at] = c':' if rule.type == L7_HEADER else c'='
            at += 1
        elif rule.type == L7_HOST_NAME:
            source = L7_SOURCE_HOST_END if back else L7_SOURCE_HOST
        else:
            source = L7_SOURCE_PATH_END if back else L7_SOURCE_PATH
        if whole:
            at = l7_key_put(out, at, rule.value, back, 0)
    out[0] = <uint8_t>source
    key.data = out
    key.length = <uint32_t>at
    return 1


cdef inline int l7_program_index(l7_program_t *program) noexcept nogil:
    """0 or -ENOMEM."""
    cdef l7_key_t *keys = <l7_key_t *>calloc(<size_t>program.rule_count + 1, sizeof(l7_key_t))
    cdef const l7_policy_t *policy
    cdef uint32_t count = 0
    cdef uint32_t rank, i
    cdef size_t at = 0
    cdef int failed = -ENOMEM
    program.key_text = <uint8_t *>malloc(program.text_length + 2 * <size_t>program.rule_count + 1)
    if keys != NULL and program.key_text != NULL:
        for rank in range(program.count):
            policy = &program.policies[rank]
            for i in range(policy.rule_count):
                if l7_rule_key(&policy.rules[i], program.key_text + at, &keys[count]):
                    keys[count].rank = rank
                    at += keys[count].length
                    count += 1
        failed = l7_index_build(&program.index, keys, count, program.count)
    free(keys)
    if not failed:
        for i in range(L7_SOURCES):
            l7_walk_start(&program.index, <l7_source_t>i, &program.starts[i])
    return failed


cdef inline int l7_program_finish(l7_program_t *program) noexcept nogil:
    """Put all in order. 0 or -ENOMEM, and then it must not be used."""
    cdef l7_policy_t *given = program.policies
    cdef l7_policy_t *placed = <l7_policy_t *>calloc(<size_t>program.count + 1, sizeof(l7_policy_t))
    cdef uint32_t group, i
    cdef uint32_t n = 0
    if placed == NULL:
        return -ENOMEM
    for group in range(3):
        for i in range(program.count):
            if l7_group(&given[i]) == group:
                placed[n] = given[i]
                n += 1
    for i in range(program.count):
        l7_rules_sort(<l7_rule_t *>placed[i].rules, placed[i].rule_count)
    program.policies = placed
    free(given)
    return l7_program_index(program)
