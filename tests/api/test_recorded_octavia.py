# SPDX-License-Identifier: Apache-2.0
"""What Octavia's API answered to some thousand requests (tests/data/octavia_api), fastlb answers too.

Deliberate differences, each with its reason, are in differences.py.
"""

import asyncio
import importlib.util
import pathlib
import sys
from typing import Any

import pytest

import fastlb
from fastlb.api.access import anyone
from fastlb.api.app import create_app
from fastlb.api.call import Caller, Forbidden
from fastlb.controller import Controller
from fastlb.network import NetworkConfig, Networking
from fastlb.network.records import FixedIP, Network, Port
from fastlb.store.memory import MemoryStore


def beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(
        f"api_{name}", pathlib.Path(__file__).with_name(f"{name}.py")
    )
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recorded = beside("recorded")
differences = beside("differences")


def by_roles(headers):
    """Who asks, as Octavia's `testing` strategy has it: from header fields that Keystone's middleware would set."""
    roles = headers["x-roles"].split(",")
    if not {"admin", "member", "reader"} & {*roles}:
        raise Forbidden()
    project_id = headers["x-project-id"]
    return Caller(project_id=project_id, admin="admin" in roles, writes="member" in roles)


def neighbourhood():
    """The networks, subnets and ports that Octavia was recorded with: rows of a store, and what configures them."""
    rows = recorded.NEIGHBOURS
    subnets = [
        {"id": row["id"], "name": row["symbol"], "cidr": row["cidr"], "network": row["network_id"]}
        for row in rows["subnets"]
    ]
    records = [Network(id=row["id"], name=row["name"]) for row in rows["networks"]]
    for row in rows["ports"]:
        fixed = tuple(FixedIP(**one) for one in row["fixed_ips"])
        port = {"network_id": row["network_id"], "device_id": row["device_id"]}
        records.append(Port(id=row["id"], fixed_ips=fixed, **port))
    configured = {subnet["network"] for subnet in subnets}
    return [one.put() for one in records if one.id not in configured], NetworkConfig.of(subnets=subnets)


class Replay:
    """One recording, asked of fastlb; `play` answers the lines that no rule explains."""

    def __init__(self, scenario, engine, runner):
        self.scenario = scenario
        self.recording = recorded.recorded(scenario)
        store = MemoryStore()
        rows, config = neighbourhood()
        store.commit(rows)
        self.controller = Controller(store, engine=engine, networking=Networking(config))
        identify = by_roles if self.recording.get("auth_strategy") == "testing" else anyone
        self.asker = recorded.Asker(create_app(self.controller, identify=identify), runner)
        self.meaning = recorded.Meaning()
        self.missing = set()
        self.under_way = False
        self.used = set()
        self.compared = 0

    def play(self):
        unexplained = []
        with self.controller:
            for row in self.recording["steps"]:
                if "given" in row:
                    self.bring_about(row["given"])
                else:
                    unexplained += self.replay(recorded.Step(self.scenario, row))
        return unexplained

    def bring_about(self, given):
        if "applied" in given:
            self.under_way = not given["applied"]
        elif given["kind"] == "loadbalancer":
            balancer = self.controller.get("loadbalancer", self.meaning.of(given["id"]))
            balancer._error = "as if it could not be started"

    def replay(self, step):
        if self.under_way and (step.method == "GET" or step.status >= 400):
            # Here a change is applied when it is answered: nobody meets one that is under way.
            return []
        try:
            answered = step.ask(self.asker, self.meaning)
        except recorded.Unknown as unknown:
            if str(unknown) in self.missing:
                self.not_made(step)
                return []
            return [f"{step.name}: {{{unknown}}} stands for nothing"]
        found = step.differences(answered, self.meaning)
        self.compared += 1
        if answered.status != step.status:
            self.not_made(step)
        return [f"{step.name}: {line}" for line in found if not self.explained(step.name, line)]

    def not_made(self, step):
        """What Octavia made there, nobody can ask for here."""
        if step.makes:
            self.meaning.forget(step.makes)
        self.missing |= set(step.symbols) - self.meaning.values.keys()

    def explained(self, name, line):
        for rule in differences.DIFFERENCES:
            if rule.explains(f"{self.scenario}: {name}", line):
                self.used.add(rule)
                return True
        return False


@pytest.fixture(scope="module")
def replay():
    """Plays a scenario, once."""
    played = {}
    engine = fastlb.Engine(workers=1)
    with asyncio.Runner() as runner:

        def play(scenario):
            if scenario not in played:
                run = Replay(scenario, engine, runner)
                played[scenario] = run, run.play()
            return played[scenario]

        yield play
    engine.stop(0)


@pytest.mark.parametrize("scenario", recorded.SCENARIOS)
def test_what_octavia_answered_fastlb_answers(replay, scenario):
    run, unexplained = replay(scenario)
    assert not unexplained, f"{len(unexplained)} of {run.compared}:\n" + "\n".join(unexplained)


def test_every_deliberate_difference_is_there(replay):
    used = set().union(*(replay(scenario)[0].used for scenario in recorded.SCENARIOS))
    assert [rule.why for rule in differences.DIFFERENCES if rule not in used] == []


def test_some_thousand_answers_are_compared(replay):
    assert sum(replay(scenario)[0].compared for scenario in recorded.SCENARIOS) > 3000
