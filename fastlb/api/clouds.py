# SPDX-License-Identifier: Apache-2.0
"""A clouds.yaml by which `openstack --os-cloud fastlb …` and openstacksdk find this server."""

import json
import socket

from fastlb.api.settings import Settings
from fastlb.errors import ConfigError


def yaml(settings: Settings) -> str:
    """Raises ConfigError where clients could not connect: to a Unix socket, or to a port that is not known yet."""
    bind = settings.bind
    if bind.path:
        raise ConfigError("bind", str(bind), "must be an address: OpenStack's clients know no Unix sockets")
    if not bind.port:
        raise ConfigError(
            "bind", str(bind), "must have a port other than 0: nobody knows it before the start"
        )
    # Everywhere is nowhere to connect to.
    host = socket.getfqdn() if bind.host in ("0.0.0.0", "::") else bind.host
    host = f"[{host}]" if ":" in host else host
    endpoint = f"http{'s' if settings.tls else ''}://{host}:{bind.port}"
    lines = [
        "clouds:",
        "  fastlb:",
        *(f"    {line}" for line in _authentication(settings, endpoint)),
    ]
    return "\n".join(lines) + "\n"


def _authentication(settings: Settings, endpoint: str) -> list[str]:
    # A JSON string is one of YAML's, whatever is in it.
    place = json.dumps(endpoint)
    if settings.authentication == "none":
        return ["auth_type: none", "auth:", f"  endpoint: {place}"]
    if settings.authentication == "tokens":
        return [
            "auth_type: admin_token",
            "auth:",
            f"  endpoint: {place}",
            '  token: ""  # what `fastlb token create` printed',
            *(["# cacert: the file of the authority that signed the certificate"] if settings.tls else []),
        ]
    return [
        "auth_type: password",
        "auth:",
        '  auth_url: ""  # Keystone; its catalog has this server as load-balancer: ' + endpoint,
        '  username: ""',
        '  password: ""',
        '  project_name: ""',
        '  user_domain_name: "Default"',
        '  project_domain_name: "Default"',
    ]
