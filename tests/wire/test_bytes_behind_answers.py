# SPDX-License-Identifier: Apache-2.0
"""Bytes that a member sends behind a body that was spliced, or read to the brim, are nobody's answer."""

import pytest

from fastlb.testing import http, in_turn, response

LARGE = 1 << 20


@pytest.mark.workers(1)
def test_bytes_behind_a_spliced_answer_are_never_delivered(balance, member):
    first = response(b"f" * LARGE) + response(b"stolen")
    one = member(in_turn(http(first), http(response(b"second"))))
    client = balance(one).client
    with client.connect() as conn:
        assert len(conn.request().body) == LARGE
    assert client.get().body == b"second"
    assert len(one.heads) == 2


@pytest.mark.workers(1)
@pytest.mark.parametrize("size", [16384, 65536])
def test_bytes_behind_an_answer_that_fills_the_buffer_are_never_delivered(balance, member, size):
    head = len(response(b"f" * size)) - size
    body = b"f" * (size - head)
    first = response(body)
    first = response(b"f" * (len(body) + size - len(first)))
    assert len(first) == size
    one = member(in_turn(http(first + response(b"stolen")), http(response(b"second"))))
    client = balance(one).client
    with client.connect() as conn:
        assert conn.request().status == 200
    assert client.get().body == b"second"
    assert len(one.heads) == 2


@pytest.mark.workers(1)
def test_a_connection_that_carried_a_spliced_answer_is_kept(balance, member):
    one = member(http(response(b"f" * LARGE)))
    with balance(one).client.connect() as conn:
        for _ in range(3):
            assert len(conn.request().body) == LARGE
    assert {request.connection for request in one.requests} == {0}
