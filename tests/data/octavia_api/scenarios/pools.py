# SPDX-License-Identifier: Apache-2.0
"""Pools: protocols, algorithms, session persistence, which pool fits which listener, updates, deleting."""

import itertools

from symbols import short

UNKNOWN = "99000000-0000-4000-8000-000000000009"
PORTS = itertools.count(9001)


def play(api):
    api.balancer("lb")
    listener(api, "li", "HTTP")
    creating(api)
    one_field(api)
    persistence(api)
    updates(api)
    persistence_updates(api)
    deletes(api)


def listener(api, bind, protocol, **fields):
    fields = {"loadbalancer_id": "{lb}", "protocol": protocol, "protocol_port": next(PORTS)} | fields
    api.create("listener", f"a listener {bind}", bind=bind, **fields)


def create(api, name, /, bind=None, **fields):
    usual = {"loadbalancer_id": "{lb}", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    given = {key: value for key, value in (usual | fields).items() if value is not ...}
    return api.create("pool", name, bind=bind, **given)


def creating(api):
    for protocol in ("TCP", "HTTP", "HTTPS"):
        for algorithm in ("ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"):
            create(api, f"create {protocol} {algorithm}", protocol=protocol, lb_algorithm=algorithm)
    for field in ("protocol", "lb_algorithm", "loadbalancer_id"):
        create(api, f"create without {field}", **{field: ...})
        create(api, f"create {field} null", **{field: None})
    create(api, "create protocol of a listener", protocol="TERMINATED_HTTPS")
    create(api, "create protocol PROMETHEUS", protocol="PROMETHEUS")
    create(api, "create protocol in small letters", protocol="http")
    create(api, "create algorithm unknown", lb_algorithm="RANDOM")
    create(api, "create algorithm in small letters", lb_algorithm="round_robin")
    create(api, "create on an unknown load balancer", loadbalancer_id=UNKNOWN)
    create(api, "create on no UUID", loadbalancer_id="front")
    create(api, "create on an unknown listener", loadbalancer_id=..., listener_id=UNKNOWN)
    create(api, "create on a listener", bind="of_li", loadbalancer_id=..., listener_id="{li}")
    api.show("listener", "{li}", "its listener, shown")
    create(api, "create on that listener again", loadbalancer_id=..., listener_id="{li}")
    listener(api, "both", "HTTP")
    create(api, "create on listener and load balancer", listener_id="{both}")
    api.balancer("second")
    listener(api, "foreign", "HTTP", loadbalancer_id="{second}")
    create(api, "create on a listener of another load balancer", listener_id="{foreign}")


def one_field(api):
    given = {
        "name": ("web", None, "n" * 255, "n" * 256, 3),
        "description": ("the shop", None, "d" * 256),
        "admin_state_up": (False, None, "no", "perhaps"),
        "tags": (["a"], None, [], ["t" * 256], "a"),
        "session_persistence": (None, {}, [], "SOURCE_IP"),
        "tls_ciphers": (None, "bad cipher", "AES128-SHA"),
        "tls_versions": (None, ["TLSv9"], []),
        "alpn_protocols": (None, ["spdy"], [], ["h2"]),
        "tls_container_ref": (None, "r" * 256),
        "ca_tls_container_ref": (None, "r" * 256),
        "crl_container_ref": (None, "http://barbican/a"),
        "tls_enabled": (False, None, "perhaps"),
        "members": ([],),
        "healthmonitor": (None,),
        "project_id": ("{project}", "p" * 37),
        "healthmonitor_id": (UNKNOWN,),
        "listeners": ([],),
        "id": (UNKNOWN,),
        "colour": ("blue",),
    }
    for field, values in given.items():
        for value in values:
            create(api, f"create {field} {short(value)}", **{field: value})


def persistence(api):
    good = {"type": "APP_COOKIE", "cookie_name": "sid"}
    given = [
        {"type": "SOURCE_IP"},
        {"type": "HTTP_COOKIE"},
        good,
        {"type": "APP_COOKIE"},
        {"type": "APP_COOKIE", "cookie_name": None},
        {"type": "APP_COOKIE", "cookie_name": ""},
        {"type": "APP_COOKIE", "cookie_name": "a b"},
        {"type": "APP_COOKIE", "cookie_name": "a;b"},
        {"type": "APP_COOKIE", "cookie_name": "a=b"},
        {"type": "APP_COOKIE", "cookie_name": "a,b"},
        {"type": "APP_COOKIE", "cookie_name": 'a"b'},
        {"type": "APP_COOKIE", "cookie_name": "a{b"},
        {"type": "APP_COOKIE", "cookie_name": "a@b"},
        {"type": "APP_COOKIE", "cookie_name": "a!#$%&'*+-.^_`|~b"},
        {"type": "APP_COOKIE", "cookie_name": "ä"},
        {"type": "APP_COOKIE", "cookie_name": "c" * 255},
        {"type": "APP_COOKIE", "cookie_name": "c" * 256},
        {"type": "SOURCE_IP", "cookie_name": "sid"},
        {"type": "HTTP_COOKIE", "cookie_name": "sid"},
        {"type": "SOURCE_IP", "persistence_timeout": 60},
        {"type": "SOURCE_IP", "persistence_granularity": "255.255.255.0"},
        {"type": "SOURCE_IP", "persistence_timeout": None},
        {"type": "STICKY"},
        {"type": "source_ip"},
        {"type": None},
        {"cookie_name": "sid"},
        {"type": "SOURCE_IP", "colour": "blue"},
    ]
    for value in given:
        create(api, f"persistence {short(value)}", session_persistence=value)
    for protocol in ("TCP", "HTTPS"):
        for value in ({"type": "SOURCE_IP"}, {"type": "HTTP_COOKIE"}, good):
            create(
                api,
                f"persistence {value['type']} on {protocol}",
                protocol=protocol,
                session_persistence=value,
            )


def updates(api):
    create(api, "a pool to update", bind="pool", name="pool", tags=["old"])
    given = {
        "name": ("changed", None, "n" * 256),
        "description": ("changed", None),
        "admin_state_up": (False, True, None),
        "lb_algorithm": ("LEAST_CONNECTIONS", "SOURCE_IP_PORT", "SOURCE_IP", "RANDOM", None),
        "tags": (["new"], None, []),
        "tls_enabled": (False, None),
        "tls_ciphers": ("AES128-SHA", None),
        "tls_versions": (["TLSv1.3"], None),
        "alpn_protocols": (["h2"], None),
        "protocol": ("HTTP",),
        "listener_id": ("{li}",),
        "loadbalancer_id": ("{lb}",),
        "members": ([],),
        "colour": ("blue",),
    }
    api.update("pool", "{pool}", "update nothing")
    for field, values in given.items():
        for value in values:
            api.update("pool", "{pool}", f"update {field} {short(value)}", **{field: value})
    api.show("pool", "{pool}", "shown after all updates")
    api.update("pool", UNKNOWN, "update an unknown id", name="x")
    api.update("pool", "front", "update an id that is no UUID", name="x")
    api.update("pool", "{of_li}", "update one that a listener uses", name="used")
    api.show("pool", "{of_li}", "one that a listener uses, shown")


def persistence_updates(api):
    create(api, "a pool without persistence", bind="sticky")
    steps = [
        {},
        {"cookie_name": "sid"},
        {"type": "SOURCE_IP"},
        {"cookie_name": "sid"},
        {"type": "APP_COOKIE"},
        {"type": "APP_COOKIE", "cookie_name": "sid"},
        {"cookie_name": "other"},
        {"type": "APP_COOKIE"},
        {"type": "HTTP_COOKIE"},
        {"type": "HTTP_COOKIE", "cookie_name": "sid"},
        {"type": "SOURCE_IP", "persistence_timeout": 60},
        {},
        None,
        {"type": "STICKY"},
        {"type": "SOURCE_IP", "cookie_name": None},
    ]
    for number, value in enumerate(steps, 1):
        api.update(
            "pool", "{sticky}", f"persistence update {number}: {short(value)}", session_persistence=value
        )
    api.show("pool", "{sticky}", "persistence after all updates")


def deletes(api):
    api.create("member", "a member in it", in_="{of_li}", address="10.0.0.1", protocol_port=80)
    api.create(
        "healthmonitor",
        "a monitor in it",
        bind="monitor",
        pool_id="{of_li}",
        type="PING",
        delay=30,
        timeout=5,
        max_retries=2,
    )
    api.show("pool", "{of_li}", "with member and monitor, shown")
    api.delete("pool", "{of_li}", "delete a default pool with its children")
    api.show("listener", "{li}", "its listener afterwards")
    api.show("healthmonitor", "{monitor}", "its monitor afterwards")
    api.show("pool", "{of_li}", "shown after delete")
    api.delete("pool", "{of_li}", "delete again")
    create(api, "a pool for a policy", bind="target")
    api.create(
        "l7policy",
        "a policy to it",
        bind="policy",
        listener_id="{li}",
        action="REDIRECT_TO_POOL",
        redirect_pool_id="{target}",
    )
    api.delete("pool", "{target}", "delete while a policy redirects to it")
    api.delete("l7policy", "{policy}", "the policy goes")
    api.delete("pool", "{target}", "delete after the policy went")
