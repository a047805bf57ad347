# SPDX-License-Identifier: Apache-2.0
"""Cookies in parsed heads, for session persistence: found, taken out, not sent on; and may a response be cached.

Cookies are read as HAProxy reads them.  In a request: pairs end at ";" or ",", which a value may hold between quotes;
blanks around names and values are not part of them, quotes are; names are compared as they are; a pair without "=" or with
a name that begins with "$" is nobody's.  In a response each field is one cookie, the pair up to the first ";".
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy
from fastlb.core.bytes cimport span_t
from fastlb.core.http1_head cimport (
    HTTP1_DROP_REPLACED, HTTP1_GET, HTTP1_HEAD, HTTP1_OPTIONS, HTTP1_TRACE, http1_field_t, http1_field_value,
    http1_head_t, http1_span, http1_span_is,
)
from fastlb.core.http1_tables cimport (
    HTTP1_FIELD_CACHE_CONTROL, HTTP1_FIELD_COOKIE, HTTP1_FIELD_ETAG, HTTP1_FIELD_EXPIRES, HTTP1_FIELD_LAST_MODIFIED,
    HTTP1_FIELD_PRAGMA, HTTP1_FIELD_SET_COOKIE, http1_is, http1_skim_cookie,
)
from fastlb.core.http1_write cimport HTTP1_EXTRA_ADD, http1_extra_t

cdef struct cookie_pair_t:       # offsets in a field's value
    uint32_t name
    uint32_t name_length
    uint32_t value
    uint32_t value_length
    uint32_t end                 # of the delimiter behind it, or the text's length
    bint valued                  # there is a "="

cdef struct cookie_place_t:      # how far a search has come; zeros at its beginning
    uint32_t field
    uint32_t offset


cdef inline bint cookie_blank(uint8_t c) noexcept nogil:
    return c == c' ' or c == c'\t'


cdef inline uint32_t cookie_value_end(const uint8_t *text, uint32_t length, uint32_t at) noexcept nogil:
    """Of the delimiter behind the value that begins at `at`, or `length`."""
    while True:
        at = http1_skim_cookie(text, 0, at, length)
        if at >= length or text[at] != c'"':
            return at
        at += 1
        while at < length and text[at] != c'"':
            at += 2 if text[at] == c'\\' else 1     # and what it escapes
        at += 1
        if at >= length:
            return length


cdef inline void cookie_pair(const uint8_t *text, uint32_t length, uint32_t at, bint listed, cookie_pair_t *pair) noexcept nogil:
    """Read the pair that begins at `at`. `listed`: there may be several, so that a "," ends a name, too."""
    while at < length and cookie_blank(text[at]):
        at += 1
    pair.name = at
    pair.name_length = 0
    pair.value_length = 0
    while at < length and text[at] != c'=' and text[at] != c';' and not (listed and text[at] == c','):
        at += 1
        if not cookie_blank(text[at - 1]):
            pair.name_length = at - pair.name
    pair.valued = at < length and text[at] == c'='
    if pair.valued:
        at += 1
        while at < length and cookie_blank(text[at]):
            at += 1
        pair.value = at
        at = cookie_value_end(text, length, at)
        pair.value_length = at - pair.value
        while pair.value_length > 0 and cookie_blank(text[pair.value + pair.value_length - 1]):
            pair.value_length -= 1
    pair.end = at


cdef inline bint cookie_is(const uint8_t *text, const cookie_pair_t *pair, const uint8_t *name, uint32_t length) noexcept nogil:
    return (
        pair.valued and pair.name_length == length and memcmp(text + pair.name, name, length) == 0
        and text[pair.name] != c'$'
    )


# ---- requests

cdef inline bint cookie_next(
    const http1_head_t *head, cookie_place_t *place, const uint8_t *name, uint32_t length, span_t *value
) noexcept nogil:
    """The next cookie of that name, which may be empty; 0: there is none any more. HTTP_COOKIE takes the first that names a
    member in reach."""
    cdef const http1_field_t *f
    cdef const uint8_t *text
    cdef cookie_pair_t pair
    while place.field < head.count:
        f = &head.fields[place.field]
        if f.id == HTTP1_FIELD_COOKIE and not f.drop:
            text = head.base + f.value_offset
            while place.offset < f.value_length:
                cookie_pair(text, f.value_length, place.offset, 1, &pair)
                place.offset = pair.end + 1
                if cookie_is(text, &pair, name, length):
                    value[0] = http1_span(text + pair.value, pair.value_length)
                    return 1
        place.field += 1
        place.offset = 0
    return 0


cdef inline bint cookie_find(
    const http1_head_t *head, const uint8_t *name, uint32_t length, span_t *value
) noexcept nogil:
    """The first cookie of that name, which may be empty."""
    cdef cookie_place_t place
    place.field = 0
    place.offset = 0
    return cookie_next(head, &place, name, length, value)


cdef inline bint cookie_find_last(
    const http1_head_t *head, const uint8_t *name, uint32_t length, span_t *value
) noexcept nogil:
    """The last cookie of that name that is not empty: what APP_COOKIE looks up."""
    cdef cookie_place_t place
    cdef span_t one
    cdef bint found = 0
    place.field = 0
    place.offset = 0
    while cookie_next(head, &place, name, length, &one):
        if one.length != 0:
            value[0] = one
            found = 1
    return found


cdef inline uint32_t cookie_keep(uint8_t *out, uint32_t n, const uint8_t *text, uint32_t start, uint32_t end) noexcept nogil:
    """Append text[start:end] to the `n` bytes in `out`, which does not begin with a blank; how many there are then."""
    while n == 0 and start < end and cookie_blank(text[start]):
        start += 1
    memcpy(out + n, text + start, end - start)
    return n + end - start


cdef inline bint cookie_rest(
    const uint8_t *text, uint32_t length, const uint8_t *name, uint32_t name_length, uint8_t *out, uint32_t *rest
) noexcept nogil:
    """Copy a field's value less the cookies of that name, and the "$" attributes that follow them; 0: it holds none."""
    cdef cookie_pair_t pair
    cdef uint32_t at = 0
    cdef uint32_t run = 0                # what is not yet copied starts here
    cdef uint32_t n = 0
    cdef bint removed = 0                # the pair just read
    cdef bint found = 0
    while at < length:
        cookie_pair(text, length, at, 1, &pair)
        removed = cookie_is(text, &pair, name, name_length) or (removed and pair.name_length and text[pair.name] == c'$')
        if removed:
            n = cookie_keep(out, n, text, run, at)
            run = pair.end + 1
            found = 1
        at = pair.end + 1
    if not found:
        return 0
    if run <= length:
        n = cookie_keep(out, n, text, run, length)
    elif n > 0:
        n -= 1                           # the delimiter before the pair that was the last
    while n > 0 and cookie_blank(out[n - 1]):
        n -= 1
    rest[0] = n
    return 1


cdef inline uint32_t cookie_remove(
    http1_head_t *head, const uint8_t *name, uint32_t length, uint8_t *out, uint32_t *used, uint32_t capacity,
    http1_extra_t *extras, uint32_t extra_capacity
) noexcept nogil:
    """Take all cookies of that name out of a request; how many extras are to be written with it.

    The rest of a field goes into `out` and becomes an extra, a field that held nothing else goes away.  Fields behind one
    that became an extra become extras too, so that their order stays. `used` is what was taken of `out`, of which
    head.length bytes are always enough.  Where `out` or the extras do not suffice, that field and those behind it stay.
    """
    cdef uint32_t count = 0
    cdef uint32_t rest = 0
    cdef uint32_t i
    cdef http1_field_t *f
    cdef const uint8_t *text
    used[0] = 0
    for i in range(head.count):
        f = &head.fields[i]
        if f.id != HTTP1_FIELD_COOKIE or f.drop:
            continue
        if count == extra_capacity or f.value_length > capacity - used[0]:
            break
        text = head.base + f.value_offset
        if cookie_rest(text, f.value_length, name, length, out + used[0], &rest):
            extras[count].value = http1_span(out + used[0], rest)
            used[0] += rest
        elif count > 0:
            rest = f.value_length
            extras[count].value = http1_span(text, rest)
        else:
            continue
        f.drop = HTTP1_DROP_REPLACED
        f.verbatim = 0
        if rest > 0:
            extras[count].name = http1_span(head.base + f.name_offset, f.name_length)
            extras[count].mode = HTTP1_EXTRA_ADD
            count += 1
    return count


# ---- responses

cdef inline bint set_cookie_is(
    const http1_head_t *head, uint32_t i, const uint8_t *name, uint32_t length, cookie_pair_t *pair
) noexcept nogil:
    cdef const http1_field_t *f = &head.fields[i]
    if f.id != HTTP1_FIELD_SET_COOKIE or f.drop:
        return 0
    cookie_pair(head.base + f.value_offset, f.value_length, 0, 0, pair)
    return cookie_is(head.base + f.value_offset, pair, name, length)


cdef inline bint set_cookie_find(
    const http1_head_t *head, const uint8_t *name, uint32_t length, span_t *value
) noexcept nogil:
    """What a response sets this cookie to, if not to nothing; the last if it does so twice. APP_COOKIE learns it."""
    cdef cookie_pair_t pair
    cdef uint32_t i
    cdef bint found = 0
    for i in range(head.count):
        if set_cookie_is(head, i, name, length, &pair) and pair.value_length != 0:
            value[0] = http1_span(head.base + head.fields[i].value_offset + pair.value, pair.value_length)
            found = 1
    return found


cdef inline void set_cookie_drop(http1_head_t *head, const uint8_t *name, uint32_t length) noexcept nogil:
    """What sets this cookie is not sent on."""
    cdef cookie_pair_t pair
    cdef uint32_t i
    for i in range(head.count):
        if set_cookie_is(head, i, name, length, &pair):
            head.fields[i].drop = HTTP1_DROP_REPLACED
            head.fields[i].verbatim = 0


cdef inline bint cacheable_status(uint32_t status) noexcept nogil:
    return (
        status == 200 or status == 203 or status == 204 or status == 206 or status == 300 or status == 301
        or status == 404 or status == 405 or status == 410 or status == 414 or status == 501
    )


cdef enum:                       # what a directive of Cache-Control says
    CACHEABLE_YES = 1
    CACHEABLE_NO = 2


cdef inline uint32_t cache_directive(span_t element) noexcept nogil:
    if element.length >= 7 and http1_is(element.data, b"max-age", 7):
        return CACHEABLE_NO if http1_span_is(element, b"max-age=0", 9) else CACHEABLE_YES
    if element.length >= 8 and http1_is(element.data, b"s-maxage", 8):
        return CACHEABLE_NO if http1_span_is(element, b"s-maxage=0", 10) else CACHEABLE_YES
    if http1_span_is(element, b"public", 6):
        return CACHEABLE_YES
    if (http1_span_is(element, b"private", 7) or http1_span_is(element, b"no-cache", 8)
            or http1_span_is(element, b"no-store", 8)):
        return CACHEABLE_NO
    return 0


cdef inline uint32_t cache_control(span_t value) noexcept nogil:
    """CACHEABLE_* of all its directives."""
    cdef uint32_t said = 0
    cdef uint32_t at = 0
    cdef uint32_t start, end
    cdef bint quoted
    while at < value.length:
        start = at
        quoted = 0
        while at < value.length and (quoted or value.data[at] != c','):
            if value.data[at] == c'"':
                quoted = not quoted
            elif quoted and value.data[at] == c'\\':
                at += 1
            at += 1
        end = at if at < value.length else value.length
        at = end + 1
        while start < end and cookie_blank(value.data[start]):
            start += 1
        while end > start and cookie_blank(value.data[end - 1]):
            end -= 1
        said |= cache_directive(http1_span(value.data + start, end - start))
    return said


cdef inline bint response_cacheable(const http1_head_t *head) noexcept nogil:
    """Might a shared cache keep this response, and with it a cookie that we add? Then HTTP_COOKIE adds `Cache-Control:
    private`. As HAProxy judges for `nocache`; that "public" alone is enough is ours."""
    cdef uint32_t said = 0
    cdef uint32_t i, id
    if not cacheable_status(head.status):
        return 0
    if head.method != HTTP1_GET and head.method != HTTP1_HEAD and head.method != HTTP1_OPTIONS and head.method != HTTP1_TRACE:
        return 0
    for i in range(head.count):
        if head.fields[i].drop:
            continue
        id = head.fields[i].id
        if id == HTTP1_FIELD_CACHE_CONTROL:
            said |= cache_control(http1_field_value(head, i))
        elif id == HTTP1_FIELD_ETAG or id == HTTP1_FIELD_EXPIRES or id == HTTP1_FIELD_LAST_MODIFIED:
            said |= CACHEABLE_YES
        elif id == HTTP1_FIELD_PRAGMA and http1_span_is(http1_field_value(head, i), b"no-cache", 8):
            said |= CACHEABLE_NO
    return said == CACHEABLE_YES
