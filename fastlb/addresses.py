# SPDX-License-Identifier: Apache-2.0
"""Whether an address is on this machine now."""

import errno
import socket
import struct

from fastlb import netlink

_GET_ROUTE = 26
_DESTINATION = 1
_LOCAL = 2
# No route; one that rejects, prohibits or drops; no such address family on this machine.
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP}


def is_here(address: str) -> bool:
    """Does this machine (this network namespace) take what is sent to this literal address? One question to the
    kernel, some microseconds. The unspecified addresses are always here. Raises ValueError, OSError.
    """
    # Not by a bind, which succeeds for every address where net.ipv4.ip_nonlocal_bind is on, as keepalived wants it; and
    # not by a list of addresses, which names one of 127.0.0.0/8. A packet to an address that is here has a local route.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        packed = socket.inet_pton(family, address)
    except OSError:
        raise ValueError(f"{address!r}: must be a literal IPv4 or IPv6 address") from None
    if not any(packed):
        return True
    header = struct.pack("=8BI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    destination = struct.pack("=HH", 4 + len(packed), _DESTINATION) + packed
    try:
        (route,) = netlink.ask(netlink.ROUTE, _GET_ROUTE, header + destination)
    except OSError as error:
        if error.errno in _NO_WAY:
            return False
        raise
    kind: int = route[7]
    return kind == _LOCAL
