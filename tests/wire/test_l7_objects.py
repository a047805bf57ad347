# SPDX-License-Identifier: Apache-2.0
"""L7 policies as objects of a running load balancer: in force when the call returns, and statuses that follow."""

import pytest

from fastlb import ConfigError, NotSupported
from fastlb.testing import eventually, named, unused_port


@pytest.fixture
def web(balance, member):
    """A listener with a default pool that answers "web" and a pool `api`, used by nobody, that answers "api"."""
    balancer = balance(member(named("web")))
    balancer.api = balancer.lb.create_pool(name="api", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    other = member(named("api"))
    balancer.api_member = balancer.api.create_member(other.address, other.port)
    return balancer


def test_a_policy_is_in_force_when_the_call_returns(web):
    get = web.client.get
    policy = web.listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=web.api)
    assert get("/api").body == b"web"  # a policy without a rule matches nothing
    rule = policy.create_rule(type="PATH", compare_type="STARTS_WITH", value="/api")
    assert (get("/api").body, get("/").body) == (b"api", b"web")
    rule.value = "/other"
    assert (get("/api").body, get("/other").body) == (b"web", b"api")
    rule.invert = True
    assert get("/api").body == b"api"
    rule.update(invert=False, value="/api")
    policy.redirect_url = "https://example.com/"
    answer = get("/api")
    assert (answer.status, answer.get("Location")) == (302, "https://example.com/")
    policy.update(redirect_prefix="https://example.com", redirect_http_code=308)
    answer = get("/api?x=1")
    assert (answer.status, answer.get("Location")) == (308, "https://example.com/api?x=1")
    policy.action = "REJECT"
    assert get("/api").status == 403
    rule.admin_state_up = False
    assert get("/api").body == b"web"
    rule.admin_state_up = True
    policy.admin_state_up = False
    assert get("/api").body == b"web"
    policy.admin_state_up = True
    rule.delete()
    assert get("/api").body == b"web"
    policy.create_rule(type="HEADER", compare_type="EQUAL_TO", key="X-A", value="b")
    assert web.client.request(fields=[("X-A", "b")]).status == 403
    policy.delete()
    assert web.client.request(fields=[("X-A", "b")]).body == b"web"


def test_the_first_by_position_wins_and_positions_move_live(web):
    rules = [{"type": "PATH", "compare_type": "STARTS_WITH", "value": "/"}]
    codes = (301, 302, 307)
    policies = web.listener.create_l7policies(
        {"action": "REDIRECT_TO_URL", "redirect_url": "http://h/", "redirect_http_code": code, "rules": rules}
        for code in codes
    )
    assert web.client.get().status == 301
    policies[2].position = 1
    assert web.client.get().status == 307
    policies[2].delete()
    assert web.client.get().status == 301
    web.listener.create_l7policy(action="REJECT", rules=rules)
    assert web.client.get().status == 403


def test_a_change_that_is_refused_leaves_the_policies_in_force(web):
    policy = web.listener.create_l7policy(
        action="REJECT", rules=[{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/no"}]
    )
    before = policy.show() | {"rules": policy.to_dict()["rules"]}
    for refuse in (
        lambda: policy.update(action="REDIRECT_TO_URL"),
        lambda: policy.create_rule(type="PATH", compare_type="REGEX", value="("),
        lambda: policy.rules[0].update(value="with space"),
        lambda: web.listener.create_l7policies(
            [{"action": "REJECT", "rules": policy.to_dict()["rules"]}, {}]
        ),
    ):
        with pytest.raises(ConfigError):
            refuse()
    assert policy.show() | {"rules": policy.to_dict()["rules"]} == before
    assert web.listener.l7policies == (policy,)
    assert web.client.get("/no").status == 403


def test_what_the_core_cannot_take_leaves_the_policies_in_force(web, monkeypatch):
    policy = web.listener.create_l7policy(
        action="REJECT", rules=[{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/no"}]
    )
    rule = policy.rules[0]

    def fail(core, rows, before):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("fastlb._core.CorePolicies", fail)
        for change in (
            lambda: setattr(rule, "value", "/other"),
            lambda: policy.update(position=1, redirect_pool=web.api),
            lambda: policy.create_rule(type="PATH", compare_type="EQUAL_TO", value="/x"),
            lambda: web.listener.create_l7policy(action="REJECT", rules=[rule.to_dict()]),
        ):
            with pytest.raises(MemoryError):
                change()
        # What the policies do is not changed by these, so they are not compiled anew.
        policy.update(name="new", tags=["t"])
        web.listener.timeout_client_data = 40_000
        web.listener.create_l7policy(action="REJECT").delete()
    assert rule.value == "/no"
    assert (policy.action, policy.rules, web.listener.l7policies) == ("REJECT", (rule,), (policy,))
    assert (web.api.l7policies, web.api.listeners) == ((), ())
    assert web.client.get("/no").status == 403


def test_policies_survive_a_stop_a_switched_off_port_and_other_changes(web):
    web.listener.create_l7policy(
        action="REDIRECT_TO_POOL",
        redirect_pool=web.api,
        rules=[{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/api"}],
    )
    web.listener.timeout_client_data = 40_000
    assert web.client.get("/api").body == b"api"
    web.listener.admin_state_up = False
    web.listener.create_l7policy(
        action="REJECT", rules=[{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/no"}]
    )
    web.listener.admin_state_up = True
    assert (web.client.get("/api").body, web.client.get("/no").status) == (b"api", 403)
    web.lb.stop(0)
    web.lb.start()
    client = type(web.client)("127.0.0.1", web.listener.protocol_port)
    assert (client.get("/api").body, client.get("/no").status, client.get("/").body) == (b"api", 403, b"web")


def test_a_pool_of_a_policy_only_is_monitored_and_counts(web):
    """Octavia has a pool in its configuration when it is a default pool or an enabled policy with a rule names it."""
    monitor = web.api.create_health_monitor(type="TCP", delay=0.05, timeout=1, max_retries=1)
    policy = web.listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=web.api)
    one = web.api_member
    assert (web.api.operating_status, one.operating_status, one.checked) == ("OFFLINE", "NO_MONITOR", False)
    rule = policy.create_rule(type="PATH", compare_type="STARTS_WITH", value="/api")
    assert web.api.listeners == (web.listener,)
    eventually(lambda: one.checked)
    assert (web.api.operating_status, one.operating_status) == ("ONLINE", "ONLINE")
    dead = web.api.create_member("127.0.0.1", unused_port())
    dead.wait_for(operating_status="ERROR")
    assert (web.api.operating_status, web.lb.operating_status) == ("DEGRADED", "DEGRADED")
    assert web.listener.operating_status == "ONLINE"
    tree = web.lb.status_tree()["statuses"]["loadbalancer"]["listeners"][0]["pools"]
    assert [pool["id"] for pool in tree] == [web.pool.id, web.api.id]
    # A rule that is switched off is one still.
    rule.admin_state_up = False
    assert web.api.operating_status == "DEGRADED"
    for off, on in (
        (lambda: setattr(policy, "admin_state_up", False), lambda: setattr(policy, "admin_state_up", True)),
        (lambda: setattr(policy, "action", "REJECT"), lambda: setattr(policy, "redirect_pool", web.api)),
        (
            lambda: setattr(policy, "redirect_pool", web.pool),
            lambda: setattr(policy, "redirect_pool", web.api),
        ),
        (
            lambda: setattr(web.listener, "admin_state_up", False),
            lambda: setattr(web.listener, "admin_state_up", True),
        ),
    ):
        off()
        assert (web.api.operating_status, one.operating_status) == ("OFFLINE", "OFFLINE")
        assert web.lb.operating_status == "ONLINE"
        on()
        assert web.api.operating_status != "OFFLINE"
    monitor.delete()
    rule.delete()
    assert web.api.listeners == ()
    assert (web.api.operating_status, one.operating_status) == ("OFFLINE", "NO_MONITOR")


def test_statuses_of_policies_and_rules_say_whether_they_are_in_force(web):
    policy = web.listener.create_l7policy(action="REJECT")
    rule = policy.create_rule(type="PATH", compare_type="EQUAL_TO", value="/no")
    for one in (policy, rule):
        assert (one.operating_status, one.provisioning_status) == ("ONLINE", "ACTIVE")
        one.admin_state_up = False
        assert one.operating_status == "OFFLINE"
        one.admin_state_up = True
    seen = []
    web.lb.on_status(lambda event: seen.append((event.object, str(event.new))))
    rule.admin_state_up = False
    eventually(lambda: (rule, "OFFLINE") in seen)
    web.lb.stop(0)
    assert (policy.operating_status, policy.provisioning_status) == ("OFFLINE", "PENDING_CREATE")


def test_a_policy_on_a_byte_stream_is_not_supported(balance, member):
    balancer = balance(member(), protocol="TCP")
    with pytest.raises(NotSupported, match=r"^listener='TCP': must be a HTTP or TERMINATED_HTTPS listener"):
        balancer.listener.create_l7policy(action="REJECT")
