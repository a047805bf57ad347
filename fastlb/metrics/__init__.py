# SPDX-License-Identifier: Apache-2.0
"""Metrics for Prometheus: a load balancer as a collector of prometheus_client, and what a PROMETHEUS listener answers.

families.py     which metrics there are, and how each follows from facts
reading.py      the facts of one load balancer, read under traffic
collector.py    both together, as a collector
endpoint.py     where the core gets an exposition: sockets of this process that only this process may use
exposition.py   what one PROMETHEUS listener forwards to
"""

from fastlb.metrics.collector import Collector
from fastlb.metrics.families import MISSING

__all__ = ["MISSING", "Collector"]
