# SPDX-License-Identifier: Apache-2.0
"""The limits of requests are fields of the listener, in force from the next request on; refusals count by reason."""

import threading

import pytest

from fastlb.testing import eventually, held, request


def test_a_longer_target_is_414_and_the_limit_may_be_raised(balance, member):
    one = member()
    balancer = balance(one, listener={"request_target_limit": 100})
    assert balancer.client.get("/" + "a" * 99).status == 200
    assert balancer.client.get("/" + "a" * 100).status == 414
    balancer.listener.request_target_limit = 200
    assert balancer.client.get("/" + "a" * 100).status == 200
    assert balancer.listener.stats.refusals == {"target_long": 1}


def test_more_fields_are_431(balance, member):
    one = member()
    balancer = balance(one, listener={"request_field_limit": 10})
    fields = [(f"X-{n}", "v") for n in range(9)]  # and Host
    assert balancer.client.request(fields=fields).status == 200
    assert balancer.client.request(fields=[*fields, ("X-More", "v")]).status == 431
    assert balancer.listener.stats.refusals == {"fields": 1}


def test_a_longer_head_is_431_and_up_to_64_kib_may_be_allowed(balance, member):
    one = member()
    balancer = balance(one, listener={"request_head_limit": 2048})
    assert balancer.client.request(fields=[("X-Long", "v" * 2048)]).status == 431
    balancer.listener.request_head_limit = 65535
    fields = [(f"X-{n}", "v" * 8000) for n in range(8)]
    assert balancer.client.request(fields=fields).status == 200
    assert one.requests[0].get("X-7") == "v" * 8000
    assert balancer.listener.stats.refusals == {"head_long": 1}


def test_a_limit_that_falls_does_not_hurt_a_request_under_way(balance, member):
    gate = threading.Event()
    one = member(held(gate))
    balancer = balance(one)
    with balancer.client.connect() as client:
        client.send(request("/" + "a" * 500))
        one.wait_requests(1)
        balancer.listener.update(request_target_limit=64, request_head_limit=1024, request_field_limit=1)
        gate.set()
        assert client.read_response().status == 200


def test_a_connection_ends_after_so_many_requests(balance, member):
    one = member()
    balancer = balance(one, listener={"requests_per_connection": 3})
    with balancer.client.connect() as client:
        assert [client.request().closes for _ in range(3)] == [False, False, True]
        assert client.ended() == "closed"
    assert len(one.requests) == 3


def test_pipelined_requests_behind_the_last_one_are_not_served(balance, member):
    one = member()
    balancer = balance(one, listener={"requests_per_connection": 2})
    with balancer.client.connect() as client:
        client.send(request("/1") + request("/2") + request("/3"))
        assert [client.read_response().closes for _ in range(2)] == [False, True]
        assert client.ended() == "closed"
    assert one.targets == ["/1", "/2"]


def test_a_long_pipeline_is_answered_in_order_whatever_its_limit(balance, member):
    one = member()
    balancer = balance(one, listener={"pipeline_limit": 1})
    with balancer.client.connect() as client:
        client.send(b"".join(request(f"/{n}") for n in range(50)))
        assert [client.read_response().status for _ in range(50)] == [200] * 50
    assert one.targets == [f"/{n}" for n in range(50)]


def test_a_head_that_trickles_is_408_however_long_data_may_take(balance, member):
    balancer = balance(member(), listener={"timeout_client_head": 200, "timeout_client_data": 50_000})
    with balancer.client.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        answer = client.read_response()
        assert (answer.status, answer.closes) == (408, True)
    assert balancer.listener.stats.refusals == {"head_timeout": 1}


@pytest.mark.parametrize("shorter", ["timeout_client_head", "timeout_client_data"])
def test_a_connection_without_a_byte_has_the_time_of_a_head(balance, member, shorter):
    balancer = balance(member(), listener={shorter: 200})
    with balancer.client.connect(timeout=5) as client:
        assert not client.pending(0.1)
        assert client.read_response().status == 408
    assert balancer.listener.stats.refusals == {"head_timeout": 1}


def test_an_idle_connection_closes_without_a_word_after_its_own_time(balance, member):
    balancer = balance(member(), listener={"timeout_client_idle": 100, "timeout_client_data": 50_000})
    with balancer.client.connect() as client:
        assert client.request().status == 200
        assert client.read_to_end() == b""
    assert balancer.listener.stats.refusals == {}


def test_refusals_are_counted_by_reason_over_a_stop_and_a_start(balance, member):
    balancer = balance(member())
    for message in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /\r\n\r\n",
    ) * 2:
        with balancer.client.raw(message) as client:
            assert client.read_response().status == 400
    balancer.pool.admin_state_up = False
    assert balancer.client.get("/").status == 503
    expected = {"host_missing": 2, "host_twice": 2, "target": 2, "no_member": 1}
    assert dict(balancer.listener.stats.refusals) == expected
    balancer.lb.stop(0)
    balancer.lb.start()
    assert dict(balancer.listener.stats.refusals) == expected
    eventually(lambda: dict(balancer.lb.stats.refusals) == expected)
