# SPDX-License-Identifier: Apache-2.0
"""Neutron in small, beside Octavia's API: what its clients ask of the network when they make load balancers.

Networks, subnets, ports and floating IPs are there to be made, changed and deleted. A security group and a QoS
policy are whatever a client names: nothing here would hold traffic up. While no subnets are configured, each UUID that
is looked up is found, so that clients, which look up each id they are given, go on.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fastlb.api import faults as octavia
from fastlb.api import neutron_lists as lists
from fastlb.api import neutron_views as views
from fastlb.api.access import ForeignPage
from fastlb.api.call import Answer, BadRequest, Call, Forbidden, Route, RouteError, Unauthorized, parse_json
from fastlb.errors import FastLBError
from fastlb.network import Networking, faults
from fastlb.network.attributes import TAGS
from fastlb.network.config import stable_id
from fastlb.network.faults import NetworkFault
from fastlb.network.records import NetworkRecord, Port
from fastlb.network.topology import is_uuid

log = logging.getLogger("fastlb.api")

INTERNAL = "Request Failed: internal server error while processing your request."


def fault(error: Exception, place: str = "") -> Answer:
    """The answer to a request that ended in this error, in Neutron's form."""
    if isinstance(error, (Unauthorized, ForeignPage)):
        return octavia.of(error, place)
    if isinstance(error, NetworkFault):
        return _fault(error.status, error.kind, str(error))
    if isinstance(error, Forbidden):
        return _fault(403, "PolicyNotAuthorized", "This request is disallowed by policy.")
    if isinstance(error, BadRequest):
        return _fault(400, "HTTPBadRequest", str(error))
    if isinstance(error, RouteError):
        return Answer(error.status, _body(error.title.replace(" ", ""), str(error)), error.headers)
    if isinstance(error, FastLBError):
        if error.status == 500:
            log.error("a request could not be answered: %s", error)
        return _fault(error.status, type(error).__name__, error.fault)
    log.error("a request ended in an error that nobody foresaw", exc_info=error)
    return _fault(500, "HTTPInternalServerError", INTERNAL)


def _fault(status: int, kind: str, message: str) -> Answer:
    return Answer(status, _body(kind, message))


def _body(kind: str, message: str) -> dict[str, Any]:
    return {"NeutronError": {"type": kind, "message": message, "detail": ""}}


def networking(call: Call) -> Networking:
    return call.controller.networking


def content(call: Call, root: str) -> dict[str, Any]:
    """What is under the root key of the body."""
    body = parse_json(call.raw)
    if not isinstance(body, dict) or root not in body:
        raise faults.bad_request(f"Unable to find '{root}' in request body")
    inner = body[root]
    if not isinstance(inner, dict):
        raise faults.bad_request(f"Invalid input for {root}. Reason: must be an object.")
    return inner


def whose(call: Call, body: dict[str, Any]) -> str:
    """Whose the new object is: the caller's, or an admin's wish."""
    for name in ("project_id", "tenant_id"):
        project_id = body.get(name)
        if isinstance(project_id, str) and project_id:
            call.check_write(project_id)
            return project_id
    call.check_write(call.caller.project_id)
    return call.caller.project_id


def may_see(call: Call, record: NetworkRecord) -> bool:
    """Is it the caller's, or everybody's?"""
    return (
        record.project_id == "" or getattr(record, "shared", False) or call.caller.may_read(record.project_id)
    )


@dataclass(frozen=True)
class Kind:
    """One kind of object, and how it is found, shown and changed."""

    root: str
    plural: str
    """In documents."""
    path: str
    view: Callable[[Networking, Any], dict[str, Any]]
    all: Callable[[Networking], Iterable[Any]]
    get: Callable[[Networking, str], Any]
    create: Callable[[Call, dict[str, Any]], Any]
    update: Callable[..., Any]
    delete: Callable[[Networking, str], None]
    stand_in: Callable[[Call, str], Any]
    """What answers for a UUID that nobody has, or None."""

    def seen(self, call: Call, one_id: str) -> Any:
        """The object, if the caller may see it."""
        found = self.get(networking(call), one_id)
        if not may_see(call, found):
            raise faults.not_found(self.root, one_id)
        return found

    def index(self, call: Call) -> Answer:
        networks = networking(call)
        found = [one for one in self.all(networks) if may_see(call, one)]
        there = {one.id for one in found}
        strangers = [
            one_id
            for one_id in dict.fromkeys(lists.asked(call, "id"))
            if one_id not in there and is_uuid(one_id)
        ]
        stand_ins = (self.stand_in(call, one_id) for one_id in strangers)
        found += [one for one in stand_ins if one is not None and may_see(call, one)]
        return lists.answer(call, self.plural, (self.view(networks, one) for one in found))

    def show(self, call: Call) -> Answer:
        found = self.seen(call, call.arguments["id"])
        return Answer(200, {self.root: lists.some_fields(call, self.view(networking(call), found))})

    def make(self, call: Call) -> Answer:
        made = self.create(call, content(call, self.root))
        return Answer(201, {self.root: self.view(networking(call), made)})

    def change(self, call: Call) -> Answer:
        body = content(call, self.root)
        found = self._own(call)
        changed = self.update(networking(call), found.id, body, call=call)
        return Answer(200, {self.root: self.view(networking(call), changed)})

    def remove(self, call: Call) -> Answer:
        found = self._own(call)
        self.delete(networking(call), found.id)
        return Answer(204)

    def _own(self, call: Call) -> Any:
        found = self.seen(call, call.arguments["id"])
        call.check_write(found.project_id)
        return found

    # Tags, which have paths of their own.

    def tags(self, call: Call) -> Answer:
        return Answer(200, {"tags": list(self.seen(call, call.arguments["id"]).tags)})

    def set_tags(self, call: Call) -> Answer:
        body = parse_json(call.raw)
        try:
            tags = TAGS.check("tags", body["tags"], True)
        except (KeyError, TypeError):
            raise faults.bad_request("Invalid tags body") from None
        return Answer(200, {"tags": list(self._retag(call, tags).tags)})

    def clear_tags(self, call: Call) -> Answer:
        self._retag(call, ())
        return Answer(204)

    def has_tag(self, call: Call) -> Answer:
        if call.arguments["tag"] not in self.seen(call, call.arguments["id"]).tags:
            raise _no_tag(call)
        return Answer(204)

    def add_tag(self, call: Call) -> Answer:
        tag = TAGS.check("tags", [call.arguments["tag"]], True)
        found = self._own(call)
        self._retag(call, (*(one for one in found.tags if one not in tag), *tag))
        return Answer(201)

    def drop_tag(self, call: Call) -> Answer:
        found = self._own(call)
        if call.arguments["tag"] not in found.tags:
            raise _no_tag(call)
        self._retag(call, tuple(tag for tag in found.tags if tag != call.arguments["tag"]))
        return Answer(204)

    def _retag(self, call: Call, tags: tuple[str, ...]) -> Any:
        return self.update(networking(call), self._own(call).id, {}, tags, call=call)

    def routes(self) -> list[Route]:
        one = f"{self.path}/{{id}}"
        return [
            route(self.path, {"GET": self.index, "POST": self.make}),
            route(one, {"GET": self.show, "PUT": self.change, "DELETE": self.remove}),
            route(f"{one}/tags", {"GET": self.tags, "PUT": self.set_tags, "DELETE": self.clear_tags}),
            route(f"{one}/tags/{{tag}}", {"GET": self.has_tag, "PUT": self.add_tag, "DELETE": self.drop_tag}),
        ]


def route(path: str, methods: dict[str, Callable[[Call], Answer]]) -> Route:
    return Route(path, methods, fault=fault)


def _no_tag(call: Call) -> NetworkFault:
    return NetworkFault(404, "TagNotFound", f"Tag {call.arguments['tag']} could not be found.")


# Networks and subnets.


def _network_stand_in(call: Call, one_id: str) -> Any:
    networks = networking(call).networks
    if not networks.stands_in:
        return None
    if any(lists.boolean(text) for text in lists.asked(call, "router:external")):
        return networks.find_floating(one_id)
    return networks.get(one_id)


def _all_subnets(networks: Networking) -> Iterable[Any]:
    return networks.networks.all_subnets()


def _subnet_stand_in(call: Call, one_id: str) -> Any:
    networks = networking(call).networks
    return networks.get_subnet(one_id) if networks.stands_in else None


NETWORKS = Kind(
    root="network",
    plural="networks",
    path="/networks",
    view=views.network,
    all=lambda networks: networks.networks.all(),
    get=lambda networks, one_id: networks.networks.get(one_id),
    create=lambda call, body: networking(call).networks.create(body, project_id=whose(call, body)),
    update=lambda networks, one_id, body, tags=None, call=None: networks.networks.update(one_id, body, tags),
    delete=lambda networks, one_id: networks.networks.delete(one_id),
    stand_in=_network_stand_in,
)


def _create_subnet(call: Call, body: dict[str, Any]) -> Any:
    project_id = whose(call, body)
    if not networking(call).anybody_makes_subnets:
        # Whoever configured subnets has said which addresses of this machine's there are to have.
        call.check_admin()
    network_id = body.get("network_id")
    if isinstance(network_id, str) and is_uuid(network_id):
        call.check_write(NETWORKS.seen(call, network_id).project_id or project_id)
    return networking(call).networks.create_subnet(body, project_id=project_id)


SUBNETS = Kind(
    root="subnet",
    plural="subnets",
    path="/subnets",
    view=views.subnet,
    all=_all_subnets,
    get=lambda networks, one_id: networks.networks.get_subnet(one_id),
    create=_create_subnet,
    update=lambda networks, one_id, body, tags=None, call=None: networks.networks.update_subnet(
        one_id, body, tags
    ),
    delete=lambda networks, one_id: networks.networks.delete_subnet(one_id),
    stand_in=_subnet_stand_in,
)


# Ports and floating IPs.


def _create_port(call: Call, body: dict[str, Any]) -> Port:
    project_id = whose(call, body)
    network_id = body.get("network_id")
    if isinstance(network_id, str) and is_uuid(network_id):
        NETWORKS.seen(call, network_id)
    return networking(call).ports.create(body, project_id=project_id)


PORTS = Kind(
    root="port",
    plural="ports",
    path="/ports",
    view=views.port,
    all=lambda networks: networks.ports.all(),
    get=lambda networks, one_id: networks.ports.get(one_id),
    create=_create_port,
    update=lambda networks, one_id, body, tags=None, call=None: networks.ports.update(one_id, body, tags),
    delete=lambda networks, one_id: networks.ports.delete(one_id),
    stand_in=lambda call, one_id: networking(call).ports.stand_in(one_id),
)


def check_vip(call: Call, fields: dict[str, Any]) -> None:
    """Refuse a port, a network or a subnet of another project for a load balancer and what is on it, as if there were
    none."""
    networks = networking(call)
    for what, find, ids in (
        ("Port", networks.ports.find, [fields.get("vip_port_id")]),
        ("Network", networks.networks.find, [fields.get("vip_network_id")]),
        ("Subnet", networks.networks.find_subnet, [fields.get("vip_subnet_id"), *_subnets(fields)]),
    ):
        for one_id in ids:
            found = find(one_id) if isinstance(one_id, str) else None
            if isinstance(found, Port):
                visible = call.caller.may_write(found.project_id)
            else:
                visible = found is None or may_see(call, found)
            if not visible:
                raise BadRequest(f"{what} {one_id} not found.")


def _subnets(value: Any) -> Iterable[Any]:
    """What additional VIPs and members name, wherever they stand."""
    if isinstance(value, dict):
        yield value.get("subnet_id")
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            if isinstance(one, (dict, list)):
                yield from _subnets(one)


def check_subnets(call: Call, subnet_ids: Iterable[str | None]) -> None:
    """Are the subnets of new members there, for the caller? Raises ConfigError, in Octavia's words."""
    networking(call).check_subnets(subnet_ids, lambda subnet: may_see(call, subnet))


def _may_use(call: Call) -> Callable[[Port], bool]:
    return lambda port: call.caller.may_write(port.project_id)


def _create_floating_ip(call: Call, body: dict[str, Any]) -> Any:
    return networking(call).floating_ips.create(body, project_id=whose(call, body), may_use=_may_use(call))


FLOATING_IPS = Kind(
    root="floatingip",
    plural="floatingips",
    path="/floatingips",
    view=views.floating_ip,
    all=lambda networks: networks.floating_ips.all(),
    get=lambda networks, one_id: networks.floating_ips.get(one_id),
    create=_create_floating_ip,
    update=lambda networks, one_id, body, tags=None, call=None: networks.floating_ips.update(
        one_id, body, tags, may_use=_may_use(call)
    ),
    delete=lambda networks, one_id: networks.floating_ips.delete(one_id),
    stand_in=lambda call, one_id: None,
)


# What is only looked up.


def _named(
    call: Call, plural: str, view: Callable[[str, str], dict[str, Any]], there: Iterable[str]
) -> Answer:
    """Those there are, and each UUID that is asked for."""
    project_id = call.caller.project_id
    ids = dict.fromkeys((*there, *filter(is_uuid, lists.asked(call, "id"))))
    return lists.answer(call, plural, (view(one_id, project_id) for one_id in ids))


def _default_group(call: Call) -> str:
    return stable_id("security group", call.caller.project_id)


def security_groups(call: Call) -> Answer:
    return _named(call, "security_groups", views.security_group, [_default_group(call)])


def security_group(call: Call) -> Answer:
    one_id = call.arguments["id"]
    if not is_uuid(one_id):
        raise faults.not_found("security_group", one_id)
    return Answer(200, {"security_group": views.security_group(one_id, call.caller.project_id)})


def qos_policies(call: Call) -> Answer:
    return _named(call, "policies", views.qos_policy, [])


def qos_policy(call: Call) -> Answer:
    one_id = call.arguments["id"]
    if not is_uuid(one_id):
        raise faults.not_found("policy", one_id)
    return Answer(200, {"policy": views.qos_policy(one_id, call.caller.project_id)})


def _none(plural: str) -> Callable[[Call], Answer]:
    return lambda call: lists.answer(call, plural, ())


def router(call: Call) -> Answer:
    raise faults.not_found("router", call.arguments["id"])


def extensions(call: Call) -> Answer:
    return lists.answer(call, "extensions", map(views.extension, views.EXTENSIONS))


def extension(call: Call) -> Answer:
    alias = call.arguments["alias"]
    if alias not in views.EXTENSIONS:
        raise faults.not_found("extension", alias)
    return Answer(200, {"extension": views.extension(alias)})


ROUTES = (
    *(made for kind in (NETWORKS, SUBNETS, PORTS, FLOATING_IPS) for made in kind.routes()),
    route("/security-groups", {"GET": security_groups}),
    route("/security-groups/{id}", {"GET": security_group}),
    route("/security-group-rules", {"GET": _none("security_group_rules")}),
    route("/qos/policies", {"GET": qos_policies}),
    route("/qos/policies/{id}", {"GET": qos_policy}),
    route("/routers", {"GET": _none("routers")}),
    route("/routers/{id}", {"GET": router}),
    route("/extensions", {"GET": extensions}),
    route("/extensions/{alias}", {"GET": extension}),
)
