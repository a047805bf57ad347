# SPDX-License-Identifier: Apache-2.0
"""Listeners: every field on POST and PUT, its range, null and type; ports; default pools; inserted headers."""

import itertools

from symbols import short

UNKNOWN = "99000000-0000-4000-8000-000000000009"
PORTS = itertools.count(9001)


def play(api):
    api.balancer("lb")
    creating(api)
    one_field(api)
    headers(api)
    cidrs(api)
    ports(api)
    default_pools(api)
    updates(api)
    deletes(api)


def create(api, name, /, bind=None, **fields):
    usual = {"loadbalancer_id": "{lb}", "protocol": "HTTP", "protocol_port": next(PORTS)}
    given = {key: value for key, value in (usual | fields).items() if value is not ...}
    return api.create("listener", name, bind=bind, **given)


def creating(api):
    for protocol in ("TCP", "HTTP", "HTTPS", "PROMETHEUS"):
        create(api, f"create {protocol}", protocol=protocol)
    create(api, "create without protocol", protocol=...)
    create(api, "create without port", protocol_port=...)
    create(api, "create without load balancer", loadbalancer_id=...)
    create(api, "create with nothing", loadbalancer_id=..., protocol=..., protocol_port=...)
    create(api, "create protocol null", protocol=None)
    create(api, "create port null", protocol_port=None)
    create(api, "create load balancer null", loadbalancer_id=None)
    create(api, "create protocol in small letters", protocol="http")
    create(api, "create protocol of a pool", protocol="PROXY")
    create(api, "create protocol unknown", protocol="SPDY")
    create(api, "create protocol a number", protocol=80)
    create(api, "create on an unknown load balancer", loadbalancer_id=UNKNOWN)
    create(api, "create on no UUID", loadbalancer_id="front")


def one_field(api):
    given = {
        "protocol_port": (0, -1, 1, 65535, 65536, "9901", 9902.0, 9903.7, "x", True, [9904]),
        "name": ("web", None, "n" * 255, "n" * 256, 7),
        "description": ("the shop", None, "d" * 256),
        "admin_state_up": (False, None, "false", "f", "off", 0, "2", 2, "TRUE", [True]),
        "connection_limit": (-1, 0, 1, -2, None, "100", "x", 2_147_483_647, 2_147_483_648, 1.5),
        "timeout_client_data": (0, 1, -1, 2_073_600_000, 2_073_600_001, None, "30000", "x"),
        "timeout_member_connect": (0, -1, 2_073_600_000, 2_073_600_001, None, "1000"),
        "timeout_member_data": (0, -1, 2_073_600_000, 2_073_600_001, None, "1000"),
        "timeout_tcp_inspect": (0, -1, 2_073_600_000, 2_073_600_001, None, "1000"),
        "tags": (["a"], [], None, ["b", "a"], ["t" * 255], ["t" * 256], [None], "a", {"a": 1}),
        "default_pool_id": (None, UNKNOWN, "front"),
        "client_authentication": ("NONE", "none", None, "ANY"),
        "hsts_max_age": (None, -1, 0, 31536000),
        "hsts_include_subdomains": (False, True, None),
        "hsts_preload": (False, True),
        "tls_versions": (["TLSv1.2"], ["TLSv9"], [], None),
        "tls_ciphers": ("ECDHE-RSA-AES128-GCM-SHA256", "bad cipher", "", None, "c" * 2049),
        "alpn_protocols": (["h2", "http/1.1"], ["spdy"], [], None),
        "default_tls_container_ref": ("http://barbican/a", None, "r" * 256),
        "sni_container_refs": (["http://barbican/a"], [], None),
        "client_ca_tls_container_ref": ("http://barbican/a",),
        "client_crl_container_ref": ("http://barbican/a",),
        "l7policies": ([], None),
        "project_id": ("{project}", "another"),
        "tenant_id": ("{project}",),
        "id": (UNKNOWN,),
        "operating_status": ("ONLINE",),
        "created_at": ("2020-01-01T00:00:00",),
        "colour": ("blue",),
    }
    for field, values in given.items():
        for value in values:
            create(api, f"create {field} {short(value)}", **{field: value})
    for field in ("timeout_client_data", "connection_limit"):
        create(api, f"create TCP with {field}", protocol="TCP", **{field: 4321})


def headers(api):
    given = {
        "three": {"X-Forwarded-For": "true", "X-Forwarded-Port": "true", "X-Forwarded-Proto": "true"},
        "the newer three": {"X-Forwarded-IP": "true", "X-Client-IP": "true", "X-Real-IP": "true"},
        "false": {"X-Forwarded-For": "false"},
        "True": {"X-Forwarded-For": "True"},
        "banana": {"X-Forwarded-For": "banana"},
        "a boolean": {"X-Forwarded-For": True},
        "a number": {"X-Forwarded-For": 1},
        "null": None,
        "a null in it": {"X-Forwarded-For": None},
        "empty": {},
        "small letters": {"x-forwarded-for": "true"},
        "unknown": {"X-Colour": "true"},
        "two unknown": {"X-Colour": "true", "X-Shape": "true"},
        "of TLS": {"X-SSL-Issuer": "true"},
        "a list": ["X-Forwarded-For"],
        "a text": "X-Forwarded-For=true",
        "a value of 256 characters": {"X-Forwarded-For": "v" * 256},
    }
    for name, value in given.items():
        create(api, f"insert_headers {name}", insert_headers=value)
    for protocol in ("TCP", "HTTPS", "PROMETHEUS"):
        create(
            api,
            f"insert_headers on {protocol}",
            protocol=protocol,
            insert_headers={"X-Forwarded-For": "true"},
        )
    create(api, "insert_headers empty on TCP", protocol="TCP", insert_headers={})


def cidrs(api):
    given = {
        "one": ["10.0.0.0/8"],
        "two": ["10.0.0.0/8", "192.168.0.0/16"],
        "with host bits": ["10.0.0.5/24"],
        "a bare address": ["10.0.0.5"],
        "twice the same": ["10.0.0.0/8", "10.0.0.0/8"],
        "all": ["0.0.0.0/0"],
        "IPv6 before an IPv4 VIP": ["2001:db8::/32"],
        "empty": [],
        "null": None,
        "no CIDR": ["front"],
        "a prefix too long": ["10.0.0.0/33"],
        "a text": "10.0.0.0/8",
        "a number": [10],
    }
    for name, value in given.items():
        create(api, f"allowed_cidrs {name}", allowed_cidrs=value)
    for protocol in ("TCP", "HTTPS", "PROMETHEUS"):
        create(api, f"allowed_cidrs on {protocol}", protocol=protocol, allowed_cidrs=["10.0.0.0/8"])


def ports(api):
    create(api, "port 9950 of HTTP", protocol_port=9950)
    for protocol in ("TCP", "HTTP", "HTTPS", "PROMETHEUS"):
        create(api, f"port 9950 again by {protocol}", protocol=protocol, protocol_port=9950)
    api.balancer("second")
    create(api, "port 9950 of another load balancer", loadbalancer_id="{second}", protocol_port=9950)
    create(api, "the same name twice", name="twin")
    create(api, "the same name twice, again", name="twin")
    create(api, "the same tag twice", tags=["a", "a"])


def default_pools(api):
    for protocol in ("TCP", "HTTP", "HTTPS"):
        api.create(
            "pool",
            f"a pool of {protocol}",
            bind=f"{protocol.lower()}_pool",
            loadbalancer_id="{lb}",
            protocol=protocol,
            lb_algorithm="ROUND_ROBIN",
        )
    api.create(
        "pool",
        "a pool elsewhere",
        bind="foreign_pool",
        loadbalancer_id="{second}",
        protocol="HTTP",
        lb_algorithm="ROUND_ROBIN",
    )
    for protocol in ("TCP", "HTTP", "HTTPS", "PROMETHEUS"):
        for pool in ("tcp_pool", "http_pool", "https_pool"):
            create(
                api,
                f"create {protocol} with default_pool_id {pool}",
                bind=f"{protocol.lower()}_on_{pool}",
                protocol=protocol,
                default_pool_id=f"{{{pool}}}",
            )
    create(api, "create with a pool of another load balancer", default_pool_id="{foreign_pool}")
    api.show("pool", "{http_pool}", "a pool of several listeners")
    listener = "{http_on_http_pool}"
    api.update("listener", listener, "update: another load balancer's pool", default_pool_id="{foreign_pool}")
    api.update("listener", listener, "update: a pool of another protocol", default_pool_id="{tcp_pool}")
    api.update("listener", listener, "update: an unknown pool", default_pool_id=UNKNOWN)
    api.update("listener", listener, "update: no pool", default_pool_id=None)
    api.update("listener", listener, "update: the pool again", default_pool_id="{http_pool}")
    api.show("listener", listener, "with its pool, shown")


def updates(api):
    create(api, "a listener to update", bind="li", name="li", tags=["old"])
    given = {
        "name": ("changed", None, "n" * 256),
        "description": ("changed", None),
        "admin_state_up": (False, True, None),
        "connection_limit": (77, "78", None, -2, 0),
        "timeout_client_data": (1234, None, -1, 2_073_600_001),
        "timeout_member_connect": (1234, None),
        "timeout_member_data": (1234, None),
        "timeout_tcp_inspect": (1234, None),
        "insert_headers": (
            {"X-Forwarded-For": "true"},
            {"X-Colour": "true"},
            {"X-SSL-Issuer": "true"},
            {},
            None,
        ),
        "allowed_cidrs": (["10.0.0.0/8"], ["10.1.2.3/16"], ["2001:db8::/32"], ["x"], [], None),
        "tags": (["new"], None, ["a", "b"], []),
        "client_authentication": ("NONE", "OPTIONAL", None),
        "hsts_max_age": (10, None),
        "hsts_include_subdomains": (True, False),
        "tls_versions": (["TLSv1.2"], None),
        "tls_ciphers": ("ECDHE-RSA-AES128-GCM-SHA256", None),
        "alpn_protocols": (["h2"], None),
        "default_tls_container_ref": ("http://barbican/a", None),
        "sni_container_refs": (["http://barbican/a"], None),
        "protocol": ("HTTP",),
        "protocol_port": (9960,),
        "loadbalancer_id": ("{lb}",),
        "project_id": ("{project}",),
        "l7policies": ([],),
        "colour": ("blue",),
    }
    api.update("listener", "{li}", "update nothing")
    for field, values in given.items():
        for value in values:
            api.update("listener", "{li}", f"update {field} {short(value)}", **{field: value})
    api.update("listener", "{li}", "update several", name="x", connection_limit=9, tags=["z"])
    api.update("listener", "{li}", "update one good, one bad", name="y", connection_limit=-9)
    api.show("listener", "{li}", "shown after all updates")
    api.update("listener", UNKNOWN, "update an unknown id", name="x")
    api.update("listener", "front", "update an id that is no UUID", name="x")


def deletes(api):
    api.delete("listener", "{li}", "delete")
    api.show("listener", "{li}", "shown after delete")
    api.delete("listener", "{li}", "delete again")
    api.delete("listener", UNKNOWN, "delete an unknown id")
    api.delete("listener", "{tcp_on_tcp_pool}", "delete one with a pool")
    api.show("pool", "{tcp_pool}", "its pool stays")
