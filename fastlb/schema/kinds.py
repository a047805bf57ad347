# SPDX-License-Identifier: Apache-2.0
"""Kinds of values: each function makes a check, which takes (field, value, coerce) and answers the value to store.

None never arrives here: what null means is the field's own business (`field.Rule`).
"""

import ipaddress
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from fastlb.errors import ConfigError, UnknownField

Check = Callable[[str, Any, bool], Any]
E = TypeVar("E", bound=StrEnum)

TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE = frozenset({"0", "f", "false", "off", "n", "no"})
FAULT_VALUE = 4096
"""Characters of a value that a message repeats; the longest text of a field has half of them."""
_UUID_FORM = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def refuse(field: str, value: Any, allowed: str, tail: str) -> NoReturn:
    """Raise, with Octavia's words for a value that has the wrong form."""
    text = str(value)
    if len(text) > FAULT_VALUE:
        text = f"{text[:FAULT_VALUE]}..."
    fault = f"Invalid input for field/attribute {field}. Value: '{text}'. {tail}"
    raise ConfigError(field, value, allowed, fault=fault) from None


def integer(low: int, high: int | None = None, *, python_low: int | None = None) -> Check:
    """A whole number in low..high; `python_low` widens the range for calls from Python."""
    text = f"{low}..{high}" if high is not None else f"{low} or more"

    def check(field: str, value: Any, coerce: bool) -> int:
        least = low if coerce or python_low is None else python_low
        if coerce:
            try:
                number = int(value)
            except (TypeError, ValueError, OverflowError):
                refuse(field, value, f"must be an integer, {text}", "Value must be an integer")
        else:
            try:
                if isinstance(value, bool):
                    raise TypeError
                number = operator.index(value)
            except TypeError:
                refuse(field, value, f"must be an integer, {text}", "Value must be an integer")
        if number < least:
            if least != low:
                refuse(field, value, f"must be {least}..{high}", f"Value should be greater or equal to {low}")
            refuse(field, value, f"must be {text}", f"Value should be greater or equal to {low}")
        if high is not None and number > high:
            refuse(field, value, f"must be {text}", f"Value should be lower or equal to {high}")
        return number

    return check


def boolean(field: str, value: Any, coerce: bool) -> bool:
    """True or False; at the REST door also whole numbers, and Octavia's words in lower case."""
    if isinstance(value, bool):
        return value
    if coerce and isinstance(value, int):
        return bool(value)
    if coerce and isinstance(value, str):
        if value in TRUE:
            return True
        if value in FALSE:
            return False
    refuse(field, value, "must be True or False", f"Value not an unambiguous boolean: {value!s:.200}")


def seconds(field: str, value: Any, coerce: bool) -> float:
    """A span of time of ours: a number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        refuse(field, value, "must be a number of seconds, 0 or more", "Value must be a number")
    return float(value)


def duration(high: int, *, above_zero: bool = False) -> Check:
    """A span of time of ours that has an end: a number of seconds up to `high`."""
    allowed = f"must be a number of seconds, {'above 0' if above_zero else '0 or more'} and at most {high}"

    def check(field: str, value: Any, coerce: bool) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
            refuse(field, value, allowed, "Value must be a number")
        if above_zero and value == 0:
            refuse(field, value, allowed, "Value should be greater than 0")
        return float(value)

    return check


def text(maximum: int, minimum: int = 0) -> Check:
    """A string of minimum..maximum characters."""

    def check(field: str, value: Any, coerce: bool) -> str:
        if not isinstance(value, str):
            refuse(field, value, "must be a string", "Value should be string")
        if len(value) > maximum:
            refuse(
                field,
                value,
                f"must have at most {maximum} characters, has {len(value)}",
                f"Value should have a maximum character requirement of {maximum}",
            )
        if len(value) < minimum:
            refuse(
                field,
                value,
                f"must have at least {minimum} character{'s' if minimum > 1 else ''}",
                f"Value should have a minimum character requirement of {minimum}",
            )
        return str(value)

    return check


def pattern(maximum: int, allowed: str, regex: str) -> Check:
    """A string of at most `maximum` characters that matches `regex` as a whole."""
    length = text(maximum)
    compiled = re.compile(regex)

    def check(field: str, value: Any, coerce: bool) -> str:
        word: str = length(field, value, coerce)
        if not compiled.fullmatch(word):
            refuse(field, value, allowed, f"Value should match the pattern {regex}")
        return word

    return check


def choice(kind: type[E], *members: E, tail: str = "") -> Check:
    """One of an enum's members (all of them, if none is named), by member or exact string. tail: Octavia's refusal,
    where it does not name them."""
    allowed = {str(member): member for member in (members or tuple(kind))}
    names = ", ".join(allowed)
    in_order = ", ".join(sorted(allowed))

    def check(field: str, value: Any, coerce: bool) -> E:
        found = allowed.get(value) if isinstance(value, str) else None
        if found is None:
            refuse(field, value, f"must be one of {names}", tail or f"Value should be one of: {in_order}")
        return found

    return check


def uuid(field: str, value: Any, coerce: bool) -> str:
    """A UUID in its 8-4-4-4-12 form, or a `uuid.UUID`."""
    if not isinstance(value, str):
        from uuid import UUID

        value = str(value) if isinstance(value, UUID) else value
    if not isinstance(value, str) or not _UUID_FORM.fullmatch(value):
        refuse(field, value, "must be a UUID (8-4-4-4-12 hex digits)", "Value should be UUID format")
    return str(value)


def ip_address(field: str, value: Any, coerce: bool) -> str:
    """A literal IPv4 or IPv6 address, in its shortest form, so that two spellings of one address are equal."""
    if isinstance(value, (str, ipaddress.IPv4Address, ipaddress.IPv6Address)):
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            pass
        else:
            if getattr(address, "scope_id", None) is None:
                return str(address)
    refuse(
        field,
        value,
        "must be an IPv4 or IPv6 address (host names are not resolved, zones are not taken)",
        "Value should be IPv4 or IPv6 format",
    )


def items(field: str, value: Any, of: str) -> list[Any]:
    """The elements of a list-like value; a string is not one."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        refuse(field, value, f"must be a list of {of}", f"Value not a valid list: {value!s:.200}")
    return list(value)


def mapping(field: str, value: Any) -> Mapping[str, Any]:
    """An object of fields and values."""
    if not isinstance(value, Mapping):
        refuse(field, value, "must be a mapping of fields to values", "Value must be an object")
    return value


def mappings(field: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The elements of a list of objects, each with its place (`members[2].`)."""
    return [
        (f"{field}[{at}].", dict(mapping(f"{field}[{at}]", element)))
        for at, element in enumerate(items(field, value, "mappings"))
    ]


def each(check: Check, of: str, *, at_least: int = 0) -> Check:
    """A list whose elements pass `check`; stored as a tuple, so that nobody changes it behind our back."""

    def check_all(field: str, value: Any, coerce: bool) -> tuple[Any, ...]:
        elements = items(field, value, of)
        if len(elements) < at_least:
            refuse(field, value, "must not be empty", "Value must not be empty")
        return tuple(check(f"{field}[{at}]", element, coerce) for at, element in enumerate(elements))

    return check_all


_tag = text(255)


def tags(field: str, value: Any, coerce: bool) -> tuple[str, ...]:
    """A list of strings; one that is there twice counts once."""
    elements = items(field, value, "strings")
    return tuple(
        dict.fromkeys(_tag(f"{field}[{at}]", element, coerce) for at, element in enumerate(elements))
    )


def cidrs(field: str, value: Any, coerce: bool) -> tuple[str, ...] | None:
    """A list of networks: host bits masked, a bare address is a network of one, doubles go; empty is None."""
    networks: dict[str, None] = {}
    for at, element in enumerate(items(field, value, "CIDRs")):
        try:
            if not isinstance(element, (str, ipaddress.IPv4Network, ipaddress.IPv6Network)):
                raise ValueError
            networks[str(ipaddress.ip_network(element, strict=False))] = None
        except ValueError:
            refuse(
                f"{field}[{at}]",
                element,
                "must be an IPv4 or IPv6 network such as 10.0.0.0/8",
                "Value should be IPv4 or IPv6 CIDR format",
            )
    return tuple(networks) or None


def strings(maximum: int) -> Check:
    """A mapping of strings to strings of at most `maximum` characters; stored read-only."""
    word = text(maximum)

    def check(field: str, value: Any, coerce: bool) -> Mapping[str, str]:
        if not isinstance(value, Mapping):
            refuse(
                field,
                value,
                "must be a mapping of strings to strings",
                f"Value not a valid dict: {value!s:.200}",
            )
        stored = {}
        for key, element in value.items():
            if not isinstance(element, str):
                refuse(
                    f"{field}[{key!r}]", element, 'must be a string, such as "true"', "Value should be string"
                )
            stored[word(field, key, coerce)] = word(f"{field}[{key!r}]", element, coerce)
        return MappingProxyType(stored)

    return check


def record(kind: type, checks: Mapping[str, Check], allowed: str) -> Check:
    """An object of `kind` or a mapping of some of its fields; what was given of them, each checked by itself."""

    def check(field: str, value: Any, coerce: bool) -> dict[str, Any]:
        if isinstance(value, kind):
            value = {name: getattr(value, name) for name in checks}
        if not isinstance(value, Mapping):
            refuse(field, value, allowed, "Value must be an object")
        stored = {}
        for name, element in value.items():
            if name not in checks:
                raise UnknownField(f"{field}.{name}", f"no such field; there are {', '.join(checks)}")
            stored[name] = None if element is None else checks[name](f"{field}.{name}", element, coerce)
        return stored

    return check
