# SPDX-License-Identifier: Apache-2.0
"""Which of several listening sockets gets a new connection: counted on real ones."""

import contextlib
import errno
import socket

import pytest

ATTEMPTS = 60


@pytest.fixture(scope="module")
def steer(native):
    return native("steer")


@pytest.fixture
def group():
    """`group(n)`: n more sockets that listen on the one port of the test."""
    with contextlib.ExitStack() as stack:
        port = 0

        def more(count):
            nonlocal port
            made = []
            for _ in range(count):
                listening = stack.enter_context(socket.socket())
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listening.bind(("127.0.0.1", port))
                listening.listen(ATTEMPTS)
                listening.setblocking(False)
                port = listening.getsockname()[1]
                made.append(listening)
            return made

        yield more


def connect(listening):
    return socket.create_connection(listening.getsockname(), timeout=5)


def accepted(listening):
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            count += 1
    return count


def spread(sockets):
    """How many of so many new connections each gets."""
    clients = [connect(sockets[-1]) for _ in range(ATTEMPTS)]
    counts = [accepted(listening) for listening in sockets]
    for client in clients:
        client.close()
    assert sum(counts) == ATTEMPTS
    return counts


def test_new_connections_go_to_the_chosen_sockets_evenly(steer, group):
    sockets = group(5)
    assert steer.among(sockets[0].fileno(), 2, 2) == 0
    counts = spread(sockets)
    assert (counts[0], counts[1], counts[4]) == (0, 0, 0)
    assert min(counts[2], counts[3]) > ATTEMPTS // 6


def test_an_index_that_is_none_leaves_it_to_the_hash(steer, group):
    sockets = group(2)
    assert steer.among(sockets[0].fileno(), 2, 1) == 0
    assert min(spread(sockets)) > 0


def test_all_get_them_again(steer, group):
    sockets = group(2)
    assert steer.among(sockets[0].fileno(), 1, 1) == 0
    assert spread(sockets)[0] == 0
    steer.evenly(sockets[0].fileno())
    assert min(spread(sockets)) > 0


def test_a_socket_that_leaves_is_replaced_by_the_last(steer, group):
    """The order that engine_release relies on: old ones closed from the last to the first leave the new in order."""
    old, new = group(3), group(3)
    for left in (3, 2, 1):
        assert steer.among(new[0].fileno(), left, 2) == 0
        assert sum(spread([*old[:left], *new])[:left]) == 0
        old[left - 1].close()
        assert sum(spread([*old[: left - 1], *new])[: left - 1]) == 0
    for at in range(3):
        assert steer.among(new[0].fileno(), at, 1) == 0
        assert spread(new)[at] == ATTEMPTS


def test_a_socket_that_takes_none_still_gives_up_its_queue(steer, group):
    (listening,) = group(1)
    with connect(listening) as waiting:
        assert steer.none(listening.fileno()) == 0
        with socket.socket() as late:
            late.settimeout(0.2)
            with pytest.raises(TimeoutError):
                late.connect(listening.getsockname())
        served, _ = listening.accept()
        with served:
            waiting.sendall(b"ping")
            assert served.recv(10) == b"ping"
            served.sendall(b"pong")
            assert waiting.recv(10) == b"pong"


def test_lifting_what_is_not_there_is_no_error(steer, group):
    (listening,) = group(1)
    with connect(listening) as client:
        served, _ = listening.accept()
        with served:
            steer.lift(served.fileno())
            client.sendall(b"x")
            assert served.recv(1) == b"x"


def test_what_is_no_socket_is_an_errno(steer):
    with open("/dev/null", "rb") as file:
        assert steer.among(file.fileno(), 0, 1) == -errno.ENOTSOCK
        assert steer.none(file.fileno()) == -errno.ENOTSOCK
