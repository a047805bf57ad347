# SPDX-License-Identifier: Apache-2.0
"""Backlog: load balancers whose last change is in force and could not be stored, until the store works again."""

import logging
import threading
from typing import TYPE_CHECKING

from fastlb.errors import StoreError

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer

RETRY_S = 1.0
"""Between two tries."""

log = logging.getLogger("fastlb")


class Backlog:
    """Each is tried again every RETRY_S seconds, by a thread that lives as long as there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._balancers: dict[LoadBalancer, None] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, balancer: "LoadBalancer") -> None:
        """Its journal has failed. May be called under its lock; twice is fine."""
        with self._changed:
            self._balancers[balancer] = None
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="fastlb-backlog", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Try for the last time. What is not stored then is lost with this process, and the log has it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._try_all()
        for balancer in self._balancers:
            log.error("%s: its last change could not be stored", balancer._who())
        self._balancers.clear()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed, RETRY_S)
                if self._closed or not self._balancers:
                    # Under the lock: whoever adds after this starts another thread.
                    self._thread = None
                    return
            self._try_all()

    def _try_all(self) -> None:
        for balancer in list(self._balancers):
            # Not for long: one that is being changed is stored at the end of that.
            if not balancer._lock.acquire(timeout=RETRY_S):
                continue
            try:
                if not balancer._changes_open:
                    # A change of nothing, with the journal at its end.
                    with balancer._change():
                        pass
                    self._balancers.pop(balancer, None)
            except StoreError:
                pass
            except Exception:
                log.exception("%s: its last change could not be stored", balancer._who())
            finally:
                balancer._lock.release()
