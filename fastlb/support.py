# SPDX-License-Identifier: Apache-2.0
"""What Octavia has and this version of fastlb does not forward yet. Such things are described, checked and stored;
using them (`start()`, or a change of a started load balancer) raises `NotSupported`, so that nobody takes silence
for service.
"""

from fastlb.errors import NotSupported, shown
from fastlb.schema import HealthMonitorSpec, ListenerSpec, PoolSpec
from fastlb.types import MonitorType, Protocol

LISTENERS = (Protocol.TCP, Protocol.HTTP, Protocol.HTTPS)
POOLS = (Protocol.TCP, Protocol.HTTP, Protocol.HTTPS)
MONITORS = (MonitorType.HTTP, MonitorType.TCP, MonitorType.PING)


def _refuse(who: str, field: str, value: object, instead: str) -> None:
    raise NotSupported(
        f"{who}: {field}={shown(value)}: this version of fastlb does not forward it yet; {instead}"
    )


def check_listener(spec: ListenerSpec, who: str) -> None:
    if spec.protocol not in LISTENERS:
        _refuse(who, "protocol", spec.protocol, f"there are {', '.join(LISTENERS)}")


def check_pool(spec: PoolSpec, who: str) -> None:
    if spec.protocol not in POOLS:
        _refuse(who, "protocol", spec.protocol, f"there are {', '.join(POOLS)}")
    if spec.tls_enabled:
        _refuse(who, "tls_enabled", True, "leave it out")


def check_monitor(spec: HealthMonitorSpec, who: str) -> None:
    if spec.type not in MONITORS:
        _refuse(who, "type", spec.type, f"there are {', '.join(MONITORS)}")
