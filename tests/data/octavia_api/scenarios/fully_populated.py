# SPDX-License-Identifier: Apache-2.0
"""A load balancer with everything in it, in one POST: what comes back, references to pools, each refusal."""

UNKNOWN = "99000000-0000-4000-8000-000000000009"
POOL = {"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
MEMBER = {"address": "10.0.0.1", "protocol_port": 80}
MONITOR = {"type": "HTTP", "delay": 30, "timeout": 5, "max_retries": 2}
LISTENER = {"protocol": "HTTP", "protocol_port": 8080}
RULE = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/a"}


def play(api):
    accepted(api)
    refused(api)
    nothing_left(api)


def create(api, name, /, bind=None, **fields):
    return api.create("loadbalancer", name, bind=bind, **({"vip_subnet_id": "{subnet}"} | fields))


def accepted(api):
    create(api, "listeners and pools empty", listeners=[], pools=[])
    create(api, "one listener", listeners=[LISTENER])
    create(api, "one pool", pools=[POOL])
    create(
        api,
        "everything",
        bind="lb",
        name="shop",
        tags=["blue"],
        listeners=[
            LISTENER
            | {
                "name": "front",
                "default_pool": POOL
                | {
                    "members": [MEMBER | {"name": "one", "weight": 3}, MEMBER | {"address": "10.0.0.2"}],
                    "healthmonitor": MONITOR | {"name": "check", "url_path": "/health"},
                    "session_persistence": {"type": "HTTP_COOKIE"},
                },
                "insert_headers": {"X-Forwarded-For": "true"},
                "allowed_cidrs": ["10.0.0.0/8"],
                "l7policies": [
                    {
                        "name": "static",
                        "action": "REDIRECT_TO_POOL",
                        "redirect_pool": POOL | {"name": "static", "members": [MEMBER]},
                        "rules": [RULE, RULE | {"value": "/b", "invert": True}],
                    },
                    {"name": "moved", "action": "REDIRECT_TO_URL", "redirect_url": "http://example.org/"},
                ],
            },
            {"name": "plain", "protocol": "TCP", "protocol_port": 8081, "connection_limit": 10},
        ],
        pools=[POOL | {"name": "spare"}],
    )
    api.show("loadbalancer", "{lb}", "everything, shown")
    api.get("loadbalancers/{lb}/status", "everything: status tree")
    api.get("listeners?load_balancer_id={lb}", "everything: its listeners")
    api.get("pools?loadbalancer_id={lb}", "everything: its pools")
    api.get("l7policies", "everything: policies")
    api.get("healthmonitors", "everything: monitors")
    create(
        api,
        "a reference before its pool",
        listeners=[LISTENER | {"default_pool": {"name": "web"}}],
        pools=[POOL],
    )
    create(
        api,
        "two references to one pool",
        listeners=[
            LISTENER | {"default_pool": POOL},
            LISTENER | {"protocol_port": 8081, "default_pool": {"name": "web"}},
        ],
    )
    create(
        api,
        "a policy's reference to a listener's pool",
        listeners=[
            LISTENER
            | {
                "default_pool": POOL,
                "l7policies": [
                    {"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "web"}, "rules": [RULE]}
                ],
            }
        ],
    )
    create(api, "one pool without a name", pools=[{key: POOL[key] for key in ("protocol", "lb_algorithm")}])
    create(
        api,
        "fields of children null",
        listeners=[LISTENER | {"name": None, "tags": None}],
        pools=[POOL | {"description": None}],
    )
    create(
        api,
        "policies in order of position",
        bind="ordered",
        listeners=[
            LISTENER
            | {
                "l7policies": [
                    {"action": "REJECT", "name": "second", "position": 2},
                    {"action": "REJECT", "name": "first", "position": 1},
                    {"action": "REJECT", "name": "last"},
                ]
            }
        ],
    )
    api.get("l7policies?name=first&fields=position&fields=name", "policies in order of position: the first")


def refused(api):
    def with_listener(name, **fields):
        create(api, name, listeners=[LISTENER | fields])

    def with_pool(name, **fields):
        given = {key: value for key, value in (POOL | fields).items() if value is not ...}
        create(api, name, pools=[given])

    without_name = {key: POOL[key] for key in ("protocol", "lb_algorithm")}
    with_listener("a listener's pool without a name", default_pool=without_name)
    with_listener(
        "a policy's pool without a name",
        l7policies=[{"action": "REDIRECT_TO_POOL", "redirect_pool": without_name}],
    )
    create(api, "two pools of one name", pools=[POOL, POOL])
    create(api, "two pools without a name", pools=[without_name, without_name])
    create(api, "one name in listener and pools", listeners=[LISTENER | {"default_pool": POOL}], pools=[POOL])
    with_listener("a reference to nothing", default_pool={"name": "web"})
    with_listener(
        "a policy's reference to nothing",
        l7policies=[{"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "web"}}],
    )
    for field in ("protocol", "lb_algorithm"):
        with_pool(f"a pool without {field}", **{field: ...})
        with_listener(
            f"a listener's pool without {field}",
            default_pool={key: value for key, value in (POOL | {"description": "x"}).items() if key != field},
        )
    create(api, "two listeners on one port", listeners=[LISTENER, LISTENER])
    create(
        api,
        "two listeners on one port by two protocols",
        listeners=[LISTENER, LISTENER | {"protocol": "TCP"}],
    )
    with_listener("default_pool_id unknown", default_pool_id=UNKNOWN)
    with_listener(
        "a policy with redirect_pool_id",
        l7policies=[{"action": "REDIRECT_TO_POOL", "redirect_pool_id": UNKNOWN}],
    )
    with_listener("a listener with loadbalancer_id", loadbalancer_id=UNKNOWN)
    with_listener("a listener with project_id", project_id="{project}")
    with_listener("a listener with an unknown attribute", colour="blue")
    with_listener("a listener port out of range", protocol_port=65536)
    with_listener("a listener protocol unknown", protocol="SPDY")
    create(api, "a listener without protocol", listeners=[{"protocol_port": 8080}])
    with_listener("a listener header unknown", insert_headers={"X-Colour": "true"})
    create(
        api,
        "a listener CIDR of the other family",
        vip_address="192.0.2.150",
        listeners=[LISTENER | {"allowed_cidrs": ["2001:db8::/32"]}],
    )
    with_listener("a pool of another protocol", default_pool=POOL | {"protocol": "TCP"})
    with_listener("PROMETHEUS with a pool", protocol="PROMETHEUS", default_pool=POOL)
    with_listener("policy on TCP", protocol="TCP", l7policies=[{"action": "REJECT"}])
    with_listener("policy without target", l7policies=[{"action": "REDIRECT_TO_URL"}])
    with_listener("policy with listener_id", l7policies=[{"action": "REJECT", "listener_id": UNKNOWN}])
    with_listener(
        "rule out of order",
        l7policies=[{"action": "REJECT", "rules": [RULE | {"compare_type": "REGEX", "value": "("}]}],
    )
    with_listener(
        "rule without value",
        l7policies=[{"action": "REJECT", "rules": [{"type": "PATH", "compare_type": "EQUAL_TO"}]}],
    )
    with_pool("a pool with loadbalancer_id", loadbalancer_id=UNKNOWN)
    with_pool("a pool of an unknown algorithm", lb_algorithm="RANDOM")
    with_pool("a pool of SOURCE_IP_PORT", lb_algorithm="SOURCE_IP_PORT")
    with_pool("persistence without its cookie", session_persistence={"type": "APP_COOKIE"})
    with_pool(
        "persistence with a timeout", session_persistence={"type": "SOURCE_IP", "persistence_timeout": 60}
    )
    with_pool("a member weight out of range", members=[MEMBER | {"weight": 257}])
    with_pool("a member without address", members=[{"protocol_port": 80}])
    with_pool("a reserved member address", members=[MEMBER | {"address": "169.254.169.254"}])
    with_pool("a member twice", members=[MEMBER, MEMBER])
    with_pool("a member's subnet unknown", members=[MEMBER | {"subnet_id": UNKNOWN}])
    with_pool("a member with pool_id", members=[MEMBER | {"pool_id": UNKNOWN}])
    with_pool("a monitor without type", healthmonitor={"delay": 5, "timeout": 5, "max_retries": 1})
    with_pool("a monitor type that the pool has not", healthmonitor=MONITOR | {"type": "UDP-CONNECT"})
    with_pool("a TCP monitor with a path", healthmonitor=MONITOR | {"type": "TCP", "url_path": "/a"})
    with_pool("a monitor with pool_id", healthmonitor=MONITOR | {"pool_id": UNKNOWN})
    with_pool("a monitor in a list", healthmonitor=[MONITOR])
    create(api, "listeners null", listeners=None)
    create(api, "pools null", pools=None)
    create(api, "listeners no list", listeners=LISTENER)
    create(api, "a listener null", listeners=[None])
    with_pool("members null", members=None)
    with_pool("healthmonitor null", healthmonitor=None)
    with_listener("default_pool null", default_pool=None)
    with_listener("l7policies null", l7policies=None)


def nothing_left(api):
    create(
        api,
        "refused as a whole",
        name="refused",
        listeners=[LISTENER | {"name": "refused"}],
        pools=[POOL | {"name": "refused", "members": [MEMBER | {"weight": 300}]}],
    )
    for resource in ("loadbalancers", "listeners", "pools"):
        api.get(f"{resource}?name=refused", f"refused as a whole: no {resource}")
    api.create("pool", "POST of a pool with members", loadbalancer_id="{lb}", members=[MEMBER], **POOL)
    api.create("pool", "POST of a pool with a monitor", loadbalancer_id="{lb}", healthmonitor=MONITOR, **POOL)
    api.create(
        "listener",
        "POST of a listener with a pool",
        loadbalancer_id="{lb}",
        protocol="HTTP",
        protocol_port=8090,
        default_pool=POOL,
    )
    api.create(
        "listener",
        "POST of a listener with policies",
        loadbalancer_id="{lb}",
        protocol="HTTP",
        protocol_port=8091,
        l7policies=[{"action": "REJECT"}],
    )
    api.create(
        "l7policy",
        "POST of a policy with rules",
        listener_id="{lb.listeners.0}",
        action="REJECT",
        rules=[RULE],
    )
    api.delete("loadbalancer", "{lb}?cascade=true", "everything deleted")
    api.get("loadbalancers?name=shop", "everything deleted: gone")
