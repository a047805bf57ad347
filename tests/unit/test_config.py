# SPDX-License-Identifier: Apache-2.0
"""A configuration file: three formats, and errors that name file, place and what is allowed."""

import json
import re
import subprocess
import sys

import pytest

from fastlb import ConfigFileError, Engine, FastLBError, cli, config

ONE = {
    "loadbalancer": {
        "name": "web",
        "vip_address": "127.0.0.1",
        "listeners": [
            {"name": "http", "protocol": "HTTP", "protocol_port": 8080, "default_pool": {"name": "app"}}
        ],
        "pools": [
            {
                "name": "app",
                "protocol": "HTTP",
                "lb_algorithm": "ROUND_ROBIN",
                "retry": {"num_retries": 1},
                "members": [
                    {"address": "10.0.0.7", "protocol_port": 80, "weight": 3},
                    {"address": "::1", "protocol_port": 80, "max_connections": 9},
                ],
                "healthmonitor": {"type": "HTTP", "delay": 5, "timeout": 2.5, "max_retries": 2},
            }
        ],
    }
}
TOML = """
[loadbalancer]
name = "web"
vip_address = "127.0.0.1"

[[loadbalancer.listeners]]
name = "http"
protocol = "HTTP"
protocol_port = 8080
default_pool.name = "app"

[[loadbalancer.pools]]
name = "app"
protocol = "HTTP"
lb_algorithm = "ROUND_ROBIN"
retry = { num_retries = 1 }
healthmonitor = { type = "HTTP", delay = 5, timeout = 2.5, max_retries = 2 }
members = [
    { address = "10.0.0.7", protocol_port = 80, weight = 3 },
    { address = "::1", protocol_port = 80, max_connections = 9 },
]
"""
YAML = """
loadbalancer:
  name: web
  vip_address: 127.0.0.1
  listeners:
    - {name: http, protocol: HTTP, protocol_port: 8080, default_pool: {name: app}}
  pools:
    - name: app
      protocol: HTTP
      lb_algorithm: ROUND_ROBIN
      retry: {num_retries: 1}
      healthmonitor: {type: HTTP, delay: 5, timeout: 2.5, max_retries: 2}
      members:
        - {address: 10.0.0.7, protocol_port: 80, weight: 3}
        - {address: "::1", protocol_port: 80, max_connections: 9}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """`file("web.json", content)`: its name, as a user in that folder gives it."""
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content)
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write


def refusal(name):
    with pytest.raises(ConfigFileError) as caught:
        config.check_startable(name, config.load(name))
    assert isinstance(caught.value, (FastLBError, ValueError))
    return str(caught.value)


def several(*changes):
    """As many load balancers as there are changes, on ports of their own."""
    made = []
    for at, change in enumerate(changes):
        body = json.loads(json.dumps(ONE["loadbalancer"]))
        body["name"] = f"web{at}"
        body["listeners"][0]["protocol_port"] += at
        change(body)
        made.append(body)
    return {"loadbalancers": made}


def nothing(body):
    pass


FORMATS = [
    ("web.json", ONE),
    ("web", ONE),
    ("web.conf", ONE),
    ("WEB.TOML", TOML),
    ("web.yaml", YAML),
    ("web.yml", YAML),
]


@pytest.mark.parametrize(("name", "content"), FORMATS, ids=[name for name, _ in FORMATS])
def test_each_format_gives_the_same(file, name, content):
    if content is YAML:
        pytest.importorskip("yaml")
    (balancer,) = config.load(file(name, content))
    (reference,) = config.load(file("reference.json", ONE))
    assert balancer.to_dict() == reference.to_dict()
    assert balancer.pools[0].members[1].max_connections == 9
    assert not balancer.started


def test_a_path_object_and_an_engine_are_taken(file, tmp_path):
    engine = Engine(workers=1)
    file("web.json", ONE)
    (balancer,) = config.load(tmp_path / "web.json", engine=engine)
    assert balancer.engine is engine


def test_several_load_balancers_in_one_file(file):
    balancers = config.load(file("all.json", several(nothing, nothing)))
    assert [balancer.name for balancer in balancers] == ["web0", "web1"]
    config.check_startable("all.json", balancers)


def test_a_byte_order_mark_is_no_content(file):
    assert config.load(file("web.json", b"\xef\xbb\xbf" + json.dumps(ONE).encode()))


CONTENTS = [
    ("[]", 'web.json: must be an object with "loadbalancer" or "loadbalancers"'),
    ('{"listeners": []}', 'web.json: must be an object with "loadbalancer" or "loadbalancers"'),
    ('{"loadbalancer": {}, "pools": []}', 'web.json: pools: no such field beside "loadbalancer"'),
    (
        '{"loadbalancers": [{}], "loadbalancer": {}}',
        'web.json: loadbalancers: no such field beside "loadbalancer"',
    ),
    ('{"loadbalancers": []}', "web.json: loadbalancers=[]: must not be empty"),
    ('{"loadbalancers": {}}', "web.json: loadbalancers={}: must be a list of load balancers"),
    ('{"loadbalancers": [7]}', "web.json: loadbalancers[0]=7: must be a mapping"),
    ('{"loadbalancer": null}', "web.json: loadbalancer=None: must be a mapping"),
    ('{"loadbalancer":\n  {"name": }}', "web.json:2:12: must be JSON: Expecting value"),
    ("", "web.json:1:1: must be JSON: Expecting value"),
    ('{"a": 1, "b": 2, "a": 3}', "web.json: 'a' must stand only once in an object; this one has a, b"),
    ('{"loadbalancer": {"drain_timeout": NaN}}', "web.json: must be JSON, which has no NaN"),
    (b'{"loadbalancer": "\xff"}', "web.json: must be UTF-8: invalid start byte at byte 18"),
    ("[" * 100_000, "web.json: is nested too deeply"),
]


@pytest.mark.parametrize(("content", "message"), CONTENTS, ids=[str(n) for n in range(len(CONTENTS))])
def test_what_is_no_configuration_is_refused(file, content, message):
    assert refusal(file("web.json", content)).startswith(message)


def test_what_the_name_does_not_say_is_read_as_json_and_the_refusal_says_so(file):
    message = refusal(file("web.conf", 'bind = "127.0.0.1:9876"'))
    assert message.startswith(
        "web.conf:1:1: must be JSON (a name without .json, .toml, .yaml, .yml is taken for"
    )


def test_what_is_not_toml_is_refused_with_its_line(file):
    assert refusal(file("web.toml", "[loadbalancer]\nname = web\n")).startswith("web.toml: must be TOML: ")
    assert "line 2" in refusal("web.toml")
    assert "must be TOML" in refusal(file("twice.toml", '[loadbalancer]\nname = "a"\nname = "b"\n'))


YAMLS = [
    ("a: [", "web.yaml:1:5: must be YAML: "),
    ("a: 1\nb:\n  c: 1\n  c: 2\n", "web.yaml:4:3: must be YAML: 'c' must stand only once in a mapping"),
    ("1: a", "web.yaml:1:1: must be YAML: a key must be a string: put it into quotes"),
    ("a: !!python/object:os.system {}", "web.yaml:1:4: must be YAML: could not determine a constructor"),
    ("a: \x00", "web.yaml: must be YAML: unacceptable character"),
    ("a: 2024-99-99", "web.yaml: month must be in 1..12"),
    ("", 'web.yaml: must be an object with "loadbalancer"'),
    ("[" * 10_000, "web.yaml: is nested too deeply"),
]


@pytest.mark.parametrize(("content", "message"), YAMLS, ids=[str(n) for n in range(len(YAMLS))])
def test_what_is_not_yaml_is_refused_with_its_line(file, content, message):
    pytest.importorskip("yaml")
    assert refusal(file("web.yaml", content)).startswith(message)


def test_yaml_anchors_and_merges_work(file):
    pytest.importorskip("yaml")
    members = "\n  pools: [{name: p, protocol: TCP, lb_algorithm: MAGLEV, members: [%s]}]"
    text = (
        "loadbalancer:"
        + members % "&one {address: 10.0.0.7, protocol_port: 80}, {<<: *one, protocol_port: 81}"
    )
    (balancer,) = config.load(file("web.yaml", text))
    assert [member.protocol_port for member in balancer.pools[0].members] == [80, 81]


def test_without_pyyaml_the_error_says_what_to_install(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert refusal(file("web.yaml", YAML)) == "web.yaml: reading YAML needs PyYAML: pip install pyyaml"


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal("web.json") == "web.json: No such file or directory"
    assert refusal(".") == ".: Is a directory"


def at_pool(**fields):
    return lambda body: body["pools"][0].update(fields)


def at_listener(**fields):
    return lambda body: body["listeners"][0].update(fields)


def at_member(**fields):
    return lambda body: body["pools"][0]["members"][1].update(fields)


PLACES = [
    (at_listener(protocol_port=70000), "listeners[0].protocol_port=70000: must be 1..65535"),
    (
        at_listener(default_pool={"name": "x"}),
        "listeners[0].default_pool.name='x': must be the name of a pool",
    ),
    (at_listener(protocol_prt=1), "listeners[0].protocol_prt: no such field; did you mean protocol_port?"),
    (at_listener(default_pol={}), "listeners[0].default_pol: no such field; did you mean default_pool?"),
    (at_listener(l7policy=[]), "listeners[0].l7policy: no such field; did you mean l7policies?"),
    (at_pool(member=[]), "pools[0].member: no such field; did you mean members?"),
    (at_pool(health_monitor={}), "pools[0].health_monitor: no such field; did you mean healthmonitor?"),
    (lambda body: body.update(listener=[]), "listener: no such field; did you mean listeners?"),
    (at_pool(retry={"num_retries": 9}), "pools[0].retry.num_retries=9: must be 0..3"),
    (at_member(weight=300), "pools[0].members[1].weight=300: must be 0..256"),
    (at_member(weight="3"), "pools[0].members[1].weight='3': must be an integer, 0..256"),
    (
        at_member(address="10.0.0.7"),
        "pools[0].members[1].address: another member on this pool is already using",
    ),
    (at_pool(healthmonitor={"type": "HTTP"}), "pools[0].healthmonitor.delay: must be given"),
]


@pytest.mark.parametrize(("change", "message"), PLACES, ids=[message for _, message in PLACES])
def test_a_wrong_value_is_refused_with_its_place(file, change, message):
    body = several(change)["loadbalancers"][0]
    assert refusal(file("web.json", {"loadbalancer": body})).startswith(f"web.json: {message}")
    assert refusal(file("web.json", several(nothing, change))).startswith(
        f"web.json: loadbalancers[1].{message}"
    )


def unaddressed(body):
    del body["vip_address"]
    body["vip_subnet_id"] = "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d"


STARTS = [
    (
        at_listener(protocol="UDP", default_pool=None),
        "load balancer 'web0': listener 'http': protocol='UDP': this version",
    ),
    (unaddressed, "load balancer 'web0': vip_address=None: must be given to start"),
]


@pytest.mark.parametrize(("change", "message"), STARTS, ids=["protocol", "address"])
def test_what_could_not_start_is_loaded_and_then_refused(file, change, message):
    assert config.load(file("web.json", several(change)))
    assert refusal("web.json").startswith(f"web.json: {message}")


def test_one_port_is_not_for_two_load_balancers(file):
    name = file("web.json", several(at_listener(protocol_port=80), at_listener(protocol_port=80)))
    assert refusal(name) == (
        "web.json: listener 'http' of load balancer 'web1': protocol_port=80 on 127.0.0.1 is taken by listener "
        "'http' of load balancer 'web0'"
    )
    for apart in ({"vip_address": "127.0.0.2"}, {"admin_state_up": False}):
        body = several(at_listener(protocol_port=80), at_listener(protocol_port=80))
        body["loadbalancers"][1].update(apart)
        config.check_startable(name, config.load(file("web.json", body)))


def test_any_free_port_is_for_everybody(file):
    name = file("web.json", several(at_listener(protocol_port=0), at_listener(protocol_port=0)))
    config.check_startable(name, config.load(name))


# The command.


def test_check_says_what_is_there(file, capsys):
    assert cli.main(["check", file("web.json", ONE), file("all.json", several(nothing, nothing))]) == 0
    assert capsys.readouterr() == (
        "web.json: ok, 1 load balancer, 1 listener, 1 pool, 2 members, 1 health monitor\n"
        "all.json: ok, 2 load balancers, 2 listeners, 2 pools, 4 members, 2 health monitors\n",
        "",
    )


def test_check_counts_policies_and_leaves_out_what_there_is_none_of(file, capsys):
    rule = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/"}
    policies = [{"action": "REJECT", "rules": [rule, rule]}, {"action": "REJECT", "rules": [rule]}]
    listeners = [{"protocol": "HTTP", "protocol_port": 80, "l7policies": policies}]
    assert cli.main(["check", file("web.json", {"loadbalancer": {"listeners": listeners}})]) == 0
    assert capsys.readouterr().out == "web.json: ok, 1 load balancer, 1 listener, 2 L7 policies, 3 L7 rules\n"


def test_check_goes_on_after_a_wrong_file_and_answers_one(file, capsys):
    assert cli.main(["check", "none.json", file("web.json", ONE)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("web.json: ok")
    assert err == "none.json: No such file or directory\n"


def test_each_command_has_its_purpose_in_the_list():
    for name, purpose in cli.COMMANDS.items():
        module = __import__(f"fastlb.cli.{name}", fromlist=["run"])
        assert module.__doc__.strip().splitlines()[0] == purpose


def test_one_command_does_not_import_the_others():
    source = (
        "import sys; from fastlb import cli; cli.parser('check');"
        "print(sorted(n for n in sys.modules if n.startswith('fastlb.cli.')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == "['fastlb.cli.check']\n"


def test_the_command_line_says_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(
        r"fastlb (\d+\.\d+\.\d+\S*|\(a source tree, not installed\))\n", capsys.readouterr().out
    )


def test_an_unknown_command_names_those_there_are(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["sreve"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in cli.COMMANDS)
