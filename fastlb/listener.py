# SPDX-License-Identifier: Apache-2.0
"""Listener: the port that takes clients, and its limits."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from fastlb import _core, schema, support
from fastlb.errors import BindError, Conflict, NotFound, shown
from fastlb.l7 import L7Policy, L7PolicyFields, L7Rule, L7RuleFields, Row, compiled, row_of, used_pool_id
from fastlb.pool import Pool, pool_id_of
from fastlb.resource import Field, Fixed, Identity, NamedResource, find
from fastlb.schema import (
    L7PolicySpec,
    L7RuleSpec,
    ListenerSpec,
    OutlierDetection,
    RetryPolicy,
    SessionPersistence,
    arguments,
    kinds,
    relations,
)
from fastlb.schema.l7 import RULES_AT_MOST
from fastlb.schema.listener import TIMEOUT_MEMBER_CONNECT_MS
from fastlb.stats import LISTENER_GAUGES, Stats, lasting, of_listener, total
from fastlb.status import listener_status
from fastlb.types import (
    Algorithm,
    AlpnProtocol,
    ClientAuthentication,
    L7PolicyAction,
    OperatingStatus,
    Protocol,
    ProvisioningStatus,
)

if TYPE_CHECKING:
    from fastlb.balancer import LoadBalancer
    from fastlb.explain import Explanation, Headers
    from fastlb.metrics.exposition import Exposition


class Listener(NamedResource[ListenerSpec]):
    """A port of the load balancer's addresses, and where what arrives there goes. Made by `create_listener`."""

    __slots__ = (
        "_core",
        "_exposition",
        "_failure",
        "_open_port",
        "_past",
        "_policies",
        "_program",
        "_retired",
        "_rows",
    )

    LABEL = "Listener"
    KIND = "listener"

    protocol = Fixed[Protocol]("What it takes from clients.")
    description = Field[str, str]("Up to 255 characters.")
    connection_limit = Field[int | None, int](
        "Client connections at once; more wait in the kernel's queue. -1, 0 and None stand for 50,000."
    )
    default_tls_container_ref = Field[str | None, str]("The certificate of a TERMINATED_HTTPS listener.")
    sni_container_refs = Field[tuple[str, ...], Iterable[str]](
        "More certificates, chosen by the name asked for."
    )
    insert_headers = Field[Mapping[str, str], Mapping[str, str]](
        'Headers added on the way to members; only the value "true" turns one on.'
    )
    timeout_client_data = Field[int, int]("Milliseconds a client may be silent; 0 stands for 50,000.")
    timeout_member_connect = Field[int, int](
        "Milliseconds a connect to a member may take; 0 stands for 5,000."
    )
    timeout_member_data = Field[int, int]("Milliseconds a member may be silent; 0 stands for 50,000.")
    timeout_tcp_inspect = Field[int, int](
        "Milliseconds to wait for content to inspect; without effect, as in Octavia."
    )
    client_authentication = Field[ClientAuthentication, ClientAuthentication | str](
        "Whether TLS clients are asked for a certificate."
    )
    client_ca_tls_container_ref = Field[str | None, str](
        "The authority that clients' certificates must come from."
    )
    client_crl_container_ref = Field[str | None, str]("Revoked client certificates.")
    allowed_cidrs = Field[tuple[str, ...] | None, Iterable[str]](
        "Networks that may connect; others are dropped. None or an empty list: everyone."
    )
    tls_ciphers = Field[str | None, str]("Cipher names joined by colons; None resets to the default list.")
    tls_versions = Field[tuple[str, ...] | None, Iterable[str]]("TLS versions; None resets to 1.2 and 1.3.")
    alpn_protocols = Field[tuple[AlpnProtocol, ...] | None, Iterable[AlpnProtocol | str]](
        "Protocols offered by ALPN; None resets to all."
    )
    hsts_max_age = Field[int | None, int]("Seconds for Strict-Transport-Security; None: no such header.")
    hsts_include_subdomains = Field[bool, bool]("Needs hsts_max_age.")
    hsts_preload = Field[bool, bool]("Needs hsts_max_age.")
    request_head_limit = Field[int, int](
        "Ours, HTTP: bytes of a request's line and headers together, 1024..65535; above it the answer is 431. "
        "None resets it to 32,768."
    )
    request_field_limit = Field[int, int](
        "Ours, HTTP: header lines of a request, 1..100; above it the answer is 431. None resets it to 100."
    )
    request_target_limit = Field[int, int](
        "Ours, HTTP: bytes of a request's target (path and query), 64..65535; above it the answer is 414. "
        "None resets it to 8,000."
    )
    timeout_client_head = Field[int, int](
        "Ours, HTTP: milliseconds from the first byte of a request's head to its last, whatever comes in between, and "
        "from a connection's start to its first byte; then the answer is 408. 0 stands for 10,000."
    )
    timeout_client_idle = Field[int | None, int](
        "Ours, HTTP: milliseconds that a client may keep its connection open between two requests; then it is closed. "
        "None and 0 stand for timeout_client_data."
    )
    request_body_rate_min = Field[int, int](
        "Ours, HTTP: bytes a second that a request's body must come with; below it the answer is 408. 0: any rate."
    )
    requests_per_connection = Field[int, int](
        "Ours, HTTP: requests on one client connection, which then is closed. 0: any number."
    )
    pipeline_limit = Field[int, int](
        "Ours, HTTP: requests of a client, sent ahead, that are served before others have their turn, 1..1024. "
        "None resets it to 16."
    )

    def __init__(
        self, spec: ListenerSpec, balancer: "LoadBalancer", identity: Identity | None = None
    ) -> None:
        super().__init__(spec, balancer, identity)
        self._core: _core.CoreListener | None = None
        # What an open PROMETHEUS listener forwards to.
        self._exposition: Exposition | None = None
        # The port that 0 became, kept while the load balancer is started.
        self._open_port = 0
        # Why its port could not be bound; empty: it could, or nobody tried.
        self._failure = ""
        self._past: Counter[str] = Counter()
        # Closed in the core while connections of theirs were under way: they still count.
        self._retired: list[_core.CoreListener] = []
        self._policies: list[L7Policy] = []
        # What the policies come to, and the data plane's program for it, made when it is needed.
        self._rows: list[Row] = []
        self._program: _core.CorePolicies | None = None

    @property
    def protocol_port(self) -> int:
        """The port. Described as 0 (any free one), it is the bound one from `start()` to `stop()`."""
        return self._open_port or self._spec.protocol_port

    @property
    def default_pool(self) -> Pool | None:
        """Where clients go; None: they are refused. Assigning a pool switches new sessions over."""
        pool_id = self._spec.default_pool_id
        # It may be deleted meanwhile.
        return None if pool_id is None else self._balancer._pools.get(pool_id)

    @default_pool.setter
    def default_pool(self, pool: Pool | None) -> None:
        self.update(default_pool=pool)

    @property
    def default_pool_id(self) -> str | None:
        """The id of the default pool."""
        return self._spec.default_pool_id

    @default_pool_id.setter
    def default_pool_id(self, pool_id: str | None) -> None:
        self._update({"default_pool_id": pool_id})

    @property
    def l7policies(self) -> tuple[L7Policy, ...]:
        """Its L7 policies, by position."""
        return tuple(self._policies)

    def find_l7policy(self, key: str) -> L7Policy:
        """The L7 policy with this id or name. Raises NotFound."""
        return find("L7 policy", self._who(), self._policies, key)

    @property
    def stats(self) -> Stats:
        """Its counters now; they go on over every change."""
        with self._balancer._lock:
            return Stats.of(self._figures())

    def create_pool(
        self,
        *,
        protocol: Protocol | str,
        lb_algorithm: Algorithm | str,
        name: str | None = "",
        description: str | None = "",
        session_persistence: SessionPersistence | Mapping[str, Any] | None = None,
        tls_enabled: bool = False,
        tls_container_ref: str | None = None,
        ca_tls_container_ref: str | None = None,
        crl_container_ref: str | None = None,
        tls_ciphers: str | None = None,
        tls_versions: Iterable[str] | None = None,
        alpn_protocols: Iterable[AlpnProtocol | str] | None = None,
        retry: RetryPolicy | Mapping[str, Any] | None = None,
        outlier_detection: OutlierDetection | Mapping[str, Any] | None = None,
        slow_start: float | None = 0.0,
        panic_threshold: int | None = 0,
        timeout_queue: int | None = 5_000,
        admin_state_up: bool | None = True,
        tags: Iterable[str] | None = (),
    ) -> Pool:
        """Make a pool on the load balancer and make it this listener's default pool.

        The arguments are those of `LoadBalancer.create_pool`. Raises Conflict when there is a default pool already.
        """
        return self._balancer._add_pool(arguments(locals()), listener=self)

    def create_l7policy(
        self,
        *,
        action: L7PolicyAction | str,
        redirect_pool: Pool | None = None,
        redirect_pool_id: str | None = None,
        redirect_url: str | None = None,
        redirect_prefix: str | None = None,
        redirect_http_code: int | None = None,
        position: int | None = None,
        name: str | None = "",
        description: str | None = "",
        admin_state_up: bool | None = True,
        tags: Iterable[str] | None = (),
        rules: Iterable[L7RuleFields] = (),
    ) -> L7Policy:
        """Have some requests of an HTTP listener answered or sent elsewhere: those that match all rules of the policy.

        action: REJECT (403), REDIRECT_TO_POOL (with redirect_pool), REDIRECT_TO_URL (with redirect_url, the Location),
        REDIRECT_PREFIX (with redirect_prefix, before the request's path and query). redirect_http_code: 301, 302, 303,
        307 or 308; None: 302. position: its place among the policies, from 1; None: the last. rules: mappings of
        `create_rule`'s arguments, in force at once with the policy; `create_rule` adds them one by one.

        Raises ConfigError, NotFound for an unknown pool, NotSupported on a TCP, HTTPS, UDP or SCTP listener.
        """
        return self._add_policies([("", arguments(locals()))])[0]

    def create_l7policies(self, l7policies: Iterable[L7PolicyFields]) -> list[L7Policy]:
        """Add many L7 policies as one change: each a mapping of `create_l7policy`'s arguments, in this order.

        All of them or, when one is refused, none; the message says which (`l7policies[2].rules[0].value`).
        """
        return self._add_policies(kinds.mappings("l7policies", l7policies))

    def explain(
        self,
        *,
        method: str = "GET",
        host: str | None = None,
        path: str = "/",
        headers: "Headers | None" = None,
        client: tuple[str, int] = ("192.0.2.7", 4711),
    ) -> "Explanation":
        """What would become of a request, and why: which policy and rule match, which pool, which members may be chosen
        and why each other one may not, and what would be sent. Nothing is sent; the code that forwards answers.

        host: the Host field; None: this listener's address. path: with its query. headers: a mapping, or pairs where
        a name comes more than once. client: its address and port. The load balancer need not be started.

        Raises ConfigError on another protocol than HTTP. A request that would be refused is explained, too. Print the
        answer, or read its attributes (policy, pool, member, status, sent, …: `fastlb.explain.Explanation`).
        """
        from fastlb.explain import explain

        return explain(self, method=method, host=host, path=path, headers=headers, client=client)

    def update(
        self,
        *,
        name: str | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        admin_state_up: bool | None | UnsetType = UNSET,
        connection_limit: int | None | UnsetType = UNSET,
        default_pool: Pool | None | UnsetType = UNSET,
        default_pool_id: str | None | UnsetType = UNSET,
        default_tls_container_ref: str | None | UnsetType = UNSET,
        sni_container_refs: Iterable[str] | None | UnsetType = UNSET,
        insert_headers: Mapping[str, str] | None | UnsetType = UNSET,
        timeout_client_data: int | None | UnsetType = UNSET,
        timeout_member_connect: int | None | UnsetType = UNSET,
        timeout_member_data: int | None | UnsetType = UNSET,
        timeout_tcp_inspect: int | None | UnsetType = UNSET,
        client_authentication: ClientAuthentication | str | None | UnsetType = UNSET,
        client_ca_tls_container_ref: str | None | UnsetType = UNSET,
        client_crl_container_ref: str | None | UnsetType = UNSET,
        allowed_cidrs: Iterable[str] | None | UnsetType = UNSET,
        tls_ciphers: str | None | UnsetType = UNSET,
        tls_versions: Iterable[str] | None | UnsetType = UNSET,
        alpn_protocols: Iterable[AlpnProtocol | str] | None | UnsetType = UNSET,
        hsts_max_age: int | None | UnsetType = UNSET,
        hsts_include_subdomains: bool | None | UnsetType = UNSET,
        hsts_preload: bool | None | UnsetType = UNSET,
        request_head_limit: int | None | UnsetType = UNSET,
        request_field_limit: int | None | UnsetType = UNSET,
        request_target_limit: int | None | UnsetType = UNSET,
        timeout_client_head: int | None | UnsetType = UNSET,
        timeout_client_idle: int | None | UnsetType = UNSET,
        request_body_rate_min: int | None | UnsetType = UNSET,
        requests_per_connection: int | None | UnsetType = UNSET,
        pipeline_limit: int | None | UnsetType = UNSET,
        tags: Iterable[str] | None | UnsetType = UNSET,
    ) -> None:
        """Change some fields at once, under traffic; what is left out stays, None resets to the default.

        Raises ConfigError, NotFound for an unknown pool, BindError when switching it on finds the port taken; and
        then nothing has changed.
        """
        changes = arguments(locals())
        if "default_pool" in changes:
            pool = changes.pop("default_pool")
            changes["default_pool_id"] = pool_id_of(self._balancer, pool, changes.get("default_pool_id"))
        self._update(changes)

    def delete(self) -> None:
        """Close its port and delete its L7 policies; connections under way finish, and its pools stay on the load
        balancer."""
        with self._balancer._change():
            self._check_usable()
            pools = self._pools_in_use()
            for pool in pools:
                pool._remember()
            self._close()
            self._link(self._spec.default_pool_id, None)
            self._set_policies([], dict.fromkeys(self._policies))
            self._deleted = True
            self._unsaved()
            del self._balancer._listeners[self._id]
            # Its connections are not over yet: the load balancer goes on counting them.
            self._balancer._ports.inherit(self)
            for pool in pools:
                pool._sync_monitor()
            self._balancer._note(None)

    def to_dict(self) -> dict[str, Any]:
        """The listener with its L7 policies as Octavia's fully-populated create has it, its pools by name."""
        with self._balancer._lock:
            body = super().to_dict()
            names = self._balancer._pool_names()
            pool_id = body.pop("default_pool_id", None)
            if pool_id is not None:
                body["default_pool"] = {"name": names[pool_id]}
            if self._policies:
                body["l7policies"] = [policy._document(names) for policy in self._policies]
            return body

    # Changes.

    def _update(self, changes: dict[str, Any], *, coerce: bool = False) -> None:
        balancer = self._balancer
        with balancer._change():
            self._check_usable()
            before = self._spec
            spec = schema.update(before, changes, coerce=coerce)
            self._check(spec)
            # Another object has to know of these only.
            moved = before.default_pool_id != spec.default_pool_id
            switched = before.admin_state_up != spec.admin_state_up
            timed = before.timeout_member_connect != spec.timeout_member_connect
            pools = self._pools_in_use()
            if moved and spec.default_pool_id is not None:
                pools[balancer._pools[spec.default_pool_id]] = None
            if moved or switched:
                for pool in pools:
                    pool._remember()
            if balancer._serving():
                if not spec.admin_state_up:
                    self._close()
                    self._failure = ""
                elif self._core is None:
                    self._open(spec)
                else:
                    self._configure(self._core, spec, self._program)
            self._spec = spec
            if moved:
                self._link(before.default_pool_id, spec.default_pool_id)
            if moved or switched or timed:
                for pool in pools:
                    pool._sync_monitor()
            self._touch()
            balancer._note(None)

    def _check(self, spec: ListenerSpec) -> None:
        """The spec against the rest of the load balancer."""
        balancer = self._balancer
        relations.check_listener_on_vips(spec, balancer.vips, security_groups=bool(balancer._spec.vip_sg_ids))
        if spec.protocol_port:
            group = relations.port_group(spec.protocol)
            for other in balancer.listeners:
                if (
                    other is not self
                    and other.protocol_port == spec.protocol_port
                    and relations.port_group(other._spec.protocol) == group
                ):
                    taken = (
                        "Another Listener on this Load Balancer is already using protocol "
                        f"{other._spec.protocol} and protocol_port {spec.protocol_port}"
                    )
                    raise Conflict(taken, fault=taken)
        if spec.default_pool_id is not None:
            pool = balancer._pools.get(spec.default_pool_id)
            if pool is None:
                raise NotFound(
                    f"default_pool_id={shown(spec.default_pool_id)}: no such pool on {balancer._who()}",
                    fault=f"Pool {spec.default_pool_id} not found.",
                )
            relations.check_pool_on_listener(spec.protocol, pool._spec.protocol)
        if balancer._running():
            support.check_listener(spec, self._who())

    def _link(self, before: str | None, after: str | None) -> None:
        """Have the pools know which listeners use them."""
        pools = self._balancer._pools
        if before is not None:
            del pools[before]._listeners[self._id]
        if after is not None:
            pools[after]._listeners[self._id] = self

    # L7 policies.

    def _pools_in_use(self) -> dict[Pool, None]:
        """The pools whose listener it is: its default pool, and those that its policies redirect to."""
        pools = self._balancer._pools
        used = [self._spec.default_pool_id, *(policy._used_pool_id() for policy in self._policies)]
        return {pools[pool_id]: None for pool_id in used if pool_id is not None}

    def _check_redirect(self, pool_id: str, path: str = "") -> None:
        """May a policy of this listener redirect to that pool?"""
        pool = self._balancer._pools.get(pool_id)
        if pool is None:
            raise NotFound(
                f"{path}redirect_pool_id={shown(pool_id)}: no such pool on {self._balancer._who()}",
                fault=f"Pool {pool_id} not found.",
            )
        relations.check_pool_on_listener(
            self._spec.protocol, pool._spec.protocol, field=f"{path}redirect_pool_id"
        )

    def _add_policies(
        self, rows: Sequence[tuple[str, Mapping[str, Any]]], *, coerce: bool = False
    ) -> list[L7Policy]:
        described = [self._describe_policy(values, coerce, path) for path, values in rows]
        with self._balancer._change():
            self._check_usable()
            order = list(self._policies)
            new: dict[L7Policy, tuple[L7PolicySpec, dict[str, L7Rule]]] = {}
            for (path, _), (spec, pool_id, rules) in zip(rows, described, strict=True):
                relations.check_policy_on_listener(self._spec.protocol, path)
                if pool_id is not None:
                    self._check_redirect(str(pool_id), path)
                policy = L7Policy(spec, self)
                made = [L7Rule(rule, policy) for rule in rules]
                new[policy] = (policy._spec, {rule.id: rule for rule in made})
                order.insert(len(order) if spec.position is None else spec.position - 1, policy)
            self._set_policies(order, new)
            self._balancer._note(None)
            return list(new)

    def _replace_policies(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Have these L7 policies and no others, as one change. What is there in the same form stays the same object."""
        described = [self._describe_policy(values, False, "") for values in rows]
        with self._balancer._change():
            self._check_usable()
            there: dict[Any, list[L7Policy]] = {}
            for policy in reversed(self._policies):
                there.setdefault((policy._spec, *(rule._spec for rule in policy.rules)), []).append(policy)
            order: list[L7Policy] = []
            changed: dict[L7Policy, tuple[L7PolicySpec, dict[str, L7Rule]] | None] = {}
            for spec, pool_id, rules in described:
                relations.check_policy_on_listener(self._spec.protocol, "")
                if pool_id is not None:
                    self._check_redirect(pool_id)
                same = there.get((spec, *rules))
                if same:
                    order.append(same.pop())
                    continue
                policy = L7Policy(spec, self)
                made = [L7Rule(rule, policy) for rule in rules]
                changed[policy] = (policy._spec, {rule.id: rule for rule in made})
                order.append(policy)
            gone = [policy for left in there.values() for policy in left]
            self._set_policies(order, changed | dict.fromkeys(gone))
            self._balancer._note(None)

    def _describe_policy(
        self, values: Mapping[str, Any], coerce: bool, path: str
    ) -> tuple[L7PolicySpec, str | None, list[L7RuleSpec]]:
        """What is asked for, by itself: the policy, the pool that was named (even if nothing goes there), the rules."""
        fields = dict(values)
        if "redirect_pool" in fields:
            pool, also = fields.pop("redirect_pool"), fields.get("redirect_pool_id")
            fields["redirect_pool_id"] = pool_id_of(self._balancer, pool, also, field=f"{path}redirect_pool")
        given = fields.pop("rules", None)
        rules = [] if given is None else kinds.mappings(f"{path}rules", given)
        spec = schema.create(L7PolicySpec, fields, coerce=coerce, path=path)
        if len(rules) > RULES_AT_MOST:
            raise Conflict(
                f"{path}rules: {len(rules)} of them; a policy has {RULES_AT_MOST} at most",
                fault="Too many rules on L7 policy",
            )
        return (
            spec,
            fields.get("redirect_pool_id"),
            [schema.create(L7RuleSpec, rule, coerce=coerce, path=where) for where, rule in rules],
        )

    def _drop_policy(self, policy: L7Policy) -> None:
        self._set_policies([one for one in self._policies if one is not policy], {policy: None})
        self._balancer._note(None)

    def _change_policy(
        self, policy: L7Policy, spec: L7PolicySpec, rules: dict[str, L7Rule], position: int | None = None
    ) -> None:
        order = self._policies
        if position is not None:
            order = [one for one in order if one is not policy]
            order.insert(position - 1, policy)
        self._set_policies(order, {policy: (spec, rules)})

    def _set_policies(
        self,
        order: list[L7Policy],
        changed: Mapping[L7Policy, tuple[L7PolicySpec, dict[str, L7Rule]] | None],
    ) -> None:
        """Have these policies in this order, some of them new or changed, and without those that have become None."""
        pools: dict[Pool, None] = {}
        for policy, after in changed.items():
            was, now = policy._used_pool_id(), None if after is None else used_pool_id(*after)
            if was != now:
                pools |= {self._balancer._pools[pool_id]: None for pool_id in (was, now) if pool_id}
        for pool in pools:
            pool._remember()
        rows = {
            policy: None if after is None else row_of(after[0], after[1].values())
            for policy, after in changed.items()
        }
        self._publish([row for one in order if (row := rows.get(one, one._row)) is not None])
        for policy, after in changed.items():
            policy._become(after, rows[policy])
        self._policies = order
        for position, policy in enumerate(order, 1):
            if policy._position != position:
                policy._position = position
                policy._unsaved()
        for pool in pools:
            pool._sync_monitor()

    def _publish(self, rows: list[Row]) -> None:
        """Have the data plane go by these rows. Without a port they wait for one."""
        if rows == self._rows:
            return
        program = None
        if self._core is not None:
            program = self._compile(rows)
            self._configure(self._core, self._spec, program)
        self._rows, self._program = rows, program

    def _compile(self, rows: list[Row]) -> _core.CorePolicies | None:
        return compiled(self._balancer._core_in_use(), rows, self._balancer._pools, self._program)

    # The data plane.

    @property
    def _failed(self) -> bool:
        return bool(self._failure)

    def _open(self, spec: ListenerSpec) -> None:
        """Bind the port on all addresses, or on none. Raises BindError; on a tolerant load balancer the listener is in
        ERROR instead, until a later call succeeds."""
        try:
            self._bind(spec)
        except BindError as error:
            if not self._balancer._tolerant:
                raise
            import logging

            self._failure = str(error)
            logging.getLogger("fastlb").error(
                "%s is in ERROR: %s; a failover of %s tries again", self._who(), error, self._balancer._who()
            )
        else:
            self._failure = ""

    def _bind(self, spec: ListenerSpec) -> None:
        balancer = self._balancer
        port = self._open_port or spec.protocol_port
        listener = _core.CoreListener(balancer._core_in_use(), spec.http, balancer._ports.addresses, port)
        if self._program is None:
            self._program = self._compile(self._rows)
        try:
            if spec.protocol is Protocol.PROMETHEUS:
                self._expose()
            self._configure(listener, spec, self._program)
            self._open_port = listener.open(balancer._freebind)
        except OSError as error:
            # The traceback keeps this frame, and the frame would keep the core and its descriptors.
            del listener
            self._hide()
            raise self._bind_error(error, port) from error
        self._core = listener

    def _bind_error(self, error: OSError, port: int) -> BindError:
        # The core names the address as `127.0.0.1:80` or `[::1]:80`.
        address = str(error.filename or "").rpartition(":")[0].strip("[]") or self._balancer.vips[0]
        return BindError(error.errno or 0, error.strerror or str(error), address, port)

    def _renew(self) -> None:
        """Have new sockets take the new connections, and the old ones retired; or open what is not."""
        if self._core is None:
            self._open(self._spec)
            return
        try:
            self._core.renew(self._balancer._freebind)
        except OSError as error:
            raise self._bind_error(error, self.protocol_port) from error

    def _listen_on(self, addresses: Iterable[str]) -> None:
        """Listen on more addresses, if on any. Raises BindError; then it does on those before that one."""
        if self._core is None:
            return
        try:
            for address in addresses:
                self._core.add_address(address, self._balancer._freebind)
        except OSError as error:
            raise self._bind_error(error, self.protocol_port) from error

    def _leave(self, addresses: Collection[str]) -> None:
        """Have the sockets of these addresses, as far as there are any, retired."""
        core = self._core
        if core is not None:
            for address in core.bound:
                if address in addresses:
                    core.retire_address(address)

    def _configure(
        self, listener: _core.CoreListener, spec: ListenerSpec, program: _core.CorePolicies | None
    ) -> None:
        pool = None if spec.default_pool_id is None else self._balancer._pools[spec.default_pool_id]._core
        if self._exposition is not None:
            pool = self._exposition.pool
        listener.configure(
            pool, program, spec.numbers, list(spec.allowed_cidrs or ()), list(spec.inserted_headers)
        )

    def _expose(self) -> None:
        # Imported here: only those who want metrics pay for prometheus_client.
        from fastlb.metrics.exposition import Exposition

        self._exposition = Exposition(self._balancer)

    def _hide(self) -> None:
        exposition, self._exposition = self._exposition, None
        if exposition is not None:
            exposition.close()

    def _close(self) -> None:
        """Give the port back; connections under way finish."""
        listener = self._core
        if listener is None:
            return
        listener.close()
        self._core = None
        self._hide()
        # Those that were closed earlier and have no connections any more need not be asked again.
        for ended in [core for core in self._retired if not core.stats()["active"]]:
            self._retired.remove(ended)
            self._past.update(lasting(of_listener(ended), LISTENER_GAUGES))
        self._retired.append(listener)

    def _detach(self) -> None:
        """The core lets it go: keep its counters."""
        self._close()
        self._hide()
        for listener in self._retired:
            self._past.update(lasting(of_listener(listener), LISTENER_GAUGES))
        self._retired.clear()
        self._open_port = 0
        self._program = None

    def _figures(self) -> Counter[str]:
        core = self._core
        parts = [of_listener(listener) for listener in self._retired[:]]
        if core is not None:
            parts.append(of_listener(core))
        return total([self._past, *parts])

    def _timeout_member_connect_ms(self) -> int:
        return self._spec.timeout_member_connect or TIMEOUT_MEMBER_CONNECT_MS

    # Statuses.

    def _operating_status(self) -> OperatingStatus:
        core, spec = self._core, self._spec
        return listener_status(
            admin_up=spec.admin_state_up and self._balancer._spec.admin_state_up,
            running=self._balancer._running() or self._failed,
            bound=core is not None,
            active=0 if core is None else core.stats()["active"],
            limit=spec.limit,
        )

    def _provisioning_status(self) -> ProvisioningStatus:
        return ProvisioningStatus.ERROR if self._failed else super()._provisioning_status()

    def _relations(self) -> dict[str, Any]:
        return {
            "loadbalancers": [{"id": self._balancer.id}],
            "l7policies": [{"id": policy.id} for policy in self._policies],
        }

    def _who(self) -> str:
        return self._named("listener")

    def _endpoint(self) -> str:
        vip = self._balancer._spec.vip_address or "*"
        return f"[{vip}]:{self.protocol_port}" if ":" in vip else f"{vip}:{self.protocol_port}"

    def __repr__(self) -> str:
        name = f"{self._spec.name} " if self._spec.name else ""
        active = f" active={self._figures()['active']}" if self._core is not None else ""
        return f"<Listener {name}{self._spec.protocol} {self._endpoint()} {self._state_words()}{active}>"
