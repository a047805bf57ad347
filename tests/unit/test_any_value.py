# SPDX-License-Identifier: Apache-2.0
"""Whatever is given, it is stored in a form that loads again, or refused with an error of ours that says why."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlb import FastLBError, LoadBalancer, schema
from fastlb.errors import ConfigError
from fastlb.schema.field import document, rules

NEEDED = {
    schema.LoadBalancerSpec: {},
    schema.ListenerSpec: {"protocol": "HTTP", "protocol_port": 80},
    schema.PoolSpec: {"protocol": "UDP", "lb_algorithm": "ROUND_ROBIN"},
    schema.MemberSpec: {"address": "10.0.0.7", "protocol_port": 8080},
    schema.L7PolicySpec: {"action": "REJECT", "redirect_http_code": 301},
    schema.L7RuleSpec: {"type": "HEADER", "compare_type": "CONTAINS", "key": "X-A", "value": "a"},
    schema.HealthMonitorSpec: {"type": "HTTP", "delay": 5, "timeout": 4, "max_retries": 2},
}
WORDS = st.sampled_from(
    [
        "HTTP",
        "TCP",
        "UDP",
        "SOURCE_IP",
        "APP_COOKIE",
        "true",
        "10.0.0.1",
        "::1/64",
        "fe80::1%lo",
        "/",
        "200-204",
        "1.1",
        "type",
        "cookie_name",
        "subnet_id",
        "ip_address",
        "X-Forwarded-For",
        "REDIRECT_TO_URL",
        "https://h/",
        "HOST_NAME",
        "REGEX",
        "(",
        "301",
        "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 300),
    st.floats(),
    st.text(max_size=8),
    WORDS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", NEEDED, ids=lambda kind: kind.__name__)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data(), coerce=st.booleans())
def test_any_value_of_any_field(kind, data, coerce):
    field = data.draw(st.sampled_from(sorted(rules(kind))))
    value = data.draw(VALUES)
    spec = schema.create(kind, NEEDED[kind])
    for make in (
        lambda: schema.create(kind, NEEDED[kind] | {field: value}, coerce=coerce),
        lambda: schema.update(spec, {field: value}, coerce=coerce),
    ):
        try:
            made = make()
        except ConfigError as error:
            refusal = error
        else:
            written = json.loads(json.dumps(document(made)))
            assert schema.create(kind, written) == made
            continue
        assert refusal.field.split(".")[0].split("[")[0] in rules(kind)
        assert str(refusal)
        assert refusal.fault


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_any_document(data):
    body = {
        key: data.draw(VALUES)
        for key in data.draw(
            st.lists(st.sampled_from(["name", "listeners", "pools", "tags", "vip_address", "x"]))
        )
    }
    if data.draw(st.booleans()):
        pools = [{"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}]
        key = data.draw(st.sampled_from(["members", "healthmonitor", "session_persistence", "default_pool"]))
        pools[0][key] = data.draw(VALUES)
        body["pools"] = pools
    try:
        lb = LoadBalancer.from_dict(body)
    except FastLBError:
        return
    assert LoadBalancer.from_dict(lb.to_dict()).to_dict() == lb.to_dict()
