# SPDX-License-Identifier: Apache-2.0
"""Load balancers: VIPs, every field on POST and PUT, refusals, deleting."""

UNKNOWN = "99000000-0000-4000-8000-000000000009"


def play(api):
    vips(api)
    refused_vips(api)
    additional_vips(api)
    fields(api)
    updates(api)
    deletes(api)


def vips(api):
    create = api.create
    create("loadbalancer", "VIP by subnet", bind="lb", vip_subnet_id="{subnet}")
    api.show("loadbalancer", "{lb}", "VIP by subnet, shown")
    create(
        "loadbalancer",
        "VIP by subnet and address",
        bind="asked",
        vip_subnet_id="{subnet}",
        vip_address="192.0.2.77",
    )
    create("loadbalancer", "VIP address taken", vip_subnet_id="{subnet}", vip_address="192.0.2.77")
    create("loadbalancer", "VIP by network", vip_network_id="{network}")
    create(
        "loadbalancer",
        "VIP by network and subnet",
        vip_network_id="{network}",
        vip_subnet_id="{second_subnet}",
    )
    create(
        "loadbalancer",
        "VIP by network and address",
        vip_network_id="{network}",
        vip_address="198.51.100.44",
    )
    create("loadbalancer", "VIP of IPv6", vip_subnet_id="{subnet_v6}")
    create(
        "loadbalancer",
        "VIP of IPv6 by address",
        vip_subnet_id="{subnet_v6}",
        vip_address="2001:db8::77",
    )


def refused_vips(api):
    refused = {
        "no VIP at all": {},
        "VIP address alone": {"vip_address": "192.0.2.78"},
        "VIP subnet null": {"vip_subnet_id": None},
        "VIP address is no address": {"vip_subnet_id": "{subnet}", "vip_address": "192.0.2.256"},
        "VIP address is a name": {"vip_subnet_id": "{subnet}", "vip_address": "example.org"},
        "VIP address of no subnet of the network": {
            "vip_network_id": "{network}",
            "vip_address": "203.0.113.9",
        },
        "unknown subnet": {"vip_subnet_id": UNKNOWN},
        "subnet is no UUID": {"vip_subnet_id": "front"},
        "unknown network": {"vip_network_id": UNKNOWN},
        "network is no UUID": {"vip_network_id": "front"},
        "network without subnets": {"vip_network_id": "{empty_network}"},
        "subnet of another network": {
            "vip_network_id": "{network}",
            "vip_subnet_id": "{other_subnet}",
        },
        "unknown port": {"vip_port_id": UNKNOWN},
        "port in use": {"vip_port_id": "{port_in_use}"},
        "port with another subnet": {"vip_port_id": "{port}", "vip_subnet_id": "{second_subnet}"},
        "port with another address": {"vip_port_id": "{port}", "vip_address": "192.0.2.9"},
        "unknown QoS policy": {"vip_subnet_id": "{subnet}", "vip_qos_policy_id": UNKNOWN},
        "unknown security group": {"vip_subnet_id": "{subnet}", "vip_sg_ids": [UNKNOWN]},
    }
    for name, fields in refused.items():
        api.create("loadbalancer", name, **fields)
    api.create("loadbalancer", "VIP by port", bind="by_port", vip_port_id="{port}")


def additional_vips(api):
    def create(name, *vips, **fields):
        fields = {"vip_subnet_id": "{subnet}", "additional_vips": list(vips)} | fields
        return api.create("loadbalancer", f"additional VIPs: {name}", **fields)

    create("none")
    create("of another subnet", {"subnet_id": "{second_subnet}"})
    create("with an address", {"subnet_id": "{second_subnet}", "ip_address": "198.51.100.88"})
    create("IPv6 beside IPv4", {"subnet_id": "{subnet_v6}"})
    create("two", {"subnet_id": "{second_subnet}"}, {"subnet_id": "{subnet_v6}"})
    create("on the VIP's own subnet", {"subnet_id": "{subnet}"})
    create("two on one subnet", {"subnet_id": "{second_subnet}"}, {"subnet_id": "{second_subnet}"})
    create("subnet of another network", {"subnet_id": "{other_subnet}"})
    create("unknown subnet", {"subnet_id": UNKNOWN})
    create("without subnet", {"ip_address": "198.51.100.89"})
    create("an address that is none", {"subnet_id": "{second_subnet}", "ip_address": "x"})
    create("an unknown attribute", {"subnet_id": "{second_subnet}", "network_id": "{network}"})
    api.create("loadbalancer", "additional VIPs: null", vip_subnet_id="{subnet}", additional_vips=None)


def fields(api):
    given = {
        "name and description": {"name": "web", "description": "the shop"},
        "name null": {"name": None},
        "description null": {"description": None},
        "name of 255 characters": {"name": "n" * 255},
        "name of 256 characters": {"name": "n" * 256},
        "description of 256 characters": {"description": "d" * 256},
        "name is a number": {"name": 5},
        "name beyond ASCII": {"name": "Zürich 東京"},
        "admin_state_up false": {"admin_state_up": False},
        "admin_state_up null": {"admin_state_up": None},
        "admin_state_up as text": {"admin_state_up": "no"},
        "admin_state_up as a number": {"admin_state_up": 1},
        "admin_state_up unclear": {"admin_state_up": "maybe"},
        "tags": {"tags": ["blue", "shop"]},
        "tags null": {"tags": None},
        "a tag of 256 characters": {"tags": ["t" * 256]},
        "a tag is a number": {"tags": [1]},
        "tags as text": {"tags": "blue"},
        "provider amphora": {"provider": "amphora"},
        "provider octavia": {"provider": "octavia"},
        "provider null": {"provider": None},
        "provider unknown": {"provider": "f5"},
        "flavor unknown": {"flavor_id": UNKNOWN},
        "flavor null": {"flavor_id": None},
        "flavor is no UUID": {"flavor_id": "small"},
        "availability zone unknown": {"availability_zone": "west"},
        "availability zone null": {"availability_zone": None},
        "QoS policy": {"vip_qos_policy_id": "{qos_policy}"},
        "security groups": {"vip_sg_ids": ["{security_group}"]},
        "security groups empty": {"vip_sg_ids": []},
        "id given": {"id": UNKNOWN},
        "vip_vnic_type given": {"vip_vnic_type": "normal"},
        "provisioning_status given": {"provisioning_status": "ACTIVE"},
        "unknown attribute": {"colour": "blue"},
        "tenant_id given": {"tenant_id": "{project}"},
        "project_id given": {"project_id": "{project}"},
        "project_id of 37 characters": {"project_id": "p" * 37},
    }
    for name, fields in given.items():
        api.create("loadbalancer", f"field: {name}", **({"vip_subnet_id": "{subnet}"} | fields))


def updates(api):
    given = {
        "nothing": {},
        "name": {"name": "changed"},
        "name null": {"name": None},
        "description": {"description": "changed"},
        "description null": {"description": None},
        "admin_state_up false": {"admin_state_up": False},
        "admin_state_up true": {"admin_state_up": True},
        "admin_state_up null": {"admin_state_up": None},
        "admin_state_up as text": {"admin_state_up": "ON"},
        "tags": {"tags": ["one", "two"]},
        "tags null": {"tags": None},
        "tags empty": {"tags": []},
        "QoS policy unknown": {"vip_qos_policy_id": UNKNOWN},
        "QoS policy": {"vip_qos_policy_id": "{qos_policy}"},
        "QoS policy null": {"vip_qos_policy_id": None},
        "security groups": {"vip_sg_ids": ["{security_group}"]},
        "security groups null": {"vip_sg_ids": None},
        "name too long": {"name": "n" * 256},
        "vip_address": {"vip_address": "192.0.2.79"},
        "vip_subnet_id": {"vip_subnet_id": "{subnet}"},
        "provider": {"provider": "amphora"},
        "flavor_id": {"flavor_id": UNKNOWN},
        "availability_zone": {"availability_zone": "west"},
        "project_id": {"project_id": "{project}"},
        "unknown attribute": {"colour": "blue"},
    }
    for name, fields in given.items():
        api.update("loadbalancer", "{lb}", f"update: {name}", **fields)
    api.show("loadbalancer", "{lb}", "update: shown after all")
    api.update("loadbalancer", UNKNOWN, "update: unknown id", name="x")
    api.update("loadbalancer", "front", "update: an id that is no UUID", name="x")


def deletes(api):
    api.delete("loadbalancer", "{asked}", "delete: without children")
    api.show("loadbalancer", "{asked}", "delete: shown afterwards")
    api.delete("loadbalancer", "{asked}", "delete: again")
    api.update("loadbalancer", "{asked}", "delete: then updated", name="x")
    api.delete("loadbalancer", "front", "delete: an id that is no UUID")
    api.balancer("parent")
    api.create(
        "listener",
        "delete: a listener for it",
        bind="child",
        loadbalancer_id="{parent}",
        protocol="HTTP",
        protocol_port=8080,
    )
    api.create(
        "pool",
        "delete: a pool for it",
        bind="child_pool",
        listener_id="{child}",
        protocol="HTTP",
        lb_algorithm="ROUND_ROBIN",
    )
    api.show("loadbalancer", "{parent}", "delete: shown with children")
    api.delete("loadbalancer", "{parent}", "delete: with children")
    api.delete("loadbalancer", "{parent}?cascade=false", "delete: cascade=false")
    api.delete("loadbalancer", "{parent}?cascade=maybe", "delete: cascade unclear")
    api.delete("loadbalancer", "{parent}?cascade=true", "delete: cascade")
    api.show("listener", "{child}", "delete: its listener is gone")
    api.show("pool", "{child_pool}", "delete: its pool is gone")
