# SPDX-License-Identifier: Apache-2.0
"""Amphorae: one for each load balancer, so that tools which look for them find what they need."""

import uuid

from fastlb.api.call import Caller
from fastlb.testing import Client, Member, named, unused_port

AMPHORAE = "/v2/octavia/amphorae"
UNKNOWN = "99000000-0000-4000-8000-000000000009"


def balancer(api, **fields):
    return api.load_balancer(vip_address="127.0.0.1", **fields)


def test_each_load_balancer_has_one(api):
    assert api.get(AMPHORAE) == []
    first, second = balancer(api, name="a"), balancer(api, name="b")
    amphorae = api.get(AMPHORAE)
    assert [one["loadbalancer_id"] for one in amphorae] == [first["id"], second["id"]]
    assert amphorae[0] == {
        "id": amphorae[0]["id"],
        "loadbalancer_id": first["id"],
        "compute_id": None,
        "lb_network_ip": None,
        "vrrp_ip": None,
        "ha_ip": "127.0.0.1",
        "vrrp_port_id": None,
        "ha_port_id": first["vip_port_id"],
        "cert_expiration": None,
        "cert_busy": False,
        "role": "STANDALONE",
        "status": "ALLOCATED",
        "vrrp_interface": None,
        "vrrp_id": None,
        "vrrp_priority": None,
        "cached_zone": None,
        "created_at": first["created_at"],
        "updated_at": None,
        "image_id": None,
        "compute_flavor": None,
    }
    assert api.get(f"{AMPHORAE}/{amphorae[1]['id']}") == amphorae[1]
    assert api.get(f"/v2.0/octavia/amphorae/{amphorae[1]['id']}", fields="role") == {"role": "STANDALONE"}
    api.delete(f"/loadbalancers/{first['id']}")
    assert api.get(AMPHORAE) == [amphorae[1]]


def test_its_id_is_a_uuid_of_its_own_that_stays(api, controller):
    made = balancer(api)
    (before,) = api.get(AMPHORAE)
    assert before["id"] != made["id"]
    assert uuid.UUID(before["id"]).version == 4
    assert uuid.UUID(before["id"]).variant == uuid.RFC_4122
    controller.close(0)
    with controller:
        assert api.get(AMPHORAE) == [before]


def test_clients_find_those_of_a_load_balancer(api):
    first, second = balancer(api), balancer(api)
    for name in ("loadbalancer_id", "load_balancer_id"):
        assert [one["loadbalancer_id"] for one in api.get(AMPHORAE, **{name: second["id"]})] == [second["id"]]
    assert len(api.get(AMPHORAE, role="STANDALONE", status="ALLOCATED")) == 2
    assert api.get(AMPHORAE, role="MASTER") == []
    assert api.get(AMPHORAE, loadbalancer_id=UNKNOWN) == []
    assert api.refused("GET", f"{AMPHORAE}?colour=blue", 400).startswith("One or more arguments")
    page = api.call("GET", f"{AMPHORAE}?limit=1", expect=200).json()
    assert [one["loadbalancer_id"] for one in page["amphorae"]] == [first["id"]]
    following = api.session.get(page["amphorae_links"][0]["href"], timeout=20).json()
    assert [one["loadbalancer_id"] for one in following["amphorae"]] == [second["id"]]


def test_its_statistics_are_those_of_the_listeners(api):
    port = unused_port()
    with Member(named("a")) as member:
        pool = {
            "name": "app",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "members": [{"address": member.address, "protocol_port": member.port}],
        }
        listener = {"protocol": "HTTP", "protocol_port": port, "default_pool": {"name": "app"}}
        made = balancer(api, pools=[pool], listeners=[listener])
        assert Client("127.0.0.1", port).get().body == b"a"
        (amphora,) = api.get(AMPHORAE)
        (row,) = api.get(f"{AMPHORAE}/{amphora['id']}/stats")
        assert row["id"] == amphora["id"]
        assert row["loadbalancer_id"] == made["id"]
        assert row["listener_id"] == made["listeners"][0]["id"]
        assert row["total_connections"] == 1
        assert row["bytes_out"] > 0
        assert api.call("PUT", f"{AMPHORAE}/{amphora['id']}/failover", expect=202).content == b""
        assert api.call("PUT", f"{AMPHORAE}/{amphora['id']}/config", expect=202).content == b""
        assert Client("127.0.0.1", port).get().body == b"a"


def test_one_without_listeners_has_no_statistics(api):
    balancer(api)
    (amphora,) = api.get(AMPHORAE)
    fault = f"Amphora stats for {amphora['id']} not found."
    assert api.refused("GET", f"{AMPHORAE}/{amphora['id']}/stats", 404) == fault


def test_one_that_a_load_balancer_has_is_not_deleted(api):
    made = balancer(api)
    (amphora,) = api.get(AMPHORAE)
    fault = f"amphora {amphora['id']} is immutable and cannot be updated."
    assert api.refused("DELETE", f"{AMPHORAE}/{amphora['id']}", 409) == fault
    assert api.get(f"/loadbalancers/{made['id']}")["id"] == made["id"]


def test_what_is_no_amphora_is_not_found(api):
    made = balancer(api)
    (amphora,) = api.get(AMPHORAE)
    spelt = (UNKNOWN, "front", made["id"], amphora["id"].upper(), amphora["id"].replace("-", ""))
    for identity in spelt:
        for method, path in (("GET", ""), ("DELETE", ""), ("PUT", "/failover"), ("PUT", "/config")):
            fault = api.refused(method, f"{AMPHORAE}/{identity}{path}", 404)
            assert fault == f"Amphora {identity} not found."
    for path in ("/v2/lbaas/amphorae", "/v2/amphorae"):
        api.call("GET", path, expect=404)


def test_amphorae_are_for_admins(api):
    balancer(api)
    (amphora,) = api.get(AMPHORAE)
    for caller in (Caller(project_id="shop"), Caller(project_id="shop", admin=True, writes=False)):
        api.called_by(caller)
        for method, path in (
            ("GET", AMPHORAE),
            ("GET", f"{AMPHORAE}/{amphora['id']}"),
            ("GET", f"{AMPHORAE}/{amphora['id']}/stats"),
            ("PUT", f"{AMPHORAE}/{amphora['id']}/failover"),
            ("DELETE", f"{AMPHORAE}/{amphora['id']}"),
            ("GET", f"{AMPHORAE}/{UNKNOWN}"),
        ):
            fault = api.refused(method, path, 403)
            assert fault == "Policy does not allow this request to be performed."
