# SPDX-License-Identifier: Apache-2.0
"""l7_match.pxd and what it rests on, driven from Python. Requests lie against an unreadable page."""
from libc.errno cimport EINVAL
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec
from fastlb.core.atomics cimport counter_get, counter_t
from fastlb.core.http1 cimport http1_head_t, http1_parse_request
from fastlb.core.l7_match cimport *
from fastlb.core.l7_regex cimport *
from fastlb.core.model cimport algorithm_t, pool_t
from fastlb.core.roster cimport pool_conf, pool_dispose, pool_init
from fastlb.core.snapshot cimport snapshots_init, snapshots_t

import os

include "guarded.pxi"

ACTIONS = ("REJECT", "REDIRECT_TO_URL", "REDIRECT_PREFIX", "REDIRECT_TO_POOL")
TYPES = (
    "HOST_NAME", "PATH", "FILE_TYPE", "HEADER", "COOKIE", "SSL_CONN_HAS_CERT", "SSL_VERIFY_RESULT", "SSL_DN_FIELD",
)
COMPARES = ("EQUAL_TO", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "REGEX")
REGEX_SUBJECT, REGEX_STEPS, REGEX_STEPS_REQUEST = L7_REGEX_SUBJECT, L7_REGEX_STEPS, L7_REGEX_STEPS_REQUEST
VERDICTS = (False, True, None)

cdef uint64_t thread_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return <uint64_t>now.tv_sec * 1000000000u + <uint64_t>now.tv_nsec


cdef span_t spanned(bytes text) noexcept:
    cdef span_t span
    span.data = <const uint8_t *><const char *>text
    span.length = <uint32_t>len(text)
    return span


cdef class Pool:
    cdef snapshots_t snapshots
    cdef pool_t pool

    def __cinit__(self):
        snapshots_init(&self.snapshots)
        assert pool_init(&self.pool, &self.snapshots, 1, <algorithm_t>0, 1, 1)

    def __dealloc__(self):
        pool_dispose(&self.pool)

    @property
    def references(self):
        return counter_get(&self.pool.refs)

    def set_admin_up(self, bint admin_up):
        pool_conf(&self.pool).admin_up = admin_up


cdef class Program:
    """Of rows as CorePolicies takes them, with one worker's scratch. before: whose regular expressions it takes over."""
    cdef l7_program_t *program
    cdef l7_scratch_t scratch
    cdef http1_head_t head
    cdef http1_head_t *kept
    cdef list kept_bytes
    cdef list pools

    def __cinit__(self, rows, Program before=None):
        cdef Pool pool
        cdef l7_regex_error_t error
        cdef int failed
        self.pools = [row[3] for row in rows]
        assert l7_scratch_init(&self.scratch) == 0
        size = sum(len(text) + sum(len(key) + len(value) for _, _, key, value, _ in rules) for *_, text, _, rules in rows)
        self.program = l7_program_new(len(rows), sum(len(row[4]) for row in rows), size)
        for action, code, text, pool, rules in rows:
            raw = text.encode("latin-1")
            failed = l7_policy_add(
                self.program, <l7_action_t><int>ACTIONS.index(action), code, spanned(raw),
                NULL if pool is None else &pool.pool)
            self.check(failed)
            for type_, compare, key, value, invert in rules:
                raw_key = key.encode("latin-1")
                raw = value.encode("latin-1")
                failed = l7_rule_add(
                    self.program, <l7_type_t><int>TYPES.index(type_), <l7_compare_t><int>COMPARES.index(compare),
                    spanned(raw_key), spanned(raw), invert,
                    NULL if before is None else before.regex_of(<l7_type_t><int>TYPES.index(type_), raw), &error)
                if failed == -EINVAL:
                    raise ValueError(f"{error.text.decode()} at offset {error.offset}")
                self.check(failed)
        self.check(l7_program_finish(self.program))

    cdef l7_regex_t *regex_of(self, l7_type_t kind, bytes value):
        cdef const l7_rule_t *rule
        cdef uint32_t i
        for i in range(self.program.rule_count):
            rule = &self.program.rules[i]
            if rule.type == kind and rule.regex != NULL and rule.value.data[:rule.value.length] == value:
                return rule.regex
        return NULL

    @property
    def regexes(self):
        """{value: references} of its regular expressions."""
        return {
            self.program.rules[i].value.data[:self.program.rules[i].value.length]:
                counter_get(&self.program.rules[i].regex.refs)
            for i in range(self.program.rule_count) if self.program.rules[i].regex != NULL
        }

    cdef check(self, int failed):
        if failed:
            raise OSError(-failed, os.strerror(-failed))

    def __dealloc__(self):
        l7_scratch_free(&self.scratch)
        free(self.kept)
        if self.program != NULL:
            l7_program_release(self.program)

    def keep(self, list requests):
        """Parse them for time_match_kept."""
        cdef uint32_t i
        free(self.kept)
        self.kept_bytes = requests
        self.kept = <http1_head_t *>calloc(len(requests), sizeof(http1_head_t))
        for i in range(<uint32_t>len(requests)):
            raw = spanned(requests[i])
            assert http1_parse_request(&self.kept[i], raw.data, raw.length, NULL) > 0

    cdef parse(self, bytes request):
        assert http1_parse_request(&self.head, guarded(request, True), <uint32_t>len(request), NULL) > 0, request

    def match(self, bytes request):
        """The row of the policy that applies, or None."""
        cdef const l7_policy_t *policy
        self.parse(request)
        policy = l7_match(self.program, &self.head, &self.scratch)
        return None if policy == NULL else policy.row

    def match_linear(self, bytes request):
        cdef const l7_policy_t *policy
        self.parse(request)
        l7_begin(self.program, &self.head, &self.scratch)
        policy = l7_match_linear(self.program, &self.scratch)
        return None if policy == NULL else policy.row

    def explain(self, bytes request):
        """{row of each policy: {row of each rule: whether it matches, None: undecided}}"""
        cdef const l7_policy_t *policy
        cdef uint32_t i, k
        self.parse(request)
        l7_begin(self.program, &self.head, &self.scratch)
        found = {}
        for i in range(self.program.count):
            policy = &self.program.policies[i]
            found[policy.row] = {
                policy.rules[k].row: VERDICTS[l7_rule_matches(&policy.rules[k], &self.scratch)]
                for k in range(policy.rule_count)
            }
        return found

    @property
    def order(self):
        """Rows in the order of evaluation."""
        return [self.program.policies[i].row for i in range(self.program.count)]

    @property
    def limits(self):
        """Searches that were given up."""
        return counter_get(&self.scratch.limits)


def repeats(bytes pattern):
    return l7_regex_repeats(spanned(pattern))


cdef class Regex:
    """One regular expression with a scratch of its own."""
    cdef l7_regex_t *regex
    cdef counter_t limits
    cdef l7_regex_scratch_t scratch

    def __cinit__(self, bytes pattern, bint caseless=False):
        cdef l7_regex_error_t error
        assert l7_regex_scratch_init(&self.scratch, &self.limits) == 0
        if l7_regex_new(&self.regex, spanned(pattern), caseless, &error):
            raise ValueError(f"{error.text.decode()} at offset {error.offset}")

    def __dealloc__(self):
        l7_regex_release(self.regex)
        l7_regex_scratch_free(&self.scratch)

    def search(self, bytes subject):
        """(verdict, steps paid, nanoseconds of this thread's CPU)"""
        cdef span_t span
        cdef int verdict
        cdef uint64_t began, ended
        span.data = guarded(subject, True)
        span.length = <uint32_t>len(subject)
        l7_regex_begin(&self.scratch, 0)
        began = thread_ns()
        verdict = l7_regex_search(self.regex, span, &self.scratch)
        ended = thread_ns()
        return VERDICTS[verdict], L7_REGEX_STEPS_REQUEST - self.scratch.steps_request, ended - began

    @property
    def arena_bytes(self):
        """What PCRE2 has of the scratch's memory between two searches."""
        return self.scratch.arena.top

    @property
    def given_up(self):
        return counter_get(&self.limits)


def time_match(Program program, bytes request, uint32_t rounds, bint linear=False):
    """Nanoseconds of this thread's CPU for so many matches."""
    cdef const l7_policy_t *policy = NULL
    cdef const uint8_t *place = <const uint8_t *><const char *>request
    cdef uint64_t began, ended
    cdef uint32_t _i
    assert http1_parse_request(&program.head, place, <uint32_t>len(request), NULL) > 0
    with nogil:
        began = thread_ns()
        for _i in range(rounds):
            if linear:
                l7_begin(program.program, &program.head, &program.scratch)
                policy = l7_match_linear(program.program, &program.scratch)
            else:
                policy = l7_match(program.program, &program.head, &program.scratch)
        ended = thread_ns()
    return ended - began


def time_match_kept(Program program, uint32_t rounds):
    """For benchmarks: the kept requests in turn; how many had a policy."""
    cdef uint32_t count = <uint32_t>len(program.kept_bytes)
    cdef uint32_t hits = 0
    cdef uint32_t i
    with nogil:
        for i in range(rounds):
            if l7_match(program.program, &program.kept[i % count], &program.scratch) != NULL:
                hits += 1
    return hits
