# SPDX-License-Identifier: Apache-2.0
"""Addresses that this machine does not have: refused by default; with `_freebind` bound, and served once they come."""

import pytest

import fastlb
from fastlb.addresses import is_here
from fastlb.errors import BindError

PROLOGUE = """
import fastlb
from fastlb.addresses import is_here
from fastlb.testing import Client, Member, open_descriptors

member = Member()
lb = fastlb.LoadBalancer(name="web", vip_address=VIP, drain_timeout=0)
lb._freebind = True
listener = lb.create_listener(protocol="HTTP", protocol_port=80)
pool = listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
pool.create_member(member.address, member.port)

def served():
    try:
        return Client(VIP, 80).get(timeout=2).status == 200
    except OSError:
        return False
"""
EPILOGUE = """
lb.close()
member.close()
print("served")
"""


@pytest.mark.parametrize("vip", ["198.51.100.7", "2001:db8::7"])
def test_a_vip_that_comes_later_is_served_from_then_on(namespace, vip):
    source = f"""
assert not is_here(VIP)
lb.start()
assert listener.operating_status == "ONLINE"
assert not served()
ip("address", "add", VIP, "dev", "lo")
assert is_here(VIP)
assert served()
ip("address", "del", f"{{VIP}}/{128 if ":" in vip else 32}", "dev", "lo")
assert not is_here(VIP)
assert not served()
ip("address", "add", VIP, "dev", "lo")
assert served()
"""
    assert namespace(f"VIP = {vip!r}" + PROLOGUE + source + EPILOGUE) == "served\n"


def test_a_taken_port_is_an_error_with_freebind_too(namespace):
    source = """
ip("address", "add", VIP, "dev", "lo")
import socket
with socket.create_server((VIP, 80)):
    before = open_descriptors()
    try:
        lb.start()
    except fastlb.BindError as error:
        assert "Address already in use" in str(error)
    else:
        raise AssertionError("the port was taken")
    assert open_descriptors() == before
lb.start()
assert served()
"""
    assert namespace("VIP = '198.51.100.7'" + PROLOGUE + source + EPILOGUE) == "served\n"


def test_an_address_is_here_whatever_may_be_bound(namespace):
    source = """
from fastlb.addresses import is_here
with open("/proc/sys/net/ipv4/ip_nonlocal_bind", "w") as setting:
    setting.write("1")
assert not is_here("198.51.100.7")
ip("address", "add", "198.51.100.7/32", "dev", "lo")
assert is_here("198.51.100.7") and not is_here("198.51.100.8")
ip("route", "add", "blackhole", "203.0.113.0/24")
assert not is_here("203.0.113.1")
"""
    namespace(source)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("127.0.0.1", True),
        ("127.201.3.4", True),
        ("0.0.0.0", True),
        ("::", True),
        ("::1", True),
        ("203.0.113.9", False),
        ("2001:db8::9", False),
        ("255.255.255.255", False),
    ],
)
def test_which_addresses_are_here(address, here):
    assert is_here(address) is here


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1:80", "300.1.1.1", "fe80::1%lo"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="literal"):
        is_here(text)


def test_a_vip_that_is_not_here_is_refused_by_default(engine):
    lb = fastlb.LoadBalancer(vip_address="203.0.113.9", engine=engine)
    lb.create_listener(protocol="HTTP", protocol_port=0)
    with pytest.raises(BindError, match="no interface of this machine has that address"):
        lb.start()
    lb.close()
