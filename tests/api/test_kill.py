# SPDX-License-Identifier: Apache-2.0
"""`kill -9` during changes: what was acknowledged is there after the restart, whole, and served.

FASTLB_KILLS says how often (8).
"""

import os
import random
import signal
import subprocess
import sys
import threading

import pytest
import requests

from fastlb.testing import Client, Member, eventually, named

KILLS = int(os.environ.get("FASTLB_KILLS", "8"))
WRITERS = 3
# Load balancers begin at the same address in each run: two runs at once are to have different ports.
PORT = 20_000 + os.getpid() % 10_000
SUBNET = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"


class Server:
    """`fastlb serve` in a process of its own, over one state directory."""

    def __init__(self, state):
        self.state = state
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastlb", "serve", "--bind", "127.0.0.1:0", "--state", str(self.state)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        word, _, self.url = self.process.stdout.readline().strip().partition(" ")
        assert word == "ready"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "state")
    yield server
    server.kill()


class Writer(threading.Thread):
    """Creates, changes and deletes load balancers of its own, and keeps book: what was acknowledged, and the one thing
    that was under way when the server went away."""

    def __init__(self, url, member, book, seed):
        super().__init__()
        self.url = f"{url}/v2/lbaas"
        self.member = member
        self.book = book
        self.random = random.Random(seed)
        self.doubt = None
        self.done = 0

    def run(self):
        with requests.Session() as self.session:
            try:
                while True:
                    self.random.choice((self.create, self.rename, self.grow, self.shrink, self.delete))()
                    self.doubt = None
                    self.done += 1
            except requests.RequestException:
                pass  # the server is gone

    def ask(self, method, path, status, **body):
        response = self.session.request(method, self.url + path, json=body or None, timeout=30)
        assert response.status_code == status, (method, path, response.text)
        return next(iter(response.json().values())) if response.content else None

    def some(self):
        return self.random.choice(list(self.book.values())) if self.book else None

    def create(self):
        name = f"lb-{self.random.getrandbits(64):x}"
        self.doubt = ("create", name)
        members = [{"address": self.member.address, "protocol_port": self.member.port}]
        pool = {"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": members}
        listener = {"name": "http", "protocol": "HTTP", "protocol_port": PORT, "default_pool": pool}
        body = {"name": name, "vip_subnet_id": SUBNET, "listeners": [listener]}
        made = self.ask("POST", "/loadbalancers", 201, loadbalancer=body)
        self.book[made["id"]] = {
            "id": made["id"],
            "name": name,
            "vip": made["vip_address"],
            "pool": made["pools"][0]["id"],
            "members": {made["pools"][0]["members"][0]["id"]},
        }

    def rename(self):
        if one := self.some():
            name = f"lb-{self.random.getrandbits(64):x}"
            self.doubt = ("rename", one["id"], name)
            self.ask("PUT", f"/loadbalancers/{one['id']}", 200, loadbalancer={"name": name})
            one["name"] = name

    def grow(self):
        if one := self.some():
            self.doubt = ("members", one["id"])
            # Nothing answers there: switched off, it stays out of the way of the traffic below.
            member = {
                "address": "127.0.0.1",
                "protocol_port": self.random.randrange(1024, 65535),
                "weight": 0,
            }
            response = self.session.post(
                f"{self.url}/pools/{one['pool']}/members", json={"member": member}, timeout=30
            )
            if response.status_code == 201:
                one["members"].add(response.json()["member"]["id"])
            else:
                assert response.status_code == 409, response.text

    def shrink(self):
        one = self.some()
        if one and len(one["members"]) > 1:
            rows = self.ask("GET", f"/pools/{one['pool']}/members", 200)
            member = next(row["id"] for row in rows if row["weight"] == 0)
            self.doubt = ("members", one["id"])
            self.ask("DELETE", f"/pools/{one['pool']}/members/{member}", 204)
            one["members"].discard(member)

    def delete(self):
        if one := self.some():
            self.doubt = ("delete", one["id"])
            self.ask("DELETE", f"/loadbalancers/{one['id']}?cascade=true", 204)
            del self.book[one["id"]]


def check(url, books, doubts):
    """The API shows what the books say, except for what is in doubt, and every listener answers."""
    with requests.Session() as session:

        def rows(path):
            return next(iter(session.get(f"{url}/v2/lbaas{path}", timeout=30).json().values()))

        there = {row["id"]: row for row in rows("/loadbalancers")}
        listeners = {row["loadbalancers"][0]["id"]: row for row in rows("/listeners")}
        pools = {row["loadbalancers"][0]["id"]: row for row in rows("/pools")}
        for book in books:
            for one in list(book.values()):
                mine = [doubt for doubt in doubts if doubt[1] == one["id"]]
                if mine and mine[0][0] == "delete" and one["id"] not in there:
                    del book[one["id"]]
                    continue
                row = there.pop(one["id"])
                assert row["provisioning_status"] == "ACTIVE"
                assert row["vip_address"] == one["vip"]
                assert row["name"] in (one["name"], *(doubt[2] for doubt in mine if doubt[0] == "rename"))
                members = {member["id"] for member in pools[one["id"]]["members"]}
                if not any(doubt[0] == "members" for doubt in mine):
                    assert members == one["members"]
                one["name"], one["members"] = row["name"], members
        created = [doubt[1] for doubt in doubts if doubt[0] == "create"]
        for row in there.values():
            # Nobody was told of it, and yet it is whole.
            assert row["name"] in created
            assert len(pools[row["id"]]["members"]) == 1
            books[0][row["id"]] = {
                "id": row["id"],
                "name": row["name"],
                "vip": row["vip_address"],
                "pool": pools[row["id"]]["id"],
                "members": {member["id"] for member in pools[row["id"]]["members"]},
            }
        assert set(listeners) == set(pools) == {key for book in books for key in book}
        for one in (one for book in books for one in book.values()):
            assert Client(one["vip"], PORT).get().body == b"here"


@pytest.mark.timeout(30 + 5 * KILLS)
def test_nothing_acknowledged_is_lost_and_nothing_is_half_there(server):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    pause = random.Random(seed)
    books = [{} for _ in range(WRITERS)]
    with Member(named("here")) as member:
        for turn in range(KILLS):
            writers = [
                Writer(server.url, member, book, f"{seed}/{turn}/{at}") for at, book in enumerate(books)
            ]
            for writer in writers:
                writer.start()
            enough = pause.randrange(1, 40)
            eventually(
                lambda writers=writers, enough=enough: (
                    sum(one.done for one in writers) >= enough or not all(one.is_alive() for one in writers)
                )
            )
            server.kill()
            for writer in writers:
                writer.join(30)
            server.start()
            check(server.url, books, [one.doubt for one in writers if one.doubt])
