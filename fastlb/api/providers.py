# SPDX-License-Identifier: Apache-2.0
"""`/providers`: the names under which clients may ask for us, and what profiles for them may say."""

from collections.abc import Callable

from fastlb.api import faults, lists
from fastlb.api.call import Answer, Call, Route
from fastlb.api.capabilities import CAPABILITIES, check_provider
from fastlb.schema.load_balancer import PROVIDERS

DESCRIPTIONS = {
    "amphora": "fastlb, under the name of Octavia's reference driver.",
    "octavia": "Octavia's older alias of amphora.",
    "fastlb": "fastlb under its own name.",
}


def index(call: Call) -> Answer:
    rows = [{"name": name, "description": DESCRIPTIONS[name]} for name in PROVIDERS]
    return Answer(200, {"providers": [lists.some_fields(call, row) for row in rows]})


def _capabilities(kind: str, plural: str) -> Callable[[Call], Answer]:
    def handler(call: Call) -> Answer:
        call.check_admin()
        check_provider(call.arguments["provider"])
        rows = [
            {"name": name, "description": capability.description}
            for name, capability in CAPABILITIES[kind].items()
        ]
        for name in ("name", "description"):
            wanted = call.one(name)
            rows = [row for row in rows if not wanted or row[name] == wanted]
        return Answer(200, {plural: [lists.some_fields(call, row) for row in rows]})

    return handler


def nothing(call: Call) -> Answer:
    """So Octavia answers what it does not have below a provider."""
    raise faults.routing(405, headers={"Allow": "GET"})


ONE = "/providers/{provider}"
FLAVOR, ZONE = "flavor_capabilities", "availability_zone_capabilities"
ROUTES = (
    Route("/providers", {"GET": index}),
    Route(f"{ONE}/{FLAVOR}", {"GET": _capabilities("flavor_data", FLAVOR)}),
    Route(f"{ONE}/{ZONE}", {"GET": _capabilities("availability_zone_data", ZONE)}),
    Route(f"{ONE}/{{rest:path}}", {"GET": nothing}),
    Route(ONE, {"GET": nothing}),
)
