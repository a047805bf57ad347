# SPDX-License-Identifier: Apache-2.0
"""Feed the REST API bodies, queries, paths and header fields of any shape, and hold what must be true of any answer.

    python -m tests.fuzz.api --seconds 60 [--seed N]

A seed makes a session: a controller with a small tree of every kind of object, and then requests, most of them almost
right. No answer is a 500 or late, each has one of Octavia's forms; what is refused or only read has changed nothing in
the store; in the end the store has what the model has, a restart makes the same of it, and the server still serves.
With several callers at once the same holds, but for which of them changed the store.
"""

import argparse
import contextlib
import http.client
import importlib.util
import itertools
import json
import pathlib
import random
import re
import socket
import threading
import time

import fastlb
from fastlb import records
from fastlb.api.app import create_app
from fastlb.api.server import Server
from fastlb.controller import LABELS, Controller
from fastlb.store.memory import MemoryStore

spec = importlib.util.spec_from_file_location(
    "fuzz_api_requests", pathlib.Path(__file__).with_name("api_requests.py")
)
wanted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wanted)

DEADLINE_S = 10.0
FORMS = (
    ["debuginfo", "faultcode", "faultstring"],
    ["code", "description", "title"],
    ["NeutronError"],
    ["error"],
)
"""The names in a refusal: Octavia's two forms, Neutron's, Keystone's."""
STATUSES = {200, 201, 202, 204, 300, 400, 401, 403, 404, 405, 406, 409, 413, 415, 501}


def routes(app):
    """The paths that the application knows, whatever resources it has."""
    return sorted({route.path for route in app._app.routes})


class Counting(MemoryStore):
    """A store that knows how often callers changed it; what is observed of members comes when it comes."""

    changes = 0

    def commit(self, puts, drops=()):
        puts, drops = list(puts), list(drops)
        self.changes += any(row[0] != "health" for row in (*puts, *drops))
        return super().commit(puts, drops)


class Finding(AssertionError):
    """What must not be, and the request that showed it."""


class Served:
    """A server whose application each session puts in."""

    def __init__(self):
        self.app = None
        self.methods = {}
        self._server = Server(Controller(MemoryStore()))
        self._server._app = self
        self._engine = fastlb.Engine(workers=1)

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *exc):
        self._server.stop()
        self._engine.stop(0)

    @property
    def address(self):
        return "127.0.0.1", self._server._port

    def controller(self, store):
        return Controller(store, engine=self._engine)


class Caller:
    """One connection, made again when the server closes it."""

    def __init__(self, address):
        self._address = address
        self._conn = None

    def ask(self, head: bytes, body: bytes, method: str):
        """(status, fields, body) of the answer. Raises Finding when there is none."""
        reused = self._conn is not None
        try:
            return self._once(head + body, method)
        except (ConnectionError, http.client.RemoteDisconnected):
            self.close()
            if not reused:
                raise Finding("the connection ended without an answer") from None
            return self._once(head + body, method)
        except TimeoutError:
            raise Finding(f"no answer in {DEADLINE_S} s") from None

    def _once(self, data, method):
        if self._conn is None:
            self._conn = socket.create_connection(self._address, timeout=DEADLINE_S)
        self._conn.sendall(data)
        answer = http.client.HTTPResponse(self._conn, method=method)
        answer.begin()
        body = answer.read()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        if answer.will_close:
            self.close()
        return answer.status, fields, body

    def close(self):
        if self._conn is not None:
            self._conn.close()
            self._conn = None


class Session:
    """The requests of one seed."""

    def __init__(self, served: Served, seed: int, *, alone: bool = True) -> None:
        self.served = served
        self.random = random.Random(seed)
        self.alone = alone
        self._lock = threading.Lock()
        self.answers: dict[int, int] = {}
        self.store = Counting()
        self.controller = served.controller(self.store).open()
        app = create_app(self.controller)
        served.app = app
        if not served.methods:
            served.methods = self._methods(routes(app))
        self.methods = served.methods

    def run(self, requests: int = 60, callers: int = 1) -> None:
        try:
            self._prepare()
            seeds = [self.random.random() for _ in range(callers)]
            errors: list[BaseException] = []
            threads = [
                threading.Thread(target=self._call, args=(random.Random(seed), requests // callers, errors))
                for seed in seeds
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if errors:
                raise errors[0]
            self._check_store()
            self._check_service()
        finally:
            self.controller.close(0)

    def _call(self, rng, requests, errors):
        requester = wanted.Requests(rng, self.controller, self.methods)
        caller = Caller(self.served.address)
        try:
            for _ in range(requests):
                self._ask(caller, *requester.one())
        except BaseException as error:
            errors.append(error)
        finally:
            caller.close()

    def _ask(self, caller, method, target, fields, body):
        head = f"{method} {target} HTTP/1.1\r\n".encode()
        head += b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in fields)
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        before = self.store.changes
        status = 0
        try:
            status, answered, answer = caller.ask(head, body, method)
            self._check(method, status, answered, answer)
            if self.alone and (status >= 400 or method == "GET") and self.store.changes != before:
                raise Finding("the store has changed")
        except (Finding, OSError, ValueError) as error:
            raise Finding(f"{error}\n{status}\n{(head + body)[:4000]!r}") from error
        with self._lock:
            self.answers[status] = self.answers.get(status, 0) + 1

    def _check(self, method, status, fields, body):
        if status not in STATUSES:
            raise Finding(f"status {status}: {body[:300]!r}")
        if not fields.get("x-openstack-request-id", "").startswith("req-"):
            raise Finding(f"status {status} without a request id: {body[:300]!r}")
        if method == "HEAD":
            return
        document = json.loads(body) if body else None
        if status < 400:
            if body == b"" and status == 200:
                raise Finding("an answer without a document")
        elif sorted(document) not in FORMS:
            raise Finding(f"a refusal in no form: {body[:300]!r}")

    # What there must be, and be in order.

    def _methods(self, paths):
        """What each path allows, by its own word."""
        found = {}
        with contextlib.closing(Caller(self.served.address)) as caller:
            for path in paths:
                target = re.sub(r"{\w+}", wanted.NOBODY, path) or "/"
                head = f"OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
                found[path] = caller.ask(head, b"", "OPTIONS")[1]["allow"].split(", ")
        return found

    def _prepare(self):
        tree = wanted.Requests(random.Random(1), self.controller, self.methods)
        for at in range(2):
            body = {"loadbalancer": tree.load_balancer()}
            with contextlib.closing(Caller(self.served.address)) as caller:
                self._ask(caller, *wanted.plain("POST", "/v2/lbaas/loadbalancers", body))
            if len(self.controller.load_balancers) != at + 1:
                raise Finding("the tree that all begins with was refused")

    def _check_store(self):
        there = {kind: {row.id: row.document for row in self.store.list(kind)} for kind in LABELS}
        for kind in LABELS:
            objects = self.controller.all(kind)
            if [one.id for one in objects] != list(there[kind]):
                raise Finding(
                    f"{kind}: the store has {list(there[kind])}, the model {[one.id for one in objects]}"
                )
            for one in objects:
                if records.record(one)[2] != there[kind][one.id]:
                    raise Finding(
                        f"{kind} {one.id}: {there[kind][one.id]} is stored, {records.record(one)[2]} is there"
                    )
        before = self._shown(self.controller)
        self.controller.close(0)
        self.controller = self.served.controller(self.store).open()
        self.served.app = create_app(self.controller)
        after = self._shown(self.controller)
        for was, now in itertools.zip_longest(before, after, fillvalue={}):
            names = [name for name in was.keys() | now.keys() if was.get(name) != now.get(name)]
            if names:
                raise Finding(
                    f"{was.get('id')}, {now.get('id')}: a restart made of {[(name, was.get(name)) for name in names]} "
                    f"{[(name, now.get(name)) for name in names]}"
                )

    def _shown(self, controller):
        """Every object without what is observed of it, which a restart begins anew."""
        observed = ("provisioning_status", "operating_status")
        return [
            {name: value for name, value in one.show().items() if name not in observed}
            for kind in LABELS
            for one in controller.all(kind)
        ]

    def _check_service(self):
        body = {"loadbalancer": {"vip_subnet_id": wanted.SUBNET, "name": "last"}}
        with contextlib.closing(Caller(self.served.address)) as caller:
            for kind in ("loadbalancers", "listeners", "pools", "healthmonitors", "l7policies"):
                self._ask(caller, *wanted.plain("GET", f"/v2/lbaas/{kind}"))
            self._ask(caller, *wanted.plain("POST", "/v2/lbaas/loadbalancers", body))
        if self.controller.load_balancers[-1].name != "last":
            raise Finding("a load balancer could no longer be created")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.api", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="of the first session; each next one counts up")
    parser.add_argument("--callers", type=int, default=1, help="at once")
    options = parser.parse_args()
    seed = first = time.time_ns() if options.seed is None else options.seed
    print(f"seed {first}", flush=True)
    answers: dict[int, int] = {}
    deadline = time.monotonic() + options.seconds
    with Served() as served:
        while time.monotonic() < deadline:
            session = Session(served, seed, alone=options.callers == 1)
            try:
                session.run(callers=options.callers)
            except BaseException:
                print(f"seed {seed}", flush=True)
                raise
            for status, count in session.answers.items():
                answers[status] = answers.get(status, 0) + count
            seed += 1
    print(f"{seed - first} sessions, nothing found; answers: {dict(sorted(answers.items()))}")


if __name__ == "__main__":
    main()
