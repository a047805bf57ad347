# SPDX-License-Identifier: Apache-2.0
"""Record what HAProxy makes of L7 rules that are written as Octavia writes them: haproxy_l7.json beside this file.

    python tests/data/haproxy_l7.py

It runs the haproxy that is installed; its version is in the file.
"""

import json
import pathlib
import socket
import subprocess
import tempfile
import time

COMPARES = {"EQUAL_TO": "str", "STARTS_WITH": "beg", "ENDS_WITH": "end", "CONTAINS": "sub", "REGEX": "reg"}
RULES = [
    *(("HEADER", "EQUAL_TO", "X", value) for value in ("a", "b", '"b "', '"a,b"', '"a', 'b"', "a;q=1", '""')),
    ("HEADER", "STARTS_WITH", "x", "a"),
    ("HEADER", "ENDS_WITH", "X", "b"),
    ("HEADER", "CONTAINS", "X", ","),
    ("HEADER", "CONTAINS", "X", "A"),
    ("HEADER", "REGEX", "X", "^$"),
    ("HEADER", "REGEX", "X", "^"),
    *(
        ("HEADER", "REGEX", name, "^")
        for name in ("Keep-Alive", "TE", "Upgrade", "Proxy-Connection", "Transfer-Encoding", "X_Y", "Named")
    ),
    *(("COOKIE", "EQUAL_TO", "c", value) for value in ("v", '"v"', '"v;w"', "v,d=e", "vw", "v w")),
    ("COOKIE", "EQUAL_TO", "C", "v"),
    ("COOKIE", "STARTS_WITH", "c", "v"),
    ("COOKIE", "ENDS_WITH", "c", "w"),
    ("COOKIE", "CONTAINS", "c", "="),
    ("COOKIE", "REGEX", "c", "^$"),
    ("COOKIE", "REGEX", "c", "^"),
    ("COOKIE", "REGEX", "d", "^"),
    *(
        ("PATH", "EQUAL_TO", "", value)
        for value in ("/", "*", "/a", "/a%20b", "/A", "//a/../b", "/a?b", '""')
    ),
    ("PATH", "STARTS_WITH", "", "/a"),
    ("PATH", "ENDS_WITH", "", "b"),
    ("PATH", "CONTAINS", "", "/"),
    ("PATH", "CONTAINS", "", '""'),
    ("PATH", "REGEX", "", "^/[ab]"),
    ("PATH", "REGEX", "", "b$"),
    ("PATH", "REGEX", "", "A"),
    ("FILE_TYPE", "EQUAL_TO", "", "jpg"),
    ("FILE_TYPE", "EQUAL_TO", "", "JPG"),
    ("FILE_TYPE", "REGEX", "", r"\.jpe?g$"),
    *(("HOST_NAME", "EQUAL_TO", "", value) for value in ("h", "H", "h:80", "x.h")),
    ("HOST_NAME", "STARTS_WITH", "", "X."),
    ("HOST_NAME", "ENDS_WITH", "", ".H"),
    ("HOST_NAME", "CONTAINS", "", "H"),
    ("HOST_NAME", "REGEX", "", "^X.*H$"),
    ("HOST_NAME", "REGEX", "", "^"),
]
HEADERS = [
    *(
        "X: a, b ,c",
        "X: b",
        "X:",
        "X: ,",
        "X: a,,c",
        "X: a,",
        'X: "a,b"',
        r'X: "a\",b"',
        'X: "a,b',
        'X: q"a,b"',
    ),
    *("X: a;q=1", "x: b;a", "X: A", "X: a\tb", "Y: a", "X_Y: 1", "TE: trailers", "Keep-Alive: 5"),
    *(
        "Proxy-Connection: y",
        "X: a\r\nX: b",
        "Transfer-Encoding: chunked",
        r"X: \"a,b\"",
        'X: a""b,c"',
        'X: "a',
        'X: b"',
    ),
]
COOKIES = [
    *(
        "c=v",
        "c=",
        "c=; e=f",
        "c",
        "c; e=f",
        'c="v"',
        'c="v;w"',
        "c=v,d=e",
        "c = v ; e=f",
        "c=x; c=v",
        "e=f;c=v",
    ),
    *(
        "e=f, c=v",
        "$c=v",
        "$e=f; c=v",
        "C=v",
        "ec=v",
        "=v; c=v",
        " ;;c=v",
        'e="x;c=v"; d=q',
        'e="x; c=v',
        "c=v w",
    ),
    *(
        r'e="x;\";c=v"; d=1',
        "c=v\r\nCookie: d=1",
        "c=v=w",
        "c==",
        "c=;d=e",
        "c\t=\tv",
        'c=v"w;d=e"; d=f',
        "c=vw;",
    ),
]
TARGETS = [
    "/",
    "/a?b",
    "/a",
    "/A",
    "/a%20b",
    "/a;b",
    "//a/../b",
    "/x.jpg",
    "/xjpg",
    "/x.jpg?y",
    "/x?y.jpg",
    "/?/a",
    "/.JPG",
]
HOSTS = ["h", "H", "h:80", "x.h", "X.H:8080", "[::1]", "x,h"]


def request(*fields: str, first: str = "GET / HTTP/1.1", host: str | None = "other") -> str:
    return "\r\n".join([first, *([f"Host: {host}"] if host is not None else []), *fields, "", ""])


REQUESTS = [
    *(request(field) for field in HEADERS),
    *(request(f"Cookie: {cookie}") for cookie in COOKIES),
    *(request(first=f"GET {target} HTTP/1.1") for target in TARGETS),
    *(request(host=host) for host in HOSTS),
    request(host=""),
    request(host=None, first="GET / HTTP/1.0"),
    request(first="OPTIONS * HTTP/1.1"),
    request(first="GET http://h/a?c HTTP/1.1", host="h"),
    request(first="GET http://h HTTP/1.1", host="h"),
    request("Connection: named", "Named: 1"),
    request("Connection: upgrade", "Upgrade: other"),
]


def acl(type_: str, compare: str, key: str, value: str) -> str:
    """As Octavia's template for HAProxy has it."""
    fetch = {
        "HOST_NAME": "req.hdr(host) -i",
        "PATH": "path",
        "FILE_TYPE": "path",
        "HEADER": f"req.hdr({key})",
        "COOKIE": f"req.cook({key})",
    }[type_]
    how = "end" if (type_, compare) == ("FILE_TYPE", "EQUAL_TO") else COMPARES[compare]
    quoted = value.replace("\\", "\\\\").replace(" ", "\\ ")
    if value[0] + value[-1] != '""' or value == '"':
        quoted = quoted.replace('"', '\\"')
    return f"{fetch} -m {how} {quoted}"


def configuration(port: int) -> str:
    lines = ["defaults", " mode http", " timeout client 5s", " timeout server 5s", " timeout connect 5s"]
    lines += ["frontend f", f" bind 127.0.0.1:{port}"]
    for i, rule in enumerate(RULES):
        lines += [f" acl a{i} {acl(*rule)}", f" http-request set-var-fmt(txn.m{i}) 1 if a{i}"]
    shown = "".join(f"%[var(txn.m{i})]," for i in range(len(RULES)))
    lines += [f' http-request return status 200 content-type text/plain lf-string "{shown}"', ""]
    return "\n".join(lines)


def asked(port: int, text: str) -> list[bool]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(text.encode("latin-1"))
        answer = body = b""
        while body.count(b",") < len(RULES):
            answer += client.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), (text, answer)
            _, _, body = answer.partition(b"\r\n\r\n")
    return [part == b"1" for part in body.split(b",")[: len(RULES)]]


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(configuration(port))
        file.flush()
        haproxy = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", file.name])
        try:
            deadline = time.monotonic() + 5
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    assert haproxy.poll() is None
            found = [[i for i, hit in enumerate(asked(port, text)) if hit] for text in REQUESTS]
        finally:
            haproxy.terminate()
            haproxy.wait()
    version = subprocess.run(["/usr/sbin/haproxy", "-v"], capture_output=True, text=True).stdout.split()[2]
    lines = ",\n  ".join(json.dumps([text, hits]) for text, hits in zip(REQUESTS, found, strict=True))
    rules = ",\n  ".join(json.dumps(rule) for rule in RULES)
    pathlib.Path(__file__).with_suffix(".json").write_text(
        f'{{"haproxy": "{version}",\n "rules": [\n  {rules}\n ],\n "requests": [\n  {lines}\n ]}}\n'
    )


if __name__ == "__main__":
    main()
