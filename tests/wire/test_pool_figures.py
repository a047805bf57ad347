# SPDX-License-Identifier: Apache-2.0
"""What a pool tells of itself beside its members' counters: what persistence remembers, whether it panics."""

from fastlb import PersistenceStats
from fastlb.testing import eventually, http, response

NOTHING = PersistenceStats(entries=0, limit=0, bytes=0, evicted=0)
MONITOR = {"type": "TCP", "delay": 0.05, "timeout": 0.05, "max_retries": 1, "max_retries_down": 1}


def test_persistence_tells_how_many_clients_it_remembers(balance, member):
    cookie = http(lambda message: response(fields=[("Set-Cookie", "sid=one")]))
    balancer = balance(member(cookie), member(cookie))
    assert balancer.pool.persistence_stats == NOTHING
    balancer.pool.session_persistence = {"type": "APP_COOKIE", "cookie_name": "sid"}
    for _ in range(3):
        assert balancer.client.get().status == 200
    figures = balancer.pool.persistence_stats
    assert (figures.entries, figures.evicted) == (1, 0)
    assert figures.limit > 1000
    assert figures.bytes > 0
    balancer.lb.stop(0)
    assert balancer.pool.persistence_stats == NOTHING


def test_a_pool_tells_that_it_panics_and_how_often_it_did(balance, member):
    dead = member()
    balancer = balance(member(), dead, pool={"panic_threshold": 60}, monitor=MONITOR)
    assert (balancer.pool.panic, balancer.pool.panics) == (False, 0)
    dead.refuse()
    eventually(lambda: balancer.pool.panic)
    dead.resume()
    eventually(lambda: not balancer.pool.panic)
    assert balancer.pool.panics == 1
    balancer.pool.panic_threshold = 0
    dead.refuse()
    balancer.members[1].wait_for(operating_status="ERROR")
    assert (balancer.pool.panic, balancer.pool.panics) == (False, 1)
    balancer.pool.panic_threshold = 60
    assert balancer.pool.panic
    assert [check.why.partition(", although ")[2] for check in balancer.listener.explain().members] == [
        "",
        "it does not pass its health monitor's probes: too few do (panic_threshold)",
    ]
    balancer.lb.stop(0)
    assert (balancer.pool.panic, balancer.pool.panics) == (False, 2)
