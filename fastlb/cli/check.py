# SPDX-License-Identifier: Apache-2.0
"""Read configuration files and say what is in them, or what is wrong; exit status 1 if any is wrong."""

import argparse
import sys

from fastlb import ConfigFileError, LoadBalancer, config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON, or TOML or YAML by its suffix")


def run(options: argparse.Namespace) -> int:
    status = 0
    for file in options.files:
        try:
            balancers = config.load(file)
            config.check_startable(file, balancers)
        except ConfigFileError as error:
            print(error, file=sys.stderr, flush=True)
            status = 1
        else:
            print(f"{file}: ok, {summary(balancers)}", flush=True)
    return status


def summary(balancers: list[LoadBalancer]) -> str:
    listeners = [listener for balancer in balancers for listener in balancer.listeners]
    pools = [pool for balancer in balancers for pool in balancer.pools]
    policies = [policy for listener in listeners for policy in listener.l7policies]
    counts = [
        (len(balancers), "load balancer", "load balancers"),
        (len(listeners), "listener", "listeners"),
        (len(policies), "L7 policy", "L7 policies"),
        (sum(len(policy.rules) for policy in policies), "L7 rule", "L7 rules"),
        (len(pools), "pool", "pools"),
        (sum(len(pool.members) for pool in pools), "member", "members"),
        (sum(pool.health_monitor is not None for pool in pools), "health monitor", "health monitors"),
    ]
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts if count)
