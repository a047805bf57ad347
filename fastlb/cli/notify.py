# SPDX-License-Identifier: Apache-2.0
"""systemd's sd_notify: one datagram to the socket that the environment names.

Of our own, as it is these few lines: the libraries for it wrap the same `sendto` and would be one more thing to
install.
"""

import os
import socket


def notify(state: str) -> None:
    """Tell the service manager, if there is one: `READY=1`, `STOPPING=1`. Whether it hears is its own business."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            # A name that begins with @ is in the abstract namespace, where its first byte is zero.
            sender.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            return
