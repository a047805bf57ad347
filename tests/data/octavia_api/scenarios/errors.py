# SPDX-License-Identifier: Apache-2.0
"""What every request can get wrong: bodies, paths, methods, content types; how paths may be spelled."""

UNKNOWN = "99000000-0000-4000-8000-000000000009"
ROOTS = {
    "loadbalancers": "loadbalancer",
    "listeners": "listener",
    "pools": "pool",
    "pools/{pool}/members": "member",
    "healthmonitors": "healthmonitor",
    "l7policies": "l7policy",
    "l7policies/{policy}/rules": "rule",
    "flavors": "flavor",
    "flavorprofiles": "flavorprofile",
    "availabilityzones": "availability_zone",
    "availabilityzoneprofiles": "availability_zone_profile",
}
FOUND = {
    "loadbalancers": "{lb}",
    "listeners": "{listener}",
    "pools": "{pool}",
    "pools/{pool}/members": "{member}",
    "healthmonitors": "{monitor}",
    "l7policies": "{policy}",
    "l7policies/{policy}/rules": "{rule}",
}


def play(api):
    one_of_each(api)
    bodies(api)
    missing(api)
    spellings(api)
    methods(api)
    content_types(api)
    discovery(api)


def one_of_each(api):
    api.balancer("lb")
    api.create(
        "listener", "a listener", bind="listener", loadbalancer_id="{lb}", protocol="HTTP", protocol_port=8080
    )
    api.create(
        "pool", "a pool", bind="pool", listener_id="{listener}", protocol="HTTP", lb_algorithm="ROUND_ROBIN"
    )
    api.create("member", "a member", bind="member", in_="{pool}", address="10.0.0.1", protocol_port=80)
    api.create(
        "healthmonitor",
        "a monitor",
        bind="monitor",
        pool_id="{pool}",
        type="HTTP",
        delay=30,
        timeout=5,
        max_retries=2,
        admin_state_up=False,
    )
    api.create("l7policy", "a policy", bind="policy", listener_id="{listener}", action="REJECT")
    api.create(
        "rule", "a rule", bind="rule", in_="{policy}", type="PATH", compare_type="STARTS_WITH", value="/a"
    )


def bodies(api):
    for path, root in ROOTS.items():
        api.ask("POST", path, name=f"POST {path}: no body")
        api.ask("POST", path, name=f"POST {path}: bad JSON", raw="{'single': quotes}")
        api.ask("POST", path, {}, name=f"POST {path}: empty object")
        api.ask("POST", path, {"thing": {}}, name=f"POST {path}: another root")
        api.ask("POST", path, {root: None}, name=f"POST {path}: null root")
        api.ask("POST", path, {root: {}}, name=f"POST {path}: empty root")
    api.ask("POST", "listeners", name="half a document", raw='{"listener": {"name": ')
    api.ask("POST", "listeners", name="an array", raw="[]")
    api.ask("POST", "listeners", name="a number", raw="5")
    api.ask("POST", "listeners", name="a text", raw='"listener"')
    api.ask("POST", "listeners", name="null", raw="null")
    api.ask("POST", "listeners", {"listener": []}, name="root an array")
    api.ask("POST", "listeners", {"listener": "x"}, name="root a text")
    api.ask("POST", "listeners", {"listener": {}, "pool": {}}, name="two roots")
    api.ask("POST", "listeners", {"listener": {"a": 1, "b": 2}}, name="two unknown attributes")
    for path, identity in FOUND.items():
        root = ROOTS[path]
        api.ask("PUT", f"{path}/{identity}", name=f"PUT {path}: no body")
        api.ask("PUT", f"{path}/{identity}", name=f"PUT {path}: bad JSON", raw="{")
        api.ask("PUT", f"{path}/{identity}", {}, name=f"PUT {path}: empty object")
        api.ask("PUT", f"{path}/{identity}", {"thing": {}}, name=f"PUT {path}: another root")
        api.ask("PUT", f"{path}/{identity}", {root: None}, name=f"PUT {path}: null root")
        api.ask("PUT", f"{path}/{identity}", {root: {}}, name=f"PUT {path}: empty root")
        api.ask("PUT", f"{path}/{identity}", {root: {"id": UNKNOWN}}, name=f"PUT {path}: id")
        api.ask("PUT", f"{path}/{identity}", {root: {"colour": 1}}, name=f"PUT {path}: unknown attribute")
    api.ask("GET", "listeners/{listener}", {"listener": {}}, name="GET with a body")
    api.ask("DELETE", f"listeners/{UNKNOWN}", {"listener": {}}, name="DELETE with a body")


def missing(api):
    for path in FOUND:
        root = ROOTS[path]
        for name, identity in (("unknown", UNKNOWN), ("no UUID", "front")):
            api.get(f"{path}/{identity}", f"GET {path}: {name} id")
            api.ask("PUT", f"{path}/{identity}", {root: {"name": "x"}}, name=f"PUT {path}: {name} id")
            api.ask("DELETE", f"{path}/{identity}", name=f"DELETE {path}: {name} id")
    for resource in ("loadbalancers", "listeners"):
        api.get(f"{resource}/{UNKNOWN}/stats", f"stats of an unknown {resource}")
    api.get(f"loadbalancers/{UNKNOWN}/status", "status of an unknown load balancer")
    api.get(f"loadbalancers/{UNKNOWN}/statuses", "statuses of an unknown load balancer")
    api.ask("PUT", f"loadbalancers/{UNKNOWN}/failover", name="failover of an unknown load balancer")
    api.get(f"/v2/octavia/amphorae/{UNKNOWN}", "an unknown amphora")
    api.get(f"l7policies/{UNKNOWN}/rules", "rules of an unknown policy")
    api.get("l7policies/front/rules", "rules of no UUID")
    nowhere = (
        "/v3",
        "/v2/lbaas/nothing",
        "/v2/lbaas/loadbalancers/{lb}/nothing",
        "/v2/lbaas/loadbalancers/{lb}/stats/more",
        "/v2/lbaas/loadbalancers/{lb}/listeners",
        "/v2/lbaas/pools/{pool}/nothing",
        "/v2/lbaas/pools/{pool}/healthmonitor",
        "/v2/lbaas/listeners/{listener}/status",
        "/v2/lbaas/amphorae",
        "/v2/amphorae",
        "/v2/octavia/nothing",
        "/v2/octavia/loadbalancers",
        "/v2/lbaas/pools/{pool}/members/{member}/more",
        "/lbaas/loadbalancers",
        "/v2.1/lbaas/loadbalancers",
        "/healthcheck",
        "/nothing",
    )
    for path in nowhere:
        api.get(path, f"nowhere: {path}")


def spellings(api):
    for prefix in ("/v2/lbaas", "/v2.0/lbaas", "/v2", "/v2.0"):
        api.get(f"{prefix}/members", f"spelling {prefix}: members have no list of their own")
        for path in ("pools", "pools/{pool}", "pools/{pool}/members", "pools/{pool}/members/{member}"):
            api.get(f"{prefix}/{path}", f"spelling {prefix}/{path}")
        api.get(f"{prefix}/loadbalancers/{{lb}}/stats", f"spelling {prefix}: stats")
    for path in ("pools/", "pools/{pool}/", "pools.json", "pools/{pool}.json", "pools/{pool}/members/"):
        api.get(path, f"spelling {path}")
    api.get("/v2/octavia/amphorae/", "spelling amphorae/")
    api.get("/v2/lbaas//pools", "spelling of two slashes")
    api.get("/V2/lbaas/pools", "spelling in capitals")
    api.get("/v2/lbaas/Pools", "spelling with a capital")
    api.get("pools/{pool}?colour=blue", "an unknown argument on one object")


def methods(api):
    for path in ("pools", "pools/{pool}", "pools/{pool}/members", "loadbalancers/{lb}/stats"):
        for method in ("HEAD", "PATCH", "OPTIONS", "TRACE", "FROB"):
            api.ask(method, path, name=f"{method} {path}")
    for method, path in (
        ("PUT", "pools"),
        ("DELETE", "pools"),
        ("POST", "pools/{pool}"),
        ("DELETE", "pools/{pool}/members"),
        ("POST", "pools/{pool}/members/{member}"),
        ("POST", "loadbalancers/{lb}/stats"),
        ("POST", "loadbalancers/{lb}/failover"),
        ("GET", "loadbalancers/{lb}/failover"),
        ("POST", "providers"),
        ("PUT", "quotas"),
        ("POST", "quotas"),
        ("POST", "/"),
        ("HEAD", "/"),
        ("PUT", "/v2"),
        ("POST", "/v2/octavia/amphorae"),
        ("DELETE", "/v2/octavia/amphorae"),
    ):
        api.ask(method, path, name=f"{method} {path}: not there")


def content_types(api):
    body = {"pool": {"loadbalancer_id": "{lb}", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}}

    def post(name, raw=None, **headers):
        fields = {field.replace("_", "-"): value for field, value in headers.items()}
        api.ask("POST", "pools", body if raw is None else None, name=name, headers=fields, raw=raw)

    post("content type with charset", Content_Type="application/json; charset=UTF-8")
    post("content type of text", Content_Type="text/plain")
    post("content type of XML", Content_Type="application/xml")
    post("content type of a form", Content_Type="application/x-www-form-urlencoded")
    post("content type missing", Content_Type=None)
    post("content type of a JSON dialect", Content_Type="application/vnd.api+json")
    post("content type text/javascript", Content_Type="text/javascript")
    for accept in (
        "application/json",
        "*/*",
        "application/*",
        "",
        "text/html",
        "application/xml",
        "text/html, application/json;q=0.1",
        "application/json;q=0",
        "nonsense",
    ):
        api.get("pools/{pool}", f"Accept: {accept}", headers={"Accept": accept})
    api.get("pools/{pool}", "no headers at all", headers={"Content-Type": None, "X-Project-Id": None})


def discovery(api):
    api.get("/", "versions", headers={"Content-Type": None})
    for path in ("/v2", "/v2/", "/v2.0", "/v2/lbaas", "/v2.0/lbaas/", "/v2/octavia"):
        api.get(path, f"discovery {path}")
