# SPDX-License-Identifier: Apache-2.0
"""openstacksdk as its users have it, over the API: `conn.load_balancer.…`, every operation on every object."""

import pytest
from openstack import exceptions

from fastlb.testing import Client, Member, eventually, named, unused_port
from tests.api.conftest import SDK_MARKS, SUBNET

pytestmark = SDK_MARKS


@pytest.fixture
def sdk(connection):
    return connection.load_balancer


class Kind:
    """How the SDK calls the operations of one kind of object; members and rules are named with their parent."""

    def __init__(self, sdk, name, plural, parent=None):
        self._sdk, self._name, self._plural = sdk, name, plural
        self._parent = parent

    def _call(self, verb, *arguments, **options):
        # create_member(pool, …), but get_member(member, pool): a new one has nothing to stand before its parent.
        if self._parent is not None:
            arguments = (*arguments, self._parent)
        return getattr(self._sdk, f"{verb}_{self._name}")(*arguments, **options)

    def create(self, **fields):
        return self._call("create", **fields)

    def get(self, one):
        return self._call("get", one)

    def find(self, name, **options):
        return self._call("find", name, **options)

    def update(self, one, **changes):
        return self._call("update", one, **changes)

    def delete(self, one, **options):
        return self._call("delete", one, **options)

    def list(self, **query):
        above = () if self._parent is None else (self._parent,)
        return list(getattr(self._sdk, self._plural)(*above, **query))


@pytest.fixture
def built(sdk):
    """One of each kind, in the order of making: name, how it is called, the object, what it was made with."""
    made = {}

    def make(name, plural, fields, parent=None, **references):
        kind = Kind(sdk, name, plural, None if parent is None else made[parent][1])
        whole = fields | {field: made[other][1].id for field, other in references.items()}
        made[name] = (kind, kind.create(**whole), whole)

    make(
        "load_balancer",
        "load_balancers",
        {"name": "lb", "vip_subnet_id": SUBNET, "description": "d", "tags": ["t"]},
    )
    make(
        "listener",
        "listeners",
        {
            "name": "http",
            "protocol": "HTTP",
            "protocol_port": unused_port(),
            "connection_limit": 100,
            "timeout_client_data": 60_000,
            "insert_headers": {"X-Forwarded-For": "true"},
            "allowed_cidrs": ["127.0.0.0/8"],
        },
        load_balancer_id="load_balancer",
    )
    make(
        "pool",
        "pools",
        {
            "name": "web",
            "protocol": "HTTP",
            "lb_algorithm": "LEAST_CONNECTIONS",
            "session_persistence": {
                "type": "APP_COOKIE",
                "cookie_name": "c",
                "persistence_timeout": None,
                "persistence_granularity": None,
            },
        },
        listener_id="listener",
    )
    make(
        "member",
        "members",
        {
            "name": "web1",
            "address": "192.0.2.1",
            "protocol_port": 80,
            "weight": 5,
            "backup": True,
            "subnet_id": SUBNET,
            "monitor_address": "192.0.2.9",
            "monitor_port": 8080,
        },
        parent="pool",
    )
    make(
        "health_monitor",
        "health_monitors",
        {
            "name": "probe",
            "type": "HTTP",
            "delay": 30,
            "timeout": 5,
            "max_retries": 2,
            "max_retries_down": 4,
            "http_method": "HEAD",
            "url_path": "/up",
            "expected_codes": "200-204",
        },
        pool_id="pool",
    )
    make(
        "l7_policy",
        "l7_policies",
        {
            "name": "moved",
            "action": "REDIRECT_TO_URL",
            "redirect_url": "https://new.example/",
            "position": 1,
            "description": "d",
        },
        listener_id="listener",
    )
    make(
        "l7_rule",
        "l7_rules",
        {"type": "PATH", "compare_type": "STARTS_WITH", "rule_value": "/old", "invert": False},
        parent="l7_policy",
    )
    return made


CHANGES = {
    "load_balancer": {"name": "new", "description": "", "is_admin_state_up": False, "tags": ["u", "v"]},
    "listener": {"name": "new", "connection_limit": 7, "timeout_member_data": 1000, "allowed_cidrs": None},
    "pool": {"name": "new", "lb_algorithm": "SOURCE_IP", "session_persistence": None},
    "member": {"name": "new", "weight": 0, "backup": False, "monitor_port": None},
    "health_monitor": {"name": "new", "delay": 5, "url_path": "/down", "is_admin_state_up": False},
    "l7_policy": {"name": "new", "redirect_prefix": "http://other.example", "position": 1},
    "l7_rule": {"rule_value": "/new", "compare_type": "EQUAL_TO", "invert": True},
}
# What the SDK has no attribute for in an answer.
ASKED_ONLY = ("listener_id", "pool_id", "load_balancer_id", "subnet_id", "vip_subnet_id")


@pytest.mark.parametrize("name", CHANGES)
def test_every_operation_on(built, sdk, name):
    kind, made, fields = built[name]
    assert made.provisioning_status == "PENDING_CREATE"
    for field in fields.keys() - set(ASKED_ONLY):
        assert getattr(made, field) == fields[field], field

    got = kind.get(made.id)
    assert got.provisioning_status == "ACTIVE"
    for field in fields.keys() - set(ASKED_ONLY):
        assert getattr(got, field) == fields[field], field

    key = fields.get("name", made.id)
    assert kind.find(key).id == made.id
    assert kind.find(made.id).id == made.id
    assert kind.find("nobody", ignore_missing=True) is None
    with pytest.raises(exceptions.NotFoundException):
        kind.find("nobody", ignore_missing=False)

    assert [one.id for one in kind.list()] == [made.id]
    assert [one.id for one in kind.list(is_admin_state_up=True, provisioning_status="ACTIVE")] == [made.id]
    assert kind.list(operating_status="DEGRADED") == []
    assert [one.id for one in kind.list(project_id=made.project_id)] == [made.id]

    changed = kind.update(made, **CHANGES[name])
    assert changed.provisioning_status == "PENDING_UPDATE"
    got = kind.get(made.id)
    for field, value in CHANGES[name].items():
        assert getattr(changed, field) == value, field
        assert getattr(got, field) == value, field
    assert got.updated_at is not None

    if name == "load_balancer":
        with pytest.raises(exceptions.BadRequestException, match="has children"):
            kind.delete(made)
        kind.delete(made, cascade=True)
    else:
        kind.delete(made)
    with pytest.raises(exceptions.NotFoundException):
        kind.get(made.id)
    kind.delete(made.id)
    with pytest.raises(exceptions.NotFoundException):
        kind.delete(made.id, ignore_missing=False)
    assert kind.list() == []


def test_objects_name_one_another(built, sdk):
    ids = {name: made.id for name, (_, made, _) in built.items()}
    balancer = sdk.get_load_balancer(ids["load_balancer"])
    assert (balancer.listeners, balancer.pools) == ([{"id": ids["listener"]}], [{"id": ids["pool"]}])
    listener = sdk.get_listener(ids["listener"])
    assert listener.load_balancers == [{"id": ids["load_balancer"]}]
    assert listener.l7_policies == [{"id": ids["l7_policy"]}]
    assert listener.default_pool_id == ids["pool"]
    pool = sdk.get_pool(ids["pool"])
    assert pool.loadbalancers == [{"id": ids["load_balancer"]}]
    assert pool.listeners == [{"id": ids["listener"]}]
    assert pool.members == [{"id": ids["member"]}]
    assert pool.health_monitor_id == ids["health_monitor"]
    assert sdk.get_health_monitor(ids["health_monitor"]).pools == [{"id": ids["pool"]}]
    policy = sdk.get_l7_policy(ids["l7_policy"])
    assert (policy.listener_id, policy.rules) == (ids["listener"], [{"id": ids["l7_rule"]}])
    assert [one.id for one in sdk.listeners(load_balancer_id=ids["load_balancer"])] == [ids["listener"]]
    assert [one.id for one in sdk.pools(loadbalancer_id=ids["load_balancer"])] == [ids["pool"]]


def test_waiting_for_a_load_balancer_ends_at_once(sdk):
    made = sdk.create_load_balancer(name="lb", vip_subnet_id=SUBNET)
    ready = sdk.wait_for_load_balancer(made.id, interval=0.01, wait=5)
    assert (ready.provisioning_status, ready.operating_status) == ("ACTIVE", "ONLINE")
    assert ready.vip_address.startswith("127.")
    sdk.wait_for_status(made, "ACTIVE", attribute="provisioning_status", interval=0.01, wait=5)
    sdk.delete_load_balancer(made, cascade=True)
    sdk.wait_for_delete(made, interval=0.01, wait=5)
    assert sdk.find_load_balancer("lb") is None


def test_pages_and_tags(sdk):
    for number in range(5):
        tags = ["every", "odd" if number % 2 else "even"]
        sdk.create_load_balancer(name=f"lb{number}", vip_subnet_id=SUBNET, tags=tags)

    def names(**query):
        return [one.name for one in sdk.load_balancers(**query)]

    everyone = [f"lb{number}" for number in range(5)]
    assert names() == names(limit=2) == names(limit=1) == names(tags=["every"]) == everyone
    assert names(tags=["every", "odd"]) == names(limit=1, any_tags=["odd", "none"]) == ["lb1", "lb3"]
    assert names(not_tags=["odd"]) == names(not_any_tags=["odd", "none"]) == ["lb0", "lb2", "lb4"]
    assert names(name="lb3", vip_subnet_id=SUBNET) == ["lb3"]


def test_refusals_are_the_exceptions_that_the_sdk_has_for_them(built, sdk):
    balancer, listener, pool = (built[name][1] for name in ("load_balancer", "listener", "pool"))
    with pytest.raises(exceptions.ConflictException, match="is already using protocol"):
        sdk.create_listener(
            load_balancer_id=balancer.id, protocol="TCP", protocol_port=listener.protocol_port
        )
    with pytest.raises(exceptions.ConflictException, match="This pool already has a health monitor"):
        sdk.create_health_monitor(pool_id=pool.id, type="TCP", delay=1, timeout=1, max_retries=1)
    with pytest.raises(exceptions.BadRequestException, match="Value should be lower or equal to 256"):
        sdk.create_member(pool, address="192.0.2.2", protocol_port=80, weight=300)
    # A pool that is a part of the path: the SDK does not read that form of refusal.
    with pytest.raises(exceptions.NotFoundException, match="Not Found"):
        sdk.create_member("99000000-0000-4000-8000-000000000009", address="192.0.2.2", protocol_port=80)
    with pytest.raises(exceptions.BadRequestException, match="VIP must contain one of"):
        sdk.create_load_balancer(name="nowhere")


def test_a_whole_load_balancer_in_one_call(sdk):
    with Member(named("one")) as one:
        port = unused_port()
        member = {"address": one.address, "protocol_port": one.port}
        pool = {"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": [member]}
        made = sdk.create_load_balancer(
            name="lb",
            vip_subnet_id=SUBNET,
            listeners=[
                {
                    "name": "http",
                    "protocol": "HTTP",
                    "protocol_port": port,
                    "default_pool": {"name": "web"},
                    "l7policies": [
                        {
                            "action": "REDIRECT_PREFIX",
                            "redirect_prefix": "https://new.example",
                            "rules": [{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/old"}],
                        }
                    ],
                }
            ],
            pools=[pool],
        )
        assert made.listeners[0]["l7policies"][0]["rules"][0]["value"] == "/old"
        assert made.pools[0]["members"][0]["address"] == one.address
        client = Client(made.vip_address, port)
        assert client.get().body == b"one"
        assert client.get("/old").get("Location") == "https://new.example/old"


def test_traffic_statistics_and_failover(built, sdk):
    """Over the objects that were made one by one: the member that is there is a stand-in for nobody."""
    with Member(named("one")) as one, Member(named("two")) as two:
        balancer, listener, pool = (built[name][1] for name in ("load_balancer", "listener", "pool"))
        sdk.delete_member(built["member"][1], pool)
        sdk.update_pool(pool, session_persistence=None, lb_algorithm="ROUND_ROBIN")
        first = sdk.create_member(pool, address=one.address, protocol_port=one.port)
        sdk.create_member(pool, address=two.address, protocol_port=two.port)
        client = Client(balancer.vip_address, listener.protocol_port)
        assert sorted(client.bodies(4)) == [b"one", b"one", b"two", b"two"]
        assert client.get("/old/page").status == 302

        monitor = built["health_monitor"][1]
        sdk.update_health_monitor(monitor, delay=0, max_retries_down=1, url_path="/", http_method="GET")
        one.refuse()
        eventually(lambda: sdk.get_member(first, pool).operating_status == "ERROR")
        eventually(lambda: sdk.get_load_balancer(balancer.id).operating_status == "DEGRADED")
        assert set(client.bodies(3)) == {b"two"}

        # The last client's end is noticed a moment after its answer.
        eventually(lambda: sdk.get_load_balancer_statistics(balancer.id).active_connections == 0)
        for figures in (
            sdk.get_load_balancer_statistics(balancer.id),
            sdk.get_listener_statistics(listener.id),
        ):
            assert figures.total_connections == 8
            assert figures.bytes_in > 0
            assert figures.bytes_out > 0
            assert (figures.active_connections, figures.request_errors) == (0, 0)

        sdk.failover_load_balancer(balancer.id)
        sdk.wait_for_load_balancer(balancer.id, interval=0.01, wait=5)
        assert client.get().body == b"two"
