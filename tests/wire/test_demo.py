# SPDX-License-Identifier: Apache-2.0
"""`fastlb demo`, as a user runs it: the whole story holds, and nothing is left behind however it ends."""

import contextlib
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

TIMEOUT = 60.0


class Demo:
    """A running `fastlb demo`, its output read as it comes."""

    def __init__(self, folder: pathlib.Path, *arguments: str) -> None:
        # A session of its own, as in a terminal: what we signal is the demo, and not the test run.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastlb", "demo", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.output = ""

    def read_until(self, text: str) -> str:
        """All output so far, when `text` is in it; "" stands for its end."""
        deadline = time.monotonic() + TIMEOUT
        fd = self.process.stdout.fileno()
        while not text or text not in self.output:
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} after {TIMEOUT} s in:\n{self.output}"
            piece = os.read(fd, 65536)
            if not piece:
                break
            self.output += piece.decode()
        assert text in self.output, self.output
        return self.output

    def children(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"webserver\d(?: starts again)?: process (\d+)", self.output)]

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)  # as the terminal does: to the demo and its children

    def wait(self) -> int:
        self.read_until("")
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def demo(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> Demo:
            running = Demo(tmp_path, *arguments)
            stack.callback(running.close)
            return running

        yield start


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that has ended stays in the table until init has looked at it.
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def assert_all_end(pids: list[int]) -> None:
    assert pids
    deadline = time.monotonic() + 10.0
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, f"processes left: {left}"
        time.sleep(0.01)


def test_every_step_holds_then_it_serves_until_ctrl_c(demo, tmp_path):
    running = demo("--keep", "--delay", "1")
    output = running.read_until("Ctrl-C ends it")
    assert re.findall(r"^\d\. held", output, re.MULTILINE) == [f"{n}. held" for n in range(1, 7)], output
    assert re.search(r"Every step held: \d{3,} requests, 0 failed", output), output
    for status in ("NO_MONITOR", "ONLINE", "ERROR", "DEGRADED", "DRAINING"):
        assert f" {status} " in output

    url = re.search(r"curl (http://\S+)", output[output.index("Still running") :])[1]
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.read() in (b"you hit: webserver2\n", b"you hit: webserver3\n")

    children = running.children()
    assert len(set(children)) == 4  # webserver2 twice
    running.interrupt()
    assert running.wait() == 0, running.output
    assert "Traceback" not in running.output
    assert_all_end(children)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_middle_leaves_no_process(demo):
    running = demo()
    running.read_until("3. A health monitor")
    running.interrupt()
    assert running.wait() == 130
    assert "Traceback" not in running.output
    assert_all_end(running.children())


def test_children_end_with_a_demo_that_was_killed(demo):
    running = demo()
    running.read_until("2. Load balancer")
    running.process.kill()
    running.wait()
    assert_all_end(running.children())


def test_port_in_use_is_a_failed_step_that_names_the_address(demo):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = demo("--port", str(port))
        assert running.wait() == 1
    assert "FAILED" in running.output
    assert f"127.0.0.1:{port}" in running.output
    assert "Traceback" not in running.output
    assert_all_end(running.children())
