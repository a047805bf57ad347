# SPDX-License-Identifier: Apache-2.0
"""Signals that are waited for, instead of interrupting whatever runs."""

import contextlib
import signal
from collections.abc import Iterator

ENDS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def held_back(*signals: signal.Signals) -> Iterator[None]:
    """Threads that start in here never get these signals, and no Python code is interrupted by them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
