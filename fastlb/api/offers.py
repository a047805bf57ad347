# SPDX-License-Identifier: Apache-2.0
"""What administrators offer, and the profiles behind it: rows of the store, and the handlers that all of them share.

What a profile says has no effect here, where there are no virtual machines to size or to place. It is checked as
Octavia's amphora driver does it, kept, and shown.
"""

import json
import threading
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from fastlb import schema
from fastlb.api import bodies, capabilities, lists
from fastlb.api.call import Answer, BadRequest, Call, Route
from fastlb.balancer import LoadBalancer
from fastlb.errors import Conflict, NotFound
from fastlb.schema.field import Record, plain, rules

# Unique names, and what is in use: looked at and written without anybody in between.
_lock = threading.Lock()


class Offers:
    """One kind of rows.

    row: the type of the rows, and the object's name in documents. label: Octavia's name of it in messages; deleted:
    the same where something is deleted or in use, as Octavia words that differently for some. argument: its name of a
    body. key: what stands in paths, and is the row's id.
    """

    KEY: ClassVar[str] = "id"

    def __init__(
        self,
        row: str,
        path: str,
        spec: type[Record],
        label: str,
        listing: lists.Listing,
        *,
        argument: str = "",
        deleted: str = "",
    ) -> None:
        self.row = row
        self.path = path
        self.spec = spec
        self.label = label
        self.listing = listing
        self.argument = argument
        self.deleted = deleted or label

    def routes(self) -> tuple[Route, ...]:
        one = {"GET": self.show, "PUT": self.update, "DELETE": self.delete}
        return (
            Route(self.path, {"GET": self.index, "POST": self.create}),
            Route(f"{self.path}/{{key:path}}", one),
        )

    # Handlers.

    def index(self, call: Call) -> Answer:
        self.check_read(call)
        shown = [self._shown(row.id, row.document) for row in call.controller.store.list(self.row)]
        return lists.answer(call, self.listing, shown)

    def create(self, call: Call) -> Answer:
        fields = call.document(self.row, self.argument)
        bodies.check_names(fields, rules(self.spec), call.place)
        call.check_admin()
        body: dict[str, Any] = plain(schema.create(self.spec, fields, coerce=True))
        key = body.get(self.KEY) or str(uuid.uuid4())
        with _lock:
            self.check_new(call, body)
            call.controller.store.commit([(self.row, key, body)])
        return Answer(201, {self.row: self._shown(key, body)})

    def show(self, call: Call) -> Answer:
        self.check_read(call)
        key = call.arguments["key"]
        shown = self._shown(key, self.get(call, key))
        return Answer(200, {self.row: lists.some_fields(call, shown)})

    def update(self, call: Call) -> Answer:
        changes = bodies.changed(call, self.row, self.spec, argument=self.argument)
        call.check_admin()
        key = call.arguments["key"]
        with _lock:
            before = self.get(call, key)
            body: dict[str, Any] = plain(schema.update(self.spec(**before), changes, coerce=True))
            self.check_change(call, key, before, body)
            call.controller.store.commit([(self.row, key, body)])
        return Answer(200, {self.row: self._shown(key, body)})

    def delete(self, call: Call) -> Answer:
        call.check_admin()
        key = call.arguments["key"]
        with _lock:
            if call.controller.store.get(self.row, key) is None:
                raise self.missing(key, self.deleted)
            self.check_unused(call, key)
            call.controller.store.commit([], [(self.row, key)])
        return Answer(204)

    # Rows.

    def get(self, call: Call, key: str) -> dict[str, Any]:
        """Raises NotFound."""
        row = call.controller.store.get(self.row, key)
        if row is None:
            raise self.missing(key, self.label)
        return row.document

    def missing(self, key: str, label: str) -> NotFound:
        return NotFound(f"{label} {key} not found.")

    def check_unused(self, call: Call, key: str) -> None:
        if self.used(call, key):
            raise Conflict(f"{self.deleted} {key} is in use and cannot be modified.")

    def _shown(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {self.KEY: key, **body}

    # What the two kinds of kinds fill in.

    def used(self, call: Call, key: str) -> bool:
        raise NotImplementedError

    def check_read(self, call: Call) -> None:
        """Who may read it?"""

    def check_new(self, call: Call, body: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def check_change(self, call: Call, key: str, before: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        raise NotImplementedError


class Profiles(Offers):
    """What stands behind something that is offered. For administrators alone; names need not be unique.

    data: the field with what the provider is to do, as JSON.
    """

    def __init__(self, *arguments: Any, data: str, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.data = data
        self.offered: Offered | None = None

    def used(self, call: Call, key: str) -> bool:
        offered = self.offered
        return offered is not None and any(
            row.document[offered.profile_field] == key for row in call.controller.store.list(offered.row)
        )

    def check_read(self, call: Call) -> None:
        call.check_admin()

    def check_new(self, call: Call, body: Mapping[str, Any]) -> None:
        text = body[self.data]
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRequest(f"{text} is not a valid option for {self.data}") from None
        capabilities.check(self.data, data, body["provider_name"])

    def check_change(self, call: Call, key: str, before: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        # What others rest on keeps what it says.
        if any(before[name] != body[name] for name in ("provider_name", self.data)):
            self.check_unused(call, key)
            self.check_new(call, body)


class Offered(Offers):
    """What a load balancer may be made with. Everybody may read it; names are unique, except for empty ones.

    profiles: those behind it. field: of a load balancer that has it.
    """

    def __init__(self, *arguments: Any, profiles: Profiles, field: str, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.profiles = profiles
        self.profile_field = f"{self.row}_profile_id"
        self.field = field
        profiles.offered = self

    def used(self, call: Call, key: str) -> bool:
        balancers: tuple[LoadBalancer, ...] = call.controller.load_balancers
        return any(getattr(balancer, self.field) == key for balancer in balancers)

    def check_new(self, call: Call, body: Mapping[str, Any]) -> None:
        self.profiles.get(call, body[self.profile_field])
        self._check_name(call, body)

    def check_change(self, call: Call, key: str, before: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        if before["name"] != body["name"]:
            self._check_name(call, body)

    def _check_name(self, call: Call, body: Mapping[str, Any]) -> None:
        # Those without a name have none in common.
        if body["name"] and any(
            row.document["name"] == body["name"] for row in call.controller.store.list(self.row)
        ):
            raise Conflict(f"A {self.label.lower()} of {body['name']} already exists.")

    def check_asked(self, call: Call, fields: Mapping[str, Any], invalid: str) -> dict[str, Any] | None:
        """The profile behind what the fields of a new load balancer ask for; None when they ask for none. Raises
        BadRequest for what is unknown (`invalid`) or disabled."""
        key = fields.get(self.field)
        if not isinstance(key, str):
            return None  # null, or no string: the schema's to refuse
        row = call.controller.store.get(self.row, key)
        if row is None:
            raise BadRequest(f"Validation failure: {invalid}")
        if not row.document["enabled"]:
            raise BadRequest(f"The selected {self.row} is not allowed in this deployment: {key}")
        return self.profiles.get(call, row.document[self.profile_field])
