# SPDX-License-Identifier: Apache-2.0
"""`interface = "…"`: the addresses of load balancers are put on it and taken from it, and no others are touched."""

SETUP = """
import itertools, os, socket, sqlite3
import fastlb
from fastlb.controller import Controller
from fastlb.network import NetworkConfig, Networking
from fastlb.store.memory import MemoryStore
from fastlb.testing import Client, Member, named

WEB, WEB6 = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01", "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a06"
CONFIG = NetworkConfig.of(
    subnets=[
        {"id": WEB, "cidr": "10.9.0.0/24", "network": "web", "gateway": "10.9.0.1"},
        {"id": WEB6, "cidr": "2001:db8::/64", "network": "web"},
    ],
    floating_networks=[{"cidr": "192.0.2.0/24"}],
)
engine = fastlb.Engine(workers=1)
store = MemoryStore()

def here(name="lb0"):
    found = os.popen(f"ip -o address show dev {name} scope global").read()
    return sorted(line.split()[3] for line in found.splitlines())

def controller(interface="lb0", kept=store):
    return Controller(kept, engine=engine, networking=Networking(CONFIG, interface=interface))

def make(controller, **fields):
    body = {"vip_subnet_id": WEB, "listeners": [{"protocol": "TCP", "protocol_port": 80}], **fields}
    return controller.create_load_balancer(body, project_id="p", coerce=True)

def connects(address, port=80):
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True

def rows(kept=store):
    return sorted(row.id for row in kept.list("address"))

def interface(name):
    # A pair, since not every kernel has dummies.
    ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
    for end in (name, f"{name}-far"):
        ip("link", "set", end, "up")

interface("lb0")
"""


def test_addresses_come_with_load_balancers_and_go_with_them(namespace):
    namespace(
        SETUP
        + """
with controller() as c:
    assert here() == []
    one = make(c, additional_vips=[{"subnet_id": WEB6}])
    assert one.vips == ("10.9.0.2", "2001:db8::1"), one.vips
    assert here() == ["10.9.0.2/32", "2001:db8::1/128"] , here()
    # An IPv6 address is usable at once.
    assert connects("10.9.0.2") and connects("2001:db8::1")
    two = make(c)
    assert here() == ["10.9.0.2/32", "10.9.0.3/32", "2001:db8::1/128"]
    c.delete_load_balancer(one, cascade=True)
    assert here() == ["10.9.0.3/32"] == [f"{one}/32" for one in rows()]
assert here() == [] == rows()
"""
    )


def test_they_are_there_again_after_a_restart(namespace):
    namespace(
        SETUP
        + """
with controller() as c:
    make(c)
assert here() == []
with controller() as c:
    assert here() == ["10.9.0.2/32"]
    assert connects("10.9.0.2")
"""
    )


def test_what_a_crash_left_is_cleaned_up_and_only_that(namespace):
    namespace(
        SETUP
        + """
ip("address", "add", "10.9.0.77/24", "dev", "lb0")
first = controller().open()
kept, gone = make(first), make(first)
first.create_load_balancer({"vip_subnet_id": WEB, "vip_address": "10.9.0.77"}, project_id="p")
# The crash: nobody closed it, and one load balancer went while its address stayed.
with first.networking.release(gone.id) as change:
    change._first = None
    store.commit([], [("loadbalancer", gone.id), *((one.KIND, one.id) for one in gone.listeners), *change.drops])
for balancer in first.load_balancers:
    balancer.stop(0)
assert here() == ["10.9.0.2/32", "10.9.0.3/32", "10.9.0.77/24"], here()
with controller() as second:
    assert here() == ["10.9.0.2/32", "10.9.0.77/24"], here()
    assert connects("10.9.0.2")
# The operator's own stays.
assert here() == ["10.9.0.77/24"], here()
assert rows() == []
"""
    )


def test_an_address_that_was_lost_while_nobody_ran_comes_back(namespace):
    namespace(
        SETUP
        + """
first = controller().open()
make(first)
ip("address", "flush", "dev", "lb0")
for balancer in first.load_balancers:
    balancer.stop(0)
with controller():
    assert here() == ["10.9.0.2/32"]
"""
    )


def test_floating_ips_are_on_it_while_they_lead_somewhere(namespace):
    namespace(
        SETUP
        + """
with controller() as c, Member(named("here"), address="127.0.0.1") as member:
    pool = {"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
            "members": [{"address": "127.0.0.1", "protocol_port": member.port}]}
    one = make(c, listeners=[{"protocol": "HTTP", "protocol_port": 80, "default_pool": pool}])
    floating_ips = c.networking.floating_ips
    network = next(one.id for one in c.networking.networks.all() if one.external)
    floating = floating_ips.create({"floating_network_id": network}, project_id="p")
    assert here() == ["10.9.0.2/32"]
    floating_ips.update(floating.id, {"port_id": one.vip_port_id})
    assert here() == ["10.9.0.2/32", "192.0.2.1/32"]
    assert Client("192.0.2.1", 80).request("/").body == b"here"
    floating_ips.update(floating.id, {"port_id": None})
    assert here() == ["10.9.0.2/32"]
    floating_ips.update(floating.id, {"port_id": one.vip_port_id})
    c.delete_load_balancer(one, cascade=True)
    assert here() == []
    two = make(c)
    floating_ips.update(floating.id, {"port_id": two.vip_port_id})
    assert here() == ["10.9.0.2/32", "192.0.2.1/32"] or here() == ["10.9.0.3/32", "192.0.2.1/32"], here()
    floating_ips.delete(floating.id)
    assert len(here()) == 1
"""
    )


def test_addresses_of_this_machine_are_left_alone(namespace):
    namespace(
        SETUP
        + """
CONFIG = None
with Controller(store, engine=engine, networking=Networking(interface="lb0")) as c:
    make(c)
    make(c, vip_address="127.0.0.1", listeners=[])
    assert here() == [] == rows()
    make(c, vip_address="203.0.113.9")
    assert here() == ["203.0.113.9/32"]
assert here() == []
"""
    )


def test_another_interface_takes_over(namespace):
    namespace(
        SETUP
        + """
interface("lb1")
first = controller().open()
make(first)
for balancer in first.load_balancers:
    balancer.stop(0)
assert here("lb0") == ["10.9.0.2/32"]
with controller("lb1"):
    assert (here("lb0"), here("lb1")) == ([], ["10.9.0.2/32"])
assert here("lb1") == []
"""
    )


def test_an_interface_that_is_not_there_is_refused_by_name(namespace):
    out = namespace(
        SETUP
        + """
try:
    controller("eth7").open()
except fastlb.ConfigError as error:
    print(error)
"""
    )
    assert out.strip() == "interface='eth7': must be a network interface; there are lb0, lb0-far, lo"


def test_without_the_right_the_log_says_what_is_missing(namespace):
    out = namespace(
        SETUP
        + """
import ctypes, logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
# Give up CAP_NET_ADMIN: capset with none.
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(1 << 10, 1 << 10, 0, 0, 0, 0)
assert ctypes.CDLL(None).capset(header, data) == 0
with controller() as c:
    one = make(c)
    assert one.provisioning_status == "ACTIVE"
    assert here() == []
"""
    )
    assert "10.9.0.2: could not be added to lb0" in out
    assert "needs the capability CAP_NET_ADMIN" in out


def test_nothing_is_left_open(namespace):
    namespace(
        SETUP
        + """
def descriptors():
    return len(os.listdir("/proc/self/fd"))

with controller() as c:
    make(c)
    before, threads = descriptors(), len(os.listdir("/proc/self/task"))
    for _ in range(5):
        c.networking._interface.hold(["10.9.0.200"])
        c.networking._interface.let_go(["10.9.0.200"])
    assert descriptors() == before
    assert len(os.listdir("/proc/self/task")) == threads
"""
    )
