# SPDX-License-Identifier: Apache-2.0
"""Networks, subnets, ports and floating IPs as Neutron's API shows them: every attribute that its clients know."""

import ipaddress
from typing import Any

from fastlb.network import Networking
from fastlb.network.addresses import hosts
from fastlb.network.records import FloatingIP, Network, NetworkRecord, Port, Subnet

MTU = 1500


def _common(record: NetworkRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "project_id": record.project_id,
        "tenant_id": record.project_id,
        "description": record.description,
        "tags": list(record.tags),
        "created_at": record.created_at or None,
        "updated_at": record.updated_at or None,
        "revision_number": record.revision_number,
    }


def network(networking: Networking, one: Network) -> dict[str, Any]:
    return _common(one) | {
        "admin_state_up": one.admin_state_up,
        "status": "ACTIVE",
        "shared": one.shared,
        "router:external": one.external,
        "is_default": False,
        "subnets": [subnet.id for subnet in networking.networks.subnets_of(one)],
        "mtu": MTU,
        "availability_zone_hints": [],
        "availability_zones": [],
        "dns_domain": "",
        "port_security_enabled": False,
        "qos_policy_id": None,
        "vlan_transparent": None,
        "l2_adjacency": True,
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
    }


def subnet(networking: Networking, one: Subnet) -> dict[str, Any]:
    cidr = ipaddress.ip_network(one.cidr)
    kind = ipaddress.IPv4Address if cidr.version == 4 else ipaddress.IPv6Address
    pools = one.allocation_pools
    if not pools:
        first, last = hosts(cidr)
        if one.gateway_ip == str(kind(first)) and first < last:
            first += 1
        pools = ((str(kind(first)), str(kind(last))),)
    return _common(one) | {
        "network_id": one.network_id,
        "cidr": one.cidr,
        "ip_version": one.ip_version,
        "gateway_ip": one.gateway_ip,
        "allocation_pools": [{"start": start, "end": end} for start, end in pools],
        "enable_dhcp": one.enable_dhcp,
        "dns_nameservers": list(one.dns_nameservers),
        "host_routes": [],
        "service_types": [],
        "subnetpool_id": None,
        "segment_id": None,
        "ipv6_address_mode": None,
        "ipv6_ra_mode": None,
        "dns_publish_fixed_ip": False,
    }


def port(networking: Networking, one: Port) -> dict[str, Any]:
    return _common(one) | {
        "network_id": one.network_id,
        "admin_state_up": one.admin_state_up,
        "status": "ACTIVE" if one.device_id else "DOWN",
        "mac_address": one.mac_address,
        "fixed_ips": [
            {"subnet_id": fixed.subnet_id, "ip_address": fixed.ip_address} for fixed in one.fixed_ips
        ],
        "device_id": one.device_id,
        "device_owner": one.device_owner,
        "security_groups": list(one.security_groups),
        "qos_policy_id": one.qos_policy_id,
        "qos_network_policy_id": None,
        "allowed_address_pairs": [],
        "extra_dhcp_opts": [],
        "port_security_enabled": False,
        "propagate_uplink_status": None,
        "dns_name": "",
        "dns_domain": "",
        "dns_assignment": [],
        "binding:vnic_type": "normal",
        "binding:host_id": "",
        "binding:profile": {},
        "binding:vif_type": "unbound",
        "binding:vif_details": {},
    }


def floating_ip(networking: Networking, one: FloatingIP) -> dict[str, Any]:
    shown = _common(one)
    del shown["name"]
    leads_to = None if one.port_id is None else networking.ports.find(one.port_id)
    return shown | {
        "floating_ip_address": one.floating_ip_address,
        "floating_network_id": one.floating_network_id,
        "fixed_ip_address": one.fixed_ip_address,
        "port_id": one.port_id,
        "router_id": None,
        "status": "DOWN" if one.port_id is None else "ACTIVE",
        "qos_policy_id": one.qos_policy_id,
        "qos_network_policy_id": None,
        "dns_name": one.dns_name,
        "dns_domain": one.dns_domain,
        "port_details": None
        if leads_to is None
        else {
            "name": leads_to.name,
            "network_id": leads_to.network_id,
            "mac_address": leads_to.mac_address,
            "admin_state_up": leads_to.admin_state_up,
            "status": "ACTIVE" if leads_to.device_id else "DOWN",
            "device_id": leads_to.device_id,
            "device_owner": leads_to.device_owner,
        },
        "port_forwardings": [],
    }


def security_group(one_id: str, project_id: str) -> dict[str, Any]:
    """Each project has one that lets everything pass, as there is nothing here that would hold it up."""
    return {
        "id": one_id,
        "name": "default",
        "description": "Default security group",
        "project_id": project_id,
        "tenant_id": project_id,
        "security_group_rules": [],
        "stateful": True,
        "shared": False,
        "tags": [],
        "created_at": None,
        "updated_at": None,
        "revision_number": 1,
    }


def qos_policy(one_id: str, project_id: str) -> dict[str, Any]:
    """One that limits nothing."""
    return {
        "id": one_id,
        "name": one_id,
        "description": "",
        "project_id": project_id,
        "tenant_id": project_id,
        "rules": [],
        "shared": True,
        "is_default": False,
        "tags": [],
        "created_at": None,
        "updated_at": None,
        "revision_number": 1,
    }


EXTENSIONS = {
    "router": "Neutron L3 Router",
    "external-net": "Neutron external network",
    "security-group": "security-group",
    "qos": "Quality of Service",
    "standard-attr-tag": "Tag support for resources with standard attribute: port, subnet, network, floatingip",
    "standard-attr-description": "standard-attr-description",
    "standard-attr-timestamp": "Resource timestamps",
    "standard-attr-revisions": "Resource revision numbers",
    "project-id": "project_id field enabled",
    "fip-port-details": "Floating IP Port Details Extension",
    "net-mtu": "Network MTU",
    "pagination": "Pagination support",
    "sorting": "Sorting support",
}


def extension(alias: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": EXTENSIONS[alias],
        "description": EXTENSIONS[alias],
        "updated": "2017-01-01T00:00:00-00:00",
        "links": [],
    }
