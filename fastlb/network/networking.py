# SPDX-License-Identifier: Apache-2.0
"""Networking: the network of a controller's load balancers: their addresses, ports, floating IPs."""

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fastlb.errors import ConfigError, FastLBError
from fastlb.network import vips
from fastlb.network.change import Change
from fastlb.network.config import NetworkConfig
from fastlb.network.floating_ips import FloatingIPs
from fastlb.network.interface import Interface
from fastlb.network.ports import Ports
from fastlb.network.records import Subnet
from fastlb.network.state import State
from fastlb.network.subnets import Networks
from fastlb.schema import LoadBalancerSpec

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer
    from fastlb.store import Store

log = logging.getLogger("fastlb")

Find = Callable[[str], "LoadBalancer | None"]
"""The load balancer with this id, or None."""


class Networking:
    """Where VIPs come from, and which addresses load balancers have besides.

    config: subnets and floating networks; None: the default ones, in 127.0.0.0/8. interface: the name of a network
    interface that VIPs are put on and taken from; None: addresses are somebody else's business. any_address: where no
    subnets are configured, also addresses outside of the default one may be asked for, as 127.0.0.1; not for callers
    who must be kept apart.

    A controller calls `open`, then `attach` for each load balancer before it starts; `plan` and `release` when one is
    made and deleted, with the commit in their `with` block; `close` at the end, when all have stopped.
    """

    def __init__(
        self, config: NetworkConfig | None = None, *, interface: str | None = None, any_address: bool = True
    ) -> None:
        self.config = config or NetworkConfig.default()
        self._any_address = any_address
        self._interface = None if interface is None else Interface(interface)
        self._find: Find = _nobody
        self._state = State(self.config, any_address=self._any_address)
        self.networks = Networks(self._state)
        self.ports = Ports(self._state)
        self.floating_ips = FloatingIPs(self._state, self._refresh)

    @property
    def anybody_makes_subnets(self) -> bool:
        """May every project bring ranges of addresses of its own? Else they are the operator's business."""
        return self._any_address and self.networks.stands_in

    def open(self, store: "Store", find: Find) -> None:
        """Take over what is stored, and what a crash has left on the interface.

        Raises ConfigError when there is no such interface.
        """
        with self._state.lock:
            self._state = State(self.config, any_address=self._any_address)
            for part in (self.networks, self.ports, self.floating_ips):
                part.state = self._state
            self._state.load(store)
            self._find = find
        if self._interface is not None:
            self._interface.open(store, self._state.used())

    def close(self) -> None:
        """Take the addresses off the interface again. Everything stays stored."""
        if self._interface is not None:
            self._interface.close()

    def plan(self, spec: LoadBalancerSpec, *, project_id: str, balancer_id: str) -> Change:
        """Addresses for a load balancer that is about to be made, reserved until the change is done or undone.

        `change.spec` has them: `vip_address`, `vip_port_id`, `vip_network_id`, `vip_subnet_id` and `additional_vips` as
        Octavia shows them. `change.puts` are rows for the commit that stores it.

        Raises ConfigError, in Octavia's words, and Conflict for an address that is taken.
        """
        return vips.plan(self._state, spec, project_id=project_id, balancer_id=balancer_id)

    def check_subnets(
        self, subnet_ids: Iterable[str | None], may_see: Callable[[Subnet], bool] = lambda subnet: True
    ) -> None:
        """Are the subnets there that new members name? Raises ConfigError, in Octavia's words. may_see: is it one for
        the caller? One that is not is not there."""
        for subnet_id in dict.fromkeys(one for one in subnet_ids if one is not None):
            found = self.networks.find_subnet(subnet_id)
            if found is None or not may_see(found):
                raise ConfigError(
                    "subnet_id", subnet_id, "no such subnet", fault=f"Subnet {subnet_id} not found."
                )

    def release(self, balancer_id: str) -> Change:
        """Give up the addresses of a load balancer that is deleted: rows for the commit that deletes it.

        The port made for it goes, and floating IPs lead nowhere; a port that its project had made itself is free again.
        """
        return vips.release(self._state, balancer_id, self._let_go)

    def attach(self, balancer: "LoadBalancer", gone: Iterable[str] = ()) -> None:
        """Have its addresses on the interface, if there is one, and have it listen on its floating IPs too.

        gone: addresses that it has lost. What goes wrong is logged, and tried again with the next change of its
        floating IPs, failover and start.
        """
        gone, passing = set(gone), set[str]()
        try:
            while True:
                # Without the lock, as sockets that retire may take their time: so look again whether it is still so.
                vips, extra = self._addresses(balancer.id)
                self._hold([*vips, *extra])
                balancer._set_extra_addresses(extra)
                if self._addresses(balancer.id) == (vips, extra):
                    break
                passing |= {*vips, *extra}
        except FastLBError as error:
            if not balancer._deleted:
                log.error("%s: its addresses could not be set: %s", balancer._who(), error)
        finally:
            self._let_go_unwanted(gone | passing)
        # What it listened on for a moment, too late, was taken for whoever has it: now it is not.
        for other in {owner.id: owner for owner in map(self._owner, passing) if owner is not None}.values():
            if other is not balancer:
                self.attach(other)

    def extra_addresses(self, balancer_id: str) -> list[str]:
        """The floating IPs that lead to a load balancer."""
        return self._addresses(balancer_id)[1]

    def _addresses(self, balancer_id: str) -> tuple[list[str], list[str]]:
        """The VIPs of a load balancer, and its floating IPs."""
        with self._state.lock:
            port = self._state.port_of(balancer_id)
            if port is None:
                return [], []
            return (
                [fixed.ip_address for fixed in port.fixed_ips],
                [one.floating_ip_address for one in self._state.leading_to(port.id)],
            )

    def _owner(self, address: str) -> "LoadBalancer | None":
        """The load balancer that has this address."""
        with self._state.lock:
            balancer_id = self._state.user(address)
        return self._find(balancer_id) if balancer_id else None

    def _refresh(self, port_id: str, gone: Iterable[str] = ()) -> None:
        """The floating IPs of a port have changed; these addresses lead to it no longer."""
        port = self._state.ports.get(port_id)
        # One that is being made is not found yet; it reads its floating IPs when it is.
        balancer = None if port is None or port.balancer_id is None else self._find(port.balancer_id)
        if balancer is None:
            self._let_go_unwanted(gone)
        else:
            self.attach(balancer, gone)

    # The interface.

    def _hold(self, addresses: Iterable[str]) -> None:
        if self._interface is not None:
            self._interface.hold(addresses)

    def _let_go(self, addresses: Iterable[str]) -> None:
        if self._interface is not None:
            self._interface.let_go(addresses)

    def _let_go_unwanted(self, addresses: Iterable[str]) -> None:
        """Those of them that no load balancer has (any more, or again)."""
        if self._interface is None:
            return
        # Under the lock: nobody can get one between the look and the removal.
        with self._state.lock:
            self._interface.let_go([one for one in addresses if not self._state.is_used(one)])


def _nobody(balancer_id: str) -> None:
    return None
