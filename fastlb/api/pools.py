# SPDX-License-Identifier: Apache-2.0
"""`/pools`."""

from typing import Any

from fastlb import schema
from fastlb.api import bodies, lists, views
from fastlb.api.call import Answer, BadRequest, Call, Route
from fastlb.api.changes import change, missing
from fastlb.balancer import LoadBalancer
from fastlb.listener import Listener
from fastlb.pool import Pool
from fastlb.schema import PoolSpec

ROOT = "pool"

LISTING = lists.listing(
    "pools",
    "description",
    "protocol",
    "lb_algorithm",
    "healthmonitor_id",
    "tls_container_ref",
    "ca_tls_container_ref",
    "crl_container_ref",
    "tls_enabled",
    "tls_ciphers",
    "tls_versions",
    "alpn_protocols",
    relations=lists.LOAD_BALANCER,
)
PARENTS = ("loadbalancer_id", "listener_id")
CHILDREN = ("members", "healthmonitor")
"""What a pool brings along when its load balancer is created with all that is on it, and only then."""


def _asked(call: Call) -> Pool:
    pool: Pool = call.controller.get("pool", call.arguments["pool_id"])
    return pool


def index(call: Call) -> Answer:
    return lists.answer(call, LISTING, call.controller.all("pool"))


def create(call: Call) -> Answer:
    fields = bodies.new(call, ROOT, PoolSpec, beside=(*PARENTS, *CHILDREN))
    bodies.check_childless(fields, CHILDREN)
    schema.create(PoolSpec, {name: fields[name] for name in fields if name not in PARENTS}, coerce=True)
    balancer, listener = _parents(call, fields)
    with change(call, listener or balancer):
        call.check_quota("pool", balancer.project_id)
        pool = balancer._add_pool(fields, listener=listener, coerce=True)
        return Answer(201, {ROOT: views.created(pool)})


def _parents(call: Call, fields: dict[str, Any]) -> tuple[LoadBalancer, Listener | None]:
    """The load balancer on which it shall be, and the listener that shall use it; taken out of the body."""
    given = [name for name in PARENTS if fields.get(name) is not None]
    if not given:
        raise BadRequest("Validation failure: Must provide at least one of: loadbalancer_id, listener_id")
    found: dict[str, Any] = {
        name: bodies.parent(call, fields, name, name.removesuffix("_id")) for name in given
    }
    for name in PARENTS:
        fields.pop(name, None)
    listener: Listener | None = found.get("listener_id")
    balancer: LoadBalancer | None = found.get("loadbalancer_id")
    if listener is None:
        assert balancer is not None
        return balancer, None
    if balancer is not None and listener.load_balancer is not balancer:
        raise missing(listener)
    return listener.load_balancer, listener


def show(call: Call) -> Answer:
    pool = _asked(call)
    call.check_read(pool.project_id)
    return Answer(200, {ROOT: lists.some_fields(call, views.body(pool))})


def update(call: Call) -> Answer:
    changes = bodies.changed(call, ROOT, PoolSpec)
    pool = _asked(call)
    with change(call, pool):
        was = pool.operating_status
        pool._update(changes, coerce=True)
        return Answer(200, {ROOT: views.updated(pool, was)})


def delete(call: Call) -> Answer:
    pool = _asked(call)
    with change(call, pool):
        pool.delete()
    return Answer(204)


ONE = "/pools/{pool_id}"
ROUTES = (
    Route("/pools", {"GET": index, "POST": create}),
    Route(ONE, {"GET": show, "PUT": update, "DELETE": delete}),
)
