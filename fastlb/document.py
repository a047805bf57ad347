# SPDX-License-Identifier: Apache-2.0
"""A load balancer as a document: the body of Octavia's fully-populated create, and back; its statuses as a tree.

A pool is defined once, at the load balancer or under a listener, and may be referred to by its name from
elsewhere, before or after. Everything is checked by the same calls that create the objects one by one.
"""

import itertools
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
            _head(listener) | {"pools": [_pool_tree(pool) for pool in listener._pools_in_use()]}
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
    body = dict(kinds.mapping("document", document))
    if "loadbalancer" in body:
        others = [key for key in body if key != "loadbalancer"]
        if others:
            raise UnknownField(str(others[0]), 'no such field beside "loadbalancer"')
        body = dict(kinds.mapping("loadbalancer", body["loadbalancer"]))
    listeners = _mappings("listeners", body.pop("listeners", None))
    pools = _mappings("pools", body.pop("pools", None))
    policies = [
        _mappings(f"{path}l7policies", listener.pop("l7policies", None)) for path, listener in listeners
    ]
    balancer._describe(body, engine, coerce=coerce)
    references = _References(pools)
    for path, listener in listeners:
        references.take(path, listener, "default_pool")
    for path, policy in itertools.chain.from_iterable(policies):
        if policy.get("redirect_pool_id") is not None:
            raise UnknownField(f"{path}redirect_pool_id", "no such field here; give redirect_pool")
        references.take(path, policy, "redirect_pool")
    references.resolve(_define_pools(balancer, references.definitions, coerce))
    for (path, values), l7policies in zip(listeners, policies, strict=True):
        with _Place(path):
            made = balancer._add_listener(values, coerce=coerce, path=path)
        made._add_policies(l7policies, coerce=coerce)


class _References:
    """Where a document names a pool or defines one in place."""

    def __init__(self, definitions: list[tuple[str, dict[str, Any]]]) -> None:
        self.definitions = list(definitions)
        self._names: list[tuple[str, dict[str, Any], str, str]] = []

    def take(self, path: str, owner: dict[str, Any], field: str) -> None:
        """The pool that `owner` has in `field`; its id takes that place when it is resolved."""
        given = owner.pop(field, None)
        if given is None:
            return
        where = f"{path}{field}"
        pool = dict(kinds.mapping(where, given))
        if owner.get(f"{field}_id") is not None:
            raise ConfigError(f"{where}_id", owner[f"{field}_id"], f"must not be given beside {field}")
        if not isinstance(pool.get("name") or None, str):
            raise ConfigError(
                f"{where}.name",
                pool.get("name"),
                "must be given",
                fault="Validation failure: Pools must be named when creating a fully populated loadbalancer.",
            )
        if pool.keys() != {"name"}:
            self.definitions.append((f"{where}.", pool))
        self._names.append((where, owner, field, pool["name"]))

    def resolve(self, pools: "Mapping[str, Pool]") -> None:
        for where, owner, field, name in self._names:
            if name not in pools:
                raise ConfigError(
                    f"{where}.name",
                    name,
                    "must be the name of a pool that the document defines",
                    fault=f"Validation failure: Pool '{name}' was referenced but no full definition was found.",
                )
            owner[f"{field}_id"] = pools[name].id


def _define_pools(
    balancer: "LoadBalancer", definitions: list[tuple[str, dict[str, Any]]], coerce: bool
) -> "dict[str, Pool]":
    """Create every pool that is defined anywhere; answer them by name."""
    named: dict[str, Pool] = {}
    for path, given in definitions:
        values = dict(given)
        members = _mappings(f"{path}members", values.pop("members", None))
        monitor = values.pop("healthmonitor", None)
        pool = balancer._add_pool(values, coerce=coerce, path=path)
        if pool.name in named:
            raise ConfigError(
                f"{path}name",
                pool.name,
                "must be unique among the pools of the document",
                fault="Validation failure: Pool names must be unique when creating a fully populated loadbalancer.",
            )
        named[pool.name] = pool
        # Octavia starts them as NO_MONITOR here, even where a monitor comes along.
        pool._add_members(list(members), coerce=coerce)
        if monitor is not None:
            where = f"{path}healthmonitor"
            with _Place(f"{where}."):
                pool._add_monitor(kinds.mapping(where, monitor), coerce=coerce, path=f"{where}.")
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


def _mappings(where: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The elements of a list of objects, each with its place; null is an empty list."""
    return [] if value is None else kinds.mappings(where, value)
