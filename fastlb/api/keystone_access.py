# SPDX-License-Identifier: Apache-2.0
"""Whom Keystone knows: tokens validated by OpenStack's own keystonemiddleware (extra `fastlb[keystone]`).

It is WSGI middleware, and this is an ASGI server. But it only looks at header fields, method and path: so those of each
request go through it in a WSGI request without a body, in the thread in which the caller is identified anyway, and its
inner application answers whom it has found. Caching, expiry, revocation, access rules of application credentials and
service tokens are all its work.
"""

import difflib
import importlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastlb.api.access import Identify
from fastlb.api.call import Caller, Forbidden, Unauthorized
from fastlb.errors import ConfigError, FastLBError

log = logging.getLogger("fastlb.api")

Start = Callable[[str, list[tuple[str, str]]], object]

ADMINS = frozenset({"admin", "load-balancer_admin"})
MEMBERS = frozenset({"member", "load-balancer_member"})
OBSERVERS = frozenset({"reader", "load-balancer_observer"})
GLOBAL_OBSERVERS = frozenset({"load-balancer_global_observer"})
PASSED_ON = ("x-auth-token", "x-service-token")


class KeystoneDown(FastLBError):
    """Keystone does not answer, or does not let us ask."""

    status = 503


def by_keystone(options: Mapping[str, Any]) -> Identify:
    """Who has a token that Keystone vouches for, with its project and its roles.

    options: those of keystonemiddleware's section keystone_authtoken, with the credentials by which it asks Keystone
    (auth_url, username, password, project_name, …). Raises ConfigError; FastLBError when the extra is missing.
    """
    middleware = _middleware(options)
    uri = str(options.get("www_authenticate_uri") or options.get("auth_url", ""))
    blank = importlib.import_module("webob").Request.blank

    def identify(headers: Mapping[str, str]) -> Caller:
        fields = {name: headers[name] for name in PASSED_ON if name in headers}
        if not all(text.isascii() and text.isprintable() for text in fields.values()):
            raise Unauthorized(uri)  # such a token there is not, and it cannot be asked about
        request = blank("/", method=headers.get(":method", "GET"), headers=fields)
        # Not by `blank`, which would take a question mark in it for the beginning of a query.
        request.environ["PATH_INFO"] = headers.get(":path", "/").encode().decode("latin-1")
        try:
            answer = request.get_response(middleware)
        except Exception:
            log.exception("Keystone could not be asked")
            raise KeystoneDown("The Keystone service is temporarily unavailable.") from None
        if answer.status_int == 401:
            raise Unauthorized(answer.headers.get("WWW-Authenticate", "").partition('"')[2].rstrip('"'))
        if answer.status_int != 200:
            raise KeystoneDown("The Keystone service is temporarily unavailable.")
        return caller(answer.json)

    return identify


def caller(identity: Mapping[str, Any]) -> Caller:
    """What Octavia's default policy lets these roles do. Raises Forbidden for those it has none for."""
    roles = frozenset(identity["roles"])
    project_id = identity["project_id"]
    if roles & ADMINS:
        return Caller(project_id=project_id, admin=True)
    if roles & GLOBAL_OBSERVERS:
        return Caller(project_id=project_id, admin=True, writes=False)
    if not project_id or not roles & (MEMBERS | OBSERVERS):
        raise Forbidden()
    return Caller(project_id=project_id, writes=bool(roles & MEMBERS))


def _found(environ: Mapping[str, Any], start_response: Start) -> Iterable[bytes]:
    """The inner application: whom the middleware has found."""
    roles = [role.strip().lower() for role in environ.get("HTTP_X_ROLES", "").split(",")]
    identity = {"project_id": environ.get("HTTP_X_PROJECT_ID", ""), "roles": [role for role in roles if role]}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(identity).encode()]


def _middleware(options: Mapping[str, Any]) -> Any:
    try:
        auth_token = importlib.import_module("keystonemiddleware.auth_token")
        cfg = importlib.import_module("oslo_config.cfg")
        loading = importlib.import_module("keystoneauth1.loading")
    except ModuleNotFoundError as error:
        raise FastLBError(f"auth keystone needs {error.name}: pip install 'fastlb[keystone]'") from None
    kind = str(options.get("auth_type", "password"))
    try:
        plugin = loading.get_plugin_loader(kind)
    except Exception as error:
        raise ConfigError("keystone.auth_type", kind, f"must be a way of keystoneauth1: {error}") from None
    known = {opt.dest for _, opts in auth_token.list_opts() for opt in opts}
    known |= {opt.dest for opt in loading.get_auth_plugin_conf_options(plugin)}
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            # Without the value: a password whose name is misspelt is still one.
            raise ConfigError(f"keystone.{name}", "…", f"is no option of keystonemiddleware{hint}")
    config = cfg.ConfigOpts()
    # A configuration of its own: neither the machine's files nor our command line are for it.
    config([], project="fastlb", default_config_files=[], default_config_dirs=[])
    # Paste's form, in which every value is a string.
    given = {
        "auth_type": kind,
        "service_type": "load-balancer",
        "service_token_roles_required": "True",  # its default is the lax one, of which it warns
        **{name: str(one) for name, one in options.items()},
    }
    try:
        return auth_token.AuthProtocol(_found, {**given, "oslo_config_config": config})
    except Exception as error:
        raise ConfigError("keystone", "…", f"must be what keystonemiddleware can use: {error}") from None
