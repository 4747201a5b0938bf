"""Passes follow the rules of the house: names, docstrings, lit files, registration."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from typing import Any

import pytest
from source_files import LIT, PASSES, package_files, part_of, place, report, tree

NUMERIC_CLASSES = ("exact", "reassociates", "approximates")


def pass_table() -> dict[str, Any]:
    """The one registration table: pass name to class, or to a function that loads the class."""
    if not (PASSES / "__init__.py").is_file():
        return {}
    return importlib.import_module("torchair.passes").ALL_PASSES


@pytest.fixture
def pass_class(pass_name: str) -> type:
    entry = pass_table()[pass_name]
    return entry if isinstance(entry, type) else entry()


each_pass = pytest.mark.parametrize("pass_name", pass_table())


@each_pass
def test_pass_is_named_by_the_rules(pass_name: str, pass_class: type) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", pass_name)
    assert getattr(pass_class, "name", None) == pass_name
    assert pass_name.replace("-", "_") in pass_class.__module__.split(".")
    assert pass_class.__name__ == "".join(map(str.capitalize, pass_name.split("-"))) + "Pass"


@each_pass
def test_pass_is_a_frozen_dataclass(pass_class: type) -> None:
    assert dataclasses.is_dataclass(pass_class)
    assert vars(pass_class)["__dataclass_params__"].frozen


@each_pass
def test_pass_docstring_has_its_numeric_class_and_lit_file(
    pass_name: str, pass_class: type
) -> None:
    doc = vars(pass_class).get("__doc__") or ""
    assert re.search(rf"[Nn]umeric class: ({'|'.join(NUMERIC_CLASSES)})\b", doc), doc
    assert f"{pass_name}.mlir" in doc


@each_pass
def test_pass_has_a_lit_file(pass_name: str) -> None:
    files = list(LIT.rglob(f"{pass_name}.mlir"))
    assert len(files) == 1, f"expected one {pass_name}.mlir under test/lit, found {files}"
    lines = files[0].read_text(encoding="utf-8").splitlines()
    runs = [line for line in lines if "RUN:" in line]
    word = re.compile(rf"(?<![\w-]){re.escape(pass_name)}(?![\w-])")
    assert any(word.search(line) for line in runs), runs


def test_every_pass_is_registered() -> None:
    found = [
        f"{place(path, node.lineno)}: {name} is not in ALL_PASSES"
        for path in package_files()
        if part_of(path) == "passes"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and is_pass(node)
        if (name := pass_name_of(node)) not in pass_table()
    ]
    report(found)


PASS_BASES = ("ModulePass", "RewritePass", "PatternPass")


def is_pass(node: ast.ClassDef) -> bool:
    bases = {ast.unparse(base).split(".")[-1] for base in node.bases}
    return not bases.isdisjoint(PASS_BASES) and node.name not in PASS_BASES


def pass_name_of(node: ast.ClassDef) -> str:
    """The value of the class attribute ``name``, or the class's own name where there is none."""
    for entry in node.body:
        targets = (
            entry.targets if isinstance(entry, ast.Assign) else [getattr(entry, "target", None)]
        )
        value = getattr(entry, "value", None)
        if isinstance(value, ast.Constant) and any(
            isinstance(target, ast.Name) and target.id == "name" for target in targets
        ):
            return str(value.value)
    return node.name
