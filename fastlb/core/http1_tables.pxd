# SPDX-License-Identifier: Apache-2.0
"""What the HTTP/1.1 parts look up: classes of bytes, known field names, reasons for a refusal; and how they skim (the .h)."""
from libc.stdint cimport uint8_t, uint32_t

cdef extern from "fastlb/core/http1_tables.h" nogil:
    enum:
        HTTP1_TOKEN
        HTTP1_UNDERSCORE
        HTTP1_REG_NAME
        HTTP1_BLANK
        HTTP1_IS_HOP
        HTTP1_IS_SEEN
        HTTP1_IS_KEPT
        HTTP1_IS_HEAD
        HTTP1_IS_ALIKE

    enum http1_field_id:
        HTTP1_FIELD_OTHER            # 0: not one of these
        HTTP1_FIELD_HOST
        HTTP1_FIELD_CONNECTION
        HTTP1_FIELD_CONTENT_LENGTH
        HTTP1_FIELD_TRANSFER_ENCODING
        HTTP1_FIELD_KEEP_ALIVE
        HTTP1_FIELD_PROXY_CONNECTION
        HTTP1_FIELD_TE
        HTTP1_FIELD_TRAILER
        HTTP1_FIELD_UPGRADE
        HTTP1_FIELD_EXPECT
        HTTP1_FIELD_HTTP2_SETTINGS
        HTTP1_FIELD_FORWARDED
        HTTP1_FIELD_VIA
        HTTP1_FIELD_X_FORWARDED_FOR
        HTTP1_FIELD_X_FORWARDED_PROTO
        HTTP1_FIELD_X_FORWARDED_PORT
        HTTP1_FIELD_X_FORWARDED_HOST
        HTTP1_FIELD_X_REAL_IP
        HTTP1_FIELD_X_REQUEST_ID
        HTTP1_FIELD_COOKIE
        HTTP1_FIELD_SET_COOKIE
        HTTP1_FIELD_AUTHORIZATION
        HTTP1_FIELD_CONTENT_TYPE
        HTTP1_FIELD_CONTENT_ENCODING
        HTTP1_FIELD_CACHE_CONTROL
        HTTP1_FIELD_DATE
        HTTP1_FIELD_EXPIRES
        HTTP1_FIELD_LOCATION
        HTTP1_FIELD_RETRY_AFTER
        HTTP1_FIELD_PRAGMA
        HTTP1_FIELD_RANGE
        HTTP1_FIELD_USER_AGENT
        HTTP1_FIELD_ACCEPT
        HTTP1_FIELD_ACCEPT_ENCODING
        HTTP1_FIELD_REFERER
        HTTP1_FIELD_ORIGIN
        HTTP1_FIELD_SERVER
        HTTP1_FIELD_ETAG
        HTTP1_FIELD_LAST_MODIFIED
        HTTP1_FIELD_STRICT_TRANSPORT_SECURITY
        HTTP1_FIELD_IDS              # how many there are

    enum http1_error_t:
        HTTP1_ERROR_NONE
        HTTP1_ERROR_EMPTY_LINES
        HTTP1_ERROR_LONE_CR
        HTTP1_ERROR_LONE_LF
        HTTP1_ERROR_METHOD
        HTTP1_ERROR_METHOD_LONG
        HTTP1_ERROR_TARGET
        HTTP1_ERROR_TARGET_FORM
        HTTP1_ERROR_TARGET_LONG
        HTTP1_ERROR_USERINFO
        HTTP1_ERROR_VERSION
        HTTP1_ERROR_VERSION_MAJOR
        HTTP1_ERROR_CONNECT
        HTTP1_ERROR_STATUS
        HTTP1_ERROR_NAME
        HTTP1_ERROR_NO_COLON
        HTTP1_ERROR_BLANK_NAME
        HTTP1_ERROR_FOLDED
        HTTP1_ERROR_VALUE
        HTTP1_ERROR_FIELDS
        HTTP1_ERROR_HEAD_LONG
        HTTP1_ERROR_HOST_MISSING
        HTTP1_ERROR_HOST_TWICE
        HTTP1_ERROR_HOST
        HTTP1_ERROR_LENGTH
        HTTP1_ERROR_LENGTH_TWICE
        HTTP1_ERROR_CODING
        HTTP1_ERROR_CODING_UNKNOWN
        HTTP1_ERROR_CODING_OLD
        HTTP1_ERROR_CODING_LENGTH
        HTTP1_ERROR_OPTIONS
        HTTP1_ERROR_CHUNK_SIZE
        HTTP1_ERROR_CHUNK_OVERFLOW
        HTTP1_ERROR_CHUNK_EXTENSION
        HTTP1_ERROR_CHUNK_END
        HTTP1_ERROR_TRAILER_LONG

    ctypedef struct http1_name_t:
        const char *lower
        uint8_t length
        uint8_t flags

    const uint8_t *http1_class
    const uint8_t *http1_hex
    const http1_name_t *http1_names
    uint32_t http1_skim_value(const uint8_t *base, uint32_t floor, uint32_t at, uint32_t end) noexcept
    uint32_t http1_skim_target(const uint8_t *base, uint32_t floor, uint32_t at, uint32_t end) noexcept
    uint32_t http1_skim_colon(const uint8_t *base, uint32_t floor, uint32_t at, uint32_t end) noexcept
    uint32_t http1_skim_cookie(const uint8_t *base, uint32_t floor, uint32_t at, uint32_t end) noexcept
    bint http1_is(const uint8_t *p, const char *lower, uint32_t length) noexcept
    bint http1_same(const uint8_t *a, const uint8_t *b, uint32_t length) noexcept
    uint8_t http1_class_of(const uint8_t *p, uint32_t length, uint8_t *some) noexcept
    uint32_t http1_slot_of(const uint8_t *p, uint32_t length) noexcept
    uint32_t http1_lookup(const uint8_t *base, uint32_t at, uint32_t length, uint32_t end) noexcept
    const char *http1_error_name(uint32_t error) noexcept    # in capitals; NULL: there is no such error
    const char *http1_error_text(uint32_t error) noexcept    # for logs; "" for none
