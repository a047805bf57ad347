# SPDX-License-Identifier: Apache-2.0
"""What two objects ask of one another: a pool on a listener, a monitor on a pool, ports, address families."""

import ipaddress
from collections.abc import Iterable

from fastlb.errors import ConfigError, NotSupported, shown
from fastlb.schema.listener import ListenerSpec
from fastlb.schema.member import MemberSpec
from fastlb.schema.pool import DATAGRAM, PoolSpec
from fastlb.types import MonitorType, Protocol

_P = Protocol
POOLS_OF_LISTENER: dict[Protocol, tuple[Protocol, ...]] = {
    _P.TCP: (_P.TCP, _P.HTTP, _P.HTTPS, _P.PROXY, _P.PROXYV2),
    _P.HTTP: (_P.HTTP, _P.PROXY, _P.PROXYV2),
    _P.HTTPS: (_P.TCP, _P.HTTPS, _P.PROXY, _P.PROXYV2),
    _P.TERMINATED_HTTPS: (_P.HTTP, _P.PROXY, _P.PROXYV2),
    _P.UDP: (_P.UDP,),
    _P.SCTP: (_P.SCTP,),
    _P.PROMETHEUS: (),
}

_M = MonitorType
_STREAM_MONITORS = (_M.HTTP, _M.HTTPS, _M.PING, _M.TCP, _M.TLS_HELLO)
_DATAGRAM_MONITORS = (_M.UDP_CONNECT, _M.SCTP, _M.TCP, _M.HTTP)


def check_pool_on_listener(listener: Protocol, pool: Protocol, *, field: str = "default_pool_id") -> None:
    allowed = POOLS_OF_LISTENER[listener]
    if pool not in allowed:
        must = f"must be one of {', '.join(allowed)}" if allowed else "can have no pool"
        raise ConfigError(
            field,
            f"a {pool} pool",
            f"the pool of a {listener} listener {must}" if allowed else f"a {listener} listener {must}",
            fault="Protocol PROMETHEUS listeners cannot have child objects."
            if listener is Protocol.PROMETHEUS
            else f"Validation failure: The pool protocol '{pool}' is invalid while the listener protocol is "
            f"'{listener}'.",
        )


def check_policy_on_listener(listener: Protocol, path: str = "") -> None:
    """L7 policies look at HTTP requests."""
    if listener in (_P.HTTP, _P.TERMINATED_HTTPS):
        return
    if listener is _P.PROMETHEUS:
        raise ConfigError(
            f"{path}listener",
            listener,
            "can have no L7 policies",
            fault="Protocol PROMETHEUS listeners cannot have child objects.",
        )
    raise NotSupported(
        f"{path}listener={shown(listener)}: must be a HTTP or TERMINATED_HTTPS listener to have L7 policies",
        fault="Provider 'amphora' does not support a requested option: "
        f"{listener} protocol listeners do not support L7 policies",
    )


def check_monitor_on_pool(pool: Protocol, monitor: MonitorType) -> None:
    allowed = _DATAGRAM_MONITORS if pool in DATAGRAM else _STREAM_MONITORS
    if monitor not in allowed:
        fault = f"The {monitor} type is only supported for pools of type {'/'.join(DATAGRAM)}."
        if pool in DATAGRAM:
            fault = (
                f"The associated pool protocol is {pool}, so only a {'/'.join(allowed)} health monitor is "
                "supported."
            )
        raise ConfigError(
            "type",
            monitor,
            f"must be one of {', '.join(allowed)} on a {pool} pool",
            fault=f"Validation failure: {fault}",
        )


def port_group(protocol: Protocol) -> str:
    """Listeners of one group cannot share a port: TCP, UDP or SCTP."""
    return str(protocol) if protocol in DATAGRAM else "TCP"


def families(addresses: Iterable[str]) -> set[int]:
    """The IP versions among some addresses or networks."""
    return {6 if ":" in address else 4 for address in addresses}


def check_listener_on_vips(listener: ListenerSpec, vips: tuple[str, ...], *, security_groups: bool) -> None:
    """allowed_cidrs against the load balancer's addresses."""
    if not listener.allowed_cidrs:
        return
    if security_groups:
        raise ConfigError(
            "allowed_cidrs",
            list(listener.allowed_cidrs),
            "must be left out while the load balancer has vip_sg_ids",
        )
    known = families(vips)
    for cidr in listener.allowed_cidrs:
        version = ipaddress.ip_network(cidr).version
        if known and version not in known:
            raise ConfigError(
                "allowed_cidrs",
                cidr,
                f"must be of the family of a VIP ({', '.join(vips)})",
                fault=f"Validation failure: CIDR {cidr} IP version incompatible with all VIPs {list(vips)} IP version.",
            )


def check_member_on_vips(pool: PoolSpec, member: MemberSpec, vips: tuple[str, ...]) -> None:
    """Datagrams are not carried from one IP version to the other."""
    if pool.datagram and vips and not families((member.address,)) & families(vips):
        raise ConfigError(
            "address",
            member.address,
            f"must be of the family of a VIP ({', '.join(vips)}) in a {pool.protocol} pool",
            fault="Provider 'amphora' does not support a requested option: mixing IPv4 and IPv6 in UDP and SCTP",
        )
