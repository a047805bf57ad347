# SPDX-License-Identifier: Apache-2.0
"""The REST API over a controller of its own, on a loopback port, and a client that speaks JSON."""

import os
from collections import Counter
from typing import Any

import pytest
import requests

import fastlb
from fastlb.api.access import anyone
from fastlb.api.app import create_app
from fastlb.api.call import Caller
from fastlb.api.server import Server
from fastlb.controller import Controller
from fastlb.network import NetworkConfig, Networking
from fastlb.store.memory import MemoryStore
from fastlb.testing import Client, unused_port

SUBNET = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
"""Any subnet will do where none are configured."""


class Api:
    """`api.post("/pools", pool={…})` answers the object under "pool"; `api.call(…)` answers the whole response."""

    PREFIX = "/v2/lbaas"

    def __init__(self, served: Any, controller: Controller) -> None:
        self.url = served.url
        self.controller = controller
        self.session = requests.Session()
        self._served = served

    def called_by(self, caller: Caller | None, **extra: Any) -> None:
        """From now on this is who asks; None: anyone, without authentication. extra: as `create_app` takes it."""
        identify = anyone if caller is None else lambda headers: caller
        self._served.app = create_app(self.controller, identify=identify, extra=extra)

    def call(self, method: str, path: str, *, expect: int | None = None, **options: Any) -> requests.Response:
        """One request. path: below /v2/lbaas, or whole when it begins with a version or is "/"."""
        whole = (
            path
            if path.startswith(("/v2", "/v3", "/identity", "/projects")) or path == "/"
            else self.PREFIX + path
        )
        response = self.session.request(method, self.url + whole, timeout=20, **options)
        assert expect is None or response.status_code == expect, (
            method,
            path,
            response.status_code,
            response.text,
        )
        return response

    def get(self, path: str, **query: Any) -> Any:
        """The object under the first key of the answer."""
        return next(iter(self.call("GET", path, params=query, expect=200).json().values()))

    def post(self, path: str, **document: Any) -> Any:
        return next(iter(self.call("POST", path, json=document, expect=201).json().values()))

    def put(self, path: str, **document: Any) -> Any:
        return next(iter(self.call("PUT", path, json=document, expect=200).json().values()))

    def delete(self, path: str, **query: Any) -> None:
        self.call("DELETE", path, params=query, expect=204)

    def refused(self, method: str, path: str, status: int, **document: Any) -> str:
        """The fault text of a request that is refused with this status."""
        response = self.call(method, path, json=document or None, expect=status)
        body = response.json()
        return body.get("faultstring", body.get("description"))

    def load_balancer(self, **fields: Any) -> Any:
        return self.post("/loadbalancers", loadbalancer={"vip_subnet_id": SUBNET, **fields})

    def pool(self, **fields: Any) -> str:
        """The id of a pool, on a load balancer of its own."""
        described = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", **fields}
        pool_id: str = self.load_balancer(pools=[described])["pools"][0]["id"]
        return pool_id


class Site:
    """A load balancer with a HTTP listener and its pool, made over the API, and a client for it."""

    def __init__(self, api: Api, pool: dict[str, Any]) -> None:
        port = unused_port()
        described = {"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", **pool}
        made = api.load_balancer(
            name="site",
            listeners=[
                {"name": "http", "protocol": "HTTP", "protocol_port": port, "default_pool": described}
            ],
        )
        self.api = api
        self.id = made["id"]
        self.listener = made["listeners"][0]["id"]
        self.pool = made["pools"][0]["id"]
        self.members = f"/pools/{self.pool}/members"
        self.client = Client(made["vip_address"], port)

    def member(self, address: Any = "192.0.2.1", protocol_port: int = 80, **fields: Any) -> Any:
        """A new member of the pool: at an address, or a scripted one."""
        if not isinstance(address, str):
            address, protocol_port = address.address, address.port
        document = {"address": address, "protocol_port": protocol_port, **fields}
        return self.api.post(self.members, member=document)

    def answers(self, count: int, target: str = "/", **options: Any) -> Counter[bytes]:
        """The bodies of so many answers, each on a connection of its own."""
        return Counter(self.client.request(target, **options).body for _ in range(count))


@pytest.fixture
def site(api):
    """`site.pool`, `site.listener`, `site.client`: something to hang members, monitors and policies on."""
    return Site(api, {})


def loopback_ranges() -> NetworkConfig:
    """The default networks, in a part of 127.0.0.0/8 for this process: several runs of the tests do not meet."""
    part = os.getpid() % 1024
    first, second = (f"127.{low + part // 16}.{part % 16 * 16}.0/20" for low in (70, 140))
    return NetworkConfig.default(first, second)


@pytest.fixture
def networking():
    """The network of `controller`: the default one. A test may have one of its own by a fixture of this name."""
    return Networking(loopback_ranges())


@pytest.fixture
def controller(networking):
    engine = fastlb.Engine(workers=1)
    with Controller(MemoryStore(), engine=engine, networking=networking) as controller:
        yield controller
    engine.stop(0)


@pytest.fixture(scope="module")
def served():
    """A server for all tests of a file, since one takes 0.2 s to stop; each test puts an application of its own in."""

    class Served:
        app = None

        async def __call__(self, scope, receive, send):
            await self.app(scope, receive, send)

    served = Served()
    server = Server(Controller(MemoryStore()))
    server._app = served
    with server:
        served.url = server.url
        yield served


@pytest.fixture
def api(controller, served):
    """The API without authentication over an empty controller."""
    client = Api(served, controller)
    client.called_by(None)
    yield client
    client.session.close()
    served.app = None


@pytest.fixture
def connection(api):
    """openstacksdk's connection to the API, without authentication, and with nothing of this machine's configuration.

    What the SDK deprecates of its own is between it and its authors: tests that use this have the marks below.
    """
    import openstack

    made = openstack.connect(auth_type="none", endpoint=api.url, load_yaml_config=False, load_envvars=False)
    yield made
    made.close()


SDK_MARKS = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]
