"""npu quantisation against loops over numbers, eager and compiled, static and dynamic."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from npu_quantization_reference import clamp_round, int4_values

from torchair.errors import TorchairError

npu = torch.ops.npu
INT4 = torch.quint4x2
HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize(
    ("dtype", "kind", "points", "axis", "div_mode"),
    [
        (torch.float32, torch.quint8, torch.int32, 1, True),
        (torch.float16, torch.qint32, torch.int32, 0, True),
        (torch.float32, torch.qint8, torch.float32, -2, False),
        (torch.float32, torch.qint8, torch.int8, 1, True),
        (torch.bfloat16, torch.qint8, torch.bfloat16, -1, False),
        (torch.bfloat16, torch.qint8, None, 1, True),
    ],
)
def test_quantize(
    dtype: torch.dtype, kind: torch.dtype, points: Any, axis: int, div_mode: bool
) -> None:
    x = torch.randn(3, 3, dtype=dtype) * 20
    scale = torch.tensor([0.5, 2.0, 0.25], dtype=dtype if not div_mode else torch.float32)
    zero = None if points is None else torch.tensor([3, 0, 7]).to(points)
    y = check_compiled(lambda *a: npu.npu_quantize(*a, kind, axis, div_mode), x, scale, zero)
    along = axis if div_mode else min(axis, -1)
    low, high = {
        torch.quint8: (0, 255),
        torch.qint8: (-128, 127),
        torch.qint32: (-(2**31), 2**31 - 1),
    }[kind]
    for row in range(3):
        for column in range(3):
            place = (row, column)[along]
            factor = scale[place].item()
            value = x[row, column].item()
            value = value / factor if div_mode else value * factor
            offset = 0 if zero is None else zero[place].item()
            expected = round(value) + offset if div_mode else round(value + offset)
            assert y[row, column] == max(low, min(high, expected))


def test_quantize_to_int4() -> None:
    x, scale = torch.randn(2, 5, 16, dtype=torch.float16) * 3, torch.rand(16).half() + 0.5
    y = check_compiled(lambda x, s: npu.npu_quantize(x, s, None, INT4, -1, False), x, scale)
    assert y.dtype is torch.int32 and y.shape == (2, 5, 2)
    expected = (x.float() * scale.float()).round().clamp(-8, 7)
    assert torch.equal(int4_values(y), expected.long())


def test_quantize_refuses_what_it_cannot_write() -> None:
    with pytest.raises(TorchairError, match="cannot divide into this type"):
        npu.npu_quantize(torch.randn(2, 8), torch.ones(8), None, INT4, 1, True)
    with pytest.raises(TorchairError, match="no element type has the number 99"):
        npu.npu_quantize(torch.randn(2, 8), torch.ones(8), None, 99, 1, False)
    with pytest.raises(TorchairError, match="multiple of 8"):
        npu.npu_quantize(torch.randn(2, 9), torch.ones(9), None, INT4, 1, False)


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("dst", [None, torch.float16, torch.bfloat16])
def test_anti_quant(dst: torch.dtype | None, offset: bool) -> None:
    x = torch.randint(-128, 128, (3, 2, 17, 5), dtype=torch.int8)
    scale, shift = torch.rand(1), torch.rand(1) * 9
    names = {"offset": shift} if offset else {}
    y = check_compiled(
        lambda x, s, o: npu.npu_anti_quant(
            x, s, offset=o if names else None, dst_dtype=dst, src_dtype=torch.int8
        ),
        x,
        scale,
        shift,
    )
    expected = (x.double() + (shift.double() if offset else 0)) * scale.double()
    assert y.dtype is (dst or torch.float16)
    torch.testing.assert_close(y.double(), expected, rtol=1e-2, atol=1e-2)


def test_anti_quant_of_int4_and_float8() -> None:
    packed = torch.randint(-(2**31), 2**31 - 1, (3, 2), dtype=torch.int32)
    scale = torch.rand(16)
    y = check_compiled(lambda x, s: npu.npu_anti_quant(x, s, src_dtype=INT4), packed, scale)
    torch.testing.assert_close(
        y.float(), int4_values(packed) * scale, rtol=1e-3, atol=1e-3, check_dtype=False
    )
    x = torch.randn(4, 6).to(torch.float8_e4m3fn)
    y = check_compiled(npu.npu_anti_quant, x, torch.ones(1))
    assert torch.equal(y.float(), x.float())
    with pytest.raises(TorchairError, match="not what x holds"):
        npu.npu_anti_quant(x, torch.ones(1), src_dtype=torch.int8)


def test_group_quant() -> None:
    x, scale = torch.randn(4, 8) * 9, torch.rand(3, 8) + 0.5
    ends, offset = torch.tensor([1, 1, 4]), torch.tensor([2.0])
    y = check_compiled(
        lambda x, s, g, o: npu.npu_group_quant(x, s, g, offset=o), x, scale, ends, offset
    )
    for row, group in enumerate([0, 2, 2, 2]):
        for column in range(8):
            value = x[row, column].double() * scale[group, column].double() + 2
            assert abs(y[row, column] - clamp_round(value.item())) <= 1
    packed = check_compiled(
        lambda x, s, g: npu.npu_group_quant(x, s, g, dst_dtype=INT4), x, scale, ends
    )
    assert packed.shape == (4, 1) and packed.dtype is torch.int32


def factor_bits(scale: float) -> int:
    return struct.unpack("<I", struct.pack("<f", scale))[0]


@pytest.mark.parametrize("round_mode", [0, 1])
@pytest.mark.parametrize("with_offset", [False, True])
def test_trans_quant_param(round_mode: int, with_offset: bool) -> None:
    scale = torch.tensor([0.1, 1.0, -3.3, 1e-20, 7e8])
    offset = torch.tensor([0.4, -256.0, 300.0, -1.0, 12.5])
    packed = check_compiled(
        lambda s, o: npu.npu_trans_quant_param(s, o if with_offset else None, round_mode),
        scale,
        offset,
    )
    for number, one, other in zip(packed.tolist(), scale.tolist(), offset.tolist(), strict=True):
        bits = factor_bits(one)
        kept = bits & 0xFFFFE000
        if round_mode == 1:
            rest, odd = bits & 0x1FFF, (bits >> 13) & 1
            kept += 0x2000 if rest > 0x1000 or (rest == 0x1000 and odd) else 0
        assert number & 0xFFFFFFFF == kept
        assert (number >> 46) == 1
        wanted = max(-256, min(255, round(other))) & 0x1FF if with_offset else 0
        assert (number >> 37) & 0x1FF == wanted


@pytest.mark.parametrize("bias", [None, torch.int32, torch.float32, torch.bfloat16])
def test_dequant_bias(bias: torch.dtype | None) -> None:
    x, columns = torch.randint(-999, 999, (4, 6), dtype=torch.int32), torch.rand(6)
    rows = torch.rand(4)
    shift = torch.arange(6).to(bias or torch.int32)
    y = check_compiled(
        lambda x, c, r, b: npu.npu_dequant_bias(
            x, c, r, None if bias is None else b, output_dtype=torch.bfloat16
        ),
        x,
        columns,
        rows,
        shift,
    )
    before = shift if bias is torch.int32 else 0
    after = 0 if bias in (None, torch.int32) else shift.double()
    expected = (x.double() + before) * columns.double() * rows.double()[:, None] + after
    torch.testing.assert_close(y.double(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("dst", [291, torch.float8_e4m3fn])
def test_quant_max(dtype: torch.dtype, dst: Any) -> None:
    x, scale = torch.randn(4, 16, 8, dtype=dtype), torch.tensor([2.0])
    y, amax = check_compiled(lambda x, s: npu.npu_quant_max(x, s, dst_dtype=dst), x, scale)
    assert torch.equal(y.float(), (x.float() * 2).to(y.dtype).float())
    assert amax.shape == (1,) and amax.item() == x.abs().max().item()


def test_quant_max_of_groups() -> None:
    x, scale = torch.randn(5, 3).half(), torch.tensor([1.0, 2.0, 4.0])
    ends = torch.tensor([2, 2, 5])
    y, amax = check_compiled(lambda x, s, g: npu.npu_quant_max(x, s, group_list=g), x, scale, ends)
    rows = torch.tensor([1.0, 1.0, 4.0, 4.0, 4.0])[:, None]
    assert torch.equal(y.float(), (x.float() * rows).to(torch.float8_e5m2).float())
    assert amax.tolist() == [x[:2].abs().max().item(), 0.0, x[2:].abs().max().item()]


@pytest.mark.parametrize(
    ("shape", "dtype", "target"),
    [
        ((2, 2), torch.float32, torch.bool),
        ((16,), torch.float16, torch.int32),
        ((8,), torch.float32, torch.float16),
        ((4, 6), torch.float16, torch.float32),
        ((2, 1, 3, 4), torch.float16, torch.float16),
    ],
)
def test_dtype_cast(shape: tuple[int, ...], dtype: torch.dtype, target: torch.dtype) -> None:
    x = torch.randn(shape).to(dtype) * 5
    results = check_compiled(
        lambda x: [
            npu.npu_dtype_cast(x, target),
            npu._npu_dtype_cast(x, target),
            npu.npu_dtype_cast_backward(x, target),
            npu._npu_dtype_cast_backward(x, target),
        ],
        x,
    )
    assert all(torch.equal(result, x.to(target)) for result in results)


E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("number", "levels"), [(296, E2M1), (297, [k / 4 for k in range(8)]), (285, None)]
)
def test_dtype_cast_to_four_bits_and_back(number: int, levels: list[float] | None) -> None:
    x = torch.linspace(-9, 9, 64).reshape(4, 16)
    y = check_compiled(lambda x: npu.npu_dtype_cast(x, number), x)
    assert y.dtype is torch.uint8 and y.shape == (4, 8)
    if levels is None:
        assert torch.equal(int4_values(y, 8).float(), x.round().clamp(-8, 7))
        return
    back = check_compiled(lambda y: npu.npu_dtype_cast(y, torch.float32, number), y)
    signed = torch.tensor([*levels, *[-v for v in levels]])
    nearest = (x.unsqueeze(-1) - signed).abs().amin(-1)
    torch.testing.assert_close((back - x).abs(), nearest)


def test_dtype_cast_gradient() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    for cast in (npu.npu_dtype_cast, npu._npu_dtype_cast):
        (grad,) = torch.autograd.grad(cast(x, torch.float16).float().square().sum(), x)
        assert grad.dtype is torch.float32
        torch.testing.assert_close(grad, 2 * x.detach(), rtol=1e-2, atol=1e-2)
