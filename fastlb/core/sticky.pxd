# SPDX-License-Identifier: Apache-2.0
"""Which member a client had before: a bounded table from the client's key (an address, a cookie's value) to member_t.key.

Any thread may call anything but sticky_free.  The table is divided into shards by a keyed hash, so that nobody can
choose keys that meet in one place; a shard's lock is held for some tens of instructions, never while memory is
asked for.  A full table gives up an entry for a new one: the one used last longest ago of those in the new one's shard.

Memory comes in blocks, each for 64 entries and the heads of 64 chains.  A shard has as many chains as its blocks have
heads, split one at a time as entries come (linear hashing), so that no call ever has to move a whole table.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from fastlb.core.atomics cimport counter_add, counter_get, counter_set, counter_t, spinlock_give, spinlock_t, spinlock_take
from fastlb.core.hash cimport hash_keyed, hash_mix

cdef enum:
    STICKY_LIMIT = 65536         # entries at the most; HAProxy under Octavia has 10,240
    STICKY_KEY_BYTES = 64        # what is longer is cut
    STICKY_SHARDS = 16
    STICKY_SHARDED = 1024        # a table with a limit below this has one shard, and gives up its very oldest entry
    STICKY_BLOCK = 64            # entries
    STICKY_BLOCKS = 128          # a shard's; twice what it has when all shards are alike

cdef struct sticky_entry_t:
    uint64_t hash
    uint64_t member_key
    sticky_entry_t *next         # in its chain, or among the free ones
    sticky_entry_t *newer
    sticky_entry_t *older
    uint8_t length
    uint8_t key[64]

cdef struct sticky_block_t:
    sticky_entry_t *heads[64]
    sticky_entry_t entries[64]

cdef struct sticky_shard_t:      # under its lock
    spinlock_t lock
    uint32_t block_count
    uint32_t taken               # entries of the blocks, from the first on, that were ever in use
    uint32_t chains
    uint32_t round               # chains when the last doubling began: a power of two
    uint32_t count
    sticky_entry_t *free_entries
    sticky_entry_t *newest
    sticky_entry_t *oldest
    sticky_block_t *blocks[128]

cdef struct sticky_t:
    uint64_t seed[2]
    uint32_t limit
    uint32_t shard_count
    char apart[64]
    counter_t entries            # those too for which a place was just taken
    counter_t bytes
    counter_t evicted
    char apart_too[64]
    counter_t moves              # written when a client goes to another member; read with each request
    char apart_three[64]
    sticky_shard_t shards[0]

cdef struct sticky_figures_t:
    uint64_t entries
    uint64_t bytes               # of memory
    uint64_t evicted             # entries given up for others, ever
    uint64_t limit               # of entries


cdef inline sticky_t *sticky_new(uint64_t seed, uint32_t limit) noexcept nogil:
    """`limit` entries, at most STICKY_LIMIT; `seed` is not to be guessed. NULL: no memory."""
    cdef uint32_t shards
    cdef size_t size
    cdef sticky_t *t
    if limit > STICKY_LIMIT:
        limit = STICKY_LIMIT
    shards = 1 if limit < STICKY_SHARDED else STICKY_SHARDS
    size = sizeof(sticky_t) + shards * sizeof(sticky_shard_t)
    t = <sticky_t *>calloc(1, size)
    if t == NULL:
        return NULL
    t.seed[0] = hash_mix(seed)
    t.seed[1] = hash_mix(seed ^ 0x9E3779B97F4A7C15u)
    t.limit = limit if limit > 0 else 1
    t.shard_count = shards
    counter_set(&t.bytes, <int64_t>size)
    return t


# ---- one shard, under its lock

cdef inline sticky_entry_t **sticky_head(sticky_shard_t *shard, uint32_t chain) noexcept nogil:
    return &shard.blocks[chain // STICKY_BLOCK].heads[chain % STICKY_BLOCK]


cdef inline sticky_entry_t **sticky_chain(sticky_shard_t *shard, uint64_t hash) noexcept nogil:
    """Where the chain of this hash begins. There is a block."""
    cdef uint32_t chain = <uint32_t>hash & (2 * shard.round - 1)
    if chain >= shard.chains:
        chain -= shard.round             # not split yet in this doubling
    return sticky_head(shard, chain)


cdef inline void sticky_split(sticky_shard_t *shard) noexcept nogil:
    """One chain more: what belongs there of the one that it splits off from. Its block is there."""
    cdef uint32_t mask = 2 * shard.round - 1
    cdef uint32_t fresh = shard.chains
    cdef sticky_entry_t **link = sticky_head(shard, fresh - shard.round)
    cdef sticky_entry_t **target = sticky_head(shard, fresh)
    cdef sticky_entry_t *entry
    while link[0] != NULL:
        entry = link[0]
        if (<uint32_t>entry.hash & mask) == fresh:
            link[0] = entry.next
            entry.next = target[0]
            target[0] = entry
        else:
            link = &entry.next
    shard.chains += 1
    if shard.chains == 2 * shard.round:
        shard.round = shard.chains


cdef inline sticky_entry_t *sticky_find(
    sticky_shard_t *shard, uint64_t hash, const void *key, uint32_t length
) noexcept nogil:
    cdef sticky_entry_t *entry
    if shard.count == 0:
        return NULL
    entry = sticky_chain(shard, hash)[0]
    while entry != NULL:
        if entry.hash == hash and entry.length == length and memcmp(entry.key, key, length) == 0:
            return entry
        entry = entry.next
    return NULL


cdef inline void sticky_unlist(sticky_shard_t *shard, sticky_entry_t *entry) noexcept nogil:
    if entry.newer != NULL:
        entry.newer.older = entry.older
    else:
        shard.newest = entry.older
    if entry.older != NULL:
        entry.older.newer = entry.newer
    else:
        shard.oldest = entry.newer


cdef inline void sticky_list(sticky_shard_t *shard, sticky_entry_t *entry) noexcept nogil:
    entry.newer = NULL
    entry.older = shard.newest
    if shard.newest != NULL:
        shard.newest.newer = entry
    else:
        shard.oldest = entry
    shard.newest = entry


cdef inline void sticky_touch(sticky_shard_t *shard, sticky_entry_t *entry) noexcept nogil:
    if shard.newest != entry:
        sticky_unlist(shard, entry)
        sticky_list(shard, entry)


cdef inline void sticky_evict(sticky_t *t, sticky_shard_t *shard) noexcept nogil:
    """The oldest becomes a free entry. There is one."""
    cdef sticky_entry_t *entry = shard.oldest
    cdef sticky_entry_t **link = sticky_chain(shard, entry.hash)
    while link[0] != entry:
        link = &link[0].next
    link[0] = entry.next
    sticky_unlist(shard, entry)
    entry.next = shard.free_entries
    shard.free_entries = entry
    shard.count -= 1
    counter_add(&t.entries, -1)
    counter_add(&t.evicted, 1)


cdef inline sticky_entry_t *sticky_entry(sticky_shard_t *shard) noexcept nogil:
    """One to fill in; NULL: that takes another block."""
    cdef sticky_entry_t *entry = shard.free_entries
    if entry != NULL:
        shard.free_entries = entry.next
        return entry
    if shard.taken == shard.block_count * STICKY_BLOCK:
        return NULL
    entry = &shard.blocks[shard.taken // STICKY_BLOCK].entries[shard.taken % STICKY_BLOCK]
    shard.taken += 1
    return entry


cdef inline void sticky_insert(
    sticky_shard_t *shard, sticky_entry_t *entry, uint64_t hash, const void *key, uint32_t length, uint64_t member_key
) noexcept nogil:
    cdef sticky_entry_t **head
    if shard.count >= shard.chains and shard.chains < shard.block_count * STICKY_BLOCK:
        sticky_split(shard)
    head = sticky_chain(shard, hash)
    entry.hash = hash
    entry.member_key = member_key
    entry.length = <uint8_t>length
    memcpy(entry.key, key, length)
    entry.next = head[0]
    head[0] = entry
    sticky_list(shard, entry)
    shard.count += 1


# ---- the table

cdef inline sticky_shard_t *sticky_shard(sticky_t *t, uint64_t hash) noexcept nogil:
    return &t.shards[<uint32_t>(hash >> 32) % t.shard_count]


cdef inline uint64_t sticky_get(sticky_t *t, const void *key, uint32_t length) noexcept nogil:
    """The key of the member that this client had last, 0: none is known. It then counts as just used. `t` may be NULL."""
    cdef uint64_t member_key = 0
    cdef uint64_t hash
    cdef sticky_shard_t *shard
    cdef sticky_entry_t *entry
    if t == NULL or length == 0:
        return 0
    if length > STICKY_KEY_BYTES:
        length = STICKY_KEY_BYTES
    hash = hash_keyed(key, length, t.seed[0], t.seed[1])
    shard = sticky_shard(t, hash)
    spinlock_take(&shard.lock)
    entry = sticky_find(shard, hash, key, length)
    if entry != NULL:
        sticky_touch(shard, entry)
        member_key = entry.member_key
    spinlock_give(&shard.lock)
    return member_key


cdef inline uint32_t sticky_moves(const sticky_t *t) noexcept nogil:
    """Another number than before when some client has another member than before, so that who has looked up his looks again. `t`
    may be NULL."""
    return <uint32_t>counter_get(&t.moves) if t != NULL else 0


cdef inline bint sticky_evict_elsewhere(sticky_t *t, const sticky_shard_t *but) noexcept nogil:
    """For a new entry in an empty shard of a full table."""
    cdef sticky_shard_t *shard
    cdef uint32_t i
    cdef bint done = 0
    for i in range(t.shard_count):
        shard = &t.shards[i]
        if shard == but:
            continue
        spinlock_take(&shard.lock)
        if shard.oldest != NULL:
            sticky_evict(t, shard)
            done = 1
        spinlock_give(&shard.lock)
        if done:
            return 1
    return 0


cdef inline bint sticky_put(sticky_t *t, const void *key, uint32_t length, uint64_t member_key) noexcept nogil:
    """From now on this client has that member. 0: no memory, an empty key, or `t` is NULL."""
    cdef uint64_t hash
    cdef sticky_shard_t *shard
    cdef sticky_entry_t *entry
    cdef sticky_block_t *block = NULL
    if t == NULL or length == 0:
        return 0
    if length > STICKY_KEY_BYTES:
        length = STICKY_KEY_BYTES
    hash = hash_keyed(key, length, t.seed[0], t.seed[1])
    shard = sticky_shard(t, hash)
    while True:
        spinlock_take(&shard.lock)
        entry = sticky_find(shard, hash, key, length)
        if entry != NULL:
            if entry.member_key != member_key:
                entry.member_key = member_key
                counter_add(&t.moves, 1)
            sticky_touch(shard, entry)
            break
        if block != NULL and shard.block_count < STICKY_BLOCKS:
            shard.blocks[shard.block_count] = block
            shard.block_count += 1
            counter_add(&t.bytes, sizeof(sticky_block_t))
            block = NULL
            if shard.chains == 0:
                shard.chains = 1
                shard.round = 1
        # A place is taken before it is filled, so that threads which meet here do not pass the limit together.
        if counter_add(&t.entries, 1) >= t.limit:
            if shard.oldest == NULL:
                counter_add(&t.entries, -1)
                spinlock_give(&shard.lock)
                sticky_evict_elsewhere(t, shard)
                continue
            sticky_evict(t, shard)
        entry = sticky_entry(shard)
        if entry == NULL and shard.block_count == STICKY_BLOCKS:
            sticky_evict(t, shard)
            entry = sticky_entry(shard)
        if entry != NULL:
            sticky_insert(shard, entry, hash, key, length, member_key)
            break
        counter_add(&t.entries, -1)
        spinlock_give(&shard.lock)
        block = <sticky_block_t *>calloc(1, sizeof(sticky_block_t))
        if block == NULL:
            return 0
    spinlock_give(&shard.lock)
    free(block)
    return 1


cdef inline void sticky_clear(sticky_t *t) noexcept nogil:
    """Forget everybody; the memory goes back."""
    cdef sticky_block_t *blocks[128]
    cdef sticky_shard_t *shard
    cdef uint32_t i, j, count
    counter_add(&t.moves, 1)
    for i in range(t.shard_count):
        shard = &t.shards[i]
        spinlock_take(&shard.lock)
        count = shard.block_count
        memcpy(blocks, shard.blocks, count * sizeof(sticky_block_t *))
        counter_add(&t.entries, -<int64_t>shard.count)
        shard.block_count = 0
        shard.taken = 0
        shard.chains = 0
        shard.round = 0
        shard.count = 0
        shard.free_entries = NULL
        shard.newest = NULL
        shard.oldest = NULL
        spinlock_give(&shard.lock)
        counter_add(&t.bytes, -<int64_t>(count * sizeof(sticky_block_t)))
        for j in range(count):
            free(blocks[j])


cdef inline void sticky_free(sticky_t *t) noexcept nogil:
    """Nobody may use it any more; NULL will do."""
    if t != NULL:
        sticky_clear(t)
        free(t)


cdef inline sticky_figures_t sticky_figures(const sticky_t *t) noexcept nogil:
    """As they are about now; zeros if `t` is NULL."""
    cdef sticky_figures_t figures
    memset(&figures, 0, sizeof(figures))
    if t != NULL:
        figures.limit = t.limit
        figures.bytes = <uint64_t>counter_get(&t.bytes)
        figures.evicted = <uint64_t>counter_get(&t.evicted)
        figures.entries = <uint64_t>counter_get(&t.entries)
        if figures.entries > figures.limit:
            figures.entries = figures.limit      # threads that are about to evict one
    return figures
