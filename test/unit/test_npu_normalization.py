"""npu RMS normalisation: against the formula in float64, eager and compiled, static and dynamic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def formula(x: Tensor, gamma: Tensor, epsilon: float) -> Tensor:
    wide = x.double()
    return wide / torch.sqrt(wide.square().mean(-1, keepdim=True) + epsilon) * gamma.double()


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("shape", [(4, 8), (2, 3, 16), (1, 1)])
def test_rms_norm(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x, gamma = torch.randn(shape, dtype=dtype), torch.randn(shape[-1], dtype=dtype)
    y, rstd = check_compiled(lambda x, g: npu.npu_rms_norm(x, g, 1e-5), x, gamma)
    limit = TOLERANCE[dtype]
    torch.testing.assert_close(y.double(), formula(x, gamma, 1e-5), rtol=limit, atol=limit)
    assert rstd.shape == (*shape[:-1], 1) and rstd.dtype == torch.float32


def test_rms_norm_over_two_dims() -> None:
    x, gamma = torch.randn(3, 4, 5), torch.randn(4, 5)
    y, rstd = check_compiled(npu.npu_rms_norm, x, gamma)
    expected = formula(x.flatten(1), gamma.flatten(), 1e-6).view(3, 4, 5)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    assert rstd.shape == (3, 1, 1)


def test_rms_norm_gradient() -> None:
    x = torch.randn(4, 8, dtype=torch.float32, requires_grad=True)
    gamma = torch.randn(8, requires_grad=True)
    expected = torch.autograd.grad(formula(x, gamma, 1e-6).square().sum(), (x, gamma))
    found = torch.autograd.grad(npu.npu_rms_norm(x, gamma)[0].square().sum(), (x, gamma))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_add_rms_norm(dtype: torch.dtype) -> None:
    arguments: Any = [torch.randn(2, 6, 8, dtype=dtype), torch.randn(2, 6, 8, dtype=dtype)]
    gamma = torch.randn(8, dtype=dtype)
    y, _, total = check_compiled(npu.npu_add_rms_norm, *arguments, gamma)
    assert torch.equal(total, arguments[0] + arguments[1])
    assert torch.equal(y, npu.npu_rms_norm(total, gamma)[0])
