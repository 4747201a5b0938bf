"""``torchair.explain``: statuses, sources, GE operators, advice; graph breaks, training, JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from torch._higher_order_ops.while_loop import while_loop

import torchair
from torchair import scope
from torchair.frontend.explain import Explanation, OperatorReport
from torchair.frontend.explain.advice import similar_operators
from torchair.passes.convert_aten_to_ge import registry

LIBRARY = torch.library.Library("unit_explain", "DEF")
LIBRARY.define("missing(Tensor x, float scale=1.0) -> Tensor")
LIBRARY.impl("missing", lambda x, scale=1.0: x * scale, "CPU")
torch.library.register_fake("unit_explain::missing", lambda x, scale=1.0: x + 0, lib=LIBRARY)
LIBRARY.define("apart(Tensor x) -> Tensor")
LIBRARY.impl("apart", lambda x: x.sin() + 1, "CPU")
torch.library.register_fake("unit_explain::apart", torch.empty_like, lib=LIBRARY)


def line_of(function: Any, offset: int = 1) -> str:
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno + offset}"


def find(explanation: Explanation, target: str) -> OperatorReport:
    return next(item for item in explanation.operators if item.target == target)


def test_statuses_counts_and_sources() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        y = y.relu() + x
        return torch.ops.unit_explain.missing(y, scale=2.0).frac()

    found = torchair.explain(model, torch.ones(2, 3))
    assert not found.supported
    add = find(found, "aten.add.Tensor")
    assert (add.status, add.calls, add.ge_operators) == ("converted", 2, ["Adds", "Add"])
    assert add.inputs == {"(float32(2, 3), 1)": 1, "(float32(2, 3), float32(2, 3))": 1}
    assert add.outputs == {"float32(2, 3)": 2}
    assert add.sources == [line_of(model, 1), line_of(model, 2)]
    missing = find(found, "unit_explain.missing.default")
    assert (missing.status, missing.reasons) == ("unsupported", ["no converter"])
    assert "torch.ops.unit_explain.missing.default" in missing.stub
    assert "def missing(x, scale" in missing.stub
    apart = find(found, "aten.frac.default")
    assert (apart.status, apart.calls) == ("decomposed", 1)
    assert {"aten.sub.Tensor", "aten.floor.default"} & set(apart.into)
    assert apart.sources == [line_of(model, 3)]


def test_text_is_a_table_with_the_failures_in_full() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.ops.unit_explain.missing(x.relu())

    text = str(torchair.explain(model, torch.ones(2, 3)))
    lines = text.splitlines()
    assert lines[0] == "1 graph, 0 graph breaks: NOT everything is supported"
    assert lines[1] == "  graph 0 (inference): 2 FX calls, cannot be compiled"
    assert re.fullmatch(r"status +calls +operator +becomes +source", lines[3])
    assert re.fullmatch(rf"converted +1 +aten\.relu\.default +Relu +{line_of(model)}", lines[4])
    assert "unit_explain.missing.default: unsupported" in lines
    assert "  call    1 x (float32(2, 3))" in lines


def test_json_holds_everything() -> None:
    found = torchair.explain(lambda x: x.relu(), torch.ones(2, 3))
    content = json.loads(found.to_json())
    assert content["supported"] is True
    assert content["operators"][0]["target"] == "aten.relu.default"
    assert content["graphs"] == [{"role": "inference", "fx_nodes": 1, "ge_nodes": 1, "problem": ""}]
    assert content["breaks"] == []


def test_dynamic_shapes() -> None:
    found = torchair.explain(lambda x: x.view(-1, x.shape[0]) * 2, torch.ones(4, 6), dynamic=True)
    assert found.supported, str(found)
    (call,) = find(found, "aten.mul.Tensor").inputs
    assert re.search(r"s\d+", call)


def test_training_reports_the_backward_graph_and_leaves_gradients_alone() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Tanh())
    state = torch.get_rng_state()
    found = torchair.explain(model, torch.ones(2, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert [graph.role for graph in found.graphs] == ["forward", "backward"]
    assert find(found, "aten.mm.default").status == "converted"
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        roles = [graph.role for graph in torchair.explain(model, torch.ones(2, 3)).graphs]
    assert roles == ["inference"]


def test_graph_breaks_are_listed_with_their_reason() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch._dynamo.graph_break()
        return y * 2

    found = torchair.explain(model, torch.ones(3))
    (broken,) = found.breaks
    assert broken.source == line_of(model, 2)
    assert "graph_break" in broken.reason
    assert [graph.fx_nodes for graph in found.graphs] == [1, 1]
    assert f"graph break at {line_of(model, 2)}" in str(found)


def test_what_dynamo_does_not_compile_at_all_is_no_success() -> None:
    found = torchair.explain(torch.nn.LSTM(2, 3), torch.ones(1, 1, 2))
    assert not found.supported and not found.graphs
    assert "LSTM" in found.breaks[0].reason
    assert str(found).startswith("0 graphs, 1 graph break: NOTHING is compiled")

    def model(x: torch.Tensor) -> torch.Tensor:
        return x.unique()

    (broken,) = torchair.explain(model, torch.ones(3)).breaks
    assert broken.source == line_of(model) and "_unique2" in broken.reason


def test_a_converter_that_refuses_some_calls() -> None:
    missing = torch.ops.unit_explain.missing

    @torchair.register_fx_node_ge_converter(missing.default)
    def convert(x: Any, scale: float = 1.0) -> Any:
        if x.rank != 2:
            raise ValueError("only matrices")
        return x

    try:
        found = torchair.explain(lambda x: (missing(x), missing(x[0])), torch.ones(2, 3))
        report = find(found, "unit_explain.missing.default")
        assert report.status == "partly converted"
        assert "only matrices" in report.reasons[0] and not report.stub
        one = torchair.explain(lambda x: missing(x[0]), torch.ones(2, 3))
        assert find(one, "unit_explain.missing.default").status == "refused"
    finally:
        registry.converters().pop("unit_explain.missing")


def test_decomposition_of_an_unsupported_operator_is_proposed() -> None:
    target = torch.ops.unit_explain.apart.default
    table = torch._decomp.global_decomposition_table["post_autograd"]

    @torch._decomp.register_decomposition(target)
    def apart(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x) + 1

    try:
        found = torchair.explain(target, torch.ones(2, 3), dynamic=True)
        report = find(found, "unit_explain.apart.default")
        assert report.status == "unsupported"
        assert "aten.sin.default, aten.add.Tensor (all supported)" in report.decomposition
        followed = torchair.explain(
            target, torch.ones(2, 3), custom_decompositions={target: table[target]}
        )
        assert followed.supported
        assert find(followed, "unit_explain.apart.default").into == [
            "aten.sin.default",
            "aten.add.Tensor",
        ]
    finally:
        table.pop(target)


def test_similar_operators_are_named() -> None:
    assert "aten.relu" in similar_operators("aten.relu6x")
    assert similar_operators("nothing like it") == []


def test_higher_order_operators_do_not_stop_the_report() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        chosen = torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))
        start = (torch.zeros((), dtype=torch.int64), chosen)
        return while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), start)[1].relu()

    found = torchair.explain(model, torch.ones(2, 3))
    assert find(found, "aten.relu.default").status == "converted"
    assert find(found, "aten.where.self").status == "converted", "cond computes both branches"
    [failing] = [item for item in found.operators if item.status == "unsupported"]
    assert failing.target == "while_loop" and "until its data says stop" in failing.reasons[0]
    assert not found.supported


def test_errors_of_the_model_are_raised() -> None:
    with pytest.raises(Exception, match="same reduction dim"):
        torchair.explain(lambda x: x @ x, torch.ones(2, 3))


def test_operators_that_write_their_arguments() -> None:
    def bump(x: torch.Tensor) -> None:
        x.add_(1)

    LIBRARY.define("bump(Tensor(a!) x) -> ()")
    LIBRARY.impl("bump", bump, "CPU")
    torch.library.register_fake("unit_explain::bump", lambda x: None, lib=LIBRARY)

    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        torch.ops.unit_explain.bump(y)
        return y + 1

    found = torchair.explain(model, torch.ones(2, 3))
    assert find(found, "unit_explain.bump.default").status == "unsupported"
    assert find(found, "aten.mul.Tensor").status == "converted"
    assert not any("auto_functionalized" in item.target for item in found.operators)


def test_scopes_are_no_failures() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        with scope.npu_stream_switch("side"):
            y = x @ x
        return y + 1

    found = torchair.explain(model, torch.ones(3, 3))
    assert found.supported
    assert {item.status for item in found.operators} == {"converted"}
