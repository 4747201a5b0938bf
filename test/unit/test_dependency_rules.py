"""Dependencies point one way: parts of the package, torch, private fields of xDSL."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from source_files import FUNCTIONS, PACKAGE, ROOT, package_files, part_of, place, report, tree

# What each part of the package may import from the package. Parts that are not listed import all.
MAY_IMPORT = {
    "errors": set[str](),
    "config": {"errors", "config"},
    "ir": {"errors", "ir"},
    "dialects": {"errors", "ir", "dialects"},
    "passes": {"errors", "ir", "dialects", "passes"},
    "backend_ge": {"errors", "config", "ir", "dialects", "backend_ge", "_native"},
}
TORCH_FREE = ("errors", "config", "ir", "dialects", "passes")
TORCH_AT_MODULE_LEVEL = ("frontend/", "backend_ge/host/", "backend_ge/runtime")
PUBLIC_NAMESPACES = (
    "ge/",
    "ops/",
    "scope/",
    "inference/",
    "experimental/",
    "llm_datadist/",
    "__init__.py",
)


def in_package(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported name, in full, with its line and when it is imported."""

    name: str
    line: int
    at_module_level: bool


def imports(path: Path) -> Iterator[Import]:
    """All imports of a package file, relative ones resolved; ``from a import b`` is ``a.b``."""
    package = ("torchair", *path.relative_to(PACKAGE).parent.parts)
    late = {id(child) for node in ast.walk(tree(path)) if is_late(node) for child in ast.walk(node)}
    for node in ast.walk(tree(path)):
        early = id(node) not in late
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, early) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from (
                Import(f"{prefix}.{alias.name}", node.lineno, early) for alias in node.names
            )


def is_late(node: ast.AST) -> bool:
    """Whether what is below a node does not run at import: a function, or a type-checking block."""
    return isinstance(node, FUNCTIONS) or (
        isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    )


def part_imported(name: str) -> str | None:
    """The part of the package that an import reaches, ``torchair`` for the package itself."""
    words = name.split(".")
    if words[0] != "torchair":
        return None
    known = len(words) > 1 and any(PACKAGE.glob(f"{words[1]}*"))
    return words[1] if known else "torchair"


def test_dependencies_point_one_way() -> None:
    found = [
        f"{place(path, entry.line)}: {part_of(path)} imports {entry.name}"
        for path in package_files()
        if part_of(path) in MAY_IMPORT
        for entry in imports(path)
        if (part := part_imported(entry.name)) and part not in MAY_IMPORT[part_of(path)]
    ]
    report(found)


def is_torch(name: str) -> bool:
    return name.split(".")[0] in {"torch", "torch_npu"}


def may_import_torch(path: Path, at_module_level: bool) -> bool:
    where = in_package(path)
    if where.startswith(TORCH_AT_MODULE_LEVEL):
        return True
    if part_of(path) in TORCH_FREE:
        return False
    return not at_module_level or where.startswith(PUBLIC_NAMESPACES)


def test_torch_is_imported_where_it_may_be() -> None:
    found = [
        f"{place(path, entry.line)}: imports {entry.name}"
        for path in package_files()
        for entry in imports(path)
        if is_torch(entry.name) and not may_import_torch(path, entry.at_module_level)
    ]
    report(found)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_compiler_runs_without_torch() -> None:
    """Imports each module of the torch-free parts in a fresh process and looks for torch."""
    modules = [
        module_name(path) for path in package_files() if part_of(path) in (*TORCH_FREE, "tools")
    ]
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def private_fields_of_xdsl() -> set[str]:
    """Names of the underscore fields and methods of the xDSL classes that a pass handles."""
    from xdsl import context, ir, parser, printer, rewriter

    classes = [
        member
        for module in (context, ir, parser, printer, rewriter)
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__.startswith("xdsl")
    ]
    names = {name for cls in classes for name in (*vars(cls), *inspect.get_annotations(cls))}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_private_fields_of_xdsl_stay_in_one_place() -> None:
    private = private_fields_of_xdsl()
    assert {"_next_op", "_operands"} <= private
    found = [
        f"{place(path, node.lineno)}: {ast.unparse(node)}"
        for path in package_files()
        if part_of(path) != "ir" and any(entry.name.startswith("xdsl") for entry in imports(path))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in private
        if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    ]
    report(found)
