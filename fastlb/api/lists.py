# SPDX-License-Identifier: Apache-2.0
"""Lists: filters, tags, sorting, pages and their links; and `fields`, which shows have too.

Rows are objects of the model, or plain documents of what is only stored. Of a long list only the rows of the answer
are rendered: filters and sorting look at attributes.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from fastlb.api import faults, views
from fastlb.api.call import Answer, BadRequest, Call, Forbidden
from fastlb.resource import Resource

LIMIT = 1000
"""Rows of a page, when the caller asks for more, or for none in particular."""

TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})

PAGING = ("limit", "marker", "page_reverse")
SORTING = ("sort", "sort_key", "sort_dir")
TAGS = ("tags", "tags-any", "not-tags", "not-tags-any")

STATED = ("id", "name", "project_id", "admin_state_up", "created_at", "updated_at")
STATUSES = ("provisioning_status", "operating_status")

Accessor = Callable[[Any], Any]

LOAD_BALANCER: dict[str, Accessor] = {
    name: lambda row: row.load_balancer.id for name in ("loadbalancer_id", "load_balancer_id")
}
"""The two names by which clients ask for what is on one load balancer."""


@dataclass(frozen=True)
class Listing:
    """How a resource is listed."""

    plural: str
    """Its key in the document."""
    attributes: frozenset[str]
    """What it may be filtered and sorted by, of what it shows: everything that is a plain value, or a list of strings,
    which matches by what is in it."""
    relations: Mapping[str, Accessor] = field(default_factory=dict)
    """What it may be filtered by beside that."""
    links: str = ""
    """The key of the links; else that of the plural with `_links`."""
    tagged: bool = True
    """Does it have tags? Filters by tags change nothing where there are none."""
    key: str = "id"
    """The attribute by which a row is known, and pages are marked."""


def listing(
    plural: str, *attributes: str, relations: Mapping[str, Accessor] | None = None, links: str = ""
) -> Listing:
    """That of an object of the model: these attributes beside those which all of them have."""
    everything = frozenset((*STATED, *STATUSES, *attributes))
    return Listing(plural, everything, relations or {}, links)


def answer(call: Call, kind: Listing, rows: Iterable[Any]) -> Answer:
    """A page of the rows that the caller may see and asks for. Rows are in the order of creation.

    Raises BadRequest and RouteError in Octavia's words.
    """
    query = _Query(call, kind)
    page, links = query.page([row for row in rows if _visible(call, row)])
    fields = _fields(call)
    shown = [_some_fields(fields, _render(row)) for row in page]
    return Answer(200, {kind.plural: shown, kind.links or f"{kind.plural}_links": links})


def some_fields(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    """The attributes that the query's `fields` name, or all."""
    return _some_fields(_fields(call), row)


def _fields(call: Call) -> frozenset[str]:
    return frozenset(value for name, value in call.query if name == "fields")


def _some_fields(fields: frozenset[str], row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in row if name in fields} if fields else row


def boolean(text: str | None) -> bool:
    """A query argument that is true or false: whatever does not say true is false."""
    return text is not None and text.strip().lower() in TRUE


def _visible(call: Call, row: Any) -> bool:
    if isinstance(row, Resource):
        return call.caller.may_read(row.project_id)
    project_id = row.get("project_id")
    return project_id is None or call.caller.may_read(project_id)


def _render(row: Any) -> dict[str, Any]:
    if isinstance(row, Resource):
        return views.body(row)
    shown: dict[str, Any] = row
    return shown


def _value(row: Any, name: str) -> Any:
    if not isinstance(row, Resource):
        return row.get(name)
    try:
        return getattr(row, name)
    except AttributeError:
        return row._relations().get(name)


class _Query:
    """What a list's query asks for."""

    def __init__(self, call: Call, kind: Listing) -> None:
        self._call = call
        self._kind = kind
        filters: dict[str, str] = {}
        tags: dict[str, list[str]] = {}
        asked: dict[str, str] = {}
        for name, value in call.query:
            if name in TAGS:
                tags.setdefault(name, []).extend(value.split(","))
            elif name != "fields":
                if name in filters or name in asked:
                    raise _invalid_argument()
                (asked if name in PAGING or name in SORTING else filters)[name] = value
        for name in filters:
            if name not in kind.attributes and name not in kind.relations:
                raise _invalid_argument()
        self._filters = filters
        self._tags = tags if kind.tagged else {}
        self._limit = _limit(asked.get("limit"))
        self._sorting = self._sort_keys(asked)
        self._marker = asked.get("marker")
        # In the exact case; anything else is no.
        self._reverse = asked.get("page_reverse") == "True" and self._marker is not None
        caller = call.caller
        if not caller.admin and filters.get("project_id", caller.project_id) != caller.project_id:
            raise Forbidden()

    def page(self, rows: list[Any]) -> tuple[list[Any], list[dict[str, str]]]:
        """The rows of the page asked for, and the links to its neighbours."""
        matches = self._matcher()
        if self._sorting:
            rows = self._sorted(rows)
        before: Sequence[Any] = ()
        if self._marker is not None:
            at = self._place_of_marker(rows)
            before, rows = rows[:at], rows[at + 1 :]
        if self._reverse:
            # The page that ends just before the marker. The marker itself follows it.
            found = _some(filter(matches, reversed(before)), self._limit)
            page, left = found[: self._limit][::-1], len(found) > (self._limit or len(found))
            return page, self._links(page, previous=left, following=True)
        found = _some(filter(matches, rows), self._limit)
        page, left = found[: self._limit], len(found) > (self._limit or len(found))
        return page, self._links(page, previous=self._marker is not None, following=left)

    # Filters.

    def _matcher(self) -> Callable[[Any], bool]:
        """Does a row pass all filters? Statuses last: they are computed."""
        tests = [
            self._test(name, text)
            for name, text in sorted(self._filters.items(), key=lambda item: item[0] in STATUSES)
        ]
        tests += [_tag_test(name, frozenset(tags)) for name, tags in self._tags.items()]
        return lambda row: all(test(row) for test in tests)

    def _test(self, name: str, text: str) -> Callable[[Any], bool]:
        accessor = self._kind.relations.get(name)
        if accessor is not None:
            return lambda row: accessor(row) == text
        number, truth = _number(text), boolean(text)

        def same(row: Any) -> bool:
            value = _value(row, name)
            if isinstance(value, str):
                return value == text
            if isinstance(value, bool):
                return value == truth
            if isinstance(value, int | float):
                return value == number
            if isinstance(value, tuple | list):
                return text in value
            return isinstance(value, datetime) and value.strftime("%Y-%m-%dT%H:%M:%S") == text

        return same

    # Order.

    def _sort_keys(self, asked: Mapping[str, str]) -> list[tuple[str, bool]]:
        """Attribute and whether it descends, the most important first."""
        pairs: list[tuple[str, str]] = []
        if asked.get("sort"):
            for part in asked["sort"].split(","):
                key, _, direction = part.partition(":")
                if ":" in direction:
                    raise faults.routing(400, f"Supplied sort key '{part}' is not valid.")
                pairs.append((key, direction if ":" in part else "asc"))
        elif asked.get("sort_key"):
            directions = (asked.get("sort_dir") or "asc").split(",")
            pairs = list(itertools.zip_longest(asked["sort_key"].split(","), directions, fillvalue="asc"))
            # Directions without a key say nothing.
            del pairs[asked["sort_key"].count(",") + 1 :]
        for _, direction in pairs:
            if direction.lower() not in ("asc", "desc"):
                raise faults.routing(400, f"Supplied sort direction '{direction.lower()}' is not valid.")
        for key, _ in pairs:
            if key not in self._kind.attributes:
                raise BadRequest(f"Supplied sort key '{key}' is not valid.")
        return [(key, direction.lower() == "desc") for key, direction in pairs]

    def _sorted(self, rows: list[Any]) -> list[Any]:
        """Nothing comes before something; what is equal stays in the order of creation."""
        for key, descending in reversed(self._sorting):
            values = {id(row): _value(row, key) for row in rows}
            rows = sorted(
                rows,
                key=lambda row: (False, 0) if (value := values[id(row)]) is None else (True, value),
                reverse=descending,
            )
        return rows

    # Pages.

    def _place_of_marker(self, rows: Sequence[Any]) -> int:
        for at, row in enumerate(rows):
            if _value(row, self._kind.key) == self._marker:
                return at
        raise BadRequest(f"Supplied pagination marker '{self._marker}' is not valid.")

    def _links(self, page: Sequence[Any], *, previous: bool, following: bool) -> list[dict[str, str]]:
        links = []
        if page and previous:
            links.append(self._link("previous", page[0], "&page_reverse=True"))
        if page and following:
            links.append(self._link("next", page[-1]))
        return links

    def _link(self, rel: str, marker: Any, more: str = "") -> dict[str, str]:
        limit = [] if self._limit is None else [("limit", str(self._limit))]
        kept = [(name, value) for name, value in self._call.query if name not in PAGING]
        key = str(_value(marker, self._kind.key))
        pairs = "&".join(
            f"{quote(name)}={quote(value, safe=':,')}"
            for name, value in (*(limit or [("limit", "0")]), *kept, ("marker", key))
        )
        # The query must not begin within the path.
        address = self._call.base_url + quote(self._call.path)
        return {"rel": rel, "href": f"{address}?{pairs}{more}"}


def _invalid_argument() -> BadRequest:
    return BadRequest("One or more arguments are either duplicate or invalid")


def _limit(text: str | None) -> int | None:
    """Rows of a page; None: all of them."""
    if text == "infinite":
        return None
    try:
        limit = LIMIT if text is None else int(text)
    except ValueError:
        raise faults.routing(400, f"Supplied pagination limit '{text}' is not valid.") from None
    return min(limit, LIMIT) if limit > 0 else None


def _some(rows: Iterator[Any], limit: int | None) -> list[Any]:
    """So many and one more, which tells that there are more."""
    return list(rows if limit is None else itertools.islice(rows, limit + 1))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _tag_test(name: str, wanted: frozenset[str]) -> Callable[[Any], bool]:
    refuse = name.startswith("not-")

    def passes(row: Any) -> bool:
        there = _value(row, "tags") or ()
        found = wanted.intersection(there) if name.endswith("-any") else wanted.issubset(there)
        return bool(found) != refuse

    return passes
