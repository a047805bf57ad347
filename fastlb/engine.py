# SPDX-License-Identifier: Apache-2.0
"""Engine: the native threads that move the bytes, and the one Python thread that hears from them.

States: stopped (no thread, no descriptor) → running → stopped, as often as wanted. An engine that a load balancer
started stops with its last load balancer; one that was started by `start()` or `with` runs until it is stopped.
"""

import atexit
import os
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

from fastlb import _core
from fastlb.errors import ConfigError, CoreError, StateError
from fastlb.schema import kinds

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer
    from fastlb.member import Member

GRACE_S = 5.0
"""How long a stop waits for sessions under way, unless told otherwise."""
LOOK_S = 0.25
"""How often statuses without events of their own (a full listener) are looked at, while somebody watches."""
QUIET_S = 3600.0

_workers = kinds.integer(1, 128)
_cpu = kinds.integer(0, 65535)


class Engine:
    """A set of worker threads and a probe thread, shared by any number of load balancers.

    workers: how many threads forward traffic; None: as many as there are CPUs that this process may use, or as
    there are `cpus`. cpus: pin worker i to the i-th of these CPUs, around again when there are more workers; None:
    not pinned.

    Processes made by `fork` (also by multiprocessing's "fork") do not have the threads: there the engine and its load
    balancers raise StateError, and a new engine can be made.
    """

    def __init__(self, workers: int | None = None, *, cpus: Sequence[int] | None = None) -> None:
        available = os.sched_getaffinity(0)
        if cpus is not None:
            cpus = list(kinds.each(_cpu, "CPU numbers", at_least=1)("cpus", cpus, False))
            foreign = [cpu for cpu in cpus if cpu not in available]
            if foreign:
                allowed = f"must be among the CPUs this process may use: {sorted(available)}"
                raise ConfigError("cpus", foreign[0], allowed)
        self._workers = len(cpus or available) if workers is None else _workers("workers", workers, False)
        self._cpus = None if cpus is None else [cpus[worker % len(cpus)] for worker in range(self._workers)]
        self._lock = threading.RLock()
        self._core: _core.Core | None = None
        self._supervisor: threading.Thread | None = None
        self._stopping = False
        self._halted = threading.Condition(self._lock)
        self._explicit = False
        # Who keeps the threads while no load balancer is started.
        self._keepers: set[object] = set()
        self._forked = 0
        self._balancers: dict[LoadBalancer, None] = {}
        self._members: dict[int, Member] = {}
        self._marked: set[LoadBalancer] = set()

    @property
    def workers(self) -> int:
        """How many threads forward traffic."""
        return self._workers

    @property
    def running(self) -> bool:
        """Are the threads there?"""
        return self._core is not None and not self._forked

    @property
    def load_balancers(self) -> "tuple[LoadBalancer, ...]":
        """Those that are started on it."""
        return tuple(self._balancers)

    def start(self) -> Self:
        """Start the threads; they stay until `stop()`. Raises StateError when it runs already, CoreError on
        failure."""
        with self._lock:
            if self._explicit:
                self._check_fork()
                raise StateError("engine: is started already; stop() comes first")
            self._running_core()
            self._explicit = True
        return self

    def stop(self, grace: float = GRACE_S) -> None:
        """Stop every load balancer on it, waiting up to `grace` seconds for sessions under way, and join the threads.

        0 cuts everything at once. Stopping a stopped engine does nothing.
        """
        grace = kinds.seconds("grace", grace, False)
        if self._forked:
            return  # the parent's threads are the parent's business; `with` blocks end here too
        deadline = time.monotonic() + grace
        self._keepers.clear()
        self._explicit = True  # so that the last load balancer leaves the threads to us
        try:
            balancers = self.load_balancers
            for balancer in balancers:
                balancer._ports.close()
            for balancer in balancers:
                balancer.stop(max(0.0, deadline - time.monotonic()))
        finally:
            with self._lock:
                self._explicit = False
            self._halt()

    def counters(self) -> dict[str, int]:
        """The core's own figures (accept_emfile, events_dropped, …); empty while it is stopped."""
        core = self._core
        return {} if core is None or self._forked else core.counters()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        if self._forked:
            return f"<Engine workers={self._workers} left in process {self._forked} by fork>"
        state = "running" if self.running else "stopped"
        return f"<Engine {state} workers={self._workers} load_balancers={len(self._balancers)}>"

    # What load balancers ask of it.

    def _enter(self, balancer: "LoadBalancer") -> _core.Core:
        """A load balancer starts: the threads are there when this returns."""
        with self._lock:
            core = self._running_core()
            self._balancers[balancer] = None
            return core

    def _running_core(self) -> _core.Core:
        """Under the lock. Threads that are about to end (the last load balancer has just left) are waited for."""
        self._check_fork()
        while self._stopping:
            if threading.current_thread() is self._supervisor:
                raise StateError("engine: is stopping; a status callback cannot wait for that")
            self._halted.wait()
        if self._core is None:
            self._boot()
        assert self._core is not None
        return self._core

    def _keep(self, owner: object) -> None:
        """Have the threads now, and until `_let_go`, also while no load balancer is started."""
        with self._lock:
            self._running_core()
            self._keepers.add(owner)

    def _let_go(self, owner: object) -> None:
        with self._lock:
            self._keepers.discard(owner)
            if self._balancers or self._explicit:
                return
        self._halt()

    def _leave(self, balancer: "LoadBalancer") -> None:
        """A load balancer has stopped. Not to be called under its lock: the supervisor may be waiting for that."""
        with self._lock:
            self._balancers.pop(balancer, None)
            self._marked.discard(balancer)
            if self._balancers or self._explicit or self._keepers or self._core is None:
                return
        self._halt()

    def _know(self, core_id: int, member: "Member") -> None:
        self._members[core_id] = member

    def _forget(self, core_ids: Iterable[int]) -> None:
        for core_id in core_ids:
            self._members.pop(core_id, None)

    def _mark(self, balancer: "LoadBalancer") -> None:
        """Have the supervisor tell the watchers of this load balancer what changed."""
        core = self._core
        if core is not None and balancer not in self._marked:
            self._marked.add(balancer)
            core.wake()

    # Threads.

    def _check_fork(self) -> None:
        if self._forked:
            raise StateError(
                f"engine: belongs to process {self._forked}, and its threads did not come along with fork; "
                "make a new Engine here, or start the child with the 'spawn' method"
            )

    def _boot(self) -> None:
        _prepare_process()
        self._stopping = False
        try:
            self._core = _core.Core(self._workers, self._cpus)
            self._core.start()
            self._supervisor = threading.Thread(
                target=self._supervise, args=(self._core,), name="fastlb-supervisor", daemon=True
            )
            self._supervisor.start()
        except (OSError, RuntimeError) as error:
            if self._core is not None:
                self._core.stop(0.0)
            self._core = self._supervisor = None
            raise CoreError(f"engine: could not start {self._workers} workers: {error}") from error
        _engines.add(self)

    def _halt(self) -> None:
        with self._lock:
            core = self._core
            if core is None or self._balancers or self._explicit or self._keepers or self._stopping:
                return
            self._stopping = True
            supervisor = self._supervisor
        try:
            core.wake()
            # A status callback may stop the last load balancer: a thread cannot join itself.
            if supervisor is not None and supervisor is not threading.current_thread():
                supervisor.join()
                _await_end(supervisor.native_id)
            core.stop(0.0)
        finally:
            with self._lock:
                self._core = None
                self._supervisor = None
                self._stopping = False
                self._members.clear()
                self._marked.clear()
                _engines.discard(self)
                self._halted.notify_all()

    def _supervise(self, core: _core.Core) -> None:
        try:
            while not self._stopping and self._core is core:
                watched = any(balancer._watch.active for balancer in self.load_balancers)
                self._dispatch(core.wait_events(LOOK_S if watched else QUIET_S))
        finally:
            # A callback's exception, kept by a log, keeps this frame; the frame must not keep the core.
            del core

    def _dispatch(self, events: list[tuple[int, int, int, int]]) -> None:
        """Tell the load balancers that events or marks concern; after a quiet time, all."""
        touched: dict[LoadBalancer, list[tuple[Member, int]]] = {}
        for _kind, core_id, _value, at_ns in events:
            member = self._members.get(core_id)
            if member is not None:
                touched.setdefault(member._balancer, []).append((member, at_ns))
        for balancer, members in touched.items():
            balancer._heard(members)
            if balancer._journal is not None:
                balancer._journal.observe(member for member, _ in members)
        while self._marked:
            touched.setdefault(self._marked.pop(), [])
        for balancer in touched if events or touched else self.load_balancers:
            balancer._watch.deliver()


def _await_end(native_id: int | None) -> None:
    """`join` returns a moment before the kernel's thread has ended; after a stop none shall be left."""
    deadline = time.monotonic() + 1.0
    while native_id and os.path.exists(f"/proc/self/task/{native_id}") and time.monotonic() < deadline:
        time.sleep(0.0001)


def default_engine() -> Engine:
    """The engine of load balancers that name none; made at the first call, one a process."""
    global _default
    with _default_lock:
        if _default is None or _default._forked:
            _default = Engine()
        return _default


_default: Engine | None = None
_default_lock = threading.Lock()
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_prepared = False


def _prepare_process() -> None:
    """Once a process, when the first engine starts: what happens at exit and at fork."""
    global _prepared
    if not _prepared:
        _prepared = True
        atexit.register(_stop_all)
        os.register_at_fork(after_in_child=_abandon_all)


def _stop_all() -> None:
    """At exit: an engine that was forgotten must not run into the interpreter's end."""
    for engine in list(_engines):
        if not engine._forked:
            engine.stop(0)


def _abandon_all() -> None:
    """In a forked child: the threads are not here, and locks may be held by ones that are not."""
    global _default_lock
    _default_lock = threading.Lock()
    parent = os.getppid()
    left: list[object] = []
    for engine in list(_engines):
        engine._forked = parent
        engine._lock = threading.RLock()
        engine._halted = threading.Condition(engine._lock)
        engine._keepers.clear()
        if engine._core is not None:
            engine._core.abandon()
        left.append(engine._core)
        for balancer in engine._balancers:
            left += balancer._abandon(parent)
        engine._core = engine._supervisor = None
        engine._members.clear()
    _engines.clear()
    if left:
        import ctypes

        # To free them is to ask the workers, which would never answer: keep them until the process ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))
