"""Calls of npu operators that public converter tests make, with their shapes and types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor
from torch._subclasses import FakeTensorMode

npu = torch.ops.npu

F16, F32, BF16 = torch.float16, torch.float32, torch.bfloat16
I8, I32, I64, U8 = torch.int8, torch.int32, torch.int64, torch.uint8
Spec = tuple[torch.dtype, tuple[int, ...]]

TOKENS, HIDDEN = (1, 2048, 40 * 128), (1, 40, 2048, 128)
LARGE: dict[str, tuple[Callable[..., Any], list[Spec], Spec]] = {
    "prompt BSH": (
        lambda q, k, v: npu.npu_prompt_flash_attention(q, k, v, num_heads=40, input_layout="BSH"),
        [(F16, TOKENS)] * 3,
        (F16, TOKENS),
    ),
    "prompt BNSD": (
        lambda q, k, v: npu.npu_prompt_flash_attention(
            q, k, v, input_layout="BNSD", num_heads=40, scale_value=0.0884
        ),
        [(F16, HIDDEN)] * 3,
        (F16, HIDDEN),
    ),
    "ffn": (
        lambda x, a, b: npu.npu_ffn(x, a, b, activation="gelu", inner_precise=1),
        [(F16, (8192, 320)), (F16, (320, 2560)), (F16, (2560, 320))],
        (F16, (8192, 320)),
    ),
    "mm_all_reduce": (
        lambda a, b, c: npu.npu_mm_all_reduce_base(a, b, "group", reduce_op="sum", bias=c),
        [(F16, (1024, 1024)), (F16, (1024, 1024)), (F16, (1024,))],
        (F16, (1024, 1024)),
    ),
    "quantised mm_all_reduce": (
        lambda a, b, c, s: npu.npu_mm_all_reduce_base(
            a, b, "group", reduce_op="sum", bias=c, dequant_scale=s
        ),
        [(I8, (1024, 1024)), (I8, (1024, 1024)), (I32, (1024,)), (I64, (1,))],
        (F16, (1024, 1024)),
    ),
    "weight quant": (
        npu.npu_weight_quant_batchmatmul,
        [(F16, (32, 11264)), (F16, (11264, 1664)), (F16, (1, 1664)), (F16, (1, 1664))],
        (F16, (32, 1664)),
    ),
}


@pytest.mark.parametrize("name", list(LARGE))
def test_shapes_of_large_calls(name: str) -> None:
    function, specs, expected = LARGE[name]
    with FakeTensorMode():
        out = function(*(torch.empty(shape, dtype=dtype) for dtype, shape in specs))
    assert (out.dtype, tuple(out.shape)) == expected


def numbers(dtype: torch.dtype, *shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return (torch.randn(shape) * 3).to(dtype)


@pytest.mark.parametrize("layout", ["BSH", "BNSD"])
def test_incremental_attention(layout: str) -> None:
    query, cache = (1, 1, 5120), (1, 2048, 5120)
    if layout == "BNSD":
        query, cache = (1, 40, 1, 128), (1, 40, 2048, 128)
    q, k, v = numbers(F16, *query), numbers(F16, *cache), numbers(F16, *cache)
    out = check_compiled(
        lambda q, k, v: npu.npu_incre_flash_attention(
            q, k, v, num_heads=40, input_layout=layout, scale_value=0.0884
        ),
        q,
        k,
        v,
        dynamic=False,
    )
    heads = [t.float().reshape(1, -1, 40, 128).transpose(1, 2) for t in (q, k, v)]
    if layout == "BNSD":
        heads = [t.float() for t in (q, k, v)]
    exact = torch.softmax(heads[0] @ heads[1].mT * 0.0884, -1) @ heads[2]
    found = out.float() if layout == "BNSD" else out.float().reshape(1, 1, 40, 128).transpose(1, 2)
    torch.testing.assert_close(found, exact, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("activation", ["relu", "gelu", "fastgelu", "silu"])
def test_ffn(activation: str) -> None:
    x, first, second = numbers(F16, 64, 320), numbers(F16, 320, 2560) / 60, numbers(F16, 2560, 320)
    out = check_compiled(
        lambda x, a, b: npu.npu_ffn(x, a, b, activation=activation, inner_precise=1),
        x,
        first,
        second / 150,
        dynamic=False,
    )
    assert out.shape == (64, 320) and bool(out.isfinite().all())


@pytest.mark.parametrize("dtype", [F16, F32])
def test_scatter_list(dtype: torch.dtype) -> None:
    tensors = [numbers(dtype, 4, 4096, 256) for _ in range(8)]
    updates, indices = numbers(dtype, 8, 4, 1, 256), torch.arange(8, dtype=I32) * 500
    mask = torch.tensor([1, 0, 1, 1, 0, 1, 1, 1], dtype=U8)
    found = npu.npu_scatter_list(tensors, indices, updates, mask, reduce="update", axis=-2)
    for i, (old, new) in enumerate(zip(tensors, found, strict=True)):
        expected = old.clone()
        if mask[i]:
            expected[:, i * 500] = updates[i, :, 0]
        assert torch.equal(new, expected)


@pytest.mark.parametrize("with_zero_points", [False, True])
def test_quant_scatter(with_zero_points: bool) -> None:
    cache, updates = numbers(I8, 24, 4096, 128), numbers(BF16, 24, 1, 128)
    scales = (torch.rand(1, 1, 128) + 0.1).bfloat16()
    points = torch.ones(1, 1, 128).bfloat16() if with_zero_points else None
    indices = torch.arange(24, dtype=I32) * 100
    out = check_compiled(
        lambda c, i, u, s: npu.npu_quant_scatter(
            c, i, u, s, points, axis=-2, quant_axis=-1, reduce="update", dst_type=1
        ),
        cache,
        indices,
        updates,
        scales,
        dynamic=False,
    )
    exact = updates.float() / scales.float() + (1 if with_zero_points else 0)
    expected = cache.clone()
    for row, place in enumerate(indices.tolist()):
        expected[row, place] = exact[row, 0].round().clamp(-128, 127).to(I8)
    assert torch.equal(out, expected)


IN_PLACE: dict[str, tuple[Callable[..., Any], list[Tensor]]] = {
    "scatter_update_": (
        lambda c, i, u: npu.scatter_update_(c, i, u, -2),
        [numbers(F16, 2, 3, 6, 4), torch.tensor([1, 5]), numbers(F16, 2, 3, 1, 4)],
    ),
    "npu_scatter_nd_update_": (
        npu.npu_scatter_nd_update_,
        [numbers(F32, 5, 4), torch.tensor([[3], [0]]), numbers(F32, 2, 4)],
    ),
    "npu_quant_scatter_": (
        npu.npu_quant_scatter_,
        [
            numbers(I8, 2, 6, 32),
            torch.tensor([1, 5], dtype=I32),
            numbers(F16, 2, 1, 32),
            torch.rand(32) + 0.1,
        ],
    ),
    "npu_batch_gather_matmul_": (
        npu.npu_batch_gather_matmul_,
        [
            numbers(F16, 3, 8),
            numbers(F16, 3, 16),
            numbers(F16, 2, 1, 8, 16),
            torch.tensor([1, -1, 0], dtype=I32),
        ],
    ),
}


@pytest.mark.parametrize("name", list(IN_PLACE))
@pytest.mark.parametrize("dynamic", [False, True])
def test_in_place(name: str, dynamic: bool) -> None:
    """The argument is written, and readers of the result see what was written."""
    import torchair

    function, inputs = IN_PLACE[name]
    eager = [t.clone() for t in inputs]
    assert function(*eager) is eager[0]
    assert not torch.equal(eager[0], inputs[0])
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(
        lambda *t: function(*t).float() * 2, backend=backend, fullgraph=True, dynamic=dynamic
    )
    copies = [t.clone() for t in inputs]
    out = compiled(*copies)
    assert torch.equal(copies[0], eager[0])
    assert torch.equal(out, eager[0].float() * 2)
