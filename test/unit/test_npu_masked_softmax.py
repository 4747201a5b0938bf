"""npu softmax under a mask: against PyTorch's own operators, eager and compiled."""

from __future__ import annotations

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

from torchair.errors import TorchairError

npu = torch.ops.npu
HALVES = [torch.float16, torch.bfloat16]


def scores(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.rand(2, 1, 32, 64) > 0.5
    hidden[1, 0, 5] = True
    return torch.randn(2, 3, 32, 64).to(dtype), hidden


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("is_triangle", [False, True])
def test_softmax(dtype: torch.dtype, is_triangle: bool) -> None:
    x, hidden = scores(dtype)
    found = check_compiled(
        lambda x, m: npu.npu_scaled_masked_softmax(x, m, 0.5, is_triangle), x, hidden
    )
    if is_triangle:
        hidden = torch.ones(32, 64, dtype=torch.bool).triu(1)
    expected = torch.softmax((x.double() * 0.5).masked_fill(hidden, -10000.0), -1)
    assert found.dtype == dtype
    limit = 1e-3 if dtype is torch.float16 else 8e-3
    torch.testing.assert_close(found.double(), expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("is_triangle", [False, True])
def test_gradient(dtype: torch.dtype, is_triangle: bool) -> None:
    x, hidden = scores(dtype)
    shown = torch.ones(32, 64, dtype=torch.bool).tril() if is_triangle else ~hidden
    wide = x.double().requires_grad_()
    y = torch.softmax((wide * 0.5).masked_fill(~shown, -10000.0), -1)
    grad = torch.randn_like(y).to(dtype)
    y.backward(grad.double())
    found = check_compiled(
        lambda g, y, m: npu.npu_scaled_masked_softmax_backward(g, y, m, 0.5, is_triangle),
        grad,
        y.detach().to(dtype),
        hidden,
    )
    torch.testing.assert_close(found.double(), wide.grad, rtol=2e-2, atol=4e-3)


def test_float32_is_refused() -> None:
    x, hidden = scores(torch.float32)
    with pytest.raises(TorchairError, match="float16 and bfloat16 only"):
        npu.npu_scaled_masked_softmax(x, hidden)
