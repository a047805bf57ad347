# SPDX-License-Identifier: Apache-2.0
"""Addresses of load balancers on a network interface: put there, taken from there, also after a crash.

Each address that is added is remembered in the store first, as a row "address"; only those are ever removed. Needs
pyroute2 (`fastlb[server]`) and the capability CAP_NET_ADMIN.
"""

import errno
import importlib
import ipaddress
import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastlb.addresses import is_here
from fastlb.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from fastlb.store import Store

log = logging.getLogger("fastlb")

ROW = "address"
NO_DAD = 0x02
"""IFA_F_NODAD: an IPv6 address can be used at once; nobody else is asked whether it is theirs."""
REMEDIES = {errno.EPERM: " (adding addresses needs the capability CAP_NET_ADMIN)"}


class Interface:
    """One interface by its name. Calls may come from any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._ours: set[str] = set()
        """Addresses that we have added, or were about to add."""

    def open(self, store: "Store", wanted: Iterable[str]) -> None:
        """Remove what an earlier life added and nobody wants any more. Raises ConfigError when there is no such
        interface."""
        with self._lock:
            self._store = store
            self._index()
            wanted = set(wanted)
            for row in store.list(ROW):
                if row.document["interface"] == self.name and row.id in wanted:
                    self._ours.add(row.id)
                    # It may be gone with the machine's last life.
                    self._add(row.id)
                else:
                    self._remove(row.id, row.document["interface"])

    def hold(self, addresses: Iterable[str]) -> None:
        """Have these addresses here. One that this machine has anyhow is left alone.

        What goes wrong is logged, with the remedy: listeners are bound to the address nevertheless, and clients come
        as soon as it is here.
        """
        with self._lock:
            assert self._store is not None
            missing = [one for one in addresses if not is_here(one)]
            if not missing:
                return
            # Stored first: whatever a crash leaves behind is known to be ours.
            self._store.commit(
                [(ROW, one, {"interface": self.name, "prefixlen": _prefix(one)}) for one in missing]
            )
            self._ours.update(missing)
            for address in missing:
                self._add(address)

    def let_go(self, addresses: Iterable[str]) -> None:
        """Remove those of these addresses that were added here."""
        with self._lock:
            for address in addresses:
                if address in self._ours:
                    self._ours.discard(address)
                    self._remove(address, self.name)

    def close(self) -> None:
        """Remove all that were added."""
        self.let_go(list(self._ours))

    def _index(self) -> int:
        with _kernel() as kernel:
            found = kernel.link_lookup(ifname=self.name)
            if not found:
                names = sorted(link.get_attr("IFLA_IFNAME") for link in kernel.get_links())
                raise ConfigError(
                    "interface", self.name, f"must be a network interface; there are {', '.join(names)}"
                )
            return int(found[0])

    def _add(self, address: str) -> None:
        try:
            with _kernel() as kernel:
                flags = {"flags": NO_DAD} if ":" in address else {}
                kernel.addr("add", index=self._index(), address=address, prefixlen=_prefix(address), **flags)
        except Exception as error:
            if getattr(error, "code", None) == errno.EEXIST:
                return
            log.error("%s: could not be added to %s: %s%s", address, self.name, error, _remedy(error))
        else:
            log.info("%s: added to %s", address, self.name)

    def _remove(self, address: str, interface: str) -> None:
        assert self._store is not None
        try:
            with _kernel() as kernel:
                for index in kernel.link_lookup(ifname=interface):
                    kernel.addr("del", index=index, address=address, prefixlen=_prefix(address))
        except Exception as error:
            if getattr(error, "code", None) != errno.EADDRNOTAVAIL:
                # The row stays: the next start tries it again.
                log.error("%s: could not be removed from %s: %s%s", address, interface, error, _remedy(error))
                return
        else:
            log.info("%s: removed from %s", address, interface)
        try:
            self._store.commit([], [(ROW, address)])
        except StoreError as error:
            # As above. The change that gave it up is stored, and is not to fail.
            log.error("%s: that it was removed could not be stored: %s", address, error)


def _kernel() -> Any:
    return importlib.import_module("pyroute2").IPRoute()


def _prefix(address: str) -> int:
    return ipaddress.ip_address(address).max_prefixlen


def _remedy(error: Exception) -> str:
    return REMEDIES.get(getattr(error, "code", 0), "")
