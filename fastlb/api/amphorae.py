# SPDX-License-Identifier: Apache-2.0
"""`/v2/octavia/amphorae`: what Octavia's clients show as the machines that forward.

There are none here: every load balancer is forwarded by all the workers of this one process. But tools look for the
amphorae of a load balancer, to see that it has any and how they are, and to find its counters and its failover. So
each load balancer shows one, STANDALONE and ALLOCATED, with its addresses; what only a machine has (a compute id, an
image, a VRRP interface) is null.
"""

import uuid
from typing import Any

from fastlb.api import lists, views
from fastlb.api.call import Answer, Call, Route
from fastlb.balancer import LoadBalancer
from fastlb.errors import Conflict, NotFound
from fastlb.types import ProvisioningStatus

MASK = uuid.UUID("0fa571b0-0000-0000-0000-0a3f00a5e000").int
"""What an amphora's id differs in from its load balancer's. It leaves alone the bits that make a UUID one of version 4,
and done twice it leads back, so that no table is needed."""

FIELDS = (
    "id", "loadbalancer_id", "compute_id", "lb_network_ip", "vrrp_ip", "ha_ip", "vrrp_port_id", "ha_port_id",
    "cert_expiration", "cert_busy", "role", "status", "vrrp_interface", "vrrp_id", "vrrp_priority", "cached_zone",
    "created_at", "updated_at", "image_id", "compute_flavor",
)  # fmt: skip
LISTING = lists.Listing(
    "amphorae",
    frozenset(FIELDS),
    relations={"load_balancer_id": lambda row: row["loadbalancer_id"]},
    tagged=False,
)


def _other_id(identity: str) -> str:
    """Of the amphora to a load balancer's id, and back. Raises ValueError."""
    parsed = uuid.UUID(identity)
    if str(parsed) != identity:
        raise ValueError(identity)  # one of its other spellings
    return str(uuid.UUID(int=parsed.int ^ MASK))


def _body(balancer: LoadBalancer) -> dict[str, Any]:
    failed = balancer.provisioning_status is ProvisioningStatus.ERROR
    known = {
        "id": _other_id(balancer.id),
        "loadbalancer_id": balancer.id,
        "ha_ip": balancer.vip_address,
        "ha_port_id": balancer.vip_port_id,
        "cert_busy": False,
        "role": "STANDALONE",
        "status": "ERROR" if failed else "ALLOCATED",
        "cached_zone": balancer.availability_zone,
        "created_at": balancer.created_at.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    return {name: known.get(name) for name in FIELDS}


def _asked(call: Call, what: str = "Amphora") -> LoadBalancer:
    call.check_admin()
    identity = call.arguments["amphora_id"]
    try:
        balancer: LoadBalancer = call.controller.get("loadbalancer", _other_id(identity))
    except (ValueError, NotFound):
        raise NotFound(f"{what} {identity} not found.") from None
    return balancer


def index(call: Call) -> Answer:
    call.check_admin()
    return lists.answer(call, LISTING, [_body(balancer) for balancer in call.controller.load_balancers])


def show(call: Call) -> Answer:
    return Answer(200, {"amphora": lists.some_fields(call, _body(_asked(call)))})


def stats(call: Call) -> Answer:
    """A row a listener."""
    balancer = _asked(call, "Amphora stats for")
    rows = [
        views.stats(listener.stats)
        | {"id": call.arguments["amphora_id"], "listener_id": listener.id, "loadbalancer_id": balancer.id}
        for listener in balancer.listeners
    ]
    if not rows:
        raise NotFound(f"Amphora stats for {call.arguments['amphora_id']} not found.")
    return Answer(200, {"amphora_stats": rows})


def failover(call: Call) -> Answer:
    call.controller.failover(_asked(call))
    return Answer(202)


def configure(call: Call) -> Answer:
    """Nothing is there that would be told: what the process was started with is in force."""
    _asked(call)
    return Answer(202)


def delete(call: Call) -> Answer:
    """As in Octavia, one that a load balancer has cannot be deleted; and here each has one."""
    _asked(call)
    raise Conflict(f"amphora {call.arguments['amphora_id']} is immutable and cannot be updated.")


ONE = "/amphorae/{amphora_id}"
ROUTES = (
    Route("/amphorae", {"GET": index}),
    Route(ONE, {"GET": show, "DELETE": delete}),
    Route(f"{ONE}/stats", {"GET": stats}),
    Route(f"{ONE}/failover", {"PUT": failover}),
    Route(f"{ONE}/config", {"PUT": configure}),
)
