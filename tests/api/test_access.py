# SPDX-License-Identifier: Apache-2.0
"""Who may do what: without tokens, with tokens and their roles, and never for a page in a browser."""

import base64
import json
import os
import socket
import stat
import threading

import pytest

from fastlb import ConfigError, Conflict, NotFound
from fastlb.api import access
from fastlb.api.app import create_app
from fastlb.api.settings import Settings
from fastlb.api.tokens import Tokens, TokensError
from fastlb.cli.serve import identity
from fastlb.controller import DEFAULT_PROJECT_ID

SUBNET = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
SHOP = "5a0b0000000000000000000000000001"
OTHER = "5a0b0000000000000000000000000002"


@pytest.fixture
def open_api(api):
    """As `fastlb serve` on loopback: no token is asked for."""
    api._served.app = create_app(api.controller, identify=identity(Settings()))
    return api


@pytest.fixture
def tokens(tmp_path):
    return Tokens(tmp_path / "tokens.json")


@pytest.fixture
def guarded(api, tokens):
    """The API with tokens; `guarded.as_(role, project)` sends one from then on."""
    api._served.app = create_app(api.controller, identify=access.from_programs(access.by_token(tokens)))

    def as_(role, project=SHOP):
        token, secret = tokens.create(project_id=project, role=role)
        api.session.headers["X-Auth-Token"] = secret
        return token

    api.as_ = as_
    return api


def balancer(**fields):
    return {"loadbalancer": {"vip_subnet_id": SUBNET, **fields}}


# Without tokens.


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"X-Auth-Token": "notused"},
        {"Authorization": "Bearer whatever"},
        {"Authorization": "Basic dTpw"},
        {"Authorization": "no scheme at all"},
    ],
)
def test_whatever_token_a_client_invents_is_ignored_on_loopback(open_api, fields):
    made = open_api.call("POST", "/loadbalancers", json=balancer(), headers=fields, expect=201).json()
    assert made["loadbalancer"]["project_id"] == DEFAULT_PROJECT_ID


def test_a_project_may_be_named_without_a_token(open_api):
    made = open_api.call(
        "POST", "/loadbalancers", json=balancer(), headers={"X-Project-Id": SHOP}, expect=201
    )
    assert made.json()["loadbalancer"]["project_id"] == SHOP


# Tokens.


def test_without_a_token_the_answer_is_keystones_401(guarded):
    response = guarded.call("GET", "/loadbalancers", expect=401)
    assert response.json() == {
        "error": {
            "code": 401,
            "title": "Unauthorized",
            "message": "The request you have made requires authentication.",
        }
    }
    assert response.headers["WWW-Authenticate"] == f'Keystone uri="{guarded.url}/identity"'
    assert response.headers["x-openstack-request-id"].startswith("req-")


def test_discovery_needs_no_token(guarded):
    assert guarded.call("GET", "/", expect=200).json()["versions"]


def carriers(secret):
    def basic(text):
        return base64.b64encode(text.encode()).decode()

    return [
        {"X-Auth-Token": secret},
        {"Authorization": f"Bearer {secret}"},
        {"authorization": f"bearer  {secret}"},
        {"Authorization": f"Basic {basic('anybody:' + secret)}"},
    ]


def test_a_token_is_taken_from_each_field_that_clients_use(guarded, tokens):
    _, secret = tokens.create(project_id=SHOP, role="member")
    for fields in carriers(secret):
        guarded.call("GET", "/loadbalancers", headers=fields, expect=200)


def test_a_wrong_token_is_refused_in_each_of_these_fields(guarded, tokens):
    _, secret = tokens.create(project_id=SHOP, role="member")
    digest = tokens.all()[0].sha256
    for wrong in (secret[:-1], secret + "x", "", "notused", digest, "ü", secret.upper()):
        for fields in carriers(wrong):
            coded = {name: value.encode() for name, value in fields.items()}
            guarded.call("GET", "/loadbalancers", headers=coded, expect=401)
    for damaged in ("Basic", "Basic ###", "Basic /w==", "Basic \xe4", "Bearer \xe4", "Digest x", ""):
        fields = {"Authorization": damaged.encode("latin-1")}
        guarded.call("GET", "/loadbalancers", headers=fields, expect=401)


def test_a_member_reads_and_writes_what_is_its_projects(guarded):
    guarded.as_("member")
    made = guarded.post("/loadbalancers", **balancer(name="shop"))
    assert made["project_id"] == SHOP
    assert guarded.put(f"/loadbalancers/{made['id']}", loadbalancer={"name": "shop2"})["name"] == "shop2"
    guarded.delete(f"/loadbalancers/{made['id']}")


def test_an_observer_reads_and_is_refused_every_write(guarded):
    guarded.as_("member")
    made = guarded.post("/loadbalancers", **balancer(name="shop"))
    guarded.as_("observer")
    assert guarded.get(f"/loadbalancers/{made['id']}")["name"] == "shop"
    assert [one["id"] for one in guarded.get("/loadbalancers")] == [made["id"]]
    for method, path, body in (
        ("POST", "/loadbalancers", balancer()),
        ("PUT", f"/loadbalancers/{made['id']}", {"loadbalancer": {"name": "x"}}),
        ("DELETE", f"/loadbalancers/{made['id']}", {}),
        ("PUT", f"/loadbalancers/{made['id']}/failover", {}),
    ):
        assert (
            guarded.refused(method, path, 403, **body)
            == "Policy does not allow this request to be performed."
        )
    assert guarded.get(f"/loadbalancers/{made['id']}")["name"] == "shop"


def test_what_is_another_projects_is_refused_and_not_in_lists(guarded):
    guarded.as_("member")
    made = guarded.post("/loadbalancers", **balancer(name="shop"))
    guarded.as_("member", OTHER)
    for method, path, body in (
        ("GET", f"/loadbalancers/{made['id']}", {}),
        ("GET", f"/loadbalancers/{made['id']}/stats", {}),
        ("PUT", f"/loadbalancers/{made['id']}", {"loadbalancer": {"name": "x"}}),
        ("DELETE", f"/loadbalancers/{made['id']}", {}),
        ("POST", "/loadbalancers", balancer(project_id=SHOP)),
    ):
        assert (
            guarded.refused(method, path, 403, **body)
            == "Policy does not allow this request to be performed."
        )
    assert guarded.get("/loadbalancers") == []


def test_an_admin_acts_on_every_project(guarded):
    guarded.as_("member")
    made = guarded.post("/loadbalancers", **balancer(name="shop"))
    guarded.as_("admin", OTHER)
    assert guarded.get(f"/loadbalancers/{made['id']}")["project_id"] == SHOP
    assert len(guarded.get("/loadbalancers")) == 1
    guarded.call("PUT", f"/loadbalancers/{made['id']}/failover", expect=202)
    assert guarded.post("/loadbalancers", **balancer(project_id=SHOP))["project_id"] == SHOP
    assert guarded.post("/loadbalancers", **balancer())["project_id"] == OTHER


def test_a_project_in_the_header_does_not_count_beside_a_token(guarded):
    guarded.as_("member")
    fields = {"X-Project-Id": OTHER, "X-Roles": "admin"}
    made = guarded.call("POST", "/loadbalancers", json=balancer(), headers=fields, expect=201)
    assert made.json()["loadbalancer"]["project_id"] == SHOP


def test_a_revoked_token_is_refused_at_once(guarded, tokens):
    token = guarded.as_("member")
    guarded.call("GET", "/loadbalancers", expect=200)
    Tokens(tokens.path).revoke(token.id)  # as another process does
    guarded.call("GET", "/loadbalancers", expect=401)


# The file.


def test_while_one_request_reads_the_file_again_the_next_one_waits_for_it(tokens, monkeypatch):
    token, secret = tokens.create(project_id="p", role="member")
    serving = Tokens(tokens.path)
    tokens.revoke(token.id)
    read, reading, go = serving._read, threading.Event(), threading.Event()

    def slow():
        reading.set()
        assert go.wait(10)
        return read()

    monkeypatch.setattr(serving, "_read", slow)
    found = []
    first, second = (threading.Thread(target=lambda: found.append(serving.find(secret))) for _ in range(2))
    first.start()
    assert reading.wait(10)
    second.start()
    second.join(0.1)  # which it would have been, had it not to wait
    go.set()
    first.join()
    second.join()
    assert found == [None, None]


def test_the_file_holds_no_token_and_is_its_owners_alone(tokens):
    _, secret = tokens.create(project_id=SHOP, role="admin", name="ci")
    text = tokens.path.read_text()
    assert secret not in text
    assert secret.removeprefix("fastlb_") not in text
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
    (kept,) = json.loads(text)["tokens"]
    assert (kept["name"], kept["role"], kept["project_id"]) == ("ci", "admin", SHOP)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_root_makes_belongs_to_whom_the_folder_belongs(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 12345, 23456)
    tokens = Tokens(folder / "tokens.json")
    for _ in range(2):
        tokens.create(project_id=SHOP, role="member")
        status = tokens.path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 23456, 0o600)


def test_tokens_are_not_alike(tokens):
    secrets = {tokens.create(project_id=SHOP, role="member")[1] for _ in range(20)}
    assert len(secrets) == 20
    assert min(len(secret) for secret in secrets) >= len("fastlb_") + 43  # 32 bytes in base64
    assert len({token.id for token in tokens.all()}) == 20


def test_tokens_are_found_by_name_or_id_and_revoked(tokens):
    first, _ = tokens.create(project_id=SHOP, role="member", name="a")
    second, secret = tokens.create(project_id=SHOP, role="member", name="b")
    with pytest.raises(Conflict, match="'a'"):
        tokens.create(project_id=OTHER, role="member", name="a")
    assert tokens.revoke("a") == first
    assert tokens.revoke(second.id) == second
    assert tokens.find(secret) is None
    with pytest.raises(NotFound, match="none"):
        tokens.revoke("a")
    with pytest.raises(NotFound):
        tokens.revoke("")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("role", {"role": "root", "project_id": SHOP}),
        ("project", {"role": "member", "project_id": ""}),
        ("project", {"role": "member", "project_id": "x" * 37}),
        ("name", {"role": "member", "project_id": SHOP, "name": "a\nb"}),
    ],
)
def test_what_no_token_can_have_is_refused_and_nothing_written(tokens, field, values):
    with pytest.raises(ConfigError) as caught:
        tokens.create(**values)
    assert caught.value.field == field
    assert not tokens.path.exists()


def test_a_file_that_others_may_write_is_refused(tokens):
    tokens.create(project_id=SHOP, role="member")
    os.chmod(tokens.path, 0o620)
    with pytest.raises(TokensError, match="others may write"):
        Tokens(tokens.path)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"version": 2, "tokens": []}', '{"tokens": [{"id": "x"}]}', "\xff", '{"tokens": null}'],
)
def test_what_is_no_tokens_file_is_refused_and_left_alone(tokens, text):
    tokens.path.write_bytes(text.encode("latin-1"))
    with pytest.raises(TokensError, match=str(tokens.path)):
        Tokens(tokens.path)
    assert tokens.path.read_bytes() == text.encode("latin-1")


def test_a_file_that_breaks_while_served_leaves_the_tokens_that_there_were(guarded, tokens, caplog):
    guarded.as_("member")
    guarded.call("GET", "/loadbalancers", expect=200)
    whole = tokens.path.read_bytes()
    tokens.path.write_bytes(whole[: len(whole) // 2])
    guarded.call("GET", "/loadbalancers", expect=200)
    assert "is no tokens file" in caplog.text


# Pages in a browser.


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1"},  # another port of this machine: another's page
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "rebound.evil.example"},
        {"Host": "[evil.example]"},
        {"Host": b"\xe4"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:9876", "Origin": "http://localhost.evil.example:9876"},
    ],
)
def test_a_page_of_another_site_changes_and_reads_nothing(open_api, fields):
    for method, path in (("POST", "/loadbalancers"), ("GET", "/loadbalancers")):
        response = open_api.call(method, path, json=balancer(), headers=fields, expect=403)
        assert response.json()["faultcode"] == "Client"
    assert open_api.get("/loadbalancers") == []


def test_a_form_or_text_is_no_body_for_this_api(open_api):
    text = json.dumps(balancer())
    for media in ("text/plain", "multipart/form-data; boundary=x"):
        open_api.call("POST", "/loadbalancers", data=text, headers={"Content-Type": media}, expect=415)
    for media in ("application/x-www-form-urlencoded", None):
        open_api.call("POST", "/loadbalancers", data=text, headers={"Content-Type": media}, expect=400)
    assert open_api.get("/loadbalancers") == []


def test_no_page_is_told_that_it_may_ask_across_sites(open_api):
    fields = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    response = open_api.call("OPTIONS", "/loadbalancers", headers=fields)
    assert response.status_code == 405
    assert not [name for name in response.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:1", "localhost", "LocalHost:9876", "[::1]:9876", "lb.localhost", "10.0.0.7", "localhost."],
)
def test_addresses_and_localhost_are_known_names(open_api, host):
    open_api.call("GET", "/loadbalancers", headers={"Host": host}, expect=200)


def test_a_page_of_the_server_itself_may_ask(open_api):
    fields = {"Origin": open_api.url, "Sec-Fetch-Site": "same-origin"}
    open_api.call("POST", "/loadbalancers", json=balancer(), headers=fields, expect=201)


def test_names_that_the_configuration_lists_are_known(api):
    settings = Settings(allowed_hosts=("lb.example",))
    api._served.app = create_app(api.controller, identify=identity(settings))
    api.call("GET", "/loadbalancers", headers={"Host": "LB.example:9876"}, expect=200)
    assert (
        "allowed_hosts" in api.call("GET", "/loadbalancers", headers={"Host": "lb2.example"}, expect=403).text
    )


def test_a_page_of_another_site_is_refused_even_with_credentials(guarded):
    guarded.as_("member")
    guarded.call("GET", "/loadbalancers", headers={"Origin": "https://evil.example"}, expect=403)


# Size.


def test_a_body_above_the_limit_is_refused_however_it_is_sent(api):
    api._served.app = create_app(api.controller, body_limit=2000)
    text = json.dumps(balancer(description="d" * 2000)).encode()
    pieces = (text[at : at + 500] for at in range(0, len(text), 500))
    for body in (text, pieces):
        headers = {"Content-Type": "application/json"}
        answer = api.call("POST", "/loadbalancers", data=body, headers=headers, expect=413).json()
        assert answer["code"] == 413
        assert "2000 bytes" in answer["description"]
    assert api.get("/loadbalancers") == []
    api.post("/loadbalancers", **balancer(description="d" * 200))


def test_who_is_not_known_is_refused_before_the_body_is_read(guarded):
    with socket.create_connection(guarded.url.removeprefix("http://").split(":"), timeout=10) as conn:
        conn.sendall(
            b"POST /v2/lbaas/loadbalancers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n{"
        )
        assert conn.recv(1000).startswith(b"HTTP/1.1 401 ")
