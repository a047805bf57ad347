# SPDX-License-Identifier: Apache-2.0
"""fastlb: Octavia's load balancer as a Python object, with a native epoll core."""

from importlib import import_module as _import_module

try:
    _import_module("fastlb._core")
except ModuleNotFoundError as error:
    if error.name != "fastlb._core":
        raise
    raise ModuleNotFoundError(
        f"fastlb's native core is not built in {__path__[0]}; `pip install .` in the source tree builds and installs "
        "it (then run from another folder, where the source tree does not hide it), "
        "`python setup.py build_ext --inplace` builds it in place",
        name=error.name,
    ) from None

from fastlb import config
from fastlb.balancer import LoadBalancer
from fastlb.connection import connect
from fastlb.engine import Engine
from fastlb.errors import (
    BindError,
    ConfigError,
    ConfigFileError,
    Conflict,
    CoreError,
    FastLBError,
    NotFound,
    NotSupported,
    StateError,
    StoreError,
    WaitTimeout,
)
from fastlb.l7 import L7Policy, L7Rule
from fastlb.listener import Listener
from fastlb.member import Member
from fastlb.monitor import HealthMonitor
from fastlb.pool import OutlierDetection, Pool, RetryPolicy, SessionPersistence
from fastlb.schema import AdditionalVip
from fastlb.simulation import schedule
from fastlb.stats import MemberStats, PersistenceStats, PoolStats, Stats
from fastlb.types import (
    Algorithm,
    AlpnProtocol,
    ClientAuthentication,
    HttpMethod,
    L7CompareType,
    L7PolicyAction,
    L7RuleType,
    MonitorType,
    OperatingStatus,
    PersistenceType,
    Protocol,
    ProvisioningStatus,
    RetryOn,
    TlsVersion,
)
from fastlb.watch import StatusEvent

__all__ = [
    "AdditionalVip",
    "Algorithm",
    "AlpnProtocol",
    "BindError",
    "ClientAuthentication",
    "ConfigError",
    "ConfigFileError",
    "Conflict",
    "CoreError",
    "Engine",
    "FastLBError",
    "HealthMonitor",
    "HttpMethod",
    "L7CompareType",
    "L7Policy",
    "L7PolicyAction",
    "L7Rule",
    "L7RuleType",
    "Listener",
    "LoadBalancer",
    "Member",
    "MemberStats",
    "MonitorType",
    "NotFound",
    "NotSupported",
    "OperatingStatus",
    "OutlierDetection",
    "PersistenceStats",
    "PersistenceType",
    "Pool",
    "PoolStats",
    "Protocol",
    "ProvisioningStatus",
    "RetryOn",
    "RetryPolicy",
    "SessionPersistence",
    "StateError",
    "Stats",
    "StatusEvent",
    "StoreError",
    "TlsVersion",
    "WaitTimeout",
    "config",
    "connect",
    "schedule",
]
