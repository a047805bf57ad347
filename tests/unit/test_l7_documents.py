# SPDX-License-Identifier: Apache-2.0
"""L7 policies and rules in documents: Octavia's fully-populated create, and back."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlb
from fastlb import ConfigError, Conflict, LoadBalancer, NotSupported
from fastlb.errors import UnknownField

A_UUID = "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d"
A_RULE = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/api"}


def full():
    """A load balancer with policies, as somebody would write it: pools defined wherever there is a place for one."""
    return {
        "name": "shop",
        "listeners": [
            {
                "name": "http",
                "protocol": "HTTP",
                "protocol_port": 80,
                "default_pool": {"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"},
                "l7policies": [
                    {
                        "name": "api",
                        "action": "REDIRECT_TO_POOL",
                        "redirect_pool": {
                            "name": "api",
                            "protocol": "HTTP",
                            "lb_algorithm": "LEAST_CONNECTIONS",
                            "members": [{"address": "10.0.0.1", "protocol_port": 80}],
                            "healthmonitor": {"type": "TCP", "delay": 5, "timeout": 4, "max_retries": 2},
                        },
                        "rules": [
                            dict(A_RULE),
                            {"type": "COOKIE", "key": "a", "compare_type": "EQUAL_TO", "value": "b"},
                        ],
                    },
                    {
                        "action": "REDIRECT_PREFIX",
                        "redirect_prefix": "https://h",
                        "redirect_http_code": 301,
                        "position": 1,
                        "rules": [A_RULE | {"invert": True, "tags": ["t"]}],
                    },
                    {"action": "REJECT", "rules": []},
                ],
            },
            {
                "protocol": "HTTP",
                "protocol_port": 81,
                "l7policies": [
                    {"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "api"}},
                    {"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "static"}, "rules": None},
                    {
                        "action": "REDIRECT_TO_URL",
                        "redirect_url": "http://h",
                        "redirect_pool": {"name": "web"},
                    },
                ],
            },
        ],
        "pools": [{"name": "static", "protocol": "HTTP", "lb_algorithm": "MAGLEV"}],
    }


def test_a_document_describes_policies():
    lb = LoadBalancer.from_dict(full())
    first, second = lb.listeners
    assert [policy.action for policy in first.l7policies] == ["REDIRECT_PREFIX", "REDIRECT_TO_POOL", "REJECT"]
    assert [policy.position for policy in first.l7policies] == [1, 2, 3]
    api = first.find_l7policy("api")
    assert [rule.type for rule in api.rules] == ["PATH", "COOKIE"]
    assert api.redirect_pool is second.l7policies[0].redirect_pool is lb.find_pool("api")
    assert api.redirect_pool.members[0].address == "10.0.0.1"
    assert api.redirect_pool.health_monitor.type == "TCP"
    assert second.l7policies[1].redirect_pool is lb.find_pool("static")
    assert (second.l7policies[2].redirect_pool, second.l7policies[2].rules) == (None, ())


def test_what_is_dumped_loads_again_as_the_same():
    lb = LoadBalancer.from_dict(full())
    dumped = lb.to_dict()
    assert json.loads(json.dumps(dumped)) == dumped
    again = LoadBalancer.from_dict(dumped)
    assert again.to_dict() == dumped
    for one, two in zip(lb.listeners, again.listeners, strict=True):
        for before, after in zip(one.l7policies, two.l7policies, strict=True):
            assert [rule._spec for rule in before.rules] == [rule._spec for rule in after.rules]
            assert before.show().keys() == after.show().keys()
    assert dumped["loadbalancer"]["listeners"][0]["l7policies"][1]["redirect_pool"] == {"name": "api"}


def test_a_dump_says_the_code_that_is_in_force():
    listener = LoadBalancer().create_listener(protocol="HTTP", protocol_port=80)
    policy = listener.create_l7policy(action="REDIRECT_TO_URL", redirect_url="http://h")
    policy.redirect_http_code = None
    assert (policy.redirect_http_code, policy.show()["redirect_http_code"]) == (None, None)
    assert policy.to_dict()["redirect_http_code"] == 302


def test_a_pool_without_a_name_appears_under_its_id():
    lb = LoadBalancer()
    listener = lb.create_listener(protocol="HTTP", protocol_port=80)
    bare = lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=bare)
    dumped = lb.to_dict()["loadbalancer"]
    assert dumped["listeners"][0]["l7policies"][0]["redirect_pool"] == {"name": bare.id}
    assert LoadBalancer.from_dict(dumped).to_dict()["loadbalancer"] == dumped


def test_the_given_document_is_left_alone():
    document = full()
    LoadBalancer.from_dict(document)
    assert document == full()


def test_octavias_looser_types_are_taken_on_request():
    document = full()
    document["listeners"][0]["l7policies"][1] |= {"redirect_http_code": "307", "position": "2"}
    document["listeners"][0]["l7policies"][0]["rules"][0]["invert"] = "yes"
    lb = LoadBalancer.from_dict(document, coerce=True)
    prefix = lb.listeners[0].l7policies[1]
    assert (prefix.redirect_http_code, prefix.position) == (307, 2)
    assert lb.listeners[0].l7policies[0].rules[0].invert is True
    with pytest.raises(
        ConfigError, match=r"^listeners\[0\]\.l7policies\[0\]\.rules\[0\]\.invert='yes': must be True or"
    ):
        LoadBalancer.from_dict(document)


def at(path, **fields):
    """Change the object at a path: `at("listeners 0 l7policies 1", action=None)`."""

    def change(lb):
        for step in path.split():
            lb = lb[int(step) if step.isdigit() else step]
        lb.update(fields)

    return change


P = "listeners 0 l7policies 0"
REFUSED = [
    (at(P, action="x"), ConfigError, "listeners[0].l7policies[0].action='x': must be one of REJECT"),
    (
        at(P, actoin="REJECT"),
        UnknownField,
        "listeners[0].l7policies[0].actoin: no such field; did you mean action?",
    ),
    (
        at(P + " rules 1", value="a;b"),
        ConfigError,
        "listeners[0].l7policies[0].rules[1].value='a;b': must be",
    ),
    (
        at(P + " rules 0", compare_type="x"),
        ConfigError,
        "listeners[0].l7policies[0].rules[0].compare_type='x'",
    ),
    (
        at(P, rules=[1]),
        ConfigError,
        "listeners[0].l7policies[0].rules[0]=1: must be a mapping of fields to values",
    ),
    (
        at(P, rules=[A_RULE] * 51),
        Conflict,
        "listeners[0].l7policies[0].rules: 51 of them; a policy has 50 at most",
    ),
    (
        at("listeners 1 l7policies 1", redirect_pool=None),
        ConfigError,
        "listeners[1].l7policies[1].redirect_pool=None: must be given",
    ),
    (
        at(P, redirect_pool={}),
        ConfigError,
        "listeners[0].l7policies[0].redirect_pool.name=None: must be given",
    ),
    (
        at(P, redirect_pool="api"),
        ConfigError,
        "listeners[0].l7policies[0].redirect_pool='api': must be a mapping",
    ),
    (
        at(P, redirect_pool={"name": ["api"]}),
        ConfigError,
        "listeners[0].l7policies[0].redirect_pool.name=['api']: must be given",
    ),
    (
        at(P, redirect_pool={"name": "x"}),
        ConfigError,
        "listeners[0].l7policies[0].redirect_pool.name='x': must be the name of a pool that the document defines",
    ),
    (
        at(P + " redirect_pool", name="web"),
        ConfigError,
        "listeners[0].l7policies[0].redirect_pool.name='web': must be unique",
    ),
    (
        at(P + " redirect_pool", protocol="TCP"),
        ConfigError,
        "listeners[0].l7policies[0].redirect_pool_id='a TCP pool': the pool of a HTTP listener must be one of",
    ),
    (
        at(P + " redirect_pool members 0", weight=300),
        ConfigError,
        "listeners[0].l7policies[0].redirect_pool.members[0].weight=300: must be 0..256",
    ),
    (
        at(P, redirect_pool_id=A_UUID),
        UnknownField,
        "listeners[0].l7policies[0].redirect_pool_id: no such field here; give redirect_pool",
    ),
    (at("listeners 1", l7policies={}), ConfigError, "listeners[1].l7policies={}: must be a list of mappings"),
    (at("listeners 1", l7policies=["x"]), ConfigError, "listeners[1].l7policies[0]='x': must be a mapping"),
    (
        at("listeners 1", protocol="TCP"),
        NotSupported,
        "listeners[1].l7policies[0].listener='TCP': must be a HTTP or TERMINATED_HTTPS listener to have L7 policies",
    ),
    (
        at("listeners 1", protocol="PROMETHEUS"),
        ConfigError,
        "listeners[1].l7policies[0].listener='PROMETHEUS': can have no L7 policies",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_a_refusal_names_the_place(change, error, message):
    document = full()
    change(document)
    with pytest.raises(error, match="^" + re.escape(message)) as caught:
        LoadBalancer.from_dict(document)
    assert caught.value.fault


RULES = st.builds(
    dict,
    type=st.sampled_from(["PATH", "HOST_NAME", "HEADER", "COOKIE", "FILE_TYPE", "SSL_DN_FIELD"]),
    compare_type=st.sampled_from(list(fastlb.L7CompareType)),
    value=st.text('ab/".*( é', min_size=1, max_size=6),
    key=st.sampled_from([None, "CN", "a b"]),
    invert=st.booleans(),
    admin_state_up=st.booleans(),
)
POLICIES = st.builds(
    dict,
    name=st.sampled_from(["", "x"]),
    action=st.sampled_from(list(fastlb.L7PolicyAction)),
    redirect_url=st.sampled_from([None, "http://h"]),
    redirect_prefix=st.sampled_from([None, "http://h/"]),
    redirect_pool=st.sampled_from(
        [None, {"name": "p"}, {"name": "q", "protocol": "HTTP", "lb_algorithm": "MAGLEV"}]
    ),
    redirect_http_code=st.sampled_from([None, 301]),
    position=st.sampled_from([None, 1, 2, 9]),
    admin_state_up=st.booleans(),
    rules=st.lists(RULES, max_size=2),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(POLICIES, max_size=3), st.sampled_from(["HTTP", "TCP"]))
def test_any_policies_are_refused_or_dumped_as_they_load(policies, protocol):
    pools = [{"name": "p", "protocol": protocol, "lb_algorithm": "ROUND_ROBIN"}]
    listeners = [{"protocol": "HTTP", "protocol_port": 80, "l7policies": policies}]
    try:
        lb = LoadBalancer.from_dict({"listeners": listeners, "pools": pools})
    except fastlb.FastLBError:
        return
    dumped = lb.to_dict()
    assert LoadBalancer.from_dict(dumped).to_dict() == dumped
