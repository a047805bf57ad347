# SPDX-License-Identifier: Apache-2.0
"""Outlier detection: members that fail clients are left out for a while, and come back."""

import collections
import threading

import pytest

from fastlb.testing import (
    FullMember,
    Load,
    MemberConn,
    echo,
    eventually,
    greet,
    held,
    http,
    named,
    raw,
    request,
    reset_at_once,
    response,
    say_nothing,
)

LONG = {"base_ejection_time": 600, "max_ejection_time": 600, "max_ejection_percent": 50}
QUICK = {"base_ejection_time": 0.5, "max_ejection_percent": 50}
THREE = {"consecutive_5xx": 3, "consecutive_connect_failures": 3}


class Switch:
    """A member script whose status the test chooses; the body is `bad`."""

    def __init__(self, status=500):
        self.status = status

    def __call__(self, conn: MemberConn):
        http(lambda message: response(b"bad", status=self.status))(conn)


def detecting(**more):
    return {"outlier_detection": THREE | LONG | more}


def ask_until_ejected(balancer, index=0):
    """Requests one after the other until the member is ejected; how many it was sent."""
    one = balancer.members[index]
    return eventually(lambda: balancer.client.get() and one.ejected and one.stats.sessions)


def test_member_that_answers_500_is_left_out_and_comes_back(balance, member):
    switch = Switch()
    balancer = balance(member(switch), member(named("good")), pool={"outlier_detection": THREE | QUICK})
    one = balancer.members[0]
    assert ask_until_ejected(balancer) >= 3
    switch.status = 200
    eventually(lambda: not one.ejected)
    assert collections.Counter(balancer.client.bodies(20)) == {b"bad": 10, b"good": 10}
    assert one.stats.ejections == 1
    assert balancer.pool.stats.ejections == 1


def test_ejected_member_gets_no_new_request(balance, member):
    balancer = balance(member(Switch()), member(named("good")), pool=detecting())
    ask_until_ejected(balancer)
    asked = balancer.members[0].stats.sessions
    assert set(balancer.client.bodies(30)) == {b"good"}
    assert balancer.members[0].stats.sessions == asked


@pytest.mark.parametrize(
    "script",
    [
        Switch(502),
        Switch(503),
        Switch(504),
        Switch(599),
        raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        raw(b""),
        reset_at_once,
    ],
    ids=["502", "503", "504", "599", "not-http", "malformed", "closes", "resets"],
)
def test_every_kind_of_failed_answer_counts(balance, member, script):
    balancer = balance(member(script), member(named("good")), pool=detecting())
    ask_until_ejected(balancer)
    assert set(balancer.client.bodies(10)) == {b"good"}


CUT = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: unasked\r\n\r\n",
]


@pytest.mark.parametrize("answer", CUT, ids=["length", "chunked", "unasked-upgrade"])
def test_answers_that_begin_well_and_break_off_add_up(balance, member, answer):
    balancer = balance(member(raw(answer)), member(named("good")), pool=detecting())
    one = balancer.members[0]

    def ejected():
        with balancer.client.connect() as conn:
            conn.send(request("/", fields=[("Connection", "close")]))
            conn.read_to_end()
        return one.ejected

    eventually(ejected)
    assert set(balancer.client.bodies(10)) == {b"good"}


def test_an_error_that_breaks_off_counts_once(balance, member):
    error = b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nhalf"
    balancer = balance(member(raw(error)), pool=detecting())
    one = balancer.members[0]
    for _ in range(2):
        with balancer.client.connect() as conn:
            conn.send(request("/"))
            conn.read_to_end()
    eventually(lambda: one.stats.member_aborts == 2 and one.stats.active == 0)
    assert not one.ejected


def test_member_that_does_not_answer_in_time_is_left_out(balance, member):
    balancer = balance(
        member(say_nothing),
        member(named("good")),
        pool=detecting(consecutive_5xx=2),
        listener={"timeout_member_data": 100},
    )
    ask_until_ejected(balancer)
    assert set(balancer.client.bodies(10)) == {b"good"}


@pytest.mark.parametrize("status", [404, 429, 499])
def test_other_answers_do_not_count(balance, member, status):
    balancer = balance(member(Switch(status)), pool=detecting(consecutive_5xx=1))
    for _ in range(20):
        assert balancer.client.get().status == status
    assert not balancer.members[0].ejected
    assert balancer.members[0].stats.ejections == 0


def test_failures_that_are_not_in_a_row_do_not_count(balance, member):
    statuses = iter([500, 500, 200] * 10)
    one = member(http(lambda message: response(b"x", status=next(statuses))))
    balancer = balance(one, pool=detecting())
    for _ in range(30):
        balancer.client.get()
    assert balancer.members[0].stats.ejections == 0


def test_without_outlier_detection_nobody_is_left_out(balance, member):
    balancer = balance(member(Switch()), member(named("good")))
    assert collections.Counter(balancer.client.bodies(40)) == {b"bad": 20, b"good": 20}
    assert not balancer.members[0].ejected


def test_no_more_than_a_share_of_the_members_is_left_out(balance, member):
    bad = [member(Switch()) for _ in range(5)]
    balancer = balance(*bad, pool=detecting(max_ejection_percent=40))
    eventually(
        lambda: balancer.client.get().status == 500 and sum(one.ejected for one in balancer.members) == 2
    )
    for _ in range(60):
        balancer.client.get()
    assert sum(one.ejected for one in balancer.members) == 2
    assert balancer.pool.stats.ejections == 2


def test_the_only_member_goes_on_serving_while_it_is_ejected(balance, member):
    balancer = balance(member(Switch()), pool=detecting())
    ask_until_ejected(balancer)
    assert balancer.client.get().body == b"bad"


@pytest.mark.parametrize("protocol", ["TCP", "HTTP"])
def test_member_that_refuses_connections_is_left_out_and_comes_back(balance, member, protocol):
    """Without a health monitor, and no client sees it."""
    script = named("one") if protocol == "HTTP" else greet(b"one")
    one = member(script).refuse()
    other = member(script)
    balancer = balance(one, other, protocol=protocol, pool={"outlier_detection": THREE | QUICK})

    def ask():
        if protocol == "HTTP":
            return balancer.client.get().body
        with balancer.client.connect() as conn:
            return conn.read_exactly(3)

    refusing = balancer.members[0]
    eventually(lambda: ask() == b"one" and refusing.ejected)
    failed = refusing.stats.connect_errors
    assert failed >= 3
    one.resume()
    eventually(lambda: not refusing.ejected)
    served = refusing.stats.sessions
    for _ in range(10):
        assert ask() == b"one"
    assert refusing.stats.connect_errors == failed
    assert refusing.stats.sessions == served + 5


def test_ejected_tcp_member_gets_no_connection(balance, member):
    one = member(greet(b"x")).refuse()
    balancer = balance(one, member(greet(b"x")), protocol="TCP", pool=detecting())

    def ask():
        with balancer.client.connect() as conn:
            return conn.read_exactly(1)

    refusing = balancer.members[0]
    eventually(lambda: ask() and refusing.ejected)
    tried = refusing.stats.connects
    for _ in range(20):
        ask()
    assert refusing.stats.connects == tried


def test_connect_that_takes_too_long_counts(balance, member):
    with FullMember() as full:
        balancer = balance(
            full,
            member(greet(b"x")),
            protocol="TCP",
            pool=detecting(consecutive_connect_failures=1),
            listener={"timeout_member_connect": 100},
        )
        conns = [balancer.client.connect() for _ in range(4)]
        for conn in conns:
            assert conn.read_exactly(1) == b"x"
            conn.close()
        eventually(lambda: balancer.members[0].ejected)


def test_one_connection_that_is_made_forgives_those_that_failed(balance, member):
    one = member(greet(b"x"))
    balancer = balance(one, member(greet(b"x")), protocol="TCP", pool=detecting())

    def ask():
        with balancer.client.connect() as conn:
            assert conn.read_exactly(1) == b"x"

    for _ in range(5):
        one.refuse()
        for _ in range(2):
            ask()
        one.resume()
        for _ in range(2):
            ask()
    assert balancer.members[0].stats.connect_errors >= 5
    assert not balancer.members[0].ejected


def test_turned_off_live_it_returns_everybody_at_once(balance, member):
    balancer = balance(member(Switch()), member(named("good")), pool=detecting())
    ask_until_ejected(balancer)
    balancer.pool.update(outlier_detection=None)
    assert not balancer.members[0].ejected
    assert collections.Counter(balancer.client.bodies(20)) == {b"bad": 10, b"good": 10}
    balancer.pool.update(outlier_detection=THREE | LONG)
    ask_until_ejected(balancer)
    assert balancer.members[0].stats.ejections == 2


def test_turned_on_live_it_begins_to_count(balance, member):
    balancer = balance(member(Switch()), member(named("good")))
    assert collections.Counter(balancer.client.bodies(20)) == {b"bad": 10, b"good": 10}
    balancer.pool.update(outlier_detection=THREE | LONG)
    ask_until_ejected(balancer)


def test_statuses_follow_and_are_told(balance, member):
    switch = Switch()
    balancer = balance(member(switch), member(named("good")), pool={"outlier_detection": THREE | QUICK})
    one = balancer.members[0]
    seen = []
    balancer.lb.on_status(lambda event: seen.append((event.object, str(event.old), str(event.new))))
    assert one.operating_status == "NO_MONITOR"
    ask_until_ejected(balancer)
    switch.status = 200
    eventually(lambda: (balancer.pool, "DEGRADED", "ONLINE") in seen)
    mine = [(old, new) for changed, old, new in seen if changed is one]
    assert mine[:2] == [("NO_MONITOR", "ERROR"), ("ERROR", "NO_MONITOR")]
    assert (balancer.pool, "ONLINE", "DEGRADED") in seen
    assert (balancer.lb, "ONLINE", "DEGRADED") in seen


def test_monitored_member_is_in_error_although_its_probes_pass(balance, member):
    balancer = balance(
        member(Switch()),
        member(named("good")),
        pool=detecting(),
        monitor={"type": "TCP", "delay": 0.05, "timeout": 1, "max_retries": 1, "max_retries_down": 1},
    )
    one = balancer.members[0]
    eventually(lambda: one.checked)
    ask_until_ejected(balancer)
    assert one.operating_status == "ERROR"
    assert balancer.pool.operating_status == "DEGRADED"
    assert one.checked
    balancer.pool.update(outlier_detection=None)
    assert one.operating_status == "ONLINE"


def test_ejected_member_can_be_deleted_and_made_again(balance, member):
    peer = member(Switch())
    balancer = balance(peer, member(named("good")), pool=detecting())
    for _ in range(3):
        ask_until_ejected(balancer)
        balancer.members.pop(0).delete()
        assert set(balancer.client.bodies(4)) == {b"good"}
        balancer.members.insert(0, balancer.add(peer))
        balancer.members.pop()


def test_stopped_and_started_everybody_is_in_again(balance, member):
    balancer = balance(member(Switch()), member(named("good")), pool=detecting())
    ask_until_ejected(balancer)
    balancer.lb.stop()
    assert not balancer.members[0].ejected
    balancer.lb.start()
    balancer.client.port = balancer.listener.protocol_port
    assert collections.Counter(balancer.client.bodies(4)) == {b"bad": 2, b"good": 2}


def test_answers_under_way_are_finished_by_an_ejected_member(balance, member):
    gate = threading.Event()
    slow = held(gate, response(b"whole"))

    def script(conn):
        (slow if conn.index == 0 else Switch())(conn)

    balancer = balance(member(script), member(named("good")), pool=detecting())
    with balancer.client.connect() as conn:
        conn.send(request())
        if not eventually(lambda: balancer.members[0].stats.active or conn.pending()) or conn.pending():
            conn.read_response()
            conn.send(request())
        eventually(lambda: balancer.members[0].stats.active == 1)
        ask_until_ejected(balancer)
        gate.set()
        assert conn.read_response().body == b"whole"


def test_tcp_sessions_that_end_badly_do_not_count(balance, member):
    """Only connections that cannot be made speak against a TCP member."""

    def resets(conn: MemberConn):
        conn.recv()
        conn.reset()

    balancer = balance(member(resets), protocol="TCP", pool=detecting())
    for _ in range(10):
        with balancer.client.raw(b"x") as conn:
            assert conn.wait_closed()
    assert not balancer.members[0].ejected


def test_echo_survives_an_ejection_of_its_member(balance, member):
    one = member(echo)
    balancer = balance(one, member(echo), protocol="TCP", pool=detecting(), algorithm="LEAST_CONNECTIONS")
    with balancer.client.connect() as first, balancer.client.connect() as second:
        for conn in (first, second):
            conn.send(b"a").expect(b"a")
        one.refuse()

        def ask():
            with balancer.client.connect() as conn:
                conn.send(b"b").expect(b"b")
            return True

        eventually(lambda: ask() and balancer.members[0].ejected)
        for conn in (first, second):
            conn.send(b"c").expect(b"c")


def test_clients_bound_to_a_member_go_elsewhere_while_it_is_ejected(balance, member):
    switch = Switch(200)
    balancer = balance(
        member(switch),
        member(named("good")),
        pool=detecting() | {"session_persistence": {"type": "HTTP_COOKIE"}},
    )
    with balancer.client.connect() as conn:
        answer = conn.request()
        while answer.body != b"bad":
            answer = conn.request()
        cookie = [("Cookie", answer.all("Set-Cookie")[0].split(";")[0])]
        assert {conn.request(fields=cookie).body for _ in range(10)} == {b"bad"}
        switch.status = 500
        eventually(lambda: conn.request(fields=cookie) and balancer.members[0].ejected)
        assert {conn.request(fields=cookie).body for _ in range(10)} == {b"good"}


def test_answers_that_are_asked_of_another_member_count_too(balance, member):
    balancer = balance(
        member(Switch(503)), member(named("good")), pool=detecting() | {"retry": {"retry_on": ["503"]}}
    )
    eventually(lambda: balancer.client.get().body == b"good" and balancer.members[0].ejected)
    assert balancer.members[0].stats.sessions >= 3


def test_ejections_and_changes_under_load_fail_no_request(balance, member):
    bad = member(Switch(503)), member(reset_at_once)
    balancer = balance(
        member(named("good")),
        member(named("fine")),
        pool={
            "outlier_detection": {
                "consecutive_5xx": 2,
                "base_ejection_time": 0.02,
                "max_ejection_percent": 50,
            },
            "retry": {"retry_on": ["connect-failure", "reset", "502", "503"]},
            "slow_start": 0.05,
        },
    )
    made = [balancer.add(peer) for peer in bad]
    pool = balancer.pool
    with Load(balancer.client, clients=4) as load:
        for turn in range(30):
            load.wait_requests(20)
            pool.update(outlier_detection=None if turn % 5 == 4 else {"consecutive_5xx": 2 + turn % 2})
            made[turn % 2].delete()
            made[turn % 2] = balancer.add(bad[turn % 2])
            pool.update(lb_algorithm=["ROUND_ROBIN", "LEAST_CONNECTIONS", "MAGLEV", "PEAK_EWMA"][turn % 4])
    assert load.failures == []
    assert pool.stats.ejections > 0
