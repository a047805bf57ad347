# SPDX-License-Identifier: Apache-2.0
"""`/loadbalancers`."""

from fastlb.api import lists, views
from fastlb.api.call import Answer, Call, Route
from fastlb.balancer import LoadBalancer

LISTING = lists.listing(
    "loadbalancers",
    "description",
    "vip_address",
    "vip_port_id",
    "vip_subnet_id",
    "vip_network_id",
    "vip_qos_policy_id",
    "vip_vnic_type",
    "provider",
    "flavor_id",
    "availability_zone",
)


def _asked(call: Call, *, write: bool = False) -> LoadBalancer:
    balancer: LoadBalancer = call.controller.get("loadbalancer", call.arguments["loadbalancer_id"])
    (call.check_write if write else call.check_read)(balancer.project_id)
    return balancer


def index(call: Call) -> Answer:
    return lists.answer(call, LISTING, call.controller.all("loadbalancer"))


def create(call: Call) -> Answer:
    fields = call.document("loadbalancer")
    project_id = fields.get("project_id") or call.caller.project_id
    call.check_write(project_id)
    balancer = call.controller.create_load_balancer(fields, project_id=project_id)
    shown = views.created(balancer)
    shown["listeners"] = [views.tree(listener) for listener in balancer.listeners]
    shown["pools"] = [views.tree(pool) for pool in balancer.pools]
    return Answer(201, {"loadbalancer": shown})


def show(call: Call) -> Answer:
    return Answer(200, {"loadbalancer": lists.some_fields(call, views.body(_asked(call)))})


def update(call: Call) -> Answer:
    balancer = _asked(call, write=True)
    changes = call.document("loadbalancer")
    with call.controller.writing(balancer, own=True):
        balancer._update(changes, coerce=True)
    return Answer(200, {"loadbalancer": views.updated(balancer)})


def delete(call: Call) -> Answer:
    balancer = _asked(call, write=True)
    call.controller.delete_load_balancer(balancer, cascade=lists.boolean(call.one("cascade")))
    return Answer(204)


def stats(call: Call) -> Answer:
    return Answer(200, {"stats": views.stats(_asked(call).stats)})


def status(call: Call) -> Answer:
    return Answer(200, _asked(call).status_tree())


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
