# SPDX-License-Identifier: Apache-2.0
"""L7 policies of the comparison: two sets of them, what a client asks, and what each request must be answered.

A set is made once and given to every peer: to fastlb as objects (fastlb_peer.py), to HAProxy as the lines that
Octavia's template writes for them, and as the map files that an expert would write instead. What a request must be
answered is worked out here, from Octavia's rules and not from any peer.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.traffic import ANY_MEMBER, Request, head

POOLS = 4
"""Of a listener with policies: number 0 is its default pool, the others are redirected to. Members are dealt evenly,"""
MEMBERS = 8
"""two to each pool: digits 1 and 2 to the default pool, and so on."""


@dataclass(frozen=True)
class Rule:
    type: Literal["HOST_NAME", "PATH", "HEADER"]
    compare_type: Literal["EQUAL_TO", "STARTS_WITH", "CONTAINS"]
    value: str
    key: str | None = None

    def matches(self, asked: "Asked") -> bool:
        wanted = self.value
        match self.type:
            case "HOST_NAME":
                found, wanted = asked.host.lower(), wanted.lower()
            case "PATH":
                found = asked.path.partition("?")[0]
            case "HEADER":
                found = asked.fields.get(self.key or "", "")
        match self.compare_type:
            case "EQUAL_TO":
                return found == wanted
            case "STARTS_WITH":
                return found.startswith(wanted)
            case "CONTAINS":
                return wanted in found


@dataclass(frozen=True)
class Policy:
    """Redirects to the pool of that number; 0 rejects."""

    pool: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Asked:
    """A request. Its path begins with none of the letters that make the members answer something else (origin.h)."""

    host: str
    path: str
    fields: Mapping[str, str]


def _host(value: str) -> Rule:
    return Rule("HOST_NAME", "EQUAL_TO", value)


def _path(value: str) -> Rule:
    return Rule("PATH", "STARTS_WITH", value)


def ten() -> list[Policy]:
    """What a small site has: something forbidden, hosts, paths, a tenant by header field."""
    return [
        Policy(0, (_path("/private/"),)),
        Policy(1, (_host("api.example.com"),)),
        Policy(2, (_host("static.example.com"),)),
        Policy(0, (Rule("HEADER", "CONTAINS", "scraper", "User-Agent"),)),
        Policy(3, (_host("shop.example.com"), _path("/cart/"))),
        Policy(1, (_path("/api/"),)),
        Policy(2, (_path("/images/"),)),
        Policy(2, (_path("/css/"),)),
        Policy(3, (Rule("HEADER", "EQUAL_TO", "gold", "X-Tenant"),)),
        Policy(3, (_host("beta.example.com"),)),
    ]


SITES, PREFIXES, HOSTS, SECTIONS = 200, ("/api/", "/shop/", "/blog/", "/docs/"), 100, 100


def thousand() -> list[Policy]:
    """What a shared listener has: 800 by host and path, 100 by host, 100 by path. No request fits two of them."""
    found = [(_host(f"www{site}.example.com"), _path(prefix)) for site in range(SITES) for prefix in PREFIXES]
    found += [(_host(f"tenant{number}.example.com"),) for number in range(HOSTS)]  # type: ignore[misc]
    found += [(_path(f"/section-{number:02}/"),) for number in range(SECTIONS)]  # type: ignore[misc]
    return [Policy(1 + number % (POOLS - 1), rules) for number, rules in enumerate(found)]


SETS: dict[str, Callable[[], list[Policy]]] = {"": list, "ten": ten, "thousand": thousand}
"""By the name that a service has; the empty one has none."""

_AGENT = {"User-Agent": "bench/1.0", "Accept": "*/*"}


def _asked_of_ten() -> list[Asked]:
    """Half of them match a policy (two of 32 are rejected), half fall through."""
    gold = _AGENT | {"X-Tenant": "gold"}
    matching = [
        ("api.example.com", "/"), ("api.example.com", "/users/17?full=1"), ("api.example.com", "/users/18"),
        ("static.example.com", "/logo.png"), ("static.example.com", "/icons/16.png"),
        ("shop.example.com", "/cart/add?item=5"), ("Shop.example.com", "/cart/"),
        ("www.example.com", "/api/orders"), ("shop.example.com", "/api/items?page=2"),
        ("www.example.com", "/images/1.jpg"), ("www.example.com", "/css/site.css"),
        ("beta.example.com", "/"),
    ]  # fmt: skip
    found = [Asked(host, path, _AGENT) for host, path in matching]
    found += [Asked("www.example.com", "/about", gold), Asked("shop.example.com", "/", gold)]
    found += [Asked("www.example.com", "/private/keys", _AGENT)]
    found += [Asked("www.example.com", "/", {"User-Agent": "scraper/2.3", "Accept": "*/*"})]
    plain = (
        "/",
        "/about",
        "/products/17",
        "/products/18?colour=red",
        "/search?q=lamp",
        "/cart/",
        "/blog/",
        "/a/b/c/d",
    )
    found += [Asked("www.example.com", path, _AGENT) for path in plain]
    found += [Asked("shop.example.com", path.replace("cart", "basket"), _AGENT) for path in plain]
    return found


def _asked_of_thousand() -> list[Asked]:
    """768 that match policies all over the set, and 256 that fall through after all of it."""
    chance = random.Random(1)
    found = []
    for policy in chance.sample(thousand(), 768):
        host, path = (
            f"www{chance.randrange(SITES)}.example.com",
            f"/{chance.choice(('index', 'about', 'news'))}",
        )
        for rule in policy.rules:
            if rule.type == "HOST_NAME":
                host = rule.value
            else:
                path = rule.value + f"{chance.randrange(1000)}"
        found.append(Asked(host, path, _AGENT))
    for number in range(256):
        host = f"www{chance.randrange(SITES)}.example.com" if number % 2 else f"other{number}.example.com"
        path = (
            f"/section-x/{number}" if number % 4 == 1 else f"/about/{number}" if number % 2 else "/api/orders"
        )
        found.append(Asked(host, path, _AGENT))
    return found


_MIXES = {"ten": _asked_of_ten, "thousand": _asked_of_thousand}


def answer(policies: Sequence[Policy], asked: Asked) -> int | None:
    """The pool's number; None: rejected. As Octavia has it, what rejects comes before what redirects to a pool."""
    for policy in sorted(policies, key=lambda policy: policy.pool != 0):
        if all(rule.matches(asked) for rule in policy.rules):
            return policy.pool or None
    return 0


def dealt(members: Sequence[int]) -> list[list[int]]:
    """Each pool's."""
    each = len(members) // POOLS
    return [list(members[pool * each : (pool + 1) * each]) for pool in range(POOLS)]


def requests(name: str, policies: bool) -> tuple[Request, ...]:
    """What is asked of the set of that name; `policies` False: all is answered by any member, as if there were none."""
    rules = SETS[name]() if policies else []
    digits = dealt(range(1, MEMBERS + 1))
    found = []
    for asked in _MIXES[name]():
        pool = answer(rules, asked)
        fields = "".join(f"{key}: {value}\n" for key, value in asked.fields.items())
        text = head(asked.path, asked.host, fields)
        if pool is None:
            found.append(Request(text, status=403))
        else:
            found.append(Request(text, digits=tuple(digits[pool]) if policies else ANY_MEMBER))
    random.Random(2).shuffle(found)  # the same order for all
    return tuple(found)


# ---- for HAProxy

_FETCH = {"HOST_NAME": "req.hdr(host) -i", "PATH": "path"}
_COMPARE = {"EQUAL_TO": "-m str", "STARTS_WITH": "-m beg", "CONTAINS": "-m sub"}


def haproxy_lines(policies: Sequence[Policy]) -> list[str]:
    """As Octavia's template writes them: each rule an acl of its own, each policy a line."""
    lines = []
    for number, policy in enumerate(policies, 1):
        names = []
        for place, rule in enumerate(policy.rules, 1):
            names.append(f"policy{number}-rule{place}")
            fetch = _FETCH.get(rule.type, f"req.hdr({rule.key})")
            lines.append(f"acl {names[-1]} {fetch} {_COMPARE[rule.compare_type]} {rule.value}")
        action = f"use_backend pool{policy.pool}" if policy.pool else "http-request deny"
        lines.append(f"{action} if {' '.join(names)}")
    return lines


def haproxy_maps(policies: Sequence[Policy]) -> dict[str, str]:
    """The same by two maps, tries of prefixes: two look-ups, whatever the number of policies. For a set whose rules are
    hosts and beginnings of paths, and where no request fits two policies."""
    maps: dict[str, list[str]] = {"sites": [], "paths": []}
    for policy in policies:
        host = "".join(rule.value.lower() for rule in policy.rules if rule.type == "HOST_NAME")
        path = "".join(rule.value for rule in policy.rules if rule.type == "PATH")
        maps["sites" if host else "paths"].append(f"{host}{path or '/'} pool{policy.pool}\n")
    return {name: "".join(lines) for name, lines in maps.items()}


HAPROXY_BY_MAP = """\
http-request set-var(txn.path) path
http-request set-var(txn.pool) req.hdr(host),lower,concat(,txn.path),map_beg({folder}/sites)
http-request set-var(txn.pool) path,map_beg({folder}/paths) if !{{ var(txn.pool) -m found }}
use_backend %[var(txn.pool)] if {{ var(txn.pool) -m found }}"""
