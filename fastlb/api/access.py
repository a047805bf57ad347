# SPDX-License-Identifier: Apache-2.0
"""Who asks: from the header fields of a request to a `Caller`, or a refusal.

A browser is not to be trusted with an API that asks for no token: any page that it shows can send requests to
127.0.0.1. Hence `from_programs`: what comes from another site's page is refused, and so is a name in `Host` that is
not known to be this machine's (a page whose own name has been pointed at 127.0.0.1).
"""

import base64
import ipaddress
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from fastlb.api.call import Caller, Unauthorized
from fastlb.controller import DEFAULT_PROJECT_ID
from fastlb.errors import FastLBError

if TYPE_CHECKING:
    from fastlb.api.tokens import Tokens

Identify = Callable[[Mapping[str, str]], Caller]
"""From the header fields of a request, names in lower case, among them `:method` and `:path`. Raises Unauthorized when
it does not know the caller."""

OPEN_TOKEN = "fastlb-open-"
"""What a token begins with that is given out without authentication; the rest is the project that it is for."""


class ForeignPage(FastLBError):
    """A browser asks on behalf of a page that is not ours."""

    status = 403


def anyone(headers: Mapping[str, str]) -> Caller:
    """No authentication, as on loopback: whatever token a client made up is ignored. `X-Project-Id` names a project,
    and so does a token of our own Keystone."""
    token = given_token(headers)
    named = token.removeprefix(OPEN_TOKEN) if token.startswith(OPEN_TOKEN) else ""
    project_id = headers.get("x-project-id") or named or DEFAULT_PROJECT_ID
    return Caller(project_id=project_id[:36], admin=True, enforced=False)


def by_token(tokens: "Tokens", *, scheme: str = "http") -> Identify:
    """Who has one of these tokens, with its project and its role.

    scheme: of our own address, which a refusal names.
    """

    def identify(headers: Mapping[str, str]) -> Caller:
        secret = given_token(headers)
        token = tokens.find(secret) if secret else None
        if token is None:
            host = headers.get("host", "localhost").replace('"', "")
            raise Unauthorized(f"{scheme}://{host}/identity")
        return Caller(
            project_id=token.project_id, admin=token.role == "admin", writes=token.role != "observer"
        )

    return identify


def given_token(headers: Mapping[str, str]) -> str:
    """The token of a request: in `X-Auth-Token`, as a Bearer, or as the password of Basic credentials."""
    token = headers.get("x-auth-token")
    if token:
        return token
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(credentials.strip(), validate=True).decode()
        except ValueError:
            return ""
        return text.partition(":")[2]
    return ""


def from_programs(identify: Identify, *, hosts: Collection[str] | None = None) -> Identify:
    """The same for requests that no other site's page has sent; ForeignPage for those.

    hosts: the names, beside localhost, by which this machine may be addressed; None: any.
    """

    def checked(headers: Mapping[str, str]) -> Caller:
        host = headers.get("host", "")
        if hosts is not None and not _is_known(_name(host), hosts):
            raise ForeignPage(
                f"Host {host!r} is not known to be this server: use an address or localhost, or list the name under "
                "allowed_hosts in its configuration"
            )
        origin = headers.get("origin")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") or (
            origin is not None and origin.partition("://")[2].lower() != host.lower()
        ):
            raise ForeignPage("Pages of other sites may not use this API")
        return identify(headers)

    return checked


def _name(host: str) -> str:
    """A Host field without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_known(name: str, hosts: Collection[str]) -> bool:
    name = name.lower().rstrip(".")
    if not name or name == "localhost" or name.endswith(".localhost") or name in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
