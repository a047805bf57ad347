# SPDX-License-Identifier: Apache-2.0
"""Feed the HTTP/1.1 parts mutated messages and hold what must be true of any input.

    python -m tests.fuzz.http1 --seconds 60 [--seed N] [--replay FILE]

The corpus (tests/fuzz/corpus/http1) holds requests, `*.request`, and responses, `*.response`, with their bodies; the
name of a file tells its story. A finding is written to build/fuzz/ and joins the corpus once it is understood. Each
buffer touches unreadable pages; for more, run it with the sanitizers:

    FASTLB_BUILD=asan LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
        python -m tests.fuzz.http1 --seconds 60
"""

import argparse
import collections
import importlib.util
import pathlib
import random
import re
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus" / "http1"
FINDINGS = ROOT / "build" / "fuzz"

WORDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b"\xff",
    b":",
    b",",
    b";",
    b"=",
    b'"',
    b"_",
    b"-",
]
WORDS += [
    b"Content-Length: ",
    b"Transfer-Encoding: ",
    b"chunked",
    b"Connection: ",
    b"close",
    b"keep-alive",
    b"upgrade",
]
WORDS += [
    b"Host: a\r\n",
    b"Upgrade: websocket\r\n",
    b"TE: trailers\r\n",
    b"Expect: 100-continue\r\n",
    b"X: y\r\n",
    b"h2c",
]
WORDS += [
    b"Content_Length: 5\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"X-Forwarded-For",
]
WORDS += [
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / HTTP/1.1\r\n",
    b"http://b/",
    b"*",
    b"/",
    b"#",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
]
WORDS += [
    b"0",
    b"1",
    b"ffffffffffffffff",
    b"18446744073709551616",
    b"00000000000000000000",
    b"+",
    b"0x",
    b"gzip, chunked",
]
REQUEST_VERDICTS = {0, -400, -414, -431, -501, -505}
METHODS = ["GET", "HEAD", "POST"]
MORE, DONE, MALFORMED = 0, 1, -400


def corpus() -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted(CORPUS.iterdir())
        if path.suffix in (".request", ".response")
    }


def mutated(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Up to six edits, near the head more often than not."""
    buffer = bytearray(data)
    for _ in range(rng.randrange(7)):
        end = len(buffer) if rng.random() < 0.3 else min(len(buffer), 200)
        at = rng.randint(0, end)
        span = rng.choice((1, 1, 1, 2, 4, 16))
        match rng.randrange(8):
            case 0:
                del buffer[at : at + span]
            case 1 | 2:
                buffer[at:at] = rng.choice(WORDS)
            case 3:
                buffer[at : at + span] = rng.choice(WORDS)
            case 4:
                buffer[at : at + 1] = bytes([rng.randrange(256)])
            case 5:
                start = rng.randint(0, end)
                buffer[at:at] = buffer[start : start + rng.randrange(1, 60)]
            case 6:
                other = rng.choice(others)
                start = rng.randint(0, len(other))
                buffer[at:at] = other[start : start + rng.randrange(1, 80)]
            case 7:
                buffer[at:at] = rng.choice(WORDS)[:1] * rng.choice((2, 5, 15, 16, 17, 33))
    return bytes(buffer[:20000])


def cuts(rng: random.Random, length: int) -> list[int]:
    """Sizes that add up to `length`."""
    most = rng.choice((1, 3, 20, 200))
    sizes = []
    while length > 0:
        sizes.append(min(length, rng.randint(1, most)))
        length -= sizes[-1]
    return sizes


def framing_fields(written: bytes) -> collections.Counter:
    """How often each field name occurs for the laxest of readers: LF ends a line, "_" is "-", blanks do not count."""
    names = (line.partition(b":")[0] for line in written.split(b"\n")[1:] if b":" in line)
    return collections.Counter(name.strip().lower().replace(b"_", b"-") for name in names)


CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(;[\x20-\x7e\x80-\xff]*)?\r\n")
TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n")


def chunks_by_the_book(data: bytes) -> tuple[bytes, int] | None:
    """(payload, bytes used) of a whole and faultless chunked body by RFC 9112 7.1; None for anything else."""
    payload, at = b"", 0
    while line := CHUNK_LINE.match(data, at):
        size = int(line[1], 16)
        at = line.end()
        if size == 0:
            while trailer := TRAILER_LINE.match(data, at):
                at = trailer.end()
            return (payload, at + 2) if data[at : at + 2] == b"\r\n" else None
        payload += data[at : at + size]
        at += size
        if data[at : at + 2] != b"\r\n":
            return None
        at += 2
    return None


class Target:
    """One input at a time; an AssertionError is a finding."""

    def __init__(self, native) -> None:
        self.http1, self.body, self.write = map(native, ("http1", "http1_body", "http1_write"))
        self.seen: collections.Counter = collections.Counter()

    def run(self, rng: random.Random, name: str, data: bytes) -> None:
        if name.endswith(".request"):
            self.request(rng, data)
        else:
            self.response(rng, data, rng.choice(METHODS))

    def request(self, rng: random.Random, data: bytes) -> None:
        verdict, got = self.http1.parse_request(data)
        self.seen[f"request {'taken' if verdict > 0 else verdict}"] += 1
        assert verdict in REQUEST_VERDICTS or 0 < verdict <= len(data)
        self.prefixes(rng, data, verdict, lambda part: self.http1.parse_request(part)[0])
        self.slowly(rng, data, verdict)
        if verdict <= 0:
            return
        written = self.write.write_request(data)
        self.head_is_clean(written)
        again_verdict, again = self.http1.parse_request(written)
        assert again_verdict == len(written), again
        for key in (
            "method_text",
            "target",
            "authority",
            "framing",
            "body_bytes",
            "upgrade",
            "te_trailers",
            "expect_continue",
        ):
            assert again[key] == got[key], key
        assert self.write.write_request(written) == written
        fields = framing_fields(written)
        assert fields[b"host"] == 1
        assert fields[b"transfer-encoding"] == (got["framing"] == "CHUNKED")
        assert fields[b"content-length"] == (got["framing"] == "LENGTH")
        assert fields[b"connection"] == (got["upgrade"] is not None or got["te_trailers"])
        self.payload(rng, data[verdict:], got)

    def response(self, rng: random.Random, data: bytes, method: str) -> None:
        verdict, got = self.http1.parse_response(data, method)
        self.seen[f"response {'taken' if verdict > 0 else verdict}"] += 1
        assert verdict in (0, -502) or 0 < verdict <= len(data)
        self.prefixes(rng, data, verdict, lambda part: self.http1.parse_response(part, method)[0])
        if verdict <= 0:
            return
        written = self.write.write_response(data, method)
        self.head_is_clean(written)
        again_verdict, again = self.http1.parse_response(written, method)
        assert again_verdict == len(written), again
        for key in ("status", "reason", "framing", "body_bytes"):
            assert again[key] == got[key], key
        fields = framing_fields(written)
        assert fields[b"transfer-encoding"] == (got["framing"] == "CHUNKED")
        if got["framing"] != "NO_BODY":
            assert fields[b"content-length"] == (got["framing"] == "LENGTH")
        self.payload(rng, data[verdict:], got)

    def prefixes(self, rng: random.Random, data: bytes, verdict: int, parse) -> None:
        """A prefix is incomplete, or its verdict is the whole's."""
        for n in {rng.randint(0, len(data)) for _ in range(3)}:
            of_prefix = parse(data[:n])
            if verdict > 0:
                assert of_prefix == (verdict if n >= verdict else 0), n
            else:
                assert of_prefix in (0, verdict), n

    def slowly(self, rng: random.Random, data: bytes, verdict: int) -> None:
        """What is kept from the parser while the bytes come in is never a complete head."""
        scan, at = self.http1.Scan(), 0
        for size in cuts(rng, min(len(data), 2000)):
            at += size
            if scan.worth_parsing(data[:at]):
                if self.http1.parse_request(data[:at])[0] != 0:
                    break
            else:
                assert verdict <= 0 or at < verdict
        assert scan.parsed_bytes <= 6 * at + 1024

    def head_is_clean(self, written: bytes) -> None:
        assert written.endswith(b"\r\n\r\n")
        lines = written[:-4].split(b"\r\n")
        for line in lines:
            assert line
            assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line)
        for line in lines[1:]:
            assert re.match(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:", line)

    def payload(self, rng: random.Random, data: bytes, got: dict) -> None:
        framing = getattr(self.body, got["framing"])
        whole = self.receive(framing, got["body_bytes"], data, [len(data)])
        parts = self.receive(framing, got["body_bytes"], data, cuts(rng, len(data)))
        self.seen[f"body {got['framing']} {whole[0]}"] += 1
        assert parts == whole
        verdict, payload, trailers, rest = whole
        if got["framing"] == "LENGTH":
            assert (verdict == DONE) == (len(data) >= got["body_bytes"])
            assert payload + rest == data
        elif got["framing"] == "CHUNKED":
            expected = chunks_by_the_book(data)
            if verdict == DONE:
                assert expected == (payload, len(data) - len(rest))
                assert not framing_fields(b"\n" + trailers).keys() & {
                    b"content-length",
                    b"transfer-encoding",
                    b"host",
                }
            else:
                # By the book and refused all the same: only by a limit.
                assert expected is None or (verdict == MALFORMED and len(data) > 1000)

    def receive(
        self, framing: int, length: int, data: bytes, sizes: list[int]
    ) -> tuple[int, bytes, bytes, bytes]:
        body = self.body.Body(framing, length)
        payload, trailers, held, at = b"", b"", b"", 0
        verdict = DONE if body.done else MORE
        for size in sizes:
            if verdict != MORE:
                break
            held += data[at : at + size]
            at += size
            verdict, consumed, more, lines = body.feed(held)
            payload, trailers, held = payload + more, trailers + lines, held[consumed:]
        if verdict == MALFORMED:
            return verdict, payload, b"", b""
        return verdict, payload, trailers, held + data[at:]


def load_native():
    """As tests/native does it: build what is missing."""
    spec = importlib.util.spec_from_file_location(
        "native_conftest", ROOT / "tests" / "native" / "conftest.py"
    )
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    if said := conftest.build("http1", "http1_body", "http1_write"):
        raise SystemExit(said)
    return conftest.load


def save(name: str, data: bytes, seed: int) -> pathlib.Path:
    FINDINGS.mkdir(parents=True, exist_ok=True)
    path = FINDINGS / f"{pathlib.Path(name).stem}-{seed}{pathlib.Path(name).suffix}"
    path.write_bytes(data)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.http1", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="of the first input; each next one counts up")
    parser.add_argument("--replay", type=pathlib.Path, help="one file, with the seed that its name ends in")
    options = parser.parse_args()
    target = Target(load_native())
    if options.replay:
        seed = int(options.replay.stem.rpartition("-")[2]) if options.seed is None else options.seed
        target.run(random.Random(seed + 1), options.replay.name, options.replay.read_bytes())
        print(f"{options.replay}: nothing found")
        return
    entries = list(corpus().items())
    others = [data for _, data in entries]
    seed = first = time.time_ns() if options.seed is None else options.seed
    print(f"seed {first}, {len(entries)} in the corpus", flush=True)
    deadline = time.monotonic() + options.seconds
    while time.monotonic() < deadline:
        rng = random.Random(seed)
        name, data = rng.choice(entries)
        data = mutated(rng, data, others)
        try:
            target.run(random.Random(seed + 1), name, data)
        except BaseException:
            print(f"seed {seed}: {save(name, data, seed)}", flush=True)
            raise
        seed += 1
    print(f"{seed - first} inputs, nothing found: {dict(sorted(target.seen.items()))}")


if __name__ == "__main__":
    main()
