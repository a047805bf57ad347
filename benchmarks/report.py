# SPDX-License-Identifier: Apache-2.0
"""From rounds to a table: medians, their spread, and ratios to HAProxy.

A ratio is taken within each round, where both peers met the same machine, and the median of those is shown.
The spread beside a figure is half the distance between its quartiles, as a share of the median.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from benchmarks.workloads import REFERENCE, Sample, Workload


@dataclass
class Result:
    workload: Workload
    rounds: dict[str, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Peers that could not take part, and why."""

    def figure(self, peer: str, metric: str) -> float | None:
        found = [sample[metric] for sample in self.rounds.get(peer, ()) if metric in sample]
        return median(found) if found else None

    def spread(self, peer: str, metric: str) -> float:
        return _spread([sample[metric] for sample in self.rounds.get(peer, ()) if metric in sample])

    def ratios(self, peer: str, metric: str, to: str = REFERENCE) -> list[float]:
        pairs = zip(self.rounds.get(peer, ()), self.rounds.get(to, ()), strict=False)
        return [ours[metric] / theirs[metric] for ours, theirs in pairs if theirs.get(metric)]

    def ratio(self, peer: str, metric: str, to: str = REFERENCE) -> float | None:
        found = self.ratios(peer, metric, to)
        return median(found) if found else None

    def total(self, peer: str, metric: str) -> float:
        return sum(sample.get(metric, 0.0) for sample in self.rounds.get(peer, ()))

    def outcome(self) -> tuple[float | None, float, str]:
        """fastlb's figure in the goal's terms, its spread, and what to say of it."""
        metric = self.workload.metric
        if self.workload.relative:
            ratios = self.ratios("fastlb", metric, self.workload.against)
            found, spread = median(ratios) if ratios else None, _spread(ratios)
        else:
            found, spread = self.figure("fastlb", metric), self.spread("fastlb", metric)
        if found is None:
            return None, 0.0, "not measured"
        if self.total("fastlb", "failed"):
            return found, spread, "not met: requests failed"
        return found, spread, "met" if found <= self.workload.goal else "not met"


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2 or not median(values):
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / abs(median(values))


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, so that it reads in a terminal too."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]
        return "| " + " | ".join(padded) + " |"

    rule = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
    return "\n".join([line(head), rule, *map(line, rows)])


def _traffic_table(result: Result) -> str:
    unit = result.workload.unit
    head = [
        "peer", f"CPU µs/{unit}", "±", "user", "system", "ratio",
        f"{'bodies' if unit == 'body' else 'requests'}/s", "ratio", "p50 µs", "ratio", "p99 µs", "ratio",
        "its CPU", "load's", "others",
    ]  # fmt: skip
    rows = []
    for peer in result.rounds:

        def number(metric: str, form: str, peer: str = peer) -> str:
            found = result.figure(peer, metric)
            return "" if found is None else format(found, form)

        rows.append([
            peer, number("cpu_us", ",.2f"), format(result.spread(peer, "cpu_us"), ".1%"),
            number("user_us", ",.2f"), number("system_us", ",.2f"), _ratio(result.ratio(peer, "cpu_us")),
            number("per_second", ",.0f"), _ratio(result.ratio(peer, "per_second")),
            number("p50_us", ",.0f"), _ratio(result.ratio(peer, "p50_us")),
            number("p99_us", ",.0f"), _ratio(result.ratio(peer, "p99_us")),
            number("busy", ".0%"), number("load_busy", ".0%"), number("others", ".1%"),
        ])  # fmt: skip
    return _grid(head, rows)


def _plain_table(result: Result) -> str:
    metrics = list(dict.fromkeys(key for rounds in result.rounds.values() for one in rounds for key in one))
    head = ["peer", *(metric.replace("_", " ") for metric in metrics)]
    rows = []
    for peer in result.rounds:
        found = [result.figure(peer, metric) for metric in metrics]
        rows.append([peer, *("" if value is None else f"{value:,.2f}" for value in found)])
    return _grid(head, rows)


def warnings(result: Result) -> list[str]:
    """What a reader must know before believing the table."""
    said = []
    for peer, samples in result.rounds.items():
        failed = result.total(peer, "failed")
        if failed:
            said.append(f"{peer}: {failed:.0f} requests failed")
        others = result.figure(peer, "others") or 0.0
        if others > 0.05:
            said.append(f"{peer}: its CPU spent {others:.0%} of the time on something else")
        if result.workload.metric == "cpu_us" and (result.figure(peer, "busy") or 1.0) + others < 0.90:
            said.append(f"{peer} was not saturated: the load was the limit of its requests/s")
        if any(sample.get("overran") for sample in samples):
            said.append(f"{peer}: the changes took longer than the load ran")
    return said + [f"{peer} did not take part: {why}" for peer, why in result.missing.items()]


def section(result: Result) -> str:
    traffic = any("cpu_us" in sample for rounds in result.rounds.values() for sample in rounds)
    table = _traffic_table(result) if traffic else _plain_table(result)
    notes = "".join(f"\n- {warning}" for warning in warnings(result))
    return f"### {result.workload.title} (`{result.workload.key}`)\n\n{table}\n{notes}".rstrip() + "\n"


def summary(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        found, spread, verdict = result.outcome()
        goal = result.workload.goal
        against = {REFERENCE: "HAProxy"}.get(result.workload.against, result.workload.against)
        what = result.workload.metric.replace("_", " ") + (
            f" / {against}" if result.workload.relative else ""
        )
        measured = "" if found is None else f"{found:,.2f} ± {spread:.0%}"
        ratio = result.ratio("bare", result.workload.metric, result.workload.against)
        floor = _ratio(ratio) if result.workload.relative else ""
        rows.append([result.workload.title, what, f"≤ {goal:,g}", measured, floor, verdict])
    return _grid(["workload", "measure", "goal", "fastlb", "bare", ""], rows) + "\n"
