# SPDX-License-Identifier: Apache-2.0
"""A load balancer's fields."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import msgspec

from fastlb.errors import ConfigError, MissingField, UnknownField
from fastlb.schema import kinds
from fastlb.schema.field import Rule, Spec

PROVIDERS = ("amphora", "octavia", "fastlb")
"""Names under which clients may ask for us; `octavia` is Octavia's old alias of `amphora`."""

VIP_REFERENCES = ("vip_port_id", "vip_network_id", "vip_subnet_id")

DRAIN_TIMEOUT_S = 5.0


class AdditionalVip(msgspec.Struct, frozen=True, kw_only=True):
    """One more address of a load balancer; each listener binds it too."""

    subnet_id: str | None = None
    ip_address: str | None = None
    port_id: str | None = None


_VIP_FIELDS = {"subnet_id": kinds.uuid, "ip_address": kinds.ip_address, "port_id": kinds.uuid}


def additional_vip(field: str, value: Any, coerce: bool) -> AdditionalVip:
    if isinstance(value, AdditionalVip):
        value = {name: getattr(value, name) for name in _VIP_FIELDS}
    if not isinstance(value, Mapping):
        kinds.refuse(
            field, value, "must be a mapping with subnet_id, ip_address, port_id", "Value must be an object"
        )
    stored = {}
    for name, element in value.items():
        if name not in _VIP_FIELDS:
            raise UnknownField(f"{field}.{name}", "no such field; there are subnet_id, ip_address, port_id")
        if element is not None:
            stored[name] = _VIP_FIELDS[name](f"{field}.{name}", element, coerce)
    # Octavia finds an address through the subnet; from Python an address alone will do, as there is no Neutron.
    if "subnet_id" not in stored and (coerce or "ip_address" not in stored):
        if coerce:
            raise MissingField(f"{field}.subnet_id")
        raise ConfigError(f"{field}.subnet_id", None, "or ip_address must be given")
    return AdditionalVip(**stored)


def known_provider(field: str, value: Any, coerce: bool) -> str:
    name: str = _provider_name(field, value, coerce)
    if name not in PROVIDERS:
        raise ConfigError(
            field, value, f"must be one of {', '.join(PROVIDERS)}", fault=f"Provider '{name}' is not enabled."
        )
    return name


_provider_name = kinds.text(64)


class LoadBalancerSpec(Spec, frozen=True, kw_only=True):
    BESIDE = ("listeners", "pools")
    description: Annotated[str, Rule(kinds.text(255), null="")] = ""
    project_id: Annotated[str, Rule(kinds.text(36), null="", live=False)] = ""
    vip_address: Annotated[str | None, Rule(kinds.ip_address, null=None, live=False)] = None
    vip_port_id: Annotated[str | None, Rule(kinds.uuid, null=None, live=False)] = None
    vip_network_id: Annotated[str | None, Rule(kinds.uuid, null=None, live=False)] = None
    vip_subnet_id: Annotated[str | None, Rule(kinds.uuid, null=None, live=False)] = None
    vip_qos_policy_id: Annotated[str | None, Rule(kinds.uuid, null=None)] = None
    vip_sg_ids: Annotated[tuple[str, ...], Rule(kinds.each(kinds.uuid, "UUIDs"), null=())] = ()
    additional_vips: Annotated[
        tuple[AdditionalVip, ...], Rule(kinds.each(additional_vip, "mappings"), null=(), live=False)
    ] = ()
    provider: Annotated[str, Rule(known_provider, null="amphora", live=False)] = "amphora"
    flavor_id: Annotated[
        str | None, Rule(kinds.uuid, live=False, null_fault="Validation failure: Invalid flavor_id.")
    ] = None
    availability_zone: Annotated[
        str | None,
        Rule(kinds.text(255), live=False, null_fault="Validation failure: Invalid availability zone."),
    ] = None
    drain_timeout: Annotated[float, Rule(kinds.seconds, null=DRAIN_TIMEOUT_S, ours=True)] = DRAIN_TIMEOUT_S

    @property
    def vips(self) -> tuple[str, ...]:
        """The addresses that are known, the first VIP first."""
        more = [vip.ip_address for vip in self.additional_vips]
        return tuple(dict.fromkeys(address for address in (self.vip_address, *more) if address is not None))

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        if before is not None:
            return self
        subnets = [self.vip_subnet_id, *(vip.subnet_id for vip in self.additional_vips)]
        named = [subnet for subnet in subnets if subnet is not None]
        if len(named) != len(set(named)):
            raise ConfigError(
                "additional_vips",
                changes.get("additional_vips"),
                "must each be on a subnet of their own",
                fault="Validation failure: Duplicate VIP subnet(s) specified. Only one IP can be bound per subnet.",
            )
        addresses = [self.vip_address, *(vip.ip_address for vip in self.additional_vips)]
        known = [address for address in addresses if address is not None]
        if len(known) != len(set(known)):
            raise ConfigError(
                "additional_vips", changes.get("additional_vips"), "must each have another address"
            )
        return self


def check_vip_reference(spec: LoadBalancerSpec) -> None:
    """Octavia's API wants one of the three Neutron references; an address alone is not enough there."""
    if not (spec.vip_port_id or spec.vip_network_id or spec.vip_subnet_id):
        raise ConfigError(
            "vip_subnet_id",
            None,
            "or vip_network_id or vip_port_id must be given",
            fault="Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.",
        )
