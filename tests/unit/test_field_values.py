# SPDX-License-Identifier: Apache-2.0
"""Each field by itself: its default, what it takes, what it refuses, what null means."""

import ipaddress
import uuid

import numpy as np
import pytest

from fastlb import schema
from fastlb.errors import ConfigError, MissingField, UnknownField
from fastlb.schema import (
    AdditionalVip,
    HealthMonitorSpec,
    ListenerSpec,
    LoadBalancerSpec,
    MemberSpec,
    OutlierDetection,
    PoolSpec,
    RetryPolicy,
    SessionPersistence,
)
from fastlb.schema.field import document, required, rules
from fastlb.types import Algorithm, AlpnProtocol, HttpMethod, MonitorType, Protocol

A_UUID = "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d"
NEEDED = {
    LoadBalancerSpec: {},
    ListenerSpec: {"protocol": "HTTP", "protocol_port": 80},
    PoolSpec: {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"},
    MemberSpec: {"address": "10.0.0.7", "protocol_port": 8080},
    HealthMonitorSpec: {"type": "HTTP", "delay": 5, "timeout": 4, "max_retries": 2},
}
TLS = {"protocol": "TERMINATED_HTTPS", "default_tls_container_ref": "ref"}
KINDS = list(NEEDED)


def make(kind, coerce=False, **fields):
    return schema.create(kind, NEEDED[kind] | fields, coerce=coerce)


def name_of(kind):
    return kind.__name__


# What is there when nothing is given, beside what must be given.
DEFAULTS = {
    LoadBalancerSpec: dict(
        name="",
        description="",
        admin_state_up=True,
        tags=(),
        project_id="",
        vip_address=None,
        vip_port_id=None,
        vip_network_id=None,
        vip_subnet_id=None,
        vip_qos_policy_id=None,
        vip_sg_ids=(),
        additional_vips=(),
        provider="amphora",
        flavor_id=None,
        availability_zone=None,
        drain_timeout=5.0,
    ),
    ListenerSpec: dict(
        name="",
        description="",
        admin_state_up=True,
        tags=(),
        connection_limit=-1,
        default_pool_id=None,
        default_tls_container_ref=None,
        sni_container_refs=(),
        insert_headers={},
        timeout_client_data=50000,
        timeout_member_connect=5000,
        timeout_member_data=50000,
        timeout_tcp_inspect=0,
        client_authentication="NONE",
        client_ca_tls_container_ref=None,
        client_crl_container_ref=None,
        allowed_cidrs=None,
        tls_ciphers=None,
        tls_versions=None,
        alpn_protocols=None,
        hsts_max_age=None,
        hsts_include_subdomains=False,
        hsts_preload=False,
        request_head_limit=32768,
        request_field_limit=100,
        request_target_limit=8000,
        timeout_client_head=10000,
        timeout_client_idle=None,
        request_body_rate_min=0,
        requests_per_connection=0,
        pipeline_limit=16,
    ),
    PoolSpec: dict(
        name="",
        description="",
        admin_state_up=True,
        tags=(),
        session_persistence=None,
        tls_enabled=False,
        tls_container_ref=None,
        ca_tls_container_ref=None,
        crl_container_ref=None,
        tls_ciphers=None,
        tls_versions=None,
        alpn_protocols=None,
        retry=RetryPolicy(
            retry_on=("connect-failure", "reset"), num_retries=3, budget_percent=0, min_retry_concurrency=3
        ),
        outlier_detection=None,
        slow_start=0.0,
        panic_threshold=0,
        timeout_queue=5000,
    ),
    MemberSpec: dict(
        name="",
        admin_state_up=True,
        tags=(),
        subnet_id=None,
        weight=1,
        backup=False,
        monitor_address=None,
        monitor_port=None,
        request_sriov=False,
        max_connections=0,
    ),
    HealthMonitorSpec: dict(
        name="",
        admin_state_up=True,
        tags=(),
        max_retries_down=3,
        http_method="GET",
        url_path="/",
        expected_codes="200",
        http_version=None,
        domain_name=None,
    ),
}


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_fields_and_defaults_are_octavias(kind):
    spec = make(kind)
    assert {name: getattr(spec, name) for name in rules(kind) if name not in NEEDED[kind]} == DEFAULTS[kind]


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_every_field_has_a_rule(kind):
    assert list(rules(kind)) == list(kind.__struct_fields__)


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in KINDS for field in NEEDED[kind]])
def test_a_mandatory_field_must_be_given(kind, field):
    values = {name: value for name, value in NEEDED[kind].items() if name != field}
    with pytest.raises(MissingField, match=rf"^{field}: must be given$") as caught:
        schema.create(kind, values)
    assert "Mandatory field missing" in caught.value.fault
    with pytest.raises(MissingField):
        schema.create(kind, values | {field: None})
    assert required(kind) == NEEDED[kind].keys()


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_an_unknown_field_is_refused_and_the_near_one_named(kind):
    with pytest.raises(
        UnknownField, match=r"^admin_state: no such field; did you mean admin_state_up\?$"
    ) as caught:
        make(kind, admin_state=True)
    assert caught.value.fault == "Unknown attribute for argument <root>: admin_state"
    with pytest.raises(UnknownField, match=r"^id: no such field$"):
        schema.update(make(kind), {"id": A_UUID})


FIXED = [
    (LoadBalancerSpec, "vip_address", "10.0.0.1"),
    (LoadBalancerSpec, "vip_port_id", A_UUID),
    (LoadBalancerSpec, "vip_network_id", A_UUID),
    (LoadBalancerSpec, "vip_subnet_id", A_UUID),
    (LoadBalancerSpec, "additional_vips", []),
    (LoadBalancerSpec, "provider", "amphora"),
    (LoadBalancerSpec, "flavor_id", A_UUID),
    (LoadBalancerSpec, "availability_zone", "az1"),
    (LoadBalancerSpec, "project_id", "p"),
    (ListenerSpec, "protocol", "TCP"),
    (ListenerSpec, "protocol_port", 81),
    (PoolSpec, "protocol", "TCP"),
    (MemberSpec, "address", "10.0.0.8"),
    (MemberSpec, "protocol_port", 81),
    (MemberSpec, "subnet_id", A_UUID),
    (MemberSpec, "request_sriov", False),
    (HealthMonitorSpec, "type", "TCP"),
]


@pytest.mark.parametrize(("kind", "field", "value"), FIXED)
def test_a_create_only_field_cannot_be_changed(kind, field, value):
    with pytest.raises(ConfigError, match=f"^{field}=.*cannot be changed after creation$") as caught:
        schema.update(make(kind), {field: value})
    assert caught.value.fault == f"Unknown attribute for argument <root>: {field}"


def test_every_other_field_can_be_changed():
    fixed = {(kind, field) for kind, field, _ in FIXED}
    assert {(kind, field) for kind in KINDS for field, rule in rules(kind).items() if not rule.live} == fixed


TAKES = [
    (MemberSpec, "weight", 0, 0),
    (MemberSpec, "weight", 256, 256),
    (MemberSpec, "weight", np.int64(3), 3),
    (MemberSpec, "backup", True, True),
    (MemberSpec, "address", "2001:0DB8::0001", "2001:db8::1"),
    (MemberSpec, "address", ipaddress.ip_address("10.1.2.3"), "10.1.2.3"),
    (MemberSpec, "address", "224.0.0.1", "224.0.0.1"),
    (MemberSpec, "address", "0.0.0.0", "0.0.0.0"),
    (MemberSpec, "monitor_address", "::1", "::1"),
    (MemberSpec, "monitor_port", 65535, 65535),
    (MemberSpec, "subnet_id", A_UUID, A_UUID),
    (MemberSpec, "max_connections", 1_000_000, 1_000_000),
    (MemberSpec, "name", "x" * 255, "x" * 255),
    (MemberSpec, "tags", ["a", "b", "a"], ("a", "b")),
    (MemberSpec, "tags", (tag for tag in "ab"), ("a", "b")),
    (LoadBalancerSpec, "vip_sg_ids", [A_UUID], (A_UUID,)),
    (LoadBalancerSpec, "flavor_id", uuid.UUID(A_UUID), A_UUID),
    (LoadBalancerSpec, "provider", "octavia", "octavia"),
    (LoadBalancerSpec, "drain_timeout", 0, 0.0),
    (
        LoadBalancerSpec,
        "additional_vips",
        [{"ip_address": "::1"}],
        (AdditionalVip(ip_address="::1"),),
    ),
    (
        LoadBalancerSpec,
        "additional_vips",
        [AdditionalVip(ip_address="::1")],
        (AdditionalVip(ip_address="::1"),),
    ),
    (ListenerSpec, "protocol", Protocol.HTTP, Protocol.HTTP),
    (ListenerSpec, "protocol_port", 0, 0),
    (ListenerSpec, "connection_limit", -1, -1),
    (ListenerSpec, "connection_limit", 0, 0),
    (ListenerSpec, "timeout_client_data", 0, 0),
    (ListenerSpec, "timeout_member_data", 2_073_600_000, 2_073_600_000),
    (ListenerSpec, "allowed_cidrs", ["10.0.0.5/24", "10.0.0.0/24"], ("10.0.0.0/24",)),
    (ListenerSpec, "allowed_cidrs", ["10.0.0.5", "2001:DB8::1"], ("10.0.0.5/32", "2001:db8::1/128")),
    (ListenerSpec, "allowed_cidrs", [], None),
    (ListenerSpec, "insert_headers", {"X-Forwarded-For": "banana"}, {"X-Forwarded-For": "banana"}),
    (ListenerSpec, "alpn_protocols", ["h2"], (AlpnProtocol.H2,)),
    (ListenerSpec, "tls_ciphers", "A+B:!C@SECLEVEL=1", "A+B:!C@SECLEVEL=1"),
    (PoolSpec, "lb_algorithm", "SOURCE_IP_PORT", Algorithm.SOURCE_IP_PORT),
    (PoolSpec, "lb_algorithm", "RANDOM_TWO_CHOICES", Algorithm.RANDOM_TWO_CHOICES),
    (PoolSpec, "lb_algorithm", "PEAK_EWMA", Algorithm.PEAK_EWMA),
    (PoolSpec, "lb_algorithm", "MAGLEV", Algorithm.MAGLEV),
    (PoolSpec, "slow_start", 0.5, 0.5),
    (PoolSpec, "slow_start", 2_073_600, 2_073_600.0),
    (PoolSpec, "panic_threshold", 100, 100),
    (PoolSpec, "timeout_queue", 0, 0),
    (PoolSpec, "timeout_queue", 2_073_600_000, 2_073_600_000),
    (HealthMonitorSpec, "delay", 0, 0),
    (HealthMonitorSpec, "delay", 0.25, 0.25),
    (HealthMonitorSpec, "timeout", 0, 0),
    (HealthMonitorSpec, "timeout", 500, 500),
    (HealthMonitorSpec, "max_retries", 10, 10),
    (HealthMonitorSpec, "http_method", "PATCH", HttpMethod.PATCH),
    (HealthMonitorSpec, "http_version", 1.1, 1.1),
    (HealthMonitorSpec, "url_path", "/a?b=c#d", "/a?b=c#d"),
    (HealthMonitorSpec, "url_path", "/", "/"),
    (HealthMonitorSpec, "expected_codes", "200, 202", "200, 202"),
    (HealthMonitorSpec, "expected_codes", "200-204", "200-204"),
    (HealthMonitorSpec, "expected_codes", "204-204", "204-204"),
]


@pytest.mark.parametrize(("kind", "field", "value", "stored"), TAKES)
def test_a_field_takes(kind, field, value, stored):
    assert getattr(make(kind, **{field: value}), field) == stored


REFUSES = [
    (MemberSpec, "weight", 300, "weight=300: must be 0..256"),
    (MemberSpec, "weight", -1, "weight=-1: must be 0..256"),
    (MemberSpec, "weight", "3", "weight='3': must be an integer, 0..256"),
    (MemberSpec, "weight", 1.0, "weight=1.0: must be an integer, 0..256"),
    (MemberSpec, "weight", True, "weight=True: must be an integer, 0..256"),
    (MemberSpec, "backup", 1, "backup=1: must be True or False"),
    (MemberSpec, "backup", None, "backup=None: must not be null; leave it out"),
    (MemberSpec, "address", "webserver1", "must be an IPv4 or IPv6 address"),
    (MemberSpec, "address", "10.0.0.0/8", "must be an IPv4 or IPv6 address"),
    (MemberSpec, "address", "fe80::1%eth0", "must be an IPv4 or IPv6 address"),
    (MemberSpec, "address", 167772161, "must be an IPv4 or IPv6 address"),
    (MemberSpec, "address", "169.254.169.254", "must not be the metadata service's address"),
    (MemberSpec, "protocol_port", 0, "protocol_port=0: must be 1..65535"),
    (MemberSpec, "protocol_port", 65536, "protocol_port=65536: must be 1..65535"),
    (MemberSpec, "monitor_port", 0, "monitor_port=0: must be 1..65535"),
    (MemberSpec, "monitor_address", "x", "monitor_address='x': must be an IPv4 or IPv6 address"),
    (MemberSpec, "subnet_id", "subnet", "subnet_id='subnet': must be a UUID"),
    (MemberSpec, "request_sriov", True, "must be False"),
    (MemberSpec, "max_connections", 1_000_001, "max_connections=1000001: must be 0..1000000"),
    (MemberSpec, "max_connections", -1, "max_connections=-1: must be 0..1000000"),
    (MemberSpec, "name", "x" * 256, "must have at most 255 characters, has 256"),
    (MemberSpec, "name", 7, "name=7: must be a string"),
    (MemberSpec, "tags", "web", "tags='web': must be a list of strings"),
    (MemberSpec, "tags", ["x" * 256], r"tags[0]="),
    (MemberSpec, "tags", ["a", 1], "tags[1]=1: must be a string"),
    (MemberSpec, "admin_state_up", "yes", "admin_state_up='yes': must be True or False"),
    (LoadBalancerSpec, "description", "x" * 256, "must have at most 255 characters"),
    (LoadBalancerSpec, "project_id", "x" * 37, "must have at most 36 characters"),
    (LoadBalancerSpec, "vip_address", "localhost", "must be an IPv4 or IPv6 address"),
    (LoadBalancerSpec, "provider", "ovn", "provider='ovn': must be one of amphora, octavia, fastlb"),
    (LoadBalancerSpec, "flavor_id", None, "flavor_id=None: must not be null; leave it out"),
    (LoadBalancerSpec, "availability_zone", None, "availability_zone=None: must not be null; leave it out"),
    (LoadBalancerSpec, "vip_sg_ids", ["x"], "vip_sg_ids[0]='x': must be a UUID"),
    (LoadBalancerSpec, "drain_timeout", -1, "must be a number of seconds, 0 or more"),
    (LoadBalancerSpec, "drain_timeout", float("nan"), "must be a number of seconds, 0 or more"),
    (LoadBalancerSpec, "additional_vips", [{}], "additional_vips[0].subnet_id=None"),
    (LoadBalancerSpec, "additional_vips", ["::1"], "additional_vips[0]='::1': must be a mapping"),
    (LoadBalancerSpec, "additional_vips", [{"address": "::1"}], "additional_vips[0].address: no such field"),
    (LoadBalancerSpec, "additional_vips", [{"ip_address": "x"}], "additional_vips[0].ip_address='x'"),
    (ListenerSpec, "protocol", "http", "protocol='http': must be one of TCP, HTTP, HTTPS, TERMINATED_HTTPS"),
    (ListenerSpec, "protocol", "PROXY", "protocol='PROXY': must be one of"),
    (ListenerSpec, "protocol_port", -1, "protocol_port=-1: must be 0..65535"),
    (ListenerSpec, "protocol_port", 65536, "protocol_port=65536: must be 1..65535"),
    (ListenerSpec, "connection_limit", -2, "connection_limit=-2: must be -1..2147483647"),
    (ListenerSpec, "timeout_client_data", -1, "timeout_client_data=-1: must be 0..2073600000"),
    (ListenerSpec, "timeout_member_connect", 2_073_600_001, "must be 0..2073600000"),
    (ListenerSpec, "default_pool_id", "web", "default_pool_id='web': must be a UUID"),
    (ListenerSpec, "allowed_cidrs", "10.0.0.0/8", "must be a list of CIDRs"),
    (
        ListenerSpec,
        "allowed_cidrs",
        ["10.0.0.0/33"],
        "allowed_cidrs[0]='10.0.0.0/33': must be an IPv4 or IPv6",
    ),
    (ListenerSpec, "allowed_cidrs", [10], "allowed_cidrs[0]=10"),
    (ListenerSpec, "insert_headers", ["X-Forwarded-For"], "must be a mapping of strings to strings"),
    (ListenerSpec, "insert_headers", {"X-Forwarded-For": True}, "must be a string, such as"),
    (ListenerSpec, "client_authentication", "maybe", "must be one of NONE, OPTIONAL, MANDATORY"),
    (ListenerSpec, "tls_ciphers", "A B", "must be cipher names joined by colons"),
    (ListenerSpec, "tls_ciphers", "x" * 2049, "must have at most 2048 characters"),
    (ListenerSpec, "alpn_protocols", ["h3"], "alpn_protocols[0]='h3': must be one of h2, http/1.1, http/1.0"),
    (ListenerSpec, "default_tls_container_ref", "x" * 256, "must have at most 255 characters"),
    (ListenerSpec, "request_head_limit", 1023, "request_head_limit=1023: must be 1024..65535"),
    (ListenerSpec, "request_head_limit", 65536, "request_head_limit=65536: must be 1024..65535"),
    (ListenerSpec, "request_field_limit", 0, "request_field_limit=0: must be 1..100"),
    (ListenerSpec, "request_field_limit", 101, "request_field_limit=101: must be 1..100"),
    (ListenerSpec, "request_target_limit", 63, "request_target_limit=63: must be 64..65535"),
    (ListenerSpec, "request_target_limit", 65536, "request_target_limit=65536: must be 64..65535"),
    (ListenerSpec, "timeout_client_head", 2_073_600_001, "must be 0..2073600000"),
    (ListenerSpec, "timeout_client_idle", -1, "timeout_client_idle=-1: must be 0..2073600000"),
    (ListenerSpec, "request_body_rate_min", -1, "request_body_rate_min=-1: must be 0..2147483647"),
    (ListenerSpec, "requests_per_connection", -1, "must be 0..2147483647"),
    (ListenerSpec, "pipeline_limit", 0, "pipeline_limit=0: must be 1..1024"),
    (ListenerSpec, "pipeline_limit", 1025, "pipeline_limit=1025: must be 1..1024"),
    (PoolSpec, "protocol", "TERMINATED_HTTPS", "must be one of TCP, HTTP, HTTPS, PROXY, PROXYV2, UDP, SCTP"),
    (PoolSpec, "protocol", "PROMETHEUS", "must be one of"),
    (PoolSpec, "lb_algorithm", "RANDOM", "must be one of ROUND_ROBIN, LEAST_CONNECTIONS, SOURCE_IP"),
    (PoolSpec, "tls_enabled", "true", "must be True or False"),
    (PoolSpec, "slow_start", -1, "must be a number of seconds, 0 or more and at most 2073600"),
    (PoolSpec, "slow_start", 2_073_601, "must be a number of seconds, 0 or more and at most 2073600"),
    (PoolSpec, "slow_start", float("nan"), "must be a number of seconds"),
    (PoolSpec, "slow_start", True, "must be a number of seconds"),
    (PoolSpec, "panic_threshold", 101, "panic_threshold=101: must be 0..100"),
    (PoolSpec, "panic_threshold", 0.5, "panic_threshold=0.5: must be an integer, 0..100"),
    (PoolSpec, "timeout_queue", -1, "timeout_queue=-1: must be 0..2073600000"),
    (PoolSpec, "timeout_queue", 2_073_600_001, "must be 0..2073600000"),
    (
        HealthMonitorSpec,
        "type",
        "TLS_HELLO",
        "must be one of HTTP, HTTPS, PING, TCP, TLS-HELLO, UDP-CONNECT, SCTP",
    ),
    (HealthMonitorSpec, "delay", -1, "delay=-1: must be 0..2147483647"),
    (HealthMonitorSpec, "delay", -0.5, "must be a number of seconds, 0..2147483647"),
    (HealthMonitorSpec, "delay", "1", "must be a number of seconds, 0..2147483647"),
    (HealthMonitorSpec, "timeout", float("inf"), "must be a number of seconds, 0..2147483647"),
    (HealthMonitorSpec, "timeout", "5", "must be a number of seconds"),
    (HealthMonitorSpec, "max_retries", 0, "max_retries=0: must be 1..10"),
    (HealthMonitorSpec, "max_retries", 11, "max_retries=11: must be 1..10"),
    (HealthMonitorSpec, "max_retries_down", 0, "max_retries_down=0: must be 1..10"),
    (HealthMonitorSpec, "max_retries_down", None, "max_retries_down=None: must not be null"),
    (HealthMonitorSpec, "http_method", "get", "must be one of GET, HEAD, POST"),
    (HealthMonitorSpec, "http_version", 2.0, "http_version=2.0: must be 1.0 or 1.1"),
    (HealthMonitorSpec, "http_version", True, "must be 1.0 or 1.1"),
    (HealthMonitorSpec, "http_version", "1.1", "must be 1.0 or 1.1"),
    (HealthMonitorSpec, "url_path", "", "must be a path that starts with one '/'"),
    (HealthMonitorSpec, "url_path", "status", "must be a path that starts with one '/'"),
    (HealthMonitorSpec, "url_path", "//x", "must be a path that starts with one '/'"),
    (HealthMonitorSpec, "url_path", "http://h/x", "must be a path that starts with one '/'"),
    (HealthMonitorSpec, "url_path", "/a b", "must be printable ASCII without spaces"),
    (HealthMonitorSpec, "url_path", "/a\r\nX: y", "must be printable ASCII without spaces"),
    (HealthMonitorSpec, "url_path", "/é", "must be printable ASCII without spaces"),
    (HealthMonitorSpec, "url_path", "/" * 2049, "must have at most 2048 characters"),
    (HealthMonitorSpec, "expected_codes", "", "must be a code (200), a list (200,202) or a range (200-204)"),
    (HealthMonitorSpec, "expected_codes", "20", "must be a code"),
    (HealthMonitorSpec, "expected_codes", "200,202-204", "must be a code"),
    (
        HealthMonitorSpec,
        "expected_codes",
        "204-200",
        "must be a range whose first code is not above its last",
    ),
    (HealthMonitorSpec, "expected_codes", ",".join(["200"] * 17), "must have at most 64 characters"),
    (HealthMonitorSpec, "expected_codes", 200, "expected_codes=200: must be a string"),
]


@pytest.mark.parametrize(("kind", "field", "value", "message"), REFUSES)
def test_a_field_refuses_and_says_field_value_and_range(kind, field, value, message):
    with pytest.raises(ConfigError) as caught:
        make(kind, **{field: value})
    assert message in str(caught.value)
    assert str(caught.value).startswith(field)


@pytest.mark.parametrize("name", ["example.com", "a", "_a.c", "x.y.", "10.0.0.1", "a-b.c", "1.2"])
def test_a_domain_name_is_a_host_name_or_an_address(name):
    assert make(HealthMonitorSpec, http_version=1.1, domain_name=name).domain_name == name


@pytest.mark.parametrize(
    "name", ["", "a_b.c", "a b", "a:80", "-a", "a-", "a..b", "x" * 64, "a\r\nb", "é.de", "::1"]
)
def test_what_is_not_a_host_name_is_no_domain_name(name):
    with pytest.raises(ConfigError, match=r"^domain_name="):
        make(HealthMonitorSpec, http_version=1.1, domain_name=name)


# Null at creation and in an update. A missing entry under CREATE means: as under UPDATE.
NULL_IN_CREATE = {
    (ListenerSpec, "connection_limit"): None,
    (MemberSpec, "weight"): None,
    (ListenerSpec, "tls_ciphers"): None,
    (ListenerSpec, "tls_versions"): None,
    (ListenerSpec, "alpn_protocols"): None,
    (PoolSpec, "tls_ciphers"): None,
    (PoolSpec, "tls_versions"): None,
    (PoolSpec, "tls_enabled"): False,
    (ListenerSpec, "client_authentication"): ConfigError,
    (HealthMonitorSpec, "max_retries_down"): ConfigError,
    (MemberSpec, "backup"): ConfigError,
}
CIPHERS = make(ListenerSpec, **TLS).tls_ciphers
NULL_IN_UPDATE = [
    *((kind, "name", {"name": "x"}, "") for kind in KINDS),
    *((kind, "admin_state_up", {}, False) for kind in KINDS),
    (LoadBalancerSpec, "description", {"description": "x"}, ""),
    (ListenerSpec, "description", {"description": "x"}, ""),
    (PoolSpec, "description", {"description": "x"}, ""),
    (LoadBalancerSpec, "vip_qos_policy_id", {"vip_qos_policy_id": A_UUID}, None),
    (LoadBalancerSpec, "vip_sg_ids", {"vip_sg_ids": [A_UUID]}, ()),
    (LoadBalancerSpec, "drain_timeout", {"drain_timeout": 1}, 5.0),
    (ListenerSpec, "connection_limit", {"connection_limit": 7}, -1),
    (ListenerSpec, "default_pool_id", {"default_pool_id": A_UUID}, None),
    (ListenerSpec, "default_tls_container_ref", TLS, None),
    (ListenerSpec, "sni_container_refs", TLS | {"sni_container_refs": ["a"]}, ()),
    (ListenerSpec, "insert_headers", {"insert_headers": {"X-Forwarded-For": "true"}}, {}),
    (ListenerSpec, "timeout_client_data", {"timeout_client_data": 1}, 50000),
    (ListenerSpec, "timeout_member_connect", {"timeout_member_connect": 1}, 5000),
    (ListenerSpec, "timeout_member_data", {"timeout_member_data": 1}, 50000),
    (ListenerSpec, "timeout_tcp_inspect", {"timeout_tcp_inspect": 1}, 0),
    (ListenerSpec, "client_authentication", {}, ConfigError),
    (ListenerSpec, "client_authentication", TLS | {"client_ca_tls_container_ref": "ca"}, "NONE"),
    (ListenerSpec, "client_ca_tls_container_ref", TLS | {"client_ca_tls_container_ref": "ca"}, None),
    (ListenerSpec, "allowed_cidrs", {"allowed_cidrs": ["10.0.0.0/8"]}, None),
    (ListenerSpec, "tls_ciphers", {}, CIPHERS),
    (ListenerSpec, "tls_versions", {}, ("TLSv1.2", "TLSv1.3")),
    (ListenerSpec, "alpn_protocols", {}, ("h2", "http/1.1", "http/1.0")),
    (ListenerSpec, "hsts_max_age", TLS | {"hsts_max_age": 1}, None),
    (
        ListenerSpec,
        "hsts_include_subdomains",
        TLS | {"hsts_max_age": 1, "hsts_include_subdomains": True},
        False,
    ),
    (ListenerSpec, "hsts_preload", TLS | {"hsts_max_age": 1, "hsts_preload": True}, False),
    (ListenerSpec, "request_head_limit", {"request_head_limit": 1024}, 32768),
    (ListenerSpec, "request_field_limit", {"request_field_limit": 1}, 100),
    (ListenerSpec, "request_target_limit", {"request_target_limit": 64}, 8000),
    (ListenerSpec, "timeout_client_head", {"timeout_client_head": 1}, 10000),
    (ListenerSpec, "timeout_client_idle", {"timeout_client_idle": 1}, None),
    (ListenerSpec, "request_body_rate_min", {"request_body_rate_min": 1}, 0),
    (ListenerSpec, "requests_per_connection", {"requests_per_connection": 1}, 0),
    (ListenerSpec, "pipeline_limit", {"pipeline_limit": 1}, 16),
    (PoolSpec, "lb_algorithm", {}, ConfigError),
    (PoolSpec, "tls_enabled", {}, ConfigError),
    (PoolSpec, "session_persistence", {"session_persistence": {"type": "SOURCE_IP"}}, None),
    (PoolSpec, "tls_container_ref", {"tls_container_ref": "a"}, None),
    (PoolSpec, "ca_tls_container_ref", {"ca_tls_container_ref": "a"}, None),
    (PoolSpec, "ca_tls_container_ref", {"ca_tls_container_ref": "a", "crl_container_ref": "b"}, ConfigError),
    (PoolSpec, "crl_container_ref", {"ca_tls_container_ref": "a", "crl_container_ref": "b"}, None),
    (PoolSpec, "tls_ciphers", {}, CIPHERS),
    (PoolSpec, "tls_versions", {}, ("TLSv1.2", "TLSv1.3")),
    (PoolSpec, "alpn_protocols", {"tls_enabled": True}, None),
    (PoolSpec, "retry", {"retry": {"num_retries": 1}}, RetryPolicy()),
    (PoolSpec, "outlier_detection", {"outlier_detection": OutlierDetection()}, None),
    (PoolSpec, "slow_start", {"slow_start": 1}, 0.0),
    (PoolSpec, "panic_threshold", {"panic_threshold": 1}, 0),
    (PoolSpec, "timeout_queue", {"timeout_queue": 1}, 5000),
    (MemberSpec, "weight", {"weight": 7}, 1),
    (MemberSpec, "backup", {"backup": True}, False),
    (MemberSpec, "monitor_address", {"monitor_address": "::1"}, None),
    (MemberSpec, "monitor_port", {"monitor_port": 1}, None),
    (MemberSpec, "max_connections", {"max_connections": 1}, 0),
    (HealthMonitorSpec, "delay", {}, ConfigError),
    (HealthMonitorSpec, "timeout", {}, ConfigError),
    (HealthMonitorSpec, "max_retries", {}, ConfigError),
    (HealthMonitorSpec, "max_retries_down", {"max_retries_down": 7}, 3),
    (HealthMonitorSpec, "http_method", {"http_method": "HEAD"}, "GET"),
    (HealthMonitorSpec, "url_path", {"url_path": "/x"}, "/"),
    (HealthMonitorSpec, "expected_codes", {"expected_codes": "204"}, "200"),
    (HealthMonitorSpec, "http_version", {"http_version": 1.1}, None),
    (HealthMonitorSpec, "domain_name", {"http_version": 1.1, "domain_name": "a"}, None),
]


@pytest.mark.parametrize(("kind", "field", "before", "after"), NULL_IN_UPDATE)
def test_null_in_an_update_resets_to_the_default(kind, field, before, after):
    spec = make(kind, **before)
    if after is ConfigError:
        with pytest.raises(ConfigError):
            schema.update(spec, {field: None})
    else:
        assert getattr(schema.update(spec, {field: None}), field) == after


def test_every_changeable_field_has_its_null_rule_tested():
    tested = {(kind, field) for kind, field, _, _ in NULL_IN_UPDATE}
    untested = {
        (kind.__name__, field)
        for kind in KINDS
        for field, rule in rules(kind).items()
        if rule.live and (kind, field) not in tested
    }
    assert untested == {
        *((kind.__name__, "tags") for kind in KINDS),
        ("ListenerSpec", "client_crl_container_ref"),
    }


@pytest.mark.parametrize(
    ("kind", "field"), dict.fromkeys((kind, field) for kind, field, _, _ in NULL_IN_UPDATE), ids=str
)
def test_null_at_creation(kind, field):
    if field in NEEDED[kind]:
        expected = ConfigError
    else:
        expected = NULL_IN_CREATE.get((kind, field))
        if (kind, field) not in NULL_IN_CREATE:
            expected = next(after for k, f, _, after in NULL_IN_UPDATE if (k, f) == (kind, field))
    if expected is ConfigError:
        with pytest.raises(ConfigError):
            make(kind, **{field: None})
    else:
        assert getattr(make(kind, **{field: None}), field) == expected


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_null_tags_are_none_at_creation_and_change_nothing_later(kind):
    assert make(kind, tags=None).tags == ()
    spec = make(kind, tags=["a"])
    assert schema.update(spec, {"tags": None}).tags == ("a",)
    assert schema.update(spec, {"tags": []}).tags == ()
    assert schema.update(spec, {"tags": ["b", "b"]}).tags == ("b",)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_an_update_of_nothing_changes_nothing(kind):
    spec = make(kind)
    assert schema.update(spec, {}) == spec


COERCED = [
    (MemberSpec, "protocol_port", "80", 80),
    (MemberSpec, "protocol_port", 80.5, 80),
    (MemberSpec, "weight", True, 1),
    (MemberSpec, "weight", " 7 ", 7),
    (MemberSpec, "backup", "yes", True),
    (MemberSpec, "backup", "on", True),
    (MemberSpec, "backup", "t", True),
    (MemberSpec, "backup", 1, True),
    (MemberSpec, "backup", "no", False),
    (MemberSpec, "backup", "off", False),
    (MemberSpec, "backup", 2, True),
    (MemberSpec, "backup", "f", False),
    (MemberSpec, "backup", 0, False),
    (ListenerSpec, "connection_limit", "100", 100),
    (HealthMonitorSpec, "delay", "5", 5),
    (HealthMonitorSpec, "delay", 5.9, 5),
    (HealthMonitorSpec, "http_version", "1.1", 1.1),
]


@pytest.mark.parametrize(("kind", "field", "value", "stored"), COERCED)
def test_the_rest_door_takes_what_octavias_takes(kind, field, value, stored):
    spec = make(kind, coerce=True, **{field: value})
    assert getattr(spec, field) == stored
    assert type(getattr(spec, field)) is type(stored)


REFUSED_AT_THE_DOOR = [
    (MemberSpec, "weight", "x", "Value must be an integer"),
    (MemberSpec, "weight", [], "Value must be an integer"),
    (MemberSpec, "weight", float("inf"), "Value must be an integer"),
    (MemberSpec, "weight", "300", "Value should be lower or equal to 256"),
    (MemberSpec, "backup", "xx", "Value not an unambiguous boolean"),
    (MemberSpec, "backup", "TRUE", "Value not an unambiguous boolean"),
    (MemberSpec, "backup", 1.0, "Value not an unambiguous boolean"),
    (MemberSpec, "backup", [True], "Value not an unambiguous boolean"),
    (MemberSpec, "name", 7, "Value should be string"),
    (MemberSpec, "name", True, "Value should be string"),
    (
        ListenerSpec,
        "protocol",
        "http",
        "Value should be one of: HTTP, HTTPS, PROMETHEUS, SCTP, TCP, TERMINATED_HTTPS, UDP",
    ),
    (ListenerSpec, "protocol_port", 0, "Value should be greater or equal to 1"),
    (LoadBalancerSpec, "vip_port_id", "x", "Value should be UUID format"),
    (MemberSpec, "name", "x" * 256, "Value should have a maximum character requirement of 255"),
]


@pytest.mark.parametrize(("kind", "field", "value", "tail"), REFUSED_AT_THE_DOOR)
def test_the_rest_door_refuses_in_octavias_words(kind, field, value, tail):
    with pytest.raises(ConfigError) as caught:
        make(kind, coerce=True, **{field: value})
    assert caught.value.fault.startswith(
        f"Invalid input for field/attribute {field}. Value: '{value}'. {tail}"
    )
    assert caught.value.status == 400


def test_an_additional_vip_needs_its_subnet_at_the_rest_door_only():
    with pytest.raises(ConfigError, match=r"^additional_vips\[0\].subnet_id: must be given$"):
        make(LoadBalancerSpec, coerce=True, additional_vips=[{"ip_address": "::1"}])


def test_a_place_in_a_document_heads_the_message():
    with pytest.raises(ConfigError, match=r"^members\[2\]\.weight=300: must be 0\.\.256$"):
        schema.create(MemberSpec, NEEDED[MemberSpec] | {"weight": 300}, path="members[2].")
    with pytest.raises(MissingField, match=r"^members\[2\]\.address: must be given$"):
        schema.create(MemberSpec, {"protocol_port": 1}, path="members[2].")


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_document_makes_the_same_again(kind):
    spec = make(kind, name="x", admin_state_up=False, tags=["a"])
    assert schema.create(kind, document(spec)) == spec
    assert schema.create(kind, document(make(kind))) == make(kind)


def test_the_numbers_of_a_listener_are_those_in_force():
    assert make(ListenerSpec).numbers == {
        "timeout_client_data_ms": 50000,
        "timeout_member_connect_ms": 5000,
        "timeout_member_data_ms": 50000,
        "timeout_head_ms": 10000,
        "timeout_idle_ms": 50000,
        "head_bytes": 32768,
        "head_fields": 100,
        "target_bytes": 8000,
        "body_rate_min": 0,
        "requests_max": 0,
        "pipeline_max": 16,
        "connection_limit": 50000,
    }
    zeros = ("client_data", "member_connect", "member_data", "client_head", "client_idle")
    spec = make(ListenerSpec, **dict.fromkeys((f"timeout_{name}" for name in zeros), 0))
    assert spec.numbers == make(ListenerSpec).numbers
    assert make(ListenerSpec, timeout_client_data=7).numbers["timeout_idle_ms"] == 7
    assert make(ListenerSpec, timeout_client_idle=9).numbers["timeout_idle_ms"] == 9


def test_of_the_headers_those_that_are_on_and_have_an_effect_are_inserted():
    headers = {
        "X-Forwarded-For": "TRUE",
        "X-Forwarded-Port": "yes",
        "X-Forwarded-Proto": "true",
        "X-Real-IP": "true",
    }
    assert make(ListenerSpec, insert_headers=headers).inserted_headers == (
        "X-Forwarded-For",
        "X-Forwarded-Proto",
    )


def test_a_document_keeps_a_null_that_is_not_the_default():
    spec = make(MemberSpec, weight=None)
    assert document(spec)["weight"] is None
    assert schema.create(MemberSpec, document(spec)) == spec
    assert spec.share == 1


def test_a_document_is_plain_json():
    spec = make(
        PoolSpec, session_persistence=SessionPersistence(type="SOURCE_IP"), tags=["a"], alpn_protocols=["h2"]
    )
    body = document(spec)
    assert {type(value) for value in body.values()} <= {str, bool, list, dict}
    assert type(body["protocol"]) is str
    assert body["session_persistence"]["type"] == "SOURCE_IP"


@pytest.mark.parametrize("stored", [-1, 0, None])
def test_no_connection_limit_means_fifty_thousand(stored):
    assert make(ListenerSpec, connection_limit=stored).limit == 50_000
    assert make(ListenerSpec, connection_limit=3).limit == 3


def test_what_is_stored_cannot_be_changed_behind_our_back():
    headers = {"X-Forwarded-For": "true"}
    spec = make(ListenerSpec, insert_headers=headers)
    headers["X-Forwarded-Port"] = "true"
    assert spec.insert_headers == {"X-Forwarded-For": "true"}
    with pytest.raises(TypeError):
        spec.insert_headers["X-Forwarded-Port"] = "true"
    with pytest.raises(AttributeError):
        spec.protocol_port = 81


def test_enums_are_their_strings():
    assert MonitorType.TLS_HELLO == "TLS-HELLO"
    assert f"{Protocol.HTTP}" == "HTTP"
