# SPDX-License-Identifier: Apache-2.0
"""`/healthmonitors`: made, shown, changed, deleted, refused; and what they make of members."""

import pytest

from fastlb.api.call import Caller
from fastlb.testing import Member, eventually, named

UNKNOWN = "99000000-0000-4000-8000-000000000009"
SOME = {"type": "HTTP", "delay": 30, "timeout": 5, "max_retries": 2}
QUICK = {"type": "HTTP", "delay": 0, "timeout": 1, "max_retries": 1, "max_retries_down": 1}
"""Ten probes a second."""


def monitor(site, **fields):
    return site.api.post("/healthmonitors", healthmonitor={"pool_id": site.pool, **SOME, **fields})


def tree(site):
    """The pool in the status tree."""
    statuses = site.api.get(f"/loadbalancers/{site.id}/status")
    return statuses["loadbalancer"]["listeners"][0]["pools"][0]


def test_a_new_monitor_is_answered_with_all_its_fields(site):
    made = monitor(site)
    assert made.pop("id")
    assert made.pop("created_at")
    assert made.pop("project_id") == made.pop("tenant_id")
    assert made == {
        "name": "",
        "type": "HTTP",
        "delay": 30,
        "timeout": 5,
        "max_retries": 2,
        "max_retries_down": 3,
        "http_method": "GET",
        "url_path": "/",
        "expected_codes": "200",
        "http_version": None,
        "domain_name": None,
        "pools": [{"id": site.pool}],
        "admin_state_up": True,
        "tags": [],
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "updated_at": None,
    }


def test_what_was_answered_as_pending_is_active_at_once(site):
    made = monitor(site)
    path = f"/healthmonitors/{made['id']}"
    after = {"provisioning_status": "ACTIVE", "operating_status": "ONLINE"}
    assert site.api.get(path) == made | after
    updated = site.api.put(path, healthmonitor={"delay": 60})
    assert (updated["provisioning_status"], updated["delay"]) == ("PENDING_UPDATE", 60)
    assert site.api.get(path) == updated | after


def test_a_tcp_monitor_has_no_http_fields(site):
    made = monitor(site, type="TCP")
    assert [made[name] for name in ("http_method", "url_path", "expected_codes")] == [None, None, None]


GIVEN = [
    ("name", None, ""),
    ("delay", "7", 7),
    ("delay", 1.5, 1),
    ("delay", 0, 0),
    ("timeout", 31, 31),
    ("max_retries", "10", 10),
    ("max_retries_down", 10, 10),
    ("http_method", "HEAD", "HEAD"),
    ("http_method", None, "GET"),
    ("url_path", "/a?b=c#d", "/a?b=c#d"),
    ("url_path", None, "/"),
    ("expected_codes", "200, 202", "200, 202"),
    ("expected_codes", "200-204", "200-204"),
    ("expected_codes", None, "200"),
    ("http_version", "1.1", 1.1),
    ("http_version", 1, 1.0),
    ("admin_state_up", None, False),
    ("tags", ["a"], ["a"]),
]


@pytest.mark.parametrize(("field", "given", "stored"), GIVEN)
def test_a_field_that_is_given_is_stored(site, field, given, stored):
    made = monitor(site, **{field: given})
    assert made[field] == stored
    assert site.api.get(f"/healthmonitors/{made['id']}")[field] == stored


REFUSED = [
    (
        {"type": "SMTP"},
        400,
        "Invalid input for field/attribute type. Value: 'SMTP'. Value should be one of: HTTP, ",
    ),
    ({"type": "http"}, 400, "Value should be one of"),
    ({"type": None}, 400, "None is not a valid option for type"),
    (
        {"type": "UDP-CONNECT"},
        400,
        "Validation failure: The UDP-CONNECT type is only supported for pools of type UDP/",
    ),
    (
        {"type": "SCTP"},
        400,
        "Validation failure: The SCTP type is only supported for pools of type UDP/SCTP.",
    ),
    ({"delay": None}, 400, "None is not a valid option for delay"),
    ({"delay": -1}, 400, "Value should be greater or equal to 0"),
    ({"delay": "x"}, 400, "Invalid input for field/attribute delay. Value: 'x'."),
    ({"timeout": None}, 400, "None is not a valid option for timeout"),
    ({"max_retries": None}, 400, "None is not a valid option for max_retries"),
    ({"max_retries": 0}, 400, "Value should be greater or equal to 1"),
    ({"max_retries": 11}, 400, "Value should be lower or equal to 10"),
    ({"max_retries_down": None}, 400, "None is not a valid option for max_retries_down"),
    ({"http_method": "get"}, 400, "Value should be one of: CONNECT, DELETE"),
    ({"url_path": "status"}, 400, "Value: 'status'. Value must be a valid URL Path string"),
    ({"url_path": "//a"}, 400, "Value must be a valid URL Path string"),
    ({"url_path": "http://a/b"}, 400, "Value must be a valid URL Path string"),
    ({"url_path": "/a b"}, 400, "Value must be a valid URL Path string"),
    ({"expected_codes": "20"}, 400, "Value: '20'. Value should match the pattern"),
    ({"expected_codes": "200-204,301"}, 400, "Value should match the pattern"),
    ({"expected_codes": 200}, 400, "Value should be string"),
    ({"http_version": 2}, 400, "Value should be one of: 1.0, 1.1"),
    ({"domain_name": "a.b"}, 400, "'http_version' must be specified when 'domain_name' is provided."),
    (
        {"domain_name": "a.b", "http_version": 1.0},
        400,
        "http_version 1.0 is not a valid option for health monitors HTTP 1.1 domain name health check",
    ),
    ({"domain_name": "a_b.c", "http_version": 1.1}, 400, "Value: 'a_b.c'. Value should match the pattern"),
    ({"domain_name": "a.b:80", "http_version": 1.1}, 400, "Value should match the pattern"),
    ({"domain_name": "", "http_version": 1.1}, 400, "Value should have a minimum character requirement of 1"),
    (
        {"type": "TCP", "http_method": "GET"},
        400,
        "http_method is not a valid option for health monitors of type TCP",
    ),
    ({"type": "TCP", "url_path": "/"}, 400, "url_path is not a valid option for health monitors of type TCP"),
    (
        {"type": "PING", "expected_codes": "200"},
        400,
        "expected_codes is not a valid option for health monitors of",
    ),
    ({"pool_id": UNKNOWN}, 404, f"Pool {UNKNOWN} not found."),
    ({"pool_id": None}, 404, "Pool None not found."),
    (
        {"pool_id": "web"},
        400,
        "Invalid input for field/attribute pool_id. Value: 'web'. Value should be UUID format",
    ),
    ({"colour": "blue"}, 400, "Unknown attribute for argument health_monitor_.healthmonitor: colour"),
    ({"description": "x"}, 400, "Unknown attribute for argument health_monitor_.healthmonitor: description"),
    # What Octavia complains of first.
    ({"pool_id": UNKNOWN, "delay": -1}, 400, "Value should be greater or equal to 0"),
    ({"pool_id": UNKNOWN, "colour": "blue"}, 400, "Unknown attribute"),
]


@pytest.mark.parametrize(("fields", "status", "fault"), REFUSED)
def test_a_new_monitor_is_refused_in_octavias_words(site, fields, status, fault):
    document = {"pool_id": site.pool, **SOME, **fields}
    assert fault in site.api.refused("POST", "/healthmonitors", status, healthmonitor=document)
    assert site.api.get("/healthmonitors") == []


@pytest.mark.parametrize("missing", ["pool_id", *SOME])
def test_what_a_monitor_needs(site, missing):
    document = {"pool_id": site.pool, **SOME}
    del document[missing]
    said = site.api.refused("POST", "/healthmonitors", 400, healthmonitor=document)
    assert said == f"Invalid input for field/attribute {missing}. Value: 'None'. Mandatory field missing."


def test_the_body_has_octavias_name_in_messages(site):
    assert site.api.refused("POST", "/healthmonitors", 400) == 'Missing argument: "health_monitor_"'
    said = site.api.refused("POST", "/healthmonitors", 400, health_monitor={})
    assert said == "Unknown attribute for argument health_monitor_: health_monitor"


def test_a_pool_has_one_monitor(site):
    first = monitor(site)
    document = {"pool_id": site.pool, **SOME}
    said = site.api.refused("POST", "/healthmonitors", 409, healthmonitor=document)
    assert said == "This pool already has a health monitor"
    site.api.delete(f"/healthmonitors/{first['id']}")
    assert monitor(site)["id"] != first["id"]


def test_null_goes_back_to_the_default(site):
    given = {
        "name": "n",
        "max_retries_down": 5,
        "http_method": "HEAD",
        "url_path": "/a",
        "expected_codes": "204",
        "http_version": 1.1,
        "domain_name": "a.b",
        "tags": ["t"],
    }
    made = monitor(site, **given)
    reset = site.api.put(f"/healthmonitors/{made['id']}", healthmonitor=dict.fromkeys(given))
    assert {name: reset[name] for name in given} == {
        "name": "",
        "max_retries_down": 3,
        "http_method": "GET",
        "url_path": "/",
        "expected_codes": "200",
        "http_version": None,
        "domain_name": None,
        "tags": ["t"],
    }


UPDATES_REFUSED = [
    ({"delay": None}, "None is not a valid option for delay"),
    ({"timeout": None}, "None is not a valid option for timeout"),
    ({"max_retries": None}, "None is not a valid option for max_retries"),
    ({"type": "HTTP"}, "Unknown attribute for argument health_monitor_.healthmonitor: type"),
    ({"pool_id": UNKNOWN}, "Unknown attribute for argument health_monitor_.healthmonitor: pool_id"),
    ({"name": "new", "max_retries": 11}, "Value should be lower or equal to 10"),
    ({"domain_name": "a.b"}, "'http_version' must be specified"),
    ({"http_version": 1.0, "domain_name": "a.b"}, "http_version 1.0 is not a valid option"),
]


@pytest.mark.parametrize(("fields", "fault"), UPDATES_REFUSED)
def test_an_update_that_is_refused_changes_nothing(site, fields, fault):
    path = f"/healthmonitors/{monitor(site)['id']}"
    before = site.api.get(path)
    assert fault in site.api.refused("PUT", path, 400, healthmonitor=fields)
    assert site.api.get(path) == before


def test_a_domain_name_keeps_its_http_1_1(site):
    path = f"/healthmonitors/{monitor(site, http_version=1.1, domain_name='a.b')['id']}"
    for version in (None, 1.0):
        site.api.refused("PUT", path, 400, healthmonitor={"http_version": version})
    after = site.api.put(path, healthmonitor={"http_version": None, "domain_name": None})
    assert (after["http_version"], after["domain_name"]) == (None, None)


def test_http_fields_of_a_tcp_monitor_are_refused_in_an_update(site):
    path = f"/healthmonitors/{monitor(site, type='TCP')['id']}"
    said = site.api.refused("PUT", path, 400, healthmonitor={"url_path": "/a"})
    assert said == "url_path is not a valid option for health monitors of type TCP"


def test_a_monitor_that_is_not_there(site):
    path = f"/healthmonitors/{monitor(site)['id']}"
    site.api.delete(path)
    for one in (path, f"/healthmonitors/{UNKNOWN}", "/healthmonitors/Beispielmonitor"):
        for method in ("GET", "PUT", "DELETE"):
            body = {"healthmonitor": {}} if method == "PUT" else {}
            said = site.api.refused(method, one, 404, **body)
            assert said == f"Health Monitor {one.rpartition('/')[2]} not found."


def test_a_list_filters_by_pool_and_by_what_is_shown(site):
    made = monitor(site, name="one", tags=["x"])
    document = site.api.call("GET", "/healthmonitors", expect=200).json()
    assert list(document) == ["healthmonitors", "healthmonitors_links"]

    def found(**query):
        return [row["id"] for row in site.api.get("/healthmonitors", **query)]

    for query in ({"pool_id": site.pool}, {"type": "HTTP"}, {"delay": "30"}, {"name": "one"}, {"tags": "x"}):
        assert found(**query) == [made["id"]]
    for query in ({"pool_id": UNKNOWN}, {"type": "TCP"}, {"expected_codes": "201"}):
        assert found(**query) == []
    site.api.call("GET", f"/healthmonitors?loadbalancer_id={site.id}", expect=400)


def test_rights_and_quota(site):
    made = monitor(site)
    path, project = f"/healthmonitors/{made['id']}", made["project_id"]
    site.api.called_by(Caller(project_id="another"))
    for method in ("GET", "PUT", "DELETE"):
        site.api.call(method, path, json={"healthmonitor": {}} if method == "PUT" else None, expect=403)
    assert site.api.get("/healthmonitors") == []
    site.api.called_by(Caller(project_id=project, writes=False))
    site.api.call("GET", path, expect=200)
    site.api.call("DELETE", path, expect=403)
    site.api.called_by(Caller(project_id=project))
    site.api.delete(path)
    site.api.controller.quotas.change(project, {"healthmonitor": 0})
    document = {"pool_id": site.pool, **SOME}
    assert "Quota" in site.api.refused("POST", "/healthmonitors", 403, healthmonitor=document)


# Traffic.


def test_a_dead_member_is_in_error_and_gets_no_requests(site):
    with Member(named("alive")) as alive, Member(named("dead")) as dead:
        site.member(alive)
        gone = site.member(dead)
        made = monitor(site, **QUICK)
        assert site.answers(4) == {b"alive": 2, b"dead": 2}
        dead.refuse()
        path = f"{site.members}/{gone['id']}"
        eventually(lambda: site.api.get(path)["operating_status"] == "ERROR")
        pool = tree(site)
        assert pool["operating_status"] == "DEGRADED"
        assert [member["operating_status"] for member in pool["members"]] == ["ONLINE", "ERROR"]
        assert pool["health_monitor"] == {
            "id": made["id"],
            "name": "",
            "type": "HTTP",
            "provisioning_status": "ACTIVE",
            "operating_status": "ONLINE",
        }
        balancer = site.api.get(f"/loadbalancers/{site.id}")
        assert (balancer["operating_status"], balancer["provisioning_status"]) == ("DEGRADED", "ACTIVE")
        assert site.answers(4) == {b"alive": 4}
        dead.resume()
        eventually(lambda: site.api.get(path)["operating_status"] == "ONLINE")
        assert site.answers(4) == {b"alive": 2, b"dead": 2}


def test_a_draining_member_is_probed_on(site):
    with Member(named("one")) as one, Member(named("two")) as two:
        site.member(one)
        path = f"{site.members}/{site.member(two, weight=0)['id']}"
        monitor(site, **QUICK)
        assert site.api.get(path)["operating_status"] == "DRAINING"
        two.refuse()
        eventually(lambda: site.api.get(path)["operating_status"] == "ERROR")


def test_an_update_is_in_force_at_the_next_probe(site):
    with Member() as member:
        path = f"{site.members}/{site.member(member)['id']}"
        probe = f"/healthmonitors/{monitor(site, **QUICK, url_path='/before')['id']}"
        eventually(lambda: "/before" in member.targets)
        assert site.api.get(path)["operating_status"] == "ONLINE"
        site.api.put(probe, healthmonitor={"url_path": "/after", "expected_codes": "204"})
        eventually(lambda: site.api.get(path)["operating_status"] == "ERROR")
        assert "/after" in member.targets
        site.api.put(probe, healthmonitor={"expected_codes": "200-204"})
        eventually(lambda: site.api.get(path)["operating_status"] == "ONLINE")


def test_without_a_monitor_in_force_every_member_counts_as_up(site):
    with Member(named("one")) as one:
        path = f"{site.members}/{site.member(one)['id']}"
        probe = f"/healthmonitors/{monitor(site, **QUICK, expected_codes='204')['id']}"
        eventually(lambda: site.api.get(path)["operating_status"] == "ERROR")
        assert site.client.get().status == 503
        site.api.put(probe, healthmonitor={"admin_state_up": False})
        assert site.api.get(probe)["operating_status"] == "OFFLINE"
        assert site.api.get(path)["operating_status"] == "NO_MONITOR"
        assert site.client.get().body == b"one"
        site.api.put(probe, healthmonitor={"admin_state_up": True})
        eventually(lambda: site.api.get(path)["operating_status"] == "ERROR")
        site.api.delete(probe)
        assert site.api.get(path)["operating_status"] == "NO_MONITOR"
        assert site.client.get().body == b"one"
        assert tree(site)["health_monitor"] is None
