# SPDX-License-Identifier: Apache-2.0
"""steer.pxd over sockets of Python."""
from fastlb.core.steer cimport steer_among, steer_evenly, steer_lift, steer_none


def among(int fd, int first, int count):
    return steer_among(fd, first, count)


def evenly(int fd):
    steer_evenly(fd)


def none(int fd):
    return steer_none(fd)


def lift(int fd):
    steer_lift(fd)
