# SPDX-License-Identifier: Apache-2.0
"""The objects of a load balancer as rows of a store, and a load balancer of its rows.

A row's document has what the operator wants (the spec, in full: null and default are told apart), the times, and the
id of what the object belongs to. What is observed is not in it, but for one thing: whether a member that is not in the
data plane was last NO_MONITOR there, which it then stays.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fastlb.balancer import LoadBalancer
from fastlb.l7 import L7Policy, L7Rule
from fastlb.listener import Listener
from fastlb.member import Member
from fastlb.monitor import HealthMonitor
from fastlb.pool import Pool
from fastlb.resource import Identity, Resource
from fastlb.schema import (
    HealthMonitorSpec,
    L7PolicySpec,
    L7RuleSpec,
    ListenerSpec,
    LoadBalancerSpec,
    MemberSpec,
    PoolSpec,
)
from fastlb.schema.field import Record, plain, revive

if TYPE_CHECKING:
    from fastlb.engine import Engine
    from fastlb.store import Row

S = TypeVar("S", bound=Record)

KINDS = ("loadbalancer", "pool", "listener", "member", "healthmonitor", "l7policy", "l7rule")
"""The types of rows, each before what refers to it."""

OWNERS = {
    "listener": "loadbalancer",
    "pool": "loadbalancer",
    "member": "pool",
    "healthmonitor": "pool",
    "l7policy": "listener",
    "l7rule": "l7policy",
}


def record(one: Resource[Any]) -> tuple[str, str, dict[str, Any]]:
    """Type, id and document of the row that an object is."""
    body: dict[str, Any] = {
        "spec": plain(one._spec),
        "created_at": one._created_at.isoformat(),
        "updated_at": one._updated_at and one._updated_at.isoformat(),
    }
    owner = one._belongs_to()
    if owner is not None:
        body["owner"] = owner.id
    if isinstance(one, L7Policy):
        body["position"] = one.position
    if isinstance(one, Member):
        body["unmonitored"] = one._was_unmonitored
    return one.KIND, one.id, body


class Tree(NamedTuple):
    """The rows of one load balancer, each kind by the id of what it belongs to."""

    row: "Row"
    below: "dict[tuple[str, str], list[Row]]"

    def of(self, kind: str, owner_id: str) -> "list[Row]":
        return self.below.get((kind, owner_id), [])

    def ids(self) -> Iterator[tuple[str, str]]:
        """Type and id of each row."""
        yield self.row.type, self.row.id
        for rows in self.below.values():
            for row in rows:
                yield row.type, row.id


def trees(rows: "Iterable[Row]") -> tuple[list[Tree], "list[Row]"]:
    """The rows of all kinds, each kind in the order of creation, by load balancer; and those that belong to nothing."""
    roots: dict[str, Tree] = {}
    tree_of: dict[tuple[str, str], Tree] = {}
    lost: list[Row] = []
    by_kind: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    for row in rows:
        by_kind[row.type].append(row)
    for kind in KINDS:
        for row in by_kind[kind]:
            if kind == "loadbalancer":
                tree = roots[row.id] = Tree(row, {})
            else:
                # Of broken rows, anything.
                owner_id = str(row.document.get("owner"))
                found = tree_of.get((OWNERS[kind], owner_id))
                if found is None:
                    lost.append(row)
                    continue
                tree = found
                tree.below.setdefault((kind, owner_id), []).append(row)
            tree_of[kind, row.id] = tree
    return list(roots.values()), lost


def restore(tree: Tree, engine: "Engine | None") -> LoadBalancer:
    """The load balancer that the rows describe, not started. Rows that are not ours may raise anything."""
    balancer = LoadBalancer.__new__(LoadBalancer)
    balancer._begin(_spec(tree.row, LoadBalancerSpec), engine, _identity(tree.row))
    for row in tree.of("pool", balancer.id):
        pool = Pool(_spec(row, PoolSpec), balancer, _identity(row))
        balancer._pools[pool.id] = pool
        for below in tree.of("healthmonitor", pool.id):
            pool._monitor = HealthMonitor(_spec(below, HealthMonitorSpec), pool, _identity(below))
        for below in tree.of("member", pool.id):
            member = Member(_spec(below, MemberSpec), pool, _identity(below))
            member._was_unmonitored = below.document["unmonitored"]
            if (member.address, member.protocol_port) in pool._addresses:
                raise pool._taken(member._spec, "")
            pool._members[member.id] = member
            pool._addresses[member.address, member.protocol_port] = member
    for row in tree.of("listener", balancer.id):
        listener = Listener(_spec(row, ListenerSpec), balancer, _identity(row))
        balancer._listeners[listener.id] = listener
        listener._link(None, listener.default_pool_id)
        policies = {}
        for below in sorted(tree.of("l7policy", listener.id), key=lambda row: int(row.document["position"])):
            policy = L7Policy(_spec(below, L7PolicySpec), listener, _identity(below))
            rules = {
                rule.id: L7Rule(_spec(rule, L7RuleSpec), policy, _identity(rule))
                for rule in tree.of("l7rule", policy.id)
            }
            policies[policy] = (policy._spec, rules)
        listener._set_policies(list(policies), policies)
    balancer._unsaved_ones.clear()
    return balancer


def _spec(row: "Row", kind: type[S]) -> S:
    return revive(kind, row.document["spec"])


def _identity(row: "Row") -> Identity:
    updated = row.document["updated_at"]
    return Identity(
        row.id,
        datetime.fromisoformat(row.document["created_at"]),
        None if updated is None else datetime.fromisoformat(updated),
    )
