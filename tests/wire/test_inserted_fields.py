# SPDX-License-Identifier: Apache-2.0
"""insert_headers: what the members are told of the client."""

from fastlb.testing import http, response

ALL = {"X-Forwarded-For": "true", "X-Forwarded-Port": "TRUE", "X-Forwarded-Proto": "True"}


def told(balance, member, fields=(), *, headers=ALL, address="127.0.0.1"):
    """The X-… fields of a request as the member saw it."""
    one = member()
    balancer = balance(one, address=address, listener={"insert_headers": headers})
    assert balancer.client.request(fields=list(fields)).status == 200
    return [field for field in one.requests[0].fields if field[0].lower().startswith("x-")], balancer


def test_members_are_told_address_port_and_protocol(balance, member):
    fields, balancer = told(balance, member)
    port = str(balancer.listener.protocol_port)
    assert fields == [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Port", port),
        ("X-Forwarded-Proto", "http"),
    ]


def test_an_ipv6_client_is_told_in_its_shortest_form(balance, member):
    fields, _ = told(balance, member, headers={"X-Forwarded-For": "true"}, address="::1")
    assert fields == [("X-Forwarded-For", "::1")]


def test_who_was_named_before_stays_in_front_on_a_line_of_its_own(balance, member):
    sent = [("X-Forwarded-For", "203.0.113.7, 10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]
    fields, _ = told(balance, member, sent, headers={"X-Forwarded-For": "true"})
    assert fields == [*sent, ("X-Forwarded-For", "127.0.0.1")]


def test_a_client_cannot_forge_port_and_protocol(balance, member):
    sent = [
        ("X-Forwarded-Port", "443"),
        ("X-FORWARDED-PROTO", "https"),
        ("x-forwarded-port", "1"),
        ("X-Mine", "kept"),
    ]
    fields, balancer = told(balance, member, sent)
    assert ("X-Mine", "kept") in fields
    assert [value for name, value in fields if name.lower() == "x-forwarded-port"] == [
        str(balancer.listener.protocol_port)
    ]
    assert [value for name, value in fields if name.lower() == "x-forwarded-proto"] == ["http"]


def test_a_client_cannot_have_them_removed_as_connection_options(balance, member):
    fields, _ = told(balance, member, [("Connection", "X-Forwarded-For, x-forwarded-proto")])
    assert [name for name, _ in fields] == list(ALL)


def test_names_that_pass_for_ours_do_not_go_on(balance, member):
    fields, _ = told(balance, member, [("X_Forwarded_For", "1.2.3.4"), ("X_Forwarded-Proto", "https")])
    assert [name for name, _ in fields] == list(ALL)


def test_another_value_than_true_inserts_nothing(balance, member):
    headers = {"X-Forwarded-For": "false", "X-Forwarded-Port": "banana", "X-Real-IP": "true"}
    fields, _ = told(balance, member, [("X-Forwarded-Proto", "https")], headers=headers)
    assert fields == [("X-Forwarded-Proto", "https")]


def test_answers_of_members_and_of_ours_carry_none(balance, member):
    one = member(http(lambda request: response(b"", fields=[("X-Forwarded-For", "theirs")])))
    balancer = balance(one, listener={"insert_headers": ALL})
    assert balancer.client.get("/").all("X-Forwarded-For") == ["theirs"]
    balancer.pool.admin_state_up = False
    assert [name for name, _ in balancer.client.get("/").fields if name.startswith("X-")] == []


def test_switching_it_on_and_off_shows_in_the_next_request_of_a_connection(balance, member):
    one = member()
    balancer = balance(one)
    with balancer.client.connect() as client:
        for headers, expected in (({}, []), (ALL, ["127.0.0.1"]), ({}, [])):
            balancer.listener.insert_headers = headers
            assert client.request().status == 200
            assert one.requests[-1].all("X-Forwarded-For") == expected


def test_a_body_comes_through_behind_inserted_fields(balance, member):
    one = member()
    balancer = balance(one, listener={"insert_headers": ALL})
    body = bytes(range(256)) * 40
    assert balancer.client.request(method="POST", body=body).status == 200
    assert one.requests[0].body == body
    assert one.requests[0].get("X-Forwarded-For") == "127.0.0.1"
