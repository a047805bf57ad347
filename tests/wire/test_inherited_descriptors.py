# SPDX-License-Identifier: Apache-2.0
"""A child process has a copy of every descriptor between fork and exec, and epoll forgets a socket only with its
last copy: what we closed may go on reporting events. (A stale one that is used is seen by AddressSanitizer.)"""

import contextlib
import os
import socket
import stat

import pytest

from fastlb.testing import eventually


@contextlib.contextmanager
def copies_of_sockets_on(port):
    """What a child that was forked now, and has not come to its exec, would hold of a listener's connections."""
    with contextlib.ExitStack() as stack:
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the folder's own descriptor has gone
                if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    copy = stack.enter_context(socket.socket(fileno=os.dup(int(name))))
                    if copy.family == socket.AF_UNIX or copy.getsockname()[1] != port:
                        copy.close()
        yield


@pytest.mark.workers(1)
def test_events_of_a_closed_connection_do_not_reach_the_next_one(balance, member):
    balancer = balance(member())
    with balancer.client.connect() as old, copies_of_sockets_on(balancer.listener.protocol_port):
        assert old.request(fields=[("Connection", "close")]).status == 200
        eventually(lambda: balancer.lb.stats.active_connections == 0)
        # The memory of a closed session is the first to be used again.
        with balancer.client.connect() as new:
            assert new.request().status == 200
            old.send(b"more")
            old.reset()
            for _ in range(20):
                assert new.request().status == 200
            assert new.still_open()
