# SPDX-License-Identifier: Apache-2.0
"""Health checks against real sockets: what passes, what fails and why, and when a member changes state."""

import contextlib
import errno
import queue
import threading

import pytest

from fastlb.testing import (
    FullMember,
    Member,
    eventually,
    greet,
    open_descriptors,
    raw,
    reset_at_once,
    response,
    say_nothing,
    threads,
    wait_until_taken,
)

OK = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAR = 60_000.0  # ms: a delay that lets only the first check happen


@pytest.fixture(scope="module")
def probe(native):
    return native("probe")


@pytest.fixture
def probes(probe):
    """A probe thread that runs. Afterwards it must leave nothing behind."""
    before = open_descriptors()
    p = probe.Probes()
    assert p.start() == 0
    yield p
    p.free()
    assert "fastlb-probe" not in threads().values()
    assert set(open_descriptors()) <= set(before)


@pytest.fixture
def member():
    """`member(script)`: a scripted member that is closed when the test ends."""
    members = []

    def make(script=None, **kwargs):
        members.append(Member(script, **kwargs))
        return members[-1]

    yield make
    for m in members:
        m.close()


def first_result(target):
    eventually(lambda: target.checks)
    return target.result


def checked(target, more=1):
    """Wait until that many more checks have been made."""
    wanted = target.checks + more
    eventually(lambda: target.checks >= wanted)


def alive(member):
    """How many connections of this member its peer has not ended, whatever their scripts have seen of that."""
    count = 0
    for conn in member.open_connections:
        with contextlib.suppress(ValueError, OSError):  # closed by its script in between
            count += conn.still_open()
    return count


class Steps:
    """A script whose answers the test hands out one by one, so that it sees the state after each check."""

    def __init__(self):
        self.answers = queue.Queue()

    def __call__(self, conn):
        conn.read_request()
        while conn.still_open() and not conn.member.closing:
            try:
                conn.send(self.answers.get(timeout=0.02))
                return
            except queue.Empty:
                continue

    def give(self, target, passed):
        """Let one check pass or fail; is the member up now?"""
        count = target.checks
        self.answers.put(OK if passed else b"HTTP/1.0 503 Service Unavailable\r\n\r\n")
        eventually(lambda: target.checks == count + 1)
        return target.up


# TCP ----------------------------------------------------------------------------------------------------------


def test_member_that_accepts_passes_a_tcp_check(probe, probes, member):
    target = probes.add("127.0.0.1", member().port, probe.Config())
    assert first_result(target) == (probe.PASSED, 0, 0)
    assert target.up


def test_tcp_check_over_ipv6(probe, probes, member):
    target = probes.add("::1", member(address="::1").port, probe.Config())
    assert first_result(target) == (probe.PASSED, 0, 0)


def test_tcp_checks_do_not_disturb_the_members_process(probe, probes, member):
    quiet = member()
    target = probes.add("127.0.0.1", quiet.port, probe.Config(delay=10))
    eventually(lambda: target.passed >= 20)
    # The reset comes before the handshake's last packet, unless this machine was stopped for long in between.
    assert len(quiet.connections) < 10


@pytest.mark.parametrize("kind", ["TCP", "HTTP"])
def test_refused_connection_takes_the_member_down(probe, probes, member, kind):
    gone = member().refuse()
    target = probes.add("127.0.0.1", gone.port, probe.Config(getattr(probe, kind)))
    assert first_result(target) == (probe.CONNECT_FAILED, errno.ECONNREFUSED, 0)
    assert not target.up


def test_connect_that_takes_too_long_fails_after_the_connect_timeout(probe, probes):
    with FullMember() as full:
        target = probes.add("127.0.0.1", full.port, probe.Config(delay=FAR, connect=40))
        assert first_result(target) == (probe.CONNECT_TIMEOUT, 0, 0)
        assert target.duration_ms >= 39


def test_connect_never_gets_more_than_the_delay(probe, probes):
    with FullMember() as full:
        target = probes.add("127.0.0.1", full.port, probe.Config(delay=40, connect=FAR))
        assert first_result(target) == (probe.CONNECT_TIMEOUT, 0, 0)


def test_unreachable_address_fails_with_the_systems_reason(probe, probes):
    target = probes.add("255.255.255.255", 80, probe.Config(delay=FAR))
    assert first_result(target) == (probe.CONNECT_FAILED, errno.ENETUNREACH, 0)
    assert not target.up


# HTTP ---------------------------------------------------------------------------------------------------------


def test_expected_status_passes_and_the_request_arrives_as_given(probe, probes, member):
    server = member(raw(OK))
    request = b"HEAD /health?x=1 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    target = probes.add("127.0.0.1", server.port, probe.Config(probe.HTTP, FAR, request=request))
    assert first_result(target) == (probe.PASSED, 0, 200)
    assert server.received == request


def test_http_check_over_ipv6(probe, probes, member):
    target = probes.add("::1", member(raw(OK), address="::1").port, probe.Config(probe.HTTP))
    assert first_result(target) == (probe.PASSED, 0, 200)


def test_other_status_fails(probe, probes, member):
    target = probes.add("127.0.0.1", member(raw(b"HTTP/1.1 503 Oh\r\n\r\n")).port, probe.Config(probe.HTTP))
    assert first_result(target) == (probe.WRONG_STATUS, 0, 503)
    assert not target.up


def test_any_code_of_the_set_passes(probe, probes, member):
    config = probe.Config(probe.HTTP, codes=((200, 204), (301, 301)))
    for status in (200, 204, 301):
        server = member(raw(b"HTTP/1.1 %d x\r\n\r\n" % status))
        assert first_result(probes.add("127.0.0.1", server.port, config)) == (probe.PASSED, 0, status)
    server = member(raw(b"HTTP/1.1 205 x\r\n\r\n"))
    assert first_result(probes.add("127.0.0.1", server.port, config)) == (probe.WRONG_STATUS, 0, 205)


def test_status_line_may_come_byte_by_byte(probe, probes, member):
    target = probes.add("127.0.0.1", member(raw(OK, piece=1)).port, probe.Config(probe.HTTP))
    assert first_result(target) == (probe.PASSED, 0, 200)


def test_status_line_may_come_late_in_two_pieces(probe, probes, member):
    rest = threading.Event()

    def script(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 2")
        conn.wait(rest)
        conn.send(b"00 OK\r\n\r\n")

    server = member(script)
    target = probes.add("127.0.0.1", server.port, probe.Config(probe.HTTP, FAR, timeout=20_000))
    server.wait_requests(1)
    assert target.checks == 0
    rest.set()
    assert first_result(target) == (probe.PASSED, 0, 200)


def test_answer_before_the_request_is_read_counts(probe, probes, member):
    target = probes.add("127.0.0.1", member(greet(OK)).port, probe.Config(probe.HTTP))
    assert first_result(target) == (probe.PASSED, 0, 200)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200"])
def test_close_before_the_status_is_whole_fails(probe, probes, member, said):
    target = probes.add("127.0.0.1", member(raw(said)).port, probe.Config(probe.HTTP))
    assert first_result(target) == (probe.CLOSED, 0, 0)
    assert not target.up


def test_reset_instead_of_an_answer_fails(probe, probes, member):
    target = probes.add("127.0.0.1", member(reset_at_once).port, probe.Config(probe.HTTP, FAR))
    assert first_result(target) == (probe.IO_FAILED, errno.ECONNRESET, 0)


def test_status_that_came_before_a_reset_counts(probe, probes, member):
    def script(conn):
        conn.read_request()
        conn.send(OK)
        conn.reset()

    target = probes.add("127.0.0.1", member(script).port, probe.Config(probe.HTTP, 10))
    eventually(lambda: target.checks >= 10)
    assert target.result == (probe.PASSED, 0, 200)
    assert target.failed == 0


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n", b"<html>", b"\0"])
def test_garbage_fails_at_once_without_waiting_for_the_timeout(probe, probes, member, said):
    target = probes.add("127.0.0.1", member(greet(said)).port, probe.Config(probe.HTTP, FAR, timeout=FAR))
    assert first_result(target) == (probe.MALFORMED, 0, 0)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 20"])
def test_silence_fails_after_the_timeout(probe, probes, member, said):
    server = member(greet(said) if said else say_nothing)
    target = probes.add("127.0.0.1", server.port, probe.Config(probe.HTTP, FAR, timeout=40))
    assert first_result(target) == (probe.NO_ANSWER, 0, 0)
    assert target.duration_ms >= 39
    server.wait_idle()


def test_request_larger_than_the_socket_takes_is_sent_in_pieces(probe, probes, member):
    received = []

    def script(conn):
        received.append(conn.read_until(b"\r\n\r\n"))
        conn.send(OK)

    request = b"GET / HTTP/1.0\r\nX: " + b"x" * 8_000_000 + b"\r\n\r\n"
    config = probe.Config(probe.HTTP, FAR, timeout=20_000, request=request)
    target = probes.add("127.0.0.1", member(script).port, config)
    assert first_result(target) == (probe.PASSED, 0, 200)
    assert received == [request]


def test_server_that_writes_its_body_late_is_not_reset(probe, probes, member):
    alive = []
    passed = threading.Event()

    def script(conn):
        conn.read_request()
        conn.send(b"HTTP/1.0 200 OK\r\n\r\n")
        conn.wait(passed)
        for _ in range(3):
            conn.send(b"body, after the check has passed")
            wait_until_taken(conn)
        alive.append(conn.still_open())

    target = probes.add("127.0.0.1", member(script).port, probe.Config(probe.HTTP, FAR))
    assert first_result(target) == (probe.PASSED, 0, 200)
    passed.set()
    assert eventually(lambda: alive) == [True]


def test_large_body_is_read_to_its_end(probe, probes, member):
    alive = []

    def script(conn):
        conn.read_request()
        conn.send(response(bytes(50_000)))
        wait_until_taken(conn)
        alive.append(conn.still_open())

    first_result(probes.add("127.0.0.1", member(script).port, probe.Config(probe.HTTP, FAR)))
    assert eventually(lambda: alive) == [True]


def test_endless_body_is_cut(probe, probes, member):
    sent = []

    def script(conn):
        conn.read_request()
        conn.send(OK)
        count = 0
        with contextlib.suppress(ConnectionError):
            while True:
                conn.send(bytes(65536))
                count += 65536
        sent.append(count)

    target = probes.add("127.0.0.1", member(script).port, probe.Config(probe.HTTP, FAR))
    assert first_result(target) == (probe.PASSED, 0, 200)
    assert eventually(lambda: sent)[0] < 16 << 20  # what both sockets hold, and little of it read


def test_server_that_keeps_the_connection_is_left(probe, probes, member):
    server = member(raw(OK, then="stay"))
    target = probes.add("127.0.0.1", server.port, probe.Config(probe.HTTP, FAR))
    assert first_result(target) == (probe.PASSED, 0, 200)
    server.wait_connections(1)
    server.wait_idle()


def test_server_that_keeps_the_connection_does_not_delay_the_next_check(probe, probes, member):
    server = member(raw(OK, then="stay"))
    target = probes.add("127.0.0.1", server.port, probe.Config(probe.HTTP, 20))
    eventually(lambda: target.passed >= 20, 2.0)
    assert target.failed == 0


# Up and down --------------------------------------------------------------------------------------------------


def test_first_failure_takes_a_new_member_down_whatever_fall_is(probe, probes, member):
    gone = member().refuse()
    target = probes.add("127.0.0.1", gone.port, probe.Config(fall=10))
    assert target.up
    eventually(lambda: target.failed >= 3)
    assert target.reports == [(False, True, True, probe.CONNECT_FAILED, errno.ECONNREFUSED, 0)]


def test_first_success_is_reported_though_nothing_changes(probe, probes, member):
    target = probes.add("127.0.0.1", member().port, probe.Config(rise=10))
    eventually(lambda: target.passed >= 3)
    assert target.reports == [(True, True, False, probe.PASSED, 0, 0)]
    assert target.changed_ns == 0


def test_runs_of_results_decide_and_a_contrary_one_starts_the_count_anew(probe, probes, member):
    steps = Steps()
    config = probe.Config(probe.HTTP, 10, timeout=20_000, rise=2, fall=3)
    target = probes.add("127.0.0.1", member(steps).port, config)
    results = [1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 1]
    wanted = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]
    assert [steps.give(target, passed) for passed in results] == wanted
    assert target.reports == [
        (True, True, False, probe.PASSED, 0, 200),
        (False, False, True, probe.WRONG_STATUS, 0, 503),
        (True, False, True, probe.PASSED, 0, 200),
    ]
    assert (target.passed, target.failed) == (6, 8)


def test_time_of_change_is_that_of_the_deciding_check(probe, probes, member):
    before = probe.now_ns()
    server = member().refuse()
    target = probes.add("127.0.0.1", server.port, probe.Config(delay=10))
    eventually(lambda: not target.up)
    down = target.changed_ns
    assert before < down <= target.at_ns
    server.resume()
    eventually(lambda: target.up)
    assert down < target.changed_ns <= probe.now_ns()


def test_known_member_goes_on_from_the_state_it_is_given(probe, probes, member):
    steps = Steps()
    config = probe.Config(probe.HTTP, 10, timeout=20_000, rise=2, fall=3)
    server = member(steps)
    up = probes.add("127.0.0.1", server.port, config, up=True)
    assert [steps.give(up, 0) for _ in range(3)] == [True, True, False]
    up.remove()
    server.wait_idle()
    down = probes.add("127.0.0.1", server.port, config, up=False)
    assert not down.up
    assert [steps.give(down, 1) for _ in range(2)] == [False, True]


# When ---------------------------------------------------------------------------------------------------------


def test_times_of_zero_have_a_meaning(probe):
    assert probe.Config(delay=0, timeout=0, connect=0).times == (100, 100, 100)
    assert probe.Config(delay=FAR, timeout=0, connect=0).times == (FAR, FAR, 5000)
    assert probe.Config(delay=1, timeout=0.001).times == (10, 1, 10)
    assert probe.Config(delay=1e12, timeout=1e12, connect=1e12).times == (2e9, 2e9, 2e9)
    assert probe.Config(rise=0, fall=0).counts == (1, 1)


def test_few_new_members_are_checked_soon(probe):
    starts = probe.first_starts(64, 10_000, 10**12)
    assert max(starts) < 50
    assert max(probe.first_starts(64, 20, 10**12)) < 20
    assert len(set(starts)) > 20


def test_many_new_members_are_spread_over_the_delay(probe):
    starts = probe.first_starts(5000, 10_000, 10**12)
    tenths = [0] * 10
    for start in starts[64:]:
        tenths[int(start // 1000)] += 1
    assert min(tenths) > 400
    assert max(tenths) < 600


def test_members_that_come_one_after_the_other_are_all_checked_soon(probe):
    assert max(probe.first_starts(1000, 10_000, 10**12, apart_ms=11)) < 50


def test_checks_come_one_a_delay(probe, probes, member):
    target = probes.add("127.0.0.1", member().port, probe.Config(delay=20))
    eventually(lambda: target.checks)
    began, count = probe.now_ns(), target.checks
    eventually(lambda: target.checks >= count + 25)
    # A late one shortens the distance to the next by its lateness; it never adds a check.
    assert (target.checks - count) <= (probe.now_ns() - began) / 20e6 + 1.5


def test_check_that_outlasts_the_delay_is_the_only_one_under_way(probe, probes, member):
    most = 0

    def script(conn):
        nonlocal most
        most = max(most, alive(conn.member))
        say_nothing(conn)

    target = probes.add("127.0.0.1", member(script).port, probe.Config(probe.HTTP, 10, timeout=60))
    eventually(lambda: target.failed >= 5)
    assert target.result == (probe.NO_ANSWER, 0, 0)
    assert most == 1


# Shortage -----------------------------------------------------------------------------------------------------


def test_open_limit_holds_checks_back_but_forgets_nobody(probe, member):
    most = 0

    def script(conn):
        nonlocal most
        most = max(most, alive(conn.member))
        conn.read_request()
        conn.send(OK)

    server = member(script)
    p = probe.Probes()
    try:
        config = probe.Config(probe.HTTP, 1000)
        targets = [p.add("127.0.0.1", server.port, config) for _ in range(60)]
        assert p.start(2) == 0
        eventually(lambda: all(target.passed for target in targets), 15.0)
        assert p.held_back > 0
        assert most <= 2
        assert not any(target.failed for target in targets)
    finally:
        p.free()


def test_default_open_limit_leaves_most_descriptors_to_traffic(probe):
    resource = pytest.importorskip("resource")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert probe.open_limit() == min(max(soft // 4, 16), 1_000_000)


@pytest.mark.parametrize("kind", ["TCP", "PING"])
def test_lack_of_descriptors_is_not_the_members_failure(probe, probes, member, kind):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = member()
    config = probe.Config(getattr(probe, kind), 20)
    if kind == "TCP":
        target = probes.add("127.0.0.1", server.port, config)
        first_result(target)
    else:
        target = None
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        if target is None:
            target = probes.add("127.0.0.1", 0, config)  # its socket is opened with the first check
        count = probes.shortages
        eventually(lambda: probes.shortages >= count + 3)
        assert target.failed == 0
        assert target.up
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    if kind == "TCP":
        checked(target, 3)
        assert target.failed == 0


def test_nothing_is_probed_twice_by_one_address(probe, probes, member):
    """Two targets of one address are two: each has its own checks and its own state."""
    server = member(raw(OK))
    good = probes.add("127.0.0.1", server.port, probe.Config(probe.HTTP))
    bad = probes.add("127.0.0.1", server.port, probe.Config(probe.HTTP, codes=((204, 204),)))
    assert first_result(good)[0] == probe.PASSED
    assert first_result(bad)[0] == probe.WRONG_STATUS
    assert (good.up, bad.up) == (True, False)


def test_checks_leave_no_socket_in_time_wait(probe, probes, member):
    def waiting():
        """Both ends of what waits with the server's port; others may have had that port before it."""
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table if f":{server.port:04X} " in line]
        return {(row[1], row[2]) for row in rows if row[3] == "06"}

    server = member(raw(OK))
    before = waiting()
    for kind in (probe.TCP, probe.HTTP):
        target = probes.add("127.0.0.1", server.port, probe.Config(kind, 10))
        eventually(lambda target=target: target.passed >= 5)
        target.remove()
    server.wait_idle()
    assert waiting() <= before
