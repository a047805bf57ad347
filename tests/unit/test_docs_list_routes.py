# SPDX-License-Identifier: Apache-2.0
"""docs/api.md names every endpoint of Octavia's that there is, with its methods, and none that there is not."""

import re
from pathlib import Path

from fastlb.api import amphorae, app, discovery

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
METHODS = re.compile(r"^((?:GET|POST|PUT|DELETE)(?: (?:POST|PUT|DELETE))*) (/\S*)$")


def documented():
    """Path to methods, of the first table's first column; rows that say "no" are left out."""
    text = DOCUMENT.read_text()
    found = {}
    for line in text[: text.index("## The neighbours")].splitlines():
        if not line.startswith("| `") or line.split("|")[2].strip() == "no":
            continue
        methods, last = set(), ""
        for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
            match = METHODS.match(name)
            if match:
                methods, name = set(match[1].split()), match[2]
            path = last.rpartition("/")[0] + name[1:] if name.startswith("…") else name
            found[path] = methods
            last = path
    return found


def there():
    found = {}
    for resource in (*app.RESOURCES, discovery):
        found |= {route.path or "/": set(route.methods) for route in resource.ROUTES}
    found |= {f"/octavia{route.path}": set(route.methods) for route in amphorae.ROUTES}
    # Names of flavors and zones may have any character, so their routes take the rest of the path; below a provider
    # there are routes that only say that nothing else is there.
    return {
        path.replace("{key:path}", "{key}"): methods
        for path, methods in found.items()
        if path not in ("/providers/{provider}", "/providers/{provider}/{rest:path}")
    }


def test_the_document_lists_the_endpoints_that_there_are():
    assert documented() == there()
