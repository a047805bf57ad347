# SPDX-License-Identifier: Apache-2.0
"""Neutron's lists: filters by any attribute, tags, sorting, pages, `fields`."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from fastlb.api.call import Answer, Call
from fastlb.network import faults

TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})
TAGS = ("tags", "tags-any", "not-tags", "not-tags-any")
OTHERS = ("limit", "marker", "page_reverse", "sort_key", "sort_dir", "fields", *TAGS)

Row = dict[str, Any]


def answer(call: Call, plural: str, rows: Iterable[Row]) -> Answer:
    """The rows that the query asks for. What it asks for and no row knows is not looked at, as in Neutron."""
    wanted: dict[str, dict[str, None]] = {}
    for name, value in call.query:
        if name not in OTHERS:
            wanted.setdefault(name, {})[value] = None
    tags = {name: {word for value in asked(call, name) for word in value.split(",")} for name in TAGS}
    found = [
        row
        for row in rows
        if all(name not in row or _fits(row[name], values) for name, values in wanted.items())
        and _tagged(tags, row)
    ]
    _sort(call, found)
    page, links = _page(call, plural, found)
    fields = frozenset(asked(call, "fields"))
    body = {plural: [_some(fields, row) for row in page]}
    return Answer(200, body | ({f"{plural}_links": links} if links else {}))


def some_fields(call: Call, row: Row) -> Row:
    """The attributes that the query's `fields` name, or all."""
    return _some(frozenset(asked(call, "fields")), row)


def _some(fields: frozenset[str], row: Row) -> Row:
    return {name: row[name] for name in row if name in fields} if fields else row


def asked(call: Call, name: str) -> list[str]:
    """All values of a filter."""
    return [value for key, value in call.query if key == name]


def boolean(text: str) -> bool:
    return text.strip().lower() in TRUE


def _fits(value: Any, wanted: Collection[str]) -> bool:
    """Is the attribute one of these?"""
    if isinstance(value, bool):
        return any(boolean(text) is value for text in wanted)
    if isinstance(value, list):
        return any(_has(value, text) for text in wanted)
    return ("" if value is None else str(value)) in wanted


def _has(elements: list[Any], text: str) -> bool:
    """Does a list have this element; one of objects, one whose `subnet_id=…` is so?"""
    name, is_pair, value = text.partition("=")
    for element in elements:
        if isinstance(element, dict):
            if is_pair and str(element.get(name)) == value:
                return True
            if (
                is_pair
                and name.endswith("_substr")
                and value in str(element.get(name.removesuffix("_substr")))
            ):
                return True
        elif str(element) == text:
            return True
    return False


def _tagged(tags: Mapping[str, set[str]], row: Row) -> bool:
    has = set(row.get("tags", ()))
    for name, words in tags.items():
        if not words:
            continue
        fits = bool(words & has) if name.endswith("any") else words <= has
        if fits is name.startswith("not-"):
            return False
    return True


def _sort(call: Call, rows: list[Row]) -> None:
    keys, directions = asked(call, "sort_key"), asked(call, "sort_dir")
    for at, key in reversed(list(enumerate(keys))):
        if any(not isinstance(row.get(key), (str, int, type(None))) for row in rows):
            raise faults.bad_request(f"'{key}' is not a valid attribute for sorting")
        descending = at < len(directions) and directions[at].lower() == "desc"
        rows.sort(key=lambda row: (row.get(key) is not None, row.get(key)), reverse=descending)


def _page(call: Call, plural: str, rows: list[Row]) -> tuple[list[Row], list[dict[str, str]]]:
    """One page, and the links to its neighbours; all of it where no limit is asked for."""
    marker, limit = call.one("marker"), call.one("limit")
    if marker is not None:
        ids = [_identity(row) for row in rows]
        if marker not in ids:
            raise faults.bad_request(f"Invalid marker: {marker}")
        rows = rows[ids.index(marker) + 1 :]
    if limit is None:
        return rows, []
    if not (limit.isascii() and limit.isdigit()):
        raise faults.bad_request(f"Invalid input for limit. Reason: '{limit}' is not an integer, 0 or more.")
    # More digits than there are rows anywhere, and than Python reads.
    count = int(limit) if len(limit) < 10 else 0
    if not count or len(rows) <= count:
        return rows, []
    kept = [(name, value) for name, value in call.query if name != "marker"]
    query = [*kept, ("marker", _identity(rows[count - 1]))]
    words = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    return rows[:count], [{"rel": "next", "href": f"{call.base_url}{call.path}?{words}"}]


def _identity(row: Row) -> str:
    """By what a marker names it: an extension has no id."""
    return str(row["id"] if "id" in row else row["alias"])
