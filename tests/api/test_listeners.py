# SPDX-License-Identifier: Apache-2.0
"""`/listeners`: created, shown, changed, deleted, refused; and what their fields promise to traffic."""

import socket

import pytest

from fastlb.api.call import Caller
from fastlb.testing import Client, Member, eventually, named, unused_port

NOWHERE = "99000000-0000-4000-8000-000000000009"
DEFAULTS = {
    "name": "",
    "description": "",
    "admin_state_up": True,
    "connection_limit": -1,
    "default_tls_container_ref": None,
    "sni_container_refs": [],
    "default_pool_id": None,
    "l7policies": [],
    "insert_headers": {},
    "timeout_client_data": 50000,
    "timeout_member_connect": 5000,
    "timeout_member_data": 50000,
    "timeout_tcp_inspect": 0,
    "tags": [],
    "client_ca_tls_container_ref": None,
    "client_authentication": "NONE",
    "client_crl_container_ref": None,
    "allowed_cidrs": None,
    "tls_ciphers": None,
    "tls_versions": None,
    "alpn_protocols": None,
    "hsts_max_age": None,
    "hsts_include_subdomains": False,
    "hsts_preload": False,
}


@pytest.fixture
def lb(api):
    return api.load_balancer(vip_address="127.0.0.1", project_id="p1")["id"]


def listener(api, lb, **fields):
    return api.post(
        "/listeners",
        listener={"loadbalancer_id": lb, "protocol": "HTTP", "protocol_port": unused_port(), **fields},
    )


def pool(api, lb, *members, **fields):
    made = api.post(
        "/pools", pool={"loadbalancer_id": lb, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", **fields}
    )
    for member in members:
        body = {"address": member.address, "protocol_port": member.port}
        api.post(f"/pools/{made['id']}/members", member=body)
    return made["id"]


def test_a_new_listener_is_answered_as_octavia_answers(api, lb):
    port = unused_port()
    made = listener(api, lb, protocol_port=port)
    identity = {name: made.pop(name) for name in ("id", "created_at", "project_id", "tenant_id")}
    assert identity["project_id"] == identity["tenant_id"] == "p1"
    assert made == DEFAULTS | {
        "protocol": "HTTP",
        "protocol_port": port,
        "loadbalancers": [{"id": lb}],
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "updated_at": None,
    }
    shown = api.get(f"/listeners/{identity['id']}")
    assert shown == made | identity | {"provisioning_status": "ACTIVE", "operating_status": "ONLINE"}


def test_a_listener_serves_when_it_is_answered(api, lb):
    with Member(named("one")) as member:
        port = unused_port()
        listener(api, lb, protocol_port=port, default_pool_id=pool(api, lb, member))
        assert Client("127.0.0.1", port).get().body == b"one"


def test_a_listener_takes_what_the_cli_sends(api, lb):
    made = listener(api, lb, connection_limit="100", admin_state_up=True, project_id=None, l7policies=[])
    assert made["connection_limit"] == 100


def test_a_listener_belongs_to_its_load_balancers_project(api, lb):
    assert listener(api, lb, project_id="other", tenant_id="other")["project_id"] == "p1"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"protocol": "http"},
            "Value should be one of: HTTP, HTTPS, PROMETHEUS, SCTP, TCP, TERMINATED_HTTPS, UDP",
        ),
        ({"protocol_port": 0}, "Value should be greater or equal to 1"),
        ({"protocol_port": 65536}, "Value should be lower or equal to 65535"),
        ({"connection_limit": -2}, "Value should be greater or equal to -1"),
        ({"timeout_client_data": 2073600001}, "Value should be lower or equal to 2073600000"),
        ({"name": "x" * 256}, "Value should have a maximum character requirement of 255"),
        ({"tags": [1]}, "Invalid input for field/attribute tags[0]. Value: '1'. Value should be string"),
        ({"default_pool_id": "front"}, "Value should be UUID format"),
        ({"insert_headers": {"X-Colour": "true"}}, "['X-Colour'] is not a valid option for insert_headers"),
        ({"insert_headers": ["X-Forwarded-For"]}, "Value not a valid dict: ['X-Forwarded-For']"),
        ({"insert_headers": {"X-Forwarded-For": True}}, "Value should be string"),
        (
            {"insert_headers": {"X-SSL-Issuer": "true"}},
            "['X-SSL-Issuer'] is not a valid option for HTTP protocol listener.",
        ),
        ({"allowed_cidrs": ["x"]}, "Value should be IPv4 or IPv6 CIDR format"),
        (
            {"allowed_cidrs": ["2001:db8::/32"]},
            "CIDR 2001:db8::/32 IP version incompatible with all VIPs ['127.0.0.1'] IP version.",
        ),
        (
            {"hsts_max_age": 1},
            "The HSTS feature can only be used for listeners using the TERMINATED_HTTPS protocol.",
        ),
        (
            {"hsts_preload": True},
            "HSTS configuration options hsts_include_subdomains and hsts_preload only make sense if hsts_max_age is "
            "set as well.",
        ),
        (
            {"client_authentication": "OPTIONAL"},
            "Client authentication setting OPTIONAL requires a client CA container reference.",
        ),
        (
            {"client_crl_container_ref": "x"},
            "A client authentication CA reference is required to specify a client authentication revocation list.",
        ),
        (
            {"default_tls_container_ref": "x"},
            "Certificate container references are not allowed on HTTP protocol listeners.",
        ),
        (
            {"tls_ciphers": "bad cipher"},
            "Invalid characters in cipher string. Only alphanumeric, -, +, !, :, @, =, _, and . are allowed.",
        ),
        ({"alpn_protocols": ["spdy"]}, "Value should be a valid ALPN protocol ID"),
        ({"protocol_port": "x"}, "Value must be an integer"),
        ({"loadbalancers": []}, "Unknown attribute for argument listener_.listener: loadbalancers"),
        ({"default_pool": {"name": "p"}}, "default_pool can only be given where a load balancer is created"),
        (
            {"l7policies": [{"action": "REJECT"}]},
            "l7policies can only be given where a load balancer is created",
        ),
    ],
)
def test_what_is_refused(api, lb, fields, text):
    body = {"loadbalancer_id": lb, "protocol": "HTTP", "protocol_port": 8080} | fields
    assert text in api.refused("POST", "/listeners", 400, listener=body)
    assert api.get("/listeners") == []


@pytest.mark.parametrize("missing", ["protocol", "protocol_port", "loadbalancer_id"])
def test_what_must_be_given(api, lb, missing):
    body = {"loadbalancer_id": lb, "protocol": "HTTP", "protocol_port": 8080}
    del body[missing]
    assert api.refused("POST", "/listeners", 400, listener=body) == (
        f"Invalid input for field/attribute {missing}. Value: 'None'. Mandatory field missing."
    )


@pytest.mark.parametrize(
    ("given", "status", "text"),
    [
        (NOWHERE, 404, f"Load Balancer {NOWHERE} not found."),
        (None, 404, "Load Balancer None not found."),
        ("front", 400, "Value should be UUID format"),
        (7, 400, "Value should be UUID format"),
    ],
)
def test_the_load_balancer_must_be_there(api, given, status, text):
    body = {"loadbalancer_id": given, "protocol": "HTTP", "protocol_port": 8080}
    assert api.refused("POST", "/listeners", status, listener=body).endswith(text)


def test_a_field_of_the_wrong_form_is_told_before_a_missing_load_balancer(api):
    body = {"loadbalancer_id": NOWHERE, "protocol": "SPDY", "protocol_port": 8080}
    assert "field/attribute protocol." in api.refused("POST", "/listeners", 400, listener=body)


def test_a_port_is_one_listeners_of_its_transport(api, lb):
    port = unused_port()
    listener(api, lb, protocol_port=port)
    body = {"loadbalancer_id": lb, "protocol": "TCP", "protocol_port": port}
    assert api.refused("POST", "/listeners", 409, listener=body) == (
        f"Another Listener on this Load Balancer is already using protocol HTTP and protocol_port {port}"
    )
    listener(api, api.load_balancer(vip_address="127.0.0.2")["id"], protocol_port=port)


def test_a_pool_of_another_load_balancer_is_not_found(api, lb):
    other = pool(api, api.load_balancer(vip_address="127.0.0.1")["id"])
    body = {"loadbalancer_id": lb, "protocol": "HTTP", "protocol_port": 8080}
    for pool_id in (other, NOWHERE):
        text = f"Pool {pool_id} not found."
        assert api.refused("POST", "/listeners", 404, listener=body | {"default_pool_id": pool_id}) == text
    path = f"/listeners/{listener(api, lb)['id']}"
    assert api.refused("PUT", path, 404, listener={"default_pool_id": other}) == f"Pool {other} not found."


def test_a_pool_must_suit_the_listener(api, lb):
    tcp = pool(api, lb, protocol="TCP")
    text = "Validation failure: The pool protocol 'TCP' is invalid while the listener protocol is 'HTTP'."
    body = {"loadbalancer_id": lb, "protocol": "HTTP", "protocol_port": 8080}
    assert api.refused("POST", "/listeners", 400, listener=body | {"default_pool_id": tcp}) == text
    path = f"/listeners/{listener(api, lb)['id']}"
    assert api.refused("PUT", path, 400, listener={"default_pool_id": tcp}) == text


def test_an_update_changes_what_it_names_and_null_resets(api, lb):
    made = listener(api, lb, name="a", timeout_client_data=1000, tags=["one"], allowed_cidrs=["10.0.0.5/8"])
    path = f"/listeners/{made['id']}"
    assert made["allowed_cidrs"] == ["10.0.0.0/8"]
    changed = api.put(path, listener={"connection_limit": 7, "insert_headers": {"X-Forwarded-For": "true"}})
    assert changed["provisioning_status"] == "PENDING_UPDATE"
    assert changed["operating_status"] == "ONLINE"
    assert changed["updated_at"] is not None
    assert (changed["connection_limit"], changed["name"], changed["timeout_client_data"]) == (7, "a", 1000)
    assert api.get(path) == changed | {"provisioning_status": "ACTIVE"}
    reset = dict.fromkeys(
        ["name", "connection_limit", "insert_headers", "timeout_client_data", "allowed_cidrs", "tags"]
    )
    shown = api.put(path, listener=reset)
    assert shown["tags"] == ["one"], "a null of tags changes nothing"
    for name in reset.keys() - {"tags"}:
        assert shown[name] == DEFAULTS[name], name
    assert api.put(path, listener={"admin_state_up": None})["admin_state_up"] is False


@pytest.mark.parametrize(
    "field", ["protocol", "protocol_port", "loadbalancer_id", "project_id", "l7policies"]
)
def test_an_update_cannot_change_these(api, lb, field):
    path = f"/listeners/{listener(api, lb)['id']}"
    text = f"Unknown attribute for argument listener_.listener: {field}"
    assert api.refused("PUT", path, 400, listener={field: None}) == text


def test_an_update_that_is_refused_changes_nothing(api, lb):
    made = listener(api, lb, name="a")
    path = f"/listeners/{made['id']}"
    api.refused("PUT", path, 400, listener={"name": "b", "connection_limit": -9})
    assert api.get(path)["name"] == "a"


def test_another_default_pool_takes_the_traffic(api, lb):
    with Member(named("one")) as one, Member(named("two")) as two:
        first, second = pool(api, lb, one), pool(api, lb, two)
        made = listener(api, lb, default_pool_id=first)
        path, client = f"/listeners/{made['id']}", Client("127.0.0.1", made["protocol_port"])
        assert client.get().body == b"one"
        api.put(path, listener={"default_pool_id": second})
        assert client.get().body == b"two"
        assert api.get(f"/pools/{second}")["listeners"] == [{"id": made["id"]}]
        api.put(path, listener={"default_pool_id": None})
        assert client.get().status == 503
        assert api.get(f"/pools/{second}")["listeners"] == []


def test_what_is_inserted_reaches_the_member(api, lb):
    with Member(named("one")) as member:
        made = listener(
            api, lb, default_pool_id=pool(api, lb, member), insert_headers={"X-Forwarded-Port": "true"}
        )
        Client("127.0.0.1", made["protocol_port"]).get()
        (got,) = member.requests
        assert got.get("X-Forwarded-Port") == str(made["protocol_port"])


def test_networks_that_are_not_allowed_are_not_served(api, lb):
    with Member(named("one")) as member:
        made = listener(api, lb, default_pool_id=pool(api, lb, member), allowed_cidrs=["192.0.2.0/24"])
        client = Client("127.0.0.1", made["protocol_port"])
        with client.connect():
            # Whether it hears of it is the system's affair; it is counted.
            eventually(lambda: api.controller.get("listener", made["id"]).stats.denied == 1)
        assert member.connections == []
        api.put(f"/listeners/{made['id']}", listener={"allowed_cidrs": ["192.0.2.0/24", "127.0.0.1"]})
        assert client.get().body == b"one"


def test_a_listener_that_is_switched_off_closes_its_port(api, lb):
    with Member(named("one")) as member:
        made = listener(api, lb, default_pool_id=pool(api, lb, member), admin_state_up=False)
        path, client = f"/listeners/{made['id']}", Client("127.0.0.1", made["protocol_port"])
        with pytest.raises(ConnectionRefusedError):
            client.get()
        assert api.get(path)["operating_status"] == "OFFLINE"
        api.put(path, listener={"admin_state_up": True})
        assert client.get().body == b"one"


def test_a_listener_whose_port_is_taken_is_in_error_and_can_be_changed_and_deleted(api, lb):
    with socket.create_server(("127.0.0.1", 0)) as other, Member(named("one")) as member:
        port = other.getsockname()[1]
        made = listener(api, lb, protocol_port=port, default_pool_id=pool(api, lb, member))
        path = f"/listeners/{made['id']}"
        shown = api.get(path)
        assert (shown["provisioning_status"], shown["operating_status"]) == ("ERROR", "ERROR")
        assert api.get(f"/loadbalancers/{lb}")["provisioning_status"] == "ACTIVE"
        other.close()
        api.put(path, listener={"name": "again"})
        eventually(lambda: api.get(path)["provisioning_status"] == "ACTIVE")
        assert Client("127.0.0.1", port).get().body == b"one"
    with socket.create_server(("127.0.0.1", 0)) as other:
        made = listener(api, lb, protocol_port=other.getsockname()[1])
        api.delete(f"/listeners/{made['id']}")


def test_deleting_a_listener_closes_its_port_and_leaves_its_pool(api, lb):
    with Member(named("one")) as member:
        made = listener(api, lb, default_pool_id=pool(api, lb, member))
        policy = {"listener_id": made["id"], "action": "REJECT"}
        policy = api.post("/l7policies", l7policy=policy)
        assert api.get(f"/listeners/{made['id']}")["l7policies"] == [{"id": policy["id"]}]
        assert api.call("DELETE", f"/listeners/{made['id']}", expect=204).content == b""
        with pytest.raises(ConnectionRefusedError):
            Client("127.0.0.1", made["protocol_port"]).get()
        assert api.refused("GET", f"/listeners/{made['id']}", 404) == f"Listener {made['id']} not found."
        api.refused("GET", f"/l7policies/{policy['id']}", 404)
        assert len(api.get("/pools")) == 1
        assert api.get(f"/loadbalancers/{lb}")["listeners"] == []


def test_stats_of_one_listener(api, lb):
    with Member(named("one")) as member:
        pool_id = pool(api, lb, member)
        made, idle = listener(api, lb, default_pool_id=pool_id), listener(api, lb, default_pool_id=pool_id)
        Client("127.0.0.1", made["protocol_port"]).get()
        stats = eventually(lambda: api.get(f"/listeners/{made['id']}/stats"))
        assert stats["total_connections"] == 1
        assert sorted(stats) == [
            "active_connections",
            "bytes_in",
            "bytes_out",
            "request_errors",
            "total_connections",
        ]
        assert api.get(f"/listeners/{idle['id']}/stats")["total_connections"] == 0


def test_lists_by_load_balancer_under_both_names(api, lb):
    mine = listener(api, lb, name="mine", tags=["red"])
    other = api.load_balancer(vip_address="127.0.0.2")["id"]
    listener(api, other, name="theirs")
    for name in ("loadbalancer_id", "load_balancer_id"):
        assert [row["name"] for row in api.get("/listeners", **{name: other})] == ["theirs"]
    assert [row["name"] for row in api.get("/listeners", protocol_port=mine["protocol_port"])] == ["mine"]
    assert [row["name"] for row in api.get("/listeners", tags="red", protocol="HTTP")] == ["mine"]
    assert api.get("/listeners", protocol="http") == []
    assert api.get("/listeners", default_pool_id=NOWHERE) == []
    for name, value in mine.items():
        if isinstance(value, str | int) and name not in ("tenant_id", *STATUSES):
            assert mine["id"] in [row["id"] for row in api.get("/listeners", **{name: value})], name


STATUSES = ("provisioning_status", "operating_status")


def test_rights(api, lb):
    mine = listener(api, lb)
    path = f"/listeners/{mine['id']}"
    new = {"loadbalancer_id": lb, "protocol": "HTTP", "protocol_port": unused_port()}
    denied = "Policy does not allow this request to be performed."
    for caller, may in [
        (Caller(project_id="p2"), False),
        (Caller(project_id="p1", writes=False), False),
        (Caller(project_id="p1"), True),
        (Caller(project_id="p2", admin=True), True),
    ]:
        api.called_by(caller)
        reads = caller.may_read("p1")
        for where in (path, f"{path}/stats"):
            assert api.call("GET", where).status_code == (200 if reads else 403)
        assert len(api.get("/listeners")) == (1 if reads else 0)
        if may:
            api.put(path, listener={"name": "x"})
            api.delete(f"/listeners/{api.post('/listeners', listener=new)['id']}")
        else:
            assert api.refused("PUT", path, 403, listener={"name": "x"}) == denied
            assert api.refused("POST", "/listeners", 403, listener=new) == denied
            assert api.refused("DELETE", path, 403) == denied
