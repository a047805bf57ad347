# SPDX-License-Identifier: Apache-2.0
"""A change of one object: the caller's right, the load balancer's turn, and what happened while it was waited for."""

import contextlib
from collections.abc import Iterator
from typing import Any

from fastlb.api.call import Call
from fastlb.errors import Conflict, NotFound
from fastlb.resource import Resource
from fastlb.types import ProvisioningStatus


@contextlib.contextmanager
def change(call: Call, resource: Resource[Any], *, below: Resource[Any] | None = None) -> Iterator[None]:
    """Change this object, or make something that belongs to it, when the change under way is done.

    below: the pool or the policy that must be ACTIVE for that. Raises Forbidden, Conflict, and NotFound if the object
    was deleted meanwhile.
    """
    call.check_write(resource.project_id)
    with call.controller.writing(resource.load_balancer):
        if resource._deleted:
            raise missing(resource)
        if below is not None and below.provisioning_status is not ProvisioningStatus.ACTIVE:
            # Octavia's message has the name of the class here, not the one it has elsewhere.
            fault = f"{below.LABEL.replace(' ', '')} {below.id} is immutable and cannot be updated."
            raise Conflict(fault, fault=fault)
        yield


def missing(resource: Resource[Any]) -> NotFound:
    """What is raised when there is no such object, or none in this place."""
    fault = f"{resource.LABEL} {resource.id} not found."
    return NotFound(fault, fault=fault)
