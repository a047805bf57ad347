# SPDX-License-Identifier: Apache-2.0
"""Flavors and their profiles: kept, checked, referred to by load balancers; for administrators to change."""

import json

import pytest

from fastlb.api.call import Caller

UNKNOWN = "99000000-0000-4000-8000-000000000009"
SHOP = "5a0b0000000000000000000000000001"
SINGLE = json.dumps({"loadbalancer_topology": "SINGLE"})


def make_profile(api, **fields):
    usual = {"name": "small", "provider_name": "amphora", "flavor_data": SINGLE}
    return api.post("/flavorprofiles", flavorprofile=usual | fields)


@pytest.fixture
def profile(api):
    return make_profile(api)


@pytest.fixture
def make(api, profile):
    def flavor(name="small", **fields):
        return api.post("/flavors", flavor={"name": name, "flavor_profile_id": profile["id"], **fields})

    return flavor


def balancer(api, **fields):
    return api.load_balancer(vip_address="127.0.0.1", **fields)


def test_a_profile_is_shown_listed_changed_and_deleted(api, profile):
    assert profile == {
        "id": profile["id"],
        "name": "small",
        "provider_name": "amphora",
        "flavor_data": SINGLE,
    }
    path = f"/flavorprofiles/{profile['id']}"
    assert api.get(path) == profile
    listed = api.call("GET", "/flavorprofiles", expect=200).json()
    assert listed == {"flavorprofiles": [profile], "flavorprofile_links": []}
    changed = api.put(path, flavorprofile={"name": "tiny", "flavor_data": "{}"})
    assert changed == api.get(path) == profile | {"name": "tiny", "flavor_data": "{}"}
    api.delete(path)
    assert api.refused("GET", path, 404) == f"Flavor Profile {profile['id']} not found."
    assert api.refused("DELETE", path, 404) == f"Flavor profile {profile['id']} not found."


@pytest.mark.parametrize(
    ("data", "status", "fault"),
    [
        ("{single: quotes}", 400, "{single: quotes} is not a valid option for flavor_data"),
        (None, 400, "None is not a valid option for flavor_data"),
        ("[]", 501, "Provider 'amphora' does not support a requested option: [] is not of type 'object'"),
        ('{"colour": 1}', 501, "Additional properties are not allowed ('colour' was unexpected)"),
        ('{"a": 1, "b": 2}', 501, "Additional properties are not allowed ('a', 'b' were unexpected)"),
        (
            '{"loadbalancer_topology": "RING"}',
            501,
            "loadbalancer_topology 'RING' is not one of ['ACTIVE_STANDBY', 'SINGLE']",
        ),
        ('{"sriov_vip": "yes"}', 501, "sriov_vip 'yes' is not of type 'boolean'"),
        ('{"compute_flavor": 1}', 501, "compute_flavor 1 is not of type 'string'"),
        ("[" * 3000, 400, "is not a valid option for flavor_data"),
        ('{"compute_flavor": "' + "x" * 4096 + '"}', 400, "maximum character requirement of 4096"),
    ],
)
def test_data_that_the_provider_does_not_take_is_refused(api, data, status, fault):
    fields = {"name": "x", "provider_name": "amphora", "flavor_data": data}
    assert fault in api.refused("POST", "/flavorprofiles", status, flavorprofile=fields)
    assert api.get("/flavorprofiles") == []


def test_providers_must_be_there(api, profile):
    fields = {"name": "x", "provider_name": "f5", "flavor_data": "{}"}
    assert (
        api.refused("POST", "/flavorprofiles", 400, flavorprofile=fields) == "Provider 'f5' is not enabled."
    )
    change = {"provider_name": "f5"}
    api.refused("PUT", f"/flavorprofiles/{profile['id']}", 400, flavorprofile=change)
    assert api.get(f"/flavorprofiles/{profile['id']}") == profile


def test_a_flavor_is_shown_listed_changed_and_deleted(api, make, profile):
    flavor = make(description="one machine")
    assert flavor == {
        "id": flavor["id"],
        "name": "small",
        "description": "one machine",
        "enabled": True,
        "flavor_profile_id": profile["id"],
    }
    path = f"/flavors/{flavor['id']}"
    assert api.get(path) == flavor
    assert api.get(path, fields="name") == {"name": "small"}
    off = make("off", enabled="no")
    assert api.get("/flavors") == [flavor, off]
    assert api.get("/flavors", enabled="false") == [off]
    assert api.get("/flavors", name="small") == [flavor]
    assert api.refused("GET", "/flavors?colour=blue", 400).startswith("One or more arguments")
    assert api.put(path, flavor={"description": None, "enabled": False})["description"] == ""
    assert api.get(path) == flavor | {"description": "", "enabled": False}
    api.delete(path)
    assert api.refused("DELETE", path, 404) == f"Flavor {flavor['id']} not found."


def test_names_of_flavors_are_unique(api, make):
    first, second = make("a"), make("b")
    taken = "A flavor of a already exists."
    fields = {"name": "a", "flavor_profile_id": first["flavor_profile_id"]}
    assert api.refused("POST", "/flavors", 409, flavor=fields) == taken
    assert api.refused("PUT", f"/flavors/{second['id']}", 409, flavor={"name": "a"}) == taken
    assert api.put(f"/flavors/{first['id']}", flavor={"name": "a"}) == first
    api.delete(f"/flavors/{first['id']}")
    make("a")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"flavor_profile_id": UNKNOWN}, 404),
        ({"flavor_profile_id": "small"}, 400),
        ({"flavor_profile_id": None}, 400),
        ({"enabled": None}, 400),
        ({"enabled": "maybe"}, 400),
        ({"name": 5}, 400),
        ({"colour": "blue"}, 400),
        ({"id": UNKNOWN}, 400),
        ({"project_id": SHOP}, 400),
    ],
)
def test_what_is_no_flavor_is_refused(api, profile, fields, status):
    usual = {"name": "x", "flavor_profile_id": profile["id"]}
    api.refused("POST", "/flavors", status, flavor=usual | fields)
    assert api.get("/flavors") == []


def test_a_profile_in_use_keeps_what_it_says(api, make, profile):
    flavor = make()
    path = f"/flavorprofiles/{profile['id']}"
    used = f"Flavor profile {profile['id']} is in use and cannot be modified."
    assert api.refused("DELETE", path, 409) == used
    assert api.refused("PUT", path, 409, flavorprofile={"flavor_data": "{}"}) == used
    assert api.put(path, flavorprofile={"name": "renamed"})["name"] == "renamed"
    api.delete(f"/flavors/{flavor['id']}")
    api.delete(path)


def test_a_flavor_in_use_is_not_deleted(api, make):
    flavor = make()
    made = balancer(api, flavor_id=flavor["id"])
    assert made["flavor_id"] == flavor["id"]
    used = f"Flavor {flavor['id']} is in use and cannot be modified."
    assert api.refused("DELETE", f"/flavors/{flavor['id']}", 409) == used
    assert [one["id"] for one in api.get("/loadbalancers", flavor_id=flavor["id"])] == [made["id"]]
    api.delete(f"/loadbalancers/{made['id']}")
    api.delete(f"/flavors/{flavor['id']}")


def test_a_load_balancer_asks_for_a_flavor_that_there_is_and_that_is_enabled(api, make):
    off = make("off", enabled=False)
    for flavor_id, fault in (
        (UNKNOWN, "Validation failure: Invalid flavor_id."),
        (None, "Validation failure: Invalid flavor_id."),
        (off["id"], f"The selected flavor is not allowed in this deployment: {off['id']}"),
    ):
        fields = {"vip_subnet_id": UNKNOWN, "flavor_id": flavor_id}
        assert api.refused("POST", "/loadbalancers", 400, loadbalancer=fields) == fault
    assert api.get("/loadbalancers") == []


def test_a_flavor_says_which_provider_it_is_for(api):
    profile = make_profile(api, provider_name="octavia")
    flavor = api.post("/flavors", flavor={"name": "x", "flavor_profile_id": profile["id"]})
    assert balancer(api, flavor_id=flavor["id"])["provider"] == "octavia"
    assert balancer(api, flavor_id=flavor["id"], provider="octavia")["provider"] == "octavia"
    fields = {"vip_subnet_id": UNKNOWN, "flavor_id": flavor["id"], "provider": "amphora"}
    fault = f"Flavor '{flavor['id']}' is not compatible with provider 'amphora'"
    assert api.refused("POST", "/loadbalancers", 400, loadbalancer=fields) == fault


def test_everybody_reads_flavors_and_admins_alone_the_rest(api, make, profile):
    flavor = make()
    api.called_by(Caller(project_id=SHOP))
    assert api.get("/flavors") == [flavor]
    assert api.get(f"/flavors/{flavor['id']}") == flavor
    for method, path, body in (
        ("POST", "/flavors", {"flavor": {"name": "x", "flavor_profile_id": profile["id"]}}),
        ("PUT", f"/flavors/{flavor['id']}", {"flavor": {"enabled": False}}),
        ("DELETE", f"/flavors/{flavor['id']}", {}),
        ("GET", "/flavorprofiles", {}),
        ("GET", f"/flavorprofiles/{profile['id']}", {}),
        ("DELETE", f"/flavorprofiles/{profile['id']}", {}),
        ("GET", "/providers/amphora/flavor_capabilities", {}),
    ):
        assert api.refused(method, path, 403, **body) == "Policy does not allow this request to be performed."


def test_providers_and_their_capabilities_are_listed(api):
    assert [one["name"] for one in api.get("/providers")] == ["amphora", "octavia", "fastlb"]
    assert api.get("/providers", fields="name") == [{"name": n} for n in ("amphora", "octavia", "fastlb")]
    for provider in ("amphora", "octavia", "fastlb"):
        path = f"/providers/{provider}/flavor_capabilities"
        names = [one["name"] for one in api.get(path)]
        assert names == [
            "loadbalancer_topology", "compute_flavor", "amp_image_tag", "sriov_vip", "allow_member_sriov"
        ]  # fmt: skip
        assert api.get(path, name="sriov_vip", fields="name") == [{"name": "sriov_vip"}]
    path = "/providers/amphora/availability_zone_capabilities"
    names = [one["name"] for one in api.get(path)]
    assert names == ["compute_zone", "volume_zone", "management_network", "valid_vip_networks"]
    assert api.refused("GET", "/providers/f5/flavor_capabilities", 400) == "Provider 'f5' is not enabled."


def test_every_capability_is_taken_by_a_profile(api):
    data = {
        "loadbalancer_topology": "ACTIVE_STANDBY",
        "compute_flavor": "large",
        "amp_image_tag": "amphora",
        "sriov_vip": False,
        "allow_member_sriov": True,
    }
    assert {one["name"] for one in api.get("/providers/amphora/flavor_capabilities")} == set(data)
    assert json.loads(make_profile(api, flavor_data=json.dumps(data))["flavor_data"]) == data
