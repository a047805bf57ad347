# SPDX-License-Identifier: Apache-2.0
"""TCP clients whose every packet is the test's, behind a TUN device: they can stop in the middle of a handshake.

For programs in a network namespace (fixture `namespace`).
"""

import fcntl
import os
import select
import socket
import struct
import time

SET_INTERFACE = 0x400454CA
TUN_WITHOUT_HEADER = 0x1001
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Tun:
    """A device `tun0`, still without an address; what the kernel sends into it is read here."""

    def __init__(self) -> None:
        self.fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.fd, SET_INTERFACE, struct.pack("16sH22x", b"tun0", TUN_WITHOUT_HEADER))
        self.clients: dict[int, Client] = {}

    def packets(self, timeout: float) -> None:
        """Give each client what has come for it, waiting so long for the first."""
        while select.select([self.fd], [], [], timeout)[0]:
            packet = os.read(self.fd, 65536)
            timeout = 0
            if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
                continue
            segment = packet[(packet[0] & 15) * 4 :]
            _, port, sequence, _, offset, flags = struct.unpack_from("!HHIIBB", segment)
            if port in self.clients:
                self.clients[port].take(sequence, flags, segment[(offset >> 4) * 4 :])


class Client:
    """One TCP connection that is made by hand."""

    def __init__(self, tun: Tun, port: int, server: tuple[str, int], address: str = "10.9.0.2") -> None:
        self.tun = tun
        self.address, self.port, self.server = address, port, server
        self.sequence, self.expected = 1000 * port, 0
        self.flags = 0
        self.data = b""
        tun.clients[port] = self

    def send(self, flags: int, data: bytes = b"") -> None:
        ends = socket.inet_aton(self.address) + socket.inet_aton(self.server[0])
        head = struct.pack(
            "!HHIIBBHHH", self.port, self.server[1], self.sequence, self.expected, 0x50, flags, 65535, 0, 0
        )
        pseudo = ends + struct.pack("!HH", socket.IPPROTO_TCP, len(head) + len(data))
        segment = head[:16] + struct.pack("!H", checksum(pseudo + head + data)) + head[18:] + data
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, socket.IPPROTO_TCP, 0)
        ip = ip[:10] + struct.pack("!H", checksum(ip + ends)) + ends
        os.write(self.tun.fd, ip + segment)
        self.sequence += len(data) + bool(flags & SYN) + bool(flags & FIN)

    def take(self, sequence: int, flags: int, data: bytes) -> None:
        self.flags |= flags
        if flags & SYN:
            self.expected = sequence + 1
        elif sequence == self.expected:
            self.data += data
            self.expected += len(data) + bool(flags & FIN)
            if data or flags & FIN:
                self.send(ACK)

    def knock(self) -> bool:
        """The first two packets of a handshake. Was there an answer, and a good one?"""
        self.send(SYN)
        return self.hear(SYN)

    def hear(self, flag: int, timeout: float = 1.0) -> bool:
        """Wait for a packet with this flag, or a reset."""
        if not self.flags & (flag | RST):
            self.tun.packets(timeout)
        return self.flags & (flag | RST) == flag

    def ask(self, request: bytes) -> bytes:
        """The handshake's last packet, with the request right behind it; the answer up to its end, or b""."""
        self.send(ACK)
        self.send(PSH | ACK, request)
        deadline = time.monotonic() + 5
        while not self.flags & (FIN | RST) and time.monotonic() < deadline:
            self.tun.packets(0.1)
        return self.data if self.flags & FIN and not self.flags & RST else b""
