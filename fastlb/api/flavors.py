# SPDX-License-Identifier: Apache-2.0
"""`/flavors` and `/flavorprofiles`, and what a new load balancer's flavor says about its provider."""

from typing import Any

from fastlb.api import lists
from fastlb.api.call import BadRequest, Call
from fastlb.api.offers import Offered, Profiles
from fastlb.schema import kinds
from fastlb.schema.offers import FlavorProfileSpec, FlavorSpec

PROFILES = Profiles(
    "flavorprofile",
    "/flavorprofiles",
    FlavorProfileSpec,
    "Flavor Profile",
    lists.Listing(
        "flavorprofiles",
        frozenset(("id", "name", "provider_name", "flavor_data")),
        links="flavorprofile_links",
        tagged=False,
    ),
    argument="flavor_profile_",
    deleted="Flavor profile",
    data="flavor_data",
)
FLAVORS = Offered(
    "flavor",
    "/flavors",
    FlavorSpec,
    "Flavor",
    lists.Listing(
        "flavors",
        frozenset(("id", "name", "description", "enabled", "flavor_profile_id")),
        tagged=False,
    ),
    profiles=PROFILES,
    field="flavor_id",
)
ROUTES = (*FLAVORS.routes(), *PROFILES.routes())


def check_asked(call: Call, fields: dict[str, Any]) -> None:
    """Look at the flavor that the fields of a new load balancer name, and fill in the provider it is for. Raises
    BadRequest."""
    if isinstance(fields.get("flavor_id"), str):
        kinds.uuid("flavor_id", fields["flavor_id"], True)
    profile = FLAVORS.check_asked(call, fields, "Invalid flavor_id.")
    if profile is None:
        return
    provider = profile["provider_name"]
    if fields.setdefault("provider", provider) not in (None, provider):
        raise BadRequest(
            f"Flavor '{fields['flavor_id']}' is not compatible with provider '{fields['provider']}'"
        )
    fields["provider"] = provider
