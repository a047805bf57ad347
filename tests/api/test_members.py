# SPDX-License-Identifier: Apache-2.0
"""`/pools/{id}/members`: made, shown, changed, deleted, refused; and what a member's fields do to traffic."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastlb.api.call import Caller
from fastlb.testing import Load, Member, named

UNKNOWN = "99000000-0000-4000-8000-000000000009"
A_SUBNET = "0b000000-0000-4000-8000-000000000001"
SOME = {"address": "192.0.2.1", "protocol_port": 80}


def test_a_new_member_is_answered_with_all_its_fields(site):
    member = site.member("192.0.2.1", 80)
    assert member.pop("id")
    assert member.pop("created_at")
    assert member.pop("project_id") == member.pop("tenant_id")
    assert member == {
        "name": "",
        "address": "192.0.2.1",
        "protocol_port": 80,
        "weight": 1,
        "backup": False,
        "subnet_id": None,
        "monitor_address": None,
        "monitor_port": None,
        "vnic_type": "normal",
        "admin_state_up": True,
        "tags": [],
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "NO_MONITOR",
        "updated_at": None,
    }


def test_what_was_answered_as_pending_is_active_at_once(site):
    member = site.member()
    shown = site.api.get(f"{site.members}/{member['id']}")
    assert shown == member | {"provisioning_status": "ACTIVE"}
    updated = site.api.put(f"{site.members}/{member['id']}", member={"weight": 7})
    assert updated["provisioning_status"] == "PENDING_UPDATE"
    assert site.api.get(f"{site.members}/{member['id']}") == updated | {"provisioning_status": "ACTIVE"}


GIVEN = [
    ("name", "web1", "web1"),
    ("name", None, ""),
    ("weight", 0, 0),
    ("weight", "256", 256),
    ("weight", 2.9, 2),
    ("weight", None, None),
    ("backup", "yes", True),
    ("subnet_id", A_SUBNET, A_SUBNET),
    ("subnet_id", None, None),
    ("monitor_address", "2001:0DB8::9", "2001:db8::9"),
    ("monitor_port", "8080", 8080),
    ("monitor_port", None, None),
    ("admin_state_up", None, False),
    ("admin_state_up", False, False),
    ("tags", ["a", "b", "a"], ["a", "b"]),
    ("tags", None, []),
    ("protocol_port", "81", 81),
    ("max_connections", 5, 5),
]


@pytest.mark.parametrize(("field", "given", "stored"), GIVEN)
def test_a_field_that_is_given_is_stored(site, field, given, stored):
    member = site.member(**{field: given})
    assert member[field] == stored
    assert site.api.get(f"{site.members}/{member['id']}")[field] == stored


def test_a_member_is_in_its_load_balancers_project_whatever_the_body_says(site):
    project = site.api.get(f"/loadbalancers/{site.id}")["project_id"]
    for field in ("project_id", "tenant_id"):
        member = site.member(protocol_port=len(field), **{field: "somebody-elses"})
        assert (member["project_id"], member["tenant_id"]) == (project, project)


REFUSED = [
    ({"address": None}, "None is not a valid option for address"),
    (
        {"address": "web1"},
        "Invalid input for field/attribute address. Value: 'web1'. Value should be IPv4 or",
    ),
    ({"address": 167772161}, "Value should be IPv4 or IPv6 format"),
    ({"address": "169.254.169.254"}, "169.254.169.254 is not a valid option for member address"),
    ({"protocol_port": 0}, "Value: '0'. Value should be greater or equal to 1"),
    ({"protocol_port": 65536}, "Value: '65536'. Value should be lower or equal to 65535"),
    ({"protocol_port": "http"}, "Invalid input for field/attribute protocol_port. Value: 'http'."),
    ({"weight": 257}, "Value should be lower or equal to 256"),
    ({"weight": -1}, "Value should be greater or equal to 0"),
    ({"backup": "perhaps"}, "Value not an unambiguous boolean: perhaps"),
    ({"backup": None}, "None is not a valid option for backup"),
    ({"name": 7}, "Invalid input for field/attribute name. Value: '7'. Value should be string"),
    ({"name": "n" * 256}, "Value should have a maximum character requirement of 255"),
    ({"tags": "web"}, "Value not a valid list: web"),
    ({"tags": [1]}, "Value should be string"),
    ({"subnet_id": "front"}, "Value should be UUID format"),
    ({"monitor_address": "x"}, "Value should be IPv4 or IPv6 format"),
    ({"monitor_port": 0}, "Value should be greater or equal to 1"),
    ({"request_sriov": True}, "The load balancer flavor does not allow SR-IOV member ports."),
    ({"project_id": "p" * 37}, "Value should have a maximum character requirement of 36"),
    ({"vnic_type": "normal"}, "Unknown attribute for argument member_.member: vnic_type"),
    ({"id": UNKNOWN}, "Unknown attribute for argument member_.member: id"),
    ({"description": "x"}, "Unknown attribute for argument member_.member: description"),
]


@pytest.mark.parametrize(("fields", "fault"), REFUSED)
def test_a_new_member_is_refused_in_octavias_words(site, fields, fault):
    said = site.api.refused("POST", site.members, 400, member={**SOME, **fields})
    assert fault in said
    assert site.api.get(site.members) == []


@pytest.mark.parametrize("missing", SOME)
def test_a_member_needs_an_address_and_a_port(site, missing):
    fields = {name: value for name, value in SOME.items() if name != missing}
    said = site.api.refused("POST", site.members, 400, member=fields)
    assert said == f"Invalid input for field/attribute {missing}. Value: 'None'. Mandatory field missing."


BODIES_REFUSED = [
    ({"members": SOME}, "Unknown attribute for argument member_: members"),
    ({"member": SOME, "pool": {}}, "Unknown attribute for argument member_: pool"),
    ({"member": None}, "Value must be an object"),
    ({"member": []}, "Value must be an object"),
    (None, 'Missing argument: "member_"'),
]


@pytest.mark.parametrize(("body", "fault"), BODIES_REFUSED)
def test_a_body_without_a_member_is_refused(site, body, fault):
    answer = site.api.call("POST", site.members, json=body, expect=400)
    assert fault in answer.json()["faultstring"]


def test_the_same_address_and_port_twice_is_a_conflict(site):
    site.member("2001:db8::1", 80)
    said = site.api.refused(
        "POST", site.members, 409, member={"address": "2001:0DB8:0::1", "protocol_port": 80}
    )
    assert said == "Another member on this pool is already using ip 2001:db8::1 on protocol_port 80"
    site.member("2001:db8::1", 81)
    site.member("2001:db8::2", 80)


def test_an_update_changes_what_it_names_and_null_goes_back_to_the_default(site):
    given = {"name": "n", "weight": 9, "backup": True, "monitor_address": "192.0.2.9", "monitor_port": 8}
    member = site.member(tags=["t"], subnet_id=A_SUBNET, **given)
    path = f"{site.members}/{member['id']}"
    assert member.items() >= given.items()
    kept = site.api.put(path, member={"weight": 3})
    assert kept == member | {
        "weight": 3,
        "updated_at": kept["updated_at"],
        "provisioning_status": "PENDING_UPDATE",
    }
    assert kept["updated_at"] is not None
    reset = site.api.put(path, member=dict.fromkeys([*given, "tags", "admin_state_up"]))
    assert (
        reset.items()
        >= {
            "name": "",
            "weight": 1,
            "backup": False,
            "monitor_address": None,
            "monitor_port": None,
            "tags": ["t"],
            "admin_state_up": False,
            "subnet_id": A_SUBNET,
        }.items()
    )
    assert site.api.put(path, member={"tags": []})["tags"] == []


def test_an_update_of_nothing_is_one(site):
    member = site.member()
    updated = site.api.put(f"{site.members}/{member['id']}", member={})
    assert updated["provisioning_status"] == "PENDING_UPDATE"
    assert updated["updated_at"] is not None


UPDATES_REFUSED = [
    ({"address": "192.0.2.2"}, "Unknown attribute for argument member_.member: address"),
    ({"protocol_port": 81}, "Unknown attribute for argument member_.member: protocol_port"),
    ({"subnet_id": None}, "Unknown attribute for argument member_.member: subnet_id"),
    ({"request_sriov": False}, "Unknown attribute for argument member_.member: request_sriov"),
    ({"project_id": "x"}, "Unknown attribute for argument member_.member: project_id"),
    ({"weight": 257}, "Value should be lower or equal to 256"),
    ({"name": "new", "monitor_port": 0}, "Value should be greater or equal to 1"),
]


@pytest.mark.parametrize(("fields", "fault"), UPDATES_REFUSED)
def test_an_update_that_is_refused_changes_nothing(site, fields, fault):
    member = site.member()
    path = f"{site.members}/{member['id']}"
    before = site.api.get(path)
    assert fault in site.api.refused("PUT", path, 400, member=fields)
    assert site.api.get(path) == before


def test_the_answer_to_an_update_has_the_status_from_before_it(site):
    member = site.member()
    path = f"{site.members}/{member['id']}"
    assert site.api.put(path, member={"admin_state_up": False})["operating_status"] == "NO_MONITOR"
    assert site.api.get(path)["operating_status"] == "OFFLINE"


def test_a_deleted_member_is_not_found(site):
    member = site.member()
    path = f"{site.members}/{member['id']}"
    site.api.delete(path)
    for method in ("GET", "PUT", "DELETE"):
        body = {"member": {}} if method == "PUT" else {}
        assert site.api.refused(method, path, 404, **body) == f"Member {member['id']} not found."
    assert site.api.refused("GET", f"{site.members}/web1", 404) == "Member web1 not found."
    assert site.member()["id"] != member["id"]


def test_a_pool_that_is_not_there_is_a_matter_of_routing(site):
    member = site.member()
    for pool in (UNKNOWN, "web"):
        for method, path in (
            ("GET", ""),
            ("POST", ""),
            ("PUT", ""),
            ("GET", f"/{member['id']}"),
            ("PUT", f"/{member['id']}"),
            ("DELETE", f"/{member['id']}"),
        ):
            answer = site.api.call(
                method, f"/pools/{pool}/members{path}", json={"member": {"no": 1}}, expect=404
            )
            description = f"Pool {pool} not found."
            assert answer.json() == {"code": 404, "title": "Bad Request", "description": description}
            assert answer.headers["x-openstack-request-id"].startswith("req-")


def test_a_member_is_found_through_its_own_pool_only(site):
    member = site.member()
    other = site.api.pool()
    path = f"/pools/{other}/members/{member['id']}"
    for method in ("GET", "PUT", "DELETE"):
        body = {"member": {}} if method == "PUT" else {}
        assert site.api.refused(method, path, 404, **body) == f"Member {member['id']} not found."
    assert site.api.get(f"/pools/{other}/members") == []
    assert len(site.api.get(site.members)) == 1


def test_names_in_a_body_are_looked_at_before_the_member_is(site):
    said = site.api.refused("PUT", f"{site.members}/{UNKNOWN}", 400, member={"colour": "blue"})
    assert said == "Unknown attribute for argument member_.member: colour"


def test_a_list_has_the_pools_members_and_filters_them(site):
    one = site.member("192.0.2.1", 80, weight=5, tags=["x"])
    two = site.member("192.0.2.2", 81, name="two", backup=True)
    document = site.api.call("GET", site.members, expect=200).json()
    assert list(document) == ["members", "members_links"]
    assert [row["id"] for row in document["members"]] == [one["id"], two["id"]]

    def found(**query):
        return [row["id"] for row in site.api.get(site.members, **query)]

    assert found(weight="5") == found(address="192.0.2.1") == found(tags="x") == [one["id"]]
    assert found(name="two") == found(protocol_port="81") == found(backup="True") == [two["id"]]
    assert found(pool_id=site.pool) == [one["id"], two["id"]]
    assert found(pool_id=UNKNOWN) == found(vnic_type="direct") == []
    assert site.api.get(site.members, fields="id", id=two["id"]) == [{"id": two["id"]}]
    assert "invalid" in site.api.refused("GET", f"{site.members}?colour=blue", 400)
    shown = site.api.get(f"{site.members}/{one['id']}", fields="name", pool_id="whatever")
    assert shown == {"name": ""}


def test_other_projects_and_observers_are_refused(site):
    member = site.member()
    path = f"{site.members}/{member['id']}"
    project = member["project_id"]
    site.api.called_by(Caller(project_id="another"))
    assert site.api.refused("GET", path, 403).startswith("Policy does not allow")
    site.api.call("GET", site.members, expect=403)
    site.api.called_by(Caller(project_id=project, writes=False))
    site.api.call("GET", path, expect=200)
    site.api.call("GET", site.members, expect=200)
    site.api.call("POST", site.members, json={"member": SOME | {"protocol_port": 81}}, expect=403)
    site.api.call("PUT", path, json={"member": {"weight": 2}}, expect=403)
    site.api.call("PUT", site.members, json={"members": []}, expect=403)
    site.api.call("DELETE", path, expect=403)
    site.api.called_by(Caller(project_id=project))
    site.api.call("DELETE", path, expect=204)


def test_a_member_beyond_the_quota_is_refused(site):
    project = site.api.get(f"/loadbalancers/{site.id}")["project_id"]
    site.api.controller.quotas.change(project, {"member": 0})
    site.api.called_by(Caller(project_id=project))
    fault = site.api.refused("POST", site.members, 403, member=SOME)
    assert fault == "Quota has been met for resources: Member"
    assert site.api.get(site.members) == []
    site.api.called_by(None)
    assert site.member(), "without authentication nobody asks"


def test_a_change_waits_for_the_one_before_it_and_sees_what_that_did(site):
    member = site.member()
    balancer = site.api.controller.get("loadbalancer", site.id)
    path = f"{site.members}/{member['id']}"
    answers = []
    with site.api.controller.writing(balancer):
        waiting = threading.Thread(
            target=lambda: answers.append(site.api.call("PUT", path, json={"member": {"weight": 2}}))
        )
        waiting.start()
        # It cannot be seen waiting for the lock: it has been sent, and is not answered.
        waiting.join(0.1)
        assert not answers
        site.api.controller.get("member", member["id"]).delete()
    waiting.join(10)
    assert answers[0].status_code == 404
    assert answers[0].json()["faultstring"] == f"Member {member['id']} not found."


def test_many_callers_at_once_all_get_what_they_ask_for(site):
    """Changes of one load balancer wait for one another: nobody is told that it is immutable, nothing is lost."""

    def make(first):
        for port in range(first, first + 20):
            path = f"{site.members}/{site.member('192.0.2.1', port)['id']}"
            site.api.put(path, member={"weight": 2})
            if port % 2:
                site.api.delete(path)

    with ThreadPoolExecutor(8) as callers:
        for done in [callers.submit(make, 1 + 20 * number) for number in range(8)]:
            done.result()
    shown = site.api.get(site.members)
    assert sorted(row["protocol_port"] for row in shown) == list(range(2, 161, 2))
    assert {row["weight"] for row in shown} == {2}
    assert {row.id for row in site.api.controller.store.list("member")} == {row["id"] for row in shown}


# Traffic.


def test_a_new_member_gets_requests_when_it_is_answered(site):
    with Member(named("one")) as one, Member(named("two")) as two:
        assert site.client.get().status == 503
        site.member(one)
        assert site.client.get().body == b"one"
        site.member(two)
        assert site.answers(4) == {b"one": 2, b"two": 2}


def test_weights_share_the_requests_out(site):
    with Member(named("one")) as one, Member(named("two")) as two:
        site.member(one, weight=3)
        second = site.member(two)
        assert site.answers(8) == {b"one": 6, b"two": 2}
        site.api.put(f"{site.members}/{second['id']}", member={"weight": 3})
        assert site.answers(8) == {b"one": 4, b"two": 4}


def test_weight_0_drains(site):
    """No new sessions, and what is under way finishes: no request of a steady load fails."""
    with Member(named("stays")) as stays, Member(named("drained")) as drained:
        site.member(stays)
        path = f"{site.members}/{site.member(drained)['id']}"
        with Load(site.client) as load:
            load.wait_requests(50)
            site.api.put(path, member={"weight": 0})
            seen = len(drained.requests)
            load.wait_requests(50)
        assert load.failures == []
        assert load.bodies[b"drained"] > 0
        # One of each client's may have been on its way.
        assert len(drained.requests) <= seen + 4
        assert site.answers(4) == {b"stays": 4}
        assert site.api.get(path)["operating_status"] == "NO_MONITOR"


def test_a_member_that_is_off_or_deleted_gets_nothing_more(site):
    with Member(named("one")) as one, Member(named("two")) as two:
        site.member(one)
        path = f"{site.members}/{site.member(two)['id']}"
        site.api.put(path, member={"admin_state_up": False})
        assert site.answers(4) == {b"one": 4}
        assert site.api.get(path)["operating_status"] == "OFFLINE"
        site.api.put(path, member={"admin_state_up": True})
        assert site.answers(4) == {b"one": 2, b"two": 2}
        site.api.delete(path)
        assert site.answers(4) == {b"one": 4}


def test_a_backup_serves_while_no_other_does(site):
    with Member(named("first")) as first, Member(named("spare")) as spare:
        path = f"{site.members}/{site.member(first)['id']}"
        site.member(spare, backup=True)
        assert site.answers(3) == {b"first": 3}
        site.api.put(path, member={"admin_state_up": False})
        assert site.answers(3) == {b"spare": 3}
