# SPDX-License-Identifier: Apache-2.0
"""What would become of a request, and why: asked of the code that forwards, without sending anything.

`listener.explain(…)` answers an `Explanation`. The balancer need not be started; members that were never probed
count as up, as they do when it starts.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastlb import _core
from fastlb.errors import ConfigError
from fastlb.schema import kinds
from fastlb.types import Protocol

if TYPE_CHECKING:
    from fastlb.l7 import L7Policy, L7Rule
    from fastlb.listener import Listener
    from fastlb.member import Member
    from fastlb.pool import Pool

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

WHY = {
    "usable": "may be chosen",
    "full": "has its max_connections; a request waits for a place if nobody else is free",
    "pool_down": "its pool has admin_state_up=False",
    "admin_down": "has admin_state_up=False",
    "down": "does not pass its health monitor's probes",
    "ejected": "rests, since it failed real requests (outlier_detection)",
    "drained": "has weight 0: only clients that are bound to it",
    "reserve": "is a backup, and others are usable",
}
"""What a member's standing means."""


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """One rule of a policy against the request.

    matches: with `invert` applied; None: a regular expression that was given up, since it took too many steps.
    """

    rule: "L7Rule"
    matches: bool | None


@dataclass(frozen=True, slots=True)
class PolicyCheck:
    """One policy against the request. Rules and policies that are switched off are not looked at.

    matches: all rules match. passed_over: it redirects to a pool that is switched off, and so is not in use.
    """

    policy: "L7Policy"
    rules: tuple[RuleCheck, ...]
    matches: bool
    passed_over: bool


@dataclass(frozen=True, slots=True)
class MemberCheck:
    """One member of the pool. usable: it may be chosen for this request; why: or why not, in words."""

    member: "Member"
    usable: bool
    why: str


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """What would become of one request. Its repr is a text for people; `to_dict` has the same for programs.

    request: the method, the target, and the host that was asked for; client: who asked.
    status: of an answer of our own; None: a member answers. reason: why we refuse it, as in `listener.stats.refusals`;
    None for a redirect, or when a member answers.
    policies: each policy, in the order in which they are looked at; policy: the first that matches, which applies;
    None: the default pool's turn.
    pool: where it goes; members: the pool's, and why each may be chosen or not.
    bound_to: whom session persistence binds this client to; it may be unusable: then another one is chosen.
    member: the one that it goes to, where that does not depend on others' requests: persistence, or a hash of the
    client.
    sent: the head as a member would get it, or our own answer.
    """

    request: str
    client: tuple[str, int]
    status: int | None
    reason: str | None
    policy: "L7Policy | None"
    policies: tuple[PolicyCheck, ...]
    pool: "Pool | None"
    bound_to: "Member | None"
    member: "Member | None"
    members: tuple[MemberCheck, ...]
    sent: bytes

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it: objects by id and name."""
        return {
            "request": self.request,
            "client": _endpoint(self.client),
            "status": self.status,
            "reason": self.reason,
            "policy": self.policy and _named(self.policy),
            "policies": [
                _named(check.policy)
                | {
                    "matches": check.matches,
                    "passed_over": check.passed_over,
                    "rules": [{"id": rule.rule.id, "matches": rule.matches} for rule in check.rules],
                }
                for check in self.policies
            ],
            "pool": self.pool and _named(self.pool),
            "bound_to": self.bound_to and self.bound_to.id,
            "member": self.member and self.member.id,
            "members": [
                {
                    "id": check.member.id,
                    "address": check.member.address,
                    "protocol_port": check.member.protocol_port,
                    "usable": check.usable,
                    "why": check.why,
                }
                for check in self.members
            ],
            "sent": self.sent.decode("latin-1"),
        }

    def __repr__(self) -> str:
        lines = [f"{self.request} from {_endpoint(self.client)}"]
        for check in self.policies:
            lines.append(f"  {_policy_words(check, self.policy)}")
            for rule in check.rules:
                said = {True: "matches", False: "does not match", None: "given up: too many steps"}
                lines.append(f"      {rule.rule._words()}: {said[rule.matches]}")
            if check.policy is self.policy:
                break
        if self.pool is not None:
            how = "by the policy" if self.policy is not None else "the default pool"
            lines.append(f"  pool {self.pool.name or self.pool.id}, {how}, {self.pool.lb_algorithm}")
            for one in self.members:
                marks = [" (bound to it)"] if one.member is self.bound_to else []
                marks += [" (chosen)"] if one.member is self.member else []
                lines.append(f"      {one.member._endpoint()}: {one.why}{''.join(marks)}")
        if self.status is not None:
            lines.append(
                f"  answered by the load balancer: {self.status}{f' ({self.reason})' if self.reason else ''}"
            )
        lines += [f"  > {line}" for line in self.sent.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")]
        return "\n".join(lines)


def _endpoint(client: tuple[str, int]) -> str:
    address, port = client
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _named(one: "L7Policy | Pool") -> dict[str, Any]:
    return {"id": one.id, "name": one.name}


def _policy_words(check: PolicyCheck, applied: "L7Policy | None") -> str:
    policy = check.policy
    words = f"policy {policy.name or policy.id} ({policy.action}, position {policy.position})"
    if policy is applied:
        return f"{words}: applies"
    return (
        f"{words}: passed over, its pool is switched off" if check.passed_over else f"{words}: does not match"
    )


def explain(
    listener: "Listener",
    *,
    method: str,
    host: str | None,
    path: str,
    headers: Headers | None,
    client: tuple[str, int],
) -> Explanation:
    if listener.protocol is not Protocol.HTTP:
        raise ConfigError(
            "protocol", listener.protocol, "must be HTTP: there are no requests to explain on another"
        )
    if host is None:
        host = listener._endpoint()
    head = _head(method, host, path, headers)
    address, port = _client(client)
    with listener._balancer._lock, _in_core(listener) as core:
        found = _core.explain(core, head, address, port)
        return _resolve(listener, found, f"{method} {path} on {host}", (address, port))


def _resolve(
    listener: "Listener", found: dict[str, Any], request: str, client: tuple[str, int]
) -> Explanation:
    policies = [policy for policy in listener.l7policies if policy._row is not None]
    pools = {pool._core.id: pool for pool in listener._balancer.pools if pool._core is not None}
    pool = pools.get(found["pool"])
    members = {one._core.id: one for one in (pool.members if pool else ()) if one._core is not None}
    checks = []
    for row, in_use, rules in found["policies"]:
        enabled = [rule for rule in policies[row].rules if rule.admin_state_up]
        verdicts = {enabled[at]: matches for at, matches in rules}
        checks.append(
            PolicyCheck(
                policy=policies[row],
                rules=tuple(RuleCheck(rule, verdicts[rule]) for rule in enabled),
                matches=all(verdicts.values()),
                passed_over=not in_use,
            )
        )
    bound = members.get(found["stick"])
    choice = members.get(found["choice"])
    return Explanation(
        request=request,
        client=client,
        status=found["status"],
        reason=found["reason"],
        policy=None if found["policy"] is None else policies[found["policy"]],
        policies=tuple(checks),
        pool=pool,
        bound_to=bound,
        member=bound if found["stick_usable"] else choice,
        members=tuple(
            MemberCheck(members[core_id], standing in ("usable", "full"), _why(members[core_id], standing))
            for core_id, standing in found["members"]
            if core_id in members
        ),
        sent=found["sent"],
    )


def _why(member: "Member", standing: str) -> str:
    why = WHY[standing]
    if standing in ("usable", "full"):
        if not member._up():
            return f"{why}, although it {WHY['down']}: too few do (panic_threshold)"
        if member.ejected:
            return f"{why}, although it failed real requests (outlier_detection): too few others are usable"
    return why


@contextlib.contextmanager
def _in_core(listener: "Listener") -> Iterator[_core.CoreListener]:
    """The listener as the data plane has it, or would have it: nothing is bound and no thread is started."""
    balancer = listener._balancer
    if listener._core is not None:
        yield listener._core
        return
    if balancer._running():
        yield _unopened(listener)
        return
    from fastlb.engine import Engine

    before = balancer._engine_used
    balancer._core = _core.Core(1)
    balancer._engine_used = Engine(1)
    try:
        for pool in balancer.pools:
            pool._attach()
        yield _unopened(listener)
    finally:
        for pool in balancer.pools:
            pool._close()
        balancer._core = None
        balancer._engine_used = before


def _unopened(listener: "Listener") -> _core.CoreListener:
    balancer = listener._balancer
    addresses = list(balancer.vips) or ["127.0.0.1"]
    core = _core.CoreListener(balancer._core_in_use(), True, addresses, listener.protocol_port)
    listener._configure(core, listener._spec, listener._compile(listener._rows))
    return core


def _head(method: str, host: str, path: str, headers: Headers | None) -> bytes:
    """The request as a client would send it. What is not allowed in it the data plane refuses, and says so."""
    for field, value in (("method", method), ("host", host), ("path", path)):
        if not isinstance(value, str):
            raise ConfigError(field, value, "must be a string")
    pairs = list(_pairs(headers))
    lines = [f"{method} {path} HTTP/1.1"]
    if not any(name.lower() == "host" for name, _ in pairs):
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in pairs]
    text = "\r\n".join(lines)
    if "\r\n\r\n" in text:
        raise ConfigError("headers", headers, "must not hold an empty line: it would end the request's head")
    try:
        return f"{text}\r\n\r\n".encode("latin-1")
    except UnicodeEncodeError:
        return f"{text}\r\n\r\n".encode()


def _pairs(headers: Headers | None) -> Iterator[tuple[str, str]]:
    allowed = "must be a mapping of names to values, or (name, value) pairs, all strings"
    if headers is not None and (isinstance(headers, (str, bytes)) or not isinstance(headers, Iterable)):
        raise ConfigError("headers", headers, allowed)
    for pair in headers.items() if isinstance(headers, Mapping) else headers or ():
        if not (
            isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        ):
            raise ConfigError("headers", pair, allowed)
        yield pair[0], pair[1]


def _client(client: tuple[str, int]) -> tuple[str, int]:
    if not isinstance(client, (tuple, list)) or len(client) != 2:
        raise ConfigError("client", client, 'must be an (address, port) pair such as ("192.0.2.7", 4711)')
    address: str = kinds.ip_address("client[0]", client[0], False)
    port: int = kinds.integer(0, 65535)("client[1]", client[1], False)
    return address, port
