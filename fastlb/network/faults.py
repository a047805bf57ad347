# SPDX-License-Identifier: Apache-2.0
"""Refusals of the network in Neutron's words; each has Neutron's name for its kind."""

from fastlb.errors import FastLBError


class NetworkFault(FastLBError):
    """What Neutron answers as `{"NeutronError": {"type", "message", "detail"}}`. kind: the type there."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


WORDS = {
    "network": ("NetworkNotFound", "Network {} could not be found."),
    "subnet": ("SubnetNotFound", "Subnet {} could not be found."),
    "port": ("PortNotFound", "Port {} could not be found."),
    "floatingip": ("FloatingIPNotFound", "Floating IP {} could not be found"),
    "security_group": ("SecurityGroupNotFound", "Security group {} does not exist"),
    "policy": ("QosPolicyNotFound", "QoS policy {} could not be found."),
    "router": ("RouterNotFound", "Router {} could not be found"),
    "extension": ("ExtensionNotFound", "Extension {} could not be found."),
}


def not_found(what: str, one_id: str) -> NetworkFault:
    """No network, subnet, port … has that id."""
    kind, words = WORDS[what]
    return NetworkFault(404, kind, words.format(one_id))


def bad_request(words: str) -> NetworkFault:
    return NetworkFault(400, "HTTPBadRequest", words)


def invalid_input(words: str) -> NetworkFault:
    return NetworkFault(400, "InvalidInput", f"Invalid input for operation: {words}.")


def not_in_subnet(address: str) -> NetworkFault:
    return NetworkFault(
        400, "InvalidIpForSubnet", f"IP address {address} is not a valid IP for the specified subnet."
    )


def address_taken(address: str, subnet_id: str) -> NetworkFault:
    return NetworkFault(
        409, "IpAddressAlreadyAllocated", f"IP address {address} already allocated in subnet {subnet_id}"
    )


def none_left(network_id: str) -> NetworkFault:
    return NetworkFault(
        409, "IpAddressGenerationFailure", f"No more IP addresses available on network {network_id}."
    )


def in_use(kind: str, words: str) -> NetworkFault:
    return NetworkFault(409, kind, words)


def unreachable(network_id: str, subnet_id: str, port_id: str) -> NetworkFault:
    # The two spaces are Neutron's.
    return NetworkFault(
        404,
        "ExternalGatewayForFloatingIPNotFound",
        f"External network {network_id} is not reachable from subnet {subnet_id}.  Therefore, cannot associate "
        f"Port {port_id} with a Floating IP.",
    )
