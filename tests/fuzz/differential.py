# SPDX-License-Identifier: Apache-2.0
"""A running balancer between parsers that are not ours: what they read on its both sides must be the same.

    python -m tests.fuzz.differential --seconds 60 [--seed N]

`Requests` sends a client's bytes to a member that reads with h11 and to one that reads with httptools (llhttp). What
the members see must be what h11 reads in the client's own bytes, up to where the balancer refused and closed. `Answers`
has a member send bytes, and an h11 client must read through the balancer what it would have read from the member, or an
error. In both a neighbour asks over the same worker, and so over the same member connections, in between: its answers
are its own, and no byte of its is anybody else's.

Where h11 is more liberal than we are (a lone LF, a folded line, a length beside a coding) a refusal is the right
answer; where it is stricter the few cases are named here.
"""

import argparse
import collections
import contextlib
import dataclasses
import importlib.util
import itertools
import json
import pathlib
import re
import time

import h11
import httptools
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

import fastlb
from fastlb.testing import Client, Member, MemberConn, response

spec = importlib.util.spec_from_file_location("fuzz_stories", pathlib.Path(__file__).with_name("stories.py"))
stories = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stories)


# ---- reading, by parsers that are not ours


@dataclasses.dataclass
class Seen:
    """A request as its reader understood it."""

    method: str
    target: str
    host: str
    tags: list[str]
    body: bytes
    trailers: list[tuple[str, str]]
    answer: str = "length"
    names_fields: bool = False
    """Connection names a field: the trailers may be dropped, since one of them may be it (RFC 9110 section 7.6.1)."""

    def facts(self):
        return {
            "method": self.method,
            "target": self.target,
            "host": self.host,
            "tags": self.tags,
            "body": self.body.decode("latin-1"),
            "trailers": [[name, value] for name, value in self.trailers],
        }


ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


def seen(method, target, fields, body, trailers):
    """From bytes, an absolute target taken apart: its authority is the Host (RFC 9112 section 3.2.2)."""
    text = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in fields]
    values = lambda name: [value for key, value in text if key == name]  # noqa: E731
    target, host = target.decode("latin-1"), ",".join(values("host"))
    if match := ABSOLUTE.fullmatch(target):
        host, target = match[1], match[2] or ("*" if method == b"OPTIONS" else "/")
    return Seen(
        method=method.decode("latin-1"),
        target=target,
        host=host,
        tags=values("x-tag"),
        body=body,
        trailers=[
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in trailers
            if name.lower().startswith(b"x-")
        ],
        answer=(values("x-answer") or ["length"])[0],
        names_fields="x-a" in ",".join(values("connection")),
    )


class H11Reader:
    """One connection's requests as h11 reads them. `state`: `open`, `closed` (no further one counts), or a refusal."""

    def __init__(self):
        self.buffer = b""
        self.state = "open"

    def feed(self, data):
        self.buffer += data
        found = []
        while self.state == "open":
            # A few empty lines in front are none of h11's business (RFC 9112 section 2.2).
            start = 0
            while start < 8 and self.buffer[start : start + 2] == b"\r\n":
                start += 2
            if start == len(self.buffer):
                break
            conn = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
            message, request, body, trailers = None, None, b"", []
            try:
                conn.receive_data(self.buffer[start:])
                while (event := conn.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                    if isinstance(event, h11.Request):
                        request = event
                    elif isinstance(event, h11.Data):
                        body += bytes(event.data)
                    elif isinstance(event, h11.EndOfMessage):
                        trailers = event.headers
                        message = seen(request.method, request.target, request.headers, body, trailers)
                        break
                    else:
                        break
                if message is None:
                    break
                conn.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                conn.send(h11.EndOfMessage())
                self.buffer = conn.trailing_data[0]
                # h11 lets no connection of HTTP/1.0 go on, whatever its Connection field asks for.
                asked = b",".join(value.lower() for name, value in request.headers if name == b"connection")
                stays = request.http_version == b"1.0" and b"keep-alive" in asked and b"close" not in asked
                if conn.our_state is not h11.DONE and not stays:
                    self.state = "closed"
            except h11.RemoteProtocolError as error:
                self.state = f"refused: {error}"
                break
            found.append(message)
        return found


class LlhttpReader:
    """The same by llhttp, without any of its leniencies."""

    def __init__(self):
        self.state = "open"
        self.found = []
        self._begin()

    def _begin(self):
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self):
        self.target, self.fields, self.trailers, self.body, self.in_body = b"", [], [], b"", False

    def on_url(self, url):
        self.target += url

    def on_header(self, name, value):
        (self.trailers if self.in_body else self.fields).append((name, value))

    def on_headers_complete(self):
        self.in_body = True
        self.keep = self.parser.should_keep_alive()
        self.method = self.parser.get_method()

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        self.found.append(seen(self.method, self.target, self.fields, self.body, self.trailers))
        if not self.keep:
            self.state = "closed"

    def feed(self, data):
        self.found = []
        while data and self.state == "open":
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as error:
                data = data[error.args[0] :]
                self._begin()
            except httptools.HttpParserError as error:
                self.state = f"refused: {type(error).__name__} {error}"
        return self.found


READERS = {"h11": H11Reader, "llhttp": LlhttpReader}


@dataclasses.dataclass
class Got:
    """A response as its reader understood it. `whole`: it ended as its framing says."""

    status: int = 0
    body: bytes = b""
    closes: bool = False
    whole: bool = False

    def facts(self):
        return json.loads(self.body)


def read_answer(data, method, ended):
    """(the first response in `data` by h11, what follows it); `ended`: the sender closed behind these bytes in order.

    None for a response of which not even the head can be read.
    """
    conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 17)
    # A method that h11 has no rules for is one like GET; it only matters whether it is HEAD or CONNECT.
    conn.send(
        h11.Request(
            method="HEAD" if method == "HEAD" else "GET",
            target="/",
            headers=[("Host", "a"), ("Connection", "Upgrade"), ("Upgrade", "x")],
        )
    )
    conn.send(h11.EndOfMessage())
    conn.receive_data(data)
    if ended:
        conn.receive_data(b"")
    got = Got()
    try:
        while (event := conn.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return Got(status=101), conn.trailing_data[0]
            if isinstance(event, h11.Response):
                got.status = event.status_code
                got.closes = conn.their_state is h11.MUST_CLOSE or any(
                    name == b"connection" and b"close" in value.lower() for name, value in event.headers
                )
            elif isinstance(event, h11.Data):
                got.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                got.whole = True
                return got, conn.trailing_data[0]
            elif isinstance(event, h11.ConnectionClosed):
                break
    except h11.RemoteProtocolError:
        pass
    return (got, b"") if got.status else (None, b"")


# ---- a balancer, its members, a neighbour


class Neighbour:
    """A well-behaved client of the same worker: each of its requests gets the answer made for it."""

    def __init__(self, client):
        self.client = client
        self.conn = client.connect(record=False)
        self.count = 0

    def ask(self):
        self.count += 1
        tag = f"neighbour-{self.count}"
        # PUT may be sent again: a member may close at the moment in which its connection is used once more.
        answer = self.conn.request(f"/{tag}", method="PUT", fields=[("X-Tag", tag)], body=tag.encode())
        assert answer.status == 200, answer
        facts = json.loads(answer.body)
        assert (facts["tags"], facts["target"], facts["body"]) == ([tag], f"/{tag}", tag), facts
        assert not answer.closes

    def close(self):
        self.conn.close()


@contextlib.contextmanager
def balanced(engine, script, setup):
    """(Client, Member) of a listener with one member that follows the script.

    setup: `plain`; `rewriting`, with policies, cookies and fields of ours in each head; or `unread`, for a byte stream.
    """
    protocol = "TCP" if setup == "unread" else "HTTP"
    with Member(script) as member, contextlib.ExitStack() as stack:
        lb = fastlb.LoadBalancer(name="differential", vip_address="127.0.0.1", engine=engine)
        stack.callback(lb.close)
        stack.callback(lb.stop, 0)
        front = lb.create_listener(protocol=protocol, protocol_port=0)
        pool = front.create_pool(protocol=protocol, lb_algorithm="ROUND_ROBIN")
        pool.create_member(member.address, member.port)
        if setup == "rewriting":
            names = ("X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto")
            front.update(insert_headers=dict.fromkeys(names, "true"))
            pool.update(session_persistence={"type": "HTTP_COOKIE"})
            for rule in (
                {"type": "PATH", "compare_type": "REGEX", "value": "^/(a|b)*$"},
                {"type": "COOKIE", "compare_type": "CONTAINS", "key": "a", "value": "1"},
                {"type": "HEADER", "compare_type": "EQUAL_TO", "key": "X-A", "value": "b"},
            ):
                front.create_l7policy(action="REDIRECT_TO_POOL", redirect_pool=pool).create_rule(**rule)
        lb.start()
        yield Client("127.0.0.1", front.protocol_port), member


def answer_to(message):
    """The facts of a request, framed as it asked for."""
    body = json.dumps(message.facts()).encode()
    head, bodiless = b"HTTP/1.1 200 OK\r\n", message.method == "HEAD"
    if message.answer == "chunked":
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"" if bodiless else framed)
    if message.answer == "close":
        return head + b"Connection: close\r\n\r\n" + (b"" if bodiless else body)
    if message.answer == "bye":
        head += b"Connection: close\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if bodiless else body)


@dataclasses.dataclass
class Refused:
    """A request that its member refused: why, and what it had read."""

    why: str
    data: bytes


class Recorder:
    """A member's script: reads by one of READERS, records, answers with what it read."""

    def __init__(self, reader):
        self.reader = reader
        self.seen = []

    def __call__(self, conn: MemberConn):
        reader = READERS[self.reader]()
        conn.record = False
        while data := conn.recv():
            for message in reader.feed(data):
                self.seen.append(message)
                conn.send(answer_to(message))
                if message.answer in ("close", "bye"):
                    return
            if reader.state != "open":
                if reader.state.startswith("refused"):
                    self.seen.append(Refused(reader.state, data))
                    conn.send(response(b"", status=400, reason="No", fields=[("Connection", "close")]))
                return


def beyond_ascii(data):
    """Bytes above 7F in a target are forwarded untouched; h11 knows none, on either side."""
    return re.search(rb"^[^\r\n]*[\x80-\xff][^\r\n]* HTTP/1", data, re.MULTILINE) is not None


class Requests:
    """Conversations against both readers; `check` raises AssertionError for a finding."""

    strategy = stories.conversations()
    STATUSES = (400, 414, 431, 501, 505)

    def __init__(self, engine, setup):
        self.engine = engine
        self.setup = setup
        self.outcomes = collections.Counter()

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        self.sides = {}
        for name in READERS:
            recorder = Recorder(name)
            client, _ = self._stack.enter_context(balanced(self.engine, recorder, self.setup))
            neighbour = Neighbour(client)
            self._stack.callback(neighbour.close)
            self.sides[name] = client, recorder, neighbour
        return self

    def __exit__(self, *error):
        self._stack.close()

    def check(self, pieces):
        sent, reader = b"".join(pieces), H11Reader()
        wanted = reader.feed(sent)
        note(f"h11 on the client's bytes: {reader.state}, {len(wanted)} requests")
        for name, (client, recorder, neighbour) in self.sides.items():
            recorder.seen.clear()
            received = self.talk(client, pieces, neighbour)
            got, others = [], 0
            for one in recorder.seen:
                if isinstance(one, Seen) and one.target.startswith("/neighbour-"):
                    others += 1
                else:
                    got.append(one)
            note(f"member: {name}\nseen: {got}\nreceived: {received[:2000]!r}")
            assert others == 2, "a neighbour's request went astray"
            self.outcomes[self.compare(sent, wanted, got, received) or reader.state.partition(":")[0]] += 1
            self.outcomes["requests"] += len(got)

    @staticmethod
    def talk(client, pieces, neighbour):
        """Everything that came back until the end, in order or by a reset."""
        received = b""
        with client.connect() as conn:
            with contextlib.suppress(OSError):  # refused while there was more to send
                conn.send(pieces[0] if pieces else b"")
                neighbour.ask()
                for piece in pieces[1:]:
                    conn.send(piece)
                conn.finish()
            with contextlib.suppress(ConnectionResetError):
                while data := conn.recv():
                    received += data
        neighbour.ask()
        return received

    def compare(self, sent, wanted, got, received):
        """Request for request, answer for answer; the status of a refusal, if there was one."""
        taken = [one for one in got if isinstance(one, Seen)]
        assert len(taken) <= len(wanted) or beyond_ascii(sent), "more requests than the client sent"
        closes, rest = False, received
        for message, theirs in itertools.zip_longest(got, wanted[: len(got)]):
            if isinstance(message, Refused):
                # Methods and characters are not ours to judge; anything else must not reach a member.
                foreign = "InvalidMethod" in message.why or message.data.startswith(b"PRI ")
                assert foreign or beyond_ascii(message.data), message
                answer, rest = read_answer(rest, "GET", True)
                if answer is None:  # the client had left in the middle of its request
                    assert len(wanted) < len(got)
                    return None
                assert answer.status == 400
                closes = answer.closes  # it may have come before the request's end
                continue
            if theirs is not None and theirs.names_fields:
                theirs.trailers = []
            assert theirs is None or message.facts() == theirs.facts()
            answer, rest = read_answer(rest, message.method, True)
            assert answer is not None, "no answer to a request that a member took"
            assert answer.status == 200
            assert answer.whole
            assert message.method == "HEAD" or answer.facts() == message.facts(), "another request's answer"
            closes = answer.closes
        if not rest:
            assert len(got) >= len(wanted) or closes, "a request was lost without a word"
            return None
        # A body's fault may be that of a HEAD, whose refusal has none.
        read = [read_answer(rest, method, True) for method in ("GET", "HEAD")]
        refusal, rest = read[0] if read[0][0] and read[0][0].whole else read[1]
        assert refusal is not None
        assert refusal.whole
        assert refusal.closes
        assert refusal.status in self.STATUSES
        assert rest == b"", "bytes behind the last answer"
        return refusal.status


# ---- the other way


@dataclasses.dataclass
class Reply:
    """What a member sends for one request, and how it was asked."""

    method: str
    version: str
    pieces: list[bytes]
    closes: bool

    @property
    def data(self):
        return b"".join(self.pieces)


@st.composite
def replies(draw):
    data = draw(stories.answers())
    method, version = draw(st.sampled_from([("GET", "1.1")] * 3 + [("HEAD", "1.1"), ("GET", "1.0")]))
    closes = draw(st.booleans())
    theirs, rest = read_answer(data, method, closes)
    if theirs is None or not theirs.whole:
        closes = True
    # Bytes behind an answer come with it: later ones race with the next request, for any balancer.
    at_once = rest or method == "HEAD" or stories.STOLEN in data
    pieces = [data] if at_once else draw(stories.pieces_of(data))
    return Reply(method, version, pieces, closes)


class Answers:
    """Members' replies to an h11 client; `check` raises AssertionError for a finding."""

    strategy = replies()

    def __init__(self, engine, setup):
        self.engine = engine
        self.setup = setup
        self.reply = None
        self.outcomes = collections.Counter()

    def script(self, conn: MemberConn):
        conn.record = False
        while (message := conn.read_request()) is not None:
            if message.target == "/odd":
                reply = self.reply
                for piece in reply.pieces:
                    conn.send(piece)
                if reply.closes:
                    return
                continue
            facts = {"tags": message.all("X-Tag"), "target": message.target, "body": message.body.decode()}
            body = json.dumps(facts).encode()
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        self.client, self.member = self._stack.enter_context(balanced(self.engine, self.script, self.setup))
        self.neighbour = Neighbour(self.client)
        self._stack.callback(self.neighbour.close)
        return self

    def __exit__(self, *error):
        self._stack.close()

    def check(self, reply):
        self.reply = reply
        theirs, _ = read_answer(reply.data, reply.method, reply.closes)
        note(f"h11 on the member's bytes: {theirs}")
        with self.client.connect(record=False) as conn:
            conn.send(f"{reply.method} /odd HTTP/{reply.version}\r\nHost: a\r\n\r\n".encode())
            mine, rest, received = self.read(conn, reply.method)
            note(f"received: {received[:2000]!r}")
            assert rest == b"", "bytes behind the answer"
            assert mine is not None or theirs is None or not theirs.whole, "nothing came of a good answer"
            outcome = "cut" if mine is None or not mine.whole else mine.status
            if outcome == 502 and (theirs is None or theirs.status != 502):
                outcome = "refused"
            elif mine is not None:
                assert theirs is not None, "an answer was made of what is none"
                assert mine.status == theirs.status
                assert theirs.body.startswith(mine.body)
                if mine.whole:
                    assert theirs.whole, "a cut answer was made a whole one"
                    assert mine.body == theirs.body
            self.outcomes[outcome] += 1
            self.neighbour.ask()
            if mine is not None and mine.whole and not mine.closes:
                follower = Neighbour.__new__(Neighbour)
                follower.conn, follower.count = conn, 0
                follower.ask()

    @staticmethod
    def read(conn, method):
        """(answer, what follows it, all bytes): read until the answer is whole, or the connection ended."""
        received = b""
        try:
            while data := conn.recv():
                received += data
                got, rest = read_answer(received, method, False)
                if got is not None and got.whole:
                    return got, rest, received
            return *read_answer(received, method, True), received
        except ConnectionResetError:
            return *read_answer(received, method, False), received


KINDS = {"requests": Requests, "answers": Answers}


def run(kind, engine, examples, first=None, setup="plain"):
    """Check that many stories of a kind; the outcomes, counted. Without a seed the stories are always the same."""
    with KINDS[kind](engine, setup) as arena:

        @settings(
            max_examples=examples,
            derandomize=first is None,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(arena.strategy)
        def check(story):
            arena.check(story)

        (check if first is None else seed(first)(check))()
        return arena.outcomes


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.differential", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="of the first thousand stories; each next one counts up")
    options = parser.parse_args()
    number = first = time.time_ns() if options.seed is None else options.seed
    print(f"seed {first}", flush=True)
    deadline = time.monotonic() + options.seconds
    outcomes = {kind: collections.Counter() for kind in KINDS}
    with fastlb.Engine(workers=1) as engine:
        while time.monotonic() < deadline:
            for kind, setup in itertools.product(KINDS, ("plain", "rewriting")):
                try:
                    outcomes[kind] += run(kind, engine, 1000, number, setup)
                except BaseException:
                    print(f"{kind}, {setup}: seed {number}", flush=True)
                    raise
            number += 1
    for kind, counted in outcomes.items():
        print(f"{kind}: nothing found: {dict(counted.most_common())}")


if __name__ == "__main__":
    main()
