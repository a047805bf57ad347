# SPDX-License-Identifier: Apache-2.0
"""Which address of a subnet is given out next, at a cost that does not grow with those given out."""

import ipaddress
from collections import OrderedDict
from collections.abc import Container, Iterable

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressSpace:
    """The addresses of one subnet. Who has which is the caller's set; here is only where to look for a free one.

    A cursor goes through the ranges once. What is given back waits until the cursor is through, so that an address is
    not given to the next one while clients still know it as the last one's.
    """

    __slots__ = ("_at", "_back", "_kind", "_left", "_ranges", "gateway", "network")

    def __init__(
        self, cidr: str, pools: Iterable[tuple[str, str]] = (), *, gateway: str | None = None
    ) -> None:
        """pools: first and last address of each range that may be chosen; none: all hosts of the cidr. gateway: is
        given to nobody."""
        self.network: IPNetwork = ipaddress.ip_network(cidr)
        self.gateway = gateway
        self._kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address] = (
            ipaddress.IPv4Address if self.network.version == 4 else ipaddress.IPv6Address
        )
        ranges = [(int(self._kind(first)), int(self._kind(last))) for first, last in pools]
        self._ranges = sorted(ranges or [hosts(self.network)], reverse=True)
        self._left = list(self._ranges)
        self._at = self._left[-1][0]
        self._back: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, address: str) -> bool:
        return ipaddress.ip_address(address) in self.network

    def is_host(self, address: str) -> bool:
        """May a port have it: is it in the subnet, and neither its name nor its broadcast address?"""
        one = ipaddress.ip_address(address)
        first, last = hosts(self.network)
        return one in self.network and first <= int(one) <= last

    def free(self, taken: Container[str]) -> str | None:
        """An address that is not taken, or None. It is the answer until it is in `taken`."""
        while self._left:
            _, last = self._left[-1]
            while self._at <= last:
                address = str(self._kind(self._at))
                if address not in taken and address != self.gateway:
                    return address
                self._at += 1
            self._left.pop()
            if self._left:
                self._at = max(self._at, self._left[-1][0])
        while self._back:
            address = next(iter(self._back))
            if address not in taken:
                return address
            del self._back[address]
        return None

    def give_back(self, address: str) -> None:
        """It is free again."""
        one = ipaddress.ip_address(address)
        if one.version == self.network.version and any(
            first <= int(one) <= last for first, last in self._ranges
        ):
            self._back[address] = None


def is_unicast(network: IPNetwork) -> bool:
    """Can a host have each of its addresses? Not those that mean every address, every host, or a group of them."""
    groups = ipaddress.ip_network("224.0.0.0/3" if network.version == 4 else "ff00::/8")
    return int(network.network_address) != 0 and not network.overlaps(groups)


def hosts(network: IPNetwork) -> tuple[int, int]:
    """The first and the last address that a host may have."""
    first, last = int(network.network_address), int(network.broadcast_address)
    if network.num_addresses > 2:
        first += 1
        last -= network.version == 4
    return first, last
