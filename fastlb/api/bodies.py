# SPDX-License-Identifier: Apache-2.0
"""What the body of a POST or a PUT may hold: the names in it, which Octavia looks at before everything else."""

from collections.abc import Container, Mapping
from typing import Any

from fastlb.api.call import BadRequest, Call
from fastlb.errors import MissingField
from fastlb.schema import kinds
from fastlb.schema.field import Record, rules

PROJECT = ("project_id", "tenant_id")
"""Taken from everybody, and without effect: what belongs to a load balancer is in its project."""

_project_id = kinds.text(36)


def new(
    call: Call, root: str, kind: type[Record], *, beside: tuple[str, ...] = (), argument: str = ""
) -> dict[str, Any]:
    """The fields of an object of this kind that is to be made below another one.

    beside: what the body has that is no field of the kind. argument: Octavia's name of the body (`Call.document`).
    """
    fields = call.document(root, argument)
    return created(fields, kind, place(root, argument), beside=beside)


def created(
    fields: Mapping[str, Any], kind: type[Record], where: str, *, beside: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Fields as a POST has them, without the project. where: their place in the body, for the message."""
    check_names(fields, (*rules(kind), *PROJECT, *beside), where)
    for name in PROJECT:
        if fields.get(name) is not None:
            _project_id(name, fields[name], True)
    return {name: value for name, value in fields.items() if name not in PROJECT}


def changed(call: Call, root: str, kind: type[Record], *, argument: str = "") -> dict[str, Any]:
    """The fields of a change: those that may be changed."""
    fields = call.document(root, argument)
    check_names(fields, [name for name, rule in rules(kind).items() if rule.live], place(root, argument))
    return fields


def place(root: str, argument: str = "") -> str:
    """How Octavia's messages name the object under the root key."""
    return f"{argument or f'{root}_'}.{root}"


def check_names(fields: Mapping[str, Any], allowed: Container[str], where: str) -> None:
    unknown = [name for name in fields if name not in allowed]
    if unknown:
        words = "Unknown attribute" if len(unknown) == 1 else "Unknown attributes"
        raise BadRequest(f"{words} for argument {where}: {', '.join(unknown)}")


def parent(call: Call, fields: dict[str, Any], name: str, kind: str) -> Any:
    """The object that a field of the body names, which is taken out of it. Raises NotFound."""
    if name not in fields:
        raise MissingField(name)
    value = fields.pop(name)
    return call.controller.get(kind, str(value if value is None else kinds.uuid(name, value, True)))


def check_childless(fields: dict[str, Any], children: tuple[str, ...]) -> None:
    """Take the names of objects below this one out of a body, where an empty value is all that may be there."""
    for name in children:
        if fields.pop(name, None) not in (None, [], {}):
            raise BadRequest(
                f"Validation failure: {name} can only be given where a load balancer is created with all that is on it"
            )
