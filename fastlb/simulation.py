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
    keys = None
    if clients is not None:
        keys = np.ascontiguousarray(clients, dtype=np.uint64)
        if keys.ndim != 1 or not keys.size:
            raise ConfigError("clients", clients, "must be a list of numbers, one a client")
    return _core.schedule(
        _core.ALGORITHMS[algorithm],
        list(shares),
        _picks("picks", picks, False),
        keys,
        _word("hold", hold, False),
        _word("seed", seed, False),
    )
