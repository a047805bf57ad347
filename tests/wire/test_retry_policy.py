# SPDX-License-Identifier: Apache-2.0
"""A pool's retry: for which reasons another member is asked, how often, and within which budget."""

import threading

import pytest

from fastlb.testing import MemberConn, echo, eventually, http, in_turn, named, raw, reset_at_once, response

SOME_503 = {"retry": {"retry_on": ["connect-failure", "503"]}}


def failing(status=503, body=b"no", **options):
    """A script that answers every request so."""
    return http(response(body, status=status, reason="Not Now", **options))


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("workers", [pytest.param(n, marks=pytest.mark.workers(n)) for n in (1, 2)])
def test_an_answer_that_is_a_reason_is_kept_back_and_another_member_asked(balance, member, status, workers):
    bad, good = member(failing(status)), member(named("good"))
    balancer = balance(bad, good, pool={"retry": {"retry_on": [str(status)]}})
    with balancer.client.connect() as conn:
        for _ in range(20):
            answer = conn.request()
            assert (answer.status, answer.body) == (200, b"good")
    assert len(bad.requests) == balancer.pool.stats.retries > 0
    assert len(good.requests) == 20
    assert balancer.members[0].stats.responses_5xx == len(bad.requests)
    assert balancer.listener.stats.responses_5xx == 0
    assert len(bad.connections) <= workers  # it answered whole, so its connection stays


@pytest.mark.parametrize("retry", [{}, {"retry_on": ["502", "504"]}, {"retry_on": ["503"], "num_retries": 0}])
def test_without_a_reason_or_a_try_the_answer_goes_to_the_client(balance, member, retry):
    bad, good = member(failing()), member(named("good"))
    client = balance(bad, good, pool={"retry": retry}).client
    assert sorted(client.bodies(4)) == [b"good", b"good", b"no", b"no"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
def test_what_is_not_idempotent_is_never_repeated(balance, member, method):
    bad, good = member(failing()), member(named("good"))
    with balance(bad, good, pool=SOME_503).client.connect() as conn:
        statuses = [conn.request(f"/{n}", method=method, body=b"x").status for n in range(10)]
    assert statuses.count(503) == 5
    assert sorted(bad.targets + good.targets) == sorted(f"/{n}" for n in range(10))


def test_a_put_is_repeated_with_its_body(balance, member):
    bad, good = member(failing()), member(named("good"))
    with balance(bad, good, pool=SOME_503).client.connect() as conn:
        for _ in range(4):
            assert conn.request(method="PUT", body=b"the body").body == b"good"
    assert {request.body for request in bad.requests + good.requests} == {b"the body"}


def test_a_request_whose_body_has_gone_on_is_not_repeated(balance, member):
    bad = member(failing())
    with balance(bad, member(failing()), pool=SOME_503).client.connect(record=False) as conn:
        assert conn.request(method="PUT", body=b"x" * 300_000).status == 503
        assert len(bad.requests) <= 1


def test_the_last_answer_goes_to_the_client(balance, member):
    bad = [member(failing(body=name)) for name in (b"one", b"two", b"three")]
    balancer = balance(*bad, pool=SOME_503)
    answer = balancer.client.get()
    assert answer.status == 503
    assert answer.body in (b"one", b"two", b"three")
    assert [len(one.requests) for one in bad] == [1, 1, 1]
    assert balancer.pool.stats.retries == 2


def test_there_are_so_many_tries_and_no_more(balance, member):
    bad = [member(failing()) for _ in range(4)]
    client = balance(*bad, pool={"retry": {"retry_on": ["503"], "num_retries": 2}}).client
    assert client.get().status == 503
    assert sum(len(one.requests) for one in bad) == 3


def test_a_long_answer_is_dropped_with_its_connection(balance, member):
    bad = member(failing(body=b"n" * 500_000))
    client = balance(bad, member(named("good")), pool=SOME_503).client
    assert set(client.bodies(6)) == {b"good"}
    bad.wait_idle()
    assert len(bad.connections) == len(bad.heads) > 1


def test_nothing_is_repeated_once_a_part_of_the_answer_went_to_the_client(balance, member):
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    script = http(early + response(b"no", status=503, reason="No"))
    client = balance(member(script), member(script), pool=SOME_503).client
    answer = client.get()
    assert answer.status == 503
    assert [interim.status for interim in answer.interim] == [103]


def test_a_member_that_is_full_is_not_waited_for(balance, member):
    gate = threading.Event()

    def slow(conn: MemberConn):
        conn.read_request()
        conn.wait(gate)
        conn.send(response(b"slow"))

    balancer = balance(member(slow), member(failing()), options=[{"max_connections": 1}, {}], pool=SOME_503)
    with balancer.client.connect() as one, balancer.client.connect() as two:
        one.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        two.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answered = one if one.pending(0.3) else two
        assert answered.read_response().status == 503
        gate.set()
        assert (two if answered is one else one).read_response().body == b"slow"
    assert balancer.pool.stats.queued == 0


def test_without_retries_a_refused_connect_is_the_end(balance, member):
    dead, alive = member().refuse(), member()
    client = balance(dead, alive, pool={"retry": {"num_retries": 0}}).client
    assert sorted(client.get(timeout=0.9).status for _ in range(4)) == [200, 200, 503, 503]


def test_without_that_reason_a_refused_connect_is_the_end(balance, member):
    dead, alive = member().refuse(), member()
    client = balance(dead, alive, pool={"retry": {"retry_on": ["reset"]}}).client
    assert sorted(client.get(timeout=0.9).status for _ in range(4)) == [200, 200, 503, 503]


@pytest.mark.parametrize("retry", [{"num_retries": 0}, {"retry_on": ["connect-failure"]}])
def test_without_retries_a_connection_that_breaks_is_a_502(balance, member, retry):
    broken, alive = member(reset_at_once), member()
    client = balance(broken, alive, pool={"retry": retry}).client
    statuses = [client.get().status for _ in range(4)]
    assert statuses.count(200) == 2
    assert set(statuses) <= {200, 502, 503}  # 503: it broke before a byte could be sent


@pytest.mark.workers(1)
@pytest.mark.parametrize("retry", [{"num_retries": 0}, {"retry_on": []}])
def test_a_kept_connection_that_has_grown_old_is_made_good_all_the_same(balance, member, retry):
    def answers_once(conn: MemberConn):
        conn.read_request()
        conn.send(response(b"first"))
        conn.read_request_head()

    one = member(in_turn(answers_once, http(response(b"second"))))
    with balance(one, pool={"retry": retry}).client.connect() as conn:
        assert conn.request().body == b"first"
        assert conn.request().body == b"second"


@pytest.mark.workers(1)
def test_a_fresh_connection_that_breaks_too_is_made_good_only_within_the_retries(balance, member):
    def answers_once(conn: MemberConn):
        conn.read_request()
        conn.send(response(b"first"))
        conn.read_request_head()

    one = member(in_turn(answers_once, raw(b"", then="close"), http()))
    with balance(one, pool={"retry": {"num_retries": 0}}).client.connect() as conn:
        assert conn.request().body == b"first"
        assert conn.request("/again").status == 502
    assert [message.target for message in one.heads] == ["/", "/again", "/again"]


def test_a_tcp_session_without_retries_is_closed_when_its_member_refuses(balance, member):
    dead, alive = member().refuse(), member(echo)
    client = balance(dead, alive, protocol="TCP", pool={"retry": {"num_retries": 0}}).client
    ends = []
    for _ in range(4):
        with client.connect() as conn:
            conn.send(b"x")
            ends.append(conn.socket.recv(1))
    assert sorted(ends) == [b"", b"", b"x", b"x"]


def test_a_tcp_session_that_is_connected_is_no_retry_any_more(balance, member):
    retry = {"budget_percent": 1, "min_retry_concurrency": 1}
    balancer = balance(member().refuse(), member(echo), protocol="TCP", pool={"retry": retry})
    conns = []
    for _ in range(6):
        conns.append(balancer.client.connect())
        assert conns[-1].send(b"x").read_exactly(1) == b"x"
    assert balancer.pool.stats.retries > 1
    for conn in conns:
        conn.close()


class Pair:
    """Two members of a pool in which a client's requests all begin with the first: it fails `/fail`, and the other
    holds it until `gate` is open. `/slow` waits at whoever gets it until `done` is."""

    def __init__(self, balance, member, **retry):
        self.gate, self.done = threading.Event(), threading.Event()
        self.pending = []
        self.first = None
        self.members = [member(self._script(number)) for number in range(2)]
        self.balancer = balance(
            *self.members, algorithm="SOURCE_IP", pool={"retry": {"retry_on": ["503"], **retry}}
        )
        self.first = int(self.balancer.client.get("/who").body)

    def _script(self, number):
        def script(conn: MemberConn):
            while (request := conn.read_request()) is not None:
                if request.target == "/fail" and number == self.first:
                    conn.send(response(b"no", status=503, reason="No"))
                    continue
                if request.target == "/fail":
                    conn.wait(self.gate)
                if request.target == "/slow":
                    conn.wait(self.done)
                conn.send(response(b"%d" % number))

        return script

    def ask(self, target):
        conn = self.balancer.client.connect()
        return conn.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    def at_second(self, count):
        """Wait until that many requests have come to the second member."""
        eventually(lambda: len(self.members[1 - self.first].requests) == count)

    def slow(self, count):
        before = len(self.members[self.first].requests)
        conns = [self.ask("/slow") for _ in range(count)]
        eventually(lambda: len(self.members[self.first].requests) == before + count)
        return conns

    def retries_allowed(self, tries):
        """How many of so many requests that fail at the first member are given to the second one at the same time."""
        self.gate.clear()
        before = len(self.members[1 - self.first].requests)
        held, refused = [], []
        for _ in range(tries):
            conn = self.ask("/fail")
            eventually(
                lambda conn=conn: (
                    conn.pending() or len(self.members[1 - self.first].requests) == before + len(held) + 1
                )
            )
            (refused if conn.pending() else held).append(conn)
            # An answer is on its way a moment before its exchange is over.
            eventually(lambda: self.balancer.pool.stats.active == len(self.pending) + len(held))
        for conn in refused:
            assert conn.read_response().status == 503
            conn.close()
        self.gate.set()
        for conn in held:
            assert conn.read_response().status == 200
            conn.close()
        eventually(lambda: self.balancer.pool.stats.active == len(self.pending))
        return len(held)


@pytest.mark.parametrize("workers", [pytest.param(n, marks=pytest.mark.workers(n)) for n in (1, 2)])
def test_the_budget_allows_some_retries_at_once_in_any_case(balance, member, workers):
    pair = Pair(balance, member, budget_percent=1, min_retry_concurrency=2)
    assert pair.retries_allowed(5) == 2
    assert pair.balancer.pool.stats.retries_refused == 3
    assert pair.retries_allowed(3) == 2  # what was taken was given back


@pytest.mark.parametrize("workers", [pytest.param(n, marks=pytest.mark.workers(n)) for n in (1, 2)])
def test_the_budget_is_a_share_of_what_is_under_way(balance, member, workers):
    pair = Pair(balance, member, budget_percent=50, min_retry_concurrency=0)
    assert pair.retries_allowed(3) == 0
    pair.pending = pair.slow(4)
    assert pair.retries_allowed(6) == 4  # of eight
    pair.done.set()
    for conn in pair.pending:
        assert conn.read_response().status == 200
        conn.close()
    pair.pending = []
    assert pair.retries_allowed(2) == 0


def test_a_budget_that_comes_and_goes_counts_right(balance, member):
    pair = Pair(balance, member)
    retry = {"budget_percent": 50, "min_retry_concurrency": 0}
    pair.pending = pair.slow(4)
    pair.balancer.pool.retry = retry  # those under way were not counted
    assert pair.retries_allowed(3) == 0
    more = pair.slow(2)
    pair.pending += more
    pair.balancer.pool.retry = {"budget_percent": 0}
    assert pair.retries_allowed(5) == 5
    pair.done.set()
    for conn in pair.pending:
        assert conn.read_response().status == 200
        conn.close()
    pair.pending = []
    pair.balancer.pool.retry = retry
    pair.done.clear()
    assert pair.retries_allowed(2) == 0
    pair.pending = pair.slow(4)
    assert pair.retries_allowed(6) == 4
    pair.done.set()
    for conn in pair.pending:
        conn.close()
