"""npu RMS normalisation with quantisation: formulas in float64, eager and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from npu_quantization_reference import dynamic_reference, int4_values, near
from torch import Tensor

npu = torch.ops.npu
HALVES = [torch.float16, torch.bfloat16]


def formula(x: Tensor, gamma: Tensor, beta: Tensor | None = None) -> Tensor:
    wide = x.double()
    y = wide / torch.sqrt(wide.square().mean(-1, keepdim=True) + 1e-6) * gamma.double()
    return y if beta is None else y + beta.double()


def rounded(values: Tensor) -> Tensor:
    return values.round().clamp(-128, 127)


def inputs(dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(s, dtype=dtype) for s in ((3, 4, 16), (3, 4, 16), (16,), (16,))]


@pytest.mark.parametrize("dtype", HALVES)
def test_rms_norm_quant(dtype: torch.dtype) -> None:
    x, _, gamma, beta = inputs(dtype)
    scale, offset = torch.tensor([20.0], dtype=dtype), torch.tensor([3], dtype=torch.int8)
    y = check_compiled(npu.npu_rms_norm_quant, x, gamma, beta, scale, offset)
    near(y, rounded(formula(x, gamma, beta) * 20 + 3))
    packed = check_compiled(
        lambda *a: npu.npu_rms_norm_quant(*a, dst_dtype=torch.quint4x2),
        x,
        gamma.reshape(1, 16),
        beta.reshape(1, 16),
        torch.tensor([2.0], dtype=dtype),
        offset,
    )
    near(int4_values(packed), (formula(x, gamma, beta) * 2 + 3).round().clamp(-8, 7))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("div_mode", [True, False])
def test_add_rms_norm_quant(dtype: torch.dtype, div_mode: bool) -> None:
    x1, x2, gamma, beta = inputs(dtype)
    scales, points = torch.rand(16) + 0.5, torch.randint(-10, 10, (16,), dtype=torch.int32)
    y1, y2, total = check_compiled(
        lambda x1, x2, g, s, p, b: npu.npu_add_rms_norm_quant(
            x1, x2, g, s, p, b, s, None, div_mode=div_mode
        ),
        x1,
        x2,
        gamma,
        scales,
        points,
        beta,
    )
    y = formula(total, gamma, beta)
    scaled = y / scales.double() if div_mode else y * scales.double()
    assert torch.equal(total, x1 + x2)
    near(y1, rounded(scaled + points))
    near(y2, rounded(scaled))
    _, unused, _ = check_compiled(
        lambda *a: npu.npu_add_rms_norm_quant(*a, None), x1, x2, gamma, scales
    )
    assert unused.dtype is torch.int8 and unused.shape == x1.shape


@pytest.mark.parametrize(
    ("dtype", "mask", "smooth"),
    [
        (torch.float16, None, 0),
        (torch.bfloat16, None, 2),
        (torch.float16, [True, True], 1),
        (torch.bfloat16, [True, False], 1),
        (torch.float16, [False, True], 2),
    ],
)
def test_add_rms_norm_dynamic_quant(dtype: torch.dtype, mask: Any, smooth: int) -> None:
    x1, x2, gamma, beta = inputs(dtype)
    factors = [torch.rand(16, dtype=dtype) + 0.5 for _ in range(smooth)]

    def call(x1: Tensor, x2: Tensor, gamma: Tensor, beta: Tensor, *factors: Tensor) -> Any:
        named = {f"smooth_scale{i + 1}": f for i, f in enumerate(factors)}
        return npu.npu_add_rms_norm_dynamic_quant(
            x1, x2, gamma, beta=beta, output_mask=mask, **named
        )

    y1, y2, total, scale1, scale2 = check_compiled(call, x1, x2, gamma, beta, *factors)
    assert torch.equal(total, x1 + x2)
    wanted = mask or [True, smooth == 2]
    y = formula(total, gamma, beta)
    for i, (found, scale) in enumerate(((y1, scale1), (y2, scale2))):
        if not wanted[i]:
            assert found.shape == scale.shape == (0,)
            continue
        expected, scales = dynamic_reference(y * factors[i].double() if i < smooth else y)
        near(found, expected)
        torch.testing.assert_close(scale.double(), scales.double(), rtol=1e-4, atol=0)


def test_add_rms_norm_dynamic_quant_to_int4_and_its_errors() -> None:
    x1, x2, gamma, _ = inputs(torch.float16)
    y1, _, total, _, _ = check_compiled(
        lambda *a: npu.npu_add_rms_norm_dynamic_quant(*a, y_dtype=torch.quint4x2), x1, x2, gamma
    )
    near(int4_values(y1), dynamic_reference(formula(total, gamma), 7.0)[0])
    with pytest.raises(Exception, match="wants no output"):
        npu.npu_add_rms_norm_dynamic_quant(x1, x2, gamma, output_mask=[False, False])


def test_rms_norm_backward_quant() -> None:
    x, dy, gamma, _ = inputs(torch.float32)
    scale = torch.full((16,), 0.02)
    rstd = npu.npu_rms_norm(x, gamma)[1]
    dx, dgamma = npu.npu_rms_norm_backward(dy, x, gamma, rstd)
    found = check_compiled(npu._npu_rms_norm_backward_quant, dy, x, rstd, gamma, scale)
    near(found[0], rounded(dx.double() / 0.02))
    assert torch.equal(found[1], dgamma)
