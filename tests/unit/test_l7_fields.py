# SPDX-License-Identifier: Apache-2.0
"""The fields of L7 policies and rules: Octavia's combinations, cell by cell, its refusals and its words."""

import pathlib
import re

import pytest

from fastlb import ConfigError, NotSupported, _core, schema
from fastlb.errors import MissingField, UnknownField
from fastlb.schema import L7PolicySpec, L7RuleSpec
from fastlb.schema.field import document, required, rules
from fastlb.types import L7CompareType, L7RuleType

NEW, OLD = "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d", "0b8f7f1f-2c3d-4c68-9f0a-6f1e7a523d1b"
RECORDED = pathlib.Path(__file__).parents[1] / "data" / "octavia_l7policy.txt"


def policy(**fields):
    return schema.create(L7PolicySpec, {"action": "REJECT"} | fields)


def rule(**fields):
    return schema.create(L7RuleSpec, {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"} | fields)


# Policies: actions and targets, as Octavia answered them.

ACTIONS = {"R": "REJECT", "U": "REDIRECT_TO_URL", "X": "REDIRECT_PREFIX", "P": "REDIRECT_TO_POOL"}
TARGETS = {"U": "redirect_url", "X": "redirect_prefix", "P": "redirect_pool_id"}
FIELDS = ("action", "redirect_url", "redirect_prefix", "redirect_pool_id", "redirect_http_code")
BEFORE = ("R", "R301", "U301", "X302", "P")


def given(asked):
    """The body that a row of the recording stands for."""
    body = {}
    for field, key in zip(FIELDS, asked, strict=True):
        if key == "0":
            body[field] = None
        elif key != "-":
            new = NEW if field == "redirect_pool_id" else "http://new/"
            body[field] = ACTIONS.get(key) or (int(key) if key.isdigit() else new)
    return body


def before(letters):
    fields = {"action": ACTIONS[letters[0]]}
    if letters[1:]:
        fields["redirect_http_code"] = int(letters[1:])
    if letters[0] in TARGETS:
        fields[TARGETS[letters[0]]] = OLD if letters[0] == "P" else "http://old/"
    return policy(**fields)


def outcome(make):
    try:
        spec = make()
    except ConfigError:
        return "!"
    letter = next(letter for letter, action in ACTIONS.items() if action == spec.action)
    targets = {
        key: getattr(spec, field) for key, field in TARGETS.items() if getattr(spec, field) is not None
    }
    assert targets.keys() == ({letter} & TARGETS.keys()), "a target without its action"
    mark = "".join("n" if target in (NEW, "http://new/") else "o" for target in targets.values())
    return f"{letter}{spec.redirect_http_code or ''}{mark}"


def expected(recorded):
    """Ours for Octavia's, which in an update stores an action whose target was set to null."""
    return "!" if re.fullmatch(r"[UXP](\d{3})?0", recorded) else recorded


def rows():
    for line in RECORDED.read_text().splitlines():
        if not line.startswith("#"):
            asked, created, updated = line.split(" | ")
            yield asked.split(), created, updated.split()


def test_every_combination_at_creation_comes_out_as_octavias():
    seen = list(rows())
    assert len(seen) == 6 * 3 * 3 * 3 * 3
    for asked, created, _ in seen:
        body = given(asked)
        made = outcome(lambda: schema.create(L7PolicySpec, body))  # noqa: B023 - called at once
        assert made == created, body


@pytest.mark.parametrize("letters", BEFORE)
def test_every_combination_in_an_update_comes_out_as_octavias(letters):
    spec = before(letters)
    for asked, _, updated in rows():
        body = given(asked)
        made = outcome(lambda: schema.update(spec, body))  # noqa: B023 - called at once
        assert made == expected(updated[BEFORE.index(letters)]), body


COMBINATIONS_REFUSED = [
    ({}, "action: must be given", "Mandatory field missing"),
    ({"action": None}, "action: must be given", "Invalid L7 Policy action specified: None"),
    (
        {"action": "reject"},
        "action='reject': must be one of REJECT, REDIRECT_TO_URL, ",
        "Value should be one of",
    ),
    (
        {"action": "REDIRECT_TO_URL"},
        "redirect_url=None: must be given with action REDIRECT_TO_URL",
        "Invalid L7 Policy arguments: redirect_url must not be None",
    ),
    (
        {"action": "REDIRECT_PREFIX", "redirect_url": "http://h"},
        "redirect_prefix=None: must be given with action REDIRECT_PREFIX",
        "Invalid L7 Policy arguments: redirect_prefix must not be None",
    ),
    (
        {"action": "REDIRECT_TO_POOL"},
        "redirect_pool=None: must be given with action REDIRECT_TO_POOL",
        "Invalid L7 Policy arguments: redirect_pool_id or redirect_pool must not be None",
    ),
    (
        {"action": "REDIRECT_TO_POOL", "redirect_pool_id": NEW, "redirect_prefix": "http://h"},
        f"redirect_pool_id='{NEW}': must not be given beside redirect_url or redirect_prefix",
        "Invalid L7 Policy arguments: Cannot specify redirect_pool_id and redirect_url or redirect_prefix at the "
        "same time",
    ),
]


@pytest.mark.parametrize(("fields", "message", "fault"), COMBINATIONS_REFUSED)
def test_a_combination_is_refused_in_both_words(fields, message, fault):
    with pytest.raises(ConfigError) as caught:
        schema.create(L7PolicySpec, fields)
    assert str(caught.value).startswith(message)
    assert fault in caught.value.fault


def test_an_update_names_a_field():
    for spec in (policy(), policy(redirect_prefix="http://h")):
        with pytest.raises(ConfigError, match=r"^changes=\{\}: must name a field of the policy$") as caught:
            schema.update(spec, {})
        assert caught.value.fault == "Invalid L7 Policy arguments: Invalid update options"
        assert schema.update(spec, {"tags": None}) == spec


# Policies: the fields by themselves.


def test_the_fields_of_a_policy_and_their_defaults():
    spec = policy()
    assert {name: getattr(spec, name) for name in rules(L7PolicySpec)} == {
        "name": "",
        "description": "",
        "admin_state_up": True,
        "tags": (),
        "action": "REJECT",
        "redirect_pool_id": None,
        "redirect_url": None,
        "redirect_prefix": None,
        "redirect_http_code": None,
        "position": None,
    }
    assert required(L7PolicySpec) == {"action"}
    assert all(rule.live for rule in rules(L7PolicySpec).values())


URLS_TAKEN = [
    "http://h",
    "https://example.com/",
    "https://example.com:8443/a/b?c=d&e=/f?#g",
    "http://10.0.0.1/",
    "http://[::1]:80/x",
    "http://user:secret@h/",
    "http://a_b.c-d~e/",
    "http://h%20x/",
    "http://h/%zz|<>é",
    "http://h?x",
    "http://h#x",
    "http://h:",
    "http://" + "h" * 248,
]
URLS_REFUSED = [
    "",
    "h",
    "/path",
    "//h/path",
    "ftp://h/",
    "HTTP://h/",
    "http:/h",
    "http://",
    "http:///x",
    "http://:80",
    "http://u@",
    "http://a@b@c/",
    "http://é.de/",
    "http://h:x/",
    "http://999.1.1.1/",
    "http://[::1/",
    "http://[::zz]/",
    "http://h%zz/",
    "http://h/[x]",
    "http://h\\x",
    "http://h/a b",
    "http://h/a\tb",
    "http://h/a\r\nX: y",
    "http://h/\x00",
    "http://h/\x7f",
    "http://h/\x85",
    "http://h/\u00a0",
    "http://h/\u2028",
    "http://h/\ud800",
    " http://h/",
    "http://h/\n",
]


@pytest.mark.parametrize("field", ["redirect_url", "redirect_prefix"])
@pytest.mark.parametrize("url", URLS_TAKEN)
def test_a_redirect_is_to_a_url(field, url):
    spec = schema.update(policy(), {field: url})
    assert (getattr(spec, field), spec.location) == (url, url)


@pytest.mark.parametrize("field", ["redirect_url", "redirect_prefix"])
@pytest.mark.parametrize("url", URLS_REFUSED)
def test_what_is_no_url_is_refused_even_where_it_is_not_used(field, url):
    for action in ("REJECT", "REDIRECT_TO_URL", "REDIRECT_PREFIX", "REDIRECT_TO_POOL"):
        with pytest.raises(
            ConfigError, match=rf"^{field}=.*: must be http:// or https:// with a host"
        ) as caught:
            policy(action=action, redirect_pool_id=NEW, **{field: url})
        assert caught.value.fault.endswith("Value must be a valid URL string")


def test_a_url_has_255_characters_at_most():
    with pytest.raises(ConfigError, match="must have at most 255 characters, has 256"):
        policy(redirect_prefix="http://" + "h" * 249)
    with pytest.raises(ConfigError, match="must be a string"):
        policy(redirect_url=7)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_the_codes_of_a_redirect(code):
    spec = policy(redirect_prefix="http://h", redirect_http_code=code)
    assert (spec.redirect_http_code, spec.code) == (code, code)
    at_the_door = schema.create(
        L7PolicySpec, {"action": "REJECT", "redirect_http_code": str(code)}, coerce=True
    )
    assert at_the_door.redirect_http_code == code


@pytest.mark.parametrize("code", [0, 200, 300, 304, 305, 306, 309, -301, 301.0, "301", True, [], 10**30])
def test_no_other_code_is_one(code):
    with pytest.raises(
        ConfigError, match=r"^redirect_http_code=.*: must be one of 301, 302, 303, 307, 308$"
    ) as e:
        policy(redirect_http_code=code)
    assert e.value.fault.endswith("Value should be one of: 301, 302, 303, 307, 308")


def test_a_redirect_whose_code_is_null_answers_302():
    spec = policy(redirect_prefix="http://h", redirect_http_code=301)
    after = schema.update(spec, {"redirect_http_code": None})
    assert (after.redirect_http_code, after.code) == (None, 302)


@pytest.mark.parametrize("position", [1, 2, 2_147_483_647])
def test_positions_that_may_be_asked_for(position):
    assert policy(position=position).position == position


@pytest.mark.parametrize("position", [0, -1, 2_147_483_648])
def test_positions_that_may_not(position):
    with pytest.raises(ConfigError, match=rf"^position={position}: must be 1\.\.2147483647$"):
        policy(position=position)


def test_null_in_a_policy():
    spec = policy(name="x", description="x", position=3, admin_state_up=None, tags=["a"])
    assert spec.admin_state_up is False
    after = schema.update(spec, {"name": None, "description": None, "position": None, "tags": None})
    assert (after.name, after.description, after.position, after.tags) == ("", "", 3, ())
    assert policy(name=None, description=None, position=None, tags=None, redirect_url=None) == policy()
    with pytest.raises(ConfigError, match=r"^action=None: must not be null"):
        schema.update(spec, {"action": None})


def test_fields_that_a_policy_does_not_take():
    for name in ("id", "rules", "listener_id", "redirect_pool", "project_id"):
        with pytest.raises(UnknownField):
            policy(**{name: "x"})


# Rules.

TYPES = tuple(L7RuleType)
COMPARISONS = ("EQUAL_TO", "REGEX", "STARTS_WITH", "ENDS_WITH", "CONTAINS")
MATRIX = """
    HOST_NAME          x x x x x
    PATH               x x x x x
    FILE_TYPE          x x - - -
    HEADER             x x x x x
    COOKIE             x x x x x
    SSL_CONN_HAS_CERT  x - - - -
    SSL_VERIFY_RESULT  x - - - -
    SSL_DN_FIELD       x x x x x
"""
CELLS = [
    (kind, comparison, mark == "x")
    for kind, *marks in (line.split() for line in MATRIX.strip().splitlines())
    for comparison, mark in zip(COMPARISONS, marks, strict=True)
]
VALUES = {"SSL_CONN_HAS_CERT": "true", "SSL_VERIFY_RESULT": "0"}
KEYS = {"HEADER": "X-A", "COOKIE": "sid", "SSL_DN_FIELD": "CN"}


def of_type(kind, comparison="EQUAL_TO", **fields):
    known = {"value": VALUES.get(kind, "a"), "key": KEYS.get(kind)}
    return rule(type=kind, compare_type=comparison, **known | fields)


def test_the_matrix_knows_every_type_and_comparison():
    assert {kind for kind, _, _ in CELLS} == set(TYPES)
    assert {comparison for _, comparison, _ in CELLS} == set(L7CompareType)


@pytest.mark.parametrize(("kind", "comparison", "allowed"), CELLS)
def test_comparisons_of_a_type(kind, comparison, allowed):
    if allowed:
        assert of_type(kind, comparison).compare_type == comparison
        return
    with pytest.raises(
        ConfigError, match=rf"^compare_type='{comparison}': must be .* for a {kind} rule$"
    ) as e:
        of_type(kind, comparison)
    words = "invalid comparison type for rule type"
    if kind.startswith("SSL"):
        words = f"L7rule type {kind} only supports the EQUAL_TO compare type."
    assert e.value.fault == f"Error parsing L7Rule: Invalid L7 Rule: {words}"
    # The same door for an update.
    with pytest.raises(ConfigError):
        schema.update(of_type(kind), {"compare_type": comparison})


def test_the_fields_of_a_rule_and_their_defaults():
    spec = rule()
    assert {name: getattr(spec, name) for name in rules(L7RuleSpec)} == {
        "type": "PATH",
        "compare_type": "EQUAL_TO",
        "value": "/",
        "key": None,
        "invert": False,
        "admin_state_up": True,
        "tags": (),
    }
    assert required(L7RuleSpec) == {"type", "compare_type", "value"}
    assert all(one.live for one in rules(L7RuleSpec).values())
    for field in ("type", "compare_type", "value"):
        with pytest.raises(MissingField, match=rf"^{field}: must be given$"):
            rule(**{field: None})
        with pytest.raises(ConfigError, match=rf"^{field}=None: must not be null"):
            schema.update(spec, {field: None})
    for field in ("name", "description"):
        with pytest.raises(UnknownField):
            rule(**{field: "x"})


def test_null_in_a_rule():
    spec = rule(invert=None, admin_state_up=None, tags=None)
    assert (spec.invert, spec.admin_state_up, spec.tags) == (False, False, ())
    spec = of_type("HEADER", invert=True, tags=["a"])
    after = schema.update(spec, {"invert": None, "tags": None})
    assert (after.invert, after.tags) == (False, ())
    with pytest.raises(ConfigError, match=r"^key=None: must be given for a HEADER rule$"):
        schema.update(spec, {"key": None})
    assert schema.update(spec, {}) == spec


PRINTABLE = [chr(code) for code in range(33, 127)]
OTHER = [" ", "\t", "\x00", "\x01", "\x7f", "é", "\u2028"]
COOKIE_WRONG = {'"', ";", "\\"}


@pytest.mark.parametrize("kind", ["HOST_NAME", "PATH", "FILE_TYPE", "HEADER", "COOKIE"])
def test_characters_of_a_value(kind):
    for character in PRINTABLE:
        if kind == "COOKIE" and character in COOKIE_WRONG:
            continue
        assert of_type(kind, value=f"a{character}b").value == f"a{character}b"
    for character in (*OTHER, *(COOKIE_WRONG if kind == "COOKIE" else ())):
        with pytest.raises(ConfigError, match=r"^value=.*: must be printable ASCII") as caught:
            of_type(kind, value=f"a{character}b")
        assert caught.value.fault.startswith("Error parsing L7Rule: Invalid characters in ")


@pytest.mark.parametrize("kind", ["HOST_NAME", "PATH", "FILE_TYPE", "HEADER"])
def test_a_value_with_spaces_is_quoted_as_a_whole(kind):
    spec = of_type(kind, value='"a\t b"')
    assert (spec.value, spec.comparand) == ('"a\t b"', "a\t b")
    assert of_type(kind, value='"').comparand == '"'
    assert of_type(kind, value='""').comparand == ""
    for value in ('a "b c"', '"a b', '"a b" ', '"é"', '"\x01"'):
        with pytest.raises(ConfigError, match=r"^value="):
            of_type(kind, value=value)


@pytest.mark.parametrize(("kind", "comparison"), [(k, c) for k, c, allowed in CELLS if allowed])
def test_a_value_is_one_line_of_255_characters_at_most(kind, comparison):
    with pytest.raises(ConfigError, match=r"^value='': must have at least 1 character$") as caught:
        of_type(kind, comparison, value="")
    assert caught.value.fault == "Error parsing L7Rule: Invalid L7 Rule: L7 rule type requires a value"
    for value in ("a\r", "a\n", "\na"):
        with pytest.raises(ConfigError, match=r"^value=.*: must be one line$"):
            of_type(kind, comparison, value=value)
    with pytest.raises(ConfigError, match="must have at most 255 characters, has 256"):
        of_type(kind, comparison, value="1" * 256)
    with pytest.raises(ConfigError, match="must be a string"):
        of_type(kind, comparison, value=7)
    if kind != "SSL_CONN_HAS_CERT":
        assert of_type(kind, comparison, value="1" * 255)


@pytest.mark.parametrize("kind", ["HEADER", "COOKIE"])
def test_a_key_is_a_name(kind):
    for key in ("X-A", "a", "a1!#$%&'*+-.^_`|~", "k" * 255):
        assert of_type(kind, key=key).key == key
    for key in (None, ""):
        with pytest.raises(ConfigError, match=rf"^key=.*: must be given for a {kind} rule$") as caught:
            of_type(kind, key=key)
        assert caught.value.fault == "Error parsing L7Rule: Invalid L7 Rule: L7 rule type requires a key"
    for character in '"(/:;<=>?@[\\]{} \té\x00':
        with pytest.raises(ConfigError, match=r"^key=.*: must be a (header|cookie)'s name$") as caught:
            of_type(kind, key=f"a{character}b")
        assert caught.value.fault == "Error parsing L7Rule: Invalid characters in key"


def test_a_key_that_names_a_field_of_a_certificates_subject():
    for key in ("CN", "c", "serialNumber", "x-1"):
        assert of_type("SSL_DN_FIELD", key=key).key == key
    for key in ("1a", "-a", "a_b", "a b", "é"):
        with pytest.raises(ConfigError, match="must be a field of a distinguished name") as caught:
            of_type("SSL_DN_FIELD", key=key)
        assert "Invalid L7rule distinguished name field" in caught.value.fault
    with pytest.raises(ConfigError, match="must be given for a SSL_DN_FIELD rule"):
        of_type("SSL_DN_FIELD", key=None)


@pytest.mark.parametrize("kind", ["HOST_NAME", "PATH", "FILE_TYPE"])
def test_a_key_that_means_nothing_is_kept_until_the_first_update(kind):
    spec = of_type(kind, key="a b")
    assert spec.key == "a b"
    assert schema.update(spec, {"tags": ["t"]}).key is None
    assert schema.update(spec, {"key": "other"}).key is None
    with pytest.raises(ConfigError, match="must be one line"):
        of_type(kind, key="a\nb")
    with pytest.raises(ConfigError, match="at most 255"):
        of_type(kind, key="k" * 256)


@pytest.mark.parametrize("kind", ["SSL_CONN_HAS_CERT", "SSL_VERIFY_RESULT"])
def test_types_that_have_no_key(kind):
    assert of_type(kind, key="").key == ""
    with pytest.raises(ConfigError, match=rf"^key='CN': must be left out for a {kind} rule$") as caught:
        of_type(kind, key="CN")
    assert caught.value.fault.endswith('does not use the "key" field.')


def test_values_of_the_certificate_types():
    for value in ("true", "TRUE", "True"):
        assert of_type("SSL_CONN_HAS_CERT", value=value)
    for value in ("false", "1", "yes"):
        with pytest.raises(ConfigError, match=r"^value=.*: must be 'true' for"):
            of_type("SSL_CONN_HAS_CERT", value=value)
    for value in ("0", "12", "007"):
        assert of_type("SSL_VERIFY_RESULT", value=value)
    for value in ("-1", "x", "1.0", "²", " 1"):
        with pytest.raises(ConfigError, match=r"^value=.*: must be an integer, 0 or more$"):
            of_type("SSL_VERIFY_RESULT", value=value)
    # No more is asked of a subject's field in Octavia.
    assert of_type("SSL_DN_FIELD", value="Acme, Inc é")


REGEX_TYPES = [kind for kind, comparison, allowed in CELLS if comparison == "REGEX" and allowed]


@pytest.mark.parametrize("kind", REGEX_TYPES)
def test_a_regular_expression_compiles_in_python_and_in_pcre(kind):
    for value in (r"^/api/v\d+(/|$)", "a b", '"a b"', "[é]", ".*", "(?i)x", r"(?P<n>a)\1", "[[]", "a\tb"):
        assert of_type(kind, "REGEX", value=value).value == value
    for value in ("(", "a{2,1}", "*", "[", "(?P<n", "a(?i)b", "(a{99999999999})"):  # Python's refusals
        with pytest.raises(
            ConfigError, match=r"^value=.*: must be a regular expression of Python's re"
        ) as caught:
            of_type(kind, "REGEX", value=value)
        assert caught.value.fault.startswith("Error parsing L7Rule: Unable to parse regular expression: ")
    for value in (r"\u0041", "a{0,65536}"):  # PCRE's
        re.compile(value)
        assert _core.regex_error(value)
        with pytest.raises(ConfigError, match=r"^value=.*and of PCRE2: "):
            of_type(kind, "REGEX", value=value)


def test_what_is_compiled_is_what_stands_in_the_quotes():
    assert rule(compare_type="REGEX", value='"a|b"').comparand == "a|b"
    with pytest.raises(ConfigError):
        rule(compare_type="REGEX", value='"\\"')


def test_without_pcre_a_regular_expression_is_not_supported(monkeypatch):
    def missing(pattern):
        raise RuntimeError("REGEX rules need the library libpcre2-8.so.0")

    monkeypatch.setattr("fastlb._core.regex_error", missing)
    with pytest.raises(NotSupported, match=r"^compare_type='REGEX': REGEX rules need the library libpcre2"):
        rule(compare_type="REGEX", value="a")
    assert rule(value="a")


def test_text_that_no_request_can_have_is_refused():
    for kind in ("PATH", "SSL_DN_FIELD"):
        with pytest.raises(ConfigError, match="must be text that UTF-8 can carry"):
            of_type(kind, "REGEX", value="\ud800")


def test_a_rule_changes_its_type_as_a_whole():
    spec = of_type("HEADER")
    after = schema.update(spec, {"type": "PATH", "value": "/x"})
    assert (after.type, after.key) == ("PATH", None)
    with pytest.raises(ConfigError, match=r"^key=None: must be given for a COOKIE rule"):
        schema.update(after, {"type": "COOKIE"})
    assert schema.update(after, {"type": "COOKIE", "key": "sid"}).key == "sid"
    with pytest.raises(ConfigError, match=r"^value='a b': must be printable ASCII"):
        schema.update(rule(compare_type="REGEX", value="a b"), {"compare_type": "EQUAL_TO"})


@pytest.mark.parametrize(
    "spec",
    [
        policy(),
        policy(
            redirect_http_code=301, admin_state_up=False, tags=["t"], name="n", description="d", position=7
        ),
        policy(action="REDIRECT_TO_URL", redirect_url="http://h"),
        policy(redirect_prefix="http://h", redirect_http_code=308),
        policy(action="REDIRECT_TO_POOL", redirect_pool_id=NEW),
        rule(),
        of_type("HEADER", "REGEX", invert=True, admin_state_up=False, tags=["t"]),
        of_type("PATH", key="kept"),
    ],
    ids=str,
)
def test_a_document_makes_the_same_again(spec):
    assert schema.create(type(spec), document(spec)) == spec
