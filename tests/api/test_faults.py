# SPDX-License-Identifier: Apache-2.0
"""What is refused before a resource is asked, and in which of Octavia's two forms; where in a body a message points."""

import json
import socket

import pytest

from fastlb.errors import StoreError
from fastlb.testing import eventually
from tests.api.conftest import SUBNET

NOWHERE = "99000000-0000-4000-8000-000000000009"
ARGUMENTS = [
    ("/loadbalancers", "loadbalancer", "load_balancer"),
    ("/listeners", "listener", "listener_"),
    ("/pools", "pool", "pool_"),
    ("/healthmonitors", "healthmonitor", "health_monitor_"),
    ("/l7policies", "l7policy", "l7policy_"),
]


def fault(response, status):
    """The message of an answer of the API itself."""
    body = response.json()
    assert response.status_code == status, body
    assert list(body) == ["faultcode", "faultstring", "debuginfo"]
    assert body["faultcode"] == ("Server" if status >= 500 else "Client")
    assert body["debuginfo"] is None
    return body["faultstring"]


def raw(api, text, path="/listeners", method="POST", media="application/json"):
    return api.call(method, path, data=text, headers={"Content-Type": media})


@pytest.mark.parametrize(
    "text", ["{", "{'listener': {}}", '{"a": NaN}', '{"a": 1e999}', "[" * 101 + "]" * 101, '"\xff']
)
def test_what_is_not_json_is_refused(api, text):
    assert fault(raw(api, text.encode("latin-1")), 400) == "Request is not in valid JSON format"


@pytest.mark.parametrize(("path", "root", "argument"), ARGUMENTS)
def test_messages_name_the_body_as_octavia_does(api, path, root, argument):
    missing = f'Missing argument: "{argument}"'
    assert fault(raw(api, "", path), 400) == missing
    assert fault(raw(api, "null", path), 400) == missing
    assert fault(raw(api, "{}", path), 400) == missing
    unknown = "Unknown attribute for argument"
    assert fault(raw(api, '{"thing": {}}', path), 400) == f"{unknown} {argument}: thing"
    also = json.dumps({root: {}, "thing": {}})
    assert fault(raw(api, also, path), 400) == f"{unknown} {argument}: thing"
    inner = json.dumps({root: {"colour": 1}})
    assert fault(raw(api, inner, path), 400) == f"{unknown} {argument}.{root}: colour"
    several = json.dumps({root: {"colour": 1, "shape": 2}})
    assert (
        fault(raw(api, several, path), 400)
        == f"Unknown attributes for argument {argument}.{root}: colour, shape"
    )


@pytest.mark.parametrize("text", ["[]", "5", '"listener"', "[{}]"])
def test_a_body_is_an_object(api, text):
    assert fault(raw(api, text), 400) == "Request must be a JSON dict"


@pytest.mark.parametrize("value", ["null", "[]", '"x"', "5", "true"])
def test_what_is_under_the_root_is_an_object(api, value):
    text = fault(raw(api, f'{{"listener": {value}}}'), 400)
    assert text.startswith("Invalid input for field/attribute listener. Value: '")
    assert text.endswith("Value must be an object")


def test_an_attribute_deep_in_a_tree_is_named_with_what_it_is_in(api):
    pool = {"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": [{"colour": 1}]}
    listener = {"protocol": "HTTP", "protocol_port": 80, "default_pool": pool}
    text = api.refused(
        "POST", "/loadbalancers", 400, loadbalancer={"vip_subnet_id": SUBNET, "listeners": [listener]}
    )
    assert text == (
        "Unknown attribute for argument load_balancer.loadbalancer.listeners.default_pool.members: colour"
    )
    text = api.refused(
        "POST", "/pools", 400, pool={"session_persistence": {"colour": 1}} | pool | {"members": []}
    )
    assert text == "Unknown attribute for argument pool_.pool.session_persistence: colour"


def test_a_value_deep_in_a_tree_is_named_with_its_place(api):
    pool = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    members = [{"address": "192.0.2.1", "protocol_port": port} for port in (1, 2, 65536)]
    text = api.refused(
        "POST",
        "/loadbalancers",
        400,
        loadbalancer={"vip_subnet_id": SUBNET, "pools": [pool | {"members": members}]},
    )
    assert text == (
        "Invalid input for field/attribute pools[0].members[2].protocol_port. Value: '65536'. "
        "Value should be lower or equal to 65535"
    )
    assert api.get("/loadbalancers") == [], "all or nothing"


def test_a_message_does_not_repeat_a_huge_value(api):
    text = api.refused(
        "POST", "/loadbalancers", 400, loadbalancer={"vip_subnet_id": SUBNET, "name": "x" * 100_000}
    )
    assert text.endswith("...'. Value should have a maximum character requirement of 255")
    assert len(text) < 5000


@pytest.mark.parametrize("media", ["text/plain", "application/xml", "application/vnd.api+json", "nonsense"])
def test_a_body_in_another_form_is_refused(api, media):
    assert fault(raw(api, "{}", media=media), 415) == f"Unknown mimetype: {media}"


@pytest.mark.parametrize("media", [None, "application/x-www-form-urlencoded"])
def test_a_body_that_does_not_say_what_it_is_is_refused_with_the_remedy(api, media):
    text = fault(raw(api, '{"pool": {}}', media=media), 400)
    assert text == 'Unknown argument: "{"pool": {}}" (the body needs Content-Type: application/json)'


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "APPLICATION/JSON", "text/javascript"])
def test_these_are_json_too(api, media):
    assert fault(raw(api, "{}", media=media), 400) == 'Missing argument: "listener_"'


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "application/*", "text/html, application/json;q=0.1", "application/json", "nonsense"],
)
def test_who_takes_json_is_answered(api, accept):
    assert api.call("GET", "/pools", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    "accept", ["text/html", "application/xml", "application/json;q=0", "text/*;q=0.5, image/png"]
)
def test_who_does_not_take_json_is_told_so(api, accept):
    response = api.call("GET", "/pools", headers={"Accept": accept}, expect=406)
    assert response.json() == {
        "code": 406,
        "title": "Not Acceptable",
        "description": "Only content type application/json is accepted.",
    }


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/pools", "GET, POST"),
        (f"/pools/{NOWHERE}", "DELETE, GET, PUT"),
        (f"/loadbalancers/{NOWHERE}/stats", "GET"),
        (f"/loadbalancers/{NOWHERE}/failover", "PUT"),
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_told_which_there_are(api, path, allowed, method):
    response = api.call(method, path, expect=405)
    assert response.headers["Allow"] == allowed
    if method != "HEAD":
        assert response.json() == {"code": 405, "title": "Method Not Allowed", "description": ""}


@pytest.mark.parametrize(
    ("path", "description"),
    [
        ("/v2/lbaas/nothing", ""),
        ("/v2.0/nothing", ""),
        ("/v2/lbaas/members", ""),
        (f"/v2/lbaas/loadbalancers/{NOWHERE}/stats/more", ""),
        ("/v2/lbaas/Pools", ""),
    ],
)
def test_a_path_that_leads_nowhere(api, path, description):
    response = api.call("GET", path, expect=404)
    assert response.json() == {"code": 404, "title": "Not Found", "description": description}


@pytest.mark.parametrize("path", ["/v4", "/nothing", "/lbaas/pools", "/V2/lbaas/pools", "/v2.1/lbaas/pools"])
def test_a_path_outside_the_api(api, path):
    response = api.session.get(api.url + path)
    assert response.status_code == 404
    assert response.json() == {"code": 404, "title": "Not Found", "description": None}


@pytest.mark.parametrize("prefix", ["/v2/lbaas", "/v2.0/lbaas", "/v2", "/v2.0"])
@pytest.mark.parametrize("suffix", ["", "/", ".json"])
def test_a_path_has_these_spellings(api, prefix, suffix):
    assert api.call("GET", f"{prefix}/listeners{suffix}", expect=200).json() == {
        "listeners": [],
        "listeners_links": [],
    }


@pytest.mark.parametrize(
    ("path", "label"), [("loadbalancers", "Load Balancer"), ("listeners", "Listener"), ("pools", "Pool")]
)
@pytest.mark.parametrize("identity", [NOWHERE, "front", "%00", "..%2f..%2fetc"])
def test_an_id_that_nothing_has_is_not_found_whatever_it_looks_like(api, path, label, identity):
    if "%2f" in identity:
        assert api.call("GET", f"/{path}/{identity}").status_code == 404
        return
    shown = identity.replace("%00", "\0")
    text = f"{label} {shown} not found."
    root = path.removesuffix("s")
    assert fault(api.call("GET", f"/{path}/{identity}"), 404) == text
    assert fault(api.call("PUT", f"/{path}/{identity}", json={root: {"name": "x"}}), 404) == text
    assert fault(api.call("DELETE", f"/{path}/{identity}"), 404) == text


def test_every_answer_has_a_request_id(api):
    responses = [
        api.call("GET", "/pools"),
        api.call("GET", "/nothing"),
        api.call("PATCH", "/pools"),
        raw(api, "{"),
    ]
    ids = [response.headers["x-openstack-request-id"] for response in responses]
    assert all(one.startswith("req-") and len(one) == 40 for one in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("host", [b"[", b"a b", b"x\xff", b"/", b"", b"u@h:1"])
def test_links_of_a_caller_whose_host_is_none_lead_to_the_address_it_came_to(api, host):
    address = api.url.removeprefix("http://")
    name, _, port = address.partition(":")
    with socket.create_connection((name, int(port)), timeout=10) as conn:
        conn.sendall(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: conn.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    links = json.loads(answer.partition(b"\r\n\r\n")[2])["versions"][0]["links"]
    assert links == [{"rel": "self", "href": f"{api.url}/v2"}]


def test_an_error_that_nobody_foresaw_is_logged_and_says_nothing(api, monkeypatch, caplog):
    def broken(kind):
        raise RuntimeError("a secret")

    monkeypatch.setattr(api.controller, "all", broken)
    assert fault(api.call("GET", "/pools"), 500) == "An unknown exception occurred."
    assert "a secret" in caplog.text


@pytest.mark.parametrize(("path", "document"), [("/pools", "pool"), ("/v2/networks", "network")])
def test_what_a_client_is_told_of_a_store_that_fails_is_not_where_it_is(
    api, monkeypatch, caplog, path, document
):
    pool = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "loadbalancer_id": api.load_balancer()["id"]}

    def full(puts, drops=()):
        raise StoreError("/srv/fastlb/state.db", "the disk is full", "make room")

    monkeypatch.setattr(api.controller.store, "commit", full)
    body = {document: pool if document == "pool" else {}}
    text = api.call("POST", path, json=body, expect=500).text
    assert "could not be stored, and nothing was changed" in text
    assert "/srv" not in text
    assert "/srv/fastlb/state.db: the disk is full; make room" in caplog.text


@pytest.mark.parametrize(
    ("field", "logged"), [("198.51.100.7", "198.51.100.7 GET /"), ("::1 GET /forged req-0 200", "- GET /")]
)
def test_the_log_has_the_address_behind_a_proxy_and_nothing_else_for_it(api, caplog, field, logged):
    caplog.set_level("INFO", "fastlb.api.requests")
    api.call("GET", "/", headers={"X-Forwarded-For": field}, expect=200)
    assert eventually(lambda: caplog.messages)[0].startswith(logged)
    assert "forged" not in caplog.text
