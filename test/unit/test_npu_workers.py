"""npu exchange between workers: graphs are made and written, and refused when they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import torchair
from torchair.errors import TorchairError

npu = torch.ops.npu


def ints(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int32)


def send(x: Tensor) -> Tensor:
    y = x * 2
    numbers = (ints(1), ints(1), ints(1), ints(2, 4, 2), ints(1, 8, 2))
    npu.npu_attention_to_ffn(y, *numbers, "group", 4, [1, 2], [1, 2], [1, 2], 8)
    return y


def send_back(x: Tensor) -> Tensor:
    y = x * 2
    count = torch.zeros(1, dtype=torch.int64)
    npu.npu_ffn_to_attention(
        y, ints(4), ints(4), ints(4), ints(4), count, "group", 4, [1, 2], [1, 2, 3]
    )
    return y


def combine(x: Tensor) -> Tensor:
    context = torch.zeros(1024, dtype=torch.int8)
    return npu.npu_attention_worker_combine(context, torch.rand(4, 2), ints(1), 16)[0] * x


def batch(x: Tensor) -> Tensor:
    context = torch.zeros(1024, dtype=torch.int8)
    return npu.npu_ffn_worker_batching(context, 3, [1, 2, 2, 16])[0] * x


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "AttentionToFFN": send,
    "FFNToAttention": send_back,
    "AttentionWorkerCombine": combine,
    "FfnWorkerBatching": batch,
}


@pytest.mark.parametrize("name", list(CASES))
def test_graph_is_written_and_refused(name: str, tmp_path: Path) -> None:
    torch._dynamo.reset()
    config: Any = torchair.CompilerConfig()
    config.debug.ir_dump.path = str(tmp_path)
    backend = torchair.get_npu_backend(compiler_config=config)
    shape = (2, 4, 16) if name == "AttentionToFFN" else (4, 16)
    compiled = torch.compile(CASES[name], backend=backend, fullgraph=True, dynamic=False)
    with pytest.raises(TorchairError, match="the host device has none"):
        compiled(torch.randn(shape).half())
    written = "".join(path.read_text() for path in tmp_path.rglob("*.mlir"))
    assert f"ge.{name}" in written


def test_eager_is_refused() -> None:
    with pytest.raises(TorchairError, match="the host device has none"):
        combine(torch.ones(4, 16))
