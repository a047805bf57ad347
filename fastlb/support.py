# SPDX-License-Identifier: Apache-2.0
"""What Octavia has and this version of fastlb does not forward yet. Such things are described, checked and stored;
using them (`start()`, or a change of a started load balancer) raises `NotSupported`, so that nobody takes silence
for service.
"""

from fastlb.errors import NotSupported, shown
from fastlb.schema import HealthMonitorSpec, ListenerSpec, PoolSpec
from fastlb.types import MonitorType, Protocol

LISTENERS = (Protocol.TCP, Protocol.HTTP, Protocol.HTTPS, Protocol.PROMETHEUS)
POOLS = (Protocol.TCP, Protocol.HTTP, Protocol.HTTPS)
MONITORS = (MonitorType.HTTP, MonitorType.TCP, MonitorType.PING)


def _refuse(who: str, field: str, value: object, instead: str) -> None:
    problem = f"{field}={shown(value)}: this version of fastlb does not forward it yet; {instead}"
    raise NotSupported(
        f"{who}: {problem}", fault=f"Provider 'amphora' does not support a requested option: {problem}"
    )


def check_listener(spec: ListenerSpec, who: str) -> None:
    if spec.protocol not in LISTENERS:
        _refuse(who, "protocol", spec.protocol, f"there are {', '.join(LISTENERS)}")
    if spec.protocol is Protocol.PROMETHEUS:
        # Who gave a certificate does not want his metrics in clear text.
        if spec.default_tls_container_ref:
            _refuse(who, "default_tls_container_ref", spec.default_tls_container_ref, "leave it out")
        if spec.sni_container_refs:
            _refuse(who, "sni_container_refs", list(spec.sni_container_refs), "leave it out")


def check_pool(spec: PoolSpec, who: str) -> None:
    if spec.protocol not in POOLS:
        _refuse(who, "protocol", spec.protocol, f"there are {', '.join(POOLS)}")
    if spec.tls_enabled:
        _refuse(who, "tls_enabled", True, "leave it out")


def check_monitor(spec: HealthMonitorSpec, who: str) -> None:
    if spec.type not in MONITORS:
        _refuse(who, "type", spec.type, f"there are {', '.join(MONITORS)}")
