# SPDX-License-Identifier: Apache-2.0
"""The program of `MemberProcess`: one thread, one epoll, stdlib alone, and it ends with its parent.

    python -I -S origin.py ADDRESS PORT NAME STREAM

It prints its port when it listens. Each request gets NAME as a body, or STREAM bytes made of `block()`.
"""

from __future__ import annotations

import os
import random
import select
import socket
import sys

BLOCK = 1_000_003
"""Bytes of a block: a prime, so that no block begins where a buffer of a round size does."""


def block() -> bytes:
    """The block that streams are made of; the same on every machine."""
    return random.Random(4).randbytes(BLOCK)


class _Stream:
    """What is left of a streamed answer."""

    def __init__(self, head: bytes, length: int) -> None:
        self.head = head
        self.left = length
        self.offset = 0

    def send(self, sock: socket.socket, source: int) -> bool:
        """Send until the kernel is full (False) or all is sent (True)."""
        try:
            while self.head:
                self.head = self.head[sock.send(self.head) :]
            while self.left:
                sent = os.sendfile(sock.fileno(), source, self.offset, min(self.left, BLOCK - self.offset))
                self.left -= sent
                self.offset = (self.offset + sent) % BLOCK
        except BlockingIOError:
            return False
        return True


def serve(address: str, port: int, name: str, stream: int) -> None:
    """Answer until stdin ends, which it does with the parent."""
    listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address, port))
    listening.listen(4096)
    listening.setblocking(False)
    body = name.encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % stream
    source = os.memfd_create("block")
    if stream:
        os.write(source, block())
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    socks: dict[int, socket.socket] = {}
    heads: dict[int, bytes] = {}
    streams: dict[int, _Stream] = {}
    print(listening.getsockname()[1], flush=True)
    while True:
        for number, _ in poll.poll():
            if number == 0:
                return
            if number == listening.fileno():
                try:
                    sock, _ = listening.accept()
                except OSError:
                    continue
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                socks[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            sock = socks[number]
            try:
                if number in streams:
                    if streams[number].send(sock, source):
                        del streams[number]
                        poll.modify(sock, select.EPOLLIN)
                    continue
                data = sock.recv(65536)
                if not data:
                    raise ConnectionResetError
                data = heads.pop(number, b"") + data
                whole, _, rest = data.rpartition(b"\r\n\r\n")
                if rest:
                    heads[number] = rest
                count = whole.count(b"\r\n\r\n") + 1 if whole else 0
                if count and stream:
                    streams[number] = _Stream(head, stream)
                    if streams[number].send(sock, source):
                        del streams[number]
                    else:
                        poll.modify(sock, select.EPOLLOUT)
                elif count:
                    sock.sendall(answer * count)
            except OSError:
                heads.pop(number, None)
                streams.pop(number, None)
                del socks[number]
                sock.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
