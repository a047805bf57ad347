# SPDX-License-Identifier: Apache-2.0
"""`fork` while a load balancer serves: the child's objects say what they are, the parent goes on."""

PROLOGUE = """
import gc, os, sys
import fastlb
from fastlb.testing import Client, Member

member = Member()
lb = fastlb.LoadBalancer(name="web", vip_address="127.0.0.1", drain_timeout=0)
listener = lb.create_listener(protocol="HTTP", protocol_port=0)
pool = listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
one = pool.create_member(member.address, member.port)
pool.create_health_monitor(type="TCP", delay=1, timeout=1, max_retries=1)
other = lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
policy = listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=other)
policy.create_rule(type="PATH", compare_type="EQUAL_TO", value="/other")
lb.start()
client = Client("127.0.0.1", listener.protocol_port)
assert client.get().status == 200
engine = lb.engine
"""
EPILOGUE = """
assert client.get().status == 200
one.weight = 0
assert client.get().status == 503
lb.close()
member.close()
print("parent done")
"""


def test_in_a_forked_child_objects_are_unusable_and_the_parent_serves_on(child):
    out = child(
        PROLOGUE
        + """
pid = os.fork()
if pid == 0:
    for use in (
        lambda: lb.update(name="x"),
        lambda: lb.start(),
        lambda: lb.on_status(print),
        lambda: pool.create_member("127.0.0.1", 1),
        lambda: policy.rules[0].delete(),
        lambda: setattr(one, "weight", 3),
        lambda: one.delete(),
        lambda: engine.start(),
    ):
        try:
            use()
        except fastlb.StateError as error:
            assert f"belongs to process {os.getppid()}" in str(error), error
        else:
            raise AssertionError("a forked object was used")
    assert lb.operating_status == "OFFLINE"
    assert lb.stats.active_connections == 0
    assert "left in" in repr(lb), lb
    repr(one), repr(pool), repr(listener), repr(engine), lb.to_dict(), lb.status_tree()
    lb.stop(), lb.close(), engine.stop()
    del use, lb, listener, pool, one, engine
    gc.collect()
    print("child done")
    sys.stdout.flush()
    sys.exit(7)
assert os.waitpid(pid, 0)[1] >> 8 == 7
"""
        + EPILOGUE
    )
    assert out == "child done\nparent done\n"


def test_a_forked_child_can_have_a_load_balancer_of_its_own(child):
    out = child(
        PROLOGUE
        + """
pid = os.fork()
if pid == 0:
    with fastlb.LoadBalancer(drain_timeout=0) as mine:
        front = mine.create_listener(protocol="HTTP", protocol_port=0)
        front.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN").create_member(member.address, member.port)
        assert Client("127.0.0.1", front.protocol_port).get().status == 200
        assert mine.engine is not engine
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
        + EPILOGUE
    )
    assert out == "parent done\n"


def test_a_with_block_ends_quietly_in_the_child(child):
    out = child(
        PROLOGUE
        + """
pid = 0
with lb:
    pid = os.fork()
    if pid == 0:
        sys.exit(3)
    assert os.waitpid(pid, 0)[1] >> 8 == 3
    assert client.get().status == 200
member.close()
print("parent done")
"""
    )
    assert out == "parent done\n"


def test_a_forked_child_holds_no_port_and_no_connection_of_its_parent(child):
    out = child(
        PROLOGUE
        + """
idle = client.connect()
assert idle.request().status == 200
hold, let_go = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(let_go)
    os.read(hold, 1)
    os._exit(0)
port = listener.protocol_port
lb.close()
assert idle.ended() in ("closed", "reset")
idle.close()
with fastlb.LoadBalancer(name="web", vip_address="127.0.0.1", drain_timeout=0) as lb:
    listener = lb.create_listener(protocol="HTTP", protocol_port=port)
    listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN").create_member(member.address, member.port)
    with client.connect() as conn:
        assert conn.request().status == 200
os.close(let_go)
assert os.waitpid(pid, 0)[1] == 0
member.close()
print("parent done")
"""
    )
    assert out == "parent done\n"
