"""The house rules that a machine can check: sizes, names, imports, pins, and what a pass must have.

Findings are ``path:line: text`` lines, and a failing test lists every breach at once.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from source_files import (
    FUNCTIONS,
    LIT,
    PASSES,
    ROOT,
    package_files,
    place,
    python_files,
    report,
    tree,
)

PASS_FILE_CAP = 300
PYTHON_FILE_CAP = 500
CPP_FILE_CAP = 600
FUNCTION_CAP = 50
NESTING_CAP = 3

FORBIDDEN_STEMS = {"common", "misc"}
PUBLIC_PATHS = {"torchair/_ge_concrete_graph/utils.py", "torchair/core/utils.py"}
"""Names that users of the public package import; these modules only re-export."""
FORBIDDEN_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers"}
CONTROL_FLOW = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def product_files() -> list[Path]:
    return [path for path in python_files() if path.parts[len(ROOT.parts)] != "test"]


@cache
def cpp_files() -> list[Path]:
    native = ROOT / "native"
    return sorted(
        path for path in native.rglob("*") if path.suffix in {".cpp", ".h", ".hpp", ".cc"}
    )


# ---------------------------------------------------------------- sizes


def file_cap(path: Path) -> int:
    if path.suffix != ".py":
        return CPP_FILE_CAP
    return PASS_FILE_CAP if path.parent == PASSES else PYTHON_FILE_CAP


def function_lines(function: Function) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and ast.get_docstring(function, clean=False) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


def nesting(node: ast.AST, depth: int = 0) -> int:
    """The deepest level of control flow below a node; ``elif`` stays on the level of its ``if``."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        is_level = isinstance(child, CONTROL_FLOW) and not is_elif
        deepest = max(deepest, nesting(child, depth + is_level))
    return deepest


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, FUNCTIONS))


def cpp_functions(text: str) -> Iterator[tuple[int, int]]:
    """First line and length of each function at namespace level, in clang-format's layout."""
    opened = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(r"(namespace|extern|struct|class|enum|union|inline namespace)\b", line):
            continue
        if line.startswith("};"):
            opened = 0
        elif line.startswith("}") and opened:
            yield opened, number - opened + 1
            opened = 0
        elif re.match(r"[A-Za-z_\[]", line) and not line.endswith(";"):
            opened = number


def test_files_are_short() -> None:
    found = [
        f"{place(path)}: {lines} lines, cap {file_cap(path)}"
        for path in [*product_files(), *cpp_files()]
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > file_cap(path)
    ]
    report(found)


def test_functions_are_short() -> None:
    found = [
        f"{place(path, function.lineno)}: {function.name}: {lines} lines, cap {FUNCTION_CAP}"
        for path in python_files()
        for function in functions(path)
        if (lines := function_lines(function)) > FUNCTION_CAP
    ]
    found += [
        f"{place(path, start)}: {lines} lines in a function, cap {FUNCTION_CAP}"
        for path in cpp_files()
        for start, lines in cpp_functions(path.read_text(encoding="utf-8"))
        if lines > FUNCTION_CAP
    ]
    report(found)


def test_nesting_is_flat() -> None:
    found = [
        f"{place(path, function.lineno)}: {function.name}: {depth} levels, cap {NESTING_CAP}"
        for path in product_files()
        for function in functions(path)
        if (depth := nesting(function)) > NESTING_CAP
    ]
    report(found)


@pytest.mark.parametrize(
    ("source", "depth"),
    [
        ("def f():\n  return 1", 0),
        ("def f():\n  for x in y:\n    if x:\n      pass", 2),
        ("def f():\n  if a:\n    pass\n  elif b:\n    pass\n  elif c:\n    pass", 1),
        ("def f():\n  if a:\n    pass\n  else:\n    for x in y:\n      pass", 2),
        ("def f():\n  while a:\n    def g():\n      if b:\n        pass", 1),
        (
            "def f():\n  with a:\n    try:\n      b\n    finally:\n      for x in y:\n        pass",
            2,
        ),
    ],
)
def test_nesting_counts_levels(source: str, depth: int) -> None:
    assert nesting(ast.parse(source).body[0]) == depth


def test_function_lines_leave_out_the_docstring() -> None:
    function = ast.parse('def f():\n  """One.\n\n  Two.\n  """\n  return 1').body[0]
    assert isinstance(function, ast.FunctionDef)
    assert function_lines(function) == 2


def test_cpp_functions_are_measured() -> None:
    function = "int f(int x,\n      int y) {\n  if (x) {\n  }\n}\n"
    others = "int g();\nconst int kTable[] = {\n    1,\n};\nstruct S {\n  int z;\n};\n"
    text = "namespace a {\n" + others + function + others + "}  // namespace a\n"
    assert list(cpp_functions(text)) == [(9, 5)]


# ---------------------------------------------------------------- names and words


def test_module_names_say_what_they_hold() -> None:
    found = [
        place(path)
        for path in [*python_files(), *cpp_files()]
        if path.relative_to(ROOT).as_posix() not in PUBLIC_PATHS
        for part in path.relative_to(ROOT).with_suffix("").parts
        if part in FORBIDDEN_STEMS or FORBIDDEN_WORDS & set(part.split("_"))
    ]
    report(found)


def test_no_work_is_left_for_later() -> None:
    texts = [*python_files(), *cpp_files(), *sorted(LIT.rglob("*.mlir"))]
    found = [
        f"{place(path, number)}: {line.strip()}"
        for path in texts
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"\b(TODO|FIXME)\b", line)
    ]
    report(found)


def test_modules_say_what_they_are() -> None:
    found = [place(path) for path in product_files() if not ast.get_docstring(tree(path))]
    report(found)


def test_annotations_are_lazy() -> None:
    found = [
        place(path)
        for path in package_files()
        if any(isinstance(node, FUNCTIONS) for node in ast.walk(tree(path)))
        and not any(
            isinstance(node, ast.ImportFrom) and node.module == "__future__"
            for node in tree(path).body
        )
    ]
    report(found)


def swallows_everything(node: ast.AST) -> bool:
    """Whether a node catches every exception and does nothing, or is ``suppress(Exception)``."""
    broad = {"Exception", "BaseException"}
    if isinstance(node, ast.ExceptHandler):
        is_broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id in broad)
        return is_broad and all(isinstance(child, (ast.Pass, ast.Continue)) for child in node.body)
    if not isinstance(node, ast.Call):
        return False
    is_suppress = ast.unparse(node.func) in {"suppress", "contextlib.suppress"}
    return is_suppress and any(isinstance(arg, ast.Name) and arg.id in broad for arg in node.args)


def test_nothing_is_swallowed() -> None:
    found = [
        place(path, getattr(node, "lineno", 1))
        for path in python_files()
        for node in ast.walk(tree(path))
        if swallows_everything(node)
    ]
    report(found)


# ---------------------------------------------------------------- pins


def pins() -> dict[str, set[str]]:
    """The versions that requirements/ pins, by package; every line there must be a pin."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                continue
            name, separator, version = line.partition("==")
            assert separator, f"{path.name}: {line}: expected name==version"
            found.setdefault(name, set()).add(version)
    return found


def test_a_package_has_one_pin() -> None:
    report([f"{name}: {versions}" for name, versions in pins().items() if len(versions) > 1])


def test_pins_of_the_extras_are_the_pins_of_requirements() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    report(
        [
            f"pyproject.toml: {requirement} in [{extra}]"
            for extra, requirements in extras.items()
            for requirement in requirements
            if "==" in requirement
            for name, version in [requirement.split("==")]
            if pins().get(name, {version}) != {version}
        ]
    )
