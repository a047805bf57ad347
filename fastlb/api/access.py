# SPDX-License-Identifier: Apache-2.0
"""Who asks: from the header fields of a request to a `Caller`."""

from collections.abc import Callable, Mapping

from fastlb.api.call import Caller
from fastlb.controller import DEFAULT_PROJECT_ID

Identify = Callable[[Mapping[str, str]], Caller]
"""Raises RouteError(401) when it does not know the caller. Names of header fields are in lower case."""


def anyone(headers: Mapping[str, str]) -> Caller:
    """No authentication, as on loopback: whatever token a client made up is ignored; `X-Project-Id` names a project."""
    project_id = headers.get("x-project-id") or DEFAULT_PROJECT_ID
    return Caller(project_id=project_id[:36], admin=True, enforced=False)
