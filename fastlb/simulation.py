# SPDX-License-Identifier: Apache-2.0
"""Ask the scheduler itself, without sockets: which members would an algorithm pick?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastlb import _core
from fastlb.errors import ConfigError
from fastlb.schema import kinds
from fastlb.types import Algorithm

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_algorithm = kinds.choice(Algorithm)
_weights = kinds.each(kinds.integer(0, 256), "weights", at_least=1)
_picks = kinds.integer(0, 2**40)
_word = kinds.integer(0, 2**64 - 1)


def schedule(
    lb_algorithm: Algorithm | str,
    weights: Sequence[int],
    picks: int,
    *,
    clients: "ArrayLike | None" = None,
    hold: int = 0,
    seed: int = 0,
) -> "NDArray[np.uint32]":
    """The members that the native scheduler picks, as an array of indexes into `weights`.

    weights: one a member, 0..256; at least one above 0. picks: how many. clients: a number for the client of each
    pick (SOURCE_IP, SOURCE_IP_PORT and MAGLEV choose by it), used from the start again when there are fewer; None:
    each pick is another client. hold: how many later picks a session stays open for (LEAST_CONNECTIONS and its
    like see it); 0 closes it at once. seed: of what is drawn at random, so that a run can be repeated.

        >>> fastlb.schedule("ROUND_ROBIN", [1, 1, 2], 8)
    """
    import numpy as np

    algorithm = _algorithm("lb_algorithm", lb_algorithm, False)
    shares = _weights("weights", weights, False)
    if not any(shares):
        raise ConfigError("weights", list(shares), "must have one above 0 at least")
    count = _picks("picks", picks, False)
    keys = None
    if clients is not None:
        try:
            numbers = np.asarray(clients, dtype=np.uint64)
        except (TypeError, ValueError, OverflowError):
            numbers = np.empty(0, dtype=np.uint64)
        if numbers.ndim != 1 or not numbers.size:
            raise ConfigError("clients", clients, "must be a list of numbers 0..2**64-1, one a client")
        keys = np.resize(_hashes(numbers), count)
    return _core.schedule(
        _core.ALGORITHMS[algorithm],
        list(shares),
        count,
        keys,
        _word("hold", hold, False),
        _word("seed", seed, False),
    )


def _hashes(numbers: "NDArray[np.uint64]") -> "NDArray[np.uint64]":
    """What the core would hold of each client: well spread, however alike the numbers are (SplitMix64's last step)."""
    import numpy as np

    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
