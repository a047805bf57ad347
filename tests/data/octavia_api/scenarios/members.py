# SPDX-License-Identifier: Apache-2.0
"""Members: every field on POST and PUT, duplicates, the batch update with and without additive_only."""

import itertools

from symbols import short

UNKNOWN = "99000000-0000-4000-8000-000000000009"
PORTS = itertools.count(7001)


def play(api):
    api.balancer("lb")
    api.create(
        "listener", "a listener", bind="li", loadbalancer_id="{lb}", protocol="HTTP", protocol_port=8080
    )
    for bind in ("pool", "batched"):
        api.create(
            "pool",
            f"a pool {bind}",
            bind=bind,
            loadbalancer_id="{lb}",
            protocol="HTTP",
            lb_algorithm="ROUND_ROBIN",
        )
    api.update("listener", "{li}", "the listener gets its pool", default_pool_id="{pool}")
    creating(api)
    one_field(api)
    updates(api)
    deletes(api)
    batch(api)
    wrong_parents(api)


def create(api, name, /, bind=None, **fields):
    usual = {"address": "10.0.0.1", "protocol_port": next(PORTS)}
    given = {key: value for key, value in (usual | fields).items() if value is not ...}
    return api.create("member", name, bind=bind, in_="{pool}", **given)


def creating(api):
    create(api, "create", bind="m1", protocol_port=80)
    api.show("member", "{m1}", "shown", in_="{pool}")
    create(api, "create the same again", protocol_port=80)
    create(api, "create with another port", protocol_port=81)
    create(api, "create with another address", address="10.0.0.2", protocol_port=80)
    create(api, "create without address", address=...)
    create(api, "create without port", protocol_port=...)
    create(api, "create address null", address=None)
    create(api, "create port null", protocol_port=None)
    addresses = (
        "2001:db8::1",
        "2001:0db8:0::0002",
        "::ffff:10.0.0.9",
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.169.254",
        "10.0.0.256",
        "10.0.0",
        "010.0.0.1",
        "10.0.0.1/32",
        "fe80::1%eth0",
        "example.org",
        "",
        " 10.0.0.1",
    )
    for address in addresses:
        create(api, f"create address {address!r}", address=address)
    create(api, "create address a number", address=167772161)
    create(api, "create the same IPv6 in other words", address="2001:db8::1", protocol_port=7999)
    create(api, "create the same IPv6 in other words, again", address="2001:DB8:0::1", protocol_port=7999)


def one_field(api):
    given = {
        "protocol_port": (0, -1, 1, 65535, 65536, "7900", "x", 7901.5),
        "weight": (0, 1, 256, 257, -1, None, "3", "x", 2.9),
        "backup": (True, False, "yes", "perhaps"),
        "monitor_address": ("10.9.9.9", "2001:db8::9", None, "x", "169.254.169.254"),
        "monitor_port": (1, 65535, 0, 65536, None, "8080"),
        "subnet_id": ("{subnet}", "{other_subnet}", None, UNKNOWN, "front"),
        "name": ("web1", None, "n" * 255, "n" * 256, 3),
        "admin_state_up": (False, None, "no", "perhaps"),
        "tags": (["a"], None, [], ["t" * 256]),
        "request_sriov": (False, True, None),
        "vnic_type": ("normal",),
        "description": ("x",),
        "project_id": ("{project}", "p" * 37),
        "operating_status": ("ONLINE",),
        "id": (UNKNOWN,),
        "colour": ("blue",),
    }
    for field, values in given.items():
        for value in values:
            create(api, f"create {field} {short(value)}", **{field: value})


def updates(api):
    given = {
        "name": ("changed", None, "n" * 256),
        "weight": (0, 9, "8", 257, -1, None),
        "backup": (True, None, "perhaps"),
        "admin_state_up": (False, True, None),
        "monitor_address": ("10.9.9.9", None, "x"),
        "monitor_port": (8080, None, 0),
        "tags": (["new"], None, []),
        "address": ("10.0.0.3",),
        "protocol_port": (82,),
        "subnet_id": ("{subnet}",),
        "request_sriov": (False,),
        "colour": ("blue",),
    }
    api.update("member", "{m1}", "update nothing", in_="{pool}")
    for field, values in given.items():
        for value in values:
            api.update("member", "{m1}", f"update {field} {short(value)}", in_="{pool}", **{field: value})
    api.show("member", "{m1}", "shown after all updates", in_="{pool}")
    api.update("member", UNKNOWN, "update an unknown id", in_="{pool}", weight=1)
    api.update("member", "front", "update an id that is no UUID", in_="{pool}", weight=1)


def deletes(api):
    api.delete("member", "{m1}", "delete", in_="{pool}")
    api.show("member", "{m1}", "shown after delete", in_="{pool}")
    api.delete("member", "{m1}", "delete again", in_="{pool}")
    create(api, "create again where one was deleted", protocol_port=80)


def batch(api):
    def put(name, members, query=""):
        document = members if isinstance(members, dict) else {"members": members}
        api.ask("PUT", f"pools/{{batched}}/members{query}", document, name=f"batch: {name}")
        api.get("pools/{batched}/members", f"batch: {name}, listed")

    one = {"address": "10.0.0.1", "protocol_port": 80}
    two = {"address": "10.0.0.2", "protocol_port": 80}
    three = {"address": "10.0.0.3", "protocol_port": 80}
    put("two new", [one | {"name": "one", "weight": 5, "tags": ["a"], "backup": True}, two])
    put("nothing changes", [one | {"weight": 5, "backup": True}, two])
    put("left-out fields go back, name and tags stay", [one, two])
    put("update one, leave one out", [one | {"weight": 7, "monitor_port": 8080, "admin_state_up": False}])
    put("add one", [one, three | {"subnet_id": "{subnet}"}])
    put("additive", [two | {"name": "two"}], "?additive_only=true")
    put("additive update", [two | {"weight": 3}], "?additive_only=True")
    put("additive empty", [], "?additive_only=1")
    put("additive_only unclear", [one, two, three], "?additive_only=maybe")
    put("additive_only=no", [one, two], "?additive_only=no")
    put("name null, tags null", [one | {"name": None, "tags": None}, two])
    put("tags replaced", [one | {"tags": ["z"]}, two])
    put("the same known one twice", [one, one])
    put("the same new one twice", [three, three])
    put("an id in it", [one | {"id": UNKNOWN}])
    put("an unknown attribute", [one | {"colour": "blue"}])
    put("weight too high", [one | {"weight": 257}])
    put("weight null", [one | {"weight": None}, two])
    put("one of two is bad", [three, {"address": "x", "protocol_port": 80}])
    put("without port", [{"address": "10.0.0.1"}])
    put("a reserved address", [{"address": "169.254.169.254", "protocol_port": 80}])
    put("wrong root", {"member": [one]})
    put("no list", {"members": one})
    put("null", {"members": None})
    put("nothing", {})
    put("unknown subnet", [three | {"subnet_id": UNKNOWN}])
    put("empty deletes all", [])
    put("empty again", [])
    api.ask("PUT", f"pools/{UNKNOWN}/members", {"members": []}, name="batch: unknown pool")


def wrong_parents(api):
    create(api, "one in the first pool", bind="here")
    for in_, pool in (("{batched}", "another pool"), (UNKNOWN, "an unknown pool"), ("front", "no UUID")):
        api.show("member", "{here}", f"shown through {pool}", in_=in_)
        api.update("member", "{here}", f"updated through {pool}", in_=in_, weight=2)
        api.get(f"pools/{in_}/members", f"listed through {pool}")
        api.create("member", f"created in {pool}", in_=in_, address="10.7.7.7", protocol_port=80)
        api.delete("member", "{here}", f"deleted through {pool}", in_=in_)
