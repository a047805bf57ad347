# SPDX-License-Identifier: Apache-2.0
"""Feed the L7 parts random policies, requests, patterns and subjects, and hold what must be true of any.

    python -m tests.fuzz.l7 --seconds 60 [--seed N]

A seed makes an input. Policies: what the index finds is what one look at each policy finds, and what the rules say one
by one. Patterns: a search ends soon, has the same outcome each time, the same with JIT and without, and gives back
the memory that it took. Requests and subjects touch an unreadable page; CONTRIBUTING.md says how to add the sanitizers.
"""

import argparse
import importlib.util
import pathlib
import random
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEARCH_NS = 50_000_000
"""Of CPU; the worst that was seen took a sixth of it, without JIT, and what no budget holds takes seconds."""

ACTIONS = ["REJECT", "REDIRECT_TO_URL", "REDIRECT_PREFIX"]
KINDS = [
    *((type_, compare) for type_ in ("HOST_NAME", "PATH", "HEADER", "COOKIE") for compare in range(5)),
    ("FILE_TYPE", 0),
    ("FILE_TYPE", 4),
    ("SSL_DN_FIELD", 0),
]
COMPARES = ["EQUAL_TO", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "REGEX"]
NAMES = ["X", "x-a", "Cookie", "Host", "Accept", "Connection", "X_A"]
TEXT = [
    "a",
    "b",
    "ab",
    "ba",
    "/",
    ".",
    ",",
    ";",
    "=",
    '"',
    "\\",
    " ",
    "\t",
    "A",
    "aa",
    "c=a",
    "\xe9",
    "?",
    "$",
]
ATOMS = [
    "a",
    "b",
    ".",
    "[ab]",
    "[^a]",
    r"\w",
    r"\d",
    r"\b",
    "^",
    "$",
    "(?i)",
    r"\1",
    r"\X",
    r"\R",
    "(?R)?",
    "(?1)?",
    "x",
    "/",
]
QUANTIFIERS = [
    "",
    "",
    "",
    "*",
    "+",
    "?",
    "*?",
    "+?",
    "++",
    "*+",
    "{2}",
    "{0,3}",
    "{1,}",
    "{30}",
    "{100}",
    "{3000}",
    "{20,300}",
]
GROUPS = [
    "({})",
    "(?:{})",
    "(?={})",
    "(?!{})",
    "(?<={})",
    "(?>{})",
    "({}|{})",
    "(?:{}|)",
    "(?:|{})",
    "(?(?=a){}|{})",
]


def pattern(rng: random.Random, depth: int = 0) -> str:
    parts = []
    for _ in range(rng.randint(1, 4)):
        if depth < 4 and rng.random() < 0.4:
            group = rng.choice(GROUPS)
            part = group.format(*(pattern(rng, depth + 1) for _ in range(group.count("{}"))))
        else:
            part = rng.choice(ATOMS)
        parts.append(part + rng.choice(QUANTIFIERS))
    return "".join(parts)


def subject(rng: random.Random) -> bytes:
    """Repetitions, which patterns find hard, and an end that spoils them."""
    text = ""
    for _ in range(rng.randint(0, 4)):
        unit = "".join(rng.choices("aabbx/1 A", k=rng.randint(1, 3)))
        text += unit * rng.choice([1, 1, 2, 10, 60, 1000, 5000])
    return (text[:8190] + rng.choice(["", "!", "x", "b"])).encode()


def soup(rng: random.Random, most: int = 6) -> str:
    return "".join(rng.choices(TEXT, k=rng.randint(0, most)))


def rows(rng: random.Random) -> list[tuple]:
    made = []
    for _ in range(rng.choice([1, 3, 10, 70])):
        rules = []
        for _ in range(rng.randint(1, 3)):
            type_, compare = rng.choice(KINDS)
            value = (
                rng.choice(["a", "^a", "a.b", "[ab]+$", "(a|b)*c"]) if compare == 4 else soup(rng, 3) or "a"
            )
            if rng.random() < 0.2:
                value = f'"{value}"'
            key = rng.choice(NAMES) if type_ == "HEADER" else rng.choice(["a", "c", "A"])
            rules.append((type_, COMPARES[compare], key, value, rng.random() < 0.2))
        made.append((rng.choice(ACTIONS), 302, "", None, rules))
    return made


def request(rng: random.Random) -> bytes:
    """One that the parser takes."""
    target = "/" + "".join(
        rng.choices(["a", "b", "ab", "/", ".", "?", "A", "=", "\xe9"], k=rng.randint(0, 6))
    )
    host = rng.choice(["a", "b", "ab", "A.b", "a.b:80", "a,b", "", "[::1]"])
    first = rng.choice([f"GET {target}", f"GET {target}", f"GET http://{host or 'a'}{target}", "OPTIONS *"])
    lines = [f"{first} HTTP/1.1", f"Host: {host}"]
    names = ["X", "x-a", "Cookie", "cookie", "Accept", "X_A", "Connection"]
    for _ in range(rng.randint(0, 5)):
        name = rng.choice(names)
        value = (
            rng.choice(["x", "close", "x, x-a"])
            if name == "Connection"
            else soup(rng, rng.choice([3, 8, 60]))
        )
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Target:
    """One input at a time; an AssertionError is a finding."""

    def __init__(self, native) -> None:
        self.part = native("l7")
        self.matches = self.searches = self.given_up = 0

    def run(self, rng: random.Random) -> None:
        if rng.random() < 0.5:
            self.policies(rng)
        else:
            self.search(rng)

    def policies(self, rng: random.Random) -> None:
        made = rows(rng)
        program = self.part.Program(made)
        for _ in range(5):
            asked = request(rng)
            found = program.match(asked)
            assert program.match_linear(asked) == found, (made, asked)
            verdicts = program.explain(asked)
            by_rule = (row for row in program.order if all(verdicts[row].values()))
            assert next(by_rule, None) == found, (made, asked)
            self.matches += found is not None

    def search(self, rng: random.Random) -> None:
        written = pattern(rng)[:255].encode()
        try:
            both = [self.part.Regex(prefix + written) for prefix in (b"", b"(*NO_JIT)")]
        except ValueError:
            return
        for _ in range(3):
            text = subject(rng)
            verdicts = set()
            for regex in both:
                (verdict, steps, took), again = regex.search(text), regex.search(text)
                assert again[:2] == (verdict, steps), (written, text)
                assert min(took, again[2]) < SEARCH_NS, (written, text)
                verdicts.add(verdict)
                self.searches += 1
                self.given_up += verdict is None
            assert len(verdicts - {None}) < 2, (written, text)
            kept = both[1].arena_bytes
            both[1].search(text)
            assert both[1].arena_bytes == kept, (written, text)


def load_native():
    """As tests/native does it: build what is missing."""
    path = ROOT / "tests" / "native" / "conftest.py"
    spec = importlib.util.spec_from_file_location("native_conftest", path)
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    if said := conftest.build("l7"):
        raise SystemExit(said)
    return conftest.load


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.l7", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="of the first input; each next one counts up")
    options = parser.parse_args()
    target = Target(load_native())
    seed = first = time.time_ns() if options.seed is None else options.seed
    print(f"seed {first}", flush=True)
    deadline = time.monotonic() + options.seconds
    while time.monotonic() < deadline:
        try:
            target.run(random.Random(seed))
        except BaseException:
            print(f"seed {seed}", flush=True)
            raise
        seed += 1
    print(
        f"{seed - first} inputs, nothing found; "
        f"{target.matches} matches, {target.searches} searches, {target.given_up} of them given up"
    )


if __name__ == "__main__":
    main()
