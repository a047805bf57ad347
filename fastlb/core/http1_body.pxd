# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 bodies: lengths and chunks, taken out of their framing in place (RFC 9112 6, 7).

A body with a length, or one that ends with its connection, passes as it is: no byte is touched. Of a chunked one the
payload moves to the front of the buffer, over the chunk lines; a buffer that lies within one chunk is not touched.

    SIZE -> DIGITS -> (EXTENSION ->) SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
                                             -> TRAILERS (size 0) -> DONE

Refused (400; for a member, the end of the exchange): a size that is no hexadecimal number or does not fit, anything
but `;` or CRLF behind it, more than 1 KiB of extensions in a chunk or 4 KiB in a message (7.1.1), a control byte in them, a line
end other than CRLF, anything but CRLF behind chunk data. Nothing is ever skipped to find the next chunk.

Trailers are handed out with DONE, all at once, as lines "name: value" CRLF (without the SP if there was none) right behind the
payload that the same call produced; until the empty line is there they stay in the buffer, not consumed. Whoever sends on owes
its peer the last chunk `0` CRLF, the lines, and an empty line. Left out are fields that frame, route, authenticate, modify
the request or describe the content (9110 6.5.1), and hop-by-hop ones; all of them where the head's Connection named fields of its
own (9110 7.6.1), which is what `drop_trailers` says. A trailer section may always be dropped, for example for a client of HTTP/1.0.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memmove
from fastlb.core.bytes cimport span_t
from fastlb.core.http1_fields cimport (
    http1_forwarding_name, http1_looks_alike,
)
from fastlb.core.http1_head cimport (
    HTTP1_CHUNKED, HTTP1_FIELDS, HTTP1_LENGTH, HTTP1_UNTIL_CLOSE, http1_head_t, http1_span,
)
from fastlb.core.http1_tables cimport (
    HTTP1_BLANK, HTTP1_ERROR_BLANK_NAME, HTTP1_ERROR_CHUNK_END, HTTP1_ERROR_CHUNK_EXTENSION,
    HTTP1_ERROR_CHUNK_OVERFLOW, HTTP1_ERROR_CHUNK_SIZE, HTTP1_ERROR_FIELDS, HTTP1_ERROR_LONE_CR, HTTP1_ERROR_LONE_LF,
    HTTP1_ERROR_NAME, HTTP1_ERROR_NONE, HTTP1_ERROR_TRAILER_LONG, HTTP1_ERROR_VALUE, HTTP1_FIELD_OTHER, HTTP1_IS_HEAD,
    HTTP1_IS_HOP, HTTP1_TOKEN, http1_class, http1_class_of, http1_hex, http1_lookup, http1_names, http1_skim_colon,
    http1_skim_value,
)

cdef enum:
    HTTP1_BODY_MORE = 0
    HTTP1_BODY_DONE = 1
    HTTP1_BODY_MALFORMED = -400

cdef enum:
    HTTP1_SIZE_DIGITS = 15           # significant ones; leading zeros are legal, and count with the chunk's extension
    HTTP1_CHUNK_EXTENSION_BYTES = 1024
    HTTP1_EXTENSION_BYTES = 4096     # in a message
    HTTP1_TRAILER_BYTES = 8192       # so that a buffer of 16 KiB holds a trailer section whatever else is in it

cdef enum http1_body_state_t:
    HTTP1_BODY_IN_SIZE = 0           # no digit yet
    HTTP1_BODY_IN_DIGITS = 1
    HTTP1_BODY_IN_EXTENSION = 2
    HTTP1_BODY_IN_SIZE_LF = 3
    HTTP1_BODY_IN_DATA = 4           # also the only state of a body without chunks
    HTTP1_BODY_IN_DATA_CR = 5
    HTTP1_BODY_IN_DATA_LF = 6
    HTTP1_BODY_IN_TRAILERS = 7
    HTTP1_BODY_AT_END = 8
    HTTP1_BODY_BROKEN = 9

cdef struct http1_body_t:
    uint64_t remaining               # bytes of the body, or of the chunk
    uint64_t payload_bytes           # produced or skipped so far
    uint32_t extension_bytes         # in the message
    uint16_t chunk_extension_bytes
    uint16_t trailer_line            # offset of the first unfinished line in a trailer section that was shown before
    uint8_t framing                  # http1_framing_t
    uint8_t state                    # http1_body_state_t
    uint8_t digits                   # significant ones of the size so far
    uint8_t trailer_fields
    uint8_t error                    # http1_error_t
    uint8_t drop_trailers


cdef inline void http1_body_init(http1_body_t *body, uint8_t framing, uint64_t body_bytes) noexcept nogil:
    body.remaining = body_bytes if framing == HTTP1_LENGTH else 0
    body.payload_bytes = 0
    body.extension_bytes = 0
    body.trailer_line = 0
    body.chunk_extension_bytes = 0
    body.framing = framing
    body.digits = 0
    body.trailer_fields = 0
    body.error = HTTP1_ERROR_NONE
    body.drop_trailers = 0
    if framing == HTTP1_CHUNKED:
        body.state = HTTP1_BODY_IN_SIZE
    elif framing == HTTP1_UNTIL_CLOSE or body.remaining != 0:
        body.state = HTTP1_BODY_IN_DATA
    else:
        body.state = HTTP1_BODY_AT_END


cdef inline void http1_body_init_head(http1_body_t *body, const http1_head_t *head) noexcept nogil:
    """For the body behind this head."""
    http1_body_init(body, head.framing, head.body_bytes)
    body.drop_trailers = head.named != 0


cdef inline bint http1_body_done(const http1_body_t *body) noexcept nogil:
    return body.state == HTTP1_BODY_AT_END


cdef inline bint http1_body_closed(http1_body_t *body) noexcept nogil:
    """The sender closed its side: 1 if the body is complete by that or was before, 0 if it was cut (8)."""
    if body.framing == HTTP1_UNTIL_CLOSE and body.state == HTTP1_BODY_IN_DATA:
        body.state = HTTP1_BODY_AT_END
    return body.state == HTTP1_BODY_AT_END


cdef inline uint64_t http1_body_opaque(const http1_body_t *body) noexcept nogil:
    """How many of the next bytes are payload whatever they are, and so may be moved unseen (splice)."""
    if body.state != HTTP1_BODY_IN_DATA:
        return 0
    return <uint64_t>-1 if body.framing == HTTP1_UNTIL_CLOSE else body.remaining


cdef inline int http1_body_skip(http1_body_t *body, uint64_t count) noexcept nogil:
    """Account for bytes moved unseen, at most http1_body_opaque of them. HTTP1_BODY_MORE or HTTP1_BODY_DONE."""
    if count == 0:
        return body.state == HTTP1_BODY_AT_END
    body.payload_bytes += count
    if body.framing == HTTP1_UNTIL_CLOSE:
        return HTTP1_BODY_MORE
    body.remaining -= count
    if body.remaining == 0:
        if body.framing == HTTP1_CHUNKED:
            body.state = HTTP1_BODY_IN_DATA_CR
        else:
            body.state = HTTP1_BODY_AT_END
            return HTTP1_BODY_DONE
    return HTTP1_BODY_MORE


cdef inline int http1_body_refuse(http1_body_t *body, uint32_t error) noexcept nogil:
    body.error = <uint8_t>error
    body.state = HTTP1_BODY_BROKEN
    return HTTP1_BODY_MALFORMED


cdef inline int http1_check_trailer(http1_body_t *body, const uint8_t *data, uint32_t at, uint32_t stop) noexcept nogil:
    """Is the line [at, stop), without its CRLF, a field? 0 or a refusal."""
    cdef uint32_t colon = http1_skim_colon(data, at, at, stop)
    cdef uint8_t some = 0
    if not http1_class_of(data + at, colon - at, &some) & HTTP1_TOKEN or colon == at or colon == stop:
        if colon > at and http1_class[data[colon - 1]] & HTTP1_BLANK:
            return http1_body_refuse(body, HTTP1_ERROR_BLANK_NAME)
        return http1_body_refuse(body, HTTP1_ERROR_NAME)
    body.trailer_fields += 1
    if body.trailer_fields > HTTP1_FIELDS:
        return http1_body_refuse(body, HTTP1_ERROR_FIELDS)
    return 0


cdef inline void http1_move_trailer(
    const http1_body_t *body, uint8_t *data, uint32_t at, uint32_t stop, uint32_t *put
) noexcept nogil:
    """Move a line that was checked to `put`, normalised, if it is one to forward. It never gets longer."""
    cdef uint32_t colon = http1_skim_colon(data, at, at, stop)
    cdef uint32_t name_length = colon - at
    cdef uint32_t first = colon + 1
    cdef uint32_t last = stop
    cdef uint32_t id = http1_lookup(data, at, name_length, stop)
    cdef uint32_t out = put[0]
    if body.drop_trailers or http1_names[id].flags & (HTTP1_IS_HEAD | HTTP1_IS_HOP):
        return
    if id == HTTP1_FIELD_OTHER:
        if http1_forwarding_name(data + at, name_length) or http1_looks_alike(data + at, name_length):
            return
    while first < last and http1_class[data[first]] & HTTP1_BLANK:
        first += 1
    while last > first and http1_class[data[last - 1]] & HTTP1_BLANK:
        last -= 1
    memmove(data + out, data + at, name_length + 1)
    out += name_length + 1
    if first < last:
        if first > colon + 1:        # else there may be no room for a SP of ours
            data[out] = c' '
            out += 1
        memmove(data + out, data + first, last - first)
        out += last - first
    data[out] = c'\r'
    data[out + 1] = c'\n'
    put[0] = out + 2


cdef inline int http1_feed_trailers(
    http1_body_t *body, uint8_t *data, uint32_t length, uint32_t *consumed, uint32_t *put
) noexcept nogil:
    """The trailer section from `consumed` on, if all of it is there: HTTP1_BODY_DONE; else HTTP1_BODY_MORE, or a refusal.

    Shown again with more behind it, the section is skimmed on from its last line; so a slow sender costs no more than a
    fast one.
    """
    cdef uint32_t start = consumed[0]
    cdef uint32_t at = start + body.trailer_line
    cdef uint32_t stop
    while True:
        stop = http1_skim_value(data, start, at, length)
        if stop - start > HTTP1_TRAILER_BYTES:
            return http1_body_refuse(body, HTTP1_ERROR_TRAILER_LONG)
        if stop == length:
            return HTTP1_BODY_MORE
        if data[stop] == c'\n':
            return http1_body_refuse(body, HTTP1_ERROR_LONE_LF)
        if data[stop] != c'\r':
            return http1_body_refuse(body, HTTP1_ERROR_VALUE)
        if stop + 1 == length:
            return HTTP1_BODY_MORE
        if data[stop + 1] != c'\n':
            return http1_body_refuse(body, HTTP1_ERROR_LONE_CR)
        if stop == at:
            break
        if http1_check_trailer(body, data, at, stop) < 0:
            return HTTP1_BODY_MALFORMED
        at = stop + 2
        body.trailer_line = <uint16_t>(at - start)
    at = start
    while data[at] != c'\r':
        stop = http1_skim_value(data, start, at, length)
        http1_move_trailer(body, data, at, stop, put)
        at = stop + 2
    consumed[0] = at + 2
    body.state = HTTP1_BODY_AT_END
    return HTTP1_BODY_DONE


cdef inline bint http1_extension_counted(http1_body_t *body) noexcept nogil:
    """One more byte of what a chunk line may hold beside its size; 0 if that is too many."""
    body.chunk_extension_bytes += 1
    body.extension_bytes += 1
    return (body.chunk_extension_bytes <= HTTP1_CHUNK_EXTENSION_BYTES
            and body.extension_bytes <= HTTP1_EXTENSION_BYTES)


cdef inline int http1_chunk_line(
    http1_body_t *body, const uint8_t *data, uint32_t length, uint32_t *consumed
) noexcept nogil:
    """Chunk lines and the CRLF behind data, up to where payload or trailers start. 1 there, 0 for more, or a refusal."""
    cdef uint32_t at = consumed[0]
    cdef uint32_t state = body.state
    cdef uint8_t c
    cdef uint32_t digit
    while at < length:
        c = data[at]
        at += 1
        if state == HTTP1_BODY_IN_DIGITS or state == HTTP1_BODY_IN_SIZE:
            digit = http1_hex[c]
            if digit != 0:
                state = HTTP1_BODY_IN_DIGITS
                if body.digits == 0 and digit == 1:
                    # Some pad each size to a fixed width, so zeros count for this chunk, not for the message.
                    body.chunk_extension_bytes += 1
                    if body.chunk_extension_bytes > HTTP1_CHUNK_EXTENSION_BYTES:
                        return http1_body_refuse(body, HTTP1_ERROR_CHUNK_EXTENSION)
                    continue
                # Checked per digit: 15 of them stay below 2^60, so that no sum of ours can wrap.
                body.digits += 1
                if body.digits > HTTP1_SIZE_DIGITS:
                    return http1_body_refuse(body, HTTP1_ERROR_CHUNK_OVERFLOW)
                body.remaining = body.remaining << 4 | (digit - 1)
            elif state == HTTP1_BODY_IN_SIZE:
                return http1_body_refuse(body, HTTP1_ERROR_CHUNK_SIZE)
            elif c == c'\r':
                state = HTTP1_BODY_IN_SIZE_LF
            elif c == c';':
                state = HTTP1_BODY_IN_EXTENSION
            else:
                return http1_body_refuse(body, HTTP1_ERROR_LONE_LF if c == c'\n' else HTTP1_ERROR_CHUNK_SIZE)
        elif state == HTTP1_BODY_IN_EXTENSION:
            if c == c'\r':
                state = HTTP1_BODY_IN_SIZE_LF
            elif c < 0x20 or c == 0x7F:
                return http1_body_refuse(body, HTTP1_ERROR_LONE_LF if c == c'\n' else HTTP1_ERROR_CHUNK_EXTENSION)
            elif not http1_extension_counted(body):
                return http1_body_refuse(body, HTTP1_ERROR_CHUNK_EXTENSION)
        elif state == HTTP1_BODY_IN_SIZE_LF:
            if c != c'\n':
                return http1_body_refuse(body, HTTP1_ERROR_LONE_CR)
            body.digits = 0
            body.chunk_extension_bytes = 0
            body.state = HTTP1_BODY_IN_DATA if body.remaining != 0 else HTTP1_BODY_IN_TRAILERS
            consumed[0] = at
            return 1
        elif state == HTTP1_BODY_IN_DATA_CR:
            if c != c'\r':
                return http1_body_refuse(body, HTTP1_ERROR_CHUNK_END)
            state = HTTP1_BODY_IN_DATA_LF
        else:
            if c != c'\n':
                return http1_body_refuse(body, HTTP1_ERROR_CHUNK_END)
            state = HTTP1_BODY_IN_SIZE
    body.state = <uint8_t>state
    consumed[0] = at
    return 0


cdef inline int http1_feed_chunks(
    http1_body_t *body, uint8_t *data, uint32_t length, uint32_t *consumed, uint32_t *produced, span_t *trailers
) noexcept nogil:
    cdef uint32_t at = 0
    cdef uint32_t put = 0
    cdef uint32_t count
    cdef int verdict = HTTP1_BODY_MORE
    while at < length:
        if body.state == HTTP1_BODY_IN_DATA:
            count = length - at
            if body.remaining < count:
                count = <uint32_t>body.remaining
            if put != at:
                memmove(data + put, data + at, count)
            put += count
            at += count
            body.payload_bytes += count
            body.remaining -= count
            if body.remaining == 0:
                body.state = HTTP1_BODY_IN_DATA_CR
        elif body.state == HTTP1_BODY_IN_TRAILERS:
            produced[0] = put
            verdict = http1_feed_trailers(body, data, length, &at, &put)
            consumed[0] = at
            trailers[0] = http1_span(data + produced[0], put - produced[0] if verdict == HTTP1_BODY_DONE else 0)
            return verdict
        else:
            verdict = http1_chunk_line(body, data, length, &at)
            if verdict < 0:
                break
    consumed[0] = at
    produced[0] = put
    trailers[0] = http1_span(data + put, 0)
    return verdict if verdict < 0 else HTTP1_BODY_MORE


cdef inline int http1_body_feed(
    http1_body_t *body, uint8_t *data, uint32_t length, uint32_t *consumed, uint32_t *produced, span_t *trailers
) noexcept nogil:
    """HTTP1_BODY_MORE, HTTP1_BODY_DONE, or HTTP1_BODY_MALFORMED with the reason in `body.error`.

    `produced` bytes of payload stand at the start of `data` then, trailer lines (see above) behind them, and `consumed`
    bytes of input are used up. What is left unused is the beginning of a trailer section, to be shown again with what
    follows it, or, behind a finished body, the next message or garbage. On a refusal the payload before the fault is still
    handed out (and `consumed` does not matter any more); the caller decides.
    """
    cdef uint32_t count = length
    if body.framing == HTTP1_CHUNKED and body.state < HTTP1_BODY_AT_END:
        return http1_feed_chunks(body, data, length, consumed, produced, trailers)
    trailers[0] = http1_span(data, 0)
    if body.state != HTTP1_BODY_IN_DATA:
        consumed[0] = 0
        produced[0] = 0
        return HTTP1_BODY_DONE if body.state == HTTP1_BODY_AT_END else HTTP1_BODY_MALFORMED
    if body.framing == HTTP1_LENGTH and body.remaining < count:
        count = <uint32_t>body.remaining
    consumed[0] = count
    produced[0] = count
    return http1_body_skip(body, count)


# ---- the other way

cdef inline uint32_t http1_chunk_head(uint8_t *out, uint64_t size) noexcept nogil:
    """Write "<hex>" CRLF, at most 18 bytes; how many. The data and another CRLF follow; a size of 0 is the last chunk."""
    cdef const char *digits = b"0123456789abcdef"
    cdef uint32_t n = 1
    cdef uint32_t i
    while n < 16 and size >> (4 * n) != 0:
        n += 1
    for i in range(n):
        out[i] = <uint8_t>digits[(size >> (4 * (n - 1 - i))) & 15]
    out[n] = c'\r'
    out[n + 1] = c'\n'
    return n + 2
