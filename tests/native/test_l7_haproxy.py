# SPDX-License-Identifier: Apache-2.0
"""L7 rules see what HAProxy sees (recorded by tests/data/haproxy_l7.py); where they do not, the reason stands here."""

import json
import pathlib

import pytest

RECORDED = json.loads((pathlib.Path(__file__).parents[1] / "data" / "haproxy_l7.json").read_text())
OTHERWISE = {
    # An empty cookie is one wherever it stands: to HAProxy, only if something follows it.
    ("Cookie: c=\r\n\r\n", "COOKIE"),
    # A host is one value; HAProxy splits it at commas, as it does fields that are lists.
    ("Host: x,h\r\n\r\n", "HOST_NAME"),
    # What is forwarded for it has the path "/".
    ("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", "PATH"),
}


@pytest.fixture(scope="session")
def program(native):
    rules = [(*rule, False) for rule in RECORDED["rules"]]
    return native("l7").Program([("REJECT", 0, "", None, rules)])


@pytest.mark.parametrize(("request_text", "hits"), RECORDED["requests"])
def test_rules_match_where_haproxy_s_do(program, request_text, hits):
    found = program.explain(request_text.encode("latin-1"))[0]
    differing = {rule[0] for i, rule in enumerate(RECORDED["rules"]) if found[i] != (i in hits)}
    assert differing == {type_ for end, type_ in OTHERWISE if request_text.endswith(end)}


def test_recording_has_hits_and_misses_of_each_rule():
    """Else it would show nothing of that rule. What no request can have is named."""
    never = {'""', '"b "', '"a,b"', '"v;w"', "v,d=e", "*", "/a?b"}
    for i, rule in enumerate(RECORDED["rules"]):
        hits = sum(i in found for _, found in RECORDED["requests"])
        assert (hits == 0) == (rule[3] in never), rule
        assert hits < len(RECORDED["requests"]), rule
