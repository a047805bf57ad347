# SPDX-License-Identifier: Apache-2.0
"""Records what Octavia's API answers: plays scenarios/*.py against it and writes recordings/*.json.

    python3.11 -m venv /tmp/octavia && /tmp/octavia/bin/pip install octavia==19.0.0
    /tmp/octavia/bin/python tests/data/octavia_api/record.py [scenario ...]

No service is needed: octavia_server.py says what runs and what is replaced. A recording does not depend on the day or
on chance: UUIDs, allocated addresses and times have become symbols (symbols.py), so that recording again changes
nothing unless Octavia or a scenario did.

A recording is one JSON document, one step a line. A step that asks has `name`, `request` (method, path, body if any),
`status`, `answer` (the body, if any) or, for a body of faultcode, faultstring and debuginfo, `fault` (the faultstring),
and where they are not the usual ones `headers` (of the request), `raw` (a body that is not JSON), `answer_headers`. A
step that has `given` says what was done behind the API's back instead.
"""

import importlib
import json
import logging
import pathlib
import sys
import warnings

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))

import neutron  # noqa: E402
import octavia_server  # noqa: E402
import symbols  # noqa: E402

PATHS = {
    "loadbalancer": "loadbalancers",
    "listener": "listeners",
    "pool": "pools",
    "member": "pools/{in_}/members",
    "healthmonitor": "healthmonitors",
    "l7policy": "l7policies",
    "rule": "l7policies/{in_}/rules",
    "quota": "quotas",
    "flavor": "flavors",
    "flavorprofile": "flavorprofiles",
    "availability_zone": "availabilityzones",
    "availability_zone_profile": "availabilityzoneprofiles",
}
USUAL_HEADERS = {"Content-Type": "application/json", "X-Project-Id": "{project}"}


class Api:
    """What a scenario plays with. Bodies, paths and headers may hold symbols: `{lb}`."""

    def __init__(self, octavia):
        self.octavia = octavia
        self.steps = []
        self.symbols = symbols.Symbols(
            {octavia_server.PROJECT: "project"} | neutron.SYMBOLS | octavia.constants
        )
        self.pending = False

    def ask(self, method, path, body=None, *, name, bind=None, headers=None, raw=None):
        """One request. path: as it is with a leading slash, else below /v2/lbaas/. bind: a symbol for the answer's id.

        headers: instead of the usual ones where given, None takes one away.
        """
        path = path if path.startswith("/") else f"/v2/lbaas/{path}"
        self.symbols.asking(f"{path} {json.dumps(body)}")
        step = {"name": name, "request": [method, path] + ([] if body is None else [body])}
        if headers is not None:
            step["headers"] = headers
        if raw is not None:
            step["raw"] = raw
        sent = USUAL_HEADERS | (headers or {})
        sent = {field: self.symbols.meant(value) for field, value in sent.items() if value is not None}
        content = (raw if raw is not None else json.dumps(body) if body is not None else "").encode()
        status, answer_headers, answer = self.octavia.call(
            method,
            self.symbols.meant(path),
            sent,
            self.symbols.meant(content.decode()).encode(),
        )
        document = octavia_server.parsed(answer)
        if bind and status < 300:
            self.symbols.bind(bind, next(iter(document.values()))["id"])
        step["status"] = status
        if document is not None:
            answer = self._named(document, bind or f"step{len(self.steps)}", step["request"])
            if is_usual_fault(status, answer):
                step["fault"] = answer["faultstring"]
            else:
                step["answer"] = answer
        unusual = self._unusual(answer_headers, document)
        if unusual:
            step["answer_headers"] = unusual
        self._add(step)
        if method != "GET" and not self.pending:
            self.octavia.worker.work()
        return status

    def get(self, path, name=None, **options):
        return self.ask("GET", path, name=name or f"GET {path}", **options)

    def create(self, kind, name, /, *, bind=None, in_=None, **fields):
        path = PATHS[kind].replace("{in_}", in_ or "")
        return self.ask("POST", path, {kind: fields}, name=name, bind=bind)

    def update(self, kind, identity, name, /, *, in_=None, **fields):
        path = PATHS[kind].replace("{in_}", in_ or "")
        return self.ask("PUT", f"{path}/{identity}", {kind: fields}, name=name)

    def delete(self, kind, identity, name=None, *, in_=None):
        path = PATHS[kind].replace("{in_}", in_ or "")
        return self.ask("DELETE", f"{path}/{identity}", name=name or f"delete {kind} {identity}")

    def show(self, kind, identity, name=None, *, in_=None):
        path = PATHS[kind].replace("{in_}", in_ or "")
        return self.get(f"{path}/{identity}", name or f"show {kind} {identity}")

    def balancer(self, bind="lb", /, **fields):
        """The load balancer on which most scenarios play."""
        fields = {"vip_subnet_id": "{subnet}", "name": bind} | fields
        return self.create("loadbalancer", f"create load balancer {bind}", bind=bind, **fields)

    def leave_pending(self):
        """From here on no change is applied: what is written stays PENDING_*."""
        self._add({"given": {"applied": False}})
        self.pending = True

    def apply(self):
        self._add({"given": {"applied": True}})
        self.pending = False
        self.octavia.worker.work()

    def set_status(self, kind, identity, status):
        """As if the worker had left it so. kind: loadbalancer, listener, pool, member, …"""
        self._add({"given": {"kind": kind, "id": identity, "provisioning_status": status}})
        repository = {"loadbalancer": "load_balancer", "healthmonitor": "health_monitor"}.get(kind, kind)
        self.octavia.worker.set_status(repository, self.symbols.meant(identity), status)

    def _named(self, document, place, request):
        asked = json.dumps(request)
        if (
            isinstance(document, dict) and len(document) == 1
        ):  # the envelope of one object is no place of its own
            ((root, value),) = document.items()
            return {root: self.symbols.named(value, place, asked)}
        return self.symbols.named(document, place, asked)

    def _unusual(self, headers, document):
        usual = {"x-openstack-request-id": True}
        if document is not None:
            usual["content-type"] = "application/json"
        names = sorted(usual | headers)
        return {name: headers.get(name) for name in names if headers.get(name) != usual.get(name)}

    def _add(self, step):
        if any(step.get("name") == other["name"] for other in self.steps if "name" in other):
            raise ValueError(f"two steps are named {step['name']!r}")
        self.steps.append(step)


def is_usual_fault(status, answer):
    code = "Server" if status >= 500 else "Client"
    return answer == {
        "faultcode": code,
        "debuginfo": None,
        "faultstring": answer["faultstring"]
        if isinstance(answer, dict) and "faultstring" in answer
        else None,
    }


def written(document):
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def record(octavia, name):
    scenario = importlib.import_module(f"scenarios.{name}")
    strategy = getattr(scenario, "AUTH_STRATEGY", "noauth")
    octavia.reset(strategy)
    api = Api(octavia)
    scenario.play(api)
    about = written(scenario.__doc__.strip())
    lines = ",\n".join(written(step) for step in api.steps)
    recording = f'{{"octavia":"19.0.0","about":{about},"auth_strategy":"{strategy}","steps":[\n{lines}\n]}}\n'
    (HERE / "recordings" / f"{name}.json").write_text(recording)
    print(f"{name}: {len(api.steps)} steps, {len(recording)} bytes")


def main(names):
    logging.disable(logging.CRITICAL)
    octavia = octavia_server.Octavia()
    sys.excepthook = sys.__excepthook__  # Octavia sends it to its log
    (HERE / "recordings").mkdir(exist_ok=True)
    constants = {name: value for value, name in octavia.constants.items()}
    (HERE / "recordings" / "neighbours.json").write_text(
        json.dumps(neutron.NEIGHBOURS | {"constants": constants}, indent=1) + "\n"
    )
    known = sorted(path.stem for path in (HERE / "scenarios").glob("*.py"))
    for name in names or known:
        record(octavia, name)


if __name__ == "__main__":
    main(sys.argv[1:])
