# SPDX-License-Identifier: Apache-2.0
"""What a project can reach of another one's network, and of this machine's addresses, by what its requests name."""

import pytest

from fastlb.api.call import Caller
from fastlb.network import NetworkConfig, Networking
from tests.api.conftest import SUBNET
from tests.api.test_neutron import error

MINE, THEIRS = Caller("a" * 32), Caller("b" * 32)
ADMIN = Caller("c" * 32, admin=True)


def default_network(api):
    return api.get("/v2/networks", name="default")[0]["id"]


@pytest.fixture
def their_subnet(api):
    """Of the other project: a network of its own, with the subnet 127.213.0.0/24."""
    api.called_by(THEIRS)
    network = api.post("/v2/networks", network={})["id"]
    subnet = api.post("/v2/subnets", subnet={"network_id": network, "cidr": "127.213.0.0/24"})["id"]
    api.called_by(MINE)
    return subnet


@pytest.mark.parametrize("first", ["project_id", "tenant_id"])
def test_nobody_makes_things_in_another_project_by_naming_two(api, first):
    api.called_by(MINE)
    network, external = default_network(api), api.get("/v2/networks", name="provider")[0]["id"]
    second = "tenant_id" if first == "project_id" else "project_id"
    for path, root, fields in (
        ("networks", "network", {}),
        ("ports", "port", {"network_id": network}),
        ("floatingips", "floatingip", {"floating_network_id": external}),
    ):
        whose = {first: MINE.project_id, second: THEIRS.project_id}
        response = api.call("POST", f"/v2/{path}", json={root: {**fields, **whose}})
        if response.status_code == 201:
            assert response.json()[root]["project_id"] == MINE.project_id
        else:
            assert response.status_code == 403
    api.called_by(THEIRS)
    assert [one for one in api.get("/v2/networks") if one["project_id"]] == []
    assert api.get("/v2/ports") == api.get("/v2/floatingips") == []


def test_what_names_an_empty_project_is_the_callers_and_not_everybodys(api):
    api.called_by(MINE)
    made = api.post("/v2/networks", network={"name": "mine", "project_id": ""})
    assert made["project_id"] == MINE.project_id
    api.called_by(THEIRS)
    assert api.get("/v2/networks", name="mine") == []


def test_no_port_of_ones_own_passes_for_the_vip_of_a_load_balancer(api):
    api.called_by(THEIRS)
    balancer = api.load_balancer()
    api.called_by(MINE)
    vip = {"device_owner": "Octavia", "device_id": f"lb-{balancer['id']}"}
    body = {"network_id": default_network(api)}
    refusal = error(api, "POST", "/v2/ports", 400, port=body | vip)
    assert refusal["message"] == "Invalid input for operation: device_owner Octavia is a load balancer's."
    port = api.post("/v2/ports", port=body)["id"]
    assert error(api, "PUT", f"/v2/ports/{port}", 400, port=vip) == refusal
    api.called_by(THEIRS)
    api.delete(f"/loadbalancers/{balancer['id']}")
    assert api.get("/v2/ports") == []


def test_the_subnet_of_a_member_is_one_that_the_caller_sees(api, their_subnet):
    members = f"/pools/{api.pool()}/members"
    member = {"address": "192.0.2.1", "protocol_port": 80, "subnet_id": their_subnet}
    said = f"Subnet {their_subnet} not found."
    assert api.refused("POST", members, 400, member=member) == said
    assert api.refused("PUT", members, 400, members=[member]) == said
    pool = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": [member]}
    whole = {"vip_subnet_id": SUBNET, "pools": [pool]}
    assert api.refused("POST", "/loadbalancers", 400, loadbalancer=whole) == said


def test_the_default_subnet_stands_in_for_no_address_of_another_subnet(api, their_subnet):
    floating = api.get("/v2/subnets", name="provider-subnet")[0]["allocation_pools"][0]["end"]
    for fields in ({"vip_subnet_id": SUBNET}, {"vip_network_id": SUBNET}):
        for address in ("127.213.0.9", floating):
            said = api.refused("POST", "/loadbalancers", 400, loadbalancer={**fields, "vip_address": address})
            assert "not a valid IP for the specified subnet" in said
    api.called_by(THEIRS)
    balancer = api.load_balancer(vip_subnet_id=their_subnet, vip_address="127.213.0.9")
    assert balancer["vip_address"] == "127.213.0.9"


@pytest.mark.parametrize("cidr", ["0.0.0.0/32", "0.0.0.0/0", "::/0", "::/128", "224.1.0.0/16", "ff02::/64"])
def test_no_subnet_has_addresses_that_no_host_can_have(api, cidr):
    network = api.post("/v2/networks", network={})["id"]
    refusal = error(api, "POST", "/v2/subnets", 400, subnet={"network_id": network, "cidr": cidr})
    assert f"'{cidr}' has addresses that no host can have" in refusal["message"]


class TestConfigured:
    """Where subnets are configured, that says which addresses of this machine's load balancers may have."""

    @pytest.fixture
    def networking(self):
        return Networking(NetworkConfig.of(subnets=[{"cidr": "127.214.0.0/24"}]))

    def test_only_an_admin_makes_more_subnets(self, api):
        api.called_by(MINE)
        network = api.post("/v2/networks", network={})["id"]
        body = {"network_id": network, "cidr": "127.215.0.0/24"}
        assert error(api, "POST", "/v2/subnets", 403, subnet=body)["type"] == "PolicyNotAuthorized"
        api.called_by(ADMIN)
        assert api.post("/v2/subnets", subnet=body)["cidr"] == "127.215.0.0/24"


class TestKeptApart:
    """Where callers have tokens and no subnets are configured: the default ones are all there is."""

    @pytest.fixture
    def networking(self):
        return Networking(any_address=False)

    @pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "192.0.2.1"])
    def test_nobody_has_an_address_beside_the_default_subnet(self, api, address):
        fault = api.refused(
            "POST", "/loadbalancers", 400, loadbalancer={"vip_subnet_id": SUBNET, "vip_address": address}
        )
        assert "is not a valid IP for the specified subnet" in fault
        port = {"network_id": SUBNET, "fixed_ips": [{"ip_address": address}]}
        error(api, "POST", "/v2/ports", 400, port=port)
        assert api.load_balancer()["vip_address"].startswith("127.")

    def test_only_an_admin_makes_more_subnets(self, api):
        api.called_by(MINE)
        network = api.post("/v2/networks", network={})["id"]
        body = {"network_id": network, "cidr": "127.0.0.0/30"}
        assert error(api, "POST", "/v2/subnets", 403, subnet=body)["type"] == "PolicyNotAuthorized"
