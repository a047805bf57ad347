# SPDX-License-Identifier: Apache-2.0
"""A stop waits for answers under way, and not for what their clients might ask afterwards."""

import threading
import time

import pytest

from fastlb.testing import MemberConn, eventually, request


def refuses(client):
    try:
        client.connect().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it was still in the queue
    return False


@pytest.mark.workers(1)
def test_a_client_whose_answer_was_on_its_way_at_the_stop_does_not_hold_it_up(balance, member):
    """Its answer promised a kept connection; nobody asks on it any more."""
    begun, gate = threading.Event(), threading.Event()

    def answer(conn: MemberConn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        begun.set()
        conn.wait(gate)
        conn.send(b"after")
        conn.read_to_end()

    balancer = balance(member(answer))
    with balancer.client.connect() as conn:
        conn.send(request())
        assert conn.read_exactly(10)
        assert begun.wait(5)
        stopping = threading.Thread(target=balancer.lb.stop, args=(20,))
        stopping.start()
        eventually(lambda: refuses(balancer.client))
        gate.set()
        started = time.monotonic()
        assert conn.read_to_end().endswith(b"firstafter")
        stopping.join(10)
        assert not stopping.is_alive()
        assert time.monotonic() - started < 5
