# SPDX-License-Identifier: Apache-2.0
"""Neutron in small: the look-ups of clients that make load balancers; networks, subnets and ports of one's own."""

import uuid

import openstack
import pytest

from fastlb.api.call import Caller
from fastlb.network import NetworkConfig, Networking

# What the SDK deprecates of its own is between it and its authors.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]

UNKNOWN = "00000000-1111-2222-3333-444444444444"
WEB = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
LOOK_UPS = {
    "networks": "networks",
    "subnets": "subnets",
    "ports": "ports",
    "security-groups": "security_groups",
    "qos/policies": "policies",
}


@pytest.fixture
def configured():
    """Put `configured` before `api`: a network with one subnet, and two floating networks."""
    return NetworkConfig.of(
        subnets=[
            {"id": WEB, "name": "web", "network": "tenant", "cidr": "127.200.0.0/24", "reaches": ["provider"]}
        ],
        floating_networks=[{"cidr": "127.201.0.0/24"}, {"name": "far", "cidr": "127.202.0.0/24"}],
    )


class TestConfigured:
    """With subnets configured, there is what is configured and made, and nothing else."""

    @pytest.fixture
    def networking(self, configured):
        return Networking(configured)

    def test_names_and_ids_are_found_and_others_are_not(self, api):
        assert [one["id"] for one in api.get("/v2/subnets", name="web")] == [WEB]
        assert [one["name"] for one in api.get("/v2/subnets", id=WEB)] == ["web"]
        for path, key in LOOK_UPS.items():
            assert api.call("GET", f"/v2.0/{path}", params={"name": "nobody"}).json() == {key: []}
        for path in ("networks", "subnets", "ports"):
            assert api.get(f"/v2/{path}", id=UNKNOWN) == []
            assert error(api, "GET", f"/v2/{path}/{UNKNOWN}", 404)["type"].endswith("NotFound")

    def test_a_load_balancer_needs_a_subnet_that_there_is(self, api):
        fault = api.refused("POST", "/loadbalancers", 400, loadbalancer={"vip_subnet_id": UNKNOWN})
        assert fault == f"Subnet {UNKNOWN} not found."
        assert api.load_balancer(vip_subnet_id=WEB)["vip_address"] == "127.200.0.1"

    def test_what_is_configured_cannot_be_deleted(self, api):
        assert error(api, "DELETE", f"/v2/subnets/{WEB}", 403)["type"] == "PolicyNotAuthorized"

    def test_a_subnet_tells_what_the_configuration_says(self, api):
        shown = api.get(f"/v2/subnets/{WEB}")
        assert shown["cidr"] == "127.200.0.0/24"
        assert shown["allocation_pools"] == [{"start": "127.200.0.1", "end": "127.200.0.254"}]
        assert shown["network_id"] == api.get("/v2/networks", name="tenant")[0]["id"]
        assert api.get("/v2/networks", name="tenant")[0]["subnets"] == [WEB]


def error(api, method, path, status, **document):
    """The NeutronError of a refused request."""
    response = api.call(method, path, json=document or None, expect=status)
    body = response.json()
    assert body.keys() == {"NeutronError"}
    assert body["NeutronError"].keys() == {"type", "message", "detail"}
    return body["NeutronError"]


@pytest.mark.parametrize("prefix", ["/v2", "/v2.0"])
@pytest.mark.parametrize("path", LOOK_UPS)
def test_each_uuid_is_found_once_where_nothing_is_configured(api, prefix, path):
    asked = str(uuid.uuid4())
    found = api.call("GET", f"{prefix}/{path}", params={"id": asked}, expect=200).json()
    assert [one["id"] for one in found[LOOK_UPS[path]]] == [asked]
    assert api.get(f"{prefix}/{path}", id="no-uuid") == []


def test_a_uuid_that_is_looked_up_stands_for_the_default_subnet(api):
    (network,) = api.get("/v2/networks", name="default")
    (subnet,) = api.get("/v2/subnets", id=UNKNOWN)
    assert subnet["name"] == "default"
    assert subnet["network_id"] == network["id"]
    assert api.get(f"/v2/subnets/{UNKNOWN}")["id"] == UNKNOWN
    (floating,) = api.get("/v2/networks", **{"id": UNKNOWN, "router:external": "True"})
    assert (floating["name"], floating["router:external"]) == ("provider", True)


def test_a_port_that_is_only_looked_up_is_not_there_yet(api):
    assert [one["id"] for one in api.get("/v2/ports", id=UNKNOWN)] == [UNKNOWN]
    assert api.get("/v2/ports") == []
    assert error(api, "GET", f"/v2/ports/{UNKNOWN}", 404) == {
        "type": "PortNotFound",
        "message": f"Port {UNKNOWN} could not be found.",
        "detail": "",
    }
    made = api.load_balancer(vip_port_id=UNKNOWN)
    assert api.get(f"/v2/ports/{UNKNOWN}")["device_id"] == f"lb-{made['id']}"


def test_external_networks_are_listed_by_themselves(api):
    assert [one["name"] for one in api.get("/v2/networks", **{"router:external": "True"})] == ["provider"]
    assert [one["name"] for one in api.get("/v2/networks", **{"router:external": "false"})] == ["default"]


def test_the_port_of_a_load_balancer_is_shown_as_octavia_makes_it(api):
    made = api.load_balancer(name="web")
    port = api.get(f"/v2/ports/{made['vip_port_id']}")
    assert port["name"] == f"octavia-lb-{made['id']}"
    assert (port["device_owner"], port["device_id"]) == ("Octavia", f"lb-{made['id']}")
    assert port["fixed_ips"] == [{"subnet_id": made["vip_subnet_id"], "ip_address": made["vip_address"]}]
    assert (port["project_id"], port["status"]) == (made["project_id"], "ACTIVE")
    refused = error(api, "DELETE", f"/v2/ports/{port['id']}", 409)
    assert refused["message"].endswith("has device owner Octavia.")
    assert error(api, "PUT", f"/v2/ports/{port['id']}", 409, port={"device_id": ""})["type"] == "PortInUse"
    api.delete(f"/loadbalancers/{made['id']}")
    error(api, "GET", f"/v2/ports/{port['id']}", 404)


def test_ports_are_filtered_by_their_attributes(api):
    network = api.get("/v2/networks", name="default")[0]["id"]
    made = api.load_balancer()
    mine = api.post("/v2/ports", port={"network_id": network, "name": "mine", "tags": ["red", "blue"]})

    def names(**query):
        return [one["name"] for one in api.get("/v2/ports", **query)]

    other = f"octavia-lb-{made['id']}"
    assert names() == [other, "mine"]
    assert names(device_owner="Octavia") == [other]
    assert names(device_id=f"lb-{made['id']}") == [other]
    assert names(fixed_ips=f"ip_address={made['vip_address']}") == [other]
    assert names(fixed_ips=[f"ip_address={made['vip_address']}", "ip_address=192.0.2.1"]) == [other]
    assert names(network_id=network, status="DOWN") == ["mine"]
    assert names(id=[made["vip_port_id"], mine["id"]]) == [other, "mine"]
    assert names(tags="red,blue") == ["mine"]
    assert names(**{"tags-any": "red,green"}) == ["mine"]
    assert names(**{"not-tags": "red"}) == [other]
    assert names(sort_key="name", sort_dir="asc") == sorted([other, "mine"])
    assert names(admin_state_up="False") == []
    assert names(nobody_knows_this="x") == [other, "mine"]
    assert api.get("/v2/ports", fields=["id"], name="mine") == [{"id": mine["id"]}]


def test_long_lists_come_in_pages_that_lead_to_one_another(api):
    network = api.get("/v2/networks", name="default")[0]["id"]
    ids = [api.post("/v2/ports", port={"network_id": network, "name": "page"})["id"] for _ in range(5)]
    seen, url = [], "/v2/ports?name=page&limit=2"
    while url:
        body = api.call("GET", url, expect=200).json()
        seen.append([one["id"] for one in body["ports"]])
        links = body.get("ports_links", [])
        url = links[0]["href"].removeprefix(api.url) if links else None
    assert seen == [ids[:2], ids[2:4], ids[4:]]
    assert "Invalid marker" in error(api, "GET", "/v2/ports?marker=nobody", 400)["message"]
    assert "limit" in error(api, "GET", "/v2/ports?limit=-1", 400)["message"]


def test_a_port_made_first_gives_the_load_balancer_its_address(api):
    subnet = api.get("/v2/subnets", name="default")[0]
    address = subnet["allocation_pools"][0]["start"].rpartition(".")[0] + ".77"
    body = {"network_id": subnet["network_id"], "fixed_ips": [{"ip_address": address}]}
    port = api.post("/v2/ports", port=body)
    assert error(api, "POST", "/v2/ports", 409, port=body)["type"] == "IpAddressAlreadyAllocated"
    made = api.load_balancer(vip_subnet_id=None, vip_port_id=port["id"])
    assert (made["vip_address"], made["vip_subnet_id"]) == (address, subnet["id"])
    fault = api.refused("POST", "/loadbalancers", 400, loadbalancer={"vip_port_id": port["id"]})
    assert "is already used by device" in fault
    api.delete(f"/loadbalancers/{made['id']}")
    assert api.get(f"/v2/ports/{port['id']}")["device_id"] == ""
    api.delete(f"/v2/ports/{port['id']}")


def test_a_port_is_changed_and_its_tags_have_paths_of_their_own(api):
    network = api.get("/v2/networks", name="default")[0]["id"]
    port = api.post("/v2/ports", port={"network_id": network, "binding:vnic_type": "normal"})
    path = f"/v2.0/ports/{port['id']}"
    changed = api.put(path, port={"name": "new", "description": "of mine", "security_groups": [UNKNOWN]})
    assert (changed["name"], changed["security_groups"]) == ("new", [UNKNOWN])
    assert changed["revision_number"] == 2
    assert api.call("PUT", f"{path}/tags", json={"tags": ["a", "b"]}, expect=200).json() == {
        "tags": ["a", "b"]
    }
    api.call("PUT", f"{path}/tags/c", expect=201)
    api.call("DELETE", f"{path}/tags/a", expect=204)
    assert api.get(path)["tags"] == ["b", "c"]
    api.call("GET", f"{path}/tags/b", expect=204)
    assert error(api, "GET", f"{path}/tags/a", 404)["type"] == "TagNotFound"
    api.call("DELETE", f"{path}/tags", expect=204)
    assert api.call("GET", f"{path}/tags", expect=200).json() == {"tags": []}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"networks": {}}, "Unable to find 'port' in request body"),
        ({"port": []}, "Invalid input for port"),
        ({"port": {}}, "Required attribute 'network_id' not specified"),
        ({"port": {"network_id": "default"}}, "Invalid input for network_id. Reason: must be a UUID"),
        ({"port": {"network_id": UNKNOWN, "nom": "x"}}, "Unrecognized attribute(s) 'nom'"),
        ({"port": {"network_id": UNKNOWN, "name": 3}}, "Invalid input for name. Reason: must be a string"),
        ({"port": {"network_id": UNKNOWN, "name": None}}, "Invalid input for name."),
        ({"port": {"network_id": UNKNOWN, "fixed_ips": [{}]}}, "must have subnet_id or ip_address"),
        ({"port": {"network_id": UNKNOWN, "fixed_ips": ["x"]}}, "Invalid input for fixed_ips"),
    ],
)
def test_what_neutron_would_not_take_is_refused_in_its_form(api, body, message):
    assert message in error(api, "POST", "/v2/ports", 400, **body)["message"]


def test_a_body_that_is_no_json_is_refused_in_neutrons_form(api):
    response = api.call(
        "POST", "/v2/ports", data=b"{", headers={"Content-Type": "application/json"}, expect=400
    )
    assert response.json()["NeutronError"]["type"] == "HTTPBadRequest"
    assert api.call("PATCH", "/v2/ports", expect=405).json()["NeutronError"]["type"] == "MethodNotAllowed"


def test_a_port_is_made_on_any_network_where_none_are_configured(api):
    made = [api.post("/v2/ports", port={"network_id": UNKNOWN})["fixed_ips"] for _ in range(2)]
    assert made[0][0]["ip_address"] != made[1][0]["ip_address"]


def test_a_network_of_ones_own_gives_vips_and_is_deleted_when_nobody_has_one(api):
    network = api.post("/v2.0/networks", network={"name": "mine", "admin_state_up": True})
    body = {"network_id": network["id"], "cidr": "127.210.0.0/24", "ip_version": 4, "name": "sub"}
    subnet = api.post("/v2.0/subnets", subnet=body)
    assert subnet["gateway_ip"] == "127.210.0.1"
    assert subnet["allocation_pools"] == [{"start": "127.210.0.2", "end": "127.210.0.254"}]
    assert api.get(f"/v2/networks/{network['id']}")["subnets"] == [subnet["id"]]
    made = api.load_balancer(vip_subnet_id=None, vip_network_id=network["id"])
    assert (made["vip_address"], made["vip_subnet_id"]) == ("127.210.0.2", subnet["id"])
    assert error(api, "DELETE", f"/v2/subnets/{subnet['id']}", 409)["type"] == "SubnetInUse"
    assert error(api, "DELETE", f"/v2/networks/{network['id']}", 409)["type"] == "NetworkInUse"
    assert api.put(f"/v2/subnets/{subnet['id']}", subnet={"name": "new"})["name"] == "new"
    assert api.put(f"/v2/networks/{network['id']}", network={"name": "new"})["name"] == "new"
    api.delete(f"/loadbalancers/{made['id']}")
    api.delete(f"/v2/subnets/{subnet['id']}")
    api.delete(f"/v2/networks/{network['id']}")


def test_extensions_are_told_by_their_aliases(api):
    aliases = [one["alias"] for one in api.get("/v2/extensions")]
    assert "router" in aliases
    assert api.get("/v2/extensions/router")["alias"] == "router"
    error(api, "GET", "/v2/extensions/teapot", 404)
    pages = [
        [one["alias"] for one in api.get(f"/v2/extensions?limit=1{marker}")]
        for marker in ("", f"&marker={aliases[0]}")
    ]
    assert pages == [aliases[:1], aliases[1:2]]
    assert api.get("/v2/extensions", limit="9" * 5000) == api.get("/v2/extensions")
    assert api.get("/v2/routers") == []
    assert api.get("/v2/security-groups", name="default")[0]["name"] == "default"


@pytest.mark.parametrize("limit", ["-1", "x", "1.5"])
def test_a_limit_that_is_none_is_refused(api, limit):
    assert "limit" in error(api, "GET", f"/v2/ports?limit={limit}", 400)["message"]


def test_what_has_no_order_is_refused_as_a_key_to_sort_by(api):
    provider = api.get("/v2/networks", name="provider")[0]["id"]
    ports = [None, *(api.post("/v2/ports", port={"network_id": UNKNOWN})["id"] for _ in range(2))]
    for port in ports:
        api.post("/v2/floatingips", floatingip={"floating_network_id": provider, "port_id": port})
    message = error(api, "GET", "/v2/floatingips?sort_key=port_details", 400)["message"]
    assert message == "'port_details' is not a valid attribute for sorting"
    assert [one["port_id"] for one in api.get("/v2/floatingips", sort_key="port_id")] == [
        None,
        *sorted(ports[1:]),
    ]


# Projects.

ONE, TWO = Caller("1" * 32), Caller("2" * 32)


def test_what_belongs_to_another_project_is_not_there(api):
    api.called_by(ONE)
    network = api.post("/v2/networks", network={"name": "mine"})["id"]
    body = {"network_id": network, "cidr": "127.211.0.0/24"}
    subnet = api.post("/v2/subnets", subnet=body)["id"]
    port = api.post("/v2/ports", port={"network_id": network})["id"]
    provider = api.get("/v2/networks", name="provider")[0]["id"]
    floating = api.post("/v2/floatingips", floatingip={"floating_network_id": provider})["id"]
    api.called_by(TWO)
    there = {"networks": network, "subnets": subnet, "ports": port, "floatingips": floating}
    for path, one_id in there.items():
        assert one_id not in [one["id"] for one in api.get(f"/v2/{path}")]
        for method in ("GET", "DELETE"):
            assert error(api, method, f"/v2/{path}/{one_id}", 404)["type"].endswith("NotFound")
        root = path.removesuffix("s")
        error(api, "PUT", f"/v2/{path}/{one_id}", 404, **{root: {"description": "mine now"}})
        if path in ("networks", "subnets"):
            assert api.get(f"/v2/{path}", id=one_id) == []
    error(api, "POST", "/v2/ports", 404, port={"network_id": network})
    error(api, "POST", "/v2/subnets", 404, subnet={"network_id": network, "cidr": "127.212.0.0/24"})
    mine = api.post("/v2/floatingips", floatingip={"floating_network_id": provider})["id"]
    error(api, "PUT", f"/v2/floatingips/{mine}", 404, floatingip={"port_id": port})
    for field, one_id in (("vip_port_id", port), ("vip_network_id", network), ("vip_subnet_id", subnet)):
        fault = api.refused("POST", "/loadbalancers", 400, loadbalancer={field: one_id})
        assert fault.endswith(f"{one_id} not found.")
    fault = api.refused(
        "POST",
        "/loadbalancers",
        400,
        loadbalancer={"vip_subnet_id": UNKNOWN, "additional_vips": [{"subnet_id": subnet}]},
    )
    assert fault == f"Subnet {subnet} not found."
    error(api, "POST", "/v2/ports", 403, port={"network_id": UNKNOWN, "project_id": ONE.project_id})


def test_an_observer_looks_and_changes_nothing(api):
    api.called_by(ONE)
    network = api.get("/v2/networks", name="default")[0]["id"]
    port = api.post("/v2/ports", port={"network_id": network})["id"]
    api.called_by(Caller(ONE.project_id, writes=False))
    assert api.get(f"/v2/ports/{port}")["id"] == port
    for method, path, body in (
        ("POST", "/v2/ports", {"port": {"network_id": network}}),
        ("PUT", f"/v2/ports/{port}", {"port": {"name": "x"}}),
        ("PUT", f"/v2/ports/{port}/tags/x", {}),
        ("DELETE", f"/v2/ports/{port}", {}),
        ("POST", "/v2/networks", {"network": {}}),
        ("POST", "/v2/floatingips", {"floatingip": {"floating_network_id": UNKNOWN}}),
    ):
        assert error(api, method, path, 403, **body)["type"] == "PolicyNotAuthorized"


@pytest.fixture
def sdk(api):
    """`conn.network` of openstacksdk, without authentication."""
    connection = openstack.connect(
        auth_type="none", endpoint=api.url, load_yaml_config=False, load_envvars=False
    )
    yield connection.network
    connection.close()


def test_openstacksdk_does_every_operation_on_the_network(sdk):
    network = sdk.create_network(name="mine", description="of ours")
    subnet = sdk.create_subnet(name="sub", network_id=network.id, ip_version=4, cidr="127.213.0.0/24")
    port = sdk.create_port(name="port", network_id=network.id)
    floating = sdk.create_ip(floating_network_id=sdk.find_network("provider").id, port_id=port.id)
    assert floating.fixed_ip_address == port.fixed_ips[0]["ip_address"] == "127.213.0.2"
    assert sdk.find_network("mine").subnet_ids == [subnet.id]
    assert sdk.find_subnet("sub").id == subnet.id
    assert sdk.find_port("port").id == port.id
    assert sdk.find_port("nobody") is None
    assert sdk.find_ip(floating.floating_ip_address).id == floating.id
    assert [one.id for one in sdk.ports(network_id=network.id)] == [port.id]
    assert [one.id for one in sdk.ips(port_id=port.id, limit=1)] == [floating.id]
    assert sdk.update_network(network, name="new").name == "new"
    assert sdk.update_subnet(subnet, name="new").name == "new"
    assert sdk.update_port(port, name="new").name == "new"
    assert sdk.update_ip(floating, description="new").description == "new"
    sdk.set_tags(port, ["a", "b"])
    assert [one.id for one in sdk.ports(tags="a,b")] == [port.id]
    with pytest.raises(openstack.exceptions.ConflictException, match="still in use on the network"):
        sdk.delete_network(network)
    sdk.delete_ip(floating)
    sdk.delete_port(port)
    sdk.delete_subnet(subnet)
    sdk.delete_network(network)
    assert sdk.find_network("new") is None
    assert [one.name for one in sdk.networks(**{"router:external": True})] == ["provider"]
