# SPDX-License-Identifier: Apache-2.0
"""What would become of a request is told without sending it, also of a load balancer that is only described."""

import json

import pytest

import fastlb


@pytest.fixture
def shop():
    """A described listener with two pools and three policies."""
    lb = fastlb.LoadBalancer(name="shop", vip_address="127.0.0.1")
    listener = lb.create_listener(name="http", protocol="HTTP", protocol_port=8080)
    web = listener.create_pool(name="web", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    web.create_members([("127.0.0.1", 9001), ("127.0.0.1", 9002)])
    api = lb.create_pool(name="api", protocol="HTTP", lb_algorithm="SOURCE_IP")
    api.create_members([("127.0.0.2", 80), ("127.0.0.3", 80), ("127.0.0.4", 80)])
    to_api = listener.create_l7policy(name="to-api", action="REDIRECT_TO_POOL", redirect_pool=api)
    to_api.create_rule(type="PATH", compare_type="STARTS_WITH", value="/api")
    to_api.create_rule(type="HEADER", key="X-Old", compare_type="EQUAL_TO", value="1", invert=True)
    moved = listener.create_l7policy(
        name="moved", action="REDIRECT_PREFIX", redirect_prefix="https://new.example", redirect_http_code=301
    )
    moved.create_rule(type="HOST_NAME", compare_type="EQUAL_TO", value="old.example")
    closed = listener.create_l7policy(name="closed", action="REJECT")
    closed.create_rule(type="PATH", compare_type="REGEX", value=r"\.php$")
    return listener


def test_the_matching_policy_its_rules_and_its_pool_are_named(shop):
    told = shop.explain(host="a.example", path="/api/x?y=1")
    assert (told.policy.name, told.pool.name, told.status, told.reason) == ("to-api", "api", None, None)
    assert [check.policy.name for check in told.policies] == ["closed", "moved", "to-api"]
    assert [check.matches for check in told.policies] == [False, False, True]
    assert [rule.matches for rule in told.policies[2].rules] == [True, True]
    assert told.sent == b"GET /api/x?y=1 HTTP/1.1\r\nHost: a.example\r\n\r\n"


def test_a_rule_that_does_not_match_is_named(shop):
    told = shop.explain(path="/api", headers=[("x-old", "0, 1")])
    assert told.policy is None
    assert told.pool.name == "web"
    assert [rule.matches for rule in told.policies[2].rules] == [True, False]


def test_a_rejected_request_is_answered(shop):
    told = shop.explain(path="/index.php?x=.html")
    assert (told.policy.name, told.status, told.reason, told.pool) == ("closed", 403, "policy", None)
    assert told.sent.startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_a_redirect_shows_where_to(shop):
    told = shop.explain(host="OLD.example", path="/a?b")
    assert (told.policy.name, told.status, told.reason) == ("moved", 301, None)
    assert b"\r\nLocation: https://new.example/a?b\r\n" in told.sent


def test_a_malformed_request_says_what_is_wrong(shop):
    assert (shop.explain(path="/a b").status, shop.explain(path="/a b").reason) == (400, "version")
    told = shop.explain(headers=[("Content-Length", "1"), ("Transfer-Encoding", "chunked")])
    assert (told.status, told.reason, told.pool) == (400, "coding_length", None)


def test_a_listener_without_a_pool_answers_503(shop):
    shop.default_pool = None
    told = shop.explain(path="/")
    assert (told.status, told.reason, told.policy) == (503, "no_pool", None)


def test_the_same_client_is_told_the_same_member(shop):
    chosen = {shop.explain(path="/api", client=("192.0.2.9", port)).member for port in range(1, 50)}
    assert len(chosen) == 1
    assert len({shop.explain(path="/api", client=(f"192.0.2.{n}", 1)).member for n in range(50)}) == 3
    assert shop.explain(path="/").member is None, "round robin depends on what others ask"


def test_each_member_that_may_not_be_chosen_has_its_reason(shop):
    web = shop.default_pool
    web.create_member("127.0.0.1", 9003, weight=0)
    web.create_member("127.0.0.1", 9004, admin_state_up=False)
    web.create_member("127.0.0.1", 9005, backup=True)
    told = shop.explain()
    assert [check.usable for check in told.members] == [True, True, False, False, False]
    for check, word in zip(told.members[2:], ("weight 0", "admin_state_up=False", "backup"), strict=True):
        assert word in check.why


def test_a_pool_that_is_switched_off_is_passed_over_and_has_nobody(shop):
    shop.find_l7policy("to-api").redirect_pool.admin_state_up = False
    told = shop.explain(path="/api")
    assert told.pool.name == "web"
    assert [check.passed_over for check in told.policies] == [False, False, True]
    shop.default_pool.admin_state_up = False
    told = shop.explain(path="/")
    assert (told.status, told.reason) == (503, "no_member")
    assert all("pool" in check.why and not check.usable for check in told.members)


def test_a_cookie_binds_its_client_and_does_not_go_on(shop):
    web = shop.default_pool
    web.session_persistence = {"type": "HTTP_COOKIE"}
    drained = web.create_member("127.0.0.1", 9003, weight=0)
    told = shop.explain(headers={"Cookie": f"a=b; SRV={drained.id}"})
    assert told.bound_to is told.member is drained
    assert b"\r\nCookie: a=b\r\n" in told.sent
    drained.admin_state_up = False
    told = shop.explain(headers={"Cookie": f"SRV={drained.id}"})
    assert told.member is None
    assert b"SRV" not in told.sent


def test_policies_that_are_switched_off_are_not_looked_at(shop):
    shop.find_l7policy("closed").admin_state_up = False
    shop.find_l7policy("to-api").rules[1].admin_state_up = False
    told = shop.explain(path="/api/x.php", headers={"X-Old": "1"})
    assert [check.policy.name for check in told.policies] == ["moved", "to-api"]
    assert len(told.policies[1].rules) == 1
    assert told.policy.name == "to-api"


def test_its_repr_is_for_people_and_its_dict_for_programs(shop):
    told = shop.explain(path="/api")
    text = repr(told)
    for words in (
        "GET /api",
        "policy to-api",
        "applies",
        "PATH STARTS_WITH '/api': matches",
        "pool api",
        "127.0.0.3:80",
    ):
        assert words in text
    assert json.loads(json.dumps(told.to_dict()))["policy"]["name"] == "to-api"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"client": "192.0.2.7"}, "client"),
        ({"client": ("example.com", 1)}, "client"),
        ({"client": ("192.0.2.7", 70000)}, "client"),
        ({"headers": {"X": "a\r\n\r\nGET / HTTP/1.1"}}, "headers"),
        ({"headers": ["X: a"]}, "headers='X: a'"),
        ({"headers": "X: a"}, "headers='X: a'"),
        ({"headers": {"X": 1}}, "headers"),
        ({"headers": 1}, "headers=1"),
        ({"path": None}, "path=None"),
        ({"method": b"GET"}, "method"),
        ({"host": 1}, "host=1"),
    ],
)
def test_what_cannot_be_explained_is_refused_by_name(shop, arguments, field):
    with pytest.raises(fastlb.ConfigError, match=field):
        shop.explain(**arguments)


def test_a_tcp_listener_has_no_requests_to_explain(shop):
    other = shop.load_balancer.create_listener(protocol="TCP", protocol_port=8081)
    with pytest.raises(fastlb.ConfigError, match="protocol"):
        other.explain()


def test_explaining_leaves_a_described_load_balancer_as_it_was(shop):
    before = shop.load_balancer.to_dict()
    shop.explain(path="/api")
    assert shop.load_balancer.to_dict() == before
    assert shop.load_balancer.engine is None
    assert "not started" in repr(shop.load_balancer)
