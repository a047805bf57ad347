# SPDX-License-Identifier: Apache-2.0
"""What every object of the model has: an id, its spec, times, statuses, `update`, `wait_for`, `show`.

A resource holds an immutable spec. A change makes the next spec (validated as a whole), gives it to the data
plane, and only then puts it in the place of the last: whatever fails on the way leaves everything as it was. One
lock a load balancer guards the writes; reads take none.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Never, Self, TypeVar, cast, overload

from fastlb import schema
from fastlb.errors import ConfigError, Conflict, NotFound, StateError, WaitTimeout, shown
from fastlb.schema import kinds, plain
from fastlb.schema.field import Record, document, rules
from fastlb.types import OperatingStatus, ProvisioningStatus

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer

S_co = TypeVar("S_co", bound=Record, covariant=True)
N_co = TypeVar("N_co", bound=schema.Spec, covariant=True)
Get = TypeVar("Get")
Set = TypeVar("Set")
R = TypeVar("R", bound="NamedResource[Any]")

_check_status = kinds.choice(OperatingStatus)


class Identity(NamedTuple):
    """What an object had before this process, when it comes out of a store."""

    id: str
    created_at: datetime
    updated_at: datetime | None


class Fixed(Generic[Get]):
    """A field that keeps the value it was created with."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: "Resource[Any]", owner: type) -> Get: ...
    def __get__(self, resource: "Resource[Any] | None", owner: type) -> Self | Get:
        if resource is None:
            return self
        return cast(Get, getattr(resource._spec, self.name))

    def __set__(self, resource: "Resource[Any]", value: Never) -> None:
        raise ConfigError(
            self.name, value, "cannot be changed after creation; delete the object and create another"
        )


class Field(Generic[Get, Set]):
    """A field that may change: assigning to it is `update(field=value)`, and None resets it to its default."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: "Resource[Any]", owner: type) -> Get: ...
    def __get__(self, resource: "Resource[Any] | None", owner: type) -> Self | Get:
        if resource is None:
            return self
        return cast(Get, getattr(resource._spec, self.name))

    def __set__(self, resource: "Resource[Any]", value: Set | None) -> None:
        resource._update({self.name: value})


class Resource(Generic[S_co]):
    """Base of every object of the model; not made by itself."""

    # Slots, so that a misspelt field (`member.wieght = 0`) is an error and not a new attribute.
    __slots__ = ("__weakref__", "_balancer", "_created_at", "_deleted", "_id", "_spec", "_updated_at")

    LABEL: ClassVar[str]
    """Octavia's name for the kind of object, as its messages have it."""
    KIND: ClassVar[str]
    """Its name in Octavia's API and in a store."""

    admin_state_up = Field[bool, bool](
        "The operator's wish: False takes it out of service. None counts as False."
    )
    tags = Field[tuple[str, ...], Iterable[str]](
        "Words of the operator's own, each up to 255 characters. An assigned list replaces all; None changes nothing, "
        "and clears those of L7 policies and rules, as in Octavia."
    )

    def __init__(self, spec: S_co, balancer: "LoadBalancer", identity: Identity | None = None) -> None:
        self._spec = spec
        self._balancer = balancer
        identity = identity or Identity(_new_id(), datetime.now(UTC), None)
        self._id = identity.id
        self._created_at = identity.created_at
        self._updated_at = identity.updated_at
        self._deleted = False

    @property
    def id(self) -> str:
        """A UUID, made at creation."""
        return self._id

    @property
    def load_balancer(self) -> "LoadBalancer":
        """The load balancer it belongs to (a load balancer: itself)."""
        return self._balancer

    @property
    def project_id(self) -> str:
        """The load balancer's project."""
        return self._balancer._spec.project_id

    @property
    def created_at(self) -> datetime:
        """When it was described, UTC."""
        return self._created_at

    @property
    def updated_at(self) -> datetime | None:
        """When it was last changed, UTC; None before the first change."""
        return self._updated_at

    @property
    def operating_status(self) -> OperatingStatus:
        """What is observed now; computed from the data plane's state at this moment."""
        return OperatingStatus.OFFLINE if self._deleted else self._operating_status()

    @property
    def provisioning_status(self) -> ProvisioningStatus:
        """Whether the data plane has it: PENDING_CREATE before `start()` and after `stop()`, ACTIVE in between."""
        return ProvisioningStatus.DELETED if self._deleted else self._provisioning_status()

    def wait_for(
        self,
        *,
        operating_status: OperatingStatus | str | Iterable[OperatingStatus | str],
        timeout: float = 10.0,
    ) -> OperatingStatus:
        """Wait until `operating_status` is this one (or one of these), and answer it.

        timeout: seconds; 0 only looks. Raises WaitTimeout (a TimeoutError) when it passes. A member with a health
        monitor is ONLINE before its first probe too; its `checked` says whether there was one.
        """
        one = isinstance(operating_status, str)
        several = (
            (operating_status,) if one else kinds.items("operating_status", operating_status, "statuses")
        )
        wanted = {_check_status("operating_status", status, False) for status in several}
        if not wanted:
            raise ConfigError("operating_status", several, "must not be empty")
        deadline = time.monotonic() + kinds.seconds("timeout", timeout, False)
        changed = self._balancer._changed
        with changed:
            while True:
                if self._deleted:
                    raise StateError(f"{self._who()}: was deleted, and has no status to wait for")
                status = self.operating_status
                if status in wanted:
                    return status
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WaitTimeout(
                        f"{self._who()}: still {status} after {timeout:g} s, waited for {' or '.join(sorted(wanted))}"
                    )
                # Statuses arrive as events, except that a listener is full: hence the short turns.
                changed.wait(min(left, 0.05))

    def show(self) -> dict[str, Any]:
        """The object as Octavia's API answers a GET: every field, its id, its statuses, its relations by id."""
        body = {"id": self._id}
        for name, rule in rules(type(self._spec)).items():
            if not rule.internal:
                body[name] = plain(getattr(self, name))
        return body | {
            "project_id": self.project_id,
            "tenant_id": self.project_id,
            "provisioning_status": str(self.provisioning_status),
            "operating_status": str(self.operating_status),
            "created_at": self._created_at.strftime("%Y-%m-%dT%H:%M:%S"),
            "updated_at": self._updated_at and self._updated_at.strftime("%Y-%m-%dT%H:%M:%S"),
            **self._relations(),
        }

    def to_dict(self) -> dict[str, Any]:
        """The object as a body that creates its like: Octavia's create document."""
        return document(self._spec)

    # What the kinds of objects fill in.

    def _operating_status(self) -> OperatingStatus:
        raise NotImplementedError

    def _provisioning_status(self) -> ProvisioningStatus:
        return self._balancer._provisioning_of_children()

    def _initial_status(self) -> OperatingStatus:
        """The status that it has when it has just been created."""
        return OperatingStatus.OFFLINE

    def _relations(self) -> dict[str, Any]:
        return {}

    def _update(self, changes: dict[str, Any], *, coerce: bool = False) -> None:
        raise NotImplementedError

    def _who(self) -> str:
        """The object in a message: `member 10.0.0.7:8080`."""
        raise NotImplementedError

    def _check_usable(self) -> None:
        """Refuse a change of what is deleted, closed, stopping, or left behind by a fork. Under the lock."""
        if self._deleted:
            raise StateError(f"{self._who()}: was deleted and can no longer be used")
        self._balancer._check_writable()

    def _touch(self) -> None:
        self._updated_at = datetime.now(UTC)
        self._unsaved()

    def _unsaved(self) -> None:
        """It is new, changed or deleted: the journal is to hear of it when the change is done. Under the lock."""
        self._balancer._unsaved_ones[self] = None

    def _belongs_to(self) -> "Resource[Any] | None":
        """What it is listed under in a store; None: the load balancer has none."""
        return self._balancer

    def _state_words(self) -> str:
        """The statuses in a repr: the operating one, and the other when it is not what one expects."""
        provisioning = self.provisioning_status
        words = str(self.operating_status)
        if provisioning is ProvisioningStatus.PENDING_CREATE:
            return f"{words} ({self._balancer._why_not_running()})"
        return words if provisioning is ProvisioningStatus.ACTIVE else f"{words} ({provisioning})"


class NamedResource(Resource[N_co]):
    """Base of all but L7 rules, which have no name."""

    __slots__ = ()

    name = Field[str, str]("Up to 255 characters; need not be unique. None resets it to the empty string.")

    def _named(self, kind: str) -> str:
        return f"{kind} {self._spec.name!r}" if self._spec.name else f"{kind} {self._id}"


def _new_id() -> str:
    # Imported here: it pulls in a tenth of what `import fastlb` may cost.
    import uuid

    return str(uuid.uuid4())


def find(kind: str, owner: str, candidates: Iterable[R], key: str) -> R:
    """The one resource with this id or name. Raises NotFound, which says what there is, or Conflict when several
    fit."""
    everyone = list(candidates)
    for one in everyone:
        if one.id == key:
            return one
    named = [one for one in everyone if one.name and one.name == key]
    if len(named) == 1:
        return named[0]
    if named:
        raise Conflict(f"{kind} {shown(key)}: {len(named)} on {owner} have that name; give the id")
    there = ", ".join(repr(one.name or one.id) for one in everyone[:10]) or "none"
    more = ", …" if len(everyone) > 10 else ""
    raise NotFound(f"{kind} {shown(key)}: not found on {owner}; there: {there}{more}")
