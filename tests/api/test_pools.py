# SPDX-License-Identifier: Apache-2.0
"""`/pools`: created on a load balancer or for a listener, shown, changed, deleted, refused; and their traffic."""

import pytest

from fastlb.api.call import Caller
from fastlb.testing import Client, Member, named, unused_port

NOWHERE = "99000000-0000-4000-8000-000000000009"


@pytest.fixture
def lb(api):
    return api.load_balancer(vip_address="127.0.0.1", project_id="p1")["id"]


def listener(api, lb, **fields):
    body = {"loadbalancer_id": lb, "protocol": "HTTP", "protocol_port": unused_port(), **fields}
    return api.post("/listeners", listener=body)


def new(**fields):
    return {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", **fields}


def pool(api, **fields):
    return api.post("/pools", pool=new(**fields))


def members(api, pool_id, *members):
    for member in members:
        api.post(
            f"/pools/{pool_id}/members", member={"address": member.address, "protocol_port": member.port}
        )


def test_a_new_pool_is_answered_as_octavia_answers(api, lb):
    made = pool(api, loadbalancer_id=lb)
    identity = {name: made.pop(name) for name in ("id", "created_at", "project_id", "tenant_id")}
    assert identity["project_id"] == identity["tenant_id"] == "p1"
    # No healthmonitor_id: Octavia leaves the key out when there is none.
    assert made == {
        "name": "",
        "description": "",
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "admin_state_up": True,
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "session_persistence": None,
        "loadbalancers": [{"id": lb}],
        "listeners": [],
        "updated_at": None,
        "members": [],
        "tags": [],
        "tls_container_ref": None,
        "ca_tls_container_ref": None,
        "crl_container_ref": None,
        "tls_enabled": False,
        "tls_ciphers": None,
        "tls_versions": None,
        "alpn_protocols": None,
    }
    assert api.get(f"/pools/{identity['id']}") == made | identity | {"provisioning_status": "ACTIVE"}


def test_the_monitor_is_named_when_there_is_one(api, lb):
    made = pool(api, loadbalancer_id=lb)
    monitor = {"pool_id": made["id"], "type": "TCP", "delay": 1, "timeout": 1, "max_retries": 1}
    monitor = api.post("/healthmonitors", healthmonitor=monitor)
    assert api.get(f"/pools/{made['id']}")["healthmonitor_id"] == monitor["id"]
    api.delete(f"/healthmonitors/{monitor['id']}")
    assert "healthmonitor_id" not in api.get(f"/pools/{made['id']}")


@pytest.mark.parametrize("both", [True, False])
def test_a_pool_for_a_listener_gets_its_traffic(api, lb, both):
    front = listener(api, lb)
    parents = {"listener_id": front["id"]} | ({"loadbalancer_id": lb} if both else {})
    made = pool(api, **parents)
    assert made["listeners"] == [{"id": front["id"]}]
    assert made["loadbalancers"] == [{"id": lb}]
    assert api.get(f"/listeners/{front['id']}")["default_pool_id"] == made["id"]
    with Member(named("one")) as one, Member(named("two")) as two:
        members(api, made["id"], one, two)
        client = Client("127.0.0.1", front["protocol_port"])
        assert {client.get().body for _ in range(4)} == {b"one", b"two"}
        assert len(api.get(f"/pools/{made['id']}")["members"]) == 2


@pytest.mark.parametrize(
    "parents", [{}, {"loadbalancer_id": None}, {"listener_id": None, "loadbalancer_id": None}]
)
def test_a_pool_needs_a_load_balancer_or_a_listener(api, parents):
    assert api.refused("POST", "/pools", 400, pool=new(**parents)) == (
        "Validation failure: Must provide at least one of: loadbalancer_id, listener_id"
    )


def test_what_the_pool_is_for_must_be_there(api, lb):
    front = listener(api, lb)
    other = api.load_balancer(vip_address="127.0.0.2")["id"]
    for parents, text in [
        ({"loadbalancer_id": NOWHERE}, f"Load Balancer {NOWHERE} not found."),
        ({"listener_id": NOWHERE}, f"Listener {NOWHERE} not found."),
        ({"loadbalancer_id": lb, "listener_id": NOWHERE}, f"Listener {NOWHERE} not found."),
        ({"loadbalancer_id": other, "listener_id": front["id"]}, f"Listener {front['id']} not found."),
    ]:
        assert api.refused("POST", "/pools", 404, pool=new(**parents)) == text
    assert "Value should be UUID format" in api.refused("POST", "/pools", 400, pool=new(listener_id="front"))
    assert api.get("/pools") == []


def test_a_listener_has_one_default_pool(api, lb):
    front = listener(api, lb)
    pool(api, listener_id=front["id"])
    text = "This listener already has a default pool"
    assert api.refused("POST", "/pools", 409, pool=new(listener_id=front["id"])) == text
    assert len(api.get("/pools")) == 1


def test_the_protocol_must_suit_the_listener(api, lb):
    front = listener(api, lb)
    text = "Validation failure: The pool protocol 'TCP' is invalid while the listener protocol is 'HTTP'."
    for parents in ({}, {"loadbalancer_id": lb}):
        body = new(listener_id=front["id"], **parents) | {"protocol": "TCP"}
        assert api.refused("POST", "/pools", 400, pool=body) == text
    front = listener(api, lb, protocol="PROMETHEUS")
    text = "Protocol PROMETHEUS listeners cannot have child objects."
    assert api.refused("POST", "/pools", 400, pool=new(listener_id=front["id"])) == text


ONLY_COOKIE = 'Field "cookie_name" can only be specified with session persistence of type "APP_COOKIE".'


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"protocol": "TERMINATED_HTTPS"},
            "Value should be one of: HTTP, HTTPS, PROXY, PROXYV2, SCTP, TCP, UDP",
        ),
        (
            {"lb_algorithm": "round_robin"},
            "field/attribute lb_algorithm. Value: 'round_robin'. Value should be one of",
        ),
        ({"lb_algorithm": None}, "lb_algorithm"),
        ({"protocol": None}, "protocol"),
        ({"name": 3}, "Value should be string"),
        ({"tls_enabled": "perhaps"}, "Value not an unambiguous boolean: perhaps"),
        ({"project_id": "p" * 37}, "maximum character requirement of 36"),
        ({"healthmonitor_id": NOWHERE}, "Unknown attribute for argument pool_.pool: healthmonitor_id"),
        (
            {"members": [{"address": "192.0.2.1"}]},
            "members can only be given where a load balancer is created",
        ),
        (
            {"healthmonitor": {"type": "TCP"}},
            "healthmonitor can only be given where a load balancer is created",
        ),
        ({"session_persistence": {}}, "type. Value: 'None'. Mandatory field missing."),
        ({"session_persistence": []}, "Value must be an object"),
        ({"session_persistence": {"type": "STICKY"}}, "should be one of: APP_COOKIE, HTTP_COOKIE, SOURCE_IP"),
        (
            {"session_persistence": {"type": "APP_COOKIE", "cookie_name": "a=b"}},
            'Supplied "cookie_name" is invalid.',
        ),
        ({"session_persistence": {"type": "APP_COOKIE"}}, 'Field "cookie_name" must be specified'),
        ({"session_persistence": {"type": "SOURCE_IP", "cookie_name": "sid"}}, ONLY_COOKIE),
        (
            {"session_persistence": {"type": "SOURCE_IP", "persistence_timeout": 60}},
            "persistence_timeout and persistence_granularity is only for UDP and SCTP protocol pools.",
        ),
        (
            {"crl_container_ref": "x"},
            "A CA certificate reference is required to specify a revocation list.",
        ),
    ],
)
def test_what_is_refused(api, lb, fields, text):
    assert text in api.refused("POST", "/pools", 400, pool=new(loadbalancer_id=lb) | fields)
    assert api.get("/pools") == []


@pytest.mark.parametrize("missing", ["protocol", "lb_algorithm"])
def test_what_must_be_given(api, lb, missing):
    body = new(loadbalancer_id=lb)
    del body[missing]
    assert api.refused("POST", "/pools", 400, pool=body) == (
        f"Invalid input for field/attribute {missing}. Value: 'None'. Mandatory field missing."
    )


def test_empty_children_are_none(api, lb):
    made = pool(api, loadbalancer_id=lb, members=[], healthmonitor=None)
    assert made["members"] == []


def test_an_update_changes_what_it_names_and_null_resets(api, lb):
    made = pool(api, loadbalancer_id=lb, name="a", session_persistence={"type": "SOURCE_IP"})
    persistence = {
        "type": "SOURCE_IP",
        "cookie_name": None,
        "persistence_timeout": None,
        "persistence_granularity": None,
    }
    assert made["session_persistence"] == persistence
    path = f"/pools/{made['id']}"
    changed = api.put(path, pool={"lb_algorithm": "LEAST_CONNECTIONS", "tls_enabled": False})
    assert changed["provisioning_status"] == "PENDING_UPDATE"
    assert (changed["name"], changed["lb_algorithm"]) == ("a", "LEAST_CONNECTIONS")
    assert api.get(path) == changed | {"provisioning_status": "ACTIVE"}
    shown = api.put(path, pool={"name": None, "session_persistence": None})
    assert (shown["name"], shown["session_persistence"]) == ("", None)
    for field in ("lb_algorithm", "tls_enabled"):
        api.refused("PUT", path, 400, pool={field: None})
    assert api.put(path, pool={})["lb_algorithm"] == "LEAST_CONNECTIONS"


@pytest.mark.parametrize(
    "field", ["protocol", "loadbalancer_id", "listener_id", "members", "healthmonitor", "id"]
)
def test_an_update_cannot_change_these(api, lb, field):
    path = f"/pools/{pool(api, loadbalancer_id=lb)['id']}"
    text = f"Unknown attribute for argument pool_.pool: {field}"
    assert api.refused("PUT", path, 400, pool={field: None}) == text


def test_session_persistence_is_kept_by_the_traffic(api, lb):
    front = listener(api, lb)
    made = pool(api, listener_id=front["id"], session_persistence={"type": "HTTP_COOKIE"})
    with Member(named("one")) as one, Member(named("two")) as two:
        members(api, made["id"], one, two)
        client = Client("127.0.0.1", front["protocol_port"])
        first = client.get()
        cookie = first.get("Set-Cookie").partition(";")[0]
        assert cookie.startswith("SRV=")
        assert {client.request(fields=[("Cookie", cookie)]).body for _ in range(6)} == {first.body}
        api.put(f"/pools/{made['id']}", pool={"session_persistence": None})
        assert {client.request(fields=[("Cookie", cookie)]).body for _ in range(6)} == {b"one", b"two"}


def test_an_algorithm_changes_under_traffic(api, lb):
    front = listener(api, lb)
    made = pool(api, listener_id=front["id"])
    with Member(named("one")) as one, Member(named("two")) as two:
        members(api, made["id"], one, two)
        client = Client("127.0.0.1", front["protocol_port"])
        assert {client.get().body for _ in range(6)} == {b"one", b"two"}
        api.put(f"/pools/{made['id']}", pool={"lb_algorithm": "SOURCE_IP"})
        assert len({client.get().body for _ in range(6)}) == 1


def test_a_pool_that_is_switched_off_answers_503(api, lb):
    front = listener(api, lb)
    made = pool(api, listener_id=front["id"])
    with Member(named("one")) as one:
        members(api, made["id"], one)
        client = Client("127.0.0.1", front["protocol_port"])
        assert client.get().body == b"one"
        api.put(f"/pools/{made['id']}", pool={"admin_state_up": False})
        assert api.get(f"/pools/{made['id']}")["operating_status"] == "OFFLINE"
        assert client.get().status == 503


def test_deleting_a_pool_takes_it_from_its_listener_with_all_that_is_on_it(api, lb):
    front = listener(api, lb)
    made = pool(api, listener_id=front["id"])
    monitor = {"pool_id": made["id"], "type": "TCP", "delay": 1, "timeout": 1, "max_retries": 1}
    monitor = api.post("/healthmonitors", healthmonitor=monitor)
    with Member(named("one")) as one:
        members(api, made["id"], one)
        assert api.call("DELETE", f"/pools/{made['id']}", expect=204).content == b""
        assert Client("127.0.0.1", front["protocol_port"]).get().status == 503
    assert api.get(f"/listeners/{front['id']}")["default_pool_id"] is None
    assert api.refused("GET", f"/pools/{made['id']}", 404) == f"Pool {made['id']} not found."
    api.refused("GET", f"/healthmonitors/{monitor['id']}", 404)


def test_a_pool_that_a_policy_leads_to_is_not_deleted(api, lb):
    front = listener(api, lb)
    made = pool(api, loadbalancer_id=lb)
    policy = {"listener_id": front["id"], "action": "REDIRECT_TO_POOL", "redirect_pool_id": made["id"]}
    policy = api.post("/l7policies", l7policy=policy)
    text = f"Pool {made['id']} is in use by L7 policy {policy['id']}"
    assert api.refused("DELETE", f"/pools/{made['id']}", 409) == text
    api.delete(f"/l7policies/{policy['id']}")
    api.delete(f"/pools/{made['id']}")


def test_lists_by_load_balancer_and_by_what_is_shown(api, lb):
    mine = pool(api, loadbalancer_id=lb, name="mine")
    other = api.load_balancer(vip_address="127.0.0.1")["id"]
    pool(api, loadbalancer_id=other, name="theirs")
    for name in ("loadbalancer_id", "load_balancer_id"):
        assert [row["name"] for row in api.get("/pools", **{name: lb})] == ["mine"]
    assert api.refused("GET", "/pools?listener_id=x", 400) == (
        "One or more arguments are either duplicate or invalid"
    )
    for name, value in api.get(f"/pools/{mine['id']}").items():
        if isinstance(value, str | int) and name != "tenant_id":
            assert "mine" in [row["name"] for row in api.get("/pools", **{name: value})], name


def test_rights(api, lb):
    mine = pool(api, loadbalancer_id=lb)
    path = f"/pools/{mine['id']}"
    denied = "Policy does not allow this request to be performed."
    for caller, may in [
        (Caller(project_id="p2"), False),
        (Caller(project_id="p1", writes=False), False),
        (Caller(project_id="p1"), True),
        (Caller(project_id="p2", admin=True), True),
    ]:
        api.called_by(caller)
        reads = caller.may_read("p1")
        assert api.call("GET", path).status_code == (200 if reads else 403)
        assert len(api.get("/pools")) == (1 if reads else 0)
        if may:
            api.put(path, pool={"name": "x"})
            api.delete(f"/pools/{pool(api, loadbalancer_id=lb)['id']}")
        else:
            assert api.refused("PUT", path, 403, pool={"name": "x"}) == denied
            assert api.refused("POST", "/pools", 403, pool=new(loadbalancer_id=lb)) == denied
            assert api.refused("DELETE", path, 403) == denied
