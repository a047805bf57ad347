# SPDX-License-Identifier: Apache-2.0
"""Who is on the roster, whatever the algorithm."""

import errno

import pytest


@pytest.fixture
def pool(native):
    return native("roster").Pool(0)


def test_pool_without_members_has_no_pick(pool):
    assert pool.pick() is None


def test_equal_members_alternate_from_the_first(pool):
    pool.add(1)
    pool.add(1)
    assert [pool.pick() for _ in range(6)] == [0, 1, 0, 1, 0, 1]


def test_weights_1_1_2_interleave(pool):
    pool.add(1, 1, 2)
    assert [pool.pick() for _ in range(8)] == [2, 0, 2, 1, 2, 0, 2, 1]
