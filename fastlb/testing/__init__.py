# SPDX-License-Identifier: Apache-2.0
"""Peers for tests of a load balancer: scripted members, raw clients, load, and what a process holds.

Standard library alone, loopback alone, and nothing here sleeps to synchronise: every wait is for a condition
and has a deadline.

    with Member(named("one")) as one, Member(raw(b"HTTP/1.1 200 OK\\r\\nContent-", then="reset")) as broken:
        ...
        answer = Client("127.0.0.1", listener.protocol_port).get("/")
        assert answer.status == 200
        assert one.targets == ["/"]
"""

from fastlb.testing.conn import DEADLINE, Client, Conn, dial
from fastlb.testing.load import Load
from fastlb.testing.load_process import LoadProcess
from fastlb.testing.members import (
    Answer,
    FullMember,
    Member,
    MemberConn,
    Script,
    continue_100,
    echo,
    greet,
    held,
    http,
    http_echo,
    in_turn,
    named,
    raw,
    reset_at_once,
    say_nothing,
    upgrade,
    wait_until_taken,
)
from fastlb.testing.messages import (
    Message,
    MessageCut,
    MessageError,
    Request,
    Response,
    chunked,
    parse_chunk_line,
    parse_fields,
    parse_request_head,
    parse_response_head,
    request,
    response,
)
from fastlb.testing.processes import MemberProcess
from fastlb.testing.waiting import eventually, open_descriptors, resident_bytes, threads, unused_port

__all__ = [
    "DEADLINE",
    "Answer",
    "Client",
    "Conn",
    "FullMember",
    "Load",
    "LoadProcess",
    "Member",
    "MemberConn",
    "MemberProcess",
    "Message",
    "MessageCut",
    "MessageError",
    "Request",
    "Response",
    "Script",
    "chunked",
    "continue_100",
    "dial",
    "echo",
    "eventually",
    "greet",
    "held",
    "http",
    "http_echo",
    "in_turn",
    "named",
    "open_descriptors",
    "parse_chunk_line",
    "parse_fields",
    "parse_request_head",
    "parse_response_head",
    "raw",
    "request",
    "reset_at_once",
    "resident_bytes",
    "response",
    "say_nothing",
    "threads",
    "unused_port",
    "upgrade",
    "wait_until_taken",
]
