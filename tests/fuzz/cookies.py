# SPDX-License-Identifier: Apache-2.0
"""Feed the cookie part random fields and compare it with a plain reading of the same rules.

    python -m tests.fuzz.cookies --seconds 60 [--seed N]

A seed makes an input: a few field values of the bytes that matter, of whole cookies and of any bytes, against an
unreadable page. What is found, what is left and what a response says are compared with the oracle below, which
tests/native uses too.
"""

import argparse
import importlib.util
import pathlib
import random
import re
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = b"SRV"
WORDS = [
    b"SRV",
    b"SRV=",
    b"SRV=id1",
    b"; SRV=id2; ",
    b"$Path=/",
    b"a=1",
    b"b",
    b"=",
    b";",
    b",",
    b" ",
    b"\t",
    b'"',
    b"\\",
]
WORDS += [
    b"max-age=0",
    b"max-age=3",
    b"s-maxage=",
    b"public",
    b"private",
    b"no-cache",
    b"NO-store",
    b"x" * 17,
]


def pairs_of(value: bytes) -> list[tuple[int, int, bytes, bytes | None]]:
    """(start, where the next begins, name, cookie's value or None) of each pair of a Cookie field."""
    found = []
    at = 0
    while at < len(value):
        start, equals, quoted = at, None, False
        while at < len(value):
            byte = value[at : at + 1]
            if equals is None:
                if byte in b";,":
                    break
                if byte == b"=":
                    equals = at
            elif quoted:
                if byte == b"\\":
                    at += 1
                elif byte == b'"':
                    quoted = False
            elif byte == b'"':
                quoted = True
            elif byte in b";,":
                break
            at += 1
        at = min(at, len(value))
        name = value[start : at if equals is None else equals].strip(b" \t")
        found.append((start, at + 1, name, None if equals is None else value[equals + 1 : at].strip(b" \t")))
        at += 1
    return found


def found_in(values: list[bytes], name: bytes = NAME) -> list[bytes]:
    pairs = [pair for value in values for pair in pairs_of(value)]
    return [pair[3] for pair in pairs if pair[2] == name and pair[3] is not None]


def rest_of(value: bytes, name: bytes = NAME) -> bytes | None:
    """A Cookie field without these cookies; None if it holds none."""
    kept = b""
    found = gone = False
    end = 0
    for start, end, pair_name, pair_value in pairs_of(value):
        gone = (pair_name == name and pair_value is not None) or (gone and pair_name.startswith(b"$"))
        found |= gone
        kept += b"" if gone else value[start:end]
    if not found:
        return None
    kept = kept.lstrip(b" \t")
    if gone and end > len(value):
        kept = kept[:-1]
    return kept.rstrip(b" \t")


def left_of(values: list[bytes], name: bytes = NAME) -> list[bytes]:
    """The Cookie fields without these cookies, but for empty fields."""
    rests = [(value, rest_of(value, name)) for value in values]
    return [field for field in (value if rest is None else rest for value, rest in rests) if field]


def set_by(value: bytes, name: bytes = NAME) -> bytes | None:
    """What a Set-Cookie field sets this cookie to, None if it sets another one."""
    found, equals, rest = value.partition(b"=")
    if not equals or found.strip(b" \t") != name:
        return None
    return (found_in([name + b"=" + rest], name) or [b""])[0]


DIRECTIVE = re.compile(rb'(?:[^,"]|"(?:\\.|[^"\\])*(?:"|\\?$))*', re.DOTALL)
KEEPS = re.compile(rb"(?:s-maxage|max-age)(?!=0$)|public$", re.IGNORECASE)
FORBIDS = re.compile(rb"(?:s-maxage=0|max-age=0|private|no-cache|no-store)$", re.IGNORECASE)


def cached_by(values: list[bytes]) -> bool:
    """Whether these, as Cache-Control fields, make a response cacheable."""
    said = [one.strip(b" \t") for value in values for one in DIRECTIVE.findall(value)]
    return any(map(KEEPS.match, said)) and not any(map(FORBIDS.match, said))


def soup(rng: random.Random) -> list[bytes]:
    """One to four field values."""
    values = []
    for _ in range(rng.randint(1, 4)):
        pieces = [
            rng.choice(WORDS) if rng.random() < 0.9 else rng.randbytes(rng.randrange(20)).replace(b"\n", b"")
            for _ in range(rng.randrange(rng.choice((4, 12, 60))))
        ]
        values.append(b"".join(pieces))
    return values


class Target:
    """One input at a time; an AssertionError is a finding."""

    def __init__(self, native) -> None:
        self.part = native("http_cookie")
        self.found = self.taken = 0

    def run(self, values: list[bytes]) -> None:
        for at_end in (False, True):
            self.request(values, at_end)
            self.response(values, at_end)

    def request(self, values: list[bytes], at_end: bool) -> None:
        found, untouched, extras = self.part.request_fields(values, NAME, at_end)
        assert found == found_in(values)
        left = untouched + extras
        assert [field for field in left if field] == left_of(values)
        assert self.part.request_fields(left, NAME, at_end) == ([], left, [])
        self.found += len(found)
        self.taken += len(values) - len(untouched)

    def response(self, values: list[bytes], at_end: bool) -> None:
        learnt, kept, cached = self.part.response_fields(values, NAME, at_end)
        sets = [set_by(value) for value in values]
        filled = [one for one in sets if one]
        assert learnt == (filled[-1] if filled else None)
        assert kept == [value for value, one in zip(values, sets, strict=True) if one is None]
        assert cached == cached_by(values)


def load_native():
    """As tests/native does it: build what is missing."""
    path = ROOT / "tests" / "native" / "conftest.py"
    spec = importlib.util.spec_from_file_location("native_conftest", path)
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    if said := conftest.build("http_cookie"):
        raise SystemExit(said)
    return conftest.load


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.cookies", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="of the first input; each next one counts up")
    options = parser.parse_args()
    target = Target(load_native())
    seed = first = time.time_ns() if options.seed is None else options.seed
    print(f"seed {first}", flush=True)
    deadline = time.monotonic() + options.seconds
    while time.monotonic() < deadline:
        values = soup(random.Random(seed))
        try:
            target.run(values)
        except BaseException:
            print(f"seed {seed}: {values}", flush=True)
            raise
        seed += 1
    print(f"{seed - first} inputs, nothing found; {target.found} cookies, {target.taken} fields changed")


if __name__ == "__main__":
    main()
