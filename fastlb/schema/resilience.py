# SPDX-License-Identifier: Apache-2.0
"""How a pool bears with members that fail: what is sent again, who is left out for a while. Octavia has neither as a
field; the names are Envoy's."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from fastlb.errors import ConfigError
from fastlb.schema import kinds
from fastlb.schema.kinds import Check
from fastlb.types import RetryOn

S = TypeVar("S", bound=msgspec.Struct)

LONGEST_S = 2_073_600
"""The longest span of time that a field of ours takes: in milliseconds it is the longest timeout of Octavia's."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a request or session is tried with another member.

    retry_on: any of `connect-failure` (the connection could not be made), `reset` (it broke before a byte of the
    answer) and the statuses `502`, `503`, `504`; default ("connect-failure", "reset"). An HTTP request is sent again
    only where RFC 9110 allows it; TCP sessions know connect failures only. HAProxy: `retry-on`.
    num_retries: further tries a request has, 0..3; default 3, as in Octavia. HAProxy: `retries`.
    budget_percent: retries under way, of all that is under way in the pool, 0..100; default 0: no budget. Envoy:
    `retry_budget.budget_percent`.
    min_retry_concurrency: so many retries at once the budget always allows, 0..65535; default 3.
    """

    retry_on: tuple[RetryOn | str, ...] = (RetryOn.CONNECT_FAILURE, RetryOn.RESET)
    num_retries: int = 3
    budget_percent: int = 0
    min_retry_concurrency: int = 3


class OutlierDetection(msgspec.Struct, frozen=True, kw_only=True):
    """When a member that fails clients is ejected for a while, whatever its health monitor says. HAProxy: `observe`.

    consecutive_5xx: answers 500..599 in a row, 0..65535, broken answers and none in time among them; default 5; 0: not
    looked at.
    consecutive_connect_failures: connects that failed in a row, 0..65535; default 5; 0: not looked at.
    base_ejection_time: seconds out, the first time, up to 2073600; default 30. The next time it is twice that, and so
    on, up to max_ejection_time: seconds, not below the base, default 300. Each base time that it stays in takes one
    off.
    max_ejection_percent: of the pool's members at once, 0..100; default 10. One may be in any case.
    """

    consecutive_5xx: int = 5
    consecutive_connect_failures: int = 5
    base_ejection_time: float = 30.0
    max_ejection_time: float = 300.0
    max_ejection_percent: int = 10


_words = kinds.each(kinds.choice(RetryOn), "reasons to try again")


def _retry_on(field: str, value: Any, coerce: bool) -> tuple[RetryOn, ...]:
    words = _words(field, value, coerce)
    return tuple(word for word in RetryOn if word in words)


def _by_part(kind: type[S]) -> Callable[[S | None, Mapping[str, Any]], S]:
    """What is given changes what was there (nothing: the defaults); null resets a part."""
    defaults = kind()

    def merge(before: S | None, given: Mapping[str, Any]) -> S:
        return replace(
            defaults if before is None else before,
            **{name: getattr(defaults, name) if value is None else value for name, value in given.items()},
        )

    return merge


_count = kinds.integer(0, 65_535)
_percent = kinds.integer(0, 100)
_time_out: Check = kinds.duration(LONGEST_S, above_zero=True)

retry = kinds.record(
    RetryPolicy,
    {
        "retry_on": _retry_on,
        "num_retries": kinds.integer(0, 3),
        "budget_percent": _percent,
        "min_retry_concurrency": _count,
    },
    "must be a RetryPolicy or a mapping of some of its fields",
)
merge_retry = _by_part(RetryPolicy)

outlier_detection = kinds.record(
    OutlierDetection,
    {
        "consecutive_5xx": _count,
        "consecutive_connect_failures": _count,
        "base_ejection_time": _time_out,
        "max_ejection_time": _time_out,
        "max_ejection_percent": _percent,
    },
    "must be an OutlierDetection or a mapping of some of its fields",
)
_merge_outlier_detection = _by_part(OutlierDetection)


def merge_outlier_detection(before: OutlierDetection | None, given: Mapping[str, Any]) -> OutlierDetection:
    merged = _merge_outlier_detection(before, given)
    if merged.max_ejection_time < merged.base_ejection_time:
        raise ConfigError(
            "outlier_detection.max_ejection_time",
            merged.max_ejection_time,
            f"must be base_ejection_time ({merged.base_ejection_time:g}) or more",
        )
    return merged
