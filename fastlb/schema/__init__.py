# SPDX-License-Identifier: Apache-2.0
"""Octavia's fields, defaults, limits and refusals: the one place where input is validated.

Each resource is a `Spec`: an immutable record of what the operator wants, one line a field. `create` makes one
from given values, `update` makes the next one from the last and the changes; both raise `ConfigError` and change
nothing. What concerns two objects at once (a pool on a listener, a monitor on a pool) is in `relations`.

The Python calls, the configuration file and the REST API all come through here. `coerce=True` is the REST door: it
takes what Octavia's API takes (`"80"` for 80, `"yes"` for true) and only what it takes (no port 0).
"""

from fastlb.schema.field import Spec, arguments, create, given, plain, update
from fastlb.schema.health_monitor import HealthMonitorSpec
from fastlb.schema.l7 import L7PolicySpec, L7RuleSpec
from fastlb.schema.listener import ListenerSpec
from fastlb.schema.load_balancer import AdditionalVip, LoadBalancerSpec
from fastlb.schema.member import MemberSpec
from fastlb.schema.pool import PoolSpec, SessionPersistence
from fastlb.schema.resilience import OutlierDetection, RetryPolicy

__all__ = [
    "AdditionalVip",
    "HealthMonitorSpec",
    "L7PolicySpec",
    "L7RuleSpec",
    "ListenerSpec",
    "LoadBalancerSpec",
    "MemberSpec",
    "OutlierDetection",
    "PoolSpec",
    "RetryPolicy",
    "SessionPersistence",
    "Spec",
    "arguments",
    "create",
    "given",
    "plain",
    "update",
]
