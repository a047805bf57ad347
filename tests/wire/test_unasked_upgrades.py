# SPDX-License-Identifier: Apache-2.0
"""A member that switches protocols for a request whose bytes are gone already is a broken member."""

import pytest

from fastlb.testing import MemberConn, chunked

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\nhello"


@pytest.mark.workers(1)
@pytest.mark.parametrize("upgrade", [b"", b"Connection: upgrade\r\nUpgrade: other\r\n"])
def test_a_switch_after_a_chunked_body_is_refused(balance, member, upgrade):
    def switch(conn: MemberConn):
        if conn.read_request() is not None:
            conn.send(SWITCH)
            conn.read_to_end()

    client = balance(member(switch)).client
    with client.connect() as conn:
        conn.send(b"PUT / HTTP/1.1\r\nHost: a\r\n" + upgrade + b"Transfer-Encoding: chunked\r\n\r\n")
        conn.send(chunked(b"body"))
        assert conn.read_response().status == 502
    assert client.request(method="POST", body=b"x").status == 502
