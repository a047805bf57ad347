# SPDX-License-Identifier: Apache-2.0
"""The fields of L7 policies and rules, which action goes with which target, and which comparison with which rule."""

import ipaddress
import re
import warnings
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, Self

from msgspec.structs import replace

from fastlb import _core
from fastlb.errors import ConfigError, NotSupported
from fastlb.schema import kinds
from fastlb.schema.field import Null, Record, Rule, Spec
from fastlb.types import L7CompareType, L7PolicyAction, L7RuleType

RULES_AT_MOST = 50
"""Rules of one policy."""
REDIRECT_CODES = (301, 302, 303, 307, 308)
REDIRECT_CODE = 302
"""What a redirect answers when no code is set."""

_A = L7PolicyAction
_TARGETS = {
    _A.REDIRECT_TO_URL: "redirect_url",
    _A.REDIRECT_PREFIX: "redirect_prefix",
    _A.REDIRECT_TO_POOL: "redirect_pool_id",
}

_url_text = kinds.text(255)
_USER = r"(?:[\w.~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})+@"
_NAME = r"(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
_URL = re.compile(rf"https?://(?:{_USER})?({_NAME}|\[[^\]]+\])(?::\d*)?(?:/[^\[\]?#]*)?(?:[?#].*)?", re.ASCII)
_FOUR_NUMBERS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def _has_host(url: str) -> bool:
    found = _URL.fullmatch(url)
    if found is None:
        return False
    host = found[1]
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        elif _FOUR_NUMBERS.fullmatch(host):
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _url(field: str, value: Any, coerce: bool) -> str:
    url: str = _url_text(field, value, coerce)
    # It is written into a header: what would end or split that must not come through.
    if not url.isprintable() or " " in url or not _has_host(url):
        kinds.refuse(
            field,
            value,
            "must be http:// or https:// with a host, without spaces and control characters",
            "Value must be a valid URL string",
        )
    return url


_code_number = kinds.integer(0)


def _code(field: str, value: Any, coerce: bool) -> int:
    try:
        code: int = _code_number(field, value, coerce)
    except ConfigError:
        code = 0
    if code not in REDIRECT_CODES:
        words = ", ".join(map(str, REDIRECT_CODES))
        kinds.refuse(field, value, f"must be one of {words}", f"Value should be one of: {words}")
    return code


class L7PolicySpec(Spec, frozen=True, kw_only=True):
    BESIDE = ("redirect_pool", "rules")
    action: Annotated[
        L7PolicyAction,
        Rule(kinds.choice(L7PolicyAction), null_fault="Invalid L7 Policy action specified: None"),
    ]
    description: Annotated[str, Rule(kinds.text(255), null="")] = ""
    redirect_pool_id: Annotated[str | None, Rule(kinds.uuid, null=None)] = None
    redirect_url: Annotated[str | None, Rule(_url, null=None)] = None
    redirect_prefix: Annotated[str | None, Rule(_url, null=None)] = None
    redirect_http_code: Annotated[int | None, Rule(_code, null=None)] = None
    # Unlike those of other objects a null clears them, in policies as in rules.
    tags: Annotated[tuple[str, ...], Rule(kinds.tags, null=())] = ()
    # Where it is asked to stand; where it does stand is the listener's knowledge.
    position: Annotated[int | None, Rule(kinds.integer(1, 2_147_483_647), null=None, reset=Null.KEEPS)] = None

    @property
    def redirects(self) -> bool:
        """Is it answered with a Location?"""
        return self.action in (_A.REDIRECT_TO_URL, _A.REDIRECT_PREFIX)

    @property
    def code(self) -> int:
        """The code that a redirect answers with."""
        return self.redirect_http_code or REDIRECT_CODE

    @property
    def location(self) -> str:
        """What a redirect's Location is, or begins with."""
        return self.redirect_url or self.redirect_prefix or ""

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        if before is not None and not changes:
            raise ConfigError(
                "changes",
                {},
                "must name a field of the policy",
                fault="Invalid L7 Policy arguments: Invalid update options",
            )
        asked = {name for name, value in changes.items() if value is not None}
        if before is not None and not asked & {"action", *_TARGETS.values()}:
            return self._kept()
        return self._directed(before, asked)

    def _kept(self) -> Self:
        """An update that asks for no other action: the one that there is must still have its target."""
        target = _TARGETS.get(self.action)
        if target is not None and getattr(self, target) is None:
            _refuse_target(target, self.action)
        return self

    def _directed(self, before: Self | None, asked: set[str]) -> Self:
        """What comes of an action and targets that are asked for. A URL wins over a prefix and takes the action along,
        a prefix takes it from REJECT, and what goes with another action than the one asked for is left out."""
        url = self.redirect_url if "redirect_url" in asked else None
        prefix = self.redirect_prefix if "redirect_prefix" in asked else None
        pool = self.redirect_pool_id if "redirect_pool_id" in asked else None
        action = self.action if "action" in asked else None
        if action is not None:
            target = _TARGETS.get(action)
            if target is not None and target not in asked:
                _refuse_target(target, action)
            if action in (_A.REJECT, _A.REDIRECT_TO_POOL):
                url = None
            if action in (_A.REJECT, _A.REDIRECT_TO_URL):
                pool = None
        if pool and (url or prefix):
            raise ConfigError(
                "redirect_pool_id",
                pool,
                "must not be given beside redirect_url or redirect_prefix",
                fault="Invalid L7 Policy arguments: Cannot specify redirect_pool_id and redirect_url or "
                "redirect_prefix at the same time",
            )
        code = self.redirect_http_code if "redirect_http_code" in asked else None
        if url:
            action, prefix = _A.REDIRECT_TO_URL, None
        elif prefix:
            action = _A.REDIRECT_PREFIX
        elif pool:
            action = _A.REDIRECT_TO_POOL
        if url or prefix:
            code = code or REDIRECT_CODE
        elif pool or before is not None:
            code = None
        assert action is not None
        return replace(
            self,
            action=action,
            redirect_url=url,
            redirect_prefix=prefix,
            redirect_pool_id=pool,
            redirect_http_code=code,
        )


def _refuse_target(field: str, action: L7PolicyAction) -> NoReturn:
    needed = "redirect_pool_id or redirect_pool" if field == "redirect_pool_id" else field
    raise ConfigError(
        field.removesuffix("_id"),  # documents have no other, and in Python it takes the pool itself
        None,
        f"must be given with action {action}",
        fault=f"Invalid L7 Policy arguments: {needed} must not be None",
    )


# Rules.

_T, _C = L7RuleType, L7CompareType
_ALL = tuple(L7CompareType)
COMPARISONS: dict[L7RuleType, tuple[L7CompareType, ...]] = {
    _T.HOST_NAME: _ALL,
    _T.PATH: _ALL,
    _T.FILE_TYPE: (_C.REGEX, _C.EQUAL_TO),
    _T.HEADER: _ALL,
    _T.COOKIE: _ALL,
    _T.SSL_CONN_HAS_CERT: (_C.EQUAL_TO,),
    _T.SSL_VERIFY_RESULT: (_C.EQUAL_TO,),
    _T.SSL_DN_FIELD: _ALL,
}
KEYLESS = (_T.HOST_NAME, _T.PATH, _T.FILE_TYPE)
"""Types that take a key and make nothing of it."""
KEYED = (_T.HEADER, _T.COOKIE, _T.SSL_DN_FIELD)

# As Octavia has them, where `+-.` is a range: the comma between the two is taken in names and cookie values.
_FIELD_NAME = re.compile(r"[a-zA-Z0-9!#$%&'*+-.^_`|~]+")
_FIELD_VALUE = re.compile(r"[!-~]+")
_QUOTED_VALUE = re.compile(r'"[\t -~]*"')
_COOKIE_VALUE = re.compile(r"[!#-:<-\[\]-~]+")
_DN_FIELD = re.compile(r"[a-zA-Z][A-Za-z0-9-]*")
_LINE = r"[^\r\n]*"

_key = kinds.pattern(255, "must be one line", _LINE)
_value_line = kinds.pattern(255, "must be one line", _LINE)


_NO_RULE = "Error parsing L7Rule: Invalid L7 Rule: "


def _refuse_rule(field: str, value: Any, allowed: str, words: str) -> NoReturn:
    raise ConfigError(field, value, allowed, fault=f"Error parsing L7Rule: {words}")


def _value(field: str, value: Any, coerce: bool) -> str:
    line: str = _value_line(field, value, coerce)
    if not line:
        _refuse_rule(
            field, value, "must have at least 1 character", "Invalid L7 Rule: L7 rule type requires a value"
        )
    if any("\ud800" <= character <= "\udfff" for character in line):
        _refuse_rule(field, value, "must be text that UTF-8 can carry", "Invalid characters in value")
    return line


class L7RuleSpec(Record, frozen=True, kw_only=True):
    type: Annotated[L7RuleType, Rule(kinds.choice(L7RuleType), null_fault=_NO_RULE + "invalid rule type")]
    compare_type: Annotated[
        L7CompareType,
        Rule(kinds.choice(L7CompareType), null_fault=_NO_RULE + "invalid comparison type for rule type"),
    ]
    value: Annotated[str, Rule(_value, null_fault=_NO_RULE + "L7 rule type requires a value")]
    key: Annotated[str | None, Rule(_key, null=None)] = None
    invert: Annotated[bool, Rule(kinds.boolean, null=False)] = False
    admin_state_up: Annotated[bool, Rule(kinds.boolean, null=False)] = True
    tags: Annotated[tuple[str, ...], Rule(kinds.tags, null=())] = ()

    @property
    def comparand(self) -> str:
        """What requests are compared with: a value in double quotes without them."""
        value = self.value
        return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value

    def settled(self, before: Self | None, changes: Mapping[str, Any]) -> Self:
        allowed = COMPARISONS[self.type]
        if self.compare_type not in allowed:
            words = "invalid comparison type for rule type"
            if len(allowed) == 1:
                words = f"L7rule type {self.type} only supports the {allowed[0]} compare type."
            _refuse_rule(
                "compare_type",
                self.compare_type,
                f"must be {' or '.join(allowed)} for a {self.type} rule",
                f"Invalid L7 Rule: {words}",
            )
        self._check_key()
        if self.compare_type is _C.REGEX:
            self._check_regex()
        else:
            self._check_value()
        if before is not None and self.key is not None and self.type in KEYLESS:
            # Octavia keeps it at the creation and clears it with the first update.
            return replace(self, key=None)
        return self

    def _check_key(self) -> None:
        key, kind = self.key, self.type
        if kind in KEYED and not key:
            words = "L7 rule type requires a key"
            if kind is _T.SSL_DN_FIELD:
                words = f"L7rule type {kind} needs to specify a key and a value."
            _refuse_rule("key", key, f"must be given for a {kind} rule", f"Invalid L7 Rule: {words}")
        if kind in (_T.HEADER, _T.COOKIE):
            if not _FIELD_NAME.fullmatch(key or ""):
                what = "header" if kind is _T.HEADER else "cookie"
                _refuse_rule("key", key, f"must be a {what}'s name", "Invalid characters in key")
        elif kind is _T.SSL_DN_FIELD:
            if not _DN_FIELD.fullmatch(key or ""):
                _refuse_rule(
                    "key",
                    key,
                    "must be a field of a distinguished name, such as CN",
                    "Invalid L7 Rule: Invalid L7rule distinguished name field.",
                )
        elif kind not in KEYLESS and key:
            _refuse_rule(
                "key",
                key,
                f"must be left out for a {kind} rule",
                f'Invalid L7 Rule: L7rule type {kind} does not use the "key" field.',
            )

    def _check_regex(self) -> None:
        # Octavia's API asks Python, its data plane is PCRE: both must take it.
        error: str | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                re.compile(self.value)
        except (re.error, OverflowError, RecursionError) as why:
            error = str(why)
        if error is None:
            try:
                error = _core.regex_error(self.comparand)
            except RuntimeError as why:
                raise NotSupported(f"compare_type='REGEX': {why}") from None
        if error is not None:
            _refuse_rule(
                "value",
                self.value,
                f"must be a regular expression of Python's re and of PCRE2: {error}",
                f"Unable to parse regular expression: {error}",
            )

    def _check_value(self) -> None:
        value, kind = self.value, self.type
        if kind is _T.COOKIE:
            if not _COOKIE_VALUE.fullmatch(value):
                _refuse_rule(
                    "value",
                    value,
                    'must be printable ASCII without spaces, ", ; and \\',
                    "Invalid characters in cookie value",
                )
        elif kind in (_T.HOST_NAME, _T.PATH, _T.FILE_TYPE, _T.HEADER):
            if not _FIELD_VALUE.fullmatch(value) and not _QUOTED_VALUE.fullmatch(value):
                what = "header value" if kind is _T.HEADER else "comparison value"
                _refuse_rule(
                    "value",
                    value,
                    "must be printable ASCII, in double quotes as a whole if there are spaces in it",
                    f"Invalid characters in {what}",
                )
        elif kind is _T.SSL_CONN_HAS_CERT:
            if value.lower() != "true":
                _refuse_rule(
                    "value",
                    value,
                    "must be 'true' for a SSL_CONN_HAS_CERT rule",
                    f"Invalid L7 Rule: L7rule value {value} is not a boolean True string.",
                )
        elif kind is _T.SSL_VERIFY_RESULT and not (value.isascii() and value.isdigit()):
            _refuse_rule(
                "value",
                value,
                "must be an integer, 0 or more",
                f"Invalid L7 Rule: L7rule type {kind} needs a int value, which is >= 0",
            )
