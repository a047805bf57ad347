# SPDX-License-Identifier: Apache-2.0
"""Questions to the kernel over netlink: what no system call of its own answers, and any user may ask."""

import os
import socket
import struct

ROUTE = 0
"""Addresses and routes (rtnetlink(7))."""
SOCK_DIAG = 4
"""All sockets of this network namespace (sock_diag(7))."""

REQUEST = 0x1
DUMP = 0x300

_HEADER = struct.Struct("=IHHII")
_ERROR = 2
_DONE = 3
_PATIENCE_S = 5.0


def ask(protocol: int, kind: int, body: bytes, *, dump: bool = False) -> list[bytes]:
    """The bodies of the answers to one question; dump: all there are. Raises OSError."""
    flags = REQUEST | DUMP if dump else REQUEST
    answers: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as kernel:
        kernel.settimeout(_PATIENCE_S)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body)
        while True:
            parcel = kernel.recv(1 << 18)
            at = 0
            while at < len(parcel):
                length, what, *_ = _HEADER.unpack_from(parcel, at)
                content = parcel[at + _HEADER.size : at + length]
                # Messages start at multiples of four.
                at += length + 3 & ~3
                if what == _ERROR:
                    (number,) = struct.unpack_from("=i", content)
                    raise OSError(-number, os.strerror(-number))
                if what == _DONE:
                    return answers
                answers.append(content)
            if not dump:
                return answers
