# SPDX-License-Identifier: Apache-2.0
"""The members of a pool replaced as one change: what a list of members asks for, and doing it.

A member is known by its address and port. What the list has and the pool too is updated: fields that the list leaves
out go back to their defaults, but for the name, the tags, and what Octavia does not know. What only the list has is
new, and what only the pool has goes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from fastlb import schema
from fastlb.errors import ConfigError
from fastlb.schema import MemberSpec, relations
from fastlb.schema.field import rules

if TYPE_CHECKING:
    from fastlb.member import Member
    from fastlb.pool import Pool

KEPT = ("name", "tags")
"""Fields of a member that stay as they are where a list leaves them out."""

Row = tuple[str, Mapping[str, Any]]
"""A member as fields, and its place in a document (`members[2].`)."""


class Batch(NamedTuple):
    """What becomes of a pool's members."""

    new: list[MemberSpec]
    changed: "list[tuple[Member, MemberSpec]]"
    gone: "list[Member]"

    @property
    def growth(self) -> int:
        """How many members there will be more."""
        return len(self.new) - len(self.gone)


def plan(pool: "Pool", rows: Sequence[Row], *, additive: bool = False, coerce: bool = False) -> Batch:
    """What the rows ask for; nothing is changed. To be called, as `apply` is, under the load balancer's lock.

    additive: nothing goes. Raises ConfigError, Conflict when a new member stands there twice.
    """
    new: dict[tuple[str, int], MemberSpec] = {}
    changed: dict[tuple[str, int], tuple[Member, MemberSpec]] = {}
    for path, values in rows:
        # Of a member that is there it says nothing: how it is attached cannot be changed.
        sriov = values.get("request_sriov")
        wanted = {name: value for name, value in values.items() if name != "request_sriov"}
        spec = schema.create(MemberSpec, wanted, coerce=coerce, path=path)
        key = (spec.address, spec.protocol_port)
        member = pool._addresses.get(key)
        if member is not None:
            if key in changed:
                raise ConfigError(
                    f"{path}address",
                    spec.address,
                    f"stands twice in the list with protocol_port {spec.protocol_port}",
                    fault="Validation failure: Member must be updated only once in the same request.",
                )
            changed[key] = (member, _next(member._spec, spec, values))
            continue
        if sriov is not None:
            schema.create(MemberSpec, values, coerce=coerce, path=path)
        if key in new:
            raise pool._taken(spec, path)
        try:
            relations.check_member_on_vips(pool._spec, spec, pool._balancer.vips)
        except ConfigError as error:
            raise error.within(path) from None
        new[key] = spec
    gone = [] if additive else [member for key, member in pool._addresses.items() if key not in changed]
    return Batch(list(new.values()), list(changed.values()), gone)


def _next(before: MemberSpec, asked: MemberSpec, given: Mapping[str, Any]) -> MemberSpec:
    # A null keeps the tags, as in every update; that of another field stands for what it does at creation.
    named = [name for name, value in given.items() if name != "tags" or value is not None]
    return replace(
        before,
        **{
            name: getattr(asked, name)
            for name, rule in rules(MemberSpec).items()
            if rule.live and (name in named or not (rule.ours or name in KEPT))
        },
    )


def apply(pool: "Pool", batch: Batch) -> None:
    """Do it, as one change for whoever keeps a journal. New members come before old ones go: there is always one."""
    with pool._balancer._change():
        pool._check_usable()
        pool._make_members(batch.new)
        pool._change_members(batch.changed)
        if batch.gone:
            pool._drop_members(batch.gone)
