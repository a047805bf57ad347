# SPDX-License-Identifier: Apache-2.0
"""HTTP_COOKIE: a cookie of ours brings a client back to its member, as HAProxy's `insert indirect nocache` does."""

import re
import threading

import pytest

from fastlb.testing import Load, eventually, held, http, named, raw, response

COOKIE = {"session_persistence": {"type": "HTTP_COOKIE"}}


def cookie_of(answer):
    """The value of our cookie in an answer, None if it sets none."""
    found = [re.fullmatch(r"SRV=([0-9a-f-]{36}); path=/", line) for line in answer.all("Set-Cookie")]
    values = [hit[1] for hit in found if hit]
    assert len(values) <= 1
    return values[0] if values else None


@pytest.fixture
def three(balance, member):
    """Three members one, two, three behind round robin with HTTP_COOKIE."""
    return balance(*(member(named(name)) for name in ("one", "two", "three")), pool=COOKIE)


def ask(balancer, cookie=None, *more):
    fields = [("Cookie", f"SRV={cookie}")] if cookie else []
    return balancer.client.request(fields=[*fields, *more])


def test_the_cookie_is_the_members_id_and_brings_back(three):
    for index, name in enumerate((b"one", b"two", b"three")):
        first = ask(three)
        assert (first.body, cookie_of(first)) == (name, three.members[index].id)
    for _ in range(5):
        for index, name in enumerate((b"one", b"two", b"three")):
            answer = ask(three, three.members[index].id)
            assert (answer.body, answer.all("Set-Cookie")) == (name, []), "who has it is not told again"


def test_it_does_not_say_the_members_address(three):
    answer = ask(three)
    assert not {three.members[0].address, str(three.members[0].protocol_port)} & set(
        re.split(r"[=;]", answer.get("Set-Cookie"))
    )


def test_members_do_not_see_it_and_see_the_other_cookies_as_they_were(balance, member):
    one = member()
    balancer = balance(one, pool=COOKIE)
    own = balancer.members[0].id
    for sent, seen in (
        ([f"SRV={own}"], []),
        ([f"a=1; SRV={own}; b=2"], ["a=1; b=2"]),
        ([f"SRV={own}; b=2"], ["b=2"]),
        ([f"a=1;SRV={own}", "c=3"], ["a=1", "c=3"]),
        (["SRV=unknown; a=1"], ["a=1"]),
        (["SRVX=1; XSRV=2"], ["SRVX=1; XSRV=2"]),
    ):
        assert balancer.client.request(fields=[("Cookie", line) for line in sent]).status == 200
        assert sorted(one.requests[-1].all("Cookie")) == sorted(seen), sent


@pytest.mark.parametrize("value", ["", "x", "00000000-0000-0000-0000-000000000000", "ä", "a" * 4000])
def test_an_unknown_value_gets_a_new_one(three, value):
    with three.client.connect() as client:
        answer = client.request(fields=[("Cookie", f"SRV={value}".encode().decode("latin-1"))])
    assert answer.status == 200
    assert cookie_of(answer) in {one.id for one in three.members}


def test_a_drained_member_keeps_its_clients_and_gets_no_new_ones(three):
    three.members[0].weight = 0
    assert ask(three, three.members[0].id).body == b"one"
    assert {ask(three).body for _ in range(6)} == {b"two", b"three"}


def test_a_backup_keeps_its_clients(three):
    three.members[0].backup = True
    assert ask(three, three.members[0].id).body == b"one"
    assert {ask(three).body for _ in range(6)} == {b"two", b"three"}


@pytest.mark.parametrize("gone", ["admin", "deleted"])
def test_clients_of_a_member_that_goes_move_and_the_others_stay(three, gone):
    ids = [one.id for one in three.members]
    if gone == "admin":
        three.members[1].admin_state_up = False
    else:
        three.members[1].delete()
    for _ in range(4):
        assert [ask(three, ids[index]).body for index in (0, 2)] == [b"one", b"three"]
        moved = ask(three, ids[1])
        assert moved.body != b"two"
        assert cookie_of(moved) in (ids[0], ids[2])
        assert ask(three, cookie_of(moved)).body == moved.body


def test_a_member_that_refuses_connections_loses_the_request_to_another(balance, member):
    one, two = member(named("one")), member(named("two"))
    balancer = balance(one, two, pool=COOKIE)
    own = balancer.members[0].id
    assert ask(balancer, own).body == b"one"
    one.refuse().drop_connections()
    answer = ask(balancer, own)
    assert (answer.body, cookie_of(answer)) == (b"two", balancer.members[1].id)


def test_a_member_cannot_set_a_cookie_of_that_name(balance, member):
    script = http(response(b"ok", fields=[("Set-Cookie", "SRV=forged; path=/"), ("set-cookie", "mine=1")]))
    balancer = balance(member(script), pool=COOKIE)
    assert ask(balancer).all("Set-Cookie") == ["mine=1", f"SRV={balancer.members[0].id}; path=/"]
    assert ask(balancer, balancer.members[0].id).all("Set-Cookie") == ["mine=1"]


def test_an_answer_that_a_cache_might_keep_becomes_private(balance, member):
    fields = {"": [], "/fresh": [("Cache-Control", "max-age=60")], "/no": [("Cache-Control", "no-store")]}
    one = member(http(lambda request: response(b"ok", fields=fields.get(request.target, []))))
    balancer = balance(one, pool=COOKIE)
    private = {
        target: balancer.client.get(target).all("Cache-Control")[-1:] == ["private"]
        for target in ("/fresh", "/no")
    }
    assert private == {"/fresh": True, "/no": False}
    kept = balancer.client.request("/fresh", fields=[("Cookie", f"SRV={balancer.members[0].id}")])
    assert kept.all("Cache-Control") == ["max-age=60"], "without a cookie of ours it stays as it was"


def test_switching_it_on_and_off_is_live(three):
    assert cookie_of(ask(three)) is not None
    three.pool.session_persistence = None
    answer = ask(three, three.members[0].id)
    assert answer.all("Set-Cookie") == []
    three.pool.session_persistence = {"type": "HTTP_COOKIE"}
    assert cookie_of(ask(three)) is not None


def test_each_pool_of_a_listener_has_its_own(three, member):
    other = three.lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN", **COOKIE)
    peers = [member(named(name)) for name in ("four", "five")]
    members = [other.create_member(peer.address, peer.port) for peer in peers]
    policy = three.listener.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=other)
    policy.create_rule(type="PATH", compare_type="EQUAL_TO", value="/other")
    with three.client.connect() as client:
        fields = [("Cookie", f"SRV={three.members[2].id}")]
        assert client.request("/", fields=fields).body == b"three"
        answer = client.request("/other", fields=fields)
        assert cookie_of(answer) == members[0].id
        assert client.request("/other", fields=[("Cookie", f"SRV={members[1].id}")]).body == b"five"


def test_ours_is_no_cookie_on_answers_of_ours(three):
    for one in three.members:
        one.admin_state_up = False
    answer = ask(three)
    assert (answer.status, answer.all("Set-Cookie")) == (503, [])


def test_members_come_and_go_under_load_without_a_failed_request(three, member):
    extra = member(named("four"))
    with Load(three.client, clients=3) as load:
        load.wait_requests(10)
        for _ in range(100):
            added = three.pool.create_member(extra.address, extra.port)
            three.members[0].weight = 0
            added.delete()
            three.members[0].weight = 1
        load.wait_requests(50)
    assert load.failures == []


def test_a_client_whose_member_is_full_keeps_its_cookie(balance, member):
    gate = threading.Event()
    balancer = balance(
        member(held(gate)), member(named("two")), pool=COOKIE, options=[{"max_connections": 1}, {}]
    )
    full = balancer.members[0]
    with balancer.client.connect() as busy:
        busy.send(f"GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV={full.id}\r\n\r\n".encode())
        eventually(lambda: full.stats.active == 1)
        away = ask(balancer, full.id)
        assert (away.body, away.all("Set-Cookie")) == (b"two", [])
        gate.set()
        assert busy.read_response().status == 200


def test_a_websocket_client_gets_its_cookie_with_the_switch(balance, member):
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\nSet-Cookie: SRV=mine\r\n\r\n"
    balancer = balance(member(raw(switch, then="close")), pool=COOKIE)
    answer = ask(balancer, None, ("Connection", "Upgrade"), ("Upgrade", "x"))
    assert (answer.status, cookie_of(answer)) == (101, balancer.members[0].id)
    assert len(answer.all("Set-Cookie")) == 1
