# SPDX-License-Identifier: Apache-2.0
"""L7 rules: types by comparison, keys and values, every field on POST and PUT, fifty a policy."""

from symbols import short

UNKNOWN = "99000000-0000-4000-8000-000000000009"
TYPES = (
    "HOST_NAME",
    "PATH",
    "FILE_TYPE",
    "HEADER",
    "COOKIE",
    "SSL_CONN_HAS_CERT",
    "SSL_VERIFY_RESULT",
    "SSL_DN_FIELD",
)
COMPARISONS = ("REGEX", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "EQUAL_TO")


def play(api):
    api.balancer("lb")
    api.create(
        "listener", "a listener", bind="li", loadbalancer_id="{lb}", protocol="HTTP", protocol_port=8080
    )
    for bind in ("p", "other"):
        api.create("l7policy", f"a policy {bind}", bind=bind, listener_id="{li}", action="REJECT")
    matrix(api)
    keys_and_values(api)
    one_field(api)
    updates(api)
    life(api)
    too_many(api)


def create(api, name, /, bind=None, **fields):
    usual = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/a"}
    given = {key: value for key, value in (usual | fields).items() if value is not ...}
    status = api.create("rule", name, bind=bind or "rule", in_="{p}", **given)
    if status == 201 and not bind:
        api.delete("rule", "{rule}", f"{name}, deleted again", in_="{p}")


def matrix(api):
    values = {"SSL_CONN_HAS_CERT": "true", "SSL_VERIFY_RESULT": "0"}
    for kind in TYPES:
        key = {"key": "CN"} if kind in ("HEADER", "COOKIE", "SSL_DN_FIELD") else {}
        for comparison in COMPARISONS:
            create(
                api,
                f"create {kind} {comparison}",
                type=kind,
                compare_type=comparison,
                value=values.get(kind, "ab"),
                **key,
            )
        create(
            api,
            f"create {kind} with the other key",
            type=kind,
            compare_type="EQUAL_TO",
            value=values.get(kind, "ab"),
            **({} if key else {"key": "CN"}),
        )


def keys_and_values(api):
    for key in ("X-A", "X A", "X:A", "X_A", "x.a!", "ä", "", "k" * 255, "k" * 256, None, 5):
        create(api, f"header key {short(key)}", type="HEADER", compare_type="EQUAL_TO", key=key, value="v")
    for key in ("sid", "s id", "s=id", "s;id", 's"id', ""):
        create(api, f"cookie key {short(key)}", type="COOKIE", compare_type="EQUAL_TO", key=key, value="v")
    for value in ("v", "a b", '"a b"', 'a"b', "a;b", "a,b", "a\\b", "ä", "a\tb", ""):
        for kind in ("HEADER", "COOKIE"):
            create(
                api,
                f"{kind} value {short(value)}",
                type=kind,
                compare_type="EQUAL_TO",
                key="k",
                value=value,
            )
    values = (
        "/a",
        "a",
        "/a b",
        '"/a b"',
        "/ä",
        "/a\nb",
        "/a\r",
        "",
        "v" * 255,
        "v" * 256,
        None,
        5,
        "/a;b",
        "/a\tb",
    )
    for value in values:
        create(api, f"path value {short(value)}", value=value)
    for value in ("example.org", "a b", "ex_ample", "*.example.org", "EXAMPLE.org", "a:80"):
        create(api, f"host value {short(value)}", type="HOST_NAME", compare_type="EQUAL_TO", value=value)
    for value in ("jpg", ".jpg", "tar.gz", "j p g"):
        create(api, f"file type value {short(value)}", type="FILE_TYPE", compare_type="EQUAL_TO", value=value)
    for value in ("^/a", "(", "[", "a{2,1}", "(?P<n>a)", "(?=a)", "a\\d", "a b", "\\"):
        create(api, f"regex {short(value)}", compare_type="REGEX", value=value)
    for value in ("true", "TRUE", "false", "1"):
        create(
            api,
            f"client certificate {value}",
            type="SSL_CONN_HAS_CERT",
            compare_type="EQUAL_TO",
            value=value,
        )
    for value in ("0", "21", "-1", "x"):
        create(api, f"verify result {value}", type="SSL_VERIFY_RESULT", compare_type="EQUAL_TO", value=value)
    for key in ("CN", "emailAddress", "C-N", "-CN", "1CN", "C N", None):
        create(
            api,
            f"DN field {short(key)}",
            type="SSL_DN_FIELD",
            compare_type="EQUAL_TO",
            key=key,
            value="v",
        )


def one_field(api):
    for field in ("type", "compare_type", "value"):
        create(api, f"create without {field}", **{field: ...})
        create(api, f"create {field} null", **{field: None})
    given = {
        "type": ("path", "METHOD"),
        "compare_type": ("equal_to", "LIKE"),
        "invert": (True, False, None, "yes", "perhaps"),
        "admin_state_up": (False, None, "no", "perhaps"),
        "tags": (["a"], None, [], ["t" * 256]),
        "key": ("k", None),
        "name": ("x",),
        "description": ("x",),
        "project_id": ("{project}",),
        "id": (UNKNOWN,),
        "colour": ("blue",),
    }
    for field, values in given.items():
        for value in values:
            create(api, f"create {field} {short(value)}", **{field: value})


def updates(api):
    create(api, "a rule to update", bind="r", tags=["old"])
    changes = [
        {},
        {"value": "/b"},
        {"value": ""},
        {"value": None},
        {"value": "/b c"},
        {"compare_type": "EQUAL_TO"},
        {"compare_type": "REGEX", "value": "("},
        {"compare_type": "REGEX", "value": "^/c"},
        {"compare_type": None},
        {"type": "HEADER"},
        {"type": "HEADER", "key": "X-A"},
        {"key": "X B"},
        {"key": "X-B"},
        {"key": None},
        {"type": "FILE_TYPE"},
        {"type": "FILE_TYPE", "compare_type": "CONTAINS"},
        {"type": "PATH"},
        {"type": None},
        {"type": "METHOD"},
        {"invert": True},
        {"invert": None},
        {"admin_state_up": False},
        {"admin_state_up": True},
        {"admin_state_up": None},
        {"tags": ["new"]},
        {"tags": None},
        {"tags": []},
        {"name": "x"},
        {"colour": "blue"},
    ]
    for number, change in enumerate(changes, 1):
        api.update("rule", "{r}", f"update {number}: {short(change)}", in_="{p}", **change)
    api.show("rule", "{r}", "shown after all updates", in_="{p}")
    api.update("rule", UNKNOWN, "update an unknown id", in_="{p}", value="/x")
    api.update("rule", "front", "update an id that is no UUID", in_="{p}", value="/x")


def life(api):
    api.show("l7policy", "{p}", "its policy, shown")
    api.get("l7policies/{p}/rules", "listed")
    create(api, "a rule for the wrong policy", bind="stray")
    api.show("rule", "{stray}", "shown through another policy", in_="{other}")
    api.update("rule", "{stray}", "updated through another policy", in_="{other}", value="/z")
    api.delete("rule", "{stray}", "deleted through another policy", in_="{other}")
    for in_, name in ((UNKNOWN, "an unknown policy"), ("front", "no UUID")):
        api.show("rule", "{r}", f"shown through {name}", in_=in_)
        api.create("rule", f"created in {name}", in_=in_, type="PATH", compare_type="EQUAL_TO", value="/a")
    api.delete("rule", "{r}", "delete", in_="{p}")
    api.show("rule", "{r}", "shown after delete", in_="{p}")
    api.delete("rule", "{r}", "delete again", in_="{p}")


def too_many(api):
    for number in range(1, 52):
        api.create(
            "rule",
            f"rule number {number}",
            bind="last",
            in_="{other}",
            type="PATH",
            compare_type="EQUAL_TO",
            value=f"/{number}",
        )
