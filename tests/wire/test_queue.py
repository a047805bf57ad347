# SPDX-License-Identifier: Apache-2.0
"""Members with max_connections: who comes when each of them is full waits, in turn, for a place or for an end."""

import threading
import time

import pytest

from fastlb.testing import Load, MemberConn, echo, eventually, greet, http, response


class Desk:
    """A script that serves one request after the other, each when `next` is called; it counts who is there at once."""

    def __init__(self):
        self.served: list[str] = []
        self.present = self.most = 0
        self._lock = threading.Lock()
        self._calls = threading.Semaphore(0)
        self.open = False

    def next(self):
        self._calls.release()

    def __call__(self, conn: MemberConn):
        while (request := conn.read_request()) is not None:
            with self._lock:
                self.present += 1
                self.most = max(self.most, self.present)
            while not self.open and not self._calls.acquire(timeout=0.02):
                if conn.member.closing or not conn.still_open():
                    break
            with self._lock:
                self.present -= 1
                self.served.append(request.target)
            conn.send(response(request.target.encode()))


def waiting(balancer, count):
    eventually(lambda: balancer.pool.stats.waiting == count, what=f"{count} waiting")


def limit(count):
    return [{"max_connections": count}]


def ask(balancer, target, **options):
    """A connection that has sent a request."""
    conn = balancer.client.connect(**options)
    return conn.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())


@pytest.fixture
def desk():
    return Desk()


@pytest.mark.workers(1)
def test_who_comes_while_all_is_full_is_served_in_turn(balance, member, desk):
    balancer = balance(member(desk), options=limit(1))
    conns = []
    for number in range(6):
        conns.append(ask(balancer, f"/{number}"))
        eventually(lambda: desk.present == 1)
        waiting(balancer, number)
    for number, conn in enumerate(conns):
        desk.next()
        assert conn.read_response().body == f"/{number}".encode()
        conn.close()
    assert desk.served == [f"/{number}" for number in range(6)]
    assert desk.most == 1
    stats = balancer.pool.stats
    assert (stats.queued, stats.waiting, stats.queue_timeouts) == (5, 0, 0)


def test_the_turn_goes_over_the_workers(balance, member, desk):
    balancer = balance(member(desk), options=limit(1))
    conns = []
    for number in range(12):
        conns.append(ask(balancer, f"/{number}"))
        eventually(lambda: desk.present == 1)
        waiting(balancer, number)
    for number, conn in enumerate(conns):
        desk.next()
        assert conn.read_response().body == f"/{number}".encode()
        conn.close()
    assert desk.most == 1


@pytest.mark.workers(1)
def test_a_new_client_does_not_overtake_those_that_wait(balance, member, desk):
    balancer = balance(member(desk), options=limit(1))
    with ask(balancer, "/first") as first, ask(balancer, "/second") as second:
        waiting(balancer, 1)
        first.send(b"GET /third HTTP/1.1\r\nHost: a\r\n\r\n")  # a client that has a connection already
        for _ in range(3):
            desk.next()
        assert second.read_response().body == b"/second"
        assert [first.read_response().body for _ in range(2)] == [b"/first", b"/third"]
    assert desk.served == ["/first", "/second", "/third"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_member_never_has_more_than_its_maximum(balance, member, method):
    lock, present, most = threading.Lock(), set(), []

    def script(conn: MemberConn):
        while conn.read_request() is not None:
            with lock:
                present.add(conn)
                most.append(len(present))
            time.sleep(0.001)
            with lock:
                present.discard(conn)
            conn.send(response())

    balancer = balance(member(script), member(script), options=limit(2) * 2)
    with (
        Load(balancer.client, clients=6, method=method) as kept,
        Load(balancer.client, clients=4, method=method, keep_alive=False) as fresh,
    ):
        kept.wait_requests(400)
        fresh.wait_requests(100)
    assert kept.failures == fresh.failures == []
    assert max(most) == 4  # two members of two
    assert balancer.pool.stats.queued > 0
    assert balancer.pool.stats.queue_timeouts == 0


@pytest.mark.workers(1)
def test_a_wait_has_an_end(balance, member, desk):
    balancer = balance(member(desk), options=limit(1), pool={"timeout_queue": 150})
    with ask(balancer, "/first"), ask(balancer, "/second") as second:
        start = time.monotonic()
        answer = second.read_response()
        assert answer.status == 503
        assert not answer.closes
        assert 0.1 < time.monotonic() - start < 2
        assert balancer.listener.stats.refusals == {"queue_timeout": 1}
        assert balancer.pool.stats.queue_timeouts == 1
        waiting(balancer, 0)
        desk.open = True
        assert second.send(b"GET /third HTTP/1.1\r\nHost: a\r\n\r\n").read_response().body == b"/third"
    assert "/second" not in desk.served


@pytest.mark.workers(1)
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_frees_its_place(balance, member, desk, leave):
    balancer = balance(member(desk), options=limit(1))
    with (
        ask(balancer, "/first") as first,
        ask(balancer, "/second") as second,
        ask(balancer, "/third") as third,
    ):
        waiting(balancer, 2)
        getattr(second, leave)()
        waiting(balancer, 1)
        desk.open = True
        assert first.read_response().body == b"/first"
        assert third.read_response().body == b"/third"
    assert desk.served == ["/first", "/third"]


@pytest.mark.workers(1)
def test_a_client_that_asks_and_finishes_is_told_that_there_is_no_place(balance, member, desk):
    balancer = balance(member(desk), options=limit(1))
    with ask(balancer, "/first") as first, balancer.client.connect() as second:
        eventually(lambda: desk.present == 1)
        second.send(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n").finish()
        assert second.read_response().status == 503
        assert second.ended() == "closed"
        desk.open = True
        assert first.read_response().body == b"/first"
    assert desk.served == ["/first"]


@pytest.mark.workers(1)
def test_a_client_that_leaves_its_member_makes_room(balance, member, desk):
    balancer = balance(member(desk), options=limit(1))
    with ask(balancer, "/first") as first, ask(balancer, "/second") as second:
        waiting(balancer, 1)
        first.reset()
        desk.open = True
        assert second.read_response().body == b"/second"


def more_room(balancer, desk, member):
    balancer.members[0].max_connections = 3


def no_limit(balancer, desk, member):
    balancer.members[0].max_connections = 0


def a_new_member(balancer, desk, member):
    balancer.add(member(desk), max_connections=2)


def a_member_that_is_enabled_again(balancer, desk, member):
    balancer.members[1].admin_state_up = True


@pytest.mark.parametrize("room", [more_room, no_limit, a_new_member, a_member_that_is_enabled_again])
def test_room_that_is_made_is_used_at_once(balance, member, desk, room):
    balancer = balance(
        member(desk),
        member(desk),
        options=[{"max_connections": 1}, {"max_connections": 2, "admin_state_up": False}],
    )
    with ask(balancer, "/1"), ask(balancer, "/2") as two, ask(balancer, "/3") as three:
        waiting(balancer, 2)
        room(balancer, desk, member)
        eventually(lambda: desk.present == 3, 1.0)
        assert balancer.pool.stats.waiting == 0
        desk.open = True
        assert {two.read_response().body, three.read_response().body} == {b"/2", b"/3"}


def test_a_lower_maximum_holds_from_now_on(balance, member, desk):
    balancer = balance(member(desk), options=limit(3))
    conns = [ask(balancer, f"/{number}") for number in range(3)]
    eventually(lambda: desk.present == 3)
    balancer.members[0].max_connections = 1
    conns += [ask(balancer, "/3"), ask(balancer, "/4")]
    waiting(balancer, 2)
    desk.next(), desk.next()
    eventually(lambda: desk.present == 1)
    assert balancer.pool.stats.waiting == 2
    desk.most = 0
    desk.open = True
    for conn in conns:
        assert conn.read_response().status == 200
        conn.close()
    assert desk.most <= 1


def test_who_waits_for_a_pool_that_loses_its_members_is_refused(balance, member, desk):
    balancer = balance(member(desk), options=limit(1))
    with ask(balancer, "/1"), ask(balancer, "/2") as second:
        waiting(balancer, 1)
        balancer.members[0].admin_state_up = False
        assert second.read_response().status == 503
        desk.open = True


def test_other_members_are_used_before_anybody_waits(balance, member, desk):
    other = member(http(response(b"other")))
    balancer = balance(member(desk), other, options=[{"max_connections": 1}, {}])
    with ask(balancer, "/1") as first, ask(balancer, "/2") as second:
        eventually(lambda: desk.present == 1)
        assert set(balancer.client.bodies(10)) == {b"other"}
        desk.open = True
        assert {first.read_response().body, second.read_response().body} & {b"/1", b"/2"}
    assert balancer.pool.stats.queued == 0


@pytest.mark.workers(1)
def test_a_failed_connect_gives_its_place_back(balance, member):
    one = member().refuse()
    balancer = balance(one, options=limit(1), pool={"retry": {"num_retries": 0}})
    for _ in range(3):
        assert balancer.client.get().status == 503
    one.resume()
    assert balancer.client.get().status == 200
    assert balancer.pool.stats.queued == 0


def test_the_body_of_one_who_waits_is_not_lost(balance, member):
    gate = threading.Event()

    def script(conn: MemberConn):
        while (request := conn.read_request()) is not None:
            conn.wait(gate)
            conn.send(response(str(len(request.body)).encode()))

    balancer = balance(member(script), options=limit(1))
    with balancer.client.connect() as one, balancer.client.connect() as two:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"
        one.send(head + b"x" * 1000)
        eventually(lambda: balancer.pool.stats.active == 1)
        two.send(head + b"x" * 1000)
        waiting(balancer, 1)
        one.send(b"x" * 299_000)
        gate.set()
        assert one.read_response().body == b"300000"
        waiting(balancer, 0)
        two.send(b"x" * 299_000)
        assert two.read_response().body == b"300000"


# TCP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [pytest.param(n, marks=pytest.mark.workers(n)) for n in (1, 2)])
def test_tcp_sessions_wait_in_turn(balance, member, workers):
    balancer = balance(member(echo), protocol="TCP", options=limit(1))
    conns = []
    for number in range(5):
        conns.append(balancer.client.connect().send(b"%d" % number))
        eventually(lambda: balancer.pool.stats.active == 1)
        waiting(balancer, number)
    for number, conn in enumerate(conns):
        assert conn.read_exactly(1) == b"%d" % number
        waiting(balancer, len(conns) - number - 1)
        conn.close()
    assert balancer.pool.stats.queued == 4


@pytest.mark.workers(1)
def test_a_tcp_session_that_waits_too_long_is_closed(balance, member):
    balancer = balance(member(echo), protocol="TCP", options=limit(1), pool={"timeout_queue": 100})
    with balancer.client.connect().send(b"1") as one, balancer.client.connect() as two:
        assert one.read_exactly(1) == b"1"
        assert two.ended() == "closed"
        assert one.send(b"2").read_exactly(1) == b"2"
    assert balancer.pool.stats.queue_timeouts == 1


@pytest.mark.workers(1)
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_tcp_client_that_leaves_without_a_word_frees_its_place(balance, member, leave):
    balancer = balance(member(echo), protocol="TCP", options=limit(1))
    with balancer.client.connect() as one:
        eventually(lambda: balancer.pool.stats.active == 1)
        two = balancer.client.connect()
        waiting(balancer, 1)
        getattr(two, leave)()
        waiting(balancer, 0)
        assert one.send(b"x").read_exactly(1) == b"x"
    assert balancer.pool.stats.sessions == 1


@pytest.mark.workers(1)
def test_what_a_tcp_client_said_before_it_finished_waits_with_it(balance, member):
    one = member(echo)
    balancer = balance(one, protocol="TCP", options=limit(1))
    with balancer.client.connect() as first, balancer.client.connect() as second:
        eventually(lambda: balancer.pool.stats.active == 1)
        waiting(balancer, 1)
        second.send(b"whole").finish()
        first.close()
        assert second.read_to_end() == b"whole"


def test_a_stop_ends_those_who_wait(balance, member):
    balancer = balance(member(greet(b"x")), protocol="TCP", options=limit(1))
    conns = [balancer.client.connect() for _ in range(4)]
    waiting(balancer, 3)
    balancer.lb.stop(0)
    for conn in conns:
        assert conn.wait_closed(2)
        conn.close()
