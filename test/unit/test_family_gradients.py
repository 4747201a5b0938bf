"""Gradients of operators whose backward pass is an operator of its own, against eager."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from family_check import check_gradients, compare
from test_family_coverage import has_a_way, overload
from torch import Tensor, nn
from torch.nn import functional

import torchair


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pooled(name: str, size: int, *out: int) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        samples = torch.full((2, 3, x.dim() - 2), 0.4)
        return getattr(functional, name)(x, size, output_size=out, _random_samples=samples)

    return function


LABELS = torch.tensor([[3, 0, -1, 1], [1, 2, 3, 0], [-1, 2, 2, 1]])
MASK = values(3, 4, seed=2) > 0
CASES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    **{
        f"cdist {p}": (lambda x, y, p=p: torch.cdist(x, y, p), (values(2, 4, 3), values(5, 3)))
        for p in (0.0, 1.0, 1.5, 2.0, 3.0, float("inf"))
    },
    "cdist to itself": (lambda x: torch.cdist(x, x), (values(4, 3),)),
    **{
        f"pdist {p}": (lambda x, p=p: functional.pdist(x, p), (values(5, 3),)) for p in (1.0, 2.0)
    },
    "fractional 2d": (pooled("fractional_max_pool2d", 2, 3, 4), (values(2, 3, 7, 9),)),
    "fractional 3d": (pooled("fractional_max_pool3d", 2, 2, 3, 3), (values(2, 3, 5, 7, 6),)),
    "adaptive 3d": (lambda x: functional.adaptive_max_pool3d(x, 2), (values(2, 3, 5, 4, 6),)),
    "multi margin": (
        lambda x: functional.multi_margin_loss(x, LABELS[1, :3]), (values(3, 4),)
    ),
    "multi margin squared": (
        lambda x, w: functional.multi_margin_loss(
            x, LABELS[1, :3], p=2, weight=w.detach(), reduction="none"
        ).mean() + w.sum(),
        (values(3, 4), values(4).abs()),
    ),
    "multi margin of one": (
        lambda x: functional.multi_margin_loss(x, LABELS[1, 0], margin=0.5), (values(4),)
    ),
    "masked_scatter": (
        lambda x, y: x.masked_scatter(MASK, y), (values(3, 4), values(14))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    function, inputs = CASES[name]
    check_gradients(function, *inputs, exact=False)


@pytest.mark.parametrize("name", ["cdist 2.0", "multi margin", "masked_scatter"])
def test_symbolic_sizes(name: str) -> None:
    function, inputs = CASES[name]
    check_gradients(function, *inputs, dynamic=True, exact=False)


@pytest.mark.parametrize("dim", [0, 2])
def test_gradient_of_weight_norm(dim: int) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    module = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3), dim=dim)
    other: Any = copy.deepcopy(module)
    compiled = torch.compile(module, backend=torchair.get_npu_backend(), fullgraph=True)
    for call in (compiled, other):
        call(values(2, 4, 8)).sin().sum().backward()
    found = [p.grad for p in module.parameters()]
    compare(found, [p.grad for p in other.parameters()], exact=False)


@pytest.mark.parametrize("shape", [(2, 8, 32), (6, 8)])
def test_gradient_of_batch_norm_of_columns(shape: tuple[int, ...]) -> None:
    """The input and the gradient lie in memory in different orders."""
    scale = torch.linspace(1, 2, 8)

    def function(x: Tensor, w: Tensor) -> Tensor:
        turned = (x * 2).transpose(0, -1).contiguous().transpose(0, -1)
        y = functional.batch_norm(turned, None, None, w, scale, training=True)
        return y.unflatten(-1, (-1, 4)).amax(-1)

    check_gradients(function, values(*shape), values(8), exact=False)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("rows", [0, slice(None)])
def test_multilabel_margin_loss(rows: Any, reduction: str) -> None:
    """PyTorch's own decomposition counts labels after the first -1, so ours takes its place."""

    def function(x: Tensor) -> Tensor:
        return functional.multilabel_margin_loss(x, LABELS[rows], reduction=reduction)

    torch._dynamo.reset()
    compiled = torch.compile(function, backend=torchair.get_npu_backend(), fullgraph=True)
    results: list[Any] = []
    for call in (compiled, function):
        x = values(3, 4)[rows].clone().requires_grad_()
        loss = call(x)
        loss.sum().backward()
        results.append([loss.detach(), x.grad])
    compare(*results, exact=False)


def test_backward_operators_of_plain_models_have_a_way() -> None:
    names = (
        "_adaptive_avg_pool2d _adaptive_avg_pool3d _cdist _embedding_bag _pdist "
        "_weight_norm_interface adaptive_max_pool2d adaptive_max_pool3d avg_pool2d "
        "avg_pool3d binary_cross_entropy convolution elu embedding_dense fractional_max_pool2d "
        "fractional_max_pool3d gelu glu grid_sampler_2d grid_sampler_3d hardsigmoid hardswish "
        "hardtanh huber_loss leaky_relu log_sigmoid logit masked_scatter mish mse_loss "
        "multi_margin_loss multilabel_margin_loss native_batch_norm native_dropout "
        "native_group_norm native_layer_norm nll_loss nll_loss2d reflection_pad1d "
        "reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
        "replication_pad3d rrelu_with_noise sigmoid silu smooth_l1_loss soft_margin_loss "
        "softplus softshrink tanh threshold upsample_bilinear2d upsample_nearest2d"
    )
    missing = [n for n in names.split() if not has_a_way(overload(f"aten.{n}_backward"))]
    assert missing == []
