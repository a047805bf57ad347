# SPDX-License-Identifier: Apache-2.0
"""`/l7policies`."""

from fastlb.api import bodies, lists, views
from fastlb.api.call import Answer, Call, Route
from fastlb.api.changes import change
from fastlb.errors import ConfigError
from fastlb.l7 import L7Policy
from fastlb.listener import Listener
from fastlb.schema import L7PolicySpec

ROOT = "l7policy"

LISTING = lists.listing(
    "l7policies",
    "description",
    "action",
    "listener_id",
    "position",
    "redirect_pool_id",
    "redirect_url",
    "redirect_prefix",
    "redirect_http_code",
)


def _asked(call: Call) -> L7Policy:
    policy: L7Policy = call.controller.get("l7policy", call.arguments["l7policy_id"])
    return policy


def index(call: Call) -> Answer:
    return lists.answer(call, LISTING, call.controller.all("l7policy"))


def create(call: Call) -> Answer:
    fields = bodies.new(call, ROOT, L7PolicySpec, beside=("listener_id", "rules"))
    if fields.get("rules"):
        raise ConfigError(
            "rules",
            fields["rules"],
            "must be created one by one under the policy, or with the whole load balancer",
            fault="Validation failure: rules can be given only when a whole load balancer is created.",
        )
    values = {name: value for name, value in fields.items() if name != "listener_id"}
    listener: Listener = bodies.parent(call, fields, "listener_id", "listener")
    with change(call, listener):
        call.check_quota("l7policy", listener.project_id)
        (policy,) = listener._add_policies([("", values)], coerce=True)
        return Answer(201, {ROOT: views.created(policy)})


def show(call: Call) -> Answer:
    policy = _asked(call)
    call.check_read(policy.project_id)
    return Answer(200, {ROOT: lists.some_fields(call, views.body(policy))})


def update(call: Call) -> Answer:
    changes = bodies.changed(call, ROOT, L7PolicySpec)
    policy = _asked(call)
    with change(call, policy):
        was = policy.operating_status
        policy._update(changes, coerce=True)
        return Answer(200, {ROOT: views.updated(policy, was)})


def delete(call: Call) -> Answer:
    policy = _asked(call)
    with change(call, policy):
        policy.delete()
    return Answer(204)


ROUTES = (
    Route("/l7policies", {"GET": index, "POST": create}),
    Route("/l7policies/{l7policy_id}", {"GET": show, "PUT": update, "DELETE": delete}),
)
