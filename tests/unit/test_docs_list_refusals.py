# SPDX-License-Identifier: Apache-2.0
"""docs/limits.md lists each reason that `listener.stats.refusals` can name, and no other."""

import re

# What the parser refuses in answers only: they count as member_broken. NONE is no refusal.
OF_ANSWERS = {"status", "none"}


def reasons(root):
    core = root / "fastlb" / "core"
    tables = (core / "http1_tables.h").read_text("utf-8").partition("#define HTTP1_ERRORS(X)")[2]
    parsers = re.findall(r"^    X\((\w+), \"", tables.partition("\n\n")[0], re.MULTILINE)
    ours = re.search(r"refusal_names\[\] = \{(.*?)\}", (core / "refusal.pxd").read_text("utf-8"), re.DOTALL)
    return {name.lower() for name in parsers} - OF_ANSWERS | set(re.findall(r"\"(\w+)\"", ours[1]))


def test_each_reason_is_listed(root):
    _, _, page = (root / "docs" / "limits.md").read_text("utf-8").partition("## Why an error was answered")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(listed) == len(set(listed))
    assert set(listed) == reasons(root)
    assert {"policy", "no_member", "host_twice"} <= set(listed)
