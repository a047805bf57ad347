# SPDX-License-Identifier: Apache-2.0
"""`/loadbalancers`: created alone or with all that is on them, shown, changed, deleted; figures and the status tree."""

import socket
import threading

import pytest

from fastlb.api.call import Caller
from fastlb.testing import Client, Load, Member, eventually, held, named, request, response, unused_port
from tests.api.conftest import SUBNET

NOWHERE = "99000000-0000-4000-8000-000000000009"
SHOWN = [
    "id",
    "name",
    "description",
    "provisioning_status",
    "operating_status",
    "admin_state_up",
    "project_id",
    "created_at",
    "updated_at",
    "vip_address",
    "vip_port_id",
    "vip_subnet_id",
    "vip_network_id",
    "vip_sg_ids",
    "additional_vips",
    "listeners",
    "pools",
    "provider",
    "flavor_id",
    "vip_qos_policy_id",
    "tags",
    "availability_zone",
    "vip_vnic_type",
    "tenant_id",
]


def balancer(api, **fields):
    return api.load_balancer(**{"vip_address": "127.0.0.1", **fields})


def member_of(member, **fields):
    return {"address": member.address, "protocol_port": member.port, **fields}


def shop(*members, port, **fields):
    """A listener, its pool and these members, as a fully-populated create has them."""
    pool = {
        "name": "web",
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": [member_of(member) for member in members],
    }
    return {"listeners": [{"protocol": "HTTP", "protocol_port": port, "default_pool": pool}], **fields}


def test_a_new_load_balancer_is_answered_as_octavia_answers(api):
    made = balancer(api, name="front", description="of the shop", tags=["blue"])
    assert sorted(made) == sorted(SHOWN)
    assert made["provisioning_status"] == "PENDING_CREATE"
    assert made["operating_status"] == "OFFLINE"
    assert made["updated_at"] is None
    assert made["created_at"][10] == "T"
    assert len(made["created_at"]) == 19
    assert made["project_id"] == made["tenant_id"]
    assert made["listeners"] == made["pools"] == []
    assert (made["name"], made["description"], made["tags"]) == ("front", "of the shop", ["blue"])
    assert (made["provider"], made["flavor_id"], made["vip_vnic_type"]) == ("amphora", None, "normal")


def test_a_new_load_balancer_is_active_at_once(api):
    shown = api.get(f"/loadbalancers/{balancer(api)['id']}")
    assert sorted(shown) == sorted(SHOWN)
    assert shown["provisioning_status"] == "ACTIVE"
    assert shown["operating_status"] == "ONLINE"


def test_the_document_has_one_key(api):
    # The CLI takes the first one for the object.
    made = api.call(
        "POST",
        "/loadbalancers",
        json={"loadbalancer": {"vip_subnet_id": SUBNET, "vip_address": "127.0.0.1"}},
        expect=201,
    ).json()
    assert list(made) == ["loadbalancer"]
    assert list(api.call("GET", f"/loadbalancers/{made['loadbalancer']['id']}").json()) == ["loadbalancer"]


def test_a_project_is_the_callers_unless_the_body_names_one(api):
    assert balancer(api, project_id="p1")["project_id"] == "p1"
    assert balancer(api, tenant_id="p2")["project_id"] == "p2"
    assert balancer(api)["project_id"] == "fa571b00000000000000000000000001"
    api.session.headers["X-Project-Id"] = "p3"
    assert balancer(api)["project_id"] == "p3"
    assert "maximum character requirement of 36" in api.refused(
        "POST", "/loadbalancers", 400, loadbalancer={"vip_subnet_id": SUBNET, "project_id": "p" * 37}
    )


@pytest.mark.parametrize("fields", [{}, {"vip_address": "127.0.0.1"}, {"vip_subnet_id": None}])
def test_a_vip_needs_a_subnet_a_network_or_a_port(api, fields):
    assert api.refused("POST", "/loadbalancers", 400, loadbalancer=fields) == (
        "Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id."
    )


def test_a_field_of_the_wrong_form_is_told_before_a_missing_vip(api):
    assert "Value should be string" in api.refused("POST", "/loadbalancers", 400, loadbalancer={"name": 5})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": 5}, "Invalid input for field/attribute name. Value: '5'. Value should be string"),
        ({"vip_address": "192.0.2.256"}, "Value should be IPv4 or IPv6 format"),
        ({"vip_subnet_id": "front"}, "Value should be UUID format"),
        ({"provider": "f5"}, "Provider 'f5' is not enabled."),
        ({"flavor_id": None}, "Validation failure: Invalid flavor_id."),
        ({"availability_zone": None}, "Validation failure: Invalid availability zone."),
        ({"admin_state_up": "maybe"}, "Value not an unambiguous boolean: maybe"),
        ({"tags": "blue"}, "Value not a valid list: blue"),
        (
            {"additional_vips": [{"ip_address": "127.0.0.2"}]},
            "subnet_id. Value: 'None'. Mandatory field missing.",
        ),
        (
            {"additional_vips": [{"subnet_id": SUBNET}]},
            "Validation failure: Duplicate VIP subnet(s) specified. Only one IP can be bound per subnet.",
        ),
        ({"id": NOWHERE}, "Unknown attribute for argument load_balancer.loadbalancer: id"),
        (
            {"vip_vnic_type": "normal"},
            "Unknown attribute for argument load_balancer.loadbalancer: vip_vnic_type",
        ),
        ({"operating_status": "ONLINE"}, "load_balancer.loadbalancer: operating_status"),
    ],
)
def test_what_is_refused(api, fields, text):
    fields = {"vip_subnet_id": SUBNET, "vip_address": "127.0.0.1"} | fields
    assert api.refused("POST", "/loadbalancers", 400, loadbalancer=fields).endswith(text)
    assert api.get("/loadbalancers") == []


def test_a_tree_is_created_answered_whole_and_serves(api):
    port = unused_port()
    with Member(named("one")) as one, Member(named("two")) as two, Member(named("special")) as special:
        policy = {
            "action": "REDIRECT_TO_POOL",
            "redirect_pool": {
                "name": "special",
                "protocol": "HTTP",
                "lb_algorithm": "LEAST_CONNECTIONS",
                "members": [member_of(special, name="s")],
            },
            "rules": [{"type": "PATH", "compare_type": "STARTS_WITH", "value": "/s"}],
        }
        tree = shop(one, two, port=port, name="shop")
        tree["listeners"][0]["l7policies"] = [policy]
        tree["listeners"].append(
            {"protocol": "TCP", "protocol_port": unused_port(), "default_pool": {"name": "raw"}}
        )
        monitor = {"type": "TCP", "delay": 1, "timeout": 1, "max_retries": 1}
        tree["pools"] = [
            {
                "name": "raw",
                "protocol": "TCP",
                "lb_algorithm": "SOURCE_IP",
                "healthmonitor": monitor,
                "members": [],
            }
        ]
        made = balancer(api, **tree)
        assert list(made)[:2] == ["listeners", "pools"]
        http_listener, tcp_listener = made["listeners"]
        raw, web, elsewhere = made["pools"]
        assert [pool["name"] for pool in made["pools"]] == ["raw", "web", "special"]
        assert http_listener["default_pool_id"] == web["id"]
        assert tcp_listener["default_pool_id"] == raw["id"]
        (shown,) = http_listener["l7policies"]
        assert (shown["action"], shown["redirect_pool_id"]) == ("REDIRECT_TO_POOL", elsewhere["id"])
        assert [rule["value"] for rule in shown["rules"]] == ["/s"]
        assert [member["operating_status"] for member in web["members"]] == ["NO_MONITOR", "NO_MONITOR"]
        assert web["healthmonitor"] is None
        assert raw["healthmonitor"]["type"] == "TCP"
        assert "loadbalancers" not in http_listener
        assert "healthmonitor_id" not in raw
        assert "pools" not in raw["healthmonitor"]
        assert {one["provisioning_status"] for one in [*made["listeners"], *made["pools"]]} == {
            "PENDING_CREATE"
        }

        client = Client("127.0.0.1", port)
        assert {client.get("/").body for _ in range(4)} == {b"one", b"two"}
        assert client.get("/s").body == b"special"

    shown = api.get(f"/loadbalancers/{made['id']}")
    assert shown["listeners"] == [{"id": one["id"]} for one in made["listeners"]]
    assert shown["pools"] == [{"id": one["id"]} for one in made["pools"]]
    assert {row["id"] for row in api.get("/listeners")} == {one["id"] for one in made["listeners"]}


POOL = {"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}


@pytest.mark.parametrize(
    ("tree", "status", "text"),
    [
        (
            {"listeners": [{"protocol": "HTTP", "protocol_port": 1, "default_pool": {"name": "gone"}}]},
            400,
            "Validation failure: Pool 'gone' was referenced but no full definition was found.",
        ),
        (
            {"listeners": [{"protocol": "HTTP", "protocol_port": 1, "default_pool": {"protocol": "HTTP"}}]},
            400,
            "Validation failure: Pools must be named when creating a fully populated loadbalancer.",
        ),
        (
            {"pools": [POOL, POOL]},
            400,
            "Validation failure: Pool names must be unique when creating a fully populated loadbalancer.",
        ),
        (
            {
                "listeners": [
                    {"protocol": "HTTP", "protocol_port": 1},
                    {"protocol": "TCP", "protocol_port": 1},
                ]
            },
            409,
            "Another Listener on this Load Balancer is already using protocol HTTP and protocol_port 1",
        ),
        (
            {"listeners": [{"protocol": "HTTP", "protocol_port": 1, "default_pool_id": NOWHERE}]},
            404,
            f"Pool {NOWHERE} not found.",
        ),
        (
            {
                "listeners": [
                    {"protocol": "HTTP", "protocol_port": 1, "default_pool": POOL | {"protocol": "TCP"}}
                ]
            },
            400,
            "Validation failure: The pool protocol 'TCP' is invalid while the listener protocol is 'HTTP'.",
        ),
        (
            {"pools": [POOL | {"session_persistence": {"type": "APP_COOKIE"}}]},
            400,
            'Validation failure: Field "cookie_name" must be specified when using the "APP_COOKIE" session persistence '
            "type.",
        ),
    ],
)
def test_a_tree_that_is_refused_leaves_nothing(api, tree, status, text):
    fields = {"vip_subnet_id": SUBNET, "vip_address": "127.0.0.1"} | tree
    assert api.refused("POST", "/loadbalancers", status, loadbalancer=fields) == text
    for path in ("/loadbalancers", "/listeners", "/pools"):
        assert api.get(path) == []


@pytest.mark.parametrize("pool", [POOL | {"protocol": "PROXY"}, POOL | {"tls_enabled": True}])
def test_what_is_not_forwarded_is_refused_in_a_tree_as_it_is_alone(api, pool):
    lb = balancer(api)
    alone = api.refused("POST", "/pools", 501, pool=pool | {"loadbalancer_id": lb["id"]})
    assert alone.startswith("Provider 'amphora' does not support a requested option: ")
    fields = {"vip_subnet_id": SUBNET, "pools": [pool]}
    assert api.refused("POST", "/loadbalancers", 501, loadbalancer=fields) == alone
    assert [row["id"] for row in api.get("/loadbalancers")] == [lb["id"]]
    assert len(api.get("/v2/ports")) == 1, "and no address is held"


def test_an_update_changes_what_it_names(api):
    made = balancer(api, name="a", description="first", tags=["one"])
    path = f"/loadbalancers/{made['id']}"
    changed = api.put(path, loadbalancer={"name": "b"})
    assert (changed["name"], changed["description"], changed["tags"]) == ("b", "first", ["one"])
    assert changed["provisioning_status"] == "PENDING_UPDATE"
    shown = api.get(path)
    assert shown["provisioning_status"] == "ACTIVE"
    assert shown["updated_at"] is not None
    shown = api.put(path, loadbalancer={"name": None, "description": None, "tags": None})
    assert (shown["name"], shown["description"], shown["tags"]) == ("", "", ["one"])
    assert api.put(path, loadbalancer={"tags": []})["tags"] == []
    assert api.put(path, loadbalancer={})["name"] == ""


@pytest.mark.parametrize(
    "field", ["vip_address", "vip_subnet_id", "provider", "project_id", "listeners", "id"]
)
def test_an_update_cannot_change_these(api, field):
    path = f"/loadbalancers/{balancer(api)['id']}"
    text = f"Unknown attribute for argument load_balancer.loadbalancer: {field}"
    assert api.refused("PUT", path, 400, loadbalancer={field: None}) == text


def test_a_load_balancer_that_is_switched_off_closes_its_ports(api):
    port = unused_port()
    with Member(named("one")) as member:
        made = balancer(api, **shop(member, port=port))
        path = f"/loadbalancers/{made['id']}"
        client = Client("127.0.0.1", port)
        assert client.get().body == b"one"
        answer = api.put(path, loadbalancer={"admin_state_up": False})
        assert answer["operating_status"] == "ONLINE", "as it was before"
        assert api.get(path)["operating_status"] == "OFFLINE"
        with pytest.raises(ConnectionRefusedError):
            client.get()
        api.put(path, loadbalancer={"admin_state_up": True})
        assert client.get().body == b"one"


def test_stats_count_what_was_forwarded(api):
    port = unused_port()
    with Member(named("one")) as member:
        made = balancer(api, **shop(member, port=port))
        path = f"/loadbalancers/{made['id']}/stats"
        assert api.get(path) == {
            "active_connections": 0,
            "bytes_in": 0,
            "bytes_out": 0,
            "request_errors": 0,
            "total_connections": 0,
        }
        Client("127.0.0.1", port).get()
        eventually(lambda: api.get(path)["bytes_out"] > 0)
        stats = api.get(path)
        assert stats["total_connections"] == 1
        assert stats["bytes_in"] > 0
        assert api.get(f"/listeners/{made['listeners'][0]['id']}/stats")["total_connections"] == 1


@pytest.mark.parametrize("name", ["status", "statuses"])
def test_the_status_tree(api, name):
    with Member(named("one")) as member:
        made = balancer(api, **shop(member, port=unused_port(), name="shop"))
        answer = api.call("GET", f"/loadbalancers/{made['id']}/{name}", expect=200).json()
        up = {"operating_status": "ONLINE", "provisioning_status": "ACTIVE"}
        (listener,), (pool,) = made["listeners"], made["pools"]
        assert answer == {
            "statuses": {
                "loadbalancer": {
                    "id": made["id"],
                    "name": "shop",
                    **up,
                    "listeners": [
                        {
                            "id": listener["id"],
                            "name": "",
                            **up,
                            "pools": [
                                {
                                    "id": pool["id"],
                                    "name": "web",
                                    **up,
                                    "health_monitor": None,
                                    "members": [
                                        {
                                            "id": pool["members"][0]["id"],
                                            "name": "",
                                            "operating_status": "NO_MONITOR",
                                            "provisioning_status": "ACTIVE",
                                            "address": "127.0.0.1",
                                            "protocol_port": member.port,
                                        }
                                    ],
                                }
                            ],
                        }
                    ],
                }
            }
        }


def test_a_load_balancer_with_children_is_deleted_with_cascade_only(api):
    port = unused_port()
    with Member(named("one")) as member:
        made = balancer(api, **shop(member, port=port))
        path = f"/loadbalancers/{made['id']}"
        for query in ("", "?cascade=false", "?cascade=maybe"):
            assert api.refused("DELETE", path + query, 400) == (
                f"Validation failure: Cannot delete Load Balancer {made['id']} - it has children"
            )
        assert Client("127.0.0.1", port).get().body == b"one"
        api.delete(path, cascade="True")
        assert api.refused("GET", path, 404) == f"Load Balancer {made['id']} not found."
        with pytest.raises(ConnectionRefusedError):
            Client("127.0.0.1", port).get()
        for kind in ("/loadbalancers", "/listeners", "/pools"):
            assert api.get(kind) == []
        pool = made["pools"][0]["id"]
        api.refused("GET", f"/pools/{pool}/members", 404)


def test_a_load_balancer_without_children_is_deleted_without_cascade(api):
    made = balancer(api)
    assert api.call("DELETE", f"/loadbalancers/{made['id']}", expect=204).content == b""
    api.refused("DELETE", f"/loadbalancers/{made['id']}", 404)


def test_a_delete_does_not_wait_for_what_is_under_way(api):
    gate, port = threading.Event(), unused_port()
    with Member(held(gate, response(b"late"))) as member:
        made = balancer(api, **shop(member, port=port))
        with Client("127.0.0.1", port).connect() as conn:
            conn.send(request())
            member.wait_requests(1)
            api.delete(f"/loadbalancers/{made['id']}", cascade="true")
            gate.set()
            assert conn.read_response().body == b"late"


def test_failover_loses_no_request(api):
    port = unused_port()
    with Member(named("ok")) as member:
        made = balancer(api, **shop(member, port=port))
        path = f"/loadbalancers/{made['id']}"
        with Load(Client("127.0.0.1", port), clients=2) as load:
            load.wait_requests(20)
            assert api.call("PUT", f"{path}/failover", expect=202).content == b""
            load.wait_requests(20)
        assert load.failures == []
        assert api.get(path)["provisioning_status"] == "ACTIVE"
    assert (
        api.refused("PUT", f"/loadbalancers/{NOWHERE}/failover", 404) == f"Load Balancer {NOWHERE} not found."
    )


def test_a_port_that_is_taken_is_an_error_of_its_listener_which_a_failover_mends(api):
    with socket.create_server(("127.0.0.1", 0)) as other, Member(named("one")) as member:
        port = other.getsockname()[1]
        made = balancer(api, **shop(member, port=port))
        path = f"/loadbalancers/{made['id']}"
        assert api.get(f"/listeners/{made['listeners'][0]['id']}")["provisioning_status"] == "ERROR"
        other.close()
        api.call("PUT", f"{path}/failover", expect=202)
        eventually(lambda: api.get(path)["provisioning_status"] == "ACTIVE")
        assert api.get(f"/listeners/{made['listeners'][0]['id']}")["provisioning_status"] == "ACTIVE"
        assert Client("127.0.0.1", port).get().body == b"one"


def test_a_load_balancer_in_error_can_only_be_shown_failed_over_and_deleted(api):
    made = balancer(api)
    path = f"/loadbalancers/{made['id']}"
    api.controller.get("loadbalancer", made["id"])._error = "made up by this test"
    assert api.get(path)["provisioning_status"] == "ERROR"
    assert api.refused("PUT", path, 409, loadbalancer={"name": "x"}) == (
        f"Invalid state ERROR of loadbalancer resource {made['id']}"
    )
    immutable = f"Load Balancer {made['id']} is immutable and cannot be updated."
    pool = {"loadbalancer_id": made["id"], "protocol": "TCP", "lb_algorithm": "ROUND_ROBIN"}
    listener = {"loadbalancer_id": made["id"], "protocol": "TCP", "protocol_port": 1}
    assert api.refused("POST", "/pools", 409, pool=pool) == immutable
    assert api.refused("POST", "/listeners", 409, listener=listener) == immutable
    api.call("GET", f"{path}/stats", expect=200)
    api.call("GET", f"{path}/status", expect=200)
    api.delete(path)


def test_rights(api):
    mine, theirs = balancer(api, project_id="p1"), balancer(api, project_id="p2")
    denied = "Policy does not allow this request to be performed."
    path, other = f"/loadbalancers/{mine['id']}", f"/loadbalancers/{theirs['id']}"
    new = {"vip_subnet_id": SUBNET, "vip_address": "127.0.0.1"}

    api.called_by(Caller(project_id="p1"))
    assert balancer(api)["project_id"] == "p1"
    assert api.get(path)["id"] == mine["id"]
    api.put(path, loadbalancer={"name": "x"})
    assert api.refused("POST", "/loadbalancers", 403, loadbalancer=new | {"project_id": "p2"}) == denied
    for method, where, body in [
        ("GET", other, {}),
        ("PUT", other, {"loadbalancer": {"name": "x"}}),
        ("DELETE", other, {}),
        ("GET", f"{other}/stats", {}),
        ("GET", f"{other}/status", {}),
        ("PUT", f"{path}/failover", {}),
    ]:
        assert api.refused(method, where, 403, **body) == denied

    api.called_by(Caller(project_id="p1", writes=False))
    assert api.get(path)["name"] == "x"
    assert api.refused("POST", "/loadbalancers", 403, loadbalancer=new) == denied
    assert api.refused("PUT", path, 403, loadbalancer={"name": "y"}) == denied
    assert api.refused("DELETE", path, 403) == denied

    api.called_by(Caller(project_id="p3", admin=True))
    assert api.get(path)["name"] == "x"
    api.call("PUT", f"{path}/failover", expect=202)
    api.delete(path)
    assert api.get(other)["name"] == ""
