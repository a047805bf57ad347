# SPDX-License-Identifier: Apache-2.0
"""Which metrics there are, against what Octavia was recorded to give; and the collector in a registry of one's own."""

import pathlib

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import fastlb
from fastlb import support
from fastlb.errors import ConfigError
from fastlb.metrics import MISSING, Collector, families

LABELS = {"loadbalancer": [], "listener": ["listener"], "pool": ["pool"], "member": ["member", "pool"]}
RECORDED = {
    name: (kind, [] if labels == "-" else labels.split(","), only, values)
    for name, kind, labels, only, *values in map(
        str.split,
        (pathlib.Path(__file__).parents[1] / "data" / "octavia_metrics.txt").read_text().splitlines()[1:],
    )
}
OURS = {
    family.name: (family, labels)
    for which, labels in (
        (families.LOAD_BALANCER, []),
        (families.LISTENER, ["listener"]),
        (families.POOL, ["pool"]),
        (families.MEMBER, ["member", "pool"]),
    )
    for family in which
}


def test_every_metric_of_octavias_is_here_or_said_to_be_missing():
    assert len(RECORDED) == 144
    assert OURS.keys() | MISSING == RECORDED.keys()
    assert not OURS.keys() & MISSING


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_metric_has_octavias_type_and_labels(name):
    family, labels = OURS[name]
    kind, recorded, only, _ = RECORDED[name]
    assert kind == ("counter" if family.counter else "gauge")
    assert recorded == sorted([*labels, *([family.label] if family.label else [])])
    assert family.http == (only == "-")


def test_what_is_always_the_same_is_what_octavia_says_then():
    constant = {
        name: family
        for name, (family, _) in OURS.items()
        if family.value in (families.zero, families.no_limit)
    }
    assert len(constant) > 30
    for name, family in constant.items():
        assert [float(value) for value in RECORDED[name][3]] == pytest.approx(
            [family.value(None)], nan_ok=True
        )


def test_tls_is_counted_once_there_is_tls(monkeypatch):
    assert families.without_tls(None) == 0
    monkeypatch.setattr(support, "LISTENERS", (*support.LISTENERS, "TERMINATED_HTTPS"))
    assert families.without_tls(None) is None


def test_the_page_names_what_is_missing(root):
    page = (root / "docs" / "metrics.md").read_text("utf-8")
    _, _, missing = page.partition("## Not there yet")
    named = {word for word in missing.replace("`", " ").split() if word.startswith("octavia_")}
    assert named == MISSING


def scraped(registry):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_a_load_balancer_that_is_not_started_has_its_sums_alone():
    lb = fastlb.LoadBalancer()
    listener = lb.create_listener(protocol="HTTP", protocol_port=80)
    listener.create_pool(protocol="HTTP", lb_algorithm="ROUND_ROBIN").create_member("192.0.2.1", 80)
    registry = CollectorRegistry()
    registry.register(Collector(lb))
    found = scraped(registry)
    assert found["octavia_loadbalancer_connections_total",] == 0
    assert found["octavia_loadbalancer_listeners",] == 0
    assert {name for name, *_ in found} == {family.name for family in families.LOAD_BALANCER}


def test_of_several_load_balancers_each_has_its_label():
    one, two = fastlb.LoadBalancer(), fastlb.LoadBalancer()
    registry = CollectorRegistry()
    registry.register(Collector(one, two))
    labels = {
        labels for name, *labels in [(name, *rest) for name, *rest in scraped(registry)] for labels in labels
    }
    assert labels == {one.id, two.id}


def test_a_deleted_load_balancer_has_none():
    lb = fastlb.LoadBalancer()
    registry = CollectorRegistry()
    registry.register(Collector(lb))
    lb.delete()
    assert scraped(registry) == {}


def test_two_collectors_do_not_fit_into_one_registry():
    registry = CollectorRegistry()
    registry.register(Collector(fastlb.LoadBalancer()))
    with pytest.raises(ValueError, match="octavia_loadbalancer_connections"):
        registry.register(Collector(fastlb.LoadBalancer()))


def test_some_metrics_alone_may_be_asked_for():
    registry = CollectorRegistry()
    registry.register(Collector(fastlb.LoadBalancer()))
    some = registry.restricted_registry(["octavia_loadbalancer_requests_total", "octavia_loadbalancer_cpu"])
    assert {name for name, *_ in scraped(some)} == {
        "octavia_loadbalancer_requests_total",
        "octavia_loadbalancer_cpu",
    }


def test_only_load_balancers_are_collected():
    with pytest.raises(ConfigError, match=r"^load_balancers=3: must be fastlb\.LoadBalancer objects$"):
        Collector(3)


def test_memory_and_load_are_percentages():
    assert 0 < families.memory(None) < 100
    assert families.cpu(None) >= 0
