# SPDX-License-Identifier: Apache-2.0
"""A pool's members, built into a roster and published; pick, opened, closed.

Changes (pool_add … pool_refresh) may come from any thread: they hold pool.mutex, build the new roster off to the side, publish
it with one pointer store and retire the old one; when memory runs out, pool and roster are as before.  Picks come from worker
threads that are inside pool.snapshots; a member that a pick returns may have been taken out a moment ago, and stays valid
until the worker's next quiet point, because its owner gives it up through snapshot_retire after pool_remove.
"""
from libc.errno cimport E2BIG, EEXIST, EINVAL, ENOENT, ENOMEM
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset
from fastlb.core.atomics cimport (
    counter_add_seq, counter_get, counter_set, flag_get, flag_set, pointer_get, pointer_set, spinlock_give, spinlock_take,
)
from fastlb.core.clock cimport clock_now_ns
from fastlb.core.directory cimport directory_new
from fastlb.core.hash cimport hash_pair
from fastlb.core.model cimport (
    ALGORITHM_LEAST_CONNECTIONS, ALGORITHM_MAGLEV, ALGORITHM_PEAK_EWMA, ALGORITHM_RANDOM_TWO_CHOICES,
    ALGORITHM_ROUND_ROBIN, ALGORITHM_SOURCE_IP, ALGORITHM_SOURCE_IP_PORT, EJECTED_5XX, EJECTED_CONNECT, EJECTED_NOT,
    PERSISTENCE_APP_COOKIE, PERSISTENCE_NONE, PERSISTENCE_SOURCE_IP, RETRY_CONNECT, RETRY_RESET, algorithm_t, member_t,
    pool_conf_t, pool_t,
)
from fastlb.core.random cimport random_below, random_next, random_t
from fastlb.core.selection.least_conn cimport least_conn_dispose, least_conn_ops
from fastlb.core.selection.maglev cimport maglev_ops
from fastlb.core.selection.ops cimport (
    PICK_MAXIMA, PICK_WARMING, ROSTER_MEMBERS_MAX, pick_t, pick_was_tried, roster_t, selector_ops_t,
)
from fastlb.core.selection.p2c cimport p2c_ops
from fastlb.core.selection.peak_ewma cimport peak_ewma_ops
from fastlb.core.selection.ring_hash cimport ring_hash_ops
from fastlb.core.selection.round_robin cimport round_robin_ops
from fastlb.core.slow_start cimport slow_start_share, slow_start_t
from fastlb.core.snapshot cimport snapshot_retire, snapshots_t
from fastlb.core.sticky cimport STICKY_LIMIT, sticky_clear, sticky_free, sticky_new, sticky_t
from fastlb.core.sys.pthread cimport (
    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock,
)

cdef enum:
    ROSTER_WEIGHT_MAX = 256
    ROSTER_PEER_DRAWS = 4           # looks for a member that is not warming, to compare loads with

cdef enum:                          # of a member, the best last
    RANK_NONE = 0               # it is not to serve: admin down, weight 0, removed
    RANK_DOWN = 1               # its probes fail
    RANK_EJECTED = 2
    RANK_USABLE = 3

cdef struct simulation_t:               # how many picks, for whom, and how long their sessions are open
    uint64_t picks
    const uint64_t *client_hashes       # one a pick, as in pick_t; NULL: drawn from `rng`
    const uint64_t *client_port_hashes  # NULL: as client_hashes
    uint64_t hold                       # each session stays open for so many picks after its own; 0: it ends at once
    uint64_t gap_ns                     # from pick to pick
    uint64_t begin_ns                   # the first comes one gap after this
    const uint64_t *response_ns         # by index in pool.members: the time to each answer; NULL: unknown


cdef inline selector_ops_t roster_ops(algorithm_t algorithm) noexcept nogil:
    if algorithm == ALGORITHM_LEAST_CONNECTIONS:
        return least_conn_ops()
    if algorithm == ALGORITHM_SOURCE_IP or algorithm == ALGORITHM_SOURCE_IP_PORT:
        return ring_hash_ops()
    if algorithm == ALGORITHM_RANDOM_TWO_CHOICES:
        return p2c_ops()
    if algorithm == ALGORITHM_PEAK_EWMA:
        return peak_ewma_ops()
    if algorithm == ALGORITHM_MAGLEV:
        return maglev_ops()
    return round_robin_ops()


cdef inline void roster_free(void *object) noexcept nogil:
    cdef roster_t *roster = <roster_t *>object
    if roster.ops.free != NULL:
        roster.ops.free(roster)
    free(roster)


cdef inline pool_conf_t *pool_conf(const pool_t *pool) noexcept nogil:
    """Never NULL. Inside pool.snapshots, or under pool.mutex."""
    return <pool_conf_t *>pointer_get(&pool.conf)


cdef inline bint ejection_stands(const pool_conf_t *conf, uint32_t ejected) noexcept nogil:
    """Does what a member was ejected for (ejected_t) still matter?"""
    return (ejected == EJECTED_5XX and conf.outlier_5xx != 0) or (ejected == EJECTED_CONNECT and conf.outlier_connect != 0)


cdef inline uint32_t member_rank(const pool_conf_t *conf, const member_t *member) noexcept nogil:
    if not member.admin_up or member.weight == 0 or member.removed:
        return RANK_NONE
    if flag_get(&member.up) == 0:
        return RANK_DOWN
    if ejection_stands(conf, flag_get(&member.ejected)):
        return RANK_EJECTED
    return RANK_USABLE


cdef inline bint roster_few(uint32_t usable, uint32_t all_, uint32_t percent) noexcept nogil:
    return usable * <uint64_t>100 < percent * <uint64_t>all_


cdef inline void roster_gather(const pool_t *pool, const pool_conf_t *conf, roster_t *roster) noexcept nogil:
    """Who serves, in the pool's order: the usable primaries, or the usable backups if there are none.

    Where these are fewer than panic_percent of the primaries, or of the backups, their number is taken for the better
    evidence: all of these serve, up or down. With nobody usable at all: in panic all primaries (all backups of a pool
    without primaries), otherwise those that are merely ejected: ejection alone never leaves a pool with nobody.
    """
    cdef uint16_t *ranks = roster.weights            # not needed for weights yet; one look at each, as `up` may change
    cdef uint32_t counts[2][4]                           # primaries, backups; of each rank
    cdef uint32_t alls[2]
    cdef uint32_t i, least
    cdef bint backup
    memset(counts, 0, sizeof(counts))
    if not pool.admin_up:
        return
    for i in range(pool.count):
        ranks[i] = <uint16_t>member_rank(conf, pool.members[i])
        counts[pool.members[i].backup][ranks[i]] += 1
    for i in range(2):
        alls[i] = counts[i][RANK_DOWN] + counts[i][RANK_EJECTED] + counts[i][RANK_USABLE]
    least = RANK_USABLE
    backup = counts[0][RANK_USABLE] == 0
    if counts[backup][RANK_USABLE] == 0:
        backup = alls[0] == 0
        if conf.panic_percent == 0:
            least = RANK_EJECTED
            backup = counts[0][RANK_EJECTED] == 0
    if roster_few(counts[backup][RANK_USABLE], alls[backup], conf.panic_percent):
        roster.panic = 1
        least = RANK_DOWN
    for i in range(pool.count):
        if pool.members[i].backup == backup and ranks[i] >= least:
            roster.members[roster.count] = pool.members[i]
            roster.count += 1


cdef inline void roster_begin_slowly(const roster_t *roster, const pick_t *ask, slow_start_t *warm) noexcept nogil:
    """What the shares of members that are warming depend on, for one pick."""
    cdef algorithm_t algorithm = roster.algorithm
    cdef const member_t *peer
    cdef uint32_t _, place
    warm.now_ns = ask.now_ns
    warm.slow_start_ns = roster.slow_start_ns
    warm.weight = 0
    if algorithm == ALGORITHM_SOURCE_IP or algorithm == ALGORITHM_MAGLEV:
        warm.drawn = ask.client_hash
    elif algorithm == ALGORITHM_SOURCE_IP_PORT:
        warm.drawn = ask.client_port_hash
    else:
        warm.drawn = random_next(ask.rng)
        if algorithm != ALGORITHM_ROUND_ROBIN:
            for _ in range(ROSTER_PEER_DRAWS):
                place = <uint32_t>random_below(ask.rng, roster.count)
                peer = roster.members[place]
                if slow_start_share(
                    <uint64_t>counter_get(&peer.warming_since_ns), warm.slow_start_ns, warm.now_ns
                ) >> 32:
                    warm.weight = roster.weights[place]
                    warm.load = counter_get(&peer.active)
                    break


cdef inline member_t *roster_pick_slowly(pool_t *pool, roster_t *roster, const pick_t *ask) noexcept nogil:
    """ops.pick of a roster with members that are warming. When nobody else is left, one of them is taken all the same."""
    cdef slow_start_t warm
    cdef pick_t slow
    cdef member_t *member
    if ask.now_ns < roster.warming_until_ns:
        slow = ask[0]
        roster_begin_slowly(roster, ask, &warm)
        slow.warm = &warm
        slow.limited |= PICK_WARMING
        member = roster.pick_at_once(pool, roster, &slow)
        if member != NULL:
            return member
    return roster.pick_at_once(pool, roster, ask)


cdef inline void roster_warm(
    const pool_t *pool, const pool_conf_t *conf, roster_t *roster, const roster_t *previous
) noexcept nogil:
    """Begin the slow start of those that have come back, and find out when the last one is through."""
    cdef uint64_t now_ns, until_ns
    cdef uint32_t i
    cdef member_t *member
    cdef bint serves = previous != NULL and previous.count > 0 and flag_get(&pool.served) != 0
    if conf.slow_start_ns == 0:
        return
    now_ns = pool.clock()
    for i in range(pool.count):
        member = pool.members[i]
        if not member.serving and member_rank(conf, member) == RANK_USABLE:
            # Where nobody serves, nobody comes back: a pool's first members have their whole share at once.
            counter_set(&member.warming_since_ns, <int64_t>now_ns if serves else 0)
    for i in range(roster.count):
        until_ns = <uint64_t>counter_get(&roster.members[i].warming_since_ns) + conf.slow_start_ns
        if until_ns > conf.slow_start_ns and until_ns > now_ns and until_ns > roster.warming_until_ns:
            roster.warming_until_ns = until_ns
    if roster.warming_until_ns:
        roster.slow_start_ns = conf.slow_start_ns
        roster.ops.pick = roster_pick_slowly


cdef inline bint roster_sort(roster_t *roster) noexcept nogil:
    """Heaviest first, otherwise in the order they are in; 0: no memory."""
    cdef uint32_t begins[ROSTER_WEIGHT_MAX + 2]
    cdef uint32_t i, weight
    cdef member_t **sorted_members = <member_t **>malloc(roster.count * sizeof(member_t *))
    if sorted_members == NULL:
        return 0
    memset(begins, 0, sizeof(begins))
    for i in range(roster.count):
        begins[roster.members[i].weight] += 1
    weight = ROSTER_WEIGHT_MAX + 1
    while weight > 0:                   # what is heavier stands before
        weight -= 1
        begins[weight] += begins[weight + 1]
    for i in range(roster.count):
        weight = roster.members[i].weight + 1
        sorted_members[begins[weight]] = roster.members[i]
        begins[weight] += 1
    memcpy(roster.members, sorted_members, roster.count * sizeof(member_t *))
    free(sorted_members)
    return 1


cdef inline roster_t *roster_new(
    const pool_t *pool, const pool_conf_t *conf, const roster_t *previous, uint64_t generation
) noexcept nogil:
    """Of the pool as it is now, without state; NULL: no memory. Under pool.mutex."""
    cdef roster_t *roster
    cdef uint32_t i
    roster = <roster_t *>malloc(sizeof(roster_t) + pool.count * (sizeof(member_t *) + sizeof(uint16_t)))
    if roster == NULL:
        return NULL
    memset(roster, 0, sizeof(roster_t))
    roster.generation = generation
    roster.algorithm = pool.algorithm
    roster.ops = roster_ops(pool.algorithm)
    roster.pick_at_once = roster.ops.pick
    roster.members = <member_t **>(roster + 1)
    roster.weights = <uint16_t *>(roster.members + pool.count)
    roster_gather(pool, conf, roster)
    roster_warm(pool, conf, roster, previous)
    roster.even = 1
    for i in range(roster.count):
        roster.weight_total += roster.members[i].weight
        if roster.members[i].weight != roster.members[0].weight:
            roster.even = 0
        if flag_get(&roster.members[i].max_connections):
            roster.limited = PICK_MAXIMA
    if roster.count > 0:
        roster.weight_mean = (roster.weight_total + roster.count // 2) // roster.count
    if not roster.even and not roster_sort(roster):
        free(roster)
        return NULL
    for i in range(roster.count):
        roster.weights[i] = roster.members[i].weight
    return roster


cdef inline bint roster_equals(const roster_t *a, const roster_t *b) noexcept nogil:
    """For picks there is no difference between the two."""
    return (
        a.algorithm == b.algorithm and a.count == b.count and a.limited == b.limited
        and a.panic == b.panic and a.warming_until_ns == b.warming_until_ns and a.slow_start_ns == b.slow_start_ns
        and memcmp(a.members, b.members, a.count * sizeof(member_t *)) == 0
        and memcmp(a.weights, b.weights, a.count * sizeof(uint16_t)) == 0
    )


cdef inline void pool_note_serving(pool_t *pool, const pool_conf_t *conf) noexcept nogil:
    """Remember who is usable, so that the next publication knows who comes back, and how many are ejected."""
    cdef uint32_t i, rank
    cdef member_t *member
    pool.wanted = 0
    pool.ejected = 0
    for i in range(pool.count):
        member = pool.members[i]
        rank = member_rank(conf, member)
        member.serving = rank == RANK_USABLE
        if rank != RANK_NONE:
            pool.wanted += 1
            pool.ejected += flag_get(&member.ejected) != EJECTED_NOT


cdef inline int pool_publish(pool_t *pool, const pool_conf_t *conf) noexcept nogil:
    """Make what the pool is now what picks see; 0 or -ENOMEM, and then picks see what they saw. Under pool.mutex."""
    cdef roster_t *previous = <roster_t *>pointer_get(&pool.roster)
    cdef uint64_t generation = <uint64_t>counter_get(&pool.generation) + 1
    cdef roster_t *roster = roster_new(pool, conf, previous, generation)
    cdef uint32_t i
    cdef int failed
    if roster == NULL:
        return -ENOMEM
    if previous != NULL and roster_equals(previous, roster):
        free(roster)
        pool_note_serving(pool, conf)
        return 0
    failed = roster.ops.build(pool, roster, previous)
    if failed:
        free(roster)
        return failed
    for i in range(roster.count):
        roster.members[i].slot = i
        flag_set(&roster.members[i].weight_served, roster.weights[i])
    # One step for those who take the lock. An algorithm that lists members reads their `active` after the roster is
    # published, and pool_opened counts before it reads the roster: one of the two sees the other.
    spinlock_take(&pool.pick_lock)
    if previous != NULL and previous.algorithm != roster.algorithm and previous.ops.deactivate != NULL:
        previous.ops.deactivate(pool)
    pointer_set(&pool.roster, roster)
    if roster.ops.activate != NULL:
        roster.ops.activate(pool, roster)
    spinlock_give(&pool.pick_lock)
    counter_set(&pool.generation, <int64_t>generation)
    if roster.panic and flag_get(&pool.panic) == 0:
        counter_set(&pool.panics, counter_get(&pool.panics) + 1)
    flag_set(&pool.panic, roster.panic)
    pool_note_serving(pool, conf)
    if previous != NULL:
        snapshot_retire(pool.snapshots, previous, roster_free)
    return 0


cdef inline void pool_conf_default(pool_conf_t *conf) noexcept nogil:
    """Of zeros."""
    conf.http = 1
    conf.admin_up = 1
    conf.timeout_queue_ms = 5000
    conf.retry_on = RETRY_CONNECT | RETRY_RESET
    conf.retries = 3


cdef inline bint pool_init(
    pool_t *pool, snapshots_t *snapshots, uint64_t id, algorithm_t algorithm, bint admin_up, uint64_t seed
) noexcept nogil:
    """An empty pool with one reference; 0 if there is no mutex or memory to be had. `snapshots` outlives it."""
    cdef pool_conf_t *conf = <pool_conf_t *>calloc(1, sizeof(pool_conf_t))
    memset(pool, 0, sizeof(pool_t))
    if conf == NULL or pthread_mutex_init(&pool.mutex, NULL) != 0:
        free(conf)
        return 0
    pool_conf_default(conf)
    conf.admin_up = admin_up
    pool.id = id
    pool.snapshots = snapshots
    pool.algorithm = algorithm
    pool.admin_up = admin_up
    pool.seed = seed
    pool.clock = clock_now_ns
    pointer_set(&pool.conf, conf)
    counter_set(&pool.refs, 1)
    return 1


cdef inline void pool_dispose(pool_t *pool) noexcept nogil:
    """Free what the pool owns, though not its members, nor the pool_t. Nobody may hold a reference any more."""
    cdef roster_t *roster = <roster_t *>pointer_get(&pool.roster)
    if roster != NULL:
        roster_free(roster)
    least_conn_dispose(pool)
    free(pointer_get(&pool.directory))
    sticky_free(<sticky_t *>pointer_get(&pool.sticky))
    free(pointer_get(&pool.conf))
    free(pool.shards)
    free(pool.members)
    pthread_mutex_destroy(&pool.mutex)


cdef inline bint pool_holds(const pool_t *pool, const member_t *member) noexcept nogil:
    return member.index < pool.count and pool.members[member.index] == member


cdef inline int pool_make_room(pool_t *pool, uint32_t n) noexcept nogil:
    cdef uint64_t wanted = <uint64_t>pool.count + n
    cdef member_t **grown
    if wanted > ROSTER_MEMBERS_MAX:
        return -E2BIG
    if wanted <= pool.capacity:
        return 0
    if wanted < 2 * <uint64_t>pool.capacity:
        wanted = 2 * <uint64_t>pool.capacity
    grown = <member_t **>realloc(pool.members, wanted * sizeof(member_t *))
    if grown == NULL:
        return -ENOMEM
    pool.members = grown
    pool.capacity = <uint32_t>wanted
    return 0


cdef inline int pool_publish_members(pool_t *pool) noexcept nogil:
    """pool_publish, after members came or went: with a directory of those that there are now. Under pool.mutex."""
    cdef void *before = pointer_get(&pool.directory)
    cdef void *directory = NULL
    cdef int failed
    if before != NULL:
        directory = directory_new(pool.members, pool.count)
        if directory == NULL:
            return -ENOMEM
        # Before the roster, so that a client which has just been given a new member finds it again.
        pointer_set(&pool.directory, directory)
    failed = pool_publish(pool, pool_conf(pool))
    if failed:
        pointer_set(&pool.directory, before)
        before = directory
    if before != NULL:
        snapshot_retire(pool.snapshots, before, free)
    return failed


cdef inline int pool_append(pool_t *pool, member_t **members, uint32_t n) noexcept nogil:
    cdef uint32_t before = pool.count
    cdef uint32_t i
    cdef int failed = pool_make_room(pool, n)
    if failed:
        return failed
    for i in range(n):
        if pool_holds(pool, members[i]):
            failed = -EEXIST
            break
        members[i].index = pool.count
        members[i].removed = 0
        pool.members[pool.count] = members[i]
        pool.count += 1
    if not failed:
        failed = pool_publish_members(pool)
    if failed:
        for i in range(before, pool.count):
            pool.members[i].removed = 1
        pool.count = before
    return failed


cdef inline int pool_add(pool_t *pool, member_t **members, uint32_t n) noexcept nogil:
    """Append members, in one publication. 0; -EEXIST: one is in the pool or named twice; -E2BIG: above 65,535; -ENOMEM."""
    cdef int failed
    pthread_mutex_lock(&pool.mutex)
    failed = pool_append(pool, members, n)
    pthread_mutex_unlock(&pool.mutex)
    return failed


cdef inline int pool_detach(pool_t *pool, member_t **members, uint32_t n) noexcept nogil:
    cdef uint32_t marked = 0
    cdef uint32_t kept = 0
    cdef uint32_t i
    cdef int failed = 0
    while marked < n and not failed:
        if pool_holds(pool, members[marked]) and not members[marked].removed:
            members[marked].removed = 1
            marked += 1
        else:
            failed = -ENOENT
    # While they are still among pool.members, so that the algorithm can strike them off its list.
    if not failed:
        failed = pool_publish_members(pool)
    if failed:
        for i in range(marked):
            members[i].removed = 0
        return failed
    for i in range(pool.count):
        if not pool.members[i].removed:
            pool.members[kept] = pool.members[i]
            pool.members[kept].index = kept
            kept += 1
    pool.count = kept
    return 0


cdef inline int pool_remove(pool_t *pool, member_t **members, uint32_t n) noexcept nogil:
    """Take members out, in one publication. 0; -ENOENT: one is not in the pool or named twice; -ENOMEM."""
    cdef int failed
    pthread_mutex_lock(&pool.mutex)
    failed = pool_detach(pool, members, n)
    pthread_mutex_unlock(&pool.mutex)
    return failed


cdef inline int pool_change_held(
    pool_t *pool, algorithm_t algorithm, bint admin_up, const pool_conf_t *conf
) noexcept nogil:
    """Under pool.mutex. 0 or -ENOMEM, and then nothing changed."""
    cdef algorithm_t algorithm_before = pool.algorithm
    cdef bint admin_up_before = pool.admin_up
    cdef int failed
    pool.algorithm = algorithm
    pool.admin_up = admin_up
    failed = pool_publish(pool, conf)
    if failed:
        pool.algorithm = algorithm_before
        pool.admin_up = admin_up_before
    return failed


cdef inline bint pool_conf_forgets(const pool_conf_t *before, const pool_conf_t *conf) noexcept nogil:
    """What clients had under `before` means nothing under `conf`."""
    return (
        conf.persistence != before.persistence or conf.cookie_length != before.cookie_length
        or memcmp(conf.cookie_name, before.cookie_name, conf.cookie_length) != 0
    )


cdef inline int pool_reconfigure(pool_t *pool, algorithm_t algorithm, pool_conf_t *conf) noexcept nogil:
    """Under pool.mutex."""
    cdef pool_conf_t *before = pool_conf(pool)
    cdef void *directory = pointer_get(&pool.directory)
    cdef void *fresh_directory = NULL
    cdef sticky_t *sticky = <sticky_t *>pointer_get(&pool.sticky)
    cdef sticky_t *fresh_sticky = NULL
    cdef bint directory_wanted = conf.persistence != PERSISTENCE_NONE
    cdef bint sticky_wanted = conf.persistence == PERSISTENCE_SOURCE_IP or conf.persistence == PERSISTENCE_APP_COOKIE
    cdef int failed = 0
    if directory_wanted and directory == NULL:
        fresh_directory = directory_new(pool.members, pool.count)
        if fresh_directory == NULL:
            failed = -ENOMEM
    if sticky_wanted and sticky == NULL:
        fresh_sticky = sticky_new(hash_pair(pool.seed, pool.id), STICKY_LIMIT)
        if fresh_sticky == NULL:
            failed = -ENOMEM
    if not failed:
        failed = pool_change_held(pool, algorithm, conf.admin_up, conf)
    if failed:
        free(fresh_directory)
        sticky_free(fresh_sticky)
        return failed
    # Whoever sees that there is persistence finds the tables, too.
    if fresh_directory != NULL:
        pointer_set(&pool.directory, fresh_directory)
    if fresh_sticky != NULL:
        pointer_set(&pool.sticky, fresh_sticky)
    pointer_set(&pool.conf, conf)
    if sticky != NULL and pool_conf_forgets(before, conf):
        sticky_clear(sticky)
    if directory != NULL and not directory_wanted:
        pointer_set(&pool.directory, NULL)
        snapshot_retire(pool.snapshots, directory, free)
    snapshot_retire(pool.snapshots, before, free)
    return 0


cdef inline int pool_configure(pool_t *pool, algorithm_t algorithm, pool_conf_t *conf) noexcept nogil:
    """Take over a configuration, which is the pool's from here on. 0, or -ENOMEM: then nothing changed, and it is still
    the caller's."""
    cdef int failed
    pthread_mutex_lock(&pool.mutex)
    failed = pool_reconfigure(pool, algorithm, conf)
    pthread_mutex_unlock(&pool.mutex)
    return failed


cdef inline int pool_change(pool_t *pool, algorithm_t algorithm, bint admin_up) noexcept nogil:
    """0 or -ENOMEM, and then nothing changed."""
    cdef int failed
    pthread_mutex_lock(&pool.mutex)
    failed = pool_change_held(pool, algorithm, admin_up, pool_conf(pool))
    pthread_mutex_unlock(&pool.mutex)
    return failed


cdef struct member_conf_t:
    uint16_t weight
    bint backup
    bint admin_up
    uint32_t max_connections


cdef inline void member_swap_conf(member_t *member, member_conf_t *conf) noexcept nogil:
    """Under pool.mutex."""
    cdef member_conf_t before
    before.weight = member.weight
    before.backup = member.backup
    before.admin_up = member.admin_up
    before.max_connections = flag_get(&member.max_connections)
    member.weight = conf.weight
    member.backup = conf.backup
    member.admin_up = conf.admin_up
    flag_set(&member.max_connections, conf.max_connections)
    conf[0] = before


cdef inline int pool_change_members(
    pool_t *pool, member_t **members, member_conf_t *confs, uint32_t n
) noexcept nogil:
    """Give each its conf, in one publication; confs then have what was before. 0; -EINVAL: a weight above 256; -ENOENT:
    one is not in the pool; -ENOMEM. Unless 0, nothing changed."""
    cdef uint32_t done = 0
    cdef int failed = 0
    pthread_mutex_lock(&pool.mutex)
    while done < n and not failed:
        if confs[done].weight > ROSTER_WEIGHT_MAX:
            failed = -EINVAL
        elif not pool_holds(pool, members[done]):
            failed = -ENOENT
        else:
            member_swap_conf(members[done], &confs[done])
            done += 1
    if not failed:
        failed = pool_publish(pool, pool_conf(pool))
    if failed:
        # Backwards: one may be named twice.
        while done:
            done -= 1
            member_swap_conf(members[done], &confs[done])
    pthread_mutex_unlock(&pool.mutex)
    return failed


cdef inline int pool_refresh(pool_t *pool) noexcept nogil:
    """After flag_set(&member.up): publish if the usable set changed. 0 or -ENOMEM: call it again."""
    cdef int failed
    pthread_mutex_lock(&pool.mutex)
    failed = pool_publish(pool, pool_conf(pool))
    pthread_mutex_unlock(&pool.mutex)
    return failed


cdef inline bint roster_has_full(const roster_t *roster, const pick_t *ask) noexcept nogil:
    """Is somebody left who was not tried, and so only is full?"""
    cdef uint32_t i
    if roster.limited:
        for i in range(roster.count):
            if not pick_was_tried(ask, roster.members[i]):
                return 1
    return 0


cdef inline member_t *pool_pick(pool_t *pool, pick_t *ask) noexcept nogil:
    """A member for new work; NULL: none is usable, or the pool is admin down, or each was tried or is full; ask.full then
    says whether any of them only is full. Inside pool.snapshots."""
    cdef roster_t *roster
    cdef member_t *member
    while 1:
        roster = <roster_t *>pointer_get(&pool.roster)
        if roster == NULL or roster.count == 0:
            ask.full = 0
            return NULL
        ask.limited = roster.limited
        member = roster.ops.pick(pool, roster, ask)
        if member != NULL:
            return member
        # An algorithm with lists of its own refuses a roster that is no longer the published one.
        if pointer_get(&pool.roster) == roster:
            ask.full = roster_has_full(roster, ask)
            return NULL


cdef inline void pool_told_opened(pool_t *pool, member_t *member, uint64_t now_ns) noexcept nogil:
    cdef roster_t *roster = <roster_t *>pointer_get(&pool.roster)
    if flag_get(&pool.served) == 0:
        flag_set(&pool.served, 1)
    if roster != NULL and roster.ops.opened != NULL:
        roster.ops.opened(pool, member, now_ns)


cdef inline void pool_opened(pool_t *pool, member_t *member, uint64_t now_ns) noexcept nogil:
    """A session (HTTP: an exchange) starts on the member. Inside pool.snapshots."""
    counter_add_seq(&member.active, 1)
    pool_told_opened(pool, member, now_ns)


cdef inline bint pool_opened_within(pool_t *pool, member_t *member, uint64_t now_ns) noexcept nogil:
    """The same unless the member is full: 0. Since it was picked, another worker may have taken its last place."""
    cdef uint32_t limit = flag_get(&member.max_connections)
    if counter_add_seq(&member.active, 1) >= <int64_t>limit and limit != 0:
        counter_add_seq(&member.active, -1)
        return 0
    pool_told_opened(pool, member, now_ns)
    return 1


cdef inline void pool_closed(pool_t *pool, member_t *member, uint64_t now_ns, uint64_t response_ns) noexcept nogil:
    """It ended; response_ns is the time to its answer, 0 if unknown. Inside pool.snapshots."""
    cdef roster_t *roster
    counter_add_seq(&member.active, -1)
    roster = <roster_t *>pointer_get(&pool.roster)
    if roster != NULL and roster.ops.closed != NULL:
        roster.ops.closed(pool, member, now_ns, response_ns)


cdef inline int roster_simulate(
    pool_t *pool, const simulation_t *plan, random_t *rng, uint32_t *indexes
) noexcept nogil:
    """Make picks without traffic; each one's index in pool.members, or UINT32_MAX if there was nobody. 0 or -ENOMEM.

    For a pool of its own: it moves the pool's cursor and counts its sessions, and holds pool.mutex for as long as it
    takes. Sessions still open at the end are closed. Any thread; it need not be a reader of pool.snapshots.
    """
    cdef pick_t ask
    cdef member_t *member
    cdef member_t **held                # a circle: the sessions of the last `hold` picks
    cdef uint64_t hold = plan.hold if plan.hold < plan.picks else plan.picks
    cdef uint64_t i, at
    memset(&ask, 0, sizeof(ask))
    ask.rng = rng
    ask.now_ns = plan.begin_ns
    held = <member_t **>malloc((hold + 1) * sizeof(member_t *))
    if held == NULL:
        return -ENOMEM
    memset(held, 0, (hold + 1) * sizeof(member_t *))
    # Nothing can be published meanwhile, so nothing is retired either.
    pthread_mutex_lock(&pool.mutex)
    at = 0
    for i in range(plan.picks + hold):
        ask.now_ns += plan.gap_ns
        if i < plan.picks:
            ask.client_hash = plan.client_hashes[i] if plan.client_hashes != NULL else random_next(rng)
            ask.client_port_hash = plan.client_port_hashes[i] if plan.client_port_hashes != NULL else ask.client_hash
            member = pool_pick(pool, &ask)
            indexes[i] = member.index if member != NULL else <uint32_t>-1
            held[at] = member
            if member != NULL:
                pool_opened(pool, member, ask.now_ns)
        else:
            held[at] = NULL
        at = at + 1 if at < hold else 0
        member = held[at]               # the oldest
        if member != NULL:
            pool_closed(
                pool, member, ask.now_ns, plan.response_ns[member.index] if plan.response_ns != NULL else 0
            )
            held[at] = NULL
    pthread_mutex_unlock(&pool.mutex)
    free(held)
    return 0
