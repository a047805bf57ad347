# SPDX-License-Identifier: Apache-2.0
"""Counters agree with what clients and members saw."""

from fastlb.testing import eventually, http, in_turn, raw, request, response


def test_listener_counters_agree_with_the_bytes_on_the_wire(balance, member):
    balancer = balance(member())
    with balancer.client.connect() as conn:
        for _ in range(10):
            assert conn.request().status == 200
        stats = balancer.listener.stats
        assert stats.active_connections == 1
        assert stats.requests == 10
        assert stats.responses_2xx == 10
        assert stats.bytes_in == 10 * len(request())
        assert stats.bytes_out == len(conn.received)
    eventually(lambda: balancer.listener.stats.active_connections == 0)
    stats = balancer.lb.stats
    assert stats.total_connections == 1
    assert stats.request_errors == 0


def test_member_counters_agree_with_the_member(balance, member):
    one = member()
    balancer = balance(one)
    with balancer.client.connect() as conn:
        for _ in range(10):
            assert conn.request(method="POST", body=b"x" * 100).status == 200
        # The client has its answer a moment before the exchange is over.
        eventually(lambda: balancer.members[0].stats.active == 0)
        stats = balancer.members[0].stats
        assert stats.sessions == 10
        assert stats.responses_2xx == 10
        assert stats.connects == len(one.connections)
        assert stats.reuses == 10 - len(one.connections)
        assert stats.bytes_in == len(one.received)
        assert stats.bytes_out == 10 * len(response())
        assert stats.connections == len(one.open_connections)


def test_errors_are_counted_where_they_belong(balance, member):
    balancer = balance(member(in_turn(raw(b"nonsense\r\n\r\n"), http())))
    with balancer.client.connect() as conn:
        assert conn.send(b"nonsense\r\n\r\n").read_response().status == 400
    assert balancer.client.request(method="POST", body=b"x").status == 502
    stats = balancer.listener.stats
    assert stats.request_errors == 1
    assert stats.responses_4xx == 1
    assert stats.responses_5xx == 1
    assert balancer.members[0].stats.response_errors == 1


def test_errors_of_our_own_are_counted_by_reason(balance, member):
    balancer = balance(member(raw(b"nonsense\r\n\r\n")))
    for _ in range(2):
        assert balancer.client.get().status == 502
    balancer.members[0].delete()
    assert balancer.client.get().status == 503
    figures = {"member_broken": 2, "no_member": 1}
    assert balancer.listener.stats.refusals == balancer.lb.stats.refusals == figures
    assert balancer.listener.stats.own_answers == 3
    balancer.listener.delete()
    balancer.lb.stop(0)
    assert balancer.lb.stats.refusals == figures


def test_refused_connects_and_the_way_on_are_counted(balance, member):
    balancer = balance(member().refuse(), member())
    for _ in range(4):
        assert balancer.client.get().status == 200
    eventually(lambda: all(one.stats.active == 0 for one in balancer.members))
    dead, alive = (one.stats for one in balancer.members)
    assert dead.connect_errors == dead.retries >= 2
    assert alive.responses_2xx == 4


def test_all_kinds_of_answers_are_counted_by_their_hundred(balance, member):
    statuses = iter([200, 204, 301, 404, 500, 599, 799])
    one = member(
        http(lambda message: response(None if message.target == "/e" else b"", status=next(statuses)))
    )
    balancer = balance(one)
    with balancer.client.connect() as conn:
        for _ in range(7):
            conn.request()
    stats = balancer.listener.stats
    counted = (
        stats.responses_2xx,
        stats.responses_3xx,
        stats.responses_4xx,
        stats.responses_5xx,
        stats.responses_other,
    )
    assert counted == (2, 1, 1, 2, 1)


def test_counters_survive_a_deleted_member_and_listener(balance, member):
    balancer = balance(member())
    assert balancer.client.get().status == 200
    balancer.members[0].delete()
    assert balancer.pool.stats.responses_2xx == 1
    balancer.listener.delete()
    eventually(lambda: balancer.lb.stats.requests == 1)
