# SPDX-License-Identifier: Apache-2.0
"""The network around load balancers: subnets that VIPs come from, ports, floating IPs. Neutron's objects, no HTTP.

    networking = Networking(NetworkConfig.of(subnets=[{"name": "web", "cidr": "10.0.0.0/24"}]))
    with networking.plan(fields, project_id=…, balancer_id=…) as change:
        store.commit([…, *change.puts])

`config` says what there is, `state` what is known (all of it follows from the configuration and the rows of the
store), `vips` chooses a load balancer's addresses, `ports` and `floating_ips` are what Neutron's API does.
"""

from fastlb.network.change import Change
from fastlb.network.config import NetworkConfig
from fastlb.network.networking import Networking

__all__ = ["Change", "NetworkConfig", "Networking"]
