# SPDX-License-Identifier: Apache-2.0
"""L7 policies and rules as objects that are described and not started; those of a running one: tests/wire."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlb
from fastlb import ConfigError, Conflict, LoadBalancer, NotFound, NotSupported, StateError
from fastlb.errors import MissingField, UnknownField

A_UUID = "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d"
A_RULE = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/api"}


@pytest.fixture
def lb():
    return LoadBalancer(name="web")


@pytest.fixture
def listener(lb):
    return lb.create_listener(name="http", protocol="HTTP", protocol_port=8080)


@pytest.fixture
def api(lb):
    return lb.create_pool(name="api", protocol="HTTP", lb_algorithm="ROUND_ROBIN")


@pytest.fixture
def policy(listener, api):
    return listener.create_l7policy(name="to-api", action="REDIRECT_TO_POOL", redirect_pool=api)


@pytest.fixture
def rule(policy):
    return policy.create_rule(**A_RULE)


# Making.


def test_objects_know_each_other(lb, listener, api, policy, rule):
    assert listener.l7policies == (policy,)
    assert policy.rules == (rule,)
    assert (policy.listener, rule.policy) == (listener, policy)
    assert policy.load_balancer is rule.load_balancer is lb
    assert (policy.redirect_pool, policy.redirect_pool_id) == (api, api.id)
    assert (api.l7policies, api.listeners) == ((policy,), (listener,))
    assert listener.find_l7policy("to-api") is listener.find_l7policy(policy.id) is policy
    with pytest.raises(NotFound, match=r"^L7 policy 'x': not found on listener 'http'; there: 'to-api'$"):
        listener.find_l7policy("x")


def test_arguments_become_attributes(listener):
    policy = listener.create_l7policy(
        action=fastlb.L7PolicyAction.REDIRECT_PREFIX,
        redirect_prefix="https://h",
        redirect_http_code=308,
        position=9,
        name="n",
        description="d",
        admin_state_up=False,
        tags=["t"],
    )
    assert policy.action is fastlb.L7PolicyAction.REDIRECT_PREFIX
    assert (policy.redirect_prefix, policy.redirect_url, policy.redirect_pool) == ("https://h", None, None)
    assert (policy.redirect_http_code, policy.position) == (308, 1)
    assert (policy.name, policy.description, policy.admin_state_up, policy.tags) == ("n", "d", False, ("t",))
    rule = policy.create_rule(
        type="HEADER",
        compare_type="REGEX",
        value="^a",
        key="X-A",
        invert=True,
        admin_state_up=False,
        tags=["t"],
    )
    assert rule.type is fastlb.L7RuleType.HEADER
    assert rule.compare_type is fastlb.L7CompareType.REGEX
    assert (rule.value, rule.key, rule.invert, rule.admin_state_up, rule.tags) == (
        "^a",
        "X-A",
        True,
        False,
        ("t",),
    )


def test_a_policy_comes_with_its_rules_or_not_at_all(listener):
    policy = listener.create_l7policy(action="REJECT", rules=[A_RULE, A_RULE | {"invert": True}])
    assert [rule.invert for rule in policy.rules] == [False, True]
    with pytest.raises(ConfigError, match=r"^rules\[1\]\.value='a b': must be printable ASCII"):
        listener.create_l7policy(action="REJECT", rules=[A_RULE, A_RULE | {"value": "a b"}])
    with pytest.raises(MissingField, match=r"^rules\[0\]\.type: must be given$"):
        listener.create_l7policy(action="REJECT", rules=[{}])
    with pytest.raises(ConfigError, match=r"^rules\[0\]='x': must be a mapping"):
        listener.create_l7policy(action="REJECT", rules=["x"])
    assert listener.l7policies == (policy,)


def test_many_policies_are_made_or_none(listener, api):
    first = listener.create_l7policy(action="REJECT")
    made = listener.create_l7policies(
        [
            {"action": "REDIRECT_TO_POOL", "redirect_pool": api, "rules": [A_RULE]},
            {"action": "REJECT", "position": 1, "name": "top"},
        ]
    )
    assert listener.l7policies == (made[1], first, made[0])
    assert made[0].redirect_pool is api
    for wrong, error, message in (
        (
            {"action": "REJECT", "postion": 1},
            UnknownField,
            r"^l7policies\[1\]\.postion: no such field; did you mean position",
        ),
        ({}, MissingField, r"^l7policies\[1\]\.action: must be given$"),
        ({"action": "REDIRECT_TO_URL"}, ConfigError, r"^l7policies\[1\]\.redirect_url=None: must be given"),
        (
            {"action": "REJECT", "rules": [A_RULE, {}]},
            MissingField,
            r"^l7policies\[1\]\.rules\[1\]\.type: must be",
        ),
        (
            {"action": "REJECT", "rules": {}},
            ConfigError,
            r"^l7policies\[1\]\.rules=\{\}: must be a list of mappings$",
        ),
        (
            {"action": "REDIRECT_TO_POOL", "redirect_pool_id": A_UUID},
            NotFound,
            r"^l7policies\[1\]\.redirect_pool_id='6f1e.*: no such pool on load balancer 'web'$",
        ),
        (
            {"action": "REDIRECT_TO_POOL", "redirect_pool": "api"},
            ConfigError,
            r"^l7policies\[1\]\.redirect_pool='api': must be a Pool of this load balancer$",
        ),
        ("REJECT", ConfigError, r"^l7policies\[1\]='REJECT': must be a mapping of fields to values$"),
    ):
        with pytest.raises(error, match=message):
            listener.create_l7policies([{"action": "REJECT"}, wrong])
    assert listener.create_l7policies([]) == []
    assert listener.l7policies == (made[1], first, made[0])
    assert api.l7policies == (made[0],)


# Refusing.


@pytest.mark.parametrize("protocol", ["TCP", "HTTPS", "UDP", "SCTP"])
def test_policies_look_at_http_requests(lb, protocol):
    listener = lb.create_listener(protocol=protocol, protocol_port=80)
    with pytest.raises(
        NotSupported, match=f"^listener='{protocol}': must be a HTTP or TERMINATED_HTTPS"
    ) as caught:
        listener.create_l7policy(action="REJECT")
    assert caught.value.status == 501
    assert caught.value.fault == (
        "Provider 'amphora' does not support a requested option: "
        f"{protocol} protocol listeners do not support L7 policies"
    )
    assert listener.l7policies == ()


def test_a_prometheus_listener_has_no_children(lb, api):
    listener = lb.create_listener(protocol="PROMETHEUS", protocol_port=80)
    for fields in ({"action": "REJECT"}, {"action": "REDIRECT_TO_POOL", "redirect_pool": api}):
        with pytest.raises(ConfigError, match=r"^listener='PROMETHEUS': can have no L7 policies$") as caught:
            listener.create_l7policy(**fields)
        assert caught.value.fault == "Protocol PROMETHEUS listeners cannot have child objects."


def test_a_listener_that_ends_tls_has_policies(lb):
    listener = lb.create_listener(
        protocol="TERMINATED_HTTPS", protocol_port=443, default_tls_container_ref="ref"
    )
    assert listener.create_l7policy(action="REJECT").position == 1


POOLS = [("HTTP", True), ("PROXY", True), ("PROXYV2", True), ("TCP", False), ("HTTPS", False), ("UDP", False)]


@pytest.mark.parametrize(("protocol", "allowed"), POOLS)
def test_a_pool_must_suit_the_listener_of_its_policy(lb, listener, protocol, allowed):
    pool = lb.create_pool(protocol=protocol, lb_algorithm="ROUND_ROBIN")
    policy = listener.create_l7policy(action="REJECT")
    calls = (
        lambda: listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=pool),
        lambda: policy.update(redirect_pool=pool),
        # As in Octavia: whatever pool is named at the creation must fit, even if it is dropped.
        lambda: listener.create_l7policy(action="REJECT", redirect_pool=pool),
    )
    for call in calls:
        if allowed:
            call()
            continue
        with pytest.raises(
            ConfigError, match=rf"^redirect_pool_id='a {protocol} pool': the pool of a HTTP"
        ) as caught:
            call()
        assert caught.value.fault == (
            f"Validation failure: The pool protocol '{protocol}' is invalid while the listener protocol is 'HTTP'."
        )
    assert len(pool.l7policies) == (2 if allowed else 0)


def test_a_pool_of_another_load_balancer_is_not_found(listener, policy, api):
    other = LoadBalancer().create_pool(name="theirs", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    for refuse, message in (
        (
            lambda: policy.update(redirect_pool=other),
            "redirect_pool='theirs': must be a pool of load balancer 'web'",
        ),
        (
            lambda: policy.update(redirect_pool_id=other.id),
            "redirect_pool_id=.*: no such pool on load balancer 'web'",
        ),
        (lambda: setattr(policy, "redirect_pool_id", A_UUID), "redirect_pool_id=.*: no such pool"),
        (
            lambda: listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool_id=other.id),
            "redirect_pool_id=.*: no such pool",
        ),
    ):
        with pytest.raises(NotFound, match=message):
            refuse()
    with pytest.raises(NotFound) as caught:
        policy.redirect_pool_id = A_UUID
    assert caught.value.fault == f"Pool {A_UUID} not found."
    with pytest.raises(
        ConfigError, match=r"^redirect_pool_id=.*: must be the id of redirect_pool when both are given$"
    ):
        policy.update(redirect_pool=api, redirect_pool_id=A_UUID)
    assert policy.redirect_pool is api
    assert len(listener.l7policies) == 1


def test_a_pool_that_a_policy_redirects_to_is_not_deleted(lb, listener, api, policy):
    for admin_state_up in (True, False):
        policy.admin_state_up = admin_state_up
        with pytest.raises(
            Conflict, match=r"^pool 'api': is in use by L7 policy 'to-api' of listener 'http'$"
        ) as e:
            api.delete()
        assert e.value.fault == f"Pool {api.id} is in use by L7 policy {policy.id}"
        assert e.value.status == 409
    assert lb.pools == (api,)
    policy.action = "REJECT"
    api.delete()
    assert lb.pools == ()


def test_a_policy_has_50_rules_at_most(listener):
    policy = listener.create_l7policy(action="REJECT", rules=[A_RULE] * 49)
    last = policy.create_rule(**A_RULE)
    with pytest.raises(Conflict, match=r"^L7 policy .*: has 50 rules, and may not have more$") as caught:
        policy.create_rule(**A_RULE)
    assert (caught.value.status, caught.value.fault) == (409, f"Too many rules on L7 policy {policy.id}")
    last.delete()
    policy.create_rule(**A_RULE)
    with pytest.raises(Conflict, match=r"^l7policies\[0\]\.rules: 51 of them; a policy has 50 at most$"):
        listener.create_l7policies([{"action": "REJECT", "rules": [A_RULE] * 51}])
    assert listener.l7policies == (policy,)


def test_a_change_is_all_or_nothing(policy, rule, api):
    before = policy.show() | {"rules": rule.show()}
    for refuse in (
        lambda: policy.update(name="new", position=1, redirect_url="http://"),
        lambda: policy.update(action="REJECT", redirect_prefix="http://h", redirect_http_code=304),
        lambda: policy.update(redirect_url=None, redirect_pool=None),
        lambda: policy.update(),
        lambda: rule.update(value="/x", compare_type="REGEXP"),
        lambda: rule.update(type="COOKIE"),
    ):
        with pytest.raises(ConfigError):
            refuse()
    assert policy.show() | {"rules": rule.show()} == before
    assert api.l7policies == (policy,)


# Positions.


def positions(listener):
    """The names of the policies by position; what each says of its own is checked on the way."""
    assert [policy.position for policy in listener.l7policies] == [*range(1, len(listener.l7policies) + 1)]
    return "".join(policy.name for policy in listener.l7policies)


def filled(listener, names):
    return [listener.create_l7policy(action="REJECT", name=name) for name in names]


@pytest.mark.parametrize(
    ("asked", "order"),
    [
        (None, "abcx"),
        (1, "xabc"),
        (2, "axbc"),
        (3, "abxc"),
        (4, "abcx"),
        (5, "abcx"),
        (2_147_483_647, "abcx"),
    ],
)
def test_a_new_policy_moves_the_later_ones_down(listener, asked, order):
    filled(listener, "abc")
    listener.create_l7policy(action="REJECT", name="x", position=asked)
    assert positions(listener) == order


def test_the_first_policy_is_the_first_whatever_it_asks_for(listener):
    assert listener.create_l7policy(action="REJECT", position=100).position == 1


@pytest.mark.parametrize(
    ("which", "to", "order"),
    [
        ("a", 1, "abcd"),
        ("a", 3, "bcad"),
        ("a", 4, "bcda"),
        ("a", 99, "bcda"),
        ("c", 1, "cabd"),
        ("c", 2, "acbd"),
        ("d", 1, "dabc"),
        ("d", None, "abcd"),
    ],
)
def test_a_policy_that_moves_takes_its_place_among_the_others(listener, which, to, order):
    policies = {policy.name: policy for policy in filled(listener, "abcd")}
    policies[which].position = to
    assert positions(listener) == order


def test_a_deleted_policy_leaves_no_gap(listener):
    a, b, c = filled(listener, "abc")
    b.delete()
    assert (positions(listener), c.position) == ("ac", 2)
    a.delete()
    assert (positions(listener), c.position) == ("c", 1)
    for use in (a.delete, lambda: a.update(name="x"), lambda: a.create_rule(**A_RULE)):
        with pytest.raises(StateError, match="was deleted and can no longer be used"):
            use()


def test_positions_are_each_listeners_own(lb, listener):
    other = lb.create_listener(protocol="HTTP", protocol_port=81)
    filled(listener, "abc")
    filled(other, "x")
    assert (positions(listener), positions(other)) == ("abc", "x")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("cmd"), st.integers(1, 8), st.integers(0, 7)), max_size=20))
def test_positions_are_what_a_list_makes_of_them(steps):
    listener = LoadBalancer().create_listener(protocol="HTTP", protocol_port=80)
    model = []
    for number, (step, position, which) in enumerate(steps):
        if step == "c":
            one = listener.create_l7policy(action="REJECT", name=chr(97 + number), position=position)
            model.insert(position - 1, one)
        elif model:
            one = model.pop(which % len(model))
            if step == "d":
                one.delete()
            else:
                one.position = position
                model.insert(position - 1, one)
        assert listener.l7policies == tuple(model)
        assert positions(listener) == "".join(policy.name for policy in model)


# Changing.


def test_assigning_is_updating(policy, rule, api, listener):
    policy.redirect_url = "http://h/"
    assert (policy.action, policy.redirect_url, policy.redirect_pool) == (
        "REDIRECT_TO_URL",
        "http://h/",
        None,
    )
    assert (policy.redirect_http_code, api.l7policies) == (302, ())
    policy.redirect_http_code = 301
    policy.redirect_prefix = "http://p"
    assert (policy.action, policy.redirect_url, policy.redirect_http_code) == ("REDIRECT_PREFIX", None, 302)
    policy.redirect_pool = api
    assert (policy.action, policy.redirect_http_code, api.l7policies) == ("REDIRECT_TO_POOL", None, (policy,))
    policy.action = "REJECT"
    assert (policy.redirect_pool_id, api.l7policies, api.listeners) == (None, (), ())
    policy.redirect_pool_id = api.id
    assert policy.redirect_pool is api
    for field, value in (("name", "x"), ("description", "x"), ("admin_state_up", False), ("tags", ["t"])):
        setattr(policy, field, value)
    assert (policy.name, policy.description, policy.admin_state_up, policy.tags) == ("x", "x", False, ("t",))
    for field, value in (
        ("type", "FILE_TYPE"),
        ("compare_type", "EQUAL_TO"),
        ("value", "jpg"),
        ("invert", True),
    ):
        if field != "type":
            setattr(rule, field, value)
    rule.type = "FILE_TYPE"
    assert (rule.type, rule.compare_type, rule.value, rule.invert) == ("FILE_TYPE", "EQUAL_TO", "jpg", True)
    rule.invert = None
    assert rule.invert is False
    with pytest.raises(AttributeError):
        rule.vlaue = "x"
    with pytest.raises(AttributeError):
        rule.name = "rules have none"


def test_updates_are_dated_and_siblings_are_not(listener, policy, rule):
    other = listener.create_l7policy(action="REJECT", position=1)
    assert policy.updated_at is other.updated_at is rule.updated_at is None
    policy.position = 1
    assert policy.updated_at >= policy.created_at
    assert (other.position, other.updated_at) == (2, None)
    rule.update(invert=True)
    assert rule.updated_at >= rule.created_at


def test_a_deleted_rule_is_gone(policy, rule, api):
    rule.delete()
    assert (policy.rules, api.listeners) == ((), ())
    for use in (rule.delete, lambda: rule.update(invert=True)):
        with pytest.raises(
            StateError, match=r"L7 rule PATH STARTS_WITH '/api' of L7 policy 'to-api': was deleted"
        ):
            use()


def test_a_deleted_listener_takes_its_policies_along_and_leaves_their_pools(lb, listener, api, policy, rule):
    listener.delete()
    for one in (policy, rule):
        assert (one.provisioning_status, one.operating_status) == ("DELETED", "OFFLINE")
    assert (lb.pools, api.l7policies, api.listeners) == ((api,), (), ())
    api.delete()


def test_a_load_balancer_deleted_by_cascade_takes_all_along(lb, policy, rule):
    lb.delete(cascade=True)
    assert policy.provisioning_status == rule.provisioning_status == "DELETED"


def test_listeners_of_a_pool_are_those_that_send_clients_there(lb, listener, api, policy):
    second = lb.create_listener(protocol="HTTP", protocol_port=81)
    default = lb.create_listener(protocol="HTTP", protocol_port=82, default_pool=api)
    assert api.listeners == (default,)
    rule = policy.create_rule(**A_RULE | {"admin_state_up": False})
    assert api.listeners == (default, listener)
    more = second.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=api, rules=[A_RULE])
    default.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=api, rules=[A_RULE])
    assert api.listeners == (default, listener, second)
    more.admin_state_up = False
    assert api.listeners == (default, listener)
    rule.delete()
    assert api.listeners == (default,)
    assert api.show()["listeners"] == [{"id": default.id}]
    default.default_pool = None
    assert api.listeners == (default,)


# Showing.


def test_show_has_octavias_keys(listener, api, policy, rule):
    shown = policy.show()
    assert shown.keys() == {
        *(
            "id",
            "name",
            "description",
            "admin_state_up",
            "tags",
            "project_id",
            "tenant_id",
            "created_at",
            "updated_at",
        ),
        *("provisioning_status", "operating_status", "action", "listener_id", "position", "rules"),
        *("redirect_pool_id", "redirect_url", "redirect_prefix", "redirect_http_code"),
    }
    assert (shown["listener_id"], shown["redirect_pool_id"]) == (listener.id, api.id)
    assert (shown["position"], shown["rules"]) == (1, [{"id": rule.id}])
    assert listener.show()["l7policies"] == [{"id": policy.id}]
    shown = rule.show()
    assert shown.keys() == {
        *(
            "id",
            "type",
            "compare_type",
            "key",
            "value",
            "invert",
            "admin_state_up",
            "tags",
            "project_id",
            "tenant_id",
        ),
        *("created_at", "updated_at", "provisioning_status", "operating_status"),
    }
    assert shown["provisioning_status"] == "PENDING_CREATE"
    assert json.loads(json.dumps([policy.show(), rule.show()])) == [policy.show(), rule.show()]


def test_what_is_only_described_is_pending_and_offline(policy, rule):
    for one in (policy, rule):
        assert (one.provisioning_status, one.operating_status) == ("PENDING_CREATE", "OFFLINE")
        assert one.wait_for(operating_status="OFFLINE", timeout=0) == "OFFLINE"


def test_the_status_tree_has_the_pools_of_policies_and_not_the_policies(lb, listener, api, policy):
    def pools():
        return [
            pool["name"] for pool in lb.status_tree()["statuses"]["loadbalancer"]["listeners"][0]["pools"]
        ]

    assert pools() == []
    policy.create_rule(**A_RULE)
    assert pools() == ["api"]
    web = listener.create_pool(name="web", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    assert pools() == ["web", "api"]
    policy.redirect_pool = web
    assert pools() == ["web"]
    policy.update(redirect_pool=api, admin_state_up=False)
    assert pools() == ["web"]


def test_reprs_are_one_line_that_one_can_act_on(listener, policy, rule):
    assert repr(policy) == ("<L7Policy to-api REDIRECT_TO_POOL api OFFLINE (not started) position=1 rules=1>")
    assert repr(rule) == "<L7Rule PATH STARTS_WITH '/api' OFFLINE (not started)>"
    rule.update(type="HEADER", key="X-A", invert=True)
    assert repr(rule) == "<L7Rule HEADER X-A not STARTS_WITH '/api' OFFLINE (not started)>"
    url = listener.create_l7policy(action="REDIRECT_TO_URL", redirect_url="http://h/")
    assert repr(url) == "<L7Policy REDIRECT_TO_URL http://h/ OFFLINE (not started) position=2 rules=0>"
    assert repr(listener.create_l7policy(action="REJECT")).startswith("<L7Policy REJECT OFFLINE")
    rule.delete()
    policy.delete()
    assert repr(rule) == "<L7Rule HEADER X-A not STARTS_WITH '/api' OFFLINE (DELETED)>"
    assert "(DELETED)" in repr(policy)
