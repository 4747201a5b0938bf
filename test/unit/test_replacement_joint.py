"""register_replacement with joint_fwd_bwd: a function and its gradient, replaced together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor.pattern_matcher import joint_fwd_bwd

import torchair
from torchair.errors import ConfigError
from torchair.frontend.npu_operators import define_operators
from torchair.frontend.replacement.registry import clear_replacements, joint_by_function
from torchair.frontend.report import CompileReport

define_operators()

EXAMPLE = torch.randn(4, 8, requires_grad=True)


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    clear_replacements()
    yield
    clear_replacements()


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def fused_silu(x: Tensor) -> Tensor:
    return torch.ops.npu.npu_silu(x)


def train(
    function: Callable[[Tensor], Tensor],
    *,
    dynamic: bool = False,
    config: torchair.CompilerConfig | None = None,
    decompositions: dict[Any, Callable[..., Any]] | None = None,
) -> list[CompileReport]:
    """Reports of a step of training, whose gradients are compared with eager's."""
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=config, custom_decompositions=decompositions)
    x = torch.randn(3, 5, requires_grad=True)
    torch.compile(function, backend=backend, dynamic=dynamic)(x).sum().backward()
    [wanted] = torch.autograd.grad(function(x).sum(), [x])
    torch.testing.assert_close(x.grad, wanted)
    return backend.reports


def matches(reports: list[CompileReport]) -> int:
    [statistics] = reports[0].replacements
    return statistics.matches


@pytest.mark.parametrize("dynamic", [False, True])
def test_forward_and_backward_are_replaced(dynamic: bool) -> None:
    assert torchair.register_replacement(silu, fused_silu, [EXAMPLE], joint_fwd_bwd)
    reports = train(lambda x: silu(x + 1) * 2, dynamic=dynamic)
    assert matches(reports) == 1
    assert "replaced silu: 1 times" in str(reports[0])
    fused = train(lambda x: fused_silu(x + 1) * 2, dynamic=dynamic)
    assert [r.nodes["ge"] for r in reports] == [r.nodes["ge"] for r in fused]


def test_nothing_to_replace() -> None:
    torchair.register_replacement(silu, fused_silu, [EXAMPLE], joint_fwd_bwd)
    reports = train(lambda x: x * torch.tanh(x))
    assert matches(reports) == 0
    assert "no part of the training graph has all of its calls" in str(reports[0])


def test_inference_graphs_are_not_searched() -> None:
    torchair.register_replacement(silu, fused_silu, [EXAMPLE], joint_fwd_bwd)
    torch._dynamo.reset()
    backend = torchair.get_npu_backend()
    x = torch.randn(3)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(silu, backend=backend)(x), silu(x))
    assert backend.reports[0].replacements == []


def test_numbers_and_extra_check() -> None:
    """As Inductor's attention patterns use them."""
    seen: list[Any] = []

    def search(x: Tensor, factor: float) -> Tensor:
        return torch.sigmoid(x * factor)

    def replace(x: Tensor, factor: float) -> Tensor:
        return 1 / (1 + torch.exp(-x * factor))

    def check(match: Any) -> bool:
        seen.append(match.kwargs["x"].meta["val"].shape)
        return True

    torchair.register_replacement(
        search,
        replace,
        [EXAMPLE],
        joint_fwd_bwd,
        extra_check=check,
        scalar_workaround={"factor": 0.113377},
    )
    assert matches(train(lambda x: torch.sigmoid(x * 3.5))) == 1
    assert seen == [torch.Size([3, 5])]


def test_custom_decompositions() -> None:
    torchair.register_replacement(silu, fused_silu, [EXAMPLE], joint_fwd_bwd)

    def logistic(x: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-x))

    table = {torch.ops.aten.sigmoid.default: logistic}
    assert matches(train(lambda x: silu(x) * 2, decompositions=table)) == 1


@pytest.mark.parametrize("option", ["drop", "numerics"])
def test_switched_off(option: str) -> None:
    torchair.register_replacement(silu, fused_silu, [EXAMPLE], joint_fwd_bwd)
    config = torchair.CompilerConfig()
    if option == "drop":
        config.passes.drop = ("apply-replacements",)
    else:
        config.numerics = "eager"
    assert train(silu, config=config)[0].replacements == []


def test_duplicates() -> None:
    def same(x: Tensor) -> Tensor:
        return torch.sigmoid(x) * x

    def alike(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    assert torchair.register_replacement(silu, fused_silu, [EXAMPLE], joint_fwd_bwd)
    assert torchair.register_replacement(silu, fused_silu, [EXAMPLE], joint_fwd_bwd)
    assert len(joint_by_function) == 1
    assert torchair.register_replacement(same, fused_silu, [EXAMPLE], joint_fwd_bwd)
    assert not torchair.register_replacement(
        alike, fused_silu, [EXAMPLE], joint_fwd_bwd, skip_duplicates=True
    )
    with pytest.raises(ConfigError, match="cannot be registered with its gradient"):
        torchair.register_replacement(alike, fused_silu, [EXAMPLE], joint_fwd_bwd)


def test_refused() -> None:
    with pytest.raises(ConfigError, match="requires_grad=True"):
        torchair.register_replacement(silu, fused_silu, [EXAMPLE.detach()], joint_fwd_bwd)
    with pytest.raises(ConfigError, match="or has other gradients"):
        torchair.register_replacement(
            silu, lambda x: fused_silu(x).sum(0), [EXAMPLE], joint_fwd_bwd
        )
    with pytest.raises(ConfigError, match="cannot be traced with its gradient"):
        torchair.register_replacement(
            silu, lambda x: torch.ops.npu.npu_silu_backward(x, x), [EXAMPLE], joint_fwd_bwd
        )
    assert not joint_by_function
