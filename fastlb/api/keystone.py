# SPDX-License-Identifier: Apache-2.0
"""Keystone v3 in small: a token for whoever may use the API, with a catalog that names this server; projects.

It is served twice, below `/v3` and below `/identity/v3`: clients that ask the server's root for versions get Octavia's
there, so an address without a version is `/identity`.

Without authentication each user, password and project is accepted, and the token says nothing but the project. With
tokens of our own the password (or the application credential's secret, or the token) must be one, and comes back as
the token: there are no others, and its project is the scope.
"""

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fastlb.api import access, faults
from fastlb.api.access import ForeignPage
from fastlb.api.call import (
    Answer,
    BadRequest,
    Call,
    Caller,
    Forbidden,
    Route,
    RouteError,
    Unauthorized,
    parse_json,
)
from fastlb.controller import DEFAULT_PROJECT_ID
from fastlb.errors import FastLBError, NotFound
from fastlb.network.config import stable_id

log = logging.getLogger("fastlb.api")

LIFETIME = timedelta(days=1)
"""After which clients ask for another token. Ours do not end."""
REGION = "RegionOne"
DOMAIN = {"id": "default", "name": "Default"}
DEFAULT_PROJECT = "default"
"""The name of the project whose objects they are when nobody says."""
ROLES = {"admin": ("admin", "member", "reader"), "member": ("member", "reader"), "observer": ("reader",)}

SERVICES = (
    ("load-balancer", "octavia", ""),
    ("network", "neutron", ""),
    ("identity", "keystone", "/identity"),
)
"""Type, name and path of what the catalog names."""

_USER_ID = re.compile(r"[0-9a-f]{32}")
_ID = re.compile(r"[A-Za-z0-9_.-]{1,36}")


def fault(error: Exception, place: str = "") -> Answer:
    """The answer to a request that ended in this error, in Keystone's form."""
    if isinstance(error, ForeignPage):
        return faults.of(error)
    if isinstance(error, RouteError):
        return Answer(error.status, _error(error.status, str(error)), error.headers)
    if isinstance(error, Unauthorized):
        words = {"WWW-Authenticate": f'Keystone uri="{error.uri}"'}
        return Answer(401, _error(401, str(error)), words)
    if isinstance(error, Forbidden):
        return Answer(403, _error(403, "You are not authorized to perform the requested action."))
    if isinstance(error, FastLBError):
        return Answer(error.status, _error(error.status, error.fault))
    log.error("a request ended in an error that nobody foresaw", exc_info=error)
    return Answer(500, _error(500, "An unexpected error prevented the server from fulfilling your request."))


def _error(status: int, message: str) -> dict[str, Any]:
    titles = {403: "Forbidden", 500: "Internal Server Error", **faults.TITLES}
    return {"error": {"code": status, "message": message, "title": titles.get(status, "Error")}}


# Versions.


def _version(base: str) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base}/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def _base(call: Call) -> str:
    """Where Keystone begins, as the caller addressed us."""
    return call.base_url + ("/identity" if call.path.startswith("/identity") else "")


def versions(call: Call) -> Answer:
    return Answer(300, {"versions": {"values": [_version(_base(call))]}})


def version(call: Call) -> Answer:
    return Answer(200, {"version": _version(_base(call))})


# Tokens.


def authenticate(call: Call) -> Answer:
    """`POST /auth/tokens`."""
    auth = _object(parse_json(call.raw), "auth")
    identity = _object(auth, "identity")
    methods = identity.get("methods")
    if not isinstance(methods, list) or not methods or not all(isinstance(one, str) for one in methods):
        raise BadRequest("Invalid input for field 'identity/methods': must be a list of methods.")
    try:
        user, secret = _credentials(identity, methods)
        caller = _caller(call, secret)
        token, project = _scope(auth.get("scope"), caller, secret)
    except Unauthorized:
        raise Unauthorized(f"{_base(call)}/v3") from None
    body = _token(call, caller, methods, user, project)
    return Answer(201, {"token": body}, {"X-Subject-Token": token, "Vary": "X-Auth-Token"})


def _credentials(identity: Mapping[str, Any], methods: Iterable[str]) -> tuple[dict[str, Any], str]:
    """Who says to be who, and with what."""
    user: Any = {}
    secret: Any = None
    for method in methods:
        given = _object(identity, method)
        if method == "password":
            user = _object(given, "user")
            secret = user.get("password")
        elif method == "token":
            secret = given.get("id")
        elif method == "application_credential":
            user = given.get("user") or {"name": given.get("name") or given.get("id")}
            secret = given.get("secret")
        else:
            raise Unauthorized("")
    if not isinstance(secret, str) or not isinstance(user, dict):
        raise BadRequest("Invalid input for field 'identity': a user must be an object, a secret a string.")
    return user, secret


def _caller(call: Call, secret: str) -> Caller:
    """Whoever comes with this secret in the place of a token."""
    assert call.identify is not None
    fields = {name: value for name, value in call.headers.items() if name != "authorization"}
    return call.identify({**fields, "x-auth-token": secret})


def _scope(scope: Any, caller: Caller, secret: str) -> tuple[str, dict[str, Any] | None]:
    """The token, and the project that it is for; None: for none."""
    asked = scope.get("project", {}) if isinstance(scope, dict) else {}
    if not isinstance(asked, dict):
        raise BadRequest("Invalid input for field 'scope/project': must be an object.")
    project = _project_of(asked, caller)
    token = secret if caller.enforced else access.OPEN_TOKEN + project["id"]
    # A scope that names something else than a project: a domain, the system, "unscoped".
    return token, project if scope is None or asked else None


def _project_of(asked: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """The project that is asked for by id or name, if the caller may have it. Of our own tokens each is for one, whose
    name nobody knows."""
    project_id, name = asked.get("id"), asked.get("name")
    if caller.enforced:
        if isinstance(project_id, str) and project_id != caller.project_id:
            raise Unauthorized("")
        return {"id": caller.project_id, "name": caller.project_id}
    for word in (project_id, name):
        if isinstance(word, str) and word:
            return {"id": _id_of(word), "name": _name_of(word)}
    return {"id": caller.project_id, "name": _name_of(caller.project_id)}


def _token(
    call: Call,
    caller: Caller,
    methods: list[str],
    user: Mapping[str, Any],
    project: Mapping[str, Any] | None,
) -> dict[str, Any]:
    now = datetime.now(UTC)
    name = user.get("name") or user.get("id") or "user"
    token: dict[str, Any] = {
        "methods": methods,
        "user": {
            "id": str(user.get("id") or _hex("user", str(name))),
            "name": str(name),
            "domain": DOMAIN,
            "password_expires_at": None,
        },
        "audit_ids": [uuid.uuid4().hex[:22]],
        "issued_at": _time(now),
        "expires_at": _time(now + LIFETIME),
    }
    if project is not None:
        token |= {
            "project": {**project, "domain": DOMAIN},
            "is_domain": False,
            "roles": [{"id": _hex("role", role), "name": role} for role in _roles(caller)],
            "catalog": catalog(call),
        }
    return token


def _roles(caller: Caller) -> tuple[str, ...]:
    return ROLES["admin" if caller.admin else "member" if caller.writes else "observer"]


def catalog(call: Call) -> list[dict[str, Any]]:
    """What this server is, in Keystone's words."""
    return [
        {
            "id": _hex("service", kind),
            "type": kind,
            "name": name,
            "endpoints": [
                {
                    "id": _hex("endpoint", kind, interface),
                    "interface": interface,
                    "region": REGION,
                    "region_id": REGION,
                    "url": call.base_url + path,
                }
                for interface in ("public", "internal", "admin")
            ],
        }
        for kind, name, path in SERVICES
    ]


def validate(call: Call) -> Answer:
    """`GET /auth/tokens`: the token in X-Subject-Token."""
    _check_identified(call)
    secret = call.headers.get("x-subject-token", "")
    try:
        caller = _caller(call, secret) if secret else None
    except Unauthorized:
        caller = None
    if caller is None:
        raise NotFound("Could not recognize Fernet token")
    project = _project_of({}, caller)
    answer = Answer(
        200,
        {"token": _token(call, caller, ["token"], {}, project)},
        {"X-Subject-Token": secret, "Vary": "X-Auth-Token"},
    )
    return answer if call.method == "GET" else answer._replace(body=None)


def revoke(call: Call) -> Answer:
    """A client says that it is done. Tokens of ours end by `fastlb token revoke`."""
    _check_identified(call)
    return Answer(204)


def _check_identified(call: Call) -> None:
    # The path is open to all, for who has no token yet.
    assert call.identify is not None
    call.identify(call.headers)


def show_catalog(call: Call) -> Answer:
    return Answer(200, {"catalog": catalog(call), "links": _links(call)})


# Projects, domains, users.


def _project(call: Call, project_id: str, name: str = "") -> dict[str, Any]:
    return {
        "id": project_id,
        "name": name or _name_of(project_id),
        "domain_id": DOMAIN["id"],
        "parent_id": DOMAIN["id"],
        "description": "",
        "enabled": True,
        "is_domain": False,
        "tags": [],
        "options": {},
        "links": {"self": f"{_base(call)}/v3/projects/{project_id}"},
    }


def projects(call: Call) -> Answer:
    """Those that have something here, and the caller's; without authentication also each that is asked for by name."""
    there = [call.caller.project_id]
    if call.caller.admin:
        there += [balancer.project_id for balancer in call.controller.load_balancers]
    rows = {project_id: _project(call, project_id) for project_id in there}
    name = call.one("name")
    if name and not call.caller.enforced:
        rows[_id_of(name)] = _project(call, _id_of(name), name)
    return _list(call, "projects", rows.values())


def project(call: Call) -> Answer:
    project_id = call.arguments["id"]
    # "default" is a name: its id is looked up by it.
    thinkable = _ID.fullmatch(project_id) is not None and project_id != DEFAULT_PROJECT
    if not (project_id == call.caller.project_id or (call.caller.admin and thinkable)):
        raise NotFound(f"Could not find project: {project_id}.")
    return Answer(200, {"project": _project(call, project_id)})


def _domain(call: Call) -> dict[str, Any]:
    return {
        **DOMAIN,
        "description": "The default domain",
        "enabled": True,
        "tags": [],
        "options": {},
        "links": {"self": f"{_base(call)}/v3/domains/{DOMAIN['id']}"},
    }


def domains(call: Call) -> Answer:
    return _list(call, "domains", [_domain(call)])


def domain(call: Call) -> Answer:
    if call.arguments["id"] != DOMAIN["id"]:
        raise NotFound(f"Could not find domain: {call.arguments['id']}.")
    return Answer(200, {"domain": _domain(call)})


def _user(call: Call, user_id: str, name: str) -> dict[str, Any]:
    return {
        "id": user_id,
        "name": name,
        "domain_id": DOMAIN["id"],
        "enabled": True,
        "options": {},
        "password_expires_at": None,
        "links": {"self": f"{_base(call)}/v3/users/{user_id}"},
    }


def users(call: Call) -> Answer:
    """Nobody is known; without authentication each who is asked for by name is there."""
    name = call.one("name")
    rows = [_user(call, _hex("user", name), name)] if name and not call.caller.enforced else []
    return _list(call, "users", rows)


def user(call: Call) -> Answer:
    user_id = call.arguments["id"]
    if call.caller.enforced or not _USER_ID.fullmatch(user_id):
        raise NotFound(f"Could not find user: {user_id}.")
    return Answer(200, {"user": _user(call, user_id, user_id)})


def roles(call: Call) -> Answer:
    rows = [{"id": _hex("role", role), "name": role, "domain_id": None} for role in ROLES["admin"]]
    return _list(call, "roles", rows)


def _list(call: Call, plural: str, rows: Iterable[dict[str, Any]]) -> Answer:
    """The rows that have what the query says, as far as rows have it."""
    found = [
        row
        for row in rows
        if all(
            str(row[name]).lower() == value.lower()
            if name in ("enabled", "is_domain")
            else row[name] == value
            for name, value in call.query
            if name in row
        )
    ]
    return Answer(200, {plural: found, "links": _links(call)})


def _links(call: Call) -> dict[str, Any]:
    return {"next": None, "previous": None, "self": f"{call.base_url}{call.path}"}


def _name_of(project_id: str) -> str:
    return DEFAULT_PROJECT if project_id == DEFAULT_PROJECT_ID else project_id


def _id_of(name: str) -> str:
    """The id of the project that somebody names: the name itself, as far as it can be one."""
    if name == DEFAULT_PROJECT:
        return DEFAULT_PROJECT_ID
    return name if _ID.fullmatch(name) else _hex("project", name)


def _hex(*words: str) -> str:
    return stable_id(*words).replace("-", "")


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _object(container: Any, name: str) -> dict[str, Any]:
    found = container.get(name) if isinstance(container, dict) else None
    if not isinstance(found, dict):
        raise BadRequest(f"Invalid input for field '{name}': it must be an object.")
    return found


def _route(path: str, methods: Mapping[str, Callable[[Call], Answer]], *, public: bool = False) -> Route:
    return Route(path, methods, public=public, fault=fault)


PROJECTS = (
    _route("/projects", {"GET": projects}),
    _route("/projects/{id}", {"GET": project}),
)
"""Also at the root of the server, where clients without Keystone look for them."""

TOKENS = {"POST": authenticate, "GET": validate, "HEAD": validate, "DELETE": revoke}
V3 = (
    _route("/v3", {"GET": version}, public=True),
    _route("/v3/auth/tokens", TOKENS, public=True),
    _route("/v3/auth/catalog", {"GET": show_catalog}),
    _route("/v3/auth/projects", {"GET": projects}),
    _route("/v3/auth/domains", {"GET": domains}),
    _route("/v3/domains", {"GET": domains}),
    _route("/v3/domains/{id}", {"GET": domain}),
    _route("/v3/users", {"GET": users}),
    _route("/v3/users/{id}", {"GET": user}),
    _route("/v3/users/{id}/projects", {"GET": projects}),
    _route("/v3/roles", {"GET": roles}),
    *(one._replace(path=f"/v3{one.path}") for one in PROJECTS),
)

ROUTES = (
    *PROJECTS,
    *V3,
    *(one._replace(path=f"/identity{one.path}") for one in V3),
    _route("/identity", {"GET": versions}, public=True),
)
