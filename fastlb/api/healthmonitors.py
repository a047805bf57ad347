# SPDX-License-Identifier: Apache-2.0
"""`/healthmonitors`."""

from fastlb import schema
from fastlb.api import bodies, lists, views
from fastlb.api.call import Answer, Call, Route
from fastlb.api.changes import change
from fastlb.monitor import HealthMonitor
from fastlb.pool import Pool
from fastlb.schema import HealthMonitorSpec

ROOT = "healthmonitor"
ARGUMENT = "health_monitor_"
"""Octavia's name of the body."""

LISTING = lists.listing(
    "healthmonitors",
    "type",
    "delay",
    "timeout",
    "max_retries",
    "max_retries_down",
    "http_method",
    "url_path",
    "expected_codes",
    "http_version",
    "domain_name",
    relations={"pool_id": lambda monitor: monitor.pool.id},
)


def _asked(call: Call) -> HealthMonitor:
    monitor: HealthMonitor = call.controller.get("healthmonitor", call.arguments["healthmonitor_id"])
    return monitor


def index(call: Call) -> Answer:
    return lists.answer(call, LISTING, call.controller.all("healthmonitor"))


def create(call: Call) -> Answer:
    fields = bodies.new(call, ROOT, HealthMonitorSpec, beside=("pool_id",), argument=ARGUMENT)
    values = {name: value for name, value in fields.items() if name != "pool_id"}
    # Octavia complains of a field before it looks for the pool.
    schema.create(HealthMonitorSpec, values, coerce=True)
    pool: Pool = bodies.parent(call, fields, "pool_id", "pool")
    with change(call, pool, below=pool):
        call.check_quota("healthmonitor", pool.project_id)
        monitor = pool._add_monitor(values, coerce=True)
        return Answer(201, {ROOT: views.created(monitor)})


def show(call: Call) -> Answer:
    monitor = _asked(call)
    call.check_read(monitor.project_id)
    return Answer(200, {ROOT: lists.some_fields(call, views.body(monitor))})


def update(call: Call) -> Answer:
    changes = bodies.changed(call, ROOT, HealthMonitorSpec, argument=ARGUMENT)
    monitor = _asked(call)
    with change(call, monitor, below=monitor.pool):
        was = monitor.operating_status
        monitor._update(changes, coerce=True)
        return Answer(200, {ROOT: views.updated(monitor, was)})


def delete(call: Call) -> Answer:
    monitor = _asked(call)
    with change(call, monitor, below=monitor.pool):
        monitor.delete()
    return Answer(204)


ROUTES = (
    Route("/healthmonitors", {"GET": index, "POST": create}),
    Route("/healthmonitors/{healthmonitor_id}", {"GET": show, "PUT": update, "DELETE": delete}),
)
