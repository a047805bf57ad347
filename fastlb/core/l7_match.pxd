# SPDX-License-Identifier: Apache-2.0
"""L7 policies against a parsed request: which one applies. No lock, no allocation.

What a rule looks at, as Octavia's HAProxy does:

    HOST_NAME   the host as it is forwarded: an absolute target's authority, else Host, with its port; in any case
                (HAProxy would split it at commas, and so match what no member takes for that host)
    PATH        the target up to "?", nothing decoded; none if the target is "*"
    FILE_TYPE   the same: whether it ends so
    HEADER      each value of each field of that name, whatever the field is for and whether or not it is forwarded: what
                the client says counts. Fields are lists, split at commas outside of quotes; one value is enough
    COOKIE      each value of a cookie of that name, read as http_cookie.pxd says, in any Cookie field; one is enough. An
                empty value is one (to HAProxy only if something follows it)
    SSL_*       nothing: no connection has TLS

What is not there does not match, whatever the comparison, and so matches if the rule is inverted.

A regular expression that is given up (l7_regex.pxd) leaves its rule undecided, inverted or not.  Such a rule counts as
matched in a policy that rejects, and as not matched in any other: who can make a search expensive gets past no REJECT
that way, nor into another pool.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.errno cimport ENOMEM
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memset
from fastlb.core.atomics cimport counter_t
from fastlb.core.bytes cimport span_t
from fastlb.core.http1_head cimport (
    HTTP1_DROP_REPLACED, HTTP1_HEAD_BYTES_MAX, http1_field_name, http1_field_t, http1_field_value, http1_head_t,
    http1_span,
)
from fastlb.core.http1_tables cimport (
    HTTP1_BLANK, HTTP1_FIELD_COOKIE, HTTP1_FIELD_HOST, HTTP1_FIELD_OTHER, http1_class, http1_same,
)
from fastlb.core.http_cookie cimport cookie_pair, cookie_pair_t
from fastlb.core.l7_index cimport (
    L7_NOWHERE, L7_SOURCE_COOKIE, L7_SOURCE_HEADER, L7_SOURCE_HOST, L7_SOURCE_HOST_END, L7_SOURCE_PATH,
    L7_SOURCE_PATH_END, l7_index_t, l7_marks_clear, l7_marks_next, l7_marks_t, l7_place_t, l7_walk, l7_walk_end,
)
from fastlb.core.l7_program cimport *
from fastlb.core.l7_regex cimport (
    L7_NO, L7_UNDECIDED, L7_YES, l7_regex_begin, l7_regex_scratch_free, l7_regex_scratch_init, l7_regex_scratch_t,
    l7_regex_search, l7_regex_spent,
)
from fastlb.core.roster cimport pool_conf

cdef extern from "<string.h>" nogil:
    void *memmem(const void *where, size_t length, const void *what, size_t what_length) noexcept

cdef struct l7_scratch_t:        # one a worker, used by it only; stays where it is: what matching needs beside the program
    counter_t limits             # regular expressions that were given up; read by any thread
    l7_regex_scratch_t regex
    l7_marks_t marks
    uint8_t *host_text           # HTTP1_HEAD_BYTES_MAX
    # Of the request at hand.
    const http1_head_t *head
    bint has_host
    bint has_path
    span_t host                  # in small letters
    span_t path


cdef inline int l7_scratch_init(l7_scratch_t *scratch) noexcept nogil:
    """0 or -ENOMEM, and then there is nothing to free."""
    memset(scratch, 0, sizeof(l7_scratch_t))
    scratch.host_text = <uint8_t *>calloc(1, HTTP1_HEAD_BYTES_MAX)
    if scratch.host_text == NULL:
        return -ENOMEM
    if l7_regex_scratch_init(&scratch.regex, &scratch.limits):
        free(scratch.host_text)
        scratch.host_text = NULL
        return -ENOMEM
    return 0


cdef inline void l7_scratch_free(l7_scratch_t *scratch) noexcept nogil:
    l7_regex_scratch_free(&scratch.regex)
    free(scratch.host_text)
    scratch.host_text = NULL


# ---- one value

cdef inline int l7_compare(const l7_rule_t *rule, span_t subject, l7_scratch_t *scratch) noexcept nogil:
    """A value that is there, against the rule's, which is not empty, `invert` left out: l7_verdict_t."""
    cdef uint32_t n = rule.value.length
    if rule.compare == L7_REGEX:
        return l7_regex_search(rule.regex, subject, &scratch.regex)
    if n > subject.length:
        return L7_NO
    if rule.compare == L7_EQUAL_TO:
        return n == subject.length and memcmp(subject.data, rule.value.data, n) == 0
    if rule.compare == L7_STARTS_WITH:
        return memcmp(subject.data, rule.value.data, n) == 0
    if rule.compare == L7_ENDS_WITH:
        return memcmp(subject.data + (subject.length - n), rule.value.data, n) == 0
    return memmem(subject.data, subject.length, rule.value.data, n) != NULL


cdef inline bint l7_value_next(span_t list_, uint32_t *at, span_t *value) noexcept nogil:
    """The next of a field's comma-separated values, trimmed, quoted strings left whole; 0 behind the last. `at` starts at 0."""
    cdef uint32_t i = at[0]
    cdef uint32_t first
    cdef bint quoted = 0
    cdef uint8_t byte
    if i > list_.length:
        return 0
    while i < list_.length and http1_class[list_.data[i]] & HTTP1_BLANK:
        i += 1
    first = i
    while i < list_.length:
        byte = list_.data[i]
        if quoted and byte == c'\\' and i + 1 < list_.length:
            i += 1
        elif byte == c'"':
            quoted = not quoted
        elif byte == c',' and not quoted:
            break
        i += 1
    at[0] = i + 1
    while i > first and http1_class[list_.data[i - 1]] & HTTP1_BLANK:
        i -= 1
    value[0] = http1_span(list_.data + first, i - first)
    return 1


cdef inline bint l7_cookie_next(span_t cookies, uint32_t *at, span_t *name, span_t *value) noexcept nogil:
    """The next cookie of a Cookie field; 0 behind the last. `at` starts at 0."""
    cdef cookie_pair_t pair
    while at[0] < cookies.length:
        cookie_pair(cookies.data, cookies.length, at[0], 1, &pair)
        at[0] = pair.end + 1
        if pair.valued and (pair.name_length == 0 or cookies.data[pair.name] != c'$'):
            name[0] = http1_span(cookies.data + pair.name, pair.name_length)
            value[0] = http1_span(cookies.data + pair.value, pair.value_length)
            return 1
    return 0


# ---- one rule

cdef inline bint l7_worth_reading(const l7_rule_t *rule, span_t text) noexcept nogil:
    """A long field is not taken apart for a value that is nowhere in it."""
    if text.length < 128 or rule.regex != NULL:
        return 1
    return memmem(text.data, text.length, rule.value.data, rule.value.length) != NULL


cdef inline int l7_compare_list(const l7_rule_t *rule, span_t values, l7_scratch_t *scratch) noexcept nogil:
    cdef uint32_t at = 0
    cdef span_t value
    cdef int found = L7_NO
    cdef int verdict
    if not l7_worth_reading(rule, values):
        return L7_NO
    while l7_value_next(values, &at, &value):
        verdict = l7_compare(rule, value, scratch)
        if verdict == L7_YES:
            return L7_YES
        found |= verdict
        if verdict == L7_UNDECIDED and l7_regex_spent(&scratch.regex):
            break
    return found


cdef inline int l7_compare_header(const l7_rule_t *rule, l7_scratch_t *scratch) noexcept nogil:
    cdef const http1_head_t *head = scratch.head
    cdef const http1_field_t *field
    cdef int found = L7_NO
    cdef int verdict
    cdef uint32_t i
    for i in range(head.count):
        field = &head.fields[i]
        # The name of a field that is known is told by its id.
        if field.id != rule.field or field.drop == HTTP1_DROP_REPLACED:
            continue
        if rule.field == HTTP1_FIELD_OTHER and (
            field.name_length != rule.key.length
            or not http1_same(head.base + field.name_offset, rule.key.data, rule.key.length)
        ):
            continue
        verdict = l7_compare_list(rule, http1_field_value(head, i), scratch)
        if verdict == L7_YES:
            return L7_YES
        found |= verdict
    if rule.field == HTTP1_FIELD_HOST and head.host_replaced:
        found |= l7_compare_list(rule, head.authority, scratch)
        if found & L7_YES:
            return L7_YES
    return found


cdef inline int l7_compare_cookie(const l7_rule_t *rule, l7_scratch_t *scratch) noexcept nogil:
    cdef const http1_head_t *head = scratch.head
    cdef int found = L7_NO
    cdef int verdict
    cdef uint32_t i, at
    cdef span_t cookies, name, value
    for i in range(head.count):
        if head.fields[i].id != HTTP1_FIELD_COOKIE:
            continue
        cookies = http1_field_value(head, i)
        if not l7_worth_reading(rule, cookies):
            continue
        at = 0
        while l7_cookie_next(cookies, &at, &name, &value):
            if name.length != rule.key.length or memcmp(name.data, rule.key.data, name.length) != 0:
                continue
            verdict = l7_compare(rule, value, scratch)
            if verdict == L7_YES:
                return L7_YES
            found |= verdict
            if verdict == L7_UNDECIDED and l7_regex_spent(&scratch.regex):
                return L7_UNDECIDED
    return found


cdef inline int l7_compare_rule(const l7_rule_t *rule, l7_scratch_t *scratch) noexcept nogil:
    """What the request at hand has, against the rule's value, `invert` left out."""
    if l7_rule_never(rule):
        return L7_NO
    if rule.type == L7_PATH or rule.type == L7_FILE_TYPE:
        return l7_compare(rule, scratch.path, scratch) if scratch.has_path else L7_NO
    if rule.type == L7_HOST_NAME:
        return l7_compare(rule, scratch.host, scratch) if scratch.has_host else L7_NO
    return l7_compare_header(rule, scratch) if rule.type == L7_HEADER else l7_compare_cookie(rule, scratch)


cdef inline void l7_begin(
    const l7_program_t *program, const http1_head_t *head, l7_scratch_t *scratch
) noexcept nogil:
    """Make this the request at hand, for rules of this program."""
    cdef const uint8_t *end
    cdef const uint8_t *from_
    cdef uint8_t byte
    cdef uint32_t i
    scratch.head = head
    l7_regex_begin(&scratch.regex, program.regex_count)
    scratch.path = head.target
    scratch.has_path = head.target.length > 0 and head.target.data[0] == c'/'
    end = <const uint8_t *>memchr(head.target.data, c'?', head.target.length)
    if end != NULL:
        scratch.path.length = <uint32_t>(end - head.target.data)
    scratch.has_host = head.hosts != 0 or head.host_replaced
    scratch.host = http1_span(scratch.host_text, head.authority.length)
    from_ = head.authority.data
    for i in range(head.authority.length):
        byte = from_[i]
        scratch.host_text[i] = byte | (((byte - c'A') & 0xFF) < 26) << 5


cdef inline int l7_rule_matches(const l7_rule_t *rule, l7_scratch_t *scratch) noexcept nogil:
    """Of the request that l7_begin was called for: l7_verdict_t, `invert` applied to L7_YES and L7_NO."""
    cdef int verdict = l7_compare_rule(rule, scratch)
    if verdict == L7_UNDECIDED:
        return verdict
    return verdict != rule.invert


# ---- policies

cdef inline bint l7_policy_in_use(const l7_policy_t *policy) noexcept nogil:
    """A redirect to a pool that is admin down is passed over."""
    return policy.action != L7_REDIRECT_TO_POOL or pool_conf(policy.pool).admin_up


cdef inline bint l7_policy_matches(const l7_policy_t *policy, l7_scratch_t *scratch) noexcept nogil:
    """All rules match, of the request that l7_begin was called for."""
    cdef uint32_t i
    cdef int verdict
    cdef bint undecided = 0
    for i in range(policy.rule_count):
        verdict = l7_rule_matches(&policy.rules[i], scratch)
        if verdict == L7_NO:
            return 0
        undecided |= verdict == L7_UNDECIDED
    return not undecided or policy.action == L7_REJECT


cdef inline const l7_policy_t *l7_match_linear(const l7_program_t *program, l7_scratch_t *scratch) noexcept nogil:
    """One policy after the other, for the request that l7_begin was called for."""
    cdef uint32_t i
    for i in range(program.count):
        if l7_policy_in_use(&program.policies[i]) and l7_policy_matches(&program.policies[i], scratch):
            return &program.policies[i]
    return NULL


# ---- policies that may match

cdef inline void l7_find(
    const l7_program_t *program, l7_source_t source, span_t value, bint back, l7_marks_t *marks
) noexcept nogil:
    """Mark who waits for this host or path; `back`: for its end."""
    cdef l7_place_t place = program.starts[<uint32_t>source]
    if l7_walk(&program.index, &place, value.data, value.length, back, 0, marks):
        l7_walk_end(&program.index, &place, marks)


cdef inline void l7_find_values(
    const l7_program_t *program, const l7_place_t *name, span_t values, l7_marks_t *marks
) noexcept nogil:
    cdef l7_place_t place
    cdef uint32_t at = 0
    cdef span_t value
    while l7_value_next(values, &at, &value):
        place = name[0]
        if l7_walk(&program.index, &place, value.data, value.length, 0, 0, marks):
            l7_walk_end(&program.index, &place, marks)


cdef inline void l7_find_field(
    const l7_program_t *program, span_t name, span_t values, l7_marks_t *marks
) noexcept nogil:
    cdef l7_place_t place = program.starts[<uint32_t>L7_SOURCE_HEADER]
    if l7_walk(&program.index, &place, name.data, name.length, 0, 1, marks):
        if l7_walk(&program.index, &place, <const uint8_t *><const char *>b":", 1, 0, 0, marks):
            l7_find_values(program, &place, values, marks)


cdef inline void l7_find_headers(const l7_program_t *program, l7_scratch_t *scratch) noexcept nogil:
    cdef const http1_head_t *head = scratch.head
    cdef uint32_t i
    for i in range(head.count):
        if head.fields[i].drop != HTTP1_DROP_REPLACED:
            l7_find_field(program, http1_field_name(head, i), http1_field_value(head, i), &scratch.marks)
    if head.host_replaced:
        l7_find_field(
            program, http1_span(<const uint8_t *><const char *>b"host", 4), head.authority, &scratch.marks)


cdef inline void l7_find_cookies(const l7_program_t *program, l7_scratch_t *scratch) noexcept nogil:
    cdef const http1_head_t *head = scratch.head
    cdef const l7_index_t *index = &program.index
    cdef l7_place_t place
    cdef span_t cookies, name, value
    cdef uint32_t i, at
    for i in range(head.count):
        if head.fields[i].id != HTTP1_FIELD_COOKIE:
            continue
        cookies = http1_field_value(head, i)
        at = 0
        while l7_cookie_next(cookies, &at, &name, &value):
            place = program.starts[<uint32_t>L7_SOURCE_COOKIE]
            if (
                l7_walk(index, &place, name.data, name.length, 0, 0, &scratch.marks)
                and l7_walk(index, &place, <const uint8_t *><const char *>b"=", 1, 0, 0, &scratch.marks)
                and l7_walk(index, &place, value.data, value.length, 0, 0, &scratch.marks)
            ):
                l7_walk_end(index, &place, &scratch.marks)


cdef inline void l7_find_all(const l7_program_t *program, l7_scratch_t *scratch) noexcept nogil:
    """Mark each policy that waits for something that the request has."""
    if scratch.has_host:
        l7_find(program, L7_SOURCE_HOST, scratch.host, 0, &scratch.marks)
        l7_find(program, L7_SOURCE_HOST_END, scratch.host, 1, &scratch.marks)
    if scratch.has_path:
        l7_find(program, L7_SOURCE_PATH, scratch.path, 0, &scratch.marks)
        l7_find(program, L7_SOURCE_PATH_END, scratch.path, 1, &scratch.marks)
    if program.starts[<uint32_t>L7_SOURCE_HEADER].node != L7_NOWHERE:
        l7_find_headers(program, scratch)
    if program.starts[<uint32_t>L7_SOURCE_COOKIE].node != L7_NOWHERE:
        l7_find_cookies(program, scratch)


cdef inline const l7_policy_t *l7_match_marked(const l7_program_t *program, l7_scratch_t *scratch) noexcept nogil:
    """The first that matches of those that are marked and those that wait for nothing."""
    cdef const l7_policy_t *policy
    cdef const l7_index_t *index = &program.index
    cdef uint32_t always = 0
    cdef uint32_t marked = l7_marks_next(&scratch.marks, 0, program.count)
    cdef uint32_t rank
    while True:
        if always < index.always_count and index.always[always] < marked:
            rank = index.always[always]
            always += 1
        elif marked < program.count:
            rank = marked
            marked = l7_marks_next(&scratch.marks, marked + 1, program.count)
        else:
            return NULL
        policy = &program.policies[rank]
        if l7_policy_in_use(policy) and l7_policy_matches(policy, scratch):
            return policy


cdef inline const l7_policy_t *l7_match(
    const l7_program_t *program, const http1_head_t *head, l7_scratch_t *scratch
) noexcept nogil:
    """The policy that applies to this request; NULL: none. Inside the snapshots of its pools."""
    cdef const l7_policy_t *policy
    l7_begin(program, head, scratch)
    l7_find_all(program, scratch)
    policy = l7_match_marked(program, scratch)
    l7_marks_clear(&scratch.marks, program.count)
    return policy
