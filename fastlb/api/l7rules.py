# SPDX-License-Identifier: Apache-2.0
"""`/l7policies/{l7policy_id}/rules`."""

from fastlb.api import bodies, lists, views
from fastlb.api.call import Answer, Call, Route, RouteError
from fastlb.api.changes import change, missing
from fastlb.errors import NotFound
from fastlb.l7 import L7Policy, L7Rule
from fastlb.schema import L7RuleSpec

ROOT = "rule"
UPDATE_ARGUMENT = "l7rule_"
"""Octavia's name of the body of a PUT; that of a POST is named after the root."""

LISTING = lists.Listing(
    "rules",
    lists.listing("", "type", "compare_type", "key", "value", "invert").attributes - {"name"},
    {"l7policy_id": lambda rule: rule.policy.id},
)


def _policy(call: Call) -> L7Policy:
    """The policy of the path. Raises RouteError: for Octavia it is a part of the route."""
    policy_id = call.arguments["l7policy_id"]
    try:
        policy: L7Policy = call.controller.get("l7policy", policy_id)
    except NotFound as error:
        raise RouteError(error.status, "Bad Request", f"L7Policy {policy_id} not found.") from None
    return policy


def _asked(call: Call, policy: L7Policy) -> L7Rule:
    rule: L7Rule = call.controller.get("l7rule", call.arguments["rule_id"])
    if rule.policy is not policy:
        raise missing(rule)
    return rule


def index(call: Call) -> Answer:
    policy = _policy(call)
    call.check_read(policy.project_id)
    return lists.answer(call, LISTING, policy.rules)


def create(call: Call) -> Answer:
    policy = _policy(call)
    fields = bodies.new(call, ROOT, L7RuleSpec)
    with change(call, policy, below=policy):
        call.check_quota("l7rule", policy.project_id)
        rule = policy._add_rule(fields, coerce=True)
        return Answer(201, {ROOT: views.created(rule)})


def show(call: Call) -> Answer:
    rule = _asked(call, _policy(call))
    call.check_read(rule.project_id)
    return Answer(200, {ROOT: lists.some_fields(call, views.body(rule))})


def update(call: Call) -> Answer:
    policy = _policy(call)
    changes = bodies.changed(call, ROOT, L7RuleSpec, argument=UPDATE_ARGUMENT)
    rule = _asked(call, policy)
    with change(call, rule, below=policy):
        was = rule.operating_status
        rule._update(changes, coerce=True)
        return Answer(200, {ROOT: views.updated(rule, was)})


def delete(call: Call) -> Answer:
    policy = _policy(call)
    rule = _asked(call, policy)
    with change(call, rule, below=policy):
        rule.delete()
    return Answer(204)


ALL = "/l7policies/{l7policy_id}/rules"
ROUTES = (
    Route(ALL, {"GET": index, "POST": create}),
    Route(f"{ALL}/{{rule_id}}", {"GET": show, "PUT": update, "DELETE": delete}),
)
