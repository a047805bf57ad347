# SPDX-License-Identifier: Apache-2.0
"""A load balancer's addresses: from the VIP fields of its creation to a port that has them, and back.

What is refused, and in which order it is looked at, follows Octavia's API with the amphora provider.
"""

import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from fastlb.errors import ConfigError, Conflict
from fastlb.network import faults
from fastlb.network.change import Change
from fastlb.network.records import OCTAVIA, FixedIP, FloatingIP, Port, Subnet, mac_address, now
from fastlb.network.state import State
from fastlb.schema import AdditionalVip, LoadBalancerSpec


class Vip(NamedTuple):
    """One address that is wanted: on a subnet, this one or any."""

    field: str
    """Where it stands in the request."""
    subnet: Subnet
    address: str | None


def plan(state: State, spec: LoadBalancerSpec, *, project_id: str, balancer_id: str) -> Change:
    """Addresses for a load balancer that is about to be made. See `Networking.plan`."""
    with state.lock:
        port = _port(state, spec)
        if port is not None:
            port, vips = _use(state, spec, port, balancer_id)
            reserved = []
        else:
            wanted = _wanted(state, spec)
            vips = _take(state, wanted)
            reserved = [(vip.subnet_id, vip.ip_address) for vip in vips]
            port = _new_port(spec, wanted[0].subnet.network_id, vips, project_id, balancer_id)
        completed = replace(
            spec,
            vip_address=vips[0].ip_address,
            vip_port_id=port.id,
            vip_network_id=port.network_id,
            vip_subnet_id=vips[0].subnet_id,
            additional_vips=tuple(
                AdditionalVip(subnet_id=vip.subnet_id, ip_address=vip.ip_address, port_id=port.id)
                for vip in vips[1:]
            ),
        )
        return Change(state, puts=[port], reserved=reserved, spec=completed)


def release(state: State, balancer_id: str, let_go: Callable[[list[str]], None]) -> Change:
    """What becomes of its port when a load balancer goes. See `Networking.release`. let_go: is given its addresses."""

    def concerned() -> tuple[Port | None, list[FloatingIP]]:
        port = state.port_of(balancer_id)
        return port, [] if port is None else state.leading_to(port.id)

    def ids() -> list[str]:
        port, leading = concerned()
        return [one.id for one in (port, *leading) if one is not None]

    with state.lock:
        state.settle(ids)
        port, leading = concerned()
        if port is None:
            return Change(state)
        addresses = [fixed.ip_address for fixed in port.fixed_ips]
        addresses += [one.floating_ip_address for one in leading]

        def first() -> None:
            let_go(addresses)

        if not port.octavia_owned:
            return Change(state, puts=[port.changed(device_id="", device_owner="")], first=first)
        nowhere = [one.changed(port_id=None, fixed_ip_address=None) for one in leading]
        return Change(state, puts=nowhere, drops=[port], first=first)


def _port(state: State, spec: LoadBalancerSpec) -> Port | None:
    """The port that the request names, if it is there."""
    if spec.vip_port_id is None:
        return None
    state.settle(lambda: [spec.vip_port_id])
    port = state.ports.get(spec.vip_port_id)
    if port is None:
        if state.topology.stand_in is None:
            raise _missing("vip_port_id", "Port", spec.vip_port_id)
        return None
    if port.device_id:
        raise ConfigError(
            "vip_port_id",
            port.id,
            "must be a port that no device has",
            fault=f"Validation failure: Port {port.id} is already used by device {port.device_id} ",
        )
    return port


def _use(state: State, spec: LoadBalancerSpec, port: Port, balancer_id: str) -> tuple[Port, list[FixedIP]]:
    """A port that its project made itself: its addresses, first that which the request means."""
    if spec.vip_subnet_id is not None:
        if state.topology.find_subnet(spec.vip_subnet_id) is None:
            raise _missing("vip_subnet_id", "Subnet", spec.vip_subnet_id)
        fits = [fixed for fixed in port.fixed_ips if fixed.subnet_id == spec.vip_subnet_id]
        refusal = "No VIP address found on the specified VIP port within the specified subnet."
    elif spec.vip_address is not None:
        fits = [fixed for fixed in port.fixed_ips if fixed.ip_address == spec.vip_address]
        refusal = "Specified VIP address not found on the specified VIP port."
    else:
        fits = list(port.fixed_ips) if len(port.fixed_ips) == 1 else []
        refusal = "VIP port's subnet could not be determined. Please specify either a VIP subnet or address."
    if not fits:
        raise _invalid("vip_port_id", port.id, refusal)
    vips = fits[:1]
    for at, vip in enumerate(spec.additional_vips):
        also = [
            fixed
            for fixed in port.fixed_ips
            if fixed not in vips
            and vip.subnet_id in (None, fixed.subnet_id)
            and vip.ip_address in (None, fixed.ip_address)
        ]
        if not also:
            raise _invalid(
                f"additional_vips[{at}]",
                vip.ip_address or vip.subnet_id,
                "No VIP address found on the specified VIP port within the specified subnet.",
            )
        vips.append(also[0])
    return port.changed(device_id=f"lb-{balancer_id}", device_owner=OCTAVIA), vips


def _wanted(state: State, spec: LoadBalancerSpec) -> list[Vip]:
    """The subnets, and the addresses if any are named, of a load balancer that gets a port of its own."""
    first = _first(state, spec)
    wanted = [Vip("vip_address", first, spec.vip_address)]
    seen = {first.id}
    for at, vip in enumerate(spec.additional_vips):
        field, place = f"additional_vips[{at}].subnet_id", f"additional_vips[{at}].ip_address"
        if vip.subnet_id is None:
            subnet = _by_address(state, place, vip.ip_address)
            if state.topology.is_stand_in(subnet):
                # From Python an address alone will do, and several of them are all the stand-in's.
                wanted.append(Vip(place, subnet, vip.ip_address))
                continue
        else:
            found = state.topology.find_subnet(vip.subnet_id)
            if found is None:
                raise _invalid(field, vip.subnet_id, f"Subnet {vip.subnet_id} not found")
            subnet = found
        if subnet.id in seen:
            raise _invalid(
                field, subnet.id, "Duplicate VIP subnet(s) specified. Only one IP can be bound per subnet."
            )
        seen.add(subnet.id)
        if subnet.network_id != first.network_id and not state.topology.is_stand_in(subnet):
            raise _invalid(field, subnet.id, "All VIP subnets must belong to the same network.")
        wanted.append(Vip(place, subnet, vip.ip_address))
    return wanted


def _first(state: State, spec: LoadBalancerSpec) -> Subnet:
    topology = state.topology
    if spec.vip_network_id is not None:
        if topology.find_network(spec.vip_network_id) is None:
            raise _missing("vip_network_id", "Network", spec.vip_network_id)
        if spec.vip_subnet_id is None:
            return _of_network(state, spec.vip_network_id, spec.vip_address)
    if spec.vip_subnet_id is not None:
        found = topology.find_subnet(spec.vip_subnet_id, spec.vip_network_id)
        if found is None:
            raise _missing("vip_subnet_id", "Subnet", spec.vip_subnet_id)
        return found
    return _by_address(state, "vip_address", spec.vip_address)


def _of_network(state: State, network_id: str, address: str | None) -> Subnet:
    """A subnet of the network: the one that has the address, or the first with one to spare, IPv4 before IPv6."""
    subnets = state.topology.subnets_of(network_id)
    if address is not None:
        stands_in = (one for one in subnets if state.topology.is_stand_in(one))
        found = state.topology.subnet_with(address, subnets) or next(stands_in, None)
        if found is None:
            raise _invalid(
                "vip_address",
                address,
                "Supplied network does not contain a subnet for VIP address specified.",
            )
        return found
    if not subnets:
        raise _invalid("vip_network_id", network_id, "Supplied network does not contain a subnet.")
    for subnet in sorted(subnets, key=lambda one: one.ip_version):
        if state.has_free(subnet):
            return subnet
    raise _invalid(
        "vip_network_id",
        network_id,
        "Subnet(s) in the supplied network do not contain enough available IPs.",
    )


def _by_address(state: State, field: str, address: str | None) -> Subnet:
    """The subnet of a caller who names none, which only Python's may."""
    topology = state.topology
    found = None
    if address is not None:
        found = topology.subnet_with(address) or topology.stand_in
    elif topology.subnets:
        found = next(iter(topology.subnets.values()))
    if found is None:
        raise ConfigError(field, address, "must be in one of the subnets")
    return found


def _new_port(
    spec: LoadBalancerSpec, network_id: str, vips: list[FixedIP], project_id: str, balancer_id: str
) -> Port:
    port_id = spec.vip_port_id or str(uuid.uuid4())
    return Port(
        id=port_id,
        name=f"octavia-lb-{balancer_id}",
        project_id=project_id,
        network_id=network_id,
        fixed_ips=tuple(vips),
        device_id=f"lb-{balancer_id}",
        device_owner=OCTAVIA,
        security_groups=spec.vip_sg_ids,
        qos_policy_id=spec.vip_qos_policy_id,
        mac_address=mac_address(port_id),
        octavia_owned=True,
        created_at=now(),
        updated_at=now(),
    )


def _take(state: State, wanted: list[Vip]) -> list[FixedIP]:
    """All these addresses or none."""
    taken: list[FixedIP] = []
    try:
        for vip in wanted:
            taken.append(FixedIP(vip.subnet.id, state.take(vip.subnet, vip.address)))
    except faults.NetworkFault as error:
        for fixed in taken:
            state.give_back(fixed.subnet_id, fixed.ip_address)
        if error.status == 400:
            raise ConfigError(
                vip.field, vip.address, f"must be an address of {vip.subnet.cidr}", fault=error.fault
            ) from None
        # The words of Octavia around those of Neutron.
        taken_already = "The VIP IP address is already in use: " if vip.address is not None else ""
        message = f"{taken_already}{error}"
        raise Conflict(message, fault=message) from None
    return taken


def _missing(field: str, what: str, one_id: str) -> ConfigError:
    """Octavia answers 400 and not 404 for what a body refers to in the network."""
    return ConfigError(field, one_id, f"no such {what.lower()}", fault=f"{what} {one_id} not found.")


def _invalid(field: str, value: Any, words: str) -> ConfigError:
    return ConfigError(field, value, words, fault=f"Validation failure: {words}")
