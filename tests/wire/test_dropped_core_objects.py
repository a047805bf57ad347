# SPDX-License-Identifier: Apache-2.0
"""Objects of the core that are dropped, not closed, go without harm: in any order, and while they are in use."""


def test_the_collector_frees_objects_in_any_order(child):
    assert "done" in child(
        """
        import gc
        from fastlb import _core

        for keep_running in (True, False):
            for _ in range(5):
                core = _core.Core(2)
                core.start()
                pool = _core.CorePool(core, 0, True)
                member = ("127.0.0.1", 9, 1, False, True, None, None, bytes(16), 0)
                pool.add_members([member] * 20)
                pool.set_monitor({
                    "type": "TCP", "delay_s": 1, "timeout_s": 1, "connect_timeout_s": 1, "rise": 1, "fall": 1,
                })
                front = _core.CoreListener(core, True, ["127.0.0.1"], 0)
                front.configure(pool, None, {}, [], [])
                front.open()
                ring = [core, pool, front]
                ring.append(ring)
                if not keep_running:
                    core.stop(0)
                del core, pool, front, ring
                gc.collect()
        print("done")
        """
    )


def test_a_pool_that_is_dropped_while_its_listener_is_open_has_nobody(child, member):
    """Its members leave it: no request goes to one that is no more."""
    one = member()
    assert "200 then 503" in child(
        """
        import gc, sys
        from fastlb import _core
        from fastlb.testing import Client

        core = _core.Core(1)
        core.start()
        front = _core.CoreListener(core, True, ["127.0.0.1"], 0)
        pool = _core.CorePool(core, 0, True)
        pool.add_members([("127.0.0.1", int(sys.argv[1]), 1, False, True, None, None, bytes(16), 0)] * 3)
        front.configure(pool, None, {}, [], [])
        with Client("127.0.0.1", front.open()).connect() as client:
            before = client.request().status
            del pool
            gc.collect()
            print(before, "then", client.request().status)
        front.close()
        core.stop(0)
        """,
        one.port,
    )
