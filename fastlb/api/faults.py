# SPDX-License-Identifier: Apache-2.0
"""Errors as Octavia's API answers them: `{"faultcode", "faultstring", "debuginfo"}`, and the routing layer's form."""

import logging
import re

from fastlb.api.call import Answer, RouteError, Unauthorized
from fastlb.errors import ConfigError, FastLBError

log = logging.getLogger("fastlb.api")

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
}


UNKNOWN = "Unknown attribute for argument "
INVALID = "Invalid input for field/attribute "


def of(error: Exception, place: str = "") -> Answer:
    """The answer to a request that ended in this error. place: `Call.place`."""
    if isinstance(error, RouteError):
        body = {"code": error.status, "title": error.title, "description": error.description}
        return Answer(error.status, body, error.headers)
    if isinstance(error, Unauthorized):
        # As keystonemiddleware words it: that is what stands before Octavia and answers there.
        words = {"code": 401, "title": TITLES[401], "message": str(error)}
        return Answer(401, {"error": words}, {"WWW-Authenticate": f'Keystone uri="{error.uri}"'})
    if isinstance(error, FastLBError):
        if error.status == 500:
            log.error("a request could not be answered: %s", error)
        return fault(error.status, _within(error, place))
    log.error("a request ended in an error that nobody foresaw", exc_info=error)
    return fault(500, "An unknown exception occurred.")


def _within(error: FastLBError, place: str) -> str:
    """Its message, with the place in the body for the field's bare name: what Octavia says, and for objects in
    objects which of them it is."""
    text = error.fault
    if not isinstance(error, ConfigError):
        return text
    if text.startswith(f"{UNKNOWN}<root>: "):
        above, _, name = error.field.rpartition(".")
        names = re.sub(r"\[\d+\]", "", above)
        return f"{UNKNOWN}{place}{'.' if names else ''}{names}: {name}"
    bare, given, rest = text.removeprefix(INVALID).partition(". Value: '")
    if text.startswith(INVALID) and given and error.field.endswith(f".{bare}"):
        return f"{INVALID}{error.field}{given}{rest}"
    return text


def fault(status: int, message: str) -> Answer:
    code = "Server" if status >= 500 else "Client"
    return Answer(status, {"faultcode": code, "faultstring": message, "debuginfo": None})


def routing(status: int, description: str | None = "", headers: dict[str, str] | None = None) -> RouteError:
    return RouteError(status, TITLES.get(status, "Error"), description, headers)
