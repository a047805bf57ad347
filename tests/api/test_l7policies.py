# SPDX-License-Identifier: Apache-2.0
"""`/l7policies`: made, shown, moved, changed, deleted, refused; and where requests go then."""

import pytest

from fastlb.api.call import Caller
from fastlb.testing import Load, Member, named, unused_port

UNKNOWN = "99000000-0000-4000-8000-000000000009"
TARGETS = ("redirect_url", "redirect_prefix", "redirect_pool_id", "redirect_http_code")


def policy(site, action="REJECT", **fields):
    return site.api.post("/l7policies", l7policy={"listener_id": site.listener, "action": action, **fields})


def rule(site, made, value="/old", **fields):
    document = {"type": "PATH", "compare_type": "STARTS_WITH", "value": value, **fields}
    return site.api.post(f"/l7policies/{made['id']}/rules", rule=document)


def other_pool(site, **fields):
    """A pool that no listener of the load balancer uses."""
    balancer = site.api.controller.get("loadbalancer", site.id)
    described = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", **fields}
    return balancer.create_pool(**described)


def order(site):
    rows = site.api.get("/l7policies", sort="position")
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["name"] for row in rows]


def test_a_new_policy_is_answered_with_all_its_fields(site):
    made = policy(site)
    assert made.pop("id")
    assert made.pop("created_at")
    assert made.pop("project_id") == made.pop("tenant_id")
    assert made == {
        "name": "",
        "description": "",
        "action": "REJECT",
        "listener_id": site.listener,
        "position": 1,
        "redirect_pool_id": None,
        "redirect_url": None,
        "redirect_prefix": None,
        "redirect_http_code": None,
        "rules": [],
        "admin_state_up": True,
        "tags": [],
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "updated_at": None,
    }


def test_what_was_answered_as_pending_is_active_at_once(site):
    made = policy(site)
    path = f"/l7policies/{made['id']}"
    after = {"provisioning_status": "ACTIVE", "operating_status": "ONLINE"}
    assert site.api.get(path) == made | after
    updated = site.api.put(path, l7policy={"name": "new"})
    assert (updated["provisioning_status"], updated["name"]) == ("PENDING_UPDATE", "new")
    assert site.api.get(path) == updated | after
    one = rule(site, made)
    assert site.api.get(path)["rules"] == [{"id": one["id"]}]


POOL = "the other pool"
COMES_TO = [
    ("REDIRECT_TO_URL", {"redirect_url": "http://a/"}, ("REDIRECT_TO_URL", "http://a/", None, None, 302)),
    (
        "REDIRECT_TO_URL",
        {"redirect_url": "https://a", "redirect_http_code": "308"},
        ("REDIRECT_TO_URL", "https://a", None, None, 308),
    ),
    ("REDIRECT_PREFIX", {"redirect_prefix": "http://a"}, ("REDIRECT_PREFIX", None, "http://a", None, 302)),
    ("REDIRECT_TO_POOL", {"redirect_pool_id": POOL}, ("REDIRECT_TO_POOL", None, None, POOL, None)),
    # The URL wins, and what does not go with the action is dropped.
    (
        "REDIRECT_PREFIX",
        {"redirect_prefix": "http://a", "redirect_url": "http://b"},
        ("REDIRECT_TO_URL", "http://b", None, None, 302),
    ),
    ("REJECT", {"redirect_prefix": "http://a"}, ("REDIRECT_PREFIX", None, "http://a", None, 302)),
    (
        "REJECT",
        {"redirect_url": "http://a", "redirect_pool_id": POOL, "redirect_http_code": 301},
        ("REJECT", None, None, None, 301),
    ),
    (
        "REDIRECT_TO_POOL",
        {"redirect_pool_id": POOL, "redirect_url": "http://a", "redirect_http_code": 301},
        ("REDIRECT_TO_POOL", None, None, POOL, None),
    ),
]


@pytest.mark.parametrize(("action", "fields", "comes_to"), COMES_TO)
def test_an_action_and_its_targets_come_to_what_octavia_makes_of_them(site, action, fields, comes_to):
    pool = other_pool(site).id
    made = policy(site, action, **{name: pool if value is POOL else value for name, value in fields.items()})
    shown = (made["action"], *(POOL if made[name] == pool else made[name] for name in TARGETS))
    assert shown == comes_to


REFUSED = [
    ({"action": None}, 400, "Invalid L7 Policy action specified: None"),
    ({"action": "ALLOW"}, 400, "Value: 'ALLOW'. Value should be one of: REDIRECT_PREFIX, "),
    ({"listener_id": UNKNOWN}, 404, f"Listener {UNKNOWN} not found."),
    ({"listener_id": None}, 404, "Listener None not found."),
    (
        {"listener_id": "http"},
        400,
        "Invalid input for field/attribute listener_id. Value: 'http'. Value should be UUID",
    ),
    ({"action": "REDIRECT_TO_URL"}, 400, "Invalid L7 Policy arguments: redirect_url must not be None"),
    (
        {"action": "REDIRECT_TO_URL", "redirect_url": None},
        400,
        "Invalid L7 Policy arguments: redirect_url must not be None",
    ),
    ({"action": "REDIRECT_PREFIX"}, 400, "Invalid L7 Policy arguments: redirect_prefix must not be None"),
    (
        {"action": "REDIRECT_TO_POOL"},
        400,
        "Invalid L7 Policy arguments: redirect_pool_id or redirect_pool must not be None",
    ),
    (
        {"action": "REDIRECT_TO_URL", "redirect_url": "ftp://a"},
        400,
        "Invalid input for field/attribute redirect_url. Value: 'ftp://a'. Value must be a valid URL string",
    ),
    ({"action": "REDIRECT_TO_URL", "redirect_url": "http://a b"}, 400, "Value must be a valid URL string"),
    (
        {"action": "REDIRECT_TO_URL", "redirect_url": "http://a\r\nX: y"},
        400,
        "Value must be a valid URL string",
    ),
    ({"action": "REDIRECT_TO_URL", "redirect_url": 5}, 400, "Value should be string"),
    (
        {"action": "REDIRECT_TO_URL", "redirect_url": "http://a", "redirect_http_code": 300},
        400,
        "Value should be one of: 301, 302, 303, 307, 308",
    ),
    ({"action": "REDIRECT_TO_POOL", "redirect_pool_id": UNKNOWN}, 404, f"Pool {UNKNOWN} not found."),
    ({"action": "REDIRECT_TO_POOL", "redirect_pool_id": "web"}, 400, "Value should be UUID format"),
    ({"position": 0}, 400, "Value should be greater or equal to 1"),
    ({"position": 2147483648}, 400, "Value should be lower or equal to 2147483647"),
    ({"name": "n" * 256}, 400, "maximum character requirement of 255"),
    ({"description": "d" * 256}, 400, "maximum character requirement of 255"),
    ({"colour": "blue"}, 400, "Unknown attribute for argument l7policy_.l7policy: colour"),
    (
        {"redirect_pool": {"name": "web"}},
        400,
        "Unknown attribute for argument l7policy_.l7policy: redirect_pool",
    ),
    (
        {"rules": [{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}]},
        400,
        "Validation failure: rules can be given only when a whole load balancer is created.",
    ),
]


@pytest.mark.parametrize(("fields", "status", "fault"), REFUSED)
def test_a_new_policy_is_refused_in_octavias_words(site, fields, status, fault):
    document = {"listener_id": site.listener, "action": "REJECT", **fields}
    assert fault in site.api.refused("POST", "/l7policies", status, l7policy=document)
    assert site.api.get("/l7policies") == []


@pytest.mark.parametrize("missing", ["listener_id", "action"])
def test_what_a_policy_needs(site, missing):
    document = {"listener_id": site.listener, "action": "REJECT"}
    del document[missing]
    said = site.api.refused("POST", "/l7policies", 400, l7policy=document)
    assert said == f"Invalid input for field/attribute {missing}. Value: 'None'. Mandatory field missing."


def test_no_rules_are_none(site):
    assert policy(site, rules=[])["rules"] == []
    assert policy(site, rules=None)["rules"] == []


def test_a_pool_must_be_of_the_load_balancer_and_suit_the_listener(site):
    for pool, status, fault in (
        (site.api.pool(), 404, "Pool {} not found."),
        (
            other_pool(site, protocol="TCP").id,
            400,
            "Validation failure: The pool protocol 'TCP' is invalid while the listener protocol is 'HTTP'.",
        ),
    ):
        fields = {"action": "REDIRECT_TO_POOL", "redirect_pool_id": pool}
        document = {"listener_id": site.listener, **fields}
        assert site.api.refused("POST", "/l7policies", status, l7policy=document) == fault.format(pool)
        path = f"/l7policies/{policy(site)['id']}"
        assert site.api.refused("PUT", path, status, l7policy={"redirect_pool_id": pool}) == fault.format(
            pool
        )


def test_only_listeners_that_read_requests_have_policies(site):
    balancer = site.api.controller.get("loadbalancer", site.id)
    tcp = balancer.create_listener(protocol="TCP", protocol_port=unused_port())
    said = site.api.refused("POST", "/l7policies", 501, l7policy={"listener_id": tcp.id, "action": "REJECT"})
    assert said == (
        "Provider 'amphora' does not support a requested option: TCP protocol listeners do not support L7 policies"
    )


def test_positions_have_no_gap(site):
    made = {name: policy(site, name=name) for name in "abc"}
    assert [one["position"] for one in made.values()] == [1, 2, 3]
    made["d"] = policy(site, name="d", position=2)
    assert made["d"]["position"] == 2
    assert order(site) == ["a", "d", "b", "c"]
    assert policy(site, name="e", position=100)["position"] == 5
    assert policy(site, name="f", position=None)["position"] == 6
    assert order(site) == ["a", "d", "b", "c", "e", "f"]
    site.api.delete(f"/l7policies/{made['d']['id']}")
    assert order(site) == ["a", "b", "c", "e", "f"]
    assert site.api.put(f"/l7policies/{made['a']['id']}", l7policy={"position": 3})["position"] == 3
    assert order(site) == ["b", "c", "a", "e", "f"]
    assert site.api.put(f"/l7policies/{made['c']['id']}", l7policy={"position": 1})["position"] == 1
    assert site.api.put(f"/l7policies/{made['b']['id']}", l7policy={"position": 1000})["position"] == 5
    assert order(site) == ["c", "a", "e", "f", "b"]
    assert site.api.put(f"/l7policies/{made['a']['id']}", l7policy={"position": None})["position"] == 2


def test_positions_survive_a_restart(site):
    for name in "abc":
        policy(site, name=name, position=1)
    controller = site.api.controller
    controller.close(0)
    controller.open()
    assert order(site) == ["c", "b", "a"]


def test_a_new_target_takes_the_action_with_it(site):
    pool = other_pool(site).id
    path = f"/l7policies/{policy(site)['id']}"

    def put(**changes):
        after = site.api.put(path, l7policy=changes)
        return (after["action"], *(after[name] for name in TARGETS))

    assert put(redirect_url="http://a") == ("REDIRECT_TO_URL", "http://a", None, None, 302)
    assert put(redirect_http_code=301) == ("REDIRECT_TO_URL", "http://a", None, None, 301)
    assert put(redirect_url="http://b") == ("REDIRECT_TO_URL", "http://b", None, None, 302), (
        "the code falls back"
    )
    assert put(redirect_prefix="http://c") == ("REDIRECT_PREFIX", None, "http://c", None, 302)
    assert put(redirect_http_code=None) == ("REDIRECT_PREFIX", None, "http://c", None, None)
    assert put(redirect_pool_id=pool) == ("REDIRECT_TO_POOL", None, None, pool, None)
    assert put(redirect_http_code=303) == ("REDIRECT_TO_POOL", None, None, pool, 303)
    assert put(action="REJECT") == ("REJECT", None, None, None, None)


UPDATES_REFUSED = [
    ({}, 400, "Invalid L7 Policy arguments: Invalid update options"),
    ({"action": None}, 400, "Invalid L7 Policy action specified: None"),
    ({"action": "REDIRECT_TO_POOL"}, 400, "redirect_pool_id or redirect_pool must not be None"),
    ({"action": "REDIRECT_PREFIX"}, 400, "redirect_prefix must not be None"),
    ({"redirect_url": None}, 400, "redirect_url must not be None"),
    ({"redirect_url": "a"}, 400, "Value must be a valid URL string"),
    ({"redirect_pool_id": UNKNOWN}, 404, f"Pool {UNKNOWN} not found."),
    (
        {"redirect_url": "http://b", "redirect_pool_id": UNKNOWN},
        400,
        "Cannot specify redirect_pool_id and redirect_url or redirect_prefix at the same time",
    ),
    ({"position": 0}, 400, "Value should be greater or equal to 1"),
    ({"listener_id": UNKNOWN}, 400, "Unknown attribute for argument l7policy_.l7policy: listener_id"),
    ({"rules": []}, 400, "Unknown attribute for argument l7policy_.l7policy: rules"),
]


@pytest.mark.parametrize(("fields", "status", "fault"), UPDATES_REFUSED)
def test_an_update_that_is_refused_changes_nothing(site, fields, status, fault):
    path = f"/l7policies/{policy(site, 'REDIRECT_TO_URL', redirect_url='http://a')['id']}"
    before = site.api.get(path)
    assert fault in site.api.refused("PUT", path, status, l7policy=fields)
    assert site.api.get(path) == before


def test_null_goes_back_to_the_default_and_clears_the_tags(site):
    made = policy(site, name="n", description="d", tags=["t"])
    given = dict.fromkeys(("name", "description", "tags", "admin_state_up"))
    reset = site.api.put(f"/l7policies/{made['id']}", l7policy=given)
    assert [reset[name] for name in given] == ["", "", [], False]


def test_a_policy_that_is_not_there(site):
    made = policy(site)
    one = rule(site, made)
    path = f"/l7policies/{made['id']}"
    site.api.delete(path)
    for gone in (path, f"/l7policies/{UNKNOWN}", "/l7policies/first"):
        for method in ("GET", "PUT", "DELETE"):
            body = {"l7policy": {}} if method == "PUT" else {}
            said = site.api.refused(method, gone, 404, **body)
            assert said == f"L7 Policy {gone.rpartition('/')[2]} not found."
    assert site.api.refused("GET", f"{path}/rules/{one['id']}", 404) == f"L7Policy {made['id']} not found."


def test_a_list_filters_by_listener_and_by_what_is_shown(site):
    one = policy(site, name="one", tags=["x"])
    two = policy(site, "REDIRECT_TO_URL", redirect_url="http://a", position=1)
    document = site.api.call("GET", "/l7policies", expect=200).json()
    assert list(document) == ["l7policies", "l7policies_links"]

    def found(**query):
        return [row["id"] for row in site.api.get("/l7policies", **query)]

    assert found() == found(listener_id=site.listener) == [one["id"], two["id"]], "in the order of creation"
    assert found(sort="position") == [two["id"], one["id"]]
    assert found(action="REJECT") == found(position="2") == found(tags="x") == [one["id"]]
    assert found(redirect_url="http://a") == found(redirect_http_code="302") == [two["id"]]
    assert found(listener_id=UNKNOWN) == []
    site.api.call("GET", f"/l7policies?loadbalancer_id={site.id}", expect=400)


def test_rights_and_quota(site):
    made = policy(site)
    path, project = f"/l7policies/{made['id']}", made["project_id"]
    site.api.called_by(Caller(project_id="another"))
    for method in ("GET", "PUT", "DELETE"):
        site.api.call(method, path, json={"l7policy": {"name": "x"}} if method == "PUT" else None, expect=403)
    assert site.api.get("/l7policies") == []
    site.api.called_by(Caller(project_id=project, writes=False))
    site.api.call("GET", path, expect=200)
    site.api.call("DELETE", path, expect=403)
    site.api.called_by(Caller(project_id=project))
    site.api.delete(path)
    site.api.controller.quotas.change(project, {"l7policy": 0})
    document = {"listener_id": site.listener, "action": "REJECT"}
    assert "Quota" in site.api.refused("POST", "/l7policies", 403, l7policy=document)


# Traffic.


def test_a_policy_redirects_from_its_first_rule_on(site):
    with Member(named("default")) as member:
        site.member(member)
        made = policy(
            site, "REDIRECT_TO_URL", redirect_url="https://new.example/there", redirect_http_code=301
        )
        assert site.client.get("/old/a").body == b"default", "a policy without rules matches nothing"
        rule(site, made)
        answer = site.client.get("/old/a")
        assert (answer.status, answer.get("Location")) == (301, "https://new.example/there")
        assert site.client.get("/new").body == b"default"
        path = f"/l7policies/{made['id']}"
        site.api.put(path, l7policy={"redirect_prefix": "https://new.example"})
        answer = site.client.get("/old/a?b=c")
        assert (answer.status, answer.get("Location")) == (302, "https://new.example/old/a?b=c")
        site.api.put(path, l7policy={"action": "REJECT"})
        assert site.client.get("/old/a").status == 403
        site.api.put(path, l7policy={"admin_state_up": False})
        assert site.client.get("/old/a").body == b"default"
        assert site.api.get(path)["operating_status"] == "OFFLINE"
        site.api.put(path, l7policy={"admin_state_up": True})
        assert site.client.get("/old/a").status == 403
        site.api.delete(path)
        assert site.client.get("/old/a").body == b"default"


def test_a_policy_sends_requests_to_another_pool(site):
    with Member(named("default")) as member, Member(named("other")) as other:
        site.member(member)
        pool = other_pool(site)
        pool.create_member(other.address, other.port)
        assert pool.operating_status == "OFFLINE"
        made = policy(site, "REDIRECT_TO_POOL", redirect_pool_id=pool.id)
        rule(site, made)
        assert (site.client.get("/old").body, site.client.get("/").body) == (b"other", b"default")
        assert pool.operating_status == "ONLINE"
        tree = site.api.get(f"/loadbalancers/{site.id}/status")["loadbalancer"]["listeners"][0]["pools"]
        assert [one["id"] for one in tree] == [site.pool, pool.id]


def test_the_first_of_two_policies_decides_and_a_move_changes_that(site):
    policies = [policy(site, "REDIRECT_TO_URL", redirect_url=f"http://{name}/") for name in ("a", "b")]
    for made in policies:
        rule(site, made)
    assert site.client.get("/old").get("Location") == "http://a/"
    site.api.put(f"/l7policies/{policies[1]['id']}", l7policy={"position": 1})
    assert site.client.get("/old").get("Location") == "http://b/"


def test_policies_that_come_and_go_under_load_lose_no_request(site):
    with Member(named("default")) as member, Member(named("other")) as other:
        site.member(member)
        pool = other_pool(site)
        pool.create_member(other.address, other.port)
        with Load(site.client, target="/old") as load:
            for _ in range(20):
                made = policy(site, "REDIRECT_TO_POOL", redirect_pool_id=pool.id, position=1)
                rule(site, made)
                load.wait_requests(5)
                site.api.delete(f"/l7policies/{made['id']}")
                load.wait_requests(5)
        assert load.failures == []
        assert load.bodies.keys() == {b"default", b"other"}
