# SPDX-License-Identifier: Apache-2.0
"""L7 policies: what each kind of rule sees and takes for a match, and which policy wins."""

import pytest


@pytest.fixture(scope="session")
def l7(native):
    return native("l7")


def request(*fields, target="/", host="www.example.com", first=None):
    lines = [first or f"GET {target} HTTP/1.1", *([f"Host: {host}"] if host is not None else []), *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def rule(type_, compare_type, value, key="", invert=False):
    return (type_, compare_type, key, value, invert)


def reject(*rules):
    return ("REJECT", 0, "", None, list(rules))


def matches(l7, request, *rule_parts, **more):
    """Whether one rule matches; the same inverted must say the contrary."""
    straight = l7.Program([reject(rule(*rule_parts, **more))]).match(request) == 0
    inverted = l7.Program([reject(rule(*rule_parts, **more, invert=True))]).match(request) == 0
    assert straight != inverted
    return straight


@pytest.mark.parametrize(
    ("compare", "value", "taken"),
    [
        ("EQUAL_TO", "/a/b.php", True),
        ("EQUAL_TO", "/a/b.ph", False),
        ("EQUAL_TO", "/a/b.php?q", False),
        ("EQUAL_TO", "/A/b.php", False),
        ("STARTS_WITH", "/a/", True),
        ("STARTS_WITH", "/b", False),
        ("STARTS_WITH", "/a/b.php?", False),
        ("ENDS_WITH", ".php", True),
        ("ENDS_WITH", "q=.txt", False),
        ("CONTAINS", "/b.", True),
        ("CONTAINS", "?", False),
        ("REGEX", r"b\.p", True),
        ("REGEX", r"^b\.p", False),
        ("REGEX", r"php$", True),
    ],
)
def test_path_is_the_target_without_its_query(l7, compare, value, taken):
    assert matches(l7, request(target="/a/b.php?q=.txt"), "PATH", compare, value) is taken


def test_rejects_come_first_then_redirects_then_pools(l7):
    pool = l7.Pool()
    on = [rule("PATH", "STARTS_WITH", "/")]
    rows = [
        ("REDIRECT_TO_POOL", 0, "", pool, on),
        ("REDIRECT_PREFIX", 302, "http://p", None, on),
        ("REDIRECT_TO_URL", 301, "http://u", None, on),
        ("REJECT", 0, "", None, on),
        ("REDIRECT_TO_POOL", 0, "", pool, on),
        ("REJECT", 0, "", None, on),
    ]
    assert l7.Program(rows).order == [3, 5, 1, 2, 0, 4]


def test_pattern_that_pcre2_refuses_is_named(l7):
    with pytest.raises(ValueError, match="missing closing parenthesis at offset 2"):
        l7.Program([reject(rule("PATH", "REGEX", "(a"))])
