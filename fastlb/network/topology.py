# SPDX-License-Identifier: Apache-2.0
"""Which networks and subnets there are: those of the configuration, those made since, and the stand-in.

The stand-in is the default subnet on its network. While no subnets are configured, every UUID of a subnet or a
network that nobody has is it under another id, so that people bring their scripts as they are.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from fastlb.network.addresses import AddressSpace
from fastlb.network.config import NetworkConfig, SubnetConfig, overlap, stable_id
from fastlb.network.records import Network, NetworkRecord, Subnet

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
R = TypeVar("R", bound=NetworkRecord)


class Topology:
    """Networks and subnets by id, and the address space of each subnet. Called under the lock of its owner."""

    def __init__(self, config: NetworkConfig) -> None:
        self.networks: dict[str, Network] = {}
        self.subnets: dict[str, Subnet] = {}
        self.configured: set[str] = set()
        """Ids of what the configuration has: it cannot be changed from outside."""
        self._spaces: dict[str, AddressSpace] = {}
        self._on_network: dict[str, list[str]] = {}
        self.stand_in: Subnet | None = None
        self.floating_stand_in: Network | None = None
        for subnet in config.subnets:
            self._configure(subnet)
        for floating in config.floating_networks:
            self._configured(Network(id=floating.id, name=floating.name, external=True, shared=True))
            self._configured(
                Subnet(
                    id=stable_id("floating subnet", floating.id),
                    name=f"{floating.name}-subnet",
                    network_id=floating.id,
                    cidr=floating.cidr,
                    gateway_ip=floating.gateway,
                    allocation_pools=floating.allocation_pools,
                    reaches=(),
                )
            )
        if config.stands_in:
            self.stand_in = self.subnets[config.subnets[0].id]
            if config.floating_networks:
                self.floating_stand_in = self.networks[config.floating_networks[0].id]

    def _configure(self, subnet: SubnetConfig) -> None:
        if subnet.network_id not in self.networks:
            self._configured(Network(id=subnet.network_id, name=subnet.network, shared=True))
        self._configured(
            Subnet(
                id=subnet.id,
                name=subnet.name,
                network_id=subnet.network_id,
                cidr=subnet.cidr,
                gateway_ip=subnet.gateway,
                allocation_pools=subnet.allocation_pools,
                reaches=subnet.reaches,
            )
        )

    def _configured(self, record: Network | Subnet) -> None:
        self.configured.add(record.id)
        self.put(record)

    # What is there.

    def put(self, record: Network | Subnet) -> None:
        """New, or changed. A subnet keeps its CIDR and its network for good."""
        if isinstance(record, Network):
            self.networks[record.id] = record
        else:
            if record.id not in self.subnets:
                self._spaces[record.id] = AddressSpace(
                    record.cidr, record.allocation_pools, gateway=record.gateway_ip
                )
                self._on_network.setdefault(record.network_id, []).append(record.id)
            self.subnets[record.id] = record

    def drop(self, record: Network | Subnet) -> None:
        if isinstance(record, Network):
            del self.networks[record.id]
        else:
            del self.subnets[record.id]
            del self._spaces[record.id]
            self._on_network[record.network_id].remove(record.id)

    def find_network(self, network_id: str) -> Network | None:
        """The network with this id, or the one that stands in for it."""
        found = self.networks.get(network_id)
        if found is None and self.stand_in is not None and is_uuid(network_id):
            found = _named_so(self.networks[self.stand_in.network_id], network_id)
        return found

    def find_floating_network(self, network_id: str) -> Network | None:
        """The floating network with this id, or the one that stands in for it."""
        found = self.networks.get(network_id)
        if found is None and self.floating_stand_in is not None and is_uuid(network_id):
            found = _named_so(self.floating_stand_in, network_id)
        return found if found is not None and found.external else None

    def find_subnet(self, subnet_id: str, network_id: str | None = None) -> Subnet | None:
        """The subnet with this id, or the one that stands in for it. network_id: must be on that network, where both
        are known; a stand-in is on whatever network it is asked on."""
        found = self.subnets.get(subnet_id)
        if found is None and self.stand_in is not None and is_uuid(subnet_id):
            found = _named_so(self.stand_in, subnet_id)
        if found is None or network_id is None:
            return found
        if self.is_stand_in(found) and network_id not in self.networks:
            found = msgspec.structs.replace(found, network_id=network_id)
        return found if found.network_id == network_id else None

    def subnets_of(self, network_id: str) -> list[Subnet]:
        """The subnets of a network, in the order of creation."""
        if network_id not in self.networks and self.stand_in is not None:
            return [msgspec.structs.replace(self.stand_in, network_id=network_id)]
        return [self.subnets[subnet_id] for subnet_id in self._on_network.get(network_id, ())]

    def is_stand_in(self, subnet: Subnet) -> bool:
        """Is it the default subnet, under its own or another's id?"""
        return self.stand_in is not None and (subnet.id not in self.subnets or self.stand_in.id == subnet.id)

    def space(self, subnet_id: str) -> AddressSpace | None:
        """Where the addresses of a subnet come from."""
        found = self._spaces.get(subnet_id)
        if found is None and self.stand_in is not None:
            found = self._spaces[self.stand_in.id]
        return found

    def subnet_with(self, address: str, among: Iterable[Subnet] | None = None) -> Subnet | None:
        """The subnet that has an address, of these or of all that are no floating network's."""
        one = ipaddress.ip_address(address)
        if among is None:
            among = [
                subnet for subnet in self.subnets.values() if not self.networks[subnet.network_id].external
            ]
        for subnet in among:
            space = self.space(subnet.id)
            if space is not None and one in space.network:
                return subnet
        return None

    def overlapping(self, cidr: str) -> Subnet | None:
        """A subnet that has addresses of this range."""
        return next((subnet for subnet in self.subnets.values() if overlap(subnet.cidr, cidr)), None)

    def reaches(self, subnet: Subnet, floating: Network) -> bool:
        """Can a floating IP of that network lead to a port on this subnet?"""
        if subnet.reaches is None:
            return True
        return floating.name in subnet.reaches


def _named_so(record: R, one_id: str) -> R:
    return msgspec.structs.replace(record, id=one_id)


def is_uuid(text: str) -> bool:
    """Does it look like an id? (Neutron's names may be anything else.)"""
    return _UUID.fullmatch(text) is not None
