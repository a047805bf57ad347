# SPDX-License-Identifier: Apache-2.0
"""Starts fastlb, HAProxy, nginx and the bare forwarder: one worker each, on one CPU, with equal features.

Equal means: round robin over the same members, HTTP keep-alive on both sides with member connections shared by
all clients, no log, no health check, no header added, no policies and no persistence unless the service asks for them.
Beyond that each peer runs as its package ships it.
"""

import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks import policies
from benchmarks.accounting import family
from benchmarks.placement import own
from benchmarks.toolchain import build


class Unavailable(Exception):
    """This peer can't take part, and why."""


@dataclass(frozen=True)
class Service:
    """What a balancer is asked to be in one workload."""

    protocol: Literal["HTTP", "TCP"]
    one_shot: bool = False
    """A connection per request. Only the bare forwarder, which reads nothing, has to be told."""
    bulk: bool = False
    """Large bodies: peers that have to be told to splice are told so only in their variant of that name."""
    algorithm: str = "ROUND_ROBIN"
    policies: str = ""
    """The name of a set in policies.py; the members are dealt to its pools."""
    cookie: bool = False
    """Session persistence by HTTP_COOKIE."""
    forwarded: bool = False
    """Insert X-Forwarded-For, -Port and -Proto."""


@dataclass
class Running:
    name: str
    port: int
    pids: list[int]
    process: subprocess.Popen[str]
    _log: Path = field(repr=False)

    def ask(self, **command: Any) -> dict[str, Any]:
        """Sends fastlb's control thread a command and waits for its answer. No other peer has one."""
        self.tell(**command)
        return self.answer()

    def tell(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended: {self.last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"


def _free_port() -> int:
    """A port that nothing listens on, below those the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(15000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


_HAPROXY_BALANCE = {"ROUND_ROBIN": "roundrobin", "LEAST_CONNECTIONS": "leastconn"}
_HAPROXY_FORWARDED = [  # as Octavia's template writes it
    "option forwardfor",
    "http-request set-header X-Forwarded-Port %[dst_port]",
    "http-request set-header X-Forwarded-Proto http",
]


def _haproxy_pool(service: Service, members: list[int]) -> list[str]:
    lines = ["option http-keep-alive", "http-reuse always"] if service.protocol == "HTTP" else []
    lines.append(f"balance {_HAPROXY_BALANCE[service.algorithm]}")
    if service.cookie:
        lines.append("cookie SRV insert indirect nocache")
    if service.forwarded:
        lines += _HAPROXY_FORWARDED
    for number, port in enumerate(members, 1):
        cookie = f" cookie {uuid.uuid5(uuid.NAMESPACE_URL, str(number))}" if service.cookie else ""
        lines.append(f"server m{number} 127.0.0.1:{port}{cookie}")
    return lines


def _haproxy_policies(service: Service, members: list[int], folder: Path, by_map: bool) -> list[str]:
    """The rest of a frontend that chooses among pools, and these."""
    wanted = policies.SETS[service.policies]()
    if by_map:
        for name, text in policies.haproxy_maps(wanted).items():
            (folder / name).write_text(text)
        lines = policies.HAPROXY_BY_MAP.format(folder=folder).splitlines()
    else:
        lines = policies.haproxy_lines(wanted)
    lines.append("default_backend pool0")
    for number, theirs in enumerate(policies.dealt(members)):
        lines += [f"backend pool{number}", *_haproxy_pool(service, theirs)]
    return lines


def _haproxy(
    service: Service, members: list[int], folder: Path, splice: bool = False, by_map: bool = False
) -> tuple[list[str], int]:
    port = _free_port()
    if service.policies:
        head, lines = "frontend", _haproxy_policies(service, members, folder, by_map)
    else:
        head, lines = "listen", _haproxy_pool(service, members)
    if splice:
        lines += ["option splice-request", "option splice-response"]
    (folder / "haproxy.cfg").write_text(
        f"""\
global
    nbthread 1
    maxconn {4000 if splice else 9000}

defaults
    mode {service.protocol.lower()}
    timeout connect 5s
    timeout client 60s
    timeout server 60s

{head} bench
bind 127.0.0.1:{port}
"""
        + "\n".join(lines)
        + "\n"
    )
    return [_program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], port


_NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
_NGINX_FORWARDED = """\
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Proto $scheme;"""


def _nginx(service: Service, members: list[int], folder: Path) -> tuple[list[str], int]:
    program = _program("nginx")
    port = _free_port()
    servers = "\n".join(f"        server 127.0.0.1:{member};" for member in members)
    if service.protocol == "TCP":
        if not _NGINX_STREAM.exists():
            raise Unavailable("nginx has no stream module here (Debian: libnginx-mod-stream)")
        head = f"load_module {_NGINX_STREAM};"
        body = f"""\
stream {{
    access_log off;
    upstream bench {{
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        proxy_pass bench;
    }}
}}"""
    else:
        head = ""
        forwarded = _NGINX_FORWARDED if service.forwarded else ""
        temporary = "\n".join(
            f"    {kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        body = f"""\
http {{
    access_log off;
{temporary}
    keepalive_requests 1000000000;
    upstream bench {{
{servers}
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://bench;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_max_temp_file_size 0;
{forwarded}
        }}
    }}
}}"""
    (folder / "nginx.conf").write_text(f"""\
{head}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 9500; }}
{body}
""")
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")], port


def _bare(service: Service, members: list[int], folder: Path) -> tuple[list[str], int]:
    patch = service.one_shot and service.protocol == "HTTP"
    options = ["--splice"] if service.bulk else ["--patch"] if patch else []
    return [str(build("bare")), *options, *map(str, members)], 0


def _fastlb(service: Service, members: list[int], folder: Path) -> tuple[list[str], int]:
    command = [sys.executable, "-m", "benchmarks.fastlb_peer", service.protocol, service.algorithm]
    if service.policies:
        command.append(f"--policies={service.policies}")
    command += ["--cookie"] * service.cookie + ["--forwarded"] * service.forwarded
    return [*command, *map(str, members)], 0


def _plain(service: Service) -> Service:
    """The same members without policies: what the policies cost is the difference."""
    return replace(service, policies="")


_COMMANDS: dict[str, Callable[[Service, list[int], Path], tuple[list[str], int]]] = {
    "haproxy": _haproxy,
    "haproxy-splice": lambda service, members, folder: _haproxy(service, members, folder, splice=True),
    "haproxy-map": lambda service, members, folder: _haproxy(service, members, folder, by_map=True),
    "haproxy-plain": lambda service, members, folder: _haproxy(_plain(service), members, folder),
    "nginx": _nginx,
    "fastlb": _fastlb,
    "fastlb-plain": lambda service, members, folder: _fastlb(_plain(service), members, folder),
    "bare": _bare,
}
NAMES = list(_COMMANDS)


def _wait_for_port(process: subprocess.Popen[str], port: int, deadline: float) -> None:
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise Unavailable("it did not listen")


@contextmanager
def running(name: str, service: Service, members: list[int], cpu: int) -> Iterator[Running]:
    """A balancer of that name, serving; it is stopped when the block is left."""
    with tempfile.TemporaryDirectory(prefix="fastlb-bench-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # nginx's worker may run as another user
        log = folder / "stderr"
        command, port = _COMMANDS[name](service, members, folder)
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=lambda: own(cpu),
            )
        peer = Running(name, port, [process.pid], process, log)
        try:
            if port:
                _wait_for_port(process, port, time.monotonic() + 10)
            else:
                assert process.stdout is not None
                said = process.stdout.readline().strip()
                if not said.isdigit():
                    process.wait(5)
                    raise Unavailable("it did not start")
                peer.port = int(said)
            peer.pids = family(process.pid)
            yield peer
        except Unavailable as why:
            raise Unavailable(f"{name}: {why}: {peer.last_words()}") from None
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def version(name: str) -> str:
    """What the peer says it is; empty if it is not installed."""
    if name == "bare":
        return "native/bare.c"
    if name == "fastlb":
        ask = "import fastlb; print(getattr(fastlb, '__version__', 'without a version'), fastlb.__file__)"
        done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
        return done.stdout.strip()
    try:
        program = _program(name.partition("-")[0])
    except Unavailable:
        return ""
    done = subprocess.run([program, "-v"], capture_output=True, text=True)
    return (done.stdout or done.stderr).splitlines()[0].removeprefix("nginx version: ").partition(" - ")[0]
