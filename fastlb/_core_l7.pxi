# SPDX-License-Identifier: Apache-2.0
# L7 policies of a listener, compiled. A piece of _core.pyx, which includes it.

_L7_ACTIONS = {
    "REJECT": <int>L7_REJECT, "REDIRECT_TO_URL": <int>L7_REDIRECT_TO_URL, "REDIRECT_PREFIX": <int>L7_REDIRECT_PREFIX,
    "REDIRECT_TO_POOL": <int>L7_REDIRECT_TO_POOL,
}
_L7_TYPES = {
    "HOST_NAME": <int>L7_HOST_NAME, "PATH": <int>L7_PATH, "FILE_TYPE": <int>L7_FILE_TYPE, "HEADER": <int>L7_HEADER,
    "COOKIE": <int>L7_COOKIE, "SSL_CONN_HAS_CERT": <int>L7_SSL_CONN_HAS_CERT,
    "SSL_VERIFY_RESULT": <int>L7_SSL_VERIFY_RESULT, "SSL_DN_FIELD": <int>L7_SSL_DN_FIELD,
}
_L7_COMPARES = {
    "EQUAL_TO": <int>L7_EQUAL_TO, "STARTS_WITH": <int>L7_STARTS_WITH, "ENDS_WITH": <int>L7_ENDS_WITH,
    "CONTAINS": <int>L7_CONTAINS, "REGEX": <int>L7_REGEX,
}
_NO_PCRE2 = "REGEX rules need the library libpcre2-8.so.0 (Debian's package libpcre2-8-0), which is not on this machine"


cdef _regex_fault(l7_regex_error_t *error):
    """PCRE2's words."""
    return f"{error.text.decode('ascii', 'replace')} at offset {error.offset}"


def regex_error(str pattern):
    """Why PCRE2 does not take this regular expression; None: it does. RuntimeError: there is no PCRE2."""
    cdef bytes raw = pattern.encode()
    cdef l7_regex_t *regex = NULL
    cdef l7_regex_error_t error
    cdef int failed = l7_regex_new(&regex, _span(raw), False, &error)
    if failed == -EINVAL:
        return _regex_fault(&error)
    if failed == -ENOSYS:
        raise RuntimeError(_NO_PCRE2)
    if failed:
        _fail(failed)
    l7_regex_release(regex)
    return None


cdef class CorePolicies:
    """The enabled policies of a listener, compiled once; immutable."""

    cdef l7_program_t *program           # counted
    cdef dict regexes                    # (caseless, value): address, held by the program

    def __cinit__(self, Core core, list rows, CorePolicies before=None):
        cdef CorePool pool
        cdef pool_t *native
        cdef bytes raw
        cdef int failed
        size = sum(
            len(text.encode()) + sum(len(key.encode()) + len(value.encode()) for _, _, key, value, _ in rules)
            for _, _, text, _, rules in rows
        )
        self.program = l7_program_new(len(rows), sum(len(rules) for *_, rules in rows), size)
        if self.program == NULL:
            raise MemoryError()
        self.regexes = {}
        for action, code, text, pool, rules in rows:
            raw = text.encode()
            native = NULL if pool is None else pool.pool
            failed = l7_policy_add(self.program, <l7_action_t><int>_L7_ACTIONS[action], code, _span(raw), native)
            if failed == -EINVAL:
                raise ValueError(f"{action}: a pool is what REDIRECT_TO_POOL has, and no other action")
            if failed:
                _fail(failed)
            for type_, compare_type, key, value, invert in rules:
                self.add_rule(type_, compare_type, key, value, invert, before)
        with nogil:
            failed = l7_program_finish(self.program)
        if failed:
            _fail(failed)

    cdef add_rule(self, str type_, str compare_type, str key, str value, bint invert, CorePolicies before):
        cdef bytes raw_key = key.encode()
        cdef bytes raw = value.encode()
        cdef l7_regex_error_t error
        cdef l7_regex_t *regex
        cdef bint is_regex = compare_type == "REGEX"
        cdef size_t known = 0
        cdef int failed
        # A change of one policy leaves the others' expressions as they were: 13 us each to compile, and a thousand of them.
        one = (type_ == "HOST_NAME", raw)
        if is_regex:
            known = self.regexes.get(one, 0)
            if known == 0 and before is not None:
                known = before.regexes.get(one, 0)
        failed = l7_rule_add(
            self.program, <l7_type_t><int>_L7_TYPES[type_], <l7_compare_t><int>_L7_COMPARES[compare_type],
            _span(raw_key), _span(raw), invert, <l7_regex_t *>known, &error)
        if failed == -EINVAL:
            raise ValueError(f"{value!r}: {_regex_fault(&error)}")
        if failed == -ENOSYS:
            raise RuntimeError(_NO_PCRE2)
        if failed:
            _fail(failed)
        if is_regex:
            regex = self.program.rules[self.program.rule_count - 1].regex
            self.regexes[one] = <size_t>regex

    def __dealloc__(self):
        if self.program != NULL:
            l7_program_release(self.program)
