# SPDX-License-Identifier: Apache-2.0
"""Policies found by the index are those that one look at each would find, and those of a Python oracle."""

import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ACTIONS = ["REJECT", "REDIRECT_TO_URL", "REDIRECT_PREFIX", "REDIRECT_TO_POOL"]
GROUP = {"REJECT": 0, "REDIRECT_TO_URL": 1, "REDIRECT_PREFIX": 1, "REDIRECT_TO_POOL": 2}
TESTS = {
    "EQUAL_TO": lambda seen, value: seen == value,
    "STARTS_WITH": str.startswith,
    "ENDS_WITH": str.endswith,
    "CONTAINS": lambda seen, value: value in seen,
    "REGEX": lambda seen, value: re.search(value, seen) is not None,
}


@pytest.fixture(scope="session")
def l7(native):
    return native("l7")


# ---- the oracle: a request is (host or None, path, query, [(name, [value])], [(cookie, value)])


def looked_at(type_, key, request):
    host, path, _, headers, cookies = request
    return {
        "HOST_NAME": [host.lower()] if host is not None else [],
        "PATH": [path],
        "FILE_TYPE": [path],
        "HEADER": [value for name, values in headers if name.lower() == key.lower() for value in values],
        "COOKIE": [value for name, value in cookies if name == key],
    }.get(type_, [])


def holds(rule, request):
    type_, compare, key, value, invert = rule
    value = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    value = value.lower() if type_ == "HOST_NAME" else value
    test = TESTS["ENDS_WITH" if (type_, compare) == ("FILE_TYPE", "EQUAL_TO") else compare]
    return (value != "" and any(test(seen, value) for seen in looked_at(type_, key, request))) != invert


def first(rows, down, request):
    for i in sorted(range(len(rows)), key=lambda i: (GROUP[rows[i][0]], i)):
        if i not in down and all(holds(rule, request) for rule in rows[i][4]):
            return i
    return None


def written(request):
    host, path, query, headers, cookies = request
    lines = [f"GET {path}{query} HTTP/1.{int(host is not None)}"]
    lines += [f"Host: {host}"] if host is not None else []
    lines += [f"{name}: {', '.join(values)}" for name, values in headers]
    lines += [f"Cookie: {'; '.join(f'{name}={value}' for name, value in cookies)}"] if cookies else []
    return "\r\n".join([*lines, "", ""]).encode("ascii")


# ---- from small alphabets, so that matches happen

HOSTS = ["a", "b", "a.b", "b.a", "A.B", "ab", "a:1", "b.a:1", "aa.b"]
WORDS = ["a", "b", "ab", "ba", "aab", "abc", "b.a", "A"]
NAMES = ["X", "x-y", "Referer", "Accept"]
PATTERNS = ["^a", "b$", "a.b", "[ab]b", "^/?a*$", "(?i)AB", "^"]
paths = st.text("ab/.", max_size=5).map("/".__add__)
values = st.sampled_from(WORDS)
rules = st.one_of(
    st.tuples(st.just("HOST_NAME"), st.sampled_from([*TESTS][:4]), st.just(""), st.sampled_from(HOSTS)),
    st.tuples(st.just("PATH"), st.sampled_from([*TESTS][:4]), st.just(""), st.one_of(paths, values)),
    st.tuples(st.just("FILE_TYPE"), st.just("EQUAL_TO"), st.just(""), values),
    st.tuples(st.just("HEADER"), st.sampled_from([*TESTS][:4]), st.sampled_from(NAMES), values),
    st.tuples(st.just("COOKIE"), st.sampled_from([*TESTS][:4]), st.sampled_from("cd"), values),
    st.tuples(
        st.sampled_from(["HOST_NAME", "PATH", "FILE_TYPE", "HEADER", "COOKIE"]),
        st.just("REGEX"),
        st.sampled_from(["X", "c"]),
        st.sampled_from(PATTERNS),
    ),
    st.tuples(st.just("SSL_DN_FIELD"), st.just("EQUAL_TO"), st.just("CN"), values),
    st.tuples(st.sampled_from(["PATH", "HEADER"]), st.sampled_from([*TESTS]), st.just("X"), st.just('""')),
).flatmap(lambda rule: st.tuples(*map(st.just, rule), st.sampled_from([False, False, False, True])))
policies = st.tuples(st.sampled_from(ACTIONS), st.lists(rules, min_size=1, max_size=3))
requests = st.tuples(
    st.none() | st.sampled_from(HOSTS),
    paths,
    st.sampled_from(["", "?", "?a", "?/ab"]),
    st.lists(
        st.tuples(st.sampled_from([*NAMES, "x", "X-Y"]), st.lists(st.sampled_from(["", *WORDS]), max_size=3)),
        max_size=3,
    ),
    st.lists(st.tuples(st.sampled_from("cd"), st.sampled_from(["", *WORDS])), max_size=3),
)


def rows_of(l7, policies):
    return [
        (action, 302, "", l7.Pool() if action == "REDIRECT_TO_POOL" else None, rules)
        for action, rules in policies
    ]


@given(
    st.lists(policies, min_size=1, max_size=12),
    st.lists(requests, min_size=1, max_size=4),
    st.integers(0, 0xFFF),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_indexed_and_linear_matches_are_the_oracle_s(l7, policies, requests, down_bits):
    rows = rows_of(l7, policies)
    down = {i for i, row in enumerate(rows) if row[3] is not None and down_bits >> i & 1}
    for i in down:
        rows[i][3].set_admin_up(False)
    program = l7.Program(rows)
    for request in requests:
        # An empty list of values is a field that is there: its one value is empty.
        asked = (*request[:3], [(name, values or [""]) for name, values in request[3]], request[4])
        expected = first(rows, down, asked)
        assert program.match_linear(written(asked)) == expected
        assert program.match(written(asked)) == expected


def test_oracle_sees_matches_of_every_kind():
    """Else the comparison above would be one of misses."""
    rng = random.Random(5)
    found = set()
    for _ in range(4000):
        request = request_at_random(rng)
        rule = rule_at_random(rng)
        if holds((*rule[:4], False), request):
            found.add(rule[:2])
    assert found >= {(t, c) for t in ("HOST_NAME", "PATH", "HEADER", "COOKIE") for c in TESTS if c != "REGEX"}


def rule_at_random(rng, longest=5):
    """Mostly distinct values, as a real listener has them."""
    word = "".join(rng.choices("abc", k=rng.randint(1, longest)))
    compare = rng.choice([*TESTS][:4])
    invert = rng.random() < 0.05
    match rng.randrange(10):
        case 0 | 1 | 2:
            return ("HOST_NAME", compare, "", word + rng.choice(["", ".x"]), invert)
        case 3 | 4 | 5:
            return ("PATH", compare, "", "/" + word, invert)
        case 6:
            return ("FILE_TYPE", "EQUAL_TO", "", word, invert)
        case 7 | 8:
            return ("HEADER", compare, rng.choice(NAMES), word, invert)
        case _:
            return ("COOKIE", compare, rng.choice("cd"), word, invert)


def request_at_random(rng, longest=5):
    def word():
        return "".join(rng.choices("abc", k=rng.randint(1, longest)))

    headers = [
        (rng.choice(NAMES), [word() for _ in range(rng.randrange(1, 3))]) for _ in range(rng.randrange(3))
    ]
    cookies = [(rng.choice("cd"), word()) for _ in range(rng.randrange(3))]
    return (word() + rng.choice(["", ".x"]), "/" + word() + rng.choice(["", "/", ".a"]), "", headers, cookies)


def test_few_policies_are_found_as_by_the_oracle(l7):
    for seed in range(400):
        rng = random.Random(seed)
        rules = [
            [rule_at_random(rng, 2) for _ in range(rng.randrange(1, 3))] for _ in range(rng.randrange(1, 30))
        ]
        rows = rows_of(l7, [(rng.choice(ACTIONS), some) for some in rules])
        program = l7.Program(rows)
        for _ in range(20):
            request = request_at_random(rng, 2)
            expected = first(rows, (), request)
            assert program.match(written(request)) == program.match_linear(written(request)) == expected, seed


@pytest.mark.parametrize("count", [64, 65, 1000, 4097])
def test_many_policies_are_found_as_by_the_oracle(l7, count):
    rng = random.Random(count)
    rows = [
        ("REJECT", 0, "", None, [rule_at_random(rng) for _ in range(rng.randrange(2, 5))])
        for _ in range(count)
    ]
    program = l7.Program(rows)
    hits = 0
    for _ in range(60):
        request = request_at_random(rng)
        expected = first(rows, (), request)
        assert program.match(written(request)) == program.match_linear(written(request)) == expected
        hits += expected is not None
    assert hits > 10


@pytest.mark.parametrize("count", [1000, 10_000])
def test_each_of_many_policies_is_found(l7, count):
    """By host, path, beginning, end, header and cookie in turn."""
    kinds = [
        lambda i: (
            (("HOST_NAME", "EQUAL_TO", "", f"h{i}.example", False)),
            (f"H{i}.example", "/", "", [], []),
        ),
        lambda i: ((("PATH", "EQUAL_TO", "", f"/p{i}", False)), ("a", f"/p{i}", "?q", [], [])),
        lambda i: ((("PATH", "STARTS_WITH", "", f"/s{i}/", False)), ("a", f"/s{i}/more", "", [], [])),
        lambda i: ((("HOST_NAME", "ENDS_WITH", "", f".e{i}", False)), (f"www.e{i}", "/", "", [], [])),
        lambda i: ((("FILE_TYPE", "EQUAL_TO", "", f".t{i}", False)), ("a", f"/x.t{i}", "", [], [])),
        lambda i: (
            (("HEADER", "EQUAL_TO", f"X-{i}", "v", False)),
            ("a", "/", "", [(f"x-{i}", ["u", "v"])], []),
        ),
        lambda i: (
            (("HEADER", "REGEX", f"Y-{i}", "^v", False)),
            ("a", "/", "", [(f"y-{i}", ["u", "vw"])], []),
        ),
        lambda i: ((("COOKIE", "EQUAL_TO", "c", f"v{i}", False)), ("a", "/", "", [], [("c", f"v{i}")])),
    ]
    made = [kinds[i % len(kinds)](i) for i in range(count)]
    began = time.perf_counter()
    program = l7.Program([("REJECT", 0, "", None, [rule]) for rule, _ in made])
    assert time.perf_counter() - began < 5
    for i, (_, request) in enumerate(made):
        assert program.match(written(request)) == i
    assert program.match(written(("a", "/", "", [], []))) is None


def test_policies_above_the_limit_are_refused(l7):
    rows = [("REJECT", 0, "", None, [("PATH", "EQUAL_TO", "", "/", False)])] * 65_537
    with pytest.raises(OSError, match="too long"):
        l7.Program(rows)
    assert l7.Program(rows[1:]).match(written(("a", "/", "", [], []))) == 0


def test_thousand_policies_cost_no_thousand_comparisons(l7):
    """Compared with one look at each; both are far from the limit, whatever else the machine does."""
    rules = [
        [("HOST_NAME", "EQUAL_TO", "", f"host-{i}", False), ("PATH", "STARTS_WITH", "", "/x", False)]
        for i in range(1000)
    ]
    program = l7.Program([("REJECT", 0, "", None, rule) for rule in rules])
    request = written(("host-999", "/x", "", [], []))
    indexed = min(l7.time_match(program, request, 1000) for _ in range(5))
    linear = min(l7.time_match(program, request, 1000, linear=True) for _ in range(5))
    assert indexed * 10 < linear


def test_one_value_again_and_again_marks_its_policies_once(l7):
    """A client that repeats a value that a thousand policies wait for pays for its bytes alone."""
    rules = [("HEADER", "EQUAL_TO", "X", "v", False), ("PATH", "CONTAINS", "", "/no", False)]
    asked = written(("a", "/", "", [("X", ["v"] * 8000)], []))

    def cost(policies):
        program = l7.Program([("REJECT", 0, "", None, rules)] * policies)
        return min(l7.time_match(program, asked, 10) for _ in range(5))

    assert cost(1000) < 5 * cost(1)
