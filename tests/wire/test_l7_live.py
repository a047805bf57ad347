# SPDX-License-Identifier: Apache-2.0
"""Policies change while clients work: requests get what the policies before or after a change say; none fails."""

import random

from fastlb.testing import Client, Load, named

CHANGES = 600


def test_reordering_policies_under_load_fails_no_request(balance, member):
    balancer = balance(member(named("default")))
    pools = []
    for name in ("one", "two"):
        pool = balancer.lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN", name=name)
        peer = member(named(name))
        pool.create_member(peer.address, peer.port)
        pools.append(pool)
    policies = []
    for number in range(20):
        policy = balancer.listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=pools[number % 2])
        policy.create_rule(type="PATH", compare_type="REGEX" if number % 3 == 0 else "STARTS_WITH", value="/")
        policies.append(policy)
    rng = random.Random(5)
    with (
        Load(balancer.client, clients=3) as kept,
        Load(balancer.client, clients=1, keep_alive=False) as fresh,
    ):
        kept.wait_requests(20)
        change = 0
        while change < CHANGES or kept.requests < 500:
            change += 1
            policy = rng.choice(policies)
            what = change % 4
            if what == 0:
                policy.position = rng.randrange(1, 21)
            elif what == 1:
                policy.admin_state_up = not policy.admin_state_up
            elif what == 2:
                policy.redirect_pool = rng.choice(pools)
            else:
                policy.rules[0].value = rng.choice(["/", "/x", "/y"])
        kept.wait_requests(20)
        fresh.wait_requests(20)
    assert kept.failures == fresh.failures == []
    assert set(kept.bodies) <= {b"one", b"two", b"default"}
    assert len(kept.bodies) >= 2
    assert [policy.position for policy in balancer.listener.l7policies] == list(range(1, 21))


def test_a_policy_is_in_force_when_the_call_returns(balance, member):
    balancer = balance(member(named("default")))
    with balancer.client.connect() as client:
        for _ in range(50):
            policy = balancer.listener.create_l7policy(action="REJECT")
            policy.create_rule(type="PATH", compare_type="EQUAL_TO", value="/")
            assert client.request().status == 403
            policy.delete()
            assert client.request().status == 200


def test_policies_outlive_a_stop_and_a_start(balance, member):
    balancer = balance(member(named("default")))
    policy = balancer.listener.create_l7policy(action="REJECT")
    policy.create_rule(type="PATH", compare_type="EQUAL_TO", value="/no")
    balancer.lb.stop(0)
    policy.rules[0].value = "/never"
    balancer.lb.start()
    client = Client("127.0.0.1", balancer.listener.protocol_port)
    assert [client.get(target).status for target in ("/no", "/never")] == [200, 403]


def test_a_hostile_expression_costs_others_nothing(balance, member):
    """Nested repeats over a long path: the match is given up after a bounded number of steps, and that is counted."""
    balancer = balance(member(named("default")), listener={"request_target_limit": 20_000})
    policy = balancer.listener.create_l7policy(action="REDIRECT_TO_URL", redirect_url="http://u.example/")
    policy.create_rule(type="PATH", compare_type="REGEX", value="^/(a+)+$")
    for _ in range(20):
        assert balancer.client.get("/" + "a" * 60 + "!", timeout=1.0).status == 200
    assert balancer.lb.engine.counters()["regex_given_up"] >= 20
