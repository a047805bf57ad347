# SPDX-License-Identifier: Apache-2.0
"""`/quotas`: what projects may have. And how many objects of each kind a whole load balancer would be."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fastlb import schema
from fastlb.api import bodies, lists
from fastlb.api.call import Answer, BadRequest, Call, Route
from fastlb.quota import LABELS
from fastlb.schema.field import rules
from fastlb.schema.offers import QuotaSpec

ROOT = "quota"
ARGUMENT = "quotas"
"""Octavia's name of the body."""

ALIASES = {"load_balancer": "loadbalancer", "health_monitor": "healthmonitor"}
"""Octavia's older spellings, which answers have too."""

LISTING = lists.Listing(
    "quotas", frozenset(("project_id", *rules(QuotaSpec), *ALIASES)), tagged=False, key="project_id"
)


def _body(project_id: str, limits: Mapping[str, int]) -> dict[str, Any]:
    return {
        "project_id": project_id,
        **{name: limits[name] for name in rules(QuotaSpec)},
        **{alias: limits[name] for alias, name in ALIASES.items()},
        "tenant_id": project_id,
    }


def index(call: Call) -> Answer:
    # Octavia takes `fields` here and leaves nothing out.
    query = tuple((name, value) for name, value in call.query if name != "fields")
    rows = [_body(project_id, limits) for project_id, limits in call.controller.quotas.projects().items()]
    return lists.answer(dataclasses.replace(call, query=query), LISTING, rows)


def show(call: Call) -> Answer:
    project_id = call.arguments["project_id"]
    for name, _ in call.query:
        raise BadRequest(f'Unknown argument: "{name}"')
    call.check_read(project_id)
    return Answer(200, {ROOT: _body(project_id, call.controller.quotas.limits(project_id))})


def defaults(call: Call) -> Answer:
    project_id = call.arguments["project_id"]
    call.check_read(project_id)
    return Answer(200, {ROOT: _body(project_id, call.controller.quotas.defaults)})


def update(call: Call) -> Answer:
    project_id = call.arguments["project_id"]
    fields = call.document(ROOT, ARGUMENT)
    bodies.check_names(fields, (*rules(QuotaSpec), *ALIASES), call.place)
    call.check_admin()
    given = {ALIASES[name]: value for name, value in fields.items() if name in ALIASES}
    given |= {name: value for name, value in fields.items() if name not in ALIASES}
    spec = schema.create(QuotaSpec, given, coerce=True)
    call.controller.quotas.change(project_id, {name: getattr(spec, name) for name in given})
    return Answer(202, {ROOT: _body(project_id, call.controller.quotas.limits(project_id))})


def reset(call: Call) -> Answer:
    call.check_admin()
    call.controller.quotas.reset(call.arguments["project_id"])
    return Answer(202)


def check_whole(call: Call, fields: Mapping[str, Any], project_id: str) -> None:
    """May the project have the load balancer that these fields of a POST describe, with all that is on it? Raises
    QuotaMet. What is no proper description is not counted: it will be refused for that."""
    counts = Counter({"loadbalancer": 1})
    for pool in _objects(fields.get("pools")):
        _count_pool(counts, pool)
    for listener in _objects(fields.get("listeners")):
        counts["listener"] += 1
        _count_pool(counts, listener.get("default_pool"))
        for policy in _objects(listener.get("l7policies")):
            counts["l7policy"] += 1
            counts["l7rule"] += len(_objects(policy.get("rules")))
            _count_pool(counts, policy.get("redirect_pool"))
    for kind in LABELS:
        call.check_quota(kind, project_id, counts[kind])


def _count_pool(counts: Counter[str], pool: Any) -> None:
    if not isinstance(pool, Mapping) or pool.keys() <= {"name"}:
        return  # the name alone refers to a pool that is described elsewhere
    counts["pool"] += 1
    counts["member"] += len(_objects(pool.get("members")))
    counts["healthmonitor"] += isinstance(pool.get("healthmonitor"), Mapping)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


ONE = "/quotas/{project_id}"
ROUTES = (
    Route("/quotas", {"GET": index}),
    Route(ONE, {"GET": show, "PUT": update, "DELETE": reset}),
    Route(f"{ONE}/default", {"GET": defaults}),
)
