# SPDX-License-Identifier: Apache-2.0
"""A change of the network that a load balancer's own change takes along: decided now, in force when that is stored."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from fastlb.network.records import NetworkRecord
from fastlb.network.state import State
from fastlb.schema import LoadBalancerSpec


class Change:
    """Rows for the caller's commit. `with change:` around that commit: afterwards the change is in force; if the block
    raises it never was, and what was reserved for it is free.

    spec: that of the load balancer, completed with its addresses. puts, drops: the rows, as `Store.commit` takes them.
    """

    _ended = True  # until it is made
    in_force = False

    def __init__(
        self,
        state: State | None = None,
        *,
        puts: Iterable[NetworkRecord] = (),
        drops: Iterable[NetworkRecord] = (),
        spec: LoadBalancerSpec | None = None,
        reserved: Iterable[tuple[str, str]] = (),
        first: Callable[[], None] | None = None,
    ) -> None:
        """reserved: subnet and address of what was taken for it. first: called when the rows are stored, before
        anybody else can have what they give up."""
        self._state = state
        self._puts = tuple(puts)
        self._drops = tuple(drops)
        self._reserved = tuple(reserved)
        self._first = first
        self._spec = spec
        self._ids = {one.id for one in (*self._puts, *self._drops)}
        self._ended = False
        if state is not None:
            state.busy |= self._ids

    @property
    def spec(self) -> LoadBalancerSpec:
        assert self._spec is not None
        return self._spec

    @property
    def puts(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [one.put() for one in self._puts]

    @property
    def drops(self) -> list[tuple[str, str]]:
        return [one.drop() for one in self._drops]

    def done(self) -> None:
        """The rows are stored. Does nothing after another `done`."""
        if self._ended:
            return
        self.in_force = True
        try:
            if self._first is not None:
                self._first()
        finally:
            self._enforce()

    def undo(self) -> None:
        """They will not be. Does nothing after `done` or another `undo`, but for what a Ctrl-C kept `done` from."""
        if self.in_force:
            self._enforce()
        else:
            self._end([(self._reserved, lambda state, reserved: state.give_back(*reserved))])

    def __del__(self) -> None:
        # One that a Ctrl-C has lost, between its making and its `with`.
        if not self._ended:
            self.undo()

    def _enforce(self) -> None:
        self._end([(self._puts, State.put), (self._drops, State.drop)])

    def _end(self, steps: Iterable[tuple[Iterable[Any], Callable[[State, Any], None]]]) -> None:
        if self._state is None or self._ended:
            return
        with self._state.changed:
            self._ended = True
            steps = list(steps)
            try:
                self._take_steps(self._state, steps)
            except BaseException:
                # A Ctrl-C. To take a step again does no harm.
                self._take_steps(self._state, steps)
                raise
            finally:
                self._state.busy -= self._ids
                self._state.changed.notify_all()

    @staticmethod
    def _take_steps(
        state: State, steps: Iterable[tuple[Iterable[Any], Callable[[State, Any], None]]]
    ) -> None:
        for subjects, step in steps:
            for one in subjects:
                step(state, one)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.done()
        else:
            self.undo()
