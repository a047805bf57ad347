# SPDX-License-Identifier: Apache-2.0
"""The field lines of an HTTP/1.1 head, from the first to the empty line, and what the fields that matter here come to.

What is refused, and under which section of RFC 9112, is listed in http1.pxd.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastlb.core.http1_head cimport (
    HTTP1_CODING_BAD, HTTP1_CODING_CHUNKED, HTTP1_CODING_OTHER, HTTP1_CODING_SEEN, HTTP1_DROP_ALIKE, HTTP1_DROP_HOP,
    HTTP1_DROP_NAMED, HTTP1_OPTIONS_NAMED, HTTP1_OPTION_CLOSE, HTTP1_OPTION_GARBLED, HTTP1_OPTION_KEEP_ALIVE,
    HTTP1_OPTION_NAMED, HTTP1_OPTION_TE, HTTP1_OPTION_UPGRADE, http1_field_t, http1_head_t, http1_refuse, http1_span,
)
from fastlb.core.http1_tables cimport (
    HTTP1_BLANK, HTTP1_ERROR_BLANK_NAME, HTTP1_ERROR_CODING, HTTP1_ERROR_CODING_LENGTH, HTTP1_ERROR_CODING_OLD,
    HTTP1_ERROR_CODING_UNKNOWN, HTTP1_ERROR_FIELDS, HTTP1_ERROR_FOLDED, HTTP1_ERROR_LENGTH, HTTP1_ERROR_LENGTH_TWICE,
    HTTP1_ERROR_LONE_CR, HTTP1_ERROR_LONE_LF, HTTP1_ERROR_NAME, HTTP1_ERROR_NO_COLON, HTTP1_ERROR_OPTIONS,
    HTTP1_ERROR_VALUE, HTTP1_FIELD_CONNECTION, HTTP1_FIELD_CONTENT_LENGTH, HTTP1_FIELD_EXPECT, HTTP1_FIELD_HOST,
    HTTP1_FIELD_KEEP_ALIVE, HTTP1_FIELD_OTHER, HTTP1_FIELD_TE, HTTP1_FIELD_TRANSFER_ENCODING, HTTP1_FIELD_UPGRADE, HTTP1_IS_ALIKE,
    HTTP1_IS_HOP, HTTP1_IS_KEPT, HTTP1_IS_SEEN, HTTP1_TOKEN, HTTP1_UNDERSCORE, http1_class, http1_class_of, http1_is,
    http1_lookup, http1_names, http1_same, http1_skim_colon, http1_skim_value,
)


# ---- lists of tokens

cdef inline bint http1_element(
    const uint8_t *base, uint32_t *at, uint32_t end, uint32_t *first, uint32_t *length
) noexcept nogil:
    """The next element of a comma-separated list, trimmed, maybe empty; 0 behind the last. `at` starts at the list's start."""
    cdef uint32_t i = at[0]
    cdef uint32_t last
    if i > end:
        return 0
    while i < end and http1_class[base[i]] & HTTP1_BLANK:
        i += 1
    first[0] = i
    while i < end and base[i] != c',':
        i += 1
    last = i
    while last > first[0] and http1_class[base[last - 1]] & HTTP1_BLANK:
        last -= 1
    length[0] = last - first[0]
    at[0] = i + 1
    return 1


cdef inline uint32_t http1_option_of(const uint8_t *p, uint32_t length) noexcept nogil:
    """Which HTTP1_OPTION_* this element of Connection is; 0 if it is empty."""
    cdef uint8_t some
    if length == 10 and http1_is(p, b"keep-alive", 10):
        return HTTP1_OPTION_KEEP_ALIVE
    if length == 5 and http1_is(p, b"close", 5):
        return HTTP1_OPTION_CLOSE
    if length == 7 and http1_is(p, b"upgrade", 7):
        return HTTP1_OPTION_UPGRADE
    if length == 2 and http1_is(p, b"te", 2):
        return HTTP1_OPTION_TE
    if length == 0:
        return 0
    return HTTP1_OPTION_NAMED if http1_class_of(p, length, &some) & HTTP1_TOKEN else HTTP1_OPTION_GARBLED


cdef inline int http1_read_connection(http1_head_t *head, uint32_t at, uint32_t end) noexcept nogil:
    cdef uint32_t first = 0
    cdef uint32_t length = 0
    cdef uint32_t option
    while http1_element(head.base, &at, end, &first, &length):
        option = http1_option_of(head.base + first, length)
        head.options |= option
        if option == HTTP1_OPTION_NAMED:
            head.named += 1
            if head.named > HTTP1_OPTIONS_NAMED:
                return http1_refuse(head, HTTP1_ERROR_OPTIONS, 400)
    return 0


cdef inline void http1_read_coding(http1_head_t *head, uint32_t at, uint32_t end) noexcept nogil:
    """Several fields are one list (6.3), so the state stays in the head. Parameters of other codings are not looked into:
    these are refused anyhow."""
    cdef const uint8_t *base = head.base
    cdef uint32_t first = 0
    cdef uint32_t length = 0
    head.coding |= HTTP1_CODING_SEEN
    while http1_element(base, &at, end, &first, &length):
        if head.coding & HTTP1_CODING_CHUNKED or length == 0:
            head.coding |= HTTP1_CODING_BAD
        elif length >= 7 and http1_is(base + first, b"chunked", 7):
            if length == 7:
                head.coding |= HTTP1_CODING_CHUNKED
            else:
                head.coding |= HTTP1_CODING_BAD
        else:
            head.coding |= HTTP1_CODING_OTHER


cdef inline int http1_read_length(http1_head_t *head, uint32_t at, uint32_t end) noexcept nogil:
    """ASCII digits only (6.3); checked before each step, since a wrapped length is a smuggled request."""
    cdef uint64_t value = 0
    cdef uint32_t digit
    if at == end:
        return http1_refuse(head, HTTP1_ERROR_LENGTH, 400)
    while at < end:
        digit = <uint32_t>head.base[at] - <uint32_t>c'0'
        if digit > 9 or value > 922337203685477579u:     # stays below 2^63
            return http1_refuse(head, HTTP1_ERROR_LENGTH, 400)
        value = value * 10 + digit
        at += 1
    head.body_bytes = value
    return 0


cdef inline uint32_t http1_read_seconds(const uint8_t *p, uint32_t length) noexcept nogil:
    """A day at the most; 0: not a number."""
    cdef uint32_t value = 0
    cdef uint32_t i, digit
    for i in range(length):
        digit = <uint32_t>p[i] - <uint32_t>c'0'
        if digit > 9:
            return 0
        value = value * 10 + digit if value < 86400 else 86400
    return value if value < 86400 else 86400


cdef inline bint http1_upgrade_usable(const uint8_t *base, uint32_t at, uint32_t end) noexcept nogil:
    """A list of protocols, none of which is HTTP/2 in clear text: that way of starting it is gone (RFC 9113 3.1), and a
    member that switched would speak past us."""
    cdef uint32_t first = 0
    cdef uint32_t length = 0
    cdef uint32_t i
    cdef bint any = 0
    while http1_element(base, &at, end, &first, &length):
        for i in range(first, first + length):
            if not http1_class[base[i]] & HTTP1_TOKEN and base[i] != c'/':
                return 0
        if length == 3 and http1_is(base + first, b"h2c", 3):
            return 0
        any |= length > 0
    return any


# ---- fields

cdef inline int http1_notice(http1_head_t *head, uint32_t i, uint32_t id) noexcept nogil:
    """Act on field `i`, which is one of those that mean something here; 0 or a refusal."""
    cdef http1_field_t *f = &head.fields[i]
    cdef uint32_t at = f.value_offset
    cdef uint32_t end = at + f.value_length
    cdef uint32_t first = 0
    cdef uint32_t length = 0
    if id == HTTP1_FIELD_HOST:
        head.hosts = 1 if head.hosts == 0 else 2
        head.host_field = i
    elif id == HTTP1_FIELD_CONNECTION:
        return http1_read_connection(head, at, end)
    elif id == HTTP1_FIELD_CONTENT_LENGTH:
        if head.lengths != 0:
            return http1_refuse(head, HTTP1_ERROR_LENGTH_TWICE, 400)
        head.lengths = 1
        head.length_field = i
        # A leading zero is legal, yet some read it as octal: write the number anew.
        if f.value_length > 1 and head.base[at] == c'0':
            f.verbatim = 0
        return http1_read_length(head, at, end)
    elif id == HTTP1_FIELD_TRANSFER_ENCODING:
        http1_read_coding(head, at, end)
    elif id == HTTP1_FIELD_UPGRADE:
        head.upgrades = 1 if head.upgrades == 0 else 2
        head.upgrade_field = i
    elif id == HTTP1_FIELD_TE:
        while http1_element(head.base, &at, end, &first, &length):
            if length == 8 and http1_is(head.base + first, b"trailers", 8):
                head.te_trailers = 1
    elif id == HTTP1_FIELD_EXPECT:
        if f.value_length == 12 and http1_is(head.base + at, b"100-continue", 12):
            head.expect_continue = 1
        elif f.value_length != 0:
            head.expect_other = 1
    elif id == HTTP1_FIELD_KEEP_ALIVE:
        while http1_element(head.base, &at, end, &first, &length):
            if length > 8 and http1_is(head.base + first, b"timeout=", 8):
                head.keep_alive_s = http1_read_seconds(head.base + first + 8, length - 8)
    return 0


cdef inline bint http1_forwarding_name(const uint8_t *name, uint32_t length) noexcept nogil:
    """X-Forwarded-*, in any case."""
    return length > 12 and http1_is(name, b"x-forwarded-", 12)


cdef inline bint http1_looks_alike(const uint8_t *name, uint32_t length) noexcept nogil:
    """A name with "_" that a server which turns names into variables (CGI, WSGI) takes for one that frames, routes or
    says where a request came from. Told apart from them here, it would be obeyed there."""
    cdef uint8_t plain[32]
    cdef uint32_t i, id
    cdef uint32_t n = length if length < 32 else 32
    for i in range(n):
        plain[i] = c'-' if name[i] == c'_' else name[i]
    if http1_forwarding_name(plain, n):
        return 1
    if length > 32:
        return 0
    id = http1_lookup(plain, 0, n, 32)
    return http1_names[id].flags & (HTTP1_IS_HOP | HTTP1_IS_KEPT) != 0


cdef inline int http1_bad_name(http1_head_t *head, uint32_t at, uint32_t end, bint colon) noexcept nogil:
    """The bytes [at, end), up to a colon or to where the buffer ends, are to be a name and are none: say what they are."""
    cdef const uint8_t *base = head.base
    cdef uint32_t i = at
    while i < end and http1_class[base[i]] & HTTP1_TOKEN:
        i += 1
    if i == end:
        return http1_refuse(head, HTTP1_ERROR_NAME, 400)
    if base[i] == c'\n':
        return http1_refuse(head, HTTP1_ERROR_LONE_LF, 400)
    if base[i] == c'\r':
        if i + 1 < end and base[i + 1] != c'\n':
            return http1_refuse(head, HTTP1_ERROR_LONE_CR, 400)
        return http1_refuse(head, HTTP1_ERROR_NO_COLON, 400)
    if http1_class[base[i]] & HTTP1_BLANK:
        if i == at:
            return http1_refuse(head, HTTP1_ERROR_FOLDED, 400)
        while i < end and http1_class[base[i]] & HTTP1_BLANK:
            i += 1
        if i == end and colon:
            return http1_refuse(head, HTTP1_ERROR_BLANK_NAME, 400)
    return http1_refuse(head, HTTP1_ERROR_NAME, 400)


cdef inline int http1_bad_value(http1_head_t *head, uint32_t at, uint32_t end) noexcept nogil:
    """`at` is where a value, a target or a reason stopped and not at CRLF. 0 if the LF may still come."""
    if head.base[at] == c'\n':
        return http1_refuse(head, HTTP1_ERROR_LONE_LF, 400)
    if head.base[at] != c'\r':
        return http1_refuse(head, HTTP1_ERROR_VALUE, 400)
    if at + 1 < end:
        return http1_refuse(head, HTTP1_ERROR_LONE_CR, 400)
    return 0


cdef inline int http1_read_fields(http1_head_t *head, uint32_t at, uint32_t end, uint32_t limit) noexcept nogil:
    """From the first field line to the empty line: the head's length, 0 for more, or a refusal."""
    cdef const uint8_t *base = head.base
    cdef http1_field_t *f
    cdef uint32_t count = 0
    cdef uint32_t colon, first, last, stop, id
    cdef uint8_t flags
    cdef uint8_t some = 0
    cdef int verdict
    while True:
        if at >= end:
            return 0
        if base[at] == c'\r':
            if at + 1 >= end:
                return 0
            if base[at + 1] != c'\n':
                return http1_refuse(head, HTTP1_ERROR_LONE_CR, 400)
            break
        if count >= limit:
            return http1_refuse(head, HTTP1_ERROR_FIELDS, 431)
        colon = http1_skim_colon(base, 0, at, end)
        id = HTTP1_FIELD_OTHER
        if colon < end:
            id = http1_lookup(base, at, colon - at, end)
        flags = http1_names[id].flags
        if id == HTTP1_FIELD_OTHER:
            # A known name needs no such look. The colon may be one of a later line; then a CR or LF is in between.
            if not http1_class_of(base + at, colon - at, &some) & HTTP1_TOKEN or colon == at:
                return http1_bad_name(head, at, colon, colon < end)
            if colon == end:
                return 0
            if some & HTTP1_UNDERSCORE and http1_looks_alike(base + at, colon - at):
                flags = HTTP1_IS_ALIKE
        first = colon + 1
        stop = http1_skim_value(base, 0, first, end)
        if stop + 1 >= end or base[stop] != c'\r' or base[stop + 1] != c'\n':
            return 0 if stop == end else http1_bad_value(head, stop, end)
        f = &head.fields[count]
        f.name_offset = at
        f.name_length = <uint16_t>(colon - at)
        f.id = <uint8_t>id
        f.drop = 0
        last = stop
        # As we would write it: one SP, then a value with neither blank at its ends.
        if stop - first >= 2 and base[first] == c' ' and base[first + 1] > c' ' and base[stop - 1] > c' ':
            first += 1
            f.verbatim = 1
        else:
            f.verbatim = first == stop
            while first < last and http1_class[base[first]] & HTTP1_BLANK:
                first += 1
            while last > first and http1_class[base[last - 1]] & HTTP1_BLANK:
                last -= 1
        f.value_offset = first
        f.value_length = <uint16_t>(last - first)
        if flags & (HTTP1_IS_HOP | HTTP1_IS_SEEN | HTTP1_IS_ALIKE):
            if flags & HTTP1_IS_HOP:
                f.drop = HTTP1_DROP_HOP
                f.verbatim = 0
            elif flags & HTTP1_IS_ALIKE:
                f.drop = HTTP1_DROP_ALIKE
                f.verbatim = 0
            if flags & HTTP1_IS_SEEN:
                verdict = http1_notice(head, count, id)
                if verdict < 0:
                    return verdict
        count += 1
        at = stop + 2
    head.count = count
    head.fields[count].name_offset = at
    head.length = at + 2
    return <int>(at + 2)


cdef inline void http1_drop(http1_head_t *head, uint32_t i, uint32_t why) noexcept nogil:
    head.fields[i].drop = <uint8_t>why
    head.fields[i].verbatim = 0


cdef inline void http1_drop_named(http1_head_t *head) noexcept nogil:
    """Mark the fields that Connection names. What frames or routes the message stays, and so does what says where it came
    from: a client must not talk away what a proxy in front of us, or we, put there."""
    cdef const uint8_t *base = head.base
    cdef uint32_t i, k, at, end
    cdef uint32_t first = 0
    cdef uint32_t length = 0
    cdef http1_field_t *f
    for i in range(head.count):
        if head.fields[i].id != HTTP1_FIELD_CONNECTION:
            continue
        at = head.fields[i].value_offset
        end = at + head.fields[i].value_length
        while http1_element(base, &at, end, &first, &length):
            if length == 0 or http1_option_of(base + first, length) != HTTP1_OPTION_NAMED:
                continue
            if http1_forwarding_name(base + first, length):
                continue
            for k in range(head.count):
                f = &head.fields[k]
                if f.name_length != length or f.drop or http1_names[f.id].flags & HTTP1_IS_KEPT:
                    continue
                if http1_same(base + f.name_offset, base + first, length):
                    http1_drop(head, k, HTTP1_DROP_NAMED)


cdef inline void http1_settle(http1_head_t *head) noexcept nogil:
    """What the Connection, Upgrade, TE and Expect fields come to, once all are read."""
    cdef http1_field_t *f
    cdef uint32_t i
    head.keep_alive = not head.options & (HTTP1_OPTION_CLOSE | HTTP1_OPTION_GARBLED)
    if head.minor == 0:
        if not head.options & HTTP1_OPTION_KEEP_ALIVE:
            head.keep_alive = 0
        # 9110 7.8, 10.1.1: neither exists in HTTP/1.0, and what we write is 1.1, where they would.
        head.te_trailers = 0
        if head.expect_continue or head.expect_other:
            head.expect_continue = 0
            head.expect_other = 0
            for i in range(head.count):
                if head.fields[i].id == HTTP1_FIELD_EXPECT:
                    http1_drop(head, i, HTTP1_DROP_HOP)
    elif head.upgrades == 1 and head.options & HTTP1_OPTION_UPGRADE:
        f = &head.fields[head.upgrade_field]
        if http1_upgrade_usable(head.base, f.value_offset, f.value_offset + f.value_length):
            head.upgrade = 1
            head.upgrade_protocol = http1_span(head.base + f.value_offset, f.value_length)
    if head.options & HTTP1_OPTION_NAMED:
        http1_drop_named(head)


cdef inline int http1_coding_verdict(http1_head_t *head) noexcept nogil:
    """0 if Transfer-Encoding is exactly chunked and alone, in a version that has it; else a refusal."""
    if head.lengths != 0:
        return http1_refuse(head, HTTP1_ERROR_CODING_LENGTH, 400)
    if head.minor == 0:
        return http1_refuse(head, HTTP1_ERROR_CODING_OLD, 400)
    if head.coding & HTTP1_CODING_BAD or not head.coding & HTTP1_CODING_CHUNKED:
        return http1_refuse(head, HTTP1_ERROR_CODING, 400)
    if head.coding & HTTP1_CODING_OTHER:
        return http1_refuse(head, HTTP1_ERROR_CODING_UNKNOWN, 501)
    return 0
