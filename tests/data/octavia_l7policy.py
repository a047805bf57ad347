# SPDX-License-Identifier: Apache-2.0
"""Records what Octavia makes of an L7 policy's action, targets and code, in every combination: octavia_l7policy.txt.

    python -m venv /tmp/octavia && /tmp/octavia/bin/pip install octavia==19.0.0
    /tmp/octavia/bin/python tests/data/octavia_l7policy.py > tests/data/octavia_l7policy.txt

It runs what a POST and a PUT run: the types of the API, its sanitizer, and (copied below, as it is bound to a database)
what the repository adds to an update.
"""

import itertools

from octavia.api.v2.types import l7policy
from octavia.common import exceptions, validate
from wsme import exc
from wsme.rest import json

NEW, OLD = "6f1e7a52-3d1b-4c68-9f0a-0b8f7f1f2c3d", "0b8f7f1f-2c3d-4c68-9f0a-6f1e7a523d1b"
FIELDS = ("action", "redirect_url", "redirect_prefix", "redirect_pool_id", "redirect_http_code")
LETTERS = {"REJECT": "R", "REDIRECT_TO_URL": "U", "REDIRECT_PREFIX": "X", "REDIRECT_TO_POOL": "P"}
TARGETS = {"U": "redirect_url", "X": "redirect_prefix", "P": "redirect_pool_id"}
GIVEN = (
    {"-": ..., "0": None} | {letter: action for action, letter in LETTERS.items()},
    {"-": ..., "0": None, "n": "http://new/"},
    {"-": ..., "0": None, "n": "http://new/"},
    {"-": ..., "0": None, "n": NEW},
    {"-": ..., "0": None, "301": 301},
)
BEFORE = ("R", "R301", "U301", "X302", "P")


def spelled(policy):
    """`U302n`: the action, its code, whether its target is new, old, or (0) not there."""
    letter = LETTERS[policy["action"]]
    target = policy[TARGETS[letter]] if letter in TARGETS else ""
    mark = "" if target == "" else "0" if target is None else "n" if target in ("http://new/", NEW) else "o"
    return f"{letter}{policy['redirect_http_code'] or ''}{mark}"


def meant(letters):
    policy = dict.fromkeys(FIELDS) | {
        "action": next(a for a, letter in LETTERS.items() if letter == letters[0])
    }
    policy["redirect_http_code"] = int(letters[1:]) if letters[1:] else None
    if letters[0] in TARGETS:
        policy[TARGETS[letters[0]]] = OLD if letters[0] == "P" else "http://old/"
    return policy


def post(body):
    policy = json.fromjson(l7policy.L7PolicyPOST, body | {"listener_id": NEW}).to_dict(render_unsets=True)
    for _ in range(2):
        policy = validate.sanitize_l7policy_api_args(policy, create=True)
        if policy["redirect_url"] or policy["redirect_prefix"]:
            policy["redirect_http_code"] = policy["redirect_http_code"] or 302
    return policy


def put(before, body):
    changes = json.fromjson(l7policy.L7PolicyPUT, body).to_dict(render_unsets=False)
    changes = validate.sanitize_l7policy_api_args(validate.sanitize_l7policy_api_args(changes))
    action = changes.get("action")
    if action in ("REJECT", "REDIRECT_TO_POOL"):
        changes["redirect_http_code"] = None
    if action:
        kept = TARGETS.get(LETTERS[action])
        changes |= {field: None for field in TARGETS.values() if field != kept}
    return before | changes


def outcome(make, *arguments):
    try:
        return spelled(make(*arguments))
    except (exceptions.APIException, exc.ClientSideError, ValueError):
        return "!"


print(
    "# made by octavia_l7policy.py. Given: - left out, 0 null, n new; outcome: ! refused, n, o the new, old target"
)
print("#", "action url prefix pool code | POST |", *(f"PUT:{before}" for before in BEFORE))
for asked in itertools.product(*GIVEN):
    values = [given[key] for given, key in zip(GIVEN, asked, strict=True)]
    body = {field: value for field, value in zip(FIELDS, values, strict=True) if value is not ...}
    created = outcome(post, body) if "action" in body else "!"
    print(*asked, "|", created, "|", *(outcome(put, meant(before), body) for before in BEFORE))
