# SPDX-License-Identifier: Apache-2.0
"""Objects as rows of a store, and back."""

import json

import pytest

import fastlb
from fastlb import records
from fastlb.store import Row

TARGETS = {
    "REDIRECT_TO_URL": {"redirect_url": "https://a.example/"},
    "REDIRECT_PREFIX": {"redirect_prefix": "https://b.example"},
    "REJECT": {},
}


class Rows:
    """A journal that keeps rows as JSON, in the order of their first put."""

    def __init__(self):
        self.rows = {}
        self.commits = []

    def record(self, balancer, changed):
        changed = list(changed)
        self.commits.append([(one.KIND, one.id) for one in changed])
        for one in changed:
            if one._deleted:
                self.rows.pop((one.KIND, one.id), None)
            else:
                kind, key, document = records.record(one)
                self.rows[kind, key] = json.dumps(document)

    def observe(self, members):
        pass

    def restored(self):
        rows = [Row(kind, key, json.loads(text), 1) for (kind, key), text in self.rows.items()]
        (tree,), lost = records.trees(rows)
        assert not lost
        return records.restore(tree, None)


@pytest.fixture
def journal():
    return Rows()


@pytest.fixture
def balancer(journal):
    balancer = fastlb.LoadBalancer(name="shop", vip_address="127.0.0.1", tags=["a", "b"])
    balancer._journal = journal
    with balancer._change():
        balancer._unsaved()
    return balancer


def fill(balancer):
    pool = balancer.create_pool(
        name="web",
        protocol="HTTP",
        lb_algorithm="LEAST_CONNECTIONS",
        session_persistence={"type": "APP_COOKIE", "cookie_name": "id"},
        outlier_detection={"consecutive_5xx": 3},
        retry={"num_retries": 1},
    )
    pool.create_member("192.0.2.1", 80, weight=None, name="one")
    pool.create_member("2001:db8::1", 80, backup=True, monitor_address="2001:db8::2", monitor_port=8080)
    pool.create_health_monitor(
        type="HTTP", delay=5, timeout=0.5, max_retries=2, http_version=1.1, domain_name="a"
    )
    listener = balancer.create_listener(
        protocol="HTTP",
        protocol_port=80,
        default_pool=pool,
        connection_limit=None,
        insert_headers={"X-Forwarded-For": "true"},
        allowed_cidrs=["192.0.2.0/24"],
    )
    for action, target in TARGETS.items():
        policy = listener.create_l7policy(action=action, position=1, **target)
        policy.create_rule(type="HEADER", key="X-A", compare_type="EQUAL_TO", value='"a b"', invert=True)
    listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=pool)
    balancer.create_listener(protocol="TCP", protocol_port=81, tags=["x"])
    return pool, listener


def everything(balancer):
    return [(one.KIND, one.show()) for one in balancer._everything()]


def test_a_load_balancer_made_of_its_rows_is_the_same(balancer, journal):
    fill(balancer)
    assert everything(journal.restored()) == everything(balancer)
    assert journal.restored().to_dict() == balancer.to_dict()


def test_a_change_is_one_commit_of_what_it_touched(balancer, journal):
    pool, listener = fill(balancer)
    journal.commits.clear()
    pool.members[0].weight = 7
    assert journal.commits.pop() == [("member", pool.members[0].id)]
    with balancer._change():
        pool.create_members([("192.0.2.7", 80), ("192.0.2.8", 80)])
        pool.members[0].delete()
        listener.name = "front"
    assert len(journal.commits) == 1
    assert len(journal.commits[0]) == 4
    assert everything(journal.restored()) == everything(balancer)


def test_rows_follow_positions_that_shift(balancer, journal):
    _, listener = fill(balancer)
    listener.l7policies[3].position = 1
    listener.l7policies[2].delete()
    assert everything(journal.restored()) == everything(balancer)


def test_deleting_leaves_no_row_behind(balancer, journal):
    pool, listener = fill(balancer)
    listener.delete()
    assert everything(journal.restored()) == everything(balancer)
    pool.delete()
    assert everything(journal.restored()) == everything(balancer)
    assert [kind for kind, _ in journal.rows] == ["loadbalancer", "listener"]
    balancer.delete(cascade=True)
    assert not journal.rows


def test_a_refused_change_leaves_the_rows_as_they_were(balancer, journal):
    pool, listener = fill(balancer)
    before = dict(journal.rows)
    with pytest.raises(fastlb.ConfigError):
        pool.create_members([("192.0.2.7", 80), ("192.0.2.8", 0)])
    with pytest.raises(fastlb.Conflict):
        listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    assert journal.rows == before


def test_what_could_not_be_stored_is_stored_with_the_next_change(balancer, journal, monkeypatch):
    pool, _ = fill(balancer)

    def full(balancer, changed):
        raise fastlb.FastLBError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "record", full)
        with pytest.raises(fastlb.FastLBError, match="disk is full"):
            pool.name = "stored later"
    balancer.name = "other"
    assert journal.restored().find_pool("stored later").id == pool.id
