"""Graphs as Python and dumps of tensors, in mode reduce-overhead."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from replay_check import captured, compile_for_replay, same_bits
from torch import Tensor

from torchair.errors import ConfigError


def f(x: Tensor, y: Tensor) -> Tensor:
    return torch.relu(x.clone() @ y).to(torch.bfloat16).sum(-1)


def run_file(path: Path, *inputs: Any) -> list[Any]:
    """Results of the function ``forward`` that a file defines."""
    with torch.no_grad():
        return runpy.run_path(str(path))["forward"](*inputs)


@torch.no_grad()
def test_graphs_are_written_as_python_that_runs(tmp_path: Path) -> None:
    compiled, backend = compile_for_replay(f, graph_dump_type="py", graph_dump_path=str(tmp_path))
    x, y = torch.randn(3, 4), torch.randn(4, 5)
    expected = compiled(x, y)
    original, optimised = sorted(tmp_path.iterdir(), reverse=True)
    assert original.name.startswith("dynamo_original_graph_") and "_rank_0_pid_" in original.name
    assert optimised.name.startswith("dynamo_optimized_graph_") and optimised.suffix == ".py"
    for file in (original, optimised):
        assert same_bits(run_file(file, x, y)[0], expected)
        assert "test_reduce_overhead_dumps.py" in file.read_text()
    assert "aten.clone" in original.read_text() and "aten.clone" not in optimised.read_text()
    assert set(backend.reports[0].files) == {original, optimised}


@torch.no_grad()
def test_a_dynamic_graph_as_python(tmp_path: Path) -> None:
    def g(x: Tensor) -> tuple[Tensor, Tensor]:
        best = torch.softmax(x @ x.t() / x.shape[1], -1).topk(2)
        return best.values * (x.shape[0] // 2), torch.cat([best.indices[0], x[0].long()])

    compiled, _ = compile_for_replay(
        g, dynamic=True, graph_dump_type="py", graph_dump_path=str(tmp_path)
    )
    compiled(torch.randn(6, 4))
    file = next(tmp_path.glob("dynamo_optimized_*"))
    assert ".shape[0]" in file.read_text()
    x = torch.randn(9, 5)
    for mine, theirs in zip(run_file(file, x), g(x), strict=True):
        assert same_bits(mine, theirs)


@torch.no_grad()
def test_other_types_of_graph_dump_are_refused() -> None:
    compiled, _ = compile_for_replay(f, graph_dump_type="pbtxt")
    with pytest.raises(ConfigError, match="makes no GE graph that could be written as 'pbtxt'"):
        compiled(torch.randn(3, 4), torch.randn(4, 5))


@pytest.mark.parametrize("stage", ["optimized", "original"])
@torch.no_grad()
def test_tensors_of_every_call_are_dumped(tmp_path: Path, stage: str) -> None:
    compiled, backend = compile_for_replay(
        f, dump_tensor_data=True, data_dump_stage=stage, data_dump_dir=str(tmp_path)
    )
    x, y = torch.randn(3, 4), torch.randn(4, 5)
    for _ in range(2):
        assert same_bits(compiled(x, y), f(x, y))
    folder = tmp_path / "worldsize1_global_rank0"
    names = {path.name for path in folder.iterdir()}
    assert {f"mm_device_cpu_{n}.pt" for n in (0, 1)} <= names
    assert ("clone_device_cpu_0.pt" in names) == (stage == "original")
    assert same_bits(torch.load(folder / "mm_device_cpu_1.pt"), x @ y)
    assert captured(backend).counts.eager == 2


@torch.no_grad()
def test_numpy_dump_with_a_filter(tmp_path: Path) -> None:
    options = {
        "debug.data_dump.type": "npy",
        "debug.data_dump.path": str(tmp_path),
        "debug.data_dump.filter": lambda node: node if "relu" in node.name else None,
    }
    compiled, backend = compile_for_replay(f, **options)
    x, y = torch.randn(3, 4), torch.randn(4, 5)
    for _ in range(2):
        assert same_bits(compiled(x, y), f(x, y))
    root = tmp_path / "worldsize1_global_rank0" / backend.reports[0].name
    assert sorted(path.name for path in root.iterdir()) == ["0", "1"]
    files = sorted((root / "1").iterdir())
    assert [file.name.rsplit(".", 2)[0] for file in files] == [
        "relu-aten.relu.INPUT.0",
        "relu-aten.relu.OUTPUT.0",
    ]
    assert np.array_equal(np.load(files[1]), torch.relu(x @ y).numpy())
