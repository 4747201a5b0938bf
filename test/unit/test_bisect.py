"""``torchair.bisect``: wrong passes, patterns, converters and kernels are found with their line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

import torchair
from torchair.dialects import aten
from torchair.dialects.ge import builder as ge
from torchair.frontend.bisect.stages import Tolerance
from torchair.ir.rewrite import Rewriter, defining_op, pattern, sweep
from torchair.passes.convert_aten_to_ge import registry


def swapped(op: Any, rewriter: Rewriter, name: str) -> None:
    """Replace an operation by another one with the same operands."""
    cls = aten.lookup(name)
    assert cls is not None
    values = [*op.operands, *(p.default for p in cls.schema.parameters[len(op.operands) :])]
    rewriter.replace(op, rewriter.create(cls, values, op.result_types, op).results)


@pattern("aten.abs")
def drop_second_abs(op: Any, rewriter: Rewriter) -> None:
    """Right: the absolute value of an absolute value is that."""
    if defining_op(op.operands[0], "aten.abs") is not None:
        rewriter.replace(op, [op.operands[0]])


@pattern("aten.sin")
def wrong_sine(op: Any, rewriter: Rewriter) -> None:
    swapped(op, rewriter, "aten.cos")


@pattern("aten.cosh")
def late_mistake(op: Any, rewriter: Rewriter) -> None:
    swapped(op, rewriter, "aten.sinh")


@dataclass(frozen=True)
class HastyPass(ModulePass):
    """Patterns of which one is wrong."""

    name = "hasty"
    numeric_class: ClassVar[str] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        sweep(op, (drop_second_abs, wrong_sine))


@dataclass(frozen=True)
class UnrulyPass(ModulePass):
    """Edits operations itself, by no pattern: sums are taken for differences."""

    name = "unruly"
    numeric_class: ClassVar[str] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            for inner in list(function.regions[0].block.ops):
                if inner.name == "aten.add.Tensor":
                    rewriter = Rewriter()
                    swapped(inner, rewriter, "aten.sub.Tensor")


def config_with(*passes: ModulePass, after: str = "canonicalize") -> torchair.CompilerConfig:
    config = torchair.CompilerConfig()
    config.passes.insert_after = {after: list(passes)}
    return config


def line_of(function: Any, offset: int) -> str:
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno + offset}"


def test_a_right_model_has_no_findings() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.LayerNorm(8))
    found = torchair.bisect(model, torch.randn(3, 4), dynamic=True)
    assert not found and found.graphs == 2
    assert str(found) == f"no pass changes results: 2 graphs, {len(found.passes)} passes each"
    assert all(p.grad is None for p in model.parameters())


def test_the_wrong_pattern_is_named_with_its_line() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x.abs().abs() + x.abs().abs()
        z = y.sin()
        return z.abs().abs() * 2

    found = torchair.bisect(model, torch.rand(5), compiler_config=config_with(HastyPass()))
    (finding,) = found.findings
    assert (finding.graph, finding.role, finding.stage) == (0, "inference", "hasty")
    assert re.match(r"result 0: 5 of 5 values differ, most by [\d.]+ ", finding.difference)
    culprit = finding.culprit
    assert culprit.pattern == "wrong_sine"
    assert (culprit.number, culprit.total) == (3, 4)
    assert culprit.source == line_of(model, 2)
    assert culprit.operator == "sin-aten.sin"
    assert "aten.sin(" in culprit.before
    assert len(culprit.after) == 1 and "aten.cos(" in culprit.after[0]
    text = str(found)
    assert "pass 'hasty' changes graph 0 (inference)" in text
    assert "rewrite 3 of 4: wrong_sine" in text and line_of(model, 2) in text


def test_right_rewrites_before_the_wrong_one_are_passed_over() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        for _ in range(20):
            x = (x + 1).abs().abs()
        x = x.sin()
        for _ in range(20):
            x = (x + 1).abs().abs()
        return x

    found = torchair.bisect(model, torch.rand(5), compiler_config=config_with(HastyPass()))
    culprit = found.findings[0].culprit
    assert (culprit.number, culprit.pattern) == (21, "wrong_sine")
    assert culprit.source == line_of(model, 3)


def test_a_pass_without_patterns_is_searched_by_operation() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        z = y + x
        return z.relu()

    found = torchair.bisect(model, torch.rand(5), compiler_config=config_with(UnrulyPass()))
    (finding,) = found.findings
    assert finding.stage == "unruly"
    assert finding.culprit.source == line_of(model, 2)
    assert "aten.add.Tensor" in finding.culprit.before
    assert "aten.sub.Tensor" in finding.culprit.after[0]
    assert "5 of 5 values differ" in finding.culprit.difference


def test_the_second_run_of_a_pass_has_a_number() -> None:
    @dataclass(frozen=True)
    class LateHastyPass(HastyPass):
        name = "canonicalize"

    config = config_with(LateHastyPass(), after="dce#2")
    found = torchair.bisect(lambda x: x.sin(), torch.rand(5), compiler_config=config)
    assert found.findings[0].stage == "canonicalize#2"


@contextmanager
def converter(name: str, function: Any) -> Iterator[None]:
    """Another converter in the place of ours."""
    known = registry.converters()[name]
    made = registry.Converter(name, known.schema, function, frozenset(("self",)), False)
    registry.add(made)
    try:
        yield
    finally:
        registry.add(known)


def test_a_wrong_converter_is_named_with_its_operation() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(x)
        z = torch.erf(y)
        return torch.exp(z) + y

    with converter("aten.erf", lambda self: ge.Tan(self)):
        found = torchair.bisect(model, torch.rand(2, 3), dynamic=True)
    (finding,) = found.findings
    assert finding.stage == "convert-aten-to-ge"
    assert finding.culprit.operator == "erf-aten.erf"
    assert finding.culprit.source == line_of(model, 2)
    assert any("ge.Tan(" in text for text in finding.culprit.after)


def test_written_arguments_are_compared() -> None:
    @dataclass(frozen=True)
    class ForgetfulPass(ModulePass):
        """Drops writes."""

        name = "forgetful"

        def apply(self, ctx: Context, op: ModuleOp) -> None:
            for function in op.ops:
                for inner in list(function.regions[0].block.ops):
                    if inner.name == "aten.copy_":
                        inner.results[0].replace_all_uses_with(inner.operands[0])
                        inner.detach()
                        inner.erase()

    def model(x: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return x * 2

    config = config_with(ForgetfulPass())
    found = torchair.bisect(model, torch.rand(5), compiler_config=config)
    assert found.findings[0].stage == "forgetful"
    assert found.findings[0].difference.startswith("result 1: ")


def test_backward_graphs_are_checked() -> None:
    weight = torch.nn.Parameter(torch.rand(4))

    @dataclass(frozen=True)
    class LatePass(ModulePass):
        """Makes a mistake in the gradient only."""

        name = "late"

        def apply(self, ctx: Context, op: ModuleOp) -> None:
            sweep(op, (gradient_mistake,))

    @pattern("aten.cos")
    def gradient_mistake(op: Any, rewriter: Rewriter) -> None:
        swapped(op, rewriter, "aten.sin")

    x = torch.rand(4, requires_grad=True)
    config = config_with(LatePass())
    found = torchair.bisect(lambda x: (x * weight).sin(), x, compiler_config=config)
    assert [finding.role for finding in found.findings] == ["backward"]
    assert found.findings[0].culprit.pattern == "gradient_mistake"


def test_a_wrong_decomposition_is_reported() -> None:
    wrong = {torch.ops.aten.erf.default: lambda x: x * 1.1}
    found = torchair.bisect(torch.erf, torch.rand(5), custom_decompositions=wrong)
    assert found and not found.findings
    assert "tracing or a decomposition changes the model" in str(found)


def test_nothing_compiled_is_said() -> None:
    found = torchair.bisect(torch.nn.LSTM(2, 3), torch.ones(1, 1, 2))
    assert str(found) == "nothing is compiled: torchair.explain tells why"


def test_tolerance() -> None:
    @pattern("aten.mul.Tensor")
    def nearly(op: Any, rewriter: Rewriter) -> None:
        x, factor = op.arguments()[:2]
        if factor == 2:
            made = rewriter.create(type(op), [x, 2.001], op.result_types, op)
            rewriter.replace(op, made.results)

    @dataclass(frozen=True)
    class NearlyPass(ModulePass):
        """Multiplies by a little more."""

        name = "nearly"

        def apply(self, ctx: Context, op: ModuleOp) -> None:
            sweep(op, (nearly,))

    config = config_with(NearlyPass(), after="promote-dtypes")
    x = torch.rand(5)
    assert torchair.bisect(lambda x: x.exp() * 2, x, compiler_config=config).findings
    loose = torchair.bisect(lambda x: x.exp() * 2, x, compiler_config=config, atol=0.1, rtol=0.0)
    assert not loose


def test_differences_as_text() -> None:
    tolerance = Tolerance()
    x = torch.tensor([[1.0, 2.0], [3.0, float("nan")]])
    assert tolerance.difference(x, x) == ""
    assert tolerance.difference(x, x + torch.tensor([0.0, 0.5])) == (
        "1 of 4 values differ, most by 0.5 (20 %) at [0, 1]: 2.0 instead of 2.5"
    )
    assert tolerance.difference(x, x.double()) == "float32 [2, 2] instead of float64 [2, 2]"
    assert tolerance.difference(x[0], x) == "float32 [2] instead of float32 [2, 2]"
    assert tolerance.difference(torch.tensor(True), torch.tensor(False)) == (
        "1 of 1 values differ, most by 1 at []: True instead of False"
    )
    assert tolerance.difference(3, 4) == "3 instead of 4"
    infinite = tolerance.difference(torch.tensor([float("inf")]), torch.tensor([1.0]))
    assert infinite.endswith("at [0]: inf instead of 1.0")
    assert tolerance.first_difference([1, x], [1, x + 1]).startswith("result 1: 3 of 4")


def test_random_numbers_are_drawn_alike_where_they_can_be() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
    found = torchair.bisect(model, torch.rand(2, 4))
    for finding in found.findings:
        assert finding.stage == "convert-aten-to-ge" and "random numbers" in finding.note


@pytest.mark.parametrize("dynamic", [False, True])
def test_graph_breaks_and_several_graphs(dynamic: bool) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch._dynamo.graph_break()
        return y.sin()

    found = torchair.bisect(
        model, torch.rand(5, 2), dynamic=dynamic, compiler_config=config_with(HastyPass())
    )
    assert found.graphs == 2
    assert [finding.graph for finding in found.findings] == [1]
