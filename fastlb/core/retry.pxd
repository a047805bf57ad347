# SPDX-License-Identifier: Apache-2.0
"""Which requests may be sent again."""
from fastlb.core.context cimport session_t
from fastlb.core.http1 cimport HTTP1_DELETE, HTTP1_GET, HTTP1_HEAD, HTTP1_OPTIONS, HTTP1_PUT, HTTP1_TRACE


cdef inline bint retry_repeatable(const session_t *s) noexcept nogil:
    """May a member get the request though another one may have seen it? If twice is as good as once (RFC 9110 section
    9.2.2) and the whole of it is still here."""
    if s.held == 0:
        return 0
    return (
        s.method == HTTP1_GET or s.method == HTTP1_HEAD or s.method == HTTP1_OPTIONS or s.method == HTTP1_PUT
        or s.method == HTTP1_DELETE or s.method == HTTP1_TRACE)
