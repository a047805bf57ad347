# SPDX-License-Identifier: Apache-2.0
"""How objects of the model look in answers: as `GET` shows them, and as Octavia answers a create or an update."""

import functools
from typing import Any

import msgspec

from fastlb.l7 import L7Policy
from fastlb.listener import Listener
from fastlb.monitor import HealthMonitor
from fastlb.pool import Pool
from fastlb.resource import Resource
from fastlb.schema.field import Record, plain, rules
from fastlb.stats import Stats
from fastlb.types import OperatingStatus, ProvisioningStatus


def body(resource: Resource[Any]) -> dict[str, Any]:
    """The object as GET shows it. Fields of ours are there only when they differ from their default, so that
    what Octavia's clients compare is Octavia's."""
    shown = resource.show()
    kind: type[Record] = type(resource._spec)
    for name, default in _ours(kind).items():
        if shown.get(name) == default:
            shown.pop(name, None)
    return shown


def created(resource: Resource[Any]) -> dict[str, Any]:
    """The same as Octavia answers its POST: not yet in the data plane."""
    return _pending(resource, ProvisioningStatus.PENDING_CREATE) | {
        "operating_status": str(resource._initial_status()),
        "updated_at": None,
    }


def updated(resource: Resource[Any], was: OperatingStatus | None = None) -> dict[str, Any]:
    """The same as Octavia answers its PUT: the change is under way, and what is observed (`was`) is from before it."""
    shown = _pending(resource, ProvisioningStatus.PENDING_UPDATE)
    return shown if was is None else shown | {"operating_status": str(was)}


def _pending(resource: Resource[Any], status: ProvisioningStatus) -> dict[str, Any]:
    return body(resource) | {"provisioning_status": str(status)}


def tree(resource: Resource[Any]) -> dict[str, Any]:
    """A fully-populated create's answer: what is below it is whole, and does not name the load balancer again."""
    shown = created(resource)
    if isinstance(resource, Listener):
        shown["l7policies"] = [tree(policy) for policy in resource.l7policies]
    elif isinstance(resource, L7Policy):
        shown["rules"] = [tree(rule) for rule in resource.rules]
    elif isinstance(resource, Pool):
        shown["members"] = [tree(member) for member in resource.members]
        monitor = resource.health_monitor
        shown["healthmonitor"] = None if monitor is None else tree(monitor)
        shown.pop("healthmonitor_id", None)
    # What is above it is known.
    shown.pop("loadbalancers", None)
    if isinstance(resource, HealthMonitor):
        shown.pop("pools")
    return shown


@functools.cache
def _ours(kind: type[Record]) -> dict[str, Any]:
    """The fields that Octavia does not have, and what they are when nobody sets them."""
    return {
        field.name: plain(field.default)
        for field in msgspec.structs.fields(kind)
        if rules(kind)[field.name].ours
    }


def stats(figures: Stats) -> dict[str, int]:
    """Octavia's five figures."""
    return {
        "active_connections": figures.active_connections,
        "bytes_in": figures.bytes_in,
        "bytes_out": figures.bytes_out,
        "request_errors": figures.request_errors,
        "total_connections": figures.total_connections,
    }
