# SPDX-License-Identifier: Apache-2.0
"""`/l7policies/{id}/rules`: made, shown, changed, deleted, refused; and which requests match."""

import pytest

from fastlb.api.call import Caller

UNKNOWN = "99000000-0000-4000-8000-000000000009"
SOME = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/old"}


@pytest.fixture
def policy(site):
    """The path of a policy that refuses what it matches."""
    document = {"listener_id": site.listener, "action": "REJECT"}
    return f"/l7policies/{site.api.post('/l7policies', l7policy=document)['id']}"


@pytest.fixture
def rules(policy):
    return f"{policy}/rules"


def test_a_new_rule_is_answered_with_all_its_fields_under_the_key_rule(site, rules):
    document = site.api.call("POST", rules, json={"rule": SOME}, expect=201).json()
    assert list(document) == ["rule"]
    made = document["rule"]
    assert made.pop("id")
    assert made.pop("created_at")
    assert made.pop("project_id") == made.pop("tenant_id")
    assert made == {
        "type": "PATH",
        "compare_type": "STARTS_WITH",
        "value": "/old",
        "key": None,
        "invert": False,
        "admin_state_up": True,
        "tags": [],
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "updated_at": None,
    }


def test_what_was_answered_as_pending_is_active_at_once(site, rules):
    made = site.api.post(rules, rule=SOME)
    path = f"{rules}/{made['id']}"
    after = {"provisioning_status": "ACTIVE", "operating_status": "ONLINE"}
    assert site.api.get(path) == made | after
    updated = site.api.put(path, rule={"value": "/new"})
    assert (updated["provisioning_status"], updated["value"]) == ("PENDING_UPDATE", "/new")
    assert site.api.get(path) == updated | after


GIVEN = [
    ({"invert": "yes"}, "invert", True),
    ({"invert": None}, "invert", False),
    ({"admin_state_up": None}, "admin_state_up", False),
    ({"tags": None}, "tags", []),
    ({"tags": ["a"]}, "tags", ["a"]),
    ({"key": "k"}, "key", "k"),
    ({"value": '"a b"'}, "value", '"a b"'),
    ({"type": "HEADER", "key": "X-A", "compare_type": "REGEX", "value": "^a+$"}, "key", "X-A"),
    ({"type": "COOKIE", "key": "c", "value": "a,b"}, "value", "a,b"),
    ({"type": "SSL_CONN_HAS_CERT", "compare_type": "EQUAL_TO", "value": "TRUE"}, "value", "TRUE"),
    ({"project_id": "whose"}, "value", "/old"),
]


@pytest.mark.parametrize(("fields", "field", "stored"), GIVEN)
def test_a_field_that_is_given_is_stored(site, rules, fields, field, stored):
    made = site.api.post(rules, rule={**SOME, **fields})
    assert made[field] == stored
    assert site.api.get(f"{rules}/{made['id']}")[field] == stored


PARSING = "Error parsing L7Rule: "
REFUSED = [
    (
        {"type": "METHOD"},
        "Invalid input for field/attribute type. Value: 'METHOD'. Value should be one of: COOKIE, ",
    ),
    ({"type": None}, f"{PARSING}Invalid L7 Rule: invalid rule type"),
    ({"compare_type": "LIKE"}, "Value should be one of: CONTAINS, ENDS_WITH"),
    ({"compare_type": None}, f"{PARSING}Invalid L7 Rule: invalid comparison type for rule type"),
    ({"value": None}, f"{PARSING}Invalid L7 Rule: L7 rule type requires a value"),
    ({"value": ""}, f"{PARSING}Invalid L7 Rule: L7 rule type requires a value"),
    ({"value": 5}, "Value should be string"),
    ({"value": "v" * 256}, "maximum character requirement of 255"),
    ({"value": "a\nb"}, "Value should match the pattern"),
    ({"value": "a b"}, f"{PARSING}Invalid characters in comparison value"),
    ({"value": "ä"}, f"{PARSING}Invalid characters in comparison value"),
    ({"compare_type": "REGEX", "value": "("}, f"{PARSING}Unable to parse regular expression: missing )"),
    ({"type": "FILE_TYPE"}, f"{PARSING}Invalid L7 Rule: invalid comparison type for rule type"),
    ({"type": "HEADER"}, f"{PARSING}Invalid L7 Rule: L7 rule type requires a key"),
    ({"type": "HEADER", "key": "a b"}, f"{PARSING}Invalid characters in key"),
    ({"type": "COOKIE", "key": "c", "value": "a;b"}, f"{PARSING}Invalid characters in cookie value"),
    (
        {"type": "SSL_CONN_HAS_CERT", "compare_type": "EQUAL_TO", "value": "no"},
        f"{PARSING}Invalid L7 Rule: L7rule value no is not a boolean True string.",
    ),
    (
        {"type": "SSL_VERIFY_RESULT", "compare_type": "EQUAL_TO", "value": "1", "key": "k"},
        f'{PARSING}Invalid L7 Rule: L7rule type SSL_VERIFY_RESULT does not use the "key" field.',
    ),
    (
        {"type": "SSL_DN_FIELD", "key": "1"},
        f"{PARSING}Invalid L7 Rule: Invalid L7rule distinguished name field.",
    ),
    ({"invert": "perhaps"}, "Value not an unambiguous boolean: perhaps"),
    ({"name": "x"}, "Unknown attribute for argument rule_.rule: name"),
    ({"description": "x"}, "Unknown attribute for argument rule_.rule: description"),
    ({"colour": "blue"}, "Unknown attribute for argument rule_.rule: colour"),
]


@pytest.mark.parametrize(("fields", "fault"), REFUSED)
def test_a_new_rule_is_refused_in_octavias_words(site, rules, fields, fault):
    assert fault in site.api.refused("POST", rules, 400, rule={**SOME, **fields})
    assert site.api.get(rules) == []


@pytest.mark.parametrize("missing", SOME)
def test_what_a_rule_needs(site, rules, missing):
    document = {name: value for name, value in SOME.items() if name != missing}
    said = site.api.refused("POST", rules, 400, rule=document)
    assert said == f"Invalid input for field/attribute {missing}. Value: 'None'. Mandatory field missing."


def test_the_body_has_octavias_two_names_in_messages(site, rules):
    path = f"{rules}/{site.api.post(rules, rule=SOME)['id']}"
    assert site.api.refused("POST", rules, 400, l7rule=SOME) == "Unknown attribute for argument rule_: l7rule"
    assert site.api.refused("PUT", path, 400, l7rule={}) == "Unknown attribute for argument l7rule_: l7rule"
    said = site.api.refused("PUT", path, 400, rule={"name": "x"})
    assert said == "Unknown attribute for argument l7rule_.rule: name"
    assert site.api.refused("POST", rules, 400) == 'Missing argument: "rule_"'
    assert site.api.refused("PUT", path, 400) == 'Missing argument: "l7rule_"'


def test_an_update_is_checked_as_the_rule_that_it_makes(site, rules):
    path = f"{rules}/{site.api.post(rules, rule=SOME | {'key': 'k', 'tags': ['t']})['id']}"
    before = site.api.get(path)
    for fields, fault in (
        ({"type": "HEADER", "key": None}, "Invalid L7 Rule: L7 rule type requires a key"),
        ({"type": "FILE_TYPE"}, "Invalid L7 Rule: invalid comparison type for rule type"),
        ({"value": "a b"}, "Invalid characters in comparison value"),
        ({"value": None}, "Invalid L7 Rule: L7 rule type requires a value"),
        ({"type": None}, "Invalid L7 Rule: invalid rule type"),
    ):
        assert site.api.refused("PUT", path, 400, rule=fields) == f"{PARSING}{fault}"
        assert site.api.get(path) == before
    assert site.api.put(path, rule={"type": "HEADER"})["key"] == "k"
    after = site.api.put(path, rule={"type": "PATH", "invert": True})
    assert (after["key"], after["invert"], after["tags"]) == (None, True, ["t"]), "a path has no key"
    after = site.api.put(path, rule={"invert": None, "tags": None})
    assert (after["invert"], after["tags"]) == (False, [])
    assert site.api.put(path, rule={})["updated_at"] is not None


def test_a_policy_has_fifty_rules(site, policy, rules):
    for number in range(50):
        site.api.post(rules, rule=SOME | {"value": f"/{number}"})
    said = site.api.refused("POST", rules, 409, rule=SOME)
    assert said == f"Too many rules on L7 policy {policy.rpartition('/')[2]}"
    site.api.delete(f"{rules}/{site.api.get(rules)[0]['id']}")
    site.api.post(rules, rule=SOME)


def test_a_policy_that_is_not_there_is_a_matter_of_routing(site, rules):
    one = site.api.post(rules, rule=SOME)["id"]
    for policy in (UNKNOWN, "first"):
        for method, path in (
            ("GET", ""),
            ("POST", ""),
            ("GET", f"/{one}"),
            ("PUT", f"/{one}"),
            ("DELETE", f"/{one}"),
        ):
            answer = site.api.call(
                method, f"/l7policies/{policy}/rules{path}", json={"rule": {"no": 1}}, expect=404
            )
            description = f"L7Policy {policy} not found."
            assert answer.json() == {"code": 404, "title": "Bad Request", "description": description}


def test_a_rule_is_found_through_its_own_policy_only(site, rules):
    one = site.api.post(rules, rule=SOME)["id"]
    other = site.api.post("/l7policies", l7policy={"listener_id": site.listener, "action": "REJECT"})["id"]
    for path in (f"/l7policies/{other}/rules/{one}", f"{rules}/{UNKNOWN}", f"{rules}/first"):
        for method in ("GET", "PUT", "DELETE"):
            body = {"rule": {}} if method == "PUT" else {}
            assert (
                site.api.refused(method, path, 404, **body) == f"L7 Rule {path.rpartition('/')[2]} not found."
            )
    assert site.api.get(f"/l7policies/{other}/rules") == []
    site.api.delete(f"{rules}/{one}")
    site.api.call("GET", f"{rules}/{one}", expect=404)


def test_a_list_filters_by_what_is_shown(site, rules):
    one = site.api.post(rules, rule=SOME | {"tags": ["x"]})["id"]
    two = site.api.post(rules, rule=SOME | {"type": "COOKIE", "key": "c", "value": "v", "invert": True})["id"]
    document = site.api.call("GET", rules, expect=200).json()
    assert list(document) == ["rules", "rules_links"]

    def found(**query):
        return [row["id"] for row in site.api.get(rules, **query)]

    assert found() == found(compare_type="STARTS_WITH") == [one, two]
    assert found(type="PATH") == found(value="/old") == found(tags="x") == found(invert="false") == [one]
    assert found(key="c") == found(invert="True") == found(id=two) == [two]
    for query in ("name=x", "sort=name", "listener_id=x"):
        site.api.call("GET", f"{rules}?{query}", expect=400)


def test_rights_and_quota(site, rules):
    made = site.api.post(rules, rule=SOME)
    path, project = f"{rules}/{made['id']}", made["project_id"]
    site.api.called_by(Caller(project_id="another"))
    for method in ("GET", "PUT", "DELETE"):
        site.api.call(method, path, json={"rule": {}} if method == "PUT" else None, expect=403)
    site.api.call("GET", rules, expect=403)
    site.api.called_by(Caller(project_id=project, writes=False))
    site.api.call("GET", path, expect=200)
    site.api.call("DELETE", path, expect=403)
    site.api.called_by(Caller(project_id=project))
    site.api.delete(path)
    site.api.controller.quotas.change(project, {"l7rule": 0})
    assert "Quota" in site.api.refused("POST", rules, 403, rule=SOME)


# Traffic: the policy refuses with 403 what its rules match; there are no members, and the rest gets a 503.


MATCHES = [
    ({"type": "HOST_NAME", "compare_type": "EQUAL_TO", "value": "a.example"}, {"host": "a.example"}),
    ({"type": "PATH", "compare_type": "ENDS_WITH", "value": "/end"}, {"target": "/the/end"}),
    ({"type": "FILE_TYPE", "compare_type": "EQUAL_TO", "value": "jpg"}, {"target": "/a.jpg"}),
    (
        {"type": "HEADER", "compare_type": "CONTAINS", "key": "X-A", "value": "b"},
        {"fields": [("X-A", "abc")]},
    ),
    (
        {"type": "COOKIE", "compare_type": "EQUAL_TO", "key": "c", "value": "v"},
        {"fields": [("Cookie", "a=b; c=v")]},
    ),
    ({"type": "PATH", "compare_type": "REGEX", "value": "^/[0-9]+$"}, {"target": "/42"}),
]


@pytest.mark.parametrize(("fields", "request_"), MATCHES)
def test_a_rule_matches_from_its_answer_on(site, rules, fields, request_):
    assert site.client.request(**request_).status == 503
    path = f"{rules}/{site.api.post(rules, rule=fields)['id']}"
    assert site.client.request(**request_).status == 403
    assert site.client.get("/something/else").status == 503
    site.api.put(path, rule={"invert": True})
    assert site.client.request(**request_).status == 503
    assert site.client.get("/something/else").status == 403
    site.api.delete(path)
    assert site.client.get("/something/else").status == 503


def test_all_enabled_rules_must_match(site, rules):
    site.api.post(rules, rule=SOME)
    other = {"type": "HEADER", "compare_type": "EQUAL_TO", "key": "X-A", "value": "a"}
    path = f"{rules}/{site.api.post(rules, rule=other)['id']}"
    assert site.client.get("/old").status == 503
    assert site.client.request("/old", fields=[("X-A", "a")]).status == 403
    site.api.put(path, rule={"admin_state_up": False})
    assert site.client.get("/old").status == 403
    assert site.api.get(path)["operating_status"] == "OFFLINE"
    first = site.api.get(rules)[0]["id"]
    site.api.put(f"{rules}/{first}", rule={"admin_state_up": False})
    assert site.client.get("/old").status == 503, "a policy without an enabled rule matches nothing"
