# SPDX-License-Identifier: Apache-2.0
"""Availability zones, which are known by their names, and their profiles."""

import json
from urllib.parse import quote

import pytest

from fastlb.api.call import Caller

UNKNOWN = "99000000-0000-4000-8000-000000000009"
NOVA = json.dumps({"compute_zone": "nova"})


@pytest.fixture
def profile(api):
    fields = {"name": "west", "provider_name": "amphora", "availability_zone_data": NOVA}
    return api.post("/availabilityzoneprofiles", availability_zone_profile=fields)


@pytest.fixture
def make(api, profile):
    def zone(name, **fields):
        body = {"name": name, "availability_zone_profile_id": profile["id"], **fields}
        return api.post("/availabilityzones", availability_zone=body)

    return zone


def test_a_profile_is_shown_listed_changed_and_deleted(api, profile):
    path = f"/availabilityzoneprofiles/{profile['id']}"
    assert api.get(path) == profile
    listed = api.call("GET", "/availabilityzoneprofiles", expect=200).json()
    assert listed == {"availability_zone_profiles": [profile], "availability_zone_profile_links": []}
    assert api.put(path, availability_zone_profile={"name": "east"}) == profile | {"name": "east"}
    api.delete(path)
    fault = f"Availability Zone Profile {profile['id']} not found."
    assert api.refused("GET", path, 404) == api.refused("DELETE", path, 404) == fault


@pytest.mark.parametrize(
    ("data", "status"),
    [("x", 400), ("[]", 501), ('{"colour": 1}', 501), ('{"valid_vip_networks": "x"}', 501), (None, 400)],
)
def test_data_that_the_provider_does_not_take_is_refused(api, data, status):
    fields = {"name": "x", "provider_name": "amphora", "availability_zone_data": data}
    api.refused("POST", "/availabilityzoneprofiles", status, availability_zone_profile=fields)
    assert api.get("/availabilityzoneprofiles") == []


def test_a_zone_is_known_by_its_name(api, make, profile):
    zone = make("west", description="the west")
    assert zone == {
        "name": "west",
        "description": "the west",
        "enabled": True,
        "availability_zone_profile_id": profile["id"],
    }
    assert api.get("/availabilityzones/west") == zone
    assert api.put("/availabilityzones/west", availability_zone={"enabled": False})["enabled"] is False
    fault = api.refused("PUT", "/availabilityzones/west", 400, availability_zone={"name": "south"})
    assert fault == "Unknown attribute for argument availability_zone_.availability_zone: name"
    api.delete("/availabilityzones/west")
    assert api.refused("GET", "/availabilityzones/west", 404) == "Availability Zone west not found."


@pytest.mark.parametrize("name", ["a b", "a/b", "ä", "100%", "a?b", "defaults"])
def test_any_name_can_be_asked_for(api, make, name):
    zone = make(name)
    assert api.get(f"/availabilityzones/{quote(name, safe='')}") == zone
    api.delete(f"/availabilityzones/{quote(name, safe='')}")
    assert api.get("/availabilityzones") == []


def test_names_are_unique_and_not_empty(api, make, profile):
    make("west")
    fields = {"name": "west", "availability_zone_profile_id": profile["id"]}
    fault = "A availability zone of west already exists."
    assert api.refused("POST", "/availabilityzones", 409, availability_zone=fields) == fault
    for name in ("", None):
        api.refused("POST", "/availabilityzones", 400, availability_zone=fields | {"name": name})
    unknown = {"name": "x", "availability_zone_profile_id": UNKNOWN}
    api.refused("POST", "/availabilityzones", 404, availability_zone=unknown)


def test_zones_are_listed_by_page_and_filter(api, make):
    for name in ("a", "b", "c"):
        make(name, enabled=name != "b")
    page = api.call("GET", "/availabilityzones?limit=2", expect=200).json()
    assert [one["name"] for one in page["availability_zones"]] == ["a", "b"]
    (link,) = page["availability_zones_links"]
    following = api.session.get(link["href"], timeout=20).json()
    assert [one["name"] for one in following["availability_zones"]] == ["c"]
    assert [one["name"] for one in api.get("/availabilityzones", enabled="no")] == ["b"]
    assert [one["name"] for one in api.get("/availabilityzones", sort="name:desc")] == ["c", "b", "a"]


def test_what_is_in_use_is_not_deleted(api, make, profile):
    make("west")
    path = f"/availabilityzoneprofiles/{profile['id']}"
    used = f"Availability Zone Profile {profile['id']} is in use and cannot be modified."
    assert api.refused("DELETE", path, 409) == used
    change = {"availability_zone_data": "{}"}
    assert api.refused("PUT", path, 409, availability_zone_profile=change) == used
    made = api.load_balancer(vip_address="127.0.0.1", availability_zone="west")
    assert made["availability_zone"] == "west"
    used = "Availability Zone west is in use and cannot be modified."
    assert api.refused("DELETE", "/availabilityzones/west", 409) == used
    api.delete(f"/loadbalancers/{made['id']}")
    api.delete("/availabilityzones/west")
    api.delete(path)


def test_a_load_balancer_asks_for_a_zone_that_there_is_and_that_is_enabled(api, make):
    make("off", enabled=False)
    for name, fault in (
        ("nowhere", "Validation failure: Invalid availability zone."),
        ("off", "The selected availability_zone is not allowed in this deployment: off"),
    ):
        fields = {"vip_subnet_id": UNKNOWN, "availability_zone": name}
        assert api.refused("POST", "/loadbalancers", 400, loadbalancer=fields) == fault
    assert api.get("/loadbalancers") == []


def test_everybody_reads_zones_and_admins_alone_the_rest(api, make, profile):
    zone = make("west")
    api.called_by(Caller(project_id="shop"))
    assert api.get("/availabilityzones") == [zone]
    for method, path, body in (
        ("POST", "/availabilityzones", {"availability_zone": zone | {"name": "x"}}),
        ("PUT", "/availabilityzones/west", {"availability_zone": {"enabled": False}}),
        ("DELETE", "/availabilityzones/west", {}),
        ("GET", "/availabilityzoneprofiles", {}),
        ("GET", f"/availabilityzoneprofiles/{profile['id']}", {}),
        ("GET", "/providers/amphora/availability_zone_capabilities", {}),
    ):
        assert api.refused(method, path, 403, **body) == "Policy does not allow this request to be performed."


def test_zones_and_flavors_survive_a_restart(api, make, controller):
    zone = make("west")
    controller.close(0)
    with controller:
        assert api.get("/availabilityzones/west") == zone
