// SPDX-License-Identifier: Apache-2.0
// What the HTTP/1.1 parts look up and how they skim bytes: character classes, known field names, reasons, our own answers.
//
// No function here reads outside [floor, end) of the buffer that it is given, and none needs more than SSE2; without it
// each falls back to a byte at a time with the same result.
#ifndef FASTLB_HTTP1_TABLES_H
#define FASTLB_HTTP1_TABLES_H

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

// ---- classes of bytes

enum {
    HTTP1_TOKEN = 1,        // RFC 9110 5.6.2
    HTTP1_UNDERSCORE = 2,   // a token byte that some servers read as "-"
    HTTP1_REG_NAME = 4,     // RFC 3986 3.2.2 without "%"
    HTTP1_BAD_VALUE = 8,    // ends a field value, or must not be in it: all controls but HTAB
    HTTP1_BAD_TARGET = 16,  // ends a request target, or must not be in it: controls, SP, DEL, "#"
    HTTP1_BLANK = 32,       // SP, HTAB
};

static const uint8_t http1_class[256] = {
    [0 ... 8] = HTTP1_BAD_VALUE | HTTP1_BAD_TARGET,
    [9] = HTTP1_BAD_TARGET | HTTP1_BLANK,
    [10 ... 31] = HTTP1_BAD_VALUE | HTTP1_BAD_TARGET,
    [' '] = HTTP1_BAD_TARGET | HTTP1_BLANK,
    ['!'] = HTTP1_TOKEN | HTTP1_REG_NAME,
    ['#'] = HTTP1_TOKEN | HTTP1_BAD_TARGET,
    ['$'] = HTTP1_TOKEN | HTTP1_REG_NAME,
    ['%'] = HTTP1_TOKEN,
    ['&' ... '\''] = HTTP1_TOKEN | HTTP1_REG_NAME,
    ['(' ... ')'] = HTTP1_REG_NAME,
    ['*' ... '+'] = HTTP1_TOKEN | HTTP1_REG_NAME,
    [','] = HTTP1_REG_NAME,
    ['-' ... '.'] = HTTP1_TOKEN | HTTP1_REG_NAME,
    ['0' ... '9'] = HTTP1_TOKEN | HTTP1_REG_NAME,
    [';'] = HTTP1_REG_NAME,
    ['='] = HTTP1_REG_NAME,
    ['A' ... 'Z'] = HTTP1_TOKEN | HTTP1_REG_NAME,
    ['^'] = HTTP1_TOKEN,
    ['_'] = HTTP1_TOKEN | HTTP1_REG_NAME | HTTP1_UNDERSCORE,
    ['`'] = HTTP1_TOKEN,
    ['a' ... 'z'] = HTTP1_TOKEN | HTTP1_REG_NAME,
    ['|'] = HTTP1_TOKEN,
    ['~'] = HTTP1_TOKEN | HTTP1_REG_NAME,
    [127] = HTTP1_BAD_VALUE | HTTP1_BAD_TARGET,
};

// The digit's value plus one; 0: not a hexadecimal digit.
static const uint8_t http1_hex[256] = {
    ['0'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ['A'] = 11, 12, 13, 14, 15, 16,
    ['a'] = 11, 12, 13, 14, 15, 16,
};

// ---- skimming

// The first offset in [at, end) whose byte is of the kind, or `end`. `floor` <= at: from where bytes may be read.
#ifdef __SSE2__
static inline uint32_t http1_bad_value_bits(const uint8_t *p) {
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1F)), x);
    __m128i bad = _mm_andnot_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(9)), low);
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7F))));
}

static inline uint32_t http1_bad_target_bits(const uint8_t *p) {
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x20)), x);
    __m128i odd = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('#')), _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7F)));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(low, odd));
}

static inline uint32_t http1_colon_bits(const uint8_t *p) {
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8(':')));
}

static inline uint32_t http1_cookie_bits(const uint8_t *p) {
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i end = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(';')), _mm_cmpeq_epi8(x, _mm_set1_epi8(',')));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(end, _mm_cmpeq_epi8(x, _mm_set1_epi8('"'))));
}

// The last, short step reads the 16 bytes that end at `end` and shifts out those that were seen already.
#define HTTP1_SKIM(NAME, BITS, BYTE_TEST)                                                              \
    static inline uint32_t NAME(const uint8_t *base, uint32_t floor, uint32_t at, uint32_t end) {      \
        uint32_t bits;                                                                                 \
        while (end - at >= 16) {                                                                       \
            bits = BITS(base + at);                                                                    \
            if (bits)                                                                                  \
                return at + (uint32_t)__builtin_ctz(bits);                                             \
            at += 16;                                                                                  \
        }                                                                                              \
        if (end - floor >= 16) {                                                                       \
            bits = BITS(base + end - 16) >> (16 - (end - at));                                         \
            return bits ? at + (uint32_t)__builtin_ctz(bits) : end;                                    \
        }                                                                                              \
        while (at < end && !(BYTE_TEST(base[at])))                                                     \
            at++;                                                                                      \
        return at;                                                                                     \
    }
#else
#define HTTP1_SKIM(NAME, BITS, BYTE_TEST)                                                              \
    static inline uint32_t NAME(const uint8_t *base, uint32_t floor, uint32_t at, uint32_t end) {      \
        (void)floor;                                                                                   \
        while (at < end && !(BYTE_TEST(base[at])))                                                     \
            at++;                                                                                      \
        return at;                                                                                     \
    }
#endif

#define HTTP1_IS_BAD_VALUE(c) (http1_class[c] & HTTP1_BAD_VALUE)
#define HTTP1_IS_BAD_TARGET(c) (http1_class[c] & HTTP1_BAD_TARGET)
#define HTTP1_IS_COLON(c) ((c) == ':')
#define HTTP1_ENDS_COOKIE(c) ((c) == ';' || (c) == ',' || (c) == '"')

HTTP1_SKIM(http1_skim_value, http1_bad_value_bits, HTTP1_IS_BAD_VALUE)
HTTP1_SKIM(http1_skim_target, http1_bad_target_bits, HTTP1_IS_BAD_TARGET)
HTTP1_SKIM(http1_skim_colon, http1_colon_bits, HTTP1_IS_COLON)
HTTP1_SKIM(http1_skim_cookie, http1_cookie_bits, HTTP1_ENDS_COOKIE)

// 1 if `length` bytes at `p` are `lower` in any case. `lower`: small letters, digits and "-" only. Bit 0x40 tells letters
// from the rest of these, so that only letters fold: CR must not pass for "-".
static inline int http1_is(const uint8_t *p, const char *lower, uint32_t length) {
    for (uint32_t i = 0; i < length; i++)
        if ((uint8_t)(p[i] | ((uint8_t)lower[i] & 0x40) >> 1) != (uint8_t)lower[i])
            return 0;
    return 1;
}

static inline int http1_same(const uint8_t *a, const uint8_t *b, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) {
        uint8_t x = a[i], y = b[i];
        if (x != y && !((x ^ y) == 0x20 && (uint8_t)((x | 0x20) - 'a') < 26))
            return 0;
    }
    return 1;
}

// The class bits that all bytes share, `some` those that any has.
static inline uint8_t http1_class_of(const uint8_t *p, uint32_t length, uint8_t *some) {
    uint8_t all = 0xFF, any = 0;
    for (uint32_t i = 0; i < length; i++) {
        uint8_t c = http1_class[p[i]];
        all &= c;
        any |= c;
    }
    *some = any;
    return all;
}

// ---- known field names

enum {
    HTTP1_IS_HOP = 1,   // never forwarded as it came (RFC 9110 7.6.1)
    HTTP1_IS_SEEN = 2,  // the parser itself acts on it
    HTTP1_IS_KEPT = 4,  // no Connection option removes it: framing, routing, and what says where a request came from
    HTTP1_IS_HEAD = 8,  // no trailer (RFC 9110 6.5.1): framing, routing, authentication, modifiers, content's description
    HTTP1_IS_ALIKE = 16, // of no known name: one that passes for such a name where "_" is read as "-"
};

// X(identifier, name in small letters, slot, what it is); slot is http1_slot_of(name), which a test holds.
#define HOP HTTP1_IS_HOP
#define SEEN HTTP1_IS_SEEN
#define KEPT HTTP1_IS_KEPT
#define HEAD HTTP1_IS_HEAD
#define HTTP1_NAMES(X) \
    X(HOST, "host", 175, SEEN | KEPT | HEAD)                                                        \
    X(CONNECTION, "connection", 341, HOP | SEEN | HEAD)                                             \
    X(CONTENT_LENGTH, "content-length", 426, SEEN | KEPT | HEAD)                                    \
    X(TRANSFER_ENCODING, "transfer-encoding", 159, HOP | SEEN | KEPT | HEAD)                        \
    X(KEEP_ALIVE, "keep-alive", 511, HOP | SEEN | HEAD)                                             \
    X(PROXY_CONNECTION, "proxy-connection", 451, HOP | HEAD)                                        \
    X(TE, "te", 25, HOP | SEEN | HEAD)                                                              \
    X(TRAILER, "trailer", 508, HEAD)                                                                \
    X(UPGRADE, "upgrade", 268, HOP | SEEN | HEAD)                                                   \
    X(EXPECT, "expect", 70, SEEN | KEPT | HEAD)                                                     \
    X(HTTP2_SETTINGS, "http2-settings", 488, HOP | HEAD)                                            \
    X(FORWARDED, "forwarded", 67, KEPT | HEAD)                                                      \
    X(VIA, "via", 7, KEPT | HEAD)                                                                   \
    X(X_FORWARDED_FOR, "x-forwarded-for", 389, KEPT | HEAD)                                         \
    X(X_FORWARDED_PROTO, "x-forwarded-proto", 506, KEPT | HEAD)                                     \
    X(X_FORWARDED_PORT, "x-forwarded-port", 95, KEPT | HEAD)                                        \
    X(X_FORWARDED_HOST, "x-forwarded-host", 288, KEPT | HEAD)                                       \
    X(X_REAL_IP, "x-real-ip", 442, HEAD)                                                            \
    X(X_REQUEST_ID, "x-request-id", 189, HEAD)                                                      \
    X(COOKIE, "cookie", 483, HEAD)                                                                  \
    X(SET_COOKIE, "set-cookie", 324, HEAD)                                                          \
    X(AUTHORIZATION, "authorization", 177, HEAD)                                                    \
    X(PROXY_AUTHORIZATION, "proxy-authorization", 198, HEAD)                                        \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", 218, HEAD)                                          \
    X(WWW_AUTHENTICATE, "www-authenticate", 431, HEAD)                                              \
    X(AUTHENTICATION_INFO, "authentication-info", 477, HEAD)                                        \
    X(CONTENT_TYPE, "content-type", 156, HEAD)                                                      \
    X(CONTENT_ENCODING, "content-encoding", 27, HEAD)                                               \
    X(CONTENT_RANGE, "content-range", 496, HEAD)                                                    \
    X(CONTENT_LOCATION, "content-location", 203, HEAD)                                              \
    X(CONTENT_LANGUAGE, "content-language", 306, HEAD)                                              \
    X(CONTENT_DISPOSITION, "content-disposition", 368, HEAD)                                        \
    X(CACHE_CONTROL, "cache-control", 208, HEAD)                                                    \
    X(DATE, "date", 246, HEAD)                                                                      \
    X(AGE, "age", 104, HEAD)                                                                        \
    X(EXPIRES, "expires", 251, HEAD)                                                                \
    X(LOCATION, "location", 489, HEAD)                                                              \
    X(RETRY_AFTER, "retry-after", 382, HEAD)                                                        \
    X(VARY, "vary", 346, HEAD)                                                                      \
    X(WARNING, "warning", 9, HEAD)                                                                  \
    X(MAX_FORWARDS, "max-forwards", 88, HEAD)                                                       \
    X(PRAGMA, "pragma", 256, HEAD)                                                                  \
    X(RANGE, "range", 339, HEAD)                                                                    \
    X(IF_MATCH, "if-match", 138, HEAD)                                                              \
    X(IF_NONE_MATCH, "if-none-match", 132, HEAD)                                                    \
    X(IF_MODIFIED_SINCE, "if-modified-since", 309, HEAD)                                            \
    X(IF_UNMODIFIED_SINCE, "if-unmodified-since", 450, HEAD)                                        \
    X(IF_RANGE, "if-range", 90, HEAD)                                                               \
    X(USER_AGENT, "user-agent", 229, HEAD)                                                          \
    X(ACCEPT, "accept", 427, HEAD)                                                                  \
    X(ACCEPT_ENCODING, "accept-encoding", 468, HEAD)                                                \
    X(ACCEPT_LANGUAGE, "accept-language", 234, HEAD)                                                \
    X(ACCEPT_RANGES, "accept-ranges", 126, HEAD)                                                    \
    X(ACCEPT_CHARSET, "accept-charset", 101, HEAD)                                                  \
    X(REFERER, "referer", 73, HEAD)                                                                 \
    X(ORIGIN, "origin", 276, HEAD)                                                                  \
    X(SERVER, "server", 54, 0)                                                                      \
    X(ETAG, "etag", 484, 0)                                                                         \
    X(LAST_MODIFIED, "last-modified", 380, 0)                                                       \
    X(ALLOW, "allow", 298, HEAD)                                                                    \
    X(LINK, "link", 82, 0)                                                                          \
    X(STRICT_TRANSPORT_SECURITY, "strict-transport-security", 199, HEAD)                            \
    X(X_POWERED_BY, "x-powered-by", 66, 0)                                                          \
    X(X_CONTENT_TYPE_OPTIONS, "x-content-type-options", 247, HEAD)                                  \
    X(X_FRAME_OPTIONS, "x-frame-options", 407, HEAD)                                                \
    X(UPGRADE_INSECURE_REQUESTS, "upgrade-insecure-requests", 41, HEAD)                             \
    X(SEC_FETCH_DEST, "sec-fetch-dest", 152, 0)                                                     \
    X(SEC_FETCH_MODE, "sec-fetch-mode", 344, 0)                                                     \
    X(SEC_FETCH_SITE, "sec-fetch-site", 350, 0)                                                     \
    X(SEC_FETCH_USER, "sec-fetch-user", 326, 0)                                                     \
    X(SEC_CH_UA, "sec-ch-ua", 15, 0)                                                                \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key", 225, 0)                                               \
    X(SEC_WEBSOCKET_VERSION, "sec-websocket-version", 224, 0)                                       \
    X(SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol", 231, 0)                                     \
    X(SEC_WEBSOCKET_EXTENSIONS, "sec-websocket-extensions", 332, 0)                                 \
    X(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept", 492, 0)                                         \
    X(DNT, "dnt", 273, 0)                                                                           \
    X(PRIORITY, "priority", 171, 0)                                                                 \
    X(X_REQUESTED_WITH, "x-requested-with", 292, 0)                                                 \
    X(TRACEPARENT, "traceparent", 272, 0)

enum http1_field_id {
    HTTP1_FIELD_OTHER = 0,
#define X(ID, NAME, SLOT, FLAGS) HTTP1_FIELD_##ID,
    HTTP1_NAMES(X)
#undef X
    HTTP1_FIELD_IDS
};

typedef struct {
    char lower[32];
    uint8_t length;
    uint8_t flags;
} http1_name_t;

static const http1_name_t http1_names[HTTP1_FIELD_IDS] = {
#define X(ID, NAME, SLOT, FLAGS) [HTTP1_FIELD_##ID] = {NAME, sizeof(NAME) - 1, FLAGS},
    HTTP1_NAMES(X)
#undef X
};

static const uint8_t http1_slots[512] = {
#define X(ID, NAME, SLOT, FLAGS) [SLOT] = HTTP1_FIELD_##ID,
    HTTP1_NAMES(X)
#undef X
};
#undef HOP
#undef SEEN
#undef KEPT
#undef HEAD

// Needs two bytes at least. The constant makes the slots of the names above distinct.
static inline uint32_t http1_slot_of(const uint8_t *p, uint32_t length) {
    uint32_t w = p[0] | (uint32_t)p[length / 2] << 8 | (uint32_t)p[length - 2] << 16 | (uint32_t)p[length - 1] << 24;
    return (uint32_t)(((w | 0x20202020u) + length) * 0x0BF06033u) >> 23;
}

#ifdef __SSE2__
static inline uint32_t http1_name_bits(const uint8_t *p, const char *lower) {
    __m128i want = _mm_loadu_si128((const __m128i *)lower);
    __m128i fold = _mm_srli_epi16(_mm_and_si128(want, _mm_set1_epi8(0x40)), 1);
    __m128i have = _mm_or_si128(_mm_loadu_si128((const __m128i *)p), fold);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(have, want));
}
#endif

// The identifier of the field name at [at, at + length), in any case; HTTP1_FIELD_OTHER if it is not a known one (and then
// it may be no token at all). Reads nothing at or behind `end`.
static inline uint32_t http1_lookup(const uint8_t *base, uint32_t at, uint32_t length, uint32_t end) {
    const uint8_t *p = base + at;
    if (length < 2 || length > 25)
        return HTTP1_FIELD_OTHER;
    uint32_t id = http1_slots[http1_slot_of(p, length)];
    const http1_name_t *name = &http1_names[id];
    if (name->length != length)
        return HTTP1_FIELD_OTHER;
#ifdef __SSE2__
    if (length <= 16 && end - at >= 16) {
        uint32_t mask = (1u << length) - 1;
        return (http1_name_bits(p, name->lower) & mask) == mask ? id : HTTP1_FIELD_OTHER;
    }
    if (length > 16) {
        uint32_t rest = length - 16;
        uint32_t bits = http1_name_bits(p, name->lower) & http1_name_bits(p + rest, name->lower + rest);
        return bits == 0xFFFF ? id : HTTP1_FIELD_OTHER;
    }
#endif
    return http1_is(p, name->lower, length) ? id : HTTP1_FIELD_OTHER;
}

// ---- why a head or a body was refused

#define HTTP1_ERRORS(X)                                                                 \
    X(NONE, "")                                                                         \
    X(EMPTY_LINES, "too many empty lines before the request line")                      \
    X(LONE_CR, "CR without LF")                                                         \
    X(LONE_LF, "LF without CR")                                                         \
    X(METHOD, "method is not a token")                                                  \
    X(METHOD_LONG, "method is too long")                                                \
    X(TARGET, "bad byte in the request target, or no version behind it")                \
    X(TARGET_FORM, "request target is of no form that fits its method")                 \
    X(TARGET_LONG, "request target is too long")                                        \
    X(USERINFO, "user information in the request target")                               \
    X(VERSION, "malformed HTTP version")                                                \
    X(VERSION_MAJOR, "HTTP version is not 1.x")                                         \
    X(CONNECT, "CONNECT is not offered")                                                \
    X(STATUS, "malformed status line")                                                  \
    X(NAME, "field name is not a token")                                                \
    X(NO_COLON, "field line without a colon")                                           \
    X(BLANK_NAME, "whitespace between field name and colon")                            \
    X(FOLDED, "line begins with whitespace")                                            \
    X(VALUE, "control byte in a field value")                                           \
    X(FIELDS, "too many fields")                                                        \
    X(HEAD_LONG, "head is too long")                                                    \
    X(HOST_MISSING, "HTTP/1.1 without Host")                                            \
    X(HOST_TWICE, "more than one Host")                                                 \
    X(HOST, "Host is not host[:port]")                                                  \
    X(LENGTH, "Content-Length is not a number that fits")                               \
    X(LENGTH_TWICE, "more than one Content-Length")                                     \
    X(CODING, "Transfer-Encoding does not end in chunked")                              \
    X(CODING_UNKNOWN, "transfer coding other than chunked")                             \
    X(CODING_OLD, "Transfer-Encoding in HTTP/1.0")                                      \
    X(CODING_LENGTH, "Transfer-Encoding with Content-Length")                           \
    X(OPTIONS, "too many Connection options")                                           \
    X(CHUNK_SIZE, "malformed chunk size")                                               \
    X(CHUNK_OVERFLOW, "chunk size does not fit")                                        \
    X(CHUNK_EXTENSION, "chunk extensions are too long or hold a control byte")          \
    X(CHUNK_END, "chunk data not followed by CRLF")                                     \
    X(TRAILER_LONG, "trailer section is too long")

enum http1_error_t {
#define X(ID, TEXT) HTTP1_ERROR_##ID,
    HTTP1_ERRORS(X)
#undef X
    HTTP1_ERROR_COUNT
};

static const char *const http1_error_texts[HTTP1_ERROR_COUNT] = {
#define X(ID, TEXT) TEXT,
    HTTP1_ERRORS(X)
#undef X
};

static const char *const http1_error_names[HTTP1_ERROR_COUNT] = {
#define X(ID, TEXT) #ID,
    HTTP1_ERRORS(X)
#undef X
};

// In capitals; a null pointer: there is no such error.
static inline const char *http1_error_name(uint32_t error) {
    return error < HTTP1_ERROR_COUNT ? http1_error_names[error] : 0;
}

static inline const char *http1_error_text(uint32_t error) {
    return error < HTTP1_ERROR_COUNT ? http1_error_texts[error] : "";
}

// ---- our own answers: HAProxy's words where it has some, since Octavia's users know these

typedef struct {
    uint16_t status;
    const char *reason;
    const char *text;
} http1_answer_t;

static const http1_answer_t http1_answers[] = {
    {400, "Bad request", "Your browser sent an invalid request."},
    {403, "Forbidden", "Request forbidden by administrative rules."},
    {408, "Request Time-out", "Your browser didn't send a complete request in time."},
    {413, "Payload Too Large", "The request entity exceeds the maximum allowed."},
    {414, "URI Too Long", "The request target exceeds the maximum allowed."},
    {417, "Expectation Failed", "The expectation of the request cannot be met."},
    {431, "Request Header Fields Too Large", "The request header fields exceed the maximum allowed."},
    {501, "Not Implemented", "The request needs a feature that is not offered here."},
    {502, "Bad Gateway", "The server returned an invalid or incomplete response."},
    {503, "Service Unavailable", "No server is available to handle this request."},
    {504, "Gateway Time-out", "The server didn't respond in time."},
    {505, "HTTP Version Not Supported", "The HTTP version of the request is not offered here."},
    {500, "Internal Server Error", "An internal server error occurred."},
};

// The answer for `status`; the last one, a 500, for a status that has none.
static inline const http1_answer_t *http1_answer_of(uint32_t status) {
    uint32_t i = 0;
    while (i < sizeof http1_answers / sizeof http1_answers[0] - 1 && http1_answers[i].status != status)
        i++;
    return &http1_answers[i];
}

#endif
