# SPDX-License-Identifier: Apache-2.0
"""Controller: all the load balancers of a node, kept in a store. What the REST API and `fastlb.connect()` work on."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from fastlb.balancer import LoadBalancer
from fastlb.engine import Engine
from fastlb.errors import Conflict, NotFound
from fastlb.resource import Resource

if TYPE_CHECKING:
    from fastlb.store import Store

WAIT_S = 10.0
"""Seconds that a change waits for the one before it on the same load balancer."""

KINDS = {
    "loadbalancer": "Load Balancer",
    "listener": "Listener",
    "pool": "Pool",
    "member": "Member",
    "healthmonitor": "Health Monitor",
    "l7policy": "L7 Policy",
    "l7rule": "L7 Rule",
}


class Controller:
    """The load balancers of a node. `open()` (or `with`) makes all that the store has, and forwards; `close()` stops.

    store: where they are kept. engine: the threads that do the work; None: the default engine.
    """

    def __init__(self, store: "Store", *, engine: Engine | None = None) -> None:
        self.store = store
        self._engine = engine
        self._lock = threading.RLock()
        self._index: dict[str, dict[str, Resource[Any]]] = {kind: {} for kind in KINDS}

    def open(self) -> Self:
        """Make everything that is stored and forward."""
        return self

    def close(self, drain_timeout: float | None = None) -> None:
        """Stop all load balancers; they stay stored."""
        for balancer in self.load_balancers:
            balancer.stop(drain_timeout)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def load_balancers(self) -> tuple[LoadBalancer, ...]:
        """All, in the order of creation."""
        return tuple(self.all("loadbalancer"))

    def all(self, kind: str) -> list[Any]:
        """All objects of a kind ("loadbalancer", "listener", …), in the order of creation."""
        with self._lock:
            return list(self._index[kind].values())

    def get(self, kind: str, resource_id: str) -> Any:
        """The object of that kind with that id. Raises NotFound in Octavia's words."""
        found = self._index[kind].get(resource_id)
        if found is None:
            fault = f"{KINDS[kind]} {resource_id} not found."
            raise NotFound(fault, fault=fault)
        return found

    def create_load_balancer(
        self, document: Mapping[str, Any], *, project_id: str, coerce: bool = True
    ) -> LoadBalancer:
        """Make and start what a fully-populated document describes."""
        body = {**document, "project_id": project_id}
        balancer = LoadBalancer.from_dict({"loadbalancer": body}, engine=self._engine, coerce=coerce)
        balancer.start()
        return balancer

    @contextlib.contextmanager
    def writing(
        self, balancer: LoadBalancer, *, own: bool = False, timeout: float = WAIT_S
    ) -> Iterator[None]:
        """Change something on this load balancer: waits for the change under way, `timeout` seconds at the most.

        own: the load balancer itself is changed (Octavia words that refusal differently). Raises Conflict when the wait
        is over, and at once when it is in ERROR; a load balancer in ERROR can only be deleted or failed over.
        """
        if not balancer._lock.acquire(timeout=timeout):
            raise self._busy(balancer, own)
        try:
            yield
        finally:
            balancer._lock.release()

    def _busy(self, balancer: LoadBalancer, own: bool) -> Conflict:
        status = balancer.provisioning_status
        fault = (
            f"Invalid state {status} of loadbalancer resource {balancer.id}"
            if own
            else f"Load Balancer {balancer.id} is immutable and cannot be updated."
        )
        return Conflict(fault, fault=fault)

    def delete_load_balancer(self, balancer: LoadBalancer, *, cascade: bool = False) -> None:
        """Stop it and forget it."""
        balancer.delete(cascade=cascade)

    def failover(self, balancer: LoadBalancer) -> None:
        """Rebuild its listening sockets and member connections; no request is lost."""
