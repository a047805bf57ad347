# SPDX-License-Identifier: Apache-2.0
"""One load balancer becomes like another: everything that differs, and nothing else."""

import copy

import pytest

from fastlb import LoadBalancer, reconcile

PATH = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/a"}
HOST = {"type": "HOST_NAME", "compare_type": "EQUAL_TO", "value": "a.example"}
MONITOR = {"type": "HTTP", "delay": 5, "timeout": 2, "max_retries": 2}
BASE = {
    "name": "lb",
    "vip_address": "127.0.0.1",
    "listeners": [
        {
            "name": "front",
            "protocol": "HTTP",
            "protocol_port": 80,
            "default_pool": {"name": "app"},
            "l7policies": [
                {"name": "no", "action": "REJECT", "rules": [PATH]},
                {
                    "name": "other",
                    "action": "REDIRECT_TO_POOL",
                    "redirect_pool": {"name": "side"},
                    "rules": [HOST],
                },
            ],
        },
        {"name": "raw", "protocol": "TCP", "protocol_port": 0, "default_pool": {"name": "side"}},
    ],
    "pools": [
        {
            "name": "app",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "session_persistence": {"type": "HTTP_COOKIE"},
            "members": [{"address": f"10.0.0.{n}", "protocol_port": 80} for n in range(1, 4)],
            "healthmonitor": MONITOR,
        },
        {"name": "side", "protocol": "HTTP", "lb_algorithm": "MAGLEV"},
    ],
}


def changed(*changes):
    document = copy.deepcopy(BASE)
    for change in changes:
        change(document)
    return document


def lb(**fields):
    return lambda document: document.update(fields)


def at(path, **fields):
    """`at("pools 0 members 1", weight=5)`."""

    def change(document):
        for step in path.split():
            document = document[int(step) if step.isdigit() else step]
        document.update(fields)

    return change


def without(path):
    def change(document):
        *steps, last = path.split()
        for step in steps:
            document = document[int(step) if step.isdigit() else step]
        document.pop(int(last) if last.isdigit() else last)

    return change


def more(path, *elements):
    def change(document):
        for step in path.split():
            document = document[int(step) if step.isdigit() else step]
        document.extend(elements)

    return change


def first_last(path):
    def change(document):
        for step in path.split():
            document = document[int(step) if step.isdigit() else step]
        document.reverse()

    return change


CHANGES = {
    "nothing": ([], []),
    "the load balancer": (
        [lb(description="x", drain_timeout=1)],
        ["load balancer 'lb': description, drain_timeout"],
    ),
    "a listener": (
        [at("listeners 0", name="f", connection_limit=7, insert_headers={"X-Forwarded-For": "true"})],
        ["listener 'front': name, connection_limit, insert_headers"],
    ),
    "its default pool": (
        [at("listeners 0", default_pool={"name": "side"})],
        ["listener 'front': default_pool_id"],
    ),
    "no default pool": ([at("listeners 0", default_pool=None)], ["listener 'front': default_pool_id"]),
    "a new listener": (
        [more("listeners", {"name": "new", "protocol": "HTTP", "protocol_port": 81, "l7policies": []})],
        ["create listener 'new'"],
    ),
    "a listener less": ([without("listeners 0")], ["delete listener 'front'"]),
    "another port": (
        [at("listeners 0", protocol_port=82)],
        ["delete listener 'front'", "create listener 'front'"],
    ),
    "another protocol": (
        [at("listeners 0", protocol="TCP", l7policies=[])],
        ["delete listener 'front'", "create listener 'front'"],
    ),
    "another name of any port": (
        [at("listeners 1", name="r")],
        ["delete listener 'raw'", "create listener 'r'"],
    ),
    "a policy's rules": (
        [at("listeners 0 l7policies 0", rules=[HOST, PATH])],
        ["listener 'front': L7 policies"],
    ),
    "a policy's pool": (
        [at("listeners 0 l7policies 1", redirect_pool={"name": "app"})],
        ["listener 'front': L7 policies"],
    ),
    "the order of policies": ([first_last("listeners 0 l7policies")], ["listener 'front': L7 policies"]),
    "no policies": ([at("listeners 0", l7policies=[])], ["listener 'front': L7 policies"]),
    "a pool": (
        [at("pools 0", lb_algorithm="SOURCE_IP", session_persistence=None, retry={"num_retries": 1})],
        ["pool 'app': lb_algorithm, session_persistence, retry"],
    ),
    "another persistence": (
        [at("pools 0", session_persistence={"type": "APP_COOKIE", "cookie_name": "a"})],
        ["pool 'app': session_persistence"],
    ),
    "a pool's protocol": (
        [at("pools 0", protocol="PROXY")],
        ["create pool 'app'", "listener 'front': default_pool_id", "delete pool 'app'"],
    ),
    "a new pool that is used at once": (
        [
            more(
                "pools",
                {"name": "new", "protocol": "HTTP", "lb_algorithm": "MAGLEV", "healthmonitor": MONITOR},
            ),
            at("listeners 0", default_pool={"name": "new"}),
            more(
                "listeners 0 l7policies",
                {"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "new"}, "rules": [PATH]},
            ),
        ],
        ["create pool 'new'", "listener 'front': L7 policies", "listener 'front': default_pool_id"],
    ),
    "a pool less": (
        [without("pools 1"), without("listeners 1"), without("listeners 0 l7policies 1")],
        ["delete listener 'raw'", "listener 'front': L7 policies", "delete pool 'side'"],
    ),
    "a member": (
        [at("pools 0 members 1", weight=5, backup=True, max_connections=9)],
        ["member 10.0.0.2:80: weight, backup, max_connections"],
    ),
    "members come and go": (
        [without("pools 0 members 0"), more("pools 0 members", {"address": "::1", "protocol_port": 80})],
        ["pool 'app': new [::1]:80", "pool 'app': without 10.0.0.1:80"],
    ),
    "a member's subnet": (
        [at("pools 0 members 0", subnet_id="6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d")],
        ["member 10.0.0.1:80: subnet_id, as a new member", "pool 'app': new 10.0.0.1:80"],
    ),
    "a monitor": (
        [at("pools 0 healthmonitor", delay=1, url_path="/x")],
        ["health monitor of pool 'app': delay, url_path"],
    ),
    "a monitor's type": (
        [at("pools 0", healthmonitor=MONITOR | {"type": "TCP"})],
        ["delete health monitor of pool 'app'", "create health monitor of pool 'app'"],
    ),
    "no monitor": ([without("pools 0 healthmonitor")], ["delete health monitor of pool 'app'"]),
    "a new monitor": ([at("pools 1", healthmonitor=MONITOR)], ["create health monitor of pool 'side'"]),
    "everything off": (
        [
            lb(admin_state_up=False),
            at("listeners 0", admin_state_up=False),
            at("pools 0", admin_state_up=False),
        ],
        [
            "pool 'app': admin_state_up",
            "listener 'front': admin_state_up",
            "load balancer 'lb': admin_state_up",
        ],
    ),
}
DOCUMENTS = {name: changed(*changes) for name, (changes, _) in CHANGES.items()}


def normal(balancer):
    """Its document, without the order of creation where that means nothing."""
    body = balancer.to_dict()["loadbalancer"]
    body["listeners"].sort(key=lambda one: (one["protocol_port"], one["name"]))
    body["pools"].sort(key=lambda one: one["name"])
    for pool in body["pools"]:
        pool["members"].sort(key=lambda one: one["address"])
    return body


@pytest.mark.parametrize("name", CHANGES)
def test_only_what_differs_is_changed(name):
    changes, words = CHANGES[name]
    balancer = LoadBalancer.from_dict(BASE)
    assert reconcile.apply(balancer, LoadBalancer.from_dict(changed(*changes))) == (words, [])


@pytest.mark.parametrize("turn", [1, -1])
def test_from_one_to_the_next_and_then_there_is_nothing_to_do(turn):
    balancer = LoadBalancer.from_dict(BASE)
    for goal in list(DOCUMENTS.values())[::turn]:
        wanted = LoadBalancer.from_dict(goal)
        assert reconcile.same_place(balancer, wanted)
        assert reconcile.apply(balancer, wanted)[1] == []
        assert normal(balancer) == normal(LoadBalancer.from_dict(goal))
        assert reconcile.apply(balancer, wanted) == ([], [])


def test_what_stays_is_the_same_object():
    balancer = LoadBalancer.from_dict(BASE)
    front, app = balancer.find_listener("front"), balancer.find_pool("app")
    before = [*balancer.listeners, *balancer.pools, *app.members, *front.l7policies]
    goal = changed(
        at("listeners 0 l7policies 0", rules=[HOST]),
        first_last("listeners 0 l7policies"),
        at("listeners 0", timeout_client_data=7),
        at("pools 0", lb_algorithm="MAGLEV"),
        without("pools 0 members 0"),
    )
    reconcile.apply(balancer, LoadBalancer.from_dict(goal))
    after = [*balancer.listeners, *balancer.pools, *app.members, *front.l7policies]
    assert [one for one in before if one not in after] == [before[4], before[7]]
    assert [policy.name for policy in front.l7policies] == ["other", "no"]


def test_a_null_weight_is_no_difference():
    balancer = LoadBalancer.from_dict(BASE)
    wanted = LoadBalancer.from_dict(changed(at("pools 0 members 0", weight=None)))
    assert reconcile.apply(balancer, wanted) == ([], [])


@pytest.mark.parametrize(
    "field", [{"vip_address": "127.0.0.2"}, {"project_id": "p"}, {"additional_vips": [{"ip_address": "::1"}]}]
)
def test_another_address_or_project_is_another_place(field):
    one, other = LoadBalancer.from_dict(BASE), LoadBalancer.from_dict(changed(lb(**field)))
    assert not reconcile.same_place(one, other)


def test_what_is_not_wanted_goes_whoever_made_it():
    balancer = LoadBalancer.from_dict(BASE)
    balancer.create_listener(name="mine", protocol="HTTPS", protocol_port=83)
    balancer.find_pool("app").create_member("10.0.0.9", 80)
    balancer.find_pool("app").find_member("10.0.0.1:80").delete()
    goal = changed(more("listeners", {"name": "new", "protocol": "HTTP", "protocol_port": 83}))
    done, failed = reconcile.apply(balancer, LoadBalancer.from_dict(goal))
    assert failed == []
    assert done == [
        "pool 'app': new 10.0.0.1:80",
        "pool 'app': without 10.0.0.9:80",
        "delete listener 'mine'",
        "create listener 'new'",
    ]
