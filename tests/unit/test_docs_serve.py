# SPDX-License-Identifier: Apache-2.0
"""docs/serve.md and docs/fastlb.service: what they say can be typed, can be."""

import configparser
import pathlib
import re
import shlex
import tomllib

import pytest

from fastlb.api import settings
from fastlb.cli import parser
from fastlb.schema.field import rules

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "serve.md").read_text("utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"(?:^ {4}|&& |`)(fastlb (?:serve|token) [\w-][^`#\n>&…]*)", PAGE, re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_configuration_is_one(example, tmp_path):
    file = tmp_path / "fastlb.toml"
    file.write_text(example, "utf-8")
    read = settings.load(file, {})
    assert read.authentication == tomllib.loads(example)["auth"]


def test_the_whole_configuration_shows_every_setting():
    left_out = rules(settings.Settings).keys() - tomllib.loads(EXAMPLES[0]).keys()
    assert left_out == {"insecure_bind", "keystone"}  # which stand elsewhere on the page


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one(command):
    words = shlex.split(command.replace("--config FILE", "--config x"))[1:]
    if "--help" not in words:
        parser(words[0]).parse_args(words)


def test_the_commands_are_found():
    assert len(COMMANDS) > 5


class Unit(configparser.RawConfigParser):
    optionxform = str


def test_the_unit_starts_the_server_and_waits_for_it():
    unit = Unit()
    unit.read(DOCS / "fastlb.service", "utf-8")
    service = unit["Service"]
    assert service["Type"] == "notify"
    for line in ("ExecStart", "ExecStartPre"):
        words = shlex.split(service[line])
        assert pathlib.Path(words[0]).name == "fastlb"
        options = parser("serve").parse_args(words[1:])
        assert options.check == (line == "ExecStartPre")
    assert service["RestartPreventExitStatus"] == "2"
