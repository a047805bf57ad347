# SPDX-License-Identifier: Apache-2.0
"""Lists: filters of every kind, tags, fields, sorting, pages and their links, bad values."""

NAMES = ("delta", "alpha", "echo", "bravo", "charlie")
TAGS = {
    "delta": ["red", "blue"],
    "alpha": ["red"],
    "echo": ["blue", "green"],
    "bravo": [],
    "charlie": ["red", "blue"],
}
UNKNOWN = "99000000-0000-4000-8000-000000000009"


def play(api):
    objects(api)
    filters(api)
    booleans(api)
    tags(api)
    fields(api)
    sorting(api)
    pages(api)
    every_resource(api)


def objects(api):
    api.balancer("lb", vip_address="192.0.2.40", description="first")
    api.balancer("other", vip_address="192.0.2.41", admin_state_up=False)
    for number, name in enumerate(NAMES):
        api.create(
            "pool",
            f"pool {name}",
            bind=name,
            loadbalancer_id="{lb}" if number < 4 else "{other}",
            protocol="HTTP" if number % 2 else "TCP",
            lb_algorithm="ROUND_ROBIN" if number < 3 else "SOURCE_IP",
            name=name,
            description="same" if number in (1, 2) else "",
            admin_state_up=number != 3,
            tags=TAGS[name],
        )
    api.create(
        "listener",
        "a listener",
        bind="li",
        loadbalancer_id="{lb}",
        protocol="HTTP",
        protocol_port=8080,
        default_pool_id="{alpha}",
        name="front",
        connection_limit=50,
    )
    for number in (1, 2, 3):
        api.create(
            "member",
            f"member {number}",
            bind=f"m{number}",
            in_="{alpha}",
            address=f"10.0.0.{number}",
            protocol_port=80,
            weight=number,
            name=f"m{number}",
            backup=number == 3,
        )
    api.create(
        "healthmonitor",
        "a monitor",
        bind="hm",
        pool_id="{alpha}",
        type="HTTP",
        delay=30,
        timeout=5,
        max_retries=2,
        name="hm",
        admin_state_up=False,
    )
    api.create("l7policy", "a policy", bind="p", listener_id="{li}", action="REJECT", name="p")
    for value in ("/a", "/b"):
        api.create(
            "rule",
            f"rule {value}",
            in_="{p}",
            type="PATH",
            compare_type="STARTS_WITH",
            value=value,
            bind=f"r{value[1:]}",
        )


def names(api, query, name=None):
    """A list of pools, short: only their names."""
    api.get(f"pools?{query}&fields=name", name or f"pools?{query}")


def filters(api):
    queries = (
        "name=alpha",
        "name=ALPHA",
        "name=alph",
        "name=",
        "name=nobody",
        "id={alpha}",
        "id=front",
        f"id={UNKNOWN}",
        "protocol=HTTP",
        "protocol=http",
        "protocol=SPDY",
        "protocol=HTTP&lb_algorithm=SOURCE_IP",
        "lb_algorithm=SOURCE_IP",
        "description=same",
        "provisioning_status=ACTIVE",
        "provisioning_status=PENDING_CREATE",
        "operating_status=ONLINE",
        "operating_status=OFFLINE",
        "loadbalancer_id={lb}",
        "load_balancer_id={lb}",
        f"loadbalancer_id={UNKNOWN}",
        "loadbalancer_id=front",
        "loadbalancer_id={lb}&name=echo",
        "project_id={project}",
        f"project_id={UNKNOWN}",
        "tenant_id={project}",
        "listener_id={li}",
        "healthmonitor_id={hm}",
        "members={m1}",
        "colour=blue",
        "name=alpha&colour=blue",
        "name=alpha&name=bravo",
        "tls_enabled=false",
        "created_at=2020-01-01T00:00:00",
        "session_persistence=None",
        "name=alpha%20",
        "name=%61lpha",
        "name=al+pha",
        "name",
        "=x",
        "&&",
        "Name=alpha",
    )
    for query in queries:
        names(api, query)


def booleans(api):
    for value in ("true", "True", "TRUE", "1", "yes", "on", "t", "y", "false", "0", "no", "maybe", "", "2"):
        names(api, f"admin_state_up={value}")
    names(api, "enabled=true")


def tags(api):
    queries = (
        "tags=red",
        "tags=red,blue",
        "tags=red&tags=blue",
        "tags=none",
        "tags=",
        "tags-any=red,green",
        "tags-any=red&tags-any=green",
        "tags-any=none",
        "not-tags=red",
        "not-tags=red,blue",
        "not-tags=red&not-tags=blue",
        "not-tags-any=red,green",
        "not-tags-any=green",
        "tags=red&not-tags=blue",
        "tags=blue&tags-any=red,green",
        "tags=red&name=alpha",
        "tags_any=red",
        "not_tags=red",
    )
    for query in queries:
        names(api, query)


def fields(api):
    for query in (
        "name=alpha&fields=id&fields=name",
        "name=alpha&fields=id,name",
        "name=alpha&fields=colour",
        "name=alpha&fields=name&fields=colour",
        "name=alpha&fields=members&fields=healthmonitor_id",
        "name=bravo&fields=healthmonitor_id",
        "name=alpha&fields=tenant_id&fields=project_id",
        "name=alpha&fields=",
    ):
        api.get(f"pools?{query}", f"fields: {query}")
    for query in (
        "fields=name",
        "fields=name&fields=id",
        "fields=id,name",
        "fields=colour",
        "fields=healthmonitor_id",
    ):
        api.get(f"pools/{{alpha}}?{query}", f"fields of one: {query}")
    api.get("loadbalancers/{lb}/status?fields=statuses", "fields of a status tree")
    api.get("pools/{alpha}?pool_id={alpha}&name=x&limit=1", "arguments of one that mean nothing")


def sorting(api):
    queries = (
        "sort=name",
        "sort=name:asc",
        "sort=name:desc",
        "sort=name:DESC",
        "sort=protocol,name:desc",
        "sort=protocol:desc,name",
        "sort=created_at:desc",
        "sort=name:up",
        "sort=name:",
        "sort=:desc",
        "sort=",
        "sort=colour",
        "sort=members",
        "sort=tenant_id",
        "sort=admin_state_up,name",
        "sort=name&sort=protocol",
        "sort_key=name",
        "sort_key=name&sort_dir=desc",
        "sort_key=protocol,name&sort_dir=desc,asc",
        "sort_key=protocol,name&sort_dir=desc",
        "sort_key=name&sort_dir=desc,asc",
        "sort_key=name&sort_dir=up",
        "sort_key=colour",
        "sort_dir=desc",
        "sort=name&sort_key=protocol",
    )
    for query in queries:
        names(api, query)


def pages(api):
    queries = (
        "limit=2",
        "limit=2&marker={alpha}",
        "limit=2&marker={bravo}",
        "limit=5",
        "limit=4",
        "limit=6",
        "limit=0",
        "limit=-1",
        "limit=-5",
        "limit=infinite",
        "limit=x",
        "limit=1.5",
        "limit=",
        "limit=99999",
        "marker={echo}",
        "marker={charlie}",
        "marker=front",
        f"marker={UNKNOWN}",
        "marker=",
        "limit=2&sort=name",
        "limit=2&sort=name:desc&marker={echo}",
        "limit=2&sort_key=name&sort_dir=desc",
        "limit=1&name=alpha",
        "limit=1&protocol=HTTP",
        "limit=1&protocol=HTTP&marker={alpha}",
        "limit=2&tags=red",
        "limit=2&tags=red&marker={alpha}",
        "limit=2&page_reverse=True&marker={bravo}",
        "limit=2&page_reverse=true&marker={bravo}",
        "limit=2&page_reverse=False&marker={bravo}",
        "limit=2&page_reverse=True",
        "limit=2&page_reverse=True&marker={delta}",
        "limit=1&limit=2",
        "marker={alpha}&marker={echo}",
    )
    for query in queries:
        names(api, query)
    api.get("/v2/pools?limit=1&fields=name", "links of another spelling")
    api.get("/v2.0/lbaas/pools?limit=1&fields=name", "links of the older spelling")
    api.get("pools/?limit=1&fields=name", "links of a trailing slash")
    api.get("pools.json?limit=1&fields=name", "links of .json")
    api.get("pools/{alpha}/members?limit=1&fields=name", "links of members")
    api.get("l7policies/{p}/rules?limit=1&fields=value", "links of rules")


def every_resource(api):
    queries = {
        "loadbalancers": (
            "vip_address=192.0.2.41",
            "vip_subnet_id={subnet}",
            "vip_network_id={network}",
            "vip_port_id={lb.vip_port_id}",
            "vip_qos_policy_id={qos_policy}",
            "name=lb",
            "description=first",
            "admin_state_up=false",
            "operating_status=ONLINE",
            "operating_status=OFFLINE",
            "provider=amphora",
            "provider=f5",
            "flavor_id=x",
            "availability_zone=x",
            "additional_vips=x",
            "listeners=x",
            "sort=vip_address:desc",
            "sort=provider,name:desc",
            "vip_vnic_type=normal",
            "topology=SINGLE",
        ),
        "listeners": (
            "name=front",
            "protocol=HTTP",
            "protocol_port=8080",
            "protocol_port=81",
            "protocol_port=x",
            "connection_limit=50",
            "default_pool_id={alpha}",
            "loadbalancer_id={lb}",
            "load_balancer_id={other}",
            "timeout_client_data=50000",
            "default_tls_container_ref=x",
            "tls_versions=x",
            "insert_headers=x",
            "allowed_cidrs=10.0.0.0/8",
            "l7policies=x",
            "sort=protocol_port",
            "client_authentication=NONE",
            "alpn_protocols=h2",
            "hsts_max_age=1",
        ),
        "pools/{alpha}/members": (
            "address=10.0.0.2",
            "protocol_port=80",
            "weight=2",
            "weight=x",
            "name=m3",
            "backup=true",
            "backup=no",
            "subnet_id=x",
            "monitor_address=x",
            "monitor_port=1",
            "operating_status=NO_MONITOR",
            "pool_id={alpha}",
            "sort=weight:desc",
            "sort=address",
            "ip_address=10.0.0.2",
            "vnic_type=normal",
            "description=x",
        ),
        "healthmonitors": (
            "name=hm",
            "type=HTTP",
            "delay=30",
            "timeout=5",
            "max_retries=2",
            "max_retries_down=3",
            "http_method=GET",
            "url_path=/",
            "expected_codes=200",
            "pool_id={alpha}",
            "pools={alpha}",
            "admin_state_up=false",
            "http_version=1.0",
            "domain_name=x",
            "sort=delay",
            "description=x",
        ),
        "l7policies": (
            "name=p",
            "action=REJECT",
            "listener_id={li}",
            "position=1",
            "redirect_pool_id={alpha}",
            "redirect_url=x",
            "redirect_prefix=x",
            "redirect_http_code=302",
            "loadbalancer_id={lb}",
            "description=x",
            "rules={ra}",
            "sort=position",
        ),
        "l7policies/{p}/rules": (
            "type=PATH",
            "compare_type=STARTS_WITH",
            "value=/b",
            "key=x",
            "invert=false",
            "invert=true",
            "name=x",
            "sort=value:desc",
            "l7policy_id={p}",
        ),
    }
    short = {"pools/{alpha}/members": "name", "l7policies/{p}/rules": "value"}
    for resource, given in queries.items():
        for query in given:
            api.get(f"{resource}?{query}&fields={short.get(resource, 'name')}", f"{resource}?{query}")
        api.get(resource, f"{resource} whole")
