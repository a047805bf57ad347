# SPDX-License-Identifier: Apache-2.0
"""Retired objects live exactly as long as a reader may hold them."""

import pytest


@pytest.fixture
def snapshots(native):
    return native("snapshot").Snapshots()


def test_without_readers_a_retired_object_is_freed_at_once(snapshots):
    snapshots.retire(1)
    assert snapshots.freed == [1]


def test_reader_inside_keeps_what_was_retired_after_it_entered(snapshots):
    snapshots.enter(0)
    snapshots.retire(1)
    assert snapshots.freed == []
    assert snapshots.pending == 1
    snapshots.leave(0)
    snapshots.reclaim()
    assert snapshots.freed == [1]


def test_quiet_point_of_every_reader_is_awaited(snapshots):
    snapshots.enter(0)
    snapshots.enter(1)
    snapshots.retire(1)
    snapshots.enter(0)
    snapshots.reclaim()
    assert snapshots.freed == []
    snapshots.enter(1)
    snapshots.reclaim()
    assert snapshots.freed == [1]


def test_reader_that_enters_later_does_not_delay_the_free(snapshots):
    snapshots.enter(0)
    snapshots.retire(1)
    snapshots.enter(1)
    snapshots.leave(0)
    snapshots.reclaim()
    assert snapshots.freed == [1]
    snapshots.leave(1)


def test_only_the_ripe_are_freed(snapshots):
    snapshots.enter(0)
    snapshots.retire(1)
    snapshots.enter(0)
    snapshots.retire(2)
    assert snapshots.freed == [1]
    assert snapshots.pending == 1
    snapshots.leave(0)
    snapshots.reclaim()
    assert snapshots.freed == [1, 2]
