# SPDX-License-Identifier: Apache-2.0
"""A stop that waits holds up nobody who looks at figures, or describes something new."""

import threading
import time

from fastlb import _core
from fastlb.testing import Client, Member, eventually, held, request


def refuses(client):
    try:
        client.connect().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it was still in the queue
    return False


def test_a_stop_that_waits_holds_up_no_other_thread():
    gate = threading.Event()
    core = _core.Core(2)
    core.start()
    with Member(held(gate)) as one:
        pool = _core.CorePool(core, 0, True)
        pool.add_members([("127.0.0.1", one.port, 1, False, True, None, None, bytes(16), 0)])
        front = _core.CoreListener(core, True, ["127.0.0.1"], 0)
        front.configure(pool, None, {}, [], [])
        client = Client("127.0.0.1", front.open())
        with client.connect() as conn:
            conn.send(request())
            one.wait_requests(1)
            stopping = threading.Thread(target=core.stop, args=(4.0,))
            stopping.start()
            eventually(lambda: refuses(client))
            began = time.monotonic()
            other = _core.CorePool(core, 0, True)
            assert other.id > pool.id
            assert core.counters()["sessions"] == 1
            assert time.monotonic() - began < 2
            assert stopping.is_alive()
            gate.set()
            assert conn.read_response().status == 200
        stopping.join(5)
        assert not stopping.is_alive()
        pool.close()
