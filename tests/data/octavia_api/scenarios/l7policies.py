# SPDX-License-Identifier: Apache-2.0
"""L7 policies: actions and their targets on POST and PUT, positions, every field."""

from symbols import short

UNKNOWN = "99000000-0000-4000-8000-000000000009"
URL = "http://example.org/a"


def play(api):
    api.balancer("lb")
    for bind, protocol, port in (("li", "HTTP", 8080), ("tcp", "TCP", 8081), ("metrics", "PROMETHEUS", 8082)):
        listener(api, bind, protocol, port)
    for protocol in ("HTTP", "TCP"):
        api.create(
            "pool",
            f"a pool of {protocol}",
            bind=f"{protocol.lower()}_pool",
            loadbalancer_id="{lb}",
            protocol=protocol,
            lb_algorithm="ROUND_ROBIN",
        )
    actions(api)
    one_field(api)
    switches(api)
    updates(api)
    positions(api)
    elsewhere(api)


def listener(api, bind, protocol, port):
    api.create(
        "listener",
        f"a listener {bind}",
        bind=bind,
        loadbalancer_id="{lb}",
        protocol=protocol,
        protocol_port=port,
    )


def create(api, name, /, bind=None, **fields):
    """Create, and delete it again unless it is to be kept under a name."""
    usual = {"listener_id": "{li}", "action": "REJECT"}
    given = {key: value for key, value in (usual | fields).items() if value is not ...}
    status = api.create("l7policy", name, bind=bind or "policy", **given)
    if status == 201 and not bind:
        api.delete("l7policy", "{policy}", f"{name}, deleted again")


def actions(api):
    targets = {
        "nothing": {},
        "url": {"redirect_url": URL},
        "prefix": {"redirect_prefix": "https://example.org"},
        "pool": {"redirect_pool_id": "{http_pool}"},
        "url and prefix": {"redirect_url": URL, "redirect_prefix": "https://example.org"},
        "url and pool": {"redirect_url": URL, "redirect_pool_id": "{http_pool}"},
        "prefix and pool": {"redirect_prefix": "https://example.org", "redirect_pool_id": "{http_pool}"},
        "url null": {"redirect_url": None},
    }
    for action in ("REJECT", "REDIRECT_TO_URL", "REDIRECT_PREFIX", "REDIRECT_TO_POOL"):
        for name, target in targets.items():
            create(api, f"create {action} with {name}", action=action, **target)
        for name in ("nothing", "url", "pool"):
            create(
                api,
                f"create {action} with {name} and a code",
                action=action,
                redirect_http_code=307,
                **targets[name],
            )
    create(api, "create action unknown", action="ALLOW")
    create(api, "create action in small letters", action="reject")
    create(api, "create action null", action=None)
    create(api, "create without action", action=...)
    create(api, "create without listener", listener_id=...)
    create(api, "create listener null", listener_id=None)
    create(api, "create on an unknown listener", listener_id=UNKNOWN)
    create(api, "create on no UUID", listener_id="front")
    create(api, "create on TCP", listener_id="{tcp}")
    create(api, "create on PROMETHEUS", listener_id="{metrics}")
    create(api, "create to an unknown pool", action="REDIRECT_TO_POOL", redirect_pool_id=UNKNOWN)
    create(api, "create to a pool that is no UUID", action="REDIRECT_TO_POOL", redirect_pool_id="front")
    create(api, "create to a pool of TCP", action="REDIRECT_TO_POOL", redirect_pool_id="{tcp_pool}")


def one_field(api):
    urls = (
        "http://example.org",
        "https://example.org:8443/a?b=c#d",
        "HTTP://example.org",
        "ftp://example.org",
        "//example.org",
        "/a",
        "example.org",
        "http://",
        "http://exam ple.org/",
        "http://example.org/a\r\nb",
        "http://[2001:db8::1]/",
        "http://example.org/ä",
        "http://example.org/" + "a" * 230,
        "",
        5,
    )
    for url in urls:
        create(api, f"create redirect_url {short(url)}", action="REDIRECT_TO_URL", redirect_url=url)
    for prefix in ("https://example.org/a", "https://", "example.org", "ftp://a", ""):
        create(
            api, f"create redirect_prefix {short(prefix)}", action="REDIRECT_PREFIX", redirect_prefix=prefix
        )
    for code in (301, 302, 303, 307, 308, 300, 304, 200, "301", None, "x"):
        create(
            api,
            f"create redirect_http_code {short(code)}",
            action="REDIRECT_TO_URL",
            redirect_url=URL,
            redirect_http_code=code,
        )
    given = {
        "name": ("web", None, "n" * 256),
        "description": ("x", None, "d" * 256),
        "admin_state_up": (False, None, "no", "perhaps"),
        "tags": (["a"], None, [], ["t" * 256]),
        "position": (1, 2, 100, 0, -1, 2_147_483_647, 2_147_483_648, None, "1", "x"),
        "rules": ([], None),
        "redirect_pool": ({"name": "x"},),
        "project_id": ("{project}",),
        "id": (UNKNOWN,),
        "colour": ("blue",),
    }
    for field, values in given.items():
        for value in values:
            create(api, f"create {field} {short(value)}", **{field: value})


def switches(api):
    begun = {
        "REJECT": {"action": "REJECT"},
        "URL": {"action": "REDIRECT_TO_URL", "redirect_url": URL, "redirect_http_code": 301},
        "PREFIX": {"action": "REDIRECT_PREFIX", "redirect_prefix": "https://example.org"},
        "POOL": {"action": "REDIRECT_TO_POOL", "redirect_pool_id": "{http_pool}"},
    }
    changes = {
        "a url": {"redirect_url": "http://example.org/b"},
        "a prefix": {"redirect_prefix": "http://example.org"},
        "a pool": {"redirect_pool_id": "{http_pool}"},
        "a url and its code": {"redirect_url": "http://example.org/b", "redirect_http_code": 308},
        "a code": {"redirect_http_code": 303},
        "the code null": {"redirect_http_code": None},
        "REJECT": {"action": "REJECT"},
        "REDIRECT_TO_URL alone": {"action": "REDIRECT_TO_URL"},
        "REDIRECT_TO_URL and a url": {"action": "REDIRECT_TO_URL", "redirect_url": "http://example.org/b"},
        "the url null": {"redirect_url": None},
        "the pool null": {"redirect_pool_id": None},
        "the action null": {"action": None},
        "a url and a pool": {"redirect_url": URL, "redirect_pool_id": "{http_pool}"},
        "a pool of TCP": {"redirect_pool_id": "{tcp_pool}"},
    }
    for start, fields in begun.items():
        for change, values in changes.items():
            create(api, f"a policy {start} before {change}", bind="switched", **fields)
            api.update("l7policy", "{switched}", f"from {start}: {change}", **values)
            api.delete("l7policy", "{switched}", f"from {start}: {change}, deleted again")


def updates(api):
    create(api, "a policy to update", bind="p", name="p", tags=["old"])
    given = {
        "name": ("changed", None, "n" * 256),
        "description": ("changed", None),
        "admin_state_up": (False, True, None),
        "tags": (["new"], None, []),
        "position": (1, 9, 0, None),
        "listener_id": ("{li}",),
        "rules": ([],),
        "colour": ("blue",),
    }
    api.update("l7policy", "{p}", "update nothing")
    for field, values in given.items():
        for value in values:
            api.update("l7policy", "{p}", f"update {field} {short(value)}", **{field: value})
    api.show("l7policy", "{p}", "shown after all updates")
    api.show("listener", "{li}", "its listener, shown")
    api.update("l7policy", UNKNOWN, "update an unknown id", name="x")
    api.update("l7policy", "front", "update an id that is no UUID", name="x")
    api.delete("l7policy", "{p}", "delete")
    api.show("l7policy", "{p}", "shown after delete")
    api.delete("l7policy", "{p}", "delete again")


def positions(api):
    def order(name):
        api.get("l7policies?listener_id={li}&sort=position&fields=name&fields=position", f"order: {name}")

    for name, position in (("a", ...), ("b", ...), ("c", 1), ("d", 2), ("e", 100), ("f", 6)):
        create(api, f"position of {name}", bind=f"policy_{name}", name=name, position=position)
        order(f"after {name}")
    for name, position in (("e", 1), ("c", 5), ("a", 100), ("b", 1), ("d", 3)):
        api.update("l7policy", f"{{policy_{name}}}", f"{name} moves to {position}", position=position)
        order(f"after {name} moved to {position}")
    for name in ("b", "f"):
        api.delete("l7policy", f"{{policy_{name}}}", f"{name} goes")
        order(f"after {name} went")


def elsewhere(api):
    api.balancer("other")
    api.create(
        "pool",
        "a pool of another load balancer",
        bind="foreign",
        loadbalancer_id="{other}",
        protocol="HTTP",
        lb_algorithm="ROUND_ROBIN",
    )
    create(api, "create to a foreign pool", action="REDIRECT_TO_POOL", redirect_pool_id="{foreign}")
    api.update("l7policy", "{policy_a}", "update to a foreign pool", redirect_pool_id="{foreign}")
    api.update("l7policy", "{policy_a}", "update to a pool", redirect_pool_id="{http_pool}")
    api.show("pool", "{http_pool}", "a pool of a policy without rules")
    api.create(
        "rule",
        "a rule makes it count",
        bind="rule",
        in_="{policy_a}",
        type="PATH",
        compare_type="STARTS_WITH",
        value="/a",
    )
    api.show("pool", "{http_pool}", "a pool of a policy with a rule")
    api.get("loadbalancers/{lb}/status", "status tree with a policy's pool")
    api.update("l7policy", "{policy_a}", "the policy is disabled", admin_state_up=False)
    api.show("pool", "{http_pool}", "a pool of a disabled policy")
    api.show("rule", "{rule}", "a rule of a disabled policy", in_="{policy_a}")
    api.delete("listener", "{li}", "the listener goes")
    api.show("l7policy", "{policy_a}", "its policy went too")
    api.get("l7policies/{policy_a}/rules", "its policy's rules went too")
