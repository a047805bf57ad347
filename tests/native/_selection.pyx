# SPDX-License-Identifier: Apache-2.0
"""The parts that algorithms are made of, driven from Python: tournament.pxd, turns.pxd, alias.pxd, and the phase of ops.pxd."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from fastlb.core.random cimport random_t
from fastlb.core.selection.alias cimport alias_build, alias_draw, alias_free
from fastlb.core.selection.ops cimport roster_phase, roster_t
from fastlb.core.selection.tournament cimport (
    tournament_best, tournament_clear, tournament_new, tournament_set, tournament_t,
)
from fastlb.core.selection.turns cimport turns_free, turns_new, turns_next, turns_seek, turns_t


cdef class Tournament:
    cdef tournament_t *t

    def __cinit__(self, uint32_t room):
        self.t = tournament_new(room)

    def __dealloc__(self):
        free(self.t)

    def clear(self, uint32_t count):
        tournament_clear(self.t, count)

    def set(self, uint32_t leaf, uint64_t key, uint64_t stamp=0):
        tournament_set(self.t, leaf, key, stamp)

    @property
    def best(self):
        return tournament_best(self.t)


cdef class Turns:
    cdef turns_t *t

    def __cinit__(self, *weights):
        cdef uint16_t given[10000]
        for i, weight in enumerate(weights):
            given[i] = weight
        self.t = turns_new(given, len(weights))

    def __dealloc__(self):
        turns_free(self.t)

    def seek(self, uint64_t position):
        turns_seek(self.t, position)

    def take(self, int n):
        return [turns_next(self.t) for _ in range(n)]

    @property
    def cycle(self):
        return self.t.cycle


def draws(weights, uint64_t n, uint64_t seed):
    """How often each index is drawn by weight."""
    cdef roster_t *roster = <roster_t *>calloc(1, sizeof(roster_t))
    cdef uint16_t given[10000]
    cdef uint64_t counts[10000]
    cdef random_t rng
    cdef uint64_t _
    rng.state = seed
    roster.weights = given
    for weight in weights:
        given[roster.count] = weight
        counts[roster.count] = 0
        roster.weight_total += weight
        roster.count += 1
    roster.even = len(set(weights)) == 1
    assert alias_build(roster) == 0
    for _ in range(n):
        counts[alias_draw(roster, &rng)] += 1
    alias_free(roster)
    found = [counts[i] for i in range(roster.count)]
    free(roster)
    return found


def phase(uint64_t generation, uint64_t bound):
    return roster_phase(generation, bound)
