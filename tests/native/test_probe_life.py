# SPDX-License-Identifier: Apache-2.0
"""The probe thread's life: targets that come, change and go while it works, its start and stop, thousands at once."""

import concurrent.futures
import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
import threading
import time

import pytest

from fastlb.testing import (
    Member,
    MemberProcess,
    eventually,
    open_descriptors,
    raw,
    say_nothing,
    threads,
)

OK = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAR = 60_000.0  # ms


@pytest.fixture(scope="module")
def probe(native):
    return native("probe")


@pytest.fixture
def stopped(probe):
    """Probes whose thread the test starts. Afterwards nothing may be left behind."""
    before = open_descriptors()
    p = probe.Probes()
    yield p
    p.free()
    assert "fastlb-probe" not in threads().values()
    assert set(open_descriptors()) <= set(before)


@pytest.fixture
def probes(stopped):
    assert stopped.start() == 0
    return stopped


@pytest.fixture
def member():
    members = []

    def make(script=None, **kwargs):
        members.append(Member(script, **kwargs))
        return members[-1]

    yield make
    for m in members:
        m.close()


def probe_thread():
    """The id of the probe thread."""
    return eventually(lambda: [tid for tid, name in threads().items() if name == "fastlb-probe"])[0]


def thread_cpu(tid):
    """CPU seconds of one of our threads."""
    with open(f"/proc/self/task/{tid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


# The thread ---------------------------------------------------------------------------------------------------


def test_one_thread_with_a_name_and_every_signal_blocked(probes):
    tid = probe_thread()
    assert list(threads().values()).count("fastlb-probe") == 1
    with open(f"/proc/self/task/{tid}/status", encoding="ascii") as file:
        blocked = int(next(line for line in file if line.startswith("SigBlk")).split()[1], 16)
    for number in (1, 2, 3, 10, 12, 13, 14, 15, 17):
        assert blocked >> (number - 1) & 1, number


def test_threads_signal_mask_is_not_the_starters(probe, probes):
    with open(f"/proc/self/task/{threading.get_native_id()}/status", encoding="ascii") as file:
        blocked = int(next(line for line in file if line.startswith("SigBlk")).split()[1], 16)
    assert not blocked >> 1 & 1  # SIGINT


def test_idle_thread_sleeps(probe, probes, member):
    target = probes.add("127.0.0.1", member().port, probe.Config(delay=FAR))
    eventually(lambda: target.checks)
    tid = probe_thread()
    before = thread_cpu(tid)
    with contextlib.suppress(AssertionError):
        eventually(lambda: target.checks > 1, 0.3)
    assert thread_cpu(tid) - before < 0.01


def test_stop_ends_thread_and_checks_under_way_and_may_be_called_twice(probe, stopped, member):
    def watched():
        """Descriptors by which a thread waits."""
        return sorted(what for what in open_descriptors().values() if "event" in what)

    before = watched()
    assert stopped.start() == 0
    assert len(watched()) == len(before) + 2
    server = member(say_nothing)
    for _ in range(5):
        stopped.add("127.0.0.1", server.port, probe.Config(probe.HTTP, FAR, timeout=FAR))
    server.wait_connections(5)
    stopped.stop()
    stopped.stop()
    assert "fastlb-probe" not in threads().values()
    assert watched() == before
    server.wait_idle()


def test_stopped_targets_keep_their_state_and_a_new_start_goes_on(probe, probes, member):
    server = member().refuse()
    target = probes.add("127.0.0.1", server.port, probe.Config(delay=10, rise=2))
    eventually(lambda: not target.up)
    probes.stop()
    failed = target.failed
    assert not target.up
    server.resume()
    assert probes.start() == 0
    eventually(lambda: target.up)
    assert target.failed == failed
    assert target.passed >= 2
    assert probes.count == 1


def test_second_start_is_refused(probes):
    assert probes.start() == -errno.EALREADY


def test_targets_may_come_and_go_before_the_start(probe, stopped, member):
    server = member()
    config = probe.Config()
    stay = stopped.add("127.0.0.1", server.port, config)
    gone = stopped.add("127.0.0.1", server.port, config)
    gone.remove()
    stay.update(probe.Config(probe.HTTP))
    assert stopped.start() == 0
    eventually(lambda: stay.checks)
    assert stay.result == (probe.PASSED, 0, 200)
    assert stopped.count == 1
    assert config.refs == 1


def test_start_without_a_descriptor_leaves_nothing(probe, stopped):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = open_descriptors()
    for spare in range(2):
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, limits[1]))
        try:
            error = stopped.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert error == -errno.EMFILE
    assert open_descriptors() == before
    assert stopped.start() == 0


# Update -------------------------------------------------------------------------------------------------------


def test_new_address_is_probed_and_state_and_counts_are_kept(probe, probes, member):
    gone, well = member().refuse(), member()
    config = probe.Config(delay=10, rise=3)
    target = probes.add("127.0.0.1", gone.port, config)
    eventually(lambda: target.failed >= 2)
    target.update(config, "127.0.0.1", well.port)
    eventually(lambda: target.up)
    assert target.failed >= 2
    assert target.passed >= 3
    assert [report[:2] for report in target.reports] == [(False, True), (True, False)]


def test_update_abandons_a_check_that_would_answer_the_old_question(probe, probes, member):
    silent, well = member(say_nothing), member(raw(OK))
    config = probe.Config(probe.HTTP, FAR, timeout=FAR)
    target = probes.add("127.0.0.1", silent.port, config)
    silent.wait_connections(1)
    target.update(config, "127.0.0.1", well.port)
    silent.wait_idle()
    eventually(lambda: target.checks)
    assert (target.passed, target.failed) == (1, 0)


def test_update_of_expected_codes_alone_is_checked_soon(probe, probes, member):
    target = probes.add("127.0.0.1", member(raw(OK)).port, probe.Config(probe.HTTP, FAR))
    eventually(lambda: target.checks == 1)
    target.update(probe.Config(probe.HTTP, FAR, codes=((204, 204),)))
    eventually(lambda: target.checks == 2)
    assert target.result == (probe.WRONG_STATUS, 0, 200)


def test_update_of_times_lets_the_check_under_way_go_on(probe, probes, member):
    answer = threading.Event()

    def script(conn):
        conn.read_request()
        conn.wait(answer)
        conn.send(OK)

    server = member(script)
    before = probe.Config(probe.HTTP, FAR, timeout=FAR)
    target = probes.add("127.0.0.1", server.port, before)
    server.wait_requests(1)
    target.update(probe.Config(probe.HTTP, 10, timeout=FAR))
    eventually(lambda: before.refs == 1)
    assert server.connections[0].still_open()
    answer.set()
    eventually(lambda: target.passed >= 3)
    assert target.failed == 0


def test_shorter_delay_takes_effect_at_once(probe, probes, member):
    target = probes.add("127.0.0.1", member().port, probe.Config(delay=FAR))
    eventually(lambda: target.checks)
    target.update(probe.Config(delay=10))
    eventually(lambda: target.checks >= 5)


def test_longer_delay_takes_effect_at_once(probe, probes, member):
    target = probes.add("127.0.0.1", member().port, probe.Config(delay=10))
    other = probes.add("127.0.0.1", member().port, probe.Config(delay=10))
    eventually(lambda: target.checks)
    long = probe.Config(delay=FAR)
    target.update(long)
    eventually(lambda: long.refs == 2)
    eventually(lambda: other.checks >= 1)
    count, others = target.checks, other.checks
    eventually(lambda: other.checks >= others + 20)
    assert target.checks <= count + 1  # the one that was under way


def test_last_of_many_updates_counts_and_no_configuration_is_lost(probe, probes, member):
    servers = [member() for _ in range(3)]
    first = probe.Config(delay=10)
    target = probes.add("127.0.0.1", servers[0].port, first)
    configs = [probe.Config(delay=10 + i) for i in range(200)]
    for i, config in enumerate(configs):
        target.update(config, "127.0.0.1", servers[i % 3].port)
    eventually(lambda: configs[-1].refs == 2)
    eventually(lambda: all(config.refs == 1 for config in [first, *configs[:-1]]))
    target.remove()
    eventually(lambda: configs[-1].refs == 1)


def test_address_of_an_unread_update_survives_one_of_the_configuration_alone(probe, stopped, member):
    gone, well = member().refuse(), member()
    target = stopped.add("127.0.0.1", gone.port, probe.Config(delay=FAR))
    target.update(probe.Config(delay=FAR), "127.0.0.1", well.port)
    target.update(probe.Config(delay=FAR, fall=2))
    assert stopped.start() == 0
    eventually(lambda: target.checks)
    assert target.result == (probe.PASSED, 0, 0)


# Remove -------------------------------------------------------------------------------------------------------


def test_remove_waits_for_a_report_under_way(probe, probes, member):
    target = probes.add("127.0.0.1", member().port, probe.Config())
    probes.hold_reports(True)
    eventually(lambda: probes.in_report)
    removing = probes.remove_aside(target)
    with pytest.raises(AssertionError, match="not within"):
        eventually(lambda: removing.over, 0.1)
    probes.hold_reports(False)
    removing.join()
    assert target.late_reports == 0


def test_no_report_comes_after_remove(probe, probes, member):
    port = member().refuse().port
    config = probe.Config(delay=10)
    targets = []
    for _ in range(50):
        batch = [probes.add("127.0.0.1", port, config) for _ in range(20)]
        eventually(lambda batch=batch: any(target.checks for target in batch))
        for target in batch:
            target.remove()
        targets += batch
    eventually(lambda: config.refs == 1)
    assert probes.count == 0
    assert sum(target.late_reports for target in targets) == 0


def test_remove_closes_a_check_under_way(probe, probes, member):
    server = member(say_nothing)
    target = probes.add("127.0.0.1", server.port, probe.Config(probe.HTTP, FAR, timeout=FAR))
    server.wait_connections(1)
    target.remove()
    server.wait_idle()
    eventually(lambda: probes.count == 0)


def test_many_threads_add_update_and_remove_at_once(probe, probes, member):
    port = member().refuse().port
    config, other = probe.Config(delay=10), probe.Config(delay=11)
    workers = [probes.come_and_go("127.0.0.1", port, config, other, 200) for _ in range(4)]
    assert sum(worker.join() for worker in workers) == 0
    eventually(lambda: (config.refs, other.refs) == (1, 1))
    assert probes.count == 0


def test_stop_while_others_add_and_remove(probe, stopped, member):
    port = member().port
    config, other = probe.Config(delay=10), probe.Config(delay=11)
    workers = [stopped.come_and_go("127.0.0.1", port, config, other, 100_000) for _ in range(2)]
    for _ in range(20):
        assert stopped.start() == 0
        started = stopped.started
        eventually(lambda started=started: stopped.started > started)
        stopped.stop()
    for worker in workers:
        worker.stop()
    assert sum(worker.join() for worker in workers) == 0
    stopped.free()
    assert (config.refs, other.refs) == (1, 1)


# PING ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def ping(native):
    icmp = native("probe_icmp")
    if (error := icmp.available(2)) < 0 or (error := icmp.available(10)) < 0:
        pytest.skip(f"no ICMP socket here: {os.strerror(-error)}")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_ping_passes(ping, probe, probes, address):
    target = probes.add(address, 0, probe.Config(probe.PING))
    eventually(lambda: target.checks >= 3)
    assert target.result == (probe.PASSED, 0, 0)
    assert target.failed == 0


@pytest.fixture
def own_network():
    """`own_network(f, …)`: call it on one thread, always the same, that has a network of its own, loopback up."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and ip")
    libc = ctypes.CDLL(None, use_errno=True)

    def leave():
        if libc.unshare(0x40000000):  # CLONE_NEWNET, of this thread alone
            return ctypes.get_errno()
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return 0

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        if error := thread.submit(leave).result():
            pytest.skip(f"no network of its own here: {os.strerror(error)}")
        yield lambda f, *args: thread.submit(f, *args).result()


@pytest.mark.parametrize(
    ("address", "ignore"), [("127.0.0.1", "ipv4/icmp_echo_ignore_all"), ("::1", "ipv6/icmp/echo_ignore_all")]
)
def test_ping_without_a_reply_fails_after_the_timeout(ping, probe, stopped, own_network, address, ignore):
    def be_silent(silent):
        with open(f"/proc/thread-self/root/proc/sys/net/{ignore}", "w", encoding="ascii") as file:
            file.write(str(int(silent)))

    assert own_network(stopped.start) == 0  # the probe thread is where its starter is
    target = stopped.add(address, 0, probe.Config(probe.PING, 10, timeout=30, rise=2, fall=2))
    eventually(lambda: target.passed >= 2)
    own_network(be_silent, True)
    eventually(lambda: not target.up)
    assert target.result == (probe.NO_ANSWER, 0, 0)
    assert target.duration_ms >= 29
    own_network(be_silent, False)
    eventually(lambda: target.up)


def test_five_hundred_pings_share_one_socket(ping, probe, probes):
    tid = probe_thread()
    before = open_descriptors()
    config = probe.Config(probe.PING, 100)
    targets = [probes.add(f"127.0.{i // 250}.{i % 250 + 1}", 0, config) for i in range(500)]
    eventually(lambda: all(target.checks >= 3 for target in targets), 20.0)
    assert len(set(open_descriptors()) - set(before)) == 1
    assert not any(target.failed for target in targets)
    assert threads()[tid] == "fastlb-probe"


def test_ping_that_cannot_be_sent_fails_with_the_systems_reason(ping, probe, probes):
    target = probes.add("255.255.255.255", 0, probe.Config(probe.PING))
    eventually(lambda: target.checks)
    code, error, _ = target.result
    assert code == probe.CONNECT_FAILED
    assert error in (errno.ENETUNREACH, errno.EACCES, errno.EINVAL)


def test_reply_to_an_abandoned_ping_finds_nobody(ping, probe):
    assert probe.abandoned_ping("127.0.0.1") == (True, False)


def test_ping_targets_that_go_leave_the_others_alone(ping, probe, probes):
    config = probe.Config(probe.PING, 10)
    stays = probes.add("127.0.0.1", 0, config)
    for _ in range(50):
        started = probes.started
        targets = [probes.add("127.0.0.1", 0, config) for _ in range(4)]
        eventually(lambda started=started: probes.started >= started + 2)
        for target in targets:
            target.remove()
    eventually(lambda: config.refs == 2)
    assert stays.failed == 0


# Many ---------------------------------------------------------------------------------------------------------


def test_five_thousand_members_are_checked_every_second(probe, probes, member):
    tcp = member(backlog=4096)
    with MemberProcess() as http:
        began = time.monotonic()
        every = probe.Config(probe.TCP, 1000)
        # On a busy machine the server may have to wait its turn.
        page = probe.Config(probe.HTTP, 1000, timeout=20_000)
        targets = [probes.add("127.0.0.1", tcp.port, every) for _ in range(4500)]
        targets += [probes.add("127.0.0.1", http.port, page) for _ in range(500)]
        assert time.monotonic() - began < 2
        eventually(lambda: probes.count == 5000)
        eventually(lambda: all(target.checks >= 2 for target in targets), 60.0)
        assert all(target.up for target in targets)
        assert sum(target.failed for target in targets) == 0
        assert len(probes.reports) == 5000
    assert probe.TARGET_BYTES <= 384
