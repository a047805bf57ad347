# SPDX-License-Identifier: Apache-2.0
"""A running balancer on loopback, its scripted members, and the check that nothing of a test stays behind."""

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import textwrap

import pytest

import fastlb
from fastlb.testing import Client, Member, eventually, open_descriptors, resident_bytes, threads

WORKERS = 2


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "workers(n): how many workers the engine of this test has (two without it)"
    )


@pytest.fixture(autouse=True)
def nothing_stays_behind():
    """Afterwards the process has the descriptors and threads it had before: engine, members and clients are
    gone."""
    files, tasks = open_descriptors(), threads()
    yield

    def left():
        now, alive = open_descriptors(), threads()
        more_files = {number: name for number, name in now.items() if files.get(number) != name}
        more_tasks = {number: name for number, name in alive.items() if number not in tasks}
        assert not more_files, f"descriptors left open: {more_files}"
        assert not more_tasks, f"threads left running: {more_tasks}"
        return True

    eventually(left, 3.0)


@pytest.fixture
def engine(request, nothing_stays_behind):
    """An engine of two workers, or as many as the test is marked with; stopped afterwards without grace."""
    marker = request.node.get_closest_marker("workers")
    engine = fastlb.Engine(workers=marker.args[0] if marker else WORKERS)
    yield engine
    engine.stop(0)


@pytest.fixture
def spent_memory():
    """`spent = spent_memory()`, and later `spent()`: by how many bytes the process has grown since.

    Sanitizers hold freed memory back, so that a use of it is seen: their builds count as not growing.
    """

    def begin():
        before = resident_bytes()
        sanitized = os.environ.get("FASTLB_BUILD") in ("asan", "tsan")
        return lambda: 0 if sanitized else resident_bytes() - before

    return begin


@dataclasses.dataclass
class Balancer:
    """A load balancer with one listener and one pool, and a client for it."""

    lb: fastlb.LoadBalancer
    listener: fastlb.Listener
    pool: fastlb.Pool | None
    members: list
    client: Client

    def add(self, member, **options):
        """Add a peer to the pool."""
        added = self.pool.create_member(member.address, member.port, **options)
        self.members.append(added)
        return added


@pytest.fixture
def balance(engine):
    """`balance(one, two, protocol="HTTP", listener={…}, pool={…}, options=[{"weight": 3}, {}])`: a running
    Balancer.

    Its arguments are peers of fastlb.testing (or anything with address and port). It is closed behind the
    test.
    """
    with contextlib.ExitStack() as stack:

        def make(
            *peers,
            protocol="HTTP",
            algorithm="ROUND_ROBIN",
            address="127.0.0.1",
            listener=(),
            pool=(),
            options=(),
            with_pool=True,
            start=True,
            monitor=None,
        ):
            lb = fastlb.LoadBalancer(name="wire", vip_address=address, engine=engine)
            stack.callback(lb.close)
            stack.callback(lb.stop, 0)
            front = lb.create_listener(protocol=protocol, protocol_port=0, **dict(listener))
            back, members = None, []
            if with_pool:
                back = front.create_pool(protocol=protocol, lb_algorithm=algorithm, **dict(pool))
                for index, peer in enumerate(peers):
                    fields = options[index] if index < len(options) else {}
                    members.append(back.create_member(peer.address, peer.port, **fields))
                if monitor is not None:
                    back.create_health_monitor(**monitor)
            if start:
                lb.start()
            return Balancer(lb, front, back, members, Client(address, front.protocol_port if start else 0))

        yield make


@pytest.fixture
def member(nothing_stays_behind):
    """`member(script, …)`: a running scripted member, closed behind the test; what fails in its script fails
    the test."""
    with contextlib.ExitStack() as stack:

        def make(script=None, **options):
            return stack.enter_context(Member(script, **options))

        yield make


@pytest.fixture
def child(child_environment):
    """`child(source, *arguments)`: run a program with this interpreter and this fastlb; its standard
    output."""

    def run(source, *arguments, timeout=60):
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=child_environment,
        )
        assert result.returncode == 0, f"exit {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    return run


@pytest.fixture
def listening():
    """`listening(port)`: how many sockets of this process listen on it."""

    def count(port):
        found = 0
        for number, name in open_descriptors().items():
            if name.startswith("socket:"):
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as copy:
                    listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    found += listens and copy.getsockname()[1] == port
        return found

    return count


NAMESPACE = """
import ctypes, faulthandler, os, subprocess, sys
faulthandler.dump_traceback_later(30, exit=True)
def ip(*words):
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    if subprocess.run(["ip", *words], env=plain).returncode:
        sys.exit(77)
libc, USER, NETWORK = ctypes.CDLL(None), 0x10000000, 0x40000000
if libc.unshare(NETWORK) and libc.unshare(USER | NETWORK):
    sys.exit(77)
ip("link", "set", "lo", "up")
"""


@pytest.fixture
def namespace(child_environment):
    """`namespace(source)`: run a program in a network of its own, which has a loopback device alone; its output.

    `ip("address", "add", …)` there is the command, and `import tun` the module beside this one. The test is skipped
    where the machine has not the right.
    """
    folder = f"sys.path.append({os.path.dirname(__file__)!r})\n"

    def run(source):
        result = subprocess.run(
            [sys.executable, "-c", NAMESPACE + folder + textwrap.dedent(source)],
            capture_output=True,
            text=True,
            timeout=60,
            env=child_environment,
        )
        if result.returncode == 77:
            pytest.skip("no right to a network namespace")
        assert result.returncode == 0, f"exit {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    return run


@pytest.fixture
def child_environment():
    """The environment of a child that has to find the same fastlb."""
    place = os.path.dirname(os.path.dirname(fastlb.__file__))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([place, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]),
    }


@pytest.fixture
def plain_environment():
    """The environment of a program that is not ours: without a sanitizer that was preloaded for us."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


@pytest.fixture
def program():
    """`program("nginx")`: the path of an installed program; the test is skipped where there is none."""

    def find(name):
        path = shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
        if path is None:
            pytest.skip(f"{name} not installed")
        return path

    return find
