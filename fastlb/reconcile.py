# SPDX-License-Identifier: Apache-2.0
"""Make a load balancer like another one, live: only what differs is changed, created or deleted.

What is the same object in both: a listener with the same protocol and port (any free port: and the same name), a pool
with the same name and protocol, a member with the same address and port. The order keeps requests whole: pools get
their new members before they lose old ones, listeners turn to new pools before old ones go, and a new listener opens
when it has all its L7 policies. Each change is one call of those that a program makes; between two of them requests
are served.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from fastlb import schema
from fastlb.balancer import LoadBalancer
from fastlb.errors import ConfigError, FastLBError
from fastlb.listener import Listener
from fastlb.member import Member
from fastlb.pool import Pool
from fastlb.resource import Resource
from fastlb.schema.field import document, rules

R = TypeVar("R", bound=Resource[Any])

Steps = Iterator[tuple[str, Callable[[], object]]]


def same_place(one: LoadBalancer, other: LoadBalancer) -> bool:
    """May the one become like the other by changes? Otherwise it has to be replaced."""
    return not [name for name in _different(one, other) if not rules(schema.LoadBalancerSpec)[name].live]


def apply(balancer: LoadBalancer, wanted: LoadBalancer) -> tuple[list[str], list[FastLBError]]:
    """What was changed, in words, and what could not be. `wanted` is only described, and at the same place."""
    done: list[str] = []
    failed: list[FastLBError] = []
    with balancer._lock:
        for words, step in _steps(balancer, wanted):
            try:
                step()
            except FastLBError as error:
                failed.append(error)
            else:
                done.append(words)
    return done, failed


def _steps(balancer: LoadBalancer, wanted: LoadBalancer) -> Steps:
    """A step at a time, each found when those before it are done."""
    pools, new_pools, old_pools = _matched(balancer.pools, wanted.pools, _pool_key)
    for theirs in new_pools:
        yield f"create {theirs._who()}", partial(_create_pool, balancer, theirs)
    for ours, theirs in pools:
        yield from _changed(ours, theirs)
        yield from _members(ours, theirs)
        yield from _monitor(ours, theirs)

    listeners, new_listeners, old_listeners = _matched(balancer.listeners, wanted.listeners, _listener_key)
    # These first: what is new may want their ports.
    for listener in old_listeners:
        yield f"delete {listener._who()}", listener.delete
    pairs, _, _ = _matched(balancer.pools, wanted.pools, _pool_key)
    ids = {theirs.id: ours.id for ours, theirs in pairs}
    for mine, other in listeners:
        rows = _policies(other, ids)
        if rows != _policies(mine, {}):
            yield f"{mine._who()}: L7 policies", partial(mine._replace_policies, rows)
        yield from _changed(mine, other, default_pool_id=_found(ids, other.default_pool_id))
    for other in new_listeners:
        yield f"create {other._who()}", partial(_create_listener, balancer, other, ids)

    for pool in old_pools:
        # Still in use: a step before could not be done.
        if not (pool._listeners or pool._policies):
            yield f"delete {pool._who()}", pool.delete
    yield from _changed(balancer, wanted)


def _matched(
    ours: tuple[R, ...], theirs: tuple[R, ...], key: Callable[[R], object]
) -> tuple[list[tuple[R, R]], list[R], list[R]]:
    """Pairs of what is on both sides, what is only on theirs, and what is only on ours."""
    left = {key(one): one for one in ours}
    pairs, new = [], []
    for one in theirs:
        mine = left.pop(key(one), None)
        if mine is None:
            new.append(one)
        else:
            pairs.append((mine, one))
    kept = {id(mine) for mine, _ in pairs}
    return pairs, new, [one for one in ours if id(one) not in kept]


def _pool_key(pool: Pool) -> object:
    return pool.name, pool.protocol


def _listener_key(listener: Listener) -> object:
    port = listener._spec.protocol_port
    return listener.protocol, port, "" if port else listener.name


def _different(one: Resource[Any], other: Resource[Any], **instead: Any) -> dict[str, Any]:
    """The other's values of those fields in which the two differ."""
    kind: type[schema.Spec] = type(one._spec)
    values = {name: getattr(other._spec, name) for name in rules(kind)} | instead
    return {name: value for name, value in values.items() if getattr(one._spec, name) != value}


def _changed(one: Resource[Any], other: Resource[Any], **instead: Any) -> Steps:
    changes = _different(one, other, **instead)
    with contextlib.suppress(ConfigError):  # which the step will raise, and then it counts
        # A null that an update turns into what is there already is no change.
        if not changes or schema.update(one._spec, changes) == one._spec:
            return
    yield f"{one._who()}: {', '.join(changes)}", partial(one._update, changes)


def _create_pool(balancer: LoadBalancer, theirs: Pool) -> None:
    pool = balancer._add_pool(document(theirs._spec))
    try:
        pool._add_members([("", document(member._spec)) for member in theirs.members])
        if theirs.health_monitor is not None:
            pool._add_monitor(document(theirs.health_monitor._spec))
    except BaseException:
        pool.delete()
        raise


def _members(ours: Pool, theirs: Pool) -> Steps:
    pairs, new, old = _matched(ours.members, theirs.members, Member._endpoint)
    for mine, other in [pair for pair in pairs if pair[0].subnet_id != pair[1].subnet_id]:
        yield f"{mine._who()}: subnet_id, as a new member", mine.delete
        pairs.remove((mine, other))
        new.append(other)
    if new:
        rows = [("", document(member._spec)) for member in new]
        names = ", ".join(member._endpoint() for member in new)
        yield f"{ours._who()}: new {names}", partial(ours._add_members, rows)
    for mine, other in pairs:
        yield from _changed(mine, other)
    if old:
        names = ", ".join(member._endpoint() for member in old)
        yield f"{ours._who()}: without {names}", partial(ours._drop_members, old)


def _monitor(ours: Pool, theirs: Pool) -> Steps:
    mine, other = ours.health_monitor, theirs.health_monitor
    if mine is not None and (other is None or other.type is not mine.type):
        yield f"delete {mine._who()}", mine.delete
        mine = None
    if other is not None:
        if mine is None:
            values = document(other._spec)
            yield f"create health monitor of {ours._who()}", partial(ours._add_monitor, values)
        else:
            yield from _changed(mine, other)


def _found(ids: dict[str, str], pool_id: str | None) -> str | None:
    """Our pool's id; theirs, which no pool has here, if it could not be created: the error that follows says so."""
    return None if pool_id is None else ids.get(pool_id, pool_id)


def _policies(theirs: Listener, ids: dict[str, str]) -> list[dict[str, Any]]:
    return [
        document(policy._spec)
        | {
            "redirect_pool_id": _found(ids, policy.redirect_pool_id),
            "rules": [document(rule._spec) for rule in policy.rules],
        }
        for policy in theirs.l7policies
    ]


def _create_listener(balancer: LoadBalancer, theirs: Listener, ids: dict[str, str]) -> None:
    values = document(theirs._spec) | {"default_pool_id": _found(ids, theirs.default_pool_id)}
    listener = balancer._add_listener(values | {"admin_state_up": False})
    try:
        listener._replace_policies(_policies(theirs, ids))
        if theirs.admin_state_up:
            listener.admin_state_up = True
    except BaseException:
        listener.delete()
        raise
