# SPDX-License-Identifier: Apache-2.0
"""A member's fields."""

from typing import Annotated, Any

from fastlb.errors import ConfigError
from fastlb.schema import kinds
from fastlb.schema.field import Rule, Spec

RESERVED = frozenset({"169.254.169.254"})
"""Addresses that no member may have: the metadata service of clouds, which must not be reachable through a
balancer."""


def member_address(field: str, value: Any, coerce: bool) -> str:
    address = kinds.ip_address(field, value, coerce)
    if address in RESERVED:
        raise ConfigError(
            field,
            value,
            "must not be the metadata service's address",
            fault=f"{address} is not a valid option for member address",
        )
    return address


def no_sriov(field: str, value: Any, coerce: bool) -> bool:
    wanted = kinds.boolean(field, value, coerce)
    if wanted:
        raise ConfigError(
            field,
            value,
            "must be False: no flavor here has the capability allow_member_sriov",
            fault="The load balancer flavor does not allow SR-IOV member ports.",
        )
    return wanted


class MemberSpec(Spec, frozen=True, kw_only=True):
    address: Annotated[str, Rule(member_address, live=False)]
    protocol_port: Annotated[int, Rule(kinds.integer(1, 65535), live=False)]
    subnet_id: Annotated[str | None, Rule(kinds.uuid, null=None, live=False)] = None
    weight: Annotated[int | None, Rule(kinds.integer(0, 256), null=None, reset=1)] = 1
    backup: Annotated[bool, Rule(kinds.boolean, reset=False)] = False
    monitor_address: Annotated[str | None, Rule(kinds.ip_address, null=None)] = None
    monitor_port: Annotated[int | None, Rule(kinds.integer(1, 65535), null=None)] = None
    request_sriov: Annotated[bool, Rule(no_sriov, null=False, live=False, internal=True)] = False
    max_connections: Annotated[int, Rule(kinds.integer(0, 1_000_000), null=0, ours=True)] = 0

    @property
    def share(self) -> int:
        """The weight in force: a null that came with the creation counts as 1."""
        return 1 if self.weight is None else self.weight
