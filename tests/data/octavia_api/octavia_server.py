# SPDX-License-Identifier: Apache-2.0
"""Octavia's own API application in this process: SQLite, the real amphora driver, messages to nobody.

What is replaced: Neutron (neutron.py), RabbitMQ (oslo.messaging's fake transport) and the workers and heartbeats
(octavia_worker.py). Certificates are those of Octavia's no-op certificate manager.
"""

import json
import tempfile

import neutron
import octavia_worker
import webob
from oslo_config import cfg

BASE_URL = "http://octavia.test"
PROJECT = "9a000000-0000-4000-8000-000000000001"

CONFIG = """
[DEFAULT]
transport_url = fake://
use_stderr = false
[database]
connection = sqlite:///{folder}/octavia.db
[api_settings]
auth_strategy = noauth
[certificates]
cert_manager = noop_cert_manager
[controller_worker]
compute_driver = compute_noop_driver
image_driver = image_noop_driver
volume_driver = volume_noop_driver
"""


class Octavia:
    """One API server; `reset` empties its database."""

    def __init__(self):
        from octavia.common import config, utils

        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            self.folder = (
                tempfile.TemporaryDirectory()
            )  # one connection would not do: the driver reads on its own
            file.write(CONFIG.format(folder=self.folder.name))
            file.flush()
            config.init(["--config-file", file.name])
        cfg.CONF.set_override("pool_timeout", None, group="database")  # SQLite has no pool
        config.setup_logging(cfg.CONF)
        self.neutron = neutron.Neutron()
        utils.get_network_driver = lambda: self.neutron
        self.constants = {cfg.CONF.api_settings.default_listener_ciphers: "default_ciphers"}
        self.app = self._app()
        self.worker = octavia_worker.Worker()

    def _app(self):
        from octavia.api import app
        from octavia.common import rpc
        from pecan import configuration, make_app

        rpc.init()
        pecan_config = app.get_pecan_config()
        configuration.set_config(dict(pecan_config), overwrite=True)
        settings = pecan_config.app
        return make_app(
            settings.root, wrap_app=app._wrap_app, debug=False, hooks=settings.hooks, wsme=pecan_config.wsme
        )

    def reset(self, auth_strategy="noauth"):
        cfg.CONF.set_override("auth_strategy", auth_strategy, group="api_settings")
        self.neutron = neutron.Neutron()
        self.worker.reset()

    def call(self, method, path, headers, body):
        """(status, headers, body) of the answer. path: with its query; body: bytes."""
        request = webob.Request.blank(path, base_url=BASE_URL, method=method, headers=headers, body=body)
        try:
            answer = request.get_response(self.app)
        except Exception:  # what Octavia does not catch, its web server answers
            return 500, {"x-openstack-request-id": False}, b""
        kept = {}
        for name in ("Content-Type", "Allow", "Location"):
            if name in answer.headers:
                kept[name.lower()] = answer.headers[name]
        kept["x-openstack-request-id"] = answer.headers.get("x-openstack-request-id", "").startswith("req-")
        return answer.status_int, kept, answer.body


def parsed(body):
    """JSON as it is, other text as {"text": …}, None for nothing."""
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return {"text": body.decode()}
