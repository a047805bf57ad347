# SPDX-License-Identifier: Apache-2.0
"""Each rule type with each comparison, as it stands and inverted, under each action: what clients get."""

import itertools

import pytest

from fastlb.testing import named

FIELDS = [
    ("X-List", "red, green ,blue"),
    ("x-list", "teal"),
    ("X-One", "Some value"),
    ("Cookie", "theme=dark; id=a1b2"),
    ("Cookie", "lang=fi"),
]
REQUEST = dict(target="/shop/item.html?page=2", host="www.Example.com:8080", fields=FIELDS)

# type, key, comparison, a value that matches REQUEST, one that does not
CASES = [
    ("HOST_NAME", None, "EQUAL_TO", "www.example.com:8080", "www.example.com"),
    ("HOST_NAME", None, "STARTS_WITH", "WWW.", "example"),
    ("HOST_NAME", None, "ENDS_WITH", ".COM:8080", ".com"),
    ("HOST_NAME", None, "CONTAINS", "example", "sample"),
    ("HOST_NAME", None, "REGEX", r"^www\.[a-z]+\.com", r"^example"),
    ("PATH", None, "EQUAL_TO", "/shop/item.html", "/shop/item.html?page=2"),
    ("PATH", None, "STARTS_WITH", "/shop/", "/Shop"),
    ("PATH", None, "ENDS_WITH", ".html", "page=2"),
    ("PATH", None, "CONTAINS", "p/i", "?"),
    ("PATH", None, "REGEX", r"item\.html$", r"^item"),
    ("FILE_TYPE", None, "EQUAL_TO", "html", "HTML"),
    ("FILE_TYPE", None, "REGEX", r"\.(html|jpg)$", r"\.(php|cgi)$"),
    ("HEADER", "x-LIST", "EQUAL_TO", "green", '"red, green ,blue"'),
    ("HEADER", "X-List", "STARTS_WITH", "te", "een"),
    ("HEADER", "X-List", "ENDS_WITH", "een", "gre"),
    ("HEADER", "X-One", "CONTAINS", '"me va"', "Me"),
    ("HEADER", "X-List", "REGEX", "^(blue|pink)$", "^(black|pink)$"),
    ("HEADER", "X-Absent", "REGEX", None, ".*"),
    ("COOKIE", "id", "EQUAL_TO", "a1b2", "A1B2"),
    ("COOKIE", "theme", "STARTS_WITH", "da", "rk"),
    ("COOKIE", "lang", "ENDS_WITH", "i", "f"),
    ("COOKIE", "id", "CONTAINS", "1b", "2b"),
    ("COOKIE", "theme", "REGEX", "^(dark|light)$", "^light$"),
    ("COOKIE", "ID", "REGEX", None, ".*"),
    ("SSL_CONN_HAS_CERT", None, "EQUAL_TO", None, "true"),
    ("SSL_VERIFY_RESULT", None, "EQUAL_TO", None, "0"),
    ("SSL_DN_FIELD", "CN", "CONTAINS", None, "a"),
]
ACTIONS = {
    "REJECT": ({}, 403, None),
    "REDIRECT_TO_URL": ({"redirect_url": "https://a.example/x?y"}, 302, "https://a.example/x?y"),
    "REDIRECT_PREFIX": (
        {"redirect_prefix": "https://b.example/v2", "redirect_http_code": 308},
        308,
        "https://b.example/v2/shop/item.html?page=2",
    ),
    "REDIRECT_TO_POOL": ({}, 200, None),
}


def rules():
    """(name, matches, rule) of all cases, inverted ones too."""
    for type_, key, compare, good, bad in CASES:
        for value, invert in itertools.product((good, bad), (False, True)):
            if value is not None:
                rule = dict(type=type_, key=key, compare_type=compare, value=value, invert=invert)
                name = f"{type_} {key or ''} {'not ' * invert}{compare} {value}"
                yield name, (value == good) is not invert, rule


@pytest.fixture
def front(balance, member):
    """A balancer whose default pool is one member, with another pool of one."""
    balancer = balance(member(named("default")))
    other = balancer.lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN", name="other")
    peer = member(named("other"))
    other.create_member(peer.address, peer.port)
    balancer.other = other
    return balancer


@pytest.mark.parametrize("action", ACTIONS)
def test_every_rule_under_every_action(front, action):
    fields, status, location = ACTIONS[action]
    if action == "REDIRECT_TO_POOL":
        fields = {"redirect_pool": front.other}
    policy = front.listener.create_l7policy(action=action, **fields)
    wrong = []
    with front.client.connect() as client:
        for name, matches, fields in rules():
            rule = policy.create_rule(**fields)
            answer = client.request(**REQUEST)
            if matches:
                expected = (status, location, b"other" if action == "REDIRECT_TO_POOL" else answer.body)
            else:
                expected = (200, None, b"default")
            if (answer.status, answer.get("Location"), answer.body) != expected:
                wrong.append((name, matches, answer.status, answer.get("Location"), answer.body))
            told = front.listener.explain(
                path=REQUEST["target"], headers=[("Host", REQUEST["host"]), *FIELDS]
            )
            if (told.policy is policy) is not matches:
                wrong.append((name, "explain says otherwise"))
            rule.delete()
    assert wrong == []


def test_all_rules_of_a_policy_must_match(front):
    policy = front.listener.create_l7policy(action="REJECT")
    policy.create_rule(type="PATH", compare_type="STARTS_WITH", value="/a")
    policy.create_rule(type="HEADER", key="X-B", compare_type="EQUAL_TO", value="b")
    policy.create_rule(type="COOKIE", key="c", compare_type="EQUAL_TO", value="c", invert=True)
    yes = [("X-B", "b")]
    for target, fields, status in (
        ("/a", yes, 403),
        ("/x", yes, 200),
        ("/a", [], 200),
        ("/a", [*yes, ("Cookie", "c=c")], 200),
        ("/a", [*yes, ("Cookie", "c=d")], 403),
    ):
        assert front.client.request(target, fields=fields).status == status


def test_rules_that_are_switched_off_are_left_out_and_a_policy_without_any_matches_nothing(front):
    policy = front.listener.create_l7policy(action="REJECT")
    assert front.client.get("/a").status == 200
    path = policy.create_rule(type="PATH", compare_type="EQUAL_TO", value="/a")
    assert front.client.get("/a").status == 403
    path.admin_state_up = False
    assert front.client.get("/a").status == 200
    policy.create_rule(type="PATH", compare_type="EQUAL_TO", value="/b")
    assert [front.client.get(target).status for target in ("/a", "/b")] == [200, 403]
    policy.admin_state_up = False
    assert front.client.get("/b").status == 200


def test_the_host_of_an_absolute_target_is_the_host_that_is_matched(front):
    front.listener.create_l7policy(action="REJECT").create_rule(
        type="HOST_NAME", compare_type="EQUAL_TO", value="b.example"
    )
    with front.client.raw(b"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n") as client:
        assert client.read_response().status == 403
    with front.client.raw(b"GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n") as client:
        assert client.read_response().status == 200


def test_a_path_is_matched_as_it_is_forwarded(front):
    """Not decoded: what a rule does not see is not what the member gets either."""
    policy = front.listener.create_l7policy(action="REJECT")
    policy.create_rule(type="PATH", compare_type="STARTS_WITH", value="/admin")
    for target, status in (("/admin", 403), ("/%61dmin", 200), ("//admin", 200), ("/x/../admin", 200)):
        assert front.client.get(target).status == status, target
    assert front.client.request(method="OPTIONS", target="*").status == 200
