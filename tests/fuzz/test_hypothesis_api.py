# SPDX-License-Identifier: Apache-2.0
"""Any JSON at all, at every path and method of the REST API: an answer in one of Octavia's forms, never a 500.

`tests.fuzz.api` is the long run, with bodies that are almost right; here hypothesis makes the smallest body that fails.
"""

import http.client
import json
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlb
from fastlb.api import amphorae, app, keystone, neutron
from fastlb.api.server import Server
from fastlb.controller import Controller
from fastlb.schema.field import rules
from fastlb.store.memory import MemoryStore

ROOTS = {
    "loadbalancers": ("loadbalancer", fastlb.schema.LoadBalancerSpec),
    "listeners": ("listener", fastlb.schema.ListenerSpec),
    "pools": ("pool", fastlb.schema.PoolSpec),
    "members": ("member", fastlb.schema.MemberSpec),
    "healthmonitors": ("healthmonitor", fastlb.schema.HealthMonitorSpec),
    "l7policies": ("l7policy", fastlb.schema.L7PolicySpec),
    "rules": ("rule", fastlb.schema.L7RuleSpec),
}
ROUTES = [
    *(("/v2/lbaas", route) for resource in app.RESOURCES for route in resource.ROUTES),
    *(("/v2/octavia", route) for route in amphorae.ROUTES),
    *(("/v2", route) for route in neutron.ROUTES),
    *(("", route) for route in keystone.ROUTES),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def bodies(path):
    """Any JSON; below a resource's root key, also objects of its own fields with any values."""
    collection = next((part for part in reversed(path.split("/")) if part in ROOTS), None)
    if collection is None:
        return JSON
    root, spec = ROOTS[collection]
    names = st.sampled_from([*rules(spec), "loadbalancer_id", "listener_id", "pool_id", "project_id", "id"])
    fields = st.dictionaries(names, JSON, max_size=5)
    return JSON | st.fixed_dictionaries({root: fields | JSON})


@st.composite
def asked(draw):
    prefix, route = draw(st.sampled_from(ROUTES))
    path = prefix
    for part in route.path.split("/")[1:]:
        words = st.text(min_size=1, max_size=8) | st.uuids().map(str)
        path += "/" + (urllib.parse.quote(draw(words), safe="") if part.startswith("{") else part)
    query = draw(
        st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["limit", "marker", "sort", "fields"]),
            st.text(max_size=8),
            max_size=3,
        )
    )
    method = draw(st.sampled_from([*route.methods, "GET", "POST", "PUT", "DELETE"]))
    body = draw(
        st.none() | bodies(route.path).map(lambda body: json.dumps(body).encode()) | st.binary(max_size=20)
    )
    return method, path, query, body


@pytest.fixture(scope="module")
def server():
    engine = fastlb.Engine(workers=1)
    with Controller(MemoryStore(), engine=engine) as controller, Server(controller) as server:
        yield server
    engine.stop(0)


# The same examples in each run; raise max_examples, and take derandomize away, to look for more.
@settings(max_examples=400, deadline=None, derandomize=True)
@given(request=asked())
def test_no_json_ends_in_an_error_of_ours(server, request):
    method, path, query, body = request
    client = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    try:
        target = path + ("?" + urllib.parse.urlencode(query, errors="surrogatepass") if query else "")
        client.request(method, target, body, {"Content-Type": "application/json"} if body else {})
        response = client.getresponse()
        raw = response.read()
    finally:
        client.close()
    assert response.status < 500 or response.status == 501, raw
    if response.status >= 400 and method != "HEAD":
        assert json.loads(raw).keys() & {"faultstring", "description", "NeutronError", "error"}
