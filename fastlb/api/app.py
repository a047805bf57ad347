# SPDX-License-Identifier: Apache-2.0
"""The ASGI application: the four spellings of each path, bodies and content types, and errors in Octavia's forms.

Handlers are synchronous and run in a thread pool: they wait for locks and for the disk, and a slow one must not
hold up the others.
"""

import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from fastlb.api import (
    access,
    amphorae,
    availabilityzones,
    discovery,
    faults,
    flavors,
    healthmonitors,
    keystone,
    l7policies,
    l7rules,
    listeners,
    loadbalancers,
    members,
    neutron,
    pools,
    providers,
    quotas,
)
from fastlb.api.call import NOBODY, Answer, BadRequest, Call, Handler, Route, UnknownMedia

if TYPE_CHECKING:
    from fastlb.controller import Controller

BODY_LIMIT = 16 << 20
"""Bytes of a request's body: a fully-populated load balancer with 50,000 members fits."""

LBAAS = ("/v2/lbaas", "/v2.0/lbaas", "/v2", "/v2.0")
OCTAVIA = ("/v2/octavia", "/v2.0/octavia")
NEIGHBOURS = ("/v2", "/v2.0")
RESOURCES = (
    loadbalancers, listeners, pools, members, healthmonitors, l7policies, l7rules,
    quotas, providers, flavors, availabilityzones,
)  # fmt: skip

JSON = ("application/json", "text/javascript", "application/javascript")
ACCEPTED = ("application/json", "application/*", "*/*")
NEVER = re.compile(r"q=0(\.0*)?")
HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")

requests_log = logging.getLogger("fastlb.api.requests")


def create_app(
    controller: "Controller",
    *,
    identify: access.Identify = access.anyone,
    extra: Mapping[str, Any] | None = None,
    body_limit: int = BODY_LIMIT,
) -> ASGIApp:
    """Octavia's API for this controller.

    identify: tells who asks from the request's header fields (`access`); by default everybody may do everything.
    body_limit: bytes.
    """
    frame = _Frame(controller, identify, extra or {}, body_limit)
    routes: list[BaseRoute] = [*frame.routes("", discovery.ROUTES)]
    for prefix in LBAAS:
        for resource in RESOURCES:
            routes += frame.routes(prefix, resource.ROUTES)
    for prefix in NEIGHBOURS:
        routes += frame.routes(prefix, neutron.ROUTES)
    for prefix in OCTAVIA:
        routes += frame.routes(prefix, amphorae.ROUTES)
    routes += frame.routes("", keystone.ROUTES)
    app = Starlette(
        routes=routes, exception_handlers={HTTPException: frame.on_http_error, Exception: frame.on_error}
    )
    # "/pools" and "/pools/" are one path here and not a redirection.
    app.router.redirect_slashes = False
    return _Tidy(app)


class _Tidy:
    """Paths in one form: without a trailing slash, without `.json`; an id on every answer, a line in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        tidy = path.rstrip("/").removesuffix(".json") or "/"
        scope = {**scope, "path": tidy, "asked_path": path}
        request_id = f"req-{uuid.uuid4()}"
        began = time.monotonic()
        status = 0

        async def send_with_id(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-openstack-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            requests_log.info(
                "%s %s %s %s %d %.1f ms",
                _client(scope),
                scope["method"],
                _printable(path),
                request_id,
                status,
                (time.monotonic() - began) * 1000,
            )


def _client(scope: Scope) -> str:
    """The caller's address; of a caller behind a proxy on this machine, what stands in X-Forwarded-For if it is one."""
    try:
        return str(ipaddress.ip_address((scope.get("client") or ("-",))[0]))
    except ValueError:
        return "-"


def _printable(path: str) -> str:
    return path.encode("ascii", "backslashreplace").decode() if path.isprintable() else repr(path)


class _Frame:
    """What every endpoint has around its handler."""

    def __init__(
        self, controller: "Controller", identify: access.Identify, extra: Mapping[str, Any], body_limit: int
    ) -> None:
        self._controller = controller
        self._identify = identify
        self._extra = extra
        self._body_limit = body_limit

    def routes(self, prefix: str, routes: Iterable[Route]) -> list[BaseRoute]:
        return [
            StarletteRoute((prefix + route.path) or "/", endpoint=_methods(route, self._endpoint(route)))
            for route in routes
        ]

    def _endpoint(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        methods = route.methods
        fault = route.fault or faults.of

        async def endpoint(request: Request) -> Response:
            call = None
            try:
                handler = methods.get(request.method)
                if handler is None:
                    raise faults.routing(405, headers={"Allow": ", ".join(sorted(methods))})
                _check_accepts(request)
                # Before the body: who may not ask shall not make us read megabytes.
                headers = _fields(request)
                caller = NOBODY if route.public else await run_in_threadpool(self._identify, headers)
                raw = await self._body(request)
                if raw and request.method in ("POST", "PUT"):
                    _check_media(request, raw)
                call = Call(
                    controller=self._controller,
                    caller=caller,
                    method=request.method,
                    path=str(request.scope["asked_path"]),
                    arguments=request.path_params,
                    query=tuple(request.query_params.multi_items()),
                    raw=raw,
                    base_url=_base_url(request),
                    extra=self._extra,
                    headers=headers,
                    identify=self._identify,
                )
                answer = await run_in_threadpool(_handle, handler, call)
            except ClientDisconnect:
                # Nobody is there to read it.
                return Response(status_code=400)
            except Exception as error:
                answer = fault(error, call.place if call is not None else "")
            return respond(answer)

        return endpoint

    async def _body(self, request: Request) -> bytes:
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._body_limit:
                raise faults.routing(413, f"The body is longer than {self._body_limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def on_http_error(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        # So Octavia does: null where no part of it looked at the path.
        ours = request.scope["path"].startswith(("/v2/", "/v2.0/"))
        return respond(faults.of(faults.routing(status, "" if ours else None)))

    async def on_error(self, request: Request, error: Exception) -> Response:
        return respond(faults.of(error))


def _methods(
    route: Route, endpoint: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]] | ASGIApp:
    # Starlette would answer other methods, and HEAD, in its own way: as an ASGI application the endpoint gets all.
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

    return Endpoint()


def _handle(handler: Handler, call: Call) -> Answer:
    # What the handler asks the quotas for is kept for it until it is done.
    with call.controller.quotas.room():
        return handler(call)


def _fields(request: Request) -> dict[str, str]:
    """The header fields, with method and path as HTTP/2 has them among these; no client can send such names."""
    return {**request.headers, ":method": request.method, ":path": str(request.scope["asked_path"])}


def _check_accepts(request: Request) -> None:
    accept = request.headers.get("accept", "")
    if "/" not in accept:
        # Empty, as some clients send it, or nothing that HTTP knows.
        return
    for part in accept.split(","):
        media, *parameters = (word.strip().lower() for word in part.split(";"))
        if media in ACCEPTED and not any(NEVER.fullmatch(parameter) for parameter in parameters):
            return
    raise faults.routing(406, "Only content type application/json is accepted.")


def _check_media(request: Request, raw: bytes) -> None:
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media in JSON:
        return
    if media in ("", "application/x-www-form-urlencoded"):
        # What `curl -d` sends when nobody says otherwise: Octavia looks for arguments in it.
        shown = raw[:80].decode("utf-8", "replace")
        raise BadRequest(f'Unknown argument: "{shown}" (the body needs Content-Type: application/json)')
    raise UnknownMedia(media)


def _base_url(request: Request) -> str:
    host = request.headers.get("host", "")
    if not HOST.fullmatch(host):
        # (path, None) on a Unix socket.
        address, port = request.scope.get("server") or ("", None)
        host = (
            "localhost" if port is None else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        )
    return f"{request.scope['scheme']}://{host}"


def respond(answer: Answer) -> Response:
    if answer.body is None:
        return Response(status_code=answer.status, headers=dict(answer.headers))
    return Response(
        msgspec.json.encode(answer.body),
        status_code=answer.status,
        media_type="application/json",
        headers=dict(answer.headers),
    )
