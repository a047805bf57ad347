# SPDX-License-Identifier: Apache-2.0
"""Load balancers as a collector of prometheus_client."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client.core import Metric, Sample

from fastlb.balancer import LoadBalancer
from fastlb.errors import ConfigError
from fastlb.metrics.families import LISTENER, LOAD_BALANCER, MEMBER, POOL, Family
from fastlb.metrics.reading import Labels, read

if TYPE_CHECKING:
    Rows = Iterable[tuple[Labels, Any]]


class Collector:
    """Octavia's metrics of load balancers, for a registry of prometheus_client:

        registry.register(fastlb.metrics.Collector(lb))

    Names, types and labels are those of an Octavia PROMETHEUS listener. With several load balancers in one collector
    the octavia_loadbalancer_… metrics have a label that Octavia's do not have, `loadbalancer`: its id.

    Counters belong to the objects and go on through changes, `stop()` and `start()`. There is nothing about objects
    that are switched off or that no listener uses, and about a load balancer that is not started only its sums. A pool
    that several listeners use counts all its clients together; each of its `<pool>:<listener>` series shows the sum.

    What nothing is counted for yet is left out, so that nobody takes a 0 for a measurement; `MISSING` has the names:
    rates (…_rate, limits excepted), maxima and means (max_sessions, a pool's max_queue, max_…_seconds,
    …_average_seconds, last_session_seconds), the history of checks (check_…, downtime_seconds_total),
    redispatch_warnings_total, loadbalanced_total, idle_connections_limit, a pool's limit_sessions, dropped_logs_total
    and octavia_memory_pool_….

    Raises ConfigError for what is no load balancer.
    """

    def __init__(self, *load_balancers: LoadBalancer) -> None:
        for balancer in load_balancers:
            if not isinstance(balancer, LoadBalancer):
                raise ConfigError("load_balancers", balancer, "must be fastlb.LoadBalancer objects")
        self._balancers = load_balancers

    def describe(self) -> Iterator[Metric]:
        """What it may have, without a value; asked when it is registered."""
        for families in (LOAD_BALANCER, LISTENER, POOL, MEMBER):
            for family in families:
                yield _metric(family, ())

    def collect(self) -> Iterator[Metric]:
        """What it has now. Any thread may ask."""
        several = len(self._balancers) > 1
        balancers: list[tuple[Labels, Any]] = []
        listeners: list[tuple[Labels, Any]] = []
        pools: list[tuple[Labels, Any]] = []
        members: list[tuple[Labels, Any]] = []
        for balancer in self._balancers:
            reading = read(balancer)
            if reading is not None:
                balancers.append(({"loadbalancer": balancer.id} if several else {}, reading.load_balancer))
                listeners += reading.listeners
                pools += reading.pools
                members += reading.members
        for families, rows in (
            (LOAD_BALANCER, balancers),
            (LISTENER, listeners),
            (POOL, pools),
            (MEMBER, members),
        ):
            for family in families:
                metric = _metric(family, rows)
                if metric.samples:
                    yield metric


def _metric(family: Family, rows: "Rows") -> Metric:
    name, value_of, label, http = family.name, family.value, family.label, family.http
    metric = Metric(name.removesuffix("_total"), family.about, "counter" if family.counter else "gauge")
    samples = metric.samples
    for labels, facts in rows:
        if http and not facts.http:
            continue
        value = value_of(facts)
        if value is None:
            continue
        if isinstance(value, dict):
            samples += [Sample(name, labels | {label: key}, number) for key, number in value.items()]
        else:
            samples.append(Sample(name, labels, value))
    return metric
