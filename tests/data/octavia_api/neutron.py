# SPDX-License-Identifier: Apache-2.0
"""The fake Neutron that Octavia is recorded with: three networks, their subnets, two ports, one QoS policy.

It stands where Octavia's no-op network driver would, but knows CIDRs and says "not found", so that what Octavia
checks of a VIP is checked. `NEIGHBOURS` is also written beside the recordings: who replays them needs the same.
"""

import ipaddress
import itertools

NETWORK, OTHER_NETWORK, EMPTY_NETWORK = (f"0a000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
SUBNET, SECOND_SUBNET, SUBNET_V6, OTHER_SUBNET = (
    f"0b000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3, 4)
)
PORT, PORT_IN_USE = (f"0c000000-0000-4000-8000-00000000000{n}" for n in (1, 2))
QOS_POLICY = "0d000000-0000-4000-8000-000000000001"
SECURITY_GROUP = "0e000000-0000-4000-8000-000000000001"

NEIGHBOURS = {
    "networks": [
        {"symbol": "network", "id": NETWORK, "name": "front"},
        {"symbol": "other_network", "id": OTHER_NETWORK, "name": "other"},
        {"symbol": "empty_network", "id": EMPTY_NETWORK, "name": "empty"},
    ],
    "subnets": [
        {"symbol": "subnet", "id": SUBNET, "network_id": NETWORK, "cidr": "192.0.2.0/24"},
        {"symbol": "second_subnet", "id": SECOND_SUBNET, "network_id": NETWORK, "cidr": "198.51.100.0/24"},
        {"symbol": "subnet_v6", "id": SUBNET_V6, "network_id": NETWORK, "cidr": "2001:db8::/64"},
        {"symbol": "other_subnet", "id": OTHER_SUBNET, "network_id": OTHER_NETWORK, "cidr": "203.0.113.0/24"},
    ],
    "ports": [
        {
            "symbol": "port",
            "id": PORT,
            "network_id": NETWORK,
            "fixed_ips": [{"subnet_id": SUBNET, "ip_address": "192.0.2.200"}],
            "device_id": "",
        },
        {
            "symbol": "port_in_use",
            "id": PORT_IN_USE,
            "network_id": NETWORK,
            "fixed_ips": [{"subnet_id": SUBNET, "ip_address": "192.0.2.201"}],
            "device_id": "a-server",
        },
    ],
    "qos_policies": [{"symbol": "qos_policy", "id": QOS_POLICY}],
    "security_groups": [{"symbol": "security_group", "id": SECURITY_GROUP}],
}
SYMBOLS = {row["id"]: row["symbol"] for rows in NEIGHBOURS.values() for row in rows}


class Neutron:
    """What Octavia's API asks of its network driver. One a scenario: addresses are handed out in order."""

    def __init__(self):
        from octavia.network import base, data_models

        self.base, self.models = base, data_models
        self.taken = {
            ipaddress.ip_address(fixed["ip_address"])
            for port in NEIGHBOURS["ports"]
            for fixed in port["fixed_ips"]
        }
        self.port_numbers = itertools.count(1)

    def get_network(self, network_id, context=None):
        row = self._row("networks", network_id, self.base.NetworkNotFound)
        subnets = [subnet["id"] for subnet in NEIGHBOURS["subnets"] if subnet["network_id"] == network_id]
        return self.models.Network(
            id=network_id, name=row["name"], subnets=subnets, port_security_enabled=True
        )

    def get_subnet(self, subnet_id, context=None):
        row = self._row("subnets", subnet_id, self.base.SubnetNotFound)
        version = ipaddress.ip_network(row["cidr"]).version
        return self.models.Subnet(
            id=subnet_id, network_id=row["network_id"], cidr=row["cidr"], ip_version=version
        )

    def get_port(self, port_id, context=None):
        row = self._row("ports", port_id, self.base.PortNotFound)
        fixed_ips = [self.models.FixedIP(**fixed) for fixed in row["fixed_ips"]]
        return self.models.Port(
            id=port_id, network_id=row["network_id"], fixed_ips=fixed_ips, device_id=row["device_id"]
        )

    def get_qos_policy(self, qos_policy_id, context=None):
        return self._row("qos_policies", qos_policy_id, self.base.QosPolicyNotFound)

    def get_security_group_by_id(self, sg_id, context=None):
        return self._row("security_groups", sg_id, self.base.SecurityGroupNotFound)

    def qos_enabled(self):
        return True

    def get_network_ip_availability(self, network):
        rows = [{"subnet_id": subnet, "used_ips": 1, "total_ips": 254} for subnet in network.subnets]
        return self.models.Network_IP_Availability(network_id=network.id, subnet_ip_availability=rows)

    def allocate_vip(self, balancer):
        from octavia.common import data_models

        port_id = balancer.vip.port_id or f"0f000000-0000-4000-8000-{next(self.port_numbers):012}"
        given = bool(balancer.vip.port_id)

        def placed(vip, kind):
            address = vip.ip_address if given else self._address(vip.subnet_id, vip.ip_address)
            return kind(
                ip_address=address,
                subnet_id=vip.subnet_id,
                network_id=vip.network_id,
                port_id=port_id,
                load_balancer_id=balancer.id,
            )

        first = placed(balancer.vip, data_models.Vip)
        return first, [placed(vip, data_models.AdditionalVip) for vip in balancer.additional_vips]

    def _row(self, kind, wanted, missing):
        for row in NEIGHBOURS[kind]:
            if row["id"] == wanted:
                return row
        raise missing

    def _address(self, subnet_id, wanted):
        cidr = ipaddress.ip_network(self._row("subnets", subnet_id, self.base.SubnetNotFound)["cidr"])
        if wanted:
            address = ipaddress.ip_address(wanted)
            # Neutron's words, as Octavia's allowed address pairs driver passes them on.
            if address not in cidr:
                failure = self.base.AllocateVIPException(
                    f"IP address {wanted} is not a valid IP for the specified subnet.",
                    orig_msg=f"IP address {wanted} is not a valid IP for the specified subnet.",
                    orig_code=400,
                )
                raise failure
            if address in self.taken:
                raise self.base.VIPInUseException(
                    f"IP address {wanted} already allocated in subnet {subnet_id}",
                    orig_msg=f"IP address {wanted} already allocated in subnet {subnet_id}",
                    orig_code=409,
                )
        else:
            address = next(host for host in itertools.islice(cidr.hosts(), 9, None) if host not in self.taken)
        self.taken.add(address)
        return str(address)
