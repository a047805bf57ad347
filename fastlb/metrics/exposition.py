# SPDX-License-Identifier: Apache-2.0
"""What a PROMETHEUS listener forwards to: a pool in the core, known to no object of the model, whose one member is a
site of this process (endpoint.py).

So its clients are the core's, as those of any HTTP listener: allowed_cidrs, connection_limit, timeouts, limits of
requests, slow clients and statistics need nothing of their own.
"""

import uuid
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app

from fastlb import _core, schema
from fastlb.metrics.collector import Collector
from fastlb.metrics.endpoint import open_site
from fastlb.pool import _native_conf
from fastlb.schema import PoolSpec
from fastlb.types import Algorithm, Protocol, RetryOn

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer

SCRAPES_AT_ONCE = 8
"""Each has a thread, and its answer in memory, until its client has all of it; more wait in the core."""


class Exposition:
    """The metrics of one load balancer, from now to `close()`. Raises OSError when there is no descriptor or thread."""

    __slots__ = ("_members", "_site", "pool")

    def __init__(self, balancer: "LoadBalancer") -> None:
        registry = CollectorRegistry()
        registry.register(Collector(balancer))
        spec = schema.create(
            PoolSpec,
            {
                "protocol": Protocol.HTTP,
                "lb_algorithm": Algorithm.ROUND_ROBIN,
                "retry": {"retry_on": [RetryOn.CONNECT_FAILURE]},
            },
        )
        self._site = open_site(make_wsgi_app(registry))
        try:
            self.pool = _core.CorePool(
                balancer._core_in_use(), _core.ALGORITHMS[spec.lb_algorithm], spec.admin_state_up
            )
            self.pool.configure(_native_conf(spec))
            row = (self._site.address, 0, 1, False, True, None, None, uuid.uuid4().bytes, SCRAPES_AT_ONCE)
            self._members = self.pool.add_members([row])
        except BaseException:
            self._site.close()
            raise

    def close(self) -> None:
        """Take no more requests; those under way are answered."""
        self.pool.close()
        self._site.close()
