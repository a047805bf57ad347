# SPDX-License-Identifier: Apache-2.0
"""What Octavia's worker and health manager would write into its database once a change is applied.

PENDING_CREATE and PENDING_UPDATE become ACTIVE, what is PENDING_DELETE goes. Operating statuses of load balancers,
listeners, pools and members come from Octavia's own reading of a heartbeat; the heartbeat is one in which every
listener is open and every monitored member passes.
"""

import time
import uuid


class Worker:
    def __init__(self):
        from octavia.amphorae.drivers.health import heartbeat_udp
        from octavia.db import api, base_models, models, repositories

        self.models, self.api = models, api
        self.metadata = base_models.BASE.metadata
        self.repositories = repositories.Repositories()
        self.health = heartbeat_udp.UpdateHealthDb()
        # Children before parents: a parent's row cannot go while a child's is there.
        self.kinds = (
            (models.L7Rule, self.repositories.l7rule, True),
            (models.L7Policy, self.repositories.l7policy, True),
            (models.Member, self.repositories.member, False),
            (models.HealthMonitor, self.repositories.health_monitor, True),
            (models.Listener, self.repositories.listener, False),
            (models.Pool, self.repositories.pool, False),
        )

    def reset(self):
        engine = self.api.get_engine()
        self.metadata.drop_all(engine)
        self.metadata.create_all(engine)
        with self.api.session().begin() as session:
            self._seed(session)

    def _seed(self, session):
        from octavia.common import constants
        from octavia_lib.common import constants as lib_constants

        models = self.models
        tables = {
            models.ProvisioningStatus: constants.SUPPORTED_PROVISIONING_STATUSES,
            models.HealthMonitorType: constants.SUPPORTED_HEALTH_MONITOR_TYPES,
            models.Algorithm: constants.SUPPORTED_LB_ALGORITHMS,
            models.Protocol: lib_constants.LISTENER_SUPPORTED_PROTOCOLS
            + tuple(
                protocol
                for protocol in lib_constants.POOL_SUPPORTED_PROTOCOLS
                if protocol not in lib_constants.LISTENER_SUPPORTED_PROTOCOLS
            ),
            models.OperatingStatus: constants.SUPPORTED_OPERATING_STATUSES,
            models.SessionPersistenceType: constants.SUPPORTED_SP_TYPES,
            models.AmphoraRoles: constants.SUPPORTED_AMPHORA_ROLES,
            models.LBTopology: constants.SUPPORTED_LB_TOPOLOGIES,
            models.VRRPAuthMethod: constants.SUPPORTED_VRRP_AUTH,
            models.L7RuleType: constants.SUPPORTED_L7RULE_TYPES,
            models.L7RuleCompareType: constants.SUPPORTED_L7RULE_COMPARE_TYPES,
            models.L7PolicyAction: constants.SUPPORTED_L7POLICY_ACTIONS,
            models.ClientAuthenticationMode: constants.SUPPORTED_CLIENT_AUTH_MODES,
        }
        for model, names in tables.items():
            for name in names:
                session.add(model(name=name))
        session.flush()

    def set_status(self, kind, identity, status):
        """As if the worker had left it so: kind is the name of a repository."""
        with self.api.session().begin() as session:
            getattr(self.repositories, kind).update(session, identity, provisioning_status=status)

    def work(self):
        """Apply every change under way, then let every amphora report."""
        models = self.models
        with self.api.session().begin() as session:
            balancers = session.query(models.LoadBalancer).all()
            doomed = [row.id for row in balancers if row.provisioning_status == "PENDING_DELETE"]
            for balancer in balancers:
                if balancer.provisioning_status == "PENDING_CREATE":
                    self._boot(session, balancer)
            removed = [
                (kind, repository, row.id)
                for kind, repository, _ in self.kinds
                for row in session.query(kind)
                if row.provisioning_status == "PENDING_DELETE" or self._balancer_id(row) in doomed
            ]
        for kind, repository, identity in removed:
            self._remove(kind, repository, identity)
        with self.api.session().begin() as session:
            for kind, repository, has_switch in self.kinds:
                for row in session.query(kind).all():
                    if row.provisioning_status in ("PENDING_CREATE", "PENDING_UPDATE"):
                        changes = {"provisioning_status": "ACTIVE"}
                        if has_switch:
                            changes["operating_status"] = "ONLINE" if row.enabled else "OFFLINE"
                        repository.update(session, row.id, **changes)
            for row in session.query(models.LoadBalancer).all():
                if row.provisioning_status.startswith("PENDING"):
                    status = "DELETED" if row.id in doomed else "ACTIVE"
                    self.repositories.load_balancer.update(session, row.id, provisioning_status=status)
            for amphora in session.query(models.Amphora).all():
                if amphora.load_balancer_id in doomed:
                    amphora.status = "DELETED"
                    amphora.load_balancer_id = None
        for beat in self._heartbeats():
            self.health._update_health(beat, "192.0.2.1")

    def _balancer_id(self, row):
        models = self.models
        if isinstance(row, models.Listener | models.Pool):
            return row.load_balancer_id
        if isinstance(row, models.Member | models.HealthMonitor):
            return row.pool.load_balancer_id
        policy = row.l7policy if isinstance(row, models.L7Rule) else row
        return policy.listener.load_balancer_id

    def _boot(self, session, balancer):
        """The amphora that serves a new load balancer."""
        session.add(
            self.models.Amphora(
                id=str(uuid.uuid4()),
                load_balancer_id=balancer.id,
                compute_id=str(uuid.uuid4()),
                lb_network_ip="10.0.0.2",
                vrrp_ip="10.0.0.3",
                ha_ip=balancer.vip.ip_address,
                vrrp_port_id=str(uuid.uuid4()),
                ha_port_id=balancer.vip.port_id,
                role="STANDALONE",
                status="ALLOCATED",
                vrrp_interface="eth1",
                vrrp_id=1,
                cached_zone="nova",
                image_id=str(uuid.uuid4()),
                compute_flavor="1",
                cert_busy=False,
            )
        )

    def _remove(self, kind, repository, identity):
        from octavia.common import data_models

        with self.api.session().begin() as session:
            row = session.get(kind, identity)
            if row is None:  # went with its parent
                return
            project, pool_id = row.project_id, getattr(row, "pool_id", None)
            repository.delete(session, id=identity)
            if kind is self.models.HealthMonitor:
                self.repositories.member.update_pool_members(session, pool_id, operating_status="NO_MONITOR")
        with self.api.session().begin() as session:
            counted = getattr(data_models, kind.__name__)
            self.repositories.decrement_quota(session, counted, project)

    def _heartbeats(self):
        with self.api.session().begin() as session:
            return [
                {
                    "id": amphora.id,
                    "seq": 1,
                    "ver": 3,
                    "recv_time": time.time(),
                    "listeners": self._listeners(amphora.load_balancer),
                    "pools": self._pools(amphora.load_balancer),
                }
                for amphora in session.query(self.models.Amphora)
                if amphora.load_balancer is not None
            ]

    def _listeners(self, balancer):
        if not balancer.enabled:
            return {}
        stats = {"tx": 0, "rx": 0, "conns": 0, "totconns": 0, "ereq": 0}
        return {row.id: {"status": "OPEN", "stats": stats} for row in balancer.listeners if row.enabled}

    def _pools(self, balancer):
        reported = {}
        for listener in balancer.listeners if balancer.enabled else ():
            if not listener.enabled:
                continue
            pools = [listener.default_pool] + [
                policy.redirect_pool
                for policy in listener.l7policies
                if policy.enabled and any(rule.enabled for rule in policy.l7rules)
            ]
            for pool in pools:
                if pool is not None and pool.enabled:
                    reported[f"{pool.id}:{listener.id}"] = self._pool(pool)
        return reported

    def _pool(self, pool):
        monitored = pool.health_monitor is not None and pool.health_monitor.enabled
        members = {row.id: self._member(row, monitored) for row in pool.members}
        usable = any(row.enabled and row.weight for row in pool.members)
        return {"status": "UP" if usable or not members else "DOWN", "members": members}

    @staticmethod
    def _member(member, monitored):
        if not member.enabled:
            return "MAINT"
        if not monitored:
            return "no check"
        return "UP" if member.weight else "DRAIN"
