# SPDX-License-Identifier: Apache-2.0
# What would become of a request, told by the code that would do it. A piece of _core.pyx, which includes it.

from libc.stdlib cimport malloc
from fastlb.core.context cimport EXTRA_BYTES, SCRATCH_BYTES, context_t, session_t
from fastlb.core.directory cimport member_reachable
from fastlb.core.explain cimport (
    STANDING_ADMIN_DOWN, STANDING_DOWN, STANDING_DRAINED, STANDING_EJECTED, STANDING_FULL, STANDING_POOL_DOWN,
    STANDING_RESERVE, STANDING_USABLE, explain_bound, explain_choice, explain_members, explained_t,
)
from fastlb.core.http1 cimport http1_head_t, http1_limits_t, http1_parse_request
from fastlb.core.http1_write cimport http1_connection, http1_write_answer, http1_write_request
from fastlb.core.http_request cimport request_limits
from fastlb.core.http_route cimport route_extras, route_policy, route_redirect
from fastlb.core.l7_match cimport (
    L7_NO, L7_UNDECIDED, L7_YES, l7_begin, l7_policy_in_use, l7_rule_matches, l7_scratch_free, l7_scratch_init,
)
from fastlb.core.l7_program cimport l7_policy_t
from fastlb.core.refusal cimport REFUSAL_HEAD_TIMEOUT, REFUSAL_NO_MEMBER, REFUSAL_NO_POOL, REFUSAL_POLICY
from fastlb.core.session cimport session_note_address
from fastlb.core.snapshot cimport SNAPSHOT_READERS, snapshot_enter, snapshot_leave

_STANDINGS = {
    <int>STANDING_USABLE: "usable", <int>STANDING_FULL: "full", <int>STANDING_POOL_DOWN: "pool_down",
    <int>STANDING_ADMIN_DOWN: "admin_down", <int>STANDING_DOWN: "down", <int>STANDING_EJECTED: "ejected",
    <int>STANDING_DRAINED: "drained", <int>STANDING_RESERVE: "reserve",
}
_VERDICTS = {<int>L7_NO: False, <int>L7_YES: True, <int>L7_UNDECIDED: None}


def explain(CoreListener listener, bytes request, str client, int port):
    """What the listener would do with this request head (all of it, to the empty line), from this client.

    A dict: status and reason (what we would answer ourselves; both None: it goes to a member), policies (in order of
    evaluation: row, in use, each rule's row and verdict; verdict None: given up), policy (row or None), pool (its id or
    None), stick (id of the member that the client is bound to, or None), stick_usable, choice (a member's id where the
    algorithm leaves no chance, or None), members (id and standing), sent (bytes).
    """
    cdef snapshots_t *snapshots = &listener.core.engine.snapshots
    cdef context_t *c
    cdef address_t peer
    _read_address(&peer, client, port)
    with listener.core.explaining:
        c = <context_t *>engine_memory(sizeof(context_t))
        if c == NULL:
            raise MemoryError()
        c.scratch = <uint8_t *>malloc(SCRATCH_BYTES + EXTRA_BYTES)
        if c.scratch == NULL or l7_scratch_init(&c.l7) < 0:
            free(c.scratch)
            free(c)
            raise MemoryError()
        c.extra_text = c.scratch + SCRATCH_BYTES
        c.random.state = 1
        snapshot_enter(snapshots, SNAPSHOT_READERS - 1)
        try:
            return _explain(listener, c, request, &peer)
        finally:
            snapshot_leave(snapshots, SNAPSHOT_READERS - 1)
            l7_scratch_free(&c.l7)
            free(c.scratch)
            free(c)


cdef dict _explain(CoreListener listener, context_t *c, bytes request, const address_t *peer):
    cdef listener_conf_t *conf = <listener_conf_t *>pointer_get(&listener.listener.conf)
    cdef http1_head_t *head = &c.request
    cdef http1_limits_t limits
    cdef const l7_policy_t *policy
    cdef member_t *member
    cdef pool_t *pool
    cdef session_t s
    cdef uint32_t count
    cdef int verdict
    found = {
        "status": None, "reason": None, "policies": [], "policy": None, "pool": None, "stick": None, "stick_usable": False,
        "choice": None, "members": [], "sent": b"",
    }
    memset(&s, 0, sizeof(s))
    s.listener = listener.listener
    session_note_address(&s, peer)
    request_limits(&limits, conf)
    verdict = http1_parse_request(head, <const uint8_t *><const char *>request, <uint32_t>len(request), &limits)
    if verdict <= 0:
        # The head is not whole: the rest would be waited for.
        if verdict == 0:
            return _explain_answer(found, c, 408, REFUSAL_HEAD_TIMEOUT)
        return _explain_answer(found, c, <uint16_t>-verdict, head.error)
    if conf.policies != NULL:
        found["policies"] = _explain_policies(<l7_program_t *>conf.policies, c)
    policy = route_policy(c, conf)
    pool = conf.default_pool
    if policy != NULL:
        found["policy"] = policy.row
        if policy.action == L7_REJECT:
            return _explain_answer(found, c, 403, REFUSAL_POLICY)
        if policy.action != L7_REDIRECT_TO_POOL:
            count = route_redirect(c, policy, not head.keep_alive)
            found["status"] = policy.code
            found["sent"] = (<const char *>c.scratch)[:count]
            return found
        pool = policy.pool
    if pool == NULL:
        return _explain_answer(found, c, 503, REFUSAL_NO_POOL)
    count = route_extras(c, &s, conf, pool)
    found["pool"] = pool.id
    found["sent"] = (<const char *>c.scratch)[:http1_write_request(head, c.scratch, SCRATCH_BYTES, c.extras, count)]
    member = explain_bound(pool, &s)
    if member != NULL:
        found["stick"] = member.id
        found["stick_usable"] = member_reachable(pool, member)
    member = explain_choice(pool, &s, &c.random)
    if member != NULL:
        found["choice"] = member.id
    found["members"] = _explain_members(pool)
    if not found["stick_usable"] and not any(standing in ("usable", "full") for _, standing in found["members"]):
        return _explain_answer(found, c, 503, REFUSAL_NO_MEMBER)
    return found


cdef dict _explain_answer(dict found, context_t *c, uint16_t status, uint32_t reason):
    cdef bint close = not c.request.keep_alive or status != 403 and status != 503
    cdef uint32_t length = http1_write_answer(
        c.scratch, SCRATCH_BYTES, status, http1_connection(close, c.request.minor), False)
    found["status"] = status
    found["reason"] = refusal_name(reason).decode().lower()
    found["sent"] = (<const char *>c.scratch)[:length]
    return found


cdef list _explain_policies(const l7_program_t *program, context_t *c):
    cdef const l7_policy_t *policy
    cdef uint32_t i, k
    cdef list found = []
    l7_begin(program, &c.request, &c.l7)
    for i in range(program.count):
        policy = &program.policies[i]
        rules = [
            (policy.rules[k].row, _VERDICTS[l7_rule_matches(&policy.rules[k], &c.l7)]) for k in range(policy.rule_count)
        ]
        found.append((policy.row, bool(l7_policy_in_use(policy)), rules))
    return found


cdef list _explain_members(pool_t *pool):
    cdef uint32_t i
    cdef uint32_t count = 0
    cdef explained_t *found
    with nogil:
        found = explain_members(pool, &count)
    if found == NULL:
        raise MemoryError()
    try:
        return [(found[i].id, _STANDINGS[<int>found[i].standing]) for i in range(count)]
    finally:
        free(found)
