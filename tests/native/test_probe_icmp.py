# SPDX-License-Identifier: Apache-2.0
"""PING's socket: requests go out right, replies are told from everything else."""

import errno
import os
import select
import shutil
import socket
import struct
import subprocess
import sys

import pytest

TOKEN = 0x1122334455667788


@pytest.fixture(scope="module")
def icmp(native):
    return native("probe_icmp")


def reply(kind=0, code=0, ident=7, sequence=3, token=TOKEN, padding=8):
    return struct.pack("!BBHHH", kind, code, 0, ident, sequence) + struct.pack("=Q", token) + bytes(padding)


def test_checksum_is_the_internets(icmp):
    # The worked example of RFC 1071, section 3.
    assert icmp.checksum(bytes.fromhex("0001f203f4f5f6f7")) == bytes.fromhex("220d")
    assert icmp.checksum(b"\xff" * 24) == b"\x00\x00"


def test_reply_on_a_ping_socket_is_read(icmp):
    assert icmp.parse(reply(), socket.AF_INET, False, 0) == (3, TOKEN)
    assert icmp.parse(reply(kind=129), socket.AF_INET6, False, 0) == (3, TOKEN)


def test_raw_ipv4_reply_comes_behind_its_ip_header(icmp):
    assert icmp.parse(b"\x45" + bytes(19) + reply(), socket.AF_INET, True, 7) == (3, TOKEN)
    assert icmp.parse(b"\x46" + bytes(23) + reply(), socket.AF_INET, True, 7) == (3, TOKEN)


def test_raw_socket_takes_only_replies_to_its_own_requests(icmp):
    assert icmp.parse(b"\x45" + bytes(19) + reply(ident=8), socket.AF_INET, True, 7) is None
    assert icmp.parse(reply(kind=129, ident=8), socket.AF_INET6, True, 7) is None


def test_anything_but_an_echo_reply_is_passed_over(icmp):
    assert icmp.parse(reply(kind=8), socket.AF_INET, False, 0) is None
    assert icmp.parse(reply(kind=3), socket.AF_INET, False, 0) is None
    assert icmp.parse(reply(code=1), socket.AF_INET, False, 0) is None
    assert icmp.parse(reply(kind=128), socket.AF_INET6, False, 0) is None


def test_short_packets_of_every_length_are_passed_over(icmp):
    for family, raw, packet in (
        (socket.AF_INET, False, reply()),
        (socket.AF_INET, True, b"\x45" + bytes(19) + reply(ident=7)),
        (socket.AF_INET, True, b"\x4f" + bytes(59) + reply(ident=7)),
        (socket.AF_INET6, True, reply(kind=129, ident=7)),
    ):
        assert icmp.parse(packet, family, raw, 7) is not None
        for length in range(len(packet)):
            assert icmp.parse(packet[:length], family, raw, 7) is None


def test_reply_counts_only_from_the_address_that_was_asked(icmp):
    assert icmp.source_is("10.0.0.1", "10.0.0.1")
    assert not icmp.source_is("10.0.0.2", "10.0.0.1")
    assert icmp.source_is("127.0.0.1", "0.0.0.0")
    assert icmp.source_is("fd00::1", "fd00::1")
    assert not icmp.source_is("fd00::2", "fd00::1")
    assert icmp.source_is("::1", "::")
    assert not icmp.source_is("::1", "127.0.0.1")


def test_family_that_has_no_ping_is_refused(icmp):
    assert icmp.available(socket.AF_UNIX) == -errno.EAFNOSUPPORT


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_echo_comes_back_with_sequence_and_token(icmp, family, address):
    if (error := icmp.available(family)) < 0:
        pytest.skip(f"no ICMP socket here: {os.strerror(-error)}")
    sock = icmp.Socket(family, 4711)
    try:
        assert sock.send(address, 65535, TOKEN) == 0
        assert select.select([sock], [], [], 5.0)[0]
        assert sock.receive() == (65535, TOKEN)
        assert sock.receive() == -errno.EAGAIN  # and not our own request
    finally:
        sock.close()


CHILD = """
import errno, importlib.util, select, socket, sys
spec = importlib.util.spec_from_file_location("tests.native._probe_icmp", sys.argv[1])
icmp = importlib.util.module_from_spec(spec)
spec.loader.exec_module(icmp)
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    error = icmp.available(family)
    if error < 0:
        print(errno.errorcode[-error])
        continue
    sock = icmp.Socket(family, 1)
    sent = sock.send(address, 9, 10)
    select.select([sock], [], [], 5.0)
    print("raw" if sock.raw else "ping", sent, sock.receive())
"""


def in_network_of_its_own(icmp, group_range, *, capabilities):
    """What CHILD prints in a fresh network namespace with these rights."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "ip"))):
        pytest.skip("needs root, unshare, setpriv and ip")
    drop = "" if capabilities else "setpriv --bounding-set -all --inh-caps -all "
    script = (
        f"ip link set lo up && echo '{group_range}' > /proc/sys/net/ipv4/ping_group_range && "
        f'exec {drop}env LD_PRELOAD="$3" "$0" -c "$1" "$2"'
    )
    environment = dict(os.environ)
    preload = environment.pop("LD_PRELOAD", "")  # a sanitizer's runtime is for the last process only
    command = ["unshare", "-n", "sh", "-c", script, sys.executable, CHILD, icmp.__file__, preload]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    if "unshare failed" in result.stderr or "Operation not permitted" in result.stderr:
        pytest.skip(f"no network namespace here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_unprivileged_ping_socket_is_preferred(icmp):
    said = in_network_of_its_own(icmp, "0 2147483647", capabilities=False)
    assert said == ["ping 0 (9, 10)"] * 2


def test_without_ping_sockets_a_raw_one_serves_who_may_open_it(icmp):
    assert in_network_of_its_own(icmp, "1 0", capabilities=True) == ["raw 0 (9, 10)"] * 2


def test_without_any_right_the_refusal_is_told(icmp):
    said = in_network_of_its_own(icmp, "1 0", capabilities=False)
    assert all(word in ("EPERM", "EACCES") for word in said)
    assert len(said) == 2
