# SPDX-License-Identifier: Apache-2.0
"""L7 policies: what each kind of rule looks at and takes for a match, and which policy wins."""

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


def to_pool(pool, *rules):
    return ("REDIRECT_TO_POOL", 0, "", pool, list(rules))


def matches(l7, request, *parts, key=""):
    """Whether one rule matches; inverted it must say the contrary."""
    straight = l7.Program([reject(rule(*parts, key))]).match(request) == 0
    inverted = l7.Program([reject(rule(*parts, key, True))]).match(request) == 0
    assert straight != inverted
    return straight


# ---- each type with each comparison: (what the request has, compare_type, value, whether it matches)

SUBJECT = "/Top/b.php"
COMPARED = [
    ("EQUAL_TO", "/Top/b.php", True),
    ("EQUAL_TO", "/Top/b.ph", False),
    ("EQUAL_TO", "/Top/b.phpx", False),
    ("EQUAL_TO", "b.php", False),
    ("STARTS_WITH", "/Top", True),
    ("STARTS_WITH", "/Top/b.php", True),
    ("STARTS_WITH", "Top", False),
    ("STARTS_WITH", "/Top/b.phpx", False),
    ("ENDS_WITH", ".php", True),
    ("ENDS_WITH", "/Top/b.php", True),
    ("ENDS_WITH", ".ph", False),
    ("ENDS_WITH", "x/Top/b.php", False),
    ("CONTAINS", "p/b", True),
    ("CONTAINS", "/", True),
    ("CONTAINS", "/Top/b.php", True),
    ("CONTAINS", "b/", False),
    ("CONTAINS", "x/Top/b.php", False),
    ("REGEX", r"b\.p", True),
    ("REGEX", r"p$", True),
    ("REGEX", r"^b\.p", False),
    ("REGEX", r"p/$", False),
]
FOLDED = [
    ("EQUAL_TO", "/tOP/B.php"),
    ("STARTS_WITH", "/tOP"),
    ("ENDS_WITH", "PHP"),
    ("CONTAINS", "TOP"),
    ("REGEX", "^/TOP"),
]


@pytest.mark.parametrize(("compare", "value", "taken"), COMPARED)
def test_path_is_compared(l7, compare, value, taken):
    assert matches(l7, request(target=SUBJECT), "PATH", compare, value) is taken


@pytest.mark.parametrize(("compare", "value", "taken"), COMPARED)
def test_header_is_compared(l7, compare, value, taken):
    assert matches(l7, request(f"X: {SUBJECT}"), "HEADER", compare, value, key="x") is taken


@pytest.mark.parametrize(("compare", "value", "taken"), COMPARED)
def test_known_header_is_compared(l7, compare, value, taken):
    assert matches(l7, request(f"REFERER: {SUBJECT}"), "HEADER", compare, value, key="Referer") is taken


@pytest.mark.parametrize(("compare", "value", "taken"), COMPARED)
def test_cookie_is_compared(l7, compare, value, taken):
    assert matches(l7, request(f"Cookie: a=1; c={SUBJECT}"), "COOKIE", compare, value, key="c") is taken


@pytest.mark.parametrize(("compare", "value", "taken"), [(c, v.replace("/", "-"), t) for c, v, t in COMPARED])
def test_host_is_compared(l7, compare, value, taken):
    assert matches(l7, request(host=SUBJECT.replace("/", "-")), "HOST_NAME", compare, value) is taken


@pytest.mark.parametrize(("compare", "value"), FOLDED)
def test_only_hosts_are_compared_in_any_case(l7, compare, value):
    assert matches(l7, request(host=SUBJECT.replace("/", "-")), "HOST_NAME", compare, value.replace("/", "-"))
    assert not matches(l7, request(target=SUBJECT), "PATH", compare, value)
    assert not matches(l7, request(f"X: {SUBJECT}"), "HEADER", compare, value, key="X")
    assert not matches(l7, request(f"Cookie: c={SUBJECT}"), "COOKIE", compare, value, key="c")


@pytest.mark.parametrize(
    ("target", "compare", "value", "taken"),
    [
        ("/a.jpg", "EQUAL_TO", "jpg", True),
        ("/xjpg", "EQUAL_TO", "jpg", True),
        ("/a.JPG", "EQUAL_TO", "jpg", False),
        ("/a.jpg/b", "EQUAL_TO", "jpg", False),
        ("/a?b.jpg", "EQUAL_TO", "jpg", False),
        ("/a.jpg?b", "EQUAL_TO", "jpg", True),
        ("/a.jpeg", "REGEX", r"\.jpe?g$", True),
        ("/a.jpeg/b", "REGEX", r"\.jpe?g$", False),
        ("/a.jpeg/b", "REGEX", r"jpeg/", True),
        ("/a?b.jpeg", "REGEX", r"\.jpe?g$", False),
    ],
)
def test_file_type_is_how_the_path_ends(l7, target, compare, value, taken):
    assert matches(l7, request(target=target), "FILE_TYPE", compare, value) is taken


@pytest.mark.parametrize(
    ("type_", "compare", "key", "value"),
    [
        ("SSL_CONN_HAS_CERT", "EQUAL_TO", "", "true"),
        ("SSL_VERIFY_RESULT", "EQUAL_TO", "", "0"),
        ("SSL_DN_FIELD", "EQUAL_TO", "CN", "x"),
        ("SSL_DN_FIELD", "REGEX", "CN", ".*"),
    ],
)
def test_rules_on_tls_match_nothing_without_tls(l7, type_, compare, key, value):
    assert not matches(l7, request("CN: x"), type_, compare, value, key=key)


# ---- what is looked at


def test_path_ends_at_the_query_and_is_not_decoded(l7):
    assert matches(l7, request(target="/a%2Fb?c"), "PATH", "EQUAL_TO", "/a%2Fb")
    assert not matches(l7, request(target="/a%2Fb"), "PATH", "STARTS_WITH", "/a/")
    assert not matches(l7, request(target="/a?/b"), "PATH", "CONTAINS", "/b")
    assert matches(l7, request(target="/?a?b"), "PATH", "EQUAL_TO", "/")


def test_target_of_one_star_has_no_path(l7):
    star = request(first="OPTIONS * HTTP/1.1")
    for compare, value in [("EQUAL_TO", "*"), ("CONTAINS", "*"), ("REGEX", "^"), ("ENDS_WITH", "*")]:
        assert not matches(l7, star, "PATH", compare, value)


def test_host_is_what_is_forwarded(l7):
    absolute = request(first="GET http://Real:8080/a HTTP/1.1", host="other")
    assert matches(l7, absolute, "HOST_NAME", "EQUAL_TO", "real:8080")
    assert matches(l7, absolute, "PATH", "EQUAL_TO", "/a")
    assert not matches(l7, absolute, "HOST_NAME", "CONTAINS", "other")
    assert matches(l7, absolute, "HEADER", "EQUAL_TO", "Real:8080", key="Host")
    assert not matches(l7, absolute, "HEADER", "EQUAL_TO", "other", key="Host")
    assert matches(l7, request(host="Real"), "HEADER", "EQUAL_TO", "Real", key="host")


def test_port_is_part_of_the_host(l7):
    assert not matches(l7, request(host="a:80"), "HOST_NAME", "EQUAL_TO", "a")
    assert matches(l7, request(host="a:80"), "HOST_NAME", "EQUAL_TO", "A:80")


@pytest.mark.parametrize("compare", ["EQUAL_TO", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "REGEX"])
def test_what_is_not_there_does_not_match(l7, compare):
    value = "^" if compare == "REGEX" else "v"
    without = request(first="GET / HTTP/1.0", host=None)
    assert not matches(l7, without, "HOST_NAME", compare, value)
    assert not matches(l7, without, "HEADER", compare, value, key="v")
    assert not matches(l7, without, "COOKIE", compare, value, key="v")


def test_what_is_there_and_empty_is_a_value(l7):
    assert matches(l7, request(host=""), "HOST_NAME", "REGEX", "^$")
    assert matches(l7, request("X:"), "HEADER", "REGEX", "^$", key="X")
    assert matches(l7, request("Cookie: c="), "COOKIE", "REGEX", "^$", key="c")
    assert not matches(l7, request("X:"), "HEADER", "EQUAL_TO", "a", key="X")


def test_any_value_of_any_field_of_the_name_is_enough(l7):
    fields = ("X: a, b ,c", "Y: d", "x: e")
    for value in "abce":
        assert matches(l7, request(*fields), "HEADER", "EQUAL_TO", value, key="X")
    for value in ("d", "a, b ,c", "b ", "a,"):
        assert not matches(l7, request(*fields), "HEADER", "EQUAL_TO", value, key="X")
    assert not matches(l7, request("X-Y: a"), "HEADER", "EQUAL_TO", "a", key="X")
    assert not matches(l7, request("X: a"), "HEADER", "EQUAL_TO", "a", key="X-Y")


def test_long_lists_are_searched_to_their_end(l7):
    long = request("X: " + "a, " * 500 + "b")
    assert matches(l7, long, "HEADER", "EQUAL_TO", "b", key="X")
    assert matches(l7, long, "HEADER", "REGEX", "^b$", key="X")
    assert not matches(l7, long, "HEADER", "EQUAL_TO", "a, a", key="X")
    assert not matches(l7, long, "HEADER", "CONTAINS", "c", key="X")
    long = request("Cookie: " + "c=a; " * 500 + "c=b")
    assert matches(l7, long, "COOKIE", "EQUAL_TO", "b", key="c")
    assert matches(l7, long, "COOKIE", "REGEX", "^b$", key="c")
    assert not matches(l7, long, "COOKIE", "EQUAL_TO", "; c", key="c")
    assert not matches(l7, long, "COOKIE", "CONTAINS", "d", key="c")


def test_fields_that_are_not_forwarded_are_seen(l7):
    hop = request("Connection: X-Secret, keep-alive", "X-Secret: 1", "Keep-Alive: 5", "X_Forwarded_For: me")
    for name, value in [
        ("X-Secret", "1"),
        ("Keep-Alive", "5"),
        ("X_Forwarded_For", "me"),
        ("Connection", "X-Secret"),
    ]:
        assert matches(l7, hop, "HEADER", "EQUAL_TO", value, key=name)
    assert not matches(l7, hop, "HEADER", "EQUAL_TO", "me", key="X-Forwarded-For")


def test_any_cookie_of_the_name_is_enough(l7):
    fields = ("Cookie: a=1; b=2; a=3", "X: y", "Cookie: a=4")
    for value in "134":
        assert matches(l7, request(*fields), "COOKIE", "EQUAL_TO", value, key="a")
    assert not matches(l7, request(*fields), "COOKIE", "EQUAL_TO", "2", key="a")
    assert not matches(l7, request(*fields), "COOKIE", "EQUAL_TO", "1", key="A")
    assert not matches(l7, request("Set-Cookie: a=1"), "COOKIE", "EQUAL_TO", "1", key="a")


# ---- how values are written


def test_quotes_around_a_value_are_not_part_of_it(l7):
    assert matches(l7, request("X: a b"), "HEADER", "EQUAL_TO", '"a b"', key="X")
    assert not matches(l7, request('X: "a b"'), "HEADER", "EQUAL_TO", '"a b"', key="X")
    assert matches(l7, request('X: "a b"'), "HEADER", "EQUAL_TO", '""a b""', key="X")
    assert matches(l7, request('X: "a'), "HEADER", "EQUAL_TO", '"a', key="X")
    assert matches(l7, request('X: "'), "HEADER", "EQUAL_TO", '"', key="X")
    assert matches(l7, request("X: aXb"), "HEADER", "REGEX", '"a.b"', key="X")


def test_value_of_nothing_matches_nothing(l7):
    for compare in ("EQUAL_TO", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "REGEX"):
        assert not matches(l7, request("X: "), "HEADER", compare, '""', key="X")
        assert not matches(l7, request(), "PATH", compare, '""')


def test_backslash_is_itself_except_in_a_regular_expression(l7):
    assert matches(l7, request(r"X: a\b"), "HEADER", "EQUAL_TO", r"a\b", key="X")
    assert matches(l7, request(r"X: a\.b"), "HEADER", "ENDS_WITH", r"\.b", key="X")
    assert not matches(l7, request("X: a.b"), "HEADER", "EQUAL_TO", r"a\.b", key="X")
    assert matches(l7, request("X: a.b"), "HEADER", "REGEX", r"a\.b", key="X")


def test_regular_expressions_see_bytes(l7):
    assert matches(l7, request("X: \xe9"), "HEADER", "REGEX", "^.$", key="X")
    assert matches(l7, request("X: \xc3\xa9"), "HEADER", "REGEX", "^..$", key="X")


# ---- policies


def test_all_rules_of_a_policy_must_match(l7):
    rules = [
        rule("HOST_NAME", "EQUAL_TO", "a"),
        rule("PATH", "STARTS_WITH", "/b"),
        rule("HEADER", "EQUAL_TO", "1", "x", True),
    ]
    program = l7.Program([reject(*rules)])
    assert program.match(request(host="a", target="/b")) == 0
    assert program.match(request(host="b", target="/b")) is None
    assert program.match(request(host="a", target="/c")) is None
    assert program.match(request("X: 1", host="a", target="/b")) is None


def test_fifty_rules_must_match_too(l7):
    rules = [rule("HEADER", "EQUAL_TO", str(i), f"X-{i}") for i in range(25)]
    rules += [rule("PATH", "REGEX", f"/{i}/") for i in range(25)]
    program = l7.Program([reject(*rules)])
    fields, parts = [f"X-{i}: {i}" for i in range(25)], [f"/{i}" for i in range(25)]
    assert program.match(request(*fields, target="".join(parts) + "/")) == 0
    for i in range(25):
        assert program.match(request(*fields[:i], *fields[i + 1 :], target="".join(parts) + "/")) is None
        assert program.match(request(*fields, target="".join(parts[:i] + parts[i + 1 :]) + "/")) is None


def test_rejects_come_first_then_redirects_then_pools(l7):
    on = [rule("PATH", "STARTS_WITH", "/")]
    rows = [
        ("REDIRECT_TO_POOL", 0, "", l7.Pool(), on),
        ("REDIRECT_PREFIX", 302, "http://p", None, on),
        ("REDIRECT_TO_URL", 301, "http://u", None, on),
        ("REJECT", 0, "", None, on),
        ("REDIRECT_TO_POOL", 0, "", l7.Pool(), on),
        ("REJECT", 0, "", None, on),
    ]
    order = [3, 5, 1, 2, 0, 4]
    assert l7.Program(rows).order == order
    for n, first in enumerate(order):
        # Without those that come before it, each one is the first.
        off = rule("PATH", "EQUAL_TO", "/no")
        left = [(*row[:4], [off] if i in order[:n] else row[4]) for i, row in enumerate(rows)]
        assert l7.Program(left).match(request()) == first


def test_first_of_a_group_wins_however_it_is_found(l7):
    """A host, a path and a list that is always walked: position alone decides."""
    found_by = [
        rule("HOST_NAME", "EQUAL_TO", "www.example.com"),
        rule("PATH", "STARTS_WITH", "/"),
        rule("PATH", "CONTAINS", "/"),
        rule("FILE_TYPE", "EQUAL_TO", "a"),
        rule("HOST_NAME", "ENDS_WITH", ".com"),
        rule("HEADER", "EQUAL_TO", "1", "x"),
        rule("HEADER", "REGEX", "1", "x"),
        rule("COOKIE", "STARTS_WITH", "v", "c"),
    ]
    for shift in range(len(found_by)):
        rows = [reject(one) for one in found_by[shift:] + found_by[:shift]]
        for n in range(len(rows)):
            left = [reject(rule("PATH", "EQUAL_TO", "/no"))] * n + rows[n:]
            assert l7.Program(left).match(request("X: 1", "Cookie: c=v", target="/a")) == n


def test_pool_that_is_admin_down_is_passed_over(l7):
    first, second = l7.Pool(), l7.Pool()
    on = rule("PATH", "STARTS_WITH", "/")
    program = l7.Program([to_pool(first, on), to_pool(second, on)])
    assert program.match(request()) == 0
    first.set_admin_up(False)
    assert program.match(request()) == 1
    second.set_admin_up(False)
    assert program.match(request()) is None
    first.set_admin_up(True)
    assert program.match(request()) == 0


def test_program_holds_its_pools_as_long_as_it_lives(l7):
    pool = l7.Pool()
    program = l7.Program([to_pool(pool, rule("PATH", "EQUAL_TO", "/"))] * 3)
    assert pool.references == 4
    del program
    assert pool.references == 1
    with pytest.raises(ValueError, match="closing parenthesis"):
        l7.Program([to_pool(pool, rule("PATH", "EQUAL_TO", "/"), rule("PATH", "REGEX", "(a"))])
    assert pool.references == 1


def test_each_rule_can_be_asked_alone(l7):
    rules = [
        rule("PATH", "REGEX", "^/b"),
        rule("PATH", "STARTS_WITH", "/a"),
        rule("HOST_NAME", "EQUAL_TO", "x", "", True),
        rule("COOKIE", "EQUAL_TO", "v", "c"),
    ]
    program = l7.Program([to_pool(l7.Pool(), *rules), reject(*rules[1:2])])
    assert program.explain(request(target="/a")) == {
        0: {0: False, 1: True, 2: True, 3: False},
        1: {0: True},
    }


def test_no_policies_is_no_match(l7):
    assert l7.Program([]).match(request()) is None


def test_policy_of_no_rules_is_not_expected_and_always_applies(l7):
    """Nobody hands one in: Octavia leaves such a policy out."""
    assert l7.Program([reject()]).match(request()) == 0


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(a", "missing closing parenthesis at offset 2"),
        ("a{2,1}", "numbers out of order"),
        ("(*UTF)a", "at offset"),
        ("[z-a]", "range out of order"),
    ],
)
def test_pattern_that_pcre2_refuses_is_said_in_its_words(l7, pattern, said):
    with pytest.raises(ValueError, match=said):
        l7.Program([reject(rule("PATH", "REGEX", pattern))])
