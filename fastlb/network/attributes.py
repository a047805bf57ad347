# SPDX-License-Identifier: Apache-2.0
"""What the body of a request to Neutron may have, attribute by attribute, and Neutron's words for what it may not."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastlb.errors import ConfigError
from fastlb.network import faults
from fastlb.schema import kinds
from fastlb.schema.kinds import Check


class Attribute(NamedTuple):
    """One attribute of a resource."""

    check: Check
    null: bool = False
    """May it be null?"""
    live: bool = True
    """May it be changed after creation?"""


def _plain_text(maximum: int) -> Check:
    return kinds.text(maximum)


def _uuid_or_empty(field: str, value: Any, coerce: bool) -> str | None:
    """gophercloud sends "" where others send null."""
    return None if value == "" else kinds.uuid(field, value, coerce)


def _anything(field: str, value: Any, coerce: bool) -> Any:
    return value


ANYTHING = Attribute(_anything, null=True)
"""Taken, and without effect here."""
NAME = Attribute(_plain_text(255))
DESCRIPTION = Attribute(_plain_text(255))
PROJECT = Attribute(_plain_text(255), live=False)
FLAG = Attribute(kinds.boolean)
FIXED_FLAG = Attribute(kinds.boolean, live=False)
IDS = Attribute(kinds.each(kinds.uuid, "UUIDs"), null=True)
UUID = Attribute(kinds.uuid, live=False)
UUID_OR_NULL = Attribute(_uuid_or_empty, null=True)
ADDRESS_OR_NULL = Attribute(kinds.ip_address, null=True)
TAGS = Attribute(kinds.tags, live=False)

COMMON = {
    "name": NAME,
    "description": DESCRIPTION,
    "project_id": PROJECT,
    "tenant_id": PROJECT,
    "tags": TAGS,
}


def parse(table: Mapping[str, Attribute], body: Any, *, update: bool = False) -> dict[str, Any]:
    """The attributes of a body, checked; tenant_id is project_id. Raises NetworkFault."""
    if not isinstance(body, Mapping):
        raise faults.bad_request("Resource body required")
    found = {}
    for name, value in body.items():
        attribute = table.get(name)
        if attribute is None:
            raise faults.bad_request(f"Unrecognized attribute(s) '{name}'")
        if update and not attribute.live:
            raise faults.bad_request(f"Cannot update read-only attribute {name}")
        if attribute is ANYTHING:
            continue
        if value is None:
            if not attribute.null:
                raise faults.bad_request(f"Invalid input for {name}. Reason: 'None' is not valid here.")
        else:
            try:
                value = attribute.check(name, value, True)
            except ConfigError as error:
                raise faults.bad_request(f"Invalid input for {name}. Reason: {error.allowed}.") from None
        found["project_id" if name == "tenant_id" else name] = value
    return found


def need(values: Mapping[str, Any], name: str) -> Any:
    """An attribute that a create must have."""
    if values.get(name) is None:
        raise faults.bad_request(f"Failed to parse request. Required attribute '{name}' not specified")
    return values[name]
