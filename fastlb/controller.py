# SPDX-License-Identifier: Apache-2.0
"""Controller: all the load balancers of a node, kept in a store. What the REST API and `fastlb.connect()` work on."""

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from fastlb import records
from fastlb.addresses import is_here
from fastlb.backlog import Backlog
from fastlb.balancer import LoadBalancer, State
from fastlb.engine import GRACE_S, Engine, default_engine
from fastlb.errors import BindError, Conflict, NotFound, StateError, StoreError
from fastlb.member import Member
from fastlb.monitor import HealthMonitor
from fastlb.network import Change as NetworkChange
from fastlb.network import Networking
from fastlb.quota import LABELS, Quotas
from fastlb.resource import Resource, find
from fastlb.types import ProvisioningStatus

if TYPE_CHECKING:
    from fastlb.store import Drop, Put, Row, Store

WAIT_S = 10.0
"""Seconds that a change waits for the one before it on the same load balancer."""

DEFAULT_PROJECT_ID = "fa571b00000000000000000000000001"
"""Whose objects they are when nobody says: without tokens, clients name no project."""

NOT_HERE = (
    "load balancer %s: %s is not an address of this machine; it is bound, and served as soon as it is here"
)

HEALTH = "health"
"""The type of the rows that name members which are down."""

log = logging.getLogger("fastlb")


class Controller:
    """The load balancers of a node. `open()` (or `with`) makes all that the store has, and forwards; `close()` stops.

    The objects are those of the library; whoever changes them, a caller of the REST API or this program, the store has
    the change when the call returns. Calls may come from any thread.

    store: where they are kept; owns_store: `close()` closes it too. engine: the threads that do the work; None: the
    default engine. networking: where their addresses come from; None: a subnet in 127.0.0.0/8. quotas: how many objects
    of each kind a project may have, unless it has limits of its own; whoever makes objects asks `quotas` first, the
    library itself does not.
    """

    def __init__(
        self,
        store: "Store",
        *,
        engine: Engine | None = None,
        owns_store: bool = False,
        networking: Networking | None = None,
        quotas: Mapping[str, int] | None = None,
    ) -> None:
        self.store = store
        self.networking = networking or Networking()
        self.quotas = Quotas(store, quotas)
        self._owns_store = owns_store
        self._engine = engine
        # One opens or closes at a time.
        self._life = threading.RLock()
        self._lock = threading.RLock()
        self._index: dict[str, dict[str, Resource[Any]]] = {kind: {} for kind in LABELS}
        # Members whose probes fail, as the store has it.
        self._down: set[str] = set()
        # Deleted ones whose sessions are not over yet.
        self._ending: dict[threading.Thread, LoadBalancer] = {}
        self._backlog = Backlog()
        # What the network does together with the making of a load balancer, until that is stored.
        self._plans: dict[str, NetworkChange] = {}
        # How many have opened it: the last one to close it stops all.
        self._users = 0
        self._kept: Engine | None = None

    # Life.

    @property
    def is_open(self) -> bool:
        """Is it between `open()` and `close()`?"""
        return self._users > 0

    def open(self) -> Self:
        """Make everything that is stored, and forward.

        What cannot be started (its port is taken) is in ERROR, with the reason in the log; the others serve. It may be
        opened several times, and is then closed with the last `close()`.
        """
        with self._life:
            if self._join():
                return self
            self._users = 1
            try:
                self._open()
            except BaseException:
                self._users = 0
                self._close(0)
                raise
            return self

    def _join(self) -> bool:
        """One more who has it open, if anybody has. Waits for who is opening or closing it."""
        with self._life:
            if not self._users:
                return False
            self._users += 1
            return True

    def _open(self) -> None:
        _opened.add(self)
        self._backlog = Backlog()
        self.networking.open(self.store, self._find)
        # Load balancers come and go: the threads need not, each time that there is none.
        self._kept = self._engine or default_engine()
        self._kept._keep(self)
        rows = [row for kind in records.KINDS for row in self.store.list(kind)]
        trees, lost = records.trees(rows)
        self._down = self._known_down(rows)
        for row in lost:
            log.error("%s %s is stored and belongs to nothing that is: left alone", row.type, row.id)
        for tree in trees:
            try:
                balancer = records.restore(tree, self._engine)
            except Exception as error:
                # Of rows that nobody of ours has written; the others are not to suffer.
                log.error(
                    "load balancer %s cannot be made of its rows, and is left alone: %s: %s",
                    tree.row.id,
                    type(error).__name__,
                    error,
                )
                continue
            for member in (member for pool in balancer.pools for member in pool.members):
                member._known_down = member.id in self._down
            self._take(balancer)
            self.networking.attach(balancer)
            self._start(balancer)
            self._note_failures(balancer)
        # One load balancer after the other they came; they are listed as they were created.
        with self._lock:
            for kind, objects in self._index.items():
                known = [row.id for row in rows if row.type == kind and row.id in objects]
                self._index[kind] = {resource_id: objects[resource_id] for resource_id in known} | objects

    def close(self, drain_timeout: float | None = None) -> None:
        """Stop all load balancers, which stay stored; sessions under way have as long as each gives them.

        drain_timeout: seconds for all of them instead; 0 waits for none.
        """
        if not self._users:
            # Also in a status callback, which whoever closes it waits for.
            return
        with self._life:
            self._users = max(0, self._users - 1)
            if not self._users:
                self._close(drain_timeout)

    def _close(self, drain_timeout: float | None) -> None:
        began = time.monotonic()
        balancers = [*self.load_balancers]
        if self._kept is not None:
            # Those that a Ctrl-C has left between their deletion and their end.
            mine = [one for one in self._kept.load_balancers if one._journal is self and one._deleted]
            balancers += [one for one in mine if one not in self._ending.values()]
        for balancer in balancers:
            balancer._ports.close()
        for balancer in balancers:
            balancer.stop(_time_left(balancer, began, drain_timeout))
            # Nobody changes it from here on: the store may be another controller's.
            balancer.close()
        with self._lock:
            ending = list(self._ending.items())
        for thread, balancer in ending:
            thread.join(_time_left(balancer, began, drain_timeout))
            with balancer._lock:
                balancer._ports.cut()
            # Not for ever: a Ctrl-C just as its lock was taken has left that taken.
            thread.join(GRACE_S)
        self._backlog.close()
        if self._kept is not None:
            self._kept._let_go(self)
        self.networking.close()
        with self._lock:
            for table in self._index.values():
                table.clear()
            self.quotas.forget()
        _opened.discard(self)
        if self._owns_store:
            self.store.close()

    def _abandon(self, parent: int) -> None:
        """In a forked child: all is the parent's, and a lock may be held by a thread that is not here."""
        self._users = 0
        self._life, self._lock = threading.RLock(), threading.RLock()
        self._backlog = Backlog()
        self._ending.clear()
        for balancer in self.load_balancers:
            # Those that are started are its engine's to abandon.
            if balancer.engine is None or balancer not in balancer.engine._balancers:
                balancer._abandon(parent)

    def __enter__(self) -> Self:
        return self if self._users else self.open()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # What is there.

    @property
    def load_balancers(self) -> tuple[LoadBalancer, ...]:
        """All, in the order of creation."""
        return tuple(self.all("loadbalancer"))

    def find_load_balancer(self, key: str) -> LoadBalancer:
        """The load balancer with this id or name. Raises NotFound, or Conflict when several have that name."""
        return find("load balancer", "this node", self.load_balancers, key)

    def all(self, kind: str) -> list[Any]:
        """All objects of a kind ("loadbalancer", "listener", …), in the order of creation."""
        with self._lock:
            return list(self._index[kind].values())

    def get(self, kind: str, resource_id: str) -> Any:
        """The object of that kind with that id. Raises NotFound in Octavia's words."""
        found = self._index[kind].get(resource_id)
        if found is None:
            raise self._missing(kind, resource_id)
        return found

    def count(self, kind: str, project_id: str) -> int:
        """How many objects of a kind a project has."""
        return self.quotas.count(kind, project_id)

    def _known_down(self, rows: "list[Row]") -> set[str]:
        """Members that were down; what the store has of others, which are gone, is forgotten."""
        stored = {row.id for row in self.store.list(HEALTH)}
        known = stored.intersection(row.id for row in rows if row.type == "member")
        with contextlib.suppress(StoreError):
            self.store.commit([], [(HEALTH, member_id) for member_id in stored - known])
        return known

    def _missing(self, kind: str, resource_id: str) -> NotFound:
        fault = f"{LABELS[kind]} {resource_id} not found."
        return NotFound(fault, fault=fault)

    # Changes.

    def add(self, balancer: LoadBalancer) -> LoadBalancer:
        """Keep a load balancer that is only described so far, and start it.

        Raises StateError when it is started, or somebody's already; NotSupported for what this version does not
        forward; StoreError.
        """
        with balancer._lock:
            balancer._check_usable()
            if balancer._state is State.STARTED or balancer._journal is not None:
                raise StateError(f"{balancer._who()}: is started, or kept already")
            self._store_new(balancer)
        self._serve(balancer)
        return balancer

    def create_load_balancer(
        self, document: Mapping[str, Any], *, project_id: str, coerce: bool = True
    ) -> LoadBalancer:
        """Keep and start what a fully-populated document describes.

        Raises ConfigError and its like, with the place in the document, NotSupported for what this version does not
        forward; then nothing is there.
        """
        body = {**document, "project_id": project_id}
        balancer = LoadBalancer.from_dict({"loadbalancer": body}, engine=self._engine, coerce=coerce)
        members = [member for pool in balancer.pools for member in pool.members]
        self.networking.check_subnets(member.subnet_id for member in members)
        return self.add(balancer)

    def _store_new(self, balancer: LoadBalancer) -> None:
        """Give it addresses and keep it, or nothing at all."""
        if not self._users:
            raise StateError("the controller is not open")
        described, engine = balancer._spec, balancer._engine
        spec = replace(described, project_id=described.project_id or DEFAULT_PROJECT_ID)
        plan = self.networking.plan(spec, project_id=spec.project_id, balancer_id=balancer.id)
        try:
            balancer._spec = plan.spec
            # As the same objects are refused one by one on a load balancer that runs.
            balancer._check_startable()
            balancer._engine = engine or self._engine
            balancer._journal = self
            self._plans[balancer.id] = plan
            with balancer._change():
                for one in balancer._everything():
                    one._unsaved()
        except BaseException as error:
            if isinstance(error, Exception) or self.store.get(balancer.KIND, balancer.id) is None:
                plan.undo()
            else:
                plan.done()
            if not plan.in_force:
                balancer._spec, balancer._engine, balancer._journal = described, engine, None
                balancer._unsaved_ones.clear()
            else:
                # A Ctrl-C, when it was stored already.
                self._serve(balancer)
            raise
        finally:
            self._plans.pop(balancer.id, None)

    def _serve(self, balancer: LoadBalancer) -> None:
        """It is new, and stored: serve."""
        self._take(balancer)
        try:
            self.networking.attach(balancer)
        finally:
            # Also on Ctrl-C.
            self._start(balancer)

    @contextlib.contextmanager
    def writing(
        self, balancer: LoadBalancer, *, own: bool = False, in_error: bool = False, timeout: float = WAIT_S
    ) -> Iterator[None]:
        """Change this load balancer, or something on it; all that is changed within is stored as one.

        Waits for a change that is under way, `timeout` seconds at the most. own: the load balancer itself is changed
        (Octavia words that refusal differently). in_error: also when it is in ERROR, where only a failover and
        a delete are let through. Raises Conflict, NotFound when it has been deleted meanwhile, StoreError.
        """
        if not balancer._lock.acquire(timeout=timeout):
            raise self._immutable(balancer, own, ProvisioningStatus.PENDING_UPDATE)
        try:
            if balancer._deleted:
                raise self._missing("loadbalancer", balancer.id)
            if balancer.provisioning_status is ProvisioningStatus.ERROR and not in_error:
                raise self._immutable(balancer, own, ProvisioningStatus.ERROR)
            with balancer._change():
                yield
        finally:
            balancer._lock.release()

    def _immutable(self, balancer: LoadBalancer, own: bool, status: ProvisioningStatus) -> Conflict:
        fault = (
            f"Invalid state {status} of loadbalancer resource {balancer.id}"
            if own
            else f"Load Balancer {balancer.id} is immutable and cannot be updated."
        )
        return Conflict(fault, fault=fault)

    def delete_load_balancer(self, balancer: LoadBalancer, *, cascade: bool = False) -> None:
        """Forget it and close its ports; sessions under way have its drain_timeout, and nobody waits for them.

        Raises ConfigError when it has children and cascade is not given.
        """
        ours = False
        try:
            with self.writing(balancer, own=True, in_error=True):
                ours = True
                balancer._delete(cascade)
        finally:
            # Also on Ctrl-C.
            if ours and balancer._deleted:
                self._end_later(balancer)

    def _end_later(self, balancer: LoadBalancer) -> None:
        thread = threading.Thread(target=self._end, args=(balancer,), name="fastlb-delete", daemon=True)
        try:
            with self._lock:
                thread.start()
                self._ending[thread] = balancer
        except RuntimeError:
            # No thread can be had: then the caller waits.
            self._end(balancer)

    def _end(self, balancer: LoadBalancer) -> None:
        try:
            balancer.close()
        except Exception:
            log.exception("load balancer %s could not be stopped", balancer.id)
        finally:
            with self._lock:
                self._ending.pop(threading.current_thread(), None)

    def failover(self, balancer: LoadBalancer) -> None:
        """Rebuild its listening sockets and member connections; no request is lost. Also tries again what failed.

        What cannot be rebuilt goes on as it is, the load balancer is in ERROR, and the reason in the log.
        Raises Conflict while another change holds it for too long; StateError when the controller is closed.
        """
        failure = ""
        with self.writing(balancer, own=True, in_error=True):
            balancer._check_usable()
            started = balancer.started
        # Without the lock: the one waits for handshakes, and takes it for moments; the other may wait for the engine.
        try:
            if started:
                balancer._failover()
            else:
                self._start(balancer)
        except BindError as error:
            failure = str(error)
            log.error("load balancer %s cannot be rebuilt: %s", balancer.id, error)
        except StateError:
            if balancer._deleted:
                raise self._missing("loadbalancer", balancer.id) from None
            raise self._immutable(balancer, True, ProvisioningStatus.PENDING_UPDATE) from None
        self.networking.attach(balancer)
        with balancer._lock:
            self._note_failures(balancer)
            balancer._error = balancer._error or failure

    # The data plane.

    def _take(self, balancer: LoadBalancer) -> None:
        balancer._journal = self
        balancer._tolerant = True
        balancer._freebind = True
        with self._lock:
            for one in balancer._everything():
                self._know(one)

    def _start(self, balancer: LoadBalancer) -> None:
        if not self._users:
            # Closed meanwhile: the next `open()` starts it.
            balancer.close()
            return
        try:
            balancer.start()
        except Exception as error:
            # It stays, in ERROR: a failover tries again, a delete removes it. Or somebody else was faster.
            if not balancer._deleted and not balancer.started:
                log.error("load balancer %s cannot be started: %s", balancer.id, error)
        if not self._users:
            balancer.stop(0)
            balancer.close()
        elif balancer.started:
            for address in balancer.vips:
                if not is_here(address):
                    log.warning(NOT_HERE, balancer.id, address)

    def _note_failures(self, balancer: LoadBalancer) -> None:
        """A flow of the load balancer itself has ended: listeners that could not be opened in it are its failure."""
        balancer._error = "; ".join(one._failure for one in balancer.listeners if one._failed)

    # The journal.

    def record(self, balancer: LoadBalancer, changed: Iterable[Resource[Any]]) -> None:
        """What the model tells us of a change: the store gets it as one commit."""
        kept = balancer.id in self._index[balancer.KIND]
        objects = list(changed)
        interrupt: BaseException | None = None
        try:
            order = {kind: at for at, kind in enumerate(records.KINDS)}
            objects.sort(key=lambda one: order[one.KIND])
            unknown = self._of_unknown_health(objects)
            with self._network_change(balancer) as change:
                puts = [*change.puts, *(records.record(one) for one in objects if not one._deleted)]
                drops = [(one.KIND, one.id) for one in objects if one._deleted]
                drops += [*((HEALTH, one_id) for one_id in unknown), *change.drops]
                interrupt = self._commit(balancer, puts, drops)
            self._down -= unknown
            self._follow(objects)
        except BaseException as error:
            # One that could not be made was never there, and one that could not be deleted still is; other changes
            # are in force.
            if kept and not (balancer._deleted and isinstance(error, Exception)):
                self._follow(objects)
                self._backlog.add(balancer)
            raise
        if interrupt is not None:
            self._backlog.add(balancer)
            raise interrupt

    def _commit(
        self, balancer: LoadBalancer, puts: "Iterable[Put]", drops: "Iterable[Drop]"
    ) -> BaseException | None:
        """Answers a Ctrl-C that came when the load balancer was made or deleted in the store already."""
        try:
            self.store.commit(puts, drops)
        except Exception:
            raise
        except BaseException as interrupt:
            if (self.store.get(balancer.KIND, balancer.id) is None) is not balancer._deleted:
                raise
            return interrupt
        return None

    def _follow(self, objects: Iterable[Resource[Any]]) -> None:
        """Have the index as the model is."""
        with self._lock:
            for one in objects:
                if one._deleted:
                    self._forget(one)
                else:
                    self._know(one)

    def _network_change(self, balancer: LoadBalancer) -> NetworkChange:
        """What the network does together with this change of a load balancer: something when it is new or deleted."""
        if balancer._deleted:
            return self.networking.release(balancer.id)
        return self._plans.pop(balancer.id, None) or NetworkChange()

    def _find(self, balancer_id: str) -> LoadBalancer | None:
        found = self._index["loadbalancer"].get(balancer_id)
        return found if isinstance(found, LoadBalancer) else None

    def _of_unknown_health(self, objects: Iterable[Resource[Any]]) -> set[str]:
        """Members that were down and are so no more: they are gone, or their monitor is new or gone."""
        if not self._down:
            return set()
        found = set()
        for one in objects:
            if isinstance(one, Member) and one._deleted:
                found.add(one.id)
            elif isinstance(one, HealthMonitor) and (one._deleted or one.id not in self._index[one.KIND]):
                found |= {member.id for member in one.pool.members}
        return found & self._down

    def observe(self, members: Iterable[Member]) -> None:
        """What the engine tells us of members' health: those that are down are kept too, so that after a restart
        nobody is sent to them before their first probe."""
        down: dict[str, Member] = {}
        up: set[str] = set()
        for member in members:
            core = member._core
            if core is None or not self._has_health(member):
                continue
            if core.up:
                up.add(member.id)
            else:
                down[member.id] = member
            if core.up == (member.id in self._down):
                level, word = (logging.INFO, "up again") if core.up else (logging.WARNING, "down")
                log.log(level, "%s of %s is %s", member._who(), member.pool._who(), word)
        try:
            self._store_health(down.keys(), up)
            # A change that took their monitor or themselves meanwhile has not seen them among those that are down.
            self._store_health((), {member.id for member in down.values() if not self._has_health(member)})
        except StoreError as error:
            log.error("the health of members could not be stored: %s", error)

    @staticmethod
    def _has_health(member: Member) -> bool:
        return not member._deleted and member.pool._monitored()

    def _store_health(self, down: Collection[str], up: Collection[str]) -> None:
        down, up = set(down) - self._down, self._down.intersection(up)
        if down or up:
            self.store.commit(
                [(HEALTH, member_id, {"up": False}) for member_id in down],
                [(HEALTH, member_id) for member_id in up],
            )
            with self._lock:
                self._down |= down
                self._down -= up

    def _know(self, one: Resource[Any]) -> None:
        if one.id not in self._index[one.KIND]:
            self._index[one.KIND][one.id] = one
            self.quotas.made(one.KIND, one.project_id)

    def _forget(self, one: Resource[Any]) -> None:
        if self._index[one.KIND].pop(one.id, None) is not None:
            self.quotas.gone(one.KIND, one.project_id)


def _time_left(balancer: LoadBalancer, began: float, drain_timeout: float | None) -> float:
    wait_s = balancer.drain_timeout if drain_timeout is None else drain_timeout
    return max(0.0, began + wait_s - time.monotonic())


_opened: "weakref.WeakSet[Controller]" = weakref.WeakSet()


def _abandon_all() -> None:
    for controller in list(_opened):
        controller._abandon(os.getppid())
    _opened.clear()


os.register_at_fork(after_in_child=_abandon_all)
