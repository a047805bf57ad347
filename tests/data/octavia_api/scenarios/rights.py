# SPDX-License-Identifier: Apache-2.0
"""Who may do what: roles, projects, quotas that are met. Octavia takes roles and project from headers here.

`X-Roles` and `X-Project-Id` stand for what Keystone would say of a token.
"""

AUTH_STRATEGY = "testing"
OTHER = "9a000000-0000-4000-8000-000000000002"
ROLES = {"admin": "admin,member,reader", "member": "member,reader", "reader": "reader", "nobody": "stranger"}


def play(api):
    owned(api)
    reading(api)
    writing(api)
    administration(api)
    limits(api)


def ask(api, method, path, who, name, body=None, bind=None, project="{project}"):
    headers = {"X-Roles": ROLES[who], "X-Project-Id": project}
    return api.ask(method, path, body, name=f"{who}: {name}", headers=headers, bind=bind)


def owned(api):
    ask(
        api,
        "POST",
        "loadbalancers",
        "member",
        "creates",
        {"loadbalancer": {"vip_subnet_id": "{subnet}"}},
        bind="lb",
    )
    ask(
        api,
        "POST",
        "loadbalancers",
        "member",
        "creates in another project",
        {"loadbalancer": {"vip_subnet_id": "{subnet}", "name": "theirs"}},
        bind="theirs",
        project=OTHER,
    )
    ask(
        api,
        "POST",
        "loadbalancers",
        "member",
        "names another project in the body",
        {"loadbalancer": {"vip_subnet_id": "{subnet}", "project_id": OTHER}},
    )
    ask(
        api,
        "POST",
        "loadbalancers",
        "admin",
        "names another project in the body",
        {"loadbalancer": {"vip_subnet_id": "{subnet}", "project_id": OTHER}},
    )
    ask(
        api,
        "POST",
        "listeners",
        "member",
        "creates a listener",
        {"listener": {"loadbalancer_id": "{lb}", "protocol": "HTTP", "protocol_port": 8080}},
        bind="li",
    )
    pool = {"loadbalancer_id": "{lb}", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    ask(api, "POST", "pools", "member", "creates a pool", {"pool": pool}, bind="pool")
    member = {"address": "10.0.0.1", "protocol_port": 80}
    ask(api, "POST", "pools/{pool}/members", "member", "creates a member", {"member": member}, bind="m")


def reading(api):
    for who in ROLES:
        ask(api, "GET", "loadbalancers/{lb}?fields=name", who, "reads its own")
        ask(api, "GET", "loadbalancers/{theirs}?fields=name", who, "reads another project's")
        ask(api, "GET", "loadbalancers?fields=name", who, "lists")
        ask(api, "GET", f"loadbalancers?project_id={OTHER}&fields=name", who, "lists another project's")
        ask(api, "GET", "listeners?fields=protocol", who, "lists listeners", project=OTHER)
        ask(
            api,
            "GET",
            "pools/{pool}/members?fields=address",
            who,
            "lists members of another project",
            project=OTHER,
        )
        ask(
            api,
            "GET",
            "pools/{pool}/members/{m}?fields=address",
            who,
            "reads a member of another project",
            project=OTHER,
        )
        ask(
            api,
            "GET",
            "loadbalancers/{lb}/status",
            who,
            "reads a status tree of another project",
            project=OTHER,
        )
        ask(api, "GET", "loadbalancers/{lb}/stats", who, "reads statistics")
        ask(api, "GET", "listeners/{li}/stats", who, "reads statistics of another project", project=OTHER)


def writing(api):
    listener = {"listener": {"loadbalancer_id": "{lb}", "protocol": "HTTP", "protocol_port": 8081}}
    for who in ("reader", "nobody"):
        ask(api, "POST", "loadbalancers", who, "creates", {"loadbalancer": {"vip_subnet_id": "{subnet}"}})
        ask(api, "PUT", "loadbalancers/{lb}", who, "updates", {"loadbalancer": {"name": "x"}})
        ask(api, "DELETE", "loadbalancers/{lb}", who, "deletes")
        ask(api, "POST", "listeners", who, "creates a listener", listener)
        ask(api, "PUT", "listeners/{li}", who, "updates a listener", {"listener": {"name": "x"}})
        ask(api, "DELETE", "pools/{pool}/members/{m}", who, "deletes a member")
        ask(api, "PUT", "pools/{pool}/members", who, "replaces members", {"members": []})
    ask(
        api,
        "PUT",
        "loadbalancers/{lb}",
        "member",
        "updates another project's",
        {"loadbalancer": {"name": "x"}},
        project=OTHER,
    )
    ask(
        api, "DELETE", "loadbalancers/{lb}?cascade=true", "member", "deletes another project's", project=OTHER
    )
    ask(api, "POST", "listeners", "member", "creates a listener in another project", listener, project=OTHER)
    ask(
        api,
        "PUT",
        "pools/{pool}/members",
        "member",
        "replaces members of another project",
        {"members": []},
        project=OTHER,
    )
    ask(
        api,
        "PUT",
        "loadbalancers/{lb}",
        "admin",
        "updates another project's",
        {"loadbalancer": {"name": "x"}},
        project=OTHER,
    )
    ask(api, "POST", "listeners", "admin", "creates a listener in another project", listener, project=OTHER)


def administration(api):
    for who in ("admin", "member", "reader"):
        ask(api, "PUT", "loadbalancers/{lb}/failover", who, "fails over")
        for path in (
            "/v2/octavia/amphorae?fields=role",
            "flavors",
            "flavorprofiles",
            "availabilityzones",
            "availabilityzoneprofiles",
            "providers?fields=name",
            "providers/amphora/flavor_capabilities?fields=name",
            "quotas?fields=pool",
            "quotas/{project}?fields=pool",
            f"quotas/{OTHER}?fields=pool",
            "quotas/defaults",
        ):
            ask(api, "GET", path, who, f"GET {path}")
        profile = {"name": f"of {who}", "provider_name": "amphora", "flavor_data": "{}"}
        ask(api, "POST", "flavorprofiles", who, "creates a flavor profile", {"flavorprofile": profile})
        ask(api, "PUT", "quotas/{project}", who, "sets a quota", {"quota": {"pool": 5}})
        ask(api, "DELETE", "quotas/{project}", who, "resets a quota")


def limits(api):
    def limit(name, **fields):
        ask(api, "PUT", "quotas/{project}", "admin", f"limit: {name}", {"quota": fields})

    def post(path, name, body):
        ask(api, "POST", path, "member", name, body)

    pool = {"loadbalancer_id": "{lb}", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    limit("as many as there are", loadbalancer=1, listener=2, pool=1, member=1, healthmonitor=0, l7policy=0)
    post("loadbalancers", "one load balancer too many", {"loadbalancer": {"vip_subnet_id": "{subnet}"}})
    post(
        "listeners",
        "one listener too many",
        {"listener": {"loadbalancer_id": "{lb}", "protocol": "HTTP", "protocol_port": 8082}},
    )
    post("pools", "one pool too many", {"pool": pool})
    post(
        "pools/{pool}/members",
        "one member too many",
        {"member": {"address": "10.0.0.2", "protocol_port": 80}},
    )
    monitor = {"pool_id": "{pool}", "type": "PING", "delay": 5, "timeout": 5, "max_retries": 1}
    post("healthmonitors", "one monitor too many", {"healthmonitor": monitor})
    post("l7policies", "one policy too many", {"l7policy": {"listener_id": "{li}", "action": "REJECT"}})
    rows = [{"address": f"10.0.0.{number}", "protocol_port": 80} for number in (1, 2)]
    ask(api, "PUT", "pools/{pool}/members", "member", "one member too many in a batch", {"members": rows})
    ask(api, "PUT", "pools/{pool}/members", "member", "a batch that swaps one", {"members": rows[1:]})
    limit("room for one", loadbalancer=2, pool=2)
    full = {"vip_subnet_id": "{subnet}", "name": "full"}
    pools = [{"name": name, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"} for name in ("a", "b")]
    post("loadbalancers", "one pool too many in a whole", {"loadbalancer": full | {"pools": pools}})
    post("loadbalancers", "a whole that fits", {"loadbalancer": full | {"pools": pools[:1]}})
    post("loadbalancers", "one load balancer too many again", {"loadbalancer": full})
    limit("rules", l7policy=1, l7rule=0)
    ask(
        api,
        "POST",
        "l7policies",
        "member",
        "a policy that fits",
        {"l7policy": {"listener_id": "{li}", "action": "REJECT"}},
        bind="policy",
    )
    rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/a"}
    post("l7policies/{policy}/rules", "one rule too many", {"rule": rule})
    ask(api, "DELETE", "l7policies/{policy}", "member", "deletes the policy")
    post("l7policies", "a policy where one went", {"l7policy": {"listener_id": "{li}", "action": "REJECT"}})
    ask(api, "GET", "quotas/{project}", "member", "reads its quota")
    ask(api, "DELETE", "quotas/{project}", "admin", "takes the limits away")
    post("pools", "a pool without limits", {"pool": pool})
