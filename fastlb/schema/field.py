# SPDX-License-Identifier: Apache-2.0
"""What a field is (what it takes, what null means, whether it may change), and how a spec is made and changed."""

import functools
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from fastlb.errors import ConfigError, MissingField, UnknownField
from fastlb.schema import kinds
from fastlb.schema.kinds import Check

S = TypeVar("S", bound="Record")


class Null(Enum):
    """What a null does, when it does not stand for a value."""

    REFUSED = "refused"
    KEEPS = "keeps"
    """In an update: as if the field were not there."""
    SAME = "same"
    """In an update: what it stands for at creation."""


class Rule(NamedTuple):
    """How a field is filled."""

    check: Check
    null: Any = Null.REFUSED
    """What null stands for at creation: a value, or REFUSED."""
    reset: Any = Null.SAME
    """What null stands for in an update: a value, REFUSED, KEEPS, or SAME as at creation."""
    null_fault: str = ""
    """What Octavia says to a null that is refused, where it has words of its own for it."""
    live: bool = True
    """May be updated."""
    merge: Callable[[Any, Any], Any] | None = None
    """Makes the value to store of the one before (None at creation) and the checked one."""
    internal: bool = False
    """Taken, and not shown in documents."""
    ours: bool = False
    """Not Octavia's: in documents only when it differs from its default."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator wants of one object; each field is declared as its type, its rule, its default."""

    BESIDE: ClassVar[tuple[str, ...]] = ()
    """What a document has beside these fields: objects that belong to this one, or that it points to."""

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        """Check the fields against one another and fill in what depends on others.

        before: the spec as it was (None: this is the creation); changes: what the caller gave, null included.
        """
        return self


class Spec(Record, frozen=True, kw_only=True):
    """What every resource has that can have a name."""

    name: Annotated[str, Rule(kinds.text(255), null="")] = ""
    admin_state_up: Annotated[bool, Rule(kinds.boolean, null=False)] = True
    tags: Annotated[tuple[str, ...], Rule(kinds.tags, null=(), reset=Null.KEEPS)] = ()


@functools.cache
def rules(kind: type[Record]) -> dict[str, Rule]:
    """The rules of a spec's fields, in the order of declaration."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: get_args(hints[name])[1]
        for name in kind.__struct_fields__
        if get_origin(hints[name]) is Annotated
    }


@functools.cache
def required(kind: type[Record]) -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(kind) if field.required)


def unknown(kind: type[Record], field: str) -> UnknownField:
    import difflib

    near = difflib.get_close_matches(field, (*rules(kind), *kind.BESIDE), n=1)
    return UnknownField(field, f"no such field; did you mean {near[0]}?" if near else "no such field")


def create(kind: type[S], values: Mapping[str, Any], *, coerce: bool = False, path: str = "") -> S:
    """A spec of these values. `path` is the object's place in a document (`members[2].`), for messages."""
    table = rules(kind)
    fields: dict[str, Any] = {}
    try:
        for name, value in values.items():
            rule = table.get(name)
            if rule is None:
                raise unknown(kind, name)
            if value is None:
                if rule.null is Null.REFUSED:
                    if name in required(kind):
                        raise MissingField(name, fault=_null_fault(name, rule))
                    raise ConfigError(
                        name, None, "must not be null; leave it out", fault=_null_fault(name, rule)
                    )
                fields[name] = rule.null
                continue
            value = rule.check(name, value, coerce)
            fields[name] = value if rule.merge is None else rule.merge(None, value)
        for name in table:
            if name not in fields and name in required(kind):
                raise MissingField(name)
        return kind(**fields).settled(None, values)
    except ConfigError as error:
        raise error.within(path) if path else error from None


def _null_fault(name: str, rule: Rule) -> str:
    return rule.null_fault or f"None is not a valid option for {name}"


def update(spec: S, changes: Mapping[str, Any], *, coerce: bool = False, path: str = "") -> S:
    """The spec that follows from `spec` by `changes`; a field that is absent stays, null resets."""
    table = rules(type(spec))
    fields: dict[str, Any] = {}
    try:
        for name, value in changes.items():
            rule = table.get(name)
            if rule is None:
                raise unknown(type(spec), name)
            if not rule.live:
                raise ConfigError(
                    name,
                    value,
                    "cannot be changed after creation",
                    fault=f"Unknown attribute for argument <root>: {name}",
                )
            if value is None:
                reset = rule.null if rule.reset is Null.SAME else rule.reset
                if reset is Null.REFUSED:
                    raise ConfigError(
                        name, None, "must not be null: it has no default", fault=_null_fault(name, rule)
                    )
                if reset is not Null.KEEPS:
                    fields[name] = reset
                continue
            value = rule.check(name, value, coerce)
            fields[name] = value if rule.merge is None else rule.merge(getattr(spec, name), value)
        return replace(spec, **fields).settled(spec, changes)
    except ConfigError as error:
        raise error.within(path) if path else error from None


def revive(kind: type[S], values: Mapping[str, Any]) -> S:
    """The spec whose `plain` these values are. Each is checked, but nothing is filled in or settled anew: a null that
    was chosen stays."""
    table = rules(kind)
    fields: dict[str, Any] = {}
    for name, value in values.items():
        rule = table.get(name)
        if rule is None:
            raise unknown(kind, name)
        if value is not None:
            value = rule.check(name, value, False)
            if rule.merge is not None:
                value = rule.merge(None, value)
        fields[name] = value
    return kind(**fields)


def given(**values: Any) -> dict[str, Any]:
    """The arguments that were given: those that are not UNSET."""
    return {name: value for name, value in values.items() if value is not UNSET}


def arguments(local: Mapping[str, Any]) -> dict[str, Any]:
    """A method's arguments, of the `locals()` that it begins with: those that were given, without self."""
    return {name: value for name, value in local.items() if name != "self" and value is not UNSET}


def plain(value: Any) -> Any:
    """A stored value as JSON has it."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple):
        return [plain(element) for element in value]
    if isinstance(value, Mapping):
        return {key: plain(element) for key, element in value.items()}
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    return value


def document(spec: Record) -> dict[str, Any]:
    """The spec as the body of a create: every field, except where leaving it out says the same as its null."""
    body = {}
    for field in msgspec.structs.fields(type(spec)):
        value = getattr(spec, field.name)
        rule = rules(type(spec))[field.name]
        if (
            rule.internal
            or (value is None and field.default is None)
            or (rule.ours and value == field.default)
        ):
            continue
        body[field.name] = plain(value)
    return body
