# SPDX-License-Identifier: Apache-2.0
"""IPv6 in front, behind, and mixed with IPv4."""

import pytest

from fastlb.testing import echo, named


@pytest.mark.parametrize("vip", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("behind", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_any_family_in_front_of_any_family(balance, member, vip, behind, protocol):
    one = member(echo if protocol == "TCP" else None, address=behind)
    client = balance(one, address=vip, protocol=protocol).client
    if protocol == "TCP":
        with client.connect() as conn:
            conn.send(b"x").expect(b"x")
    else:
        assert client.request(host="[::1]:80").status == 200
        assert one.requests[0].get("Host") == "[::1]:80"


def test_members_of_both_families_share(balance, member):
    client = balance(member(named("4")), member(named("6"), address="::1")).client
    assert sorted(client.bodies(6)) == [b"4"] * 3 + [b"6"] * 3


def test_a_refusing_ipv6_member_is_passed_over(balance, member):
    client = balance(member(address="::1").refuse(), member(named("4"))).client
    assert set(client.bodies(6)) == {b"4"}
