"""A decoder with npu operators over a growing cache: one graph, every step equal to eager."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import torchair

npu = torch.ops.npu

BATCH, HEADS, KEY_HEADS, SIZE, ROOM, STEPS = 2, 4, 2, 8, 12, 8
WIDTH = HEADS * SIZE


class Decoder(torch.nn.Module):
    """One layer: norm, projections, cache update, attention, gated experts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        half = torch.float16
        self.gamma = torch.nn.Parameter(torch.rand(WIDTH, dtype=half))
        shapes = {"q": WIDTH, "k": KEY_HEADS * SIZE, "v": KEY_HEADS * SIZE}
        for name, size in shapes.items():
            weight = torch.randn(size, WIDTH, dtype=half) / 5
            self.register_parameter(name, torch.nn.Parameter(weight))
        self.up = torch.nn.Parameter(torch.randn(WIDTH, 4 * WIDTH, dtype=half) / 6)
        self.down = torch.nn.Parameter(torch.randn(2 * WIDTH, WIDTH, dtype=half) / 8)

    def forward(
        self, x: Tensor, k_cache: Tensor, v_cache: Tensor, index: Tensor, lengths: list[int]
    ) -> Tensor:
        y = npu.npu_rms_norm(x, self.gamma)[0]
        query = npu.npu_linear(y, self.q).view(BATCH, 1, WIDTH)
        for cache, weight in ((k_cache, self.k), (v_cache, self.v)):
            new = npu.npu_linear(y, weight).view(BATCH, 1, KEY_HEADS * SIZE)
            npu.scatter_update_(cache, index, new, 1)
        attention = npu.npu_incre_flash_attention(
            query,
            k_cache,
            v_cache,
            actual_seq_lengths=lengths,
            num_heads=HEADS,
            num_key_value_heads=KEY_HEADS,
            scale_value=SIZE**-0.5,
        )
        x = x + attention.view(BATCH, WIDTH)
        return x + npu.npu_ffn(x, self.up, self.down, "swiglu")


def caches() -> tuple[Tensor, Tensor]:
    return tuple(torch.zeros(BATCH, ROOM, KEY_HEADS * SIZE).half() for _ in range(2))  # type: ignore[return-value]


def decode(model: Any) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    inputs, (k_cache, v_cache) = torch.randn(STEPS, BATCH, WIDTH).half(), caches()
    steps = []
    for step in range(STEPS):
        index, lengths = torch.tensor([step, step + 2]), [step + 1, step + 3]
        steps.append(model(inputs[step], k_cache, v_cache, index, lengths))
    return steps, (k_cache, v_cache)


@pytest.mark.parametrize("dynamic", [None, True])
def test_decode(dynamic: bool | None) -> None:
    torch._dynamo.reset()
    model = Decoder().eval()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=dynamic)
    with torch.no_grad():
        expected, kept = decode(model)
        found, written = decode(compiled)
    assert all(bool(t.isfinite().all()) for t in expected)
    for one, other in zip((*found, *written), (*expected, *kept), strict=True):
        assert torch.equal(one, other)
    assert len(backend.reports) <= 3
