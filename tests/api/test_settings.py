# SPDX-License-Identifier: Apache-2.0
"""The settings of `fastlb serve`: what a file may say, what the command line changes, and what is refused."""

import pathlib

import pytest

from fastlb import ConfigError, ConfigFileError
from fastlb.api import settings
from fastlb.api.settings import Bind, load

WHOLE = """
bind = "[::1]:9000"
state = "state"
workers = 3
log_level = "warning"
auth = "tokens"
tokens = "/etc/fastlb/tokens.json"
allowed_hosts = ["LB.example"]

[tls]
certificate = "tls/cert.pem"
key = "/etc/ssl/key.pem"

[quotas]
loadbalancer = 10
member = 500

[limits]
body_bytes = 65536
"""


@pytest.fixture
def file(tmp_path):
    def write(text, name="fastlb.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_file_says_it_all_and_its_paths_count_from_its_folder(file, tmp_path):
    read = load(file(WHOLE), {})
    assert read.bind == Bind("::1", 9000)
    assert read.state_folder == tmp_path / "state"
    assert (read.workers, read.log_level, read.authentication) == (3, "warning", "tokens")
    assert read.tokens_file == pathlib.Path("/etc/fastlb/tokens.json")
    assert read.allowed_hosts == ("lb.example",)
    assert read.tls.certificate == tmp_path / "tls" / "cert.pem"
    assert read.tls.key == pathlib.Path("/etc/ssl/key.pem")
    assert (read.quotas.loadbalancer, read.quotas.member, read.quotas.pool) == (10, 500, -1)
    assert read.limits.body_bytes == 65536


def test_the_same_in_json_and_yaml(file):
    assert load(file('{"bind": "127.0.0.1:1", "limits": {"body_bytes": 2000}}', "a.json"), {}).bind.port == 1
    assert (
        load(file("bind: 127.0.0.1:1\nlimits: {body_bytes: 2000}\n", "a.yaml"), {}).limits.body_bytes == 2000
    )


def test_the_command_line_goes_before_the_file(file):
    read = load(file(WHOLE), {"bind": "127.0.0.1:1", "auth": "none"})
    assert (str(read.bind), read.authentication, read.workers) == ("127.0.0.1:1", "none", 3)


def test_nothing_given_is_loopback_without_tokens(monkeypatch, tmp_path):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    read = load(None, {})
    assert (str(read.bind), read.authentication) == ("127.0.0.1:9876", "none")
    assert read.state_folder == tmp_path / "fastlb"
    assert read.tokens_file == tmp_path / "fastlb" / "tokens.json"


def test_systemds_state_directory_is_the_state(monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/fastlb")
    assert load(None, {}).state_folder == pathlib.Path("/var/lib/fastlb")


@pytest.mark.parametrize(
    ("given", "bind"),
    [
        ("127.0.0.1:9876", Bind("127.0.0.1", 9876)),
        ("localhost:0", Bind("127.0.0.1", 0)),
        ("[::1]:65535", Bind("::1", 65535)),
        ("[::]:80", Bind("::", 80)),
        ("unix:/run/fastlb.sock", Bind(path="/run/fastlb.sock")),
    ],
)
def test_forms_of_bind(given, bind):
    assert settings.address("bind", given, False) == bind


@pytest.mark.parametrize(
    "given",
    [
        "", "9876", ":9876", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80",
        "127.0.0.1:" + "1" * 5000,
        "[::1]", "lb.example:80", "127.1:80", "127.0.0.1:8²", "unix:", "unix:relative",
        "unix:/a\0b", "unix:/" + "x" * 107, 80, None,
    ],
)  # fmt: skip
def test_what_is_no_bind_is_refused(given):
    with pytest.raises(ConfigError, match=r"^bind="):
        settings.address("bind", given, False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bnid = 1", "bnid: no such field; did you mean bind?"),
        ("[tls]\ncertificate = 'a'\nkye = 'b'", "tls.kye: no such field; did you mean key?"),
        ("[tls]\ncertificate = 'a'", "tls.key: must be given"),
        ("[quotas]\nlisteners = 1", "quotas.listeners: no such field; did you mean listener?"),
        ("[quotas]\nlistener = -2", "quotas.listener=-2: must be -1..2000000000"),
        ("workers = 0", "workers=0: must be 1..128"),
        ("workers = '2'", "workers='2': must be an integer"),
        ("auth = 'basic'", "auth='basic': must be one of none, tokens, keystone"),
        ("auth = 'keystone'", "keystone='…': must be given"),
        ("[keystone]\nauth_url = 'http://127.0.0.1:5000'", "keystone='…': must be given"),
        ("tls = 1", "tls=1: must be a table with certificate, key"),
        ("socket_mode = 'rw'", "socket_mode='rw': must be octal"),
        ("log_level = 'loud'", "log_level='loud': must be one of"),
        ("state = ''", "state='': must be a path"),
        ("allowed_hosts = 'lb'", "allowed_hosts='lb': must be a list of names"),
        ("[limits]\nbody_bytes = 0", "limits.body_bytes=0: must be 1024.."),
        ("bind = '0.0.0.0:9876'\nauth = 'none'", "auth='none': must be tokens or keystone"),
        ("bind = '0.0.0.0:9876'", "bind='0.0.0.0:9876': can be reached by others and needs TLS"),
        ("bind = 'unix:/x'\n[tls]\ncertificate = 'a'\nkey = 'b'", "tls='…': must be left out"),
        ("bind = ", "must be TOML"),
        ("[[subnets]]\nname = 'web'", "subnets[0].cidr: must be given"),
        ("[[subnets]]\ncidr = '10.0.0.0/33'", "subnets[0].cidr='10.0.0.0/33': must be a network"),
        (
            "[[subnets]]\ncidr = '10.0.0.0/24'\nreaches = ['x']\n[[floating_networks]]\ncidr = '192.0.2.0/24'",
            "subnets[0].reaches='x': must be the name of a floating network; there are: provider",
        ),
    ],
)
def test_a_wrong_file_is_named_with_the_place_and_what_is_allowed(file, text, problem):
    path = file(text)
    with pytest.raises(ConfigFileError) as caught:
        load(path, {})
    assert str(caught.value).startswith(f"{path}: ")
    assert problem in str(caught.value)


def test_subnets_and_floating_networks_are_those_of_the_file_or_the_default_ones(file):
    assert load(None, {}).network.stands_in
    network = load(
        file(
            "[[subnets]]\nname = 'web'\ncidr = '10.0.0.0/24'\n"
            "[[subnets]]\nname = 'web6'\ncidr = '2001:db8::/64'\nnetwork = 'web'\n"
            "[[floating_networks]]\ncidr = '192.0.2.0/24'"
        ),
        {},
    ).network
    assert [(one.name, one.network) for one in network.subnets] == [("web", "web"), ("web6", "web")]
    assert [one.name for one in network.floating_networks] == ["provider"]
    assert not network.stands_in


def test_what_others_can_reach_wants_tokens_and_tls_or_an_explicit_word():
    assert load(None, {"bind": "0.0.0.0:1", "insecure_bind": True}).authentication == "tokens"
    pair = {"certificate": "a", "key": "b"}
    assert load(None, {"bind": "192.0.2.1:1", "tls": pair}).authentication == "tokens"
    with pytest.raises(ConfigError, match=r"tls\.certificate"):
        load(None, {"bind": "192.0.2.1:1"})
    for more in ({"insecure_bind": True}, {"tls": pair}):
        with pytest.raises(ConfigError, match="must be tokens or keystone"):
            load(None, {"bind": "192.0.2.1:1", "auth": "none", **more})
