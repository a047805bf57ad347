# SPDX-License-Identifier: Apache-2.0
"""sticky.pxd and the keyed hash below it, driven from Python; loops and threads run without the GIL."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from fastlb.core.hash cimport hash_keyed
from fastlb.core.random cimport random_below, random_t
from fastlb.core.sticky cimport *

# In this extension alone, a block can be refused, and something can happen while it is asked for.
cdef extern from *:
    """
    #include <stdlib.h>
    static __thread int memory_gone;
    static __thread void (*memory_meanwhile)(void);
    static void *memory_calloc(size_t n, size_t size)
    {
        void (*meanwhile)(void) = memory_meanwhile;
        memory_meanwhile = NULL;
        if (meanwhile != NULL)
            meanwhile();
        return memory_gone ? NULL : calloc(n, size);
    }
    #define calloc(n, size) memory_calloc(n, size)
    """
    bint memory_gone
    void (*memory_meanwhile)() noexcept nogil

cdef sticky_t *met = NULL


cdef void meet() noexcept nogil:
    """As another thread would, which is a little faster."""
    sticky_put(met, b"client", 6, 8)


LIMIT, KEY_BYTES, SHARDED, SHARDS = STICKY_LIMIT, STICKY_KEY_BYTES, STICKY_SHARDED, STICKY_SHARDS
BLOCK_BYTES = sizeof(sticky_block_t)
ENTRIES_A_BLOCK = STICKY_BLOCK


def keyed(bytes data, uint64_t key0, uint64_t key1):
    return hash_keyed(<const char *>data, len(data), key0, key1)


cdef void number_key(uint8_t *key, uint32_t number) noexcept nogil:
    """As a client's address: 16 bytes, most of them alike."""
    memset(key, 0, 16)
    key[10] = 255
    key[11] = 255
    memcpy(key + 12, &number, 4)


cdef class Table:
    cdef sticky_t *table

    def __cinit__(self, uint32_t limit=STICKY_LIMIT, uint64_t seed=1):
        self.table = sticky_new(seed, limit)
        if self.table == NULL:
            raise MemoryError()

    def __dealloc__(self):
        sticky_free(self.table)

    def get(self, bytes key):
        return sticky_get(self.table, <const char *>key, <uint32_t>len(key))

    def put(self, bytes key, uint64_t member_key):
        return bool(sticky_put(self.table, <const char *>key, <uint32_t>len(key), member_key))

    def put_without_memory(self, bytes key, uint64_t member_key):
        global memory_gone
        memory_gone = 1
        done = self.put(key, member_key)
        memory_gone = 0
        return done

    def put_while_another_does(self, bytes key, uint64_t member_key):
        """Which puts `client` to member 8 while this one waits for memory; whether it came to that."""
        global memory_meanwhile, met
        met = self.table
        memory_meanwhile = meet
        done = self.put(key, member_key)
        came = memory_meanwhile == NULL
        memory_meanwhile = NULL
        return done, came

    def clear(self):
        sticky_clear(self.table)

    def figures(self):
        return dict(sticky_figures(self.table))

    def put_numbers(self, uint32_t first, uint32_t count):
        """Clients of these numbers, each with the member key number + 1."""
        cdef uint8_t key[16]
        cdef uint32_t i
        cdef uint32_t done = 0
        with nogil:
            for i in range(first, first + count):
                number_key(key, i)
                done += sticky_put(self.table, key, 16, <uint64_t>i + 1)
        return done

    def count_numbers(self, uint32_t first, uint32_t count):
        """(how many of them are known, how many with the right member)"""
        cdef uint8_t key[16]
        cdef uint32_t i
        cdef uint32_t known = 0
        cdef uint32_t right = 0
        cdef uint64_t found
        with nogil:
            for i in range(first, first + count):
                number_key(key, i)
                found = sticky_get(self.table, key, 16)
                known += found != 0
                right += found == <uint64_t>i + 1
        return known, right

    def hammer(self, uint32_t own_first, uint32_t own_count, uint32_t shared_count, uint32_t rounds, uint64_t seed):
        """One thread's work: each of its own clients is put, then found as long as nothing is evicted; shared clients, the
        numbers below shared_count, get any of the members 1..8. Own answers that were wrong, shared ones that were none."""
        cdef uint8_t key[16]
        cdef random_t rng
        cdef uint32_t i, round
        cdef uint32_t wrong = 0
        cdef uint64_t found
        rng.state = seed
        with nogil:
            for round in range(rounds):
                for i in range(own_first, own_first + own_count):
                    number_key(key, i)
                    if round == 0:
                        sticky_put(self.table, key, 16, <uint64_t>i + 1)
                    found = sticky_get(self.table, key, 16)
                    wrong += found != 0 and found != <uint64_t>i + 1
                    number_key(key, random_below(&rng, shared_count))
                    if i % 4 == 0:
                        sticky_put(self.table, key, 16, 1 + random_below(&rng, 8))
                    wrong += sticky_get(self.table, key, 16) > 8
        return wrong

    def check(self):
        """Every entry is in its chain once, each list has all, nothing is in use twice; entries by shard. With no other
        thread at work."""
        cdef sticky_shard_t *shard
        cdef sticky_entry_t *entry
        cdef uint32_t s, c, n, free_count
        counts = []
        for s in range(self.table.shard_count):
            shard = &self.table.shards[s]
            n = 0
            for c in range(shard.chains):
                entry = sticky_head(shard, c)[0]
                while entry != NULL:
                    assert sticky_chain(shard, entry.hash) == sticky_head(shard, c)
                    assert entry.hash == hash_keyed(entry.key, entry.length, self.table.seed[0], self.table.seed[1])
                    assert sticky_shard(self.table, entry.hash) == shard
                    entry = entry.next
                    n += 1
            assert n == shard.count
            n = 0
            entry = shard.newest
            while entry != NULL:
                assert (entry.newer == NULL) == (entry == shard.newest)
                assert entry.older == NULL or entry.older.newer == entry
                assert entry.older != NULL or entry == shard.oldest
                entry = entry.older
                n += 1
            assert n == shard.count
            free_count = 0
            entry = shard.free_entries
            while entry != NULL:
                free_count += 1
                entry = entry.next
            assert free_count + shard.count == shard.taken <= shard.block_count * STICKY_BLOCK
            counts.append(shard.count)
        assert sum(counts) == self.figures()["entries"]
        return counts

    def time_get(self, uint32_t count, uint64_t rounds):
        """For benchmarks: `rounds` gets, over clients 0..count-1 in an order that no cache foresees."""
        cdef uint8_t key[16]
        cdef uint64_t i
        cdef uint64_t total = 0
        with nogil:
            for i in range(rounds):
                number_key(key, <uint32_t>((i * 2654435761u) % count))
                total += sticky_get(self.table, key, 16) != 0
        return total


def without_a_table():
    """What get, put and figures say of NULL."""
    sticky_free(NULL)
    return sticky_get(NULL, b"k", 1), bool(sticky_put(NULL, b"k", 1, 7)), dict(sticky_figures(NULL))
