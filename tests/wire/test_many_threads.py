# SPDX-License-Identifier: Apache-2.0
"""The model takes calls from any thread, also while it is watched and serves."""

import sys
import threading
import time

from fastlb import ConfigError
from fastlb.testing import Client

THREADS = 8
ROUNDS = 60


def together(*jobs):
    """Run jobs at once; what one of them raises is raised here."""
    failures = []

    def guarded(job):
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_threads_change_one_pool_at_once(balance, member):
    one = member()
    balancer = balance(one)
    pool, lb = balancer.pool, balancer.lb
    seen = []
    lb.on_status(seen.append)
    kept = []

    def churn(number):
        for i in range(ROUNDS):
            made = pool.create_members([(f"127.1.{number}.{i}", 9), (f"127.2.{number}.{i}", 9)])
            made[0].weight = 0
            made[0].update(weight=0, backup=True)
            made[1].admin_state_up = False
            made[0].delete()
            kept.append(made[1])

    def switch():
        for i in range(ROUNDS):
            pool.lb_algorithm = ("LEAST_CONNECTIONS", "ROUND_ROBIN", "SOURCE_IP", "MAGLEV")[i % 4]
            balancer.listener.connection_limit = 1000 + i
            try:
                pool.lb_algorithm = "NONE"
            except ConfigError:
                continue
            raise AssertionError("a wrong algorithm was taken")

    def look():
        for _ in range(ROUNDS):
            tree = lb.status_tree()
            assert tree["statuses"]["loadbalancer"]["operating_status"] in ("ONLINE", "ERROR", "DEGRADED")
            assert repr(pool)
            assert lb.to_dict()
            assert pool.stats.active >= 0

    together(*(lambda n=n: churn(n) for n in range(THREADS)), switch, look)
    assert len(kept) == THREADS * ROUNDS
    assert set(pool.members) == {*kept, *balancer.members}
    for extra in kept:
        extra.delete()
    assert [balancer.client.get().status for _ in range(10)] == [200] * 10
    assert not [event for event in seen if event.old is event.new]


def test_threads_start_and_stop_load_balancers_at_once(balance, member, engine):
    one = member()
    balance(one)

    def live():
        for _ in range(5):
            balancer = balance(one)
            assert Client("127.0.0.1", balancer.listener.protocol_port).get().status == 200
            balancer.lb.close()

    together(*[live] * 4)
    assert len(engine.load_balancers) == 1


def test_of_two_threads_that_start_it_one_does(balance, member):
    balancer = balance(member(), start=False)
    outcomes = []

    def start():
        try:
            balancer.lb.start()
        except RuntimeError as error:
            outcomes.append(str(error))
        else:
            outcomes.append("started")

    together(start, start, start)
    assert outcomes.count("started") == 1
    assert all("already" in outcome for outcome in outcomes if outcome != "started")
    assert balancer.lb.started


def test_what_is_read_while_others_change_it_is_from_before_or_after(balance, member):
    balancer = balance(member())
    lb = balancer.lb
    pool = lb.create_pool(name="a", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    listeners = [
        lb.create_listener(protocol="HTTP", protocol_port=0, admin_state_up=False, default_pool=pool)
        for _ in range(20)
    ]
    deadline = time.monotonic() + 0.5

    def change():
        while time.monotonic() < deadline:
            listeners[-1].default_pool = None
            listeners[-1].default_pool = lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
            listeners[-1].default_pool.delete()
            listeners[-1].default_pool = pool

    def read():
        while time.monotonic() < deadline:
            assert pool.operating_status == "OFFLINE"

    def write_down():
        while time.monotonic() < deadline:
            repr(listeners[-1].default_pool)
            listeners[-1].to_dict()
            lb.to_dict()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        together(change, read, read, write_down)
    finally:
        sys.setswitchinterval(interval)
