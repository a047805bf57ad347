# SPDX-License-Identifier: Apache-2.0
"""Networks and subnets: those of the configuration, which nobody changes from outside, and those that projects make.

A subnet that a project makes is as real as its addresses: load balancers listen on them at once, and clients come when
this machine has them (by `interface`, or by whoever manages addresses here).
"""

import ipaddress
import uuid
from collections.abc import Mapping
from typing import Any

from fastlb.errors import ConfigError
from fastlb.network import attributes, faults
from fastlb.network.addresses import is_unicast
from fastlb.network.attributes import ANYTHING, COMMON, Attribute
from fastlb.network.records import Network, Subnet, now
from fastlb.network.state import State
from fastlb.schema import kinds

NETWORK_ATTRIBUTES: Mapping[str, Attribute] = {
    **COMMON,
    "admin_state_up": attributes.FLAG,
    "shared": attributes.FLAG,
    "router:external": attributes.FIXED_FLAG,
    **dict.fromkeys(
        (
            "availability_zone_hints",
            "dns_domain",
            "is_default",
            "mtu",
            "port_security_enabled",
            "provider:network_type",
            "provider:physical_network",
            "provider:segmentation_id",
            "qos_policy_id",
            "segments",
            "vlan_transparent",
        ),
        ANYTHING,
    ),
}


def _cidr(field: str, value: Any, coerce: bool) -> str:
    try:
        network = ipaddress.ip_network(kinds.text(64)(field, value, coerce), strict=False)
    except ValueError:
        raise ConfigError(field, value, f"'{value}' is not a valid IP subnet") from None
    if not is_unicast(network):
        raise ConfigError(field, value, f"'{value}' has addresses that no host can have")
    return str(network)


def _pool(field: str, value: Any, coerce: bool) -> tuple[str, str]:
    given = kinds.mapping(field, value)
    if given.keys() != {"start", "end"}:
        raise ConfigError(field, value, "must have start and end")
    return kinds.ip_address(field, given["start"], coerce), kinds.ip_address(field, given["end"], coerce)


def _version(field: str, value: Any, coerce: bool) -> int:
    if str(value) not in ("4", "6"):
        raise ConfigError(field, value, f"'{value}' is not in [4, 6]")
    return int(value)


SUBNET_ATTRIBUTES: Mapping[str, Attribute] = {
    **COMMON,
    "network_id": attributes.UUID,
    "cidr": Attribute(_cidr, live=False),
    "ip_version": Attribute(_version, live=False),
    "gateway_ip": Attribute(kinds.ip_address, null=True, live=False),
    "allocation_pools": Attribute(kinds.each(_pool, "mappings"), null=True, live=False),
    "enable_dhcp": attributes.FLAG,
    "dns_nameservers": Attribute(kinds.each(kinds.ip_address, "addresses"), null=True),
    **dict.fromkeys(
        (
            "dns_publish_fixed_ip",
            "host_routes",
            "ipv6_address_mode",
            "ipv6_ra_mode",
            "prefixlen",
            "segment_id",
            "service_types",
            "subnetpool_id",
            "use_default_subnetpool",
        ),
        ANYTHING,
    ),
}


class Networks:
    """`networking.networks`: networks with their subnets. What is refused is refused in Neutron's words."""

    def __init__(self, state: State) -> None:
        self.state = state

    # Looking.

    def all(self) -> list[Network]:
        with self.state.lock:
            return list(self.state.topology.networks.values())

    def all_subnets(self) -> list[Subnet]:
        with self.state.lock:
            return list(self.state.topology.subnets.values())

    def find(self, network_id: str) -> Network | None:
        """The network, or what stands in for it, or None."""
        with self.state.lock:
            return self.state.topology.find_network(network_id)

    def get(self, network_id: str) -> Network:
        """The network, or what stands in for it."""
        found = self.find(network_id)
        if found is None:
            raise faults.not_found("network", network_id)
        return found

    def find_floating(self, network_id: str) -> Network | None:
        """The floating network, or what stands in for it."""
        with self.state.lock:
            return self.state.topology.find_floating_network(network_id)

    def find_subnet(self, subnet_id: str) -> Subnet | None:
        """The subnet, or what stands in for it, or None."""
        with self.state.lock:
            return self.state.topology.find_subnet(subnet_id)

    def get_subnet(self, subnet_id: str) -> Subnet:
        """The subnet, or what stands in for it."""
        found = self.find_subnet(subnet_id)
        if found is None:
            raise faults.not_found("subnet", subnet_id)
        return found

    def subnets_of(self, network: Network) -> list[Subnet]:
        with self.state.lock:
            return self.state.topology.subnets_of(network.id)

    @property
    def stands_in(self) -> bool:
        """Is every UUID that nobody has taken for the default subnet, network, port …?"""
        return self.state.topology.stand_in is not None

    # Changing.

    def create(self, body: Any, *, project_id: str) -> Network:
        values = attributes.parse(NETWORK_ATTRIBUTES, body)
        if values.pop("router:external", False):
            raise faults.NetworkFault(
                403,
                "PolicyNotAuthorized",
                "External networks are the configuration's: floating_networks, with the range of their addresses.",
            )
        network = Network(
            id=str(uuid.uuid4()),
            created_at=now(),
            updated_at=now(),
            **(values | {"project_id": project_id}),
        )
        with self.state.lock:
            self.state.commit([network])
        return network

    def update(self, network_id: str, body: Any, tags: tuple[str, ...] | None = None) -> Network:
        values = attributes.parse(NETWORK_ATTRIBUTES, body, update=True)
        with self.state.lock:
            network = self._own_network(network_id)
            network = network.changed(tags=network.tags if tags is None else tags, **values)
            self.state.commit([network])
            return network

    def delete(self, network_id: str) -> None:
        """With its subnets, if no port is left on it."""
        with self.state.lock:
            network = self._own_network(network_id)
            subnets = self.state.topology.subnets_of(network_id)
            if any(port.network_id == network_id for port in self.state.ports.values()):
                raise faults.in_use(
                    "NetworkInUse",
                    f"Unable to complete operation on network {network_id}. There are one or more ports still in use "
                    "on the network.",
                )
            self.state.commit([], [*subnets, network])

    def create_subnet(self, body: Any, *, project_id: str) -> Subnet:
        """Of a network that a project made. Its gateway is the first address, unless gateway_ip is given."""
        values = attributes.parse(SUBNET_ATTRIBUTES, body)
        network_id = attributes.need(values, "network_id")
        cidr = attributes.need(values, "cidr")
        parsed = ipaddress.ip_network(cidr)
        if values.pop("ip_version", parsed.version) != parsed.version:
            raise faults.invalid_input(f"cidr '{cidr}' does not match the ip_version")
        if "gateway_ip" not in values and parsed.num_addresses > 2:
            values["gateway_ip"] = str(parsed.network_address + 1)
        for name in ("allocation_pools", "dns_nameservers"):
            values[name] = values.get(name) or ()
        for first, last in values["allocation_pools"]:
            low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
            if low not in parsed or high not in parsed or int(low) > int(high):
                raise faults.NetworkFault(
                    400,
                    "InvalidAllocationPool",
                    f"The allocation pool {first}-{last} is not valid.",
                )
        with self.state.lock:
            if network_id not in self.state.topology.networks:
                raise faults.not_found("network", network_id)
            if network_id in self.state.topology.configured:
                raise _configured("network", network_id)
            other = self.state.topology.overlapping(cidr)
            if other is not None:
                # One machine has each address once, whatever network it stands for.
                raise faults.invalid_input(
                    f"Requested subnet with cidr: {cidr} for network: {network_id} overlaps with another subnet"
                )
            subnet = Subnet(
                id=str(uuid.uuid4()),
                created_at=now(),
                updated_at=now(),
                **(values | {"project_id": project_id}),
            )
            self.state.commit([subnet])
            return subnet

    def update_subnet(self, subnet_id: str, body: Any, tags: tuple[str, ...] | None = None) -> Subnet:
        values = attributes.parse(SUBNET_ATTRIBUTES, body, update=True)
        if "dns_nameservers" in values:
            values["dns_nameservers"] = values["dns_nameservers"] or ()
        with self.state.lock:
            subnet = self._own_subnet(subnet_id)
            subnet = subnet.changed(tags=subnet.tags if tags is None else tags, **values)
            self.state.commit([subnet])
            return subnet

    def delete_subnet(self, subnet_id: str) -> None:
        """If no port has an address of it."""
        with self.state.lock:
            subnet = self._own_subnet(subnet_id)
            if any(
                fixed.subnet_id == subnet_id for port in self.state.ports.values() for fixed in port.fixed_ips
            ):
                raise faults.in_use(
                    "SubnetInUse",
                    f"Unable to complete operation on subnet {subnet_id}: One or more ports have an IP allocation from "
                    "this subnet.",
                )
            self.state.commit([], [subnet])

    def _own_network(self, network_id: str) -> Network:
        found = self.state.topology.networks.get(network_id)
        if found is None:
            raise faults.not_found("network", network_id)
        if network_id in self.state.topology.configured:
            raise _configured("network", network_id)
        return found

    def _own_subnet(self, subnet_id: str) -> Subnet:
        found = self.state.topology.subnets.get(subnet_id)
        if found is None:
            raise faults.not_found("subnet", subnet_id)
        if subnet_id in self.state.topology.configured:
            raise _configured("subnet", subnet_id)
        return found


def _configured(what: str, one_id: str) -> faults.NetworkFault:
    return faults.NetworkFault(
        403, "PolicyNotAuthorized", f"The {what} {one_id} is the configuration's, and is changed there."
    )
