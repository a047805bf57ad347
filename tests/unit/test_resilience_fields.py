# SPDX-License-Identifier: Apache-2.0
"""What a pool bears with: retry and outlier_detection part by part, and what of all of it the core is told."""

import pytest
from msgspec.structs import replace

from fastlb import LoadBalancer, OutlierDetection, RetryPolicy, schema
from fastlb.errors import ConfigError, UnknownField
from fastlb.pool import _native_conf
from fastlb.schema import PoolSpec
from fastlb.schema.field import document


def spec(**fields):
    return schema.create(PoolSpec, {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"} | fields)


PARTS = [
    ("retry", "retry_on", ["reset"], ("reset",)),
    ("retry", "retry_on", [], ()),
    ("retry", "retry_on", ("504", "503", "connect-failure", "503"), ("connect-failure", "503", "504")),
    ("retry", "num_retries", 0, 0),
    ("retry", "num_retries", 3, 3),
    ("retry", "budget_percent", 100, 100),
    ("retry", "min_retry_concurrency", 0, 0),
    ("retry", "min_retry_concurrency", 65535, 65535),
    ("outlier_detection", "consecutive_5xx", 0, 0),
    ("outlier_detection", "consecutive_5xx", 65535, 65535),
    ("outlier_detection", "consecutive_connect_failures", 1, 1),
    ("outlier_detection", "base_ejection_time", 0.25, 0.25),
    ("outlier_detection", "base_ejection_time", 300, 300.0),
    ("outlier_detection", "max_ejection_time", 30, 30.0),
    ("outlier_detection", "max_ejection_time", 2_073_600, 2_073_600.0),
    ("outlier_detection", "max_ejection_percent", 100, 100),
]
DEFAULTS = {"retry": RetryPolicy(), "outlier_detection": OutlierDetection()}


@pytest.mark.parametrize(("field", "part", "value", "stored"), PARTS)
def test_a_part_is_taken_and_the_others_have_their_defaults(field, part, value, stored):
    assert getattr(spec(**{field: {part: value}}), field) == replace(DEFAULTS[field], **{part: stored})


REFUSED = [
    ("retry", {"retry_on": "reset"}, "retry.retry_on='reset': must be a list of reasons to try again"),
    (
        "retry",
        {"retry_on": ["5xx"]},
        "retry.retry_on[0]='5xx': must be one of connect-failure, reset, 502, 503, 504",
    ),
    ("retry", {"retry_on": [503]}, "retry.retry_on[0]=503: must be one of"),
    ("retry", {"num_retries": 4}, "retry.num_retries=4: must be 0..3"),
    ("retry", {"num_retries": -1}, "retry.num_retries=-1: must be 0..3"),
    ("retry", {"num_retries": "1"}, "retry.num_retries='1': must be an integer, 0..3"),
    ("retry", {"budget_percent": 101}, "retry.budget_percent=101: must be 0..100"),
    ("retry", {"min_retry_concurrency": 65536}, "retry.min_retry_concurrency=65536: must be 0..65535"),
    ("retry", 3, "retry=3: must be a RetryPolicy or a mapping of some of its fields"),
    ("retry", [("num_retries", 3)], "must be a RetryPolicy or a mapping"),
    ("retry", OutlierDetection(), "must be a RetryPolicy or a mapping"),
    ("outlier_detection", True, "outlier_detection=True: must be an OutlierDetection or a mapping"),
    (
        "outlier_detection",
        {"consecutive_5xx": 65536},
        "outlier_detection.consecutive_5xx=65536: must be 0..65535",
    ),
    (
        "outlier_detection",
        {"consecutive_connect_failures": -1},
        "consecutive_connect_failures=-1: must be 0..65535",
    ),
    (
        "outlier_detection",
        {"base_ejection_time": 0},
        "base_ejection_time=0: must be a number of seconds, above 0",
    ),
    (
        "outlier_detection",
        {"base_ejection_time": "30"},
        "must be a number of seconds, above 0 and at most 2073600",
    ),
    (
        "outlier_detection",
        {"max_ejection_time": 2_073_601},
        "must be a number of seconds, above 0 and at most 2073600",
    ),
    ("outlier_detection", {"max_ejection_time": float("inf")}, "must be a number of seconds"),
    ("outlier_detection", {"max_ejection_percent": 101}, "max_ejection_percent=101: must be 0..100"),
    (
        "outlier_detection",
        {"base_ejection_time": 301},
        "outlier_detection.max_ejection_time=300.0: must be base_ejection_time (301) or more",
    ),
    (
        "outlier_detection",
        OutlierDetection(max_ejection_percent=-1),
        "max_ejection_percent=-1: must be 0..100",
    ),
    ("retry", RetryPolicy(num_retries=9), "retry.num_retries=9: must be 0..3"),
]


@pytest.mark.parametrize(("field", "value", "message"), REFUSED)
def test_a_part_is_refused_with_its_place(field, value, message):
    with pytest.raises(ConfigError) as caught:
        spec(**{field: value})
    assert message in str(caught.value)
    assert str(caught.value).startswith(field)


@pytest.mark.parametrize(
    ("field", "near"), [("retry", "num_retries"), ("outlier_detection", "consecutive_5xx")]
)
def test_an_unknown_part_is_refused_and_those_there_are_named(field, near):
    with pytest.raises(UnknownField, match=rf"^{field}\.retries: no such field; there are .*{near}"):
        spec(**{field: {"retries": 3}})


@pytest.fixture
def pool():
    return LoadBalancer().create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")


def test_a_mapping_changes_only_what_it_has(pool):
    pool.retry = {"num_retries": 1}
    pool.update(retry={"budget_percent": 20})
    assert pool.retry == RetryPolicy(num_retries=1, budget_percent=20)
    pool.outlier_detection = {"consecutive_5xx": 3}
    pool.outlier_detection = {"max_ejection_percent": 50}
    assert pool.outlier_detection == OutlierDetection(consecutive_5xx=3, max_ejection_percent=50)


def test_an_object_replaces_all_of_it(pool):
    pool.retry = {"num_retries": 1}
    pool.retry = RetryPolicy(budget_percent=20)
    assert pool.retry == RetryPolicy(budget_percent=20)


def test_null_resets_one_part_or_all(pool):
    pool.retry = {"num_retries": 1, "retry_on": ["503"]}
    pool.retry = {"retry_on": None}
    assert pool.retry == RetryPolicy(num_retries=1)
    pool.retry = None
    assert pool.retry == RetryPolicy()


def test_an_empty_mapping_switches_outlier_detection_on_and_null_off(pool):
    assert pool.outlier_detection is None
    pool.outlier_detection = {}
    assert pool.outlier_detection == OutlierDetection()
    pool.outlier_detection = None
    assert pool.outlier_detection is None


def test_a_refused_change_changes_nothing(pool):
    before = pool.show()
    with pytest.raises(ConfigError):
        pool.update(slow_start=5, retry={"num_retries": 1}, outlier_detection={"base_ejection_time": 999})
    assert pool.show() == before


OURS = {
    "retry": {"retry_on": ["503"], "num_retries": 1, "budget_percent": 20, "min_retry_concurrency": 7},
    "outlier_detection": {
        "consecutive_5xx": 1,
        "consecutive_connect_failures": 2,
        "base_ejection_time": 0.5,
        "max_ejection_time": 4.0,
        "max_ejection_percent": 50,
    },
    "slow_start": 2.5,
    "panic_threshold": 40,
    "timeout_queue": 250,
}


def test_they_are_in_a_document_only_when_they_are_set():
    assert not OURS.keys() & document(spec()).keys()
    assert not OURS.keys() & document(spec(retry={}, slow_start=0, timeout_queue=5000)).keys()
    assert {name: value for name, value in document(spec(**OURS)).items() if name in OURS} == OURS


@pytest.mark.parametrize("make", ["balancer", "listener"])
def test_both_ways_to_make_a_pool_take_them_and_it_shows_and_travels(make):
    lb = LoadBalancer()
    maker = lb if make == "balancer" else lb.create_listener(protocol="HTTP", protocol_port=80)
    pool = maker.create_pool(name="web", protocol="HTTP", lb_algorithm="ROUND_ROBIN", **OURS)
    pool.create_member("10.0.0.7", 80, max_connections=9)
    shown = pool.show()
    assert {name: shown[name] for name in OURS} == OURS
    again = LoadBalancer.from_dict(lb.to_dict()).find_pool("web")
    assert again._spec == pool._spec
    assert again.members[0].max_connections == 9


def test_a_members_limit_is_in_a_document_only_when_it_is_set(pool):
    member = pool.create_member("10.0.0.7", 80)
    assert "max_connections" not in member.to_dict()
    member.max_connections = 7
    assert member.to_dict()["max_connections"] == member.show()["max_connections"] == 7
    assert member._row()[-1] == 7
    member.max_connections = None
    assert member.max_connections == 0


def test_members_given_as_mappings_take_the_limit(pool):
    assert (
        pool.create_members([{"address": "::1", "protocol_port": 80, "max_connections": 3}])[
            0
        ].max_connections
        == 3
    )


def native(**fields):
    return _native_conf(spec(**fields))


def test_the_core_is_told_harmless_values_by_default():
    conf = native()
    assert conf["retry_on"] == ["connect-failure", "reset"]
    assert (conf["retries"], conf["retry_budget_percent"], conf["retry_min"]) == (3, 0, 3)
    assert (conf["outlier_5xx"], conf["outlier_connect"], conf["slow_start_s"], conf["panic_percent"]) == (
        0,
    ) * 4
    assert conf["timeout_queue_ms"] == 5000
    assert native(timeout_queue=0) == conf


@pytest.mark.parametrize(
    ("field", "told"),
    [
        (
            "retry",
            {"retry_on": ["503"], "retries": 1, "retry_budget_percent": 20, "retry_min": 7},
        ),
        (
            "outlier_detection",
            {
                "outlier_5xx": 1,
                "outlier_connect": 2,
                "ejection_s": 0.5,
                "ejection_max_s": 4.0,
                "ejection_percent": 50,
            },
        ),
        ("slow_start", {"slow_start_s": 2.5}),
        ("panic_threshold", {"panic_percent": 40}),
        ("timeout_queue", {"timeout_queue_ms": 250}),
    ],
)
def test_the_core_is_told_each_field_and_nothing_else_changes(field, told):
    conf = native(**{field: OURS[field]})
    assert conf == native() | told


@pytest.mark.parametrize(
    ("protocol", "persistence", "told"),
    [
        ("HTTP", None, ("", "")),
        ("HTTP", {"type": "SOURCE_IP"}, ("SOURCE_IP", "")),
        ("HTTP", {"type": "HTTP_COOKIE"}, ("HTTP_COOKIE", "SRV")),
        ("HTTP", {"type": "APP_COOKIE", "cookie_name": "sid"}, ("APP_COOKIE", "sid")),
        ("TCP", {"type": "SOURCE_IP"}, ("SOURCE_IP", "")),
        ("TCP", {"type": "HTTP_COOKIE"}, ("", "")),
        ("HTTPS", {"type": "APP_COOKIE", "cookie_name": "sid"}, ("", "")),
    ],
)
def test_the_core_is_told_the_persistence_and_no_cookies_of_byte_streams(protocol, persistence, told):
    conf = native(protocol=protocol, session_persistence=persistence)
    assert (conf["persistence"], conf["cookie_name"]) == told
