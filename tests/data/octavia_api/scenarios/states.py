# SPDX-License-Identifier: Apache-2.0
"""States: changes under way, objects in ERROR, statistics, status trees, failover, amphorae."""

UNKNOWN = "99000000-0000-4000-8000-000000000009"
KINDS = ("listener", "pool", "member", "healthmonitor", "l7policy", "rule")
WITHIN = {"member": "{pool}", "rule": "{l7policy}"}


def play(api):
    api.balancer("lb", name="shop")
    objects(api)
    trees(api)
    failover(api)
    amphorae(api)
    admin_down(api)
    in_error(api)
    child_in_error(api)
    under_way(api)


def objects(api):
    api.create(
        "listener",
        "a listener",
        bind="listener",
        loadbalancer_id="{lb}",
        protocol="HTTP",
        protocol_port=8080,
        name="front",
    )
    api.get("loadbalancers/{lb}/status", "tree: a listener without pool")
    api.create(
        "pool",
        "a pool",
        bind="pool",
        listener_id="{listener}",
        protocol="HTTP",
        lb_algorithm="ROUND_ROBIN",
        name="web",
    )
    api.show("pool", "{pool}", "a pool without members")
    api.create("member", "a member", bind="member", in_="{pool}", address="10.0.0.1", protocol_port=80)
    api.show("member", "{member}", "a member without monitor", in_="{pool}")
    api.create(
        "healthmonitor",
        "a monitor",
        bind="healthmonitor",
        pool_id="{pool}",
        type="HTTP",
        delay=60,
        timeout=5,
        max_retries=2,
        name="check",
    )
    api.create(
        "member", "a member with a monitor", bind="second", in_="{pool}", address="10.0.0.2", protocol_port=80
    )
    api.create("l7policy", "a policy", bind="l7policy", listener_id="{listener}", action="REJECT")
    api.create(
        "rule", "a rule", bind="rule", in_="{l7policy}", type="PATH", compare_type="STARTS_WITH", value="/a"
    )
    api.create(
        "pool",
        "a pool of nobody",
        bind="spare",
        loadbalancer_id="{lb}",
        protocol="HTTP",
        lb_algorithm="ROUND_ROBIN",
        name="spare",
    )
    for kind in KINDS:
        api.show(kind, f"{{{kind}}}", f"{kind}, shown", in_=WITHIN.get(kind))
    api.show("pool", "{spare}", "a pool of nobody, shown")


def trees(api):
    api.get("loadbalancers/{lb}/status", "tree: whole")
    api.get("loadbalancers/{lb}/statuses", "tree: by its other name")
    api.get("loadbalancers/{lb}/stats", "statistics of a load balancer")
    api.get("listeners/{listener}/stats", "statistics of a listener")
    api.get("pools/{pool}/stats", "statistics of a pool: there are none")
    api.update("member", "{second}", "a member drains", in_="{pool}", weight=0)
    api.show("member", "{second}", "a draining member", in_="{pool}")
    api.update("member", "{second}", "a member is disabled", in_="{pool}", weight=1, admin_state_up=False)
    api.show("member", "{second}", "a disabled member", in_="{pool}")
    api.show("pool", "{pool}", "a pool with a disabled member")
    api.update("member", "{second}", "a member is enabled", in_="{pool}", admin_state_up=True)
    api.update("l7policy", "{l7policy}", "the policy sends to the spare pool", redirect_pool_id="{spare}")
    api.get("loadbalancers/{lb}/status", "tree: with a policy's pool")
    api.update("l7policy", "{l7policy}", "the policy rejects", action="REJECT")


def failover(api):
    api.ask("PUT", "loadbalancers/{lb}/failover", name="failover")
    api.show("loadbalancer", "{lb}", "after the failover")
    api.ask("PUT", "loadbalancers/{lb}/failover", {}, name="failover with a body")
    api.ask("PUT", "loadbalancers/front/failover", name="failover of no UUID")


def amphorae(api):
    path = "/v2/octavia/amphorae"
    api.get(path, "amphorae: listed", bind=None)
    api.get(f"{path}?loadbalancer_id={{lb}}&fields=role&fields=status", "amphorae: of a load balancer")
    api.get(f"{path}?load_balancer_id={{lb}}&fields=role", "amphorae: of a load balancer, by its other name")
    api.get(f"{path}?loadbalancer_id={UNKNOWN}", "amphorae: of another load balancer")
    api.get(f"{path}?status=ALLOCATED&fields=status", "amphorae: by status")
    api.get(f"{path}?role=MASTER", "amphorae: by role")
    api.get(f"{path}?colour=blue", "amphorae: unknown argument")
    for method, tail in (
        ("GET", ""),
        ("GET", "/stats"),
        ("PUT", "/failover"),
        ("PUT", "/config"),
        ("DELETE", ""),
    ):
        api.ask(method, f"{path}/{UNKNOWN}{tail}", name=f"amphorae: {method} {tail} of an unknown one")
        api.ask(method, f"{path}/front{tail}", name=f"amphorae: {method} {tail} of no UUID")


def admin_down(api):
    def shown(what):
        api.get("loadbalancers/{lb}/status", f"tree: {what}")

    api.update("pool", "{pool}", "pool down", admin_state_up=False)
    shown("pool down")
    api.update("pool", "{pool}", "pool up", admin_state_up=True)
    api.update("listener", "{listener}", "listener down", admin_state_up=False)
    shown("listener down")
    api.update("listener", "{listener}", "listener up", admin_state_up=True)
    api.update("healthmonitor", "{healthmonitor}", "monitor down", admin_state_up=False)
    shown("monitor down")
    api.update("healthmonitor", "{healthmonitor}", "monitor up", admin_state_up=True)
    api.update("loadbalancer", "{lb}", "load balancer down", admin_state_up=False)
    shown("load balancer down")
    api.show("loadbalancer", "{lb}", "load balancer down, shown")
    api.update("loadbalancer", "{lb}", "load balancer up", admin_state_up=True)
    shown("load balancer up")


def writes(api, state):
    """Every write beneath the load balancer, while it is in some state."""
    api.update("loadbalancer", "{lb}", f"{state}: update the load balancer", name="x")
    api.create(
        "listener", f"{state}: create listener", loadbalancer_id="{lb}", protocol="HTTP", protocol_port=8085
    )
    api.create(
        "pool", f"{state}: create pool", loadbalancer_id="{lb}", protocol="HTTP", lb_algorithm="ROUND_ROBIN"
    )
    api.create("member", f"{state}: create member", in_="{pool}", address="10.0.0.9", protocol_port=80)
    api.create(
        "healthmonitor",
        f"{state}: create monitor",
        pool_id="{spare}",
        type="PING",
        delay=5,
        timeout=5,
        max_retries=1,
    )
    api.create("l7policy", f"{state}: create policy", listener_id="{listener}", action="REJECT")
    api.create(
        "rule", f"{state}: create rule", in_="{l7policy}", type="PATH", compare_type="EQUAL_TO", value="/x"
    )
    api.ask("PUT", "pools/{pool}/members", {"members": []}, name=f"{state}: batch")
    for kind in KINDS:
        changes = {"value": "/y"} if kind == "rule" else {"name": "x"}
        api.update(kind, f"{{{kind}}}", f"{state}: update {kind}", in_=WITHIN.get(kind), **changes)
        api.delete(kind, f"{{{kind}}}", f"{state}: delete {kind}", in_=WITHIN.get(kind))
    api.delete("loadbalancer", "{lb}", f"{state}: delete the load balancer that has children")


def in_error(api):
    api.set_status("loadbalancer", "{lb}", "ERROR")
    api.show("loadbalancer", "{lb}", "ERROR: shown")
    writes(api, "ERROR")
    api.ask("PUT", "loadbalancers/{lb}/failover", name="ERROR: failover mends it")
    api.show("loadbalancer", "{lb}", "ERROR: shown after failover")


def child_in_error(api):
    api.set_status("pool", "{pool}", "ERROR")
    api.create("member", "pool in ERROR: create member", in_="{pool}", address="10.0.0.8", protocol_port=80)
    api.update("member", "{member}", "pool in ERROR: update member", in_="{pool}", weight=2)
    api.update("healthmonitor", "{healthmonitor}", "pool in ERROR: update monitor", delay=61)
    api.update("pool", "{pool}", "pool in ERROR: update it", description="mended")
    api.show("pool", "{pool}", "pool in ERROR: shown after its update")
    api.set_status("listener", "{listener}", "ERROR")
    api.create("l7policy", "listener in ERROR: create policy", listener_id="{listener}", action="REJECT")
    api.update("listener", "{listener}", "listener in ERROR: update it", description="mended")
    api.set_status("l7policy", "{l7policy}", "ERROR")
    api.update("rule", "{rule}", "policy in ERROR: update rule", in_="{l7policy}", value="/z")
    api.update("l7policy", "{l7policy}", "policy in ERROR: update it", description="mended")


def under_way(api):
    api.leave_pending()
    api.update("loadbalancer", "{lb}", "under way: the load balancer changes", description="new")
    writes(api, "under way")
    api.show("loadbalancer", "{lb}", "under way: shown")
    api.ask("PUT", "loadbalancers/{lb}/failover", name="under way: failover")
    api.delete("loadbalancer", "{lb}?cascade=true", "under way: cascade delete")
    api.apply()
    api.leave_pending()
    api.update("member", "{member}", "under way: a member changes", in_="{pool}", weight=3)
    api.get("loadbalancers/{lb}/status", "under way: who is PENDING")
    api.apply()
    api.leave_pending()
    api.delete("loadbalancer", "{lb}?cascade=true", "under way: deleting")
    api.show("loadbalancer", "{lb}", "under way: shown while deleting")
    api.show("listener", "{listener}", "under way: a child shown while deleting")
    api.delete("loadbalancer", "{lb}?cascade=true", "under way: delete again")
    api.apply()
    api.show("loadbalancer", "{lb}", "deleted")
