# SPDX-License-Identifier: Apache-2.0
"""request_body_rate_min: a body that comes too slowly ends, one that a slow member holds up does not."""

import threading
import time

from fastlb.testing import held, http

GRACE_S = 5.0


def trickle(client, stop, pause=0.1):
    while not stop.wait(pause):
        try:
            client.send(b"x")
        except OSError:
            return


def test_a_body_that_trickles_is_408_and_counted(balance, member):
    balancer = balance(member(), listener={"request_body_rate_min": 1000})
    stop = threading.Event()
    with balancer.client.connect(timeout=15) as client:
        began = time.monotonic()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        sender = threading.Thread(target=trickle, args=(client, stop))
        sender.start()
        try:
            answer = client.read_response()
        finally:
            stop.set()
            sender.join()
        assert (answer.status, answer.closes) == (408, True)
        assert GRACE_S - 0.5 < time.monotonic() - began < GRACE_S + 3
    assert balancer.listener.stats.refusals == {"body_rate": 1}


def test_a_member_that_answers_late_is_no_slow_body(balance, member):
    """The body is here at once; what takes long is the answer."""
    gate = threading.Event()
    one = member(held(gate))
    balancer = balance(one, listener={"request_body_rate_min": 1_000_000})
    timer = threading.Timer(GRACE_S + 1, gate.set)
    timer.start()
    try:
        assert balancer.client.request(method="POST", body=b"x" * 1000, timeout=15).status == 200
    finally:
        gate.set()
        timer.cancel()
        timer.join()


def test_without_a_rate_a_slow_body_is_taken(balance, member):
    one = member(http())
    with balance(one).client.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n").send_slowly(b"y" * 20)
        assert client.read_response().status == 200
    assert one.requests[0].body == b"y" * 20
