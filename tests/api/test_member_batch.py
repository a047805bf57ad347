# SPDX-License-Identifier: Apache-2.0
"""`PUT /pools/{id}/members`: all members of a pool in one request, which is done whole or not at all."""

import pytest

from fastlb.api.call import Caller
from fastlb.member_batch import KEPT
from fastlb.schema import MemberSpec
from fastlb.schema.field import rules
from fastlb.testing import Load, LoadProcess, Member, MemberProcess, named

UNKNOWN = "99000000-0000-4000-8000-000000000009"
A_SUBNET, ANOTHER = "0b000000-0000-4000-8000-000000000001", "0b000000-0000-4000-8000-000000000002"
ONE = {"address": "192.0.2.1", "protocol_port": 80}
TWO = {"address": "192.0.2.2", "protocol_port": 80}
NEW = {"address": "192.0.2.3", "protocol_port": 80}


def put(site, *members, **query):
    answer = site.api.call("PUT", site.members, params=query, json={"members": members}, expect=202)
    assert answer.content == b""


def addresses(site):
    return [member["address"] for member in site.api.get(site.members)]


@pytest.fixture
def members(site):
    """ONE with everything set, and TWO."""
    one = site.member(
        **ONE,
        name="one",
        weight=7,
        backup=True,
        admin_state_up=False,
        monitor_address="192.0.2.9",
        monitor_port=8,
        subnet_id=A_SUBNET,
        tags=["t"],
        max_connections=5,
    )
    return one, site.member(**TWO)


def test_a_list_creates_updates_and_deletes(site, members):
    one, _ = members
    put(site, ONE | {"weight": 9}, NEW)
    shown = site.api.get(site.members)
    assert [(row["address"], row["weight"]) for row in shown] == [("192.0.2.1", 9), ("192.0.2.3", 1)]
    assert shown[0]["id"] == one["id"]
    assert {row["provisioning_status"] for row in shown} == {"ACTIVE"}
    assert shown[0]["updated_at"] is not None
    site.api.call("GET", f"{site.members}/{members[1]['id']}", expect=404)


def test_what_an_item_leaves_out_goes_back_but_for_the_name_and_the_tags(site, members):
    put(site, ONE, TWO)
    one = site.api.get(f"{site.members}/{members[0]['id']}")
    assert (
        one.items()
        >= {
            "weight": 1,
            "backup": False,
            "admin_state_up": True,
            "monitor_address": None,
            "monitor_port": None,
        }.items()
    )
    assert (one["name"], one["tags"], one["subnet_id"]) == ("one", ["t"], A_SUBNET)
    # Not Octavia's: whoever sends such a list has never heard of it.
    assert one["max_connections"] == 5


def test_name_and_tags_that_an_item_gives(site, members):
    put(site, ONE | {"name": "new", "tags": ["u"], "max_connections": 6}, TWO)
    one = site.api.get(f"{site.members}/{members[0]['id']}")
    assert (one["name"], one["tags"], one["max_connections"]) == ("new", ["u"], 6)
    put(site, ONE | {"name": None, "tags": None, "weight": None, "max_connections": None}, TWO)
    one = site.api.get(f"{site.members}/{members[0]['id']}")
    assert (one["name"], one["tags"], one["weight"], "max_connections" in one) == ("", ["u"], None, False)
    put(site, ONE | {"tags": []}, TWO)
    assert site.api.get(f"{site.members}/{members[0]['id']}")["tags"] == []


def test_every_field_of_a_member_either_goes_back_or_stays(site):
    """A field that is added to members has to be thought of here too."""
    live = [name for name, rule in rules(MemberSpec).items() if rule.live and not rule.ours]
    back = {"weight", "backup", "admin_state_up", "monitor_address", "monitor_port"}
    assert set(live) == back | set(KEPT)


def test_an_address_is_known_in_every_spelling_and_its_subnet_and_its_port_type_stay(site):
    known = site.member("2001:db8::1", 80, subnet_id=A_SUBNET)
    put(
        site,
        {
            "address": "2001:0DB8:0::1",
            "protocol_port": "80",
            "weight": 4,
            "subnet_id": ANOTHER,
            "request_sriov": True,
            "project_id": "whose",
        },
    )
    (shown,) = site.api.get(site.members)
    assert (shown["id"], shown["weight"], shown["subnet_id"]) == (known["id"], 4, A_SUBNET)


@pytest.mark.parametrize("word", ["true", "True", "1", "yes", "on", "T"])
def test_additive_only_deletes_nothing(site, members, word):
    put(site, TWO | {"weight": 5}, NEW, additive_only=word)
    assert [(row["address"], row["weight"]) for row in site.api.get(site.members)] == [
        ("192.0.2.1", 7),
        ("192.0.2.2", 5),
        ("192.0.2.3", 1),
    ]
    put(site, additive_only=word)
    assert len(site.api.get(site.members)) == 3


@pytest.mark.parametrize("word", ["false", "0", "no", "perhaps", ""])
def test_additive_only_has_to_be_said_clearly(site, members, word):
    put(site, TWO, additive_only=word)
    assert addresses(site) == ["192.0.2.2"]


def test_an_empty_list_deletes_all(site, members):
    put(site)
    assert site.api.get(site.members) == []
    revision = site.api.controller.store.revision
    put(site)
    assert site.api.controller.store.revision == revision, "nothing to change, and something was stored"


REFUSED = [
    ([ONE, ONE], 400, "Validation failure: Member must be updated only once in the same request."),
    ([NEW, ONE, NEW], 409, "Another member on this pool is already using ip 192.0.2.3 on protocol_port 80"),
    ([NEW, ONE | {"id": UNKNOWN}], 400, "Unknown attribute for argument members_.members: id"),
    ([NEW, ONE | {"colour": "blue"}], 400, "Unknown attribute for argument members_.members: colour"),
    ([NEW, ONE | {"weight": 257}], 400, "Value: '257'. Value should be lower or equal to 256"),
    ([NEW, ONE | {"backup": None}], 400, "None is not a valid option for backup"),
    ([NEW, {"address": "192.0.2.4"}], 400, "protocol_port. Value: 'None'. Mandatory field missing."),
    ([NEW, {"protocol_port": 80}], 400, "address. Value: 'None'. Mandatory field missing."),
    ([NEW, {"address": "x", "protocol_port": 80}], 400, "Value should be IPv4 or IPv6 format"),
    (
        [NEW, {"address": "169.254.169.254", "protocol_port": 80}],
        400,
        "not a valid option for member address",
    ),
    ([NEW | {"request_sriov": True}], 400, "The load balancer flavor does not allow SR-IOV member ports."),
    ([NEW | {"project_id": "p" * 37}], 400, "maximum character requirement of 36"),
    ([NEW, None], 400, "Value must be an object"),
    ([NEW, "192.0.2.4:80"], 400, "Value must be an object"),
]


@pytest.mark.parametrize(("rows", "status", "fault"), REFUSED)
def test_a_list_that_is_refused_changes_nothing(site, members, rows, status, fault):
    before, revision = site.api.get(site.members), site.api.controller.store.revision
    assert fault in site.api.refused("PUT", site.members, status, members=rows)
    assert site.api.get(site.members) == before
    assert site.api.controller.store.revision == revision


BODIES_REFUSED = [
    ({"member": [ONE]}, "Unknown attribute for argument members_: member"),
    ({"members": ONE}, "Value not a valid list"),
    ({"members": "all"}, "Value not a valid list"),
    ({"members": None}, "Value must be an array"),
    ({}, 'Missing argument: "members_"'),
]


@pytest.mark.parametrize(("body", "fault"), BODIES_REFUSED)
def test_what_is_no_list_of_members_is_refused(site, members, body, fault):
    answer = site.api.call("PUT", site.members, json=body, expect=400)
    assert fault in answer.json()["faultstring"]
    assert len(site.api.get(site.members)) == 2


def test_a_pool_that_is_not_there_is_a_matter_of_routing(api):
    answer = api.call("PUT", f"/pools/{UNKNOWN}/members", json={"members": []}, expect=404)
    assert answer.json()["title"] == "Bad Request"
    assert answer.json()["description"] == f"Pool {UNKNOWN} not found."


def test_a_list_is_stored_as_one_commit(site, members):
    store = site.api.controller.store
    commits = []
    stop = store.watch(commits.append)
    revision = store.revision
    put(site, ONE, NEW)
    assert store.revision == revision + 1
    rows = {row.id: row.document["spec"]["address"] for row in store.list("member")}
    assert rows == {row["id"]: row["address"] for row in site.api.get(site.members)}
    stop()


def test_the_quota_counts_what_the_pool_grows_by(site, members):
    project = site.api.get(f"/loadbalancers/{site.id}")["project_id"]
    site.api.controller.quotas.change(project, {"member": 2})
    site.api.called_by(Caller(project_id=project))
    put(site, ONE, NEW)
    put(site, TWO)
    put(site, TWO, additive_only=True)
    rows = [ONE | {"protocol_port": port} for port in (1, 2, 3)]
    site.api.call("PUT", site.members, json={"members": rows}, expect=403)
    site.api.call("PUT", f"{site.members}?additive_only=true", json={"members": rows[:2]}, expect=403)
    assert addresses(site) == ["192.0.2.2"]
    put(site, rows[0], additive_only=True)
    put(site, *rows[1:])


def test_members_change_places_and_no_client_notices(site):
    """From one to both and on to the other, under load: connections are kept or made anew, and each request is
    answered."""
    with Member(named("one")) as one, Member(named("two")) as two:
        rows = [{"address": member.address, "protocol_port": member.port} for member in (one, two)]
        put(site, rows[0])
        with Load(site.client) as load:
            load.wait_requests(20)
            put(site, *rows)
            load.wait_requests(20)
            put(site, rows[1])
            load.wait_requests(20)
        assert load.failures == []
        assert load.bodies.keys() == {b"one", b"two"}
        seen = len(one.requests)
        assert site.answers(4) == {b"two": 4}
        assert len(one.requests) == seen


def test_lists_under_load_lose_no_request(site):
    """All members at once, back and forth: those that come are there before those that go have gone."""
    origins = [MemberProcess(str(number)) for number in range(4)]
    try:
        rows = [{"address": origin.address, "protocol_port": origin.port} for origin in origins]
        put(site, *rows[:2])
        with LoadProcess(site.client, clients=2) as kept, LoadProcess(site.client, keep_alive=False) as fresh:
            kept.wait_running()
            fresh.wait_running()
            for turn in range(100):
                start = 2 * (turn % 2)
                put(site, *(row | {"weight": 1 + turn} for row in rows[start : start + 2]))
        assert kept.failures == []
        assert fresh.failures == []
        assert kept.requests > 100
        assert fresh.requests > 20
    finally:
        for origin in origins:
            origin.close()


def test_more_members_than_a_pool_can_have_are_refused_as_a_whole(site):
    site.member(**ONE)
    rows = [{"address": "192.0.2.2", "protocol_port": port} for port in range(1, 65536)]
    said = site.api.refused("PUT", site.members, 400, members=rows)
    assert "members=65536: must be at most 65535 at once" in said
    assert addresses(site) == [ONE["address"]]
    pool = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": [*rows, ONE]}
    fields = {"vip_subnet_id": UNKNOWN, "pools": [pool]}
    assert "members=65536" in site.api.refused("POST", "/loadbalancers", 400, loadbalancer=fields)
