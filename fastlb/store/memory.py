# SPDX-License-Identifier: Apache-2.0
"""A store that ends with its process: for tests, and for load balancers that nobody expects back."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NoReturn, Self

from fastlb.errors import StoreError
from fastlb.store import Commit, Drop, Put, Row, Rows, Store
from fastlb.store.announcer import Announcer
from fastlb.store.documents import decode, encode_changes


class MemoryStore(Store):
    """`fastlb.store.Store` in dictionaries. Documents are kept as JSON, so that what works here works in a file too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A dict keeps the place of a key that is written again: the order of creation.
        self._rows: dict[str, dict[str, tuple[bytes, int]]] = {}
        self._revision = 0
        self._announcer = Announcer()
        self._closing = False
        self._closed = False

    @property
    def revision(self) -> int:
        return self._revision

    def get(self, type: str, id: str) -> Row | None:  # noqa: A002 - the row's names
        with self._lock:
            if self._closed:
                self._refuse()
            kept = self._rows.get(type, {}).get(id)
        return kept and Row(type, id, decode(kept[0]), kept[1])

    def list(self, type: str) -> Rows:  # noqa: A002 - the row's name
        with self._lock:
            if self._closed:
                self._refuse()
            kept = [*self._rows.get(type, {}).items()]
        return [Row(type, id_, decode(text), revision) for id_, (text, revision) in kept]

    def commit(self, puts: Iterable[Put], drops: Iterable[Drop] = ()) -> int:
        written, gone = encode_changes(puts, drops)
        with self._lock:
            if self._closing:
                self._refuse()
            dropped = tuple(drop for drop in gone if drop[1] in self._rows.get(drop[0], ()))
            if not written and not dropped:
                return self._revision
            self._revision += 1
            for (type_, id_), text in written.items():
                self._rows.setdefault(type_, {})[id_] = (text, self._revision)
            for type_, id_ in dropped:
                del self._rows[type_][id_]
            self._announcer.publish(self._revision, written, dropped)
            return self._revision

    def watch(self, callback: Callable[[Commit], None]) -> Callable[[], None]:
        with self._lock:
            if self._closing:
                self._refuse()
            return self._announcer.add(callback, self._revision)

    def close(self) -> None:
        with self._lock:
            self._closing = True
        self._announcer.close()  # its callbacks may still read
        with self._lock:
            self._closed = True
            self._rows.clear()

    def _refuse(self) -> NoReturn:
        raise StoreError("the store in memory", "it is closed", "make another one")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MemoryStore revision={self._revision}{' closed' if self._closing else ''}>"
