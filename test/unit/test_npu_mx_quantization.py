"""npu microscaling formats against loops over blocks, eager and compiled, static and dynamic."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

from torchair.errors import TorchairError

npu = torch.ops.npu

E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
E1M2 = [k / 4 for k in range(8)]
EXPONENT = {296: 2, 297: 0, 291: 15, 292: 8}
FLOAT8 = {291: torch.float8_e5m2, 292: torch.float8_e4m3fn, 23: torch.float8_e5m2}


def codes_of(y: Tensor) -> Tensor:
    """Four-bit codes of packed bytes, lowest first."""
    return torch.stack((y & 15, y >> 4), -1).flatten(-2)


def values_of(y: Tensor, number: int) -> Tensor:
    """Numbers of a result in float64."""
    if number in FLOAT8:
        return y.double()
    levels = E2M1 if number == 296 else E1M2
    table = torch.tensor([*levels, *[-v for v in levels]], dtype=torch.float64)
    return table[codes_of(y).long()]


def nearest(value: float, number: int) -> float:
    """A value rounded to a type: nearest, ties to the even code."""
    if number in FLOAT8:
        top = torch.finfo(FLOAT8[number]).max
        return torch.tensor(max(-top, min(top, value))).to(FLOAT8[number]).double().item()
    levels = E2M1 if number == 296 else E1M2
    size = abs(value)
    code = min(range(8), key=lambda c: (abs(levels[c] - size), c % 2))
    return math.copysign(levels[code], value)


def shared_exponent(block: list[float], number: int) -> int:
    top = max(abs(v) for v in block)
    return -127 if top == 0 else max(math.floor(math.log2(top)) - EXPONENT[number], -127)


def reference(
    rows: list[list[float]], number: int, size: int = 32
) -> tuple[list[list[float]], list[list[int]]]:
    """Rounded numbers and exponents plus 127 of rows, blocks padded to an even number."""
    numbers: list[list[float]] = []
    codes: list[list[int]] = []
    for row in rows:
        out: list[float] = []
        row_codes: list[int] = []
        for start in range(0, len(row), size):
            block = row[start : start + size]
            exponent = shared_exponent(block, number)
            out += [nearest(v / 2.0**exponent, number) for v in block]
            row_codes.append(exponent + 127)
        numbers.append(out)
        codes.append(row_codes + [0] * (len(row_codes) % 2))
    return numbers, codes


def check(y: Tensor, scale: Tensor, x: Tensor, number: int, size: int = 32) -> None:
    """Compare a result along the last axis with the reference."""
    numbers, codes = reference(x.double().flatten(0, -2).tolist(), number, size)
    found = values_of(y, number).flatten(0, -2)
    torch.testing.assert_close(found, torch.tensor(numbers, dtype=torch.float64))
    assert scale.dtype is torch.uint8 and scale.shape[-1] == 2
    assert scale.reshape(len(codes), -1).tolist() == codes


@pytest.mark.parametrize(
    ("dtype", "number", "shape"),
    [
        (torch.float16, 296, (8, 256)),
        (torch.bfloat16, 296, (2, 3, 40)),
        (torch.bfloat16, 297, (8, 256)),
        (torch.float16, 291, (2, 3, 40)),
        (torch.bfloat16, 292, (4, 64)),
        (torch.float32, 292, (1, 4)),
    ],
)
def test_dynamic_mx_quant(dtype: torch.dtype, number: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=dtype) * torch.tensor([0.01, 1.0, 300.0, 4.0]).to(dtype).repeat(
        shape[-1] // 4
    )
    x[0] = 0
    y, scale = check_compiled(lambda x: npu.npu_dynamic_mx_quant(x, dst_type=number), x)
    check(y, scale, x, number)


def test_dynamic_mx_quant_along_other_axes_and_in_larger_blocks() -> None:
    x = torch.randn(70, 6).half()
    y, scale = check_compiled(lambda x: npu.npu_dynamic_mx_quant(x, axis=0, dst_type=292), x)
    assert y.shape == x.shape and scale.shape == (2, 6, 2)
    check(y.t(), scale.movedim(0, 1), x.t(), 292)
    x = torch.randn(4, 100).half()
    y, scale = check_compiled(lambda x: npu.npu_dynamic_mx_quant(x, block_size=64), x)
    check(y, scale, x, 296, 64)
    with pytest.raises(TorchairError, match="cannot make such blocks"):
        npu.npu_dynamic_mx_quant(x, block_size=33)
    with pytest.raises(TorchairError, match="only the default of 'dst_type_max'"):
        npu.npu_dynamic_mx_quant(x, dst_type_max=6.0)
    with pytest.raises(TorchairError, match="does not quantise blocks so"):
        npu.npu_dynamic_mx_quant(x, scale_alg=2)


@pytest.mark.parametrize(("mode", "step"), [("floor", math.floor), ("round", None)])
def test_dynamic_mx_quant_round_modes(mode: str, step: Any) -> None:
    x = torch.tensor([[6.0, 0.25, -0.25, 0.75, -0.75, 2.5, -2.5, 3.5, -3.5, 5.0, -5.0, 1.0]])
    y, _ = check_compiled(lambda x: npu.npu_dynamic_mx_quant(x, round_mode=mode), x.half())
    found = values_of(y, 296).flatten().tolist()
    up = [6.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 4.0, -4.0, 6.0, -6.0, 1.0]
    down = [6.0, 0.0, -0.5, 0.5, -1.0, 2.0, -3.0, 3.0, -4.0, 4.0, -6.0, 1.0]
    assert found == (down if step else up)


def test_scales_rounded_up() -> None:
    x = torch.tensor([[448.0, 449.0, 0.5, 900.0]]).repeat_interleave(32, 1)
    y, scale = check_compiled(
        lambda x: npu.npu_dynamic_mx_quant(x, dst_type=292, scale_alg=1), x.bfloat16()
    )
    exponents = [math.ceil(math.log2(v / 448)) for v in x.bfloat16()[0, ::32].tolist()]
    assert scale.flatten().tolist() == [e + 127 for e in exponents]
    wanted = [nearest(v / 2.0 ** exponents[i // 32], 292) for i, v in enumerate(x[0].tolist())]
    assert y.flatten().double().tolist() == wanted


@pytest.mark.parametrize("number", [296, 297, 291, 292])
def test_there_and_back(number: int) -> None:
    x = torch.randn(5, 96).bfloat16()
    y, scale = npu.npu_dynamic_mx_quant(x, dst_type=number)
    back = check_compiled(
        lambda y, s: npu.npu_anti_mx_quant(y, s, dst_type=torch.float32, src_type=number), y, scale
    )
    numbers, codes = reference(x.double().tolist(), number)
    factors = 2.0 ** (torch.tensor(codes).double() - 127)
    expected = torch.tensor(numbers) * factors.repeat_interleave(32, 1)[:, :96]
    torch.testing.assert_close(back.double(), expected)
    if number == 292:
        exponents = scale.view(torch.float8_e8m0fnu)
        again = check_compiled(lambda y, s: npu.npu_anti_mx_quant(y, s), y, exponents)
        torch.testing.assert_close(again.double(), expected, rtol=1e-2, atol=0)


def test_dual_axis() -> None:
    x = torch.randn(2, 40, 36).half()
    y1, s1, y2, s2 = check_compiled(npu.npu_dynamic_mx_quant_with_dual_axis, x)
    check(y1, s1, x, 296)
    assert s2.shape == (2, 1, 36, 2)
    unpacked = values_of(y2, 296).transpose(1, 2)
    numbers, codes = reference(x.double().transpose(1, 2).flatten(0, 1).tolist(), 296)
    torch.testing.assert_close(unpacked.flatten(0, 1), torch.tensor(numbers, dtype=torch.float64))
    assert s2.transpose(1, 2).reshape(72, 2).tolist() == codes


def test_block_mx_quant() -> None:
    x = torch.randn(40, 70).half() * torch.linspace(0.1, 90, 70).half()
    y, s1, s2 = check_compiled(lambda x: npu.npu_dynamic_block_mx_quant(x, dst_type=292), x)
    assert s1.shape == (40, 2, 2) and s2.shape == (1, 70, 2)
    for top in range(0, 40, 32):
        for left in range(0, 70, 32):
            block = x[top : top + 32, left : left + 32].double()
            exponent = shared_exponent(block.flatten().tolist(), 292)
            found = y[top : top + 32, left : left + 32].double()
            wanted = [[nearest(v / 2.0**exponent, 292) for v in row] for row in block.tolist()]
            assert found.tolist() == wanted
            by_row = s1.reshape(40, 4)[top : top + 32, left // 32]
            by_column = s2[0, left : left + 32, top // 32]
            assert set(by_row.tolist()) | set(by_column.tolist()) == {exponent + 127}


def test_dual_level() -> None:
    x, smooth = torch.full((1, 512), 8.0).bfloat16(), torch.rand(600).half() + 0.5
    y, level0, level1 = check_compiled(npu.npu_dynamic_dual_level_mx_quant, x)
    assert (y == 0x77).all() and (level1 == 127).all() and level1.shape == (1, 8, 2)
    torch.testing.assert_close(level0, torch.tensor([[8 / 6]]))
    x = torch.randn(3, 600).half()
    y, level0, level1 = check_compiled(
        lambda x, s: npu.npu_dynamic_dual_level_mx_quant(x, smooth_scale=s), x, smooth
    )
    wide = x.float() * smooth.float()
    tops = torch.stack((wide[:, :512].abs().amax(1), wide[:, 512:].abs().amax(1)), 1)
    torch.testing.assert_close(level0, tops / 6)
    shared = wide / (tops / 6).repeat_interleave(512, 1)[:, :600]
    check(y, level1, shared, 296)


def test_grouped() -> None:
    x, ends = torch.randn(100, 4).half(), torch.tensor([10, 10, 75, 100], dtype=torch.int32)
    y, scale = check_compiled(
        lambda x, g: npu.npu_grouped_dynamic_mx_quant(x, g, dst_type=24), x, ends
    )
    assert scale.shape == (100 // 64 + 4, 4, 2)
    for group, (start, end) in enumerate([(0, 10), (10, 10), (10, 75), (75, 100)]):
        if start == end:
            continue
        numbers, codes = reference(x[start:end].t().double().tolist(), 292)
        assert y[start:end].t().double().tolist() == numbers
        first = start // 64 + group
        pairs = scale[first : first + (end - start + 63) // 64]
        assert pairs.movedim(0, 1).reshape(4, -1).tolist() == codes


@pytest.mark.parametrize("with_beta", [False, True])
def test_rms_norms(with_beta: bool) -> None:
    x1, x2, gamma, beta = (torch.randn(s).half() for s in ((4, 2, 64), (4, 2, 64), (64,), (64,)))
    y, total, scale, rstd = check_compiled(
        lambda a, b, g, e: npu.npu_add_rms_norm_dynamic_mx_quant(
            a, b, g, beta=e if with_beta else None
        ),
        x1,
        x2,
        gamma,
        beta,
    )
    assert torch.equal(total, x1 + x2) and rstd.shape == (4, 2, 1)
    plain = check_compiled(
        lambda t, g, e: npu.npu_rms_norm_dynamic_mx_quant(t, g, beta=e if with_beta else None),
        total,
        gamma,
        beta,
    )
    assert torch.equal(plain[0], y) and torch.equal(plain[1], scale)
    wide = total.float()
    normal = gamma.float() * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6))
    check(y, scale, normal + beta.float() if with_beta else normal, 296)
    with pytest.raises(TorchairError, match="multiple of 2"):
        npu.npu_rms_norm_dynamic_mx_quant(torch.randn(4, 3).half(), torch.randn(3).half())
