# SPDX-License-Identifier: Apache-2.0
"""Health monitors: types and what each may carry, every field on POST and PUT, one a pool, what members show."""

from symbols import short

UNKNOWN = "99000000-0000-4000-8000-000000000009"


def play(api):
    api.balancer("lb")
    api.create(
        "listener", "a listener", bind="li", loadbalancer_id="{lb}", protocol="HTTP", protocol_port=8080
    )
    for protocol in ("HTTP", "TCP", "HTTPS"):
        api.create(
            "pool",
            f"a pool of {protocol}",
            bind=f"{protocol.lower()}_pool",
            loadbalancer_id="{lb}",
            protocol=protocol,
            lb_algorithm="ROUND_ROBIN",
        )
    api.update("listener", "{li}", "the listener gets its pool", default_pool_id="{http_pool}")
    api.create("member", "a member", bind="member", in_="{http_pool}", address="10.0.0.1", protocol_port=80)
    types(api)
    one_field(api)
    fields_by_type(api)
    updates(api)
    life(api)


def create(api, name, /, bind=None, **fields):
    """Create, and if it worked delete it again: a pool has one monitor."""
    usual = {"pool_id": "{http_pool}", "type": "HTTP", "delay": 30, "timeout": 5, "max_retries": 2}
    given = {key: value for key, value in (usual | fields).items() if value is not ...}
    status = api.create("healthmonitor", name, bind=bind or "monitor", **given)
    if status == 201 and not bind:
        api.delete("healthmonitor", "{monitor}", f"{name}, deleted again")
    return status


def types(api):
    for pool in ("http_pool", "tcp_pool", "https_pool"):
        for kind in ("HTTP", "HTTPS", "PING", "TCP", "TLS-HELLO", "UDP-CONNECT", "SCTP"):
            create(api, f"create {kind} on {pool}", pool_id=f"{{{pool}}}", type=kind)
    create(api, "create type unknown", type="SMTP")
    create(api, "create type with an underscore", type="TLS_HELLO")
    create(api, "create type in small letters", type="http")
    for field in ("pool_id", "type", "delay", "timeout", "max_retries"):
        create(api, f"create without {field}", **{field: ...})
        create(api, f"create {field} null", **{field: None})
    create(api, "create on an unknown pool", pool_id=UNKNOWN)
    create(api, "create on no UUID", pool_id="front")


def one_field(api):
    given = {
        "delay": (0, 1, -1, 86400, "7", "x", 1.5, 2_147_483_648),
        "timeout": (0, 1, -1, 31, "7", "x"),
        "max_retries": (0, 1, 10, 11, "3"),
        "max_retries_down": (0, 1, 10, 11, None, "3"),
        "http_method": ("HEAD", "POST", "CONNECT", "get", "FETCH", None),
        "url_path": (
            "/",
            "/a/b?c=d&e=f#g",
            "/%7Eweb",
            None,
            "",
            "a",
            "//a",
            "/a b",
            "/ä",
            "http://a/b",
            "/a\tb",
            "/" + "a" * 254,
            "?a",
        ),
        "expected_codes": (
            "204",
            "200,201",
            "200, 201",
            "200-204",
            "204-200",
            "200-204,301",
            "20",
            "2000",
            "099",
            "600",
            "",
            None,
            200,
            "abc",
            "200 201",
            " 200",
        ),
        "http_version": (1.0, 1.1, "1.1", 1, 2, "x", None),
        "domain_name": ("example.org", None),
        "name": ("web", None, "n" * 256),
        "admin_state_up": (False, None, "no", "perhaps"),
        "tags": (["a"], None, [], ["t" * 256]),
        "project_id": ("{project}", "p" * 37),
        "description": ("x",),
        "operating_status": ("ONLINE",),
        "id": (UNKNOWN,),
        "colour": ("blue",),
    }
    for field, values in given.items():
        for value in values:
            create(api, f"create {field} {short(value)}", **{field: value})
    for domain in (
        "example.org",
        "10.0.0.1",
        "a_b.c",
        "_a.c",
        "a..b",
        "-a.b",
        "a.b:80",
        "",
        "d" * 256,
        "2001:db8::1",
    ):
        create(api, f"create domain_name {short(domain)} with 1.1", http_version=1.1, domain_name=domain)
    create(api, "create domain_name with 1.0", http_version=1.0, domain_name="example.org")
    create(api, "create timeout above delay", delay=5, timeout=10)


def fields_by_type(api):
    for kind in ("PING", "TCP", "TLS-HELLO", "HTTPS"):
        for field, value in {
            "http_method": "GET",
            "url_path": "/a",
            "expected_codes": "200",
            "http_version": 1.1,
        }.items():
            create(api, f"create {kind} with {field}", type=kind, **{field: value})
        create(api, f"create {kind} with url_path null", type=kind, url_path=None)


def updates(api):
    create(api, "a monitor to update", bind="hm", name="hm", tags=["old"])
    api.create(
        "healthmonitor",
        "a second one on its pool",
        pool_id="{http_pool}",
        type="PING",
        delay=5,
        timeout=5,
        max_retries=1,
    )
    given = {
        "name": ("changed", None, "n" * 256),
        "delay": (7, 0, None, -1, "8"),
        "timeout": (7, 0, None, -1),
        "max_retries": (5, None, 0),
        "max_retries_down": (5, None, 11),
        "http_method": ("HEAD", None, "get"),
        "url_path": ("/b", None, "b", "/b c"),
        "expected_codes": ("201", None, "x", "200-202"),
        "http_version": (1.1, None),
        "domain_name": ("example.org", None),
        "admin_state_up": (False, True, None),
        "tags": (["new"], None, []),
        "type": ("HTTP",),
        "pool_id": ("{http_pool}",),
        "colour": ("blue",),
    }
    api.update("healthmonitor", "{hm}", "update nothing")
    for field, values in given.items():
        for value in values:
            api.update("healthmonitor", "{hm}", f"update {field} {short(value)}", **{field: value})
    api.update("healthmonitor", "{hm}", "update version and domain", http_version=1.1, domain_name="a.org")
    api.update("healthmonitor", "{hm}", "update the version below the domain", http_version=1.0)
    api.update("healthmonitor", "{hm}", "update the domain alone", domain_name="b.org")
    api.show("healthmonitor", "{hm}", "shown after all updates")
    create(api, "a monitor of TCP", bind="tcp_hm", pool_id="{tcp_pool}", type="TCP")
    for field, value in {"http_method": "GET", "url_path": "/a", "expected_codes": "200", "delay": 9}.items():
        api.update("healthmonitor", "{tcp_hm}", f"update TCP with {field}", **{field: value})
    api.update("healthmonitor", UNKNOWN, "update an unknown id", delay=1)
    api.update("healthmonitor", "front", "update an id that is no UUID", delay=1)


def life(api):
    api.update("healthmonitor", "{hm}", "life: enabled again", admin_state_up=True)
    api.show("member", "{member}", "life: a monitored member", in_="{http_pool}")
    api.show("pool", "{http_pool}", "life: a pool with a monitor")
    api.update("healthmonitor", "{hm}", "life: disabled", admin_state_up=False)
    api.show("healthmonitor", "{hm}", "life: a disabled monitor")
    api.show("member", "{member}", "life: a member of a disabled monitor", in_="{http_pool}")
    api.delete("healthmonitor", "{hm}", "life: delete")
    api.show("member", "{member}", "life: a member whose monitor went", in_="{http_pool}")
    api.show("pool", "{http_pool}", "life: a pool without monitor")
    api.show("healthmonitor", "{hm}", "life: shown after delete")
    api.delete("healthmonitor", "{hm}", "life: delete again")
