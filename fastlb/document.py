# SPDX-License-Identifier: Apache-2.0
"""A load balancer as a document: the body of Octavia's fully-populated create, and back; its statuses as a tree.

A pool is defined once, at the load balancer or under a listener, and may be referred to by its name from
elsewhere, before or after. Everything is checked by the same calls that create the objects one by one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastlb.errors import ConfigError, Conflict, NotFound, NotSupported, UnknownField
from fastlb.schema import kinds
from fastlb.schema.field import document

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer
    from fastlb.engine import Engine
    from fastlb.pool import Pool
    from fastlb.resource import NamedResource


def dump(balancer: "LoadBalancer") -> dict[str, Any]:
    with balancer._lock:
        names = balancer._pool_names()
        body = document(balancer._spec)
        body["listeners"] = [listener.to_dict() for listener in balancer.listeners]
        body["pools"] = [pool.to_dict() | {"name": names[pool.id]} for pool in balancer.pools]
    return {"loadbalancer": body}


def status_tree(balancer: "LoadBalancer") -> dict[str, Any]:
    with balancer._lock:
        listeners = [
            _head(listener)
            | {"pools": [] if listener.default_pool is None else [_pool_tree(listener.default_pool)]}
            for listener in balancer.listeners
        ]
        return {"statuses": {"loadbalancer": _head(balancer) | {"listeners": listeners}}}


def _pool_tree(pool: "Pool") -> dict[str, Any]:
    monitor = pool.health_monitor
    return _head(pool) | {
        "health_monitor": None if monitor is None else _head(monitor) | {"type": str(monitor.type)},
        "members": [
            _head(member) | {"address": member.address, "protocol_port": member.protocol_port}
            for member in pool.members
        ],
    }


def _head(one: "NamedResource[Any]") -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "operating_status": str(one.operating_status),
        "provisioning_status": str(one.provisioning_status),
    }


def load(
    balancer: "LoadBalancer", document: Mapping[str, Any], *, engine: "Engine | None", coerce: bool
) -> None:
    """Describe a new load balancer, an instance without state, from a document."""
    body = dict(_mapping("document", document))
    if "loadbalancer" in body:
        others = [key for key in body if key != "loadbalancer"]
        if others:
            raise UnknownField(str(others[0]), 'no such field beside "loadbalancer"')
        body = dict(_mapping("loadbalancer", body["loadbalancer"]))
    listeners = _mappings("listeners", body.pop("listeners", None))
    pools = _mappings("pools", body.pop("pools", None))
    balancer._describe(body, engine, coerce=coerce)
    named = _define_pools(balancer, listeners, pools, coerce)
    for path, listener in listeners:
        policies = listener.pop("l7policies", None)
        if policies:
            raise NotSupported(
                f"{path}l7policies: this version of fastlb has no L7 policies yet; leave them out"
            )
        default = listener.pop("default_pool", None)
        if default is not None:
            if listener.get("default_pool_id") is not None:
                raise ConfigError(
                    f"{path}default_pool_id",
                    listener["default_pool_id"],
                    "must not be given beside default_pool",
                )
            listener["default_pool_id"] = named[default["name"]].id
        with _Place(path):
            balancer._add_listener(listener, coerce=coerce, path=path)


def _define_pools(
    balancer: "LoadBalancer",
    listeners: list[tuple[str, dict[str, Any]]],
    pools: list[tuple[str, dict[str, Any]]],
    coerce: bool,
) -> "dict[str, Pool]":
    """Create every pool that is defined anywhere; answer them by name."""
    definitions = list(pools)
    references = []
    for path, listener in listeners:
        default = listener.get("default_pool")
        if default is None:
            continue
        where = f"{path}default_pool"
        default = listener["default_pool"] = dict(_mapping(where, default))
        if not default.get("name"):
            raise ConfigError(
                f"{where}.name",
                default.get("name"),
                "must be given",
                fault="Pools must be named when creating a fully populated loadbalancer.",
            )
        if default.keys() == {"name"}:
            references.append((where, default["name"]))
        else:
            definitions.append((f"{where}.", default))
    named: dict[str, Pool] = {}
    for path, values in definitions:
        values = dict(values)
        members = _mappings(f"{path}members", values.pop("members", None))
        monitor = values.pop("healthmonitor", None)
        pool = balancer._add_pool(values, coerce=coerce, path=path)
        if pool.name in named:
            raise ConfigError(
                f"{path}name",
                pool.name,
                "must be unique among the pools of the document",
                fault="Pool names must be unique when creating a fully populated loadbalancer.",
            )
        named[pool.name] = pool
        # Octavia starts them as NO_MONITOR here, even where a monitor comes along.
        pool._add_members(list(members), coerce=coerce)
        if monitor is not None:
            where = f"{path}healthmonitor"
            with _Place(f"{where}."):
                pool._add_monitor(_mapping(where, monitor), coerce=coerce, path=f"{where}.")
    for where, name in references:
        if name not in named:
            raise ConfigError(
                f"{where}.name",
                name,
                "must be the name of a pool that the document defines",
                fault=f"Pool '{name}' was referenced but no full definition was found.",
            )
    return named


class _Place:
    """Puts the place in the document before messages of errors that do not carry one."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (Conflict, NotFound, NotSupported)) and error.args:
            error.args = (f"{self.path.rstrip('.')}: {error.args[0]}", *error.args[1:])


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        kinds.refuse(where, value, "must be a mapping of fields to values", "Value must be an object")
    return value


def _mappings(where: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The elements of a list of objects, each with its place; null is an empty list."""
    if value is None:
        return []
    return [
        (f"{where}[{at}].", dict(_mapping(f"{where}[{at}]", element)))
        for at, element in enumerate(kinds.items(where, value, "mappings"))
    ]
