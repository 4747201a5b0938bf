"""npu rotary embedding against element-wise loops in float64, eager and compiled; gradients."""

from __future__ import annotations

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
DTYPES = list(TOLERANCE)
MODES = ["half", "interleave", "quarter", "interleave-half"]


def turn_matrix(mode: str, size: int) -> tuple[Tensor, Tensor]:
    """The order matrix and the turn matrix: ``y = (x @ order) * cos + (x @ turn) * sin``."""
    order, turn = torch.eye(size).double(), torch.zeros(size, size).double()
    half = size // 2
    for i in range(half):
        first, second = {
            "half": (i, half + i),
            "interleave": (2 * i, 2 * i + 1),
            "quarter": (i + (i // (half // 2 or 1)) * (half // 2), 0),
            "interleave-half": (2 * i, 2 * i + 1),
        }[mode]
        if mode == "quarter":
            second = first + half // 2
        place = (i, half + i) if mode == "interleave-half" else (first, second)
        turn[second, place[0]], turn[first, place[1]] = -1, 1
    if mode == "interleave-half":
        order = torch.zeros(size, size).double()
        for i in range(half):
            order[2 * i, i] = order[2 * i + 1, half + i] = 1
    return order, turn


def reference(x: Tensor, cos: Tensor, sin: Tensor, mode: str = "half") -> Tensor:
    order, turn = turn_matrix(mode, x.shape[-1])
    x = x.double()
    return x @ order * cos.double() + x @ turn * sin.double()


def close(found: Tensor, expected: Tensor) -> None:
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected.double(), rtol=limit, atol=limit)


def arguments(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(2, 3, 5, 8, dtype=dtype)
    angle = torch.randn(1, 3, 1, 8)
    return x, angle.cos().to(dtype), angle.sin().to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_rotary_mul(dtype: torch.dtype, mode: str) -> None:
    x, cos, sin = arguments(dtype)
    y = check_compiled(lambda x, c, s: npu.npu_rotary_mul(x, c, s, mode), x, cos, sin)
    close(y, reference(x, cos, sin, mode))


def test_rotary_mul_with_a_matrix() -> None:
    x, cos, sin = arguments()
    matrix = turn_matrix("interleave", 8)[1].float()
    y = check_compiled(
        lambda x, c, s, m: npu.npu_rotary_mul(x, c, s, "interleave", m), x, cos, sin, matrix
    )
    close(y, reference(x, cos, sin, "interleave"))


@pytest.mark.parametrize("mode", MODES)
def test_rotary_mul_gradient(mode: str) -> None:
    leaves = [t.requires_grad_() for t in arguments()]
    expected = torch.autograd.grad(reference(*leaves, mode).square().sum(), leaves)
    found = torch.autograd.grad(npu.npu_rotary_mul(*leaves, mode).square().sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rotary_mul_backward_compiles(mode: str, dtype: torch.dtype) -> None:
    x, cos, sin = arguments(dtype)
    dy = torch.randn_like(x)
    grads = check_compiled(
        lambda *inputs: npu.npu_rotary_mul_backward(*inputs, mode), dy, x, cos, sin
    )
    assert [g.shape for g in grads] == [x.shape, cos.shape, sin.shape]


def test_unknown_mode_and_gradient_of_a_matrix_are_refused() -> None:
    x, cos, sin = arguments()
    with pytest.raises(Exception, match="no such mode"):
        npu.npu_rotary_mul(x, cos, sin, "third")
    with pytest.raises(Exception, match="no gradient when rotate is given"):
        npu.npu_rotary_mul(x.requires_grad_(), cos, sin, "half", torch.eye(8))
