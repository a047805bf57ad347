# SPDX-License-Identifier: Apache-2.0
"""TLS on listeners and pools: certificates, versions, ciphers, ALPN, client authentication, HSTS.

Nothing that makes Octavia read a CA certificate: its no-op certificate manager has none that it would take.
"""

import itertools

from symbols import short

REF = "http://barbican/v1/secrets/a"
PORTS = itertools.count(9001)


def play(api):
    api.balancer("lb")
    listeners(api)
    updates(api)
    pools(api)


def listener(api, name, /, bind=None, **fields):
    usual = {
        "loadbalancer_id": "{lb}",
        "protocol": "TERMINATED_HTTPS",
        "protocol_port": next(PORTS),
        "default_tls_container_ref": REF,
    }
    given = {key: value for key, value in (usual | fields).items() if value is not ...}
    return api.create("listener", name, bind=bind, **given)


def listeners(api):
    listener(api, "create", bind="li")
    listener(api, "create without certificate", default_tls_container_ref=...)
    listener(api, "create with certificate null", default_tls_container_ref=None)
    listener(api, "create with SNI alone", default_tls_container_ref=..., sni_container_refs=[REF])
    listener(api, "create with SNI empty", default_tls_container_ref=..., sni_container_refs=[])
    given = {
        "sni_container_refs": ([REF, REF + "b"], ["r" * 256], None),
        "tls_versions": (["TLSv1.3"], ["SSLv3", "TLSv1"], ["TLSv9"], [], None, "TLSv1.2"),
        "tls_ciphers": ("ECDHE-RSA-AES128-GCM-SHA256", "NONSENSE", "a b", "a;b", "", None),
        "alpn_protocols": (["h2"], ["http/1.0", "h2"], ["spdy/3"], ["foo"], [], None),
        "client_authentication": ("NONE", "OPTIONAL", "MANDATORY", None),
        "client_ca_tls_container_ref": (None,),
        "client_crl_container_ref": (REF, None),
        "hsts_max_age": (0, 31536000, -1, None, "60"),
        "hsts_include_subdomains": (True, False),
        "hsts_preload": (True, False),
        "insert_headers": ({"X-SSL-Issuer": "true"}, {"X-SSL-Nothing": "true"}, {"X-Forwarded-For": "true"}),
    }
    for field, values in given.items():
        for value in values:
            listener(api, f"create {field} {short(value)}", **{field: value})
    listener(
        api,
        "create HSTS whole",
        hsts_max_age=60,
        hsts_include_subdomains=True,
        hsts_preload=True,
        bind="hsts",
    )
    listener(api, "create PROMETHEUS with a certificate", protocol="PROMETHEUS")


def updates(api):
    given = {
        "tls_versions": (["TLSv1.3"], [], ["TLSv9"], None),
        "tls_ciphers": ("AES128-SHA", "a b", None),
        "alpn_protocols": (["h2"], [], ["foo"], None),
        "sni_container_refs": ([REF], [], None),
        "hsts_max_age": (60, -1, None),
        "hsts_include_subdomains": (True,),
        "client_authentication": ("OPTIONAL", None),
        "client_crl_container_ref": (REF,),
        "insert_headers": ({"X-SSL-Issuer": "true"}, None),
        "default_tls_container_ref": (REF + "c", None),
    }
    for field, values in given.items():
        for value in values:
            api.update("listener", "{li}", f"update {field} {short(value)}", **{field: value})
    api.update("listener", "{hsts}", "update HSTS off beneath its options", hsts_max_age=None)
    api.show("listener", "{li}", "shown after all updates")


def pools(api):
    def create(name, bind=None, **fields):
        usual = {
            "loadbalancer_id": "{lb}",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "tls_enabled": True,
        }
        api.create("pool", f"pool: {name}", bind=bind, **(usual | fields))

    create("create", bind="pool")
    given = {
        "tls_versions": (["TLSv1.3"], ["TLSv9"], [], None),
        "tls_ciphers": ("AES128-SHA", "a b", None),
        "alpn_protocols": (["h2"], ["foo"], [], None),
        "tls_container_ref": (REF, None),
        "ca_tls_container_ref": (None,),
        "crl_container_ref": (REF, None),
    }
    for field, values in given.items():
        for value in values:
            create(f"create {field} {short(value)}", **{field: value})
            create(f"create without TLS {field} {short(value)}", tls_enabled=False, **{field: value})
    for field, values in given.items():
        for value in values:
            api.update("pool", "{pool}", f"pool: update {field} {short(value)}", **{field: value})
    api.update("pool", "{pool}", "pool: update TLS off", tls_enabled=False)
    api.show("pool", "{pool}", "pool: shown after all updates")
    api.update("pool", "{pool}", "pool: update TLS on", tls_enabled=True)
