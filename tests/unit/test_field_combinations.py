# SPDX-License-Identifier: Apache-2.0
"""Fields that ask something of one another, and objects that do: Octavia's matrices, cell by cell."""

import pytest

from fastlb import schema
from fastlb.errors import ConfigError, MissingField
from fastlb.schema import (
    HealthMonitorSpec,
    ListenerSpec,
    LoadBalancerSpec,
    MemberSpec,
    PoolSpec,
    SessionPersistence,
    relations,
)
from fastlb.schema.health_monitor import expand_codes
from fastlb.schema.load_balancer import check_vip_reference
from fastlb.types import MonitorType, Protocol

A_UUID = "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d"
B_UUID = "0b8f7f1f-2c3d-4c68-9f0a-6f1e7a523d1b"
LISTENERS = ("TCP", "HTTP", "HTTPS", "TERMINATED_HTTPS", "UDP", "SCTP", "PROMETHEUS")
POOLS = ("TCP", "HTTP", "HTTPS", "PROXY", "PROXYV2", "UDP", "SCTP")
MONITORS = ("HTTP", "HTTPS", "PING", "TCP", "TLS-HELLO", "UDP-CONNECT", "SCTP")


def listener(protocol="HTTP", **fields):
    if protocol == "TERMINATED_HTTPS":
        fields.setdefault("default_tls_container_ref", "ref")
    return schema.create(ListenerSpec, {"protocol": protocol, "protocol_port": 80} | fields)


def pool(protocol="HTTP", **fields):
    return schema.create(PoolSpec, {"protocol": protocol, "lb_algorithm": "ROUND_ROBIN"} | fields)


def monitor(kind="HTTP", **fields):
    values = {"type": kind, "delay": 5, "timeout": 4, "max_retries": 2}
    return schema.create(HealthMonitorSpec, values | fields)


def cells(rows, columns, table):
    """((row, column), allowed) for a table of `x` and `-` as it stands in Octavia's documents."""
    lines = [line.split()[1:] for line in table.strip().splitlines()]
    return [
        (row, column, lines[i][j] == "x") for i, row in enumerate(rows) for j, column in enumerate(columns)
    ]


POOL_ON_LISTENER = cells(
    LISTENERS,
    POOLS,
    """
    TCP         x x x x x - -
    HTTP        - x - x x - -
    HTTPS       x - x x x - -
    TERMINATED  - x - x x - -
    UDP         - - - - - x -
    SCTP        - - - - - - x
    PROMETHEUS  - - - - - - -
    """,
)


@pytest.mark.parametrize(("listener", "pool", "allowed"), POOL_ON_LISTENER)
def test_pool_protocols_of_a_listener(listener, pool, allowed):
    if allowed:
        relations.check_pool_on_listener(Protocol(listener), Protocol(pool))
        return
    with pytest.raises(ConfigError) as caught:
        relations.check_pool_on_listener(Protocol(listener), Protocol(pool))
    if listener == "PROMETHEUS":
        assert caught.value.fault == "Protocol PROMETHEUS listeners cannot have child objects."
    else:
        assert caught.value.fault == (
            f"Validation failure: The pool protocol '{pool}' is invalid while the listener protocol is '{listener}'."
        )


MONITOR_ON_POOL = cells(
    POOLS,
    MONITORS,
    """
    TCP      x x x x x - -
    HTTP     x x x x x - -
    HTTPS    x x x x x - -
    PROXY    x x x x x - -
    PROXYV2  x x x x x - -
    UDP      x - - x - x x
    SCTP     x - - x - x x
    """,
)


@pytest.mark.parametrize(("pool", "monitor", "allowed"), MONITOR_ON_POOL)
def test_monitor_types_of_a_pool(pool, monitor, allowed):
    if allowed:
        relations.check_monitor_on_pool(Protocol(pool), MonitorType(monitor))
    else:
        with pytest.raises(ConfigError, match=f"^type='{monitor}': must be one of .* on a {pool} pool$"):
            relations.check_monitor_on_pool(Protocol(pool), MonitorType(monitor))


# What a listener's protocol makes of a field: None is accepted, a string is what the refusal says.
NO_TLS = "does not end TLS"
NO_HEADERS = "must be empty on a"
NO_HSTS = "needs a TERMINATED_HTTPS listener"
BY_PROTOCOL = [
    (
        {"default_tls_container_ref": "ref"},
        (NO_TLS, NO_TLS, NO_TLS, None, NO_TLS, NO_TLS, None),
    ),
    (
        {"sni_container_refs": ["ref"]},
        (NO_TLS, NO_TLS, NO_TLS, None, NO_TLS, NO_TLS, None),
    ),
    (
        {"insert_headers": {"X-Forwarded-For": "true"}},
        (NO_HEADERS, None, NO_HEADERS, None, NO_HEADERS, NO_HEADERS, NO_HEADERS),
    ),
    (
        {"insert_headers": {"X-SSL-Issuer": "true"}},
        (NO_HEADERS, NO_HSTS, NO_HEADERS, None, NO_HEADERS, NO_HEADERS, NO_HEADERS),
    ),
    ({"insert_headers": {}}, (None,) * 7),
    ({"hsts_max_age": 1}, (NO_HSTS, NO_HSTS, NO_HSTS, None, NO_HSTS, NO_HSTS, NO_HSTS)),
    ({"hsts_preload": True}, ("needs hsts_max_age",) * 7),
    ({"hsts_include_subdomains": True}, ("needs hsts_max_age",) * 7),
    ({"default_pool_id": A_UUID}, (None, None, None, None, None, None, "PROMETHEUS listeners have no pool")),
    ({"tls_ciphers": "A"}, (None,) * 7),
    (
        {"tls_versions": ["x"]},
        (None, None, None, "tls_versions[0]='x': must be one of SSLv3", None, None, None),
    ),
    ({"tls_versions": []}, (None, None, None, "must not be empty", None, None, None)),
    ({"alpn_protocols": []}, (None, None, None, "must not be empty", None, None, None)),
    ({"alpn_protocols": ["h3"]}, ("must be one of h2",) * 7),
    ({"allowed_cidrs": ["10.0.0.0/8"]}, (None,) * 7),
    ({"client_authentication": "OPTIONAL"}, ("needs client_ca_tls_container_ref",) * 7),
    ({"client_ca_tls_container_ref": "ca"}, (*["needs default_tls"] * 3, None, *["needs default_tls"] * 3)),
    ({"client_crl_container_ref": "crl"}, ("needs client_ca_tls_container_ref",) * 7),
]


@pytest.mark.parametrize(
    ("fields", "protocol", "refusal"),
    [(fields, LISTENERS[i], refusal) for fields, row in BY_PROTOCOL for i, refusal in enumerate(row)],
    ids=str,
)
def test_what_a_protocol_makes_of_a_field(fields, protocol, refusal):
    if refusal is None:
        assert listener(protocol, **fields).protocol == protocol
        # The same door for an update.
        schema.update(listener(protocol), fields)
        return
    with pytest.raises(ConfigError) as caught:
        listener(protocol, **fields)
    assert refusal in str(caught.value)
    with pytest.raises(ConfigError) as again:
        schema.update(listener(protocol), fields)
    assert str(again.value) == str(caught.value)


@pytest.mark.parametrize("protocol", ["UDP", "SCTP"])
def test_datagram_listeners_say_that_they_have_no_tls(protocol):
    with pytest.raises(ConfigError) as caught:
        listener(protocol, default_tls_container_ref="ref")
    assert "does not support TLS" in caught.value.fault


def test_a_tls_listener_is_created_with_a_certificate_and_may_lose_it():
    with pytest.raises(ConfigError, match=r"must be given for a TERMINATED_HTTPS listener$"):
        listener("TERMINATED_HTTPS", default_tls_container_ref=None)
    assert listener("TERMINATED_HTTPS", default_tls_container_ref=None, sni_container_refs=["a"])
    bare = schema.update(listener("TERMINATED_HTTPS"), {"default_tls_container_ref": None})
    assert bare.default_tls_container_ref is None


def test_tls_lists_are_filled_in_where_tls_is_ended_and_nowhere_else():
    filled = listener("TERMINATED_HTTPS")
    assert filled.tls_versions == ("TLSv1.2", "TLSv1.3")
    assert filled.alpn_protocols == ("h2", "http/1.1", "http/1.0")
    assert filled.tls_ciphers.count(":") == 11
    assert filled.tls_ciphers.startswith("TLS_AES_128_GCM_SHA256:")
    given = listener("TERMINATED_HTTPS", tls_versions=["TLSv1.3"], tls_ciphers="A", alpn_protocols=["h2"])
    assert (given.tls_versions, given.tls_ciphers, given.alpn_protocols) == (("TLSv1.3",), "A", ("h2",))
    for protocol in ("HTTP", "PROMETHEUS"):
        bare = listener(protocol)
        assert bare.tls_versions is bare.tls_ciphers is bare.alpn_protocols is None


def test_client_authentication_needs_the_authority_and_keeps_it():
    fields = {"client_ca_tls_container_ref": "ca", "client_authentication": "MANDATORY"}
    spec = listener("TERMINATED_HTTPS", client_crl_container_ref="crl", **fields)
    assert spec.client_authentication == "MANDATORY"
    with pytest.raises(ConfigError, match=r"^client_crl_container_ref"):
        schema.update(spec, {"client_ca_tls_container_ref": None})
    with pytest.raises(ConfigError, match=r"^client_authentication"):
        schema.update(spec, {"client_ca_tls_container_ref": None, "client_crl_container_ref": None})
    changes = {
        "client_ca_tls_container_ref": None,
        "client_crl_container_ref": None,
        "client_authentication": "NONE",
    }
    assert schema.update(spec, changes).client_authentication == "NONE"


@pytest.mark.parametrize("header", ["x-forwarded-for", "X-Forwarded-Host", ""])
def test_an_unknown_header_is_refused_by_name(header):
    with pytest.raises(ConfigError) as caught:
        listener(insert_headers={header: "true"})
    assert caught.value.fault == f"['{header}'] is not a valid option for insert_headers"


def test_the_three_headers_without_effect_are_taken():
    headers = {"X-Forwarded-IP": "true", "X-Client-IP": "true", "X-Real-IP": "true"}
    assert listener(insert_headers=headers).insert_headers == headers


def test_hsts_cannot_lose_its_age_alone():
    spec = listener("TERMINATED_HTTPS", hsts_max_age=60, hsts_preload=True)
    with pytest.raises(ConfigError, match=r"^hsts_preload=True: needs hsts_max_age$"):
        schema.update(spec, {"hsts_max_age": None})


# Session persistence.


def persistence(protocol="HTTP", **fields):
    return pool(protocol, session_persistence=fields).session_persistence


PERSISTENCE_TAKEN = [
    ("HTTP", {"type": "SOURCE_IP"}),
    ("HTTP", {"type": "HTTP_COOKIE"}),
    ("HTTP", {"type": "APP_COOKIE", "cookie_name": "JSESSIONID"}),
    ("TCP", {"type": "HTTP_COOKIE"}),
    ("PROXY", {"type": "APP_COOKIE", "cookie_name": "a!#$%&'*+-.^_`|~"}),
    ("UDP", {"type": "SOURCE_IP"}),
    ("UDP", {"type": "SOURCE_IP", "persistence_timeout": 5, "persistence_granularity": "255.255.0.0"}),
    ("SCTP", {"type": "SOURCE_IP", "persistence_granularity": "ffff:ffff::"}),
]


@pytest.mark.parametrize(("protocol", "fields"), PERSISTENCE_TAKEN)
def test_session_persistence_taken(protocol, fields):
    stored = persistence(protocol, **fields)
    assert {name: value for name, value in schema.plain(stored).items() if value is not None} == fields
    # The object itself is taken as well as the mapping.
    assert pool(protocol, session_persistence=stored).session_persistence == stored


PERSISTENCE_REFUSED = [
    ("HTTP", {}, "session_persistence.type: must be given"),
    ("HTTP", {"cookie_name": "a"}, "session_persistence.type: must be given"),
    ("HTTP", {"type": None}, "session_persistence.type: must be given"),
    (
        "HTTP",
        {"type": "COOKIE"},
        "session_persistence.type='COOKIE': must be one of SOURCE_IP, HTTP_COOKIE, APP_C",
    ),
    ("HTTP", {"type": "APP_COOKIE"}, "session_persistence.cookie_name=None: must be given for APP_COOKIE"),
    ("HTTP", {"type": "HTTP_COOKIE", "cookie_name": "a"}, "must be left out unless type is APP_COOKIE"),
    ("HTTP", {"type": "SOURCE_IP", "cookie_name": "a"}, "must be left out unless type is APP_COOKIE"),
    ("HTTP", {"type": "APP_COOKIE", "cookie_name": ""}, "must have at least 1 character"),
    ("HTTP", {"type": "SOURCE_IP", "persistence_timeout": 5}, "needs a UDP or SCTP pool"),
    ("HTTP", {"type": "SOURCE_IP", "persistence_timeout": 0}, "needs a UDP or SCTP pool"),
    ("HTTP", {"type": "SOURCE_IP", "persistence_granularity": "255.0.0.0"}, "needs a UDP or SCTP pool"),
    ("UDP", {"type": "HTTP_COOKIE"}, "must be SOURCE_IP on a UDP pool"),
    ("SCTP", {"type": "APP_COOKIE", "cookie_name": "a"}, "must be SOURCE_IP on a SCTP pool"),
    ("UDP", {"type": "SOURCE_IP", "persistence_timeout": -1}, "must be 0..2147483647"),
    ("UDP", {"type": "SOURCE_IP", "persistence_granularity": "/24"}, "must be an IPv4 or IPv6 address"),
    ("UDP", {"type": "SOURCE_IP", "persistence_granularity": "255.0.255.0"}, "must be a netmask"),
    ("HTTP", {"type": "SOURCE_IP", "name": "a"}, "session_persistence.name: no such field"),
]


@pytest.mark.parametrize(("protocol", "fields", "message"), PERSISTENCE_REFUSED)
def test_session_persistence_refused(protocol, fields, message):
    with pytest.raises(ConfigError) as caught:
        persistence(protocol, **fields)
    assert message in str(caught.value)


@pytest.mark.parametrize("character", [chr(code) for code in range(33)] + list('"(),/:;<=>?@[\\]{}\x7fé'))
def test_a_cookie_name_is_a_token(character):
    with pytest.raises(ConfigError, match="must be a cookie name"):
        persistence(type="APP_COOKIE", cookie_name=f"a{character}b")


def test_a_change_of_the_cookie_name_keeps_the_type():
    spec = pool(session_persistence={"type": "APP_COOKIE", "cookie_name": "a"})
    after = schema.update(spec, {"session_persistence": {"cookie_name": "b"}}).session_persistence
    assert after == SessionPersistence(type="APP_COOKIE", cookie_name="b")


def test_a_change_of_the_type_clears_the_rest():
    spec = pool(session_persistence={"type": "APP_COOKIE", "cookie_name": "a"})
    after = schema.update(spec, {"session_persistence": {"type": "SOURCE_IP"}}).session_persistence
    assert after == SessionPersistence(type="SOURCE_IP")
    with pytest.raises(ConfigError, match="must be given for APP_COOKIE"):
        schema.update(
            pool(session_persistence={"type": "SOURCE_IP"}), {"session_persistence": {"type": "APP_COOKIE"}}
        )


def test_an_empty_change_of_no_persistence_is_refused():
    with pytest.raises(MissingField):
        schema.update(pool(), {"session_persistence": {}})
    spec = pool(session_persistence={"type": "SOURCE_IP"})
    assert schema.update(spec, {"session_persistence": {}}) == spec


# Pools and TLS.


def test_tls_lists_of_a_pool_come_with_tls():
    assert pool().tls_versions is None
    filled = pool(tls_enabled=True)
    assert filled.tls_versions == ("TLSv1.2", "TLSv1.3")
    assert filled.alpn_protocols == ("h2", "http/1.1", "http/1.0")
    later = schema.update(pool(), {"tls_enabled": True})
    assert later == filled
    assert pool(tls_versions=["x"]).tls_versions == ("x",)
    with pytest.raises(ConfigError, match=r"^tls_versions\[0\]='x'"):
        pool(tls_versions=["x"], tls_enabled=True)
    with pytest.raises(ConfigError, match=r"^tls_versions\[0\]='x'"):
        schema.update(pool(tls_versions=["x"]), {"tls_enabled": True})


@pytest.mark.parametrize("protocol", POOLS)
def test_tls_is_accepted_on_every_pool(protocol):
    assert pool(protocol, tls_enabled=True).tls_enabled


def test_a_revocation_list_needs_its_authority():
    with pytest.raises(ConfigError, match=r"^crl_container_ref='x': needs ca_tls_container_ref$"):
        pool(crl_container_ref="x")


# Health monitors.


@pytest.mark.parametrize("kind", MONITORS)
@pytest.mark.parametrize("field", ["http_method", "url_path", "expected_codes"])
def test_http_fields_belong_to_http_monitors(kind, field):
    value = {"http_method": "HEAD", "url_path": "/x", "expected_codes": "204"}[field]
    default = {"http_method": "GET", "url_path": "/", "expected_codes": "200"}[field]
    if kind in ("HTTP", "HTTPS"):
        assert getattr(monitor(kind), field) == default
        assert getattr(monitor(kind, **{field: value}), field) == value
        return
    assert getattr(monitor(kind), field) is None
    for attempt in (
        lambda: monitor(kind, **{field: value}),
        lambda: schema.update(monitor(kind), {field: value}),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert caught.value.fault == f"{field} is not a valid option for health monitors of type {kind}"


@pytest.mark.parametrize("kind", MONITORS)
def test_version_and_domain_are_accepted_on_every_monitor(kind):
    assert monitor(kind, http_version=1.1, domain_name="a.b").domain_name == "a.b"


@pytest.mark.parametrize("version", [None, 1.0])
def test_a_domain_name_needs_http_1_1(version):
    with pytest.raises(ConfigError, match=r"^domain_name='a.b': needs http_version 1.1$"):
        monitor(http_version=version, domain_name="a.b")
    with pytest.raises(ConfigError, match=r"needs http_version 1.1"):
        schema.update(monitor(http_version=1.1, domain_name="a.b"), {"http_version": version})


def test_udp_connect_has_a_shortest_delay():
    assert monitor("UDP-CONNECT", delay=3).delay == 3
    with pytest.raises(ConfigError, match=r"^delay=2: must be 3 or more for UDP-CONNECT$") as caught:
        monitor("UDP-CONNECT", delay=2)
    assert caught.value.fault == (
        "Validation failure: The request delay value 2 should be larger than 3 for UDP-CONNECT health monitor type."
    )


def test_a_timeout_may_be_longer_than_the_delay():
    assert monitor(delay=1, timeout=5).timeout == 5


@pytest.mark.parametrize(
    ("codes", "expanded"),
    [("200", [200]), ("200, 202,204", [200, 202, 204]), ("200-203", [200, 201, 202, 203])],
)
def test_expected_codes_expand(codes, expanded):
    assert expand_codes(codes) == expanded


# Load balancers.


def test_additional_vips_are_on_subnets_of_their_own():
    with pytest.raises(ConfigError, match="must each be on a subnet of their own"):
        schema.create(LoadBalancerSpec, {"vip_subnet_id": A_UUID, "additional_vips": [{"subnet_id": A_UUID}]})
    with pytest.raises(ConfigError, match="must each be on a subnet of their own"):
        schema.create(LoadBalancerSpec, {"additional_vips": [{"subnet_id": A_UUID}, {"subnet_id": A_UUID}]})
    spec = schema.create(
        LoadBalancerSpec, {"vip_subnet_id": A_UUID, "additional_vips": [{"subnet_id": B_UUID}]}
    )
    assert spec.vips == ()


def test_vips_are_told_apart():
    with pytest.raises(ConfigError, match="must each have another address"):
        schema.create(LoadBalancerSpec, {"vip_address": "::1", "additional_vips": [{"ip_address": "0:0::1"}]})
    spec = schema.create(
        LoadBalancerSpec, {"vip_address": "127.0.0.1", "additional_vips": [{"ip_address": "::1"}]}
    )
    assert spec.vips == ("127.0.0.1", "::1")


@pytest.mark.parametrize("field", ["vip_port_id", "vip_network_id", "vip_subnet_id"])
def test_the_api_wants_a_reference_to_the_network(field):
    check_vip_reference(schema.create(LoadBalancerSpec, {field: A_UUID}))
    with pytest.raises(ConfigError) as caught:
        check_vip_reference(schema.create(LoadBalancerSpec, {"vip_address": "10.0.0.1"}))
    assert caught.value.fault.startswith("Validation failure: VIP must contain one of:")


# Between objects.

V4, V6, BOTH = ("10.0.0.1",), ("::1",), ("10.0.0.1", "::1")


@pytest.mark.parametrize(
    ("cidr", "vips", "allowed"),
    [
        ("10.0.0.0/8", V4, True),
        ("10.0.0.0/8", V6, False),
        ("10.0.0.0/8", BOTH, True),
        ("fd00::/8", V4, False),
        ("fd00::/8", V6, True),
        ("fd00::/8", BOTH, True),
        ("fd00::/8", (), True),
    ],
)
def test_allowed_cidrs_are_of_the_family_of_a_vip(cidr, vips, allowed):
    spec = listener(allowed_cidrs=[cidr])
    if allowed:
        relations.check_listener_on_vips(spec, vips, security_groups=False)
    else:
        with pytest.raises(ConfigError, match=f"^allowed_cidrs='{cidr}': must be of the family of a VIP"):
            relations.check_listener_on_vips(spec, vips, security_groups=False)


def test_allowed_cidrs_and_security_groups_exclude_each_other():
    with pytest.raises(ConfigError, match="must be left out while the load balancer has vip_sg_ids"):
        relations.check_listener_on_vips(listener(allowed_cidrs=["10.0.0.0/8"]), V4, security_groups=True)
    relations.check_listener_on_vips(listener(), V4, security_groups=True)


@pytest.mark.parametrize(
    ("protocol", "address", "vips", "allowed"),
    [
        ("UDP", "::1", V4, False),
        ("SCTP", "10.0.0.7", V6, False),
        ("UDP", "::1", BOTH, True),
        ("UDP", "::1", (), True),
        ("HTTP", "::1", V4, True),
        ("TCP", "10.0.0.7", V6, True),
    ],
)
def test_datagrams_do_not_change_their_ip_version(protocol, address, vips, allowed):
    member = schema.create(MemberSpec, {"address": address, "protocol_port": 53})
    if allowed:
        relations.check_member_on_vips(pool(protocol), member, vips)
    else:
        with pytest.raises(ConfigError, match=f"^address='{address}': must be of the family of a VIP"):
            relations.check_member_on_vips(pool(protocol), member, vips)


def test_only_three_kinds_of_ports_collide():
    groups = {protocol: relations.port_group(Protocol(protocol)) for protocol in LISTENERS}
    assert groups == {
        "TCP": "TCP",
        "HTTP": "TCP",
        "HTTPS": "TCP",
        "TERMINATED_HTTPS": "TCP",
        "PROMETHEUS": "TCP",
        "UDP": "UDP",
        "SCTP": "SCTP",
    }
