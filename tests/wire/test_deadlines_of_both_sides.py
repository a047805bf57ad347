# SPDX-License-Identifier: Apache-2.0
"""Each side is timed for its own silence, not for the other's."""

import time

import pytest

from fastlb.testing import MemberConn, chunked, request, response

MIB = 1 << 20


@pytest.mark.workers(1)
def test_a_client_that_rests_in_a_spliced_download_is_given_its_own_time(balance, member):
    """What waits in the pipe waits for the client, not for the member."""
    size = 64 * MIB
    one = member(lambda conn: conn.read_request() and conn.send(response(b"x" * size)))
    balancer = balance(one, listener={"timeout_client_data": 30000, "timeout_member_data": 300})
    with balancer.client.connect(receive_buffer=65536, record=False) as conn:
        conn.send(request())
        assert conn.read_response_head().status == 200
        received = len(conn.take_buffered())
        time.sleep(1.0)  # more than the member's time
        while received < size and (data := conn.socket.recv(MIB)):
            received += len(data)
        assert received == size


@pytest.mark.workers(1)
def test_a_client_that_rests_after_a_long_stream_is_given_its_whole_time(balance, member):
    """Its time runs from the last byte it took, not from its request."""
    burst = b"x" * (8 * MIB)

    def stream(conn: MemberConn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(24):
            conn.send(chunked(b"tick", last=False))
            time.sleep(0.1)
        conn.send(chunked(burst))

    limits = {"timeout_client_data": 2000, "timeout_member_data": 900}
    balancer = balance(member(stream), listener=limits)
    with balancer.client.connect(receive_buffer=65536, record=False) as conn:
        conn.send(request())
        assert conn.read_response_head().status == 200
        for _ in range(24):
            assert conn.read_chunk() == b"tick"
        time.sleep(1.0)  # half of its time, and more than the member's
        assert len(conn.read_chunk()) > 0
        received = len(conn.take_buffered())
        while received < 6 * MIB:
            data = conn.socket.recv(MIB)
            assert data
            received += len(data)
