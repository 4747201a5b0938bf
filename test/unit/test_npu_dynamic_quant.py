"""npu dynamic quantisation against loops over numbers, eager and compiled, static and dynamic."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from npu_quantization_reference import clamp_round, dynamic_reference, int4_values, near

from torchair.errors import TorchairError

npu = torch.ops.npu
INT4 = torch.quint4x2
HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", [(4, 64), (2, 3, 16), (1, 1)])
def test_dynamic_quant(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=dtype)
    x[0] = 0
    y, scale = check_compiled(npu.npu_dynamic_quant, x)
    expected, scales = dynamic_reference(x)
    near(y, expected)
    assert y.dtype is torch.int8
    torch.testing.assert_close(scale, scales, rtol=1e-5, atol=0, check_dtype=False)


def test_dynamic_quant_to_int4_and_float8() -> None:
    x = torch.randn(3, 4, 16, dtype=torch.bfloat16)
    y, scale = check_compiled(lambda x: npu.npu_dynamic_quant(x, dst_type=INT4), x)
    expected, scales = dynamic_reference(x, 7.0)
    near(int4_values(y), expected)
    torch.testing.assert_close(scale, scales, rtol=1e-5, atol=0, check_dtype=False)
    y, scale = check_compiled(lambda x: npu.npu_dynamic_quant(x, dst_type=torch.float8_e4m3fn), x)
    assert y.dtype is torch.float8_e4m3fn
    torch.testing.assert_close(
        y.float() * scale.unsqueeze(-1), x.float(), rtol=0.07, atol=0.01, check_dtype=False
    )


def test_dynamic_quant_of_groups() -> None:
    x, smooth = torch.randn(5, 8).half(), torch.rand(3, 8).half() + 0.5
    ends = torch.tensor([2, 2, 5], dtype=torch.int32)
    y, scale = check_compiled(
        lambda x, s, g: npu.npu_dynamic_quant(x, smooth_scales=s, group_index=g), x, smooth, ends
    )
    group = [0, 0, 2, 2, 2]
    expected, scales = dynamic_reference(x.float() * smooth[group].float())
    near(y, expected)
    torch.testing.assert_close(scale, scales, rtol=1e-5, atol=0, check_dtype=False)
    one = check_compiled(
        lambda x, s: npu.npu_dynamic_quant(x, smooth_scales=s), x, smooth[0].clone()
    )
    near(one[0], dynamic_reference(x.float() * smooth[0].float())[0])


@pytest.mark.parametrize(("mode", "shape"), [("pertensor", (1,)), ("perchannel", (2, 6))])
def test_dynamic_quant_modes(mode: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(2, 5, 6).half()
    y, scale = check_compiled(lambda x: npu.npu_dynamic_quant(x, quant_mode=mode), x)
    assert scale.shape == shape
    wide = scale.unsqueeze(-2) if mode == "perchannel" else scale
    torch.testing.assert_close(y.float() * wide, x.float(), rtol=0, atol=wide.max().item() * 0.51)
    with pytest.raises(TorchairError, match="no such quant_mode"):
        npu.npu_dynamic_quant(x, quant_mode="perplanet")


@pytest.mark.parametrize("dtype", HALVES)
def test_dynamic_quant_asymmetric(dtype: torch.dtype) -> None:
    x = torch.rand(4, 8, dtype=dtype) * 3 + 1
    y, scale, offset = check_compiled(npu.npu_dynamic_quant_asymmetric, x)
    for row in range(4):
        values = x[row].double().tolist()
        step = (max(values) - min(values)) / 255
        shift = 127 - max(values) / step
        assert math.isclose(scale[row], step, rel_tol=1e-5)
        assert math.isclose(offset[row], shift, rel_tol=1e-4)
        expected = torch.tensor([clamp_round(v / step + shift) for v in values])
        assert (y[row].long() - expected).abs().max() <= 1
    packed, _, _ = check_compiled(lambda x: npu.npu_dynamic_quant_asymmetric(x, dst_type=INT4), x)
    assert int4_values(packed).amin() == -8 and int4_values(packed).amax() == 7


@pytest.mark.parametrize("dst", [None, INT4])
def test_rotate_quant(dst: Any) -> None:
    x, rotation = torch.randn(6, 32).half(), torch.randn(8, 8).half()
    y, scale = check_compiled(lambda x, r: npu.npu_rotate_quant(x, r, dst_dtype=dst), x, rotation)
    turned = torch.cat([part.double() @ rotation.double() for part in x.split(8, 1)], 1)
    expected, scales = dynamic_reference(turned, 127.0 if dst is None else 7.0)
    near(y if dst is None else int4_values(y), expected)
    torch.testing.assert_close(scale, scales, rtol=1e-4, atol=0, check_dtype=False)


def test_kronecker_quant() -> None:
    x, left, right = (torch.randn(s).half() for s in ((4, 3, 16), (3, 3), (16, 16)))
    y, scale = check_compiled(lambda *a: npu.npu_kronecker_quant(*a, 0.8), x, left, right)
    assert y.shape == (4, 3, 2) and scale.shape == (4,)
    for k in range(4):
        product = left.double() @ x[k].double() @ right.double()
        step = product.abs().max() / 7 * 0.8
        assert math.isclose(scale[k], step, rel_tol=1e-4)
        near(int4_values(y[k]), (product / step).round().clamp(-8, 7))
