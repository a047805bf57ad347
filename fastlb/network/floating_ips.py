# SPDX-License-Identifier: Apache-2.0
"""Floating IPs: addresses that lead to a port. A load balancer listens on those that lead to its VIP port."""

import ipaddress
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastlb.network import attributes, faults
from fastlb.network.attributes import ANYTHING, COMMON, Attribute
from fastlb.network.records import FloatingIP, Network, Port, Subnet, now
from fastlb.network.state import State
from fastlb.schema import kinds

ATTRIBUTES: Mapping[str, Attribute] = {
    **{name: attribute for name, attribute in COMMON.items() if name != "name"},
    "floating_network_id": attributes.UUID,
    "floating_ip_address": Attribute(kinds.ip_address, null=True, live=False),
    "subnet_id": Attribute(kinds.uuid, null=True, live=False),
    "port_id": attributes.UUID_OR_NULL,
    "fixed_ip_address": attributes.ADDRESS_OR_NULL,
    "qos_policy_id": attributes.UUID_OR_NULL,
    "dns_name": Attribute(kinds.text(255)),
    "dns_domain": Attribute(kinds.text(255)),
    "distributed": ANYTHING,
}


class FloatingIPs:
    """`networking.floating_ips`. What is refused is refused in Neutron's words: `NetworkFault`.

    refresh: called with the id of a port when the floating IPs that lead to it have changed, and the addresses that do
    so no longer; without the lock.
    """

    def __init__(self, state: State, refresh: Callable[[str, Iterable[str]], None]) -> None:
        self.state = state
        self._refresh = refresh

    def all(self) -> list[FloatingIP]:
        """In the order of creation."""
        with self.state.lock:
            return list(self.state.floating_ips.values())

    def get(self, floating_id: str) -> FloatingIP:
        found = self.state.floating_ips.get(floating_id)
        if found is None:
            raise faults.not_found("floatingip", floating_id)
        return found

    def create(
        self, body: Any, *, project_id: str, may_use: Callable[[Port], bool] = lambda port: True
    ) -> FloatingIP:
        """One of a floating network's addresses, associated with a port if the body names one. may_use: is the port the
        caller's? One that is not is not there."""
        values = attributes.parse(ATTRIBUTES, body)
        network_id = attributes.need(values, "floating_network_id")
        with self.state.lock:
            self.state.settle(lambda: [values.get("port_id")])
            network = self.state.topology.find_floating_network(network_id)
            if network is None:
                if self.state.topology.find_network(network_id) is None:
                    raise faults.not_found("network", network_id)
                raise faults.bad_request(
                    f"Bad floatingip request: Network {network_id} is not a valid external network."
                )
            floating_id = str(uuid.uuid4())
            subnet, address = self._take(
                network, values.pop("subnet_id", None), values.pop("floating_ip_address", None)
            )
            try:
                floating = FloatingIP(
                    id=floating_id,
                    floating_ip_address=address,
                    subnet_id=subnet.id,
                    created_at=now(),
                    updated_at=now(),
                    **{
                        **values,
                        "project_id": project_id,
                        **self._target(floating_id, address, network, values, may_use),
                    },
                )
                self.state.commit([floating])
            except BaseException:
                self.state.give_back(subnet.id, address)
                raise
        if floating.port_id is not None:
            self._refresh(floating.port_id, ())
        return floating

    def update(
        self,
        floating_id: str,
        body: Any,
        tags: tuple[str, ...] | None = None,
        may_use: Callable[[Port], bool] = lambda port: True,
    ) -> FloatingIP:
        """Change it. A port_id associates it, also anew; null takes it away; tags: all of them."""
        values = attributes.parse(ATTRIBUTES, body, update=True)
        with self.state.lock:
            self.state.settle(lambda: [floating_id, values.get("port_id")])
            before = self.get(floating_id)
            network = self._network(before)
            if "port_id" not in values and values.get("fixed_ip_address") is not None:
                values["port_id"] = before.port_id
            if "port_id" in values or "fixed_ip_address" in values:
                values |= self._target(floating_id, before.floating_ip_address, network, values, may_use)
            floating = before.changed(tags=before.tags if tags is None else tags, **values)
            self.state.commit([floating])
        if floating.port_id != before.port_id and before.port_id is not None:
            self._refresh(before.port_id, [before.floating_ip_address])
        if floating.port_id is not None:
            self._refresh(floating.port_id, ())
        return floating

    def delete(self, floating_id: str) -> None:
        """Give the address up; the load balancer no longer listens there."""
        floating = self.get(floating_id)
        if floating.port_id is not None:
            # While the address is still taken, so that nobody has it before it is free.
            floating = self.update(floating_id, {"port_id": None})
        with self.state.lock:
            self.state.settle(lambda: [floating_id])
            self.state.commit([], [self.get(floating_id)])

    def _network(self, floating: FloatingIP) -> Network:
        found = self.state.topology.find_floating_network(floating.floating_network_id)
        # The configuration may have lost it since; then no new association can be reached.
        return found or Network(id=floating.floating_network_id, external=True)

    def _take(self, network: Network, subnet_id: str | None, address: str | None) -> tuple[Subnet, str]:
        topology = self.state.topology
        stand_in = topology.floating_stand_in
        home = network.id if network.id in topology.networks or stand_in is None else stand_in.id
        subnets = topology.subnets_of(home)
        if subnet_id is not None and subnet_id in topology.subnets:
            subnets = [one for one in subnets if one.id == subnet_id]
            if not subnets:
                raise faults.invalid_input(f"subnet {subnet_id} is not on network {network.id}")
        if address is not None:
            found = topology.subnet_with(address, subnets)
            if found is None:
                raise faults.NetworkFault(
                    400,
                    "InvalidIpForNetwork",
                    f"IP address {address} is not a valid IP for any of the subnets on the specified network.",
                )
            return found, self.state.take(found, address)
        for subnet in subnets:
            if self.state.has_free(subnet):
                return subnet, self.state.take(subnet)
        raise faults.none_left(network.id)

    def _target(
        self,
        floating_id: str,
        address: str,
        network: Network,
        values: Mapping[str, Any],
        may_use: Callable[[Port], bool],
    ) -> dict[str, Any]:
        """Which port it leads to, and which of the port's addresses."""
        port_id = values.get("port_id")
        fixed_address = values.get("fixed_ip_address")
        if port_id is None:
            if fixed_address is not None:
                raise faults.bad_request(
                    "Bad floatingip request: fixed_ip_address cannot be specified without a port_id."
                )
            return {"port_id": None, "fixed_ip_address": None}
        port = self.state.ports.get(port_id)
        if port is None or not may_use(port):
            raise faults.not_found("port", port_id)
        wanted = None if fixed_address is None else str(ipaddress.ip_address(fixed_address))
        fits = [fixed for fixed in port.fixed_ips if wanted in (None, fixed.ip_address)]
        # Of several, an IPv4 one.
        fits.sort(key=lambda fixed: ":" in fixed.ip_address)
        if not fits:
            raise faults.bad_request(
                f"Bad floatingip request: Port {port.id} does not have fixed ip {fixed_address}."
                if fixed_address
                else f"Bad floatingip request: Cannot add floating IP to port {port.id} that has no fixed IPv4 "
                "addresses."
            )
        topology = self.state.topology
        fixed = fits[0]
        subnet = topology.find_subnet(fixed.subnet_id)
        if subnet is None or not topology.reaches(subnet, network):
            raise faults.unreachable(network.id, fixed.subnet_id, port.id)
        for other in self.state.leading_to(port.id):
            if (
                other.id != floating_id
                and other.fixed_ip_address == fixed.ip_address
                and other.floating_network_id == network.id
            ):
                raise faults.in_use(
                    "FloatingIPPortAlreadyAssociated",
                    f"Cannot associate floating IP {address} ({floating_id}) with port {port.id} using fixed IP "
                    f"{fixed.ip_address}, as that fixed IP already has a floating IP on external network {network.id}.",
                )
        return {"port_id": port.id, "fixed_ip_address": fixed.ip_address}
