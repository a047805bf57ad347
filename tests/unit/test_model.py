# SPDX-License-Identifier: Apache-2.0
"""Objects that are described and not started: making, changing, refusing, deleting, showing."""

import copy
import pickle
import re
from datetime import UTC, datetime

import pytest

import fastlb
from fastlb import (
    BindError,
    ConfigError,
    Conflict,
    FastLBError,
    LoadBalancer,
    NotFound,
    NotSupported,
    SessionPersistence,
    StateError,
    WaitTimeout,
)
from fastlb.schema.field import rules

A_UUID = "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d"


@pytest.fixture
def lb():
    return LoadBalancer(name="web")


@pytest.fixture
def listener(lb):
    return lb.create_listener(name="http", protocol="HTTP", protocol_port=8080)


@pytest.fixture
def pool(listener):
    return listener.create_pool(name="web", protocol="HTTP", lb_algorithm="ROUND_ROBIN")


@pytest.fixture
def member(pool):
    return pool.create_member("10.0.0.7", 8080, weight=3)


@pytest.fixture
def monitor(pool):
    return pool.create_health_monitor(type="HTTP", delay=5, timeout=4, max_retries=2)


@pytest.fixture
def policy(listener):
    return listener.create_l7policy(action="REJECT")


@pytest.fixture(params=["lb", "listener", "pool", "member", "monitor", "policy"])
def anything(request):
    return request.getfixturevalue(request.param)


# Making.


def test_a_load_balancer_without_an_address_is_local(lb):
    assert lb.vip_address == "127.0.0.1"
    assert lb.vips == ("127.0.0.1",)
    assert LoadBalancer(vip_subnet_id=A_UUID).vip_address is None
    assert LoadBalancer(vip_address="::1").vip_address == "::1"


def test_arguments_become_attributes(lb):
    listener = lb.create_listener(
        protocol="HTTP",
        protocol_port=80,
        name="front",
        description="d",
        connection_limit=7,
        timeout_client_data=1,
        timeout_member_connect=2,
        timeout_member_data=3,
        timeout_tcp_inspect=4,
        allowed_cidrs=["10.0.0.1"],
        insert_headers={"X-Forwarded-For": "true"},
        admin_state_up=False,
        tags=["a"],
    )
    assert listener.name == "front"
    assert listener.description == "d"
    assert listener.connection_limit == 7
    assert listener.timeout_client_data == 1
    assert listener.timeout_member_connect == 2
    assert listener.timeout_member_data == 3
    assert listener.timeout_tcp_inspect == 4
    assert listener.allowed_cidrs == ("10.0.0.1/32",)
    assert listener.insert_headers == {"X-Forwarded-For": "true"}
    assert listener.admin_state_up is False
    assert listener.tags == ("a",)
    assert listener.protocol is fastlb.Protocol.HTTP


NEEDED = {"protocol", "protocol_port", "lb_algorithm", "address", "type", "delay", "timeout", "max_retries"}


def test_a_field_left_out_has_the_default_of_the_schema(lb, listener, pool, member, monitor):
    given = {"name", "vip_address", "weight", "default_pool_id"}
    for spec in (one._spec for one in (lb, listener, pool, member, monitor)):
        fields = rules(type(spec)).keys()
        bare = fastlb.schema.create(type(spec), {name: getattr(spec, name) for name in NEEDED & fields})
        for name in fields - given:
            assert getattr(spec, name) == getattr(bare, name), name


def test_objects_know_each_other(lb, listener, pool, member, monitor):
    assert lb.listeners == (listener,)
    assert lb.pools == (pool,)
    assert listener.default_pool is pool
    assert listener.default_pool_id == pool.id
    assert pool.listeners == (listener,)
    assert pool.members == (member,)
    assert pool.health_monitor is monitor
    assert member.pool is monitor.pool is pool
    assert all(one.load_balancer is lb for one in (lb, listener, pool, member, monitor))


def test_everything_has_an_id_and_times(anything):
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", anything.id)
    assert anything.updated_at is None
    before = datetime.now(UTC)
    anything.update(name="other")
    assert anything.created_at <= before <= anything.updated_at


def test_children_are_of_their_load_balancers_project():
    lb = LoadBalancer(project_id="p1")
    assert lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN").project_id == "p1"


# Refusing, and nothing half applied.


def test_a_refused_member_leaves_the_pool_as_it_was(pool, member):
    with pytest.raises(ConfigError, match=r"^weight=300: must be 0\.\.256$"):
        pool.create_member("10.0.0.8", 80, weight=300)
    with pytest.raises(ConfigError, match=r"must be an IPv4 or IPv6 address"):
        pool.create_member("webserver1.example.com", 80)
    with pytest.raises(ConfigError) as caught:
        pool.create_member("10.0.0.8", 0)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.field, caught.value.value, caught.value.allowed) == (
        "protocol_port",
        0,
        "must be 1..65535",
    )
    assert pool.members == (member,)


@pytest.mark.parametrize("address", ["2001:db8::1", "2001:0db8:0:0:0:0:0:1", "2001:DB8::0:1"])
def test_one_address_in_two_spellings_is_one_member(pool, address):
    pool.create_member("2001:db8::1", 80)
    with pytest.raises(Conflict, match=r"already using ip 2001:db8::1 on protocol_port 80"):
        pool.create_member(address, 80)
    assert pool.create_member(address, 81).address == "2001:db8::1"


def test_a_deleted_members_place_is_free_again(pool, member):
    member.delete()
    assert pool.create_member(member.address, member.protocol_port) in pool.members


def test_a_pool_has_one_monitor(pool, monitor):
    with pytest.raises(Conflict, match=r"already has a health monitor"):
        pool.create_health_monitor(type="TCP", delay=5, timeout=4, max_retries=2)
    monitor.delete()
    assert pool.health_monitor is None
    assert pool.create_health_monitor(type="TCP", delay=5, timeout=4, max_retries=2) is pool.health_monitor


def test_a_monitor_must_suit_its_pool(lb):
    pool = lb.create_pool(protocol="UDP", lb_algorithm="ROUND_ROBIN")
    with pytest.raises(
        ConfigError, match=r"must be one of UDP-CONNECT, SCTP, TCP, HTTP on a UDP pool"
    ) as caught:
        pool.create_health_monitor(type="PING", delay=5, timeout=4, max_retries=2)
    assert pool.health_monitor is None
    assert caught.value.fault == (
        "Validation failure: The associated pool protocol is UDP, so only a UDP-CONNECT/SCTP/TCP/HTTP health monitor "
        "is supported."
    )


def test_a_listener_has_one_default_pool(listener, pool):
    with pytest.raises(Conflict, match=r"already has a default pool"):
        listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    assert listener.load_balancer.pools == (pool,)


def test_a_pool_must_suit_its_listener(lb, listener):
    with pytest.raises(ConfigError, match=r"the pool of a HTTP listener must be one of HTTP, PROXY, PROXYV2"):
        listener.create_pool(protocol="TCP", lb_algorithm="ROUND_ROBIN")
    assert lb.pools == ()
    tcp = lb.create_pool(protocol="TCP", lb_algorithm="ROUND_ROBIN")
    with pytest.raises(ConfigError, match=r"the pool of a HTTP listener must be"):
        listener.default_pool = tcp
    assert listener.default_pool is None


COLLIDE = [
    ("HTTP", "TCP", True),
    ("TCP", "HTTPS", True),
    ("HTTP", "TERMINATED_HTTPS", True),
    ("HTTP", "PROMETHEUS", True),
    ("TCP", "UDP", False),
    ("UDP", "SCTP", False),
    ("UDP", "UDP", True),
]


@pytest.mark.parametrize(("first", "second", "collide"), COLLIDE)
def test_listeners_collide_on_a_port_of_the_same_kind(lb, first, second, collide):
    tls = {"default_tls_container_ref": "ref"} if second == "TERMINATED_HTTPS" else {}
    lb.create_listener(protocol=first, protocol_port=53)
    if collide:
        with pytest.raises(Conflict) as caught:
            lb.create_listener(protocol=second, protocol_port=53, **tls)
        assert str(caught.value) == (
            f"Another Listener on this Load Balancer is already using protocol {first} and protocol_port 53"
        )
    else:
        lb.create_listener(protocol=second, protocol_port=53, **tls)
    lb.create_listener(protocol=second, protocol_port=54, **tls)


def test_any_free_port_collides_with_none(lb):
    lb.create_listener(protocol="HTTP", protocol_port=0)
    lb.create_listener(protocol="HTTP", protocol_port=0)
    assert [listener.protocol_port for listener in lb.listeners] == [0, 0]


def test_allowed_cidrs_suit_the_vips():
    lb = LoadBalancer(vip_address="::1")
    with pytest.raises(ConfigError, match=r"must be of the family of a VIP \(::1\)"):
        lb.create_listener(protocol="HTTP", protocol_port=80, allowed_cidrs=["10.0.0.0/8"])
    assert lb.listeners == ()


def test_a_pool_of_another_load_balancer_is_not_found(listener):
    other = LoadBalancer().create_pool(name="theirs", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    with pytest.raises(NotFound, match=r"default_pool='theirs': must be a pool of load balancer 'web'"):
        listener.default_pool = other
    with pytest.raises(NotFound, match=r"default_pool_id=.*: no such pool on load balancer 'web'"):
        listener.update(default_pool_id=other.id)
    with pytest.raises(ConfigError, match=r"must be a Pool of this load balancer"):
        listener.update(default_pool="theirs")
    assert listener.default_pool is None


def test_a_change_is_all_or_nothing(listener):
    with pytest.raises(ConfigError):
        listener.update(name="new", connection_limit=5, timeout_client_data=-1)
    assert (listener.name, listener.connection_limit, listener.updated_at) == ("http", -1, None)


def test_a_misspelt_attribute_is_an_error(anything):
    with pytest.raises(AttributeError):
        anything.wieght = 0


def test_a_create_only_field_cannot_be_assigned(lb, listener, pool, member, monitor):
    for thing, field in (
        (lb, "vip_address"),
        (listener, "protocol"),
        (pool, "protocol"),
        (member, "address"),
        (monitor, "type"),
    ):
        before = getattr(thing, field)
        with pytest.raises(ConfigError, match=r"cannot be changed after creation; delete the object"):
            setattr(thing, field, "10.0.0.1")
        assert getattr(thing, field) == before
    for thing in (lb, listener, pool, member, monitor):
        with pytest.raises(AttributeError):
            thing.id = A_UUID


# Changing.


def test_assigning_is_updating(member):
    member.weight = 0
    assert member.weight == 0
    member.weight = None
    assert member.weight == 1
    member.update(weight=5, backup=True, name="m", tags=["a"])
    assert (member.weight, member.backup, member.name, member.tags) == (5, True, "m", ("a",))
    member.update()
    assert member.weight == 5


def test_every_changeable_field_can_be_assigned(anything):
    for name, rule in rules(type(anything._spec)).items():
        if rule.live:
            setattr(anything, name, getattr(anything, name) if name != "tags" else ["t"])


def test_every_changeable_field_is_an_argument_of_update(anything):
    names = [name for name, rule in rules(type(anything._spec)).items() if rule.live]
    for name in names:
        anything.update(**{name: getattr(anything, name)})


def test_switching_off_by_null(anything):
    anything.admin_state_up = None
    assert anything.admin_state_up is False


def test_the_default_pool_moves(lb, listener, pool):
    other = lb.create_pool(name="other", protocol="HTTP", lb_algorithm="MAGLEV")
    listener.default_pool = other
    assert (pool.listeners, other.listeners) == ((), (listener,))
    listener.default_pool_id = pool.id
    assert (pool.listeners, other.listeners) == ((listener,), ())
    listener.update(default_pool=None)
    assert listener.default_pool is None
    with pytest.raises(ConfigError, match=r"must be the id of default_pool when both are given"):
        listener.update(default_pool=pool, default_pool_id=other.id)


def test_one_pool_serves_several_listeners(lb, pool, listener):
    second = lb.create_listener(protocol="HTTP", protocol_port=81, default_pool=pool)
    assert pool.listeners == (listener, second)


def test_session_persistence_is_changed_by_part(pool):
    pool.session_persistence = {"type": "APP_COOKIE", "cookie_name": "a"}
    pool.update(session_persistence={"cookie_name": "b"})
    assert pool.session_persistence == SessionPersistence(type="APP_COOKIE", cookie_name="b")
    pool.session_persistence = None
    assert pool.session_persistence is None


# Many members at once.


def test_many_members_are_one_change(pool):
    made = pool.create_members(
        [("10.0.0.1", 80), ("10.0.0.2", 80), {"address": "10.0.0.3", "protocol_port": 80, "weight": 5}]
    )
    assert [member.weight for member in made] == [1, 1, 5]
    assert pool.members == tuple(made)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (
            [("10.0.0.1", 80), ("10.0.0.2", 0)],
            ConfigError,
            r"^members\[1\]\.protocol_port=0: must be 1\.\.65535$",
        ),
        ([("10.0.0.1", 80), ("10.0.0.1", 80)], Conflict, r"^members\[1\]\.address: another member"),
        ([("10.0.0.1", 80), ("10.0.0.7", 8080)], Conflict, r"^members\[1\]\.address: another member"),
        ([{"address": "10.0.0.1"}], ConfigError, r"^members\[0\]\.protocol_port: must be given$"),
        ([{"address": "10.0.0.1", "port": 80}], ConfigError, r"^members\[0\]\.port: no such field"),
        (["10.0.0.1:80"], ConfigError, r"^members\[0\]='10.0.0.1:80': must be an \(address, port\) pair"),
        ("10.0.0.1:80", ConfigError, r"^members='10.0.0.1:80': must be a list of pairs or mappings"),
        (None, ConfigError, r"^members=None: must be a list of pairs or mappings"),
    ],
)
def test_of_many_members_all_are_made_or_none(pool, member, rows, error, message):
    with pytest.raises(error, match=message):
        pool.create_members(rows)
    assert pool.members == (member,)


# Finding.


def test_finding_by_id_name_and_address(lb, listener, pool, member):
    assert lb.find_listener("http") is lb.find_listener(listener.id) is listener
    assert lb.find_pool("web") is lb.find_pool(pool.id) is pool
    assert pool.find_member("10.0.0.7:8080") is pool.find_member(member.id) is member
    six = pool.create_member("::1", 80, name="six")
    assert pool.find_member("[::1]:80") is pool.find_member("six") is six


def test_what_is_not_found_is_told_with_what_there_is(lb, pool):
    with pytest.raises(
        NotFound, match=r"^pool 'wbe': not found on load balancer 'web'; there: 'web'$"
    ) as caught:
        lb.find_pool("wbe")
    assert isinstance(caught.value, LookupError)
    with pytest.raises(NotFound, match=r"there: none$"):
        pool.find_member("x")
    lb.create_pool(name="web", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    with pytest.raises(Conflict, match=r"2 on load balancer 'web' have that name; give the id"):
        lb.find_pool("web")


# Deleting.


def test_a_deleted_pool_takes_its_members_and_leaves_its_listener(lb, listener, pool, member, monitor):
    pool.delete()
    assert lb.pools == ()
    assert listener.default_pool is None
    for one in (pool, member, monitor):
        assert one.provisioning_status == "DELETED"
        assert one.operating_status == "OFFLINE"
        with pytest.raises(StateError, match=r"was deleted and can no longer be used$"):
            one.update(name="x")
        with pytest.raises(StateError):
            one.delete()
    with pytest.raises(StateError):
        pool.create_member("10.0.0.8", 80)
    with pytest.raises(StateError):
        member.weight = 3
    with pytest.raises(StateError, match=r"was deleted, and has no status to wait for"):
        member.wait_for(operating_status="ONLINE", timeout=0)
    with pytest.raises(NotFound):
        listener.default_pool = pool


def test_a_deleted_listener_leaves_its_pool(lb, listener, pool):
    listener.delete()
    assert lb.listeners == ()
    assert lb.pools == (pool,)
    assert pool.listeners == ()
    with pytest.raises(StateError):
        listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    lb.create_listener(protocol="HTTP", protocol_port=8080, default_pool=pool)


def test_a_load_balancer_with_children_is_deleted_by_cascade_only(lb, listener, pool, member):
    with pytest.raises(
        ConfigError, match=r"^cascade=False: must be True while load balancer 'web' has 1 listeners"
    ):
        lb.delete()
    assert lb.listeners == (listener,)
    lb.delete(cascade=True)
    for one in (lb, listener, pool, member):
        assert one.provisioning_status == "DELETED"
    for use in (lb.start, lb.delete, lambda: lb.update(name="x"), lambda: pool.create_member("10.0.0.9", 1)):
        with pytest.raises(StateError, match=r"was deleted"):
            use()
    LoadBalancer().delete()


# Statuses before the start.


def test_what_is_only_described_is_pending_and_offline(lb, listener, pool, monitor):
    for one in (lb, listener, pool, monitor):
        assert one.provisioning_status == "PENDING_CREATE"
        assert one.operating_status == "OFFLINE"


def test_members_start_unmonitored_or_offline(pool):
    before = pool.create_member("10.0.0.1", 80)
    monitor = pool.create_health_monitor(type="TCP", delay=1, timeout=1, max_retries=1)
    after = pool.create_member("10.0.0.2", 80)
    # A new monitor leaves the members as they are until it is in force.
    assert (before.operating_status, after.operating_status) == ("NO_MONITOR", "OFFLINE")
    monitor.delete()
    assert (before.operating_status, after.operating_status) == ("NO_MONITOR", "NO_MONITOR")
    before.admin_state_up = False
    assert before.operating_status == "OFFLINE"


def test_waiting_says_what_it_saw(pool, member):
    assert member.wait_for(operating_status="NO_MONITOR", timeout=0) == "NO_MONITOR"
    assert member.wait_for(operating_status=["ONLINE", "NO_MONITOR"], timeout=0) == "NO_MONITOR"
    with pytest.raises(
        WaitTimeout, match=r"^member 10.0.0.7:8080: still NO_MONITOR after 0 s, waited for ONLINE$"
    ) as e:
        member.wait_for(operating_status="ONLINE", timeout=0)
    assert isinstance(e.value, TimeoutError)
    with pytest.raises(ConfigError, match=r"^operating_status='UP': must be one of ONLINE, OFFLINE"):
        member.wait_for(operating_status="UP", timeout=0)
    for nothing in (None, []):
        with pytest.raises(ConfigError, match=r"^operating_status=.*must"):
            member.wait_for(operating_status=nothing, timeout=0)
    with pytest.raises(ConfigError, match=r"^timeout=-1: must be a number of seconds"):
        member.wait_for(operating_status="ONLINE", timeout=-1)


# Showing.


def test_show_has_octavias_keys(lb, listener, pool, member, monitor):
    shown = {thing.LABEL: thing.show() for thing in (lb, listener, pool, member, monitor)}
    common = {"id", "name", "admin_state_up", "tags", "project_id", "tenant_id", "created_at", "updated_at"}
    common |= {"provisioning_status", "operating_status"}
    assert all(common <= body.keys() for body in shown.values())
    assert shown["Load Balancer"]["listeners"] == [{"id": listener.id}]
    assert shown["Load Balancer"]["pools"] == [{"id": pool.id}]
    assert shown["Load Balancer"]["vip_vnic_type"] == "normal"
    assert shown["Listener"]["loadbalancers"] == [{"id": lb.id}]
    assert shown["Listener"]["l7policies"] == []
    assert shown["Listener"]["default_pool_id"] == pool.id
    assert shown["Pool"]["healthmonitor_id"] == monitor.id
    assert shown["Pool"]["members"] == [{"id": member.id}]
    assert shown["Member"]["vnic_type"] == "normal"
    assert "request_sriov" not in shown["Member"]
    assert shown["Health Monitor"]["pools"] == [{"id": pool.id}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", shown["Member"]["created_at"])
    monitor.delete()
    assert "healthmonitor_id" not in pool.show()


def test_status_tree_has_octavias_form(lb, listener, pool, member, monitor):
    lb.create_pool(name="unused", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    pending = {"provisioning_status": "PENDING_CREATE"}
    offline = {"operating_status": "OFFLINE", **pending}
    assert lb.status_tree() == {
        "statuses": {
            "loadbalancer": {
                "id": lb.id,
                "name": "web",
                **offline,
                "listeners": [
                    {
                        "id": listener.id,
                        "name": "http",
                        **offline,
                        "pools": [
                            {
                                "id": pool.id,
                                "name": "web",
                                **offline,
                                "health_monitor": {"id": monitor.id, "name": "", "type": "HTTP", **offline},
                                "members": [
                                    {
                                        "id": member.id,
                                        "name": "",
                                        "operating_status": "NO_MONITOR",
                                        **pending,
                                        "address": "10.0.0.7",
                                        "protocol_port": 8080,
                                    }
                                ],
                            }
                        ],
                    }
                ],
            }
        }
    }


def test_reprs_are_one_line_that_one_can_act_on(lb, listener, pool, member, monitor):
    assert repr(lb) == "<LoadBalancer web 127.0.0.1 OFFLINE (not started) listeners=1 pools=1>"
    assert repr(listener) == "<Listener http HTTP 127.0.0.1:8080 OFFLINE (not started)>"
    assert repr(pool) == "<Pool web HTTP ROUND_ROBIN OFFLINE (not started) members=1/1>"
    assert repr(member) == "<Member 10.0.0.7:8080 weight=3 NO_MONITOR (not started)>"
    assert repr(monitor) == "<HealthMonitor HTTP GET / expects 200 every 5s OFFLINE (not started)>"
    six = pool.create_member("::1", 80, name="six", backup=True)
    assert repr(six) == "<Member six [::1]:80 weight=1 OFFLINE (not started) backup>"
    member.delete()
    assert repr(member) == "<Member 10.0.0.7:8080 weight=3 OFFLINE (DELETED)>"
    assert repr(LoadBalancer(vip_subnet_id=A_UUID)).startswith("<LoadBalancer (no address)")
    assert repr(fastlb.Engine(workers=2)) == "<Engine stopped workers=2 load_balancers=0>"


def test_stats_of_what_never_ran_are_zero(lb, listener, pool, member):
    figures = lb.stats.to_dict()
    assert figures.pop("refusals") == {}
    assert set(figures.values()) == set(member.stats.to_dict().values()) == {0}
    assert listener.stats.octavia() == {
        "bytes_in": 0,
        "bytes_out": 0,
        "active_connections": 0,
        "total_connections": 0,
        "request_errors": 0,
    }
    assert set(pool.stats.to_dict().values()) == {0}


# The start's own refusals.

NOT_YET = [
    ({"protocol": "UDP"}, "protocol='UDP'"),
    ({"protocol": "SCTP"}, "protocol='SCTP'"),
    ({"protocol": "PROMETHEUS", "default_tls_container_ref": "x"}, "default_tls_container_ref='x'"),
    ({"protocol": "PROMETHEUS", "sni_container_refs": ["x"]}, "sni_container_refs=['x']"),
    ({"protocol": "TERMINATED_HTTPS", "default_tls_container_ref": "x"}, "protocol='TERMINATED_HTTPS'"),
]
POOLS_NOT_YET = [
    ({"protocol": "PROXY"}, "protocol='PROXY'"),
    ({"protocol": "PROXYV2"}, "protocol='PROXYV2'"),
    ({"protocol": "UDP"}, "protocol='UDP'"),
    ({"protocol": "SCTP"}, "protocol='SCTP'"),
    ({"protocol": "HTTP", "tls_enabled": True}, "tls_enabled=True"),
]
MONITORS_NOT_YET = ["HTTPS", "TLS-HELLO"]


def refuses_to_start(lb, message):
    with pytest.raises(NotSupported, match=re.escape(message) + ".*does not forward it yet") as caught:
        lb.start()
    assert isinstance(caught.value, NotImplementedError)
    assert lb.provisioning_status == "PENDING_CREATE"
    assert not lb.started


@pytest.mark.parametrize(("fields", "message"), NOT_YET)
def test_a_listener_that_does_not_forward_yet_is_an_error_at_the_start(lb, fields, message):
    lb.create_listener(protocol_port=0, **fields)
    refuses_to_start(lb, message)


@pytest.mark.parametrize(("fields", "message"), POOLS_NOT_YET)
def test_a_pool_that_does_not_forward_yet_is_an_error_at_the_start(lb, fields, message):
    lb.create_pool(lb_algorithm="ROUND_ROBIN", **fields)
    refuses_to_start(lb, message)


@pytest.mark.parametrize("kind", MONITORS_NOT_YET)
def test_a_monitor_that_does_not_probe_yet_is_an_error_at_the_start(lb, pool, kind):
    pool.create_health_monitor(type=kind, delay=5, timeout=5, max_retries=1)
    refuses_to_start(lb, f"type='{kind}'")


def test_an_address_must_be_known_to_start():
    with pytest.raises(ConfigError, match=r"^vip_address=None: must be given to start"):
        LoadBalancer(vip_subnet_id=A_UUID).start()
    with pytest.raises(ConfigError, match=r"^additional_vips\[0\]\.ip_address=None: must be given to start"):
        LoadBalancer(vip_address="::1", additional_vips=[{"subnet_id": A_UUID}]).start()
    many = [{"ip_address": f"127.0.1.{i}"} for i in range(16)]
    with pytest.raises(ConfigError, match=r"^additional_vips=16: must be 15 at most to start"):
        LoadBalancer(additional_vips=many).start()


def test_what_was_never_started_stops_and_closes_in_peace(lb):
    lb.stop()
    lb.stop(0)
    lb.close()
    lb.close()
    with pytest.raises(StateError, match=r"is closed$"):
        lb.start()
    with pytest.raises(StateError, match=r"is closed$"):
        lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    assert lb.to_dict()


@pytest.mark.parametrize("value", ["engine", 2])
def test_an_engine_is_an_engine(value):
    with pytest.raises(ConfigError, match=r"must be a fastlb.Engine"):
        LoadBalancer(engine=value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, r"^workers=0: must be 1\.\.128$"),
        ({"workers": 129}, r"^workers=129: must be 1\.\.128$"),
        ({"workers": "2"}, "^workers='2': must be an integer"),
        ({"cpus": []}, "must not be empty"),
        ({"cpus": [40000]}, "^cpus=40000: must be among the CPUs this process may use"),
        ({"cpus": 1}, "must be a list of CPU numbers"),
    ],
)
def test_an_engine_refuses(arguments, message):
    with pytest.raises(ConfigError, match=message):
        fastlb.Engine(**arguments)


def test_a_callback_can_be_called(lb):
    with pytest.raises(ConfigError, match=r"^callback='x': must be callable"):
        lb.on_status("x")


# Errors.


def test_every_error_is_ours():
    for name in (
        "ConfigError",
        "NotFound",
        "Conflict",
        "CoreError",
        "BindError",
        "NotSupported",
        "StateError",
    ):
        assert issubclass(getattr(fastlb, name), FastLBError)
    assert issubclass(BindError, (fastlb.CoreError, OSError))


def test_errors_survive_copies_and_pickles():
    for error in (
        BindError(98, "Address already in use", "127.0.0.1", 80),
        ConfigError("weight", 300, "must be 0..256"),
        fastlb.errors.MissingField("address"),
        fastlb.errors.UnknownField("x"),
        NotFound("pool 'x': not found"),
    ):
        for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert type(again) is type(error)
            assert str(again) == str(error)


def test_a_bind_error_says_where_why_and_what_to_do():
    error = BindError(98, "Address already in use", "::1", 80)
    assert (error.errno, error.address, error.port) == (98, "::1", 80)
    assert str(error) == (
        "cannot listen on [::1]:80: Address already in use "
        "(something else listens there; `ss -ltnp 'sport = :80'` shows what)"
    )
    denied = str(BindError(13, "Permission denied", "127.0.0.1", 80))
    assert "CAP_NET_BIND_SERVICE" in denied
    assert "`sysctl net.ipv4.ip_unprivileged_port_start=80`" in denied


def test_a_long_value_is_cut_in_a_message():
    assert len(str(ConfigError("name", "x" * 10_000, "must be short"))) < 120
