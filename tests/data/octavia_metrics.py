# SPDX-License-Identifier: Apache-2.0
"""Records the metrics of a PROMETHEUS listener: octavia_metrics.txt.

    python -m venv /tmp/octavia && /tmp/octavia/bin/pip install octavia==19.0.0 psutil
    /tmp/octavia/bin/python tests/data/octavia_metrics.py > tests/data/octavia_metrics.txt

It runs Octavia's own translator over a real haproxy (2.6 or newer, with the prometheus-exporter) that has an HTTP and a
TCP listener, each with a pool of one member, and has never seen a client.
"""

import http.server
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

from octavia.cmd import prometheus_proxy

CONFIG = """
defaults
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend prometheus-exporter-internal-endpoint
    bind 127.0.0.1:{source}
    mode http
    http-request use-service prometheus-exporter if {{ path /metrics }}
frontend http
    mode http
    bind 127.0.0.1:{http}
    default_backend pool:http
frontend tcp
    mode tcp
    bind 127.0.0.1:{tcp}
    default_backend pool:tcp
backend pool:http
    mode http
    server one 127.0.0.1:9
backend pool:tcp
    mode tcp
    server one 127.0.0.1:9
"""
SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def scraped():
    """What a client of Octavia's is answered."""
    ports = {name: free_port() for name in ("source", "http", "tcp")}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "haproxy.cfg")
        path.write_text(CONFIG.format(**ports))
        haproxy = subprocess.Popen(["haproxy", "-q", "-f", path])
        prometheus_proxy.METRICS_URL = f"http://127.0.0.1:{ports['source']}/metrics"
        server = http.server.HTTPServer(("127.0.0.1", 0), prometheus_proxy.PrometheusProxy)
        threading.Thread(target=server.serve_forever).start()
        try:
            for _ in range(100):
                time.sleep(0.1)
                try:
                    return urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").read().decode()
                except OSError:
                    continue
            raise SystemExit("haproxy did not come up")
        finally:
            server.shutdown()
            haproxy.terminate()
            haproxy.wait()


def rows(text):
    """A line for each name: type, labels, and on a TCP listener `-` where an HTTP one has it; then the values."""
    types = dict(line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE "))
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels or ""))
            kind = "tcp" if "tcp" in (labels or "") else "http" if labels else ""
            of_name = found.setdefault(name, (sorted(pairs), {"": [], "http": [], "tcp": []}))
            of_name[1][kind].append(pairs.get("state", "") + pairs.get("code", "") + "=" + value)
    for name, (labels, values) in found.items():
        without = "-" if values["http"] and not values["tcp"] else ""
        shown = " ".join(one.lstrip("=") for one in values[""] or values["http"])
        yield f"{name} {types[name]} {','.join(labels) or '-'} {without or '+'} {shown}"


print(
    "# made by octavia_metrics.py: name, type, labels, + or - (not on TCP listeners), values without any client"
)
print(*rows(scraped()), sep="\n")
