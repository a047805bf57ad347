# SPDX-License-Identifier: Apache-2.0
"""Lists: filters, tags, sorting, pages and their links; and `fields`, which shows have too."""

from collections.abc import Iterable
from typing import Any

from fastlb.api import views
from fastlb.api.call import Answer, Call
from fastlb.resource import Resource

TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})


def answer(call: Call, plural: str, resources: Iterable[Resource[Any]]) -> Answer:
    """The list of those that the caller may see."""
    rows = [views.body(one) for one in resources if call.caller.may_read(one.project_id)]
    return Answer(200, {plural: [some_fields(call, row) for row in rows], f"{plural}_links": []})


def some_fields(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    """The attributes that the query's `fields` name, or all."""
    wanted = [value for name, value in call.query if name == "fields"]
    return {name: row[name] for name in wanted if name in row} if wanted else row


def boolean(text: str | None) -> bool:
    """A query argument that is true or false: whatever does not say true is false."""
    return text is not None and text.lower() in TRUE
