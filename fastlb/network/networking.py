# SPDX-License-Identifier: Apache-2.0
"""Networking: the network of a controller's load balancers: their addresses, ports, floating IPs."""

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fastlb.errors import FastLBError
from fastlb.network import vips
from fastlb.network.change import Change
from fastlb.network.config import NetworkConfig
from fastlb.network.floating_ips import FloatingIPs
from fastlb.network.interface import Interface
from fastlb.network.ports import Ports
from fastlb.network.records import FloatingIP
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
    interface that VIPs are put on and taken from; None: addresses are somebody else's business.

    A controller calls `open`, then `attach` for each load balancer before it starts; `plan` and `release` when one is
    made and deleted, with the commit in their `with` block; `close` at the end, when all have stopped.
    """

    def __init__(self, config: NetworkConfig | None = None, *, interface: str | None = None) -> None:
        self.config = config or NetworkConfig.default()
        self._interface = None if interface is None else Interface(interface)
        self._find: Find = _nobody
        self._state = State(self.config)
        self.networks = Networks(self._state)
        self.ports = Ports(self._state)
        self.floating_ips = FloatingIPs(self._state, self._refresh)

    def open(self, store: "Store", find: Find) -> None:
        """Take over what is stored, and what a crash has left on the interface.

        Raises CoreError when there is no such interface, msgspec.ValidationError for rows that are not ours.
        """
        with self._state.lock:
            self._state = State(self.config)
            for part in (self.networks, self.ports, self.floating_ips):
                part.state = self._state
            self._state.load(store)
            self._find = find
        if self._interface is not None:
            self._interface.open(store, self._wanted())

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

    def release(self, balancer_id: str) -> Change:
        """Give up the addresses of a load balancer that is deleted: rows for the commit that deletes it.

        The port made for it goes, and floating IPs lead nowhere; a port that its project had made itself is free again.
        """
        return vips.release(self._state, balancer_id, self._let_go)

    def attach(self, balancer: "LoadBalancer", gone: Iterable[str] = ()) -> None:
        """Have its addresses on the interface, if there is one, and have it listen on its floating IPs too.

        gone: ids of floating IPs that led to it.
        """
        with balancer._change():
            extra = self.extra_addresses(balancer.id)
            self._hold([*balancer.vips, *extra])
            self._let_go_of(gone)

    def extra_addresses(self, balancer_id: str) -> list[str]:
        """The floating IPs that lead to a load balancer."""
        with self._state.lock:
            port = self._state.port_of(balancer_id)
            if port is None:
                return []
            return [one.floating_ip_address for one in self._state.leading_to(port.id)]

    def _refresh(self, port_id: str, gone: Iterable[str] = ()) -> None:
        """The floating IPs of a port have changed; these lead to it no longer."""
        port = self._state.ports.get(port_id)
        # One that is being made is not found yet; it reads its floating IPs when it is.
        balancer = None if port is None or port.balancer_id is None else self._find(port.balancer_id)
        if balancer is None:
            self._let_go_of(gone)
            return
        try:
            self.attach(balancer, gone)
        except FastLBError as error:
            # What the client asked for is so; the data plane is tried again at the next change and start.
            log.error("%s: its floating IPs could not be set: %s", balancer._who(), error)

    # The interface. `_hold` is called under the load balancer's lock, so that what it saw is not overtaken there.

    def _hold(self, addresses: Iterable[str]) -> None:
        if self._interface is not None:
            self._interface.hold(addresses)

    def _let_go(self, addresses: Iterable[str]) -> None:
        if self._interface is not None:
            self._interface.let_go(addresses)

    def _let_go_of(self, floating_ids: Iterable[str]) -> None:
        if self._interface is None:
            return
        # Under the lock: nobody can associate it anew between the look and the removal.
        with self._state.lock:
            for floating_id in floating_ids:
                floating = self._state.floating_ips.get(floating_id)
                if floating is not None and not self._leads_to_balancer(floating):
                    self._interface.let_go([floating.floating_ip_address])

    def _leads_to_balancer(self, floating: FloatingIP) -> bool:
        port = None if floating.port_id is None else self._state.ports.get(floating.port_id)
        return port is not None and port.balancer_id is not None

    def _wanted(self) -> set[str]:
        """All addresses that load balancers have."""
        with self._state.lock:
            wanted = {
                fixed.ip_address
                for port in self._state.ports.values()
                if port.balancer_id is not None
                for fixed in port.fixed_ips
            }
            wanted.update(
                one.floating_ip_address
                for one in self._state.floating_ips.values()
                if self._leads_to_balancer(one)
            )
            return wanted


def _nobody(balancer_id: str) -> None:
    return None
