"""The CSV summary of operator support, and the user's FX passes that run next to it."""

# ruff: noqa: RUF001

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import torchair
from torchair.errors import ConversionError, UnsupportedOpError
from torchair.frontend.operator_uses import kind_of, printed, printed_arguments
from torchair.frontend.summary import COLUMNS
from torchair.passes.convert_aten_to_ge import registry

LIBRARY = torch.library.Library("unit_summary", "DEF")
LIBRARY.define("missing(Tensor x) -> Tensor")
LIBRARY.impl("missing", lambda x: x + 1, "CPU")
torch.library.register_fake("unit_summary::missing", torch.empty_like, lib=LIBRARY)


def read_summaries(folder: Path) -> list[list[dict[str, str]]]:
    """Rows of every summary in a folder, in order of their names."""
    found: list[list[dict[str, str]]] = []
    for path in sorted(folder.glob("*.csv")):
        assert re.fullmatch(r"summary_rank_0_pid_\d+_ts_\d{20}\.csv", path.name)
        assert path.read_bytes().startswith(b"\xef\xbb\xbf")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            found.append(list(csv.DictReader(stream)))
    return found


def summary_config(**options: Any) -> torchair.CompilerConfig:
    config = torchair.CompilerConfig()
    config.debug.fx_summary.type = "csv"
    for name, value in options.items():
        setattr(config.debug.fx_summary, name, value)
    return config


def compiled(model: Any, config: torchair.CompilerConfig, **options: Any) -> Any:
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=config)
    return torch.compile(model, backend=backend, fullgraph=True, **options), backend


def model(x: torch.Tensor) -> torch.Tensor:
    y = torch.add(x, 1)
    z = torch.add(y, x) + torch.add(x, x)
    return torch.ops.unit_summary.missing(z).softmax(-1).max(-1).values


def test_summary_and_eager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run, backend = compiled(model, summary_config())
    x = torch.randn(2, 3)
    with pytest.warns(UserWarning, match="summary of a graph is in"):
        assert torch.equal(run(x), model(x))
    assert not backend.reports
    (rows,) = read_summaries(tmp_path)
    assert tuple(rows[0]) == COLUMNS
    by_target = {row["目标函数"]: row for row in rows}
    add = by_target["aten.add.Tensor"]
    assert (add["函数类型"], add["支持状态"], add["调用次数"]) == ("aten", "已支持", "4")
    assert add["输入统计"].splitlines() == [
        "3次：(float32(2, 3), float32(2, 3))",
        "1次：(float32(2, 3), 1)",
    ]
    assert add["输出统计"] == "4次：float32(2, 3)"
    assert by_target["unit_summary.missing.default"]["支持状态"] == "未注册"
    getitem = by_target["<built-in function getitem>"]
    assert (getitem["函数类型"], getitem["支持状态"]) == ("builtin", "已支持")
    assert "(float32(2,), int64(2,))" in getitem["输入统计"]


def test_compiles_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run, backend = compiled(torch.relu, summary_config(skip_compile=False), dynamic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert run(torch.ones(3, 4)).shape == (3, 4)
    assert len(backend.reports) == 1
    ((row,),) = read_summaries(tmp_path)
    assert re.fullmatch(r"1次：float32\(s\d+, s\d+\)", row["输出统计"])


def test_a_graph_that_cannot_be_compiled_still_has_a_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, _ = compiled(model, summary_config(skip_compile=False))
    with warnings.catch_warnings(), pytest.raises(UnsupportedOpError):
        warnings.simplefilter("ignore", UserWarning)
        run(torch.randn(2, 3))
    assert len(read_summaries(tmp_path)) == 1


def test_calls_are_judged_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    @torchair.register_fx_node_ge_converter(torch.ops.unit_summary.missing.default)
    def convert(x: Any) -> Any:
        if x.rank != 2:
            raise ValueError("only matrices")
        return x

    def some(x: torch.Tensor) -> Any:
        missing = torch.ops.unit_summary.missing
        return missing(x), missing(x[0])

    try:
        run, _ = compiled(some, summary_config())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            run(torch.randn(2, 3))
        rows = {row["目标函数"]: row for row in read_summaries(tmp_path)[0]}
        assert rows["unit_summary.missing.default"]["支持状态"] == "部分支持"
    finally:
        registry.converters().pop("unit_summary.missing")


def test_no_summary_where_graphs_are_captured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = summary_config()
    config.mode = "reduce-overhead"
    run, backend = compiled(torch.relu, config)
    assert torch.equal(run(torch.ones(3)), torch.ones(3))
    assert len(backend.reports) == 1 and not read_summaries(tmp_path)


def test_training_writes_two_summaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    layer = torch.nn.Linear(3, 2)
    run, _ = compiled(layer, summary_config())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        run(torch.randn(4, 3)).sum().backward()
    assert layer.weight.grad is not None
    assert len(read_summaries(tmp_path)) == 2


def test_values_as_text() -> None:
    assert printed(torch.ones(4, dtype=torch.bfloat16)) == "bfloat16(4,)"
    assert (
        printed((torch.tensor(1), None, [2.5, "sum"], (1,)))
        == "(int64(), None, [2.5, 'sum'], (1,))"
    )
    assert printed_arguments((1, torch.float16), {"dim": [0]}) == "(1, torch.float16, dim=[0])"
    assert kind_of(torch.ops.prims.convert_element_type.default) == "prims"


# ---------------------------------------------------------------- FX passes of the user


def test_hooks_edit_the_graph() -> None:
    order: list[str] = []

    def pre(gm: torch.fx.GraphModule, example_inputs: Any, config: Any) -> str:
        order.append("pre")
        assert config.mode == "max-autotune" and example_inputs
        for node in gm.graph.find_nodes(op="call_function", target=torch.ops.aten.relu.default):
            with gm.graph.inserting_after(node):  # nodes without meta, as people write them
                new = gm.graph.call_function(torch.ops.aten.gelu.default, (node.args[0],))
                cast = gm.graph.call_function(torch.ops.aten.mul.Tensor, (new, 2.0))
            new.append(cast)
            node.replace_all_uses_with(cast)
            gm.graph.erase_node(node)
        return "ignored"

    def post(gm: torch.fx.GraphModule, example_inputs: Any, config: Any) -> None:
        order.append("post")
        assert all("val" in n.meta for n in gm.graph.nodes if n.op == "call_function")

    config = torchair.CompilerConfig()
    config.post_grad_custom_pre_pass = pre
    config.post_grad_custom_post_pass = post
    run, backend = compiled(lambda x: torch.relu(x) + 1, config, dynamic=True)
    x = torch.randn(3, 5)
    torch.testing.assert_close(run(x), torch.nn.functional.gelu(x) * 2 + 1)
    assert order == ["pre", "post"]
    assert backend.reports[0].nodes["fx"] >= 3


def test_errors_of_hooks_name_the_hook() -> None:
    def wrong_arguments(gm: torch.fx.GraphModule, *rest: Any) -> None:
        node = next(n for n in gm.graph.nodes if n.op == "call_function")
        with gm.graph.inserting_after(node):
            gm.graph.call_function(torch.ops.aten.mm.default, (node, node))

    config = torchair.CompilerConfig()
    config.post_grad_custom_post_pass = wrong_arguments
    run, _ = compiled(torch.relu, config)
    with pytest.raises(ConversionError, match="post_grad_custom_post_pass added a node") as caught:
        run(torch.randn(3, 5))
    assert "aten.mm" in str(caught.value)

    def use_before_definition(gm: torch.fx.GraphModule, *rest: Any) -> None:
        first, second = (n for n in gm.graph.nodes if n.op == "call_function")
        first.args = (second,)

    config.post_grad_custom_post_pass = use_before_definition
    run, _ = compiled(lambda x: torch.relu(x).neg(), config)
    with pytest.raises(ConversionError, match="left a malformed graph"):
        run(torch.randn(3, 5))

    def failing(gm: torch.fx.GraphModule, *rest: Any) -> None:
        raise KeyError("mine")

    config.post_grad_custom_post_pass = None
    config.post_grad_custom_pre_pass = failing
    run, _ = compiled(torch.relu, config)
    with pytest.raises(Exception, match="mine"):
        run(torch.randn(3, 5))
