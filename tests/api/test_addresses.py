# SPDX-License-Identifier: Apache-2.0
"""The addresses of load balancers over the API: of their own, asked for, several, taken; and the traffic to them."""

import ipaddress

import pytest

from fastlb.controller import Controller
from fastlb.network import NetworkConfig, Networking
from fastlb.testing import Client, Member, named, unused_port

WEB = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
MORE = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a02"
UNKNOWN = "00000000-1111-2222-3333-444444444444"


def listening(api, port, name, **fields):
    """A load balancer whose listener on that port answers with its name."""
    with Member(named(name)) as member:
        pool = {
            "name": "web",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "members": [{"address": member.address, "protocol_port": member.port}],
        }
        listener = {"protocol": "HTTP", "protocol_port": port, "default_pool": pool}
        yield api.load_balancer(name=name, listeners=[listener], **fields)


@pytest.fixture
def answering(api):
    """`answering(port, name, …)`: see `listening`."""
    running = []

    def start(port, name, **fields):
        running.append(listening(api, port, name, **fields))
        return next(running[-1])

    yield start
    for one in running:
        one.close()


def test_each_has_an_address_of_its_own_and_many_can_have_one_port(answering):
    port = unused_port()
    made = {name: answering(port, name) for name in ("one", "two", "three")}
    addresses = {name: one["vip_address"] for name, one in made.items()}
    assert len(set(addresses.values())) == 3
    assert all(ipaddress.ip_address(one).is_loopback for one in addresses.values())
    for name, address in addresses.items():
        assert Client(address, port).request("/").body == name.encode()


def test_the_create_says_which_port_subnet_and_network_it_has(api):
    made = api.load_balancer(vip_subnet_id=UNKNOWN)
    shown = api.get(f"/loadbalancers/{made['id']}")
    fields = ("vip_address", "vip_port_id", "vip_network_id", "vip_subnet_id", "additional_vips")
    assert {name: made[name] for name in fields} == {name: shown[name] for name in fields}
    assert shown["vip_subnet_id"] == UNKNOWN
    assert api.get(f"/v2/networks/{shown['vip_network_id']}")["name"] == "default"
    for name in ("vip_address", "vip_port_id", "vip_network_id", "vip_subnet_id"):
        assert [one["id"] for one in api.get("/loadbalancers", **{name: shown[name]})] == [made["id"]]


def test_an_address_that_is_taken_is_a_conflict(api):
    address = api.load_balancer()["vip_address"]
    body = {"vip_subnet_id": UNKNOWN, "vip_address": address}
    assert api.refused("POST", "/loadbalancers", 409, loadbalancer=body) == (
        f"The VIP IP address is already in use: IP address {address} already allocated in subnet {UNKNOWN}"
    )
    first = api.get("/loadbalancers", vip_address=address)[0]
    api.delete(f"/loadbalancers/{first['id']}")
    assert api.load_balancer(vip_address=address)["vip_address"] == address


def test_a_refused_create_leaves_its_address_free(api):
    address = api.load_balancer()["vip_address"]
    wanted = str(ipaddress.ip_address(address) + 5)
    twice = [{"protocol": "TCP", "protocol_port": 80}] * 2
    body = {"vip_subnet_id": UNKNOWN, "vip_address": wanted, "listeners": twice}
    api.refused("POST", "/loadbalancers", 409, loadbalancer=body)
    assert len(api.get("/v2/ports")) == 1
    assert api.load_balancer(vip_address=wanted)["vip_address"] == wanted


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_of_this_machine_can_be_had_by_several(answering, address):
    for name in ("one", "two"):
        port = unused_port(address)
        made = answering(port, name, vip_address=address)
        assert made["vip_address"] == address
        assert Client(address, port).request("/").body == name.encode()


def test_additional_vips_are_listened_on_too(api, answering):
    port = unused_port()
    more = [{"subnet_id": MORE}, {"subnet_id": WEB, "ip_address": "::1"}]
    made = answering(port, "all", additional_vips=more, vip_subnet_id=UNKNOWN)
    addresses = [made["vip_address"], *(one["ip_address"] for one in made["additional_vips"])]
    assert len(set(addresses)) == 3
    assert {one["port_id"] for one in made["additional_vips"]} == {made["vip_port_id"]}
    for address in addresses:
        assert Client(address, port).request("/").body == b"all"
    fixed = api.get(f"/v2/ports/{made['vip_port_id']}")["fixed_ips"]
    assert [one["ip_address"] for one in fixed] == addresses


def test_the_same_subnet_twice_is_refused(api):
    body = {"vip_subnet_id": WEB, "additional_vips": [{"subnet_id": WEB}]}
    fault = api.refused("POST", "/loadbalancers", 400, loadbalancer=body)
    assert fault == (
        "Validation failure: Duplicate VIP subnet(s) specified. Only one IP can be bound per subnet."
    )


def test_addresses_stay_over_a_restart_and_stay_taken(api, answering, controller, networking):
    port = unused_port()
    made = answering(port, "one")
    controller.close(0)
    again = Networking(networking.config)
    with Controller(controller.store, engine=controller._engine, networking=again) as second:
        (balancer,) = second.load_balancers
        assert balancer.vip_port_id == made["vip_port_id"]
        assert Client(made["vip_address"], port).request("/").body == b"one"
        other = second.create_load_balancer({"vip_subnet_id": UNKNOWN}, project_id="p")
        assert other.vip_address != made["vip_address"]
    controller.open()


def test_a_load_balancer_made_in_python_has_a_port_too(api, controller):
    import fastlb

    balancer = controller.add(fastlb.LoadBalancer(name="mine", vip_subnet_id=UNKNOWN))
    assert api.get(f"/v2/ports/{balancer.vip_port_id}")["fixed_ips"][0]["ip_address"] == balancer.vip_address
    balancer.delete()
    assert api.get("/v2/ports") == []


class TestConfigured:
    @pytest.fixture
    def networking(self):
        return Networking(
            NetworkConfig.of(
                subnets=[
                    {"id": WEB, "cidr": "127.240.0.0/29", "network": "web"},
                    {"id": MORE, "cidr": "127.240.1.0/29", "network": "web"},
                ]
            )
        )

    @pytest.mark.parametrize("address", ["127.0.0.1", "127.240.1.1", "127.240.0.7", "::1"])
    def test_an_address_outside_of_its_subnet_is_refused(self, api, address):
        body = {"vip_subnet_id": WEB, "vip_address": address}
        fault = api.refused("POST", "/loadbalancers", 400, loadbalancer=body)
        assert fault == f"IP address {address} is not a valid IP for the specified subnet."

    def test_a_subnet_that_is_used_up_gives_no_more(self, api):
        for _ in range(6):
            api.load_balancer(vip_subnet_id=WEB)
        fault = api.refused("POST", "/loadbalancers", 409, loadbalancer={"vip_subnet_id": WEB})
        assert fault.startswith("No more IP addresses available on network")
        # Its network has another one.
        network = api.get(f"/v2/subnets/{WEB}")["network_id"]
        made = api.load_balancer(vip_subnet_id=None, vip_network_id=network)
        assert made["vip_subnet_id"] == MORE

    def test_a_listener_answers_on_both_vips(self, answering):
        port = unused_port()
        made = answering(port, "both", vip_subnet_id=WEB, additional_vips=[{"subnet_id": MORE}])
        for address in (made["vip_address"], made["additional_vips"][0]["ip_address"]):
            assert Client(address, port).request("/").body == b"both"
