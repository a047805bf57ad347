# SPDX-License-Identifier: Apache-2.0
"""Tables of objects, with the columns that `openstack loadbalancer … list` and `… show` have."""

from collections.abc import Iterable, Sequence
from typing import Any

LOAD_BALANCERS = (
    "id",
    "name",
    "project_id",
    "vip_address",
    "provisioning_status",
    "operating_status",
    "provider",
)
LISTENERS = ("id", "default_pool_id", "name", "project_id", "protocol", "protocol_port", "admin_state_up")
POOLS = ("id", "name", "project_id", "provisioning_status", "protocol", "lb_algorithm", "admin_state_up")
MEMBERS = (
    "id", "name", "project_id", "provisioning_status", "address", "protocol_port",
    "operating_status", "weight",
)  # fmt: skip
HEALTH_MONITOR = (
    "name", "admin_state_up", "provisioning_status", "delay", "expected_codes", "max_retries",
    "http_method", "timeout", "max_retries_down", "url_path", "type", "id", "operating_status",
    "http_version", "domain_name",
)  # fmt: skip
STATISTICS = ("active_connections", "bytes_in", "bytes_out", "request_errors", "total_connections")


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Headings and rows in a frame."""
    lines = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    drawn = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    return "\n".join([rule, drawn[0], rule, *drawn[1:], rule])


def listed(objects: Iterable[object], columns: Sequence[str]) -> str:
    """A line an object; a column that is empty in all of them is left out."""
    rows = [[getattr(thing, column, None) for column in columns] for thing in objects]
    kept = [i for i in range(len(columns)) if any(row[i] not in (None, "") for row in rows)]
    return table([columns[i] for i in kept], ([row[i] for i in kept] for row in rows))


def shown(thing: object, fields: Sequence[str]) -> str:
    """A line a field."""
    return table(("Field", "Value"), ((field, getattr(thing, field, None)) for field in fields))
