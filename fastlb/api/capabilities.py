# SPDX-License-Identifier: Apache-2.0
"""What profiles may say: the capabilities of Octavia's amphora driver, so that profiles written for it are taken here.

None has an effect: there is no virtual machine whose size, place or image could be chosen. The descriptions say so.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastlb.api.call import BadRequest
from fastlb.errors import NotSupported
from fastlb.schema.load_balancer import PROVIDERS

WITHOUT_EFFECT = "Kept, and without effect here."


class Capability(NamedTuple):
    description: str
    type: str
    """JSON's name of what its value must be."""
    choices: tuple[str, ...] = ()


CAPABILITIES: Mapping[str, Mapping[str, Capability]] = {
    "flavor_data": {
        "loadbalancer_topology": Capability(
            f"SINGLE or ACTIVE_STANDBY. {WITHOUT_EFFECT}", "string", ("ACTIVE_STANDBY", "SINGLE")
        ),
        "compute_flavor": Capability(f"The size of the machine. {WITHOUT_EFFECT}", "string"),
        "amp_image_tag": Capability(f"The tag of the machine's image. {WITHOUT_EFFECT}", "string"),
        "sriov_vip": Capability(f"Is the VIP's port an SR-IOV one? {WITHOUT_EFFECT}", "boolean"),
        "allow_member_sriov": Capability(f"May members have SR-IOV ports? {WITHOUT_EFFECT}", "boolean"),
    },
    "availability_zone_data": {
        "compute_zone": Capability(f"Where the machine is. {WITHOUT_EFFECT}", "string"),
        "volume_zone": Capability(f"Where its volume is. {WITHOUT_EFFECT}", "string"),
        "management_network": Capability(f"The network it is managed from. {WITHOUT_EFFECT}", "string"),
        "valid_vip_networks": Capability(f"The networks that VIPs may be on. {WITHOUT_EFFECT}", "array"),
    },
}
TYPES: Mapping[str, type] = {"string": str, "boolean": bool, "array": list}


def check_provider(name: str) -> None:
    """Raises BadRequest for a provider that there is not."""
    if name not in PROVIDERS:
        raise BadRequest(f"Provider '{name}' is not enabled.")


def check(kind: str, data: Any, provider: str) -> None:
    """May a profile say this? kind: the profile's field. Raises BadRequest, and NotSupported as the amphora driver."""
    check_provider(provider)
    known = CAPABILITIES[kind]
    if not isinstance(data, dict):
        raise _not_supported(provider, f"{data!r} is not of type 'object'")
    unknown = [name for name in data if name not in known]
    if unknown:
        names = ", ".join(repr(name) for name in unknown)
        words = "was" if len(unknown) == 1 else "were"
        raise _not_supported(provider, f"Additional properties are not allowed ({names} {words} unexpected)")
    for name, value in data.items():
        capability = known[name]
        if not isinstance(value, TYPES[capability.type]):
            raise _not_supported(provider, f"{name} {value!r} is not of type {capability.type!r}")
        if capability.choices and value not in capability.choices:
            raise _not_supported(provider, f"{name} {value!r} is not one of {list(capability.choices)}")


def _not_supported(provider: str, problem: str) -> NotSupported:
    return NotSupported(f"Provider '{provider}' does not support a requested option: {problem}")
