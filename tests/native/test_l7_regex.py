# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of L7 rules: whatever the pattern, a search ends soon; one that is given up is counted."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SLOW = 20_000_000  # ns of CPU: ten times what is seen, and far less than unbounded searches take


@pytest.fixture(scope="session")
def l7(native):
    return native("l7")


def request(*fields, target="/", host="a"):
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode("latin-1")


def policy(action, *rules, pool=None):
    return (action, 302, "", pool, list(rules))


# (pattern, subject): each takes time that grows with a power of the subject's length, or exponentially
HOSTILE = {
    "nested": (rb"(a+)+$", b"a" * 40 + b"!"),
    "nested, long": (rb"(a+)+$", b"a" * 8000 + b"!"),
    "same twice": (rb"(a|a)*$", b"a" * 8000 + b"!"),
    "overlapping": (rb"(a|aa)+$", b"a" * 8000 + b"!"),
    "words": (rb"(\w+\s?)*$", b"aaaa " * 1600 + b"!"),
    "quadratic": (rb"x[^y]*z", b"x" * 8000 + b"yz"),
    "quadratic, possessive": (rb"x++y", b"x" * 8000 + b"#y"),
    "quadratic, lazy": (rb"x*?y", b"x" * 8000 + b"#" * 20),
    "cubic": (rb"a.*b.*c.*d#", b"abc" * 2700 + b"d"),
    "lookahead": (rb"(?=x*z)x", b"x" * 8000 + b"yz"),
    "repeated star": (rb"x*x*x*x*x*x*x*x*y", b"x" * 8000 + b"#y"),
    "counted": (rb"x{4000}y", (b"x" * 3999 + b"y") * 2),
    "counted in a group": (rb"(?:(?:a{200}){20})b", b"a" * 8000 + b"#b"),
    "optional": (rb"(?:a?){50}a{50}$", b"a" * 49 + b"#"),
    "optional in optional": (rb"((a?){30}){30}b", b"a" * 8000 + b"#b"),
    "back reference": (rb"(x+)\1y", b"x" * 8000 + b"#y"),
    "back reference that fails late": (rb"(x*)y\1z", b"x" * 4000 + b"y" + b"x" * 3999 + b"#z"),
    "recursion": (rb"(a(?1)?b)", b"a" * 8000 + b"#b"),
    "deep recursion": (rb"^(\((?1)*\))*$", b"(" * 4000 + b"a" + b")" * 4000),
    "lookbehind": (rb"(?<=a{200})b#", b"a" * 200 + b"b" * 7900),
    "any case": (rb"(?i)(x+X+)+y", b"xX" * 4000 + b"#y"),
    "conditional": (rb"(?(?=x)x|y)+z", b"x" * 8000 + b"#z"),
    "grapheme": (rb"\X+z#", b"x" * 8000 + b"z"),
}


@pytest.mark.parametrize("jit", [b"", b"(*NO_JIT)"], ids=["jit", "no jit"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_search_ends_soon(l7, name, jit):
    pattern, subject = HOSTILE[name]
    regex = l7.Regex(jit + pattern)
    regex.search(subject)
    verdict, steps, took = min((regex.search(subject) for _ in range(3)), key=lambda found: found[2])
    assert verdict is not True
    assert steps <= l7.REGEX_STEPS + 64
    assert took < SLOW
    assert regex.given_up == (4 if verdict is None else 0)


def test_most_of_these_are_hostile_indeed(l7):
    """PCRE2 sees through some of them; the others are given up."""
    verdicts = [l7.Regex(pattern).search(subject)[0] for pattern, subject in HOSTILE.values()]
    assert verdicts.count(None) > len(HOSTILE) * 2 // 3


def test_same_search_has_the_same_outcome_and_cost(l7):
    for pattern, subject in HOSTILE.values():
        found = {l7.Regex(pattern).search(subject)[:2] for _ in range(3)}
        assert len(found) == 1


# What listeners have in earnest, with a subject as long as one may be.
EARNEST = [
    (rb"^/api/v[0-9]+/users/(\d+)$", b"/api/v12/users/" + b"7" * 200),
    (rb"\.(php|aspx?)$", b"/" + b"dir.d/" * 1300 + b"x.php"),
    (rb"^/(?:[a-z0-9-]+/)+$", b"/" + b"some-dir/" * 900),
    (rb"[a-z]+foo", b"word, words; " * 600 + b"xfoo"),
    (rb"(?i)curl|wget|python-requests", b"Mozilla/5.0 (X11; Linux) " * 320 + b"Wget"),
    (rb"^(?!.*/public/).*/admin", b"/a" * 4000 + b"/admin"),
    (
        rb"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
        b"/x" * 4000 + b"/01234567-89ab-cdef-0123-456789abcdef",
    ),
    (rb"session=[A-Za-z0-9+/]{64}(;|$)", b"a=b; " * 1500 + b"session=" + b"Ab+/" * 16),
    (rb"^[a-z]{1,63}(\.[a-z]{1,63})+(:\d{1,5})?$", b"www.some.host.example:8080"),
]


@pytest.mark.parametrize(("pattern", "subject"), EARNEST)
def test_earnest_search_is_decided(l7, pattern, subject):
    assert len(subject) <= l7.REGEX_SUBJECT
    for prefix in (b"", b"(*NO_JIT)"):
        regex = l7.Regex(prefix + pattern)
        assert regex.search(subject)[0] is True
        assert regex.search(subject[:-1] + b"#")[0] is False
        assert regex.given_up == 0


def test_subject_above_the_limit_is_not_looked_at(l7):
    regex = l7.Regex(b"a")
    assert regex.search(b"a" * l7.REGEX_SUBJECT)[0] is True
    assert regex.given_up == 0
    assert regex.search(b"a" * (l7.REGEX_SUBJECT + 1))[0] is None
    assert regex.given_up == 1


@pytest.mark.parametrize("jit", [b"", b"(*NO_JIT)"], ids=["jit", "no jit"])
def test_searches_leave_nothing_behind_in_the_scratch(l7, jit):
    regex = l7.Regex(jit + rb"^(?:[a-z]+|-)*$")
    regex.search(b"a-" * 200)
    kept = regex.arena_bytes
    assert 0 < kept < 1 << 20
    for length in (1, 10, 200, 4000, 8, 4000, 1):
        regex.search(b"a-" * length)
        regex.search(b"a" * length + b"!")
    assert regex.arena_bytes >= kept
    kept = regex.arena_bytes
    for length in (1, 10, 200, 4000, 8, 4000, 1):
        regex.search(b"a-" * length)
    assert regex.arena_bytes == kept


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        (b"abc", 1),
        (b"a{5}", 5),
        (b"a{5,}b{3}", 5),
        (b"a{5,900}", 5),
        (b"a{,900}", 1),
        (b"a{ 7 }", 7),
        (b"a{5}{6}", 30),
        (b"a{5}{6}{7}b{100}", 210),
        (b"a{5}b{6}", 6),
        (b"a{", 1),
        (b"a{5", 5),
        (b"{{{", 1),
        (b"a{65535}{65535}", 65536),
        (b"a{99999999999999999999}", 65536),
        (b"", 1),
    ],
)
def test_repetitions_are_read_off_the_pattern(l7, pattern, count):
    assert l7.repeats(pattern) == count


PARTS = [
    "a",
    "b",
    "[ab]",
    ".",
    "x?",
    "a*",
    "b+",
    "(a|b)",
    "(?:ab)*",
    "^",
    "$",
    "/",
    r"\.",
    "a{2}",
    "[^b]{1,2}?",
]


@given(
    st.text("abA./x", max_size=8), st.sampled_from(["", "(?i)"]), st.lists(st.sampled_from(PARTS), max_size=5)
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_search_finds_what_python_finds(l7, subject, flags, parts):
    pattern = flags + "".join(parts)
    for prefix in ("", "(*NO_JIT)"):
        found = l7.Regex((prefix + pattern).encode()).search(subject.encode())[0]
        assert found == (re.search(pattern, subject) is not None)


def test_only_hosts_are_searched_in_any_case(l7):
    regex = l7.Regex(b"^AbC$", True)
    assert regex.search(b"aBc")[0] is True
    assert l7.Regex(b"^AbC$").search(b"aBc")[0] is False


def test_bytes_are_no_utf_8(l7):
    for byte in range(1, 256):
        if chr(byte) not in string.whitespace:
            assert l7.Regex(b"^.$").search(bytes([byte]))[0] is True
    assert l7.Regex(b"^..$").search("é".encode())[0] is True


# ---- what a policy makes of a rule that was given up

HARD = request(target="/" + "a" * 40 + "!")
HARD_RULE = ("PATH", "REGEX", "", "(a+)+$", False)
YES = ("PATH", "STARTS_WITH", "", "/a", False)
NO = ("PATH", "STARTS_WITH", "", "/b", False)


@pytest.mark.parametrize("invert", [False, True])
def test_rule_given_up_is_undecided_inverted_or_not(l7, invert):
    program = l7.Program([policy("REJECT", (*HARD_RULE[:4], invert))])
    assert program.explain(HARD) == {0: {0: None}}
    assert program.limits == 1


@pytest.mark.parametrize("invert", [False, True])
def test_rejecting_policy_takes_it_for_a_match_and_no_other_does(l7, invert):
    hard = (*HARD_RULE[:4], invert)
    for order in ([hard, YES], [YES, hard]):
        assert l7.Program([policy("REJECT", *order)]).match(HARD) == 0
        assert l7.Program([policy("REDIRECT_TO_URL", *order)]).match(HARD) is None
        assert l7.Program([policy("REDIRECT_PREFIX", *order)]).match(HARD) is None
        assert l7.Program([policy("REDIRECT_TO_POOL", *order, pool=l7.Pool())]).match(HARD) is None


def test_rule_that_does_not_match_beside_it_decides(l7):
    for order in ([HARD_RULE, NO], [NO, HARD_RULE], [HARD_RULE, ("PATH", "REGEX", "", "^b", False)]):
        assert l7.Program([policy("REJECT", *order)]).match(HARD) is None


def test_one_value_that_matches_decides_whatever_the_others_cost(l7):
    rule = ("HEADER", "REGEX", "X", "(a+)+$", False)
    hard = "a" * 40 + "!"
    program = l7.Program([policy("REDIRECT_TO_URL", rule)])
    assert program.match(request(f"X: {hard}, b, a")) == 0
    assert program.match(request(f"X: a, {hard}")) == 0
    assert program.match(request(f"X: {hard}, b")) is None
    assert program.limits == 2


def test_costly_rules_are_not_tried_where_a_cheap_one_fails(l7):
    program = l7.Program([policy("REJECT", HARD_RULE, NO)])
    assert program.match(HARD) is None
    assert program.limits == 0


def test_request_pays_for_all_its_searches_together(l7):
    """A hundred hostile rules, or values, cost a request no hundred times a search."""
    rules = [policy("REDIRECT_TO_URL", ("PATH", "REGEX", "", f"(a+)+{i}?$", False)) for i in range(100)]
    program = l7.Program(rules)
    assert program.match(HARD) is None
    assert program.limits == 100
    assert l7.time_match(program, HARD, 1) < SLOW
    values = request("X: " + ", ".join(["a" * 40 + "!"] * 700))
    program = l7.Program([policy("REDIRECT_TO_URL", ("HEADER", "REGEX", "X", "(a+)+$", False))])
    assert program.match(values) is None
    assert program.limits < 10
    assert l7.time_match(program, values, 1) < SLOW
    commas = request("X: " + "," * 30_000)
    program = l7.Program(
        [policy("REDIRECT_TO_URL", ("HEADER", "REGEX", "X", f"^{i}$", False)) for i in range(100)]
    )
    assert program.match(commas) is None
    assert l7.time_match(program, commas, 1) < SLOW


def test_next_request_has_a_share_of_its_own(l7):
    hard = [policy("REDIRECT_TO_URL", HARD_RULE)] * 10
    program = l7.Program([*hard, policy("REDIRECT_TO_URL", ("HOST_NAME", "REGEX", "", "^b$", False))])
    assert program.match(HARD) is None
    assert program.match(request(host="b")) == 10


def test_thousands_of_earnest_rules_are_all_decided(l7):
    rows = [
        policy("REDIRECT_TO_URL", ("PATH", "REGEX", "", f"^/(?:app|web){i}/[0-9]+/edit$", False))
        for i in range(5000)
    ]
    program = l7.Program(rows)
    assert program.match(request(target="/web4999/17/edit")) == 4999
    assert program.match(request(target="/web5000/17/edit" + "/more" * 40)) is None
    assert program.limits == 0


def test_program_takes_over_what_the_one_before_it_compiled(l7):
    rows = [policy("REJECT", ("PATH", "REGEX", "", value, False)) for value in ("^/a", "^/b")]
    first = l7.Program(rows)
    second = l7.Program([rows[1], policy("REJECT", ("PATH", "REGEX", "", "^/c", False))], first)
    assert first.regexes == {b"^/a": 1, b"^/b": 2}
    assert second.regexes == {b"^/b": 2, b"^/c": 1}
    del first
    assert second.regexes == {b"^/b": 1, b"^/c": 1}
    assert [second.match(request(target=target)) for target in ("/a", "/b", "/c")] == [None, 0, 1]
