# SPDX-License-Identifier: Apache-2.0
"""The words of Octavia's API as enums. Each member equals its own string: `Protocol.HTTP == "HTTP"`."""

from enum import StrEnum


class Protocol(StrEnum):
    """What a listener takes from clients, or what a pool speaks to its members."""

    TCP = "TCP"
    HTTP = "HTTP"
    HTTPS = "HTTPS"
    """TLS that passes through unread."""
    TERMINATED_HTTPS = "TERMINATED_HTTPS"
    """Listeners only: TLS ended here."""
    PROXY = "PROXY"
    """Pools only: a byte stream after a PROXY protocol v1 header."""
    PROXYV2 = "PROXYV2"
    """Pools only: a byte stream after a PROXY protocol v2 header."""
    UDP = "UDP"
    SCTP = "SCTP"
    PROMETHEUS = "PROMETHEUS"
    """Listeners only: answers with metrics."""


class Algorithm(StrEnum):
    """How a pool chooses the member for a new session."""

    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_CONNECTIONS = "LEAST_CONNECTIONS"
    SOURCE_IP = "SOURCE_IP"
    SOURCE_IP_PORT = "SOURCE_IP_PORT"
    RANDOM_TWO_CHOICES = "RANDOM_TWO_CHOICES"
    """Ours: the less busy of two members drawn at random."""
    PEAK_EWMA = "PEAK_EWMA"
    """Ours: the quicker of two members drawn at random, by decayed latency."""
    MAGLEV = "MAGLEV"
    """Ours: consistent hashing of the client's address with the same table on every node."""


class MonitorType(StrEnum):
    """How a health monitor tests a member."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    PING = "PING"
    TCP = "TCP"
    TLS_HELLO = "TLS-HELLO"
    UDP_CONNECT = "UDP-CONNECT"
    SCTP = "SCTP"


class HttpMethod(StrEnum):
    """The request method of an HTTP health monitor."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    TRACE = "TRACE"
    OPTIONS = "OPTIONS"
    CONNECT = "CONNECT"
    PATCH = "PATCH"


class PersistenceType(StrEnum):
    """What ties a client to its member."""

    SOURCE_IP = "SOURCE_IP"
    HTTP_COOKIE = "HTTP_COOKIE"
    APP_COOKIE = "APP_COOKIE"


class RetryOn(StrEnum):
    """What makes a pool try another member."""

    CONNECT_FAILURE = "connect-failure"
    RESET = "reset"
    """The connection broke before a byte of the answer."""
    STATUS_502 = "502"
    STATUS_503 = "503"
    STATUS_504 = "504"


class L7PolicyAction(StrEnum):
    """What becomes of a request that an L7 policy matches."""

    REJECT = "REJECT"
    """403."""
    REDIRECT_TO_URL = "REDIRECT_TO_URL"
    """A redirect to the URL as it stands."""
    REDIRECT_TO_POOL = "REDIRECT_TO_POOL"
    """To the members of another pool."""
    REDIRECT_PREFIX = "REDIRECT_PREFIX"
    """A redirect to the request's path and query behind a prefix."""


class L7RuleType(StrEnum):
    """What of a request an L7 rule looks at."""

    HOST_NAME = "HOST_NAME"
    """The Host header as sent, port included; letters match in any case."""
    PATH = "PATH"
    """The path without the query, not decoded."""
    FILE_TYPE = "FILE_TYPE"
    """The end of the path."""
    HEADER = "HEADER"
    """Each value, between commas, of each header with the key's name."""
    COOKIE = "COOKIE"
    """The value of the cookie with the key's name."""
    SSL_CONN_HAS_CERT = "SSL_CONN_HAS_CERT"
    SSL_VERIFY_RESULT = "SSL_VERIFY_RESULT"
    SSL_DN_FIELD = "SSL_DN_FIELD"


class L7CompareType(StrEnum):
    """How an L7 rule compares what it looks at with its value."""

    REGEX = "REGEX"
    """A PCRE2 regular expression, found anywhere."""
    STARTS_WITH = "STARTS_WITH"
    ENDS_WITH = "ENDS_WITH"
    CONTAINS = "CONTAINS"
    EQUAL_TO = "EQUAL_TO"


class ClientAuthentication(StrEnum):
    """Whether a TLS listener asks for client certificates."""

    NONE = "NONE"
    OPTIONAL = "OPTIONAL"
    MANDATORY = "MANDATORY"


class TlsVersion(StrEnum):
    """A version of TLS, as Octavia spells it."""

    SSLV3 = "SSLv3"
    TLSV1 = "TLSv1"
    TLSV1_1 = "TLSv1.1"
    TLSV1_2 = "TLSv1.2"
    TLSV1_3 = "TLSv1.3"


class AlpnProtocol(StrEnum):
    """A protocol offered by ALPN."""

    H2 = "h2"
    HTTP_1_1 = "http/1.1"
    HTTP_1_0 = "http/1.0"


class OperatingStatus(StrEnum):
    """What is observed of an object."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    DEGRADED = "DEGRADED"
    ERROR = "ERROR"
    NO_MONITOR = "NO_MONITOR"
    DRAINING = "DRAINING"


class ProvisioningStatus(StrEnum):
    """Whether the data plane has what was asked for."""

    PENDING_CREATE = "PENDING_CREATE"
    """Described, and not started (or stopped again)."""
    ACTIVE = "ACTIVE"
    PENDING_UPDATE = "PENDING_UPDATE"
    PENDING_DELETE = "PENDING_DELETE"
    ERROR = "ERROR"
    DELETED = "DELETED"
