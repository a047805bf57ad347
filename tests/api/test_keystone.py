# SPDX-License-Identifier: Apache-2.0
"""Keystone in small: each way to get a token, its catalog, and the sequences of calls that clients make with it."""

import openstack
import pytest

from fastlb.api.access import by_token
from fastlb.api.app import create_app
from fastlb.api.tokens import Tokens
from fastlb.controller import DEFAULT_PROJECT_ID
from tests.api.conftest import SUBNET

# What the SDK deprecates of its own is between it and its authors.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]

PASSWORD = {"user": {"name": "admin", "password": "x", "domain": {"name": "Default"}}}
DEMO = {"project": {"name": "demo", "domain": {"name": "Default"}}}


def authenticate(api, identity=None, scope=None, *, base="/v3", expect=201):
    """The response to `POST /auth/tokens`."""
    auth = {"identity": identity or {"methods": ["password"], "password": PASSWORD}}
    if scope is not None:
        auth["scope"] = scope
    return api.call("POST", f"{base}/auth/tokens", json={"auth": auth}, expect=expect)


def error(response):
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "title"}
    assert body["error"]["code"] == response.status_code
    return body["error"]


@pytest.mark.parametrize("base", ["/v3", "/identity/v3"])
def test_the_version_is_told_at_each_address(api, base):
    version = api.call("GET", base, expect=200).json()["version"]
    assert (version["id"], version["status"]) == ("v3.14", "stable")
    assert version["links"] == [{"rel": "self", "href": f"{api.url}{base}/"}]


def test_an_address_without_a_version_names_the_one_there_is(api):
    values = api.call("GET", "/identity", expect=300).json()["versions"]["values"]
    assert [one["links"][0]["href"] for one in values] == [f"{api.url}/identity/v3/"]


# Without authentication.


@pytest.mark.parametrize(
    "identity",
    [
        {"methods": ["password"], "password": PASSWORD},
        {"methods": ["token"], "token": {"id": "whatever"}},
        {
            "methods": ["application_credential"],
            "application_credential": {"id": "an-id", "secret": "any"},
        },
        {
            "methods": ["application_credential"],
            "application_credential": {"name": "ci", "secret": "any", "user": {"id": "f" * 32}},
        },
    ],
)
@pytest.mark.parametrize("base", ["/v3", "/identity/v3"])
def test_anyone_gets_a_token_with_a_catalog_of_this_server(api, identity, base):
    response = authenticate(api, identity, base=base)
    assert response.headers["X-Subject-Token"]
    token = response.json()["token"]
    assert token["methods"] == identity["methods"]
    assert token["project"] == {
        "id": DEFAULT_PROJECT_ID,
        "name": "default",
        "domain": {"id": "default", "name": "Default"},
    }
    assert [role["name"] for role in token["roles"]] == ["admin", "member", "reader"]
    assert token["issued_at"] < token["expires_at"]
    assert {one["type"]: one["endpoints"][0]["url"] for one in token["catalog"]} == {
        "load-balancer": api.url,
        "network": api.url,
        "identity": f"{api.url}/identity",
    }
    for service in token["catalog"]:
        assert [one["interface"] for one in service["endpoints"]] == ["public", "internal", "admin"]


def test_a_token_for_a_project_makes_things_in_that_project(api):
    response = authenticate(api, scope=DEMO)
    project = response.json()["token"]["project"]
    assert (project["id"], project["name"]) == ("demo", "demo")
    api.session.headers["X-Auth-Token"] = response.headers["X-Subject-Token"]
    assert api.load_balancer()["project_id"] == "demo"
    again = authenticate(api, scope={"project": {"id": project["id"]}}).json()["token"]["project"]
    assert again == project


def test_a_project_whose_name_is_no_id_has_one_that_follows_from_it(api):
    name = "Über\r\nX-Injected: 1"
    for scope in ({"project": {"name": name}}, {"project": {"id": name}}):
        response = authenticate(api, scope=scope)
        assert "X-Injected" not in response.headers
        project_id = response.json()["token"]["project"]["id"]
        assert response.headers["X-Subject-Token"].endswith(project_id)
        assert len(project_id) == 32
    assert [one["id"] for one in api.get("/v3/projects", name=name)] == [project_id]


def test_a_token_for_no_project_has_no_catalog(api):
    for scope in ("unscoped", {"system": {"all": True}}, {"domain": {"id": "default"}}):
        token = authenticate(api, scope=scope).json()["token"]
        assert "project" not in token
        assert "catalog" not in token


def test_a_token_can_be_looked_at_and_given_back(api):
    secret = authenticate(api, scope=DEMO).headers["X-Subject-Token"]
    headers = {"X-Auth-Token": secret, "X-Subject-Token": secret}
    response = api.call("GET", "/v3/auth/tokens", headers=headers, expect=200)
    assert response.headers["X-Subject-Token"] == secret
    assert response.json()["token"]["project"]["name"] == "demo"
    assert api.call("HEAD", "/v3/auth/tokens", headers=headers, expect=200).content == b""
    api.call("DELETE", "/v3/auth/tokens", headers=headers, expect=204)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"auth": []},
        {"auth": {"identity": {}}},
        {"auth": {"identity": {"methods": "password"}}},
        {"auth": {"identity": {"methods": ["password"]}}},
        {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "x"}}}}},
        {"auth": {"identity": {"methods": ["token"], "token": {"id": 7}}}},
        {"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {"project": "x"}}},
    ],
)
def test_what_is_no_request_for_a_token_is_refused(api, body):
    assert error(api.call("POST", "/v3/auth/tokens", json=body, expect=400))["title"] == "Bad Request"


def test_a_method_that_nobody_knows_is_refused(api):
    identity = {"methods": ["saml2"], "saml2": {}}
    assert error(authenticate(api, identity, expect=401))["title"] == "Unauthorized"


@pytest.mark.parametrize("base", ["", "/v3", "/identity/v3"])
def test_projects_are_found_by_name_and_by_id(api, base):
    """Clients without Keystone ask the root of the server."""
    made = api.load_balancer(project_id="6" * 32)
    listed = [one["id"] for one in api.call("GET", f"{base}/projects", expect=200).json()["projects"]]
    assert listed == [DEFAULT_PROJECT_ID, made["project_id"]]
    (found,) = api.call("GET", f"{base}/projects", params={"name": "default"}).json()["projects"]
    assert found["id"] == DEFAULT_PROJECT_ID
    assert error(api.call("GET", f"{base}/projects/default", expect=404))["title"] == "Not Found"
    shown = api.call("GET", f"{base}/projects/{made['project_id']}", expect=200).json()["project"]
    assert (shown["id"], shown["domain_id"], shown["enabled"]) == (made["project_id"], "default", True)


def test_domains_users_and_roles_are_there_for_who_looks_them_up(api):
    assert api.get("/v3/domains", name="Default")[0]["id"] == "default"
    assert api.get("/v3/domains/default")["name"] == "Default"
    assert error(api.call("GET", "/v3/domains/Default", expect=404))
    (user,) = api.get("/v3/users", name="admin")
    assert user["id"] == authenticate(api).json()["token"]["user"]["id"]
    assert api.get(f"/v3/users/{user['id']}")["id"] == user["id"]
    assert error(api.call("GET", "/v3/users/admin", expect=404))
    assert [one["name"] for one in api.get("/v3/roles")] == ["admin", "member", "reader"]
    assert api.get("/v3/auth/catalog")[0]["type"] == "load-balancer"


# With tokens.


@pytest.fixture
def tokens(api, served, tmp_path):
    """The tokens of the server, which asks for one from now on."""
    tokens = Tokens(tmp_path / "tokens.json")
    served.app = create_app(api.controller, identify=by_token(tokens))
    return tokens


def password(secret):
    return {"methods": ["password"], "password": {"user": {**PASSWORD["user"], "password": secret}}}


def test_with_tokens_the_password_must_be_one_and_is_the_token(api, tokens):
    _, secret = tokens.create(project_id="7" * 32, role="member")
    refused = authenticate(api, password("x"), expect=401)
    assert error(refused)["message"] == "The request you have made requires authentication."
    assert refused.headers["WWW-Authenticate"] == f'Keystone uri="{api.url}/v3"'
    for identity in (
        password(secret),
        {"methods": ["token"], "token": {"id": secret}},
        {"methods": ["application_credential"], "application_credential": {"id": "x", "secret": secret}},
    ):
        response = authenticate(api, identity)
        token = response.json()["token"]
        assert response.headers["X-Subject-Token"] == secret
        assert token["project"]["id"] == "7" * 32
        assert [role["name"] for role in token["roles"]] == ["member", "reader"]


def test_a_token_of_one_project_is_not_to_be_had_for_another(api, tokens):
    _, secret = tokens.create(project_id="7" * 32, role="member")
    authenticate(api, password(secret), {"project": {"id": "8" * 32}}, expect=401)
    # What names its project has, only its owner knows.
    response = authenticate(api, password(secret), DEMO)
    assert response.json()["token"]["project"]["id"] == "7" * 32


def test_who_has_no_token_reads_nothing(api, tokens):
    for path in ("/v3/projects", "/v3/users", "/v3/auth/tokens", "/projects", "/v3/auth/catalog"):
        assert error(api.call("GET", path, expect=401))
    authenticate(
        api, {"methods": ["token"], "token": {"id": f"fastlb-open-{DEFAULT_PROJECT_ID}"}}, expect=401
    )


def test_a_member_sees_its_own_project_alone(api, tokens):
    _, secret = tokens.create(project_id="7" * 32, role="observer")
    headers = {"X-Auth-Token": secret}
    rows = api.call("GET", "/v3/projects", headers=headers, expect=200).json()["projects"]
    assert [one["id"] for one in rows] == ["7" * 32]
    api.call("GET", f"/v3/projects/{'8' * 32}", headers=headers, expect=404)
    subject = {**headers, "X-Subject-Token": "no token"}
    api.call("GET", "/v3/auth/tokens", headers=subject, expect=404)


def test_a_page_of_another_site_gets_no_token(api, served):
    from fastlb.api.access import anyone, from_programs

    served.app = create_app(api.controller, identify=from_programs(anyone, hosts=()))
    body = {"auth": {"identity": {"methods": ["password"], "password": PASSWORD}}}
    response = api.call(
        "POST", "/v3/auth/tokens", json=body, headers={"Origin": "http://evil.example"}, expect=403
    )
    assert "Pages of other sites" in response.text


# Clients.


class Gophercloud:
    """What gophercloud asks, and so Terraform, Kubernetes and others: no look at the version where the address has one;
    a token; from the catalog the address of each service, with the versions that it tells; each object by its path."""

    def __init__(self, api, auth_url):
        self.api = api
        base = auth_url
        if not auth_url.endswith("/v3"):
            values = api.call("GET", auth_url, expect=300).json()["versions"]["values"]
            good = [one for one in values if one["id"].startswith("v3") and one["status"] == "stable"]
            base = good[0]["links"][0]["href"].removeprefix(api.url).rstrip("/")
        response = authenticate(api, scope=DEMO, base=base)
        api.session.headers["X-Auth-Token"] = response.headers["X-Subject-Token"]
        self.catalog = response.json()["token"]["catalog"]

    def service(self, kind):
        (entry,) = (one for one in self.catalog if one["type"] == kind)
        url = next(one["url"] for one in entry["endpoints"] if one["interface"] == "public")
        versions = self.api.call("GET", url.removeprefix(self.api.url) + "/", expect=200).json()["versions"]
        assert any(one["id"].startswith("v2.") for one in versions)
        return url.removeprefix(self.api.url) + "/v2.0"


@pytest.mark.parametrize("auth_url", ["/v3", "/identity", "/identity/v3"])
def test_the_calls_of_terraform_make_a_load_balancer_with_a_floating_ip(api, auth_url):
    client = Gophercloud(api, auth_url)
    lbaas, network = client.service("load-balancer") + "/lbaas", client.service("network")

    # openstack_lb_loadbalancer_v2
    made = api.post(f"{lbaas}/loadbalancers", loadbalancer={"vip_subnet_id": SUBNET, "admin_state_up": True})
    path = f"{lbaas}/loadbalancers/{made['id']}"
    assert api.get(path)["provisioning_status"] == "ACTIVE"
    port = api.get(f"{network}/ports/{made['vip_port_id']}")
    assert port["security_groups"] == []
    changed = api.put(f"{network}/ports/{port['id']}", port={"security_groups": [SUBNET]})
    assert changed["security_groups"] == [SUBNET]
    assert api.get(path)["vip_subnet_id"] == SUBNET

    # openstack_networking_floatingip_v2
    (pool,) = api.get(f"{network}/networks", name="provider")
    body = {"floating_network_id": pool["id"], "description": "", "tenant_id": made["project_id"]}
    floating = api.post(f"{network}/floatingips", floatingip=body)
    assert api.get(f"{network}/floatingips/{floating['id']}")["status"] in ("ACTIVE", "DOWN")
    tags = api.call("PUT", f"{network}/floatingips/{floating['id']}/tags", json={"tags": ["a"]}, expect=200)
    assert tags.json() == {"tags": ["a"]}
    assert api.get(f"{network}/networks", id=pool["id"])[0]["name"] == "provider"

    # openstack_networking_floatingip_associate_v2
    found = api.get(f"{network}/floatingips", floating_ip_address=floating["floating_ip_address"])
    assert [one["id"] for one in found] == [floating["id"]]
    one = f"{network}/floatingips/{floating['id']}"
    assert api.put(one, floatingip={"port_id": port["id"]})["fixed_ip_address"] == made["vip_address"]
    assert api.get(one)["port_id"] == port["id"]

    # destroy
    assert api.put(one, floatingip={"port_id": None})["port_id"] is None
    api.delete(one)
    api.call("GET", one, expect=404)
    api.delete(path)
    api.call("GET", path, expect=404)


def test_the_calls_of_terraform_make_a_network_of_its_own(api):
    client = Gophercloud(api, "/v3")
    network, lbaas = client.service("network"), client.service("load-balancer") + "/lbaas"
    made = api.post(f"{network}/networks", network={"name": "tf", "admin_state_up": True})
    assert api.get(f"{network}/networks/{made['id']}")["status"] == "ACTIVE"
    subnet = api.post(
        f"{network}/subnets",
        subnet={
            "network_id": made["id"],
            "cidr": "127.230.0.0/24",
            "ip_version": 4,
            "name": "tf",
            "enable_dhcp": True,
            "allocation_pools": [{"start": "127.230.0.10", "end": "127.230.0.20"}],
        },
    )
    balancer = api.post(f"{lbaas}/loadbalancers", loadbalancer={"vip_subnet_id": subnet["id"]})
    assert balancer["vip_address"] == "127.230.0.10"
    api.delete(f"{lbaas}/loadbalancers/{balancer['id']}")
    api.delete(f"{network}/subnets/{subnet['id']}")
    api.delete(f"{network}/networks/{made['id']}")


@pytest.mark.parametrize("auth_url", ["/v3", "/identity", "/identity/v3"])
def test_openstacksdk_finds_all_services_with_a_password(api, auth_url):
    connection = openstack.connect(
        auth_url=api.url + auth_url,
        username="admin",
        password="x",
        project_name="demo",
        user_domain_name="Default",
        project_domain_name="Default",
        region_name="RegionOne",
        load_yaml_config=False,
        load_envvars=False,
    )
    try:
        made = connection.load_balancer.create_load_balancer(name="sdk", vip_subnet_id=SUBNET)
        assert made.project_id == connection.current_project_id == "demo"
        assert connection.load_balancer.wait_for_load_balancer(made.id).provisioning_status == "ACTIVE"
        floating = connection.network.create_ip(
            floating_network_id=connection.network.find_network("provider").id, port_id=made.vip_port_id
        )
        assert connection.network.find_port(made.vip_port_id).device_owner == "Octavia"
        connection.network.update_ip(floating, port_id=None)
        connection.network.delete_ip(floating)
        assert list(connection.network.ips()) == []
        assert connection.identity.find_project("demo").id == "demo"
        connection.load_balancer.delete_load_balancer(made.id)
    finally:
        connection.close()


def test_openstacksdk_uses_an_application_credential(api, tokens):
    _, secret = tokens.create(project_id="7" * 32, role="admin")
    connection = openstack.connect(
        auth_type="v3applicationcredential",
        auth_url=f"{api.url}/v3",
        application_credential_id="anything",
        application_credential_secret=secret,
        load_yaml_config=False,
        load_envvars=False,
    )
    try:
        assert list(connection.load_balancer.load_balancers()) == []
        assert connection.current_project_id == "7" * 32
    finally:
        connection.close()
