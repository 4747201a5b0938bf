"""npu activations with quantisation: formulas in float64, eager and compiled."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from npu_quantization_reference import dynamic_reference, near
from torch import Tensor

from torchair.errors import TorchairError

npu = torch.ops.npu


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x.double() * (1 + torch.erf(x.double() / math.sqrt(2)))


def swiglu(x: Tensor, left: bool) -> Tensor:
    first, second = x.double().chunk(2, -1)
    active, other = (first, second) if left else (second, first)
    return active / (1 + torch.exp(-active)) * other


def variant(x: Tensor, limit: float, alpha: float, bias: float) -> Tensor:
    a = x.double()[..., ::2].clamp(max=limit)
    b = x.double()[..., 1::2].clamp(-limit, limit)
    return a / (1 + torch.exp(-alpha * a)) * (b + bias)


def near_dynamic(found: tuple[Tensor, Tensor], values: Tensor) -> None:
    expected, scales = dynamic_reference(values)
    near(found[0], expected)
    torch.testing.assert_close(found[1].double(), scales.double(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_gelu_quant(dtype: torch.dtype) -> None:
    x, scale = torch.randn(5, 16, dtype=dtype), torch.rand(16, dtype=dtype) * 20
    offset = torch.randn(16, dtype=dtype)
    near_dynamic(check_compiled(npu.npu_gelu_quant, x), gelu(x))
    found = check_compiled(lambda x, s: npu.npu_gelu_quant(x, input_scale=s), x, scale)
    near_dynamic(found, gelu(x) * scale.double())
    y, none = check_compiled(
        lambda x, s, o: npu.npu_gelu_quant(
            x, input_scale=s, input_offset=o, quant_mode="static", round_mode="round"
        ),
        x,
        scale,
        offset,
    )
    near(y, (gelu(x) * scale.double() + offset.double()).round().clamp(-128, 127))
    assert none.numel() == 0
    with pytest.raises(TorchairError, match="static with input_scale"):
        npu.npu_gelu_quant(x, quant_mode="static")


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("counts", [False, True])
def test_swiglu_quant_of_groups(left: bool, counts: bool) -> None:
    x, smooth = torch.randn(6, 16), torch.rand(3, 8) + 0.5
    groups = torch.tensor([1, 0, 5] if counts else [1, 1, 6], dtype=torch.int32)
    found = check_compiled(
        lambda x, s, g: npu.npu_swiglu_quant(
            x,
            smooth_scales=s,
            group_index=g,
            activate_left=left,
            quant_mode=1,
            group_list_type=int(counts),
        ),
        x,
        smooth,
        groups,
    )
    near_dynamic(found, swiglu(x, left) * smooth[[0, 2, 2, 2, 2, 2]].double())


def test_swiglu_quant_static_and_plain() -> None:
    x, scale, offset = torch.randn(2, 3, 16).half(), torch.tensor([9.0]), torch.tensor([2.0])
    y, unused = check_compiled(
        lambda x, s, o: npu.npu_swiglu_quant(x, smooth_scales=s, offsets=o), x, scale, offset
    )
    near(y, (swiglu(x, False) * 9 + 2).round().clamp(-128, 127))
    assert unused.shape == (2, 3)
    near_dynamic(
        check_compiled(lambda x: npu.npu_swiglu_quant(x, quant_mode=1), x), swiglu(x, False)
    )
    with pytest.raises(TorchairError, match="no such quant_mode"):
        npu.npu_swiglu_quant(x, quant_mode=3)


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("left", [False, True])
def test_dequant_swiglu_quant_of_groups(mode: int, left: bool) -> None:
    torch.manual_seed(9)
    x = torch.randint(-10, 10, (6, 32), dtype=torch.int32)
    weight, rows, smooth = torch.randn(2, 32) * 0.1, torch.rand(6, 1), torch.rand(2, 16) + 0.5
    groups = torch.tensor([2, 4])
    found = check_compiled(
        lambda x, w, r, s, g: npu.npu_dequant_swiglu_quant(
            x,
            weight_scale=w,
            activation_scale=r,
            quant_scale=s,
            group_index=g,
            activate_left=left,
            quant_mode=1,
            swiglu_mode=mode,
            clamp_limit=0.5,
            glu_alpha=1.5,
            glu_bias=0.25,
        ),
        x,
        weight,
        rows,
        smooth,
        groups,
    )
    group = [0, 0, 1, 1, 1, 1]
    wide = x.double() * weight[group].double() * rows.double()
    values = variant(wide, 0.5, 1.5, 0.25) if mode else swiglu(wide, left)
    near_dynamic(found, values * smooth[group].double())


@pytest.mark.parametrize("bias", [None, torch.int32, torch.float32])
def test_dequant_swiglu_quant_static(bias: Any) -> None:
    x = torch.randint(-10, 10, (4, 16), dtype=torch.int32)
    weight, shift = torch.randn(16) * 0.2, torch.arange(16).to(bias or torch.int32)
    scale, offset = torch.rand(8) * 20, torch.randn(8)
    y, _ = check_compiled(
        lambda x, w, b, s, o: npu.npu_dequant_swiglu_quant(
            x, weight_scale=w, bias=None if bias is None else b, quant_scale=s, quant_offset=o
        ),
        x,
        weight,
        shift,
        scale,
        offset,
    )
    before = shift if bias is torch.int32 else 0
    after = shift.double() if bias is torch.float32 else 0
    values = swiglu((x.double() + before) * weight.double() + after, False)
    near(y, (values * scale.double() + offset.double()).round().clamp(-128, 127))
    with pytest.raises(TorchairError, match="needs weight_scale"):
        npu.npu_dequant_swiglu_quant(x)


def test_dequant_swiglu_quant_of_floats_along_rows() -> None:
    x = torch.randn(8, 6).bfloat16()
    found = check_compiled(
        lambda x: npu.npu_dequant_swiglu_quant(x, quant_mode=1, activate_dim=0, dst_type=24), x
    )
    values = swiglu(x.t(), False).t()
    scale = values.abs().amax(-1) / 448
    torch.testing.assert_close(found[1].double(), scale, rtol=1e-4, atol=0)
    wanted = values / scale.unsqueeze(-1)
    torch.testing.assert_close(found[0].double(), wanted, rtol=0.07, atol=0.01)


def test_swiglu_mx_quant() -> None:
    x = torch.randn(2, 128).half()
    y, scale = check_compiled(lambda x: npu.npu_swiglu_mx_quant(x, dst_type=292), x)
    expected = npu.npu_dynamic_mx_quant(swiglu(x, False).float(), dst_type=292)
    assert y.dtype is torch.float8_e4m3fn and torch.equal(scale, expected[1])
    near(y.view(torch.uint8), expected[0].view(torch.uint8))
    y, scale = check_compiled(npu.npu_swiglu_mx_quant, torch.randn(2, 8).half())
    assert y.shape == (2, 2) and scale.shape == (2, 1, 2) and y.dtype is torch.uint8
    with pytest.raises(TorchairError, match="only the default of 'group_mode'"):
        npu.npu_swiglu_mx_quant(x, group_mode=1)


def block_reference(x: Tensor, rows: int, columns: int, top: float) -> Tensor:
    """Scales of blocks of a matrix."""
    height, width = -(-x.shape[0] // rows), -(-x.shape[1] // columns)
    scale = torch.zeros(height, width)
    for i in range(height):
        for j in range(width):
            block = x[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            scale[i, j] = block.abs().max() / top
    return scale


@pytest.mark.parametrize(
    ("shape", "rows", "columns", "dst", "top"),
    [
        ((64, 128), 1, 128, 1, 127.0),
        ((5, 200), 1, 128, 1, 127.0),
        ((2, 70, 130), 64, 128, 291, 57344.0),
        ((3, 4), 1, 128, 292, 448.0),
    ],
)
def test_dynamic_block_quant(
    shape: tuple[int, ...], rows: int, columns: int, dst: int, top: float
) -> None:
    x = torch.randn(shape).half()
    y, scale = check_compiled(
        lambda x: npu.npu_dynamic_block_quant(
            x, dst_type=dst, row_block_size=rows, col_block_size=columns
        ),
        x,
    )
    parts = zip(*(t if t.dim() == 3 else t.unsqueeze(0) for t in (x, y, scale)), strict=True)
    for one, numbers, factors in parts:
        expected = block_reference(one.float(), rows, columns, top)
        torch.testing.assert_close(factors, expected, rtol=1e-5, atol=0)
        spread = expected.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
        wide = one.double() / spread[: one.shape[0], : one.shape[1]].double()
        if dst == 1:
            near(numbers, wide.round())
        else:
            torch.testing.assert_close(numbers.double(), wide, rtol=0.14, atol=0.1)


def test_dynamic_block_quant_has_a_least_scale() -> None:
    x = torch.tensor([[0.0, 0.1, 2.0, 90.0]]).bfloat16()
    y, scale = check_compiled(
        lambda x: npu.npu_dynamic_block_quant(x, min_scale=0.5, col_block_size=2), x
    )
    assert scale.tolist() == [[0.5, pytest.approx(90 / 127)]]
    assert y.tolist() == [[0, 0, 3, 127]]


def test_grouped_dynamic_block_quant() -> None:
    x, ends = torch.randn(10, 130).bfloat16(), torch.tensor([3, 3, 10], dtype=torch.int32)
    y, scale = check_compiled(
        lambda x, g: npu.npu_grouped_dynamic_block_quant(x, g, dst_type=292, row_block_size=4),
        x,
        ends,
    )
    assert scale.shape == (10 // 4 + 3, 2)
    for group, (start, end) in enumerate([(0, 3), (3, 3), (3, 10)]):
        expected = block_reference(x[start:end].float(), 4, 128, 448.0)
        first = start // 4 + group
        found = scale[first : first + expected.shape[0]]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
        spread = expected.repeat_interleave(4, 0).repeat_interleave(128, 1)[: end - start, :130]
        wide = x[start:end].double() / spread.double()
        torch.testing.assert_close(y[start:end].double(), wide, rtol=0.07, atol=0.01)
