# SPDX-License-Identifier: Apache-2.0
"""`fastlb explain FILE`: what its arguments become, and what it prints."""

import json

import pytest

from fastlb import cli

FILE = {
    "loadbalancers": [
        {
            "name": "web",
            "vip_address": "127.0.0.1",
            "listeners": [
                {
                    "name": "front",
                    "protocol": "HTTP",
                    "protocol_port": 8080,
                    "insert_headers": {"X-Forwarded-For": "true"},
                    "default_pool": {
                        "name": "app",
                        "protocol": "HTTP",
                        "lb_algorithm": "SOURCE_IP",
                        "members": [
                            {"address": "10.0.0.7", "protocol_port": 80},
                            {"address": "10.0.0.8", "protocol_port": 80, "weight": 0},
                        ],
                    },
                    "l7policies": [
                        {
                            "name": "secret",
                            "action": "REJECT",
                            "rules": [
                                {
                                    "type": "HEADER",
                                    "key": "X-Who",
                                    "compare_type": "EQUAL_TO",
                                    "value": "a:b",
                                },
                                {"type": "HOST_NAME", "compare_type": "EQUAL_TO", "value": "a.example"},
                            ],
                        }
                    ],
                },
                {"name": "raw", "protocol": "TCP", "protocol_port": 8081},
            ],
        }
    ]
}


@pytest.fixture
def explain(tmp_path, capsys):
    """`explain("--path", "/x")`: exit status, stdout, stderr."""

    def run(*arguments, content=FILE):
        file = tmp_path / "web.json"
        file.write_text(json.dumps(content))
        try:
            status = cli.main(["explain", str(file), *arguments])
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        return status, out, err.replace(str(file), "web.json")

    return run


def test_it_prints_policies_pool_members_and_what_is_sent(explain):
    status, out, _ = explain("--path", "/x?y=1", "--header", "Accept: a", "--header", "Accept:b")
    assert status == 0
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "GET /x?y=1 on 127.0.0.1:8080 from 192.0.2.7:4711"
    assert "policy secret (REJECT, position 1): does not match" in lines
    assert "10.0.0.7:80: may be chosen (chosen)" in lines
    assert "10.0.0.8:80: has weight 0: only clients that are bound to it" in lines
    sent = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
    assert sent[0] == "GET /x?y=1 HTTP/1.1"
    assert {"Accept: a", "Accept: b", "X-Forwarded-For: 192.0.2.7"} <= set(sent)


def test_every_argument_arrives(explain):
    status, out, _ = explain(
        *("--listener", "front", "--method", "POST", "--host", "a.example", "--path", "/s"),
        *("--header", "X-Who: a:b", "--client", "[2001:DB8::7]:80", "--json"),
    )
    said = json.loads(out)
    assert status == 0
    assert said["request"] == "POST /s on a.example"
    assert said["client"] == "[2001:db8::7]:80"
    assert (said["status"], said["policy"]["name"], said["pool"]) == (403, "secret", None)
    assert [rule["matches"] for rule in said["policies"][0]["rules"]] == [True, True]
    assert said["sent"].startswith("HTTP/1.1 403 ")


def test_a_listener_is_found_by_its_port(explain):
    assert explain("--listener", "8080")[0] == 0


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("198.51.100.3", "198.51.100.3:4711"),
        ("198.51.100.3:9", "198.51.100.3:9"),
        ("2001:db8::7", "[2001:db8::7]:4711"),
        ("[2001:db8::7]:9", "[2001:db8::7]:9"),
    ],
)
def test_a_client_is_an_address_with_a_port_or_without(explain, text, client):
    assert json.loads(explain("--client", text, "--json")[1])["client"] == client


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--client", "localhost"),
            "argument --client: 'localhost': must be an address, with a port or without",
        ),
        (("--client", "192.0.2.7:x"), "argument --client: '192.0.2.7:x': must be an address"),
        (("--header", "Accept"), "argument --header: 'Accept': must be 'NAME: VALUE'"),
        (("--header", ": a"), "argument --header: ': a': must be 'NAME: VALUE'"),
    ],
)
def test_a_wrong_argument_is_an_error_of_usage(explain, arguments, message):
    status, out, err = explain(*arguments)
    assert (status, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--listener", "x"), "fastlb: web.json: --listener x: not there; listeners: front, raw\n"),
        (("--listener", "raw"), "fastlb: protocol='TCP': must be HTTP"),
        (("--client", "192.0.2.7:70000"), "fastlb: client[1]=70000: must be 0..65535"),
    ],
)
def test_what_cannot_be_explained_is_said_in_one_line(explain, arguments, message):
    status, out, err = explain(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_of_several_http_listeners_one_must_be_named(explain):
    content = json.loads(json.dumps(FILE))
    content["loadbalancers"].append(
        {"vip_address": "127.0.0.2", "listeners": [{"protocol": "HTTP", "protocol_port": 8080}]}
    )
    status, _, err = explain(content=content)
    assert status == 1
    assert err == "fastlb: web.json: an HTTP listener: 2 fit; name one by --listener: front, 127.0.0.2:8080\n"
    assert "2 fit" in explain("--listener", "8080", content=content)[2]
    assert explain("--listener", "front", content=content)[0] == 0
    assert "on 127.0.0.2:8080" in explain("--listener", "127.0.0.2:8080", content=content)[1]
    assert "not there; listeners: none" in explain(content={"loadbalancer": {}})[2]
