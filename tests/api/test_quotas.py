# SPDX-License-Identifier: Apache-2.0
"""Quotas: what a project may have, who sets it, and what is refused when it is met."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastlb.api.call import Caller
from fastlb.quota import QuotaMet, Quotas
from fastlb.store.memory import MemoryStore

SHOP = "5a0b0000000000000000000000000001"
OTHER = "5a0b0000000000000000000000000002"
ADMIN = Caller(project_id=OTHER, admin=True)
MEMBER = Caller(project_id=SHOP)
UNLIMITED = {
    "loadbalancer": -1,
    "load_balancer": -1,
    "listener": -1,
    "pool": -1,
    "member": -1,
    "healthmonitor": -1,
    "health_monitor": -1,
    "l7policy": -1,
    "l7rule": -1,
}
POOL = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}


@pytest.fixture
def limited(api):
    """`limited(pool=2)`: the shop may have no more; from then on a member of the shop asks."""

    def limit(**limits):
        api.called_by(ADMIN)
        api.call("PUT", f"/quotas/{SHOP}", json={"quota": limits}, expect=202)
        api.called_by(MEMBER)
        return api

    return limit


def balancer(api, **fields):
    return api.load_balancer(vip_address="127.0.0.1", **fields)


def met(api, kind, path, **document):
    """Is it refused, in Octavia's words?"""
    return api.refused("POST", path, 403, **document) == f"Quota has been met for resources: {kind}"


# The resource.


def test_a_project_has_the_defaults_until_it_gets_its_own(api):
    assert api.get(f"/quotas/{SHOP}") == {"project_id": SHOP, "tenant_id": SHOP, **UNLIMITED}
    assert api.get("/quotas") == []
    response = api.call("PUT", f"/quotas/{SHOP}", json={"quota": {"pool": 3, "load_balancer": 5}}, expect=202)
    own = {
        "project_id": SHOP,
        "tenant_id": SHOP,
        **UNLIMITED,
        "pool": 3,
        "loadbalancer": 5,
        "load_balancer": 5,
    }
    assert response.json() == {"quota": own}
    assert api.get(f"/quotas/{SHOP}") == own
    assert api.get("/quotas") == [own]
    assert api.get(f"/quotas/{SHOP}/default") == {"project_id": SHOP, "tenant_id": SHOP, **UNLIMITED}


def test_null_and_delete_give_the_defaults_back(api):
    api.call("PUT", f"/quotas/{SHOP}", json={"quota": {"pool": 3, "member": 4}}, expect=202)
    api.call("PUT", f"/quotas/{SHOP}", json={"quota": {"pool": None}}, expect=202)
    assert (api.get(f"/quotas/{SHOP}")["pool"], api.get(f"/quotas/{SHOP}")["member"]) == (-1, 4)
    assert api.call("DELETE", f"/quotas/{SHOP}", expect=202).content == b""
    assert api.get(f"/quotas/{SHOP}") == {"project_id": SHOP, "tenant_id": SHOP, **UNLIMITED}
    assert api.get("/quotas") == []
    api.call("DELETE", f"/quotas/{SHOP}", expect=202)
    assert api.refused("DELETE", f"/quotas/{OTHER}", 404) == f"Quotas {OTHER} not found."


@pytest.mark.parametrize(
    "fields", [{"pool": -2}, {"pool": 2_000_000_001}, {"pool": "x"}, {"pools": 1}, {"project_id": SHOP}]
)
def test_what_is_no_limit_is_refused_and_nothing_changes(api, fields):
    api.call("PUT", f"/quotas/{SHOP}", json={"quota": fields}, expect=400)
    assert api.get("/quotas") == []


def test_quotas_are_listed_by_page_and_filter(api):
    for number in range(4):
        api.call("PUT", f"/quotas/p{number}", json={"quota": {"pool": number % 2}}, expect=202)
    page = api.call("GET", "/quotas?limit=2", expect=200).json()
    assert [one["project_id"] for one in page["quotas"]] == ["p0", "p1"]
    (link,) = page["quotas_links"]
    following = api.session.get(link["href"], timeout=20).json()
    assert [one["project_id"] for one in following["quotas"]] == ["p2", "p3"]
    assert [one["project_id"] for one in api.get("/quotas", pool=1)] == ["p1", "p3"]
    assert [one["project_id"] for one in api.get("/quotas", project_id="p2")] == ["p2"]


def test_a_project_reads_its_quota_and_only_an_admin_sets_it(limited):
    api = limited(pool=3)
    assert api.get(f"/quotas/{SHOP}")["pool"] == 3
    assert api.get(f"/quotas/{SHOP}/default")["pool"] == -1
    assert [one["project_id"] for one in api.get("/quotas")] == [SHOP]
    for method, path, body in (
        ("PUT", f"/quotas/{SHOP}", {"quota": {"pool": 9}}),
        ("DELETE", f"/quotas/{SHOP}", {}),
        ("GET", f"/quotas/{OTHER}", {}),
        ("GET", f"/quotas?project_id={OTHER}", {}),
    ):
        assert api.refused(method, path, 403, **body) == "Policy does not allow this request to be performed."
    api.called_by(Caller(project_id=OTHER))
    assert api.get("/quotas") == []


# What they do.


def test_each_kind_is_refused_when_its_quota_is_met(limited):
    api = limited(loadbalancer=1, listener=1, pool=1, member=1, healthmonitor=1, l7policy=1, l7rule=1)
    lb = balancer(api)["id"]
    listener = {"loadbalancer_id": lb, "protocol": "HTTP", "protocol_port": 8080}
    pool = api.post("/pools", pool={**POOL, "loadbalancer_id": lb})["id"]
    made = api.post("/listeners", listener={**listener, "admin_state_up": False})["id"]
    member = {"address": "127.0.0.1", "protocol_port": 80}
    api.post(f"/pools/{pool}/members", member=member)
    monitor = {"pool_id": pool, "type": "TCP", "delay": 60, "timeout": 5, "max_retries": 1}
    watching = api.post("/healthmonitors", healthmonitor=monitor)["id"]
    policy = api.post("/l7policies", l7policy={"listener_id": made, "action": "REJECT"})["id"]
    rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/a"}
    api.post(f"/l7policies/{policy}/rules", rule=rule)
    assert met(api, "Load Balancer", "/loadbalancers", loadbalancer={"vip_subnet_id": pool})
    assert met(api, "Listener", "/listeners", listener={**listener, "protocol_port": 8081})
    assert met(api, "Pool", "/pools", pool={**POOL, "loadbalancer_id": lb})
    assert met(api, "Member", f"/pools/{pool}/members", member={**member, "protocol_port": 81})
    assert met(api, "L7 Policy", "/l7policies", l7policy={"listener_id": made, "action": "REJECT"})
    assert met(api, "L7 Rule", f"/l7policies/{policy}/rules", rule=rule)
    api.delete(f"/healthmonitors/{watching}")
    api.post("/healthmonitors", healthmonitor=monitor)


def test_what_is_deleted_makes_room_also_in_a_cascade(limited):
    api = limited(loadbalancer=1, pool=2)
    first = balancer(api, pools=[{**POOL, "name": "a"}, {**POOL, "name": "b"}])["id"]
    assert met(api, "Pool", "/pools", pool={**POOL, "loadbalancer_id": first})
    api.delete(f"/loadbalancers/{first}", cascade=True)
    second = balancer(api)["id"]
    for _ in range(2):
        api.post("/pools", pool={**POOL, "loadbalancer_id": second})
    assert met(api, "Pool", "/pools", pool={**POOL, "loadbalancer_id": second})


WHOLE = {
    "pools": [{**POOL, "name": "a", "members": [{"address": "127.0.0.1", "protocol_port": 80}]}],
    "listeners": [
        {
            "protocol": "HTTP",
            "protocol_port": 8080,
            "admin_state_up": False,
            "default_pool": {"name": "a"},
            "l7policies": [
                {
                    "action": "REDIRECT_TO_POOL",
                    "redirect_pool": {
                        **POOL,
                        "name": "b",
                        "members": [{"address": "127.0.0.1", "protocol_port": n} for n in (81, 82)],
                        "healthmonitor": {"type": "TCP", "delay": 60, "timeout": 5, "max_retries": 1},
                    },
                    "rules": [{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/a"}],
                }
            ],
        }
    ],
}
IN_IT = {
    "loadbalancer": 1,
    "listener": 1,
    "pool": 2,
    "member": 3,
    "healthmonitor": 1,
    "l7policy": 1,
    "l7rule": 1,
}


@pytest.mark.parametrize("kind", IN_IT)
def test_a_whole_load_balancer_counts_everything_in_it_and_fails_as_a_whole(limited, kind):
    labels = {"loadbalancer": "Load Balancer", "healthmonitor": "Health Monitor", "l7policy": "L7 Policy"}
    api = limited(**IN_IT | {kind: IN_IT[kind] - 1})
    document = {"vip_subnet_id": SHOP[:8] + "-0000-4000-8000-000000000001", **WHOLE}
    label = labels.get(kind, {"l7rule": "L7 Rule"}.get(kind, kind.capitalize()))
    assert met(api, label, "/loadbalancers", loadbalancer=document)
    assert api.get("/loadbalancers") == []
    assert api.get("/pools") == []
    limited(**IN_IT)
    api.post("/loadbalancers", loadbalancer=document)


def test_a_batch_of_members_counts_what_is_more_afterwards(limited):
    api = limited(member=2)
    pool = balancer(api, pools=[{**POOL, "name": "a"}])["pools"][0]["id"]
    rows = [{"address": "127.0.0.1", "protocol_port": port} for port in (80, 81, 82, 83)]

    def batch(some, expect):
        return api.call("PUT", f"/pools/{pool}/members", json={"members": some}, expect=expect)

    fault = batch(rows[:3], 403).json()["faultstring"]
    assert fault == "Quota has been met for resources: Member"
    assert api.get(f"/pools/{pool}/members") == []
    batch(rows[:2], 202)
    batch(rows[2:], 202)  # two go, two come
    batch(rows[:3], 403)
    assert len(api.get(f"/pools/{pool}/members")) == 2


def test_other_projects_and_who_is_not_authenticated_are_not_held_to_it(limited):
    api = limited(loadbalancer=0)
    assert met(api, "Load Balancer", "/loadbalancers", loadbalancer={"vip_subnet_id": SHOP})
    api.called_by(Caller(project_id=OTHER))
    balancer(api)
    api.called_by(None)
    balancer(api, project_id=SHOP)


def test_what_is_there_counts_after_a_restart(controller):
    made = controller.create_load_balancer({"pools": [{**POOL, "name": "a"}]}, project_id=SHOP)
    assert controller.count("pool", SHOP) == 1
    controller.close(0)
    assert controller.count("pool", SHOP) == 0
    with controller:
        assert controller.count("pool", SHOP) == 1
        controller.delete_load_balancer(controller.get("loadbalancer", made.id), cascade=True)
        assert controller.count("pool", SHOP) == 0


# Many at once.


def test_of_many_at_once_exactly_as_many_as_may_be_are_made(limited):
    api = limited(pool=10)
    balancers = [balancer(api)["id"] for _ in range(4)]
    begin = threading.Barrier(8)

    def create(number):
        begin.wait()
        document = {"pool": {**POOL, "loadbalancer_id": balancers[number % 4]}}
        return [api.call("POST", "/pools", json=document).status_code for _ in range(3)]

    with ThreadPoolExecutor(8) as threads:
        answers = [status for statuses in threads.map(create, range(8)) for status in statuses]
    assert sorted(answers) == [201] * 10 + [403] * 14
    assert len(api.get("/pools")) == 10


def test_nobody_is_refused_for_what_another_asked_for_and_has_made():
    quotas = Quotas(MemoryStore(), {"pool": 2})
    with quotas.room():
        quotas.ask("pool", SHOP)
        quotas.made("pool", SHOP)
        # Still within the first request: one is there, and room for one more.
        with ThreadPoolExecutor(1) as other:
            other.submit(quotas.ask, "pool", SHOP).result()
            with pytest.raises(QuotaMet):
                other.submit(quotas.ask, "pool", SHOP, 2).result()


def test_room_that_was_asked_for_is_kept_until_the_request_is_done():
    quotas = Quotas(MemoryStore(), {"pool": 1})
    with ThreadPoolExecutor(1) as other:
        with quotas.room():
            quotas.ask("pool", SHOP)
            with pytest.raises(QuotaMet):
                other.submit(quotas.ask, "pool", SHOP).result()
        other.submit(quotas.ask, "pool", SHOP).result()
    assert quotas.count("pool", SHOP) == 0
