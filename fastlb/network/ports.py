# SPDX-License-Identifier: Apache-2.0
"""Ports that a project makes itself, for instance to have a VIP's address before the load balancer."""

import uuid
from collections.abc import Mapping
from typing import Any

from fastlb.errors import ConfigError, UnknownField
from fastlb.network import attributes, faults
from fastlb.network.attributes import ANYTHING, COMMON, Attribute
from fastlb.network.records import OCTAVIA, FixedIP, Port, Subnet, mac_address, now
from fastlb.network.state import State
from fastlb.schema import kinds


def _fixed_ip(field: str, value: Any, coerce: bool) -> dict[str, str]:
    checks = {"subnet_id": kinds.uuid, "ip_address": kinds.ip_address, "subnet": kinds.uuid}
    found = {}
    for name, element in kinds.mapping(field, value).items():
        if name not in checks:
            raise UnknownField(f"{field}.{name}", "has a key that nothing is known of")
        if element is not None:
            found["subnet_id" if name == "subnet" else name] = checks[name](field, element, coerce)
    if not found:
        raise ConfigError(field, value, "must have subnet_id or ip_address")
    return found


ATTRIBUTES: Mapping[str, Attribute] = {
    **COMMON,
    "network_id": attributes.UUID,
    "fixed_ips": Attribute(kinds.each(_fixed_ip, "mappings"), null=True),
    "admin_state_up": attributes.FLAG,
    "device_id": attributes.NAME,
    "device_owner": attributes.NAME,
    "security_groups": attributes.IDS,
    "security_group_ids": attributes.IDS,
    "qos_policy_id": attributes.UUID_OR_NULL,
    "mac_address": Attribute(kinds.text(32)),
    **dict.fromkeys(
        (
            "allowed_address_pairs",
            "binding:host_id",
            "binding:profile",
            "binding:vnic_type",
            "dns_domain",
            "dns_name",
            "extra_dhcp_opts",
            "hints",
            "numa_affinity_policy",
            "port_security_enabled",
            "propagate_uplink_status",
        ),
        ANYTHING,
    ),
}


class Ports:
    """`networking.ports`. What is refused is refused in Neutron's words: `NetworkFault`."""

    def __init__(self, state: State) -> None:
        self.state = state

    def all(self) -> list[Port]:
        """In the order of creation."""
        with self.state.lock:
            return list(self.state.ports.values())

    def find(self, port_id: str) -> Port | None:
        return self.state.ports.get(port_id)

    def get(self, port_id: str) -> Port:
        found = self.state.ports.get(port_id)
        if found is None:
            raise faults.not_found("port", port_id)
        return found

    def stand_in(self, port_id: str) -> Port | None:
        """What answers for a port that nobody has made, while no subnets are configured: it will be made when a load
        balancer gets it."""
        subnet = self.state.topology.stand_in
        if subnet is None:
            return None
        return Port(id=port_id, network_id=subnet.network_id, mac_address=mac_address(port_id))

    def create(self, body: Any, *, project_id: str) -> Port:
        """Make one. Without fixed_ips it has an address of the network's first subnet that has one to spare."""
        values = attributes.parse(ATTRIBUTES, body)
        network_id = attributes.need(values, "network_id")
        port_id = str(uuid.uuid4())
        _check_owner(values)
        with self.state.lock:
            if self.state.topology.find_network(network_id) is None:
                raise faults.not_found("network", network_id)
            fixed = self._take(network_id, values.pop("fixed_ips", None))
            try:
                port = Port(
                    id=port_id,
                    fixed_ips=fixed,
                    created_at=now(),
                    updated_at=now(),
                    **({"mac_address": mac_address(port_id)} | _fields(values) | {"project_id": project_id}),
                )
                self.state.commit([port])
            except BaseException:
                for one in fixed:
                    self.state.give_back(one.subnet_id, one.ip_address)
                raise
            return port

    def update(self, port_id: str, body: Any, tags: tuple[str, ...] | None = None) -> Port:
        """Change it; tags: all of them. The addresses of a load balancer's port stay what they are."""
        values = attributes.parse(ATTRIBUTES, body, update=True)
        with self.state.lock:
            self.state.settle(lambda: [port_id])
            port = self.get(port_id)
            if port.balancer_id is not None:
                for name in values.keys() & {"fixed_ips", "device_id", "device_owner"}:
                    if name == "fixed_ips" and _same(port, values[name]):
                        continue
                    raise faults.in_use("PortInUse", _owned(port, "changed"))
            else:
                _check_owner(values)
            wanted = values.pop("fixed_ips", None)
            fixed = self._again(port, wanted) if wanted is not None else port.fixed_ips
            try:
                port = port.changed(
                    fixed_ips=fixed, tags=port.tags if tags is None else tags, **_fields(values)
                )
                self.state.commit([port])
            except BaseException:
                for one in fixed:
                    if one not in self.get(port_id).fixed_ips:
                        self.state.give_back(one.subnet_id, one.ip_address)
                raise
            return port

    def delete(self, port_id: str) -> None:
        """Give its addresses up. A load balancer's port goes with it and not before."""
        with self.state.lock:
            self.state.settle(lambda: [port_id, *(one.id for one in self.state.leading_to(port_id))])
            port = self.get(port_id)
            if port.balancer_id is not None:
                raise faults.in_use("ServicePortInUse", _owned(port, "deleted"))
            leading = self.state.leading_to(port_id)
            self.state.commit([one.changed(port_id=None, fixed_ip_address=None) for one in leading], [port])

    def _take(self, network_id: str, wanted: Any) -> tuple[FixedIP, ...]:
        """The addresses that a body asks for, all or none."""
        if wanted is None:
            subnets = sorted(self.state.topology.subnets_of(network_id), key=lambda one: one.ip_version)
            if not subnets:
                return ()
            wanted = [{"subnet_id": next(filter(self.state.has_free, subnets), subnets[0]).id}]
        taken: list[FixedIP] = []
        try:
            for one in wanted:
                subnet = self._subnet(network_id, one)
                taken.append(FixedIP(subnet.id, self.state.take(subnet, one.get("ip_address"))))
        except BaseException:
            for fixed in taken:
                self.state.give_back(fixed.subnet_id, fixed.ip_address)
            raise
        return tuple(taken)

    def _again(self, port: Port, wanted: Any) -> tuple[FixedIP, ...]:
        """The addresses of a change: those that it has and that are named again stay."""
        kept = [
            fixed
            for fixed in port.fixed_ips
            if any(one.get("ip_address") == fixed.ip_address for one in wanted)
        ]
        held = {fixed.ip_address for fixed in kept}
        return (
            *kept,
            *self._take(port.network_id, [one for one in wanted if one.get("ip_address") not in held]),
        )

    def _subnet(self, network_id: str, fixed: Mapping[str, str]) -> Subnet:
        topology = self.state.topology
        if "subnet_id" in fixed:
            found = topology.find_subnet(fixed["subnet_id"], network_id)
            if found is None:
                raise faults.invalid_input(
                    f"Failed to create port on network {network_id}, because fixed_ips included invalid subnet "
                    f"{fixed['subnet_id']}"
                )
            return found
        subnets = topology.subnets_of(network_id)
        stands_in = (one for one in subnets if topology.is_stand_in(one))
        found = topology.subnet_with(fixed["ip_address"], subnets) or next(stands_in, None)
        if found is None:
            raise faults.NetworkFault(
                400,
                "InvalidIpForNetwork",
                f"IP address {fixed['ip_address']} is not a valid IP for any of the subnets on the specified network.",
            )
        return found


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    if "security_group_ids" in values:
        values["security_groups"] = values.pop("security_group_ids")
    if "security_groups" in values:
        values["security_groups"] = values["security_groups"] or ()
    return values


def _check_owner(values: Mapping[str, Any]) -> None:
    """Only a load balancer's own making and deleting say that a port is its VIP."""
    if values.get("device_owner") == OCTAVIA:
        raise faults.invalid_input(f"device_owner {OCTAVIA} is a load balancer's")


def _same(port: Port, wanted: Any) -> bool:
    here = {fixed.ip_address for fixed in port.fixed_ips}
    return wanted is not None and here == {one.get("ip_address") for one in wanted}


def _owned(port: Port, what: str) -> str:
    return f"Port {port.id} cannot be {what} directly via the port API: has device owner {port.device_owner}."
