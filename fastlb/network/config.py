# SPDX-License-Identifier: Apache-2.0
"""What the server's configuration says of networks: `[[subnets]]` and `[[floating_networks]]`.

    [[subnets]]
    id = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"       # default: follows from name and cidr
    name = "web"
    cidr = "10.0.0.0/24"
    network = "tenant"                                # name or UUID; subnets that name the same one are on it
    gateway = "10.0.0.1"                              # shown, and given to nobody
    allocation_pools = ["10.0.0.100-10.0.0.199"]      # what may be chosen; default: all of the cidr
    reaches = ["provider"]                            # floating networks; default: all

    [[floating_networks]]
    name = "provider"
    cidr = "192.0.2.0/24"

With no subnets there is one in 127.0.0.0/8, where each load balancer has an address of its own on this machine, and
it stands in for every subnet, network and port that anybody names. With neither there is a floating network there too.
"""

import ipaddress
import uuid
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

import msgspec

from fastlb.errors import ConfigError, UnknownField, shown
from fastlb.network.addresses import is_unicast
from fastlb.schema import kinds
from fastlb.schema.field import Record, Rule, create

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

NAMESPACE = uuid.UUID("6c7e1a52-9a0f-5e0c-8f43-f5b8d6b0c1a9")
DEFAULT_CIDR = "127.64.0.0/16"
DEFAULT_FLOATING_CIDR = "127.65.0.0/16"
DEFAULT_NAME = "default"
DEFAULT_FLOATING_NAME = "provider"


def stable_id(*words: str) -> str:
    """The UUID of something that the configuration names only by words: the same at each start."""
    return str(uuid.uuid5(NAMESPACE, "\0".join(words)))


def _cidr(field: str, value: Any, coerce: bool) -> str:
    try:
        network = ipaddress.ip_network(kinds.text(64, 1)(field, value, coerce))
    except ValueError as error:
        raise ConfigError(field, value, f"must be a network such as 10.0.0.0/24 ({error})") from None
    if not is_unicast(network):
        raise ConfigError(
            field, value, "must hold addresses of hosts alone, and neither 0.0.0.0 nor multicast"
        )
    return str(network)


def _pool(field: str, value: Any, coerce: bool) -> tuple[str, str]:
    """First and last address: "10.0.0.100-10.0.0.199", or a mapping with start and end, as Neutron has it."""
    if isinstance(value, Mapping):
        for name in value.keys() - {"start", "end"}:
            raise UnknownField(f"{field}.{name}", "no such field; there are start, end")
        ends = [value.get("start"), value.get("end")]
    else:
        ends = [word.strip() for word in kinds.text(128)(field, value, coerce).split("-")]
    if len(ends) != 2:
        raise ConfigError(field, value, "must be two addresses: 10.0.0.100-10.0.0.199")
    first, last = (kinds.ip_address(field, one, coerce) for one in ends)
    return first, last


_name = kinds.text(255)


class SubnetConfig(Record, frozen=True, kw_only=True):
    """A subnet that VIPs come from."""

    cidr: Annotated[str, Rule(_cidr)]
    id: Annotated[str, Rule(kinds.uuid)] = ""
    name: Annotated[str, Rule(_name)] = ""
    network: Annotated[str, Rule(_name)] = ""
    gateway: Annotated[str | None, Rule(kinds.ip_address, null=None)] = None
    allocation_pools: Annotated[tuple[tuple[str, str], ...], Rule(kinds.each(_pool, "ranges"))] = ()
    reaches: Annotated[tuple[str, ...] | None, Rule(kinds.each(_name, "names"), null=None)] = None

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        _check_ranges(self.cidr, self.gateway, self.allocation_pools)
        return msgspec.structs.replace(
            self,
            id=self.id or stable_id("subnet", self.name, self.cidr),
            network=self.network or self.name or self.cidr,
        )

    @property
    def network_id(self) -> str:
        return network_id(self.network)


class FloatingNetworkConfig(Record, frozen=True, kw_only=True):
    """A network that floating IPs come from."""

    cidr: Annotated[str, Rule(_cidr)]
    id: Annotated[str, Rule(kinds.uuid)] = ""
    name: Annotated[str, Rule(kinds.text(255, 1))] = DEFAULT_FLOATING_NAME
    gateway: Annotated[str | None, Rule(kinds.ip_address, null=None)] = None
    allocation_pools: Annotated[tuple[tuple[str, str], ...], Rule(kinds.each(_pool, "ranges"))] = ()

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        _check_ranges(self.cidr, self.gateway, self.allocation_pools)
        return msgspec.structs.replace(self, id=self.id or network_id(self.name))


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All of them. `stands_in`: the one subnet is the default one, which stands in for those that clients name."""

    subnets: tuple[SubnetConfig, ...]
    floating_networks: tuple[FloatingNetworkConfig, ...]
    stands_in: bool = False

    @classmethod
    def default(cls, cidr: str = DEFAULT_CIDR, floating_cidr: str = DEFAULT_FLOATING_CIDR) -> Self:
        """What there is when nothing is configured. The two ranges can be others, for several servers on a machine."""
        subnet = create(SubnetConfig, {"name": DEFAULT_NAME, "cidr": cidr})
        floating = create(FloatingNetworkConfig, {"cidr": floating_cidr})
        return cls(subnets=(subnet,), floating_networks=(floating,), stands_in=True)

    @classmethod
    def of(cls, subnets: Any = (), floating_networks: Any = ()) -> Self:
        """Of the two lists of a configuration file, as TOML or JSON gives them.

        Raises ConfigError, which names the place: `subnets[1].cidr`.
        """
        nets = tables(SubnetConfig)("subnets", subnets, False)
        floats = tables(FloatingNetworkConfig)("floating_networks", floating_networks, False)
        default = cls.default()
        config = cls(
            subnets=nets or default.subnets,
            floating_networks=floats or (() if nets else default.floating_networks),
            stands_in=not nets,
        )
        config._check()
        return config

    def _check(self) -> None:
        names = [floating.name for floating in self.floating_networks]
        for at, subnet in enumerate(self.subnets):
            for name in subnet.reaches or ():
                if name not in names:
                    raise ConfigError(
                        f"subnets[{at}].reaches",
                        name,
                        f"must be the name of a floating network; there are: {', '.join(names) or 'none'}",
                    )
        _check_each("floating_networks", "name", names)
        _check_each("subnets", "id", [subnet.id for subnet in self.subnets])
        _check_each("floating_networks", "id", [floating.id for floating in self.floating_networks])
        on_them = {subnet.network_id: at for at, subnet in enumerate(self.subnets)}
        for floating in self.floating_networks:
            if floating.id in on_them:
                raise ConfigError(
                    f"subnets[{on_them[floating.id]}].network",
                    self.subnets[on_them[floating.id]].network,
                    "must not be a floating network",
                )
        # One machine has each address once, whatever network it stands for.
        ranges = [(f"subnets[{at}].cidr", subnet.cidr) for at, subnet in enumerate(self.subnets)]
        ranges += [
            (f"floating_networks[{at}].cidr", one.cidr) for at, one in enumerate(self.floating_networks)
        ]
        for at, (place, cidr) in enumerate(ranges):
            for other, taken in ranges[:at]:
                if overlap(cidr, taken):
                    raise ConfigError(place, cidr, f"must not overlap {other}={shown(taken)}")


def tables(kind: type[Record]) -> kinds.Check:
    """A list of such tables; a tuple of records is what it makes of it, and takes as it is."""

    def check(field: str, value: Any, coerce: bool) -> tuple[Any, ...]:
        if isinstance(value, tuple) and all(isinstance(one, kind) for one in value):
            return value
        return tuple(create(kind, given, path=place) for place, given in kinds.mappings(field, value))

    return check


def network_id(word: str) -> str:
    """The id of the network that a configuration names: itself, or one that follows from the name."""
    try:
        return str(uuid.UUID(word)) if len(word) == 36 else stable_id("network", word)
    except ValueError:
        return stable_id("network", word)


def overlap(one: str, other: str) -> bool:
    """Do two CIDRs share an address?"""
    first, second = ipaddress.ip_network(one), ipaddress.ip_network(other)
    return first.version == second.version and first.overlaps(second)


def _check_each(place: str, field: str, values: Iterable[str]) -> None:
    seen = set()
    for at, value in enumerate(values):
        if value in seen:
            why = "; where none is given it follows from name and cidr" if field == "id" else ""
            raise ConfigError(f"{place}[{at}].{field}", value, f"must not stand twice{why}")
        seen.add(value)


def _check_ranges(cidr: str, gateway: str | None, pools: Iterable[tuple[str, str]]) -> None:
    network = ipaddress.ip_network(cidr)
    if gateway is not None and ipaddress.ip_address(gateway) not in network:
        raise ConfigError("gateway", gateway, f"must be in {cidr}")
    for at, (first, last) in enumerate(pools):
        low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
        if low not in network or high not in network:
            raise ConfigError(f"allocation_pools[{at}]", f"{first}-{last}", f"must be in {cidr}")
        if int(low) > int(high):
            raise ConfigError(
                f"allocation_pools[{at}]", f"{first}-{last}", "must name the lower address first"
            )
