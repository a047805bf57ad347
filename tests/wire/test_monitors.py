# SPDX-License-Identifier: Apache-2.0
"""Health monitors: what a probe sends, what counts as healthy, and when a member goes and comes back."""

import threading

import pytest

from fastlb.testing import MemberConn, eventually, held, http, named, response, say_nothing

QUICK = {"delay": 0.05, "timeout": 0.5, "max_retries": 1, "max_retries_down": 1}


class Switch:
    """A member script whose status line the test chooses."""

    def __init__(self, status=200):
        self.status = status

    def __call__(self, conn: MemberConn):
        http(lambda message: response(b"x", status=self.status))(conn)


def test_an_http_member_goes_and_comes_back_by_its_status(balance, member):
    switch = Switch()
    balancer = balance(
        member(switch), member(named("other")), monitor={"type": "HTTP", "url_path": "/health", **QUICK}
    )
    one = balancer.members[0]
    eventually(lambda: one.checked)
    assert one.operating_status == "ONLINE"
    for _ in range(3):
        switch.status = 500
        one.wait_for(operating_status="ERROR", timeout=5)
        assert set(balancer.client.bodies(6)) == {b"other"}
        switch.status = 200
        one.wait_for(operating_status="ONLINE", timeout=5)
        assert set(balancer.client.bodies(6)) == {b"other", b"x"}


def test_a_probe_is_http_1_0_without_a_host(balance, member):
    one = member()
    balance(one, monitor={"type": "HTTP", "url_path": "/health?deep=1", **QUICK})
    asked = one.wait_requests(1)[0]
    assert asked.raw_head.startswith(b"GET /health?deep=1 HTTP/1.0\r\n")
    assert "Host" not in asked
    assert asked.connection == 0


def test_a_probe_of_http_1_1_names_the_domain_and_closes(balance, member):
    one = member()
    balance(
        one,
        monitor={
            "type": "HTTP",
            "http_method": "HEAD",
            "http_version": 1.1,
            "domain_name": "shop.example",
            **QUICK,
        },
    )
    asked = one.wait_requests(1)[0]
    assert asked.raw_head.startswith(b"HEAD / HTTP/1.1\r\n")
    assert asked.get("Host") == "shop.example"
    assert asked.tokens("Connection") == ["close"]


@pytest.mark.parametrize(
    ("expected", "status", "healthy"),
    [
        ("200", 200, True),
        ("200", 204, False),
        ("200, 204", 204, True),
        ("200-204", 203, True),
        ("200-204", 205, False),
        ("404", 404, True),
    ],
)
def test_expected_codes_decide(balance, member, expected, status, healthy):
    switch = Switch(500)
    one = member(switch)
    balancer = balance(one, monitor={"type": "HTTP", "expected_codes": expected, **QUICK})
    balancer.members[0].wait_for(operating_status="ERROR", timeout=5)
    switch.status = status
    if healthy:
        balancer.members[0].wait_for(operating_status="ONLINE", timeout=5)
    else:
        one.wait_requests(len(one.requests) + 3)
        assert balancer.members[0].operating_status == "ERROR"


def test_one_failure_takes_a_new_member_out_and_later_it_takes_as_many_as_said(balance, member):
    switch = Switch(500)
    one = member(switch)
    monitor = {"type": "HTTP", "delay": 0.05, "timeout": 0.5, "max_retries": 2, "max_retries_down": 3}
    balancer = balance(one, monitor=monitor)
    watched = balancer.members[0]
    watched.wait_for(operating_status="ERROR", timeout=5)
    assert len(one.heads) <= 2
    switch.status = 200
    watched.wait_for(operating_status="ONLINE", timeout=5)
    seen = len(one.requests)
    switch.status = 500
    watched.wait_for(operating_status="ERROR", timeout=5)
    assert 3 <= len(one.requests) - seen <= 5


@pytest.mark.parametrize("kind", ["HTTP", "TCP"])
def test_a_refusing_member_is_an_error_and_comes_back(balance, member, kind):
    one = member()
    balancer = balance(one, monitor={"type": kind, **QUICK})
    for _ in range(2):
        one.refuse()
        balancer.lb.wait_for(operating_status="ERROR", timeout=5)
        assert balancer.client.get().status == 503
        one.resume()
        balancer.lb.wait_for(operating_status="ONLINE", timeout=5)
        assert balancer.client.get().status == 200


def test_a_silent_member_is_an_error_by_http_and_healthy_by_tcp(balance, member):
    silent = member(say_nothing)
    by_http = balance(silent, monitor={"type": "HTTP", **QUICK, "timeout": 0.2})
    by_tcp = balance(silent, monitor={"type": "TCP", **QUICK})
    by_http.members[0].wait_for(operating_status="ERROR", timeout=5)
    eventually(lambda: by_tcp.members[0].checked)
    assert by_tcp.members[0].operating_status == "ONLINE"


@pytest.mark.parametrize("junk", [b"hello", b"HTTP/1.1 2000 OK\r\n\r\n", b"", b"SSH-2.0-OpenSSH\r\n"])
def test_a_member_that_does_not_speak_http_is_an_error(balance, member, junk):
    def script(conn: MemberConn):
        conn.read_request()
        conn.send(junk)

    balancer = balance(member(script), monitor={"type": "HTTP", **QUICK})
    balancer.members[0].wait_for(operating_status="ERROR", timeout=5)


def test_an_answer_in_pieces_counts(balance, member):
    def script(conn: MemberConn):
        conn.read_request()
        conn.send_slowly(response(b"x" * 50))

    balancer = balance(member(script), monitor={"type": "HTTP", **QUICK})
    eventually(lambda: balancer.members[0].checked)
    assert balancer.members[0].operating_status == "ONLINE"


def test_another_address_and_port_can_be_probed(balance, member):
    work, health = member(named("work")), member(Switch(500), address="127.0.0.9")
    balancer = balance(
        work,
        options=[{"monitor_address": "127.0.0.9", "monitor_port": health.port}],
        monitor={"type": "HTTP", **QUICK},
    )
    balancer.members[0].wait_for(operating_status="ERROR", timeout=5)
    health.script.status = 200
    balancer.members[0].wait_for(operating_status="ONLINE", timeout=5)
    assert balancer.client.get().body == b"work"
    assert len(work.requests) == 1


def test_a_draining_member_is_still_probed(balance, member):
    one = member()
    balancer = balance(one, member(), monitor={"type": "TCP", **QUICK})
    drained = balancer.members[0]
    drained.weight = 0
    drained.wait_for(operating_status="DRAINING", timeout=5)
    one.refuse()
    drained.wait_for(operating_status="ERROR", timeout=5)
    one.resume()
    drained.wait_for(operating_status="DRAINING", timeout=5)


def test_backups_take_over_when_the_primary_dies_and_step_back(balance, member):
    primary, backup = member(named("primary")), member(named("backup"))
    balancer = balance(primary, backup, options=[{}, {"backup": True}], monitor={"type": "TCP", **QUICK})
    assert set(balancer.client.bodies(4)) == {b"primary"}
    primary.refuse()
    balancer.members[0].wait_for(operating_status="ERROR", timeout=5)
    assert set(balancer.client.bodies(4)) == {b"backup"}
    assert balancer.lb.operating_status == "DEGRADED"
    primary.resume()
    balancer.members[0].wait_for(operating_status="ONLINE", timeout=5)
    assert set(balancer.client.bodies(4)) == {b"primary"}


def test_a_deleted_monitor_brings_the_dead_back_into_rotation(balance, member):
    dead = member(named("dead"))
    balancer = balance(dead, member(named("alive")), monitor={"type": "TCP", **QUICK})
    dead.refuse()
    balancer.members[0].wait_for(operating_status="ERROR", timeout=5)
    balancer.pool.health_monitor.delete()
    assert balancer.members[0].operating_status == "NO_MONITOR"
    dead.resume()
    assert sorted(balancer.client.bodies(4)) == [b"alive"] * 2 + [b"dead"] * 2


def test_a_changed_monitor_probes_the_new_way(balance, member):
    one = member(http(lambda message: response(status=200 if message.target == "/good" else 500)))
    balancer = balance(one, monitor={"type": "HTTP", "url_path": "/bad", **QUICK})
    balancer.members[0].wait_for(operating_status="ERROR", timeout=5)
    balancer.pool.health_monitor.url_path = "/good"
    balancer.members[0].wait_for(operating_status="ONLINE", timeout=5)


def test_sessions_under_way_outlive_a_failed_probe(balance, member):
    gate = threading.Event()
    script = held(gate)

    def first_is_held(conn: MemberConn):
        if conn.index == 0:
            script(conn)
        else:
            conn.reset()

    one = member(first_is_held)
    balancer = balance(one)
    with balancer.client.connect() as conn:
        conn.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        one.wait_requests(1)
        balancer.pool.create_health_monitor(type="HTTP", **QUICK)
        balancer.members[0].wait_for(operating_status="ERROR", timeout=5)
        gate.set()
        assert conn.read_response().status == 200


@pytest.mark.parametrize("kind", ["TCP", "HTTP"])
def test_probes_reach_ipv6_members(balance, member, kind):
    one = member(address="::1")
    balancer = balance(one, monitor={"type": kind, **QUICK})
    eventually(lambda: balancer.members[0].checked)
    assert balancer.members[0].operating_status == "ONLINE"
    one.refuse()
    balancer.members[0].wait_for(operating_status="ERROR", timeout=5)


def test_probes_are_no_sessions_of_the_member(balance, member):
    one = member()
    balancer = balance(one, monitor={"type": "HTTP", **QUICK})
    one.wait_requests(3)
    assert balancer.members[0].stats.sessions == 0
    assert balancer.members[0].stats.connects == 0
    assert balancer.listener.stats.total_connections == 0
