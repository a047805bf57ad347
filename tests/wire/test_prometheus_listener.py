# SPDX-License-Identifier: Apache-2.0
"""A PROMETHEUS listener: a scrape of its port, before Octavia's own answers as they were recorded."""

import gzip
import math
import pathlib
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

import fastlb
from fastlb.controller import Controller
from fastlb.metrics import MISSING
from fastlb.store.memory import MemoryStore
from fastlb.testing import Client, echo, eventually, http, request, response, say_nothing, unused_port

RECORDED = [
    line.split()
    for line in (pathlib.Path(__file__).parents[1] / "data" / "octavia_metrics.txt")
    .read_text()
    .splitlines()[1:]
]


class Scrape:
    """One answer: its values by name and labels."""

    def __init__(self, answer, parse=text_string_to_metric_families):
        assert answer.status == 200
        self.families = list(parse(answer.body.decode()))
        self.samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name, **labels):
        return self.samples[f"octavia_{name}", *sorted(labels.items())]

    def labels(self, name):
        return {dict(labels)[name] for _, *labels in self.samples if name in dict(labels)}


@pytest.fixture
def expose():
    """`expose(lb)`: a PROMETHEUS listener of it, and a client for that."""

    def make(lb, **fields):
        listener = lb.create_listener(protocol="PROMETHEUS", protocol_port=0, **fields)
        return listener, Client("127.0.0.1", listener.protocol_port)

    return make


def alive():
    return [one for one in threading.enumerate() if one.name.startswith("fastlb-metrics")]


def ask(client, **fields):
    with client.connect() as conn:
        return conn.send(request("/metrics", fields=list(fields.items()))).read_response()


def test_a_scrape_has_octavias_metrics(balance, member, expose):
    balancer = balance(member())
    lb = balancer.lb
    tcp = lb.create_listener(protocol="TCP", protocol_port=0)
    tcp_pool = tcp.create_pool(protocol="TCP", lb_algorithm="LEAST_CONNECTIONS")
    tcp_member = tcp_pool.create_member("127.0.0.1", 9)
    own, client = expose(lb)
    answer = client.get("/metrics")
    assert answer.get("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.get("Cache-Control") == "no-cache"
    assert answer.get("Server") is None
    scrape = Scrape(answer)
    assert scrape.labels("listener") == {balancer.listener.id, tcp.id, own.id}
    http_pair = f"{balancer.pool.id}:{balancer.listener.id}"
    tcp_pair = f"{tcp_pool.id}:{tcp.id}"
    assert scrape.labels("pool") == {http_pair, tcp_pair}
    assert scrape.labels("member") == {balancer.members[0].id, tcp_member.id}
    types = {family.name + "_total" * (family.type == "counter"): family.type for family in scrape.families}
    assert types == {name: kind for name, kind, *_ in RECORDED if name not in MISSING}
    of_http = {"listener": balancer.listener.id, "pool": http_pair, "member": balancer.members[0].id}
    of_tcp = {"listener": tcp.id, "pool": tcp_pair, "member": tcp_member.id}
    compared = 0
    for name, _, labels, only, *values in RECORDED:
        # The scrape itself is a connection; limits and the machine's load are not Octavia's.
        if name in MISSING or "loadbalancer" in name or name == "octavia_listener_limit_sessions":
            continue
        names = labels.split(",")
        further = [name for name in names if name in ("state", "code")]
        for value in values:
            key, _, number = value.rpartition("=")
            more = [(name, key) for name in further]
            for ids in (of_http, of_tcp):
                given = sorted([(name, ids[name]) for name in names if name in ids] + more)
                if only == "-" and ids is of_tcp:
                    assert (name, *given) not in scrape.samples
                else:
                    assert scrape.samples[name, *given] == pytest.approx(float(number), nan_ok=True), (
                        name,
                        given,
                    )
                    compared += 1
    assert compared > 100


def test_counters_say_what_was_sent(balance, member, expose):
    balancer = balance(
        member(http(lambda message: response(b"abc", status=int(message.target[1:])))), member(say_nothing)
    )
    balancer.members[1].weight = 0
    codes = [200, 200, 204, 301, 404, 404, 404, 500]
    with balancer.client.connect() as conn:
        for code in codes:
            assert conn.request(f"/{code}").status == code
    _, client = expose(balancer.lb)
    eventually(lambda: balancer.listener.stats.active_connections == 0)
    scrape, stats = Scrape(client.get("/metrics")), balancer.listener.stats
    listener = {"listener": balancer.listener.id}
    pool = {"pool": f"{balancer.pool.id}:{balancer.listener.id}"}
    assert (
        scrape("listener_connections_total", **listener) == scrape("listener_sessions_total", **listener) == 1
    )
    assert scrape("listener_http_requests_total", **listener) == len(codes)
    assert scrape("listener_bytes_in_total", **listener) == stats.bytes_in > 0
    assert scrape("listener_bytes_out_total", **listener) == stats.bytes_out > 0
    for labels, name in (
        (listener, "listener"),
        (pool, "pool"),
        (pool | {"member": balancer.members[0].id}, "member"),
    ):
        found = [scrape(f"{name}_http_responses_total", code=f"{one}xx", **labels) for one in range(1, 6)]
        assert found == [0, 3, 1, 3, 1]
    assert scrape("pool_http_requests_total", **pool) == scrape("pool_sessions_total", **pool) == len(codes)
    one, two = (pool | {"member": one.id} for one in balancer.members)
    assert scrape("member_sessions_total", **one) == len(codes)
    assert scrape("member_sessions_total", **two) == 0
    one_stats = balancer.members[0].stats
    assert scrape("member_connection_attempts_total", **one) == one_stats.connects >= 1
    assert scrape("member_connection_reuses_total", **one) == len(codes) - one_stats.connects
    assert scrape("member_idle_connections_current", **one) == 1
    assert scrape("loadbalancer_connections_total") == 2
    assert scrape("loadbalancer_requests_total") == len(codes) + 1
    assert scrape("loadbalancer_current_connections") == 1


def test_a_tcp_listeners_bytes_are_counted(balance, member, expose):
    balancer = balance(member(echo), protocol="TCP")
    _, client = expose(balancer.lb)
    with balancer.client.connect() as conn:
        conn.send(b"x" * 1000).expect(b"x" * 1000)
        pool = {"pool": f"{balancer.pool.id}:{balancer.listener.id}"}
        eventually(lambda: Scrape(client.get("/metrics"))("pool_bytes_out_total", **pool) == 1000)
        scrape = Scrape(client.get("/metrics"))
        assert scrape("pool_bytes_in_total", **pool) == 1000
        assert scrape("pool_current_sessions", **pool) == 1
        assert scrape("listener_current_sessions", listener=balancer.listener.id) == 1


def test_states_are_those_of_haproxy(balance, member, expose):
    balancer = balance(
        member(),
        member(),
        member(),
        member(),
        options=[{}, {"weight": 0}, {"admin_state_up": False}, {"backup": True}],
    )
    _, client = expose(balancer.lb)
    pool = {"pool": f"{balancer.pool.id}:{balancer.listener.id}"}

    def states():
        scrape = Scrape(client.get("/metrics"))
        found = {
            labels["member"]: labels["state"]
            for (name, *pairs), value in scrape.samples.items()
            if name == "octavia_member_status" and value and (labels := dict(pairs))
        }
        usable = scrape("pool_active_members", **pool), scrape("pool_backup_members", **pool)
        return [found[one.id] for one in balancer.members], usable, scrape("pool_status", state="UP", **pool)

    assert states() == (["UP", "UP", "MAINT", "UP"], (1, 1), 1)
    balancer.pool.create_health_monitor(
        type="TCP", delay=0.05, timeout=0.5, max_retries=1, max_retries_down=1
    )
    for one in (0, 3):
        balancer.members[one].update(monitor_port=unused_port())
        balancer.members[one].wait_for(operating_status="ERROR")
    assert states() == (["DOWN", "UP", "MAINT", "DOWN"], (0, 0), 0)


def test_limits_are_shown(balance, member, expose):
    balancer = balance(
        member(), listener={"connection_limit": 70}, options=[{"max_connections": 5, "weight": 7}]
    )
    _, client = expose(balancer.lb, connection_limit=30)
    scrape = Scrape(client.get("/metrics"))
    assert scrape("listener_limit_sessions", listener=balancer.listener.id) == 70
    assert scrape("loadbalancer_max_connections") == 100
    assert scrape("loadbalancer_listeners") == 2
    labels = {"pool": f"{balancer.pool.id}:{balancer.listener.id}", "member": balancer.members[0].id}
    assert scrape("member_limit_sessions", **labels) == 5
    assert scrape("member_weight", **labels) == 7
    assert math.isnan(scrape("member_current_throttle", **labels))
    balancer.pool.slow_start = 5
    assert "octavia_member_current_throttle" not in {
        name for name, *_ in Scrape(client.get("/metrics")).samples
    }


def test_refusals_redirects_and_scrapes_are_told_apart(balance, member, expose):
    balancer = balance(member())
    own, client = expose(balancer.lb)
    for action, path in (
        ({"action": "REJECT"}, "/no"),
        ({"action": "REDIRECT_TO_URL", "redirect_url": "http://a/"}, "/b"),
    ):
        rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": path}
        balancer.listener.create_l7policy(**action, rules=[rule])
    assert [balancer.client.get(path).status for path in ("/no", "/b", "/b", "/")] == [403, 302, 302, 200]
    assert client.get("/metrics").status == 200
    scrape = Scrape(client.get("/metrics"))
    assert scrape("listener_requests_denied_total", listener=balancer.listener.id) == 1
    assert scrape("listener_intercepted_requests_total", listener=balancer.listener.id) == 2
    assert scrape("listener_requests_denied_total", listener=own.id) == 0
    assert scrape("listener_intercepted_requests_total", listener=own.id) == 1


def test_what_is_off_or_unused_is_not_there(balance, member, expose):
    balancer = balance(member())
    lb, pool = balancer.lb, balancer.pool
    lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN").create_member("192.0.2.1", 80)
    _, client = expose(lb)
    pairs = {f"{pool.id}:{balancer.listener.id}"}
    assert Scrape(client.get("/metrics")).labels("pool") == pairs
    pool.admin_state_up = False
    assert Scrape(client.get("/metrics")).labels("pool") == set()
    pool.admin_state_up = True
    balancer.listener.admin_state_up = False
    scrape = Scrape(client.get("/metrics"))
    assert scrape.labels("pool") == set()
    assert balancer.listener.id not in scrape.labels("listener")
    balancer.listener.admin_state_up = True
    assert Scrape(client.get("/metrics")).labels("pool") == pairs


def test_a_pool_of_two_listeners_is_counted_as_one(balance, member, expose):
    balancer = balance(member())
    second = balancer.lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=balancer.pool)
    _, client = expose(balancer.lb)
    assert balancer.client.get().status == Client("127.0.0.1", second.protocol_port).get().status == 200
    scrape = Scrape(client.get("/metrics"))
    pairs = [f"{balancer.pool.id}:{one.id}" for one in (balancer.listener, second)]
    assert [scrape("pool_http_requests_total", pool=pair) for pair in pairs] == [2, 2]
    assert [scrape("member_sessions_total", pool=pair, member=balancer.members[0].id) for pair in pairs] == [
        2,
        2,
    ]


def test_counters_go_on_over_a_stop_and_a_deleted_member(balance, member, expose):
    balancer = balance(member())
    own, _ = expose(balancer.lb)
    pool = {"pool": f"{balancer.pool.id}:{balancer.listener.id}"}
    gone, stays = balancer.members[0], balancer.add(member())
    for number in (1, 2):
        if number == 2:
            balancer.lb.stop(0)
            balancer.lb.start()
        client = Client("127.0.0.1", own.protocol_port)
        with Client("127.0.0.1", balancer.listener.protocol_port).connect() as conn:
            assert [conn.request().status for _ in range(10)] == [200] * 10
        scrape = Scrape(client.get("/metrics"))
        assert scrape("pool_sessions_total", **pool) == 10 * number
        assert scrape("member_sessions_total", member=stays.id, **pool) == 5 * number
    gone.delete()
    scrape = Scrape(client.get("/metrics"))
    assert scrape("pool_sessions_total", **pool) == 20
    assert scrape.labels("member") == {stays.id}


def test_two_load_balancers_do_not_see_one_another(balance, member, expose):
    one, two = balance(member()), balance(member())
    first, second = (Scrape(expose(each.lb)[1].get("/metrics")) for each in (one, two))
    for name in ("listener", "pool", "member"):
        assert first.labels(name)
        assert not first.labels(name) & second.labels(name)
    assert one.listener.id in first.labels("listener")


def test_the_way_to_the_metrics_is_not_to_be_seen(balance, expose):
    balancer = balance(with_pool=False)
    listener, client = expose(balancer.lb)
    assert client.get("/metrics").status == 200
    assert balancer.lb.pools == ()
    assert listener.default_pool is None
    assert listener.show()["default_pool_id"] is None
    trees = balancer.lb.status_tree()["statuses"]["loadbalancer"]["listeners"]
    assert [tree["pools"] for tree in trees] == [[], []]
    assert balancer.lb.to_dict()["loadbalancer"]["pools"] == []
    assert Scrape(client.get("/metrics")).labels("pool") == set()
    assert listener.operating_status == "ONLINE"


def test_other_paths_and_methods_are_refused(balance, expose):
    _, client = expose(balance(with_pool=False).lb)
    for path in ("/", "/metrics/", "/metric", "/favicon.ico", "/a/../metrics", "/METRICS", "/%6detrics"):
        assert client.get(path).status == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        assert client.request("/metrics", method=method).status == 501
    head = client.request("/metrics", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.get("Content-Length")) > 1000
    assert client.get("/metrics?a=b").status == 200
    answer = client.get("/metrics?name[]=octavia_loadbalancer_requests_total")
    assert {name for name, *_ in Scrape(answer).samples} == {"octavia_loadbalancer_requests_total"}


def test_a_client_may_choose_the_form(balance, expose):
    _, client = expose(balance(with_pool=False).lb)
    squeezed = ask(client, **{"Accept-Encoding": "gzip"})
    assert squeezed.get("Content-Encoding") == "gzip"
    plain = client.get("/metrics").body
    assert gzip.decompress(squeezed.body)[:100] == plain[:100]
    assert len(squeezed.body) < len(plain) / 4
    # As Prometheus asks.
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
    answer = ask(client, Accept=accept)
    assert answer.get("Content-Type").startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert answer.body.endswith(b"# EOF\n")
    assert Scrape(answer, openmetrics_families)("loadbalancer_connections_total") == 3


def test_connections_are_kept_and_each_request_is_fresh(balance, member, expose):
    balancer = balance(member())
    _, client = expose(balancer.lb)
    with client.connect() as conn:
        for count in range(3):
            scrape = Scrape(conn.request("/metrics"))
            assert scrape("listener_http_requests_total", listener=balancer.listener.id) == count
            assert balancer.client.get().status == 200


def test_allowed_cidrs_are_obeyed(balance, expose):
    listener, client = expose(balance(with_pool=False).lb, allowed_cidrs=["127.0.0.2/32"])
    with client.connect(source="127.0.0.2") as conn:
        assert conn.request("/metrics").status == 200
    with client.connect() as conn:
        eventually(lambda: listener.stats.denied == 1)
        assert not conn.pending() or conn.ended() == "reset"


def test_its_own_figures_and_limits_are_those_of_a_listener(balance, expose):
    listener, client = expose(balance(with_pool=False).lb, request_target_limit=64)
    assert client.get("/metrics?" + 100 * "a").status == 414
    size = len(client.get("/metrics").body)
    stats = listener.stats
    assert (stats.requests, stats.responses_2xx, stats.responses_4xx) == (1, 1, 1)
    assert stats.refusals == {"target_long": 1}
    assert stats.bytes_out > size


def test_who_does_not_read_holds_nobody_up(balance, expose):
    balancer = balance()
    balancer.pool.create_members([(f"127.0.{at >> 8}.{at & 255}", 9) for at in range(1, 1501)])
    _, client = expose(balancer.lb)
    with client.connect(receive_buffer=4096) as slow:
        slow.send(request("/metrics"))
        assert slow.read_response_head().status == 200
        for _ in range(3):
            assert client.get("/metrics").body.count(b"\noctavia_member_weight{") == 1500
        # It still has its thread: the others did not wait for it.
        assert "fastlb-metrics-answer" in {one.name for one in alive()}
        assert slow.still_open()


def test_changes_and_scrapes_go_on_together(balance, member, expose):
    balancer = balance(member())
    pool, lb = balancer.pool, balancer.lb
    _, client = expose(lb)
    over = threading.Event()
    failures = []

    def change():
        try:
            while not over.is_set():
                added = pool.create_members(
                    [{"address": f"127.0.1.{at}", "protocol_port": 9, "backup": True} for at in range(1, 40)]
                )
                assert balancer.client.get().status == 200
                second = lb.create_listener(protocol="PROMETHEUS", protocol_port=0)
                for extra in added:
                    extra.delete()
                second.delete()
        except BaseException as error:
            failures.append(error)

    changer = threading.Thread(target=change)
    changer.start()
    sums = []
    try:
        for _ in range(30):
            scrape = Scrape(client.get("/metrics"))
            sums.append(scrape("pool_sessions_total", pool=f"{pool.id}:{balancer.listener.id}"))
    finally:
        over.set()
        changer.join()
    assert failures == []
    assert sums == sorted(sums)


def test_it_comes_and_goes_without_leaving_anything(balance, expose):
    lb = balance(with_pool=False).lb
    assert alive() == []
    listener, client = expose(lb)
    assert client.get("/metrics").status == 200
    for _ in range(3):
        listener.admin_state_up = False
        eventually(lambda: alive() == [])
        listener.admin_state_up = True
        assert client.get("/metrics").status == 200
    lb.admin_state_up = False
    eventually(lambda: alive() == [])
    lb.admin_state_up = True
    assert client.get("/metrics").status == 200
    lb.stop(0)
    eventually(lambda: alive() == [])
    lb.start()
    assert Client("127.0.0.1", listener.protocol_port).get("/metrics").status == 200
    second, other = expose(lb)
    listener.delete()
    assert other.get("/metrics").status == 200
    second.delete()
    eventually(lambda: alive() == [])


def test_a_port_that_is_taken_leaves_nothing_open(balance, expose):
    lb = balance(with_pool=False).lb
    listener, _ = expose(lb)
    other = balance(with_pool=False, start=False).lb
    other.create_listener(protocol="PROMETHEUS", protocol_port=listener.protocol_port)
    with pytest.raises(fastlb.BindError):
        other.start()
    listener.delete()
    eventually(lambda: alive() == [])
    with other:
        assert len(alive()) == 1


def test_a_scrape_under_way_is_answered_before_the_end(balance, expose):
    balancer = balance()
    balancer.pool.create_members([(f"127.0.{at >> 8}.{at & 255}", 9) for at in range(1, 1001)])
    _, client = expose(balancer.lb)
    with client.connect() as conn:
        conn.send(request("/metrics"))
        head = conn.read_response_head()
        stopping = threading.Thread(target=balancer.lb.stop, args=(10,))
        stopping.start()
        body = conn.read_response_body(head).body
        assert len(body) == int(head.get("Content-Length"))
        stopping.join()


def test_a_kept_one_answers_again_after_a_restart(engine):
    store = MemoryStore()
    with Controller(store, engine=engine) as controller:
        lb = controller.add(fastlb.LoadBalancer(name="kept", vip_address="127.0.0.1"))
        listener = lb.create_listener(protocol="PROMETHEUS", protocol_port=unused_port())
        assert Client("127.0.0.1", listener.protocol_port).get("/metrics").status == 200
    assert alive() == []
    with Controller(store, engine=engine) as controller:
        (again,) = controller.find_load_balancer("kept").listeners
        scrape = Scrape(Client("127.0.0.1", again.protocol_port).get("/metrics"))
        assert scrape.labels("listener") == {again.id} == {listener.id}


def test_certificates_are_refused_rather_than_left_out(balance):
    lb = balance(with_pool=False).lb
    for fields in ({"default_tls_container_ref": "https://a/b"}, {"sni_container_refs": ["https://a/b"]}):
        with pytest.raises(fastlb.NotSupported, match=f"{next(iter(fields))}=.*does not forward it yet"):
            lb.create_listener(protocol="PROMETHEUS", protocol_port=0, **fields)


def test_a_process_ends_cleanly_with_a_scrape_under_way(child):
    out = child(
        """
        import fastlb
        from fastlb.testing import Client, request

        lb = fastlb.LoadBalancer(drain_timeout=0)
        front = lb.create_listener(protocol="HTTP", protocol_port=0)
        pool = front.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
        pool.create_members([(f"127.0.{at >> 8}.{at & 255}", 9) for at in range(1, 1001)])
        listener = lb.create_listener(protocol="PROMETHEUS", protocol_port=0)
        lb.start()
        client = Client("127.0.0.1", listener.protocol_port)
        slow = client.connect().send(request("/metrics"))
        slow.read_response_head()
        late = client.connect().send(request("/metrics"))
        print("over")
        """
    )
    assert out == "over\n"


def test_a_forked_child_has_nothing_of_it_and_may_have_its_own(child):
    out = child(
        """
        import os
        import fastlb
        from fastlb.testing import Client, open_descriptors, request

        lb = fastlb.LoadBalancer(drain_timeout=0)
        pool = lb.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN")
        pool.create_members([(f"127.0.{at >> 8}.{at & 255}", 9) for at in range(1, 1001)])
        lb.create_listener(protocol="HTTP", protocol_port=0, default_pool=pool)
        lb.start()
        before = open_descriptors()
        listener = lb.create_listener(protocol="PROMETHEUS", protocol_port=0)
        client = Client("127.0.0.1", listener.protocol_port)
        slow = client.connect().send(request("/metrics"))
        head = slow.read_response_head()
        pid = os.fork()
        if pid == 0:
            slow.close()
            now = open_descriptors().items()
            left = [name for number, name in now if before.get(number) != name and "pipe" not in name]
            assert not left, left  # pipes are where the core's bytes lay, and nobody waits for those
            with fastlb.LoadBalancer(drain_timeout=0) as own:
                mine = own.create_listener(protocol="PROMETHEUS", protocol_port=0)
                answer = Client("127.0.0.1", mine.protocol_port).get("/metrics")
                assert mine.id in answer.body.decode()
            lb.close()
            print("child done", flush=True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        body = slow.read_response_body(head).body
        assert len(body) == int(head.get("Content-Length"))
        assert listener.id in client.get("/metrics").body.decode()
        lb.close()
        print("parent done")
        """
    )
    assert out == "child done\nparent done\n"
