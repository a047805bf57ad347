# SPDX-License-Identifier: Apache-2.0
"""A load balancer as a fully-populated Octavia document, and back."""

import json

import pytest

import fastlb
from fastlb import ConfigError, Conflict, LoadBalancer, NotFound
from fastlb.errors import UnknownField

A_UUID = "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d"


def full():
    """One of everything, as somebody would write it."""
    return {
        "loadbalancer": {
            "name": "shop",
            "vip_address": "127.0.0.1",
            "listeners": [
                {
                    "name": "http",
                    "protocol": "HTTP",
                    "protocol_port": 8080,
                    "timeout_client_data": 30000,
                    "default_pool": {
                        "name": "web",
                        "protocol": "HTTP",
                        "lb_algorithm": "LEAST_CONNECTIONS",
                        "members": [
                            {"address": "10.0.0.1", "protocol_port": 80, "weight": 3},
                            {"address": "10.0.0.2", "protocol_port": 80, "backup": True},
                        ],
                        "healthmonitor": {"type": "HTTP", "delay": 5, "timeout": 4, "max_retries": 2},
                    },
                },
                {"protocol": "TCP", "protocol_port": 9000, "default_pool": {"name": "raw"}},
                {"protocol": "HTTP", "protocol_port": 8081, "default_pool": {"name": "web"}},
                {"protocol": "HTTP", "protocol_port": 8082, "l7policies": []},
            ],
            "pools": [
                {"name": "raw", "protocol": "TCP", "lb_algorithm": "MAGLEV", "members": []},
                {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"},
            ],
        }
    }


def changed(change):
    document = full()
    change(document["loadbalancer"])
    return document


def test_a_document_describes_a_load_balancer():
    lb = LoadBalancer.from_dict(full())
    assert lb.name == "shop"
    http, raw, second, none = lb.listeners
    assert http.default_pool is second.default_pool is lb.find_pool("web")
    assert raw.default_pool is lb.find_pool("raw")
    assert none.default_pool is None
    assert [(member.weight, member.backup) for member in http.default_pool.members] == [(3, False), (1, True)]
    assert http.default_pool.health_monitor.max_retries_down == 3
    assert http.timeout_client_data == 30000
    assert not lb.started


def test_wrapped_or_bare():
    assert (
        LoadBalancer.from_dict(full()["loadbalancer"]).to_dict() == LoadBalancer.from_dict(full()).to_dict()
    )


def test_what_is_dumped_loads_again_as_the_same():
    dumped = LoadBalancer.from_dict(full()).to_dict()
    assert LoadBalancer.from_dict(dumped).to_dict() == dumped
    assert json.loads(json.dumps(dumped)) == dumped


def test_the_given_document_is_left_alone():
    document = full()
    LoadBalancer.from_dict(document)
    assert document == full()


def test_members_with_a_monitor_start_unmonitored_here():
    lb = LoadBalancer.from_dict(full())
    assert {member.operating_status for member in lb.find_pool("web").members} == {"NO_MONITOR"}


def test_every_field_travels():
    lb = LoadBalancer(
        name="n",
        description="d",
        vip_address="::1",
        vip_subnet_id=A_UUID,
        vip_sg_ids=[A_UUID],
        additional_vips=[{"ip_address": "127.0.0.1"}],
        flavor_id=A_UUID,
        availability_zone="az",
        project_id="p",
        provider="octavia",
        admin_state_up=False,
        tags=["t"],
        drain_timeout=1,
    )
    pool = lb.create_pool(
        name="p",
        protocol="UDP",
        lb_algorithm="PEAK_EWMA",
        session_persistence={"type": "SOURCE_IP", "persistence_timeout": 9},
        tls_enabled=True,
        ca_tls_container_ref="ca",
    )
    pool.create_member(
        "::1", 80, name="m", weight=None, monitor_address="::2", monitor_port=81, subnet_id=A_UUID, tags=["t"]
    )
    pool.create_health_monitor(type="TCP", delay=1, timeout=1, max_retries=1, max_retries_down=1, name="h")
    lb.create_listener(protocol="UDP", protocol_port=53, default_pool=pool, connection_limit=None)
    lb.create_listener(
        protocol="TERMINATED_HTTPS",
        protocol_port=443,
        sni_container_refs=["a"],
        insert_headers={"X-SSL-Issuer": "true"},
        client_ca_tls_container_ref="ca",
        client_authentication="OPTIONAL",
        hsts_max_age=1,
        tls_versions=["TLSv1.3"],
    )
    again = LoadBalancer.from_dict(lb.to_dict())
    assert again._spec == lb._spec
    for one, two in zip(lb.listeners, again.listeners, strict=True):
        fields = [name for name in one._spec.__struct_fields__ if name != "default_pool_id"]
        assert [getattr(one, name) for name in fields] == [getattr(two, name) for name in fields]
    assert again.find_pool("p")._spec == pool._spec
    assert again.find_pool("p").members[0]._spec == pool.members[0]._spec
    assert again.find_pool("p").health_monitor._spec == pool.health_monitor._spec
    assert again.listeners[0].default_pool is again.find_pool("p")


def test_our_own_fields_are_left_out_at_their_defaults():
    assert "drain_timeout" not in LoadBalancer().to_dict()["loadbalancer"]
    assert LoadBalancer(drain_timeout=0).to_dict()["loadbalancer"]["drain_timeout"] == 0


def test_pools_without_a_name_of_their_own_appear_under_their_id():
    lb = LoadBalancer()
    listener = lb.create_listener(protocol="HTTP", protocol_port=80)
    bare = listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    twins = [lb.create_pool(name="twin", protocol="HTTP", lb_algorithm="ROUND_ROBIN") for _ in range(2)]
    dumped = lb.to_dict()["loadbalancer"]
    assert [pool["name"] for pool in dumped["pools"]] == [bare.id, twins[0].id, twins[1].id]
    assert dumped["listeners"][0]["default_pool"] == {"name": bare.id}
    assert LoadBalancer.from_dict(dumped).to_dict()["loadbalancer"] == dumped


def test_any_free_port_stays_any():
    lb = LoadBalancer()
    lb.create_listener(protocol="HTTP", protocol_port=0)
    dumped = lb.to_dict()
    assert dumped["loadbalancer"]["listeners"][0]["protocol_port"] == 0
    assert LoadBalancer.from_dict(dumped).listeners[0].protocol_port == 0
    with pytest.raises(ConfigError, match=r"^listeners\[0\]\.protocol_port=0: must be 1\.\.65535$"):
        LoadBalancer.from_dict(dumped, coerce=True)


def test_octavias_looser_types_are_taken_on_request():
    document = changed(lambda lb: lb["listeners"][0].update(connection_limit="100", admin_state_up="yes"))
    assert LoadBalancer.from_dict(document, coerce=True).listeners[0].connection_limit == 100
    with pytest.raises(ConfigError, match=r"^listeners\[0\]\.connection_limit='100': must be an integer"):
        LoadBalancer.from_dict(document)


def at(path, **fields):
    """Change the object at a path: `at("listeners 0 default_pool", name=None)`."""

    def change(lb):
        for step in path.split():
            lb = lb[int(step) if step.isdigit() else step]
        lb.update(fields)

    return change


REFUSED = [
    (at("", nmae="x"), UnknownField, "nmae: no such field; did you mean name?"),
    (at("", id=A_UUID), UnknownField, "id: no such field"),
    (at("", vip_address="x"), ConfigError, "vip_address='x': must be an IPv4 or IPv6 address"),
    (at("", listeners={}), ConfigError, "listeners={}: must be a list of mappings"),
    (at("", pools=["web"]), ConfigError, "pools[0]='web': must be a mapping of fields to values"),
    (at("listeners 1", proto="TCP"), UnknownField, "listeners[1].proto: no such field"),
    (at("listeners 1", protocol=None), ConfigError, "listeners[1].protocol: must be given"),
    (at("listeners 1", protocol_port=8080), Conflict, "listeners[1]: Another Listener on this Load Balancer"),
    (
        at("listeners 1", protocol="HTTP"),
        ConfigError,
        "listeners[1].default_pool_id='a TCP pool': the pool of a HTTP",
    ),
    (at("listeners 1", default_pool_id=A_UUID), ConfigError, "must not be given beside default_pool"),
    (at("listeners 3", default_pool_id=A_UUID), NotFound, "listeners[3]: default_pool_id="),
    (
        at("listeners 1", default_pool="raw"),
        ConfigError,
        "listeners[1].default_pool='raw': must be a mapping",
    ),
    (at("listeners 1", default_pool={}), ConfigError, "listeners[1].default_pool.name=None: must be given"),
    (
        at("listeners 1", default_pool={"name": "rwa"}),
        ConfigError,
        "listeners[1].default_pool.name='rwa': must be the name of a pool that the document defines",
    ),
    (
        at("listeners 1", default_pool={"name": "more", "protocol": "TCP"}),
        ConfigError,
        "listeners[1].default_pool.lb_algorithm: must be given",
    ),
    (
        at("listeners 0 default_pool", name=""),
        ConfigError,
        "listeners[0].default_pool.name='': must be given",
    ),
    (
        at("listeners 0 default_pool", name="raw"),
        ConfigError,
        "listeners[0].default_pool.name='raw': must be unique",
    ),
    (
        at("listeners 0 default_pool members 1", weight=300),
        ConfigError,
        "listeners[0].default_pool.members[1].weight=300: must be 0..256",
    ),
    (
        at("listeners 0 default_pool members 1", address="10.0.0.1"),
        Conflict,
        "listeners[0].default_pool.members[1].address: another member",
    ),
    (
        at("listeners 0 default_pool healthmonitor", max_retries=0),
        ConfigError,
        "listeners[0].default_pool.healthmonitor.max_retries=0: must be 1..10",
    ),
    (
        at("listeners 0 default_pool healthmonitor", type="SCTP"),
        ConfigError,
        "listeners[0].default_pool.healthmonitor.type='SCTP': must be one of",
    ),
    (
        at("listeners 0 default_pool", members="x"),
        ConfigError,
        "listeners[0].default_pool.members='x': must be a list",
    ),
    (at("pools 0", lb_algorithm="x"), ConfigError, "pools[0].lb_algorithm='x': must be one of ROUND_ROBIN"),
    (at("pools 0", name=""), ConfigError, "pools[1].name='': must be unique among the pools"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_a_refusal_names_the_place(change, error, message):
    with pytest.raises(error) as caught:
        LoadBalancer.from_dict(changed(change))
    assert str(caught.value).startswith(message) or message in str(caught.value)
    assert not isinstance(caught.value, KeyError)


def test_a_document_is_a_mapping():
    with pytest.raises(ConfigError, match=r"^document=\[\]: must be a mapping"):
        LoadBalancer.from_dict([])
    with pytest.raises(ConfigError, match=r"^loadbalancer='x': must be a mapping"):
        LoadBalancer.from_dict({"loadbalancer": "x"})
    with pytest.raises(UnknownField, match=r'^extra: no such field beside "loadbalancer"$'):
        LoadBalancer.from_dict({"loadbalancer": {}, "extra": 1})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            at("listeners 1", default_pool={"name": "x"}),
            "Validation failure: Pool 'x' was referenced but no full definition was found.",
        ),
        (
            at("listeners 1", default_pool={}),
            "Validation failure: Pools must be named when creating a fully populated loadbalancer.",
        ),
        (
            at("pools 0", name=""),
            "Validation failure: Pool names must be unique when creating a fully populated loadbalancer.",
        ),
    ],
)
def test_the_documents_own_rules_speak_octavias_words(change, fault):
    with pytest.raises(ConfigError) as caught:
        LoadBalancer.from_dict(changed(change))
    assert caught.value.fault == fault


def test_an_engine_can_be_given_along():
    engine = fastlb.Engine(workers=1)
    assert LoadBalancer.from_dict({}, engine=engine).engine is engine
