# SPDX-License-Identifier: Apache-2.0
"""`/pools/{id}/members`: made, shown, changed, deleted, refused; and what a member's fields do to traffic."""

UNKNOWN = "99000000-0000-4000-8000-000000000009"


def pool_of(api, **fields):
    return api.load_balancer(
        vip_address="127.0.0.1", pools=[{"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", **fields}]
    )["pools"][0]["id"]


def test_a_new_member_is_answered_with_all_its_fields(api):
    pool = pool_of(api)
    member = api.post(f"/pools/{pool}/members", member={"address": "192.0.2.1", "protocol_port": 80})
    assert member.pop("id")
    assert member.pop("created_at")
    assert member.pop("project_id") == member.pop("tenant_id")
    assert member == {
        "name": "",
        "address": "192.0.2.1",
        "protocol_port": 80,
        "weight": 1,
        "backup": False,
        "subnet_id": None,
        "monitor_address": None,
        "monitor_port": None,
        "vnic_type": "normal",
        "admin_state_up": True,
        "tags": [],
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "NO_MONITOR",
        "updated_at": None,
    }
