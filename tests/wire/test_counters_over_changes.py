# SPDX-License-Identifier: Apache-2.0
"""Counters belong to objects: no change sets them back, and what outlives its object is counted to the end."""

from fastlb.testing import Client, echo, eventually


def test_no_change_sets_them_back(balance, member):
    one = member()
    balancer = balance(one)
    total = 0

    def count():
        nonlocal total
        assert Client("127.0.0.1", balancer.listener.protocol_port).get().status == 200
        total += 1
        eventually(lambda: balancer.lb.stats.active_connections == 0)
        assert balancer.lb.stats.requests == balancer.listener.stats.requests == total
        assert balancer.pool.stats.sessions == total

    count()
    balancer.listener.admin_state_up = False
    assert balancer.lb.stats.requests == total
    balancer.listener.admin_state_up = True
    count()
    balancer.lb.admin_state_up = False
    balancer.lb.admin_state_up = True
    count()
    balancer.lb.stop(0)
    assert balancer.lb.stats.requests == total
    assert balancer.members[0].stats.sessions == total
    balancer.lb.start()
    count()
    balancer.members[0].update(weight=5)
    balancer.pool.lb_algorithm = "MAGLEV"
    count()
    balancer.members[0].delete()
    assert balancer.members[0].stats.sessions == balancer.pool.stats.sessions == total
    balancer.pool.create_member(one.address, one.port)
    count()


def test_what_is_deleted_stays_in_the_sum(balance, member):
    balancer = balance(member())
    second = balancer.lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=balancer.pool)
    assert balancer.client.get().status == 200
    assert Client("127.0.0.1", second.protocol_port).get().status == 200
    second.delete()
    assert balancer.lb.stats.requests == 2
    assert second.stats.requests == 1
    balancer.lb.stop(0)
    assert balancer.lb.stats.requests == 2


def test_sessions_that_outlive_their_objects_are_counted_to_the_end(balance, member):
    one = member(echo)
    balancer = balance(one, protocol="TCP")
    with balancer.client.connect() as conn:
        conn.send(b"x" * 10).expect(b"x" * 10)
        balancer.members[0].delete()
        balancer.listener.delete()
        conn.send(b"y" * 100).expect(b"y" * 100)
        eventually(lambda: balancer.lb.stats.bytes_out == 110)
        assert balancer.lb.stats.active_connections == 1
        assert balancer.pool.stats.active == 1
        eventually(lambda: balancer.pool.stats.bytes_in == 110)
    eventually(lambda: balancer.lb.stats.active_connections == 0)
    balancer.lb.stop(0)
    assert balancer.lb.stats.bytes_out == balancer.pool.stats.bytes_out == 110
