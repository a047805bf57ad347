# SPDX-License-Identifier: Apache-2.0
"""`/pools/{pool_id}/members`: one by one, and all of a pool at once."""

from typing import Any

from fastlb import member_batch, schema
from fastlb.api import bodies, lists, neutron, views
from fastlb.api.call import Answer, BadRequest, Call, Route, RouteError
from fastlb.api.changes import change, missing
from fastlb.errors import NotFound
from fastlb.member import Member
from fastlb.pool import Pool
from fastlb.schema import MemberSpec, kinds

LISTING = lists.listing(
    "members",
    "address",
    "protocol_port",
    "subnet_id",
    "weight",
    "backup",
    "monitor_address",
    "monitor_port",
    "vnic_type",
    relations={"pool_id": lambda member: member.pool.id},
)


def _pool(call: Call) -> Pool:
    """The pool of the path. Raises RouteError: for Octavia it is a part of the route."""
    try:
        pool: Pool = call.controller.get("pool", call.arguments["pool_id"])
    except NotFound as error:
        raise RouteError(error.status, "Bad Request", error.fault) from None
    return pool


def _asked(call: Call, pool: Pool) -> Member:
    member: Member = call.controller.get("member", call.arguments["member_id"])
    if member.pool is not pool:
        raise missing(member)
    return member


def index(call: Call) -> Answer:
    pool = _pool(call)
    call.check_read(pool.project_id)
    return lists.answer(call, LISTING, pool.members)


def create(call: Call) -> Answer:
    pool = _pool(call)
    fields = bodies.new(call, "member", MemberSpec)
    call.check_write(pool.project_id)
    described = schema.create(MemberSpec, fields, coerce=True)
    neutron.check_subnets(call, [described.subnet_id])
    with change(call, pool, below=pool):
        call.check_quota("member", pool.project_id)
        (member,) = pool._add_members([("", fields)], coerce=True)
        return Answer(201, {"member": views.created(member)})


def show(call: Call) -> Answer:
    member = _asked(call, _pool(call))
    call.check_read(member.project_id)
    return Answer(200, {"member": lists.some_fields(call, views.body(member))})


def update(call: Call) -> Answer:
    pool = _pool(call)
    changes = bodies.changed(call, "member", MemberSpec)
    member = _asked(call, pool)
    with change(call, member, below=pool):
        was = member.operating_status
        member._update(changes, coerce=True)
        return Answer(200, {"member": views.updated(member, was)})


def delete(call: Call) -> Answer:
    pool = _pool(call)
    member = _asked(call, pool)
    with change(call, member, below=pool):
        member.delete()
    return Answer(204)


def replace(call: Call) -> Answer:
    """The batch: these members and no others, or (`additive_only`) these and those that are there."""
    pool = _pool(call)
    rows = _rows(call.content("members"))
    additive = lists.boolean(call.one("additive_only"))
    with change(call, pool, below=pool):
        batch = member_batch.plan(pool, rows, additive=additive, coerce=True)
        neutron.check_subnets(call, (member.subnet_id for member in batch.new))
        if batch.growth > 0:
            call.check_quota("member", pool.project_id, batch.growth)
        member_batch.apply(pool, batch)
    return Answer(202)


def _rows(content: Any) -> list[tuple[str, dict[str, Any]]]:
    if content is None:
        raise BadRequest("Invalid input for field/attribute members. Value: 'None'. Value must be an array")
    where = bodies.place("members")
    return [
        (path, bodies.created(fields, MemberSpec, where))
        for path, fields in kinds.mappings("members", content)
    ]


ALL = "/pools/{pool_id}/members"
ROUTES = (
    Route(ALL, {"GET": index, "POST": create, "PUT": replace}),
    Route(f"{ALL}/{{member_id}}", {"GET": show, "PUT": update, "DELETE": delete}),
)
