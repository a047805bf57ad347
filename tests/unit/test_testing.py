# SPDX-License-Identifier: Apache-2.0
"""fastlb.testing: what the scripted peers and the strict reader promise."""

import socket
import threading

import pytest

from fastlb import testing
from fastlb.testing import Client, Conn, FullMember, Member, MemberProcess, MessageCut, MessageError


@pytest.fixture
def pair():
    """Two ends of a connection; the first is read from."""
    left, right = socket.socketpair()
    with Conn(left, timeout=2) as reader, Conn(right, timeout=2) as writer:
        yield reader, writer


def client_of(member, **options) -> Client:
    return Client(member.address, member.port, **options)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    ],
)
def test_the_referee_refuses_what_is_not_a_request(head):
    with pytest.raises(MessageError):
        testing.parse_request_head(head)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
    ],
)
def test_the_referee_refuses_what_is_not_a_response(head):
    with pytest.raises(MessageError):
        testing.parse_response_head(head)


@pytest.mark.parametrize("line", [b"", b"0x1", b"-1", b" 1", b"1 ", b"g", b"1\r", b"1" * 17])
def test_the_referee_refuses_what_is_not_a_chunk_size(line):
    with pytest.raises(MessageError):
        testing.parse_chunk_line(line)


def test_a_message_survives_the_way_byte_by_byte(pair):
    reader, writer = pair
    sent = testing.request("/a", method="POST", pieces=[b"ab", b"cde"], trailers=[("X-End", "1")])
    thread = threading.Thread(target=writer.send_slowly, args=(sent,))
    thread.start()
    message = reader.read_request()
    thread.join()
    assert message.target == "/a"
    assert message.chunks == [b"ab", b"cde"]
    assert message.body == b"abcde"
    assert message.trailers == [("X-End", "1")]
    assert bytes(reader.received) == sent


@pytest.mark.parametrize("sent", [testing.response(b"abc", length=4), testing.response(pieces=[b"abc"])[:-5]])
def test_a_cut_body_is_never_taken_for_a_whole_one(pair, sent):
    reader, writer = pair
    writer.send(sent).close()
    with pytest.raises(MessageCut) as cut:
        reader.read_response()
    assert cut.value.body == b"abc"


def test_answers_without_a_body_leave_what_follows_unread(pair):
    reader, writer = pair
    writer.send(testing.response(None, status=304, fields=[("Content-Length", "9")]))
    writer.send(b"HTTP/1.1 100 Continue\r\n\r\n" + testing.response(b"next"))
    assert reader.read_response().status == 304
    answer = reader.read_response()
    assert [one.status for one in answer.interim] == [100]
    assert answer.body == b"next"


def test_ends_are_told_apart():
    def script(conn):
        conn.read_exactly(1)
        conn.reset()

    with Member(testing.in_turn(script, lambda conn: conn.read_exactly(1))) as member:
        first, second = client_of(member).connect(), client_of(member).connect()
        with first, second:
            member.wait_connections(2)
            assert first.still_open()
            assert first.send(b"x").ended() == "reset"
            assert second.send(b"x").ended() == "closed"
            assert not second.still_open()


def test_a_member_records_each_request_with_its_connection():
    with Member() as member:
        client = client_of(member)
        with client.connect() as conn:
            assert conn.request("/1").body == b"ok"
            assert conn.request("/2", method="POST", body=b"x").body == b"ok"
        assert client.request("/3", method="HEAD").body == b""
        assert [(one.target, one.connection) for one in member.requests] == [("/1", 0), ("/2", 0), ("/3", 1)]
        assert bytes(member.connections[1].received) == testing.request("/3", method="HEAD")


def test_a_refusing_member_keeps_its_port_and_comes_back():
    with Member() as member:
        member.refuse()
        with pytest.raises(ConnectionRefusedError):
            client_of(member).get()
        member.resume()
        assert client_of(member).get().status == 200


def test_a_full_member_neither_accepts_nor_refuses():
    with FullMember() as member, pytest.raises(TimeoutError):
        client_of(member, timeout=0.2).connect()


def test_a_failing_script_fails_the_test():
    def script(conn):
        raise ValueError("a mistake in the script")

    member = Member(script)
    with client_of(member).connect() as conn:
        conn.ended()
    with pytest.raises(AssertionError, match="a mistake in the script"):
        member.close()


def test_close_ends_scripts_that_wait():
    gate = threading.Event()
    before = testing.threads()
    with Member(testing.held(gate)) as member, client_of(member).connect() as conn:
        conn.send(testing.request())
        member.wait_requests(1)
    # A joined thread is still listed for as long as the kernel takes to end it; `before` may hold such ones too.
    testing.eventually(lambda: testing.threads().keys() <= before.keys(), what="the scripts' threads to end")


def test_a_member_process_dies_and_comes_back_on_its_port():
    with MemberProcess("one") as member:
        port = member.port
        assert client_of(member).get().body == b"one"
        member.kill()
        with pytest.raises(ConnectionRefusedError):
            client_of(member).get()
        member.start()
        assert member.port == port
        assert client_of(member).get().body == b"one"


def test_a_member_process_streams_the_known_block():
    from fastlb.testing.origin import BLOCK, block

    with MemberProcess(stream=2 * BLOCK + 5) as member:
        body = client_of(member).get().body
    assert body == block() * 2 + block()[:5]


def test_load_counts_failures():
    with Member(testing.in_turn(testing.named("a"), testing.reset_at_once, testing.named("b"))) as member:
        with testing.Load(client_of(member), clients=2) as load:
            load.wait_requests(20)
            # The second client may have had no turn yet.
            testing.eventually(lambda: set(load.bodies) == {b"a", b"b"})
        assert len(load.failures) == 1


def test_eventually_tells_what_it_waited_for():
    with pytest.raises(AssertionError, match="the moon"):
        testing.eventually(lambda: False, timeout=0.01, what="the moon")


def test_closed_things_leave_no_descriptor():
    before = testing.open_descriptors()
    with Member() as member, FullMember(), MemberProcess():
        client_of(member).get()
    assert testing.open_descriptors() == before


def test_a_load_process_counts_requests_and_says_what_failed():
    with MemberProcess("one") as member, testing.LoadProcess(client_of(member), clients=2) as load:
        load.wait_requests(50)
        member.kill()
        load.wait_requests(5)
    assert load.bodies["one"] >= 50
    assert any("refused" in failure for failure in load.failures)
