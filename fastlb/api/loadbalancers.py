# SPDX-License-Identifier: Apache-2.0
"""`/loadbalancers`."""

from typing import Any

from fastlb import schema
from fastlb.api import availabilityzones, bodies, flavors, lists, neutron, quotas, views
from fastlb.api.call import Answer, Call, Route
from fastlb.balancer import LoadBalancer
from fastlb.schema import LoadBalancerSpec, kinds
from fastlb.schema.field import rules
from fastlb.schema.load_balancer import VIP_REFERENCES, check_vip_reference

ROOT = "loadbalancer"
ARGUMENT = "load_balancer"
"""Octavia's name of the body."""

LISTING = lists.listing(
    "loadbalancers",
    "description",
    "vip_address",
    "vip_port_id",
    "vip_subnet_id",
    "vip_network_id",
    "vip_qos_policy_id",
    "vip_vnic_type",
    "vip_sg_ids",
    "provider",
    "flavor_id",
    "availability_zone",
)
CHILDREN = ("listeners", "pools")

_project_id = kinds.text(36)


def _asked(call: Call) -> LoadBalancer:
    balancer: LoadBalancer = call.controller.get("loadbalancer", call.arguments["loadbalancer_id"])
    return balancer


def _read(call: Call) -> LoadBalancer:
    balancer = _asked(call)
    call.check_read(balancer.project_id)
    return balancer


def index(call: Call) -> Answer:
    return lists.answer(call, LISTING, call.controller.all("loadbalancer"))


def create(call: Call) -> Answer:
    fields = call.document(ROOT, ARGUMENT)
    bodies.check_names(fields, (*rules(LoadBalancerSpec), *bodies.PROJECT, *CHILDREN), call.place)
    project_id = _project(call, fields)
    call.check_write(project_id)
    if all(fields.get(name) is None for name in VIP_REFERENCES):
        alone = {name: value for name, value in fields.items() if name not in CHILDREN}
        check_vip_reference(schema.create(LoadBalancerSpec, alone, coerce=True))
    neutron.check_vip(call, fields)
    flavors.check_asked(call, fields)
    availabilityzones.check_asked(call, fields)
    quotas.check_whole(call, fields, project_id)
    balancer = call.controller.create_load_balancer(fields, project_id=project_id)
    shown = {"listeners": [], "pools": []} | views.created(balancer)
    shown["listeners"] = [views.tree(listener) for listener in balancer.listeners]
    shown["pools"] = [views.tree(pool) for pool in balancer.pools]
    return Answer(201, {ROOT: shown})


def _project(call: Call, fields: dict[str, Any]) -> str:
    """Whose it shall be: taken out of the body, or the caller's."""
    asked = [fields.pop(name, None) for name in bodies.PROJECT]
    for project_id in asked:
        if project_id is not None:
            _project_id("project_id", project_id, True)
    return next((project_id for project_id in asked if project_id), call.caller.project_id)


def show(call: Call) -> Answer:
    return Answer(200, {ROOT: lists.some_fields(call, views.body(_read(call)))})


def update(call: Call) -> Answer:
    changes = bodies.changed(call, ROOT, LoadBalancerSpec, argument=ARGUMENT)
    balancer = _asked(call)
    call.check_write(balancer.project_id)
    with call.controller.writing(balancer, own=True):
        was = balancer.operating_status
        balancer._update(changes, coerce=True)
        return Answer(200, {ROOT: views.updated(balancer, was)})


def delete(call: Call) -> Answer:
    balancer = _asked(call)
    call.check_write(balancer.project_id)
    call.controller.delete_load_balancer(balancer, cascade=lists.boolean(call.one("cascade")))
    return Answer(204)


def stats(call: Call) -> Answer:
    return Answer(200, {"stats": views.stats(_read(call).stats)})


def status(call: Call) -> Answer:
    return Answer(200, _read(call).status_tree())


def failover(call: Call) -> Answer:
    balancer = _asked(call)
    call.check_admin()
    call.controller.failover(balancer)
    return Answer(202)


ONE = "/loadbalancers/{loadbalancer_id}"
ROUTES = (
    Route("/loadbalancers", {"GET": index, "POST": create}),
    Route(ONE, {"GET": show, "PUT": update, "DELETE": delete}),
    Route(f"{ONE}/stats", {"GET": stats}),
    Route(f"{ONE}/status", {"GET": status}),
    Route(f"{ONE}/statuses", {"GET": status}),
    Route(f"{ONE}/failover", {"PUT": failover}),
)
