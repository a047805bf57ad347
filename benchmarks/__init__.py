# SPDX-License-Identifier: Apache-2.0
"""Measurements: `compare` against other load balancers, and `bench_*` for the parts. Start with README.md."""
