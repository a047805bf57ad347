# SPDX-License-Identifier: Apache-2.0
"""What administrators have: providers, capabilities, flavors, availability zones, their profiles, quotas."""

from symbols import short

UNKNOWN = "99000000-0000-4000-8000-000000000009"


def play(api):
    providers(api)
    profiles(api)
    flavors(api)
    zone_profiles(api)
    zones(api)
    in_use(api)
    quotas(api)


def providers(api):
    api.get("providers")
    for query in ("fields=name", "name=amphora", "name=f5", "colour=blue", "limit=1", "sort=name"):
        api.get(f"providers?{query}")
    for provider in ("amphora", "octavia", "f5"):
        for kind in ("flavor_capabilities", "availability_zone_capabilities", "nothing"):
            api.get(f"providers/{provider}/{kind}")
    api.get("providers/amphora/flavor_capabilities?fields=name")
    api.get("providers/amphora/flavor_capabilities?name=compute_flavor")
    api.get("providers/amphora/flavor_capabilities?type=flavor")
    api.get("providers/amphora")


def profiles(api):
    def create(name, /, bind=None, **fields):
        usual = {
            "name": name,
            "provider_name": "amphora",
            "flavor_data": '{"loadbalancer_topology": "SINGLE"}',
        }
        given = {key: value for key, value in (usual | fields).items() if value is not ...}
        return api.create("flavorprofile", f"flavor profile: {name}", bind=bind, **given)

    create("small", bind="fp")
    create("other", bind="fp_other", flavor_data='{"loadbalancer_topology": "ACTIVE_STANDBY"}')
    create("same name again", name="small")
    create("empty data", flavor_data="{}")
    create("data not JSON", flavor_data="{single: quotes}")
    create("data a list", flavor_data="[]")
    create("data an object", flavor_data={"loadbalancer_topology": "SINGLE"})
    create("unknown key", flavor_data='{"colour": "blue"}')
    create("unknown topology", flavor_data='{"loadbalancer_topology": "RING"}')
    create("data of another type", flavor_data='{"sriov_vip": "yes"}')
    create("data of 4097 characters", flavor_data='{"compute_flavor": "' + "x" * 4075 + '"}')
    create("provider unknown", provider_name="f5")
    create("provider octavia", provider_name="octavia")
    for field in ("name", "provider_name", "flavor_data"):
        create(f"without {field}", **{field: ...})
        create(f"{field} null", **{field: None})
    create("name of 256 characters", name="n" * 256)
    create("name empty", name="")
    create("id given", id=UNKNOWN)
    create("unknown attribute", colour="blue")
    api.show("flavorprofile", "{fp}", "flavor profile: shown")
    api.get("flavorprofiles?fields=name&sort=name", "flavor profiles: listed")
    api.get("flavorprofiles?provider_name=amphora&name=small&fields=name", "flavor profiles: filtered")
    api.get("flavorprofiles?limit=1&sort=provider_name:desc&fields=name", "flavor profiles: a page")
    api.update("flavorprofile", "{fp_other}", "flavor profile: update", name="changed")
    api.update("flavorprofile", "{fp_other}", "flavor profile: update nothing")
    api.update(
        "flavorprofile", "{fp_other}", "flavor profile: update data", flavor_data='{"compute_flavor": "1"}'
    )
    api.update("flavorprofile", "{fp_other}", "flavor profile: update bad data", flavor_data="x")
    api.update("flavorprofile", "{fp_other}", "flavor profile: update name null", name=None)
    api.update("flavorprofile", "{fp_other}", "flavor profile: update name taken", name="small")
    api.update("flavorprofile", "{fp_other}", "flavor profile: update provider unknown", provider_name="f5")
    api.delete("flavorprofile", "{fp_other}", "flavor profile: delete")
    api.show("flavorprofile", "{fp_other}", "flavor profile: shown after delete")
    missing(api, "flavorprofile")


def missing(api, kind):
    for identity in (UNKNOWN, "nobody"):
        api.show(kind, identity, f"{kind}: show {identity}")
        change = {"name": "x"} if "profile" in kind else {"description": "x"}
        api.update(kind, identity, f"{kind}: update {identity}", **change)
        api.delete(kind, identity, f"{kind}: delete {identity}")


def flavors(api):
    def create(name, /, bind=None, **fields):
        given = {"name": name, "flavor_profile_id": "{fp}"} | fields
        given = {key: value for key, value in given.items() if value is not ...}
        return api.create("flavor", f"flavor: {name}", bind=bind, **given)

    create("small", bind="flavor", description="one machine")
    create("disabled", bind="flavor_off", enabled=False)
    create("same name again", name="small")
    create("enabled null", enabled=None)
    create("enabled as text", enabled="no")
    create("description null", description=None)
    create("description of 256 characters", description="d" * 256)
    create("profile unknown", flavor_profile_id=UNKNOWN)
    create("profile no UUID", flavor_profile_id="small")
    for field in ("name", "flavor_profile_id"):
        create(f"without {field}", **{field: ...})
        create(f"{field} null", **{field: None})
    create("name of 256 characters", name="n" * 256)
    create("unknown attribute", colour="blue")
    api.show("flavor", "{flavor}", "flavor: shown")
    api.get("flavors?fields=name&sort=name", "flavors: listed")
    api.get("flavors?enabled=false&sort=name&fields=name", "flavors: by enabled")
    api.get("flavors?name=small", "flavors: by name")
    api.get("flavors?limit=1&sort=name&fields=name", "flavors: a page")
    for field, values in {
        "name": ("changed", None, "disabled"),
        "description": ("changed", None),
        "enabled": (False, None, True, "maybe"),
        "flavor_profile_id": ("{fp}",),
        "colour": ("blue",),
    }.items():
        for value in values:
            api.update("flavor", "{flavor}", f"flavor: update {field} {short(value)}", **{field: value})
    api.update("flavor", "{flavor}", "flavor: update nothing")
    api.update("flavorprofile", "{fp}", "flavor profile in use: update name", name="renamed")
    api.update("flavorprofile", "{fp}", "flavor profile in use: update data", flavor_data="{}")
    api.delete("flavorprofile", "{fp}", "flavor profile in use: delete")
    missing(api, "flavor")


def zone_profiles(api):
    def create(name, /, bind=None, **fields):
        data = '{"compute_zone": "nova"}'
        usual = {"name": name, "provider_name": "amphora", "availability_zone_data": data}
        given = {key: value for key, value in (usual | fields).items() if value is not ...}
        return api.create("availability_zone_profile", f"zone profile: {name}", bind=bind, **given)

    create("west", bind="azp")
    create("east", bind="azp_other")
    create("same name again", name="west")
    create("data not JSON", availability_zone_data="x")
    create("unknown key", availability_zone_data='{"colour": "blue"}')
    create("provider unknown", provider_name="f5")
    create(
        "valid networks",
        availability_zone_data='{"valid_vip_networks": ["{other_network}"]}',
        bind="azp_other_net",
    )
    for field in ("name", "provider_name", "availability_zone_data"):
        create(f"without {field}", **{field: ...})
    api.show("availability_zone_profile", "{azp}", "zone profile: shown")
    api.get("availabilityzoneprofiles?fields=name&sort=name", "zone profiles: listed")
    api.get("availabilityzoneprofiles?limit=1&sort=name&fields=name", "zone profiles: a page")
    api.update("availability_zone_profile", "{azp_other}", "zone profile: update", name="changed")
    api.delete("availability_zone_profile", "{azp_other}", "zone profile: delete")
    missing(api, "availability_zone_profile")


def zones(api):
    def create(name, /, **fields):
        given = {"name": name, "availability_zone_profile_id": "{azp}"} | fields
        given = {key: value for key, value in given.items() if value is not ...}
        return api.create("availability_zone", f"zone: {name}", **given)

    create("west", description="the west")
    create("disabled", enabled=False)
    create("elsewhere", availability_zone_profile_id="{azp_other_net}")
    create("same name again", name="west")
    create("profile unknown", availability_zone_profile_id=UNKNOWN)
    create("without name", name=...)
    create("without profile", availability_zone_profile_id=...)
    create("name null", name=None)
    create("a name with a space")
    api.show("availability_zone", "west", "zone: shown")
    api.show("availability_zone", "a%20name%20with%20a%20space", "zone: shown, a name with a space")
    api.get("availabilityzones?fields=name&sort=name", "zones: listed")
    api.get("availabilityzones?enabled=false&fields=name", "zones: by enabled")
    api.get("availabilityzones?limit=1&sort=name&fields=name", "zones: a page")
    api.update("availability_zone", "west", "zone: update description", description="changed")
    api.update("availability_zone", "west", "zone: update description null", description=None)
    api.update("availability_zone", "west", "zone: update enabled", enabled=True)
    api.update("availability_zone", "west", "zone: update name", name="south")
    api.update("availability_zone", "west", "zone: update nothing")
    api.delete("availability_zone_profile", "{azp}", "zone profile in use: delete")
    missing(api, "availability_zone")


def in_use(api):
    api.balancer("flavored", flavor_id="{flavor}")
    api.balancer("zoned", availability_zone="west")
    api.balancer("zone_off", availability_zone="disabled")
    api.balancer("zone_of_other_networks", availability_zone="elsewhere")
    api.balancer("flavor_off", flavor_id="{flavor_off}")
    api.balancer("flavor_and_provider", flavor_id="{flavor}", provider="amphora")
    api.balancer("flavor_and_other_provider", flavor_id="{flavor}", provider="octavia")
    api.show("loadbalancer", "{flavored}", "a load balancer with a flavor")
    api.show("loadbalancer", "{zoned}", "a load balancer in a zone")
    api.get("loadbalancers?flavor_id={flavor}&fields=name", "load balancers by flavor")
    api.get("loadbalancers?availability_zone=west&fields=name", "load balancers by zone")
    api.delete("flavor", "{flavor}", "flavor in use: delete")
    api.delete("availability_zone", "west", "zone in use: delete")
    api.delete("loadbalancer", "{flavored}", "its load balancer goes")
    api.delete("flavor", "{flavor_off}", "flavor: delete")
    api.show("flavor", "{flavor_off}", "flavor: shown after delete")
    api.delete("availability_zone", "disabled", "zone: delete")
    api.show("availability_zone", "disabled", "zone: shown after delete")


def quotas(api):
    api.get("quotas", "quotas: none of their own")
    api.get("quotas/defaults", "quotas: defaults")
    api.get("quotas/default", "quotas: default")
    api.get("quotas/{project}", "quotas: of a project without its own")
    api.get("quotas/{project}/default", "quotas: defaults of a project")
    api.get(f"quotas/{UNKNOWN}", "quotas: of an unknown project")
    api.get("quotas/front", "quotas: of a name")
    given = [
        {"loadbalancer": 5},
        {"load_balancer": 6},
        {"loadbalancer": 7, "load_balancer": 8},
        {"listener": 1, "pool": 2, "member": 3, "healthmonitor": 4, "l7policy": 5, "l7rule": 6},
        {"health_monitor": 9},
        {"listener": -1},
        {"listener": 0},
        {"listener": -2},
        {"listener": 2_000_000_000},
        {"listener": 2_000_000_001},
        {"listener": None},
        {"listener": "12"},
        {"listener": "x"},
        {"pool": None, "member": None},
        {},
        {"colour": 1},
        {"project_id": "{project}"},
        {"tenant_id": "{project}"},
    ]
    for value in given:
        api.update("quota", "{project}", f"quotas: PUT {value}", **value)
    api.show("quota", "{project}", "quotas: shown")
    api.get("quotas", "quotas: listed")
    api.get("quotas?fields=listener", "quotas: fields in a list")
    api.get("quotas/{project}?fields=listener&fields=pool", "quotas: fields of one")
    api.get("quotas?project_id={project}&fields=project_id", "quotas: by project")
    api.get(f"quotas?project_id={UNKNOWN}", "quotas: by another project")
    api.get("quotas?limit=1&fields=project_id", "quotas: a page")
    api.ask("PUT", "quotas/{project}", name="quotas: PUT without body")
    api.ask("PUT", "quotas/{project}", {"quotas": {}}, name="quotas: PUT another root")
    api.delete("quota", "{project}", "quotas: DELETE")
    api.show("quota", "{project}", "quotas: shown after DELETE")
    api.delete("quota", "{project}", "quotas: DELETE again")
    api.delete("quota", UNKNOWN, "quotas: DELETE of an unknown project")
    api.update("quota", UNKNOWN, "quotas: PUT of an unknown project", pool=1)
