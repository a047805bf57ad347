# SPDX-License-Identifier: Apache-2.0
"""What the network knows: networks and subnets, ports, floating IPs, and which addresses are taken.

It follows from the configuration and the rows of the store. One lock guards all of it, so that two creates cannot get
one address; it is held for computing, and for the commits of the network's own calls, never while a load balancer is
waited for.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from fastlb.addresses import is_here
from fastlb.network import faults
from fastlb.network.config import NetworkConfig
from fastlb.network.records import FloatingIP, Network, NetworkRecord, Port, Subnet
from fastlb.network.topology import Topology

if TYPE_CHECKING:
    from fastlb.store import Store

log = logging.getLogger("fastlb")

WAIT_S = 10.0


class State:
    """Everything under `lock`; what is read from one record needs none, records do not change."""

    def __init__(self, config: NetworkConfig, *, any_address: bool = True) -> None:
        self._any_address = any_address
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.topology = Topology(config)
        self.ports: dict[str, Port] = {}
        self.floating_ips: dict[str, FloatingIP] = {}
        self.store: Store | None = None
        self.busy: set[str] = set()
        """Ids of ports and floating IPs that change together with a load balancer, whose commit is under way."""
        self._taken: dict[str, str] = {}
        """Whose each address is: the id of a port or a floating IP, or "" while it is reserved."""
        self._port_of: dict[str, str] = {}
        self._leading_to: dict[str, dict[str, None]] = {}

    def load(self, store: "Store") -> None:
        """Take over what the store has. Once, at the beginning. What nobody of ours has written is left alone."""
        self.store = store
        for kind in (Network, Subnet, Port, FloatingIP):
            for row in store.list(kind.TYPE):
                try:
                    self.put(kind.of_row(row.id, row.document))
                except (msgspec.ValidationError, ValueError) as error:
                    log.error(
                        "%s %s is stored and cannot be understood: left alone: %s", row.type, row.id, error
                    )

    def settle(self, ids: Callable[[], Iterable[str | None]]) -> None:
        """Wait until none of these changes together with a load balancer. Under the lock, which is let go of meanwhile:
        read again afterwards what was read before."""
        if not self.changed.wait_for(lambda: self.busy.isdisjoint(ids()), WAIT_S):
            raise faults.in_use("Conflict", "A load balancer that has it is being changed.")

    # Records.

    def port_of(self, balancer_id: str) -> Port | None:
        """The port whose addresses a load balancer has."""
        port_id = self._port_of.get(balancer_id)
        return None if port_id is None else self.ports.get(port_id)

    def leading_to(self, port_id: str) -> list[FloatingIP]:
        """The floating IPs that are associated with a port."""
        return [self.floating_ips[one] for one in self._leading_to.get(port_id, ())]

    def put(self, record: NetworkRecord) -> None:
        """It is there, or is so now."""
        if isinstance(record, Port):
            before = self.ports.get(record.id)
            if before is not None:
                self._unindex_port(before)
                kept = {fixed.ip_address for fixed in record.fixed_ips}
                for fixed in before.fixed_ips:
                    if fixed.ip_address not in kept:
                        self.give_back(fixed.subnet_id, fixed.ip_address)
            self.ports[record.id] = record
            self._taken.update({fixed.ip_address: record.id for fixed in record.fixed_ips})
            if record.balancer_id is not None:
                self._port_of[record.balancer_id] = record.id
        elif isinstance(record, FloatingIP):
            self._unindex_floating(record.id)
            self.floating_ips[record.id] = record
            self._taken[record.floating_ip_address] = record.id
            if record.port_id is not None:
                self._leading_to.setdefault(record.port_id, {})[record.id] = None
        elif isinstance(record, (Network, Subnet)):
            self.topology.put(record)

    def drop(self, record: NetworkRecord) -> None:
        """It is gone."""
        if isinstance(record, Port):
            self._unindex_port(record)
            self.ports.pop(record.id, None)
            for fixed in record.fixed_ips:
                self.give_back(fixed.subnet_id, fixed.ip_address)
        elif isinstance(record, FloatingIP):
            self._unindex_floating(record.id)
            self.floating_ips.pop(record.id, None)
            self.give_back(record.subnet_id, record.floating_ip_address)
        elif isinstance(record, (Network, Subnet)):
            self.topology.drop(record)

    def commit(self, puts: Iterable[NetworkRecord] = (), drops: Iterable[NetworkRecord] = ()) -> None:
        """Store it, then know it. Raises StoreError, and then nothing has changed."""
        puts, drops = tuple(puts), tuple(drops)
        if self.store is not None:
            self.store.commit([one.put() for one in puts], [one.drop() for one in drops])
        for one in puts:
            self.put(one)
        for one in drops:
            self.drop(one)

    def _unindex_port(self, port: Port) -> None:
        if port.balancer_id is not None and self._port_of.get(port.balancer_id) == port.id:
            del self._port_of[port.balancer_id]

    def _unindex_floating(self, floating_id: str) -> None:
        before = self.floating_ips.get(floating_id)
        if before is not None and before.port_id is not None:
            others = self._leading_to.get(before.port_id, {})
            others.pop(floating_id, None)
            if not others:
                self._leading_to.pop(before.port_id, None)

    # Addresses.

    def take(self, subnet: Subnet, address: str | None = None) -> str:
        """This address of the subnet, or a free one, is taken from now on. Raises NetworkFault."""
        space = self.topology.space(subnet.id)
        assert space is not None
        if address is None:
            address = space.free(self._taken)
            if address is None:
                raise faults.none_left(subnet.network_id)
        else:
            if not space.is_host(address) and (address in space or not self._stands_in(subnet, address)):
                raise faults.not_in_subnet(address)
            if self._is_this_machines(address):
                return address
            if address in self._taken or address == space.gateway:
                raise faults.address_taken(address, subnet.id)
        self._taken[address] = ""
        return address

    def _stands_in(self, subnet: Subnet, address: str) -> bool:
        """May it have an address that is not of its range, because it stands for whatever the caller means? Not one of
        another subnet, which may be another project's."""
        everywhere = self.topology.subnets.values()
        return (
            self._any_address
            and self.topology.is_stand_in(subnet)
            and self.topology.subnet_with(address, everywhere) is None
        )

    def _is_this_machines(self, address: str) -> bool:
        """Is it an address that no subnet has and this machine does? There is no network to contradict it in the
        stand-in's place, and several load balancers can have it, with other ports."""
        everywhere = self.topology.subnets.values()
        return self.topology.subnet_with(address, everywhere) is None and is_here(address)

    def give_back(self, subnet_id: str, address: str) -> None:
        """The address is free."""
        self._taken.pop(address, None)
        space = self.topology.space(subnet_id)
        if space is not None:
            space.give_back(address)

    def is_used(self, address: str) -> bool:
        """Has a load balancer this address, or is one about to get it?"""
        return self.user(address) is not None

    def user(self, address: str) -> str | None:
        """The id of the load balancer that has this address; "" of one that is about to get it; None: nobody."""
        owner = self._taken.get(address)
        if not owner:
            return owner
        floating = self.floating_ips.get(owner)
        port = self.ports.get((floating.port_id or "-") if floating is not None else owner)
        return None if port is None else port.balancer_id

    def used(self) -> set[str]:
        """All addresses that load balancers have."""
        with self.lock:
            return {address for address in self._taken if self.is_used(address)}

    def has_free(self, subnet: Subnet) -> bool:
        """Is there an address left to choose?"""
        space = self.topology.space(subnet.id)
        return space is not None and space.free(self._taken) is not None
