# SPDX-License-Identifier: Apache-2.0
"""Signals: Ctrl-C reaches the program at once, whatever the workers do; SIGTERM ends it."""

import signal
import subprocess
import sys
import textwrap

import pytest

from fastlb.testing import Client, Load

PROGRAM = textwrap.dedent(
    """
    import sys, threading, time
    import fastlb
    from fastlb.testing import open_descriptors, threads
    before = open_descriptors()
    try:
        with fastlb.LoadBalancer(name="main", vip_address="127.0.0.1", drain_timeout=1) as lb:
            listener = lb.create_listener(protocol="HTTP", protocol_port=0)
            pool = listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
            pool.create_member("127.0.0.1", int(sys.argv[1]))
            print(listener.protocol_port, flush=True)
            if sys.argv[2] == "wait":
                lb.wait_for(operating_status="ERROR", timeout=60)
            elif sys.argv[2] == "spin":
                while True:
                    pass
            else:
                time.sleep(60)
    except KeyboardInterrupt:
        left = [name for name in threads().values() if name.startswith("fastlb")]
        print("interrupted", len(threads()), left, len(open_descriptors()) - len(before), flush=True)
    """
)


@pytest.fixture
def run(child_environment):
    processes = []

    def start(*arguments):
        command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment)
        processes.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("doing", ["sleep", "wait", "spin"])
def test_ctrl_c_stops_a_serving_program_cleanly(run, member, doing):
    process, port = run(member().port, doing)
    with Load(Client("127.0.0.1", port), clients=2) as load:
        load.wait_requests(50)
        failures = list(load.failures)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)
    assert failures == []
    assert out == "interrupted 1 [] 0\n"
    assert process.returncode == 0


def test_sigterm_ends_it(run, member):
    process, port = run(member().port, "sleep")
    assert Client("127.0.0.1", port).get().status == 200
    process.terminate()
    assert process.wait(timeout=10) == -signal.SIGTERM
