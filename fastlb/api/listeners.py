# SPDX-License-Identifier: Apache-2.0
"""`/listeners`."""

from fastlb import schema
from fastlb.api import bodies, lists, views
from fastlb.api.call import Answer, Call, Route
from fastlb.api.changes import change
from fastlb.balancer import LoadBalancer
from fastlb.listener import Listener
from fastlb.schema import ListenerSpec

ROOT = "listener"

LISTING = lists.listing(
    "listeners",
    "description",
    "protocol",
    "protocol_port",
    "connection_limit",
    "default_pool_id",
    "default_tls_container_ref",
    "timeout_client_data",
    "timeout_member_connect",
    "timeout_member_data",
    "timeout_tcp_inspect",
    "client_ca_tls_container_ref",
    "client_authentication",
    "client_crl_container_ref",
    "tls_ciphers",
    "hsts_max_age",
    "hsts_include_subdomains",
    "hsts_preload",
    "sni_container_refs",
    "allowed_cidrs",
    "tls_versions",
    "alpn_protocols",
    relations=lists.LOAD_BALANCER,
)
CHILDREN = ("default_pool", "l7policies")
"""What a listener brings along when its load balancer is created with all that is on it, and only then."""


def _asked(call: Call) -> Listener:
    listener: Listener = call.controller.get("listener", call.arguments["listener_id"])
    return listener


def _read(call: Call) -> Listener:
    listener = _asked(call)
    call.check_read(listener.project_id)
    return listener


def index(call: Call) -> Answer:
    return lists.answer(call, LISTING, call.controller.all("listener"))


def create(call: Call) -> Answer:
    fields = bodies.new(call, ROOT, ListenerSpec, beside=("loadbalancer_id", *CHILDREN))
    bodies.check_childless(fields, CHILDREN)
    # The form of the fields before what the load balancer says to them.
    schema.create(
        ListenerSpec, {name: fields[name] for name in fields if name != "loadbalancer_id"}, coerce=True
    )
    balancer: LoadBalancer = bodies.parent(call, fields, "loadbalancer_id", "loadbalancer")
    with change(call, balancer):
        call.check_quota("listener", balancer.project_id)
        listener = balancer._add_listener(fields, coerce=True)
        return Answer(201, {ROOT: views.created(listener)})


def show(call: Call) -> Answer:
    return Answer(200, {ROOT: lists.some_fields(call, views.body(_read(call)))})


def update(call: Call) -> Answer:
    changes = bodies.changed(call, ROOT, ListenerSpec)
    listener = _asked(call)
    with change(call, listener):
        was = listener.operating_status
        listener._update(changes, coerce=True)
        return Answer(200, {ROOT: views.updated(listener, was)})


def delete(call: Call) -> Answer:
    listener = _asked(call)
    with change(call, listener):
        listener.delete()
    return Answer(204)


def stats(call: Call) -> Answer:
    return Answer(200, {"stats": views.stats(_read(call).stats)})


ONE = "/listeners/{listener_id}"
ROUTES = (
    Route("/listeners", {"GET": index, "POST": create}),
    Route(ONE, {"GET": show, "PUT": update, "DELETE": delete}),
    Route(f"{ONE}/stats", {"GET": stats}),
)
