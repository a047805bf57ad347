# SPDX-License-Identifier: Apache-2.0
"""Names for what is different in each run: ids, allocated addresses, times, the server's own URL.

`{lb}` is an id that a scenario named; `{lb.listeners.0}` one that came with it; `{lb.vip_address}` an address that
nobody asked for; `{time}` a time; `{base}` the URL of the server. The text of a recording has the symbol only.
"""

import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00)?")
SYMBOL = re.compile(r"\{([a-z][\w.]*)\}")
CHOICES = re.compile(r"(Value should be one of: )(.*)")  # Octavia gives a set, in any order
ADDRESSES = {"vip_address", "ip_address", "ha_ip"}
BASE_URL = "http://octavia.test"


class Symbols:
    def __init__(self, known):
        self.names = dict(known)  # by what they stand for
        self.literal = set()  # ids that a scenario made up itself

    def asking(self, text):
        """A request, before its symbols are resolved: ids written out in it stay as they are."""
        self.literal.update(UUID.findall(text))

    def bind(self, name, value):
        self.names[value] = name

    def meant(self, text):
        """The text with what the symbols stand for."""
        values = {name: value for value, name in self.names.items()} | {"base": BASE_URL}
        return SYMBOL.sub(lambda hit: values.get(hit[1], hit[0]), text)

    def named(self, document, place, asked):
        """The document with symbols. place: what new ids are named after; asked: the request, for its addresses."""
        if isinstance(document, dict):
            self._name(document.get("id"), place)  # its own id, before what refers to it
            named = {}
            for key, value in document.items():
                if key in ADDRESSES and isinstance(value, str) and value not in asked:
                    self.names.setdefault(value, f"{place}.{key}")
                timed = key in ("created_at", "updated_at") and value
                named[key] = "{time}" if timed else self.named(value, f"{place}.{key}", asked)
            return named
        if isinstance(document, list):
            rows = [self.named(row, f"{place}.{number}", asked) for number, row in enumerate(document)]
            if all(isinstance(row, dict) and list(row) == ["id"] for row in rows):
                rows.sort(key=lambda row: row["id"])
            return rows
        return self._named_text(document, place) if isinstance(document, str) else document

    def _name(self, value, place):
        if isinstance(value, str) and UUID.fullmatch(value) and value not in self.literal:
            self.names.setdefault(value, place)

    def _named_text(self, text, place):
        self._name(text, place)
        if text in self.names:
            return "{" + self.names[text] + "}"
        text = re.sub(
            r"\n\[SQL:[\s\S]*| at 0x[0-9a-f]+", "", text
        )  # times, and where a function lies in memory
        text = CHOICES.sub(lambda hit: hit[1] + ", ".join(sorted(hit[2].split(", "))), text)
        text = UUID.sub(lambda hit: "{" + self.names[hit[0]] + "}" if hit[0] in self.names else hit[0], text)
        for value, name in self.names.items():
            if name.endswith("_address") and value in text:
                text = re.sub(rf"(?<![\w.:]){re.escape(value)}(?![\w.:])", "{" + name + "}", text)
        return text.replace(BASE_URL, "{base}")


def short(value):
    """A value as it stands in the name of a step."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:12]}... of {len(text)}"
