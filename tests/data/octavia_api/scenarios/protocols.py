# SPDX-License-Identifier: Apache-2.0
"""Which protocols go together: listener and pool, pool and monitor, pool and persistence; who shares a port."""

import itertools

LISTENERS = ("TCP", "HTTP", "HTTPS", "TERMINATED_HTTPS", "UDP", "SCTP", "PROMETHEUS")
POOLS = ("TCP", "HTTP", "HTTPS", "PROXY", "PROXYV2", "UDP", "SCTP")
MONITORS = ("HTTP", "HTTPS", "PING", "TCP", "TLS-HELLO", "UDP-CONNECT", "SCTP")
TLS = {"default_tls_container_ref": "http://barbican/v1/secrets/a"}
PORTS = itertools.count(9001)


def play(api):
    api.balancer("lb")
    listeners(api)
    pools(api)
    by_listener(api)
    by_default_pool_id(api)
    by_policy(api)
    monitors(api)
    persistence(api)
    ports(api)
    udp_members(api)


def listener(api, name, /, bind=None, **fields):
    usual = {"loadbalancer_id": "{lb}", "protocol_port": next(PORTS)}
    extra = TLS if fields["protocol"] == "TERMINATED_HTTPS" else {}
    return api.create("listener", name, bind=bind, **(usual | extra | fields))


def pool(api, name, /, bind=None, **fields):
    owner = {} if "listener_id" in fields else {"loadbalancer_id": "{lb}"}
    usual = owner | {"lb_algorithm": "ROUND_ROBIN"}
    return api.create("pool", name, bind=bind, **(usual | fields))


def listeners(api):
    for protocol in LISTENERS:
        listener(api, f"a {protocol} listener", bind=f"li_{protocol.lower()}", protocol=protocol)


def pools(api):
    for protocol in POOLS:
        pool(api, f"a {protocol} pool", bind=f"pool_{protocol.lower()}", protocol=protocol)
        if protocol in ("PROXY", "PROXYV2", "UDP", "SCTP"):
            for algorithm in ("LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"):
                pool(api, f"a {protocol} pool of {algorithm}", protocol=protocol, lb_algorithm=algorithm)
        pool(
            api,
            f"a {protocol} pool with TLS",
            protocol=protocol,
            tls_enabled=True,
            bind=f"tls_{protocol.lower()}",
        )


def by_listener(api):
    for above, below in itertools.product(LISTENERS, POOLS):
        name = f"{below} pool on a {above} listener"
        if pool(api, name, bind="made", protocol=below, listener_id=f"{{li_{above.lower()}}}") == 201:
            api.delete("pool", "{made}", f"{name}, deleted again")
    name = "TCP pool on a HTTP listener that names the load balancer too"
    if pool(api, name, bind="made", protocol="TCP", listener_id="{li_http}", loadbalancer_id="{lb}") == 201:
        api.delete("pool", "{made}", f"{name}, deleted again")


def by_default_pool_id(api):
    for above, below in itertools.product(LISTENERS, POOLS):
        name = f"{above} listener over a {below} pool"
        identity = f"{{pool_{below.lower()}}}"
        if listener(api, name, bind="made", protocol=above, default_pool_id=identity) == 201:
            api.delete("listener", "{made}", f"{name}, deleted again")


def by_policy(api):
    for above in LISTENERS:
        for below in ("HTTP", "PROXY", "TCP"):
            name = f"policy of a {above} listener to a {below} pool"
            status = api.create(
                "l7policy",
                name,
                bind="made",
                listener_id=f"{{li_{above.lower()}}}",
                action="REDIRECT_TO_POOL",
                redirect_pool_id=f"{{pool_{below.lower()}}}",
            )
            if status == 201:
                api.delete("l7policy", "{made}", f"{name}, deleted again")


def monitors(api):
    for below, kind in itertools.product(("PROXY", "PROXYV2", "UDP", "SCTP"), MONITORS):
        name = f"{kind} monitor of a {below} pool"
        status = api.create(
            "healthmonitor",
            name,
            bind="made",
            pool_id=f"{{pool_{below.lower()}}}",
            type=kind,
            delay=30,
            timeout=5,
            max_retries=2,
        )
        if status == 201:
            api.delete("healthmonitor", "{made}", f"{name}, deleted again")
    for delay in (2, 3):
        api.create(
            "healthmonitor",
            f"UDP-CONNECT monitor with delay {delay}",
            pool_id="{pool_udp}",
            type="UDP-CONNECT",
            delay=delay,
            timeout=1,
            max_retries=2,
        )


def persistence(api):
    given = (
        {"type": "SOURCE_IP"},
        {"type": "HTTP_COOKIE"},
        {"type": "APP_COOKIE", "cookie_name": "sid"},
        {"type": "SOURCE_IP", "persistence_timeout": 60, "persistence_granularity": "255.255.255.0"},
        {"type": "SOURCE_IP", "persistence_granularity": "x"},
        {"type": "SOURCE_IP", "persistence_timeout": 0},
    )
    for protocol in ("PROXY", "PROXYV2", "UDP", "SCTP"):
        for value in given:
            pool(api, f"{protocol} pool with {value}", protocol=protocol, session_persistence=value)


def ports(api):
    for above in LISTENERS:
        listener(
            api,
            f"{above} takes port {9500 + LISTENERS.index(above)}",
            protocol=above,
            protocol_port=9500 + LISTENERS.index(above),
        )
    for above, beside in itertools.product(LISTENERS, LISTENERS):
        name = f"{beside} on the port of {above}"
        port = 9500 + LISTENERS.index(above)
        if listener(api, name, bind="made", protocol=beside, protocol_port=port) == 201:
            api.delete("listener", "{made}", f"{name}, deleted again")


def udp_members(api):
    api.update("listener", "{li_udp}", "the UDP listener gets its pool", default_pool_id="{pool_udp}")
    for address in ("10.0.0.1", "2001:db8::1"):
        api.create(
            "member", f"member {address} of a UDP pool", in_="{pool_udp}", address=address, protocol_port=53
        )
    for above in ("TCP", "HTTPS", "UDP", "SCTP"):
        listener(
            api,
            f"{above} listener with inserted headers",
            protocol=above,
            insert_headers={"X-Forwarded-For": "true"},
        )
        listener(api, f"{above} listener with a certificate", protocol=above, **TLS)
    listener(api, "UDP listener with allowed_cidrs", protocol="UDP", allowed_cidrs=["10.0.0.0/8"])
