# SPDX-License-Identifier: Apache-2.0
"""The folder that holds a store's files: made for its owner alone, and held by one process at a time."""

import errno
import fcntl
import os
from pathlib import Path

from fastlb.errors import StoreError

REMEDIES = {
    errno.EACCES: "give the user of this process the right to write there, or name another directory",
    errno.EROFS: "name a directory on a file system that can be written",
    errno.ENOSPC: "make room on that file system",
    errno.EDQUOT: "make room, or raise the quota",
    errno.ENOTDIR: "name a directory",
    errno.EEXIST: "name a directory",
    errno.EMFILE: "the process may open no more descriptors; raise `ulimit -n`",
}
REMEDIES[errno.EPERM] = REMEDIES[errno.EACCES]


def system_error(path: "str | os.PathLike[str]", doing: str, error: OSError) -> StoreError:
    """What the system refused, as a store says it. doing: "cannot be made"."""
    reason = error.strerror or str(error)
    remedy = REMEDIES.get(error.errno or 0, "see what the system's log says about that file system")
    return StoreError(os.fspath(path), f"{doing}: {reason}", remedy)


def sync_directory(path: Path) -> None:
    """Make what was created, renamed or removed in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class StateDirectory:
    """A directory under the exclusive lock of this process, from the constructor to `release()` or the process's end.

    The lock is flock(2) on the file `fastlb.lock`, in which stands the id of the process that has it. That file stays:
    whoever removed it could remove another's lock.
    """

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        # Absolute: files in it are opened later too, when a daemon may have changed its working directory.
        self.path = Path(os.path.abspath(path))
        self._make()
        self._descriptor = self._lock()

    def _make(self) -> None:
        try:
            if not self.path.is_dir():
                self.path.mkdir(mode=0o700, parents=True)
                sync_directory(self.path.parent)
        except OSError as error:
            raise system_error(self.path, "the directory cannot be made", error) from None

    def _lock(self) -> int:
        file = self.path / "fastlb.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(file, flags, 0o600)
        except OSError as error:
            raise system_error(file, "the lock file cannot be opened", error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            raise StoreError(str(self.path / "fastlb.db"), *self._held_by(descriptor)) from None
        except OSError as error:
            os.close(descriptor)
            raise system_error(file, "the lock cannot be taken", error) from None
        return descriptor

    @staticmethod
    def _held_by(descriptor: int) -> tuple[str, str]:
        """The problem and its remedy. Closes the descriptor."""
        try:
            text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        finally:
            os.close(descriptor)
        if text == str(os.getpid()):
            return f"this process ({text}) has it open already", "use that store, or close it first"
        who = f"process {text}" if text.isdigit() else "another process"
        return f"{who} has it open", f"end {who} first, or name another directory"

    def release(self) -> None:
        """Let others have it. May be called twice, and is what a forked child calls: the parent keeps its lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):  # else the constructor raised
            self.release()
