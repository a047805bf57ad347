# SPDX-License-Identifier: Apache-2.0
"""`auth = "keystone"`: tokens that a Keystone vouches for, asked over HTTP by keystonemiddleware.

The Keystone is a small server that speaks what token validation needs of its API: versions, a token for the service
that asks, and the answer to `GET /v3/auth/tokens`.
"""

import http.server
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from fastlb import ConfigError
from fastlb.api.access import from_programs
from fastlb.api.app import create_app

pytest.importorskip("keystonemiddleware", reason="the extra fastlb[keystone] is not installed")

from fastlb.api.keystone_access import by_keystone

# What OpenStack's libraries use and Python is about to drop is not for us to change.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SHOP = "5a0b0000000000000000000000000001"
OTHER = "5a0b0000000000000000000000000002"
SUBNET = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
SERVICE = "of-the-service-itself"
REFUSED = "Policy does not allow this request to be performed."


class Keystone(http.server.ThreadingHTTPServer):
    """`tokens`: by what users send, their projects and roles. `asked`: the tokens that were asked about."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.tokens = {}
        self.asked = []
        self.broken = False

    def grant(self, token, *roles, project=SHOP, hours=1, **more):
        self.tokens[token] = self.document(roles, project, hours) | more

    def document(self, roles, project, hours=1):
        now = datetime.now(UTC)
        form = "%Y-%m-%dT%H:%M:%S.000000Z"
        endpoint = {
            "id": "e",
            "interface": "public",
            "region": "R",
            "region_id": "R",
            "url": f"{self.url}/v3",
        }
        interfaces = [endpoint | {"interface": name} for name in ("public", "internal", "admin")]
        document = {
            "methods": ["password"],
            "user": {"id": "u", "name": "user", "domain": {"id": "default", "name": "Default"}},
            "audit_ids": ["a"],
            "issued_at": now.strftime(form),
            "expires_at": (now + timedelta(hours=hours)).strftime(form),
            "roles": [{"id": role, "name": role} for role in roles],
            "catalog": [
                {"id": "k", "type": "identity", "name": "keystone", "endpoints": interfaces},
                {"id": "o", "type": "load-balancer", "name": "octavia", "endpoints": interfaces},
            ],
        }
        if project is not None:
            domain = {"id": "default", "name": "Default"}
            document["project"] = {"id": project, "name": "shop", "domain": domain}
        return document


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        if self.path.rstrip("/") in ("", "/v3"):
            links = [{"rel": "self", "href": f"{server.url}/v3/"}]
            version = {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": links}
            whole = (
                {"version": version} if self.path.startswith("/v3") else {"versions": {"values": [version]}}
            )
            self.answer(200 if self.path.startswith("/v3") else 300, whole)
        elif self.path.startswith("/v3/auth/tokens") and not server.broken:
            token = self.headers["X-Subject-Token"]
            server.asked.append(token)
            if self.headers["X-Auth-Token"] != SERVICE:
                self.answer(401, {"error": {"code": 401, "message": "who asks?"}})
            elif token in server.tokens:
                self.answer(200, {"token": server.tokens[token]})
            else:
                self.answer(404, {"error": {"code": 404, "message": "no such token"}})
        else:
            self.answer(503, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = body["auth"]["identity"]["password"]["user"]
        if (user["name"], user["password"]) == ("fastlb", "secret"):
            document = self.server.document(("service",), "services")
            self.answer(201, {"token": document}, {"X-Subject-Token": SERVICE})
        else:
            self.answer(401, {"error": {"code": 401, "message": "wrong password"}})

    def answer(self, status, document, headers=()):
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **dict(headers)}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def keystone():
    server = Keystone()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def options(keystone):
    return {
        "auth_url": keystone.url,
        "www_authenticate_uri": f"{keystone.url}/v3",
        "username": "fastlb",
        "password": "secret",
        "project_name": "services",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "http_request_max_retries": 0,
    }


@pytest.fixture
def asks(api, keystone, options):
    """`asks(method, path, token=…, …)`: the response."""
    api._served.app = create_app(api.controller, identify=from_programs(by_keystone(options)))

    def ask(method, path, token=None, *, expect, **more):
        headers = {} if token is None else {"X-Auth-Token": token}
        return api.call(method, path, headers=headers | more.pop("headers", {}), expect=expect, **more)

    return ask


def balancer(**fields):
    return {"json": {"loadbalancer": {"vip_subnet_id": SUBNET, **fields}}}


def test_no_token_and_one_that_keystone_does_not_know_are_refused(asks, keystone):
    for token in (None, "invented"):
        response = asks("GET", "/loadbalancers", token, expect=401)
        assert response.json()["error"]["code"] == 401
        assert response.headers["WWW-Authenticate"] == f'Keystone uri="{keystone.url}/v3"'
    asks("GET", "/", expect=200)


@pytest.mark.parametrize("role", ["member", "load-balancer_member"])
def test_a_member_has_what_is_its_projects(asks, keystone, role):
    keystone.grant("one", role)
    keystone.grant("two", role, project=OTHER)
    made = asks("POST", "/loadbalancers", "one", expect=201, **balancer()).json()["loadbalancer"]
    assert made["project_id"] == SHOP
    path = f"/loadbalancers/{made['id']}"
    assert asks("GET", "/loadbalancers", "two", expect=200).json()["loadbalancers"] == []
    assert asks("GET", path, "two", expect=403).json()["faultstring"] == REFUSED
    asks("PUT", f"{path}/failover", "one", expect=403)
    asks("DELETE", path, "one", expect=204)


@pytest.mark.parametrize("role", ["reader", "load-balancer_observer"])
def test_an_observer_reads(asks, keystone, role):
    keystone.grant("reads", role)
    asks("GET", "/loadbalancers", "reads", expect=200)
    asks("POST", "/loadbalancers", "reads", expect=403, **balancer())


@pytest.mark.parametrize("role", ["admin", "load-balancer_admin"])
def test_an_admin_has_everything(asks, keystone, role):
    keystone.grant("one", "member")
    keystone.grant("all", role, "member", "reader", project=OTHER)
    made = asks("POST", "/loadbalancers", "one", expect=201, **balancer()).json()["loadbalancer"]
    asks("PUT", f"/loadbalancers/{made['id']}/failover", "all", expect=202)
    asks("GET", "/v2/octavia/amphorae", "all", expect=200)


def test_a_global_observer_reads_everything_and_changes_nothing(asks, keystone):
    keystone.grant("one", "member")
    keystone.grant("sees", "load-balancer_global_observer", project=OTHER)
    made = asks("POST", "/loadbalancers", "one", expect=201, **balancer()).json()["loadbalancer"]
    asks("GET", f"/loadbalancers/{made['id']}", "sees", expect=200)
    asks("DELETE", f"/loadbalancers/{made['id']}", "sees", expect=403)
    asks("PUT", f"/quotas/{SHOP}", "sees", expect=403, json={"quota": {"pool": 1}})


@pytest.mark.parametrize(("roles", "project"), [(["stranger"], SHOP), ([], SHOP), (["member"], None)])
def test_without_a_role_in_a_project_everything_is_refused(asks, keystone, roles, project):
    keystone.grant("odd", *roles, project=project)
    assert asks("GET", "/loadbalancers", "odd", expect=403).json()["faultstring"] == REFUSED


def test_header_fields_that_claim_something_count_for_nothing(asks, keystone):
    keystone.grant("reads", "reader")
    claims = {
        "X-Roles": "admin",
        "X-Project-Id": OTHER,
        "X-Identity-Status": "Confirmed",
        "X-User-Id": "root",
    }
    asks("GET", "/loadbalancers", headers=claims, expect=401)
    asks("POST", "/loadbalancers", "reads", headers=claims, expect=403, **balancer(project_id=OTHER))


def test_an_expired_token_is_refused(asks, keystone):
    keystone.grant("old", "member", hours=-1)
    asks("GET", "/loadbalancers", "old", expect=401)


def test_a_token_is_asked_about_once_for_several_requests(asks, keystone):
    keystone.grant("one", "member")
    for _ in range(3):
        asks("GET", "/loadbalancers", "one", expect=200)
    assert keystone.asked == ["one"]


def test_access_rules_of_an_application_credential_are_kept_to(asks, keystone):
    rules = [{"id": "r", "service": "load-balancer", "method": "GET", "path": "/v2/lbaas/**"}]
    keystone.grant(
        "narrow", "member", application_credential={"id": "c", "restricted": True, "access_rules": rules}
    )
    asks("GET", "/loadbalancers", "narrow", expect=200)
    asks("POST", "/loadbalancers", "narrow", expect=401, **balancer())
    asks("GET", "/v2.0/lbaas/pools", "narrow", expect=401)


@pytest.mark.parametrize("token", ["a\tb", "\xe4", "x" * 5000])
def test_what_cannot_be_a_token_is_refused(asks, token):
    asks("GET", "/loadbalancers", headers={"X-Auth-Token": token.encode("latin-1")}, expect=401)


def test_odd_paths_are_asked_about_as_they_are(asks, keystone):
    keystone.grant("one", "member")
    for path in ("/loadbalancers/%C3%A4", "/loadbalancers/a%3Fb", "/loadbalancers/a%23b%25"):
        asks("GET", path, "one", expect=404)


def test_when_keystone_is_broken_the_answer_is_503(asks, keystone):
    keystone.broken = True
    assert asks("GET", "/loadbalancers", "one", expect=503).json()["faultcode"] == "Server"


def test_when_keystone_is_gone_the_answer_is_503(asks, keystone):
    keystone.shutdown()
    keystone.server_close()
    assert asks("GET", "/loadbalancers", "one", expect=503).json()["faultcode"] == "Server"


def test_quotas_are_enforced(asks, keystone):
    keystone.grant("one", "member")
    keystone.grant("all", "admin", project=OTHER)
    asks("PUT", f"/quotas/{SHOP}", "all", expect=202, json={"quota": {"loadbalancer": 0}})
    asks("POST", "/loadbalancers", "one", expect=403, **balancer())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"auth_ulr": "x"},
            "keystone.auth_ulr='…': is no option of keystonemiddleware; did you mean auth_url?",
        ),
        ({"auth_type": "v9magic"}, "keystone.auth_type='v9magic': must be a way of keystoneauth1"),
        ({"http_connect_timeout": "soon"}, "must be what keystonemiddleware can use"),
    ],
)
def test_wrong_options_are_named(options, change, problem):
    with pytest.raises(ConfigError) as caught:
        by_keystone(options | change)
    assert problem in str(caught.value)
