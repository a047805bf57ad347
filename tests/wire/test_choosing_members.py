# SPDX-License-Identifier: Apache-2.0
"""Who gets the next request: strict alternation over all workers, weights, drain, backups."""

import collections
import threading

import pytest

from fastlb.testing import echo, eventually, greet, held, named, request


@pytest.fixture
def members(member):
    return lambda *names: [member(named(name)) for name in names]


@pytest.mark.workers(4)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_equal_members_alternate_strictly_whoever_accepts(balance, members, count):
    client = balance(*members(*(str(number) for number in range(count)))).client
    seen = list(client.bodies(20 * count))
    first = seen[:count]
    assert sorted(first) == [str(number).encode() for number in range(count)]
    assert seen == first * 20


def test_requests_of_one_connection_alternate_too(balance, members):
    with balance(*members("1", "2")).client.connect() as conn:
        seen = [conn.request().body for _ in range(20)]
    assert seen in ([b"1", b"2"] * 10, [b"2", b"1"] * 10)


@pytest.mark.workers(4)
def test_members_share_equally_under_parallel_load(balance, members):
    client = balance(*members("1", "2", "3")).client
    conns = [client.connect() for _ in range(12)]
    seen: collections.Counter[bytes] = collections.Counter()
    for _ in range(25):
        for conn in conns:
            conn.send(request())
        seen.update(conn.read_response().body for conn in conns)
    for conn in conns:
        conn.close()
    assert set(seen.values()) == {100}


def test_weights_are_shares(balance, members):
    client = balance(*members("1", "3"), options=[{"weight": 1}, {"weight": 3}]).client
    seen = list(client.bodies(100))
    assert collections.Counter(seen) == {b"1": 25, b"3": 75}
    # Smooth: every four requests have one of the lighter member.
    assert all(seen[start : start + 4].count(b"1") == 1 for start in range(0, 100, 4))


def test_a_changed_weight_holds_at_once(balance, members):
    balancer = balance(*members("1", "2"))
    assert collections.Counter(balancer.client.bodies(10)) == {b"1": 5, b"2": 5}
    balancer.members[1].weight = 4
    assert collections.Counter(balancer.client.bodies(50)) == {b"1": 10, b"2": 40}


def test_a_drained_member_keeps_its_open_sessions_and_gets_no_new_ones(balance, member):
    one, two = member(echo), member(echo)
    balancer = balance(one, two, protocol="TCP")
    conns = [balancer.client.connect().send(b"x").expect(b"x") for _ in range(2)]
    balancer.members[0].weight = 0
    for _ in range(5):
        with balancer.client.connect() as conn:
            conn.send(b"x").expect(b"x")
    assert len(one.connections) == 1
    for conn in conns:
        conn.send(b"still").expect(b"still").close()


@pytest.mark.parametrize("how", ["weight", "delete", "admin_state_up"])
def test_a_request_under_way_outlives_its_member(balance, member, how):
    gate = threading.Event()
    slow, other = member(held(gate, first=b"")), member(named("other"))
    balancer = balance(slow)
    with balancer.client.connect() as conn:
        conn.send(request())
        slow.wait_requests(1)
        balancer.add(other)
        if how == "delete":
            balancer.members[0].delete()
        else:
            setattr(balancer.members[0], how, 0 if how == "weight" else False)
        assert list(balancer.client.bodies(5)) == [b"other"] * 5
        gate.set()
        assert conn.read_response().body == b"ok"
        assert conn.request().body == b"other"
    assert len(slow.requests) == 1


def test_idle_connections_of_a_deleted_member_are_closed(balance, members):
    one, two = members("1", "2")
    balancer = balance(one, two)
    list(balancer.client.bodies(8))
    assert one.open_connections
    balancer.members[0].delete()
    one.wait_idle()
    assert list(balancer.client.bodies(4)) == [b"2"] * 4


def test_a_member_deleted_and_created_again_is_used_again(balance, members):
    one, two = members("1", "2")
    balancer = balance(one, two)
    for _ in range(5):
        balancer.members[0].delete()
        assert list(balancer.client.bodies(2)) == [b"2"] * 2
        balancer.members[0] = balancer.pool.create_member(one.address, one.port)
        assert sorted(balancer.client.bodies(2)) == [b"1", b"2"]


@pytest.mark.parametrize("how", ["weight", "admin_state_up"])
def test_backups_take_over_when_no_primary_is_left_and_step_back(balance, members, how):
    off, on = (0, 1) if how == "weight" else (False, True)
    balancer = balance(*members("p1", "p2", "b1", "b2"), options=[{}, {}, {"backup": True}, {"backup": True}])
    assert set(balancer.client.bodies(8)) == {b"p1", b"p2"}
    setattr(balancer.members[0], how, off)
    assert set(balancer.client.bodies(4)) == {b"p2"}
    setattr(balancer.members[1], how, off)
    assert collections.Counter(balancer.client.bodies(8)) == {b"b1": 4, b"b2": 4}
    setattr(balancer.members[0], how, on)
    assert set(balancer.client.bodies(4)) == {b"p1"}


def test_a_backup_turned_primary_shares(balance, members):
    balancer = balance(*members("1", "2"), options=[{}, {"backup": True}])
    assert set(balancer.client.bodies(4)) == {b"1"}
    balancer.members[1].backup = False
    assert collections.Counter(balancer.client.bodies(4)) == {b"1": 2, b"2": 2}


def test_all_at_weight_zero_is_a_503_and_an_error(balance, members):
    balancer = balance(*members("1"))
    balancer.members[0].weight = 0
    assert balancer.client.get().status == 503
    assert balancer.pool.operating_status == "ERROR"


def test_the_first_member_of_an_empty_pool_is_used_at_once(balance, members):
    balancer = balance()
    assert balancer.client.get().status == 503
    balancer.add(*members("1"))
    assert balancer.client.get().body == b"1"


def test_source_ip_stays_with_its_member(balance, members):
    balancer = balance(*members("1", "2", "3", "4"), algorithm="SOURCE_IP")
    for source in ("127.0.0.1", "127.0.0.9", "127.3.4.5"):
        seen = set()
        for _ in range(8):
            with balancer.client.connect(source=source) as conn:
                seen.add(conn.request().body)
        assert len(seen) == 1


def test_source_ip_spreads_clients(balance, members):
    balancer = balance(*members("1", "2"), algorithm="SOURCE_IP")
    seen = set()
    for number in range(1, 40):
        with balancer.client.connect(source=f"127.0.0.{number}") as conn:
            seen.add(conn.request().body)
    assert seen == {b"1", b"2"}


def test_least_connections_goes_where_fewest_are_open(balance, member):
    one, two = member(greet(b"1")), member(greet(b"2"))
    balancer = balance(one, two, protocol="TCP", algorithm="LEAST_CONNECTIONS")

    def connect():
        conn = balancer.client.connect()
        return conn.read_exactly(1), conn

    conns = [connect() for _ in range(10)]
    assert collections.Counter(name for name, _ in conns) == {b"1": 5, b"2": 5}
    for name, conn in conns:
        if name == b"1":
            conn.close()
    eventually(lambda: balancer.members[0].stats.active == 0)
    later = [connect() for _ in range(5)]
    assert [name for name, _ in later] == [b"1"] * 5
    for _, conn in conns + later:
        conn.close()


@pytest.mark.parametrize("algorithm", ["ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"])
def test_every_algorithm_can_be_switched_to_live(balance, members, algorithm):
    balancer = balance(*members("1", "2"))
    assert balancer.client.get().status == 200
    balancer.pool.lb_algorithm = algorithm
    assert set(balancer.client.bodies(20)) <= {b"1", b"2"}
    balancer.members[0].weight = 0
    assert set(balancer.client.bodies(5)) == {b"2"}


@pytest.mark.parametrize("algorithm", ["RANDOM_TWO_CHOICES", "PEAK_EWMA", "MAGLEV"])
def test_our_own_algorithms_serve_and_leave_out_the_drained(balance, members, algorithm):
    balancer = balance(*members("1", "2", "3"), algorithm=algorithm)
    assert set(balancer.client.bodies(30)) <= {b"1", b"2", b"3"}
    balancer.members[0].weight = 0
    balancer.members[2].delete()
    assert set(balancer.client.bodies(10)) == {b"2"}
