# SPDX-License-Identifier: Apache-2.0
"""APP_COOKIE: the members' own session cookie brings a client back; it is learnt from their answers."""

import pytest

from fastlb.testing import http, response

APP = {"session_persistence": {"type": "APP_COOKIE", "cookie_name": "JSESSIONID"}}


def app(name):
    """A member that starts a session at /login, and says who it is."""

    def answer(request):
        value = request.target.partition("?")[2]
        fields = [("Set-Cookie", f"JSESSIONID={value}; Path=/; HttpOnly")] if value else []
        return response(name.encode(), fields=fields)

    return http(answer)


@pytest.fixture
def three(balance, member):
    return balance(*(member(app(name)) for name in ("one", "two", "three")), pool=APP)


def ask(balancer, session):
    return balancer.client.request(fields=[("Cookie", f"x=y; JSESSIONID={session}")])


def test_a_session_is_learnt_and_followed(three):
    had = {f"s{n}": three.client.get(f"/login?s{n}").body for n in range(12)}
    assert set(had.values()) == {b"one", b"two", b"three"}
    for _ in range(2):
        assert {session: ask(three, session).body for session in had} == had


def test_the_members_cookie_passes_both_ways(three):
    answer = three.client.get("/login?abc")
    assert answer.all("Set-Cookie") == ["JSESSIONID=abc; Path=/; HttpOnly"]
    assert ask(three, "abc").all("Set-Cookie") == []


def test_an_unknown_session_is_balanced(three):
    assert {ask(three, "never-seen").body for _ in range(3)} == {b"one", b"two", b"three"}


def test_another_name_means_nothing(three):
    first = three.client.get("/login?abc").body
    bodies = {three.client.request(fields=[("Cookie", "jsessionid=abc")]).body for _ in range(3)}
    assert bodies == {b"one", b"two", b"three"}
    assert ask(three, "abc").body == first


def test_only_the_first_64_characters_count(three):
    start = "k" * 64
    first = three.client.get(f"/login?{start}A").body
    assert {ask(three, f"{start}{end}").body for end in ("A", "B", "")} == {first}
    assert len({ask(three, start[:-1]).body for _ in range(3)}) == 3


def test_a_session_moves_with_the_member_that_says_so(three):
    """What counts is who set it last."""
    first = three.client.get("/login?abc").body
    second = three.client.get("/login?abc").body
    assert first != second
    assert ask(three, "abc").body == second


def test_a_member_that_goes_gives_its_sessions_up(three):
    had = {f"s{n}": three.client.get(f"/login?s{n}").body for n in range(9)}
    three.members[0].delete()
    now = {session: ask(three, session).body for session in had}
    assert all(now[session] == name for session, name in had.items() if name != b"one")
    assert b"one" not in now.values()
