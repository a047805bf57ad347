# SPDX-License-Identifier: Apache-2.0
"""`/availabilityzones`, which are known by their names, and `/availabilityzoneprofiles`."""

from typing import Any, ClassVar

from fastlb.api import lists
from fastlb.api.call import Call
from fastlb.api.offers import Offered, Profiles
from fastlb.schema.offers import AvailabilityZoneProfileSpec, AvailabilityZoneSpec

PROFILES = Profiles(
    "availability_zone_profile",
    "/availabilityzoneprofiles",
    AvailabilityZoneProfileSpec,
    "Availability Zone Profile",
    lists.Listing(
        "availability_zone_profiles",
        frozenset(("id", "name", "provider_name", "availability_zone_data")),
        links="availability_zone_profile_links",
        tagged=False,
    ),
    data="availability_zone_data",
)


class AvailabilityZones(Offered):
    KEY: ClassVar[str] = "name"


ZONES = AvailabilityZones(
    "availability_zone",
    "/availabilityzones",
    AvailabilityZoneSpec,
    "Availability Zone",
    lists.Listing(
        "availability_zones",
        frozenset(("name", "description", "enabled", "availability_zone_profile_id")),
        tagged=False,
        key="name",
    ),
    profiles=PROFILES,
    field="availability_zone",
)
ROUTES = (*ZONES.routes(), *PROFILES.routes())


def check_asked(call: Call, fields: dict[str, Any]) -> None:
    """Look at the zone that the fields of a new load balancer name. Raises BadRequest."""
    ZONES.check_asked(call, fields, "Invalid availability zone.")
