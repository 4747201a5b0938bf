"""npu activation functions against their formulas in float64, eager and compiled; gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor
from torch.nn import functional

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
DTYPES = list(TOLERANCE)


def gelu_reference(x: Tensor, approximate: str = "none") -> Tensor:
    x = x.double()
    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def fast_gelu_reference(x: Tensor) -> Tensor:
    x = x.double()
    return x / (1 + torch.exp(-1.702 * x))


def silu_reference(x: Tensor) -> Tensor:
    x = x.double()
    return x / (1 + torch.exp(-x))


def swiglu_reference(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.double().chunk(2, dim)
    return a / (1 + torch.exp(-a)) * b


def close(found: Tensor, expected: Tensor) -> None:
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected.double(), rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "dim"), [((2, 2), -1), ((3, 4, 6), 1), ((4, 1), 0), ((8,), 0)])
def test_swiglu(dtype: torch.dtype, shape: tuple[int, ...], dim: int) -> None:
    x = torch.randn(shape, dtype=dtype)
    close(check_compiled(lambda x: npu.npu_swiglu(x, dim), x), swiglu_reference(x, dim))


def test_swiglu_of_odd_size_is_refused() -> None:
    with pytest.raises(Exception, match="cannot be halved"):
        npu.npu_swiglu(torch.randn(2, 3))


GRADIENTS: list[tuple[str, Callable[..., Any], Callable[..., Tensor]]] = [
    ("swiglu", npu.npu_swiglu, swiglu_reference),
    ("gelu", npu.npu_gelu, gelu_reference),
    (
        "gelu tanh",
        lambda x: npu.npu_gelu(x, approximate="tanh"),
        lambda x: gelu_reference(x, "tanh"),
    ),
    ("npu_fast_gelu", npu.npu_fast_gelu, fast_gelu_reference),
    ("fast_gelu", npu.fast_gelu, fast_gelu_reference),
    ("silu", npu.npu_silu, silu_reference),
    ("mish", npu.npu_mish, lambda x: x.double() * torch.tanh(torch.log1p(torch.exp(x.double())))),
    (
        "geglu",
        lambda x: npu.npu_geglu(x, -1, 0)[0],
        lambda x: x.chunk(2, -1)[0].double() * gelu_reference(x.chunk(2, -1)[1]),
    ),
    (
        "geglu left",
        lambda x: npu.npu_geglu(x, -1, 1, True)[0],
        lambda x: x.chunk(2, -1)[1].double() * gelu_reference(x.chunk(2, -1)[0], "tanh"),
    ),
]


@pytest.mark.parametrize(
    ("function", "reference"), [row[1:] for row in GRADIENTS], ids=[row[0] for row in GRADIENTS]
)
def test_forward_and_gradient(
    function: Callable[..., Any], reference: Callable[..., Tensor]
) -> None:
    x = torch.randn(3, 4, 8)
    close(check_compiled(function, x), reference(x))
    x.requires_grad_()
    (expected,) = torch.autograd.grad(reference(x).square().sum(), x)
    (found,) = torch.autograd.grad(function(x).square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(dtype: torch.dtype, approximate: str) -> None:
    x = torch.randn(4, 8, dtype=dtype)
    close(
        check_compiled(lambda x: npu.npu_gelu(x, approximate=approximate), x),
        gelu_reference(x, approximate),
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_operators_compile(dtype: torch.dtype) -> None:
    x, dy, half = (torch.randn(shape, dtype=dtype) for shape in ((4, 8), (4, 8), (4, 4)))

    def backward(x: Tensor, dy: Tensor, half: Tensor) -> list[Tensor]:
        _, gelu = npu.npu_geglu(x)
        return [
            npu.npu_swiglu_backward(half, x),
            npu.npu_gelu_backward(dy, x, approximate="tanh"),
            npu.npu_fast_gelu_backward(dy, x),
            npu.npu_silu_backward(dy, x, npu.npu_silu(x)),
            npu.npu_mish_backward(dy, x),
            npu.npu_geglu_grad(half, x, gelu),
        ]

    assert all(g.dtype is dtype for g in check_compiled(backward, x, dy, half))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("approximate", [0, 1])
def test_geglu(dtype: torch.dtype, approximate: int) -> None:
    x = torch.randn(2, 6, 5, dtype=dtype)
    y, gelu = check_compiled(lambda x: npu.npu_geglu(x, 1, approximate), x)
    left, right = x.chunk(2, 1)
    expected = gelu_reference(right, ("none", "tanh")[approximate])
    close(gelu, expected)
    close(y, left.double() * expected)


def test_gelu_mul() -> None:
    x = torch.randn(5, 8, dtype=torch.float16)
    y = check_compiled(npu.npu_gelu_mul, x)
    close(y, gelu_reference(x[:, :4]) * x[:, 4:].double())


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipped_swiglu(dtype: torch.dtype) -> None:
    x = torch.randint(-10, 10, (6, 8)).to(dtype)
    y = check_compiled(npu.npu_clipped_swiglu, x)
    for row in range(6):
        for column in range(4):
            a = torch.tensor(min(x[row, 2 * column].item(), 7.0), dtype=torch.float64)
            b = max(min(x[row, 2 * column + 1].item(), 7.0), -7.0)
            close(y[row, column], a / (1 + torch.exp(-1.702 * a)) * (b + 1))


def test_clipped_swiglu_of_groups_and_middle_dim() -> None:
    x, groups = torch.randn(3, 4, 2) * 9, torch.tensor([1, 1])
    y = check_compiled(
        lambda x, g: npu.npu_clipped_swiglu(
            x, group_index=g, dim=1, alpha=1.5, limit=5.0, bias=0.5, interleaved=False
        ),
        x,
        groups,
    )
    a, b = x[:2].double().chunk(2, 1)
    a, b = a.clamp(max=5), b.clamp(-5, 5)
    close(y[:2], a / (1 + torch.exp(-1.5 * a)) * (b + 0.5))


def test_fast_gelu_is_not_the_tanh_gelu() -> None:
    x = torch.linspace(-4, 4, 33)
    assert not torch.allclose(npu.fast_gelu(x), functional.gelu(x, approximate="tanh"), atol=1e-3)
    close(npu.fast_gelu(x), fast_gelu_reference(x))
