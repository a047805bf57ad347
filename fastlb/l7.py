# SPDX-License-Identifier: Apache-2.0
"""L7Policy and L7Rule: what becomes of some of a listener's requests, and of which."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, Required, TypedDict

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from fastlb import _core, schema
from fastlb.errors import Conflict, shown
from fastlb.pool import Pool, pool_id_of
from fastlb.resource import Field, Identity, NamedResource, Resource
from fastlb.schema import L7PolicySpec, L7RuleSpec, arguments
from fastlb.schema.l7 import RULES_AT_MOST
from fastlb.status import simple_status
from fastlb.types import L7CompareType, L7PolicyAction, L7RuleType, OperatingStatus

if TYPE_CHECKING:
    from fastlb.listener import Listener

Row = tuple[str, int, str, str | None, list[tuple[str, str, str, str, bool]]]
"""A policy as the data plane goes by it: action, code, location, pool's id, and its enabled rules."""


class L7RuleFields(TypedDict, total=False):
    """A rule as a mapping, for `create_l7policy`, `create_l7policies` and documents."""

    type: Required[L7RuleType | str]
    compare_type: Required[L7CompareType | str]
    value: Required[str]
    key: NotRequired[str | None]
    invert: NotRequired[bool | None]
    admin_state_up: NotRequired[bool | None]
    tags: NotRequired[Sequence[str]]


class L7PolicyFields(TypedDict, total=False):
    """A policy as a mapping, for `create_l7policies`."""

    action: Required[L7PolicyAction | str]
    redirect_pool: NotRequired[Pool | None]
    redirect_pool_id: NotRequired[str | None]
    redirect_url: NotRequired[str | None]
    redirect_prefix: NotRequired[str | None]
    redirect_http_code: NotRequired[int | None]
    position: NotRequired[int | None]
    name: NotRequired[str | None]
    description: NotRequired[str | None]
    admin_state_up: NotRequired[bool | None]
    tags: NotRequired[Sequence[str]]
    rules: NotRequired[Sequence[L7RuleFields]]


class L7Policy(NamedResource[L7PolicySpec]):
    """What is done with the requests that match all of its enabled rules. Made by `listener.create_l7policy`.

    A policy without an enabled rule matches nothing. Of several that match a request, each REJECT comes before each
    redirect to a URL or a prefix, and those before each redirect to a pool; `position` decides within such a group.
    One whose pool is switched off is passed over.
    """

    __slots__ = ("_listener", "_position", "_row", "_rules")

    LABEL = "L7 Policy"
    KIND = "l7policy"

    action = Field[L7PolicyAction, L7PolicyAction | str](
        "REJECT, or a redirect. A change of it goes with its target in one `update`; a new target alone changes it too."
    )
    description = Field[str, str]("Up to 255 characters.")
    redirect_pool_id = Field[str | None, str]("The id of the pool that requests go to.")
    redirect_url = Field[str | None, str]("The Location, as it stands; up to 255 characters.")
    redirect_prefix = Field[str | None, str](
        "What stands before the request's path and query in the Location; up to 255 characters."
    )
    redirect_http_code = Field[int | None, int](
        "301, 302, 303, 307 or 308; None stands for 302. A new target without a code sets it back to 302."
    )

    def __init__(self, spec: L7PolicySpec, listener: "Listener", identity: Identity | None = None) -> None:
        # Its place is the listener's to keep: others that come and go move it.
        super().__init__(replace(spec, position=None), listener._balancer, identity)
        self._listener = listener
        self._position = 0
        self._rules: dict[str, L7Rule] = {}
        # What the data plane was last told of it; None: it matches nothing.
        self._row: Row | None = None

    @property
    def listener(self) -> "Listener":
        """The listener whose requests it looks at."""
        return self._listener

    @property
    def redirect_pool(self) -> Pool | None:
        """Where requests go, with the action REDIRECT_TO_POOL. Assigning a pool makes it a redirect to that pool."""
        pool_id = self._spec.redirect_pool_id
        # The policy, and with it the pool, may be deleted meanwhile.
        return None if pool_id is None else self._balancer._pools.get(pool_id)

    @redirect_pool.setter
    def redirect_pool(self, pool: Pool | None) -> None:
        self.update(redirect_pool=pool)

    @property
    def position(self) -> int:
        """Its place among the listener's policies, from 1 without a gap. Assigning moves it there and the others up or
        down; a place behind the last is the last. None changes nothing."""
        return self._position

    @position.setter
    def position(self, position: int | None) -> None:
        self._update({"position": position})

    @property
    def rules(self) -> "tuple[L7Rule, ...]":
        """Its rules, in the order of creation. All that are enabled must match."""
        return tuple(self._rules.values())

    def create_rule(
        self,
        *,
        type: L7RuleType | str,  # noqa: A002 - Octavia's name
        compare_type: L7CompareType | str,
        value: str,
        key: str | None = None,
        invert: bool | None = False,
        admin_state_up: bool | None = True,
        tags: Iterable[str] | None = (),
    ) -> "L7Rule":
        """Add a condition; on a started load balancer it counts when this returns.

        type: HOST_NAME, PATH, FILE_TYPE, HEADER or COOKIE (SSL_CONN_HAS_CERT, SSL_VERIFY_RESULT and SSL_DN_FIELD match
        nothing without TLS). compare_type: EQUAL_TO, STARTS_WITH, ENDS_WITH, CONTAINS, REGEX; FILE_TYPE has
        EQUAL_TO and REGEX. value: 1..255 characters, in double quotes if there are spaces in it. key: which header
        or cookie. invert: match where the comparison does not.

        Raises ConfigError, Conflict when the policy has 50 rules, NotSupported for REGEX without PCRE2.
        """
        return self._add_rule(arguments(locals()))

    def update(
        self,
        *,
        name: str | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        admin_state_up: bool | None | UnsetType = UNSET,
        action: L7PolicyAction | str | UnsetType = UNSET,
        redirect_pool: Pool | None | UnsetType = UNSET,
        redirect_pool_id: str | None | UnsetType = UNSET,
        redirect_url: str | None | UnsetType = UNSET,
        redirect_prefix: str | None | UnsetType = UNSET,
        redirect_http_code: int | None | UnsetType = UNSET,
        position: int | None | UnsetType = UNSET,
        tags: Iterable[str] | None | UnsetType = UNSET,
    ) -> None:
        """Change some fields at once, under traffic; what is left out stays.

        A new redirect_url, redirect_prefix or redirect_pool switches the action to its own and clears the target there
        was. Raises ConfigError (also when nothing is given), NotFound for an unknown pool; and then nothing has
        changed.
        """
        changes = arguments(locals())
        if "redirect_pool" in changes:
            pool = changes.pop("redirect_pool")
            also = changes.get("redirect_pool_id")
            changes["redirect_pool_id"] = pool_id_of(self._balancer, pool, also, field="redirect_pool")
        self._update(changes)

    def delete(self) -> None:
        """Remove it with its rules; those behind it move up."""
        with self._balancer._change():
            self._check_usable()
            self._listener._drop_policy(self)

    def to_dict(self) -> dict[str, Any]:
        """The policy with its rules as Octavia's fully-populated create has it, its pool by name."""
        with self._balancer._lock:
            return self._document(self._balancer._pool_names())

    def _document(self, pool_names: Mapping[str, str]) -> dict[str, Any]:
        body = super().to_dict()
        pool_id = body.pop("redirect_pool_id", None)
        if pool_id is not None:
            body["redirect_pool"] = {"name": pool_names[pool_id]}
        if self._spec.redirects:
            body["redirect_http_code"] = self._spec.code
        return body | {"position": self._position, "rules": [rule.to_dict() for rule in self.rules]}

    # Changes.

    def _update(self, changes: dict[str, Any], *, coerce: bool = False) -> None:
        with self._balancer._change():
            self._check_usable()
            asked = schema.update(self._spec, changes, coerce=coerce)
            spec = replace(asked, position=None)
            if spec.redirect_pool_id is not None:
                self._listener._check_redirect(spec.redirect_pool_id)
            self._listener._change_policy(self, spec, self._rules, asked.position)
            self._touch()
            self._balancer._note(None)

    def _add_rule(self, values: Mapping[str, Any], *, coerce: bool = False, path: str = "") -> "L7Rule":
        spec = schema.create(L7RuleSpec, values, coerce=coerce, path=path)
        with self._balancer._change():
            self._check_usable()
            if len(self._rules) >= RULES_AT_MOST:
                raise Conflict(
                    f"{self._who()}: has {RULES_AT_MOST} rules, and may not have more",
                    fault=f"Too many rules on L7 policy {self._id}",
                )
            rule = L7Rule(spec, self)
            self._listener._change_policy(self, self._spec, self._rules | {rule.id: rule})
            self._balancer._note(None)
            return rule

    def _change_rule(self, rule: "L7Rule", spec: L7RuleSpec | None) -> None:
        """Have this spec in the rule's place, or (None) no rule."""
        before = rule._spec
        rules = dict(self._rules)
        if spec is None:
            del rules[rule.id]
        else:
            rule._spec = spec
        try:
            self._listener._change_policy(self, self._spec, rules)
        except BaseException:
            rule._spec = before
            raise

    def _become(self, after: tuple[L7PolicySpec, "dict[str, L7Rule]"] | None, row: Row | None) -> None:
        """Its listener has changed it, placed it, or (None) let it go."""
        pools = self._balancer._pools
        if self._position and self._spec.redirect_pool_id is not None:
            del pools[self._spec.redirect_pool_id]._policies[self._id]
        self._row = row
        self._unsaved()
        if after is None:
            self._deleted = True
            for rule in self.rules:
                rule._deleted = True
                rule._unsaved()
            return
        for rule_id, rule in after[1].items():
            if rule_id not in self._rules:
                rule._unsaved()
        self._spec, self._rules = after
        if self._spec.redirect_pool_id is not None:
            pools[self._spec.redirect_pool_id]._policies[self._id] = self

    def _belongs_to(self) -> Resource[Any]:
        return self._listener

    def _used_pool_id(self) -> str | None:
        """The pool that it makes one of its listener's."""
        return used_pool_id(self._spec, self._rules) if self._position else None

    # Statuses.

    def _operating_status(self) -> OperatingStatus:
        return simple_status(admin_up=self._spec.admin_state_up, running=self._balancer._running())

    def _relations(self) -> dict[str, Any]:
        return {"listener_id": self._listener.id, "rules": [{"id": rule.id} for rule in self.rules]}

    def _who(self) -> str:
        return self._named("L7 policy")

    def __repr__(self) -> str:
        spec, pool = self._spec, self.redirect_pool
        name = f"{spec.name} " if spec.name else ""
        target = f" {spec.location}" if spec.redirects else ""
        if pool is not None:
            target = f" {pool.name or pool.id}"
        return (
            f"<L7Policy {name}{spec.action}{target} {self._state_words()} "
            f"position={self._position} rules={len(self._rules)}>"
        )


class L7Rule(Resource[L7RuleSpec]):
    """A condition of an L7 policy. Made by `policy.create_rule`."""

    __slots__ = ("_policy",)

    LABEL = "L7 Rule"
    KIND = "l7rule"

    type = Field[L7RuleType, L7RuleType | str]("What of a request it looks at.")
    compare_type = Field[L7CompareType, L7CompareType | str]("How that is compared with the value.")
    value = Field[str, str](
        "What it is compared with, 1..255 characters; double quotes around the whole are not part of it."
    )
    key = Field[str | None, str]("Which header, which cookie, or which field of a certificate's subject.")
    invert = Field[bool, bool]("Match where the comparison does not. None resets it to False.")

    def __init__(self, spec: L7RuleSpec, policy: L7Policy, identity: Identity | None = None) -> None:
        super().__init__(spec, policy._balancer, identity)
        self._policy = policy

    @property
    def policy(self) -> L7Policy:
        """The policy that it is a condition of."""
        return self._policy

    def update(
        self,
        *,
        type: L7RuleType | str | UnsetType = UNSET,  # noqa: A002 - Octavia's name
        compare_type: L7CompareType | str | UnsetType = UNSET,
        value: str | UnsetType = UNSET,
        key: str | None | UnsetType = UNSET,
        invert: bool | None | UnsetType = UNSET,
        admin_state_up: bool | None | UnsetType = UNSET,
        tags: Iterable[str] | None | UnsetType = UNSET,
    ) -> None:
        """Change some fields at once, under traffic; what is left out stays, and the whole is checked as a new rule is.

        Raises ConfigError, and then nothing has changed.
        """
        self._update(arguments(locals()))

    def delete(self) -> None:
        """Remove it. A policy that has no enabled rule left matches nothing."""
        with self._balancer._change():
            self._check_usable()
            self._policy._change_rule(self, None)
            self._deleted = True
            self._unsaved()
            self._balancer._note(None)

    def _update(self, changes: dict[str, Any], *, coerce: bool = False) -> None:
        with self._balancer._change():
            self._check_usable()
            self._policy._change_rule(self, schema.update(self._spec, changes, coerce=coerce))
            self._touch()
            self._balancer._note(None)

    def _belongs_to(self) -> Resource[Any]:
        return self._policy

    def _operating_status(self) -> OperatingStatus:
        return simple_status(admin_up=self._spec.admin_state_up, running=self._balancer._running())

    def _who(self) -> str:
        return f"L7 rule {self._words()} of {self._policy._who()}"

    def _words(self) -> str:
        spec = self._spec
        key = f" {spec.key}" if spec.key else ""
        return f"{spec.type}{key} {'not ' if spec.invert else ''}{spec.compare_type} {shown(spec.value)}"

    def __repr__(self) -> str:
        return f"<L7Rule {self._words()} {self._state_words()}>"


def used_pool_id(spec: L7PolicySpec, rules: Mapping[str, L7Rule]) -> str | None:
    """The pool that a policy makes one of its listener's. Octavia asks whether there are rules, not whether they are
    enabled."""
    return spec.redirect_pool_id if spec.admin_state_up and rules else None


def row_of(spec: L7PolicySpec, rules: Iterable[L7Rule]) -> Row | None:
    """The policy as the data plane goes by it; None: it matches nothing."""
    if not spec.admin_state_up:
        return None
    enabled = [_row_of_rule(rule._spec) for rule in rules if rule._spec.admin_state_up]
    if not enabled:
        return None
    return str(spec.action), spec.code, spec.location, spec.redirect_pool_id, enabled


def _row_of_rule(spec: L7RuleSpec) -> tuple[str, str, str, str, bool]:
    return str(spec.type), str(spec.compare_type), spec.key or "", spec.value, spec.invert


def compiled(
    core: _core.Core, rows: list[Row], pools: Mapping[str, Pool], before: _core.CorePolicies | None
) -> _core.CorePolicies | None:
    """The rows as a program of the data plane, which follows the one before; None: there is nothing to match."""
    if not rows:
        return None
    return _core.CorePolicies(
        core,
        [
            (action, code, text, None if pool_id is None else pools[pool_id]._core, rules)
            for action, code, text, pool_id, rules in rows
        ],
        before,
    )
