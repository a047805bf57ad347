# SPDX-License-Identifier: Apache-2.0
"""Which policy wins: Octavia's order of evaluation, whatever the positions say across its groups."""

import pytest

import fastlb
from fastlb.testing import named


@pytest.fixture
def front(balance, member):
    """A balancer with a default pool and three others: one, two, three."""
    balancer = balance(member(named("default")))
    balancer.pools = []
    for name in ("one", "two", "three"):
        pool = balancer.lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN", name=name)
        peer = member(named(name))
        pool.create_member(peer.address, peer.port)
        balancer.pools.append(pool)
    return balancer


def policy(front, action, value="/", **fields):
    one = front.listener.create_l7policy(action=action, **fields)
    one.create_rule(type="PATH", compare_type="STARTS_WITH", value=value)
    return one


def got(front, target="/"):
    answer = front.client.get(target)
    return answer.get("Location") or (answer.body.decode() if answer.status == 200 else answer.status)


def test_rejects_then_redirects_then_pools(front):
    to_pool = policy(front, "REDIRECT_TO_POOL", redirect_pool=front.pools[0])
    assert got(front) == "one"
    prefix = policy(front, "REDIRECT_PREFIX", redirect_prefix="http://p.example")
    assert got(front) == "http://p.example/"
    url = policy(front, "REDIRECT_TO_URL", redirect_url="http://u.example/")
    assert got(front) == "http://p.example/", "of one group: the lower position"
    reject = policy(front, "REJECT")
    assert got(front) == 403
    assert [one.position for one in (to_pool, prefix, url, reject)] == [1, 2, 3, 4]
    for one, expected in (
        (reject, "http://p.example/"),
        (prefix, "http://u.example/"),
        (url, "one"),
        (to_pool, "default"),
    ):
        one.delete()
        assert got(front) == expected


def test_position_decides_within_a_group(front):
    one, two, three = (policy(front, "REDIRECT_TO_POOL", redirect_pool=pool) for pool in front.pools)
    assert got(front) == "one"
    three.position = 1
    assert (got(front), [p.position for p in (one, two, three)]) == ("three", [2, 3, 1])
    two.position = 1
    assert got(front) == "two"
    two.position = 99
    assert (got(front), [p.position for p in (one, two, three)]) == ("three", [2, 3, 1])
    three.delete()
    assert (got(front), [p.position for p in (one, two)]) == ("one", [1, 2])


def test_a_policy_whose_pool_is_switched_off_is_passed_over(front):
    policy(front, "REDIRECT_TO_POOL", redirect_pool=front.pools[0])
    policy(front, "REDIRECT_TO_POOL", redirect_pool=front.pools[1])
    front.pools[0].admin_state_up = False
    assert got(front) == "two"
    front.pools[1].admin_state_up = False
    assert got(front) == "default"
    front.pools[0].admin_state_up = True
    assert got(front) == "one"


def test_a_policy_whose_pool_has_nobody_is_503_and_not_the_default_pool(front):
    policy(front, "REDIRECT_TO_POOL", redirect_pool=front.pools[0])
    front.pools[0].members[0].admin_state_up = False
    assert got(front) == 503
    front.pools[0].members[0].delete()
    assert got(front) == 503


def test_without_a_default_pool_what_no_policy_takes_is_503(front):
    policy(front, "REDIRECT_TO_POOL", value="/in", redirect_pool=front.pools[0])
    policy(front, "REDIRECT_TO_URL", value="/out", redirect_url="http://u.example/")
    front.listener.default_pool = None
    assert [got(front, target) for target in ("/in", "/out", "/")] == ["one", "http://u.example/", 503]
    assert front.listener.stats.refusals == {"no_pool": 1}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_carry_their_code_and_no_body(front, code):
    policy(front, "REDIRECT_TO_URL", redirect_url="http://u.example/%20", redirect_http_code=code)
    with front.client.connect() as client:
        for method in ("GET", "POST", "HEAD"):
            answer = client.request("/a?b", method=method, body=b"left unread" if method == "POST" else None)
            assert (answer.status, answer.get("Location")) == (code, "http://u.example/%20")
            assert (answer.get("Content-Length"), answer.body) == ("0", b"")
            assert ("Cache-Control" in answer) is (code in (302, 303, 307))
            assert not answer.closes


def test_a_prefix_stands_before_path_and_query_as_they_came(front):
    policy(front, "REDIRECT_PREFIX", redirect_prefix="https://h.example/base/")
    for target in ("/", "/a?b=1", "/a%2f%0d%0aSet-Cookie:x?%00", "/\u00e9".encode().decode("latin-1")):
        assert front.client.get(target).get("Location") == "https://h.example/base/" + target
    with front.client.raw(b"GET http://x.example/q?r HTTP/1.1\r\nHost: x.example\r\n\r\n") as client:
        assert client.read_response().get("Location") == "https://h.example/base//q?r"


def test_a_redirect_behind_a_body_that_is_still_coming_ends_the_connection(front):
    policy(front, "REDIRECT_TO_URL", redirect_url="http://u.example/")
    with front.client.raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf") as client:
        answer = client.read_response()
        assert (answer.status, answer.closes) == (302, True)


def test_a_rejected_client_may_go_on(front):
    policy(front, "REJECT", value="/no")
    with front.client.connect() as client:
        assert [client.request(target).status for target in ("/no", "/yes", "/no")] == [403, 200, 403]
    stats = front.listener.stats
    assert (stats.refusals, stats.own_answers, stats.redirects) == ({"policy": 2}, 2, 0)


def test_pools_of_policies_are_in_use_and_may_not_be_deleted(front):
    one = policy(front, "REDIRECT_TO_POOL", redirect_pool=front.pools[0])
    assert front.pools[0].operating_status == "ONLINE"
    assert front.pools[1].operating_status == "OFFLINE"
    with pytest.raises(fastlb.Conflict, match="in use by L7 policy"):
        front.pools[0].delete()
    one.delete()
    front.pools[0].delete()
    assert got(front) == "default"
