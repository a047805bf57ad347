# SPDX-License-Identifier: Apache-2.0
"""Rules of this code base that a machine can hold: how it reads Cython, tests of that, then the rules."""

import ast
import fnmatch
import hashlib
import pathlib
import re
import subprocess
import sys

import Cython
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = ROOT / "fastlb" / "core"
FOLDERS = ("fastlb", "tests", "benchmarks")
SUFFIXES = {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".h", ".c"}
LINES_AT_MOST = 800
SPDX = "SPDX-License-Identifier: Apache-2.0"
VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
LOOSE_END = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")  # in pieces: this file is read too
IMPORTERS = {"cli": {"cli", "__main__"}, "api": {"api", "cli"}}  # module under fastlb/: who may import it


def is_source(path: pathlib.Path) -> bool:
    return path.suffix in SUFFIXES and path.is_file() and path.stat().st_size > 0


IN_FOLDERS = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if is_source(path)]
SOURCES = sorted([*IN_FOLDERS, ROOT / "setup.py"])
NATIVE = [path for path in SOURCES if path.suffix in {".pxd", ".pxi", ".pyx"}]
PARTS = [path for path in NATIVE if path.is_relative_to(CORE)]
PYTHON = [path for path in SOURCES if path.suffix == ".py" and path.is_relative_to(ROOT / "fastlb")]


def shown(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_name(path: pathlib.Path) -> str:
    return path.relative_to(CORE).with_suffix("").as_posix()


STRING_OR_COMMENT = re.compile(
    r'"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"' + r"|'''[\s\S]*?'''|'(?:\\.|[^'\\\n])*'" + r"|#[^\n]*"
)


def without_text(source: str) -> str:
    """The code alone: strings and comments blanked, line numbers kept."""
    return STRING_OR_COMMENT.sub(lambda hit: re.sub(r"[^\n]", " ", hit[0]), source)


def statements(source: str) -> list[tuple[int, str]]:
    """(line, text) of each logical line: what brackets keep open is joined."""
    found = []
    start, depth, text = 0, 0, ""
    for number, line in enumerate(without_text(source).splitlines(), 1):
        start = start if text else number
        text = f"{text} {line.strip()}" if text else line.rstrip()
        depth += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
        if depth <= 0:
            if text.strip():
                found.append((start, text))
            depth, text = 0, ""
    return found


def nogil_without_noexcept(source: str) -> list[int]:
    """Lines that declare a nogil function, or a type of pointer to one, which may raise."""
    found = []
    for line, text in statements(source):
        if re.match(r"\s*(with|return|if|elif|while|for|cdef extern from)\b", text):
            continue
        if re.search(r"\bnogil\b", text) and "(" in text and not re.search(r"\bnoexcept\b", text):
            found.append(line)
    return found


def functions_with_gil(source: str) -> list[int]:
    """Lines that define a cdef function which is not nogil."""
    header = re.compile(r"\s*(?:cdef|cpdef)\b(?! extern)[^=]*\([^=]*\)[^=]*:\s*$")
    return [
        line for line, text in statements(source) if header.match(text) and not re.search(r"\bnogil\b", text)
    ]


PYTHON_OBJECT = re.compile(
    r"^\s*(?:def|cpdef|class|cdef class|raise|try|except|print|import|assert|yield|lambda)\b"
    r"|\bwith gil\b|\bprint\(|<object>|\bPyObject\b|\bcpython\b"
    r"|(?:^\s*cdef\s+|[(,]\s*)object\s+\w"  # `void *object` is C's name, `object thing` the type
)


def python_objects(source: str) -> list[int]:
    return [line for line, text in statements(source) if PYTHON_OBJECT.search(text)]


def cimported(source: str) -> list[tuple[int, str]]:
    """(line, part) of each cimport from the core: `selection.ops`, `http1`; `.model` if it is relative."""
    found = []
    for line, text in statements(source):
        if hit := re.match(r"\s*from\s+(\.[\w.]*)\s+cimport\b", text):
            found.append((line, hit[1]))
        elif hit := re.match(r"\s*from\s+fastlb\.core\.?([\w.]*)\s+cimport\s+(.*)", text):
            if (CORE / hit[1].replace(".", "/")).is_dir():  # then the names are parts, not what is in one
                parts = re.findall(r"(\w+)(?:\s+as\s+\w+)?", hit[2])
                found += [(line, f"{hit[1]}.{part}".lstrip(".")) for part in parts]
            else:
                found.append((line, hit[1]))
        elif hit := re.match(r"\s*cimport\s+(.*)", text):
            found += [(line, part) for part in re.findall(r"fastlb\.core\.([\w.]+)", hit[1])]
    return found


class Layers:
    """The list in fastlb/core/README.md; a pattern such as selection/* covers what no other line names."""

    def __init__(self, readme: str) -> None:
        self.lines = re.findall(r"^ {4}([\w/*]+)(?=\s|$)", readme, re.MULTILINE)

    def height(self, part: str) -> int | None:
        name = part.replace(".", "/")
        if name in self.lines:
            return self.lines.index(name)
        patterns = [line for line in self.lines if "*" in line and fnmatch.fnmatchcase(name, line)]
        return self.lines.index(patterns[0]) if patterns else None

    def breaches(self, part: str, source: str) -> list[str]:
        own = self.height(part)
        if own is None:
            return [f"{part} is not in the list of fastlb/core/README.md"]
        found = []
        for line, other in cimported(source):
            height = self.height(other)
            if other.startswith("."):
                found.append(f"line {line}: a relative cimport, {other}: name it from fastlb.core")
            elif height is None:
                found.append(f"line {line}: {other} is not in the list of fastlb/core/README.md")
            elif height >= own:
                found.append(f"line {line}: {other} does not stand above {part}")
        return found


@pytest.mark.parametrize(
    "code",
    [
        "cdef void f(int x) nogil:\n    pass",
        "cdef inline int f(int x,\n                  int y) nogil:\n    return 0",
        "ctypedef void (*free_f)(void *object) nogil",
        "cdef struct s:\n    int (*pick)(void *state) nogil",
        "cdef inline int f() except -1 nogil:\n    return 0",
    ],
)
def test_reader_finds_nogil_functions_that_may_raise(code):
    assert nogil_without_noexcept(code)


@pytest.mark.parametrize(
    "code",
    [
        "cdef inline void f() noexcept nogil:\n    pass",
        "with nogil:\n    f()",
        'cdef extern from "x.h" nogil:\n    int f(int x)',
        '"""cdef void f() nogil:"""',
        "# cdef void f() nogil:",
        "ctypedef void (*free_f)(void *object) noexcept nogil",
    ],
)
def test_reader_passes_what_cannot_raise(code):
    assert not nogil_without_noexcept(code)


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    pass",
        "cdef class A:\n    pass",
        "cdef inline void f() noexcept nogil:\n    with gil:\n        pass",
        "cdef inline void f(object x) noexcept:\n    pass",
        "    raise ValueError",
        "    print(1)",
        "from cpython.bytes cimport PyBytes_AS_STRING",
    ],
)
def test_reader_finds_python_objects(code):
    assert python_objects(code)


def test_reader_passes_c_names_that_python_has_too():
    assert not python_objects("cdef inline void f(void *object, int n) noexcept nogil:\n    free(object)")


def test_reader_finds_functions_that_hold_the_gil():
    assert functions_with_gil("cdef inline int f(int x) noexcept:\n    return x")
    assert not functions_with_gil("cdef inline int f(int x) noexcept nogil:\n    return x")
    assert not functions_with_gil("cdef struct a_t:\n    int (*f)(int x) noexcept nogil")


def test_reader_finds_each_form_of_cimport():
    code = (
        "from fastlb.core.bytes cimport span_t\n"
        "from fastlb.core.selection.ops cimport (\n    pick_t,\n    roster_t)\n"
        "cimport fastlb.core.clock as c\n"
        "from fastlb.core cimport hash, random\n"
        "from .model cimport member_t\n"
        "from libc.stdint cimport int32_t\n"
    )
    parts = [part for _, part in cimported(code)]
    assert parts == ["bytes", "selection.ops", "clock", "hash", "random", ".model"]


def test_layers_refuse_what_stands_below_beside_or_nowhere():
    layers = Layers("# x\n\n    bytes   spans\n    selection/ops\n    selection/*  a file each\n    roster\n")
    assert layers.lines == ["bytes", "selection/ops", "selection/*", "roster"]
    assert layers.breaches("roster", "from fastlb.core.selection.p2c cimport x") == []
    assert layers.breaches("selection/p2c", "from fastlb.core.selection.ops cimport x") == []
    assert layers.breaches("selection/ops", "from fastlb.core.selection.p2c cimport x")
    assert layers.breaches("selection/p2c", "from fastlb.core.selection.maglev cimport x")
    assert layers.breaches("bytes", "from fastlb.core.roster cimport x")
    assert layers.breaches("roster", "from fastlb.core.nowhere cimport x")
    assert layers.breaches("roster", "from .bytes cimport x")
    assert layers.breaches("nowhere", "")


@pytest.mark.parametrize("path", NATIVE, ids=shown)
def test_every_nogil_function_is_noexcept(path):
    """Without it a void function takes the GIL after each call, and an int one whenever it returns -1."""
    assert not nogil_without_noexcept(path.read_text()), "lines that declare nogil without noexcept"


@pytest.mark.parametrize("path", PARTS, ids=shown)
def test_core_part_has_no_python_objects(path):
    source = path.read_text()
    assert not python_objects(source), "lines with Python objects"
    assert not functions_with_gil(source), "lines of functions that are not nogil"


@pytest.mark.parametrize("path", PARTS, ids=shown)
def test_core_part_cimports_only_what_stands_above_it(path):
    breaches = Layers((CORE / "README.md").read_text()).breaches(part_name(path), path.read_text())
    assert not breaches


def test_list_of_layers_names_each_part_once_and_no_other():
    lines = Layers((CORE / "README.md").read_text()).lines
    names = {part_name(path) for path in PARTS}
    assert lines, "fastlb/core/README.md lost its list"
    assert len(lines) == len(set(lines)), "a part stands there twice"
    assert not [line for line in lines if not fnmatch.filter(names, line)], (
        "listed, but there is no such file"
    )


def headed_by_licence(path: pathlib.Path) -> bool:
    first, second = [*path.read_text().splitlines(), ""][:2]
    return SPDX in (second if first.startswith("#!") else first)


def test_every_file_is_headed_by_its_licence():
    assert not [shown(path) for path in SOURCES if not headed_by_licence(path)]


def test_no_file_has_loose_ends():
    assert not [shown(path) for path in SOURCES if LOOSE_END.search(path.read_text())]


def test_files_are_short_enough_to_read():
    lengths = {shown(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert not {name: n for name, n in lengths.items() if n > LINES_AT_MOST}, "which two things are in it?"


def test_files_are_named_for_concepts():
    assert not [shown(path) for path in SOURCES if VAGUE & set(re.split(r"[_./]", shown(path).lower()))]


@pytest.mark.parametrize("path", PYTHON, ids=shown)
def test_imports_run_one_way(path):
    """api and cli rest on the object model, never the other way round."""
    area = path.relative_to(ROOT / "fastlb").parts[0].removesuffix(".py")
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import: name it from fastlb"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    ours = [name.split(".")[1] for name in names if name.startswith("fastlb.")]
    assert not [name for name in ours if area not in IMPORTERS.get(name, {area})]


def test_extension_compiles_without_a_performance_hint(tmp_path):
    """A hint is an exception check, and with it a call that takes the GIL, where the data plane runs."""
    sources = [ROOT / "setup.py", *(path for path in SOURCES if path.is_relative_to(ROOT / "fastlb"))]
    content = hashlib.sha256(Cython.__version__.encode())
    for path in sources:
        if path.suffix != ".py" or path.name == "setup.py":
            content.update(path.read_bytes())
    stamp = ROOT / "build" / f"no-hint-{content.hexdigest()[:16]}"
    if stamp.exists():  # seven seconds of compiling, for the same sources once
        return
    found = re.search(r"^DIRECTIVES = (\{.*?^\})", (ROOT / "setup.py").read_text(), re.DOTALL | re.MULTILINE)
    directives = [f"-X{name}={value}" for name, value in ast.literal_eval(found[1]).items()]
    output = ["-o", str(tmp_path / "core.c")]
    command = [sys.executable, "-m", "cython", *directives, "-I", str(ROOT), *output, "fastlb/_core.pyx"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said[-4000:]
    assert "performance hint" not in said, said[-4000:]
    stamp.parent.mkdir(exist_ok=True)
    stamp.touch()
