# SPDX-License-Identifier: Apache-2.0
"""A new member's `subnet_id` where subnets are configured: it must be one of them."""

import pytest

import fastlb
from fastlb.controller import Controller
from fastlb.network import NetworkConfig, Networking
from fastlb.store.memory import MemoryStore
from tests.api.conftest import SUBNET

UNKNOWN = "99000000-0000-4000-8000-000000000009"
FAULT = f"Subnet {UNKNOWN} not found."
ONE = {"address": "192.0.2.1", "protocol_port": 80}
TWO = {"address": "192.0.2.2", "protocol_port": 80}


@pytest.fixture
def controller():
    engine = fastlb.Engine(workers=1)
    networking = Networking(
        NetworkConfig.of(subnets=[{"id": SUBNET, "cidr": "127.9.0.0/24", "name": "front"}])
    )
    with Controller(MemoryStore(), engine=engine, networking=networking) as controller:
        yield controller
    engine.stop(0)


def test_an_unknown_subnet_is_refused(site):
    assert site.member(**ONE, subnet_id=SUBNET)["subnet_id"] == SUBNET
    said = site.api.refused("POST", site.members, 400, member=TWO | {"subnet_id": UNKNOWN})
    assert said == FAULT
    assert len(site.api.get(site.members)) == 1


def test_a_list_with_an_unknown_subnet_changes_nothing(site):
    known = site.member(**ONE, weight=5)
    rows = [ONE, TWO | {"subnet_id": UNKNOWN}]
    assert site.api.refused("PUT", site.members, 400, members=rows) == FAULT
    assert [row["weight"] for row in site.api.get(site.members)] == [5]
    # Of a member that is there nobody asks: its subnet cannot be changed.
    site.api.call("PUT", site.members, json={"members": [ONE | {"subnet_id": UNKNOWN}]}, expect=202)
    (shown,) = site.api.get(site.members)
    assert (shown["id"], shown["subnet_id"]) == (known["id"], None)


def test_a_whole_load_balancer_with_an_unknown_subnet_is_refused(api):
    pool = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": [ONE | {"subnet_id": UNKNOWN}]}
    document = {"vip_subnet_id": SUBNET, "pools": [pool]}
    assert api.refused("POST", "/loadbalancers", 400, loadbalancer=document) == FAULT
    assert api.get("/loadbalancers") == []


def test_what_is_wrong_with_the_fields_is_said_first(site):
    said = site.api.refused("POST", site.members, 400, member=ONE | {"subnet_id": UNKNOWN, "weight": 300})
    assert "Value should be lower or equal to 256" in said
