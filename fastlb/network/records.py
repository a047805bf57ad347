# SPDX-License-Identifier: Apache-2.0
"""Networks, subnets, ports and floating IPs: immutable records, and the rows of a store that they are."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

import msgspec

OCTAVIA = "Octavia"
"""The device_owner of a port that is a VIP."""


def now() -> str:
    """The time as Neutron shows it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What every kind has. Times are text, as Neutron shows them."""

    TYPE: ClassVar[str]
    """The type of its rows."""

    id: str
    name: str = ""
    project_id: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    created_at: str = ""
    updated_at: str = ""
    revision_number: int = 1

    @classmethod
    def of_row(cls, one_id: str, document: Mapping[str, Any]) -> Self:
        """Raises msgspec.ValidationError for a row that nobody of ours has written."""
        return msgspec.convert({**document, "id": one_id}, cls)

    def put(self) -> tuple[str, str, dict[str, Any]]:
        """Type, id and document of the row."""
        document = msgspec.to_builtins(self)
        del document["id"]
        return self.TYPE, self.id, document

    def drop(self) -> tuple[str, str]:
        return self.TYPE, self.id

    def changed(self, **fields: Any) -> Self:
        """The same after a change."""
        return msgspec.structs.replace(
            self, **fields, updated_at=now(), revision_number=self.revision_number + 1
        )


class Network(NetworkRecord, frozen=True, kw_only=True):
    TYPE = "network"

    external: bool = False
    """Do floating IPs come from it?"""
    admin_state_up: bool = True
    shared: bool = False


class Subnet(NetworkRecord, frozen=True, kw_only=True):
    TYPE = "subnet"

    network_id: str
    cidr: str
    gateway_ip: str | None = None
    allocation_pools: tuple[tuple[str, str], ...] = ()
    """First and last addresses; none: all hosts."""
    reaches: tuple[str, ...] | None = None
    """Names of the floating networks whose addresses can lead here; None: all."""
    enable_dhcp: bool = False
    dns_nameservers: tuple[str, ...] = ()

    @property
    def ip_version(self) -> int:
        return 6 if ":" in self.cidr else 4


class FixedIP(msgspec.Struct, frozen=True):
    """One address of a port."""

    subnet_id: str
    ip_address: str


class Port(NetworkRecord, frozen=True, kw_only=True):
    TYPE = "port"

    network_id: str
    fixed_ips: tuple[FixedIP, ...] = ()
    device_id: str = ""
    device_owner: str = ""
    admin_state_up: bool = True
    security_groups: tuple[str, ...] = ()
    qos_policy_id: str | None = None
    mac_address: str = ""
    octavia_owned: bool = False
    """It was made for a load balancer, and goes with it."""

    @property
    def balancer_id(self) -> str | None:
        """The load balancer whose VIP it is."""
        return self.device_id.removeprefix("lb-") if self.device_owner == OCTAVIA else None


class FloatingIP(NetworkRecord, frozen=True, kw_only=True):
    TYPE = "floatingip"

    floating_ip_address: str
    floating_network_id: str
    subnet_id: str
    """Of the floating network's subnets, the one that the address is of."""
    port_id: str | None = None
    fixed_ip_address: str | None = None
    qos_policy_id: str | None = None
    dns_name: str = ""
    dns_domain: str = ""


def mac_address(port_id: str) -> str:
    """A locally administered address that follows from the id, so that two ports differ."""
    digits = port_id.replace("-", "")[-6:].lower()
    return f"fa:16:3e:{digits[:2]}:{digits[2:4]}:{digits[4:]}"
