# SPDX-License-Identifier: Apache-2.0
"""Octavia's REST API v2 over a `Controller`: `app.create_app(controller)` is an ASGI application.

`call` is what a handler gets and gives, `app` turns HTTP into calls, `faults` turns errors into Octavia's two forms,
`lists` filters, sorts and pages; one module a resource has its handlers and their `ROUTES`.
"""
