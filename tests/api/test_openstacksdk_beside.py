# SPDX-License-Identifier: Apache-2.0
"""openstacksdk over the API: what there is beside load balancers: quotas, providers, flavors, availability zones,
amphorae, and the networks that VIPs come from."""

import json

import pytest
from openstack import exceptions

from fastlb.testing import Client, Member, eventually, named, unused_port
from tests.api.conftest import SDK_MARKS, SUBNET

pytestmark = SDK_MARKS


@pytest.fixture
def sdk(connection):
    return connection.load_balancer


@pytest.fixture
def balancer(sdk):
    return sdk.create_load_balancer(name="lb", vip_subnet_id=SUBNET)


def test_quotas(sdk, balancer):
    project = balancer.project_id
    default = sdk.get_quota_default()
    assert {default.load_balancers, default.listeners, default.pools, default.members} == {-1}
    assert sdk.get_quota(project).health_monitors == -1
    assert list(sdk.quotas()) == []
    changed = sdk.update_quota(project, load_balancers=5, members=7)
    assert (changed.load_balancers, changed.members, changed.pools) == (5, 7, -1)
    assert [(one.project_id, one.load_balancers) for one in sdk.quotas()] == [(project, 5)]
    sdk.delete_quota(project)
    assert list(sdk.quotas()) == []
    assert sdk.get_quota(project).load_balancers == -1


def test_providers(sdk):
    assert "amphora" in [one.name for one in sdk.providers()]
    assert "loadbalancer_topology" in [one.name for one in sdk.provider_flavor_capabilities("amphora")]


def test_flavors_and_their_profiles(sdk):
    data = json.dumps({"loadbalancer_topology": "SINGLE"})
    profile = sdk.create_flavor_profile(name="single", provider_name="amphora", flavor_data=data)
    assert sdk.find_flavor_profile("single").id == sdk.get_flavor_profile(profile.id).id == profile.id
    assert sdk.update_flavor_profile(profile, name="one").name == "one"
    assert [one.flavor_data for one in sdk.flavor_profiles(name="one")] == [data]

    flavor = sdk.create_flavor(name="small", description="d", flavor_profile_id=profile.id, is_enabled=True)
    assert sdk.find_flavor("small").id == sdk.get_flavor(flavor.id).id == flavor.id
    assert sdk.find_flavor("nobody") is None
    used = sdk.create_load_balancer(name="lb", vip_subnet_id=SUBNET, flavor_id=flavor.id)
    assert used.flavor_id == flavor.id
    with pytest.raises(exceptions.ConflictException, match="in use"):
        sdk.delete_flavor(flavor)
    sdk.delete_load_balancer(used)
    changed = sdk.update_flavor(flavor, name="tiny", is_enabled=False)
    assert (changed.name, changed.is_enabled) == ("tiny", False)
    assert [one.id for one in sdk.flavors(name="tiny")] == [flavor.id]
    with pytest.raises(exceptions.BadRequestException):
        sdk.create_load_balancer(name="lb", vip_subnet_id=SUBNET, flavor_id=flavor.id)

    with pytest.raises(exceptions.ConflictException, match="in use"):
        sdk.delete_flavor_profile(profile)
    sdk.delete_flavor(flavor)
    sdk.delete_flavor_profile(profile)
    assert list(sdk.flavors()) == list(sdk.flavor_profiles()) == []


def test_availability_zones_and_their_profiles(sdk):
    data = json.dumps({"compute_zone": "nova"})
    profile = sdk.create_availability_zone_profile(
        name="west", provider_name="amphora", availability_zone_data=data
    )
    assert sdk.find_availability_zone_profile("west").id == profile.id
    assert sdk.get_availability_zone_profile(profile.id).availability_zone_data == data
    assert sdk.update_availability_zone_profile(profile, name="east").name == "east"
    assert [one.name for one in sdk.availability_zone_profiles()] == ["east"]

    sdk.create_availability_zone(name="one", availability_zone_profile_id=profile.id, is_enabled=True)
    assert sdk.get_availability_zone("one").availability_zone_profile_id == profile.id
    assert sdk.find_availability_zone("one").is_enabled
    assert sdk.update_availability_zone("one", description="new").description == "new"
    used = sdk.create_load_balancer(name="lb", vip_subnet_id=SUBNET, availability_zone="one")
    assert used.availability_zone == "one"
    sdk.delete_load_balancer(used)
    assert [one.name for one in sdk.availability_zones(is_enabled=True)] == ["one"]

    sdk.delete_availability_zone("one")
    sdk.delete_availability_zone_profile(profile)
    assert list(sdk.availability_zones()) == list(sdk.availability_zone_profiles()) == []


def test_amphorae(sdk, balancer):
    (amphora,) = sdk.amphorae(loadbalancer_id=balancer.id)
    assert (amphora.role, amphora.status, amphora.ha_ip) == ("STANDALONE", "ALLOCATED", balancer.vip_address)
    assert sdk.get_amphora(amphora.id).loadbalancer_id == balancer.id
    assert sdk.find_amphora(amphora.id).id == amphora.id
    sdk.configure_amphora(amphora.id)
    sdk.failover_amphora(amphora.id)
    assert sdk.wait_for_load_balancer(balancer.id, interval=0.01, wait=5).operating_status == "ONLINE"


def test_a_floating_ip_leads_to_the_load_balancer(connection, sdk):
    """As people do it: a subnet found by its name, a VIP on it, a floating IP on the VIP's port."""
    network = connection.network
    (subnet, *_) = [
        one for one in network.subnets() if not network.get_network(one.network_id).is_router_external
    ]
    assert network.find_subnet(subnet.name).id == subnet.id
    (outside,) = [one for one in network.networks() if one.is_router_external]
    with Member(named("one")) as one:
        port = unused_port()
        balancer = sdk.create_load_balancer(name="lb", vip_subnet_id=subnet.id)
        assert network.get_port(balancer.vip_port_id).fixed_ips[0]["ip_address"] == balancer.vip_address
        listener = sdk.create_listener(load_balancer_id=balancer.id, protocol="HTTP", protocol_port=port)
        pool = sdk.create_pool(listener_id=listener.id, protocol="HTTP", lb_algorithm="ROUND_ROBIN")
        sdk.create_member(pool, address=one.address, protocol_port=one.port)
        assert Client(balancer.vip_address, port).get().body == b"one"

        floating = network.create_ip(floating_network_id=outside.id)
        with pytest.raises(ConnectionRefusedError):
            Client(floating.floating_ip_address, port).get()
        network.update_ip(floating, port_id=balancer.vip_port_id)
        assert network.find_ip(floating.floating_ip_address).port_id == balancer.vip_port_id
        eventually(lambda: Client(floating.floating_ip_address, port).get().body == b"one")
        network.update_ip(floating, port_id=None)
        with pytest.raises(ConnectionRefusedError):
            Client(floating.floating_ip_address, port).get()
        network.delete_ip(floating)
        assert list(network.ips()) == []
