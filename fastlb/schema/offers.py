# SPDX-License-Identifier: Apache-2.0
"""The fields of what administrators offer: flavors, availability zones, their profiles, and a project's quota."""

from typing import Annotated, Any

from fastlb.schema import kinds
from fastlb.schema.field import Null, Record, Rule

DATA_CHARACTERS = 4096


class FlavorSpec(Record, frozen=True, kw_only=True):
    name: Annotated[str, Rule(kinds.text(255), null="")]
    description: Annotated[str, Rule(kinds.text(255), null="")] = ""
    enabled: Annotated[bool, Rule(kinds.boolean)] = True
    flavor_profile_id: Annotated[str, Rule(kinds.uuid, live=False)]


class FlavorProfileSpec(Record, frozen=True, kw_only=True):
    name: Annotated[str, Rule(kinds.text(255), null="", reset=Null.REFUSED)]
    provider_name: Annotated[str, Rule(kinds.text(255))]
    flavor_data: Annotated[str, Rule(kinds.text(DATA_CHARACTERS))]


class AvailabilityZoneSpec(Record, frozen=True, kw_only=True):
    name: Annotated[str, Rule(kinds.text(255, 1), live=False)]
    """Also its id, so an empty one could not be asked for."""
    description: Annotated[str, Rule(kinds.text(255), null="")] = ""
    enabled: Annotated[bool, Rule(kinds.boolean)] = True
    availability_zone_profile_id: Annotated[str, Rule(kinds.uuid, live=False)]


class AvailabilityZoneProfileSpec(Record, frozen=True, kw_only=True):
    name: Annotated[str, Rule(kinds.text(255), null="", reset=Null.REFUSED)]
    provider_name: Annotated[str, Rule(kinds.text(255))]
    availability_zone_data: Annotated[str, Rule(kinds.text(DATA_CHARACTERS))]


def _limit() -> Any:
    return Rule(kinds.integer(-1, 2_000_000_000), null=None)


class QuotaSpec(Record, frozen=True, kw_only=True):
    """What a project may have of each kind; -1: any number, None: the default."""

    loadbalancer: Annotated[int | None, _limit()] = None
    listener: Annotated[int | None, _limit()] = None
    pool: Annotated[int | None, _limit()] = None
    member: Annotated[int | None, _limit()] = None
    healthmonitor: Annotated[int | None, _limit()] = None
    l7policy: Annotated[int | None, _limit()] = None
    l7rule: Annotated[int | None, _limit()] = None
