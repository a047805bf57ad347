# SPDX-License-Identifier: Apache-2.0
"""Errors as Octavia's API answers them: `{"faultcode", "faultstring", "debuginfo"}`, and the routing layer's form."""

import logging

from fastlb.api.call import Answer, RouteError, Unauthorized
from fastlb.errors import FastLBError

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


def of(error: Exception) -> Answer:
    """The answer to a request that ended in this error."""
    if isinstance(error, RouteError):
        body = {"code": error.status, "title": error.title, "description": error.description}
        return Answer(error.status, body, error.headers)
    if isinstance(error, Unauthorized):
        # As keystonemiddleware words it: that is what stands before Octavia and answers there.
        words = {"code": 401, "title": TITLES[401], "message": str(error)}
        return Answer(401, {"error": words}, {"WWW-Authenticate": f'Keystone uri="{error.uri}"'})
    if isinstance(error, FastLBError):
        return fault(error.status, error.fault)
    log.error("a request ended in an error that nobody foresaw", exc_info=error)
    return fault(500, "An unknown exception occurred.")


def fault(status: int, message: str) -> Answer:
    code = "Server" if status >= 500 else "Client"
    return Answer(status, {"faultcode": code, "faultstring": message, "debuginfo": None})


def routing(status: int, description: str = "", headers: dict[str, str] | None = None) -> RouteError:
    return RouteError(status, TITLES.get(status, "Error"), description, headers)
