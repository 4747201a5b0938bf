"""Weights in internal formats: remembered in the IR and the graph, without effect on numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import torchair
from torchair.backend_ge.graph_text import read_graph_file
from torchair.frontend.internal_formats import format_of


def test_formats_reach_the_graph(tmp_path: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3).half(), nn.Flatten(), nn.Linear(4, 2).half()).eval()
    torchair.use_internal_format_weight(model)
    assert [format_of(p) for p in model.parameters()] == [4, None, 29, None]
    config = torchair.CompilerConfig()
    config.debug.ir_dump.path = str(tmp_path)
    backend = torchair.get_npu_backend(compiler_config=config)
    x = torch.randn(2, 3, 3, 3).half()
    with torch.no_grad():
        found = torch.compile(model, backend=backend)(x)
        assert torch.equal(found, model(x))
    [path] = tmp_path.rglob("*graph.pbtxt")
    data = [n for n in read_graph_file(path).graph[0].op if n.type == "Data"]
    stored = {
        tuple(n.output_desc[0].shape.dim): (
            n.output_desc[0].attr["format_for_int"].i,
            n.output_desc[0].attr["origin_format_for_int"].i,
        )
        for n in data
        if "format_for_int" in n.output_desc[0].attr
    }
    assert stored == {(4, 3, 3, 3): (4, 0), (2, 4): (29, 2)}


def test_format_cast_via_cpu_lays_out_blocks() -> None:
    x = torch.randint(-128, 128, (2, 40, 70), dtype=torch.int8)
    y = torchair.npu_format_cast_via_cpu(x, 29)
    assert y.shape == (2, 3, 3, 16, 32) and y.is_contiguous()
    for row in range(40):
        for column in range(70):
            place = y[:, column // 32, row // 16, row % 16, column % 32]
            assert torch.equal(place, x[:, row, column])
    assert y.int().sum() == x.int().sum()


@pytest.mark.parametrize(
    ("tensor", "acl_format"),
    [
        (torch.zeros(4, 4, dtype=torch.int8), 2),
        (torch.zeros(4, 4), 29),
        (torch.zeros(4, dtype=torch.int8), 29),
        (torch.zeros(0, 4, dtype=torch.int8), 29),
    ],
)
def test_format_cast_via_cpu_refuses(tensor: torch.Tensor, acl_format: int) -> None:
    with pytest.raises(ValueError, match=r"only acl_format|expected a non-empty"):
        torchair.npu_format_cast_via_cpu(tensor, acl_format)
