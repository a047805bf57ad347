# SPDX-License-Identifier: Apache-2.0
"""Floating IPs: a load balancer listens on those that lead to it, and not after they are taken away."""

import threading

import pytest

from fastlb.controller import Controller
from fastlb.errors import FastLBError
from fastlb.network import NetworkConfig, Networking
from fastlb.testing import Client, Member, eventually, named, unused_port

NEAR = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
FAR = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a02"


@pytest.fixture
def provider(api):
    return api.get("/v2/networks", name="provider")[0]["id"]


@pytest.fixture
def web(api, member):
    """A load balancer that answers on its VIP, and the port that it answers on."""
    return Web(api, member)


class Web:
    def __init__(self, api, member, **fields):
        self.port = unused_port()
        pool = {
            "name": "web",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "members": [{"address": member.address, "protocol_port": member.port}],
        }
        listener = {"protocol": "HTTP", "protocol_port": self.port, "default_pool": pool}
        made = api.load_balancer(listeners=[listener], **fields)
        self.id, self.vip, self.vip_port_id = made["id"], made["vip_address"], made["vip_port_id"]

    def body(self, address):
        return Client(address, self.port).request("/").body

    def answers(self, address):
        """Does somebody take connections there?"""
        try:
            return self.body(address) == b"here"
        except OSError:
            return False


@pytest.fixture
def member():
    with Member(named("here")) as member:
        yield member


def associate(api, floating, port_id):
    return api.put(f"/v2/floatingips/{floating['id']}", floatingip={"port_id": port_id})


def test_traffic_flows_through_a_floating_ip_until_it_is_taken_away(api, web, provider):
    floating = api.post("/v2/floatingips", floatingip={"floating_network_id": provider})
    address = floating["floating_ip_address"]
    assert (floating["status"], floating["port_id"]) == ("DOWN", None)
    assert not web.answers(address)
    floating = associate(api, floating, web.vip_port_id)
    assert (floating["status"], floating["fixed_ip_address"]) == ("ACTIVE", web.vip)
    assert floating["port_details"]["device_owner"] == "Octavia"
    assert [web.body(one) for one in (address, web.vip)] == [b"here", b"here"]
    associate(api, floating, None)
    assert not web.answers(address)
    assert web.answers(web.vip)


def test_a_listener_that_is_made_later_listens_on_the_floating_ip_too(api, web, provider):
    body = {"floating_network_id": provider, "port_id": web.vip_port_id}
    address = api.post("/v2/floatingips", floatingip=body)["floating_ip_address"]
    web.port = unused_port()
    pool = api.get("/pools")[0]["id"]
    listener = {"protocol": "HTTP", "protocol_port": web.port, "default_pool_id": pool}
    api.post("/listeners", listener={"loadbalancer_id": web.id, **listener})
    assert web.answers(address)


def test_a_deleted_floating_ip_is_heard_no_more(api, web, provider):
    body = {"floating_network_id": provider, "port_id": web.vip_port_id}
    floating = api.post("/v2/floatingips", floatingip=body)
    assert web.answers(floating["floating_ip_address"])
    api.delete(f"/v2/floatingips/{floating['id']}")
    assert not web.answers(floating["floating_ip_address"])


def test_a_floating_ip_moves_from_one_load_balancer_to_another(api, web, provider, member):
    other = Web(api, member)
    body = {"floating_network_id": provider, "port_id": web.vip_port_id}
    floating = api.post("/v2/floatingips", floatingip=body)
    address = floating["floating_ip_address"]
    associate(api, floating, other.vip_port_id)
    assert other.answers(address)
    assert not web.answers(address)


def test_a_floating_ip_outlives_the_load_balancer_and_leads_nowhere(api, web, provider, member):
    body = {"floating_network_id": provider, "port_id": web.vip_port_id}
    floating = api.post("/v2/floatingips", floatingip=body)
    api.delete(f"/loadbalancers/{web.id}", cascade="true")
    left = api.get(f"/v2/floatingips/{floating['id']}")
    assert (left["port_id"], left["fixed_ip_address"], left["status"]) == (None, None, "DOWN")
    assert left["floating_ip_address"] == floating["floating_ip_address"]
    web = Web(api, member)
    associate(api, floating, web.vip_port_id)
    assert web.answers(floating["floating_ip_address"])


def test_a_floating_ip_of_a_port_made_earlier_is_there_when_the_load_balancer_is(api, provider, member):
    network = api.get("/v2/networks", name="default")[0]["id"]
    port = api.post("/v2/ports", port={"network_id": network})["id"]
    body = {"floating_network_id": provider, "port_id": port}
    address = api.post("/v2/floatingips", floatingip=body)["floating_ip_address"]
    web = Web(api, member, vip_subnet_id=None, vip_port_id=port)
    assert web.answers(address)
    api.delete(f"/loadbalancers/{web.id}", cascade="true")
    assert api.get("/v2/floatingips", port_id=port)[0]["status"] == "ACTIVE"
    eventually(lambda: not web.answers(address))


def test_floating_ips_are_there_again_after_a_restart(api, web, provider, controller, networking):
    body = {"floating_network_id": provider, "port_id": web.vip_port_id}
    address = api.post("/v2/floatingips", floatingip=body)["floating_ip_address"]
    controller.close(0)
    assert not web.answers(address)
    with Controller(controller.store, engine=controller._engine, networking=Networking(networking.config)):
        assert web.answers(address)
        assert web.answers(web.vip)
    controller.open()


def test_a_floating_ip_can_be_asked_for_by_its_address(api, provider):
    subnet = api.get("/v2/subnets", network_id=provider)[0]
    address = subnet["allocation_pools"][0]["start"].rpartition(".")[0] + ".99"
    body = {"floating_network_id": provider, "floating_ip_address": address, "description": "mine"}
    made = api.post("/v2/floatingips", floatingip=body)
    assert (made["floating_ip_address"], made["description"]) == (address, "mine")
    assert api.get("/v2/floatingips", floating_ip_address=address)[0]["id"] == made["id"]
    response = api.call("POST", "/v2/floatingips", json={"floatingip": body}, expect=409)
    assert response.json()["NeutronError"]["type"] == "IpAddressAlreadyAllocated"


def test_an_empty_port_id_takes_it_away_as_null_does(api, web, provider):
    body = {"floating_network_id": provider, "port_id": web.vip_port_id}
    floating = api.post("/v2/floatingips", floatingip=body)
    assert associate(api, floating, "")["port_id"] is None


def test_what_a_floating_ip_cannot_lead_to_is_refused(api, web, provider):
    floating = api.post("/v2/floatingips", floatingip={"floating_network_id": provider})
    path = f"/v2/floatingips/{floating['id']}"
    for body, status, kind in (
        ({"port_id": NEAR}, 404, "PortNotFound"),
        ({"port_id": web.vip_port_id, "fixed_ip_address": "192.0.2.1"}, 400, "HTTPBadRequest"),
        ({"fixed_ip_address": "192.0.2.1"}, 400, "HTTPBadRequest"),
        ({"floating_network_id": provider}, 400, "HTTPBadRequest"),
    ):
        response = api.call("PUT", path, json={"floatingip": body}, expect=status)
        assert response.json()["NeutronError"]["type"] == kind
    associate(api, floating, web.vip_port_id)
    second = {"floating_network_id": provider, "port_id": web.vip_port_id}
    response = api.call("POST", "/v2/floatingips", json={"floatingip": second}, expect=409)
    assert response.json()["NeutronError"]["type"] == "FloatingIPPortAlreadyAssociated"


class TestReach:
    """Subnets say which floating networks lead to them."""

    @pytest.fixture
    def networking(self, networking):
        one, other = networking.config.subnets[0].cidr, networking.config.floating_networks[0].cidr
        return Networking(
            NetworkConfig.of(
                subnets=[
                    {"id": NEAR, "name": "near", "cidr": one},
                    {"id": FAR, "name": "far", "cidr": "127.220.0.0/24", "reaches": []},
                ],
                floating_networks=[{"cidr": other}],
            )
        )

    def test_a_floating_network_that_the_subnet_cannot_reach_is_not_found(self, api, provider, member):
        far = Web(api, member, vip_subnet_id=FAR)
        floating = api.post("/v2/floatingips", floatingip={"floating_network_id": provider})
        body = {"port_id": far.vip_port_id}
        response = api.call("PUT", f"/v2/floatingips/{floating['id']}", json={"floatingip": body}, expect=404)
        refused = response.json()["NeutronError"]
        assert refused["type"] == "ExternalGatewayForFloatingIPNotFound"
        assert " ".join(refused["message"].split()) == (
            f"External network {provider} is not reachable from subnet {FAR}. Therefore, cannot associate Port "
            f"{far.vip_port_id} with a Floating IP."
        )
        assert not far.answers(floating["floating_ip_address"])
        near = Web(api, member, vip_subnet_id=NEAR)
        associate(api, floating, near.vip_port_id)
        assert near.answers(floating["floating_ip_address"])


def test_a_floating_ip_whose_port_is_taken_leaves_the_vip_as_it_was(api, web, provider, caplog):
    import socket

    floating = api.post("/v2/floatingips", floatingip={"floating_network_id": provider})
    address = floating["floating_ip_address"]
    with socket.socket() as other:
        other.bind((address, web.port))
        other.listen()
        associate(api, floating, web.vip_port_id)
        assert "its addresses could not be set" in caplog.text
        assert web.answers(web.vip)
    # A failover tries it again.
    api.call("PUT", f"/loadbalancers/{web.id}/failover", expect=202)
    assert web.answers(address)


def test_floating_ips_change_while_others_are_set(api, web, provider, controller):
    """Of many changes at once the last one counts, and what is listened on is what is associated."""
    floating = api.post("/v2/floatingips", floatingip={"floating_network_id": provider})
    floating_ips = controller.networking.floating_ips
    errors = []

    def work(port_id):
        for _ in range(20):
            try:
                floating_ips.update(floating["id"], {"port_id": port_id})
            except FastLBError as error:
                errors.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in (web.vip_port_id, None)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    there = floating_ips.get(floating["id"]).port_id is not None
    assert web.answers(floating["floating_ip_address"]) is there


def test_who_comes_too_late_takes_no_floating_ip_away(api, web, provider, member, controller, monkeypatch):
    """One load balancer listens on a floating IP that has just gone back to the other one."""
    other = Web(api, member)
    other_listener = api.get("/listeners", load_balancer_id=other.id)[0]["id"]
    api.delete(f"/listeners/{other_listener}")
    listener = {"protocol": "HTTP", "protocol_port": web.port, "loadbalancer_id": other.id}
    api.post("/listeners", listener=listener)
    networking = controller.networking
    floating = networking.floating_ips.create(
        {"floating_network_id": provider, "port_id": web.vip_port_id}, project_id="p"
    )
    about_to_listen, go, listens, done = (threading.Event() for _ in range(4))
    hold = networking._hold

    def stalled(addresses):
        hold(addresses)
        if threading.current_thread() is late:
            if other.vip in addresses and floating.floating_ip_address in addresses:
                about_to_listen.set()
                assert go.wait(10)
            elif other.vip in addresses:
                listens.set()
                assert done.wait(10)
        elif web.vip in addresses and not go.is_set():
            go.set()
            assert listens.wait(10)

    monkeypatch.setattr(networking, "_hold", stalled)
    update = networking.floating_ips.update
    late = threading.Thread(target=update, args=(floating.id, {"port_id": other.vip_port_id}))
    late.start()
    assert about_to_listen.wait(10)
    update(floating.id, {"port_id": web.vip_port_id})
    done.set()
    late.join()
    assert web.answers(floating.floating_ip_address)
