# SPDX-License-Identifier: Apache-2.0
"""Requests to the REST API for tests/fuzz/api.py: right ones, and then something in them is changed."""

import copy
import json
import random
import string
from urllib.parse import quote

from fastlb.api import amphorae
from fastlb.controller import DEFAULT_PROJECT_ID, LABELS, Controller
from fastlb.schema import (
    HealthMonitorSpec,
    L7PolicySpec,
    L7RuleSpec,
    ListenerSpec,
    LoadBalancerSpec,
    MemberSpec,
    PoolSpec,
)
from fastlb.schema.field import rules

NOBODY = "99000000-0000-4000-8000-000000000009"
SUBNET = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"

SPECS = (
    LoadBalancerSpec,
    ListenerSpec,
    PoolSpec,
    MemberSpec,
    HealthMonitorSpec,
    L7PolicySpec,
    L7RuleSpec,
)


def words(text):
    return text.split()


KINDS = {
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "floatingips": "floatingip",
    "flavors": "flavor",
    "flavorprofiles": "flavorprofile",
    "availabilityzones": "availability_zone",
    "availabilityzoneprofiles": "availability_zone_profile",
    "amphorae": "amphora",
    "quotas": "project",
    "providers": "provider",
}
"""What stands behind these words of a path."""
PROFILE = {"provider_name": "amphora", "name": "p"}

FIELDS = sorted({name for spec in SPECS for name in rules(spec)})
FIELDS += words("""
    id tenant_id loadbalancer_id listener_id pool_id default_pool l7policies rules members healthmonitor redirect_pool
    listeners pools enabled flavor_data network_id fixed_ips __proto__ cidr ip_version allocation_pools gateway_ip
    router:external shared floating_network_id floating_ip_address fixed_ip_address port_id device_id security_groups
""")
QUERIES = FIELDS + words("""
    limit marker page_reverse sort sort_key sort_dir fields cascade additive_only tags-any not-tags not-tags-any
    load_balancer_id operating_status
""")
ROOTS = words("""
    loadbalancer listener pool member members healthmonitor l7policy rule quota flavor flavorprofile availability_zone
    availability_zone_profile port network subnet floatingip security_group
""")
METHODS = words("GET POST PUT DELETE HEAD PATCH OPTIONS")

# Addresses of this machine and of documentation: monitors do probe them.
WORDS = words("""
    x \xe9\U0001f600 ' " <b> %s {0} ../../etc/passwd true TRUE no 0 -1 80 1e9 NaN null None [] infinite name:desc a:b:c
    127.0.0.1 ::1 0.0.0.0 192.0.2.1 2001:db8::1 ::ffff:127.0.0.1 127.1 localhost fe80::1%lo 127.0.0.0/8 10.0.0.5/33
    ::/0 / // /a?b#c http://a/b HTTP:// 200 200-299 204-200 HTTP TCP UDP SCTP PROXY TERMINATED_HTTPS PROMETHEUS
    SOURCE_IP ROUND_ROBIN REGEX REJECT REDIRECT_TO_POOL REDIRECT_TO_URL PING TLS-HELLO UDP-CONNECT ( (a*)*$ [[:x:]]
    amphora octavia f5 h2 TLSv1.2 X-Forwarded-For 255.255.255.0
""")
WORDS += ["", "a b", "\0", "\n", "\x7f", "x" * 256, "x" * 5000, "9" * 5000]
WORDS += [NOBODY, NOBODY.replace("-", ""), NOBODY.upper()]
WHOLE = [0, 1, -1, 2, 80, 256, 257, 65535, 65536, 2**31 - 1, 2**31, 2**53, 2**63, 2**64, 10**40]
NUMBERS = [*WHOLE, 0.0, -0.0, 1.1, 1.5, 1e9, 1e308, 5e-324]
FIELD_NAMES = words("Host Content-Type Accept X-Project-Id X-Auth-Token Authorization X-Roles Expect")
FIELD_VALUES = [
    word.encode("latin-1")
    for word in words(
        "*/* text/html application/json;q=0 text/plain [ a:b:c \xff\xfe admin ::1 ;;,,= p1 multipart/x"
    )
]
FIELD_VALUES += [b"", b"x" * 3000, b"Basic x", b"Bearer \xc3", b"application/json; charset=utf-16"]


def plain(method, target, body=None):
    """A request as a client sends it."""
    return (
        method,
        target,
        [("Host", b"a"), ("Content-Type", b"application/json")],
        b"" if body is None else dumps(body),
    )


def dumps(value):
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


class Requests:
    """Makes requests by chance. methods: what each path allows; ids are mostly those that the controller has."""

    def __init__(self, rng: random.Random, controller: Controller, methods: dict[str, list[str]]) -> None:
        self.random = rng
        self.controller = controller
        self.methods = methods
        self.paths = list(methods)

    def one(self):
        path = self.pick(self.paths)
        method = self.pick(self.methods[path] if self.chance(0.9) else METHODS)
        target = self._target(path)
        body = self._body(path) if method in ("POST", "PUT") or self.random.random() < 0.05 else b""
        return method, target, self._fields(), body

    # Paths, queries, header fields.

    def _target(self, path):
        parts = []
        for part in path.split("/"):
            if part.startswith("{"):
                name = part.strip("{}").removesuffix("_id")
                identity = self.some_id(name if name in LABELS else KINDS.get(parts[-1], ""))
                parts.append(
                    quote(self.word() if self.chance(0.1) else identity, safe=self.pick(["", "/", "%"]))
                )
            else:
                parts.append(self.pick(string.ascii_letters) if part and self.chance(0.01) else part)
        target = "/".join(parts) or "/"
        target += self.pick(["/", "//", ".json", "/x", "%00", ";a"]) if self.chance(0.05) else ""
        if self.chance(0.5):
            return target
        pairs = [(self.pick(QUERIES), self.query_value()) for _ in range(self.random.randint(1, 3))]
        return target + "?" + "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)

    def query_value(self):
        word = self.some_id(self.pick(list(LABELS))) if self.chance(0.3) else self.word()
        return word if self.chance(0.7) else str(self.pick(NUMBERS))

    def _fields(self):
        fields = [("Host", b"a"), ("Content-Type", b"application/json")]
        if self.chance(0.8):
            return fields
        changed = {self.pick(FIELD_NAMES): self.pick(FIELD_VALUES) for _ in range(2)}
        return [(name, value) for name, value in fields if name not in changed] + list(changed.items())

    # Bodies.

    def _body(self, path):
        choice = self.random.random()
        if choice < 0.03:
            return self.random.randbytes(self.random.randint(0, 40))
        if choice < 0.06:
            return dumps(self.value(0))
        root, fields = self.right(path)
        document = {root: fields}
        for _ in range(self.pick([0, 0, 1, 1, 1, 2, 3, 6])):
            self.spoil(document)
        text = dumps(document)
        if self.chance(0.03):
            at = self.random.randrange(len(text))
            text = (
                text[:at]
                + self.pick([b"", b"\xff", b"\\ud800", b"1e999", b'"', b"}", b"\0"])
                + text[at + 1 :]
            )
        return text

    def spoil(self, document):
        """Change something anywhere in a document."""
        places = [(document, key) for key in document]
        for holder, key in places:
            inner = holder[key]
            if isinstance(inner, dict):
                places += [(inner, name) for name in inner]
            elif isinstance(inner, list):
                places += [(inner, at) for at in range(len(inner))]
        if not places:
            return
        holder, key = self.pick(places)
        change = self.random.random()
        if change < 0.6:
            holder[key] = self.value()
        elif change < 0.75 and isinstance(holder, dict):
            del holder[key]
        elif change < 0.9 and isinstance(holder, dict):
            holder[self.pick(FIELDS) if self.chance(0.9) else self.word()] = self.value()
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = [copy.deepcopy(holder[key])] * self.pick([1, 2, 40])

    def value(self, depth=0):
        """Any JSON."""
        kinds = ["null", "bool", "number", "word", "word", "id", "port"] + ["list", "object"] * (depth < 4)
        kind = self.pick(kinds)
        if kind == "bool":
            return self.chance(0.5)
        if kind == "number":
            return self.pick(NUMBERS)
        if kind == "word":
            return self.word()
        if kind == "id":
            return self.some_id(self.pick(list(LABELS)))
        if kind == "port":
            return self.port()
        if kind == "list":
            if self.chance(0.02):
                return deep(150)
            return [self.value(depth + 1) for _ in range(self.pick([0, 1, 1, 2, 5]))]
        if kind == "object":
            return {self.pick(FIELDS): self.value(depth + 1) for _ in range(self.pick([0, 1, 2, 5]))}
        return None

    def right(self, path):
        """The root and the fields of a body that suits this path."""
        made = {
            "loadbalancers": ("loadbalancer", self.load_balancer),
            "listeners": (
                "listener",
                lambda: self.listener() | {"loadbalancer_id": self.some_id("loadbalancer")},
            ),
            "pools": ("pool", lambda: self.pool() | {"loadbalancer_id": self.some_id("loadbalancer")}),
            "healthmonitors": ("healthmonitor", lambda: self.monitor() | {"pool_id": self.some_id("pool")}),
            "l7policies": ("l7policy", lambda: self.policy() | {"listener_id": self.some_id("listener")}),
            "rules": ("rule", self.rule),
            "members": ("member", self.member),
            "networks": ("network", lambda: {"name": "n", "tags": ["a"], "shared": False}),
            "subnets": ("subnet", self.subnet),
            "ports": ("port", self.network_port),
            "floatingips": ("floatingip", self.floating_ip),
            "flavors": (
                "flavor",
                lambda: {"name": self.word(), "flavor_profile_id": self.some_id("flavorprofile")},
            ),
            "flavorprofiles": (
                "flavorprofile",
                lambda: PROFILE | {"flavor_data": '{"loadbalancer_topology": "SINGLE"}'},
            ),
            "availabilityzones": ("availability_zone", self.zone),
            "availabilityzoneprofiles": (
                "availability_zone_profile",
                lambda: PROFILE | {"availability_zone_data": '{"compute_zone": "a"}'},
            ),
            "tokens": ("auth", self.auth),
            "quotas": ("quota", lambda: {"load_balancer": 5, "listener": -1, "member": None}),
        }
        words = [part for part in path.split("/") if part and not part.startswith("{")]
        root, make = made.get(words[-1] if words else "", (self.pick(ROOTS), dict))
        fields = make()
        if path.endswith("/tags"):
            return "tags", ["a", self.value(), *self.random.sample(["b", "c"], 1)]
        if words and words[-1] == "members" and path.endswith("members") and self.chance(0.5):
            return "members", [self.member() for _ in range(self.pick([0, 1, 2, 5]))]
        if path.endswith("}") and fields:
            # A change: some of them.
            fields = {name: value for name, value in fields.items() if self.chance(0.3)}
        if not fields or self.chance(0.1):
            fields[self.pick(FIELDS)] = self.value()
        return root, fields

    def load_balancer(self):
        return {
            "vip_subnet_id": SUBNET if self.chance(0.8) else self.some_id("subnet"),
            "name": self.pick(["web", "", "é"]),
            "tags": ["a", "b"],
            **({"flavor_id": self.some_id("flavor")} if self.chance(0.2) else {}),
            "listeners": [
                self.listener()
                | {
                    "default_pool": self.pool()
                    | {"name": "one", "members": [self.member()], "healthmonitor": self.monitor()},
                    "l7policies": [self.policy() | {"rules": [self.rule()]}],
                }
            ],
            "pools": [self.pool() | {"name": "two", "members": [self.member()]}],
        }

    def listener(self):
        return {
            "protocol": "HTTP",
            "protocol_port": self.port(),
            "connection_limit": 100,
            "insert_headers": {"X-Forwarded-For": "true"},
            "allowed_cidrs": ["127.0.0.0/8"],
            "timeout_client_data": 1000,
            "admin_state_up": True,
        }

    def pool(self):
        return {
            "protocol": "HTTP",
            "lb_algorithm": self.pick(["ROUND_ROBIN", "SOURCE_IP"]),
            "session_persistence": {"type": "APP_COOKIE", "cookie_name": "sid"},
            "tls_enabled": False,
        }

    def member(self):
        return {
            "address": "127.0.0.1",
            "protocol_port": self.port(),
            "weight": 3,
            "backup": False,
            "name": "m",
        }

    def monitor(self):
        return {
            "type": "HTTP",
            "delay": 3600,
            "timeout": 1,
            "max_retries": 1,
            "url_path": "/h?a=b",
            "expected_codes": "200-204",
            "http_version": 1.1,
            "domain_name": "a.example",
        }

    def policy(self):
        return {
            "action": "REDIRECT_TO_URL",
            "redirect_url": "http://a/",
            "redirect_http_code": 301,
            "position": 1,
        }

    def rule(self):
        return {"type": "HEADER", "compare_type": "REGEX", "key": "X-A", "value": "a+b", "invert": False}

    def subnet(self):
        cidr = self.pick(["127.80.0.0/24", "127.81.0.0/30", "2001:db8:1::/64"])
        return {"network_id": self.some_id("network"), "cidr": cidr, "ip_version": 4, "enable_dhcp": False}

    def network_port(self):
        return {"network_id": self.some_id("network"), "fixed_ips": [{"subnet_id": self.some_id("subnet")}]}

    def floating_ip(self):
        return {"floating_network_id": self.some_id("network"), "port_id": self.some_id("port")}

    def zone(self):
        return {
            "name": self.word(),
            "availability_zone_profile_id": self.some_id("availability_zone_profile"),
        }

    def auth(self):
        domain = {"id": "default"}
        user = {"name": "u", "password": "p", "domain": domain}
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"identity": identity, "scope": {"project": {"name": "p", "domain": domain}}}

    # Choices.

    def chance(self, share):
        return self.random.random() < share

    def pick(self, choices):
        return self.random.choice(choices)

    def word(self):
        return self.pick(WORDS)

    def port(self):
        return self.random.randint(20_000, 60_000)

    def some_id(self, kind):
        networks = self.controller.networking
        made = {
            "network": networks.networks.all,
            "subnet": networks.networks.all_subnets,
            "port": networks.ports.all,
            "floatingip": networks.floating_ips.all,
        }
        if kind in LABELS:
            there = [one.id for one in self.controller.all(kind)]
        elif kind in made:
            there = [one.id for one in made[kind]()]
        elif kind == "amphora":
            there = [amphorae._other_id(one.id) for one in self.controller.load_balancers]
        elif kind == "project":
            there = ["p1", "defaults", DEFAULT_PROJECT_ID]
        elif kind == "provider":
            there = ["amphora", "octavia", "fastlb"]
        else:
            there = [row.id for row in self.controller.store.list(kind)]
        return self.pick(there) if there and self.chance(0.95) else NOBODY


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value
