# SPDX-License-Identifier: Apache-2.0
"""Status callbacks: told what changed, and whatever they do, traffic goes on."""

import logging
import threading
import time

from fastlb.testing import Load, eventually

MONITOR = {"type": "TCP", "delay": 0.05, "timeout": 1, "max_retries": 1, "max_retries_down": 1}


def test_a_change_is_told_with_what_was_and_what_is(balance, member):
    one = member()
    balancer = balance(one, monitor=MONITOR)
    eventually(lambda: balancer.members[0].checked)
    seen = []
    balancer.lb.on_status(lambda event: seen.append((event.object, str(event.old), str(event.new))))
    one.refuse()
    eventually(lambda: (balancer.lb, "ONLINE", "ERROR") in seen)
    assert (balancer.members[0], "ONLINE", "ERROR") in seen
    assert (balancer.pool, "ONLINE", "ERROR") in seen
    assert not any(changed is balancer.listener for changed, _, _ in seen)
    seen.clear()
    one.resume()
    eventually(lambda: (balancer.lb, "ERROR", "ONLINE") in seen)


def test_an_exception_in_a_callback_hurts_nothing(balance, member, caplog):
    one = member()
    balancer = balance(one, monitor=MONITOR)
    calls = []

    def broken(event):
        calls.append(event)
        raise ValueError("a mistake in a callback")

    balancer.lb.on_status(broken)
    told = []
    balancer.lb.on_status(told.append)
    with caplog.at_level(logging.ERROR, logger="fastlb"):
        for weight in (0, 1, 0, 1):
            balancer.members[0].weight = weight
            balancer.lb.wait_for(operating_status="ERROR" if weight == 0 else "ONLINE")
            eventually(lambda: told and told[-1].new == balancer.lb.operating_status)
    assert calls
    assert "a mistake in a callback" in caplog.text
    assert balancer.client.get().status == 200


def test_a_callback_that_blocks_does_not_block_traffic(balance, member):
    balancer = balance(member(), member())
    gate, entered = threading.Event(), threading.Event()

    def blocks(event):
        entered.set()
        gate.wait(10)

    balancer.lb.on_status(blocks)
    threading.Thread(target=setattr, args=(balancer.members[0], "admin_state_up", False)).start()
    assert entered.wait(5)
    try:
        assert [balancer.client.get().status for _ in range(10)] == [200] * 10
        balancer.members[1].weight = 3
        assert balancer.client.get().status == 200
    finally:
        gate.set()


def test_a_busy_interpreter_does_not_slow_the_workers_down(balance, member):
    from fastlb.testing import MemberProcess

    stop = threading.Event()

    def spin():
        while not stop.is_set():
            pass

    with MemberProcess() as origin:
        balancer = balance(origin)
        spinner = threading.Thread(target=spin)
        spinner.start()
        try:
            with Load(balancer.client, clients=1) as load:
                load.wait_requests(50)
        finally:
            stop.set()
            spinner.join()
        assert load.failures == []


def test_a_removed_callback_hears_nothing(balance, member):
    balancer = balance(member())
    seen, still = [], []
    remove = balancer.lb.on_status(seen.append)
    balancer.lb.on_status(still.append)
    remove()
    remove()
    balancer.members[0].admin_state_up = False
    eventually(lambda: still)
    assert seen == []


def test_statuses_answer_while_everything_changes(balance, member):
    balancer = balance(member())
    end = time.monotonic() + 0.5
    changes = 0
    while time.monotonic() < end:
        balancer.members[0].weight = changes % 3
        assert balancer.lb.status_tree()
        changes += 1
    assert changes > 10
