# SPDX-License-Identifier: Apache-2.0
"""WebSockets through the balancer, by the `websockets` library on both sides."""

import asyncio
import contextlib
import random
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from fastlb.testing import Client


class Peer:
    """A member on a port of its own, as `balance` takes it."""

    address = "127.0.0.1"

    def __init__(self, server):
        self.port = server.sockets[0].getsockname()[1]


async def echo(server):
    async for message in server:
        await server.send(message)


@pytest.fixture
def story(balance):
    """`story(play, handler, **options of balance)`: run `play(connect, balancer)` against a member with that handler.

    `connect` makes a client; each wait has a deadline.
    """

    def run(play, handler=echo, server=(), **options):
        async def act():
            async with serve(handler, "127.0.0.1", 0, **dict(server)) as members:
                balancer = balance(Peer(members), **options)
                uri = f"ws://127.0.0.1:{balancer.client.port}/socket?a=b"
                async with asyncio.timeout(30):
                    await play(lambda **how: connect(uri, proxy=None, **how), balancer)

        asyncio.run(act())

    return run


def test_text_binary_empty_and_fragmented_messages_come_back(story):
    async def play(connect, _):
        async with connect() as client:
            for message in ("hello", "", "caf\xe9 \N{SNOWMAN}", b"\x00\xff", b"", bytes(range(256)) * 10):
                await client.send(message)
                assert await client.recv() == message
            await client.send(["frag", "men", "ted"])
            assert await client.recv() == "fragmented"

    story(play)


@pytest.mark.parametrize(("compression", "size"), [(None, 4 << 20), ("deflate", 1 << 18)])
def test_a_large_message_comes_back_whole(story, compression, size):
    large = random.Random(1).randbytes(size)

    async def play(connect, _):
        async with connect(max_size=None, compression=compression) as client:
            for _ in range(2):
                await client.send(large)
                assert await client.recv() == large

    story(play, server={"max_size": None, "compression": compression})


def test_pings_are_answered_by_the_other_side(story):
    async def pinging(server):
        waiter = await server.ping(b"from the member")
        await waiter
        await server.send("pong came")
        await server.wait_closed()

    async def play(connect, _):
        async with connect() as client:
            assert await client.recv() == "pong came"
            assert await (await client.ping(b"from the client")) >= 0

    story(play, pinging)


def test_a_member_may_speak_first(story):
    async def greeting(server):
        for number in range(100):
            await server.send(f"{number}")

    async def play(connect, _):
        async with connect() as client:
            assert [message async for message in client] == [f"{number}" for number in range(100)]

    story(play, greeting)


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "gone"), (3001, "of ours"), (4999, "x" * 120)]
)
@pytest.mark.parametrize("side", ["client", "member"])
def test_close_codes_and_reasons_arrive(story, side, code, reason):
    seen = asyncio.Queue()

    async def handler(server):
        if side == "member":
            await server.close(code, reason)
        with contextlib.suppress(ConnectionClosed):
            async for _ in server:
                pass
        await seen.put((server.close_code, server.close_reason))

    async def play(connect, _):
        async with connect() as client:
            if side == "client":
                await client.close(code, reason)
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (code, reason)
        assert await seen.get() == (code, reason)

    story(play, handler)


@pytest.mark.parametrize("side", ["client", "member"])
def test_a_side_that_breaks_off_is_seen_by_the_other(story, side):
    seen = asyncio.Queue()

    async def handler(server):
        await server.send("ready")
        if side == "member":
            server.transport.abort()
        await server.wait_closed()
        await seen.put(server.close_code)

    async def play(connect, balancer):
        async with connect() as client:
            assert await client.recv() == "ready"
            if side == "client":
                client.transport.abort()
            await client.wait_closed()
            assert client.close_code == 1006
        assert await seen.get() == 1006

    story(play, handler)


def test_what_was_negotiated_is_what_both_sides_asked_for(story):
    seen = []

    async def handler(server):
        seen.append((server.request.path, server.request.headers["X-Mine"], server.subprotocol))
        await server.send(server.protocol.extensions[0].name if server.protocol.extensions else "none")

    async def play(connect, _):
        async with connect(subprotocols=["b", "a"], additional_headers={"X-Mine": "1"}) as client:
            assert client.subprotocol == "a"
            assert await client.recv() == "permessage-deflate"
        async with connect(compression=None, additional_headers={"X-Mine": "2"}) as client:
            assert client.subprotocol is None
            assert await client.recv() == "none"

    story(
        play,
        handler,
        server={"subprotocols": ["a"], "select_subprotocol": lambda _, offered: "a" if offered else None},
    )
    assert seen == [("/socket?a=b", "1", "a"), ("/socket?a=b", "2", None)]


def test_a_hundred_at_once_get_their_own_messages(story):
    async def play(connect, balancer):
        async def talk(number):
            async with connect(compression=None) as client:
                for turn in range(10):
                    message = f"{number}-{turn} " + "x" * (number * 37 % 5000)
                    await client.send(message)
                    assert await client.recv() == message

        await asyncio.gather(*(talk(number) for number in range(100)))
        assert balancer.listener.stats.total_connections == 100

    story(play)


TIMEOUT = 300


def test_silence_ends_a_websocket_and_pings_keep_it(story):
    """After the upgrade the data timeouts hold, not those of heads and of idle connections."""
    listener = {
        "timeout_client_data": TIMEOUT,
        "timeout_member_data": TIMEOUT,
        "timeout_client_head": TIMEOUT - 50,
        "timeout_client_idle": 50,
    }

    async def play(connect, _):
        loop = asyncio.get_running_loop()
        async with connect(ping_interval=None) as silent:
            start = loop.time()
            with pytest.raises(ConnectionClosedError):
                await silent.recv()
            assert loop.time() - start >= 0.75 * TIMEOUT / 1000
        async with connect(ping_interval=0.05) as pinging:
            await asyncio.sleep(3 * TIMEOUT / 1000)
            await pinging.send("still here")
            assert await pinging.recv() == "still here"

    story(play, listener=listener, server={"ping_interval": None})


def test_a_refused_upgrade_is_the_members_http_answer_and_http_goes_on(story):
    def refuse(server, request):
        return server.respond(403, f"no {request.path}\n")

    async def play(connect, balancer):
        with pytest.raises(InvalidStatus) as refused:
            await connect()
        assert refused.value.response.status_code == 403
        assert refused.value.response.body == b"no /socket?a=b\n"
        fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ]

        def by_hand(client: Client):
            with client.connect() as conn:
                for number in range(3):
                    answer = conn.request(f"/{number}", fields=fields)
                    assert answer.status == 403
                    assert answer.body == f"no /{number}\n".encode()
                    assert "Upgrade" not in answer

        await asyncio.to_thread(by_hand, balancer.client)

    story(play, server={"process_request": refuse})


def test_a_version_that_the_member_does_not_speak_is_answered_with_the_one_it_does(story):
    async def play(connect, balancer):
        def by_hand(client: Client):
            fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "7")]
            with client.connect() as conn:
                answer = conn.request(fields=fields)
                # A 426 names the protocol to upgrade to; any other refusal has no such field.
                assert answer.status in (400, 426)
                assert ("Upgrade" in answer) == (answer.status == 426)

        await asyncio.to_thread(by_hand, balancer.client)

    story(play)


def test_a_drained_member_keeps_its_websockets_and_gets_no_new_ones(story):
    async def play(connect, balancer):
        async with connect() as client:
            await client.send("before")
            assert await client.recv() == "before"
            balancer.members[0].weight = 0
            await client.send("after")
            assert await client.recv() == "after"
            with pytest.raises(InvalidStatus) as refused:
                await connect()
            assert refused.value.response.status_code == 503

    story(play)


def test_frames_in_any_pieces_arrive(story):
    """The upgrade and the first frames at once or byte by byte: neither HTTP's parser nor the tunnel loses any."""
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    frame = b"\x81\x85\x00\x00\x00\x00hello"  # masked with zeros

    async def play(connect, balancer):
        def by_hand(client: Client):
            for size in (1, 7, 1000):
                with client.connect() as conn:
                    conn.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    conn.send_slowly(upgrade + frame + frame, size)
                    assert conn.read_response().status == 101
                    conn.expect(b"\x81\x05hello\x81\x05hello")

        await asyncio.to_thread(by_hand, balancer.client)

    story(play, server={"compression": None})
