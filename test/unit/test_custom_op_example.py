"""The walk-through of a custom operator runs as its README says."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from family_check import build

from torchair.tools import converter_test

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "custom_op"


@pytest.fixture(scope="module")
def example() -> Any:
    """The module, imported once: a torch operator can be defined once in a process."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("clamped_swiglu")
    finally:
        sys.path.remove(str(FOLDER))


def test_the_model_equals_eager(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    torch._dynamo.reset()
    example.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "static sizes: equal to eager, 3 graphs compiled",
        "symbolic sizes: equal to eager, 1 graphs compiled",
    ]


def test_both_operators_are_single_nodes(example: Any) -> None:
    model = example.FeedForward().eval().requires_grad_(False)
    compiled, graphs = build(model)
    compiled(torch.randn(3, 64), torch.rand(3))
    (graph,) = graphs
    assert [t for t in graph.node_types if t in ("ClampedSwiGlu", "RowScale")] == [
        "ClampedSwiGlu",
        "RowScale",
    ]
    assert "limit = 5.0" in str(graph.module)


@pytest.mark.parametrize("options", [[], ["--dynamic"]])
def test_the_declared_cases_pass(
    example: Any, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["swiglu_ops.", "--import", "clamped_swiglu", *options]
    assert converter_test.main(arguments) == 0
    assert capsys.readouterr().out == "3 passed, 0 failed, 0 skipped\n"


def test_the_readme_names_what_the_example_uses() -> None:
    source = (FOLDER / "clamped_swiglu.py").read_text(encoding="utf-8")
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    names = re.findall(r"`torchair\.(?:ge\.)?(\w+)`", readme)
    assert {"define_operator", "register_fx_node_ge_converter", "register_host_kernel"} <= set(
        names
    )
    assert [name for name in names if name not in source and name != "_ge_concrete_graph"] == []
